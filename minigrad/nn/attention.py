"""Attention layers. Sequences are batch first, (N, T, D)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import functional, fused
from minigrad.nn import init as initializers
from minigrad.nn.layers import Linear
from minigrad.nn.module import Module
from minigrad.nn.norm import LayerNorm
from minigrad.ops.product import matmul
from minigrad.ops.shape import expand_dims, permute_dims, reshape, swapaxes, unstack
from minigrad.rng import generator
from minigrad.tensor import Tensor
from minigrad.values import get_default_dtype


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
        init: str | Callable[..., Any] = "glorot_uniform",
        rng: Any = None,
        dtype: Any = None,
    ) -> None:
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention({embed_dim}, {num_heads}): num_heads must divide embed_dim, each head gets "
                "embed_dim / num_heads features"
            )
        check_probability("MultiheadAttention", dropout)
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        dtype, shape = np.dtype(dtype or get_default_dtype()), (embed_dim, 3 * embed_dim)
        self.rng = None if rng is None else generator(rng)
        weight = initializers.get(init)(shape, rng=generator(self.rng), dtype=dtype)
        self.in_proj_weight = Tensor(weight, requires_grad=True)
        zeros = initializers.zeros((3 * embed_dim,), dtype=dtype)
        self.in_proj_bias = Tensor(zeros, requires_grad=True) if bias else None
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
                are added to the scores.
            is_causal: whether query t may attend to the keys 0 ... t only.
            need_weights: whether the weights are returned too.

        Returns:
            (N, T, D); with need_weights also the weights of each head, (N, H, T, S).
        """
        key = query if key is None else key
        value = key if value is None else value
        for what, x in (("query", query), ("key", key), ("value", value)):
            if len(x.shape) < 2 or x.shape[-1] != self.embed_dim:
                raise self._complaint(f"{what} of shape {x.shape} is not (N, T, D) with D = {self.embed_dim}")
        if key is query and value is key:
            q, k, v = self._projected(query, 0, 3)
        else:
            (q,) = self._projected(query, 0, 1)
            k, v = (
                self._projected(key, 1, 3)
                if value is key
                else self._projected(key, 1, 2) + self._projected(value, 2, 3)
            )
        if mask is not None and len(np.shape(mask)) > 2:
            mask = expand_dims(mask, -3)
        out, weights = fused.attention(q, k, v, mask, is_causal)
        if self.training and self.dropout:
            weights = functional.dropout(weights, p=self.dropout, rng=self.rng)
            out = matmul(weights, v)
        out = swapaxes(out, -3, -2)
        out = self.out_proj(reshape(out, (*out.shape[:-2], self.embed_dim)))
        return (out, weights) if need_weights else out

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


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": functional.relu, "gelu": functional.gelu}


class TransformerEncoderLayer(Module):
    """Self-attention and a network of two layers, each with a residual connection and layer normalization.

    With f the attention or the network: post-norm x = norm(x + f(x)) (Vaswani et al. 2017, section 3.1), or with
    norm_first pre-norm x = x + f(norm(x)) (Xiong et al. 2020).

    Args:
        d_model: D, the size of x's last axis.
        nhead: the number of heads, which divides D.
        dim_feedforward: the number of hidden units of the network.
        dropout: the probability of dropping attention weights, hidden units, and elements of f(x), in training.
        activation: of the hidden units: "relu", "gelu", or a function.
        layer_norm_eps: added to the variance in both normalizations.
        norm_first: whether x is normalized before f; else the sum is, after it.
        rng: a Generator or a seed; the global generator if not given.
        dtype: that of new Tensors if not given.

    Raises:
        ValueError: nhead does not divide D; a size is not positive; dropout is not in [0, 1]; activation is unknown.

    Example:
        >>> layer = TransformerEncoderLayer(8, 2, dim_feedforward=16, rng=0)
        >>> layer(np.ones((5, 3, 8)), is_causal=True).shape
        (5, 3, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = "relu",
        layer_norm_eps: float = 1e-5,
        norm_first: bool = False,
        rng: Any = None,
        dtype: Any = None,
    ) -> None:
        check_probability("TransformerEncoderLayer", dropout)
        if isinstance(activation, str) and activation not in ACTIVATIONS:
            raise ValueError(
                f"TransformerEncoderLayer(activation={activation!r}): must be 'relu', 'gelu' or a function"
            )
        self.activation = ACTIVATIONS[activation] if isinstance(activation, str) else activation
        self.p, self.norm_first = dropout, norm_first
        self.rng = None if rng is None else generator(rng)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout=dropout, rng=self.rng, dtype=dtype)
        self.linear1 = Linear(d_model, dim_feedforward, rng=self.rng, dtype=dtype)
        self.linear2 = Linear(dim_feedforward, d_model, rng=self.rng, dtype=dtype)
        self.norm1 = LayerNorm(d_model, eps=layer_norm_eps, dtype=dtype)
        self.norm2 = LayerNorm(d_model, eps=layer_norm_eps, dtype=dtype)

    def forward(self, x: Any, mask: Any = None, is_causal: bool = False) -> Any:
        """(N, T, D) to (N, T, D); mask and is_causal as in MultiheadAttention."""
        if self.norm_first:
            x = x + self._attended(self.norm1(x), mask, is_causal)
            return x + self._network(self.norm2(x))
        x = self.norm1(x + self._attended(x, mask, is_causal))
        return self.norm2(x + self._network(x))

    def _attended(self, x: Any, mask: Any, is_causal: bool) -> Any:
        return self._dropped(self.self_attn(x, mask=mask, is_causal=is_causal))

    def _network(self, x: Any) -> Any:
        return self._dropped(self.linear2(self._dropped(self.activation(self.linear1(x)))))

    def _dropped(self, x: Any) -> Any:
        return functional.dropout(x, p=self.p, training=self.training, rng=self.rng)

    def extra_repr(self) -> str:
        """The arguments that no layer inside shows."""
        return f"dropout={self.p}, norm_first={self.norm_first}"


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
        check_probability("PositionalEncoding", dropout)
        self.d_model, self.p = d_model, dropout
        self.rng = None if rng is None else generator(rng)
        self._table = functional.sinusoidal_encoding(64, d_model, dtype=np.float64)

    def forward(self, x: Any) -> Any:
        """(..., T, D) to the same shape."""
        if len(x.shape) < 2 or x.shape[-1] != self.d_model:
            raise self._complaint(f"x of shape {x.shape} is not (N, T, D) with D = {self.d_model}")
        length = x.shape[-2]
        if length > len(self._table):
            doubled = 2 ** math.ceil(math.log2(length))
            self._table = functional.sinusoidal_encoding(doubled, self.d_model, dtype=np.float64)
        encoded = x + self._table[:length].astype(x.dtype)
        return functional.dropout(encoded, p=self.p, training=self.training, rng=self.rng)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.d_model}, dropout={self.p}"
