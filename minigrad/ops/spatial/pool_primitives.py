"""Pooling, the primitives, channels last: the largest entry or the mean of each window.

max_pool selects one entry of each window. Given the selection it is linear: `window_gather` reads the selected entries,
`window_scatter` is its transpose, and `first_maximum` returns the selection, as the number of a tap in C order. Of
equal entries the first is selected, and never padding; the selection has no derivative.

    max_pool(x) = window_gather(x, first_maximum(x, max_pool(x)))

The maximum and the sum of a window are computed along one axis after the other: k + k passes over the data instead of
k * k, the first of them over long runs of memory.

Example:
    >>> settings = {"window": (2,), "stride": (2,), "padding": ((0, 0),), "dilation": (1,)}
    >>> x = np.array([1.0, 3.0, 2.0, 2.0]).reshape(1, 4, 1)
    >>> y = max_pool(x, **settings)
    >>> y.ravel()
    array([3., 2.])
    >>> index = first_maximum(x, y, **settings)
    >>> index.ravel()
    array([1, 0], dtype=uint8)
    >>> window_scatter(y, index, size=(4,), **settings).ravel()
    array([0., 3., 2., 0.])
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.engine.primitive import Function, linear, primitive
from minigrad.ops.precision import summing
from minigrad.ops.spatial.windows import Index, Pairs, Sizes, axis_taps, extent, output_size, taps, zeros


def _max_pool(x: Any, /, *, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes) -> Any:
    """The largest entry of each window: (N, *spatial, C) -> (N, *positions, C). Padding counts as -inf."""
    largest = _along_each_axis(np.maximum, x, _lowest(x.dtype), window, stride, padding, dilation)
    return np.copy(x) if largest is x else largest  # windows of one entry leave nothing to do


def _first_maximum(x: Any, out: Any, /, *, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes) -> Any:
    """Which tap of each window holds its maximum `out`: integers of out's shape. Not differentiable."""
    index = zeros(out, out.shape, np.min_scalar_type(math.prod(window)))
    missed = np.ones_like(out, dtype=bool)  # no tap so far was the maximum; the number of such taps is the index
    for _, o, i in list(_numbered(x.shape[1:-1], out, window, stride, padding, dilation))[:-1]:
        part = missed[o]
        np.logical_and(part, np.less(x[i], out[o]), out=part)  # a nan is not less: it counts as the maximum
        np.add(index, missed, out=index)
    return index


def _window_gather(x: Any, index: Any, /, *, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes) -> Any:
    """The entry at tap `index` of each window of x: (N, *spatial, C), (N, *positions, C) -> (N, *positions, C)."""
    out = zeros(x, index.shape)
    for number, o, i in _numbered(x.shape[1:-1], index, window, stride, padding, dilation):
        np.copyto(out[o], x[i], where=np.equal(index[o], number))
    return out


@summing(lambda y, window, **_: math.prod(window))
def _window_scatter(
    y: Any, index: Any, /, *, size: Sizes, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes
) -> Any:
    """The transpose of window_gather: each y is added to the entry that was selected for it, the others are 0.

    (N, *positions, C), (N, *positions, C) -> (N, *size, C)
    """
    x = zeros(y, (y.shape[0], *size, y.shape[-1]))
    disjoint = all(s >= e for s, e in zip(stride, extent(window, dilation), strict=True))  # no entry is in two windows
    for number, o, i in _numbered(size, index, window, stride, padding, dilation):
        part, selected = x[i], np.equal(index[o], number)  # a product: np.where and where= take four times as long
        if disjoint:
            np.multiply(y[o], selected, out=part)
        else:
            np.add(part, np.multiply(y[o], selected), out=part)
    return x


@summing(lambda x, window, **_: max(window))  # one axis after the other
def _avg_pool(x: Any, /, *, window: Sizes, stride: Sizes, padding: Pairs, count_include_pad: bool) -> Any:
    """The mean of each window: (N, *spatial, C) -> (N, *positions, C).

    The sum is divided by the size of the window or, with count_include_pad=False, by the number of its entries that are
    not padding.
    """
    if x.dtype.kind in "biu":
        x = np.true_divide(x, 1)  # the sum of a window of uint8 would overflow
    total = _along_each_axis(np.add, x, 0, window, stride, padding, (1,) * len(window))
    return total / _count(x, x.shape[1:-1], window, stride, padding, count_include_pad)


