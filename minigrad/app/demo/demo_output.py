"""The output of the demo, in the terminal and in a text file."""

from __future__ import annotations

import io
import platform
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from minigrad.util.version import installed

WIDTH = 88


class DemoOutput:
    """Prints to the terminal, and collects the same text for a file."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.text = io.StringIO()
        self.file_console = Console(file=self.text, width=WIDTH, highlight=False, color_system=None)
        self.written: list[Path] = []

    def print(self, *content: Any) -> None:
        """Print text or tables. Rich's markup sets colors, in the terminal only."""
        for console in (self.console, self.file_console):
            console.print(*content, soft_wrap=not isinstance(content[0], Table))

    def title(self, seed: int) -> None:
        """Print the versions and the seed."""
        self.print(f"[bold]minigrad {installed()} demo[/]: see and prove your gradients")
        self.print(f"[dim]Python {platform.python_version()}, NumPy {np.__version__}, seed {seed}[/]")

    def heading(self, text: str) -> None:
        """Print the heading of a part."""
        self.print(f"\n[bold]{text}[/]")

    def verdict(self, right: bool, text: str) -> bool:
        """Print whether a check holds, and return it."""
        self.print(f"  [bold green]✓[/] {text}" if right else f"  [bold red]✗ {text}[/]")
        return right

    def skipped(self, text: str, extra: str) -> None:
        """Print that a part cannot run, and the extra that it needs."""
        self.print(f'  [yellow]– {text}[/]: [bold]pip install "minigrad\\[{extra}]"[/]')

    def wrote(self, path: Path) -> None:
        """Note a file that was written."""
        self.written.append(path)

    def progress(self) -> Progress:
        """A progress bar that disappears when it is full."""
        task, now = TextColumn("  {task.description}"), TextColumn("{task.fields[now]}")
        columns = (task, BarColumn(30), TaskProgressColumn(), now)
        return Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)

    def save(self, path: Path, seconds: float) -> None:
        """Print the list of written files, and write the collected text as one of them."""
        self.wrote(path)
        self.heading("Written")
        for written in self.written:
            self.print(f"  {written}")
        self.print(f"\n[dim]{seconds:.1f} s[/]")
        path.write_text(self.text.getvalue(), encoding="utf-8")
