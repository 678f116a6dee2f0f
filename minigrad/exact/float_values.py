"""The number that a float stands for.

A float in a program is a number that somebody wrote (0.1 is 1/10), or was computed from such numbers (1/3 is not the
dyadic fraction next to it). The first of these that fits is the value of a float:

- the decimal of at most 12 digits that prints like it;
- the exact value of a constant of the program, if the float is that constant rounded (`Constants.learn`);
- a fraction n/d with a small n d that is equal to it within a few roundings;
- a known constant times or divided by such a fraction: a folded product of constants;
- the dyadic fraction with its bits.

The few roundings limit what is proven about constants: 4 units in the last place of float64, or of float32 for a number
that float32 represents.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from fractions import Fraction
from typing import Any

import numpy as np

from minigrad.exact.field import GENERATOR, P, Q, Residues, scrambled
from minigrad.exact.unknowns import CONSTANT, is_changed

DIGITS = 12
SIMPLE = 1 << 40  # the largest numerator times denominator of a simple fraction
SIMPLE_SINGLE = 1 << 17
ROUNDINGS = 4
SINGLE_DIGITS = 6

INFINITY, NAN = (int(scrambled(key, GENERATOR)) for key in (1, 2))  # -inf is P - INFINITY
SPECIAL = np.array([INFINITY, P - INFINITY, NAN])

Pair = tuple[Residues, Residues]  # modulo P and modulo Q


class Constants:
    """Constants of a program with known exact values.

    Args:
        learns: whether a float that nothing explains is learned, as the number with its bits, so that others are found
            to be fractions of it: of √7 as a float and its inverse the product is then 1.
    """

    def __init__(self, learns: bool = False) -> None:
        self.learns = learns
        self.known: dict[float, tuple[int, int | None]] = {}

    def learn(self, value: float, p: int, q: int | None) -> None:
        """Add a constant: its float and its residues."""
        if math.isfinite(value) and value:
            self.known.setdefault(value, (p, q))
            self.known.setdefault(-value, (-p % P, None if q is None else -q % Q))

    def find(self, value: float) -> tuple[int, int | None] | None:
        """The residues of the constant that is `value` when rounded, or None."""
        if value in self.known:
            return self.known[value]
        tolerance = _tolerance(value) * abs(value)
        matches = {r for c, r in self.known.items() if abs(c - value) <= tolerance}
        return matches.pop() if len(matches) == 1 else None

    def derived(self, value: float) -> tuple[int, int | None] | None:
        """The residues of a known constant times or divided by a simple fraction, or of a product of two constants.

        If several of them are `value`, the one with the simplest fraction is taken: for the rounded c = √5, 1/c and c/5
        are the same float, but not the same number.
        """
        best, lowest = None, math.inf
        for c, known in self.known.items():
            if c < 0:
                continue
            for ratio, is_product in ((value / c, True), (value * c, False)):
                if not math.isfinite(ratio) or not ratio:
                    continue
                fraction = simple(ratio, _tolerance(value))
                factor = self.find(ratio) if fraction is None and is_product else None
                complexity = 2 * SIMPLE
                if fraction is not None:
                    factor, complexity = residues_of(fraction), abs(fraction.numerator) * fraction.denominator
                if factor is not None and complexity < lowest:
                    best, lowest = _times(factor, known, is_product), complexity
        return best


def _times(x: tuple[int, int | None], y: tuple[int, int | None], is_product: bool) -> tuple[int, int | None]:
    """x y, or x / y, modulo P and Q."""
    p, q = (
        None if a is None or b is None else a * (b if is_product else pow(b, -1, m)) % m
        for a, b, m in ((x[0], y[0], P), (x[1], y[1], Q))
    )
    assert p is not None
    return p, q


_constants: ContextVar[Constants | None] = ContextVar("constants", default=None)


@contextmanager
def constants(table: Constants) -> Iterator[Constants]:
    """Within the block, use the constants of a table to find the values of floats."""
    token = _constants.set(table)
    try:
        yield table
    finally:
        _constants.reset(token)


def residues_of(f: Fraction) -> tuple[int, int | None]:
    """The residues of a fraction, modulo P and Q."""
    p, q = (f.numerator * pow(f.denominator, -1, m) % m for m in (P, Q))
    return p, q


def residues(x: Any) -> Pair:
    """The residues of plain numbers, elementwise, modulo P and Q. Infinities and NaN have residues too.

    Example:
        >>> p, q = residues(np.array([0.1, 3.0, 1 / 3]))
        >>> (p * np.array([10, 1, 3]) % P).tolist()
        [1, 3, 1]
    """
    x = np.asarray(x)
    if x.dtype.kind in "biu":
        return x.astype(np.int64) % P, x.astype(np.int64) % Q
    if x.dtype.kind != "f":
        raise TypeError(f"an array of dtype {x.dtype} has no residues")
    if x.size == 1:
        p, q = _residues_of_one(float(x.item()))
        return np.full(x.shape, p, np.int64), np.full(x.shape, q, np.int64)
    exact_integers = np.where(np.isfinite(x) & (np.abs(x) < 2.0**53), x, 0.5)
    if (exact_integers == np.rint(exact_integers)).all():
        return x.astype(np.int64) % P, x.astype(np.int64) % Q
    values, positions = np.unique(x, return_inverse=True)
    pairs = np.array([_residues_of_one(float(v)) for v in values], np.int64).reshape(-1, 2)
    return pairs[positions, 0].reshape(x.shape), pairs[positions, 1].reshape(x.shape)


def _residues_of_one(x: float) -> tuple[int, int]:
    if not math.isfinite(x):
        p = NAN if math.isnan(x) else INFINITY if x > 0 else P - INFINITY
        return p, p % Q
    table = _constants.get()
    fraction, pair = decimal(x), None
    if fraction is None and table is not None:
        pair = table.find(x)
    if fraction is None and pair is None:
        fraction = simple(x, _tolerance(x))
    if fraction is None and pair is None and table is not None:
        pair = table.derived(x)
    p, q = pair or residues_of(Fraction(x) if fraction is None else fraction)
    if fraction is None and pair is None and table is not None and table.learns:
        table.learn(x, p, q)
    if fraction is None and is_changed(CONSTANT):
        p, q = (int(scrambled(4, p)), None)
    return p, int(scrambled(3, p)) % Q if q is None else q


def _is_single(x: float) -> bool:
    with np.errstate(all="ignore"):
        return float(np.float32(x)) == x


def _tolerance(x: float) -> float:
    """The relative error within which a float stands for a number."""
    return ROUNDINGS * 2.0 ** (-23 if _is_single(x) and decimal(x) is None else -52)


def decimal(x: float) -> Fraction | None:
    """The decimal with few digits that a float prints as, in float64 or in float32; or None."""
    text = repr(x)
    if _digits(text) <= DIGITS:
        return Fraction(text)
    if _is_single(x):
        text = str(np.float32(x))
        if _digits(text) <= SINGLE_DIGITS:
            return Fraction(text)
    return None


def _digits(text: str) -> int:
    return len(text.split("e", maxsplit=1)[0].lstrip("-").replace(".", "").strip("0"))


def simple(x: float, tolerance: float) -> Fraction | None:
    """The fraction n/d with a small n d that is x within a relative tolerance, by continued fractions; or None."""
    limit = SIMPLE if tolerance < 2.0**-40 else SIMPLE_SINGLE
    exact = Fraction(abs(x))
    n0, d0, n, d, rest = 0, 1, 1, 0, exact
    while True:
        quotient = math.floor(rest)
        n0, d0, n, d = n, d, quotient * n + n0, quotient * d + d0
        if n * d > limit:
            return None
        if n and abs(Fraction(n, d) - exact) <= tolerance * exact:
            return Fraction(n if x > 0 else -n, d)
        if rest == quotient:
            return None
        rest = 1 / (rest - quotient)
