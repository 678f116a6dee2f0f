"""The verdict on each line of a derivation: right, wrong, right only for these values, or another decomposition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.verify.derivation_report import LineReport
from minigrad.verify.problem import signed
from minigrad.verify.samples import Draw, redraw
from minigrad.verify.truth import Truth, contributions

if TYPE_CHECKING:
    from minigrad.verify.derivation import Derivation, Line

Array = Any


class CannotRun(Exception):
    """A line raised an error, most often because shapes do not fit."""


def judge(
    derivation: Derivation, line: Line, draws: tuple[Draw, Draw], given: Sequence[str], rtol: float
) -> LineReport:
    """The verdict on one line, evaluated with the true gradients of what it uses."""
    first, fresh = draws
    t = first.truth
    expected = t.gradients[line.target]
    report = LineReport(line.target, line.function, expected)
    try:
        report.result = derivation.evaluate(line, first.names())
        again = derivation.evaluate(line, fresh.names())
    except CannotRun as error:
        report.verdict, report.kind, report.reason = "wrong", "error", f"it does not run: {error}"
        return report
    if not np.all(np.isfinite(report.result)):
        report.verdict, report.kind, report.reason = "wrong", "finite", "it returns NaN or infinite elements"
    elif not close(report.result, expected, rtol, t):
        report.verdict = "wrong"
    else:
        _with_random_upstream(derivation, line, report, first, rtol)
    if report.verdict == "right" and not close(again, fresh.truth.gradients[line.target], rtol, fresh.truth):
        report.verdict, report.kind = "only here", "only here"
        report.reason = _which_values(derivation, line, first, given, rtol)
    if report.verdict == "right":
        report.notes += _dropped_zeros(line, first)
    return report


def _with_random_upstream(derivation: Derivation, line: Line, report: LineReport, draw: Draw, rtol: float) -> None:
    """A line whose truth or upstream is identically 0 is tried with a random upstream, else anything would pass."""
    t = draw.truth
    used = line.uses(t)
    vanishing = [k for k in [line.target, *used] if t.is_zero(k)]
    if not vanishing or not used or not set(used) <= set(t.contributions[line.target]):
        return
    rng = np.random.default_rng(5)
    upstream = {k: signed(rng, g.shape) for k, g in t.gradients.items()}
    handed = contributions(t, upstream)[line.target]
    expected = sum(handed[k] for k in used)
    names = draw.names() | {f"d{k}": upstream[k] for k in used}
    result = derivation.evaluate(line, names)
    scale = max(float(np.max(np.abs(part), initial=0.0)) for part in handed.values())
    zero = f"dl/d{t.run.labels.get(vanishing[0], vanishing[0])} is identically 0 here"
    if close(result, expected, rtol, t, scale):
        return
    if t.is_zero(line.target) and not np.any(report.result):
        report.notes.append(f"{zero}, so the line is right although it says just 0")
        return
    report.verdict, report.result, report.expected = "wrong", result, expected
    report.random_upstream = names
    report.notes.append(
        f"{zero}, and any line would pass: compared with a random gradient of {', '.join(used)} instead"
    )


def _dropped_zeros(line: Line, draw: Draw) -> list[str]:
    """Notes on consumers whose contribution is identically 0 and which the line leaves out, rightly."""
    t = draw.truth
    used, consumers = set(line.uses(t)), t.contributions[line.target]
    if not used or not used <= set(consumers):
        return []
    return [
        f"the path through {t.run.labels.get(k, k)} is identically 0 here, so leaving it out is right"
        for k, contribution in consumers.items()
        if k not in used and np.all(np.abs(contribution) <= 1e-11 * t.scale) and not t.is_zero(k)
    ]


def _which_values(derivation: Derivation, line: Line, first: Draw, given: Sequence[str], rtol: float) -> str:
    """Because of which of the given inputs a line is right only for these values."""
    guilty = []
    for k in given:
        other = redraw(derivation.forward, first, [k], np.random.default_rng(11))
        if not close(derivation.evaluate(line, other.names()), other.truth.gradients[line.target], rtol, other.truth):
            guilty.append(k)
    if len(guilty) != 1:
        return "right for these values, wrong for others"
    value = first.arguments[guilty[0]]
    constant = f" = {value.flat[0]:g}" if value.size and np.all(value == value.flat[0]) else " has these values"
    return f"right only because {first.truth.run.labels.get(guilty[0], guilty[0])}{constant}; with others it is wrong"


def excuse_other_decompositions(
    derivation: Derivation, reports: Mapping[str, LineReport], fresh: Draw, rtol: float
) -> None:
    """Lines that differ from the tape's, while all inputs' gradients come out right: another way to split the sum."""
    wrong = [t for t, report in reports.items() if report.verdict == "wrong"]
    inputs = [t for t in reports if t in fresh.truth.run.inputs]
    if not wrong or not inputs or all(t in inputs for t in wrong):
        return
    for t in wrong:
        report = reports[t]
        # What is wrong only for a random upstream, or has not even the right shape, is no way to split a sum.
        if report.random_upstream is not None or report.result is None or report.result.shape != report.expected.shape:
            return
    again = derivation.chained(fresh)
    if not all(reports[t].chained_ok for t in inputs):
        return
    if not all(t in again and close(again[t], fresh.truth.gradients[t], rtol, fresh.truth) for t in inputs):
        return
    used = _leading_to(derivation, inputs)
    if not all(t in used or t in inputs for t in wrong):
        return
    # Another way to split the sum shows in what uses the gradient, too. If all of that is right by itself, it takes the
    # right gradient and the wrong one to the same: the error is annihilated, as a constant is by x - mean(x).
    for t in wrong:
        if t not in inputs and not any(t in _leading_to(derivation, [other]) for other in wrong):
            return
    labels = fresh.truth.run.labels
    for t in wrong:
        through = ", ".join(labels.get(k, k) for k in fresh.truth.contributions[t])
        reports[t].verdict, reports[t].kind = "other decomposition", "other decomposition"
        reports[t].reason = (
            f"the inputs' gradients are right, but this forward function uses {labels.get(t, t)} in another way "
            f"(through {through}), so its tape splits the sum differently"
        )


def _leading_to(derivation: Derivation, targets: Sequence[str]) -> set[str]:
    """The lines whose results are used, directly or not, by the lines of the targets."""
    found: set[str] = set()
    pending = list(targets)
    while pending:
        for k in derivation.lines[pending.pop()].gradients:
            if k in derivation.lines and k not in found:
                found.add(k)
                pending.append(k)
    return found


def close(result: Array, expected: Array, rtol: float, t: Truth, scale: float | None = None) -> bool:
    """Whether a line's result is the expected gradient, up to rounding."""
    if result.shape != expected.shape:
        return False
    largest = float(np.max(np.abs(expected), initial=0.0))
    floor = 1e-11 * (t.scale if scale is None else scale)
    return bool(np.all(np.abs(result - expected) <= rtol * (np.abs(expected) + 1e-3 * largest) + floor))
