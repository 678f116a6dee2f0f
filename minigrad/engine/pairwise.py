"""Sums of many numbers of single or half precision: in blocks that are added in pairs, or in a wider dtype.

NumPy adds in pairs along the axis that is contiguous in memory; along others, and in BLAS, it adds row after row to one
total, which is 1 % off after a million rows of float32. Here blocks of rows are added first, so that no number takes
part in more than about sixty additions. The first pass reads the memory once, as before, the next a sixteenth of it.

Sums at indices and running sums, which have no blocks, are computed in the next wider dtype and rounded once.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

reduce: Any = np.add.reduce
MANY = 256  # rows: up to this many are added one after the other
BLOCK = 16  # rows that are added at once
FEW = 1 << 12  # numbers: below this there is nothing to gain


def add_reduce(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """np.add.reduce, with rows of float32 added in blocks, and float16 in float32.

    Example:
        >>> x = np.full((1_000_000, 2), 0.1, np.float32)
        >>> abs(float(add_reduce(x, axis=0)[0]) / 1e5 - 1) < 1e-6, abs(float(x.sum(axis=0)[0]) / 1e5 - 1) < 1e-6
        (True, False)
    """
    if type(x) is not np.ndarray or (x.size < FEW and x.itemsize != 2) or x.dtype.char not in "fe":
        if type(x) is not np.ndarray and hasattr(type(x), "minigrad_tracer") and x.dtype == HALF:
            return narrow(reduce(wide(x), axis=axis, keepdims=keepdims))  # the program has the same conversions
        return reduce(x, axis=axis, keepdims=keepdims)
    if x.dtype == np.float16:
        with np.errstate(over="ignore"):
            return np.asarray(reduce(x, axis=axis, keepdims=keepdims, dtype=np.float32)).astype(x.dtype)[()]
    axes = tuple(range(x.ndim)) if axis is None else axis if type(axis) is tuple else (axis,)
    is_short = math.prod([x.shape[k] for k in axes]) <= MANY
    if is_short or not _has_many_rows(x, axes := tuple([k % x.ndim for k in axes])):
        return reduce(x, axis=axis, keepdims=keepdims)
    total = _by_blocks(x, axes)
    return np.reshape(total, [1 if k in axes else n for k, n in enumerate(x.shape)]) if keepdims else total


def _has_many_rows(x: Any, axes: tuple[int, ...]) -> bool:
    """Whether NumPy would add many rows one after the other: along axes that are not the innermost in memory."""
    long_axes = [k for k in range(x.ndim) if x.shape[k] > 1]
    innermost = min(long_axes, key=lambda k: abs(x.strides[k]), default=None)
    return math.prod(x.shape[k] for k in axes if k != innermost) > MANY and any(k not in axes for k in long_axes)


def _by_blocks(x: Any, axes: tuple[int, ...]) -> Any:
    """The sum over the axes, computed on a matrix with a column, or else a row, for each result."""
    other_axes = [k for k in range(x.ndim) if k not in axes]
    length = math.prod(x.shape[k] for k in axes)
    shape = tuple(x.shape[k] for k in other_axes)
    order = sorted(range(x.ndim), key=lambda k: -abs(x.strides[k]))  # from the outermost in memory to the innermost
    if set(order[-len(other_axes) :]) == set(other_axes):  # the summed axes are the outer ones, as for a batch
        columns = np.transpose(x, [*order[: -len(other_axes)], *other_axes])
        return np.reshape(column_sums(np.reshape(columns, (length, math.prod(shape)))), shape)
    rows = np.reshape(np.transpose(x, [*other_axes, *(k for k in order if k in axes)]), (-1, length))
    return np.reshape(np.add.reduce(np.ascontiguousarray(rows), axis=1), shape)


def column_sums(rows: Any) -> Any:
    """Σ over the rows of a matrix, as products with ones, two to five times as fast as np.sum."""
    if type(rows) is np.ndarray and rows.dtype == np.float32 and len(rows) > MANY:
        rows = _block_sums(rows)
    return ones_for(rows) @ rows


def _block_sums(rows: Any) -> Any:
    """A few rows with the same sum: sums of blocks of rows, again and again."""
    columns = rows.shape[1]
    while (count := len(rows) // BLOCK) > 0:
        blocks = np.reshape(rows[: BLOCK * count], (BLOCK, count * columns))
        rest = rows[BLOCK * count :]
        rows = np.reshape(_ones(BLOCK, rows.dtype) @ blocks, (count, columns))
        if len(rest):
            rows = np.concatenate([rows, rest])
            if len(rows) <= 2 * BLOCK:
                break
    return rows


HALF = np.dtype(np.float16)
WIDER = {HALF: np.dtype(np.float32), np.dtype(np.float32): np.dtype(np.float64)}


def add_at(out: Any, index: Any, values: Any) -> None:
    """np.add.at, with float16 added in float32, and many numbers of float32 in float64.

    Example:
        >>> out = np.zeros(2, np.float32)
        >>> add_at(out, np.zeros(1_000_000, int), np.full(1_000_000, 0.1, np.float32))
        >>> out
        array([100000.,      0.], dtype=float32)
    """
    if type(out) is not np.ndarray or type(values) is not np.ndarray or out.dtype.char not in "fe":
        np.add.at(out, index, values)
    elif out.dtype == np.float16:
        wide = out.astype(np.float32)
        add_at(wide, index, values.astype(np.float32))
        with np.errstate(over="ignore"):
            out[...] = wide
    elif values.size <= MANY or (values.size < out.size and not _may_repeat_often(index)):
        np.add.at(out, index, values)
    else:
        _add_by_bincount(out, index, values)


def _may_repeat_often(index: Any) -> bool:
    """Whether an element may occur in an index more than MANY times (twice that if it occurs as k and as k - n)."""
    parts = index if type(index) is tuple else (index,)
    arrays = [np.asarray(part) for part in parts if not (part is None or part is Ellipsis or isinstance(part, slice))]
    if len(arrays) == 1 and arrays[0].size <= MANY:
        return False
    if any(part.dtype.kind not in "iu" for part in arrays):
        return True  # a mask beside numbers is not counted
    elements: Any = np.zeros((), np.intp)  # a number for each combination of indices
    bound, size = 1, np.broadcast(*arrays).size
    for part in arrays:  # the first part alone may be enough: the rows of x[np.arange(n), labels]
        low, high = int(part.min()), int(part.max())
        elements = elements * (high - low + 1) + (part.astype(np.intp) - low)
        bound *= high - low + 1
        if size <= MANY or _largest_count(elements.ravel(), bound) * (size // elements.size) <= MANY:
            return False
    return True


def _largest_count(numbers: Any, bound: int) -> int:
    """How often the most frequent of some numbers below a bound occurs; an upper limit if the bound is high."""
    if bound <= 8 * numbers.size:
        return int(np.bincount(numbers).max())
    numbers = np.sort(numbers)  # faster here
    return numbers.size if (numbers[MANY:] == numbers[:-MANY]).any() else MANY


def _add_by_bincount(out: Any, index: Any, values: Any) -> None:
    """add_at with np.bincount, which adds in float64 and takes no longer than np.add.at."""
    *lead, rows = index if type(index) is tuple else (index,)
    leads_all = all(type(part) is slice and part == slice(None) for part in lead)
    if out.size > values.size and leads_all and type(rows) is np.ndarray and rows.dtype.kind in "iu":
        # The index of take: of a large table, add only the rows that occur.
        k = len(lead)
        values = np.broadcast_to(values, (*out.shape[:k], *rows.shape, *out.shape[k + 1 :]))
        out, axes = np.moveaxis(out, k, 0), range(k, k + rows.ndim)
        distinct, inverse = np.unique(rows.astype(np.intp) % len(out), return_inverse=True)
        total = np.zeros((len(distinct), *out.shape[1:]), out.dtype)
        _add_by_bincount(total, inverse.reshape(rows.shape), np.moveaxis(values, axes, range(rows.ndim)))
        out[distinct] += total
        return
    positions = np.arange(out.size).reshape(out.shape)[index]
    weights, positions = np.broadcast_to(values, positions.shape).ravel(), positions.ravel()
    with np.errstate(over="ignore"):
        if out.size <= values.size:
            out += np.bincount(positions, weights, out.size).reshape(out.shape)
        else:
            distinct, inverse = np.unique(positions, return_inverse=True)
            out[np.unravel_index(distinct, out.shape)] += np.bincount(inverse, weights)


def wide(x: Any) -> Any:
    """x in the dtype in which it is added to others: float32 instead of float16."""
    return x.astype(np.float32) if x.dtype == HALF else x


def narrow(x: Any) -> Any:
    """A sum in float32 as float16."""
    with np.errstate(over="ignore"):  # too large a number is inf, as everywhere
        return x.astype(HALF)


def running_sums(x: Any, /, *, axis: int) -> Any:
    """np.cumsum, with float16 added in float32, and long rows of float32 in float64."""
    if x.dtype == np.float16 or (x.dtype == np.float32 and x.shape[axis] > MANY):
        with np.errstate(over="ignore"):
            return np.cumsum(x.astype(WIDER[x.dtype]), axis=axis).astype(x.dtype)
    return np.cumsum(x, axis=axis)


def ones_for(rows: Any) -> Any:
    """A 1 for each row of a matrix; for plain arrays a cached array."""
    if type(rows) is np.ndarray and len(rows) <= MOST_ONES:
        return _ones(len(rows), rows.dtype)
    return np.ones_like(rows, shape=rows.shape[:1])


MOST_ONES = 1 << 16  # rows: for more, making the ones is a small part of the sum


@lru_cache(maxsize=32)
def _ones(count: int, dtype: Any) -> Any:
    ones = np.ones(count, dtype)
    ones.flags.writeable = False
    return ones
