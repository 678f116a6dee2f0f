"""Convolution, the primitives, channels last: a family of three linear maps that is closed under derivatives.

    y = convolve(x, w)         x (N, *spatial, in), w (*window, in / groups, out), y (N, *positions, out)
    x = convolve_input(y, w)   its transpose in x: the transposed convolution
    w = convolve_kernel(x, y)  its transpose in w

<y, convolve(x, w)> = <convolve_input(y, w), x> = <convolve_kernel(x, y), w> is one trilinear form, so each of the three
maps is linear in either operand, and its rules are the other two. As is usual in neural networks, the kernel is not
flipped.

They are computed as matrix products, with the windows as rows of a matrix (im2col.py); groups of one channel, for which
there is no matrix product, tap by tap (depthwise.py).

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
from typing import Any

import numpy as np

from minigrad.engine.node import Node
from minigrad.engine.primitive import Function, linear
from minigrad.ops.opaque_call import opaque
from minigrad.ops.spatial.depthwise import depthwise, depthwise_input, depthwise_kernel, is_depthwise
from minigrad.ops.spatial.im2col import (
    blocks,
    by_group,
    columns,
    flat,
    flipped,
    kernel_matrices,
    shift_count,
    strided,
    tile_size,
    tiled_kernel,
)
from minigrad.ops.spatial.windows import Pairs, Sizes, empty, extent, output_size, pad, taps


def _convolve(x: Any, w: Any, /, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int) -> Any:
    """The windows of x times the kernel: (N, *spatial, in), (*window, in / groups, out) -> (N, *positions, out).

    stride and dilation have one integer for each spatial axis, padding a pair (before, after).
    """
    return opaque(convolution, x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)


def _convolve_input(
    y: Any, w: Any, /, *, size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> Any:
    """The transpose of convolve in x of the spatial size `size`: the transposed convolution.

    (N, *positions, out), (*window, in / groups, out) -> (N, *size, in)
    """
    return opaque(convolution_input, y, w, size=size, stride=stride, padding=padding, dilation=dilation, groups=groups)


def _convolve_kernel(
    x: Any, y: Any, /, *, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int
) -> Any:
    """The transpose of convolve in w of the window `window`.

    (N, *spatial, in), (N, *positions, out) -> (*window, in / groups, out)
    """
    return opaque(
        convolution_kernel, x, y, window=window, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


# The values, written into `out` if it is given: an array in C order.


def convolution(x: Any, w: Any, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int, out: Any = None) -> Any:
    """The values of convolve."""
    window, dtype = w.shape[:-2], np.result_type(x, w)
    positions = output_size(x.shape[1:-1], window, stride, padding, dilation)
    if out is None:
        out = empty(x, (x.shape[0], *positions, w.shape[-1]), dtype)
    if is_depthwise(w.shape, groups):
        return depthwise(x, w, out, stride, padding, dilation)
    if math.prod(window) == groups == 1:
        np.matmul(flat(pad(x, padding)[strided(stride)]), np.reshape(w, w.shape[-2:]), out=flat(out))
        return out
    y, tile = out, tile_size(w.shape, positions[-1], stride[-1], dilation[-1], groups)
    if tile > 1:
        w, stride = tiled_kernel(w, tile, stride[-1]), (*stride[:-1], tile * stride[-1])
        y = np.reshape(out, (*out.shape[:-2], out.shape[-2] // tile, w.shape[-1]))
    kernel = kernel_matrices(w, shift_count(w.shape, stride), groups)
    products = None
    for samples, rows, matrices in columns(x, w.shape, y.shape[1:-1], stride, padding, dilation, groups):
        part = by_group(y[samples, rows], groups)
        np.matmul(matrices[0], kernel[0], out=part)
        for i, matrix in enumerate(matrices[1:], 1):
            if products is None or products.shape != part.shape:
                products = empty(x, part.shape, dtype)
            np.add(part, np.matmul(matrix, kernel[i], out=products), out=part)
    return out


def convolution_input(
    y: Any, w: Any, *, size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int, out: Any = None
) -> Any:
    """The values of convolve_input."""
    window, positions, channels = w.shape[:-2], y.shape[1:-1], w.shape[-2]
    if out is None:
        out = empty(y, (y.shape[0], *size, groups * channels), np.result_type(y, w))
    if is_depthwise(w.shape, groups):
        return depthwise_input(y, w, out, stride, padding, dilation)
    if math.prod(stride) == 1 and math.prod(w.shape[:-1]) > w.shape[-1] // groups:
        padding = tuple(
            (e - 1 - before, n - o + before)
            for n, o, e, (before, _) in zip(size, positions, extent(window, dilation), padding, strict=True)
        )
        return convolution(
            y, flipped(w, groups), stride=stride, padding=padding, dilation=dilation, groups=groups, out=out
        )
    kernel = np.swapaxes(kernel_matrices(w, 1, groups)[0], -1, -2)
    np.copyto(out, 0)
    x = np.reshape(out, (y.shape[0], *size, groups, channels))
    tap_slices = list(taps(size, positions, window, stride, padding, dilation))
    for samples, _ in blocks(y.shape[0], 1, math.prod((*positions, *window, groups, channels)) * y.dtype.itemsize):
        contributions: Any = np.matmul(by_group(y[samples], groups), kernel)
        contributions = np.reshape(contributions, (contributions.shape[0], groups, *positions, *window, channels))
        contributions = np.moveaxis(contributions, 1, -2)
        for tap, o, i in tap_slices:
            part = x[(samples, *i)]
            np.add(part, contributions[(slice(None), *o, *tap)], out=part)
    return out


def convolution_kernel(
    x: Any, y: Any, *, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int, out: Any = None
) -> Any:
    """The values of convolve_kernel."""
    w_shape = (*window, x.shape[-1] // groups, y.shape[-1])
    if out is None:
        out = empty(x, w_shape, np.result_type(x, y))
    if is_depthwise(w_shape, groups):
        return depthwise_kernel(x, y, out, stride, padding, dilation)
    if math.prod(window) == groups == 1:
        np.matmul(flat(pad(x, padding)[strided(stride)]).T, flat(y), out=np.reshape(out, w_shape[-2:]))
        return out
    shifts = shift_count(w_shape, stride)
    np.copyto(out, 0)
    kernel = kernel_matrices(out, shifts, groups)  # a view: what is added to it is added to out
    for samples, rows, matrices in columns(x, w_shape, y.shape[1:-1], stride, padding, dilation, groups):
        part = by_group(y[samples, rows], groups)
        for i, matrix in enumerate(matrices):
            products = np.matmul(np.swapaxes(matrix, -1, -2), part)
            np.add(kernel[i], np.add.reduce(products, axis=0), out=kernel[i])
    return out


# Each of the three maps is linear in both operands, and its rules are the other two.


def _multiply_adds(node: Node, places: tuple[int, ...] | None) -> int:
    """For each place and each channel of it, the products with the kernel's other axes."""
    kernel = node.parents[1]
    return 0 if kernel is None or places is None else math.prod(places) * math.prod(kernel.shape[:-1])


convolve: Function = linear(
    _convolve,
    lambda v, w, x_shape, stride, padding, dilation, groups: convolve_input(
        v, w, size=tuple(x_shape[1:-1]), stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    lambda v, x, w_shape, stride, padding, dilation, groups: convolve_kernel(
        x, v, window=tuple(w_shape[:-2]), stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    multiply_adds=lambda node: _multiply_adds(node, node.shape),
)
convolve_input: Function = linear(
    _convolve_input,
    lambda v, w, stride, padding, dilation, groups: convolve(
        v, w, stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    lambda v, y, w_shape, stride, padding, dilation, groups: convolve_kernel(
        v, y, window=tuple(w_shape[:-2]), stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    multiply_adds=lambda node: _multiply_adds(node, getattr(node.parents[0], "shape", None)),
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
