"""What the demonstration says, in the terminal and in a text file at once."""

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


class Report:
    """Prints to the terminal, and keeps the same text for a file."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self.console = Console(highlight=False)
        self.text = io.StringIO()
        self.paper = Console(file=self.text, width=WIDTH, highlight=False, color_system=None)
        self.written: list[Path] = []

    def say(self, *what: Any) -> None:
        """Text or tables; rich's markup gives colors, in a terminal only."""
        for console in (self.console, self.paper):
            console.print(*what, soft_wrap=not isinstance(what[0], Table))

    def title(self, seed: int) -> None:
        """What runs here."""
        self.say(f"[bold]minigrad {installed()} demo[/]: see and prove your gradients")
        self.say(f"[dim]Python {platform.python_version()}, NumPy {np.__version__}, seed {seed}[/]")

    def heading(self, text: str) -> None:
        """The start of a part."""
        self.say(f"\n[bold]{text}[/]")

    def verdict(self, right: bool, text: str) -> bool:
        """A line that says whether something holds. Returns whether it does."""
        self.say(f"  [bold green]✓[/] {text}" if right else f"  [bold red]✗ {text}[/]")
        return right

    def left_out(self, text: str, extra: str) -> None:
        """A part cannot run; the extra that it needs."""
        self.say(f'  [yellow]– {text}[/]: [bold]pip install "minigrad\\[{extra}]"[/]')

    def wrote(self, path: Path) -> None:
        """A file was written."""
        self.written.append(path)

    def progress(self) -> Progress:
        """A bar that is gone once it is full."""
        task, now = TextColumn("  {task.description}"), TextColumn("{task.fields[now]}")
        columns = (task, BarColumn(30), TaskProgressColumn(), now)
        return Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)

    def save(self, path: Path, seconds: float) -> None:
        """The end: the files written, and all of this text as one of them."""
        self.wrote(path)
        self.heading("Written")
        for written in self.written:
            self.say(
                f"  {written}",
            )
        self.say(f"\n[dim]{seconds:.1f} s[/]")
        path.write_text(self.text.getvalue(), encoding="utf-8")
