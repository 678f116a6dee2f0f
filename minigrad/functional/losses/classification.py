"""Losses between scores or probabilities and classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.primitive import value_of
from minigrad.functional.losses.loss_checks import (
    check_equal_shapes,
    check_range,
    check_signs,
    check_targets,
    finite_at_zero,
    reduced,
    weighted,
)
from minigrad.ops.activation import relu, softplus
from minigrad.ops.indexing import take_along_axis
from minigrad.ops.precision import floating, widened
from minigrad.ops.reduction import sum
from minigrad.ops.shape import broadcasts
from minigrad.tensor.tensor import Tensor


@widened
def binary_cross_entropy(probability: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """-(t log p + (1 - t) log(1 - p)), with logarithms clipped to at least -100, as in PyTorch.

    Where a logarithm is clipped, at p = 0 or 1, its derivative is 0. `binary_cross_entropy_with_logits` does not clip.

    Args:
        probability: any shape, p in [0, 1].
        target: the same shape, t in [0, 1].
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: shapes differ, p or t lie outside [0, 1], or the reduction is unknown.

    Example:
        >>> binary_cross_entropy(np.array([0.5, 0.0]), np.array([1.0, 1.0]), reduction="none").round(4)
        array([  0.6931, 100.    ])
    """
    check_equal_shapes("binary_cross_entropy", probability, target)
    what = "binary_cross_entropy"
    check_range(probability, 0, 1, f"{what}: probability", "for logits use binary_cross_entropy_with_logits")
    check_range(target, 0, 1, f"{what}: target", "it is the probability of class 1")
    loss = -(target * _log(probability, target) + (1 - target) * _log_of_rest(probability))
    return reduced(loss, reduction, what)


def _log(p: Any, weight: Any) -> Any:
    """log p, to be multiplied by a weight; -100 with derivative 0 where it would be less."""
    is_clipped = p <= math.exp(-100)  # not where p is NaN
    logarithm = np.where(is_clipped, -100, np.log(np.where(is_clipped, 1, p)))
    # Where p is denormal, the derivative 1/p overflows; a weight of 0 would make it NaN.
    return np.where((weight == 0) & (p < np.finfo(p.dtype).tiny), value_of(logarithm), logarithm)


def _log_of_rest(p: Any) -> Any:
    """log (1 - p), accurate also where p is tiny; -100 with derivative 0 where p is 1."""
    is_clipped = p >= 1
    return np.where(is_clipped, -100, np.log1p(np.where(is_clipped, 0, -p)))


@widened
def binary_cross_entropy_with_logits(
    logits: Any, target: Any, *, pos_weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """-(q t log σ(x) + (1 - t) log(1 - σ(x))), computed as q t softplus(-x) + (1 - t) softplus(x), without overflow.

    Args:
        logits: any shape, x.
        target: the same shape, t in [0, 1].
        pos_weight: q, the weight of class 1 (default 1): a number or an array that broadcasts to the shape.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: shapes do not fit, t lies outside [0, 1], or the reduction is unknown.

    Example:
        >>> binary_cross_entropy_with_logits(np.array([0.0, -80.0]), np.ones(2), reduction="none").round(4)
        array([ 0.6931, 80.    ])
    """
    what = "binary_cross_entropy_with_logits"
    check_equal_shapes(what, logits, target)
    check_range(target, 0, 1, f"{what}: target", "it is the probability of class 1")
    if pos_weight is None:
        return reduced(weighted(target, softplus(-logits)) + weighted(1 - target, softplus(logits)), reduction, what)
    if not broadcasts(np.shape(pos_weight), np.shape(logits)):
        raise ValueError(
            f"{call(what, (logits, target), {'pos_weight': pos_weight})}: pos_weight must broadcast to the shape of "
            "the logits: (C,) for logits (..., C)"
        )
    first = weighted(pos_weight * target, softplus(-logits))
    return reduced(first + weighted(1 - target, softplus(logits)), reduction, what)


@widened
def kl_div(log_probabilities: Any, target: Any, *, log_target: bool = False, reduction: str = "mean") -> Tensor:
    """The terms t (log t - log p) of the Kullback-Leibler divergence KL(t ‖ p) (1951, equation 2.4), 0 where t = 0.

    Their sum over the last axis is the divergence. So "mean" is too small by a factor of that axis's size, as in
    PyTorch; "batchmean" divides the sum by the size N of the first axis, which gives the mean of the divergences for
    (N, C).

    Args:
        log_probabilities: any shape, log p.
        target: the same shape, the probabilities t, or log t if log_target.
        log_target: whether the target is given as logarithms.
        reduction: "batchmean", "mean", "sum" or "none".

    Raises:
        ValueError: the shapes differ, a target is negative without log_target, or the reduction is unknown.

    Example:
        >>> float(kl_div(np.log([[0.5, 0.5]]), np.array([[1.0, 0.0]]), reduction="batchmean").round(4))
        0.6931
    """
    if reduction not in ("batchmean", "mean", "sum", "none"):
        raise ValueError(f"kl_div(reduction={reduction!r}): must be 'batchmean', 'mean', 'sum' or 'none'")
    check_equal_shapes("kl_div", log_probabilities, target)
    target = floating(target)  # NumPy's logarithms of small integers are float16
    if log_target:
        is_possible = np.logical_not(np.isneginf(target))
        terms = np.exp(target) * (np.where(is_possible, target, 0) - np.where(is_possible, log_probabilities, 0))
    else:
        check_range(target, 0, math.inf, "kl_div: target", "it has probabilities; for logarithms use log_target=True")
        logarithm = np.log(np.where(target == 0, 1, target))
        terms = target * (logarithm - finite_at_zero(target, log_probabilities))
    if reduction != "batchmean":
        return reduced(terms, reduction, "kl_div")
    shape = np.shape(target)
    if not shape or not shape[0]:
        raise ValueError(
            f"{call('kl_div', (log_probabilities, target), {'reduction': reduction})}: expected (N, ...) with "
            "N at least 1, by which the sum is divided; or use reduction='sum'"
        )
    return sum(terms) / shape[0]


@widened
def hinge_loss(scores: Any, target: Any, *, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """max(0, margin - y s), for two classes (Cortes & Vapnik 1995), with derivative 0 at the kink.

    Args:
        scores: any shape, s.
        target: the same shape, y, each -1 or 1.
        margin: the value of y s from which the loss is 0.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: shapes differ, a target is not -1 or 1, or the reduction is unknown.

    Example:
        >>> hinge_loss(np.array([0.25, -3.0, 2.0]), np.array([1, 1, 1]), reduction="none")
        array([0.75, 4.  , 0.  ])
    """
    check_equal_shapes("hinge_loss", scores, target)
    check_signs(target, "hinge_loss")
    target = target if target.dtype.kind == "f" else target.astype(scores.dtype)  # so that float32 stays float32
    return reduced(relu(margin - target * scores), reduction, "hinge_loss")


@widened
def multi_margin_loss(scores: Any, labels: Any, *, p: int = 1, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """Σ max(0, margin - s[label] + s[j])^p / C over the classes j other than the label (Weston & Watkins 1999).

    Args:
        scores: (..., C), s.
        labels: (...) integers in 0 ... C - 1.
        p: 1 or 2.
        margin: the difference to the other scores from which the loss is 0.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: labels are not integers.
        ValueError: shapes do not fit, a label is out of range, or an option is unknown.

    Example:
        >>> multi_margin_loss(np.array([[1.0, 0.5, 3.0, -4.0]]), np.array([0])).tolist()
        0.875
    """
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss(p={p}): must be 1 or 2")
    labels = check_targets(scores, labels, "multi_margin_loss")[..., None]
    excess = relu(margin - take_along_axis(scores, labels, axis=-1) + scores)
    excess = np.where(labels == np.arange(scores.shape[-1]), 0, excess)
    terms = sum(excess if p == 1 else excess * excess, axis=-1) / scores.shape[-1]
    return reduced(terms, reduction, "multi_margin_loss")
