"""Which number a float stands for.

A float in a program is a number that somebody wrote (0.1 is 1/10), or one that was computed of such (1/3 is not the
dyadic fraction next to it). In this order, a float is

- the decimal of at most 12 digits that prints as it does;
- the number that a constant of the program is known to be, if it is that constant rounded (`Constants.learn`);
- a fraction n/d with small n d that is equal to it within a few roundings;
- a known constant times or divided by such a fraction: products of constants that were folded;
- the dyadic fraction that it is.

The few roundings are the limit of what is proven about constants: 4 units in the last place of float64, or of float32
for a number that float32 holds.
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

DIGITS = 12
SIMPLE = 1 << 40  # numerator times denominator of what counts as a simple fraction
SIMPLE_SINGLE = 1 << 17
ROUNDINGS = 4
SINGLE_DIGITS = 6

INFINITY, NAN = (int(scrambled(key, GENERATOR)) for key in (1, 2))  # -inf is P - INFINITY
SPECIAL = np.array([INFINITY, P - INFINITY, NAN])

Pair = tuple[Residues, Residues]  # modulo P and modulo Q


class Constants:
    """The constants of a program whose exact value is known."""

    def __init__(self) -> None:
        self.known: dict[float, tuple[int, int | None]] = {}

    def learn(self, value: float, p: int, q: int | None) -> None:
        """Enter a constant: its float value and its residues."""
        if math.isfinite(value) and value:
            self.known.setdefault(value, (p, q))
            self.known.setdefault(-value, (-p % P, None if q is None else -q % Q))

    def find(self, value: float) -> tuple[int, int | None] | None:
        """The residues of the constant that `value` is, rounded."""
        if value in self.known:
            return self.known[value]
        near = [(abs(c - value), r) for c, r in self.known.items() if abs(c - value) <= _tolerance(value) * abs(value)]
        return min(near, default=(0.0, None))[1] if len({r for _, r in near}) == 1 else None

    def derived(self, value: float) -> tuple[int, int | None] | None:
        """The residues of a known constant times a simple fraction, or of a product of two, that `value` is.

        Of several such products it is that with the simplest fraction: 1/c and c/5 are the same float for c = √5, as it
        is rounded, but not the same number.
        """
        best, size = None, math.inf
        for c, known in self.known.items():
            if c < 0:
                continue
            for ratio, is_product in ((value / c, True), (value * c, False)):
                if not math.isfinite(ratio) or not ratio:
                    continue
                fraction = simple(ratio, _tolerance(value))
                found = self.find(ratio) if fraction is None and is_product else None
                if fraction is not None:
                    found, how_simple = residues_of(fraction), abs(fraction.numerator) * fraction.denominator
                else:
                    how_simple = 2 * SIMPLE
                if found is not None and how_simple < size:
                    best, size = _times(found, known, is_product), how_simple
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
    """Read floats with the help of the constants that the table knows, within a block."""
    token = _constants.set(table)
    try:
        yield table
    finally:
        _constants.reset(token)


def residues_of(f: Fraction) -> tuple[int, int | None]:
    """Of a fraction, modulo P and Q."""
    p, q = (f.numerator * pow(f.denominator, -1, m) % m for m in (P, Q))
    return p, q


def residues(x: Any) -> Pair:
    """Of ordinary numbers, elementwise, modulo P and Q. Infinities and NaN have residues of their own.

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
    integral = np.isfinite(x) & (np.abs(x) < 2.0**53)
    whole = np.where(integral, x, 0.5)
    if (whole == np.rint(whole)).all():
        return x.astype(np.int64) % P, x.astype(np.int64) % Q
    values, places = np.unique(x, return_inverse=True)
    pairs = np.array([_residues_of_one(float(v)) for v in values], np.int64).reshape(-1, 2)
    return pairs[places, 0].reshape(x.shape), pairs[places, 1].reshape(x.shape)


def _residues_of_one(x: float) -> tuple[int, int]:
    if not math.isfinite(x):
        p = NAN if math.isnan(x) else INFINITY if x > 0 else P - INFINITY
        return p, p % Q
    table = _constants.get()
    found = None
    f = decimal(x)
    if f is None and table is not None:
        found = table.find(x)
    if f is None and found is None:
        f = simple(x, _tolerance(x))
    if f is None and found is None and table is not None:
        found = table.derived(x)
    if found is None:
        found = residues_of(Fraction(x) if f is None else f)
    p, q = found
    return p, int(scrambled(3, p)) % Q if q is None else q


def _is_single(x: float) -> bool:
    with np.errstate(all="ignore"):
        return float(np.float32(x)) == x


def _tolerance(x: float) -> float:
    """The relative error within which a float is the same number."""
    return ROUNDINGS * 2.0 ** (-23 if _is_single(x) and decimal(x) is None else -52)


def decimal(x: float) -> Fraction | None:
    """The decimal of few digits that a float is, or that it is in float32."""
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
    """The fraction n/d with a small n d that is x within a relative tolerance, by continued fractions."""
    limit = SIMPLE if tolerance < 2.0**-40 else SIMPLE_SINGLE
    exact = Fraction(abs(x))
    n0, d0, n, d, rest = 0, 1, 1, 0, exact
    while True:
        whole = math.floor(rest)
        n0, d0, n, d = n, d, whole * n + n0, whole * d + d0
        if n * d > limit:
            return None
        if n and abs(Fraction(n, d) - exact) <= tolerance * exact:
            return Fraction(n if x > 0 else -n, d)
        if rest == whole:
            return None
        rest = 1 / (rest - whole)
