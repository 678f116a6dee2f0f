"""Functions that move, copy or convert elements. All are linear."""

from __future__ import annotations

import operator
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from minigrad.engine.errors import call, complex_refused
from minigrad.engine.node import mode
from minigrad.engine.primitive import linear, tensor_function, value_of
from minigrad.engine.specialize import unbroadcast
from minigrad.ops.indexing import getitem

Axes = int | tuple[int, ...]

axis_of = normalize_axis_index  # an axis as a non-negative number


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axis argument of a reduction as a tuple of non-negative axes."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(axis_of(a, ndim) for a in (axis if isinstance(axis, (tuple, list)) else (axis,)))


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether an array of the first shape can be broadcast to the second."""
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(reversed(shape), reversed(to), strict=False))


@lru_cache(maxsize=4096)
def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def _broadcast_copy(x: Any, /, *, shape: tuple[int, ...]) -> Any:
    """A copy of x, repeated to the shape: BLAS does not accept a view with strides of 0."""
    out = np.empty_like(x, shape=shape)
    np.copyto(out, x)
    return out


broadcast_to_shape = linear(_broadcast_copy, lambda v, x_shape: unbroadcast(v, x_shape), name="broadcast_to")
reshape_to = linear(np.reshape, lambda v, x_shape: np.reshape(v, x_shape), signature="(x, /, *, shape)", name="reshape")
transpose = linear(
    np.transpose, lambda v, axes: np.transpose(v, _inverse(axes)), signature="(x, /, *, axes)", name="permute_dims"
)
matrix_transpose = linear(
    lambda x, /: x.mT,
    lambda v: v.mT,
    name="matrix_transpose",
    doc="Matrices (..., M, N) with their last two axes exchanged, (..., N, M).",
)
flip_axes = linear(np.flip, lambda v, axis: np.flip(v, axis), signature="(x, /, *, axis)", name="flip")
roll_axes = linear(
    np.roll,
    lambda v, shift, axis: np.roll(v, _minus(shift), axis),
    signature="(x, /, *, shift, axis)",
    name="roll",
)
concat_arrays = linear(
    lambda arrays, /, *, axis, stops: np.concatenate(arrays, axis),
    lambda v, i, axis, stops: v[(slice(None),) * axis + (slice(stops[i], stops[i + 1]),)],
    name="concat",
)
stack_arrays = linear(
    lambda arrays, /, *, axis: np.stack(arrays, axis), lambda v, i, axis: v[(slice(None),) * axis + (i,)], name="stack"
)
pad_zeros = linear(
    lambda x, /, *, widths: np.pad(x, widths),
    lambda v, widths, x_shape: v[tuple(slice(a, a + n) for (a, _), n in zip(widths, x_shape, strict=True))],
    name="pad",
)
tril = linear(
    np.tril,
    lambda v, k: np.tril(v, k),
    signature="(x, /, *, k=0)",
    doc="Matrices (..., M, N) with zeros above the k-th diagonal, which lies above the main one for k > 0.",
)
triu = linear(
    np.triu,
    lambda v, k: np.triu(v, k),
    signature="(x, /, *, k=0)",
    doc="Matrices (..., M, N) with zeros below the k-th diagonal, which lies above the main one for k > 0.",
)


def _cast_back(v: Any, x_dtype: Any) -> Any:
    """A cotangent in the dtype of the operand; raises an error instead of dropping an imaginary part."""
    if "c" in (v.dtype.kind, x_dtype.kind):
        raise complex_refused(f"the gradient of astype from {x_dtype}")
    return v.astype(x_dtype)


cast = linear(lambda x, /, *, dtype: x.astype(dtype), _cast_back, name="astype", analytic=False)
copy = linear(np.copy, lambda v: v, signature="(x, /)", doc="A copy of x.")


def _minus(shift: Any) -> Any:
    return tuple(-s for s in shift) if isinstance(shift, tuple) else -shift


@tensor_function
def broadcast_to(x: Any, /, shape: Any) -> Any:
    """x repeated along new and size-1 axes to the shape."""
    return broadcast_to_shape(x, shape=_shape(shape))


def broadcast_arrays(*arrays: Any) -> list[Any]:
    """All arrays, broadcast to their common shape."""
    shape = np.broadcast_shapes(*(np.shape(x) for x in arrays))
    return [x if np.shape(x) == shape else broadcast_to(x, shape) for x in arrays]


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Any]:
    """Coordinate grids: grids[k][i0, i1, ...] = arrays[k][ik]; with "xy", i0 and i1 are exchanged."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid(indexing={indexing!r}): must be 'xy' or 'ij'")
    axes = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        axes[:2] = 1, 0
    return broadcast_arrays(
        *(reshape(x, tuple(-1 if k == j else 1 for j in range(len(arrays)))) for k, x in zip(axes, arrays, strict=True))
    )


