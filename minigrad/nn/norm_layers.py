"""Normalization layers. Channels are last; defaults are those of docs/conventions.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import functional, fused
from minigrad.nn import init as initializers
from minigrad.nn.module import Module
from minigrad.nn.module_checks import check_whole
from minigrad.nn.parameter import initialized


class BatchNorm(Module):
    """Batch normalization over all axes but the last (Ioffe & Szegedy 2015; `fused.batch_norm`).

    In training x is normalized with its own mean and biased variance (1/N), and the running statistics move on:
    running = (1 - momentum) running + momentum batch, where the variance kept is the unbiased one (1/(N - 1)), as in
    PyTorch. In evaluation the running statistics take their place. Keras's momentum weighs the *old* value (0.99
    there is 0.01 here), its eps is 1e-3, and the variance that it keeps is the biased one.

    Args:
        num_features: C, the size of x's last axis.
        eps: added to the variance.
        momentum: the weight of a batch in the running statistics, in [0, 1].
        dtype: that of new Tensors if not given. The running statistics of float16 are float32.

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
        check_whole("BatchNorm", num_features=num_features)
        if num_features < 1:
            raise ValueError(f"BatchNorm({num_features}): there must be at least 1 feature")
        if momentum is None:
            raise ValueError(
                "BatchNorm(momentum=None): PyTorch's average over all batches is not offered; give the weight of a "
                "batch, such as 0.1 or, for an average over very many, 0.001"
            )
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm(momentum={momentum}): the weight of a batch lies in [0, 1]")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.gamma = initialized("ones", (num_features,), dtype=dtype).named("gamma", label="γ")
        self.beta = initialized("zeros", (num_features,), dtype=dtype).named("beta", label="β")
        kept = np.result_type(self.gamma.dtype, np.float32)  # of float16 a variance is soon beyond 65504
        self.register_buffer("running_mean", initializers.zeros((num_features,), dtype=kept))
        self.register_buffer("running_var", initializers.ones((num_features,), dtype=kept))

    def forward(self, x: Any) -> Any:
        """x normalized, in its own shape (..., C)."""
        shape = x.shape
        if len(shape) < 2 or shape[-1] != self.num_features:
            raise self._explained(f"x of shape {shape} is not (N, ..., C) with C = {self.num_features} features")
        if not self.training:
            mean, var = self.running_mean, self.running_var
            return functional.batch_norm_inference(x, self.gamma, self.beta, mean, var, eps=self.eps)
        count = math.prod(shape[:-1])
        if count < 2:
            raise self._explained(
                f"x of shape {shape} is a batch of {count}, without a variance to normalize with. Train with at least "
                "two (drop_last=True in the DataLoader), or call eval() first."
            )
        y, mu, var, _ = fused.batch_norm(x, self.gamma, self.beta, eps=self.eps)
        self._keep(self.running_mean, mu.data)
        self._keep(self.running_var, var.data, count / (count - 1))
        return y

    def _keep(self, running: Any, batch: Any, correction: float = 1.0) -> None:
        """running = (1 - momentum) running + momentum · correction · batch, in its own memory."""
        np.multiply(running, 1 - self.momentum, out=running)
        np.add(running, (self.momentum * correction) * batch, out=running)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class LayerNorm(Module):
    """Layer normalization over the last axes (Ba, Kiros & Hinton 2016; `fused.layer_norm`).

    Every sample is normalized with its own mean and biased variance, in training and in evaluation alike.

    Args:
        normalized_shape: D, the size of x's last axis, or the sizes of several.
        eps: added to the variance.
        elementwise_affine: whether there are a scale `gamma`, which starts at 1, and a shift `beta`, at 0; both have
            normalized_shape.
        bias: whether there is a beta beside gamma.
        dtype: that of new Tensors if not given.

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

    def forward(self, x: Any) -> Any:
        """x normalized, in its own shape (..., *normalized_shape)."""
        axes = _axes(self, x, self.normalized_shape)
        if self.gamma is None or self.beta is None:
            return functional.layer_norm(x, self.gamma, self.beta, eps=self.eps, axis=axes)
        return fused.layer_norm(x, self.gamma, self.beta, eps=self.eps)[0]

    def extra_repr(self) -> str:
        """The arguments."""
        affine = ", elementwise_affine=False" if self.gamma is None else ", bias=False" if self.beta is None else ""
        return f"{_short(self.normalized_shape)}, eps={self.eps}{affine}"


class RMSNorm(Module):
    """Root mean square normalization over the last axes (Zhang & Sennrich 2019; `functional.rms_norm`).

    Args:
        normalized_shape: D, the size of x's last axis, or the sizes of several.
        eps: added to the mean square. PyTorch's default is the machine epsilon of x's dtype.
        elementwise_affine: whether there is a scale `gamma` of normalized_shape, which starts at 1.
        dtype: that of new Tensors if not given.

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

    def forward(self, x: Any) -> Any:
        """x normalized, in its own shape (..., *normalized_shape)."""
        return functional.rms_norm(x, self.gamma, eps=self.eps, axis=_axes(self, x, self.normalized_shape))

    def extra_repr(self) -> str:
        """The arguments."""
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
        dtype: that of new Tensors if not given.

    Raises:
        ValueError: num_groups does not divide num_channels; x has another number of channels.

    Example:
        >>> GroupNorm(2, 4)(np.array([[1.0, 3.0, -5.0, 5.0]])).numpy().round(3)
        array([[-1.,  1., -1.,  1.]])
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, dtype: Any = None
    ) -> None:
        check_whole("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_groups < 1 or num_channels < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm({num_groups}, {num_channels}): the number of groups must divide the number of channels"
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.gamma, self.beta = _affine((num_channels,), affine, affine, dtype)

    def forward(self, x: Any) -> Any:
        """x normalized, in its own shape (N, ..., C)."""
        if x.ndim < 2 or x.shape[-1] != self.num_channels:
            raise self._explained(f"x of shape {x.shape} is not (N, ..., C) with C = {self.num_channels} channels")
        return functional.group_norm(x, self.gamma, self.beta, groups=self.num_groups, eps=self.eps)

    def extra_repr(self) -> str:
        """The arguments."""
        affine = ", affine=False" if self.gamma is None else ""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}{affine}"


