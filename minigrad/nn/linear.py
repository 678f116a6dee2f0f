"""Linear and bilinear layers, Embedding, Flatten and Identity. Features are last; defaults: docs/conventions.md."""

from __future__ import annotations

import math
from typing import Any

from minigrad import functional, fused
from minigrad.nn.module import Module
from minigrad.nn.module_checks import check_integers, check_sizes
from minigrad.nn.parameter import Initializer, initial_values, new_parameter
from minigrad.ops.shape import reshape
from minigrad.tensor.tensor import Tensor


class Linear(Module):
    """x @ weight + bias (`fused.linear`).

    Args:
        in_features: the size of x's last axis.
        out_features: the size of the result's last axis.
        bias: whether there is a bias; it starts at 0.
        init: of the weight: a name in `nn.init`, or a function (shape, *, rng, dtype). PyTorch's default is
            U(±1/√in) for weight and bias.
        rng: a Generator or a seed; the global generator if not given.
        dtype: the default dtype if not given.

    Raises:
        ValueError: a size is not positive; init is not known; x has another number of features.

    `weight` has the shape (in_features, out_features): the transpose of PyTorch's.

    Example:
        >>> import numpy as np
        >>> Linear(2, 3)(np.zeros((5, 2))).shape
        (5, 3)
    """

    _repr_names = ("in_features", "out_features")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        init: Initializer = "glorot_uniform",
        rng: Any = None,
        dtype: Any = None,
    ) -> None:
        check_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = new_parameter(init, (in_features, out_features), rng, dtype)
        self.bias = new_parameter("zeros", (out_features,), rng, dtype) if bias else None

    def forward(self, x: Any) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        shape = x.shape
        if not shape or shape[-1] != self.in_features:
            raise self._input_error(f"expected x with {self.in_features} features on its last axis, got shape {shape}")
        if self.bias is None or len(shape) == 1:
            return functional.linear(x, self.weight, self.bias)
        return fused.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.bias is not None else ", bias=False")


class Bilinear(Module):
    """y_k = Σ_ij x1_i W_ijk x2_j + b_k (`functional.bilinear`).

    Args:
        in1_features: the size of x1's last axis.
        in2_features: the size of x2's last axis.
        out_features: the size of the result's last axis.
        bias: whether there is a bias; it starts at 0.
        init: of the weight: a name in `nn.init`, or a function (shape, *, rng, dtype), called with the shape
            (in1 · in2, out) of the linear map of the products x1_i x2_j.
        rng: a Generator or a seed; the global generator if not given.
        dtype: the default dtype if not given.

    Raises:
        ValueError: a size is not positive; init is not known; x1 and x2 do not fit.

    `weight` has the shape (in1_features, in2_features, out_features), where PyTorch's has the outputs first.

    Example:
        >>> import numpy as np
        >>> Bilinear(2, 3, 4)(np.zeros((5, 2)), np.zeros((5, 3))).shape
        (5, 4)
    """

    _repr_names = ("in1_features", "in2_features", "out_features")

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
        check_sizes("Bilinear", in1_features=in1_features, in2_features=in2_features, out_features=out_features)
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        weight = initial_values(init, (in1_features * in2_features, out_features), rng, dtype)
        self.weight = Tensor(weight.reshape(in1_features, in2_features, out_features), requires_grad=True)
        self.bias = new_parameter("zeros", (out_features,), dtype=dtype) if bias else None

    def forward(self, x1: Any, x2: Any) -> Tensor:
        """(..., in1_features) and (..., in2_features) to (..., out_features)."""
        sizes = self.in1_features, self.in2_features
        if not x1.shape or x1.shape[:-1] != x2.shape[:-1] or (x1.shape[-1], *x2.shape[-1:]) != sizes:
            raise self._input_error(
                f"x1 of shape {x1.shape} and x2 of shape {x2.shape} must have equal leading axes, and {sizes[0]} and "
                f"{sizes[1]} features on the last one"
            )
        return functional.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.bias is not None else ", bias=False")


class Identity(Module):
    """x itself: a layer that does nothing, to replace another one."""

    def forward(self, x: Any) -> Tensor:
        return x


class Flatten(Module):
    """All axes but the first merged into one: (N, ...) to (N, features)."""

    def forward(self, x: Any) -> Tensor:
        shape = x.shape
        return reshape(x, (shape[0], math.prod(shape[1:])))


class Embedding(Module):
    """A vector for each id: weight[indices] (`functional.embedding`).

    Args:
        num_embeddings: how many ids there are.
        embedding_dim: the size of a vector.
        padding_idx: an id whose vector starts at 0 and receives no gradient, or None.
        init: of the weight: a name in `nn.init`, or a function (shape, *, rng, dtype). The default is PyTorch's, N(0,
            1); Keras's is "random_uniform", U(±0.05).
        rng: a Generator or a seed; the global generator if not given.
        dtype: the default dtype if not given.

    Raises:
        ValueError: a size is not positive; padding_idx or an index is out of range; init does not fit.
        TypeError: indices are not integers.

    Example:
        >>> import numpy as np
        >>> table = Embedding(10, 4, padding_idx=0)
        >>> table(np.array([[3, 1, 0]])).shape, table
        ((1, 3, 4), Embedding(10, 4, padding_idx=0))
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        init: Initializer = "normal",
        rng: Any = None,
        dtype: Any = None,
    ) -> None:
        check_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None:
            check_integers("Embedding", padding_idx=padding_idx)
            if not 0 <= padding_idx < num_embeddings:
                raise ValueError(f"Embedding(padding_idx={padding_idx}): ids are 0 ... {num_embeddings - 1}")
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        table = initial_values(init, (num_embeddings, embedding_dim), rng, dtype)
        if padding_idx is not None:
            table[padding_idx] = 0
        self.weight = Tensor(table, requires_grad=True)

    def forward(self, indices: Any) -> Tensor:
        """(...) integers to (..., embedding_dim)."""
        return functional.embedding(indices, self.weight, padding_idx=self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
