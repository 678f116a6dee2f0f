"""What the losses share: checks of their arguments, weights, and reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.primitive import value_of
from minigrad.ops.checking import outside, require, require_range
from minigrad.ops.indexing import integers
from minigrad.ops.reduction import mean, sum


def reduced(loss: Any, reduction: str, what: str) -> Any:
    """The mean of the elements, their sum, or the elements."""
    check_reduction(reduction, what)
    return mean(loss) if reduction == "mean" else sum(loss) if reduction == "sum" else loss


def weighted(weight: Any, x: Any) -> Any:
    """weight · x, 0 with its derivatives where the weight is 0 and x is infinite."""
    return weight * finite_at_zero(weight, x)


def finite_at_zero(weight: Any, x: Any) -> Any:
    """x, but 0 where it is infinite and the weight is 0. A finite x stays: it is the derivative by the weight."""
    return np.where((weight == 0) & np.isinf(x), 0, x)


def check_reduction(reduction: str, what: str) -> None:
    """Raise a ValueError for an unknown reduction."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{what}(reduction={reduction!r}): must be 'mean', 'sum' or 'none'")


def check_equal_shapes(what: str, *operands: Any) -> None:
    """Raise a ValueError for shapes that NumPy would broadcast: (N,) and (N, 1) would give (N, N)."""
    if len({np.shape(x) for x in operands}) > 1:
        raise ValueError(
            f"{call(what, operands, {})}: shapes must be equal; they are not broadcast. "
            "Drop or insert an axis: prediction[:, 0] or target[:, None]."
        )


def check_range(x: Any, low: float, high: float, what: str, hint: str) -> None:
    """Raise a ValueError for values outside [low, high]."""

    def error(x: Any) -> ValueError:
        return ValueError(f"{what} must be in [{low:g}, {high:g}], but is in [{x.min():.4g}, {x.max():.4g}]; {hint}")

    require_range(value_of(x), low, high, error)


def check_signs(target: Any, what: str) -> None:
    """Raise a ValueError for targets other than -1 and 1."""

    def error(target: Any) -> ValueError:
        wrong = target[np.absolute(target) != 1].flat[0]
        return ValueError(f"{what}: targets must be -1 or 1, but one is {wrong}; for 0 and 1 use 2 * target - 1")

    require(lambda target: np.absolute(target) == 1, error, value_of(target))


def check_targets(logits: Any, labels: Any, what: str, ignore_index: int | None = None) -> Any:
    """Class ids for logits, as an array; raises a ValueError if their shape or a label does not fit.

    Labels that are ignore_index become 0.
    """
    shape = np.shape(labels)
    if logits.ndim < 1 or shape != logits.shape[:-1]:
        hint = "; drop the last axis of the labels: labels[:, 0]" if shape == (*logits.shape[:-1], 1) else ""
        raise ValueError(
            f"{call(what, (logits, labels), {})}: expected logits (..., C) and labels (...), one class id per row{hint}"
        )
    if ignore_index is not None:
        labels = integers(labels, what)
        labels = np.where(labels == ignore_index, 0, labels)
    return check_labels(labels, logits.shape[-1], what)


def check_labels(labels: Any, classes: int, what: str) -> Any:
    """Class ids as an array; raises a TypeError unless they are integers, a ValueError if one is out of range."""

    def error(labels: Any) -> ValueError:
        wrong = outside(labels, 0, classes - 1)
        return ValueError(f"{what}: label {wrong} for {classes} classes; labels are 0 ... {classes - 1}")

    labels = integers(labels, what)
    require_range(labels, 0, classes - 1, error)
    return labels


def check_label_smoothing(smoothing: float, what: str) -> None:
    """Raise a ValueError unless the smoothing is in [0, 1)."""
    if not 0 <= smoothing < 1:
        raise ValueError(f"{what}(label_smoothing={smoothing}): must be in [0, 1)")
