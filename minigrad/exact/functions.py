"""NumPy's functions that are no ufuncs, on exact arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.exact.array import FUNCTIONS, METHODS, UFUNCS, Exact, Inexact
from minigrad.exact.reductions import (
    add_accumulate,
    axes_of,
    multiply_accumulate,
)
from minigrad.exact.ufuncs import chosen, truth


def enter(*functions: Any) -> Callable[[Any], Any]:
    """Enter a function into the table."""

    def to_table(function: Any) -> Any:
        FUNCTIONS.update(dict.fromkeys(functions, function))
        return function

    return to_table


# What moves elements

FIRST: tuple[Any, ...] = (np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.reshape, np.ravel, np.broadcast_to)
FIRST += (np.expand_dims, np.squeeze, np.copy, np.flip, np.fliplr, np.flipud, np.roll, np.rot90, np.repeat, np.tile)
FIRST += (
    np.take,
    np.take_along_axis,
    np.diagonal,
    np.diag,
    np.tril,
    np.triu,
    np.delete,
    np.trim_zeros,
    np.matrix_transpose,
)
FIRST += (np.lib.stride_tricks.sliding_window_view, np.lib.stride_tricks.as_strided, np.permute_dims)
FIRST += (np.ascontiguousarray, np.asarray, np.require)
LISTS = (np.concatenate, np.stack, np.hstack, np.vstack, np.column_stack, np.dstack, np.block)
PARTS = (np.split, np.array_split, np.hsplit, np.vsplit, np.unstack)


def _first(function: Any) -> Any:
    return lambda x, *args, **kwargs: Exact.of(x).each(lambda a: function(a, *args, **kwargs))


def _joined(function: Any) -> Any:
    def compute(arrays: Any, *args: Any, **kwargs: Any) -> Exact:
        kwargs.pop("dtype", None)
        out = kwargs.pop("out", None)
        xs = [Exact.of(x) for x in arrays]
        q = None if any(x.q is None for x in xs) else function([x.q for x in xs], *args, **kwargs)
        made = Exact(function([x.real for x in xs], *args, **kwargs), function([x.p for x in xs], *args, **kwargs), q)
        if out is None:
            return made
        out[...] = made
        return out  # type: ignore[no-any-return]

    return compute


def _parts(function: Any) -> Any:
    def compute(x: Any, *args: Any, **kwargs: Any) -> list[Exact]:
        parts = [function(a, *args, **kwargs) for a in (x.real, x.p, *([] if x.q is None else [x.q]))]
        return [Exact(*part) for part in zip(*parts, strict=True)]

    return compute


FUNCTIONS.update({f: _first(f) for f in FIRST})
FUNCTIONS.update({f: _joined(f) for f in LISTS})
FUNCTIONS.update({f: _parts(f) for f in PARTS})


@enter(np.broadcast_arrays)
def _broadcast_arrays(*arrays: Any, subok: bool = False) -> Any:
    shape = np.broadcast_shapes(*(np.shape(x) for x in arrays))
    return tuple(Exact.of(x).each(lambda a: np.broadcast_to(a, shape)) for x in arrays)


for _function in (np.atleast_1d, np.atleast_2d, np.atleast_3d):
    FUNCTIONS[_function] = _first(_function)


@enter(np.pad)
def _pad(x: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    value = options.pop("constant_values", 0)
    if options or (mode == "constant" and not np.isscalar(value)) or callable(mode) or mode in ("mean", "linear_ramp"):
        raise Inexact(f"pad with mode {mode!r}")
    if mode != "constant":
        return x.each(lambda a: np.pad(a, pad_width, mode))
    inside = np.pad(np.ones(x.shape, bool), pad_width)
    return chosen(inside, x.each(lambda a: np.pad(a, pad_width)), value)


# New arrays, and what is written into them


def _filled(x: Any, value: Any, shape: Any) -> Exact:
    shape = np.shape(x) if shape is None else shape
    made = Exact.of(value)
    q = None if isinstance(x, Exact) and x.q is None else made.q
    return Exact(*(None if a is None else np.array(np.broadcast_to(a, shape)) for a in (made.real, made.p, q)))


def _like(value: int) -> Any:
    def compute(x: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **_: Any) -> Any:
        if np.dtype(dtype or float).kind != "f":
            return np.full(np.shape(x) if shape is None else shape, value, dtype)
        return _filled(x, value, shape)

    return compute


FUNCTIONS.update({np.zeros_like: _like(0), np.empty_like: _like(0), np.ones_like: _like(1)})


@enter(np.full_like)
def _full_like(
    x: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None
) -> Any:
    return _filled(x, fill_value, shape)


@enter(np.copyto)
def _copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    if not isinstance(dst, Exact):
        raise Inexact("copyto into a plain array")
    dst[...] = src if where is True else chosen(where, src, dst)


@enter(np.put)
def _put(x: Any, indices: Any, values: Any, mode: Any = "raise") -> None:
    values = Exact.of(values)
    for to, new in ((x.real, values.real), (x.p, values.p), (x.q, values.q)):
        if to is not None:
            np.put(to, indices, -1 if new is None else new, mode=mode)


@enter(np.put_along_axis)
def _put_along_axis(x: Any, indices: Any, values: Any, axis: Any) -> None:
    values = Exact.of(values)
    for to, new in ((x.real, values.real), (x.p, values.p), (x.q, values.q)):
        if to is not None:
            np.put_along_axis(to, indices, -1 if new is None else new, axis)


# Choices


@enter(np.where)
def _where(condition: Any, *choices: Any) -> Any:
    if not choices:
        return np.nonzero(truth(condition))
    if not any(isinstance(x, Exact) for x in choices):
        return np.where(truth(condition), *choices)
    return chosen(condition, *choices)


@enter(np.select)
def _select(conditions: Any, choices: Any, default: Any = 0) -> Any:
    found: Any = default
    for condition, choice in list(zip(conditions, choices, strict=True))[::-1]:
        found = chosen(condition, choice, found)
    return found


@enter(np.clip)
def _clip(x: Any, *limits: Any, out: Any = None, **options: Any) -> Any:
    low, high = (*limits, None, None)[:2]
    low = options.get("min", options.get("a_min", low))
    high = options.get("max", options.get("a_max", high))
    x = x if low is None else UFUNCS["maximum"](x, low)
    return x if high is None else UFUNCS["minimum"](x, high)


# Reductions


def _reduction(name: str) -> Any:
    def compute(x: Any, axis: Any = None, dtype: Any = None, out: Any = None, **options: Any) -> Any:
        given = {k: v for k, v in options.items() if v is not np._NoValue}
        if given.pop("where", True) is not True:
            raise Inexact(f"{name}(where=...)")
        made = METHODS[name, "reduce"](x, axis=axis, **given)
        if out is None:
            return made
        out[...] = made
        return out

    return compute


FUNCTIONS.update({np.sum: _reduction("add"), np.prod: _reduction("multiply")})
FUNCTIONS.update({np.max: _reduction("maximum"), np.amax: _reduction("maximum")})
FUNCTIONS.update({np.min: _reduction("minimum"), np.amin: _reduction("minimum")})
FUNCTIONS.update({np.all: _reduction("logical_and"), np.any: _reduction("logical_or")})


@enter(np.mean)
def _mean(x: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **options: Any) -> Any:
    total = FUNCTIONS[np.sum](x, axis, keepdims=bool(keepdims) and keepdims is not np._NoValue, **options)
    count = math.prod(x.shape[k] for k in axes_of(axis, x.ndim))
    return total / count


@enter(np.var)
def _var(
    x: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: int = 0, keepdims: Any = False, **options: Any
) -> Any:
    deviation = x - _mean(x, axis, keepdims=True)
    count = math.prod(x.shape[k] for k in axes_of(axis, x.ndim)) - (options.get("correction") or ddof)
    keepdims = bool(keepdims) and keepdims is not np._NoValue
    return FUNCTIONS[np.sum](deviation * deviation, axis, keepdims=keepdims) / count


@enter(np.std)
def _std(x: Any, *args: Any, **options: Any) -> Any:
    return UFUNCS["sqrt"](_var(x, *args, **options))


def _cumulative(accumulate: Any) -> Any:
    def compute(x: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return accumulate(x.reshape(-1) if axis is None else x, 0 if axis is None else axis)

    return compute


FUNCTIONS.update({np.cumsum: _cumulative(add_accumulate), np.cumprod: _cumulative(multiply_accumulate)})


@enter(np.diff)
def _diff(x: Any, n: int = 1, axis: int = -1) -> Any:
    for _ in range(n):
        moved = np.moveaxis(x, axis, 0)
        x = np.moveaxis(moved[1:] - moved[:-1], 0, axis)
    return x


@enter(np.trace)
def _trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, **_: Any) -> Any:
    return FUNCTIONS[np.sum](np.diagonal(x, offset, axis1, axis2), -1)


# Questions


def _asked(function: Any) -> Any:
    return lambda *args, **kwargs: function(*(x.real if isinstance(x, Exact) else x for x in args), **kwargs)


QUESTIONS: tuple[Any, ...] = (np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj)
QUESTIONS += (np.may_share_memory, np.shares_memory, np.min_scalar_type, np.isneginf, np.isposinf)
FUNCTIONS.update({f: _asked(f) for f in QUESTIONS})


@enter(np.nonzero)
def _nonzero(x: Any) -> Any:
    return np.nonzero(truth(x))


@enter(np.count_nonzero)
def _count_nonzero(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return np.count_nonzero(truth(x), axis, keepdims=keepdims)


@enter(np.array_equal)
def _array_equal(x: Any, y: Any, equal_nan: bool = False) -> bool:
    x, y = Exact.of(x), Exact.of(y)
    return x.shape == y.shape and bool((x.p == y.p).all())