@summing(lambda x, window, **_: max(window))  # one axis after the other
def _avg_unpool(
    y: Any, /, *, size: Sizes, window: Sizes, stride: Sizes, padding: Pairs, count_include_pad: bool
) -> Any:
    """The transpose of avg_pool: each y is distributed evenly over its window, (N, *positions, C) -> (N, *size, C)."""
    x = y / _count(y, size, window, stride, padding, count_include_pad)
    for axis in reversed(range(1, 1 + len(size))):
        shape = (*x.shape[:axis], size[axis - 1], *x.shape[axis + 1 :])
        positions, settings = x.shape[axis], (window[axis - 1], stride[axis - 1], padding[axis - 1][0], 1)
        spread = zeros(x, shape)
        for o, i in axis_taps(size[axis - 1], positions, *settings):
            part = spread[_at(axis, i)]
            np.add(part, x[_at(axis, o)], out=part)
        x = spread
    return x


def _along_each_axis(
    combine: Any, x: Any, start: Any, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes
) -> Any:
    """Reduce the windows with the ufunc `combine`, along one axis after the other; `start` is its identity."""
    positions = output_size(x.shape[1:-1], window, stride, padding, dilation)
    for axis, (out, k, s, pair, d) in enumerate(zip(positions, window, stride, padding, dilation, strict=True), 1):
        if k == s == 1 and not any(pair):
            continue
        parts = [(_at(axis, o), _at(axis, i)) for o, i in axis_taps(x.shape[axis], out, k, s, pair[0], d)]
        if k > 1 and not any(pair):
            y = combine(x[parts[0][1]], x[parts[1][1]])
            parts = parts[2:]
        else:
            shape = (*x.shape[:axis], out, *x.shape[axis + 1 :])
            y = np.full_like(x, start, shape=shape, order="C")
        for o, i in parts:
            combine(y[o], x[i], out=y[o])
        x = y
    return x


def _count(like: Any, size: Sizes, window: Sizes, stride: Sizes, padding: Pairs, count_include_pad: bool) -> Any:
    """The divisor of avg_pool: a number, or an array (1, *positions, 1) if padding is not counted."""
    if count_include_pad or not any(map(any, padding)):
        return math.prod(window)
    ones = np.ones_like(like, shape=(1, *size, 1), order="C")
    return _along_each_axis(np.add, ones, 0, window, stride, padding, (1,) * len(window))


def _numbered(
    size: Sizes, out: Any, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes
) -> Iterator[tuple[int, Index, Index]]:
    """For each tap in C order: (its number, index into the outputs, index into the inputs they meet)."""
    for number, (_, o, i) in enumerate(taps(size, out.shape[1:-1], window, stride, padding, dilation)):
        yield number, (slice(None), *o), (slice(None), *i)


def _at(axis: int, part: slice) -> Index:
    return (*(slice(None),) * axis, part)


def _lowest(dtype: Any) -> Any:
    if dtype.kind == "b":
        return False
    return -math.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _pull_max_pool(v: Any, x: Any, out: Any, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes) -> Any:
    settings: dict[str, Any] = {"window": window, "stride": stride, "padding": padding, "dilation": dilation}
    return window_scatter(v, first_maximum(x, out, **settings), size=tuple(x.shape[1:-1]), **settings)


max_pool = primitive(_max_pool, _pull_max_pool)
first_maximum = primitive(_first_maximum)
window_gather: Function = linear(
    _window_gather,
    lambda v, index, x_shape, window, stride, padding, dilation: window_scatter(
        v, index, size=tuple(x_shape[1:-1]), window=window, stride=stride, padding=padding, dilation=dilation
    ),
    None,
)
window_scatter: Function = linear(
    _window_scatter,
    lambda v, index, window, stride, padding, dilation: window_gather(
        v, index, window=window, stride=stride, padding=padding, dilation=dilation
    ),
    None,
)
avg_pool: Function = linear(
    _avg_pool,
    lambda v, x_shape, window, stride, padding, count_include_pad: avg_unpool(
        v, size=tuple(x_shape[1:-1]), window=window, stride=stride, padding=padding, count_include_pad=count_include_pad
    ),
)
avg_unpool: Function = linear(
    _avg_unpool,
    lambda v, window, stride, padding, count_include_pad: avg_pool(
        v, window=window, stride=stride, padding=padding, count_include_pad=count_include_pad
    ),
)
