"""Losses between embeddings, by their angle or distance."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.functional.losses.loss_checks import check_equal_shapes, check_signs, reduced
from minigrad.ops.activation import relu
from minigrad.ops.norms import vector_norm
from minigrad.ops.precision import floating, widened
from minigrad.ops.reduction import sum
from minigrad.tensor.tensor import Tensor


@widened
def cosine_similarity(x: Any, y: Any, /, *, axis: int = -1, eps: float = 1e-8) -> Tensor:
    """x · y / (max(‖x‖, ε) max(‖y‖, ε)) along an axis; 0, with finite derivatives, where x or y is 0.

    Both vectors are divided by their lengths first, so that no product overflows.

    Args:
        x: any shape.
        y: a shape that broadcasts with x's: (N, 1, D) and (M, D) give all pairs (N, M).
        axis: the axis of the vectors, of the same size in both. The result does not have it.
        eps: the smallest length to divide by.

    Raises:
        ValueError: the shapes do not broadcast.

    Example:
        >>> cosine_similarity(np.array([[3.0, 4.0], [0.0, 2.0]]), np.array([1.0, 0.0]))
        array([0.6, 0. ])
    """
    ndim = max(x.ndim, y.ndim)
    sizes = [np.shape(z)[k] for z in (x, y) if (k := (axis if axis < 0 else axis - ndim)) >= -z.ndim]
    if len(set(sizes)) > 1:
        raise ValueError(
            f"{call('cosine_similarity', (x, y), {'axis': axis})}: vectors of {sizes[0]} and {sizes[1]} elements have "
            "no angle; this axis is not broadcast"
        )
    x, y = (z / np.maximum(vector_norm(z, axis=axis, keepdims=True), eps) for z in (x, floating(y)))
    return sum(x * y, axis=axis)


@widened
def cosine_embedding_loss(x: Any, y: Any, target: Any, *, margin: float = 0.0, reduction: str = "mean") -> Tensor:
    """1 - cos(x, y) for pairs that belong together (1), max(0, cos(x, y) - margin) for those that do not (-1).

    Args:
        x: (..., D)
        y: (..., D), the same shape.
        target: (...), each -1 or 1.
        margin: the cosine up to which the loss of pairs that do not belong together is 0, in [-1, 1].
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: shapes do not fit, a target is not -1 or 1, the margin is out of range, or the reduction unknown.

    Example:
        >>> x, y = np.array([[3.0, 4.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
        >>> cosine_embedding_loss(x, y, np.array([1, -1]), reduction="none")
        array([0.4, 0.6])
    """
    if not -1 <= margin <= 1:
        raise ValueError(f"cosine_embedding_loss(margin={margin}): must be in [-1, 1], as a cosine")
    check_equal_shapes("cosine_embedding_loss", x, y)
    if np.shape(target) != np.shape(x)[:-1]:
        raise ValueError(
            f"{call('cosine_embedding_loss', (x, y, target), {})}: expected x and y (N, D), and targets (N,), one "
            "per pair"
        )
    check_signs(target, "cosine_embedding_loss")
    cosine = cosine_similarity(x, y)
    return reduced(np.where(target > 0, 1 - cosine, relu(cosine - margin)), reduction, "cosine_embedding_loss")


@widened
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    margin: float = 1.0,
    p: float = 2,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, ‖a - p‖ - ‖a - n‖ + margin) (Balntas et al. 2016, equation 3, with their swap as equation 4).

    PyTorch adds 1e-6 to each difference, so that the derivative of the norm is finite at 0. Here it is 0.

    Args:
        anchor: (..., D), a.
        positive: (..., D), p, of the anchor's class.
        negative: (..., D), n, of another class.
        margin: the difference of the distances from which the loss is 0; positive.
        p: the order of the norm ‖·‖ₚ.
        swap: whether to use ‖p - n‖ instead of ‖a - n‖ where it is smaller.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: the shapes differ, the margin is not positive, or the reduction is unknown.

    Example:
        >>> a, p, n = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), np.array([[0.0, 5.5]])
        >>> triplet_margin_loss(a, p, n).tolist()
        0.5
    """
    if not margin > 0:
        raise ValueError(f"triplet_margin_loss(margin={margin}): must be positive")
    check_equal_shapes("triplet_margin_loss", anchor, positive, negative)
    positive, negative = floating(positive), floating(negative)
    near, far = _distance(anchor, positive, p), _distance(anchor, negative, p)
    if swap:
        far = np.minimum(far, _distance(positive, negative, p))
    return reduced(relu(near - far + margin), reduction, "triplet_margin_loss")


def _distance(x: Any, y: Any, p: float) -> Any:
    return vector_norm(x - y, ord=p, axis=-1)
