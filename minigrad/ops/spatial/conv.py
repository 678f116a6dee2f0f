"""Convolutions as a user calls them: channels last, (N, *spatial, C).

Common to all: stride and dilation are a number, or a tuple with one for each spatial axis. padding is

    "valid"       none
    "same"        as much as gives ceil(size / stride) outputs, as in TensorFlow and Keras: with stride 1 the size
                  stays. In all max(0, (ceil(size / stride) - 1) * stride + extent - size), the smaller half before;
                  where that is odd (an even window, often stride > 1), PyTorch's symmetric padding cannot say it
    2, (2, 1)     both sides alike, on all axes or axis by axis (PyTorch's padding)
    ((1, 2), ...) a pair (before, after) for each axis

with extent = dilation * (window - 1) + 1. There are (size + before + after - extent) // stride + 1 outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.primitive import tensor_function
from minigrad.ops.spatial.arguments import Call, Numbers, Padding, channels_first, torch_kernel
from minigrad.ops.spatial.convolution import convolve


@tensor_function
def conv1d(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: Numbers = 1,
    padding: Padding = "valid",
    dilation: Numbers = 1,
    groups: int = 1,
) -> Any:
    """Convolution over one axis: (N, L, in) -> (N, L', out).

    Args:
        x: (N, L, in).
        w: the kernel, (k, in // groups, out).
        bias: (out,), or None.
        stride, padding, dilation, groups: as in conv2d.

    Raises:
        ValueError: shapes or arguments do not fit; it repeats the call.

    Example:
        >>> conv1d(np.ones((1, 5, 1)), np.ones((3, 1, 1)), padding="same").ravel()
        array([2., 3., 3., 3., 2.])
    """
    return _conv("conv1d", 1, x, w, bias, stride, padding, dilation, groups)


@tensor_function
def conv2d(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: Numbers = 1,
    padding: Padding = "valid",
    dilation: Numbers = 1,
    groups: int = 1,
) -> Any:
    """Convolution over two axes: (N, H, W, in) -> (N, H', W', out).

    As everywhere in neural networks a cross-correlation: the kernel is not flipped (Dumoulin & Visin 2016).

    Args:
        x: (N, H, W, in).
        w: the kernel, (kh, kw, in // groups, out).
        bias: (out,), or None.
        stride, dilation: a number, or one for each spatial axis.
        padding: "valid", "same", numbers or pairs (before, after); see the module for what they mean.
        groups: output channels [g * out // groups, (g + 1) * out // groups) see the input channels of group g only;
            groups = in is "depthwise".

    Raises:
        ValueError: shapes or arguments do not fit; it repeats the call.

    Example:
        >>> conv2d(np.ones((8, 32, 32, 3)), np.ones((5, 5, 3, 6)), np.zeros(6), stride=2).shape
        (8, 14, 14, 6)
    """
    return _conv("conv2d", 2, x, w, bias, stride, padding, dilation, groups)


@tensor_function
def conv3d(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: Numbers = 1,
    padding: Padding = "valid",
    dilation: Numbers = 1,
    groups: int = 1,
) -> Any:
    """Convolution over three axes: (N, D, H, W, in) -> (N, D', H', W', out).

    Args:
        x: (N, D, H, W, in).
        w: the kernel, (kd, kh, kw, in // groups, out).
        bias: (out,), or None.
        stride, padding, dilation, groups: as in conv2d.

    Raises:
        ValueError: shapes or arguments do not fit; it repeats the call.

    Example:
        >>> conv3d(np.ones((1, 4, 8, 8, 2)), np.ones((3, 3, 3, 2, 5))).shape
        (1, 2, 6, 6, 5)
    """
    return _conv("conv3d", 3, x, w, bias, stride, padding, dilation, groups)


def _conv(
    name: str,
    rank: int,
    x: Any,
    w: Any,
    bias: Any,
    stride: Numbers,
    padding: Padding,
    dilation: Numbers,
    groups: int,
) -> Any:
    x_shape, w_shape = np.shape(x), np.shape(w)
    call = Call(name, x=x_shape, w=w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups)
    groups = call.kernel(x_shape, w_shape, rank, groups, "(*window, in // groups, out)")
    *window, inputs, out = w_shape
    if inputs * groups != x_shape[-1]:
        remedy = channels_first(x_shape, inputs * groups) or torch_kernel(w_shape, x_shape[-1] // groups)
        raise call.error(f"x has {x_shape[-1]} channels, w is for {inputs * groups} (axis -2, times groups){remedy}")
    if out % groups:
        raise call.error(f"groups={groups} does not divide the {out} output channels of w")
    call.bias(bias, out)
    size = x_shape[1:-1]
    stride, dilation = call.numbers("stride", stride, rank), call.numbers("dilation", dilation, rank)
    pairs = call.padding(padding, size, window, stride, dilation)
    call.fits(size, window, stride, pairs, dilation)
    y = convolve(x, w, stride=stride, padding=pairs, dilation=dilation, groups=groups)
    return y if bias is None else y + bias
