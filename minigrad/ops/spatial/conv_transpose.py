"""Transposed convolutions as a user calls them: channels last, (N, *spatial, C).

The arguments are those of `conv`, of the convolution that they transpose.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.primitive import tensor_function
from minigrad.ops.spatial.arguments import Call, Numbers, Padding, channels_first, torch_kernel
from minigrad.ops.spatial.convolution import convolve_input
from minigrad.ops.spatial.windows import extent


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
        ValueError: shapes or arguments do not fit; it repeats the call.

    Example:
        >>> conv_transpose1d(np.ones((1, 3, 1)), np.ones((3, 1, 1)), stride=2).ravel()
        array([1., 1., 2., 1., 2., 1., 1.])
    """
    return _conv_transpose("conv_transpose1d", 1, x, w, bias, stride, padding, output_padding, dilation, groups)


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
    several sizes have H places, and output_padding chooses among them:

        H' = (H - 1) * stride - before - after + extent + output_padding,    output_padding < stride

    so padding takes away from the output. padding="same" gives H' = H * stride.

    Args:
        x: (N, H, W, in).
        w: the kernel, (kh, kw, out // groups, in): the layout of the convolution from out channels to in, as in Keras
            (PyTorch has (in, out // groups, kh, kw)).
        bias: (out,), or None.
        stride, padding, dilation, groups: as in conv2d, of that convolution.
        output_padding: a number, or one for each spatial axis.

    Raises:
        ValueError: shapes or arguments do not fit; it repeats the call.

    Example:
        >>> conv_transpose2d(np.ones((1, 7, 7, 8)), np.ones((4, 4, 3, 8)), stride=2, padding=1).shape
        (1, 14, 14, 3)
    """
    return _conv_transpose("conv_transpose2d", 2, x, w, bias, stride, padding, output_padding, dilation, groups)


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
        ValueError: shapes or arguments do not fit; it repeats the call.

    Example:
        >>> conv_transpose3d(np.ones((1, 2, 3, 3, 4)), np.ones((2, 2, 2, 1, 4)), stride=2).shape
        (1, 4, 6, 6, 1)
    """
    return _conv_transpose("conv_transpose3d", 3, x, w, bias, stride, padding, output_padding, dilation, groups)


def _conv_transpose(
    name: str,
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
        name, x=x_shape, w=w_shape, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation,
        groups=groups,
    )  # fmt: skip
    groups = call.kernel(x_shape, w_shape, rank, groups, "(*window, out // groups, in)")
    *window, outputs, inputs = w_shape
    if inputs != x_shape[-1]:
        remedy = channels_first(x_shape, inputs)
        if outputs * groups == x_shape[-1]:
            remedy = f"; w is (*window, out // groups, in), as in Keras: w = mg.permute_dims(w, {_swapped(rank)})"
        elif w_shape[0] == x_shape[-1]:
            remedy = torch_kernel(w_shape, w_shape[1])
        raise call.error(f"x has {x_shape[-1]} channels, w is for {inputs} (its last axis){remedy}")
    if inputs % groups:
        raise call.error(f"groups={groups} does not divide the {inputs} input channels")
    call.bias(bias, outputs * groups)
    places = x_shape[1:-1]
    stride, dilation = call.numbers("stride", stride, rank), call.numbers("dilation", dilation, rank)
    rest = call.numbers("output_padding", output_padding, rank, least=0)
    reach = extent(window, dilation)
    if padding == "same":  # of the convolution from n * stride to n; a window shorter than the stride leaves a rest
        rest = tuple(r + max(0, s - e) for r, s, e in zip(rest, stride, reach, strict=True))
    pairs = call.padding(padding, [n * s for n, s in zip(places, stride, strict=True)], window, stride, dilation)
    axes = zip(places, stride, reach, pairs, rest, strict=True)
    size = tuple((n - 1) * s + e - sum(pair) + r for n, s, e, pair, r in axes)
    if any(r >= s for r, s in zip(rest, stride, strict=True)):
        raise call.error("output_padding must be smaller than stride: it chooses among the sizes with these places")
    if min(size) < 1:
        raise call.error(f"nothing is left: the output's spatial axes would be {size}. Pad less, padding takes away")
    y = convolve_input(x, w, size=size, stride=stride, padding=pairs, dilation=dilation, groups=groups)
    return y if bias is None else y + bias


def _swapped(rank: int) -> tuple[int, ...]:
    return (*range(rank), rank + 1, rank)
