"""Activations, losses and normalizations, composed of primitives.

Everything here takes Tensors or arrays, records one line for each step it names, and is differentiable to any order.
Channels are last. `minigrad.fused` has the hot ones as single primitives with derivatives made by hand.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.errors import call
from minigrad.naming import name
from minigrad.ops.elementwise import erf, relu, sigmoid, softplus, tanh
from minigrad.ops.indexing import getitem, integers, take_along_axis
from minigrad.ops.product import matmul
from minigrad.ops.random import uniform_like
from minigrad.ops.reduction import logsumexp, mean, sum
from minigrad.rng import generator
from minigrad.values import get_default_dtype

__all__ = [
    "batch_norm",
    "batch_norm_inference",
    "cross_entropy",
    "dropout",
    "elu",
    "gelu",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mse_loss",
    "one_hot",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
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


def batch_norm(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5, axis: Any = None) -> Any:
    """Batch normalization in training (Ioffe & Szegedy 2015, algorithm 1).

        μ = mean(x)    σ² = mean((x - μ)²)    x̂ = (x - μ) / √(σ² + ε)    y = γ x̂ + β

    Args:
        x: (N, C) or (N, ..., C), channels last.
        gamma: (C,), the scale.
        beta: (C,), the shift.
        eps: added to the variance, which is the biased one (1/N).
        axis: the leading axes to take mean and variance over; all but the last if not given.

    Returns:
        y, of x's shape. The lines of the tape are called mu, var, xhat and y.

    Raises:
        ValueError: axis is not made of leading axes; shapes do not fit.

    Example:
        >>> import numpy as np
        >>> batch_norm(np.array([[1.0], [3.0]]), np.array([2.0]), np.array([5.0])).round(3)
        array([[3.],
               [7.]])
    """
    axis = _leading(x, axis)
    mu = name("mu", mean(x, axis=axis), label="μ")
    centered = x - mu
    var = name("var", mean(centered * centered, axis=axis), label="σ²")
    xhat = name("xhat", centered / np.sqrt(var + eps), label="x̂")
    return name("y", gamma * xhat + beta)


def _leading(x: Any, axis: Any) -> Any:
    axes: tuple[int, ...] = axis if isinstance(axis, tuple) else (axis,)
    if axis is None:
        axes = tuple(range(x.ndim - 1))
    if x.ndim < 2 or axes != tuple(range(len(axes))) or len(axes) == x.ndim:
        raise ValueError(
            f"{call('batch_norm', (x,), {'axis': axis})}: statistics are taken over leading axes, channels are last. "
            "Move them there first: mg.moveaxis(x, 1, -1) for (N, C, H, W); x[:, None] for a single feature."
        )
    return axes if len(axes) > 1 else axes[0]


def batch_norm_inference(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float = 1e-5) -> Any:
    """Batch normalization with given statistics, γ (x - mean) / √(var + ε) + β: what a trained network does.

    Args:
        x: (..., C)
        gamma: (C,)
        beta: (C,)
        mean: (C,)
        var: (C,)
        eps: added to the variance.
    """
    return (x - mean) * (gamma / np.sqrt(var + eps)) + beta


# Losses


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


def cross_entropy(
    logits: Any,
    labels: Any,
    *,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    weight: Any = None,
) -> Any:
    """The cross-entropy -log softmax(logits)[label].

    With smoothing ε the label's probability is 1 - ε, and ε is spread evenly over all C classes (Szegedy et al. 2016).
    With class weights w, each term is multiplied by the weight of its class and the mean divides by Σ w[labels].

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...) integers in 0 ... C - 1.
        reduction: "mean", "sum" or "none".
        label_smoothing: ε in [0, 1).
        weight: (C,) class weights.

    Raises:
        TypeError: labels are not integers.
        ValueError: shapes do not fit, a label is out of range, or an option is unknown.

    Example:
        >>> import numpy as np
        >>> float(cross_entropy(np.zeros((2, 4)), np.array([0, 3])).round(4))
        1.3863
    """
    labels = check_targets(logits, labels, "cross_entropy")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"cross_entropy(label_smoothing={label_smoothing}): must lie in [0, 1)")
    classes = logits.shape[-1]
    logp = log_softmax(logits)
    if weight is not None:
        if np.shape(weight) != (classes,):
            raise ValueError(
                f"{call('cross_entropy', (logits, labels), {'weight': weight})}: one weight for each of the {classes} "
                f"classes, so weight must have shape ({classes},)"
            )
        logp = logp * weight
    loss = -take_along_axis(logp, labels[..., None], axis=-1)[..., 0]
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * mean(logp, axis=-1)
    if weight is None or reduction != "mean":
        return _reduced(loss, reduction, "cross_entropy")
    return sum(loss) / sum(getitem(weight, index=labels))


def mse_loss(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    """(prediction - target)², of equal shapes.

    Args:
        prediction: any shape.
        target: the same shape.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: the shapes differ. (N,) against (N, 1) would broadcast to (N, N).
    """
    if np.shape(prediction) != np.shape(target):
        raise ValueError(
            f"{call('mse_loss', (prediction, target), {})}: shapes must be equal, they are not broadcast. "
            "Drop or insert an axis: prediction[:, 0] or target[:, None]."
        )
    return _reduced(np.square(prediction - target), reduction, "mse_loss")


def _reduced(loss: Any, reduction: str, what: str) -> Any:
    check_reduction(reduction, what)
    return mean(loss) if reduction == "mean" else sum(loss) if reduction == "sum" else loss


def check_reduction(reduction: str, what: str) -> None:
    """Refuse an unknown reduction."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{what}(reduction={reduction!r}): must be 'mean', 'sum' or 'none'")


def check_targets(logits: Any, labels: Any, what: str) -> Any:
    """Class ids for logits, as an array; labels whose shape or range does not fit are refused."""
    shape = np.shape(labels)
    if logits.ndim < 1 or shape != logits.shape[:-1]:
        way_out = "; drop the last axis of the labels: labels[:, 0]" if shape == (*logits.shape[:-1], 1) else ""
        raise ValueError(
            f"{call(what, (logits, labels), {})}: logits (N, C) go with labels (N,), one class id a row{way_out}"
        )
    return check_labels(labels, logits.shape[-1], what)


def check_labels(labels: Any, classes: int, what: str) -> Any:
    """Class ids as an array; those that are no integers or out of range are refused."""
    labels = integers(labels, what)
    # Only a plain array can be looked at: an array that listens has no values yet.
    if type(labels) is np.ndarray and labels.size and np.maximum.reduce(labels.astype(np.uint64), axis=None) >= classes:
        wrong = labels[(labels < 0) | (labels >= classes)].flat[0]
        raise ValueError(f"{what}: label {wrong} for {classes} classes; labels are 0 ... {classes - 1}")
    return labels
