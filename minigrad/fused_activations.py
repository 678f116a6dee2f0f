"""GELU and softmax as single primitives, whose derivatives were made by hand. `minigrad.fused` lists them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.ops.blocks import elementwise_blocks, row_blocks
from minigrad.ops.elementwise import erf
from minigrad.primitive import elementwise, primitive

Array = Any

# GELU


def _gelu(x: Any, /) -> Array:
    return 0.5 * x * (1 + erf(x * (1 / math.sqrt(2))))


def _gelu_share(v: Any, x: Any) -> Array:
    """d(x Φ(x)) = Φ(x) + x φ(x), with φ the density of the standard normal."""
    return v * (0.5 * (1 + erf(x * (1 / math.sqrt(2)))) + x * (np.exp(-0.5 * (x * x)) * (1 / math.sqrt(2 * math.pi))))


def _gelu_tanh(x: Any, /) -> Array:
    return 0.5 * x * (1 + _near_erf(x))


def _gelu_tanh_share(v: Any, x: Any) -> Array:
    """With t = tanh(u): ½ (1 + t) + ½ x (1 - t²) du/dx."""
    t = _near_erf(x)
    return v * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (math.sqrt(2 / math.pi) * (1 + 0.134145 * (x * x))))


def _near_erf(x: Any) -> Any:
    """tanh(u) with u = √(2/π) (x + 0.044715 x³), nearly erf(x/√2)."""
    return np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x)))


_gelu_exact = elementwise(elementwise_blocks(_gelu), elementwise_blocks(_gelu_share))
_gelu_by_tanh = elementwise(elementwise_blocks(_gelu_tanh), elementwise_blocks(_gelu_tanh_share))


def gelu(x: Any, /, *, approximate: str = "none") -> Any:
    """`functional.gelu` as one primitive: x Φ(x), with Φ the distribution function of the standard normal.

    Only x is kept for the backward pass (Hendrycks & Gimpel 2016):

        exact    y = x Φ(x)                                                  dx = dy (Φ(x) + x φ(x))
        tanh     y = ½ x (1 + t)    t = tanh(√(2/π) (x + 0.044715 x³))       dx = dy (½ (1 + t) + ½ x (1 - t²) du/dx)

    Args:
        x: any shape.
        approximate: "none", or "tanh" for the second.

    Raises:
        ValueError: approximate is neither.

    Example:
        >>> gelu(np.array([-1.0, 0.0, 1.0])).round(4)
        array([-0.1587,  0.    ,  0.8413])
    """
    if approximate == "none":
        return _gelu_exact(x)
    if approximate == "tanh":
        return _gelu_by_tanh(x)
    raise ValueError(f"gelu(approximate={approximate!r}): must be 'none' or 'tanh'")


# Softmax


def _softmax(x: Any, /, *, axis: int = -1) -> Array:
    """`functional.softmax` as one primitive: exp(x) / Σ exp(x) along an axis, without overflow.

    Args:
        x: any shape.
        axis: along which the sum is 1.

    Example:
        >>> softmax(np.array([0.0, 0.0, np.log(2)]))
        array([0.25, 0.25, 0.5 ])
    """
    return (_softmax_values if axis in (0, -x.ndim) else _softmax_rows)(x, axis)


def _softmax_share(v: Any, out: Any, axis: int) -> Array:
    """dx = p (dp - Σ dp p), with p the value."""
    return (_softmax_slope if axis in (0, -out.ndim) else _softmax_slope_rows)(v, out, axis)


def _softmax_values(x: Any, axis: int) -> Array:
    p = np.exp(x - np.maximum.reduce(x, axis=axis, keepdims=True))
    return p / np.add.reduce(p, axis=axis, keepdims=True)


def _softmax_slope(v: Any, p: Any, axis: int) -> Array:
    return p * (v - np.add.reduce(v * p, axis=axis, keepdims=True))


_softmax_rows, _softmax_slope_rows = row_blocks(1)(_softmax_values), row_blocks(2)(_softmax_slope)
softmax = primitive(_softmax, _softmax_share)
