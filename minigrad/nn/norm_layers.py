"""Normalization layers. Channels are last; defaults are those of docs/conventions.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import functional, fused
from minigrad.nn import init as initializers
from minigrad.nn.module import Module
from minigrad.nn.module_checks import check_sizes
from minigrad.nn.parameter import new_parameter
from minigrad.tensor.tensor import Tensor


class BatchNorm(Module):
    """Batch normalization over all axes but the last (Ioffe & Szegedy 2015; `fused.batch_norm`).

    In training x is normalized with its own mean and biased variance (1/N), and the running statistics are updated:
    running = (1 - momentum) running + momentum batch, with the unbiased variance (1/(N - 1)), as in PyTorch. In
    evaluation x is normalized with the running statistics. Keras's momentum is the weight of the *old* value (0.99
    there is 0.01 here), its eps is 1e-3, and its running variance is the biased one.

    Args:
        num_features: C, the size of x's last axis.
        eps: added to the variance.
        momentum: the weight of a batch in the running statistics, in [0, 1].
        dtype: the default dtype if not given. The running statistics of float16 are float32.

    Raises:
        ValueError: momentum is not in [0, 1]; x has another number of features, or in training only one row.

    Example:
        >>> norm = BatchNorm(1)
        >>> norm(np.array([[1.0], [3.0]])).numpy().round(3), norm.running_mean, norm.running_var.round(3)
        (array([[-1.],
               [ 1.]]), array([0.2]), array([1.1]))
    """

    running_mean: Any
    running_var: Any

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, dtype: Any = None) -> None:
        check_sizes("BatchNorm", num_features=num_features)
        if momentum is None:
            raise ValueError(
                "BatchNorm(momentum=None): PyTorch's average over all batches is not supported; give the weight of a "
                "batch, such as 0.1, or 0.001 for an average over very many batches"
            )
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm(momentum={momentum}): the weight of a batch must be in [0, 1]")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.gamma, self.beta = _affine((num_features,), True, True, dtype)
        wide = np.result_type(self.gamma.dtype, np.float32)  # a variance may exceed 65504, the maximum of float16
        self.register_buffer("running_mean", initializers.zeros((num_features,), dtype=wide))
        self.register_buffer("running_var", initializers.ones((num_features,), dtype=wide))

    def forward(self, x: Any) -> Tensor:
        """x normalized, in its own shape (..., C)."""
        shape = x.shape
        if len(shape) < 2 or shape[-1] != self.num_features:
            layout = f"(N, ..., C) with C = {self.num_features} features"
            raise self._input_error(f"expected x of shape {layout}, got {shape}")
        if not self.training:
            mean, var = self.running_mean, self.running_var
            return functional.batch_norm_inference(x, self.gamma, self.beta, mean, var, eps=self.eps)
        count = math.prod(shape[:-1])
        if count < 2:
            raise self._input_error(
                f"x of shape {shape} is a batch of {count}, which has no variance. Train with at least two samples "
                "(drop_last=True in the DataLoader), or call eval() first."
            )
        y, mu, var, _ = fused.batch_norm(x, self.gamma, self.beta, eps=self.eps)
        self._update(self.running_mean, mu.data)
        self._update(self.running_var, var.data, count / (count - 1))
        return y

    def _update(self, running: Any, batch: Any, correction: float = 1.0) -> None:
        """running = (1 - momentum) running + momentum · correction · batch, in its own memory."""
        np.multiply(running, 1 - self.momentum, out=running)
        np.add(running, (self.momentum * correction) * batch, out=running)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class LayerNorm(Module):
    """Layer normalization over the last axes (Ba, Kiros & Hinton 2016; `fused.layer_norm`).

    Every sample is normalized with its own mean and biased variance, in training and in evaluation alike.

    Args:
        normalized_shape: D, the size of x's last axis, or the sizes of several.
        eps: added to the variance.
        elementwise_affine: whether there are a scale `gamma`, which starts at 1, and a shift `beta`, at 0; both have
            normalized_shape.
        bias: whether there is a beta in addition to gamma.
        dtype: the default dtype if not given.

    Raises:
        ValueError: a size is not positive; x ends with other sizes.

    Example:
        >>> norm = LayerNorm(2)
        >>> norm(np.array([[1.0, 3.0], [-5.0, 5.0]])).numpy().round(3), norm
        (array([[-1.,  1.],
               [-1.,  1.]]), LayerNorm(2, eps=1e-05))
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        self.normalized_shape, self.eps = _sizes("LayerNorm", normalized_shape), eps
        self.gamma, self.beta = _affine(self.normalized_shape, elementwise_affine, elementwise_affine and bias, dtype)

    def forward(self, x: Any) -> Tensor:
        """x normalized, in its own shape (..., *normalized_shape)."""
        axes = _axes(self, x, self.normalized_shape)
        if self.gamma is None or self.beta is None:
            return functional.layer_norm(x, self.gamma, self.beta, eps=self.eps, axis=axes)
        return fused.layer_norm(x, self.gamma, self.beta, eps=self.eps)[0]

    def extra_repr(self) -> str:
        affine = ", elementwise_affine=False" if self.gamma is None else ", bias=False" if self.beta is None else ""
        return f"{_short(self.normalized_shape)}, eps={self.eps}{affine}"


