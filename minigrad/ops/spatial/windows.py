"""Windows that slide over the spatial axes of an array: how many there are, and where their taps meet the array.

A window has `window[d]` taps along spatial axis d, `dilation[d]` apart; it moves by `stride[d]`, and `padding[d]` is
the pair (before, after). Output o and tap t of an axis meet the input at

    i = o * stride + t * dilation - before

What NumPy cannot do with windows without writing goes tap by tap: `taps` yields, for each tap, the outputs for which it
lies inside the array and the inputs that it meets there. So padding needs no copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, product
from operator import mul
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Sizes = Sequence[int]
Pairs = Sequence[tuple[int, int]]
Index = tuple[slice, ...]


def extent(window: Sizes, dilation: Sizes) -> tuple[int, ...]:
    """The size that a window covers along each axis, gaps included."""
    return tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))


def output_size(size: Sizes, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes) -> tuple[int, ...]:
    """How many windows fit along each axis; zero where none does."""
    return tuple(
        max(0, (n + before + after - e) // s + 1)
        for n, e, s, (before, after) in zip(size, extent(window, dilation), stride, padding, strict=True)
    )


def taps(
    size: Sizes, out: Sizes, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes
) -> Iterator[tuple[tuple[int, ...], Index, Index]]:
    """For each tap, in C order: (tap, slices of the outputs, slices of the inputs they meet)."""
    axes = [
        axis_taps(n, o, k, s, before, d)
        for n, o, k, s, (before, _), d in zip(size, out, window, stride, padding, dilation, strict=True)
    ]
    for tap in product(*map(range, window)):
        outputs, inputs = zip(*(axis[t] for axis, t in zip(axes, tap, strict=True)), strict=True)
        yield tap, outputs, inputs


def axis_taps(size: int, out: int, window: int, stride: int, before: int, dilation: int) -> list[tuple[slice, slice]]:
    """Along one axis, for each tap: (slice of the outputs, slice of the inputs they meet)."""
    pairs = []
    for tap in range(window):
        shift = tap * dilation - before  # output o meets input o * stride + shift
        first = max(0, -(shift // stride))
        count = max(0, min(out, (size - 1 - shift) // stride + 1) - first)
        start = first * stride + shift if count else 0
        pairs.append((slice(first, first + count), slice(start, start + max(0, (count - 1) * stride + 1), stride)))
    return pairs


def empty(like: Any, shape: Sizes, dtype: Any = None) -> Any:
    """A new array of the kind of `like`, in C order: *_like would keep the memory order of a transposed array."""
    return np.empty_like(like, shape=shape, dtype=dtype, order="C")


def zeros(like: Any, shape: Sizes, dtype: Any = None) -> Any:
    """A new array of zeros of the kind of `like`, in C order."""
    return np.zeros_like(like, shape=shape, dtype=dtype, order="C")


def pad(x: Any, padding: Pairs) -> Any:
    """x (N, *spatial, C) with zeros around its spatial axes; a negative width crops. Without padding, x itself."""
    x = crop(x, padding)
    if all(max(pair) <= 0 for pair in padding):
        return x
    padded, interior = frame(x, padding, x.shape[0])
    np.copyto(interior, x)
    return padded


def crop(x: Any, padding: Pairs) -> Any:
    """The part of x that the negative widths leave, a view."""
    if all(min(pair) >= 0 for pair in padding):
        return x
    sides = zip(x.shape[1:-1], padding, strict=True)
    return x[(slice(None), *(slice(max(0, -before), n - max(0, -after)) for n, (before, after) in sides))]


def frame(x: Any, padding: Pairs, samples: int) -> tuple[Any, Any]:
    """Zeros for a number of samples of x with the positive widths around them, and the view that x is copied into."""
    widths = [(n, max(0, before), max(0, after)) for n, (before, after) in zip(x.shape[1:-1], padding, strict=True)]
    padded = zeros(x, (samples, *(before + n + after for n, before, after in widths), x.shape[-1]))
    return padded, padded[(slice(None), *(slice(before, before + n) for n, before, _ in widths))]


def window_view(x: Any, window: Sizes, stride: Sizes, dilation: Sizes, axes: Sizes) -> Any:
    """The windows over `axes` of x as a read-only view, the taps as trailing axes."""
    view = _dense_windows(x, extent(window, dilation), tuple(axes))
    index = [slice(None)] * x.ndim
    for axis, s in zip(axes, stride, strict=True):
        index[axis] = slice(None, None, s)
    return view[(*index, *(slice(None, None, d) for d in dilation))]


def _dense_windows(x: Any, window: Sizes, axes: Sizes) -> Any:
    """sliding_window_view(x, window, axes); for plain arrays in C order at a tenth of its cost."""
    shape = list(x.shape)
    for axis, n in zip(axes, window, strict=True):
        shape[axis] -= n - 1
    if type(x) is not np.ndarray or not x.flags.c_contiguous or min(shape) < 1:
        return sliding_window_view(x, tuple(window), tuple(axes))
    # Computed from the shape: the stride of an axis of size 1 may be anything.
    strides = [*accumulate(reversed(x.shape[1:]), mul, initial=x.itemsize)][::-1]
    view: Any = np.ndarray((*shape, *window), x.dtype, x, 0, (*strides, *(strides[axis] for axis in axes)))
    view.flags.writeable = False
    return view