@tensor_function
def reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Any:
    """x with another shape; one size may be -1.

    Args:
        x: any shape.
        shape: an int or a tuple, for the same number of elements.
        copy: True always copies, False raises a ValueError if the order of the elements in memory needs a copy.
    """
    if copy is False:
        np.reshape(value_of(x), shape, copy=False)
    return reshape_to(x if not copy else np.copy(x), shape=_shape(shape))


@tensor_function
def permute_dims(x: Any, /, axes: Any = None) -> Any:
    """x with its axes in another order, by default reversed."""
    ndim = len(np.shape(x))
    axes = tuple(range(ndim))[::-1] if axes is None else axes_of(axes, ndim)
    if sorted(axes) != list(range(ndim)):
        raise ValueError(f"permute_dims: axes {axes} are not a permutation of the {ndim} axes of shape {np.shape(x)}")
    return transpose(x, axes=axes)


@tensor_function
def swapaxes(x: Any, /, axis1: int, axis2: int) -> Any:
    """x with two axes exchanged."""
    axes = list(range(len(np.shape(x))))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return permute_dims(x, axes)


@tensor_function
def moveaxis(x: Any, /, source: Axes, destination: Axes) -> Any:
    """x with the source axes moved to the destination positions; the others keep their order."""
    ndim = len(np.shape(x))
    source, destination = axes_of(source, ndim), axes_of(destination, ndim)
    if len(source) != len(destination):
        raise ValueError(
            f"moveaxis: {len(source)} source axes {source} for {len(destination)} destinations {destination}"
        )
    order = [k for k in range(ndim) if k not in source]
    for place, axis in sorted(zip(destination, source, strict=True)):
        order.insert(place, axis)
    return permute_dims(x, order)


@tensor_function
def expand_dims(x: Any, /, axis: Axes = 0) -> Any:
    """x with axes of size 1 inserted at the given positions of the result."""
    axes = axes_of(axis, len(np.shape(x)) + (len(axis) if isinstance(axis, (tuple, list)) else 1))
    if len(set(axes)) < len(axes):
        raise ValueError(
            f"expand_dims: axis {axis} names a position twice for an array of shape {np.shape(x)}; name each once"
        )
    sizes = iter(np.shape(x))
    return reshape_to(x, shape=tuple(1 if k in axes else next(sizes) for k in range(len(np.shape(x)) + len(axes))))


@tensor_function
def squeeze(x: Any, /, axis: Axes | None = None) -> Any:
    """x without the given axes, which must have size 1; by default without all axes of size 1."""
    shape = np.shape(x)
    axes = tuple(k for k, n in enumerate(shape) if n == 1) if axis is None else axes_of(axis, len(shape))
    if any(shape[k] != 1 for k in axes):
        raise ValueError(f"squeeze: axis {axis} of shape {shape} cannot be removed, because its size is not 1")
    return reshape_to(x, shape=tuple(n for k, n in enumerate(shape) if k not in axes))


@tensor_function
def flip(x: Any, /, *, axis: Axes | None = None) -> Any:
    """x with the order of elements reversed along the axes, by default all."""
    return flip_axes(x, axis=axes_of(axis, len(np.shape(x))))


@tensor_function
def roll(x: Any, /, shift: Any, *, axis: Axes | None = None) -> Any:
    """x with elements shifted along the axes; those shifted beyond the end reappear at the other end."""
    return roll_axes(x, shift=tuple(shift) if isinstance(shift, list) else shift, axis=axis)


def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """The arrays joined along an existing axis; flattened first if axis is None."""
    arrays = tuple(reshape(x, (-1,)) for x in arrays) if axis is None else tuple(arrays)
    if not arrays:
        raise ValueError("concat: needs at least one array")
    ndim = len(np.shape(arrays[0]))
    if ndim == 0:
        raise ValueError("concat: 0-d arrays have no axis to join along; use stack")
    axis = axis_of(axis or 0, ndim)
    stops = [0]
    for x in arrays:
        stops.append(stops[-1] + (np.shape(x)[axis] if len(np.shape(x)) == ndim else 0))
    return concat_arrays(arrays, axis=axis, stops=tuple(stops))


