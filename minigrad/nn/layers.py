"""Layers. Channels are last; values and defaults are those of docs/conventions.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, overload

import numpy as np

from minigrad import functional, fused
from minigrad.nn import init as initializers
from minigrad.nn.module import Module
from minigrad.ops.shape import reshape
from minigrad.rng import generator
from minigrad.tensor import Tensor
from minigrad.values import get_default_dtype

Array = Any


class Sequential(Module):
    """Modules one after another.

    Example:
        >>> from minigrad.nn import ReLU
        >>> net = Sequential(Linear(2, 3), ReLU(), Linear(3, 1))
        >>> net
        Sequential(
          (0): Linear(in_features=2, out_features=3)
          (1): ReLU()
          (2): Linear(in_features=3, out_features=1)
        )
        >>> len(net), net[-1], net[:2]
        (3, Linear(in_features=3, out_features=1), Sequential(
          (0): Linear(in_features=2, out_features=3)
          (1): ReLU()
        ))
    """

    def __init__(self, *modules: Module) -> None:
        for k, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(
                    f"Sequential: argument {k} is {module!r}, not a Module; write ReLU(), not ReLU or a function"
                )
            setattr(self, str(k), module)

    def forward(self, x: Any) -> Any:
        """The modules applied to x in their order."""
        for module in self.children():
            x = module(x)
        return x

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    @overload
    def __getitem__(self, k: int) -> Module: ...
    @overload
    def __getitem__(self, k: slice) -> Sequential: ...
    def __getitem__(self, k: int | slice) -> Module:
        inside = list(self.named_children())
        if isinstance(k, slice):
            part = Sequential()
            for name, module in inside[k]:  # a module keeps the name that it has here
                setattr(part, name, module)
            return part
        return inside[k][1]


class Linear(Module):
    """x @ weight + bias (`fused.linear`).

    Args:
        in_features: the size of x's last axis.
        out_features: the size of the result's.
        bias: whether there is one; it starts at 0.
        init: of the weight: a name in `nn.init`, or a function (shape, *, rng, dtype). PyTorch's default is another,
            U(±1/√in) for weight and bias.
        rng: a Generator or a seed; the global generator if not given.
        dtype: that of new Tensors if not given.

    Raises:
        ValueError: a size is not positive; init is not known; x has another number of features.

    `weight` has the shape (in_features, out_features): the transpose of PyTorch's.

    Example:
        >>> Linear(2, 3)(np.zeros((5, 2))).shape
        (5, 3)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        init: str | Callable[..., Array] = "glorot_uniform",
        rng: Any = None,
        dtype: Any = None,
    ) -> None:
        if in_features < 1 or out_features < 1:
            raise ValueError(f"Linear({in_features}, {out_features}): both sizes must be at least 1")
        self.in_features, self.out_features = in_features, out_features
        dtype = np.dtype(dtype or get_default_dtype())
        shape = (in_features, out_features)
        self.weight = _parameter(initializers.get(init)(shape, rng=generator(rng), dtype=dtype), shape)
        self.bias = _parameter(initializers.zeros((out_features,), dtype=dtype)) if bias else None

    def forward(self, x: Any) -> Any:
        """(..., in_features) to (..., out_features)."""
        shape = x.shape
        if not shape or shape[-1] != self.in_features:
            raise self._complaint(f"x of shape {shape} does not have {self.in_features} features on its last axis")
        if self.bias is None or len(shape) == 1:
            return functional.linear(x, self.weight, self.bias)
        return fused.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        bias = "" if self.bias is not None else ", bias=False"
        return f"in_features={self.in_features}, out_features={self.out_features}{bias}"


def _parameter(value: Array, shape: tuple[int, ...] | None = None) -> Tensor:
    if shape is not None and np.shape(value) != shape:
        raise ValueError(f"the initializer returned an array of shape {np.shape(value)} where {shape} was asked for")
    return Tensor(value, requires_grad=True)


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
        dtype: that of new Tensors if not given.

    Raises:
        ValueError: momentum is not in [0, 1]; x has another number of features, or in training only one row.

    Example:
        >>> norm = BatchNorm(1)
        >>> norm(np.array([[1.0], [3.0]])).numpy().round(3), norm.running_mean, norm.running_var.round(3)
        (array([[-1.],
               [ 1.]]), array([0.2]), array([1.1]))
    """

    running_mean: Array
    running_var: Array

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, dtype: Any = None) -> None:
        if num_features < 1:
            raise ValueError(f"BatchNorm({num_features}): there must be at least 1 feature")
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm(momentum={momentum}): the weight of a batch lies in [0, 1]")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.gamma = _parameter(initializers.ones((num_features,), dtype=dtype)).named("gamma", label="γ")
        self.beta = _parameter(initializers.zeros((num_features,), dtype=dtype)).named("beta", label="β")
        self.register_buffer("running_mean", initializers.zeros((num_features,), dtype=dtype))
        self.register_buffer("running_var", initializers.ones((num_features,), dtype=dtype))

    def forward(self, x: Any) -> Any:
        """x normalized, in its own shape (..., C)."""
        shape = x.shape
        if len(shape) < 2 or shape[-1] != self.num_features:
            raise self._complaint(f"x of shape {shape} is not (N, ..., C) with C = {self.num_features} features")
        if not self.training:
            mean, var = self.running_mean, self.running_var
            return functional.batch_norm_inference(x, self.gamma, self.beta, mean, var, eps=self.eps)
        count = math.prod(shape[:-1])
        if count < 2:
            raise self._complaint(
                f"x of shape {shape} is a batch of {count}, without a variance to normalize with. Train with at least "
                "two (drop_last=True in the DataLoader), or call eval() first."
            )
        y, mu, istd = fused.batch_norm(x, self.gamma, self.beta, eps=self.eps)
        mu, istd = mu.data, istd.data
        self._keep(self.running_mean, mu)
        # σ² as it went into istd; where it is far below eps the difference is rounding, which may be negative.
        var = np.maximum(1 / (istd * istd) - self.eps, 0)
        self._keep(self.running_var, var * (count / (count - 1)))
        return y

    def _keep(self, running: Array, batch: Array) -> None:
        """running = (1 - momentum) running + momentum batch, in its own memory."""
        np.copyto(running, (1 - self.momentum) * running + self.momentum * batch, casting="same_kind")

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class Dropout(Module):
    """Each element set to 0 with probability p in training, the others divided by 1 - p; x itself in evaluation.

    Args:
        p: the probability of dropping, in [0, 1].
        rng: a Generator or a seed; the global generator if not given.

    Raises:
        ValueError: p is not in [0, 1].
    """

    def __init__(self, p: float = 0.5, rng: Any = None) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout(p={p}): p is the probability of dropping an element, so it lies in [0, 1]")
        self.p = p
        self.rng = None if rng is None else generator(rng)

    def forward(self, x: Any) -> Any:
        """x with elements dropped in training."""
        return functional.dropout(x, p=self.p, training=self.training, rng=self.rng)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


class Flatten(Module):
    """All axes but the first merged into one: (N, ...) to (N, features)."""

    def forward(self, x: Any) -> Any:
        """(N, ...) to (N, features)."""
        shape = x.shape
        return reshape(x, (shape[0], math.prod(shape[1:])))
