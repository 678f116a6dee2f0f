"""Hand-derived primitives: functions whose derivative is worth making by hand, each one node of the tape.

Each is the same function as its composition in `minigrad.functional`, and the tests hold it to that. A function may
write into arrays that it made itself; a rule writes nowhere, so that it can be recorded in its turn.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.pairwise import column_sums
from minigrad.engine.primitive import primitive
from minigrad.functional.attention import attention
from minigrad.functional.fused_activations import gelu, softmax
from minigrad.functional.losses.loss_checks import check_reduction, check_targets
from minigrad.functional.recurrent import gru, gru_cell, lstm, lstm_cell, rnn
from minigrad.ops.blocks import row_blocks
from minigrad.ops.precision import widened
from minigrad.ops.product import matrix_product, right_share
from minigrad.ops.shape import reshape

__all__ = [
    "attention",
    "batch_norm",
    "gelu",
    "gru",
    "gru_cell",
    "layer_norm",
    "linear",
    "lstm",
    "lstm_cell",
    "rnn",
    "softmax",
    "softmax_cross_entropy",
]

Array = Any


# Batch normalization


def _batch_norm(x: Any, gamma: Any, beta: Any, /, *, eps: float = 1e-5) -> tuple[Array, Array, Array, Array]:
    """Batch normalization in training (Ioffe & Szegedy 2015): γ (x - μ) / √(σ² + ε) + β over all axes but the last.

    Args:
        x: (N, ..., C)
        gamma: (C,)
        beta: (C,)
        eps: added to the variance, which is the biased one (1/N).

    Returns:
        y of x's shape, the mean μ (C,), the variance σ² (C,), and 1/√(σ² + ε) (C,), all differentiable. Of float16 only
        y is float16, the others are float32.

    Example:
        >>> y, mu, var, _ = batch_norm(np.array([[1.0], [3.0]]), np.array([2.0]), np.array([5.0]))
        >>> y.round(3), mu, var
        (array([[3.],
               [7.]]), array([2.]), array([1.]))
    """
    channels = x.shape[-1:]
    if x.ndim < 2 or gamma.shape != channels or beta.shape != channels:
        raise ValueError("channels are last: x (N, ..., C) goes with gamma (C,) and beta (C,)")
    rows = _rows(x)
    count = rows.shape[0]
    mu = column_sums(rows) / count
    centered = rows - mu
    var = column_sums(centered * centered) / count
    istd = 1 / np.sqrt(var + eps)
    scale = gamma * istd
    if centered.dtype == scale.dtype == beta.dtype:
        y = np.multiply(centered, scale, out=centered)
        y = np.add(y, beta, out=y)
    else:
        y = centered * scale + beta
    return (y if x.ndim == 2 else np.reshape(y, x.shape)), mu, var, istd


def _batch_norm_contributions(v: Any, x: Any, gamma: Any, mu: Any, istd: Any) -> tuple[Array, Array, Array]:
    """The contributions of x, γ and β, from the cotangents of y, μ, σ² and s = 1/√(σ² + ε).

    With dy, dμ, dσ², ds those cotangents, dβ = Σ dy, dγ = s Σ dy (x - μ), ∂s/∂σ² = -s³/2, ∂σ²/∂x = 2 (x - μ)/N:
        dx = γ s dy - ((x - μ) γ s² dγ/N + γ s dβ/N) + dμ/N + 2 (x - μ) (dσ² - s³ ds/2)/N
    """
    dy, dmu, dvar, distd = v
    rows = _rows(x)
    count = rows.shape[0]
    centered = rows - mu
    dx: Any = None
    dgamma, dbeta = None, None
    if dy is not None:
        dy = _rows(dy)
        dbeta = column_sums(dy)
        dgamma = column_sums(dy * centered) * istd
        scale = gamma * istd
        dx = dy * scale - (centered * (scale * istd * dgamma / count) + scale * dbeta / count)
    if distd is not None:
        through = istd * istd * istd * distd / -2
        dvar = through if dvar is None else dvar + through
    if dvar is not None:
        through = centered * (dvar * (2 / count))
        dx = through if dx is None else dx + through
    if dmu is not None:
        dx = np.broadcast_to(dmu / count, rows.shape) if dx is None else dx + dmu / count
    return (dx if x.ndim == 2 else np.reshape(dx, x.shape)), dgamma, dbeta


def _rows(x: Any) -> Any:
    """x as a matrix of one row for each sample."""
    return x if x.ndim == 2 else np.reshape(x, (-1, x.shape[-1]))


# The statistics of float16 stay float32: a variance is soon beyond 65504.
batch_norm = primitive(
    widened(_batch_norm, 1), joint=widened(_batch_norm_contributions), outputs=("y", "mu", "var", "istd")
)


# Layer normalization


def _layer_norm(x: Any, gamma: Any, beta: Any, /, *, eps: float = 1e-5) -> tuple[Array, Array, Array]:
    """Layer normalization (Ba, Kiros & Hinton 2016, equations 3 and 4): γ (x - μ) / √(σ² + ε) + β over γ's axes.

    Args:
        x: (..., D), where D stands for the axes that gamma has.
        gamma: (D,), or of several axes, which are x's last ones.
        beta: of gamma's shape.
        eps: added to the variance, which is the biased one (1/D).

    Returns:
        y of x's shape, the mean μ (...), and 1/√(σ² + ε) (...), all differentiable. Of float16 only y is float16.

    Example:
        >>> y, mu, istd = layer_norm(np.array([[1.0, 3.0]]), np.array([2.0, 2.0]), np.array([5.0, 5.0]))
        >>> y.round(3), mu
        (array([[3., 7.]]), array([2.]))
    """
    kept = x.ndim - gamma.ndim
    if gamma.ndim < 1 or kept < 0 or gamma.shape != x.shape[kept:] or beta.shape != gamma.shape or not gamma.size:
        raise ValueError(
            "gamma and beta have the shape of x's trailing axes: x (..., D) goes with gamma (D,), beta (D,)"
        )
    rows, scale, shift = np.reshape(x, (-1, gamma.size)), np.reshape(gamma, (-1,)), np.reshape(beta, (-1,))
    y, mu, istd = _layer_norm_rows(rows, scale, shift, eps)
    return np.reshape(y, x.shape), np.reshape(mu, x.shape[:kept]), np.reshape(istd, x.shape[:kept])


@row_blocks(1)
def _layer_norm_rows(rows: Any, scale: Any, shift: Any, eps: float) -> tuple[Array, Array, Array]:
    ones, count = np.ones_like(scale), scale.size
    mu = rows @ ones / count
    centered = rows - mu[:, None]
    istd = 1 / np.sqrt((centered * centered) @ ones / count + eps)
    return centered * istd[:, None] * scale + shift, mu, istd


def _layer_norm_contributions(v: Any, x: Any, gamma: Any, mu: Any, istd: Any) -> tuple[Array, Array, Array]:
    """The contributions of x, γ and β, from the cotangents of y, μ and s = 1/√(σ² + ε).

    With c = x - μ, of which x̂ is s c, means over the row, ∂s/∂x = -s³ c/D and ∂μ/∂x = 1/D:
        dx = s γ dy - s mean(γ dy) - c s³ mean(γ dy c) - c s³ ds/D + dμ/D,    dγ = Σ s dy c,    dβ = Σ dy
    Every mean is a product with γ, and every sum over rows one with s or with ones.
    """
    shapes = (-1, gamma.size), (-1,), (-1,)
    rows, m, s = (np.reshape(a, shape) for a, shape in zip((x, mu, istd), shapes, strict=True))
    cotangents = (a if a is None else np.reshape(a, shape) for a, shape in zip(v, shapes, strict=True))
    dx, *contributions = _layer_norm_row_contributions(rows, m, s, *cotangents, np.reshape(gamma, (-1,)))
    dgamma, dbeta = (a if a is None else np.reshape(a, gamma.shape) for a in contributions)
    return np.reshape(dx, x.shape), dgamma, dbeta


@row_blocks(6, added=2)
def _layer_norm_row_contributions(
    x: Any, mu: Any, s: Any, dy: Any, dmu: Any, ds: Any, scale: Any
) -> tuple[Any, Any, Any]:
    centered = x - mu[:, None]
    slope: Any = 0.0
    level: Any = 0.0
    dgamma, dbeta = None, None
    if dy is not None:
        product = dy * centered
        dgamma, dbeta = s @ product, column_sums(dy)
        slope, level = product @ scale, s * (dy @ scale)
    if ds is not None:
        slope = slope + ds
    if dmu is not None:
        level = level - dmu
    dx = centered * (s * s * s * slope / -scale.size)[:, None]
    if dy is not None or dmu is not None:
        dx = dx - (level / scale.size)[:, None]
    if dy is not None:
        dx = dx + dy * scale * s[:, None]
    return dx, dgamma, dbeta


layer_norm = primitive(widened(_layer_norm, 1), joint=widened(_layer_norm_contributions), outputs=("y", "mu", "istd"))


# Cross-entropy


def _softmax_cross_entropy(logits: Any, labels: Any, /, *, reduction: str = "mean") -> tuple[Array, Array, Array]:
    """The loss, softmax(logits), which is nearly its gradient, and 1 - softmax(logits)[label].

    The latter is the sum of what the other classes have: 1 - p has no correct digit for a label that is nearly certain.
    The loss is log(1 + the odds against the label). Where they are large that is the sum of two terms that are not
    negative, log Σ exp(logits - max) and max - logits[label].
    """
    axis, scores, at = 1, logits, (np.arange(labels.shape[0]), labels)
    if type(logits) is np.ndarray and logits.shape[1] < FEW_CLASSES:
        axis, scores, at = 0, np.ascontiguousarray(logits.T), at[::-1]
    shifted = scores - np.maximum.reduce(scores, axis=axis, keepdims=True)
    p = np.exp(shifted)
    chosen, others = _apart(p, labels, at, axis)
    total = chosen + others
    p = np.divide(p, total if axis == 0 else total[:, None], out=p)
    with np.errstate(divide="ignore", over="ignore"):
        loss = np.where(others <= chosen, np.log1p(others / chosen), np.log(total) - shifted[at])
    p, rest = (p.T if axis == 0 else p), others / total
    if reduction == "none":
        return loss, p, rest
    loss = np.add.reduce(loss, axis=0)
    return (loss / labels.shape[0] if reduction == "mean" else loss), p, rest


def _apart(p: Any, labels: Any, at: Any, axis: int) -> tuple[Array, Array]:
    """p at the labels, and the sum of the other classes. An own array is changed for a moment: no copy is needed."""
    if type(p) is not np.ndarray:
        is_label = labels[:, None] == np.arange(p.shape[1])
        return p[at], np.add.reduce(np.where(is_label, 0, p), axis=1)
    chosen = p[at]
    p[at] = 0
    others = np.add.reduce(p, axis=axis)
    p[at] = chosen
    return chosen, others


# NumPy's inner loops run along one axis. With fewer classes than this the rows make the longer one, which is worth a
# transposed copy.
FEW_CLASSES = 64


def _softmax_cross_entropy_contributions(v: Any, labels: Any, p: Any, rest: Any, reduction: str) -> tuple[Array, None]:
    """(p - one_hot(labels)) dl, and through p itself p (dp - Σ dp p). p - 1 at the labels is minus the rest."""
    dloss, dp, drest = v
    contribution = None
    classes = np.arange(p.shape[-1])
    # In the layout of p, for which a transposed mask is no detour.
    is_transposed = type(p) is np.ndarray and p.flags.fnc
    is_label = (classes[:, None] == labels).T if is_transposed else labels[:, None] == classes
    if drest is not None:
        through = -drest[:, None] * is_label
        dp = through if dp is None else dp + through
    if dloss is not None:
        factor = dloss[:, None] if reduction == "none" else dloss / labels.shape[0] if reduction == "mean" else dloss
        contribution = np.where(is_label, -rest[:, None], p) * factor
    if dp is not None:
        through = p * (dp - np.add.reduce(dp * p, axis=-1, keepdims=True))
        contribution = through if contribution is None else contribution + through
    return contribution, None


_softmax_loss = primitive(
    widened(_softmax_cross_entropy),
    joint=widened(_softmax_cross_entropy_contributions),
    outputs=("loss", "p", "rest"),
    name="softmax_cross_entropy",
)


def softmax_cross_entropy(logits: Any, labels: Any, /, *, reduction: str = "mean") -> Any:
    """`functional.cross_entropy` as one primitive: log Σ exp(logits) - logits[label].

    Args:
        logits: (..., C)
        labels: (...) integers in 0 ... C - 1.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: labels are not integers.
        ValueError: shapes do not fit, a label is out of range, or the reduction is unknown.

    Example:
        >>> float(softmax_cross_entropy(np.zeros((2, 4)), np.array([0, 3])).round(4))
        1.3863
    """
    check_reduction(reduction, "softmax_cross_entropy")
    labels = check_targets(logits, labels, "softmax_cross_entropy")
    if logits.ndim == 2:
        return _softmax_loss(logits, labels, reduction=reduction)[0]
    rows = reshape(logits, (-1, logits.shape[-1]))
    loss = _softmax_loss(rows, np.reshape(labels, (-1,)), reduction=reduction)[0]
    return reshape(loss, labels.shape) if reduction == "none" else loss


# Linear


def _linear(x: Any, weight: Any, bias: Any, /) -> Array:
    """x @ weight + bias as one primitive: x (..., in), weight (in, out), bias (out,).

    Example:
        >>> linear(np.ones((1, 2)), np.ones((2, 3)), np.array([0.0, 1.0, 2.0]))
        array([[2., 3., 4.]])
    """
    if weight.ndim != 2 or x.ndim < 2 or bias.shape != weight.shape[1:]:
        raise ValueError("x (N, ..., in) goes with weight (in, out) and bias (out,)")
    out = _rows(x) @ weight
    out = np.add(out, bias, out=out) if out.dtype == bias.dtype else out + bias
    return out if x.ndim == 2 else np.reshape(out, (*x.shape[:-1], weight.shape[1]))


linear = primitive(
    _linear,
    lambda v, weight: matrix_product(v, weight.mT),
    lambda v, x, weight_shape: right_share(v, x, weight_shape),
    lambda v: column_sums(_rows(v)),
)
