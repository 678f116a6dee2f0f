"""Why a line is wrong, from evidence.

A reason is an equation between the line's result, the truth, and things that have a name: a size, a value, the
contribution of a consumer. It is told only if it holds for all elements, in two draws of different values and,
where that is possible, different sizes, and if one name alone explains it. Then an edit of the line itself is sought
that makes it right. What has neither is shown by its worst element.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine.specialize import unbroadcast
from minigrad.verify import repair
from minigrad.verify.derivation_report import LineReport
from minigrad.verify.evidence import (
    Case,
    Reason,
    broadcasts,
    constant_ratio,
    factors,
    number_names,
    power_told,
    times_value,
)
from minigrad.verify.truth import diagonal
from minigrad.verify.verdicts import CannotRun

if TYPE_CHECKING:
    from minigrad.verify.derivation import Derivation, Line
    from minigrad.verify.samples import Draw

Array = Any


def explain(derivation: Derivation, report: LineReport, first: Draw, second: Draw, *, seconds: float) -> None:
    """Fill in the reason and the repair of a wrong line."""
    line = derivation.lines[report.target]
    if not report.reason:
        report.kind, report.reason, _ = _common_reason(_cases(derivation, line, report, first, second))
    try:
        report.repair = repair.search(derivation, line, [first, second], report, seconds)
    except (OSError, TypeError, SyntaxError):  # no source to be had
        report.repair = None


def _cases(derivation: Derivation, line: Line, report: LineReport, first: Draw, second: Draw) -> list[Case]:
    cases = []
    for made in [first] if report.random_upstream is not None else [first, second]:
        t = made.truth
        try:
            result = derivation.evaluate(line, report.random_upstream or made.names())
        except CannotRun:
            continue
        expected = t.gradients[line.target] if report.random_upstream is None else report.expected
        contributions = {} if report.random_upstream is not None else t.contributions[line.target]
        cases.append(Case(line.target, result, expected, contributions, t.run.values, made.sizes, t))
    return cases


def _common_reason(cases: Sequence[Case]) -> Reason:
    """The first explanation that says one and the same in every draw."""
    bare = []
    for explanation in (_shape, _zero, _number, _value, _paths, _path_times_value, _two_factors, _diagonal, _place):
        told = [dict.fromkeys(explanation(case)) for case in cases]
        common = [reason for reason in told[0] if all(reason in others for others in told[1:])] if told else []
        named = [reason for reason in common if not reason.bare]
        if len(named) == 1:
            return named[0]
        bare += [reason for reason in common if reason.bare]
    return bare[0] if bare else Reason("unexplained", "it differs from the tape")


def _shape(case: Case) -> Iterator[Reason]:
    got, want = case.result.shape, case.expected.shape
    if got == want:
        if len(got) == 2 and got == got[::-1] and case.equal(case.result.T, case.expected):
            yield Reason("transposed", "it is transposed")
        return
    if case.result.size == case.expected.size and case.equal(case.result.reshape(want), case.expected):
        yield Reason("shape", "right but for its shape")
    elif case.result.ndim == 2 and case.equal(case.result.T, case.expected):
        yield Reason("transposed", "it is transposed")
    elif broadcasts(want, got):
        axes = [k for k in range(len(got)) if k < len(got) - len(want) or want[k - len(got) + len(want)] != got[k]]
        missing = f"the sum over {_axes(axes)} is missing"
        summed = replace(case, result=unbroadcast(case.result, want))
        more = [r for r in (*_number(summed), *_value(summed), *_paths(summed)) if not r.bare]
        if case.equal(summed.result, case.expected):
            yield Reason("shape", missing)
        elif len(more) == 1:
            yield Reason("shape", f"{missing}; and {more[0].text}")
        else:
            yield Reason("shape", missing, bare=True)
    elif broadcasts(got, want):
        spread = replace(case, result=np.broadcast_to(case.result, want))
        for reason in (*_number(spread), *_paths(spread)):
            yield Reason("shape", f"{reason.text}; it lacks an axis", reason.bare)
        for axes in (list(c) for n in range(1, len(want) + 1) for c in itertools.combinations(range(len(want)), n)):
            if any(
                case.equal(case.result, case.expected.sum(axis=tuple(axes), keepdims=keep)) for keep in (False, True)
            ):
                yield Reason("shape", f"it is summed over {_axes(axes)}, which must stay")
    yield Reason("shape", "its shape is wrong", bare=True)


def _axes(axes: Sequence[int]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"


def _zero(case: Case) -> Iterator[Reason]:
    if case.equal(case.result, 0 * case.expected) and not list(_paths(case)):
        yield Reason("zero", "it is 0 everywhere")


def _number(case: Case) -> Iterator[Reason]:
    factor = constant_ratio(case, case.result, case.expected)
    if not factor:
        return
    if math.isclose(factor, -1, rel_tol=1e-7):
        yield Reason("factor", "the sign is wrong")
    else:
        for text, bare in number_names(case, factor):
            yield Reason("factor", f"it is {text} times the right value", bare)


def _value(case: Case) -> Iterator[Reason]:
    for label, power, sign in times_value(case, case.result, case.expected):
        yield Reason("value", power_told(label, power, sign))


def _paths(case: Case) -> Iterator[Reason]:
    """The numbers by which the contributions must be multiplied to give the result: 1 each if it is right."""
    contributions = {k: s for k, s in case.contributions.items() if np.any(np.abs(s) > 1e-11 * case.truth.scale)}
    if case.result.shape != case.expected.shape or len(case.contributions) < 2 or not contributions:
        return
    columns = np.stack([np.ravel(s) for s in contributions.values()], axis=1)
    if np.linalg.matrix_rank(columns, rtol=1e-9) < len(contributions):  # several answers: none can be told
        return
    found = np.linalg.lstsq(columns, np.ravel(case.result), rcond=None)[0]
    if not case.equal(columns @ found, np.ravel(case.result)):
        return
    off = {k: float(c) for k, c in zip(contributions, found, strict=True) if not math.isclose(c, 1, abs_tol=1e-7)}
    if not off or len(off) > 2 or (len(off) == len(contributions) > 1):
        return
    numbers = {round(c, 7) for c in off.values()}
    if len(numbers) == 1:
        many = len(off) > 1
        through = f"the path{'s' if many else ''} through {' and '.join(case.label(k) for k in off)}"
        for told, bare in _times_told(case, next(iter(off.values())), many):
            yield Reason("path", f"{through} {told}", bare)


def _times_told(case: Case, factor: float, many: bool) -> Iterator[tuple[str, bool]]:
    if abs(factor) < 1e-7:
        yield "are missing" if many else "is missing", False
    elif math.isclose(factor, 2, rel_tol=1e-7):
        yield "are counted twice" if many else "is counted twice", False
    elif math.isclose(factor, -1, rel_tol=1e-7):
        yield "have the wrong sign" if many else "has the wrong sign", False
    else:
        for text, bare in number_names(case, factor):
            yield f"{'come' if many else 'comes'} {text} times", bare


def _path_times_value(case: Case) -> Iterator[Reason]:
    """One contribution is off by a factor that has a name."""
    if case.result.shape != case.expected.shape or len(case.contributions) < 2:
        return
    for k, contribution in case.contributions.items():
        if np.any(np.abs(contribution) > 1e-11 * case.truth.scale):
            for label, power, sign in times_value(case, case.result - (case.expected - contribution), contribution):
                told = power_told(label, power, sign).replace("it is", "the contribution is")
                yield Reason("path", f"in the path through {case.label(k)}, {told}")


def _two_factors(case: Case) -> Iterator[Reason]:
    """Two named values, or one and a size, are missing from the whole or from one contribution."""
    if case.result.shape != case.expected.shape:
        return
    parts = {"": (case.result, case.expected)}
    if len(case.contributions) > 1:
        for k, contribution in case.contributions.items():
            parts[f"in the path through {case.label(k)}, "] = (
                case.result - (case.expected - contribution),
                contribution,
            )
    for where, (got, want) in parts.items():
        if case.equal(got, 0 * want):
            continue
        named = [(label, f) for label, f in factors(case, want.shape) if not np.any(f == 0)]
        for label, f in named:
            for text in _sizes_told(case, constant_ratio(case, want, got * f)):
                yield Reason("value", f"{where}the factors {text} and {label} are missing")
            for text in _sizes_told(case, constant_ratio(case, got, want * f)):
                yield Reason("value", f"{where}it is {text} · {label} times the right value")
        place = np.unravel_index(int(np.argmax(np.abs(want))), want.shape)
        ratio = abs(float(got[place] / want[place]))
        samples = [abs(float(np.broadcast_to(f, want.shape)[place])) for _, f in named]
        for ((label, f), s), ((other, g), t) in itertools.combinations(zip(named, samples, strict=True), 2):
            if not any(math.isclose(r, ratio, rel_tol=1e-6) for r in (s * t, 1 / (s * t))):  # rules out most
                continue
            if case.equal(got * f * g, want):
                yield Reason("value", f"{where}the factors {label} and {other} are missing")
            elif case.equal(got, want * f * g):
                yield Reason("value", f"{where}it is {label} · {other} times the right value")


def _sizes_told(case: Case, factor: float | None) -> list[str]:
    if not factor or math.isclose(abs(factor), 1, rel_tol=1e-7):
        return []
    return [text for text, bare in number_names(case, factor) if not bare]


def _diagonal(case: Case) -> Iterator[Reason]:
    """A function that mixes elements, taken for one that does not."""
    for k, contribution in case.contributions.items():
        own = diagonal(case.truth, k, case.target) if case.result.shape == case.expected.shape else None
        if own is not None and case.equal(case.result, case.expected - contribution + own):
            yield Reason(
                "diagonal",
                f"only the diagonal of d{case.label(k)}/d{case.label(case.target)} is there: each element of "
                f"{case.label(case.target)} also reaches other elements of {case.label(k)}",
            )


def _place(case: Case) -> Iterator[Reason]:
    """The difference lies only where one contribution alone arrives."""
    if case.result.shape != case.expected.shape or len(case.contributions) < 2:
        return
    differs = np.abs(case.result - case.expected) > 1e-11 * case.truth.scale
    reached = {k: s != 0 for k, s in case.contributions.items()}
    where = [k for k, places in reached.items() if np.any(places & differs)]
    if len(where) == 1 and not np.any(differs & ~reached[where[0]]):
        yield Reason("place", f"it differs only where the path through {case.label(where[0])} arrives")
