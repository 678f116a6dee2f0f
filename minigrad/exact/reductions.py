"""Reductions, accumulations and order, sum, prod, max, cumsum, argmax, sort, and what minigrad composes of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.exact import field
from minigrad.exact.exact_array import (
    Exact,
    Inexact,
    Tie,
    are_near,
    finished,
    integers,
    is_special,
    with_residues_of_shadow,
)
from minigrad.exact.exact_ufuncs import is_nonzero
from minigrad.exact.field import P, Q
from minigrad.exact.tables import FUNCTIONS, METHODS, UFUNCS, implements
from minigrad.tensor import numpy_protocol


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes of an argument `axis`, as non-negative numbers."""
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int | np.integer) else axis
    return tuple(sorted(int(k) % ndim for k in axes))


def _without_axes(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return x if keepdims else np.squeeze(x, axes)


def _checked(x: Exact, result: Exact, axes: tuple[int, ...]) -> Exact:
    """A sum or product along axes, by the shadow where there are infinities or NaN among the elements."""
    if np.isfinite(x.real).all():
        return finished(result.real, result.p, result.q)
    is_affected = is_special(x).any(axis=axes, keepdims=True)
    real = np.where((result.p == 0) & ~is_affected, 0.0, result.real)
    return with_residues_of_shadow(Exact(real, result.p, result.q), is_affected)


def add_reduce(x: Any, axis: Any = 0, keepdims: bool = False, initial: Any = None) -> Any:
    """np.add.reduce."""
    axes = axes_of(axis, x.ndim)
    q = None
    if x.q is not None:
        q = np.where((x.q < 0).any(axis=axes, keepdims=True), -1, np.add.reduce(x.q, axis=axes, keepdims=True) % Q)
    with np.errstate(all="ignore"):
        real = np.add.reduce(x.real, axis=axes, keepdims=True)
    total = _checked(x, Exact(real, np.add.reduce(x.p, axis=axes, keepdims=True) % P, q), axes)
    total = _without_axes(total, axes, keepdims)
    return total if initial is None else total + initial


def multiply_reduce(x: Any, axis: Any = 0, keepdims: bool = False, initial: Any = None) -> Any:
    """np.multiply.reduce."""
    axes = axes_of(axis, x.ndim)
    p = x.p
    for k in axes:
        p = field.product_along(p, k, P)
    with np.errstate(all="ignore"):
        real = np.multiply.reduce(x.real, axis=axes, keepdims=True)
    product = _without_axes(_checked(x, Exact(real, p), axes), axes, keepdims)
    return product if initial is None else product * initial


def _extreme(argument: Any) -> Any:
    def compute(x: Any, axis: Any = 0, keepdims: bool = False, initial: Any = None) -> Any:
        axes = axes_of(axis, x.ndim)
        if not axes:
            return x
        rest = [k for k in range(x.ndim) if k not in axes]
        lead = tuple(x.shape[k] for k in rest)
        count = math.prod(x.shape[k] for k in axes)
        rows = x.each(lambda a: np.transpose(a, (*rest, *axes)).reshape(*lead, count))
        index = position(argument, rows, -1)
        top = rows.each(lambda a: np.take_along_axis(a, index, -1))
        shape = tuple(1 if k in axes else n for k, n in enumerate(x.shape))
        result = _without_axes(top.reshape(shape), axes, keepdims)
        larger = UFUNCS["maximum" if argument is np.argmax else "minimum"]
        return result if initial is None else larger(result, initial)

    return compute


def position(argument: Any, x: Exact, axis: int) -> Any:
    """np.argmax or np.argmin with keepdims. Raises Tie where different elements are nearly the largest or smallest."""
    index = argument(x.real, axis=axis, keepdims=True)
    best = x.each(lambda a: np.take_along_axis(a, index, axis))
    if (are_near(x.real, best.real) & (x.p != best.p)).any() or (np.isnan(x.real) & ~is_special(x)).any():
        raise Tie("the largest or smallest of elements that are nearly equal")
    first: Any = np.argmax(
        x.p == best.p, axis=axis, keepdims=True
    )  # of equal elements the first, independent of rounding
    return first


def _logical_reduce(name: str) -> Any:
    return lambda x, axis=0, **options: getattr(np, name).reduce(is_nonzero(x), axis=axis, **options)


def add_accumulate(x: Any, axis: int = 0) -> Exact:
    """np.add.accumulate."""
    q = None if x.q is None or (x.q < 0).any() else np.add.accumulate(x.q, axis=axis) % Q
    return finished(np.add.accumulate(x.real, axis=axis), np.add.accumulate(x.p, axis=axis) % P, q, x)


def multiply_accumulate(x: Any, axis: int = 0) -> Exact:
    """np.multiply.accumulate."""
    p = field.accumulated(lambda a, b: a * b % P, x.p, axis)
    return finished(np.multiply.accumulate(x.real, axis=axis), p, None, x)


def extreme_accumulate(name: str) -> Any:
    """np.maximum.accumulate or np.minimum.accumulate."""

    def compute(x: Any, axis: int = 0) -> Any:
        out: Any = np.moveaxis(np.copy(x), axis, 0)
        for k in range(1, len(out)):
            out[k] = UFUNCS[name](out[k - 1], out[k])
        return np.moveaxis(out, 0, axis)

    return compute


def outer(name: str) -> Any:
    """The method `outer` of a ufunc."""

    def compute(x: Any, y: Any) -> Any:
        x, y = Exact.of(x), Exact.of(y)
        return UFUNCS[name](x.reshape(*x.shape, *(1,) * y.ndim), y)

    return compute


def add_at(x: Any, index: Any, values: Any) -> None:
    """np.add.at."""
    values = Exact.of(values)
    q = values.q
    if x.q is not None and (q is None or (q < 0).any() or (x.q < 0).any()):
        x.q[...] = -1
    with np.errstate(all="ignore"):
        np.add.at(x.real, index, values.real)
    np.add.at(x.p, index, values.p)
    if x.q is not None and q is not None and not (x.q < 0).any():
        np.add.at(x.q, index, q)
        x.q %= Q
    x.p %= P
    x.real[x.p == 0] = 0


METHODS.update({
    ("add", "reduce"): add_reduce,
    ("multiply", "reduce"): multiply_reduce,
    ("maximum", "reduce"): _extreme(np.argmax),
    ("minimum", "reduce"): _extreme(np.argmin),
    ("logical_and", "reduce"): _logical_reduce("logical_and"),
    ("logical_or", "reduce"): _logical_reduce("logical_or"),
    ("add", "accumulate"): add_accumulate,
    ("multiply", "accumulate"): multiply_accumulate,
    ("maximum", "accumulate"): extreme_accumulate("maximum"),
    ("minimum", "accumulate"): extreme_accumulate("minimum"),
    ("add", "at"): add_at,
    ("subtract", "at"): lambda x, index, values: add_at(x, index, -Exact.of(values)),
    **{(name, "outer"): outer(name) for name in ("add", "subtract", "multiply", "divide")},
})  # fmt: skip


# NumPy's functions for them


def _reduction(name: str) -> Any:
    def compute(x: Any, axis: Any = None, dtype: Any = None, out: Any = None, **options: Any) -> Any:
        options = {k: v for k, v in options.items() if v is not np._NoValue}
        if options.pop("where", True) is not True:
            raise Inexact(f"{name}(where=...)")
        result = METHODS[name, "reduce"](x, axis=axis, **options)
        if out is None:
            return result
        out[...] = result
        return out

    return compute


FUNCTIONS.update({np.sum: _reduction("add"), np.prod: _reduction("multiply")})
FUNCTIONS.update({np.max: _reduction("maximum"), np.amax: _reduction("maximum")})
FUNCTIONS.update({np.min: _reduction("minimum"), np.amin: _reduction("minimum")})
FUNCTIONS.update({np.all: _reduction("logical_and"), np.any: _reduction("logical_or")})


def _cumulative(accumulate: Any) -> Any:
    def compute(x: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return accumulate(x.reshape(-1) if axis is None else x, 0 if axis is None else axis)

    return compute


FUNCTIONS.update({np.cumsum: _cumulative(add_accumulate), np.cumprod: _cumulative(multiply_accumulate)})


# Order


def _position(argument: Any) -> Any:
    def compute(x: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        rows = x.reshape(-1) if axis is None else x
        index = position(argument, rows, 0 if axis is None else axis)
        if keepdims and keepdims is not np._NoValue:
            return index.reshape((1,) * x.ndim) if axis is None else index
        return np.squeeze(index, 0 if axis is None else axis)

    return compute


FUNCTIONS.update({np.argmax: _position(np.argmax), np.argmin: _position(np.argmin)})


@implements(np.argsort)
def _argsort(x: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    if axis is None:
        x, axis = x.reshape(-1), 0
    indices = np.argsort(x.real, axis=axis, kind="stable")
    ordered: Any = np.moveaxis(np.take_along_axis(x, indices, axis), axis, 0)
    a, b = ordered[:-1], ordered[1:]
    near = are_near(a.real, b.real)
    if (near & (a.p != b.p)).any() or (np.isnan(x.real) & ~is_special(x)).any():
        raise Tie("elements that are nearly equal are sorted")
    if near.any():  # equal elements keep their order, independent of rounding
        ranks = np.concatenate([np.zeros((1, *near.shape[1:]), int), np.add.accumulate(~near, axis=0)])
        rank = np.empty(x.shape, int)
        np.put_along_axis(rank, indices, np.moveaxis(ranks, 0, axis), axis)
        indices = np.argsort(rank, axis=axis, kind="stable")
    return indices


@implements(np.sort)
def _sort(x: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    if axis is None:
        x, axis = x.reshape(-1), 0
    return np.take_along_axis(x, _argsort(x, axis), axis)


@implements(np.round, np.around)
def _round(x: Any, decimals: int = 0, out: Any = None) -> Any:
    return integers(np.rint, x * 10**decimals) / 10**decimals


# Functions that are composed of others


def _composed(function: Any) -> Any:
    """The function by minigrad's own, which calls the others."""

    def compute(*args: Any, **options: Any) -> Any:
        try:
            return numpy_protocol.function(function, args, options)
        except TypeError as error:
            raise Inexact(f"{function.__name__}: {error}") from error

    return compute


COMPOSED = (np.mean, np.var, np.std, np.diff, np.trace, np.tensordot, np.clip)
FUNCTIONS.update({f: _composed(f) for f in COMPOSED})
