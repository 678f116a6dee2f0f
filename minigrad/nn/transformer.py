"""Transformers. Sequences are batch first, (N, T, D)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from minigrad import functional, fused
from minigrad.engine.modes import no_grad
from minigrad.nn.attention_layers import MultiheadAttention, check_probability
from minigrad.nn.containers import ModuleList
from minigrad.nn.linear import Linear
from minigrad.nn.module import Module
from minigrad.nn.module_checks import check_whole
from minigrad.nn.norm_layers import LayerNorm
from minigrad.nn.parameter import Initializer, drawn
from minigrad.util.rng import generator

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": functional.relu, "gelu": fused.gelu}


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
        init: of the matrices: a name in `nn.init`, or a function (shape, *, rng, dtype).
        rng: a Generator or a seed; the global generator if not given.
        dtype: that of new Tensors if not given.

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
        check_whole("TransformerEncoderLayer", d_model=d_model, nhead=nhead, dim_feedforward=dim_feedforward)
        check_probability("TransformerEncoderLayer", dropout)
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


class TransformerEncoder(Module):
    """Encoder layers one after another (Vaswani et al. 2017, section 3.1).

    Args:
        layer: a TransformerEncoderLayer, of which copies are made. Each copy draws its matrices again, with the layer's
            `init`, and all draw from the layer's generator; PyTorch's copies start out equal.
        num_layers: how many.
        norm: a module that follows the last layer, or None. What pre-norm layers return is a sum that nothing has
            normalized, so they want one: LayerNorm(D) (Xiong et al. 2020, section 3.1).

    Raises:
        TypeError: layer is no TransformerEncoderLayer; norm is no Module.
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
        check_whole("TransformerEncoder", num_layers=num_layers)
        if num_layers < 1:
            raise ValueError(f"TransformerEncoder(num_layers={num_layers}): must be at least 1")
        self.layers = ModuleList(_drawn_anew(layer) for _ in range(num_layers))
        self.norm = norm

    def forward(self, x: Any, mask: Any = None, is_causal: bool = False) -> Any:
        """(N, T, D) to (N, T, D).

        Args:
            x: (N, T, D)
            mask: for all layers: (T, T), (N, T, T), or (N, 1, T) for one of keys. Booleans say which positions may be
                attended to, numbers are added to the scores.
            is_causal: whether position t may attend to the positions 0 ... t only; besides the mask.
        """
        for layer in self.layers:
            x = layer(x, mask, is_causal)
        return x if self.norm is None else self.norm(x)


def _drawn_anew(layer: TransformerEncoderLayer) -> TransformerEncoderLayer:
    """A copy with other matrices. The generator is shared: copies of it would repeat each other's draws."""
    made = copy.deepcopy(layer, {id(layer.rng): layer.rng})
    with no_grad():
        for p in made.parameters():
            if p.ndim == 2:
                p[...] = drawn(layer.init, p.shape, layer.rng, p.dtype)
    return made
