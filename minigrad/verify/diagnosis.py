"""Why a line is wrong, from evidence.

A reason is an equation between the line's result, the truth, and things that have a name: a size, a value, the share
that arrives through a consumer. It is told only if it holds for all elements, in two draws, and if one name alone
explains it; otherwise the report shows the worst element. Then an edit of the line itself is sought that makes it right.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.specialize import unbroadcast
from minigrad.verify import repair
from minigrad.verify.derivation_report import LineReport
from minigrad.verify.forward import sizes_by_name

if TYPE_CHECKING:
    from minigrad.verify.derivation import Derivation, Draw, Line

Array = Any
POWERS = (-1.0, 1.0, -0.5, 0.5, -2.0, 2.0, -1.5, 1.5)


@dataclass
class Case:
    """A wrong result beside the truth, with all that may explain it."""

    result: Array
    expected: Array
    shares: dict[str, Array]  # by consumer
    values: dict[str, Any]  # by name
    sizes: dict[str, float]
    labels: dict[str, str]

    def label(self, name: str) -> str:
        return self.labels.get(name, name)

    def equal(self, a: Array, b: Array) -> bool:
        largest = max(float(np.max(np.abs(self.expected), initial=0.0)), float(np.max(np.abs(b), initial=0.0)))
        return a.shape == b.shape and bool(np.all(np.abs(a - b) <= 1e-7 * (np.abs(b) + 1e-3 * largest) + 1e-14))


Reason = tuple[str, str]  # kind, sentence


def explain(
    derivation: Derivation, line: Line, report: LineReport, first: Draw, second: Draw, rtol: float, seconds: float
) -> None:
    """Fill in the reason and the repair of a wrong line."""
    cases = []
    for draw in (first, second):
        names, expected = draw.names(), draw.truth.gradients[line.target]
        if draw is first and report.random_upstream is not None:
            names, expected = report.random_upstream, report.expected
        try:
            result = derivation.evaluate(line, names)
        except (ValueError, TypeError):
            break
        cases.append(
            Case(result, expected, draw.truth.shares[line.target], draw.truth.run.values,
                 sizes_by_name(derivation.forward, draw.truth.run), draw.truth.run.labels)
        )  # fmt: skip
    if report.random_upstream is not None:
        cases = cases[:1]
    if not report.reason:
        report.kind, report.reason = _first_reason(cases, line.target)
    try:
        report.repair = repair.search(derivation, line, [first, second], report, seconds)
    except (OSError, TypeError, SyntaxError):  # no source to be had
        report.repair = None


def _first_reason(cases: list[Case], target: str) -> Reason:
    """The first explanation that says the same in every draw."""
    for explanation in (_shape, _number, _value, _path, _path_times):
        told = [explanation(case, target) for case in cases]
        if told and told[0] is not None and all(reason == told[0] for reason in told):
            return told[0]
    return ("unexplained", "it differs from the tape")


def _shape(case: Case, target: str) -> Reason | None:
    got, want = case.result.shape, case.expected.shape
    if got == want:
        if got != got[::-1] or len(got) != 2:
            return None
        return ("transposed", "it is transposed") if case.equal(case.result.T, case.expected) else None
    told = f"the result has shape {got}, {case.label(target)} has {want}"
    if case.result.size == case.expected.size and case.equal(case.result.reshape(want), case.expected):
        return ("shape", f"right but for its shape: {told}")
    if case.result.ndim == 2 and case.equal(case.result.T, case.expected):
        return ("transposed", f"it is transposed: {told}")
    if _broadcasts(want, got):
        summed = unbroadcast(case.result, want)
        axes = [k for k in range(len(got)) if k < len(got) - len(want) or want[k - len(got) + len(want)] != got[k]]
        where = f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
        if case.equal(summed, case.expected):
            return ("shape", f"the sum over {where} is missing: {told}")
        inner = Case(summed, case.expected, case.shares, case.values, case.sizes, case.labels)
        more = _number(inner, target) or _value(inner, target) or _path(inner, target)
        return ("shape", f"the sum over {where} is missing: {told}" + (f"; and {more[1]}" if more else ""))
    if _broadcasts(got, want):
        for n in range(1, len(want) + 1):
            for axes_ in itertools.combinations(range(len(want)), n):
                for keep in (False, True):
                    if case.equal(case.result, case.expected.sum(axis=axes_, keepdims=keep)):
                        return ("shape", f"it is summed over axis {', '.join(map(str, axes_))}, which must stay: {told}")
    return ("shape", told)


def _broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(small, large) == large
    except ValueError:
        return False


def _number(case: Case, target: str) -> Reason | None:
    factor = _constant_ratio(case, case.result, case.expected)
    if factor is None:
        return None
    if factor == 0:
        return ("zero", "it is 0 everywhere")
    if math.isclose(factor, -1, rel_tol=1e-7):
        return ("factor", "the sign is wrong")
    return ("factor", f"it is {_number_named(case, factor)} times the right value")


def _constant_ratio(case: Case, a: Array, b: Array) -> float | None:
    """c with a = c b for all elements, and 0 exactly where b is."""
    if a.shape != b.shape or not a.size or not np.any(b):
        return None
    place = np.unravel_index(int(np.argmax(np.abs(b))), b.shape)
    factor = float(a[place] / b[place])
    return factor if case.equal(a, factor * b) else None


def _number_named(case: Case, factor: float) -> str:
    """A number with the name that explains it, if exactly one does."""
    simple = {2.0: "2", 0.5: "½", -2.0: "-2", -0.5: "-½", 3.0: "3", 1 / 3: "⅓", 4.0: "4", 0.25: "¼"}
    matches = [text for number, text in simple.items() if math.isclose(number, factor, rel_tol=1e-7)]
    for text, number in _sizes(case.sizes):
        for sign, prefix in ((1, ""), (-1, "-")):
            if math.isclose(sign * number, factor, rel_tol=1e-7):
                matches.append(prefix + text)
    return matches[0] if len(matches) == 1 else f"{factor:.6g}"


def _sizes(sizes: dict[str, float]) -> Iterator[tuple[str, float]]:
    for name, n in sizes.items():
        yield name, n
        yield f"1/{name}", 1 / n
        yield f"({name} - 1)/{name}", (n - 1) / n
        yield f"{name}/({name} - 1)", n / (n - 1)
        yield f"({name} - 1)", n - 1
        yield f"1/({name} - 1)", 1 / (n - 1)
    for (a, m), (b, n) in itertools.combinations(sizes.items(), 2):
        yield f"{a}·{b}", m * n
        yield f"1/({a}·{b})", 1 / (m * n)


def _factors(case: Case, shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """Named values, and sums of one with a constant, that fit the shape: what a factor may be made of."""
    numbers = {k: v for k, v in case.values.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    for name, value in case.values.items():
        array = np.asarray(value)
        if array.dtype.kind not in "fi" or not _broadcasts(array.shape, shape):
            continue
        label = case.label(name)
        yield label, array
        if name in numbers:
            continue
        for constant, c in numbers.items():
            yield f"({label} + {case.label(constant)})", array + c
        yield f"(1 - {label})", 1 - array
        yield f"(1 + {label})", 1 + array
        yield f"(1 - {label}²)", 1 - array**2


def _value(case: Case, target: str) -> Reason | None:
    found = list(_times_value(case, case.result, case.expected))
    if len({kind_of for kind_of, _, _ in found}) != 1:
        return None
    label, power, sign = found[0]
    return ("value", _power_told(label, power, sign))


def _times_value(case: Case, a: Array, b: Array) -> Iterator[tuple[str, float, int]]:
    """Each (label, power, sign) with a = sign · label^power · b."""
    if a.shape != b.shape or not np.any(a):
        return
    for label, factor in _factors(case, b.shape):
        for power in POWERS:
            if power not in (-1.0, 1.0, 2.0, -2.0) and np.any(factor <= 0):
                continue
            with np.errstate(all="ignore"):
                scaled = factor**power
            if not np.all(np.isfinite(scaled)) or np.allclose(np.abs(scaled), 1.0):
                continue
            for sign in (1, -1):
                if case.equal(a, sign * scaled * b):
                    yield label, power, sign


def _power_told(label: str, power: float, sign: int) -> str:
    also = ", and the sign is wrong" if sign < 0 else ""
    if power == -1:
        return f"the factor {label} is missing{also}"
    if power == 1:
        return f"the factor {label} is once too many{also}"
    return f"it is {label}^{power:g} times the right value{also}"


def _path(case: Case, target: str) -> Reason | None:
    if case.result.shape != case.expected.shape:
        return None
    found: list[str] = []
    shares = {k: s for k, s in case.shares.items() if np.any(np.abs(s) > 1e-11)}
    for k, share in shares.items():
        through = f"the path through {case.label(k)}"
        if len(shares) > 1 and case.equal(case.result, case.expected - share):
            found.append(f"{through} is missing")
        if len(shares) > 1 and case.equal(case.result, case.expected + share):
            found.append(f"{through} is counted twice")
        if len(shares) > 1 and case.equal(case.result, case.expected - 2 * share):
            found.append(f"{through} has the wrong sign")
    for a, b in itertools.combinations(shares, 2):
        if len(shares) > 2 and case.equal(case.result, case.expected - shares[a] - shares[b]):
            found.append(f"the paths through {case.label(a)} and {case.label(b)} are missing")
    return ("path", found[0]) if len(found) == 1 else None


def _path_times(case: Case, target: str) -> Reason | None:
    """One share is off by a factor."""
    if case.result.shape != case.expected.shape:
        return None
    found = []
    for k, share in case.shares.items():
        rest = case.result - (case.expected - share)
        if not np.any(np.abs(share) > 1e-11) or len(case.shares) < 2:
            continue
        factor = _constant_ratio(case, rest, share)
        if factor is not None:
            found.append(f"the path through {case.label(k)} comes {_number_named(case, factor)} times")
            continue
        values = list(_times_value(case, rest, share))
        if len({label for label, _, _ in values}) == 1:
            told = _power_told(*values[0]).replace("it is", "the path comes").replace("the right value", "as large")
            found.append(f"in the path through {case.label(k)}, {told}")
    return ("path", found[0]) if len(found) == 1 else None


