"""Why a line is wrong, from evidence.

A reason is an equation between the line's result, the truth, and things that have a name: a size, a value, the share
that arrives through a consumer. It is told only if it holds for all elements, in two draws of different values and,
where that is possible, different sizes, and if one name alone explains it. Then an edit of the line itself is sought
that makes it right. What has neither is shown by its worst element.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minigrad.specialize import unbroadcast
from minigrad.verify import repair
from minigrad.verify.derivation_report import LineReport
from minigrad.verify.truth import Truth, diagonal
from minigrad.verify.verdicts import CannotRun

if TYPE_CHECKING:
    from minigrad.verify.derivation import Derivation, Line
    from minigrad.verify.draws import Draw

Array = Any
POWERS = (-1.0, 1.0, -0.5, 0.5, -2.0, 2.0, -1.5, 1.5)


class Reason(NamedTuple):
    """What explains a wrong result."""

    kind: str
    text: str
    bare: bool = False  # a number without a name, for want of a better reason


@dataclass
class Case:
    """A wrong result beside the truth, with all that may explain it."""

    target: str
    result: Array
    expected: Array
    shares: dict[str, Array]  # by consumer
    values: dict[str, Any]  # by name
    sizes: dict[str, float]
    truth: Truth

    def label(self, name: str) -> str:
        """What a value is called in formulas."""
        return self.truth.run.labels.get(name, name)

    def equal(self, a: Array, b: Array) -> bool:
        """Whether a is b up to rounding."""
        largest = max(float(np.max(np.abs(self.expected), initial=0.0)), float(np.max(np.abs(b), initial=0.0)))
        return a.shape == b.shape and bool(np.all(np.abs(a - b) <= 1e-7 * (np.abs(b) + 1e-3 * largest) + 1e-14))


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
        shares = {} if report.random_upstream is not None else t.shares[line.target]
        cases.append(Case(line.target, result, expected, shares, t.run.values, made.sizes, t))
    return cases


def _common_reason(cases: Sequence[Case]) -> Reason:
    """The first explanation that says one and the same in every draw."""
    bare = []
    for explanation in (_shape, _zero, _number, _value, _paths, _path_times_value, _diagonal, _place):
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
    elif _broadcasts(want, got):
        axes = [k for k in range(len(got)) if k < len(got) - len(want) or want[k - len(got) + len(want)] != got[k]]
        missing = f"the sum over {_axes(axes)} is missing"
        summed = replace(case, result=unbroadcast(case.result, want))
        if case.equal(summed.result, case.expected):
            yield Reason("shape", missing)
            return
        more = [r for r in (*_number(summed), *_value(summed), *_paths(summed)) if not r.bare]
        yield Reason("shape", missing + (f"; and {more[0].text}" if len(more) == 1 else ""))
    elif _broadcasts(got, want):
        for axes in (list(c) for n in range(1, len(want) + 1) for c in itertools.combinations(range(len(want)), n)):
            if any(
                case.equal(case.result, case.expected.sum(axis=tuple(axes), keepdims=keep)) for keep in (False, True)
            ):
                yield Reason("shape", f"it is summed over {_axes(axes)}, which must stay")
    else:
        yield Reason("shape", "its shape is wrong")


def _axes(axes: Sequence[int]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"


def _broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(small, large) == large
    except ValueError:
        return False


def _zero(case: Case) -> Iterator[Reason]:
    if case.equal(case.result, 0 * case.expected) and not list(_paths(case)):
        yield Reason("zero", "it is 0 everywhere")


def _number(case: Case) -> Iterator[Reason]:
    factor = _constant_ratio(case, case.result, case.expected)
    if not factor:
        return
    if math.isclose(factor, -1, rel_tol=1e-7):
        yield Reason("factor", "the sign is wrong")
    else:
        for text, bare in _number_names(case, factor):
            yield Reason("factor", f"it is {text} times the right value", bare)


def _constant_ratio(case: Case, a: Array, b: Array) -> float | None:
    """c with a = c b for all elements; 0 if a is 0 up to rounding."""
    if a.shape != b.shape or not a.size or not np.any(b):
        return None
    if case.equal(a, 0 * b):
        return 0.0
    place = np.unravel_index(int(np.argmax(np.abs(b))), b.shape)
    factor = float(a[place] / b[place])
    return factor if case.equal(a, factor * b) else None


SIMPLE = {"2": 2.0, "½": 0.5, "3/2": 1.5, "⅔": 2 / 3, "3": 3.0, "⅓": 1 / 3, "4": 4.0, "¼": 0.25}


def _number_names(case: Case, factor: float) -> Iterator[tuple[str, bool]]:
    """The texts that explain a number: small numbers and sizes; then just the number, if not one of them does."""
    sign, size = ("-", -factor) if factor < 0 else ("", factor)
    for text, number in itertools.chain(SIMPLE.items(), _sizes(case.sizes)):
        if math.isclose(number, size, rel_tol=1e-7):
            yield sign + text, False
    yield f"{factor:.6g}", True


def _sizes(sizes: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    for name, n in sizes.items():
        yield name, n
        yield f"1/{name}", 1 / n
        yield f"2·{name}", 2 * n
        yield f"2/{name}", 2 / n
        yield f"√{name}", math.sqrt(n)
        yield f"1/√{name}", 1 / math.sqrt(n)
        yield f"{name}²", n * n
        yield f"1/{name}²", 1 / (n * n)
        yield f"({name} - 1)/{name}", (n - 1) / n
        yield f"{name}/({name} - 1)", n / (n - 1)
        yield f"({name} - 1)", n - 1
        yield f"1/({name} - 1)", 1 / (n - 1)
        yield f"({name} + 1)/{name}", (n + 1) / n
        yield f"{name}/({name} + 1)", n / (n + 1)
    for (a, m), (b, n) in itertools.combinations(sizes.items(), 2):
        yield f"{a}·{b}", m * n
        yield f"1/({a}·{b})", 1 / (m * n)
        yield f"{a}/{b}", m / n
        yield f"{b}/{a}", n / m


def _factors(case: Case, shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """Named values, and sums of one with a constant, that fit the shape: what a factor may be made of."""
    numbers = {k: v for k, v in case.values.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    for name, value in case.values.items():
        array = np.asarray(value)
        if array.dtype.kind not in "fi" or not _broadcasts(array.shape, shape):
            continue
        label = case.label(name)
        yield label, array
        yield f"(1 - {label})", 1 - array
        if name in numbers:
            continue
        for constant, c in numbers.items():
            yield f"({label} + {case.label(constant)})", array + c
        yield f"(1 + {label})", 1 + array
        yield f"(1 - {label}²)", 1 - array**2


def _value(case: Case) -> Iterator[Reason]:
    for label, power, sign in _times_value(case, case.result, case.expected):
        yield Reason("value", _power_told(label, power, sign))


def _times_value(case: Case, a: Array, b: Array) -> Iterator[tuple[str, float, int]]:
    """Each (label, power, sign) with a = sign · label^power · b."""
    if a.shape != b.shape or case.equal(a, 0 * b):
        return
    for label, factor in _factors(case, b.shape):
        for power in POWERS:
            if power not in (-1.0, 1.0, 2.0, -2.0) and np.any(factor <= 0):
                continue
            with np.errstate(all="ignore"):
                scaled = np.power(factor.astype(float), power)
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


def _paths(case: Case) -> Iterator[Reason]:
    """The numbers by which the shares must be multiplied to give the result: 1 each if it is right."""
    shares = {k: s for k, s in case.shares.items() if np.any(np.abs(s) > 1e-11 * case.truth.scale)}
    if case.result.shape != case.expected.shape or len(case.shares) < 2 or not shares:
        return
    columns = np.stack([np.ravel(s) for s in shares.values()], axis=1)
    if np.linalg.matrix_rank(columns, rtol=1e-9) < len(shares):  # several answers: none can be told
        return
    found = np.linalg.lstsq(columns, np.ravel(case.result), rcond=None)[0]
    if not case.equal(columns @ found, np.ravel(case.result)):
        return
    off = {k: float(c) for k, c in zip(shares, found, strict=True) if not math.isclose(c, 1, abs_tol=1e-7)}
    if not off or len(off) > 2 or (len(off) == len(shares) > 1):
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
        for text, bare in _number_names(case, factor):
            yield f"{'come' if many else 'comes'} {text} times", bare


def _path_times_value(case: Case) -> Iterator[Reason]:
    """One share is off by a factor that has a name."""
    if case.result.shape != case.expected.shape or len(case.shares) < 2:
        return
    for k, share in case.shares.items():
        if np.any(np.abs(share) > 1e-11 * case.truth.scale):
            for label, power, sign in _times_value(case, case.result - (case.expected - share), share):
                told = _power_told(label, power, sign).replace("it is", "the share is")
                yield Reason("path", f"in the path through {case.label(k)}, {told}")


def _diagonal(case: Case) -> Iterator[Reason]:
    """A function that mixes elements, taken for one that does not."""
    for k, share in case.shares.items():
        own = diagonal(case.truth, k, case.target) if case.result.shape == case.expected.shape else None
        if own is not None and case.equal(case.result, case.expected - share + own):
            yield Reason(
                "diagonal",
                f"only the diagonal of d{case.label(k)}/d{case.label(case.target)} is there: each element of "
                f"{case.label(case.target)} also reaches other elements of {case.label(k)}",
            )


def _place(case: Case) -> Iterator[Reason]:
    """The difference lies only where one share alone arrives."""
    if case.result.shape != case.expected.shape or len(case.shares) < 2:
        return
    differs = np.abs(case.result - case.expected) > 1e-11 * case.truth.scale
    reached = {k: s != 0 for k, s in case.shares.items()}
    where = [k for k, places in reached.items() if np.any(places & differs)]
    if len(where) == 1 and not np.any(differs & ~reached[where[0]]):
        yield Reason("place", f"it differs only where the path through {case.label(where[0])} arrives")
