"""Why a line is wrong.

A reason is an equation between the line's result, the expected gradient, and something that has a name: the size of an
axis, a value, the contribution of a consumer. It is reported only if it holds for all elements, in two samples of
different values and, where possible, different sizes, and if only one name explains the result. Then `repair` searches
for an edit of the line that makes it right. If there is neither, the report shows the worst element.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minigrad.engine.specialize import unbroadcast
from minigrad.verify.derivation import repair
from minigrad.verify.derivation.backward_pass import BackwardPass, CannotRun, Line
from minigrad.verify.derivation.derivation_report import LineReport
from minigrad.verify.derivation.named_factors import (
    Case,
    Reason,
    broadcasts,
    constant_ratio,
    factors,
    number_names,
    power_text,
    times_text,
    times_value,
)
from minigrad.verify.derivation.places import places
from minigrad.verify.derivation.reference import ROUNDING, contributions_through, diagonal_contribution
from minigrad.verify.derivation.sample import Sample

Array = Any
MOST_FACTORS = 120  # that are tried in pairs, the line's own first


def explain(derivation: BackwardPass, report: LineReport, first: Sample, second: Sample, *, seconds: float) -> None:
    """Fill in the reason and the repair of a wrong line."""
    line = derivation.lines[report.target]
    if not report.reason:
        report.kind, report.reason, _ = common_reason(_cases(derivation, line, report, first, second))
    try:
        report.repair = repair.search(derivation, line, [first, second], report, seconds)
    except (OSError, TypeError, SyntaxError):  # the source is not available
        report.repair = None


def _cases(derivation: BackwardPass, line: Line, report: LineReport, first: Sample, second: Sample) -> list[Case]:
    """The line's result in each sample; only in the first if the upstream gradient is random."""
    is_random = report.random_upstream is not None
    cases = []
    for sample in [first] if is_random else [first, second]:
        reference = sample.reference
        try:
            result = derivation.evaluate(line, report.random_upstream or sample.names())
        except CannotRun:
            continue
        expected = report.expected if is_random else reference.gradients[line.target]
        contributions = {} if is_random else reference.contributions[line.target]
        used = line.upstream(reference)
        if contributions and used and not set(used) <= set(contributions):
            contributions = contributions_through(reference, line.target, used) or contributions
        values = {k: reference.run.values[k] for k in line.parameters if k in reference.run.values}
        values |= reference.run.values
        cases.append(Case(line.target, result, expected, contributions, values, sample.sizes, reference))
    return cases


def common_reason(cases: Sequence[Case]) -> Reason:
    """The first explanation that gives the same reason in every sample, and only one.

    If the samples have other values and other sizes, several names for one reason are equal by construction, as `scale`
    and 1/√D: the first one counts.
    """
    with np.errstate(all="ignore"):
        return _common_reason(cases)


def _common_reason(cases: Sequence[Case]) -> Reason:
    unnamed = []
    differ = len(cases) > 1 and _have_other_sizes(cases)
    for explain_case in EXPLANATIONS:
        if explain_case is _two_factors and not differ and len(cases) > 1:
            continue  # with the sizes of one sample, two factors explain too much
        by_case = [dict.fromkeys(explain_case(case)) for case in cases]
        common = [reason for reason in by_case[0] if all(reason in other for other in by_case[1:])] if by_case else []
        named = [reason for reason in common if not reason.is_unnamed]
        if len(named) == 1 or (named and (differ or named[0].kind == "place")):
            return named[0]
        unnamed += [reason for reason in common if reason.is_unnamed]
    return unnamed[0] if unnamed else Reason("unexplained", "it differs from the tape")


def _have_other_sizes(cases: Sequence[Case]) -> bool:
    """Whether every size is another one in one of the samples."""
    first = cases[0].sizes
    return bool(first) and all(any(case.sizes.get(k) != n for case in cases[1:]) for k, n in first.items())


