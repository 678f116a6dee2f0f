"""The exact array: residues that decide equality, and a float64 shadow that decides comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from minigrad.exact.field import Q, Residues
from minigrad.exact.float_values import SPECIAL, residues
from minigrad.exact.tables import FUNCTIONS, METHODS, UFUNCS
from minigrad.util.duck_array import ArrayMethods, DuckArray, arrays_in

NEAR = 1e-9  # relative distance of two floats below which they do not decide a comparison
UNKNOWN = -1  # stands for a missing residue modulo Q


class Inexact(Exception):
    """An operation that exact arithmetic does not have. The message names it."""


class Redraw(Exception):
    """The inputs lie where a comparison or a root cannot be decided: draw others."""


class NotASquare(Redraw):
    """A number has no square root modulo P. Half of all numbers have none.

    Attributes:
        where: which elements of the radicand.
    """

    def __init__(self, message: str, where: Any = None) -> None:
        super().__init__(message)
        self.where = where


class Tie(Redraw):
    """Two different numbers are too close for their floats to say which is larger."""


_opaque_roots: ContextVar[bool] = ContextVar("opaque_roots", default=False)


@contextmanager
def opaque_roots() -> Iterator[None]:
    """Within the block, let the root of a number that is not a square be a pseudo-random function of it.

    Otherwise it raises NotASquare. What is proven in the block holds for every function instead of the root, and so for
    the root. Results that differ may still be equal because of (√a)² = a.
    """
    token = _opaque_roots.set(True)
    try:
        yield
    finally:
        _opaque_roots.reset(token)


def roots_are_opaque() -> bool:
    """Whether the call is within `opaque_roots()`."""
    return _opaque_roots.get()


class Exact(ArrayMethods, DuckArray):
    """An array of numbers that are known exactly, modulo two primes, and roughly, as floats.

    To NumPy it is an array of dtype float64. Comparisons return plain arrays of bools. Views share memory and can be
    written to, as in NumPy.

    Two expressions that differ as rational functions agree at random inputs with a probability of at most their degree
    over the number of possible values of an input, here 2^30 (Schwartz 1980, Zippel 1979). Exponentials have such a
    bound too (Li & Wu, ITCS 2026; for tensor programs Wu et al., "Mirage", OSDI 2025).

    Args:
        real: float64, the shadow.
        p: residues modulo P.
        q: residues modulo Q, which exponents need; -1 for an element without one, None if no element has one.

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
        """Numbers as an exact array; an exact array itself.

        Raises:
            Inexact: the numbers are complex, or x does not hold numbers.
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
        """The array after a function that moves elements without changing them."""
        return Exact(function(self.real), function(self.p), None if self.q is None else function(self.q))

    def __getitem__(self, index: Any) -> Exact:
        return self.each(lambda a: a[index])

    def __setitem__(self, index: Any, new: Any) -> None:
        new = Exact.of(new)
        self.real[index], self.p[index] = new.real, new.p
        if self.q is not None:
            self.q[index] = UNKNOWN if new.q is None else new.q

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """The array itself for a floating-point dtype; otherwise a plain array of bools or truncated integers."""
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

    def mg_opaque_call(self, function: Any, *operands: Any, **settings: Any) -> Any:
        """One of minigrad's functions as a single operation."""
        if function.__name__ in UFUNCS:
            return UFUNCS[function.__name__](*operands)
        if function.__name__.startswith("convolution"):
            return FUNCTIONS["bilinear"](function, *operands, **settings)
        return function(*operands, **settings)

    def copy(self) -> Exact:
        """A copy."""
        return self.each(np.copy)

    def mg_refuse(self, conversion: str) -> Any:
        """The elements cannot be read.

        Raises:
            Inexact: always.
        """
        raise Inexact(f"reading elements in Python ({conversion})")

    def mg_compute(self, function: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The exact result of NumPy's function, by the tables.

        Raises:
            Inexact: the tables do not have the function.
        """
        if any(hasattr(type(x), "__array_ufunc__") and not isinstance(x, KNOWN) for x in arrays_in(args)):
            return NotImplemented  # a Tensor, or another array that has exact ones inside
        if isinstance(function, np.ufunc):
            return _ufunc_call(function.__name__, method, args, kwargs)
        exact_function = FUNCTIONS.get(function) or FUNCTIONS.get(function.__name__)
        if exact_function is None:
            raise Inexact(function.__name__)
        return exact_function(*args, **kwargs)


KNOWN = (Exact, np.ndarray, np.generic)


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
    """The result of an operation, with a shadow of exactly 0 where it is 0, and residues for infinities and NaN."""
    real, p = np.asarray(real), np.asarray(p)
    is_zero = p == 0
    if not np.isfinite(real).all() or not all(np.isfinite(x.real).all() for x in operands):
        is_special_result = np.zeros(real.shape, bool)
        for x in operands:
            is_special_result = is_special_result | is_special(x) | ((x.p == 0) & ~np.isfinite(real))
        real = np.where(is_zero & ~is_special_result, 0.0, real)
        return with_residues_of_shadow(Exact(real, p, q), is_special_result)
    if is_zero.any():
        real = np.where(is_zero, 0.0, real)
    return Exact(real, p, q)


def with_residues_of_shadow(x: Exact, mask: Any) -> Exact:
    """x with the residues of its floats where a mask is true: for results of infinities, NaN and division by 0."""
    if not np.any(mask):
        return x
    p, q = residues(np.where(mask, x.real, 0.0))
    return Exact(x.real, np.where(mask, p, x.p), None if x.q is None else np.where(mask, q, x.q))


def residue_q(function: Callable[..., Residues], *parts: Any) -> Any:
    """The result of an operation on residues modulo Q, which some elements or arrays do not have."""
    if any(part is None for part in parts):
        return None
    is_unknown = np.zeros((), bool)
    for part in parts:
        is_unknown = is_unknown | (part < 0)
    return np.where(is_unknown, UNKNOWN, function(*parts) % Q)


def is_special(x: Exact) -> Any:
    """Where an element is an infinity or NaN."""
    return np.isin(x.p, SPECIAL)


def are_near(x: Any, y: Any) -> Any:
    """Where two floats are too close to decide their order. An infinity is close to itself."""
    with np.errstate(all="ignore"):
        return (x == y) | (np.isfinite(x) & np.isfinite(y) & (np.abs(x - y) <= NEAR * (np.abs(x) + np.abs(y))))


def decide(x: Exact, y: Exact, ufunc: Any) -> Any:
    """The result of a comparison. Raises Tie where the floats do not decide it."""
    same_p = x.p == y.p
    if (are_near(x.real, y.real) & ~same_p).any():
        raise Tie("two numbers that differ are nearly equal")
    unordered = np.isnan(x.real) | np.isnan(y.real)
    if unordered.any() and (unordered & ~(is_special(x) | is_special(y))).any():
        raise Tie("a number without a defined float is compared")
    return np.where(same_p & ~unordered, ufunc(0.0, 0.0), ufunc(x.real, y.real))


def integers(rounding: Any, x: Exact) -> Exact:
    """floor, ceil, trunc or rint. Raises Tie next to a jump of the function."""
    jump = np.rint(2 * x.real) / 2 if rounding is np.rint else np.rint(x.real)
    close = np.isfinite(x.real) & (np.abs(x.real - jump) <= NEAR * np.maximum(np.abs(x.real), 1.0))
    is_exact = residues(np.where(close, jump, 0.0))[0] == x.p
    if (close & ~is_exact).any():
        raise Tie("a number next to an integer is rounded")
    if (np.isnan(x.real) & ~is_special(x)).any():
        raise Tie("a number without a defined float is rounded")
    return Exact.of(rounding(np.where(close, jump, x.real)))


def same(x: Any, y: Any) -> bool:
    """Whether two arrays are equal: their shapes and all residues modulo P."""
    x, y = Exact.of(x), Exact.of(y)
    return x.shape == y.shape and bool((x.p == y.p).all())
