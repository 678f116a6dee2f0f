"""Convolutions and transposed convolutions, the public functions: channels last, (N, *spatial, C).

In all of them, stride and dilation are an integer, or a tuple with one for each spatial axis. padding is

    "valid"       none
    "same"        such that there are ceil(size / stride) outputs, as in TensorFlow and Keras: with stride 1 the size
                  does not change. The total is max(0, (ceil(size / stride) - 1) * stride + extent - size), the smaller
                  half before; an odd total (an even window, often stride > 1) has no equivalent in PyTorch, whose
                  padding is symmetric
    2, (2, 1)     the same on both sides, for all axes or axis by axis (PyTorch's padding)
    ((1, 2), ...) a pair (before, after) for each axis

with extent = dilation * (window - 1) + 1. There are (size + before + after - extent) // stride + 1 outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.primitive import tensor_function
from minigrad.ops.spatial.conv_primitives import convolve, convolve_input
from minigrad.ops.spatial.window_arguments import Call, Numbers, Padding, channels_first_hint, torch_kernel_hint
from minigrad.ops.spatial.windows import extent


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
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> conv1d(np.ones((1, 5, 1)), np.ones((3, 1, 1)), padding="same").ravel()
        array([2., 3., 3., 3., 2.])
    """
    return _conv(1, x, w, bias, stride, padding, dilation, groups)


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

    This is a cross-correlation, as is usual in neural networks: the kernel is not flipped (Dumoulin & Visin 2016).

    Args:
        x: (N, H, W, in).
        w: the kernel, (kh, kw, in // groups, out).
        bias: (out,), or None.
        stride, dilation: an integer, or one for each spatial axis.
        padding: "valid", "same", numbers or pairs (before, after); the module's docstring says what they mean.
        groups: output channels [g * out // groups, (g + 1) * out // groups) see the input channels of group g only;
            groups = in is "depthwise".

    Raises:
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> conv2d(np.ones((8, 32, 32, 3)), np.ones((5, 5, 3, 6)), np.zeros(6), stride=2).shape
        (8, 14, 14, 6)
    """
    return _conv(2, x, w, bias, stride, padding, dilation, groups)


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
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> conv3d(np.ones((1, 4, 8, 8, 2)), np.ones((3, 3, 3, 2, 5))).shape
        (1, 2, 6, 6, 5)
    """
    return _conv(3, x, w, bias, stride, padding, dilation, groups)


@tensor_function
def conv_transpose1d(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: Numbers = 1,
    padding: Padding = 0,
    output_padding: Numbers = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Any:
    """Transposed convolution over one axis: (N, L, in) -> (N, L', out).

    Args:
        x: (N, L, in).
        w: the kernel, (k, out // groups, in).
        bias: (out,), or None.
        stride, padding, output_padding, dilation, groups: as in conv_transpose2d.

    Raises:
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> conv_transpose1d(np.ones((1, 3, 1)), np.ones((3, 1, 1)), stride=2).ravel()
        array([1., 1., 2., 1., 2., 1., 1.])
    """
    return _conv_transpose(1, x, w, bias, stride, padding, output_padding, dilation, groups)


@tensor_function
def conv_transpose2d(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: Numbers = 1,
    padding: Padding = 0,
    output_padding: Numbers = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Any:
    """Transposed convolution over two axes: (N, H, W, in) -> (N, H', W', out).

    The transpose of conv2d with the same kernel and arguments (Dumoulin & Visin 2016, chapter 4). With stride > 1
    several sizes give the same H, and output_padding selects one of them:

        H' = (H - 1) * stride - before - after + extent + output_padding,    output_padding < stride

    so padding makes the output smaller. padding="same" gives H' = H * stride.

    Args:
        x: (N, H, W, in).
        w: the kernel, (kh, kw, out // groups, in): the layout of the convolution from out channels to in, as in Keras
            (PyTorch has (in, out // groups, kh, kw)).
        bias: (out,), or None.
        stride, padding, dilation, groups: as in conv2d, of that convolution.
        output_padding: an integer, or one for each spatial axis.

    Raises:
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> conv_transpose2d(np.ones((1, 7, 7, 8)), np.ones((4, 4, 3, 8)), stride=2, padding=1).shape
        (1, 14, 14, 3)
    """
    return _conv_transpose(2, x, w, bias, stride, padding, output_padding, dilation, groups)


@tensor_function
def conv_transpose3d(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: Numbers = 1,
    padding: Padding = 0,
    output_padding: Numbers = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Any:
    """Transposed convolution over three axes: (N, D, H, W, in) -> (N, D', H', W', out).

    Args:
        x: (N, D, H, W, in).
        w: the kernel, (kd, kh, kw, out // groups, in).
        bias: (out,), or None.
        stride, padding, output_padding, dilation, groups: as in conv_transpose2d.

    Raises:
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> conv_transpose3d(np.ones((1, 2, 3, 3, 4)), np.ones((2, 2, 2, 1, 4)), stride=2).shape
        (1, 4, 6, 6, 1)
    """
    return _conv_transpose(3, x, w, bias, stride, padding, output_padding, dilation, groups)


def _conv(
    rank: int, x: Any, w: Any, bias: Any, stride: Numbers, padding: Padding, dilation: Numbers, groups: int
) -> Any:
    x_shape, w_shape = np.shape(x), np.shape(w)
    call = Call(f"conv{rank}d", x=x_shape, w=w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups)
    call.check_rank(x_shape, rank)
    call.check_kernel(w_shape, rank, "(*window, in // groups, out)")
    (groups,) = call.integers("groups", groups, 1)
    *window, inputs, out = w_shape
    if inputs * groups != x_shape[-1]:
        hint = channels_first_hint(x_shape, inputs * groups) or torch_kernel_hint(w_shape, x_shape[-1] // groups)
        raise call.error(f"w expects {inputs * groups} channels (axis -2, times groups), x has {x_shape[-1]}{hint}")
    if out % groups:
        raise call.error(f"groups={groups} does not divide the {out} output channels of w")
    call.check_bias(bias, out)
    size = x_shape[1:-1]
    stride, dilation = call.integers("stride", stride, rank), call.integers("dilation", dilation, rank)
    pairs = call.padding(padding, size, window, stride, dilation)
    call.check_window(size, window, stride, pairs, dilation)
    y = convolve(x, w, stride=stride, padding=pairs, dilation=dilation, groups=groups)
    return y if bias is None else y + bias


def _conv_transpose(
    rank: int,
    x: Any,
    w: Any,
    bias: Any,
    stride: Numbers,
    padding: Padding,
    output_padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Any:
    x_shape, w_shape = np.shape(x), np.shape(w)
    call = Call(
        f"conv_transpose{rank}d", x=x_shape, w=w_shape, stride=stride, padding=padding, output_padding=output_padding,
        dilation=dilation, groups=groups,
    )  # fmt: skip
    call.check_rank(x_shape, rank)
    call.check_kernel(w_shape, rank, "(*window, out // groups, in)")
    (groups,) = call.integers("groups", groups, 1)
    *window, outputs, inputs = w_shape
    if inputs != x_shape[-1]:
        hint = channels_first_hint(x_shape, inputs)
        if outputs * groups == x_shape[-1]:
            axes = (*range(rank), rank + 1, rank)
            hint = f"; w must be (*window, out // groups, in), as in Keras: w = mg.permute_dims(w, {axes})"
        elif w_shape[0] == x_shape[-1]:
            hint = torch_kernel_hint(w_shape, w_shape[1])
        raise call.error(f"w expects {inputs} channels (its last axis), x has {x_shape[-1]}{hint}")
    if inputs % groups:
        raise call.error(f"groups={groups} does not divide the {inputs} input channels")
    call.check_bias(bias, outputs * groups)
    positions = x_shape[1:-1]
    stride, dilation = call.integers("stride", stride, rank), call.integers("dilation", dilation, rank)
    output_padding = call.integers("output_padding", output_padding, rank, least=0)
    extents = extent(window, dilation)
    if padding == "same":  # of the convolution from n * stride to n; a window shorter than the stride needs more
        output_padding = tuple(r + max(0, s - e) for r, s, e in zip(output_padding, stride, extents, strict=True))
    pairs = call.padding(padding, [n * s for n, s in zip(positions, stride, strict=True)], window, stride, dilation)
    per_axis = zip(positions, stride, extents, pairs, output_padding, strict=True)
    size = tuple((n - 1) * s + e - sum(pair) + r for n, s, e, pair, r in per_axis)
    if any(r >= s for r, s in zip(output_padding, stride, strict=True)):
        raise call.error("output_padding must be smaller than stride: it selects one of the sizes with this output")
    if min(size) < 1:
        raise call.error(f"the output would be empty: its spatial axes would be {size}. padding shrinks it; pad less")
    y = convolve_input(x, w, size=size, stride=stride, padding=pairs, dilation=dilation, groups=groups)
    return y if bias is None else y + bias
