"""Activations of the form x p(x) and x / (1 + |x|) as single primitives.

Where p underflows, x p(x) is 0, too; but -inf times 0 is NaN. So x is bounded before it meets what has underflowed.
Derivatives are written for the whole function: as the sum of a product rule they would cancel where x is large.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.engine.primitive import elementwise
from minigrad.ops.blocks import elementwise_blocks
from minigrad.ops.elementwise import normal_cdf, normal_pdf, sech_squared, sigmoid, sigmoid_slope, softplus
from minigrad.ops.special import normal_values

FAR = 1000.0  # exp(-x) is 0 there, and for half precision it is a number


def _times(x: Any, p: Any, bound: Any) -> Any:
    """x p, where p has underflowed with a bounded x. Arrays are multiplied as they are, unless that gives inf · 0."""
    if type(x) is np.ndarray:
        try:
            with np.errstate(invalid="raise"):
                return x * p
        except FloatingPointError:
            pass
    return bound(x) * p


def _gelu(x: Any, /) -> Any:
    return _times(x, normal_cdf(x), bounded_below)


def _gelu_slope(v: Any, x: Any) -> Any:
    """d(x Φ(x)) = Φ(x) + x φ(x), with φ the density of the standard normal."""
    if type(x) is np.ndarray and x.dtype.char in "fd":
        value, density = normal_values(x)
        return v * (value + _times(x, density, bounded))
    return v * (normal_cdf(x) + bounded(x) * normal_pdf(x))


def _gelu_tanh(x: Any, /) -> Any:
    """½ x (1 + tanh u) = x σ(2u), in which nothing cancels."""
    return _times(x, sigmoid(2 * _near_erf(x)), bounded_below)


def _gelu_tanh_slope(v: Any, x: Any) -> Any:
    near = bounded(x)
    double, slope = 2 * _near_erf(x), math.sqrt(2 / math.pi) * (1 + 0.134145 * (near * near))
    return v * (sigmoid(double) + 2 * near * sigmoid_slope(double) * slope)


def _near_erf(x: Any) -> Any:
    """u = √(2/π) (x + 0.044715 x³); tanh u is nearly erf(x/√2)."""
    x = bounded(x)
    return math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))


def _silu(x: Any, /) -> Any:
    return _times(x, sigmoid(x), bounded_below)


def _mish(x: Any, /) -> Any:
    return _times(x, np.tanh(softplus(x)), bounded_below)


def _mish_slope(v: Any, x: Any) -> Any:
    up = softplus(x)
    return v * (np.tanh(up) + _times(x, sech_squared(up) * sigmoid(x), bounded))


def _softsign(x: Any, /) -> Any:
    largest = float(np.finfo(np.result_type(x, 1.0)).max)  # which takes the place of inf
    x = np.minimum(np.maximum(x, -largest), largest)
    return x / (1 + np.absolute(x))


# x itself, for a factor that is 0 beyond; so nothing is lost where the derivative is not that of the bound.
bounded = elementwise(lambda x, /: np.minimum(np.maximum(x, -FAR), FAR), lambda v: v, name="bounded")
bounded_below = elementwise(lambda x, /: np.maximum(x, -FAR), lambda v: v, name="bounded_below")
gelu_exact = elementwise(elementwise_blocks(_gelu), elementwise_blocks(_gelu_slope))
gelu_by_tanh = elementwise(elementwise_blocks(_gelu_tanh), elementwise_blocks(_gelu_tanh_slope))
silu = elementwise(
    elementwise_blocks(_silu),
    elementwise_blocks(lambda v, x: v * (sigmoid(x) + _times(x, sigmoid_slope(x), bounded))),
    doc="""x · sigmoid(x), also called swish (Elfwing, Uchibe & Doya 2018).""",
)
mish = elementwise(
    elementwise_blocks(_mish),
    elementwise_blocks(_mish_slope),
    doc="""x · tanh(softplus(x)) (Misra 2019, equation 1).""",
)
softsign = elementwise(
    _softsign,
    lambda v, x: v / (1 + np.absolute(x)) / (1 + np.absolute(x)),
    doc="""x / (1 + |x|) (Bergstra et al. 2009).""",
)
