"""im2col: the windows of an array as rows of a matrix, and kernels as matrices, for convolutions as matrix products.

A matrix of all windows is prod(window) times as large as x, and writing it costs more than multiplying it. With stride
1 along the first axis, the windows over the *other* axes are enough: the matrix of tap i of the first axis lies in the
same buffer, i * dilation rows further on. So there is one product for each i, and the buffer is window[0] times
smaller. It is filled block by block, so that it stays in the cache and its memory is reused.

A product with few columns leaves the processor idle: with 3 output channels it takes as long as with 12. So if there
are few, a tile of neighboring positions along the last axis is computed at once. Their windows overlap, so one window
of (tile - 1) * stride + window entries covers them all, with a kernel that contains the original one once for each
position, shifted, with zeros elsewhere (`tiled_kernel`). There is more to multiply but less to write, which is faster
in total.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.ops.spatial.windows import Index, Pairs, Sizes, crop, empty, frame, window_view, zeros

CACHE = 1 << 19  # bytes of a block
MIN_ENTRIES = 5  # entries of a window that justify a product of its own
SHORT_RUN = 8  # entries: for runs of memory shorter than this, copying tap by tap is faster
WIDE = 16  # columns of a product that keep the processor busy


def shift_count(w_shape: Sizes, stride: Sizes) -> int:
    """The number of products: one for each tap of the first axis if the taps can share columns, else 1."""
    window, channels = w_shape[:-2], w_shape[-2]
    return window[0] if stride[0] == 1 and math.prod(window[1:]) * channels >= MIN_ENTRIES else 1


def columns(
    x: Any, w_shape: Sizes, positions: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> Iterator[tuple[slice, slice, list[Any]]]:
    """Yield for each block (samples, rows of the first axis, a matrix (samples, groups, positions, K) for each shift).

    The matrices share one buffer, which the next block overwrites. The same holds for padded samples.
    """
    window, shifts = w_shape[:-2], shift_count(w_shape, stride)
    first = 0 if shifts == 1 else 1  # the columns contain the windows over the axes from this one on
    entries = math.prod(window[first:]) * w_shape[-2]
    is_own_columns = groups == 1 and math.prod(window[first:]) == math.prod(stride) == 1
    span = (shifts - 1) * dilation[0]  # rows from the first shift to the last
    row = (groups * entries + w_shape[-1]) * math.prod(positions[1:])  # entries of columns and products
    x, buffer = crop(x, padding), None
    cache = CACHE if not hasattr(x, "mg_opaque_call") else 4 * CACHE  # a program grows with the number of blocks
    plan = list(blocks(x.shape[0], positions[0], row * x.dtype.itemsize, cache))
    is_padded = any(max(pair) > 0 for pair in padding)
    padded, interior = frame(x, padding, plan[0][0].stop if plan else 0) if is_padded else (x, None)
    view = None
    for samples, rows in plan:
        part = samples if interior is None else slice(0, samples.stop - samples.start)
        if interior is not None and rows.start == 0:
            np.copyto(interior[part], x[samples])
            view = None
        if view is None:  # after the samples are copied: a view of a tracer array has the values of the moment
            view = _window_rows(padded, window[first:], stride[first:], dilation[first:], groups)
        columns = view[part, :, rows.start : rows.stop + span]
        if not is_own_columns:
            if buffer is None or buffer.shape != columns.shape:
                buffer = empty(x, columns.shape)
            _copy(buffer, columns, taps_from=2 + len(positions))
            columns = buffer
        count = rows.stop - rows.start
        shape = (columns.shape[0], groups, count * math.prod(positions[1:]), entries)
        starts = range(0, span + 1, dilation[0])
        yield samples, rows, [np.reshape(columns[:, :, start : start + count], shape) for start in starts]


def _window_rows(x: Any, window: Sizes, stride: Sizes, dilation: Sizes, groups: int) -> Any:
    """The windows of x over its last spatial axes: (N, groups, *positions, *window, in / groups), a view."""
    *outer, channels = x.shape
    last = len(outer)  # the axis of the groups
    x = np.reshape(x, (*outer, groups, channels // groups))
    if window:
        x = window_view(x, window, stride, dilation, tuple(range(last - len(window), last)))
    return np.transpose(x, (0, last, *range(1, last), *range(last + 2, x.ndim), last + 1))


def _copy(buffer: Any, columns: Any, taps_from: int) -> None:
    """Copy columns (samples, groups, *positions, *window, channels) in the order that has the longer runs of memory."""
    run, window = math.prod(columns.shape[-2:]), columns.shape[taps_from:]
    if run < SHORT_RUN and math.prod(window) <= 32:
        for tap in np.ndindex(*window):
            np.copyto(buffer[(..., *tap)], columns[(..., *tap)])
    else:
        np.copyto(buffer, columns)


def blocks(samples: int, rows: int, row_bytes: int, cache: int | None = None) -> Iterator[tuple[slice, slice]]:
    """Yield slices of samples and of rows with about `cache` bytes (CACHE): whole samples if one fits, else rows."""
    fit = max(1, (cache or CACHE) // max(1, row_bytes))
    if fit >= rows:
        step = fit // max(1, rows)
        for n in range(0, samples, step):
            yield slice(n, min(n + step, samples)), slice(0, rows)
    else:
        for n in range(samples):
            for row in range(0, rows, fit):
                yield slice(n, n + 1), slice(row, min(row + fit, rows))


def kernel_matrices(w: Any, shifts: int, groups: int) -> Any:
    """The kernel as matrices: (*window, in / groups, out) -> (shifts, groups, K, out / groups), a view."""
    shape = (shifts, math.prod(w.shape[:-1]) // shifts, groups, w.shape[-1] // groups)
    return np.swapaxes(np.reshape(w, shape), 1, 2)


def by_group(a: Any, groups: int) -> Any:
    """Channels by group: (m, *spatial, channels) -> (m, groups, positions, channels / groups), a view."""
    shape = (a.shape[0], math.prod(a.shape[1:-1]), groups, a.shape[-1] // groups)
    return np.swapaxes(np.reshape(a, shape), 1, 2)


def flat(a: Any) -> Any:
    """All axes but the last merged: (..., channels) -> (rows, channels)."""
    return np.reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))


def strided(stride: Sizes) -> Index:
    """The index of the entries that windows of one tap meet."""
    return (slice(None), *(slice(None, None, s) for s in stride))


def flipped(w: Any, groups: int) -> Any:
    """The kernel of the transposed map: taps reversed, in and out swapped within each group."""
    *window, channels, out = w.shape
    w = np.reshape(w[(slice(None, None, -1),) * len(window)], (*window, channels, groups, out // groups))
    return np.reshape(np.swapaxes(w, -1, -3), (*window, out // groups, groups * channels))


def tile_size(w_shape: Sizes, positions: int, stride: int, dilation: int, groups: int) -> int:
    """How many positions along the last axis to compute at once: a divisor of their number, 1 if that is fastest."""
    taps, out = w_shape[-3], w_shape[-1]
    if groups > 1 or dilation > 1 or taps == 1:
        return 1
    most = min(WIDE // max(1, out), taps // stride + 1)  # more than taps / stride would double the products
    return max((n for n in range(2, most + 1) if positions % n == 0), default=1)


def tiled_kernel(w: Any, tile: int, stride: int) -> Any:
    """The kernel for a tile of positions: (*window, in, out) -> (*window[:-1], tile window, in, tile * out)."""
    *others, taps, channels, out = w.shape
    wide = zeros(w, (*others, (tile - 1) * stride + taps, channels, tile, out))
    for k in range(tile):
        np.copyto(wide[..., k * stride : k * stride + taps, :, k, :], w)
    return np.reshape(wide, (*wide.shape[:-2], tile * out))
