"""Attention layers. Sequences are batch first, (N, T, D)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import functional, fused
from minigrad.nn.linear import Linear
from minigrad.nn.module import Module
from minigrad.nn.module_checks import check_dropout, check_sizes
from minigrad.nn.parameter import Initializer, new_parameter
from minigrad.ops.product import matmul
from minigrad.ops.shape import expand_dims, permute_dims, reshape, swapaxes, unstack
from minigrad.tensor.tensor import Tensor
from minigrad.util.rng import generator


class MultiheadAttention(Module):
    """Multi-head attention (Vaswani et al. 2017, section 3.2.2; `fused.attention`).

        head_h = softmax(q_h k_hᵀ / √d) v_h    y = [head_1 ... head_H] Wᵒ + bᵒ    [q k v] = x Wⁱ + bⁱ    d = D/H

    Args:
        embed_dim: D, the size of the last axis of the inputs and the output.
        num_heads: H, which divides D.
        dropout: the probability of dropping a weight in training.
        bias: whether both projections have a bias; it starts at 0.
        init: of `in_proj_weight` and `out_proj.weight`: a name in `nn.init`, or a function (shape, *, rng, dtype).
        rng: a Generator or a seed, for the weights and the dropout; the global generator if not given.
        dtype: the default dtype if not given.

    Raises:
        ValueError: H does not divide D; dropout is not in [0, 1]; x has another number of features; a mask does not
            broadcast.

    `in_proj_weight` has the shape (D, 3D), columns in the order q, k, v: the transpose of PyTorch's. In a mask of
    booleans True means "may be attended to", as in `functional.scaled_dot_product_attention`; in PyTorch's layer of
    the same name it means the opposite.

    Example:
        >>> attend = MultiheadAttention(4, 2, rng=0)
        >>> y, weights = attend(np.ones((5, 3, 4)), is_causal=True, need_weights=True)
        >>> y.shape, weights.shape, attend
        ((5, 3, 4), (5, 2, 3, 3), MultiheadAttention(embed_dim=4, num_heads=2, dropout=0.0
          (out_proj): Linear(in_features=4, out_features=4)
        ))
    """

    _repr_names = ("embed_dim", "num_heads", "dropout")

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
        check_sizes("MultiheadAttention", embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention(embed_dim={embed_dim}, num_heads={num_heads}): num_heads must divide embed_dim, "
                "as each head has embed_dim / num_heads features"
            )
        check_dropout("MultiheadAttention", dropout)
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.rng = None if rng is None else generator(rng)
        self.in_proj_weight = new_parameter(init, (embed_dim, 3 * embed_dim), self.rng, dtype)
        self.in_proj_bias = new_parameter("zeros", (3 * embed_dim,), dtype=dtype) if bias else None
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
        """The mean of the values for each query, weighted by its similarity to the keys.

        Args:
            query: (N, T, D), or (T, D).
            key: (N, S, D); the query if not given.
            value: (N, S, D); the key if not given.
            mask: (T, S), (N, T, S), or (N, 1, S) to mask keys. Booleans say which keys may be attended to, numbers
                are added to the scores. Two axes always mean (T, S). So for a padding mask (N, S), write
                padding[:, None, :]; where N is T or 1, it would be taken for (T, S) without an error.
            is_causal: whether query t may attend to the keys 0 ... t only.
            need_weights: whether the weights are also returned.

        Returns:
            (N, T, D); with need_weights also the weights of each head, (N, H, T, S).
        """
        key = query if key is None else key
        value = key if value is None else value
        for name, x in (("query", query), ("key", key), ("value", value)):
            if len(x.shape) < 2 or x.shape[-1] != self.embed_dim:
                raise self._input_error(f"expected {name} of shape (N, T, D) with D = {self.embed_dim}, got {x.shape}")
        if key is query and value is key:
            q, k, v = self._project(query, 0, 3)
        else:
            (q,) = self._project(query, 0, 1)
            k, v = self._project(key, 1, 3) if value is key else self._project(key, 1, 2) + self._project(value, 2, 3)
        per_head = expand_dims(mask, -3) if mask is not None and len(np.shape(mask)) > 2 else mask
        try:
            out, weights = fused.attention(q, k, v, per_head, is_causal)
        except ValueError:
            if mask is not None:
                self._check_mask(np.shape(mask), q.shape, k.shape)
            raise
        if self.training and self.dropout:
            weights = functional.dropout(weights, p=self.dropout, rng=self.rng)
            out = matmul(weights, v)
        out = swapaxes(out, -3, -2)
        out = self.out_proj(reshape(out, (*out.shape[:-2], self.embed_dim)))
        return (out, weights) if need_weights else out

    def _check_mask(self, mask: tuple[int, ...], q: tuple[int, ...], k: tuple[int, ...]) -> None:
        """Raise an error for a mask that does not broadcast to (N, T, S), the shape without the axis of the heads."""
        scores = (*np.broadcast_shapes(q[:-3], k[:-3]), q[-2], k[-2])
        pairs = zip(reversed(mask), reversed(scores), strict=False)
        if len(mask) <= len(scores) and all(n in (1, size) for n, size in pairs):
            return
        hint = "for a mask of keys (N, S), write mask[:, None, :]"
        if len(mask) == len(scores) + 1:
            hint = "leave out the axis of the heads" + (": mask[:, 0]" if mask[-3] == 1 else ", which share one mask")
        raise self._input_error(f"the mask must broadcast to (N, T, S) = {scores}, got the shape {mask}; {hint}")

    def _project(self, x: Any, first: int, last: int) -> tuple[Any, ...]:
        """The projections first ... last - 1 of x (0: query, 1: key, 2: value), each (N, H, T, d), in one product."""
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
        return super().extra_repr() + ("" if self.in_proj_bias is not None else ", bias=False")


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
        check_sizes("PositionalEncoding", d_model=d_model)
        check_dropout("PositionalEncoding", dropout)
        self.d_model, self.p = d_model, dropout
        self.rng = None if rng is None else generator(rng)
        self._table = functional.sinusoidal_encoding(64, d_model, dtype=np.float64)

    def forward(self, x: Any) -> Tensor:
        """(..., T, D) to the same shape."""
        if len(x.shape) < 2 or x.shape[-1] != self.d_model:
            raise self._input_error(f"expected x of shape (N, T, D) with D = {self.d_model}, got {x.shape}")
        length = x.shape[-2]
        if length > len(self._table):
            rows = 2 ** math.ceil(math.log2(length))
            self._table = functional.sinusoidal_encoding(rows, self.d_model, dtype=np.float64)
        encoded = x + self._table[:length].astype(x.dtype)
        return functional.dropout(encoded, p=self.p, training=self.training, rng=self.rng)

    def extra_repr(self) -> str:
        return f"{self.d_model}, dropout={self.p}"
