"""`minigrad check`: checks the derivations, and the pairs of forward and backward functions, of files and notebooks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigrad.app.source_files import files_of, load

if TYPE_CHECKING:
    from minigrad.verify import DerivationReport
    from minigrad.verify.as_written.written_report import WrittenReport


@dataclass
class Item:
    """A derivation or a pair of functions in a file."""

    file: Path
    names: tuple[str, ...]  # by which it can be chosen
    kind: str  # "derivation" or "pair"
    check: Callable[[], DerivationReport | WrittenReport]


@dataclass
class Options:
    """What was said on the command line about inputs, names and weights, each by name."""

    inputs: Mapping[str, str]
    names: Mapping[str, str]
    weights: Mapping[str, float]
    seed: int = 0


def run(
    paths: Sequence[str],
    name: str | None = None,
    as_json: bool = False,
    html: str | None = None,
    seed: int = 0,
    *,
    inputs: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    weights: Mapping[str, float] | None = None,
) -> bool:
    """Check the derivations and pairs in files, or in all files of folders.

    Args:
        paths: Python files, notebooks and folders. In a folder, only files with a word such as Derivation or backward
            are imported, and subfolders called "wrong" are skipped.
        name: the one to check, by the name of its variable, of a function, or of a class; all by default.
        as_json: print a JSON list instead of text.
        html: a file for a page with the lines, their formulas, verdicts and graphs.
        seed: of the random samples.
        inputs: by parameter of forward functions, its shape: "N,D".
        names: by name of a gradient in backward functions, the name of its value.
        weights: by name of a value, its weight for the points.

    Returns:
        Whether every line of all of them is right.

    Raises:
        ValueError: a path does not exist, a file cannot be imported, or there is nothing of this name to check.
    """
    from minigrad.app.check_page import page

    options = Options(inputs or {}, names or {}, weights or {}, seed)
    reports: list[tuple[Path, Any]] = []
    failures: list[tuple[Path, str, str]] = []
    items = _items(paths, name, options)
    for item in items:
        try:
            reports.append((item.file, item.check()))
        except (TypeError, ValueError, ArithmeticError) as error:
            if item.kind == "derivation" or len(items) == 1:
                raise
            failures.append((item.file, item.names[0], str(error)))
    if as_json:
        content = [{**_to_dict(report, options), "file": str(p)} for p, report in reports]
        content += [{"file": str(p), "name": n, "ok": False, "error": error} for p, n, error in failures]
        print(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        _print(reports, failures)
    if html is not None:
        Path(html).write_text(page([report for _, report in reports]), encoding="utf-8")
        print(f"written: {html}", file=sys.stderr)
    return all(report.ok for _, report in reports) and not failures


def _to_dict(report: Any, options: Options) -> dict[str, Any]:
    content: dict[str, Any] = report.to_dict()
    if "points" in content:
        content["points"] = report.points(options.weights)
    return content


def _print(reports: Sequence[tuple[Path, Any]], failures: Sequence[tuple[Path, str, str]]) -> None:
    from rich.console import Console
    from rich.text import Text

    from minigrad.util.report import counted

    console = Console(highlight=False, soft_wrap=True)
    for path, report in reports:
        first, _, rest = str(report).partition("\n")
        console.print(Text(str(path), style="dim"))
        console.print(Text(first, style="bold green" if report.ok else "bold red"))
        console.print(Text(rest), end="\n\n")
    for path, name, error in failures:
        console.print(Text(str(path), style="dim"))
        console.print(Text(f"{name}: it could not be checked", style="bold red"))
        console.print(Text(error), end="\n\n")
    wrong = sum(not report.ok for _, report in reports)
    lines = sum(len(report.lines) for _, report in reports)
    verdict = f"{counted(len(reports), 'derivation')}, {counted(lines, 'line')}: " + (
        f"{wrong} wrong" if wrong else "all right"
    )
    if failures:
        verdict += f"; {counted(len(failures), 'derivation')} could not be checked"
    console.print(Text(verdict, style="bold red" if wrong or failures else "bold green"))


def _items(paths: Sequence[str], name: str | None, options: Options) -> list[Item]:
    from minigrad.verify import Derivation
    from minigrad.verify.as_written.discover import check_found
    from minigrad.verify.pairs.found import pairs_in

    items: list[Item] = []
    for file in files_of(paths):
        module, remarks = load(file)
        for remark in remarks:
            print(remark, file=sys.stderr)
        for variable, value in vars(module).items():
            if isinstance(value, Derivation):
                items.append(Item(file, (variable, value.name), "derivation", partial(value.check, seed=options.seed)))
        for found in pairs_in(vars(module), module.__name__):
            check = partial(check_found, found, inputs=options.inputs, names=options.names, seed=options.seed)
            items.append(Item(file, (found.name, found.forward_name), "pair", check))
    chosen = [item for item in items if name is None or name in item.names]
    if not chosen:
        if items:
            available = ", ".join(item.names[0] for item in items)
            raise ValueError(f"no derivation called {name!r} in {', '.join(paths)}; there is {available}")
        raise ValueError(
            f"no derivation in {', '.join(paths)}: a file must have a pair of functions such as relu_forward and "
            "relu_backward, a class with the methods forward and backward, or a minigrad.verify.Derivation"
        )
    return chosen
