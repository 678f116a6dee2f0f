"""Attention layers. Sequences are batch first, (N, T, D)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import functional, fused
from minigrad.nn.linear import Linear
from minigrad.nn.module import Module
from minigrad.nn.module_checks import check_whole
from minigrad.nn.parameter import Initializer, initialized
from minigrad.ops.product import matmul
from minigrad.ops.shape import expand_dims, permute_dims, reshape, swapaxes, unstack
from minigrad.util.rng import generator


class MultiheadAttention(Module):
    """Multi-head attention (Vaswani et al. 2017, section 3.2.2; `fused.attention`).

        head_h = softmax(q_h k_hᵀ / √d) v_h    y = [head_1 ... head_H] Wᵒ + bᵒ    [q k v] = x Wⁱ + bⁱ    d = D/H

    Args:
        embed_dim: D, the size of the last axis of what goes in and comes out.
        num_heads: H, which divides D.
        dropout: the probability of dropping a weight in training.
        bias: whether both projections have one; they start at 0.
        init: of `in_proj_weight` and `out_proj.weight`: a name in `nn.init`, or a function (shape, *, rng, dtype).
        rng: a Generator or a seed, for the weights and the dropout; the global generator if not given.
        dtype: that of new Tensors if not given.

    Raises:
        ValueError: H does not divide D; dropout is not in [0, 1]; x has another number of features; a mask does not
            broadcast.

    `in_proj_weight` has the shape (D, 3D), columns in the order q, k, v: the transpose of PyTorch's. In a mask of
    booleans True means "may be attended to", as in `functional.scaled_dot_product_attention`; in PyTorch's layer of
    this name it means the opposite.

    Example:
        >>> attend = MultiheadAttention(4, 2, rng=0)
        >>> y, weights = attend(np.ones((5, 3, 4)), is_causal=True, need_weights=True)
        >>> y.shape, weights.shape, attend
        ((5, 3, 4), (5, 2, 3, 3), MultiheadAttention(embed_dim=4, num_heads=2, dropout=0.0
          (out_proj): Linear(in_features=4, out_features=4)
        ))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        init: Initializer = "glorot_uniform",
        rng: Any = None,
        dtype: Any = None,
    ) -> None:
        check_whole("MultiheadAttention", embed_dim=embed_dim, num_heads=num_heads)
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention({embed_dim}, {num_heads}): num_heads must divide embed_dim, each head gets "
                "embed_dim / num_heads features"
            )
        check_probability("MultiheadAttention", dropout)
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.rng = None if rng is None else generator(rng)
        self.in_proj_weight = initialized(init, (embed_dim, 3 * embed_dim), self.rng, dtype)
        self.in_proj_bias = initialized("zeros", (3 * embed_dim,), dtype=dtype) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, init=init, rng=self.rng, dtype=dtype)

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        *,
        mask: Any = None,
        is_causal: bool = False,
        need_weights: bool = False,
    ) -> Any:
        """Each query's mean of the values.

        Args:
            query: (N, T, D), or (T, D).
            key: (N, S, D); the query if not given.
            value: (N, S, D); the key if not given.
            mask: (T, S), (N, T, S), or (N, 1, S) for one of keys. Booleans say which keys may be attended to, numbers
                are added to the scores. Two axes are always read as (T, S), also those of a padding mask (N, S) where
                N is T or 1, which is one of queries then: write padding[:, None, :].
            is_causal: whether query t may attend to the keys 0 ... t only.
            need_weights: whether the weights are returned too.

        Returns:
            (N, T, D); with need_weights also the weights of each head, (N, H, T, S).
        """
        key = query if key is None else key
        value = key if value is None else value
        for what, x in (("query", query), ("key", key), ("value", value)):
            if len(x.shape) < 2 or x.shape[-1] != self.embed_dim:
                raise self._explained(f"{what} of shape {x.shape} is not (N, T, D) with D = {self.embed_dim}")
        if key is query and value is key:
            q, k, v = self._projected(query, 0, 3)
        else:
            (q,) = self._projected(query, 0, 1)
            k, v = (
                self._projected(key, 1, 3)
                if value is key
                else self._projected(key, 1, 2) + self._projected(value, 2, 3)
            )
        given = mask
        if mask is not None and len(np.shape(mask)) > 2:
            mask = expand_dims(mask, -3)
        try:
            out, weights = fused.attention(q, k, v, mask, is_causal)
        except ValueError:
            if given is not None:
                self._check_mask(np.shape(given), q.shape, k.shape)
            raise
        if self.training and self.dropout:
            weights = functional.dropout(weights, p=self.dropout, rng=self.rng)
            out = matmul(weights, v)
        out = swapaxes(out, -3, -2)
        out = self.out_proj(reshape(out, (*out.shape[:-2], self.embed_dim)))
        return (out, weights) if need_weights else out

    def _check_mask(self, mask: tuple[int, ...], q: tuple[int, ...], k: tuple[int, ...]) -> None:
        """Explain a mask that does not broadcast to (N, T, S): the axis of the heads is not the caller's to insert."""
        scores = (*np.broadcast_shapes(q[:-3], k[:-3]), q[-2], k[-2])
        pairs = zip(reversed(mask), reversed(scores), strict=False)
        if len(mask) <= len(scores) and all(n in (1, size) for n, size in pairs):
            return
        hint = "one of keys, (N, S), is mask[:, None, :]"
        if len(mask) == len(scores) + 1:
            hint = "it has no axis for the heads: " + ("mask[:, 0]" if mask[-3] == 1 else "heads share one mask")
        raise self._explained(f"a mask of shape {mask} must broadcast to (N, T, S) = {scores}; {hint}")

    def _projected(self, x: Any, first: int, last: int) -> tuple[Any, ...]:
        """The queries, keys and values from first to last of x, in one product, each (N, H, T, d)."""
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if last - first < 3:
            part = slice(first * self.embed_dim, last * self.embed_dim)
            weight, bias = weight[:, part], None if bias is None else bias[part]
        y = functional.linear(x, weight) if bias is None else fused.linear(x, weight, bias)
        heads = (last - first, self.num_heads, self.embed_dim // self.num_heads)
        y = reshape(y, (*y.shape[:-1], *heads))
        n = len(y.shape)
        return unstack(permute_dims(y, (n - 3, *range(n - 4), n - 2, n - 4, n - 1)))

    def extra_repr(self) -> str:
        """The arguments."""
        bias = "" if self.in_proj_bias is not None else ", bias=False"
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, dropout={self.dropout}{bias}"


def check_probability(layer: str, dropout: float) -> None:
    """Refuse what is no probability."""
    if not 0 <= dropout <= 1:
        raise ValueError(f"{layer}(dropout={dropout}): the probability of dropping an element lies in [0, 1]")


class PositionalEncoding(Module):
    """x plus the sinusoidal encoding of its positions (`functional.sinusoidal_encoding`), then dropout.

    Args:
        d_model: D, the size of x's last axis.
        dropout: the probability of dropping an element in training.
        rng: a Generator or a seed; the global generator if not given.

    Raises:
        ValueError: dropout is not in [0, 1]; x has another number of features.

    Example:
        >>> PositionalEncoding(2)(np.zeros((1, 3, 2))).round(2)
        array([[[ 0.  ,  1.  ],
                [ 0.84,  0.54],
                [ 0.91, -0.42]]])
    """

    def __init__(self, d_model: int, dropout: float = 0.0, rng: Any = None) -> None:
        check_whole("PositionalEncoding", d_model=d_model)
        check_probability("PositionalEncoding", dropout)
        self.d_model, self.p = d_model, dropout
        self.rng = None if rng is None else generator(rng)
        self._table = functional.sinusoidal_encoding(64, d_model, dtype=np.float64)

    def forward(self, x: Any) -> Any:
        """(..., T, D) to the same shape."""
        if len(x.shape) < 2 or x.shape[-1] != self.d_model:
            raise self._explained(f"x of shape {x.shape} is not (N, T, D) with D = {self.d_model}")
        length = x.shape[-2]
        if length > len(self._table):
            doubled = 2 ** math.ceil(math.log2(length))
            self._table = functional.sinusoidal_encoding(doubled, self.d_model, dtype=np.float64)
        encoded = x + self._table[:length].astype(x.dtype)
        return functional.dropout(encoded, p=self.p, training=self.training, rng=self.rng)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.d_model}, dropout={self.p}"
