"""Activations as modules; the functions are in `minigrad.functional`."""

from __future__ import annotations

from functools import partial
from typing import Any

from minigrad import functional, fused
from minigrad.nn.init import constant
from minigrad.nn.module import Module
from minigrad.nn.module_checks import check_sizes
from minigrad.nn.parameter import new_parameter
from minigrad.tensor.tensor import Tensor


class ReLU(Module):
    """max(x, 0), with derivative 0 at 0."""

    def forward(self, x: Any) -> Tensor:
        return functional.relu(x)


class LeakyReLU(Module):
    """x where it is positive, negative_slope · x elsewhere."""

    _repr_names = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Tensor:
        return functional.leaky_relu(x, negative_slope=self.negative_slope)


class ELU(Module):
    """x where it is positive, α (exp(x) - 1) elsewhere."""

    _repr_names = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Tensor:
        return functional.elu(x, alpha=self.alpha)


class PReLU(Module):
    """x where it is positive, weight · x elsewhere, with the slopes learned (He et al. 2015; `functional.prelu`).

    Args:
        num_parameters: C for a slope for each channel (the last axis of x), or 1 for a single slope.
        init: the initial value of the slopes.
        dtype: the default dtype if not given.

    Raises:
        ValueError: num_parameters is not positive; x has another number of channels.

    Example:
        >>> import numpy as np
        >>> PReLU()(np.array([-4.0, 4.0])).numpy()
        array([-1.,  4.])
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: Any = None) -> None:
        check_sizes("PReLU", num_parameters=num_parameters)
        self.weight = new_parameter(partial(constant, value=init), (num_parameters,), dtype=dtype)

    def forward(self, x: Any) -> Tensor:
        count = self.weight.size
        if count > 1 and x.shape[-1:] != (count,):
            raise self._input_error(f"expected x with {count} channels on its last axis, got shape {x.shape}")
        return functional.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.weight.size}"


class SELU(Module):
    """λ elu(x; α), which keeps mean 0 and variance 1 (Klambauer et al. 2017)."""

    def forward(self, x: Any) -> Tensor:
        return functional.selu(x)


class Mish(Module):
    """x · tanh(softplus(x)) (Misra 2019)."""

    def forward(self, x: Any) -> Tensor:
        return functional.mish(x)


class Softsign(Module):
    """x / (1 + |x|)."""

    def forward(self, x: Any) -> Tensor:
        return functional.softsign(x)


class LogSigmoid(Module):
    """log sigmoid(x), without overflow."""

    def forward(self, x: Any) -> Tensor:
        return functional.log_sigmoid(x)


class ReLU6(Module):
    """min(max(x, 0), 6)."""

    def forward(self, x: Any) -> Tensor:
        return functional.relu6(x)


class Hardsigmoid(Module):
    """min(max(x + 3, 0), 6) / 6."""

    def forward(self, x: Any) -> Tensor:
        return functional.hardsigmoid(x)


class Hardswish(Module):
    """x · hardsigmoid(x)."""

    def forward(self, x: Any) -> Tensor:
        return functional.hardswish(x)


class Hardtanh(Module):
    """x clipped to [min_val, max_val]."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        if not min_val < max_val:
            raise ValueError(f"Hardtanh(min_val={min_val}, max_val={max_val}): min_val must be less than max_val")
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: Any) -> Tensor:
        return functional.hardtanh(x, min_val=self.min_val, max_val=self.max_val)

    def extra_repr(self) -> str:
        return f"{self.min_val}, {self.max_val}"


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Any) -> Tensor:
        return functional.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Tensor:
        return functional.tanh(x)


class Softplus(Module):
    """log(1 + exp(x))."""

    def forward(self, x: Any) -> Tensor:
        return functional.softplus(x)


class SiLU(Module):
    """x · sigmoid(x)."""

    def forward(self, x: Any) -> Tensor:
        return functional.silu(x)


class GELU(Module):
    """x Φ(x), exact, or with approximate="tanh" by the tanh formula."""

    _repr_names = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU(approximate={approximate!r}): must be 'none' or 'tanh'")
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        return fused.gelu(x, approximate=self.approximate)


class Softmax(Module):
    """exp(x) / Σ exp(x) along an axis."""

    _repr_names = ("axis",)

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        return fused.softmax(x, axis=self.axis)


class LogSoftmax(Module):
    """x - log Σ exp(x) along an axis."""

    _repr_names = ("axis",)

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        return functional.log_softmax(x, axis=self.axis)
