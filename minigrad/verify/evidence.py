"""What a reason is made of: a wrong result beside the truth, and the numbers and values that may stand between them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minigrad.verify.truth import Truth

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
    contributions: dict[str, Array]  # by consumer
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


def constant_ratio(case: Case, a: Array, b: Array) -> float | None:
    """c with a = c b for all elements; 0 if a is 0 up to rounding."""
    if a.shape != b.shape or not a.size or not np.any(b):
        return None
    if case.equal(a, 0 * b):
        return 0.0
    place = np.unravel_index(int(np.argmax(np.abs(b))), b.shape)
    factor = float(a[place] / b[place])
    return factor if case.equal(a, factor * b) else None


SIMPLE = {"2": 2.0, "½": 0.5, "3/2": 1.5, "⅔": 2 / 3, "3": 3.0, "⅓": 1 / 3, "4": 4.0, "¼": 0.25}


def number_names(case: Case, factor: float) -> Iterator[tuple[str, bool]]:
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


def factors(case: Case, shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """Named values, and sums of one with a constant, that fit the shape: what a factor may be made of."""
    numbers = {k: v for k, v in case.values.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    for name, value in case.values.items():
        array = np.asarray(value)
        if array.dtype.kind not in "fi" or not broadcasts(array.shape, shape):
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


def times_value(case: Case, a: Array, b: Array) -> Iterator[tuple[str, float, int]]:
    """Each (label, power, sign) with a = sign · label^power · b."""
    if a.shape != b.shape or case.equal(a, 0 * b):
        return
    place = np.unravel_index(int(np.argmax(np.abs(b))), b.shape)
    ratio = abs(float(a[place] / b[place]))
    for label, factor in factors(case, b.shape):
        sample = abs(float(np.broadcast_to(factor, b.shape)[place]))
        for power in POWERS:
            if not sample or not math.isclose(sample**power, ratio, rel_tol=1e-6):  # one element rules out most
                continue
            if power not in (-1.0, 1.0, 2.0, -2.0) and np.any(factor <= 0):
                continue
            with np.errstate(all="ignore"):
                scaled = np.power(factor.astype(float), power)
            if not np.all(np.isfinite(scaled)) or np.allclose(np.abs(scaled), 1.0):
                continue
            for sign in (1, -1):
                if case.equal(a, sign * scaled * b):
                    yield label, power, sign


def power_told(label: str, power: float, sign: int) -> str:
    """The sentence on a result that is sign · label^power times the right one."""
    also = ", and the sign is wrong" if sign < 0 else ""
    if power == -1:
        return f"the factor {label} is missing{also}"
    return f"it is {label}{'' if power == 1 else f'^{power:g}'} times the right value{also}"


def broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether an array of the small shape broadcasts to the large one."""
    try:
        return np.broadcast_shapes(small, large) == large
    except ValueError:
        return False
