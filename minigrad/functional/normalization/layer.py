"""Normalizations of single samples: layer (also as one primitive), RMS, group and instance normalization."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.pairwise import column_sums
from minigrad.engine.primitive import Array, primitive
from minigrad.ops.blocks import row_blocks
from minigrad.ops.precision import widened
from minigrad.ops.reduction import mean
from minigrad.ops.shape import reshape
from minigrad.tensor.naming import name
from minigrad.tensor.tensor import Tensor


@widened
def layer_norm(x: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5, axis: Any = -1) -> Tensor:
    """Layer normalization (Ba, Kiros & Hinton 2016, equations 3 and 4), with mean and variance of each sample.

        μ = mean(x)    σ² = mean((x - μ)²)    x̂ = (x - μ) / √(σ² + ε)    y = γ x̂ + β

    Args:
        x: (..., D), or with several axes instead of D.
        gamma: (D,), the scale, or None for 1.
        beta: (D,), the shift, or None for 0.
        eps: added to the variance, which is the biased one (1/D).
        axis: the trailing axes over which mean and variance are taken.

    Returns:
        y, of x's shape. The nodes of the tape are called mu, var, xhat and y.

    Raises:
        ValueError: axis does not consist of trailing axes; gamma or beta does not have their shape.

    Example:
        >>> layer_norm(np.array([[1.0, 3.0], [-5.0, 5.0]])).round(3)
        array([[-1.,  1.],
               [-1.,  1.]])
    """
    axes = _trailing("layer_norm", x, axis, gamma, beta)
    return _scaled(_standardized(x, axes, eps), gamma, beta)


@widened
def rms_norm(x: Any, gamma: Any = None, *, eps: float = 1e-5, axis: Any = -1) -> Tensor:
    """Root mean square normalization (Zhang & Sennrich 2019, equation 4): layer normalization without the mean.

        r = √(mean(x²) + ε)    x̂ = x / r    y = γ x̂

    Args:
        x: (..., D), or with several axes instead of D.
        gamma: (D,), the scale, or None for 1.
        eps: added to the mean square. PyTorch's default is the machine epsilon of x's dtype.
        axis: the trailing axes over which the mean is taken.

    Returns:
        y, of x's shape. The nodes of the tape are called r, xhat and y.

    Raises:
        ValueError: axis does not consist of trailing axes; gamma does not have their shape.

    Example:
        >>> rms_norm(np.array([3.0, 4.0, 0.0, 0.0])).round(3)
        array([1.2, 1.6, 0. , 0. ])
    """
    axes = _trailing("rms_norm", x, axis, gamma, None)
    r = name("r", np.sqrt(mean(x * x, axis=axes, keepdims=True) + eps))
    return _scaled(name("xhat", x / r, label="x̂"), gamma, None)


@widened
def group_norm(x: Any, gamma: Any = None, beta: Any = None, *, groups: int, eps: float = 1e-5) -> Tensor:
    """Group normalization (Wu & He 2018, equations 1, 2, 6 and 7).

    Mean and variance are those of one sample and one group of C/G neighboring channels, over all positions. groups=1 is
    layer normalization over all axes but the first (with γ and β per channel), groups=C is instance normalization.

    Args:
        x: (N, C) or (N, *spatial, C), channels last.
        gamma: (C,), the scale, or None for 1.
        beta: (C,), the shift, or None for 0.
        groups: G, which divides C.
        eps: added to the variance, which is the biased one.

    Returns:
        y, of x's shape. The nodes of the tape are called mu, var, xhat and y; the first three are grouped,
        (N, positions, G, C/G), with size 1 for the axes over which the mean is taken.

    Raises:
        ValueError: groups does not divide C; gamma or beta is not (C,).

    Example:
        >>> group_norm(np.array([[1.0, 3.0, -5.0, 5.0]]), groups=2).round(3)
        array([[-1.,  1., -1.,  1.]])
    """
    shape = x.shape
    if len(shape) < 2 or groups < 1 or shape[-1] % groups:
        raise ValueError(
            f"{call('group_norm', (x,), {'groups': groups})}: x must be (N, ..., C) with channels last, and groups "
            "must divide C. For (N, C, H, W) write mg.moveaxis(x, 1, -1) first."
        )
    _check_scale("group_norm", x, shape[-1:], gamma, beta)
    grouped = reshape(x, (shape[0], math.prod(shape[1:-1]), groups, shape[-1] // groups))
    return _scaled(reshape(_standardized(grouped, (1, 3), eps), shape), gamma, beta)


@widened
def instance_norm(x: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5) -> Tensor:
    """Instance normalization (Ulyanov, Vedaldi & Lempitsky 2016, equation 4), with mean and variance of each channel.

    Args:
        x: (N, *spatial, C), channels last.
        gamma: (C,), the scale, or None for 1.
        beta: (C,), the shift, or None for 0.
        eps: added to the variance, which is the biased one (1 / positions).

    Returns:
        y, of x's shape. The nodes of the tape are called mu, var, xhat and y.

    Raises:
        ValueError: x has no spatial axis, or only one position, whose variance is 0; gamma or beta is not (C,).

    Example:
        >>> instance_norm(np.array([[[1.0], [3.0]], [[-5.0], [5.0]]])).round(3).ravel()
        array([-1.,  1., -1.,  1.])
    """
    shape = x.shape
    if len(shape) < 3 or math.prod(shape[1:-1]) == 1:
        raise ValueError(
            f"{call('instance_norm', (x,), {})}: x must be (N, *spatial, C) with more than one position, over which "
            "each channel has a mean and a variance. For (N, C) use layer_norm."
        )
    _check_scale("instance_norm", x, shape[-1:], gamma, beta)
    return _scaled(_standardized(x, tuple(range(1, len(shape) - 1)), eps), gamma, beta)


def _standardized(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    """x̂ = (x - μ) / √(σ² + ε), with μ and σ² over the axes."""
    mu = name("mu", mean(x, axis=axes, keepdims=True), label="μ")
    centered = x - mu
    var = name("var", mean(centered * centered, axis=axes, keepdims=True), label="σ²")
    return name("xhat", centered / np.sqrt(var + eps), label="x̂")


def _scaled(xhat: Any, gamma: Any, beta: Any) -> Any:
    """γ x̂ + β, where γ and β may be None."""
    if gamma is None and beta is None:
        return xhat
    y = xhat if gamma is None else gamma * xhat
    return name("y", y if beta is None else y + beta)


def _trailing(what: str, x: Any, axis: Any, gamma: Any, beta: Any) -> tuple[int, ...]:
    """The trailing axes as negative numbers; raises an error for other axes, and for gamma or beta of another shape."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(sorted(k - x.ndim if k >= 0 else k for k in axes))
    if not axes or len(axes) > x.ndim or axes != tuple(range(-len(axes), 0)):
        raise ValueError(
            f"{call(what, (x,), {'axis': axis})}: statistics are taken over trailing axes, such as -1 or (-2, -1). "
            "Move them there first: mg.moveaxis(x, 1, -1)."
        )
    _check_scale(what, x, x.shape[-len(axes) :], gamma, beta)
    return axes


