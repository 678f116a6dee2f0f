"""Convolution layers. Channels are last, (N, *spatial, C); kernels are (*window, in // groups, out).

The initializer is called for the kernel of one group, (*window, in // groups, out // groups), so that its fans count
connections that exist. This also holds for transposed convolutions, whose kernel is then stored as (*window, out, in).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from minigrad.nn.module import Module
from minigrad.nn.parameter import Initializer, initial_values, new_parameter
from minigrad.ops.spatial import conv_nd
from minigrad.ops.spatial.window_arguments import LAYOUT, Call, Numbers, Padding, channels_first_hint
from minigrad.tensor.tensor import Tensor
from minigrad.util.rng import generator


class _Convolution(Module):
    """A convolution layer of any rank: its parameters, checks and repr."""

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Any]]
    is_transposed: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Padding = 0,
        dilation: Numbers = 1,
        groups: int = 1,
        bias: bool = True,
        init: Initializer = "glorot_uniform",
        rng: Any = None,
        dtype: Any = None,
    ) -> None:
        call = Call(type(self).__name__, in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size,
                    stride=stride, dilation=dilation, groups=groups)  # fmt: skip
        for name in ("in_channels", "out_channels", "groups"):
            call.integers(name, call.arguments[name], 1)
        if in_channels % groups or out_channels % groups:
            raise call.error("groups must divide both numbers of channels")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = call.integers("kernel_size", kernel_size, self.rank)
        self.stride = call.integers("stride", stride, self.rank)
        self.dilation = call.integers("dilation", dilation, self.rank)
        self.padding = padding
        self.weight = Tensor(self._kernel(init, generator(rng), dtype), requires_grad=True)
        self.bias = new_parameter("zeros", (out_channels,), dtype=dtype) if bias else None

    def _kernel(self, init: Initializer, rng: Any, dtype: Any) -> Any:
        shape = (*self.kernel_size, self.in_channels // self.groups, self.out_channels // self.groups)
        parts = [initial_values(init, shape, rng, dtype) for _ in range(self.groups)]
        return np.concatenate([part.mT for part in parts] if self.is_transposed else parts, axis=-1)

    def forward(self, x: Any) -> Tensor:
        self._check(x)
        return type(self).function(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding, dilation=self.dilation,
            groups=self.groups,
        )  # fmt: skip

    def _check(self, x: Any) -> None:
        shape = x.shape
        if len(shape) != self.rank + 2 or shape[-1] != self.in_channels:
            hint = channels_first_hint(shape, self.in_channels) if len(shape) == self.rank + 2 else ""
            layout = f"{LAYOUT[self.rank]} with C = {self.in_channels} channels"
            raise self._input_error(f"expected x of shape {layout}, got {shape}{hint}")

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding!r}" if self.padding != 0 else ""
        text += f", dilation={self.dilation}" if max(self.dilation) > 1 else ""
        text += f", groups={self.groups}" if self.groups > 1 else ""
        return text if self.bias is not None else f"{text}, bias=False"


class _ConvolutionTransposed(_Convolution):
    """A transposed convolution layer of any rank, with output_padding."""

    is_transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Padding = 0,
        output_padding: Numbers = 0,
        dilation: Numbers = 1,
        groups: int = 1,
        bias: bool = True,
        init: Initializer = "glorot_uniform",
        rng: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, init, rng, dtype
        )
        call = Call(type(self).__name__, stride=stride, output_padding=output_padding)
        self.output_padding = call.integers("output_padding", output_padding, self.rank, least=0)
        if any(r >= s for r, s in zip(self.output_padding, self.stride, strict=True)):
            raise call.error("output_padding must be smaller than stride: it selects one of the sizes with this output")

    def forward(self, x: Any) -> Tensor:
        self._check(x)
        return type(self).function(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding, output_padding=self.output_padding,
            dilation=self.dilation, groups=self.groups,
        )  # fmt: skip

    def extra_repr(self) -> str:
        text = f", output_padding={self.output_padding}" if any(self.output_padding) else ""
        return super().extra_repr() + text


class Conv1d(_Convolution):
    """Convolution over one axis (`mg.conv1d`): (N, L, in) to (N, L', out).

    `weight` has the shape (k, in // groups, out), where PyTorch's is (out, in // groups, k).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, init, rng, dtype: as in Conv2d.

    Raises:
        ValueError: an argument or init does not fit; x has another number of axes or channels.

    Example:
        >>> layer = Conv1d(3, 6, 3, stride=2, padding=1)
        >>> layer(np.ones((1, 8, 3))).shape, layer.weight.shape
        ((1, 4, 6), (3, 3, 6))
    """

    rank, function = 1, staticmethod(conv_nd.conv1d)


class Conv2d(_Convolution):
    """Convolution over two axes (`mg.conv2d`): (N, H, W, in) to (N, H', W', out).

    This is a cross-correlation, as is usual in neural networks: the kernel is not flipped (Dumoulin & Visin 2016).

    `weight` has the shape (kh, kw, in // groups, out), where PyTorch's is (out, in // groups, kh, kw).

    Args:
        in_channels: the size of x's last axis.
        out_channels: the size of the result's last axis.
        kernel_size: the window, an integer or one for each spatial axis.
        stride, dilation: an integer or one for each spatial axis.
        padding: "valid", "same", integers or pairs (before, after); see `mg.conv2d`.
        groups: output channels see the input channels of their own group only; in_channels is "depthwise".
        bias: whether there is a bias of shape (out_channels,); it starts at 0.
        init: of the weight: a name in `nn.init`, or a function (shape, *, rng, dtype), called for each group.
            PyTorch's default is U(±1/√fan_in) for weight and bias.
        rng: a Generator or a seed; the global generator if not given.
        dtype: the default dtype if not given.

    Raises:
        ValueError: an argument or init does not fit; x has another number of axes or channels.

    Example:
        >>> layer = Conv2d(3, 6, 3, stride=2, padding=1)
        >>> layer(np.ones((1, 8, 8, 3))).shape, layer.weight.shape
        ((1, 4, 4, 6), (3, 3, 3, 6))
    """

    rank, function = 2, staticmethod(conv_nd.conv2d)


class Conv3d(_Convolution):
    """Convolution over three axes (`mg.conv3d`): (N, D, H, W, in) to (N, D', H', W', out).

    `weight` has the shape (kd, kh, kw, in // groups, out), where PyTorch's is (out, in // groups, kd, kh, kw).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, init, rng, dtype: as in Conv2d.

    Raises:
        ValueError: an argument or init does not fit; x has another number of axes or channels.

    Example:
        >>> layer = Conv3d(3, 6, 3, stride=2, padding=1)
        >>> layer(np.ones((1, 4, 8, 8, 3))).shape, layer.weight.shape
        ((1, 2, 4, 4, 6), (3, 3, 3, 3, 6))
    """

    rank, function = 3, staticmethod(conv_nd.conv3d)


class ConvTranspose1d(_ConvolutionTransposed):
    """Transposed convolution over one axis (`mg.conv_transpose1d`): (N, L, in) to (N, L', out).

    `weight` has the shape (k, out // groups, in), as in Keras, where PyTorch's is (in, out // groups, k).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, output_padding, dilation, groups, bias, init, rng,
            dtype: as in ConvTranspose2d.

    Raises:
        ValueError: an argument or init does not fit; x has another number of axes or channels.

    Example:
        >>> layer = ConvTranspose1d(6, 3, 4, stride=2, padding=1)
        >>> layer(np.ones((1, 4, 6))).shape, layer.weight.shape
        ((1, 8, 3), (4, 3, 6))
    """

    rank, function = 1, staticmethod(conv_nd.conv_transpose1d)


class ConvTranspose2d(_ConvolutionTransposed):
    """Transposed convolution over two axes (`mg.conv_transpose2d`): (N, H, W, in) to (N, H', W', out).

    The transpose of the convolution from out_channels to in_channels (Dumoulin & Visin 2016, chapter 4):
    H' = (H - 1) * stride - before - after + dilation * (kernel_size - 1) + 1 + output_padding.

    `weight` has the shape (kh, kw, out // groups, in), as in Keras, where PyTorch's is (in, out // groups, kh, kw).

    Args:
        in_channels: the size of x's last axis.
        out_channels: the size of the result's last axis.
        kernel_size: the window, an integer or one for each spatial axis.
        stride, dilation: an integer or one for each spatial axis.
        padding: of the convolution that this is the transpose of; it makes the output smaller. "same" gives
            H' = H * stride.
        output_padding: an integer or one for each spatial axis, less than stride; it selects one of the sizes H'.
        groups, bias, init, rng, dtype: as in Conv2d. The fans are those of the forward direction, from in to out.

    Raises:
        ValueError: an argument or init does not fit; x has another number of axes or channels.

    Example:
        >>> layer = ConvTranspose2d(6, 3, 4, stride=2, padding=1)
        >>> layer(np.ones((1, 4, 4, 6))).shape, layer.weight.shape
        ((1, 8, 8, 3), (4, 4, 3, 6))
    """

    rank, function = 2, staticmethod(conv_nd.conv_transpose2d)


class ConvTranspose3d(_ConvolutionTransposed):
    """Transposed convolution over three axes (`mg.conv_transpose3d`): (N, D, H, W, in) to (N, D', H', W', out).

    `weight` has the shape (kd, kh, kw, out // groups, in), as in Keras; PyTorch's is (in, out // groups, kd, kh, kw).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, output_padding, dilation, groups, bias, init, rng,
            dtype: as in ConvTranspose2d.

    Raises:
        ValueError: an argument or init does not fit; x has another number of axes or channels.

    Example:
        >>> layer = ConvTranspose3d(6, 3, 4, stride=2, padding=1)
        >>> layer(np.ones((1, 2, 4, 4, 6))).shape, layer.weight.shape
        ((1, 4, 8, 8, 3), (4, 4, 4, 3, 6))
    """

    rank, function = 3, staticmethod(conv_nd.conv_transpose3d)
