"""Excuses: lines that differ from the tape, and are right in another decomposition of the same sum.

A gradient of an intermediate value belongs to a graph. A line that follows another graph is wrong alone, and a line
that uses it makes up for it: with the true gradient instead, the inputs' gradients would be wrong. An error that a
right line annihilates, as a constant in x - mean(x), is not another decomposition: nothing makes up for it.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

import numpy as np

from minigrad.verify.derivation.backward_pass import BackwardPass, CannotRun, Line
from minigrad.verify.derivation.derivation_report import LineReport
from minigrad.verify.derivation.line_source import LineSource
from minigrad.verify.derivation.reference import ROUNDING
from minigrad.verify.derivation.sample import Sample

UNSEEN = "nothing that follows sees it: the inputs' gradients are right all the same"


def excuse_other_decompositions(
    derivation: BackwardPass, reports: Mapping[str, LineReport], samples: Sequence[Sample], rtol: float
) -> None:
    """Change the verdict on lines that only split the sum in another way; note which errors nothing sees."""
    wrong = [t for t, report in reports.items() if report.verdict == "wrong"]
    inputs = [t for t in reports if t in samples[0].reference.run.inputs]
    if not wrong or not inputs or all(t in inputs for t in wrong):
        return
    if any(_is_no_decomposition(reports[t]) for t in wrong):
        return
    if not _are_right(derivation, inputs, samples, rtol):
        return
    right_in_chain = [t for t in wrong if _are_right(derivation, [t], samples, rtol)]
    excused = {
        t for t in wrong if t not in right_in_chain and _is_made_up_for(derivation, t, wrong, inputs, samples, rtol)
    }
    excused |= {t for t in right_in_chain if excused & lines_used_by(derivation, [t])}  # these make up for them
    for t in wrong:
        if t in excused:
            _excuse(reports[t], samples[0])
        else:
            reports[t].notes.append(UNSEEN)


def _is_no_decomposition(report: LineReport) -> bool:
    """Whether a line is wrong for a random upstream gradient, or has a wrong shape: it does not split the sum."""
    return report.random_upstream is not None or report.result is None or report.result.shape != report.expected.shape


def _are_right(
    derivation: BackwardPass, targets: Sequence[str], samples: Sequence[Sample], rtol: float,
    replaced: Line | None = None, true: str = "",
) -> bool:  # fmt: skip
    """Whether the chain gives the targets' gradients, with another line, or with the true gradient of one value."""
    for sample in samples:
        results = derivation.chained(sample, replaced, {true} if true else ())
        if not all(t in results and sample.reference.is_gradient(t, results[t], rtol) for t in targets):
            return False
    return True


def _is_made_up_for(
    derivation: BackwardPass, target: str, wrong: Sequence[str], inputs: Sequence[str], samples: Sequence[Sample],
    rtol: float,
) -> bool:  # fmt: skip
    """Whether a wrong line that uses this one makes up for all of its error, and not only for a part of it."""
    users = [t for t in wrong if t != target and target in lines_used_by(derivation, [t])]
    if not users or _are_right(derivation, inputs, samples, rtol, true=target):
        return False
    line, sample = derivation.lines[target], samples[0]
    return _is_linear(derivation, line, sample, rtol) and not _has_unseen_term(derivation, line, inputs, samples, rtol)


def _is_linear(derivation: BackwardPass, line: Line, sample: Sample, rtol: float) -> bool:
    """Whether a line is twice as large for twice the gradients that it uses."""
    used = line.upstream(sample.reference)
    if derivation.forward.is_unit or not used:
        return True
    names = sample.names()
    once = derivation.evaluate(line, names)
    twice = derivation.evaluate(line, names | {f"d{k}": 2 * names[f"d{k}"] for k in used})
    return np.allclose(twice, 2 * once, rtol=rtol, atol=ROUNDING * sample.reference.scale)


def _has_unseen_term(
    derivation: BackwardPass, line: Line, inputs: Sequence[str], samples: Sequence[Sample], rtol: float
) -> bool:
    """Whether a term of a line, which is not 0, can be left out and all inputs' gradients are right as before."""
    try:
        source = LineSource.of(line.function, line.parameters)
    except (OSError, TypeError, SyntaxError):
        return False
    names, floor = samples[0].names(), ROUNDING * samples[0].reference.scale
    before = derivation.evaluate(line, names)
    for node in list(ast.walk(source.body)):
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, (ast.Add, ast.Sub)):
            continue
        right = node.right if isinstance(node.op, ast.Add) else ast.UnaryOp(ast.USub(), node.right)
        for rest in (node.left, right):
            with source.edited(rest, node) as function:
                if function is None:
                    continue
                edited = Line(line.target, function, line.parameters)
                try:
                    result = derivation.evaluate(edited, names)
                except (CannotRun, TypeError, ValueError):
                    continue
                changes = result.shape != before.shape or not np.allclose(result, before, rtol=rtol, atol=floor)
                if changes and _are_right(derivation, inputs, samples, rtol, replaced=edited):
                    return True
    return False


def _excuse(report: LineReport, sample: Sample) -> None:
    label = sample.reference.label
    through = ", ".join(map(label, sample.reference.contributions[report.target]))
    report.verdict, report.kind = "other decomposition", "other decomposition"
    report.reason = (
        f"the inputs' gradients are right, but this forward function uses {label(report.target)} in another way "
        f"(through {through}), so its tape splits the sum differently"
    )


def lines_used_by(derivation: BackwardPass, targets: Sequence[str]) -> set[str]:
    """The lines whose results are used, directly or indirectly, by the lines of the targets."""
    used: set[str] = set()
    pending = list(targets)
    while pending:
        for k in derivation.lines[pending.pop()].gradients:
            if k in derivation.lines and k not in used:
                used.add(k)
                pending.append(k)
    return used
