"""The windows of an array as rows of a matrix, and kernels as matrices: convolutions become matrix products.

A matrix of all windows ("im2col") is prod(window) times x, and to write it costs more than to multiply it. With stride
1 along the first axis, the windows over the *other* axes are enough: tap i of the first axis finds its matrix in the
same buffer, i * dilation rows further on, so there is one product for each i and the buffer is window[0] times smaller.
It is filled block by block, so that it stays in the cache and its memory is used again.

A product with few columns leaves the processor idle: with 3 output channels it takes as long as with 12. So where there
are few, neighboring places along the last axis are computed together. Their windows overlap, so one window of
(together - 1) * stride + window entries serves them all, with a kernel that holds the given one once for each place,
shifted, among zeros (`side_by_side`). There is more to multiply, but less to write, and the whole is faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.ops.spatial.windows import Index, Pairs, Sizes, crop, empty, frame, window_view, zeros

CACHE = 1 << 19  # bytes in work at a time
FEW = 5  # entries of a window that are worth a product of their own
SHORT = 8  # entries: runs of memory as short as this are not worth a copy of their own
WIDE = 16  # columns of a product that keep the processor busy


def shifts_of(w_shape: Sizes, stride: Sizes) -> int:
    """How many products a convolution is: one for each tap of the first axis, where its columns can be shared."""
    window, channels = w_shape[:-2], w_shape[-2]
    return window[0] if stride[0] == 1 and math.prod(window[1:]) * channels >= FEW else 1


def columns(
    x: Any, w_shape: Sizes, places: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> Iterator[tuple[slice, slice, list[Any]]]:
    """Block by block: (samples, rows of the first axis, a matrix (samples, groups, places, K) for each shift).

    The matrices share one buffer, which the next block overwrites; so do padded samples.
    """
    window, shifts = w_shape[:-2], shifts_of(w_shape, stride)
    first = 0 if shifts == 1 else 1  # the columns hold the windows over the axes from this one on
    entries = math.prod(window[first:]) * w_shape[-2]
    ready = groups == 1 and math.prod(window[first:]) == math.prod(stride) == 1  # x is its own columns
    reach = (shifts - 1) * dilation[0]
    row = (groups * entries + w_shape[-1]) * math.prod(places[1:])  # of columns and of products
    x, buffer = crop(x, padding), None
    cache = CACHE if not hasattr(x, "takes_whole") else 4 * CACHE  # a program grows with the number of blocks
    plan = list(blocks(x.shape[0], places[0], row * x.dtype.itemsize, cache))
    is_padded = any(max(pair) > 0 for pair in padding)
    padded, inside = frame(x, padding, plan[0][0].stop if plan else 0) if is_padded else (x, None)
    view = None
    for samples, rows in plan:
        some = samples if inside is None else slice(0, samples.stop - samples.start)
        if inside is not None and rows.start == 0:
            np.copyto(inside[some], x[samples])
            view = None
        if view is None:  # not before the samples are there: an array that listens takes views as they are now
            view = _window_rows(padded, window[first:], stride[first:], dilation[first:], groups)
        columns = view[some, :, rows.start : rows.stop + reach]
        if not ready:
            if buffer is None or buffer.shape != columns.shape:
                buffer = empty(x, columns.shape)
            _copy(buffer, columns, taps_from=2 + len(places))
            columns = buffer
        count = rows.stop - rows.start
        shape = (columns.shape[0], groups, count * math.prod(places[1:]), entries)
        starts = range(0, reach + 1, dilation[0])
        yield samples, rows, [np.reshape(columns[:, :, start : start + count], shape) for start in starts]


def _window_rows(x: Any, window: Sizes, stride: Sizes, dilation: Sizes, groups: int) -> Any:
    """The windows of x over its last spatial axes: (N, groups, *places, *window, in / groups), a view."""
    *outer, channels = x.shape
    last = len(outer)  # the axis of the groups
    x = np.reshape(x, (*outer, groups, channels // groups))
    if window:
        x = window_view(x, window, stride, dilation, tuple(range(last - len(window), last)))
    return np.transpose(x, (0, last, *range(1, last), *range(last + 2, x.ndim), last + 1))


def _copy(buffer: Any, columns: Any, taps_from: int) -> None:
    """Copies columns (samples, groups, *places, *window, channels) the way round that has the longer runs."""
    run, entry = math.prod(columns.shape[-2:]), columns.shape[taps_from:]
    if run < SHORT and math.prod(entry) <= 32:
        for tap in np.ndindex(*entry):
            np.copyto(buffer[(..., *tap)], columns[(..., *tap)])
    else:
        np.copyto(buffer, columns)


def blocks(samples: int, rows: int, row_bytes: int, cache: int | None = None) -> Iterator[tuple[slice, slice]]:
    """Slices of samples and rows with about `cache` bytes (CACHE): whole samples if one fits, else rows of one."""
    fit = max(1, (cache or CACHE) // max(1, row_bytes))
    if fit >= rows:
        together = fit // max(1, rows)
        for n in range(0, samples, together):
            yield slice(n, min(n + together, samples)), slice(0, rows)
    else:
        for n in range(samples):
            for row in range(0, rows, fit):
                yield slice(n, n + 1), slice(row, min(row + fit, rows))


def kernel_matrices(w: Any, shifts: int, groups: int) -> Any:
    """(*window, in / groups, out) -> (shifts, groups, K, out / groups), a view."""
    shape = (shifts, math.prod(w.shape[:-1]) // shifts, groups, w.shape[-1] // groups)
    return np.swapaxes(np.reshape(w, shape), 1, 2)


def by_group(a: Any, groups: int) -> Any:
    """(m, *spatial, channels) -> (m, groups, places, channels / groups), a view."""
    shape = (a.shape[0], math.prod(a.shape[1:-1]), groups, a.shape[-1] // groups)
    return np.swapaxes(np.reshape(a, shape), 1, 2)


def flat(a: Any) -> Any:
    """(..., channels) -> (rows, channels)."""
    return np.reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))


def every(stride: Sizes) -> Index:
    """The index of the entries that windows of one tap meet."""
    return (slice(None), *(slice(None, None, s) for s in stride))


def flipped(w: Any, groups: int) -> Any:
    """The kernel of the transposed map: taps reversed, in and out exchanged within each group."""
    *window, channels, out = w.shape
    w = np.reshape(w[(slice(None, None, -1),) * len(window)], (*window, channels, groups, out // groups))
    return np.reshape(np.swapaxes(w, -1, -3), (*window, out // groups, groups * channels))


def neighbors(w_shape: Sizes, places: int, stride: int, dilation: int, groups: int) -> int:
    """How many places along the last axis are computed together: a divisor of their number, 1 if it does not pay."""
    taps, out = w_shape[-3], w_shape[-1]
    if groups > 1 or dilation > 1 or taps == 1:
        return 1
    most = min(WIDE // max(1, out), taps // stride + 1)  # more than taps / stride would double what is multiplied
    return max((n for n in range(2, most + 1) if places % n == 0), default=1)


def side_by_side(w: Any, together: int, stride: int) -> Any:
    """The kernel for neighboring places: (*window, in, out) -> (*window[:-1], reach, in, together * out)."""
    *others, taps, channels, out = w.shape
    wide = zeros(w, (*others, (together - 1) * stride + taps, channels, together, out))
    for place in range(together):
        np.copyto(wide[..., place * stride : place * stride + taps, :, place, :], w)
    return np.reshape(wide, (*wide.shape[:-2], together * out))
