"""Transformers. Sequences are batch first, (N, T, D)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from minigrad import functional, fused
from minigrad.engine.modes import no_grad
from minigrad.nn.attention_layers import MultiheadAttention
from minigrad.nn.containers import ModuleList
from minigrad.nn.linear import Linear
from minigrad.nn.module import Module
from minigrad.nn.module_checks import check_dropout, check_sizes
from minigrad.nn.norm_layers import LayerNorm
from minigrad.nn.parameter import Initializer, initial_values
from minigrad.tensor.tensor import Tensor
from minigrad.util.rng import generator

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": functional.relu, "gelu": fused.gelu}


class TransformerEncoderLayer(Module):
    """Self-attention and a feedforward network, each with a residual connection and layer normalization.

    With f the attention or the network: post-norm x = norm(x + f(x)) (Vaswani et al. 2017, section 3.1), or with
    norm_first pre-norm x = x + f(norm(x)) (Xiong et al. 2020).

    Args:
        d_model: D, the size of x's last axis.
        nhead: the number of heads, which divides D.
        dim_feedforward: the number of hidden units of the network.
        dropout: the probability of dropping attention weights, hidden units, and elements of f(x), in training.
        activation: of the hidden units: "relu", "gelu", or a function.
        layer_norm_eps: added to the variance in both normalizations.
        norm_first: whether to normalize x before f (pre-norm), instead of the sum after it (post-norm).
        init: of the matrices: a name in `nn.init`, or a function (shape, *, rng, dtype).
        rng: a Generator or a seed; the global generator if not given.
        dtype: the default dtype if not given.

    Raises:
        ValueError: nhead does not divide D; a size is not positive; dropout is not in [0, 1]; activation is unknown.

    Example:
        >>> import numpy as np
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
        init: Initializer = "glorot_uniform",
        rng: Any = None,
        dtype: Any = None,
    ) -> None:
        check_sizes("TransformerEncoderLayer", d_model=d_model, nhead=nhead, dim_feedforward=dim_feedforward)
        check_dropout("TransformerEncoderLayer", dropout)
        if isinstance(activation, str) and activation not in ACTIVATIONS:
            raise ValueError(
                f"TransformerEncoderLayer(activation={activation!r}): must be 'relu', 'gelu' or a function"
            )
        self.activation = ACTIVATIONS[activation] if isinstance(activation, str) else activation
        self.p, self.norm_first, self.init = dropout, norm_first, init
        self.rng = None if rng is None else generator(rng)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout=dropout, init=init, rng=self.rng, dtype=dtype)
        self.linear1 = Linear(d_model, dim_feedforward, init=init, rng=self.rng, dtype=dtype)
        self.linear2 = Linear(dim_feedforward, d_model, init=init, rng=self.rng, dtype=dtype)
        self.norm1 = LayerNorm(d_model, eps=layer_norm_eps, dtype=dtype)
        self.norm2 = LayerNorm(d_model, eps=layer_norm_eps, dtype=dtype)

    def forward(self, x: Any, mask: Any = None, is_causal: bool = False) -> Tensor:
        """(N, T, D) to (N, T, D); mask and is_causal as in MultiheadAttention."""
        if self.norm_first:
            x = x + self._attention(self.norm1(x), mask, is_causal)
            return x + self._feedforward(self.norm2(x))
        x = self.norm1(x + self._attention(x, mask, is_causal))
        return self.norm2(x + self._feedforward(x))

    def _attention(self, x: Any, mask: Any, is_causal: bool) -> Any:
        return self._dropout(self.self_attn(x, mask=mask, is_causal=is_causal))

    def _feedforward(self, x: Any) -> Any:
        return self._dropout(self.linear2(self._dropout(self.activation(self.linear1(x)))))

    def _dropout(self, x: Any) -> Any:
        return functional.dropout(x, p=self.p, training=self.training, rng=self.rng)

    def extra_repr(self) -> str:
        return f"dropout={self.p}, norm_first={self.norm_first}"


class TransformerEncoder(Module):
    """Encoder layers one after another (Vaswani et al. 2017, section 3.1).

    Args:
        layer: a TransformerEncoderLayer, which is copied. The matrices of each copy are drawn again, with the layer's
            `init` and its generator; in PyTorch, the copies start with equal matrices.
        num_layers: the number of copies.
        norm: a module applied after the last layer, or None. Pre-norm layers return a sum that is not normalized, so
            LayerNorm(D) is recommended for them (Xiong et al. 2020, section 3.1).

    Raises:
        TypeError: layer is not a TransformerEncoderLayer; norm is not a Module.
        ValueError: num_layers is not positive.

    Example:
        >>> import numpy as np
        >>> layer = TransformerEncoderLayer(8, 2, dim_feedforward=16, norm_first=True, rng=0)
        >>> encoder = TransformerEncoder(layer, 3, norm=LayerNorm(8))
        >>> encoder(np.ones((5, 4, 8)), is_causal=True).shape, len(encoder.layers)
        ((5, 4, 8), 3)
    """

    def __init__(self, layer: TransformerEncoderLayer, num_layers: int, norm: Module | None = None) -> None:
        if not isinstance(layer, TransformerEncoderLayer):
            raise TypeError(f"TransformerEncoder: layer is {layer!r}; give a TransformerEncoderLayer(d_model, nhead)")
        if norm is not None and not isinstance(norm, Module):
            raise TypeError(f"TransformerEncoder: norm is {norm!r}, not a Module; write LayerNorm(d_model)")
        check_sizes("TransformerEncoder", num_layers=num_layers)
        self.layers = ModuleList(_reinitialized_copy(layer) for _ in range(num_layers))
        self.norm = norm

    def forward(self, x: Any, mask: Any = None, is_causal: bool = False) -> Tensor:
        """(N, T, D) to (N, T, D).

        Args:
            x: (N, T, D)
            mask: for all layers: (T, T), (N, T, T), or (N, 1, T) to mask keys. Booleans say which positions may be
                attended to, numbers are added to the scores.
            is_causal: whether position t may attend to the positions 0 ... t only, in addition to the mask.
        """
        for layer in self.layers:
            x = layer(x, mask, is_causal)
        return x if self.norm is None else self.norm(x)


def _reinitialized_copy(layer: TransformerEncoderLayer) -> TransformerEncoderLayer:
    """A copy with new matrices. The generator is shared: copies of it would draw the same numbers."""
    twin = copy.deepcopy(layer, {id(layer.rng): layer.rng})
    with no_grad():
        for p in twin.parameters():
            if p.ndim == 2:
                p[...] = initial_values(layer.init, p.shape, layer.rng, p.dtype)
    return twin
