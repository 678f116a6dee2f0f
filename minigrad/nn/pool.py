"""Pooling and resizing layers. Channels are last, (N, *spatial, C); the functions are in `minigrad`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from minigrad.nn.module import Module
from minigrad.ops.spatial import pool_nd
from minigrad.ops.spatial.interpolate import check_mode, interpolate
from minigrad.ops.spatial.window_arguments import Call, Numbers, Padding
from minigrad.tensor.tensor import Tensor


class _Pool(Module):
    """A pooling layer of any rank: the window and its stride."""

    function: ClassVar[Callable[..., Any]]
    _repr_names = ("kernel_size", "stride")

    def __init__(self, kernel_size: Numbers, stride: Numbers | None = None, padding: Padding = 0) -> None:
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride

    def extra_repr(self) -> str:
        return super().extra_repr() + (f", padding={self.padding!r}" if self.padding != 0 else "")


class _MaxPool(_Pool):
    def __init__(
        self, kernel_size: Numbers, stride: Numbers | None = None, padding: Padding = 0, dilation: Numbers = 1
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.dilation = dilation

    def forward(self, x: Any) -> Tensor:
        return type(self).function(
            x, self.kernel_size, stride=self.stride, padding=self.padding, dilation=self.dilation
        )

    def extra_repr(self) -> str:
        return super().extra_repr() + (f", dilation={self.dilation}" if self.dilation != 1 else "")


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Padding = 0,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.count_include_pad = count_include_pad

    def forward(self, x: Any) -> Tensor:
        return type(self).function(
            x, self.kernel_size, stride=self.stride, padding=self.padding, count_include_pad=self.count_include_pad
        )

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.count_include_pad else ", count_include_pad=False")


class MaxPool1d(_MaxPool):
    """The largest entry of each window (`mg.max_pool1d`): (N, L, C) to (N, L', C).

    Args:
        kernel_size, stride, padding, dilation: as in MaxPool2d.

    Raises:
        ValueError: x or an argument does not fit, when the layer is called.
    """

    function = staticmethod(pool_nd.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest entry of each window (`mg.max_pool2d`): (N, H, W, C) to (N, H', W', C).

    Args:
        kernel_size: the window, an integer or one for each spatial axis.
        stride: an integer or one for each spatial axis; by default the window.
        padding: "valid", "same", integers or pairs (before, after), smaller than the window; counts as -inf.
        dilation: an integer or one for each spatial axis.

    Raises:
        ValueError: x or an argument does not fit, when the layer is called.
    """

    function = staticmethod(pool_nd.max_pool2d)


class MaxPool3d(_MaxPool):
    """The largest entry of each window (`mg.max_pool3d`): (N, D, H, W, C) to (N, D', H', W', C).

    Args:
        kernel_size, stride, padding, dilation: as in MaxPool2d.

    Raises:
        ValueError: x or an argument does not fit, when the layer is called.
    """

    function = staticmethod(pool_nd.max_pool3d)


class AvgPool1d(_AvgPool):
    """The mean of each window (`mg.avg_pool1d`): (N, L, C) to (N, L', C).

    Args:
        kernel_size, stride, padding, count_include_pad: as in AvgPool2d.

    Raises:
        ValueError: x or an argument does not fit, when the layer is called.
    """

    function = staticmethod(pool_nd.avg_pool1d)


class AvgPool2d(_AvgPool):
    """The mean of each window (`mg.avg_pool2d`): (N, H, W, C) to (N, H', W', C).

    Args:
        kernel_size: the window, an integer or one for each spatial axis.
        stride: an integer or one for each spatial axis; by default the window.
        padding: "valid", "same", integers or pairs (before, after), smaller than the window.
        count_include_pad: padding counts as zeros, as in PyTorch; with False the mean is over the entries of x alone,
            as in Keras.

    Raises:
        ValueError: x or an argument does not fit, when the layer is called.
    """

    function = staticmethod(pool_nd.avg_pool2d)


class AvgPool3d(_AvgPool):
    """The mean of each window (`mg.avg_pool3d`): (N, D, H, W, C) to (N, D', H', W', C).

    Args:
        kernel_size, stride, padding, count_include_pad: as in AvgPool2d.

    Raises:
        ValueError: x or an argument does not fit, when the layer is called.
    """

    function = staticmethod(pool_nd.avg_pool3d)


class _AdaptivePool(Module):
    """A layer with a given number of windows."""

    function: ClassVar[Callable[..., Any]]

    def __init__(self, output_size: Numbers) -> None:
        self.output_size = output_size

    def forward(self, x: Any) -> Tensor:
        return type(self).function(x, self.output_size)

    def extra_repr(self) -> str:
        return f"{self.output_size}"


class AdaptiveMaxPool(_AdaptivePool):
    """The largest entry of a given number of windows (`mg.adaptive_max_pool`).

    Args:
        output_size: an integer, or one for each spatial axis; x may have any number of them.

    Raises:
        ValueError: x or output_size does not fit, when the layer is called.

    Example:
        >>> import numpy as np
        >>> AdaptiveMaxPool(2)(np.arange(5.0).reshape(1, 5, 1)).ravel()
        array([2., 4.])
    """

    function = staticmethod(pool_nd.adaptive_max_pool)


class AdaptiveAvgPool(_AdaptivePool):
    """The mean of a given number of windows (`mg.adaptive_avg_pool`).

    Args:
        output_size: an integer, or one for each spatial axis; 1 is global average pooling.

    Raises:
        ValueError: x or output_size does not fit, when the layer is called.

    Example:
        >>> import numpy as np
        >>> AdaptiveAvgPool(1)(np.arange(6.0).reshape(1, 3, 2)).tolist()
        [[[2.0, 3.0]]]
    """

    function = staticmethod(pool_nd.adaptive_avg_pool)


class Upsample(Module):
    """x resized by repeating entries or by interpolation (`functional.interpolate`): (N, *spatial, C) to (N, *size, C).

    Args:
        size: an integer, or one for each spatial axis.
        scale_factor: instead of size, a factor for the spatial axes, or one for each.
        mode: "nearest", or "linear", "bilinear", "trilinear" for one, two, three spatial axes.
        align_corners: whether the first and last entries stay in place, instead of the borders of the image.

    Raises:
        ValueError: neither or both of size and scale_factor; an unknown mode; x does not fit, when the layer is called.

    Example:
        >>> import numpy as np
        >>> layer = Upsample(scale_factor=2)
        >>> layer(np.array([1.0, 5.0]).reshape(1, 2, 1)).ravel(), layer
        (array([1., 1., 5., 5.]), Upsample(scale_factor=2, mode='nearest'))
    """

    def __init__(
        self,
        size: Numbers | None = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool = False,
    ) -> None:
        call = Call("Upsample", size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners)
        check_mode(call, size, scale_factor, mode, align_corners)
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, x: Any) -> Tensor:
        return interpolate(
            x, self.size, scale_factor=self.scale_factor, mode=self.mode, align_corners=self.align_corners
        )

    def extra_repr(self) -> str:
        size = f"scale_factor={self.scale_factor}" if self.size is None else f"size={self.size}"
        return f"{size}, mode={self.mode!r}{', align_corners=True' if self.align_corners else ''}"
