"""Embedding: a table of vectors."""

from __future__ import annotations

from typing import Any

from minigrad import functional
from minigrad.nn.module import Module
from minigrad.nn.module_checks import check_integers, check_sizes
from minigrad.nn.parameter import Initializer, initial_values
from minigrad.tensor.tensor import Tensor


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