def stack(arrays: Any, /, *, axis: int = 0) -> Any:
    """The arrays along a new axis."""
    arrays = tuple(arrays)
    if not arrays:
        raise ValueError("stack: needs at least one array")
    return stack_arrays(arrays, axis=axis_of(axis, len(np.shape(arrays[0])) + 1))


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices of x along an axis. They are taken by halves: the gradient of a slice has the size of its source."""
    k = axis_of(axis, len(np.shape(x)))
    if type(x) is np.ndarray:
        return tuple(np.moveaxis(x, k, 0))
    before, size = (slice(None),) * k, np.shape(x)[k]
    if size < 4:
        return tuple(getitem(x, index=(*before, i)) for i in range(size))
    halves = slice(0, size // 2), slice(size // 2, size)
    return tuple(part for half in halves for part in unstack(getitem(x, index=(*before, half)), axis=k))


def split(x: Any, /, sections: Any, *, axis: int = 0) -> list[Any]:
    """x divided along an axis into equal sections, or at the given indices."""
    k = axis_of(axis, len(np.shape(x)))
    size = np.shape(x)[k]
    if isinstance(sections, int):
        if size % sections:
            raise ValueError(f"split: axis {axis} of size {size} does not divide into {sections} equal sections")
        sections = range(size // sections, size, size // sections)
    cuts = [0, *sections, size]
    return [getitem(x, index=(slice(None),) * k + (slice(a, b),)) for a, b in pairwise(cuts)]


@tensor_function
def repeat(x: Any, /, repeats: Any, *, axis: int | None = None) -> Any:
    """x with each element repeated along the axis: a number of times, or one number for each element."""
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    k = axis_of(axis, len(np.shape(x)))
    index = np.repeat(np.arange(np.shape(x)[k]), np.asarray(repeats))
    return getitem(x, index=(slice(None),) * k + (index,))


@tensor_function
def tile(x: Any, /, repetitions: Any) -> Any:
    """x repeated as a whole, repetitions[k] times along axis k."""
    times = (repetitions,) if isinstance(repetitions, int) else tuple(repetitions)
    shape = np.shape(x)
    shape = (1,) * (len(times) - len(shape)) + shape
    times = (1,) * (len(shape) - len(times)) + times
    between = tuple(n for size in shape for n in (1, size))
    filled = tuple(n for pair in zip(times, shape, strict=True) for n in pair)
    x = broadcast_to_shape(reshape_to(x, shape=between), shape=filled)
    return reshape_to(x, shape=tuple(t * n for t, n in zip(times, shape, strict=True)))


@tensor_function
def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    """The n-th differences of neighboring elements along an axis; x itself for n = 0.

    `prepend` and `append` are arrays, or numbers, which stand for a slice with that value.
    """
    if n < 0:
        raise ValueError(f"{call('diff', (x,), {'n': n})}: n must not be negative")
    if n == 0:
        return x
    shape = np.shape(x)
    edge = tuple(1 if k == axis_of(axis, len(shape)) else size for k, size in enumerate(shape))
    ends = [part if part is None or np.ndim(part) else broadcast_to(part, edge) for part in (prepend, append)]
    if any(part is not None for part in ends):
        x = concat([part for part in (ends[0], x, ends[1]) if part is not None], axis=axis)
    lead = (slice(None),) * axis_of(axis, len(np.shape(x)))
    for _ in range(n):
        x = getitem(x, index=(*lead, slice(1, None))) - getitem(x, index=(*lead, slice(None, -1)))
    return x


@tensor_function
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """x converted to another dtype. A conversion to integers or booleans has no gradient.

    With copy=False, x itself is returned if it has the dtype already. The only device is "cpu".
    """
    if device not in (None, "cpu"):
        raise ValueError(f"astype: device={device!r}: only 'cpu' is supported")
    dtype = np.dtype(dtype)
    if dtype.kind not in "biufc":
        raise TypeError(
            f"{call('astype', (x, dtype), {})}: a Tensor holds numbers or booleans; for other dtypes use t.numpy()"
        )
    if not copy and x.dtype == dtype:
        return x
    if "c" in (dtype.kind, x.dtype.kind) and getattr(x, "node", None) is not None and mode.get() is not None:
        raise complex_refused(call("astype", (x, dtype), {}))
    return cast(x, dtype=dtype) if dtype.kind == "f" else cast_constant(x, dtype=dtype)


cast_constant = linear(lambda x, /, *, dtype: x.astype(dtype), name="astype")


def _shape(shape: Any) -> tuple[int, ...]:
    return (operator.index(shape),) if isinstance(shape, (int, np.integer)) else tuple(map(operator.index, shape))
