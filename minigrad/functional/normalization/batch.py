"""Batch normalization: in training, composed of primitives and as one primitive, and with given statistics."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.pairwise import column_sums
from minigrad.engine.primitive import Array, primitive
from minigrad.ops.precision import widened
from minigrad.ops.product import rows_of
from minigrad.ops.reduction import mean
from minigrad.tensor.naming import name
from minigrad.tensor.tensor import Tensor


@widened
def batch_norm(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5, axis: Any = None) -> Tensor:
    """Batch normalization in training (Ioffe & Szegedy 2015, algorithm 1).

        μ = mean(x)    σ² = mean((x - μ)²)    x̂ = (x - μ) / √(σ² + ε)    y = γ x̂ + β

    Args:
        x: (N, C) or (N, ..., C), channels last.
        gamma: (C,), the scale.
        beta: (C,), the shift.
        eps: added to the variance, which is the biased one (1/N).
        axis: the leading axes over which mean and variance are taken; by default all but the last.

    Returns:
        y, of x's shape. The nodes of the tape are called mu, var, xhat and y.

    Raises:
        ValueError: axis does not consist of leading axes; shapes do not fit.

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
            f"{call('batch_norm', (x,), {'axis': axis})}: statistics are taken over leading axes, and channels are the "
            "last axis. Move it there first: mg.moveaxis(x, 1, -1) for (N, C, H, W); x[:, None] for a single feature."
        )
    return axes if len(axes) > 1 else axes[0]


@widened
def batch_norm_inference(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float = 1e-5) -> Tensor:
    """Batch normalization with given statistics, γ (x - mean) / √(var + ε) + β, as in a trained network.

    Args:
        x: (..., C)
        gamma: (C,)
        beta: (C,)
        mean: (C,)
        var: (C,)
        eps: added to the variance.
    """
    return (x - mean) * (gamma / np.sqrt(var + eps)) + beta


# One primitive


def _batch_norm(x: Any, gamma: Any, beta: Any, /, *, eps: float = 1e-5) -> tuple[Array, Array, Array, Array]:
    """Batch normalization in training (Ioffe & Szegedy 2015): γ (x - μ) / √(σ² + ε) + β over all axes but the last.

    Args:
        x: (N, ..., C)
        gamma: (C,)
        beta: (C,)
        eps: added to the variance, which is the biased one (1/N).

    Returns:
        y of x's shape, the mean μ (C,), the variance σ² (C,), and 1/√(σ² + ε) (C,), all differentiable. For float16,
        only y is float16, and the others are float32.

    Example:
        >>> y, mu, var, _ = fused_batch_norm(np.array([[1.0], [3.0]]), np.array([2.0]), np.array([5.0]))
        >>> y.round(3), mu, var
        (array([[3.],
               [7.]]), array([2.]), array([1.]))
    """
    channels = x.shape[-1:]
    if x.ndim < 2 or gamma.shape != channels or beta.shape != channels:
        raise ValueError("channels are last: expected x (N, ..., C), gamma (C,) and beta (C,)")
    rows = rows_of(x)
    mu = column_means(rows)
    centered = rows - mu
    var = column_means(centered * centered)
    istd = 1 / np.sqrt(var + eps)
    scale = gamma * istd
    if centered.dtype == scale.dtype == beta.dtype:
        y = np.multiply(centered, scale, out=centered)
        y = np.add(y, beta, out=y)
    else:
        y = centered * scale + beta
    return np.reshape(y, x.shape) if x.ndim > 2 else y, mu, var, istd


def column_means(rows: Any) -> Array:
    """The mean of each column."""
    return column_sums(rows) / rows.shape[0]


def _batch_norm_contributions(v: Any, x: Any, gamma: Any, mu: Any, istd: Any) -> tuple[Array, Array, Array]:
    """The contributions of x, γ and β, from the cotangents of y, μ, σ² and s = 1/√(σ² + ε).

    With the cotangents dy, dμ, dσ², ds, and dβ = Σ dy, dγ = s Σ dy (x - μ), ∂s/∂σ² = -s³/2, ∂σ²/∂x = 2 (x - μ)/N:
        dx = γ s dy - ((x - μ) γ s² dγ/N + γ s dβ/N) + dμ/N + 2 (x - μ) (dσ² - s³ ds/2)/N
    """
    dy, dmu, dvar, distd = v
    rows = rows_of(x)
    count = rows.shape[0]
    centered = rows - mu
    dx: Any = None
    dgamma, dbeta = None, None
    if dy is not None:
        dy = rows_of(dy)
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


# Of float16, the statistics stay float32: a variance exceeds 65504 soon.
fused_batch_norm = primitive(
    widened(_batch_norm, 1),
    joint=widened(_batch_norm_contributions),
    outputs=("y", "mu", "var", "istd"),
    name="batch_norm",
)
