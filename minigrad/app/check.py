"""`minigrad check`: runs the derivations of Python files and prints their reports."""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minigrad.verify import Derivation, DerivationReport


def run(
    paths: Sequence[str], name: str | None = None, as_json: bool = False, html: str | None = None, seed: int = 0
) -> bool:
    """Check the derivations in files, or in all files of folders.

    Args:
        paths: Python files and folders. In a folder, only files that contain the word Derivation are imported, and
            subfolders called "wrong" are skipped.
        name: the derivation to check, by the name of its variable or of its forward function; all by default.
        as_json: print a JSON list instead of text.
        html: a file for a page with the lines, their formulas, verdicts and graphs.
        seed: of the random samples.

    Returns:
        Whether every line of every derivation is right.

    Raises:
        ValueError: a path does not exist or is not a Python file, a file cannot be imported, or there is no derivation
            of this name.
    """
    from minigrad.verify.derivation.derivation_page import page

    reports = [(path, derivation.check(seed=seed)) for path, derivation in _derivations(paths, name)]
    if as_json:
        print(json.dumps([{"file": str(p), **report.to_dict()} for p, report in reports], indent=2, ensure_ascii=False))
    else:
        _print(reports)
    if html is not None:
        Path(html).write_text(page([report for _, report in reports]), encoding="utf-8")
        print(f"written: {html}", file=sys.stderr)
    return all(report.ok for _, report in reports)


def _print(reports: Sequence[tuple[Path, DerivationReport]]) -> None:
    from rich.console import Console
    from rich.text import Text

    from minigrad.util.report import counted

    console = Console(highlight=False, soft_wrap=True)
    for path, report in reports:
        first, _, rest = str(report).partition("\n")
        console.print(Text(str(path), style="dim"))
        console.print(Text(first, style="bold green" if report.ok else "bold red"))
        console.print(Text(rest), end="\n\n")
    wrong = sum(not report.ok for _, report in reports)
    lines = sum(len(report.lines) for _, report in reports)
    verdict = f"{counted(len(reports), 'derivation')}, {counted(lines, 'line')}: " + (
        f"{wrong} wrong" if wrong else "all right"
    )
    console.print(Text(verdict, style="bold red" if wrong else "bold green"))


def _derivations(paths: Sequence[str], name: str | None) -> list[tuple[Path, Derivation]]:
    from minigrad.verify import Derivation

    derivations: list[tuple[Path, Derivation]] = []
    for file in _files(paths):
        try:
            module = import_file(file)
        except Exception as error:
            raise ValueError(f"{file}{_line(error, file)}: {type(error).__name__}: {error}") from error
        for variable, value in vars(module).items():
            if isinstance(value, Derivation) and name in (None, variable, value.name):
                derivations.append((file, value))
    if not derivations:
        called = f"called {name!r} " if name else ""
        raise ValueError(
            f"no derivation {called}in {', '.join(paths)}: a file must have a variable that is a "
            "minigrad.verify.Derivation"
        )
    return derivations


def _files(paths: Sequence[str]) -> list[Path]:
    files = []
    for name in paths:
        path = Path(name)
        if path.is_dir():
            inner = [p for p in sorted(path.rglob("*.py")) if "wrong" not in p.relative_to(path).parts[:-1]]
            files += [p for p in inner if b"Derivation" in p.read_bytes()]
        elif not path.is_file():
            raise ValueError(f"{name}: no such file or folder")
        elif path.suffix != ".py":
            raise ValueError(f"{name}: not a Python file; derivations are checked in files that end in .py")
        else:
            files.append(path)
    return files


def _line(error: Exception, file: Path) -> str:
    """The line of the file in which the error arose; "" for a syntax error, whose message contains it."""
    numbers = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {numbers[-1]}" if numbers else ""


def import_file(file: Path) -> ModuleType:
    """Import a file as a module. It can import other modules in its folder."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent))
    sys.modules[file.stem], before = module, sys.modules.get(file.stem)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
        if before is None:
            del sys.modules[file.stem]
        else:
            sys.modules[file.stem] = before
    return module
