"""Activations and their derivatives: relu, sigmoid, softplus, erf, the normal distribution; gelu, silu, mish, softsign.

Derivatives are primitives of their own where a formula of the value would cancel: 1 - out² has no correct digit where
out is nearly 1. What is composed of primitives (softmax, elu, selu, ...) is in functional/activations.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.engine.primitive import Function, elementwise
from minigrad.ops.blocks import elementwise_blocks
from minigrad.ops.special import (
    erf_values,
    gaussian_values,
    normal_cdf_values,
    normal_pdf_values,
    normal_values,
    relu_values,
    sech_squared_values,
    sigmoid_slope_values,
    sigmoid_values,
    softplus_values,
)


def unrecorded(x: Any, values: Any, recorded: Any) -> Any:
    """values(x) of a plain array or number, without the overhead of the primitive; recorded(x) of anything else."""
    return values(x) if type(x) is np.ndarray or type(x) is np.float64 else recorded(x)


relu = elementwise(
    relu_values, lambda v, out: v * (out > 0), name="relu", doc="max(x, 0)", derivative="1 for x > 0, else 0"
)
sigmoid = elementwise(
    sigmoid_values,
    lambda v, x: v * unrecorded(x, sigmoid_slope_values, sigmoid_slope),
    name="sigmoid",
    doc="1/(1 + exp(-x)), without overflow",
    derivative="σ(x) (1 - σ(x))",
    analytic=True,
)
softplus = elementwise(
    softplus_values,
    lambda v, x: v * sigmoid(x),
    name="softplus",
    doc="log(1 + exp x), without overflow",
    derivative="1/(1 + exp(-x))",
    analytic=True,
)
erf = elementwise(
    erf_values,
    lambda v, x: v * ((2 / math.sqrt(math.pi)) * gaussian(x)),  # type: ignore[operator]  # Tensor comes after this file
    name="erf",
    doc="the error function 2/√π ∫₀ˣ exp(-t²) dt (Cody 1969)",
    derivative="2/√π exp(-x²)",
)
normal_cdf = elementwise(
    normal_cdf_values,
    lambda v, x: v * normal_pdf(x),
    name="normal_cdf",
    doc="the distribution function Φ of the standard normal",
    derivative="exp(-x²/2)/√(2π)",
)

# Derivatives
sigmoid_slope: Function = elementwise(
    sigmoid_slope_values,
    lambda v, x, out: -v * out * np.tanh(0.5 * x),
    name="sigmoid_slope",
    doc="σ(x) (1 - σ(x)), the derivative of the sigmoid",
    derivative="-tanh(x/2) times the value",
)
sech_squared: Function = elementwise(
    sech_squared_values,
    lambda v, x, out: v * (-2 * out * np.tanh(x)),
    name="sech_squared",
    doc="1 - tanh² x, the derivative of the hyperbolic tangent",
    derivative="-2 tanh(x) times the value",
)
gaussian: Function = elementwise(
    gaussian_values,
    lambda v, x, out: v * (-2 * out * x),
    name="gaussian",
    doc="exp(-x²), without the error of a rounded square",
    derivative="-2x exp(-x²)",
)
normal_pdf: Function = elementwise(
    normal_pdf_values,
    lambda v, x, out: -v * out * x,
    name="normal_pdf",
    doc="exp(-x²/2)/√(2π), the density of the standard normal",
    derivative="-x times the value",
)


# Activations of the form x p(x), which are GELU, SiLU and Mish, and x / (1 + |x|). The derivative of x p(x) has one
# formula for the whole function, as the terms of a product rule would cancel where x is large. Where p underflows,
# x p(x) is 0, too; but -inf times 0 is NaN. So x is bounded before it is multiplied by a factor that may have
# underflowed.

LARGE = 1000.0  # exp(-LARGE) is 0, and half precision can represent LARGE

# x itself, as the factor of a number that is 0 beyond the bound. The derivative is 1 beyond it, too: nothing is lost.
bounded = elementwise(lambda x, /: np.minimum(np.maximum(x, -LARGE), LARGE), lambda v: v, name="bounded")
bounded_below = elementwise(lambda x, /: np.maximum(x, -LARGE), lambda v: v, name="bounded_below")


def _times(x: Any, p: Any, bound: Any) -> Any:
    """x p, with x bounded where p has underflowed. Arrays are multiplied as they are, unless that gives inf · 0."""
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
        cdf, pdf = normal_values(x)
        return v * (cdf + _times(x, pdf, bounded))
    return v * (normal_cdf(x) + bounded(x) * normal_pdf(x))


def _gelu_tanh(x: Any, /) -> Any:
    """½ x (1 + tanh u) = x σ(2u), in which nothing cancels."""
    return _times(x, sigmoid(2 * _tanh_argument(x)), bounded_below)


def _gelu_tanh_slope(v: Any, x: Any) -> Any:
    near = bounded(x)
    double, slope = 2 * _tanh_argument(x), math.sqrt(2 / math.pi) * (1 + 0.134145 * (near * near))
    return v * (sigmoid(double) + 2 * near * sigmoid_slope(double) * slope)


def _tanh_argument(x: Any) -> Any:
    """u = √(2/π) (x + 0.044715 x³); tanh u is close to erf(x/√2)."""
    x = bounded(x)
    return math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))


def _silu(x: Any, /) -> Any:
    return _times(x, sigmoid(x), bounded_below)


def _mish(x: Any, /) -> Any:
    return _times(x, np.tanh(softplus(x)), bounded_below)


def _mish_slope(v: Any, x: Any) -> Any:
    s = softplus(x)
    return v * (np.tanh(s) + _times(x, sech_squared(s) * sigmoid(x), bounded))


def _softsign(x: Any, /) -> Any:
    largest = float(np.finfo(np.result_type(x, 1.0)).max)  # instead of inf: inf / inf is NaN
    x = np.minimum(np.maximum(x, -largest), largest)
    return x / (1 + np.absolute(x))


gelu_exact = elementwise(elementwise_blocks(_gelu), elementwise_blocks(_gelu_slope))
gelu_by_tanh = elementwise(elementwise_blocks(_gelu_tanh), elementwise_blocks(_gelu_tanh_slope))
silu = elementwise(
    elementwise_blocks(_silu),
    elementwise_blocks(lambda v, x: v * (sigmoid(x) + _times(x, sigmoid_slope(x), bounded))),
    doc="x · sigmoid(x), also called swish (Elfwing, Uchibe & Doya 2018)",
    derivative="σ(x) + x σ'(x)",
    analytic=True,
)
mish = elementwise(
    elementwise_blocks(_mish),
    elementwise_blocks(_mish_slope),
    doc="x · tanh(softplus(x)) (Misra 2019, equation 1)",
    derivative="tanh s + x σ(x) (1 - tanh² s), with s = softplus(x)",
)
softsign = elementwise(
    _softsign,
    lambda v, x: v / (1 + np.absolute(x)) / (1 + np.absolute(x)),
    doc="x / (1 + |x|) (Bergstra et al. 2009)",
    derivative="1/(1 + |x|)²",
)
