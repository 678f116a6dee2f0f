"""The linear layer, and what puts layers together. Features are last; defaults are those of docs/conventions.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from minigrad import functional, fused
from minigrad.nn.module import Module
from minigrad.nn.module_checks import check_whole
from minigrad.nn.parameter import Initializer, drawn, initialized
from minigrad.ops.shape import reshape
from minigrad.tensor.tensor import Tensor
from minigrad.util import hints


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
                raise TypeError(f"Sequential: argument {k} is {module!r}, not a Module; {_instead(module)}")
            setattr(self, str(k), module)

    def forward(self, x: Any) -> Any:
        """The modules applied to x in their order."""
        for module in self.__dict__.values():
            if isinstance(module, Module):
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


hints.install(Sequential, hints.SEQUENTIAL)


def _instead(given: Any) -> str:
    if isinstance(given, Mapping):
        return "the modules are given one by one: Sequential(*modules.values())"
    if isinstance(given, Iterable) and not isinstance(given, str):
        return "the modules are given one by one: Sequential(*modules)"
    return "write ReLU(), not ReLU or a function"


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
        >>> import numpy as np
        >>> Linear(2, 3)(np.zeros((5, 2))).shape
        (5, 3)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        init: Initializer = "glorot_uniform",
        rng: Any = None,
        dtype: Any = None,
    ) -> None:
        check_whole("Linear", in_features=in_features, out_features=out_features)
        if in_features < 1 or out_features < 1:
            raise ValueError(f"Linear({in_features}, {out_features}): both sizes must be at least 1")
        self.in_features, self.out_features = in_features, out_features
        self.weight = initialized(init, (in_features, out_features), rng, dtype)
        self.bias = initialized("zeros", (out_features,), rng, dtype) if bias else None

    def forward(self, x: Any) -> Any:
        """(..., in_features) to (..., out_features)."""
        shape = x.shape
        if not shape or shape[-1] != self.in_features:
            raise self._explained(f"x of shape {shape} does not have {self.in_features} features on its last axis")
        if self.bias is None or len(shape) == 1:
            return functional.linear(x, self.weight, self.bias)
        return fused.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        bias = "" if self.bias is not None else ", bias=False"
        return f"in_features={self.in_features}, out_features={self.out_features}{bias}"


class Bilinear(Module):
    """y_k = Σ_ij x1_i W_ijk x2_j + b_k (`functional.bilinear`).

    Args:
        in1_features: the size of x1's last axis.
        in2_features: the size of x2's.
        out_features: the size of the result's.
        bias: whether there is one; it starts at 0.
        init: of the weight: a name in `nn.init`, or a function (shape, *, rng, dtype), asked for the linear map
            (in1 · in2, out) of the products x1_i x2_j.
        rng: a Generator or a seed; the global generator if not given.
        dtype: that of new Tensors if not given.

    Raises:
        ValueError: a size is not positive; init is not known; x1 and x2 do not fit.

    `weight` has the shape (in1_features, in2_features, out_features), where PyTorch's has the outputs first.

    Example:
        >>> import numpy as np
        >>> Bilinear(2, 3, 4)(np.zeros((5, 2)), np.zeros((5, 3))).shape
        (5, 4)
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        init: Initializer = "glorot_uniform",
        rng: Any = None,
        dtype: Any = None,
    ) -> None:
        check_whole("Bilinear", in1_features=in1_features, in2_features=in2_features, out_features=out_features)
        if min(in1_features, in2_features, out_features) < 1:
            raise ValueError(f"Bilinear({in1_features}, {in2_features}, {out_features}): all sizes must be at least 1")
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        weight = drawn(init, (in1_features * in2_features, out_features), rng, dtype)
        self.weight = Tensor(weight.reshape(in1_features, in2_features, out_features), requires_grad=True)
        self.bias = initialized("zeros", (out_features,), dtype=dtype) if bias else None

    def forward(self, x1: Any, x2: Any) -> Any:
        """(..., in1_features) and (..., in2_features) to (..., out_features)."""
        sizes = self.in1_features, self.in2_features
        if not x1.shape or x1.shape[:-1] != x2.shape[:-1] or (x1.shape[-1], *x2.shape[-1:]) != sizes:
            raise self._explained(
                f"x1 of shape {x1.shape} and x2 of shape {x2.shape} must have equal leading axes, and {sizes[0]} and "
                f"{sizes[1]} features on the last one"
            )
        return functional.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        bias = "" if self.bias is not None else ", bias=False"
        inputs = f"in1_features={self.in1_features}, in2_features={self.in2_features}"
        return f"{inputs}, out_features={self.out_features}{bias}"


class Identity(Module):
    """x itself: a place in a network where nothing happens."""

    def forward(self, x: Any) -> Any:
        """x."""
        return x


class Flatten(Module):
    """All axes but the first merged into one: (N, ...) to (N, features)."""

    def forward(self, x: Any) -> Any:
        """(N, ...) to (N, features)."""
        shape = x.shape
        return reshape(x, (shape[0], math.prod(shape[1:])))
