"""Results as JSON, and the tables of docs/performance.md that are made of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peers import LIBRARIES, library
from benchmarks.ratios import Ratio, ratio
from benchmarks.suites import SUITES
from benchmarks.workload import Goal, Workload

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- python -m benchmarks writes from here -->", "<!-- to here -->"

Results = dict[str, dict[str, Any]]  # for each suite what runner.run_suite returns
Lines = list[str]


def merge(new: Results, path: Path = RESULTS) -> Results:
    """Write the results into the file, keep those of suites that were not run again, and return all of them."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results = {suite: new.get(suite, old.get(suite)) for suite in SUITES if suite in new or suite in old}
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return results


def write(results: Results, page: Path = PAGE) -> None:
    """Put the tables between the two marks of the page."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{tables(results)}\n{END}{after}", encoding="utf-8")


def tables(results: Results) -> str:
    """All tables: the goals, then suite by suite, then where all this was measured."""
    parts = [goal_table(results)]
    for suite, result in results.items():
        parts += [[f"### {SUITES[suite]}"], suite_table(result), remarks(result)]
    parts.append(circumstances(results))
    return "\n".join("\n".join(part) + "\n" for part in parts if part)


# Goals


def workloads(suite: str) -> dict[str, Workload]:
    return {workload.title: workload for workload in import_module(f"benchmarks.suites.{suite}").WORKLOADS}


def reached(results: Results) -> Iterator[tuple[str, str, Goal, str, Ratio]]:
    """Suite, row, goal, the peer that counts, and the ratio to it, for all goals that were measured."""
    for suite, result in results.items():
        declared = workloads(suite)
        for row in result["rows"]:
            measured = row["measured"]
            for goal in declared[row["title"]].goals if row["title"] in declared else ():
                peers = [goal.peer] if isinstance(goal.peer, str) else goal.peer
                peers = [name for name in peers if name in measured]
                if goal.ours in measured and peers:
                    peer = min(peers, key=lambda name: measured[name]["quartile"])
                    yield suite, row["title"], goal, peer, ratio(measured[goal.ours], measured[peer])


def goal_table(results: Results) -> Lines:
    lines = [
        "| | | to | ratio | rounds | medians | floor | stretch | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for suite, title, goal, peer, found in reached(results):
        verdict = "stretch" if found.quartile <= goal.stretch else "floor" if found.quartile <= goal.floor else "missed"
        lines.append(
            f"| {SUITES[suite]}: {title} | {goal.ours} | {peer} | **{number(found.quartile)}** "
            f"| {number(found.lowest)} to {number(found.highest)} | {number(found.median)} "
            f"| {goal.floor:.2f} | {goal.stretch:.2f} | {verdict} |"
        )
    return lines if len(lines) > 2 else []


# Suites


def suite_table(result: dict[str, Any]) -> Lines:
    """A row for each workload: the reference's time, and for all others the ratio to it."""
    names = columns(result["rows"])
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row in result["rows"]:
        measured, reference = row["measured"], row["reference"]
        cells = []
        for name in names:
            if name == reference and name in measured:
                cells.append(amount(measured[name]["quartile"], row["unit"]))
            elif name in measured and reference in measured:
                cells.append(number(ratio(measured[name], measured[reference]).quartile))
            else:
                cells.append(amount(measured[name]["quartile"], row["unit"]) if name in measured else "")
        lines.append(f"| {row['title']} | " + " | ".join(cells) + " |")
    return lines


def columns(rows: list[dict[str, Any]]) -> list[str]:
    """Whoever was measured in one of the rows, by libraries, and in the order of the suite."""
    names = dict.fromkeys(name for row in rows for name in row["measured"])
    order = list(dict.fromkeys(LIBRARIES.values()))
    return sorted(names, key=lambda name: order.index(LIBRARIES[library(name)]))


def remarks(result: dict[str, Any]) -> Lines:
    """Who was left out and why, whose results differ, and how often the machine was not quiet."""
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in result["rows"]:
        for name, why in row["left out"].items():
            reasons[name, why].append(row["title"])
    lines = []
    for (name, why), titles in reasons.items():
        where = "" if len(titles) == len(result["rows"]) else f" in {', '.join(titles)}"
        lines.append(f"{name} is left out{where}: {why}.")
    lines += [f"Not timed, {row['title']}: {row['disagreement']}." for row in result["rows"] if "disagreement" in row]
    if result["not quiet"]:
        lines.append(f"{result['not quiet']} of {result['batches']} batches had to begin without quiet cores.")
    return lines


def circumstances(results: Results) -> Lines:
    """When and where, once for all suites that have it in common."""
    groups = defaultdict(list)
    for suite, result in results.items():
        versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
        place = f"{result['cores']} cores ({result['processor']}), Python {result['python']}, {versions}"
        groups[result["date"], place].append(SUITES[suite])
    lines = []
    for (date, place), suites in groups.items():
        which = "All" if len(suites) == len(results) else ", ".join(suites)
        lines.append(f"{which}: measured on {date}, {place}.")
    lines.append("minigrad's processes call `mg.tune_gc()` once, and not `mg.tune_malloc()`.")
    return lines


def number(value: float) -> str:
    """A ratio with the digits that mean something.

    Example:
        >>> number(0.123), number(2.345), number(34.5), number(0.0123)
        ('0.12', '2.35', '34', '0.012')
    """
    return f"{value:.3f}" if value < 0.095 else f"{value:.2f}" if value < 9.5 else f"{value:.0f}"


def amount(value: float, unit: str) -> str:
    """A measurement with its unit.

    Example:
        >>> amount(0.00159, "s"), amount(2.5e-6, "s"), amount(59.02, "MB")
        ('1.59 ms', '2.5 µs', '59 MB')
    """
    if unit == "s":
        value, unit = (value * 1e6, "µs") if value < 1e-3 else (value * 1e3, "ms") if value < 1 else (value, "s")
    return f"{value:.3g} {unit}"


def in_words(row: dict[str, Any]) -> str:
    """A row for the terminal."""
    lines = [row["title"]]
    measured, reference = row["measured"], row["reference"]
    for name, found in measured.items():
        told = f"    {name:<28} {amount(found['quartile'], row['unit']):>9}"
        if reference in measured:
            to = ratio(found, measured[reference])
            told += f"   {number(to.quartile):>6}   {number(to.lowest)} to {number(to.highest)}"
        lines.append(told)
    lines += [f"    {name:<28} {why}" for name, why in row["left out"].items()]
    if "disagreement" in row:
        lines.append(f"    not timed: {row['disagreement']}")
    return "\n".join(lines)