def _check_scale(what: str, x: Any, shape: tuple[int, ...], gamma: Any, beta: Any) -> None:
    for label, value in (("gamma", gamma), ("beta", beta)):
        if value is not None and np.shape(value) != shape:
            raise ValueError(
                f"{call(what, (x,), {label: value})}: {label} must have the shape {shape} of the normalized axes "
                "(channels are last), or be None"
            )


# Layer normalization as one primitive


def _layer_norm(x: Any, gamma: Any, beta: Any, /, *, eps: float = 1e-5) -> tuple[Array, Array, Array]:
    """Layer normalization (Ba, Kiros & Hinton 2016, equations 3 and 4): γ (x - μ) / √(σ² + ε) + β over γ's axes.

    Args:
        x: (..., D), where D stands for the axes of gamma.
        gamma: (D,), or several axes, which are the last of x.
        beta: of gamma's shape.
        eps: added to the variance, which is the biased one (1/D).

    Returns:
        y of x's shape, the mean μ (...), and 1/√(σ² + ε) (...), all differentiable. For float16, only y is float16.

    Example:
        >>> y, mu, istd = fused_layer_norm(np.array([[1.0, 3.0]]), np.array([2.0, 2.0]), np.array([5.0, 5.0]))
        >>> y.round(3), mu
        (array([[3., 7.]]), array([2.]))
    """
    lead = x.ndim - gamma.ndim
    if gamma.ndim < 1 or lead < 0 or gamma.shape != x.shape[lead:] or beta.shape != gamma.shape or not gamma.size:
        raise ValueError("gamma and beta must have the shape of x's trailing axes: x (..., D), gamma (D,), beta (D,)")
    rows, scale, shift = np.reshape(x, (-1, gamma.size)), np.reshape(gamma, (-1,)), np.reshape(beta, (-1,))
    y, mu, istd = _layer_norm_rows(rows, scale, shift, eps)
    return np.reshape(y, x.shape), np.reshape(mu, x.shape[:lead]), np.reshape(istd, x.shape[:lead])


@row_blocks(1)
def _layer_norm_rows(rows: Any, scale: Any, shift: Any, eps: float) -> tuple[Array, Array, Array]:
    ones = np.ones_like(scale)

    def row_means(x: Any) -> Array:  # by a product with ones: BLAS is faster than a sum along the last axis
        return x @ ones / scale.size

    mu = row_means(rows)
    centered = rows - mu[:, None]
    istd = 1 / np.sqrt(row_means(centered * centered) + eps)
    return centered * istd[:, None] * scale + shift, mu, istd


def _layer_norm_contributions(v: Any, x: Any, gamma: Any, mu: Any, istd: Any) -> tuple[Array, Array, Array]:
    """The contributions of x, γ and β, from the cotangents of y, μ and s = 1/√(σ² + ε).

    With c = x - μ, x̂ = s c, means over the row, ∂s/∂x = -s³ c/D and ∂μ/∂x = 1/D:
        dx = s γ dy - s mean(γ dy) - c s³ mean(γ dy c) - c s³ ds/D + dμ/D,    dγ = Σ s dy c,    dβ = Σ dy
    Every mean is a product with γ, and every sum over rows is one with s or with ones.
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


fused_layer_norm = primitive(
    widened(_layer_norm, 1),
    joint=widened(_layer_norm_contributions),
    outputs=("y", "mu", "istd"),
    name="layer_norm",
)
