"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.functional.losses.loss_checks import check_reduction, reduced
from minigrad.ops.checking import outside, require, require_range
from minigrad.ops.indexing import integers, take_along_axis
from minigrad.ops.precision import widened
from minigrad.ops.reduction import logsumexp
from minigrad.tensor.tensor import Tensor


@widened
def ctc_loss(
    log_probabilities: Any,
    labels: Any,
    input_lengths: Any,
    label_lengths: Any,
    *,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the total probability of all alignments of the labels (Graves, Fernández, Gomez & Schmidhuber 2006).

    An alignment has a class or the blank at each time; merging repetitions, then dropping blanks, gives the labels. The
    probabilities are summed by the forward recursion (equations 5 to 8) over l′, the labels with blanks around each, in
    logarithms: log αₜ(s) = log p(l′ₛ at t) + log(αₜ₋₁(s) + αₜ₋₁(s - 1) + αₜ₋₁(s - 2)), the last term only where l′ₛ
    is neither blank nor l′ₛ₋₂.

    Args:
        log_probabilities: (N, T, C), the result of log_softmax. PyTorch has (T, N, C).
        labels: (N, L) integers other than blank; those beyond a row's length are ignored.
        input_lengths: (N,), how many of the T times count, at least 1.
        label_lengths: (N,), how many of the L labels count.
        blank: the class that stands for no label.
        reduction: "mean" divides each loss by its number of labels (at least 1) first, as in PyTorch; "sum" or "none".
        zero_infinity: whether the loss is 0 instead of inf where the labels do not fit into the input. The derivative
            is 0 in both cases.

    Raises:
        TypeError: labels or lengths are not integers.
        ValueError: shapes do not fit, a length or a label is out of range, or the reduction is unknown.

    Example:
        >>> p = np.log([[[0.4, 0.6], [0.4, 0.6]]])     # alignments of "1": 11, 1-, -1
        >>> float(np.exp(-ctc_loss(p, np.array([[1]]), np.array([2]), np.array([1]))).round(4))
        0.84
    """
    check_reduction(reduction, "ctc_loss")
    labels, input_lengths, label_lengths = _checked(log_probabilities, labels, input_lengths, label_lengths, blank)
    states = 2 * labels.shape[1] + 1
    s = np.arange(states)
    blanks = np.full_like(labels, blank, shape=(labels.shape[0], 1))
    pairs = np.stack(np.broadcast_arrays(blanks, labels), axis=-1)
    extended = np.concatenate([np.reshape(pairs, (-1, states - 1)) if states > 1 else labels, blanks], axis=1)
    emitted = take_along_axis(log_probabilities, extended[:, None, :], axis=-1)
    alpha = np.where(s < 2, emitted[:, 0], -np.inf)
    beyond = np.full_like(alpha, -np.inf, shape=(labels.shape[0], 2))
    before = np.roll(extended, 2, axis=1)
    jumps = (s % 2 == 1) & (s > 1) & (extended != before)
    for t in range(1, log_probabilities.shape[1]):
        shifted = np.concatenate([beyond, alpha], axis=1)
        previous = np.stack([alpha, shifted[:, 1:-1], np.where(jumps, shifted[:, :-2], -np.inf)])
        alpha = np.where((t < input_lengths)[:, None], emitted[:, t] + logsumexp(previous, axis=0), alpha)
    last = 2 * label_lengths[:, None]
    loss = -logsumexp(np.where((s == last) | (s == last - 1), alpha, -np.inf), axis=-1)
    if zero_infinity:
        loss = np.where(np.isinf(loss), 0, loss)
    if reduction == "mean":
        loss = loss / np.maximum(label_lengths, 1).astype(loss.dtype)
    return reduced(loss, reduction, "ctc_loss")


def _checked(logp: Any, labels: Any, input_lengths: Any, label_lengths: Any, blank: int) -> tuple[Any, Any, Any]:
    """The labels, with blanks beyond their lengths, and the lengths; raises an error if something does not fit."""
    what = call("ctc_loss", (logp, labels, input_lengths, label_lengths), {"blank": blank})
    labels, inputs, counts = (integers(x, "ctc_loss") for x in (labels, input_lengths, label_lengths))
    if logp.ndim != 3 or labels.ndim != 2 or not logp.shape[0] == labels.shape[0] == inputs.size == counts.size:
        raise ValueError(
            f"{what}: expected log-probabilities (N, T, C), labels (N, L) and lengths (N,); "
            "for PyTorch's (T, N, C) use log_probabilities.swapaxes(0, 1)"
        )
    steps, classes = logp.shape[1:]
    if inputs.shape != counts.shape or inputs.ndim != 1:
        raise ValueError(f"{what}: lengths must have the shape ({logp.shape[0]},)")
    if not 0 <= blank < classes:
        raise ValueError(f"{what}: blank must be one of the classes 0 ... {classes - 1}")
    _check_within(inputs, 1, steps, f"{what}: an input length")
    _check_within(counts, 0, labels.shape[1], f"{what}: a label length")
    counted = np.arange(labels.shape[1]) < counts[:, None]
    require(
        lambda labels, counted: ~(counted & (labels == blank)),
        lambda *_: ValueError(f"{what}: a label is the blank, {blank}; blanks belong to the alignment, not to labels"),
        labels,
        counted,
    )
    labels = np.where(counted, labels, blank)
    _check_within(labels, 0, classes - 1, f"{what}: a label")
    return labels, inputs, counts


def _check_within(x: Any, low: int, high: int, what: str) -> None:
    error = lambda x: ValueError(f"{what} is {outside(x, low, high)}; it must be in {low} ... {high}")
    require_range(x, low, high, error)
