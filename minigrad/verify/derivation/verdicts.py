"""The verdict on each line of a derivation: right, wrong, or right only for these values. See also `excuses`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigrad.verify.derivation.backward_pass import BackwardPass, CannotRun, Line
from minigrad.verify.derivation.derivation_report import LineReport
from minigrad.verify.derivation.reference import ROUNDING, agree, contributions
from minigrad.verify.derivation.sample import Sample, redraw
from minigrad.verify.gradients.problem import signed


def judge(
    derivation: BackwardPass, line: Line, samples: tuple[Sample, Sample], given: Sequence[str], rtol: float
) -> LineReport:
    """The verdict on one line, evaluated with the true gradients of what it uses, in two samples."""
    first, second = samples
    report = LineReport(line.target, line.function, first.reference.gradients[line.target])
    try:
        report.result = derivation.evaluate(line, first.names())
        second_result = derivation.evaluate(line, second.names())
    except CannotRun as error:
        report.verdict, report.kind, report.reason = "wrong", "error", f"it does not run: {error}"
        return report
    if not np.all(np.isfinite(report.result)):
        report.verdict, report.kind, report.reason = "wrong", "finite", "it returns NaN or infinite elements"
    elif not first.reference.is_gradient(line.target, report.result, rtol):
        report.verdict = "wrong"
    else:
        _with_random_upstream(derivation, line, report, first, rtol)
    if report.verdict == "right" and not second.reference.is_gradient(line.target, second_result, rtol):
        report.verdict, report.kind = "only here", "only here"
        report.reason = _which_values(derivation, line, first, given, rtol)
    if report.verdict == "right":
        report.notes += _omitted_zeros(line, first)
    return report


def _with_random_upstream(
    derivation: BackwardPass, line: Line, report: LineReport, sample: Sample, rtol: float
) -> None:
    """Test a line whose gradient or upstream gradient is identically 0 with a random upstream gradient.

    With 0 any line would pass.
    """
    reference = sample.reference
    used = line.upstream(reference)
    vanishing = [k for k in [line.target, *used] if reference.is_zero(k)]
    if not vanishing or not used or not set(used) <= set(reference.contributions[line.target]):
        return
    rng = np.random.default_rng(5)
    upstream = {k: signed(rng, g.shape) for k, g in reference.gradients.items()}
    terms = contributions(reference.run, upstream)[line.target]
    expected = sum(terms[k] for k in used)
    names = sample.names() | {f"d{k}": upstream[k] for k in used}
    result = derivation.evaluate(line, names)
    scale = max(float(np.max(np.abs(term), initial=0.0)) for term in terms.values())
    zero = f"dl/d{reference.label(vanishing[0])} is identically 0 here"
    if agree(result, expected, rtol, ROUNDING * scale):
        return
    if reference.is_zero(line.target) and not np.any(report.result):
        report.notes.append(f"{zero}, so the line is right although it says just 0")
        return
    report.verdict, report.result, report.expected = "wrong", result, expected
    report.random_upstream = names
    report.notes.append(
        f"{zero}, and any line would pass: compared with a random gradient of {', '.join(used)} instead"
    )


def _omitted_zeros(line: Line, sample: Sample) -> list[str]:
    """Notes on consumers that the line rightly leaves out, as their contribution is identically 0."""
    reference = sample.reference
    used, consumers = set(line.upstream(reference)), reference.contributions[line.target]
    if not used or not used <= set(consumers):
        return []
    return [
        f"the path through {reference.label(k)} is identically 0 here, so leaving it out is right"
        for k, contribution in consumers.items()
        if k not in used and np.all(np.abs(contribution) <= ROUNDING * reference.scale) and not reference.is_zero(k)
    ]


def _which_values(derivation: BackwardPass, line: Line, sample: Sample, given: Sequence[str], rtol: float) -> str:
    """The reason why a line is right for the given values only: which input's value hides the error."""
    hiding = []
    for k in given:
        other = redraw(derivation.forward, sample, [k], np.random.default_rng(11))
        if not other.reference.is_gradient(line.target, derivation.evaluate(line, other.names()), rtol):
            hiding.append(k)
    if len(hiding) != 1:
        return "right for these values, wrong for others"
    value = sample.arguments[hiding[0]]
    is_constant = value.size and np.all(value == value.flat[0])
    values = f" = {value.flat[0]:g}" if is_constant else " has these values"
    return f"right only because {sample.reference.label(hiding[0])}{values}; with others it is wrong"
