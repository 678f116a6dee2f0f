"""GELU and softmax as single primitives, whose derivatives were made by hand. `minigrad.fused` lists them."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.primitive import primitive
from minigrad.ops.activation import gelu_by_tanh, gelu_exact
from minigrad.ops.blocks import row_blocks
from minigrad.ops.precision import widened

Array = Any

# GELU


def gelu(x: Any, /, *, approximate: str = "none") -> Any:
    """`functional.gelu` as one primitive: x Φ(x), with Φ the distribution function of the standard normal.

    Only x is kept for the backward pass (Hendrycks & Gimpel 2016):

        exact    y = x Φ(x)                                             dx = dy (Φ(x) + x φ(x))
        tanh     y = x σ(2u)    u = √(2/π) (x + 0.044715 x³)            dx = dy (σ(2u) + x σ'(2u) 2 du/dx)

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
        return gelu_exact(x)
    if approximate == "tanh":
        return gelu_by_tanh(x)
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
    if not x.size:
        return np.copy(x)
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
softmax = primitive(widened(_softmax), widened(_softmax_share))
