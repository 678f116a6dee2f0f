"""The negative log-likelihood of class ids: cross-entropy, composed of primitives and as one primitive."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.primitive import Array, primitive, value_of
from minigrad.functional.activations import log_softmax
from minigrad.functional.losses.loss_checks import (
    check_label_smoothing,
    check_reduction,
    check_targets,
    reduced,
    weighted,
)
from minigrad.ops.checking import require
from minigrad.ops.indexing import getitem, integers, take_along_axis
from minigrad.ops.precision import widened
from minigrad.ops.reduction import mean, sum
from minigrad.ops.shape import reshape
from minigrad.tensor.tensor import Tensor

# The fused loss lays fewer classes than this along the first axis: NumPy's inner loops run along one axis, and the rows
# are then the longer one. That is worth a transposed copy.
FEW_CLASSES = 64


@widened
def cross_entropy(
    logits: Any,
    labels: Any,
    *,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    weight: Any = None,
    ignore_index: int | None = None,
) -> Tensor:
    """The cross-entropy -log softmax(logits)[label].

    With smoothing ε, the label's probability is 1 - ε, and ε is distributed evenly over all C classes (Szegedy et al.
    2016). With class weights w, each term is multiplied by the weight of its class, and the mean divides by Σ
    w[labels]. A term of weight 0 is 0, even if it is infinite. Rows whose label is ignore_index have loss 0 and do not
    count in the mean.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...) integers in 0 ... C - 1.
        reduction: "mean", "sum" or "none".
        label_smoothing: ε in [0, 1).
        weight: (C,) class weights.
        ignore_index: the label of rows to ignore, for example -100 for padding (PyTorch's default), or None.

    Raises:
        TypeError: labels are not integers.
        ValueError: shapes do not fit, a label is out of range, an option is unknown, or all rows of a mean are ignored
            or have weight 0.

    Example:
        >>> float(cross_entropy(np.zeros((2, 4)), np.array([0, 3])).round(4))
        1.3863
    """
    check_label_smoothing(label_smoothing, "cross_entropy")
    ids = check_targets(logits, labels, "cross_entropy", ignore_index)
    logp = log_softmax(logits)
    loss = -take_along_axis(logp, ids[..., None], axis=-1)[..., 0]
    return _combined(loss, logp, ids, labels, weight, ignore_index, label_smoothing, reduction, "cross_entropy")


@widened
def nll_loss(
    log_probabilities: Any,
    labels: Any,
    *,
    reduction: str = "mean",
    weight: Any = None,
    ignore_index: int | None = None,
) -> Tensor:
    """The negative log-likelihood -log p[label]; of log_softmax(logits) it is `cross_entropy`.

    Args:
        log_probabilities: (..., C)
        labels: (...) integers in 0 ... C - 1.
        reduction: "mean", "sum" or "none".
        weight: (C,) class weights, as in `cross_entropy`.
        ignore_index: the label of rows to ignore, or None.

    Raises:
        TypeError: labels are not integers.
        ValueError: shapes do not fit, a label is out of range, an option is unknown, or all rows of a mean are ignored
            or have weight 0.

    Example:
        >>> nll_loss(np.log([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 0]), reduction="none").round(4)
        array([0.6931, 1.3863])
    """
    ids = check_targets(log_probabilities, labels, "nll_loss", ignore_index)
    loss = -take_along_axis(log_probabilities, ids[..., None], axis=-1)[..., 0]
    return _combined(loss, log_probabilities, ids, labels, weight, ignore_index, 0.0, reduction, "nll_loss")


def _combined(
    loss: Any,
    logp: Any,
    ids: Any,
    labels: Any,
    weight: Any,
    ignore_index: int | None,
    smoothing: float,
    reduction: str,
    what: str,
) -> Any:
    """The losses -log p of single rows, with weights and smoothing, without ignored rows, reduced."""
    check_reduction(reduction, what)
    classes = logp.shape[-1]
    if weight is not None:
        if np.shape(weight) != (classes,):
            raise ValueError(
                f"{call(what, (logp, labels), {'weight': weight})}: weight must have the shape ({classes},), "
                "one weight for each class"
            )
        loss = weighted(getitem(weight, index=ids), loss)
        logp = weighted(weight, logp)
    if smoothing:
        loss = (1 - smoothing) * loss - smoothing * mean(logp, axis=-1)
    is_counted = None
    if ignore_index is not None:
        is_counted = integers(labels, what) != ignore_index
        loss = np.where(is_counted, loss, 0)
    if reduction != "mean" or (weight is None and is_counted is None):
        return reduced(loss, reduction, what)
    row_weights = np.ones_like(loss) if weight is None else getitem(weight, index=ids)
    count = sum(row_weights if is_counted is None else np.where(is_counted, row_weights, 0))
    require(
        lambda count: count != 0,
        lambda _: ValueError(
            f"{call(what, (logp, labels), {'weight': weight, 'ignore_index': ignore_index})}: all labels "
            f"{'are ignored' if weight is None else 'are ignored or have weight 0'}, so the mean is undefined; skip "
            "such batches or use reduction='sum'"
        ),
        value_of(count),
    )
    return sum(loss) / count


# One primitive


def _softmax_cross_entropy(logits: Any, labels: Any, /, *, reduction: str = "mean") -> tuple[Array, Array, Array]:
    """The loss, p = softmax(logits), which is nearly its gradient, and 1 - p[label].

    The latter is the sum of the other classes: 1 - p has no correct digit where a label is nearly certain. The loss is
    log(1 + the odds against the label). Where they are large, it is the sum of two terms that are not negative,
    log Σ exp(logits - max) and max - logits[label].
    """
    scores, axis, at_label = _in_fast_layout(logits, labels)
    shifted = scores - np.maximum.reduce(scores, axis=axis, keepdims=True)
    p = np.exp(shifted)
    chosen, others = _split_at_label(p, labels, at_label, axis)
    total = chosen + others
    p = np.divide(p, total if axis == 0 else total[:, None], out=p)
    with np.errstate(divide="ignore", over="ignore"):
        loss = np.where(others <= chosen, np.log1p(others / chosen), np.log(total) - shifted[at_label])
    p, rest = (p.T if axis == 0 else p), others / total
    if reduction == "none":
        return loss, p, rest
    loss = np.add.reduce(loss, axis=0)
    return (loss / labels.shape[0] if reduction == "mean" else loss), p, rest


def _in_fast_layout(logits: Any, labels: Any) -> tuple[Array, int, tuple[Array, Array]]:
    """The logits, transposed if that is faster; the axis of the classes; and the index of each row's label."""
    rows = np.arange(labels.shape[0])
    if type(logits) is np.ndarray and logits.shape[1] < FEW_CLASSES:
        return np.ascontiguousarray(logits.T), 0, (labels, rows)
    return logits, 1, (rows, labels)


def _split_at_label(p: Any, labels: Any, at_label: Any, axis: int) -> tuple[Array, Array]:
    """p at the labels, and the sum over the other classes. An array is changed for a moment, which saves a copy."""
    if type(p) is not np.ndarray:
        return p[at_label], np.add.reduce(np.where(_is_label(labels, p), 0, p), axis=1)
    chosen = p[at_label]
    p[at_label] = 0
    others = np.add.reduce(p, axis=axis)
    p[at_label] = chosen
    return chosen, others


def _is_label(labels: Any, p: Any) -> Array:
    """Whether each class is the label of its row, with the memory layout of p."""
    classes = np.arange(p.shape[-1])
    is_transposed = type(p) is np.ndarray and p.flags.fnc
    return (classes[:, None] == labels).T if is_transposed else labels[:, None] == classes


def _softmax_cross_entropy_contributions(v: Any, labels: Any, p: Any, rest: Any, reduction: str) -> tuple[Array, None]:
    """(p - one_hot(labels)) dl, and through p itself p (dp - Σ dp p). p - 1 at the labels is minus the rest."""
    dloss, dp, drest = v
    contribution = None
    is_label = _is_label(labels, p)
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


def softmax_cross_entropy(logits: Any, labels: Any, /, *, reduction: str = "mean") -> Tensor:
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
