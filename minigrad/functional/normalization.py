"""Normalizations, composed of primitives, with names on their nodes. Channels are last.

`minigrad.functional` lists these functions; `minigrad.fused` has batch and layer normalization as single primitives.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.ops.precision import widened
from minigrad.ops.reduction import mean
from minigrad.ops.shape import reshape
from minigrad.tensor.naming import name


@widened
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
        y, of x's shape. The nodes of the tape are called mu, var, xhat and y.

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


@widened
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


@widened
def layer_norm(x: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5, axis: Any = -1) -> Any:
    """Layer normalization (Ba, Kiros & Hinton 2016, equations 3 and 4): every sample has its own mean and variance.

        μ = mean(x)    σ² = mean((x - μ)²)    x̂ = (x - μ) / √(σ² + ε)    y = γ x̂ + β

    Args:
        x: (..., D), or with several axes in place of D.
        gamma: (D,), the scale, or None for 1.
        beta: (D,), the shift, or None for 0.
        eps: added to the variance, which is the biased one (1/D).
        axis: the trailing axes to take mean and variance over.

    Returns:
        y, of x's shape. The nodes of the tape are called mu, var, xhat and y.

    Raises:
        ValueError: axis is not made of trailing axes; gamma or beta does not have their shape.

    Example:
        >>> layer_norm(np.array([[1.0, 3.0], [-5.0, 5.0]])).round(3)
        array([[-1.,  1.],
               [-1.,  1.]])
    """
    axes = _trailing("layer_norm", x, axis, gamma, beta)
    return _scaled(_standardized(x, axes, eps), gamma, beta)


@widened
def rms_norm(x: Any, gamma: Any = None, *, eps: float = 1e-5, axis: Any = -1) -> Any:
    """Root mean square normalization (Zhang & Sennrich 2019, equation 4): layer normalization without the mean.

        r = √(mean(x²) + ε)    x̂ = x / r    y = γ x̂

    Args:
        x: (..., D), or with several axes in place of D.
        gamma: (D,), the scale, or None for 1.
        eps: added to the mean square. PyTorch's default is the machine epsilon of x's dtype.
        axis: the trailing axes to take the mean over.

    Returns:
        y, of x's shape. The nodes of the tape are called r, xhat and y.

    Raises:
        ValueError: axis is not made of trailing axes; gamma does not have their shape.

    Example:
        >>> rms_norm(np.array([3.0, 4.0, 0.0, 0.0])).round(3)
        array([1.2, 1.6, 0. , 0. ])
    """
    axes = _trailing("rms_norm", x, axis, gamma, None)
    r = name("r", np.sqrt(mean(x * x, axis=axes, keepdims=True) + eps))
    return _scaled(name("xhat", x / r, label="x̂"), gamma, None)


@widened
def group_norm(x: Any, gamma: Any = None, beta: Any = None, *, groups: int, eps: float = 1e-5) -> Any:
    """Group normalization (Wu & He 2018, equations 1, 2, 6 and 7).

    Mean and variance belong to one sample and one group of C/G neighboring channels, over all positions. groups=1 is
    layer normalization over all axes but the first (with γ and β by channel), groups=C is instance normalization.

    Args:
        x: (N, C) or (N, *spatial, C), channels last.
        gamma: (C,), the scale, or None for 1.
        beta: (C,), the shift, or None for 0.
        groups: G, which divides C.
        eps: added to the variance, which is the biased one.

    Returns:
        y, of x's shape. The nodes of the tape are called mu, var, xhat and y; the first three are grouped,
        (N, positions, G, C/G) with 1 in place of what the mean is taken over.

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
def instance_norm(x: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5) -> Any:
    """Instance normalization (Ulyanov, Vedaldi & Lempitsky 2016, equation 4): each channel of each sample by itself.

    Args:
        x: (N, *spatial, C), channels last.
        gamma: (C,), the scale, or None for 1.
        beta: (C,), the shift, or None for 0.
        eps: added to the variance, which is the biased one (1 / positions).

    Returns:
        y, of x's shape. The nodes of the tape are called mu, var, xhat and y.

    Raises:
        ValueError: x has no spatial axis, or only one position, which has no variance; gamma or beta is not (C,).

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
    """γ x̂ + β, without what is None."""
    if gamma is None and beta is None:
        return xhat
    y = xhat if gamma is None else gamma * xhat
    return name("y", y if beta is None else y + beta)


def _trailing(what: str, x: Any, axis: Any, gamma: Any, beta: Any) -> tuple[int, ...]:
    """The trailing axes as negative numbers; refuses others, and a gamma or beta that does not have their shape."""
    given = axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(sorted(k - x.ndim if k >= 0 else k for k in given))
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
                f"{call(what, (x,), {label: value})}: {label} must have the shape {shape}, that of what is normalized "
                "(channels are last), or be None"
            )