class RMSNorm(Module):
    """Root mean square normalization over the last axes (Zhang & Sennrich 2019; `functional.rms_norm`).

    Args:
        normalized_shape: D, the size of x's last axis, or the sizes of several.
        eps: added to the mean square. PyTorch's default is the machine epsilon of x's dtype.
        elementwise_affine: whether there is a scale `gamma` of normalized_shape, which starts at 1.
        dtype: the default dtype if not given.

    Raises:
        ValueError: a size is not positive; x ends with other sizes.

    Example:
        >>> RMSNorm(4)(np.array([3.0, 4.0, 0.0, 0.0])).numpy().round(3)
        array([1.2, 1.6, 0. , 0. ])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        dtype: Any = None,
    ) -> None:
        self.normalized_shape, self.eps = _sizes("RMSNorm", normalized_shape), eps
        self.gamma, _ = _affine(self.normalized_shape, elementwise_affine, False, dtype)

    def forward(self, x: Any) -> Tensor:
        """x normalized, in its own shape (..., *normalized_shape)."""
        return functional.rms_norm(x, self.gamma, eps=self.eps, axis=_axes(self, x, self.normalized_shape))

    def extra_repr(self) -> str:
        affine = ", elementwise_affine=False" if self.gamma is None else ""
        return f"{_short(self.normalized_shape)}, eps={self.eps}{affine}"


class GroupNorm(Module):
    """Group normalization (Wu & He 2018; `functional.group_norm`).

    Mean and variance belong to one sample and one group of num_channels / num_groups neighboring channels.

    Args:
        num_groups: how many groups.
        num_channels: C, the size of x's last axis.
        eps: added to the variance.
        affine: whether there are a scale `gamma` (C,), which starts at 1, and a shift `beta` (C,), at 0.
        dtype: the default dtype if not given.

    Raises:
        ValueError: num_groups does not divide num_channels; x has another number of channels.

    Example:
        >>> GroupNorm(2, 4)(np.array([[1.0, 3.0, -5.0, 5.0]])).numpy().round(3)
        array([[-1.,  1., -1.,  1.]])
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, dtype: Any = None
    ) -> None:
        check_sizes("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm({num_groups}, {num_channels}): num_groups must divide num_channels")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.gamma, self.beta = _affine((num_channels,), affine, affine, dtype)

    def forward(self, x: Any) -> Tensor:
        """x normalized, in its own shape (N, ..., C)."""
        if x.ndim < 2 or x.shape[-1] != self.num_channels:
            layout = f"(N, ..., C) with C = {self.num_channels} channels"
            raise self._input_error(f"expected x of shape {layout}, got {x.shape}")
        return functional.group_norm(x, self.gamma, self.beta, groups=self.num_groups, eps=self.eps)

    def extra_repr(self) -> str:
        affine = ", affine=False" if self.gamma is None else ""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}{affine}"


class InstanceNorm(Module):
    """Instance normalization (Ulyanov, Vedaldi & Lempitsky 2016; `functional.instance_norm`).

    Each channel of each sample has its own mean and variance, over any number of spatial axes.

    Args:
        num_features: C, the size of x's last axis.
        eps: added to the variance.
        affine: whether there are a scale `gamma` (C,), which starts at 1, and a shift `beta` (C,), at 0. PyTorch's
            default is also False.
        dtype: the default dtype if not given.

    Raises:
        ValueError: num_features is not positive; x has another number of channels, or a single position.

    Example:
        >>> InstanceNorm(1)(np.array([[[1.0], [3.0]], [[-5.0], [5.0]]])).round(3).ravel()
        array([-1.,  1., -1.,  1.])
    """

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False, dtype: Any = None) -> None:
        check_sizes("InstanceNorm", num_features=num_features)
        self.num_features, self.eps = num_features, eps
        self.gamma, self.beta = _affine((num_features,), affine, affine, dtype)

    def forward(self, x: Any) -> Tensor:
        """x normalized, in its own shape (N, *spatial, C)."""
        shape = x.shape
        if len(shape) < 3 or shape[-1] != self.num_features or math.prod(shape[1:-1]) == 1:
            layout = f"(N, *spatial, C) with C = {self.num_features} channels and more than one position"
            raise self._input_error(f"expected x of shape {layout}, got {shape}")
        return functional.instance_norm(x, self.gamma, self.beta, eps=self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}{', affine=True' if self.gamma is not None else ''}"


def _affine(shape: tuple[int, ...], scale: bool, shift: bool, dtype: Any) -> tuple[Any, Any]:
    """The parameters gamma = 1 and beta = 0; None for one that is switched off."""
    gamma = new_parameter("ones", shape, dtype=dtype).named("gamma", label="γ") if scale else None
    beta = new_parameter("zeros", shape, dtype=dtype).named("beta", label="β") if shift else None
    return gamma, beta


def _sizes(layer: str, shape: int | Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    for size in sizes:
        check_sizes(layer, normalized_shape=size)
    if not sizes:
        raise ValueError(f"{layer}(normalized_shape={shape}): give the size of x's last axis, or the sizes of several")
    return sizes


def _short(sizes: tuple[int, ...]) -> int | tuple[int, ...]:
    return sizes[0] if len(sizes) == 1 else sizes


def _axes(layer: Module, x: Any, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The last axes, which must have these sizes, as negative numbers."""
    if x.shape[-len(sizes) :] != sizes:
        raise layer._input_error(f"expected x of a shape that ends with {sizes}, got {x.shape}")
    return tuple(range(-len(sizes), 0))
