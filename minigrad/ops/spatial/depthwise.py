"""Depthwise convolutions: groups of one channel need no matrix product, only multiply-adds of whole arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.ops.spatial.im2col import blocks, flat
from minigrad.ops.spatial.windows import Index, Pairs, Sizes, empty, taps


def is_depthwise(w_shape: Sizes, groups: int) -> bool:
    """Whether every group has one input channel."""
    return groups > 1 and w_shape[-2] == 1


def depthwise(x: Any, w: Any, y: Any, stride: Sizes, padding: Pairs, dilation: Sizes) -> Any:
    """Write the convolution of x with w into y."""
    window, size = w.shape[:-2], x.shape[1:-1]
    x = _repeated(x, w.shape[-1])
    np.copyto(y, 0)
    for samples, tap, o, i in _sample_taps(y, size, window, stride, padding, dilation):
        part = y[(samples, *o)]
        np.add(part, np.multiply(x[(samples, *i)], w[tap]), out=part)
    return y


def depthwise_input(y: Any, w: Any, x: Any, stride: Sizes, padding: Pairs, dilation: Sizes) -> Any:
    """Write the transpose of the convolution in x into x."""
    window, size, each = w.shape[:-2], x.shape[1:-1], w.shape[-1] // x.shape[-1]
    total = x if each == 1 else empty(x, (*x.shape[:-1], w.shape[-1]))
    np.copyto(total, 0)
    for samples, tap, o, i in _sample_taps(y, size, window, stride, padding, dilation):
        part = total[(samples, *i)]
        np.add(part, np.multiply(y[(samples, *o)], w[tap]), out=part)
    return x if each == 1 else np.add.reduce(np.reshape(total, (*x.shape, each)), axis=-1, out=x)


def depthwise_kernel(x: Any, y: Any, w: Any, stride: Sizes, padding: Pairs, dilation: Sizes) -> Any:
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