class InstanceNorm(Module):
    """Instance normalization (Ulyanov, Vedaldi & Lempitsky 2016; `functional.instance_norm`).

    Each channel of each sample has its own mean and variance, over any number of spatial axes.

    Args:
        num_features: C, the size of x's last axis.
        eps: added to the variance.
        affine: whether there are a scale `gamma` (C,), which starts at 1, and a shift `beta` (C,), at 0. PyTorch's
            default is False as well.
        dtype: that of new Tensors if not given.

    Raises:
        ValueError: num_features is not positive; x has another number of channels, or a single position.

    Example:
        >>> InstanceNorm(1)(np.array([[[1.0], [3.0]], [[-5.0], [5.0]]])).round(3).ravel()
        array([-1.,  1., -1.,  1.])
    """

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False, dtype: Any = None) -> None:
        check_whole("InstanceNorm", num_features=num_features)
        if num_features < 1:
            raise ValueError(f"InstanceNorm({num_features}): there must be at least 1 feature")
        self.num_features, self.eps = num_features, eps
        self.gamma, self.beta = _affine((num_features,), affine, affine, dtype)

    def forward(self, x: Any) -> Any:
        """x normalized, in its own shape (N, *spatial, C)."""
        shape = x.shape
        if len(shape) < 3 or shape[-1] != self.num_features or math.prod(shape[1:-1]) == 1:
            raise self._explained(
                f"x of shape {shape} is not (N, *spatial, C) with C = {self.num_features} channels and more than one "
                "position"
            )
        return functional.instance_norm(x, self.gamma, self.beta, eps=self.eps)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.num_features}, eps={self.eps}{', affine=True' if self.gamma is not None else ''}"


def _affine(shape: tuple[int, ...], scale: bool, shift: bool, dtype: Any) -> tuple[Any, Any]:
    """gamma = 1 and beta = 0, or None for what is not wanted."""
    gamma = initialized("ones", shape, dtype=dtype).named("gamma", label="γ") if scale else None
    beta = initialized("zeros", shape, dtype=dtype).named("beta", label="β") if shift else None
    return gamma, beta


def _sizes(layer: str, given: int | Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    for size in sizes:
        check_whole(layer, normalized_shape=size)
    if not sizes or min(sizes) < 1:
        raise ValueError(f"{layer}({given}): normalized_shape is the size of x's last axis, or the sizes of several")
    return sizes


def _short(sizes: tuple[int, ...]) -> int | tuple[int, ...]:
    return sizes[0] if len(sizes) == 1 else sizes


def _axes(layer: Module, x: Any, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The axes that have these sizes, as negative numbers."""
    if x.shape[-len(sizes) :] != sizes:
        raise layer._explained(f"x of shape {x.shape} does not end with {sizes}")
    return tuple(range(-len(sizes), 0))