def _shape(case: Case) -> Iterator[Reason]:
    shape, expected_shape = case.result.shape, case.expected.shape
    if shape == expected_shape:
        if len(shape) == 2 and shape == shape[::-1] and case.equal(case.result.T, case.expected):
            yield Reason("transposed", "it is transposed")
        return
    if case.result.size == case.expected.size and case.equal(case.result.reshape(expected_shape), case.expected):
        yield Reason("shape", "only its shape is wrong")
    elif case.result.ndim == 2 and case.equal(case.result.T, case.expected):
        yield Reason("transposed", "it is transposed")
    elif broadcasts(expected_shape, shape):
        extra = len(shape) - len(expected_shape)
        axes = [k for k, n in enumerate(shape) if k < extra or expected_shape[k - extra] != n]
        missing = f"the sum over {_axes(axes)} is missing"
        summed = replace(case, result=unbroadcast(case.result, expected_shape))
        named = [r for r in (*_number(summed), *_value(summed), *_paths(summed)) if not r.is_unnamed]
        if case.equal(summed.result, case.expected):
            yield Reason("shape", missing)
        elif len(named) == 1:
            yield Reason("shape", f"{missing}; and {named[0].text}")
        else:
            yield Reason("shape", missing, is_unnamed=True)
    elif broadcasts(shape, expected_shape):
        broadcast = replace(case, result=np.broadcast_to(case.result, expected_shape))
        for reason in (*_number(broadcast), *_paths(broadcast)):
            yield Reason("shape", f"{reason.text}; it lacks an axis", reason.is_unnamed)
        ndim = len(expected_shape)
        for axes in (list(c) for n in range(1, ndim + 1) for c in itertools.combinations(range(ndim), n)):
            sums = [case.expected.sum(axis=tuple(axes), keepdims=keepdims) for keepdims in (False, True)]
            if any(case.equal(case.result, total) for total in sums):
                yield Reason("shape", f"it is summed over {_axes(axes)}, which must be kept")
    yield Reason("shape", "its shape is wrong", is_unnamed=True)


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
        for text, is_unnamed in number_names(case, factor):
            sentence = f"it is {text} times the right value" if is_unnamed else times_text(case, text)
            yield Reason("factor", sentence, is_unnamed)


def _value(case: Case) -> Iterator[Reason]:
    for label, power, sign in times_value(case, case.result, case.expected):
        yield Reason("value", power_text(label, power, sign))


def _paths(case: Case) -> Iterator[Reason]:
    """The contributions are multiplied by other numbers than 1: 0 if one is missing."""
    contributions = {k: term for k, term in case.contributions.items() if not case.is_zero(term)}
    if case.result.shape != case.expected.shape or len(case.contributions) < 2 or not contributions:
        return
    columns = np.stack([np.ravel(term) for term in contributions.values()], axis=1)
    if np.linalg.matrix_rank(columns, rtol=1e-9) < len(contributions):  # the factors are not unique
        return
    multiples = np.linalg.lstsq(columns, np.ravel(case.result), rcond=None)[0]
    if not case.equal(columns @ multiples, np.ravel(case.result)):
        return
    wrong = {k: float(c) for k, c in zip(contributions, multiples, strict=True) if not math.isclose(c, 1, abs_tol=1e-7)}
    if not wrong or len(wrong) > 2 or (len(wrong) == len(contributions) > 1):
        return
    if len({round(c, 7) for c in wrong.values()}) == 1:
        is_plural = len(wrong) > 1
        paths = f"the path{'s' if is_plural else ''} through {' and '.join(case.label(k) for k in wrong)}"
        for text, is_unnamed in _times_text(case, next(iter(wrong.values())), is_plural):
            yield Reason("path", f"{paths} {text}", is_unnamed)


def _times_text(case: Case, factor: float, is_plural: bool) -> Iterator[tuple[str, bool]]:
    if abs(factor) < 1e-7:
        yield "are missing" if is_plural else "is missing", False
    elif math.isclose(factor, 2, rel_tol=1e-7):
        yield "are counted twice" if is_plural else "is counted twice", False
    elif math.isclose(factor, -1, rel_tol=1e-7):
        yield "have the wrong sign" if is_plural else "has the wrong sign", False
    else:
        for text, is_unnamed in number_names(case, factor):
            yield f"{'come' if is_plural else 'comes'} {text} times", is_unnamed


