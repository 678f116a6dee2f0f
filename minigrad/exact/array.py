"""The exact array: residues that decide equality, beside a float64 shadow that decides comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from minigrad.exact.field import P, Q, Residues
from minigrad.exact.numbers import SPECIAL, residues
from minigrad.util.duck_array import ArrayMethods, DuckArray

NEAR = 1e-9  # relative distance of floats below which they decide nothing
UNKNOWN = -1  # the residue modulo Q of an element that has none


class Inexact(Exception):
    """An operation that exact arithmetic does not know. The message names it."""


class Redraw(Exception):
    """The inputs lie where nothing can be decided: draw others."""


class NotASquare(Redraw):
    """A radicand has no root modulo P. Half of all numbers have none."""


class Tie(Redraw):
    """Two numbers that differ are too close for their floats to say which is larger."""


UFUNCS: dict[str, Callable[..., Any]] = {}  # filled by ufuncs.py and reductions.py, by name and (name, method)
METHODS: dict[tuple[str, str], Callable[..., Any]] = {}
FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # filled by functions.py
_opaque_roots: ContextVar[bool] = ContextVar("opaque_roots", default=False)


@contextmanager
def opaque_roots() -> Iterator[None]:
    """Let the root of what is no square be a pseudo-random function of it, within a block, instead of NotASquare.

    What is proven so holds for every function in place of the root, so for the root as well. What differs may
    still be equal by (√a)² = a.
    """
    token = _opaque_roots.set(True)
    try:
        yield
    finally:
        _opaque_roots.reset(token)


def roots_are_opaque() -> bool:
    """Whether this is inside of `opaque_roots()`."""
    return _opaque_roots.get()


class Exact(ArrayMethods, DuckArray):
    """An array of numbers that are known exactly, modulo two primes, and roughly, as floats.

    It takes part in NumPy's protocols as an array of dtype float64; comparisons give plain arrays of bools. Views share
    memory, and may be written into, as in NumPy.

    Two expressions of it that differ as rational functions agree at random inputs with a probability of at most their
    degree over the number of values that an input may have, here 2^30 (Schwartz 1980, Zippel 1979); exponentials keep
    such a bound (Li & Wu, ITCS 2026; for tensor programs Wu et al., "Mirage", OSDI 2025).

    Args:
        real: float64, the shadow.
        p: residues modulo P.
        q: residues modulo Q, which exponents need; -1 where an element has none, or None if no element has one.

    Example:
        >>> x = Exact.of(np.array([0.1, 0.2]))
        >>> same(x.sum() * 10, 3), same(x.sum() * (10 + 1e-11), 3)
        (True, False)
    """

    __slots__ = ("p", "q", "real")
    __array_priority__ = 1000

    def __init__(self, real: Any, p: Any, q: Any = None) -> None:
        self.real, self.p = np.asarray(real), np.asarray(p)
        self.q = None if q is None else np.asarray(q)

    @classmethod
    def of(cls, x: Any) -> Exact:
        """Numbers as an exact array; an exact array as it is.

        Raises:
            Inexact: complex numbers, or no numbers.
        """
        if isinstance(x, Exact):
            return x
        array = np.asarray(x)
        if array.dtype.kind not in "biuf":
            raise Inexact(f"an array of dtype {array.dtype}")
        return cls(array.astype(np.float64), *residues(array))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.real.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64."""
        return self.real.dtype

    @property
    def flat(self) -> Iterator[Exact]:
        """The elements in C order."""
        return iter(self.reshape(-1))

    def __iter__(self) -> Iterator[Exact]:
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        return f"Exact({self.real})"

    def each(self, function: Callable[[Any], Any]) -> Exact:
        """A function that moves elements without changing them, of each part."""
        return Exact(function(self.real), function(self.p), None if self.q is None else function(self.q))

    def __getitem__(self, index: Any) -> Exact:
        return self.each(lambda a: a[index])

    def __setitem__(self, index: Any, new: Any) -> None:
        new = Exact.of(new)
        self.real[index], self.p[index] = new.real, new.p
        if self.q is not None:
            self.q[index] = UNKNOWN if new.q is None else new.q

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """Itself as numbers of any floating-point dtype; plain bools or, without their fraction, integers."""
        kind = np.dtype(dtype).kind
        if kind == "f":
            return self
        if kind == "b":
            return self != 0
        if kind not in "iu":
            raise Inexact(f"astype({np.dtype(dtype)})")
        return integers(np.trunc, self).real.astype(dtype)

    def reshape(self, *shape: Any, **kwargs: Any) -> Exact:
        """The elements in another shape."""
        return self.each(lambda a: a.reshape(*shape, **kwargs))

    def transpose(self, *axes: Any) -> Exact:
        """The axes in another order."""
        return self.each(lambda a: a.transpose(*axes))

    def fill(self, value: Any) -> None:
        """Set all elements to a number."""
        self[...] = value

    def takes_whole(self, function: Any, *operands: Any, **settings: Any) -> Any:
        """One operation that is made of several."""
        if function.__name__ in UFUNCS:
            return UFUNCS[function.__name__](*operands)
        if function.__name__.startswith("convolution"):
            return FUNCTIONS["bilinear"](function, *operands, **settings)
        return function(*operands, **settings)

    def copy(self) -> Exact:
        """A copy."""
        return self.each(np.copy)

    def refuse(self, conversion: str) -> Any:
        """An element is not a number that Python has.

        Raises:
            Inexact: always.
        """
        raise Inexact(f"reading elements in Python ({conversion})")

    def compute(self, function: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The exact result of NumPy's function, from the tables.

        Raises:
            Inexact: the tables do not have it.
        """
        if isinstance(function, np.ufunc):
            return _ufunc_call(function.__name__, method, args, kwargs)
        exact_function = FUNCTIONS.get(function) or FUNCTIONS.get(function.__name__)
        if exact_function is None:
            raise Inexact(function.__name__)
        return exact_function(*args, **kwargs)


def _ufunc_call(name: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    options = {k: v for k, v in kwargs.items() if k not in ("out", "dtype", "casting", "order", "subok")}
    exact_ufunc = UFUNCS.get(name) if method == "__call__" else METHODS.get((name, method))
    if exact_ufunc is None or options.pop("where", True) is not True:
        raise Inexact(name if method == "__call__" else f"{name}.{method}")
    result = exact_ufunc(*args, **options)
    (out,) = kwargs.get("out") or (None,)
    if out is None:
        return result
    out[...] = result
    return out


def finished(real: Any, p: Any, q: Any, *operands: Exact) -> Exact:
    """The result of an operation: 0 is exactly 0 in the shadow; infinities and NaN have residues of their own."""
    real, p = np.asarray(real), np.asarray(p)
    is_zero = p == 0
    if not np.isfinite(real).all() or not all(np.isfinite(x.real).all() for x in operands):
        fixed = np.zeros(real.shape, bool)
        for x in operands:
            fixed = fixed | np.isin(x.p, SPECIAL) | ((x.p == 0) & ~np.isfinite(real))
        return fixed_by_shadow(Exact(np.where(is_zero & ~fixed, 0.0, real), p, q), fixed)
    if is_zero.any():
        real = np.where(is_zero, 0.0, real)
    return Exact(real, p, q)


def fixed_by_shadow(x: Exact, fixed: Any) -> Exact:
    """x with the residues of its floats where `fixed` is true: what comes of infinities, NaN and division by 0."""
    if not np.any(fixed):
        return x
    p, q = residues(np.where(fixed, x.real, 0.0))
    return Exact(x.real, np.where(fixed, p, x.p), None if x.q is None else np.where(fixed, q, x.q))


def residue_q(function: Callable[..., Residues], *parts: Any) -> Any:
    """What an operation does to residues modulo Q, which some elements or arrays do not have."""
    if any(part is None for part in parts):
        return None
    unknown = np.zeros((), bool)
    for part in parts:
        unknown = unknown | (part < 0)
    return np.where(unknown, UNKNOWN, function(*parts) % Q)


def is_special(x: Exact) -> Any:
    """Where an infinity or NaN stands for itself."""
    return np.isin(x.p, SPECIAL)


def are_near(x: Any, y: Any) -> Any:
    """Where two floats are too close for their order to mean anything. Infinities are close to themselves."""
    with np.errstate(all="ignore"):
        return (x == y) | (np.isfinite(x) & np.isfinite(y) & (np.abs(x - y) <= NEAR * (np.abs(x) + np.abs(y))))


def decide(x: Exact, y: Exact, ufunc: Any) -> Any:
    """A comparison. Raises Tie where the floats cannot tell."""
    same_p = x.p == y.p
    if (are_near(x.real, y.real) & ~same_p).any():
        raise Tie("two numbers that differ are nearly equal")
    unordered = np.isnan(x.real) | np.isnan(y.real)
    if unordered.any() and (unordered & ~(is_special(x) | is_special(y))).any():
        raise Tie("a number whose float is not defined is compared")
    return np.where(same_p & ~unordered, ufunc(0.0, 0.0), ufunc(x.real, y.real))


def integers(rounding: Any, x: Exact) -> Exact:
    """floor, ceil, trunc or rint. Raises Tie next to where the function jumps."""
    nearest = np.rint(2 * x.real) / 2 if rounding is np.rint else np.rint(x.real)
    close = np.isfinite(x.real) & (np.abs(x.real - nearest) <= NEAR * np.maximum(np.abs(x.real), 1.0))
    is_exact = residues(np.where(close, nearest, 0.0))[0] == x.p
    if (close & ~is_exact).any():
        raise Tie("a number next to an integer is rounded")
    if (np.isnan(x.real) & ~is_special(x)).any():
        raise Tie("a number whose float is not defined is rounded")
    return Exact.of(rounding(np.where(close, nearest, x.real)))


def same(x: Any, y: Any) -> bool:
    """Whether two arrays are equal: their shapes and all residues modulo P."""
    x, y = Exact.of(x), Exact.of(y)
    return x.shape == y.shape and bool((x.p == y.p).all())


__all__ = ["NEAR", "UNKNOWN", "Exact", "Inexact", "NotASquare", "P", "Q", "Redraw", "Tie", "opaque_roots", "same"]
