"""Losses between numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.functional.losses.loss_checks import check_equal_shapes, reduced
from minigrad.ops.elementwise import clip
from minigrad.ops.precision import widened
from minigrad.tensor.tensor import Tensor


@widened
def mse_loss(prediction: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """(prediction - target)², of equal shapes.

    Args:
        prediction: any shape.
        target: the same shape.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: the shapes differ. (N,) against (N, 1) would broadcast to (N, N).
    """
    return reduced(np.square(_difference("mse_loss", prediction, target)), reduction, "mse_loss")


@widened
def l1_loss(prediction: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """|prediction - target|, with derivative 0 where they are equal.

    Args:
        prediction: any shape.
        target: the same shape.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: the shapes differ, or the reduction is unknown.

    Example:
        >>> l1_loss(np.array([1.0, -2.0]), np.zeros(2), reduction="sum").tolist()
        3.0
    """
    return reduced(np.absolute(_difference("l1_loss", prediction, target)), reduction, "l1_loss")


@widened
def huber_loss(prediction: Any, target: Any, *, delta: float = 1.0, reduction: str = "mean") -> Tensor:
    """½ d² where |d| = |prediction - target| is at most δ, and δ (|d| - ½ δ) beyond (Huber 1964, with k = δ).

    Args:
        prediction: any shape.
        target: the same shape.
        delta: δ > 0, where the parabola becomes a line.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: δ is not positive, the shapes differ, or the reduction is unknown.

    Example:
        >>> huber_loss(np.array([0.5, 3.0]), np.zeros(2), reduction="none")
        array([0.125, 2.5  ])
    """
    if not delta > 0:
        raise ValueError(f"huber_loss(delta={delta}): must be positive")
    return reduced(_huber(_difference("huber_loss", prediction, target), delta), reduction, "huber_loss")


@widened
def smooth_l1_loss(prediction: Any, target: Any, *, beta: float = 1.0, reduction: str = "mean") -> Tensor:
    """½ d² / β where |d| = |prediction - target| is at most β, and |d| - ½ β beyond (Girshick 2015, equation 3).

    It is huber_loss with δ = β, divided by β, and approaches l1_loss as β goes to 0.

    Args:
        prediction: any shape.
        target: the same shape.
        beta: β >= 0; with 0 it is l1_loss.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: β is negative, the shapes differ, or the reduction is unknown.

    Example:
        >>> smooth_l1_loss(np.array([0.5, 3.0]), np.zeros(2), beta=2.0, reduction="none")
        array([0.0625, 2.    ])
    """
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss(beta={beta}): must not be negative")
    d = _difference("smooth_l1_loss", prediction, target)
    return reduced(_huber(d, beta) / beta if beta else np.absolute(d), reduction, "smooth_l1_loss")


def _difference(what: str, prediction: Any, target: Any) -> Any:
    check_equal_shapes(what, prediction, target)
    return prediction - target


def _huber(d: Any, delta: float) -> Any:
    """Both branches as ½ c² + δ |d - c|, with c = d clipped to [-δ, δ]: an infinity is never multiplied by 0."""
    c = clip(d, -delta, delta)
    return 0.5 * (c * c) + delta * np.absolute(d - c)
