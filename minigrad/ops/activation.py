"""Activations and their derivatives: relu, sigmoid, softplus, erf, the normal distribution.

Derivatives are primitives of their own where a formula of the value would cancel: 1 - out² has no correct digit where
out is nearly 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.engine.primitive import Function, elementwise
from minigrad.ops.special import (
    erf_values,
    gaussian_values,
    normal_cdf_values,
    normal_pdf_values,
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
