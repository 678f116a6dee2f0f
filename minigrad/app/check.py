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
        paths: Python files and folders. In a folder, files that do not speak of a Derivation are not imported, and
            folders called "wrong" are left out.
        name: the derivation to check, by the name of its variable or of its forward function; all if not given.
        as_json: print one JSON list instead of text.
        html: a file to write one page to, with the lines, their formulas, verdicts and graphs.
        seed: of the draws.

    Returns:
        Whether every line of every derivation is right.

    Raises:
        ValueError: a path does not exist or is no Python file, a file cannot be imported, or there is no derivation of
            this name.
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

    found: list[tuple[Path, Derivation]] = []
    for file in _files(paths):
        try:
            module = imported(file)
        except Exception as error:
            raise ValueError(f"{file}{_line(error, file)}: {type(error).__name__}: {error}") from error
        for variable, value in vars(module).items():
            if isinstance(value, Derivation) and name in (None, variable, value.name):
                found.append((file, value))
    if not found:
        where = ", ".join(paths)
        wanted = f"called {name!r} " if name else ""
        raise ValueError(
            f"no derivation {wanted}in {where}: a file must have a variable that is a minigrad.verify.Derivation"
        )
    return found


def _files(paths: Sequence[str]) -> list[Path]:
    files = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*.py")) if "wrong" not in p.relative_to(path).parts[:-1]]
            files += [p for p in inside if b"Derivation" in p.read_bytes()]
        elif not path.is_file():
            raise ValueError(f"{given}: there is no such file or folder")
        elif path.suffix != ".py":
            raise ValueError(f"{given}: not a Python file; derivations are checked in files that end in .py")
        else:
            files.append(path)
    return files


def _line(error: Exception, file: Path) -> str:
    """Where in the file the error arose; that of a syntax error says it itself."""
    places = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {places[-1]}" if places else ""


def imported(file: Path) -> ModuleType:
    """The file as a module of its own; what it imports from beside it is found."""
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
