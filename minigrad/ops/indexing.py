"""Indexing: reading elements, writing them into a copy, and adding them up where they belong.

getitem and scatter_add are each other's transpose, so indexing is differentiable to any order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from minigrad.engine.borrowed import owned
from minigrad.engine.errors import refuse_mask
from minigrad.engine.pairwise import add_at
from minigrad.engine.primitive import Function, linear, tensor_function


def is_basic(index: Any) -> bool:
    """Whether an index consists only of numbers, slices, None and Ellipsis, so that it reads no element twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, (int, slice, np.integer)) for p in parts)


def _is_mask(index: Any) -> bool:
    return getattr(getattr(index, "dtype", None), "kind", "") == "b"


def _scatter_add(values: Any, /, *, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of the shape, with values added at the index; where an index occurs several times, their sum."""
    out = np.zeros_like(values, shape=shape)
    if is_basic(index) or _is_mask(index):
        out[index] = values
    else:
        add_at(out, index, values)
    return out


def _set_index(x: Any, value: Any, /, *, index: Any) -> Any:
    """A copy of x with x[index] = value."""
    out = np.copy(x)
    out[index] = value
    return out


def _last_written(v: Any, index: Any) -> Any:
    """v[index], 0 where a later element was written to the same place."""
    if is_basic(index) or _is_mask(index):
        return v[index]
    values = v[index]
    order = np.arange(values.size).reshape(values.shape)
    last_writer = set_index(np.zeros_like(v, dtype=np.intp), order, index=index)
    return np.where(last_writer[index] == order, values, 0)


def read(x: Any, /, *, index: Any) -> Any:
    """x[index]. NumPy's protocols do not look at the index, which may be a tracer array."""
    if type(x) is np.ndarray:
        for part in index if type(index) is tuple else (index,):
            if hasattr(type(part), "minigrad_tracer"):
                return part.__array_function__(read, (type(part),), (x,), {"index": index})
    return x[index]


getitem = linear(
    read,
    lambda v, index, x_shape: scatter_add(v, index=index, shape=x_shape),
    name="getitem",
)
scatter_add: Function = linear(_scatter_add, lambda v, index: v[index])
set_index: Function = linear(
    _set_index,
    lambda v, index: set_index(v, 0, index=index),
    lambda v, index: _last_written(v, index),
)


@tensor_function
def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """The elements of x at integer indices along an axis (along the flattened array if axis is None)."""
    if axis is None:
        x, axis = np.reshape(x, (-1,)), 0
    axis = normalize_axis_index(axis, len(np.shape(x)))
    return getitem(x, index=(slice(None),) * axis + (integers(indices, "take"),))


def along_axis(indices: Any, axis: int) -> tuple[Any, ...]:
    """The index with which x[...] reads, for each position of `indices`, the element at this index along the axis."""
    grid = [np.arange(n).reshape((-1,) + (1,) * (indices.ndim - k - 1)) for k, n in enumerate(indices.shape)]
    grid[axis] = indices
    return tuple(grid)


@tensor_function
def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """For each position of `indices`, the element of x at this index along the axis."""
    indices = integers(indices, "take_along_axis")
    shape = np.shape(x)
    if indices.ndim != len(shape):
        raise ValueError(
            f"take_along_axis: indices of shape {indices.shape} need as many axes as x of shape {shape}; "
            "insert one, for example indices[:, None]"
        )
    axis %= len(shape)
    out = tuple(n if k == axis else np.broadcast_shapes((n,), (shape[k],))[0] for k, n in enumerate(indices.shape))
    if any(n > shape[k] for k, n in enumerate(out) if k != axis):
        x = np.broadcast_to(x, tuple(shape[k] if k == axis else n for k, n in enumerate(out)))
    return getitem(x, index=along_axis(np.broadcast_to(indices, out), axis))


@tensor_function
def gather(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """The same as take_along_axis: out[i, j] = x[i, indices[i, j]] for axis 1."""
    return take_along_axis(x, indices, axis=axis)


def scatter(v: Any, indices: Any, /, *, axis: int, size: int) -> Any:
    """The transpose of gather: zeros with v added at the indices along the axis, sums where indices repeat.

    The result has the shape of v, except that the axis has the given size.
    """
    indices = integers(indices, "scatter")
    axis %= indices.ndim
    shape = tuple(size if k == axis else n for k, n in enumerate(indices.shape))
    return scatter_add(v, index=along_axis(indices, axis), shape=shape)


def integers(indices: Any, name: str) -> Any:
    """Integer indices as an array; raises a TypeError for other dtypes."""
    refuse_mask(indices, name)
    values = plain_index(indices)
    values = values if hasattr(values, "dtype") else np.asarray(values)
    if values.size == 0 and values.dtype.kind == "f":
        values = values.astype(np.intp)
    if values.dtype.kind not in "iu":
        raise TypeError(f"{name}: indices have dtype {values.dtype}; they must be integers (x.astype(int))")
    return values


def plain_index(index: Any) -> Any:
    """An index with arrays instead of Tensors and lists, and copies instead of the user's arrays.

    No gradient flows to an index, but the backward pass reads it again, so the user's changes must not matter.
    """
    if isinstance(index, tuple):
        return tuple([plain_index(part) for part in index])
    if isinstance(index, list):
        return np.asarray(index) if index else np.zeros(0, dtype=np.intp)
    if hasattr(index, "node") and hasattr(index, "data"):
        index = index.data
        return owned(index) if type(index) is np.ndarray and index.base is not None else index
    if type(index) is np.ndarray:
        return owned(index)
    if isinstance(index, np.ndarray) and not hasattr(type(index), "minigrad_tracer"):  # a subclass, as of np.memmap
        refuse_mask(index, "an index")
        return owned(np.asarray(index))
    return index
