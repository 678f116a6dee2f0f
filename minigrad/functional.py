"""Activations, normalizations and losses (`minigrad.losses`), composed of primitives.

Everything here takes Tensors or arrays, records one line for each step it names, and is differentiable to any order.
Channels are last. `minigrad.fused` has the hot ones as single primitives with derivatives made by hand.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.attention import scaled_dot_product_attention, sinusoidal_encoding
from minigrad.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    cosine_similarity,
    cross_entropy,
    ctc_loss,
    hinge_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    multi_margin_loss,
    nll_loss,
    smooth_l1_loss,
    triplet_margin_loss,
)
from minigrad.losses.checks import check_labels
from minigrad.normalization import (
    batch_norm,
    batch_norm_inference,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)
from minigrad.ops.elementwise import erf, relu, sigmoid, softplus, tanh
from minigrad.ops.product import matmul
from minigrad.ops.random import uniform_like
from minigrad.ops.reduction import logsumexp
from minigrad.ops.spatial.resize import interpolate
from minigrad.rng import generator
from minigrad.values import get_default_dtype

__all__ = [
    "batch_norm",
    "batch_norm_inference",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "elu",
    "gelu",
    "group_norm",
    "hinge_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "rms_norm",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "sinusoidal_encoding",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
    "triplet_margin_loss",
]

# Activations


def gelu(x: Any, /, *, approximate: str = "none") -> Any:
    """x Φ(x), with Φ the distribution function of the standard normal (Hendrycks & Gimpel 2016).

    Args:
        x: any shape.
        approximate: "none", or "tanh" for their approximation ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))).

    Raises:
        ValueError: approximate is neither.

    Example:
        >>> import numpy as np
        >>> gelu(np.array([-1.0, 0.0, 1.0])).round(4)
        array([-0.1587,  0.    ,  0.8413])
    """
    if approximate == "none":
        return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))
    raise ValueError(f"gelu(approximate={approximate!r}): must be 'none' or 'tanh'")


def silu(x: Any, /) -> Any:
    """x · sigmoid(x), also called swish (Elfwing, Uchibe & Doya 2018)."""
    return x * sigmoid(x)


def leaky_relu(x: Any, /, *, negative_slope: float = 0.01) -> Any:
    """x where it is positive, negative_slope · x elsewhere (Maas, Hannun & Ng 2013), also at 0."""
    return np.where(x > 0, x, negative_slope * x)


def elu(x: Any, /, *, alpha: float = 1.0) -> Any:
    """x where it is positive, α (exp(x) - 1) elsewhere (Clevert, Unterthiner & Hochreiter 2016)."""
    positive = x > 0
    # The inner choice keeps exp from overflowing in the branch that is not taken.
    return np.where(positive, x, alpha * np.expm1(np.where(positive, 0, x)))


def softmax(x: Any, /, *, axis: int = -1) -> Any:
    """exp(x) / Σ exp(x) along an axis, without overflow."""
    return np.exp(log_softmax(x, axis=axis))


def log_softmax(x: Any, /, *, axis: int = -1) -> Any:
    """x - log Σ exp(x) along an axis, without overflow."""
    return x - logsumexp(x, axis=axis, keepdims=True)


# Layers


def linear(x: Any, weight: Any, bias: Any = None, /) -> Any:
    """x @ weight + bias.

    Args:
        x: (..., in)
        weight: (in, out)
        bias: (out,), or None.

    Returns:
        (..., out)
    """
    out = matmul(x, weight)
    return out if bias is None else out + bias


def dropout(x: Any, /, *, p: float = 0.5, training: bool = True, rng: Any = None) -> Any:
    """Each element set to 0 with probability p, the others divided by 1 - p (Srivastava et al. 2014, inverted form).

    Args:
        x: any shape.
        p: the probability of dropping, in [0, 1].
        training: if False, x itself is returned.
        rng: a Generator or a seed; the global generator if not given.

    Raises:
        ValueError: p is not in [0, 1].
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout(p={p}): p is the probability of dropping an element, so it lies in [0, 1]")
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0
    kept = uniform_like(x, generator(rng)) >= p
    return x * (kept.astype(x.dtype) * (1 / (1 - p)))


# Labels


def one_hot(labels: Any, classes: int, /, *, dtype: Any = None) -> Any:
    """Rows of 0 with a 1 at each label: (...) integers to (..., classes).

    Args:
        labels: integers in 0 ... classes - 1.
        classes: the number of classes.
        dtype: of the result, by default that of new Tensors.

    Raises:
        TypeError: labels are not integers.
        ValueError: a label is negative or not less than `classes`.
    """
    labels = check_labels(labels, classes, "one_hot")
    return (labels[..., None] == np.arange(classes)).astype(np.dtype(dtype or get_default_dtype()))
