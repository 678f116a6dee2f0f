"""Convolution, the primitives, channels last: a family of three linear maps that is closed under derivatives.

    y = convolve(x, w)         x (N, *spatial, in), w (*window, in / groups, out), y (N, *positions, out)
    x = convolve_input(y, w)   its transpose in x: the transposed convolution
    w = convolve_kernel(x, y)  its transpose in w

<y, convolve(x, w)> = <convolve_input(y, w), x> = <convolve_kernel(x, y), w> is one trilinear form, so each of the three
maps is linear in either operand, and its rules are the other two. As is usual in neural networks, the kernel is not
flipped.

They are computed as matrix products, with the windows as rows of a matrix (im2col.py); groups of one channel, for which
there is no matrix product, tap by tap.

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
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import numpy as np

from minigrad.engine.node import Node
from minigrad.engine.primitive import Function, linear
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
from minigrad.ops.spatial.windows import Index, Pairs, Sizes, empty, extent, output_size, pad, taps

# The values, written into `out` if it is given, an array in C order. stride and dilation have one integer for each
# spatial axis, padding a pair (before, after).


def convolution(x: Any, w: Any, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int, out: Any = None) -> Any:
    """The windows of x times the kernel: (N, *spatial, in), (*window, in / groups, out) -> (N, *positions, out)."""
    window, dtype = w.shape[:-2], np.result_type(x, w)
    positions = output_size(x.shape[1:-1], window, stride, padding, dilation)
    if out is None:
        out = empty(x, (x.shape[0], *positions, w.shape[-1]), dtype)
    if _is_depthwise(w.shape, groups):
        return _depthwise(x, w, out, stride, padding, dilation)
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
    """The transpose of convolution in x of the spatial size `size`: the transposed convolution.

    (N, *positions, out), (*window, in / groups, out) -> (N, *size, in)
    """
    window, positions, channels = w.shape[:-2], y.shape[1:-1], w.shape[-2]
    if out is None:
        out = empty(y, (y.shape[0], *size, groups * channels), np.result_type(y, w))
    if _is_depthwise(w.shape, groups):
        return _depthwise_input(y, w, out, stride, padding, dilation)
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
    """The transpose of convolution in w of the window `window`.

    (N, *spatial, in), (N, *positions, out) -> (*window, in / groups, out)
    """
    w_shape = (*window, x.shape[-1] // groups, y.shape[-1])
    if out is None:
        out = empty(x, w_shape, np.result_type(x, y))
    if _is_depthwise(w_shape, groups):
        return _depthwise_kernel(x, y, out, stride, padding, dilation)
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


# Depthwise: groups of one channel


def _is_depthwise(w_shape: Sizes, groups: int) -> bool:
    """Whether every group has one input channel. That needs no matrix product, only multiply-adds of whole arrays."""
    return groups > 1 and w_shape[-2] == 1


def _depthwise(x: Any, w: Any, y: Any, stride: Sizes, padding: Pairs, dilation: Sizes) -> Any:
    """Write the convolution of x with w into y."""
    window, size = w.shape[:-2], x.shape[1:-1]
    x = _repeated(x, w.shape[-1])
    np.copyto(y, 0)
    for samples, tap, o, i in _sample_taps(y, size, window, stride, padding, dilation):
        part = y[(samples, *o)]
        np.add(part, np.multiply(x[(samples, *i)], w[tap]), out=part)
    return y


def _depthwise_input(y: Any, w: Any, x: Any, stride: Sizes, padding: Pairs, dilation: Sizes) -> Any:
    """Write the transpose of the convolution in x into x."""
    window, size, each = w.shape[:-2], x.shape[1:-1], w.shape[-1] // x.shape[-1]
    total = x if each == 1 else empty(x, (*x.shape[:-1], w.shape[-1]))
    np.copyto(total, 0)
    for samples, tap, o, i in _sample_taps(y, size, window, stride, padding, dilation):
        part = total[(samples, *i)]
        np.add(part, np.multiply(y[(samples, *o)], w[tap]), out=part)
    return x if each == 1 else np.add.reduce(np.reshape(total, (*x.shape, each)), axis=-1, out=x)


def _depthwise_kernel(x: Any, y: Any, w: Any, stride: Sizes, padding: Pairs, dilation: Sizes) -> Any:
    """Write the transpose of the convolution in w into w."""
    x = _repeated(x, y.shape[-1])
    np.copyto(w, 0)
    for samples, tap, o, i in _sample_taps(y, x.shape[1:-1], w.shape[:-2], stride, padding, dilation):
        product = flat(np.multiply(x[(samples, *i)], y[(samples, *o)]))
        ones = np.ones_like(product, shape=(1, product.shape[0]))  # faster than a sum over the long axis
        np.add(w[tap], np.matmul(ones, product), out=w[tap])
    return w


def _repeated(x: Any, channels: int) -> Any:
    return x if x.shape[-1] == channels else np.repeat(x, channels // x.shape[-1], axis=-1)


def _sample_taps(
    y: Any, size: Sizes, window: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes
) -> Iterator[tuple[slice, tuple[int, ...], Index, Index]]:
    tap_slices = list(taps(size, y.shape[1:-1], window, stride, padding, dilation))
    for samples, _ in blocks(y.shape[0], 1, 4 * math.prod(y.shape[1:]) * y.dtype.itemsize):
        for tap, o, i in tap_slices:
            yield samples, tap, o, i


# Each of the three maps is linear in both operands, and its rules are the other two.


def _opaque(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function; an operand with a method `mg_opaque_call` records it as one operation, not those that it calls."""

    @wraps(function)
    def call(x: Any, y: Any, /, **settings: Any) -> Any:
        for operand in (x, y):
            if hasattr(operand, "mg_opaque_call"):
                return operand.mg_opaque_call(function, x, y, **settings)
        return function(x, y, **settings)

    return call


def _multiply_adds(node: Node, places: tuple[int, ...] | None) -> int:
    """For each place and each channel of it, the products with the kernel's other axes."""
    kernel = node.parents[1]
    return 0 if kernel is None or places is None else math.prod(places) * math.prod(kernel.shape[:-1])


convolve: Function = linear(
    _opaque(convolution),
    lambda v, w, x_shape, stride, padding, dilation, groups: convolve_input(
        v, w, size=tuple(x_shape[1:-1]), stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    lambda v, x, w_shape, stride, padding, dilation, groups: convolve_kernel(
        x, v, window=tuple(w_shape[:-2]), stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    signature="(x, w, /, *, stride, padding, dilation, groups)",
    name="convolve",
    multiply_adds=lambda node: _multiply_adds(node, node.shape),
)
convolve_input: Function = linear(
    _opaque(convolution_input),
    lambda v, w, stride, padding, dilation, groups: convolve(
        v, w, stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    lambda v, y, w_shape, stride, padding, dilation, groups: convolve_kernel(
        v, y, window=tuple(w_shape[:-2]), stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    signature="(y, w, /, *, size, stride, padding, dilation, groups)",
    name="convolve_input",
    multiply_adds=lambda node: _multiply_adds(node, getattr(node.parents[0], "shape", None)),
)
convolve_kernel: Function = linear(
    _opaque(convolution_kernel),
    lambda v, y, x_shape, stride, padding, dilation, groups: convolve_input(
        y, v, size=tuple(x_shape[1:-1]), stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    lambda v, x, stride, padding, dilation, groups: convolve(
        x, v, stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    signature="(x, y, /, *, window, stride, padding, dilation, groups)",
    name="convolve_kernel",
)
