"""Sums of many numbers of single or half precision: in blocks that are added in pairs, or in a wider dtype.

NumPy adds in pairs along the axis that lies closest in memory; along others, and in BLAS, every row is added to what is
there. After a million rows that is 1 % off. Here blocks of rows are added first, so that no number takes part in more
than some sixty additions. The first sum reads the memory once, as before, and the others are of a sixteenth of it.

Sums at indices and running sums, which have no blocks, are computed in the next wider dtype and rounded once.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

reduce: Any = np.add.reduce
MANY = 256  # rows: up to here they are added one after the other
BLOCK = 16  # rows that are added at once
FEW = 1 << 12  # numbers, so few that there is nothing to gain


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
    given = tuple(range(x.ndim)) if axis is None else axis if type(axis) is tuple else (axis,)
    is_short = math.prod([x.shape[k] for k in given]) <= MANY
    if is_short or not _has_many_rows(x, axes := tuple([k % x.ndim for k in given])):
        return reduce(x, axis=axis, keepdims=keepdims)
    total = _by_blocks(x, axes)
    return np.reshape(total, [1 if k in axes else n for k, n in enumerate(x.shape)]) if keepdims else total


def _has_many_rows(x: Any, axes: tuple[int, ...]) -> bool:
    """Whether NumPy would add many rows one after the other: along axes that are not the innermost in memory."""
    moving = [k for k in range(x.ndim) if x.shape[k] > 1]
    innermost = min(moving, key=lambda k: abs(x.strides[k]), default=None)
    return math.prod(x.shape[k] for k in axes if k != innermost) > MANY and any(k not in axes for k in moving)


def _by_blocks(x: Any, axes: tuple[int, ...]) -> Any:
    """The sum over the axes, of an array in which each result has a row or a column of its own."""
    kept = [k for k in range(x.ndim) if k not in axes]
    rows = math.prod(x.shape[k] for k in axes)
    shape = tuple(x.shape[k] for k in kept)
    order = sorted(range(x.ndim), key=lambda k: -abs(x.strides[k]))
    if set(order[-len(kept) :]) == set(kept):  # what is kept lies inside, as for sums over the batch
        tangent_out = np.transpose(x, [*order[: -len(kept)], *kept])
        return np.reshape(column_sums(np.reshape(tangent_out, (rows, math.prod(shape)))), shape)
    tangent_out = np.reshape(np.transpose(x, [*kept, *(k for k in order if k in axes)]), (-1, rows))
    return np.reshape(np.add.reduce(np.ascontiguousarray(tangent_out), axis=1), shape)


def column_sums(rows: Any) -> Any:
    """Σ over the rows of a matrix, as products with ones, two to five times as fast as np.sum."""
    if type(rows) is np.ndarray and rows.dtype == np.float32 and len(rows) > MANY:
        rows = _halved(rows)
    return ones_for(rows) @ rows


def _halved(rows: Any) -> Any:
    """Few rows with the same sum."""
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
    elif values.size <= MANY or (values.size < out.size and not _names_often(index)):
        np.add.at(out, index, values)
    else:
        _add_counted(out, index, values)


def _names_often(index: Any) -> bool:
    """Whether an index may name an element more than MANY times; one both as k and as k - n, twice as often."""
    parts = index if type(index) is tuple else (index,)
    arrays = [np.asarray(part) for part in parts if not (part is None or part is Ellipsis or isinstance(part, slice))]
    if len(arrays) == 1 and arrays[0].size <= MANY:
        return False
    if any(part.dtype.kind not in "iu" for part in arrays):
        return True  # a mask beside numbers: nobody counts
    named: Any = np.zeros((), np.intp)
    most, size = 1, np.broadcast(*arrays).size
    for part in arrays:  # the first alone may tell: the rows of x[np.arange(n), labels]
        low, high = int(part.min()), int(part.max())
        named = named * (high - low + 1) + (part.astype(np.intp) - low)
        most *= high - low + 1
        if size <= MANY or _largest_count(named.ravel(), most) * (size // named.size) <= MANY:
            return False
    return True


def _largest_count(numbers: Any, most: int) -> int:
    """How often the most frequent of some numbers below `most` occurs; of few numbers an upper bound."""
    if most <= 8 * numbers.size:
        return int(np.bincount(numbers).max())
    numbers = np.sort(numbers)  # of few among many this is quicker
    return numbers.size if (numbers[MANY:] == numbers[:-MANY]).any() else MANY


def _add_counted(out: Any, index: Any, values: Any) -> None:
    """add_at by np.bincount, which adds in float64, and takes no longer than np.add.at."""
    *lead, rows = index if type(index) is tuple else (index,)
    is_whole = all(type(part) is slice and part == slice(None) for part in lead)
    if out.size > values.size and is_whole and type(rows) is np.ndarray and rows.dtype.kind in "iu":
        # The indices of take: of a large table only the rows that are named.
        k = len(lead)
        values = np.broadcast_to(values, (*out.shape[:k], *rows.shape, *out.shape[k + 1 :]))
        out, axes = np.moveaxis(out, k, 0), range(k, k + rows.ndim)
        named, places = np.unique(rows.astype(np.intp) % len(out), return_inverse=True)
        total = np.zeros((len(named), *out.shape[1:]), out.dtype)
        _add_counted(total, places.reshape(rows.shape), np.moveaxis(values, axes, range(rows.ndim)))
        out[named] += total
        return
    places = np.arange(out.size).reshape(out.shape)[index]
    weights, places = np.broadcast_to(values, places.shape).ravel(), places.ravel()
    with np.errstate(over="ignore"):
        if out.size <= values.size:
            out += np.bincount(places, weights, out.size).reshape(out.shape)
        else:
            named, places = np.unique(places, return_inverse=True)
            out[np.unravel_index(named, out.shape)] += np.bincount(places, weights)


def wide(x: Any) -> Any:
    """x, as float32 if it is float16: one of several that are added up."""
    return x.astype(np.float32) if x.dtype == HALF else x


def narrow(x: Any) -> Any:
    """The sum of some, as float16."""
    with np.errstate(over="ignore"):  # beyond half precision is inf, as anywhere
        return x.astype(HALF)


def running_sums(x: Any, /, *, axis: int) -> Any:
    """np.cumsum, with float16 added in float32, and long rows of float32 in float64."""
    if x.dtype == np.float16 or (x.dtype == np.float32 and x.shape[axis] > MANY):
        with np.errstate(over="ignore"):
            return np.cumsum(x.astype(WIDER[x.dtype]), axis=axis).astype(x.dtype)
    return np.cumsum(x, axis=axis)


def ones_for(rows: Any) -> Any:
    """A 1 for each row of a matrix; of plain arrays the same array again and again."""
    if type(rows) is np.ndarray and len(rows) <= MOST_ONES:
        return _ones(len(rows), rows.dtype)
    return np.ones_like(rows, shape=rows.shape[:1])


MOST_ONES = 1 << 16  # beyond, making them is a small part of the sum


@lru_cache(maxsize=32)
def _ones(count: int, dtype: Any) -> Any:
    ones = np.ones(count, dtype)
    ones.flags.writeable = False
    return ones