def _path_times_value(case: Case) -> Iterator[Reason]:
    """One contribution is off by a factor that has a name."""
    if case.result.shape != case.expected.shape or len(case.contributions) < 2:
        return
    for k, contribution in case.contributions.items():
        if not case.is_zero(contribution):
            for label, power, sign in times_value(case, case.result - (case.expected - contribution), contribution):
                text = power_text(label, power, sign).replace("it is", "the contribution is")
                yield Reason("path", f"in the path through {case.label(k)}, {text}")


def _two_factors(case: Case) -> Iterator[Reason]:
    """Two named values, or one and a size, are missing from the result or from one contribution."""
    if case.result.shape != case.expected.shape:
        return
    parts = {"": (case.result, case.expected)}
    if len(case.contributions) > 1:
        for k, contribution in case.contributions.items():
            parts[f"in the path through {case.label(k)}, "] = (
                case.result - (case.expected - contribution),
                contribution,
            )
    for where, (result, expected) in parts.items():
        if case.equal(result, 0 * expected):
            continue
        usable = ((label, f) for label, f in factors(case, expected.shape) if not np.any(f == 0))
        named = list(itertools.islice(usable, MOST_FACTORS))
        for label, f in named:
            for text in _named_numbers(case, constant_ratio(case, expected, result * f)):
                yield Reason("value", f"{where}the factors {text} and {label} are missing")
            for text in _named_numbers(case, constant_ratio(case, result, expected * f)):
                yield Reason("value", f"{where}it is {text} · {label} times the right value")
        index = np.unravel_index(int(np.argmax(np.abs(expected))), expected.shape)
        ratio = abs(float(result[index] / expected[index]))
        elements = [abs(float(np.broadcast_to(f, expected.shape)[index])) for _, f in named]
        for ((label, f), s), ((other, g), t) in itertools.combinations(zip(named, elements, strict=True), 2):
            if not any(math.isclose(r, ratio, rel_tol=1e-6) for r in (s * t, 1 / (s * t))):  # excludes most
                continue
            if case.equal(result * f * g, expected):
                yield Reason("value", f"{where}the factors {label} and {other} are missing")
            elif case.equal(result, expected * f * g):
                yield Reason("value", f"{where}it is {label} · {other} times the right value")


def _named_numbers(case: Case, factor: float | None) -> list[str]:
    if not factor or math.isclose(abs(factor), 1, rel_tol=1e-7):
        return []
    return [text for text, is_unnamed in number_names(case, factor) if not is_unnamed]


def _diagonal(case: Case) -> Iterator[Reason]:
    """A function that mixes elements is treated as an elementwise one."""
    for k, contribution in case.contributions.items():
        own = (
            diagonal_contribution(case.reference, k, case.target, list(case.contributions))
            if case.result.shape == case.expected.shape
            else None
        )
        if own is not None and case.equal(case.result, case.expected - contribution + own):
            yield Reason(
                "diagonal",
                f"only the diagonal of d{case.label(k)}/d{case.label(case.target)} is not 0: each element of "
                f"{case.label(case.target)} also reaches other elements of {case.label(k)}",
            )


def _where(case: Case) -> Iterator[Reason]:
    """The result differs only in elements that just one contribution reaches."""
    if case.result.shape != case.expected.shape or len(case.contributions) < 2:
        return
    differs = np.abs(case.result - case.expected) > ROUNDING * case.reference.scale
    reached = {k: contribution != 0 for k, contribution in case.contributions.items()}
    reaching = [k for k, elements in reached.items() if np.any(elements & differs)]
    if len(reaching) == 1 and not np.any(differs & ~reached[reaching[0]]):
        yield Reason("place", f"it differs only where the path through {case.label(reaching[0])} arrives")


# The simple ones first.
EXPLANATIONS = (
    _shape, _zero, _number, _value, _paths, _path_times_value, places, _two_factors, _diagonal, _where,
)  # fmt: skip
