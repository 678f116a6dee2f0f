"""Functions that move elements, create and fill arrays, choose between elements, or answer questions about arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.exact.exact_array import UNKNOWN, Exact, Inexact
from minigrad.exact.exact_ufuncs import choose, is_nonzero
from minigrad.exact.tables import FUNCTIONS, implements

# Functions that move elements

MOVING: tuple[Any, ...] = (np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.reshape, np.ravel, np.broadcast_to)
MOVING += (np.expand_dims, np.squeeze, np.copy, np.flip, np.fliplr, np.flipud, np.roll, np.rot90, np.repeat, np.tile)
MOVING += (np.take, np.take_along_axis, np.diagonal, np.diag, np.tril, np.triu, np.delete, np.trim_zeros)
MOVING += (np.lib.stride_tricks.sliding_window_view, np.lib.stride_tricks.as_strided, np.permute_dims)
MOVING += (np.matrix_transpose, np.ascontiguousarray, np.asarray, np.require)
JOINING = (np.concatenate, np.stack, np.hstack, np.vstack, np.column_stack, np.dstack, np.block)
SPLITTING = (np.split, np.array_split, np.hsplit, np.vsplit, np.unstack)


def _moving(function: Any) -> Any:
    return lambda x, *args, **kwargs: Exact.of(x).each(lambda a: function(a, *args, **kwargs))


def _joining(function: Any) -> Any:
    def compute(arrays: Any, *args: Any, **kwargs: Any) -> Exact:
        kwargs.pop("dtype", None)
        out = kwargs.pop("out", None)
        xs = [Exact.of(x) for x in arrays]
        q = None if any(x.q is None for x in xs) else function([x.q for x in xs], *args, **kwargs)
        result = Exact(function([x.real for x in xs], *args, **kwargs), function([x.p for x in xs], *args, **kwargs), q)
        if out is None:
            return result
        out[...] = result
        return out

    return compute


def _splitting(function: Any) -> Any:
    def compute(x: Any, *args: Any, **kwargs: Any) -> list[Exact]:
        parts = [function(a, *args, **kwargs) for a in (x.real, x.p, *([] if x.q is None else [x.q]))]
        return [Exact(*part) for part in zip(*parts, strict=True)]

    return compute


FUNCTIONS.update({f: _moving(f) for f in MOVING})
FUNCTIONS.update({f: _joining(f) for f in JOINING})
FUNCTIONS.update({f: _splitting(f) for f in SPLITTING})


@implements(np.broadcast_arrays)
def _broadcast_arrays(*arrays: Any, subok: bool = False) -> Any:
    shape = np.broadcast_shapes(*(np.shape(x) for x in arrays))
    return tuple(Exact.of(x).each(lambda a: np.broadcast_to(a, shape)) for x in arrays)


for _function in (np.atleast_1d, np.atleast_2d, np.atleast_3d):
    FUNCTIONS[_function] = _moving(_function)


@implements(np.pad)
def _pad(x: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    value = options.pop("constant_values", 0)
    if options or (mode == "constant" and not np.isscalar(value)) or callable(mode) or mode in ("mean", "linear_ramp"):
        raise Inexact(f"pad with mode {mode!r}")
    if mode != "constant":
        return x.each(lambda a: np.pad(a, pad_width, mode))
    inside = np.pad(np.ones(x.shape, bool), pad_width)
    return choose(inside, x.each(lambda a: np.pad(a, pad_width)), value)


# New arrays, and writes


def _filled(x: Any, value: Any, shape: Any) -> Exact:
    shape = np.shape(x) if shape is None else shape
    value = Exact.of(value)
    q = None if isinstance(x, Exact) and x.q is None else value.q
    return Exact(*(None if a is None else np.array(np.broadcast_to(a, shape)) for a in (value.real, value.p, q)))


def _like(value: int) -> Any:
    def compute(x: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **_: Any) -> Any:
        if np.dtype(dtype or float).kind != "f":
            return np.full(np.shape(x) if shape is None else shape, value, dtype)
        return _filled(x, value, shape)

    return compute


FUNCTIONS.update({np.zeros_like: _like(0), np.empty_like: _like(0), np.ones_like: _like(1)})


@implements(np.full_like)
def _full_like(
    x: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None
) -> Any:
    return _filled(x, fill_value, shape)


@implements(np.copyto)
def _copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    if not isinstance(dst, Exact):
        raise Inexact("copyto into a plain array")
    dst[...] = src if where is True else choose(where, src, dst)


def _writing(function: Any) -> Any:
    def compute(x: Any, indices: Any, values: Any, *args: Any, **kwargs: Any) -> None:
        values = Exact.of(values)
        for target, new in ((x.real, values.real), (x.p, values.p), (x.q, values.q)):
            if target is not None:
                function(target, indices, UNKNOWN if new is None else new, *args, **kwargs)

    return compute


FUNCTIONS.update({f: _writing(f) for f in (np.put, np.put_along_axis)})


# Choices


@implements(np.where)
def _where(condition: Any, *choices: Any) -> Any:
    if not choices:
        return np.nonzero(is_nonzero(condition))
    if not any(isinstance(x, Exact) for x in choices):
        return np.where(is_nonzero(condition), *choices)
    return choose(condition, *choices)


@implements(np.select)
def _select(conditions: Any, choices: Any, default: Any = 0) -> Any:
    result: Any = default
    for condition, choice in list(zip(conditions, choices, strict=True))[::-1]:
        result = choose(condition, choice, result)
    return result


# Properties, as plain values


def _of_shadow(function: Any) -> Any:
    return lambda *args, **kwargs: function(*(x.real if isinstance(x, Exact) else x for x in args), **kwargs)


PROPERTIES: tuple[Any, ...] = (np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj)
PROPERTIES += (np.may_share_memory, np.shares_memory, np.min_scalar_type, np.isneginf, np.isposinf)
FUNCTIONS.update({f: _of_shadow(f) for f in PROPERTIES})


@implements(np.nonzero)
def _nonzero(x: Any) -> Any:
    return np.nonzero(is_nonzero(x))


@implements(np.count_nonzero)
def _count_nonzero(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return np.count_nonzero(is_nonzero(x), axis, keepdims=keepdims)


@implements(np.array_equal)
def _array_equal(x: Any, y: Any, equal_nan: bool = False) -> bool:
    x, y = Exact.of(x), Exact.of(y)
    return x.shape == y.shape and bool((x.p == y.p).all())
