"""The numbers and values that may explain the difference between a wrong result and the reference."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minigrad.verify.derivation.reference import ROUNDING, Reference, agree

Array = Any
POWERS = (-1.0, 1.0, -0.5, 0.5, -2.0, 2.0, -1.5, 1.5)


class Reason(NamedTuple):
    """An explanation of a wrong result."""

    kind: str
    text: str
    is_unnamed: bool = False  # whether it is only a number, without a name; used if there is no better reason


@dataclass
class Case:
    """A wrong result, the expected one, and everything that may explain the difference."""

    target: str
    result: Array
    expected: Array
    contributions: dict[str, Array]  # by consumer
    values: dict[str, Any]  # by name
    sizes: dict[str, float]
    reference: Reference

    def label(self, name: str) -> str:
        """The label of a value in formulas."""
        return self.reference.label(name)

    def equal(self, a: Array, b: Array) -> bool:
        """Whether a is b up to rounding."""
        largest = max(float(np.max(np.abs(self.expected), initial=0.0)), float(np.max(np.abs(b), initial=0.0)))
        return agree(a, b, rtol=1e-7, floor=1e-14, largest=largest)

    def is_zero(self, contribution: Array) -> bool:
        """Whether a contribution is 0 up to rounding."""
        return not np.any(np.abs(contribution) > ROUNDING * self.reference.scale)


def constant_ratio(case: Case, a: Array, b: Array) -> float | None:
    """The number c with a = c b for all elements, or None; 0 if a is 0 up to rounding."""
    if a.shape != b.shape or not a.size or not np.any(b):
        return None
    if case.equal(a, 0 * b):
        return 0.0
    index = np.unravel_index(int(np.argmax(np.abs(b))), b.shape)
    factor = float(a[index] / b[index])
    return factor if case.equal(a, factor * b) else None


SIMPLE_NUMBERS = {"2": 2.0, "½": 0.5, "3/2": 1.5, "⅔": 2 / 3, "3": 3.0, "⅓": 1 / 3, "4": 4.0, "¼": 0.25}


MISSING = {"½": "2", "⅓": "3", "¼": "4"}


def number_names(case: Case, factor: float) -> Iterator[tuple[str, bool]]:
    """Texts for a number, and whether they have no name: simple numbers, values, sizes, and last the number itself."""
    sign, absolute = ("-", -factor) if factor < 0 else ("", factor)
    for text, number in itertools.chain(SIMPLE_NUMBERS.items(), _values(case), _numbers_of_sizes(case.sizes)):
        if math.isclose(number, absolute, rel_tol=1e-7):
            yield sign + text, False
    simple = next((text for text, n in SIMPLE_NUMBERS.items() if math.isclose(n, absolute, rel_tol=1e-7)), "")
    yield sign + simple if simple else f"{factor:.6g}", True


def _values(case: Case) -> Iterator[tuple[str, float]]:
    """Values that are one number, and 1 divided by them, by their names."""
    for name, value in case.values.items():
        if np.ndim(value) == 0 and np.asarray(value).dtype.kind == "f" and value not in (0, 1):
            yield case.label(name), float(value)
            yield f"1/{case.label(name)}", 1 / float(value)


def times_text(case: Case, text: str) -> str:
    """The sentence for a result that is a number, with its text, times the right one."""
    missing = MISSING.get(text, text[2:] if text.startswith("1/") else "")
    is_name = missing.isdigit() or (missing.isidentifier() and missing not in case.sizes)
    return f"it is {text} times the right value" + (f": the factor {missing} is missing" if is_name else "")


def _numbers_of_sizes(sizes: Mapping[str, float]) -> Iterator[tuple[str, float]]:
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
    """Named values that broadcast to a shape, and simple expressions of them, which may be factors."""
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
    index = np.unravel_index(int(np.argmax(np.abs(b))), b.shape)
    ratio = abs(float(a[index] / b[index]))
    for label, factor in factors(case, b.shape):
        element = abs(float(np.broadcast_to(factor, b.shape)[index]))
        for power in POWERS:
            if not element or not math.isclose(element**power, ratio, rel_tol=1e-6):  # one element excludes most
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


def power_text(label: str, power: float, sign: int) -> str:
    """The sentence for a result that is sign · label^power times the right one."""
    wrong_sign = ", and the sign is wrong" if sign < 0 else ""
    if power == -1:
        return f"the factor {label} is missing{wrong_sign}"
    return f"it is {label}{'' if power == 1 else f'^{power:g}'} times the right value{wrong_sign}"


def broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether an array of the small shape broadcasts to the large one."""
    try:
        return np.broadcast_shapes(small, large) == large
    except ValueError:
        return False
