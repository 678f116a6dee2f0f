"""Convolution, channels last, and the two maps that it is the transpose of: one family, closed under derivatives.

    y = convolve(x, w)         x (N, *spatial, in), w (*window, in / groups, out), y (N, *places, out)
    x = convolve_input(y, w)   its transpose in x: the transposed convolution
    w = convolve_kernel(x, y)  its transpose in w

<y, convolve(x, w)> = <convolve_input(y, w), x> = <convolve_kernel(x, y), w> is one trilinear form, so each of the three
is linear in either operand and the two others are its rules. As in neural networks, the kernel is not flipped.

How it is computed. A matrix of all windows ("im2col") is prod(window) times x, and to write it costs more than to
multiply it. With stride 1 along the first axis, the windows over the *other* axes are enough: tap i of the first axis
finds its matrix in the same buffer, i * dilation rows further on, so there is one product for each i and the buffer is
window[0] times smaller. It is filled block by block, so that it stays in the cache.

Example:
    >>> settings = {"stride": (2,), "padding": ((0, 0),), "dilation": (1,), "groups": 1}
    >>> x, w = np.arange(6.0).reshape(1, 6, 1), np.array([1.0, 10.0]).reshape(2, 1, 1)
    >>> y = convolve(x, w, **settings)
    >>> y.ravel()
    array([10., 32., 54.])
    >>> convolve_input(y, w, size=(6,), **settings).ravel()
    array([ 10., 100.,  32., 320.,  54., 540.])
    >>> convolve_kernel(x, y, window=(2,), **settings).ravel()
    array([280., 376.])
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.ops.spatial.windows import (
    Index,
    Pairs,
    Sizes,
    empty,
    extent,
    output_size,
    pad,
    taps,
    window_view,
    zeros,
)
from minigrad.primitive import Function, linear

CACHE = 2 << 20  # bytes of columns in work at a time
SHORT = 8  # entries: columns as short as this get no product of their own, runs of memory no copy of their own


def _convolve(x: Any, w: Any, /, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int) -> Any:
    """Windows of x times the kernel: (N, *spatial, in), (*window, in / groups, out) -> (N, *places, out).

    Static: stride and dilation, one number for each spatial axis; padding, a pair (before, after) for each.
    """
    if _is_depthwise(w.shape, groups):
        return _depthwise(x, w, stride, padding, dilation)
    window, dtype = w.shape[:-2], np.result_type(x, w)
    places = output_size(x.shape[1:-1], window, stride, padding, dilation)
    x = pad(x, padding)
    out = empty(x, (x.shape[0], *places, w.shape[-1]), dtype)
    if math.prod(window) == groups == 1:
        np.matmul(_flat(x[_every(stride)]), np.reshape(w, w.shape[-2:]), out=_flat(out))
        return out
    kernel = _kernel_matrices(w, _shifts(w.shape, stride), groups)
    spare = None
    for samples, rows, matrices in _columns(x, w.shape, places, stride, dilation, groups):
        y = _by_group(out[samples, rows], groups)
        np.matmul(matrices[0], kernel[0], out=y)
        for i, matrix in enumerate(matrices[1:], 1):
            if spare is None or spare.shape != y.shape:
                spare = empty(x, y.shape, dtype)
            np.add(y, np.matmul(matrix, kernel[i], out=spare), out=y)
    return out


def _convolve_input(
    y: Any, w: Any, /, *, size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> Any:
    """The transpose of convolve in x, whose spatial size is given: the transposed convolution.

    (N, *places, out), (*window, in / groups, out) -> (N, *size, in)
    """
    if _is_depthwise(w.shape, groups):
        return _depthwise_input(y, w, size, stride, padding, dilation, groups)
    if math.prod(stride) == 1:
        padding = tuple(
            (e - 1 - before, n - o + before)
            for n, o, e, (before, _) in zip(size, y.shape[1:-1], extent(w.shape[:-2], dilation), padding, strict=True)
        )
        return _convolve(y, _flipped(w, groups), stride=stride, padding=padding, dilation=dilation, groups=groups)
    window, places, channels = w.shape[:-2], y.shape[1:-1], w.shape[-2]
    kernel = np.swapaxes(_kernel_matrices(w, 1, groups)[0], -1, -2)
    x = zeros(y, (y.shape[0], *size, groups, channels), np.result_type(y, w))
    met = list(taps(size, places, window, stride, padding, dilation))
    for samples, _ in _blocks(y.shape[0], 1, math.prod((*places, *window, groups, channels)) * y.dtype.itemsize):
        columns: Any = np.matmul(_by_group(y[samples], groups), kernel)
        columns = np.reshape(columns, (columns.shape[0], groups, *places, *window, channels))
        columns = np.moveaxis(columns, 1, -2)
        for tap, o, i in met:
            part = x[(samples, *i)]
            np.add(part, columns[(slice(None), *o, *tap)], out=part)
    return np.reshape(x, (y.shape[0], *size, groups * channels))


def _convolve_kernel(
    x: Any, y: Any, /, *, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> Any:
    """The transpose of convolve in w, whose window is given.

    (N, *spatial, in), (N, *places, out) -> (*window, in / groups, out)
    """
    w_shape = (*window, x.shape[-1] // groups, y.shape[-1])
    if _is_depthwise(w_shape, groups):
        return _depthwise_kernel(x, y, window, stride, padding, dilation)
    x = pad(x, padding)
    if math.prod(window) == groups == 1:
        return np.reshape(np.matmul(_flat(x[_every(stride)]).T, _flat(y)), w_shape)
    shifts = _shifts(w_shape, stride)
    w = zeros(x, w_shape, np.result_type(x, y))
    kernel = _kernel_matrices(w, shifts, groups)  # a view: what is added to it is added to w
    for samples, rows, matrices in _columns(x, w_shape, y.shape[1:-1], stride, dilation, groups):
        part = _by_group(y[samples, rows], groups)
        for i, matrix in enumerate(matrices):
            products = np.matmul(np.swapaxes(matrix, -1, -2), part)
            np.add(kernel[i], np.add.reduce(products, axis=0), out=kernel[i])
    return w


# The rules: each of the three maps is linear in both operands, and its rules are the two others.

convolve: Function = linear(
    _convolve,
    lambda v, w, x_shape, stride, padding, dilation, groups: convolve_input(
        v, w, size=tuple(x_shape[1:-1]), stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    lambda v, x, w_shape, stride, padding, dilation, groups: convolve_kernel(
        x, v, window=tuple(w_shape[:-2]), stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
)
convolve_input: Function = linear(
    _convolve_input,
    lambda v, w, stride, padding, dilation, groups: convolve(
        v, w, stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    lambda v, y, w_shape, stride, padding, dilation, groups: convolve_kernel(
        v, y, window=tuple(w_shape[:-2]), stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
)
convolve_kernel: Function = linear(
    _convolve_kernel,
    lambda v, y, x_shape, stride, padding, dilation, groups: convolve_input(
        y, v, size=tuple(x_shape[1:-1]), stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    lambda v, x, stride, padding, dilation, groups: convolve(
        x, v, stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
)


# Columns: the windows as rows of a matrix.


def _shifts(w_shape: Sizes, stride: Sizes) -> int:
    """How many products a convolution is: one for each tap of the first axis, where its columns can be shared."""
    window, channels = w_shape[:-2], w_shape[-2]
    return window[0] if stride[0] == 1 and math.prod(window[1:]) * channels >= SHORT else 1


def _columns(
    x: Any, w_shape: Sizes, places: Sizes, stride: Sizes, dilation: Sizes, groups: int
) -> Iterator[tuple[slice, slice, list[Any]]]:
    """Block by block: (samples, rows of the first axis, a matrix (samples, groups, places, K) for each shift).

    The matrices share one buffer, which the next block overwrites.
    """
    window, channels, shifts = w_shape[:-2], w_shape[-2], _shifts(w_shape, stride)
    first = 0 if shifts == 1 else 1  # the columns hold the windows over the axes from this one on
    view = _window_rows(x, window[first:], stride[first:], dilation[first:], groups)
    ready = groups == 1 and math.prod(window[first:]) == math.prod(stride) == 1  # x is its own columns
    reach = (shifts - 1) * dilation[0]
    buffer = None
    for samples, rows in _blocks(x.shape[0], places[0], math.prod(view.shape[3:]) * groups * x.dtype.itemsize):
        columns = view[samples, :, rows.start : rows.stop + reach]
        if not ready:
            if buffer is None or buffer.shape != columns.shape:
                buffer = empty(x, columns.shape)
            _copy(buffer, columns, taps_from=2 + len(places))
            columns = buffer
        count = rows.stop - rows.start
        shape = (columns.shape[0], groups, count * math.prod(places[1:]), math.prod(window[first:]) * channels)
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


def _blocks(samples: int, rows: int, row_bytes: int) -> Iterator[tuple[slice, slice]]:
    """Slices of samples and rows that keep about CACHE bytes in work: whole samples if one fits, else rows of one."""
    fit = max(1, CACHE // max(1, row_bytes))
    if fit >= rows:
        together = fit // max(1, rows)
        for n in range(0, samples, together):
            yield slice(n, min(n + together, samples)), slice(0, rows)
    else:
        for n in range(samples):
            for row in range(0, rows, fit):
                yield slice(n, n + 1), slice(row, min(row + fit, rows))


def _kernel_matrices(w: Any, shifts: int, groups: int) -> Any:
    """(*window, in / groups, out) -> (shifts, groups, K, out / groups), a view."""
    shape = (shifts, math.prod(w.shape[:-1]) // shifts, groups, w.shape[-1] // groups)
    return np.swapaxes(np.reshape(w, shape), 1, 2)


def _by_group(a: Any, groups: int) -> Any:
    """(m, *spatial, channels) -> (m, groups, places, channels / groups), a view."""
    shape = (a.shape[0], math.prod(a.shape[1:-1]), groups, a.shape[-1] // groups)
    return np.swapaxes(np.reshape(a, shape), 1, 2)


def _flat(a: Any) -> Any:
    return np.reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))


def _every(stride: Sizes) -> Index:
    return (slice(None), *(slice(None, None, s) for s in stride))


def _flipped(w: Any, groups: int) -> Any:
    """The kernel of the transposed map: taps reversed, in and out exchanged within each group."""
    *window, channels, out = w.shape
    w = np.reshape(w[(slice(None, None, -1),) * len(window)], (*window, channels, groups, out // groups))
    return np.reshape(np.swapaxes(w, -1, -3), (*window, out // groups, groups * channels))


# Depthwise: groups of one channel have no product to make, only k * k multiply-adds of whole arrays.


def _is_depthwise(w_shape: Sizes, groups: int) -> bool:
    return groups > 1 and w_shape[-2] == 1


def _depthwise(x: Any, w: Any, stride: Sizes, padding: Pairs, dilation: Sizes) -> Any:
    window, size = w.shape[:-2], x.shape[1:-1]
    x = _repeated(x, w.shape[-1])
    places = output_size(size, window, stride, padding, dilation)
    y = zeros(x, (x.shape[0], *places, w.shape[-1]), np.result_type(x, w))
    for samples, tap, o, i in _depthwise_taps(y, size, window, stride, padding, dilation):
        part = y[(samples, *o)]
        np.add(part, np.multiply(x[(samples, *i)], w[tap]), out=part)
    return y


def _depthwise_input(y: Any, w: Any, size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int) -> Any:
    window = w.shape[:-2]
    x = zeros(y, (y.shape[0], *size, w.shape[-1]), np.result_type(y, w))
    for samples, tap, o, i in _depthwise_taps(y, size, window, stride, padding, dilation):
        part = x[(samples, *i)]
        np.add(part, np.multiply(y[(samples, *o)], w[tap]), out=part)
    each = x.shape[-1] // groups
    return x if each == 1 else np.add.reduce(np.reshape(x, (*x.shape[:-1], groups, each)), axis=-1)


def _depthwise_kernel(x: Any, y: Any, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes) -> Any:
    out = y.shape[-1]
    x = _repeated(x, out)
    w = zeros(x, (*window, 1, out), np.result_type(x, y))
    for samples, tap, o, i in _depthwise_taps(y, x.shape[1:-1], window, stride, padding, dilation):
        product = _flat(np.multiply(x[(samples, *i)], y[(samples, *o)]))
        ones = np.ones_like(product, shape=(1, product.shape[0]))  # faster than a sum over the long axis
        np.add(w[tap], np.matmul(ones, product), out=w[tap])
    return w


def _repeated(x: Any, channels: int) -> Any:
    return x if x.shape[-1] == channels else np.repeat(x, channels // x.shape[-1], axis=-1)


def _depthwise_taps(
    y: Any, size: Sizes, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes
) -> Iterator[tuple[slice, tuple[int, ...], Index, Index]]:
    met = list(taps(size, y.shape[1:-1], window, stride, padding, dilation))
    for samples, _ in _blocks(y.shape[0], 1, 4 * math.prod(y.shape[1:]) * y.dtype.itemsize):
        for tap, o, i in met:
            yield samples, tap, o, i
