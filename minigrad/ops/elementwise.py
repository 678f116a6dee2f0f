"""Elementwise functions: arithmetic, powers, exponentials, logarithms, trigonometry, and choices between operands.

A rule is called with v, the vector that it transforms, and what it names: operands x, y and the value out.
Where a derivative does not exist, docs/conventions.md decides: relu'(0) = 0, ties share evenly, clip is closed.
Factors of ½ are Python numbers and masks multiply, so that float32 stays float32.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.engine.primitive import elementwise, tensor_function
from minigrad.ops.activation import sech_squared, sigmoid, unrecorded
from minigrad.ops.cofactor import cofactor
from minigrad.ops.special import sech_squared_values

# Arithmetic
add = elementwise(np.add, lambda v: v, lambda v: v, doc="x + y", derivative="∂/∂x = ∂/∂y = 1", analytic=True)
subtract = elementwise(
    np.subtract, lambda v: v, lambda v: -v, doc="x - y", derivative="∂/∂x = 1, ∂/∂y = -1", analytic=True
)
multiply = elementwise(
    np.multiply, lambda v, y: v * y, lambda v, x: v * x, doc="x y", derivative="∂/∂x = y, ∂/∂y = x", analytic=True
)
divide = elementwise(
    np.divide,
    lambda v, y: v / y,
    lambda v, out, y: -v * out / y,
    doc="x / y",
    derivative="∂/∂x = 1/y, ∂/∂y = -x/y²",
    analytic=True,
)
negative = elementwise(np.negative, lambda v: -v, doc="-x", derivative="-1", analytic=True)
positive = elementwise(np.positive, lambda v: v, doc="+x", derivative="1", analytic=True)
reciprocal = elementwise(np.reciprocal, lambda v, out: -v * out * out, doc="1 / x", derivative="-1/x²", analytic=True)
square = elementwise(np.square, lambda v, x: v * (2 * x), doc="x²", derivative="2x", analytic=True)
abs = elementwise(np.absolute, lambda v, x: v * np.sign(x), name="abs", doc="|x|", derivative="sign x, 0 at 0")
hypot = elementwise(
    np.hypot,
    lambda v, x, out: along(v, x, out),
    lambda v, y, out: along(v, y, out),
    signature="(x, y, /)",
    doc="√(x² + y²), without overflow",
    derivative="∂/∂x = x/√(x² + y²), likewise for y; 0 at the origin",
)
quotient = elementwise(
    lambda x, y, /: x / (y + (y == 0)),
    lambda v, y: _over(v, y),
    lambda v, out, y: -_over(v * out, y),
    name="quotient",
    doc="x / y, but 0 where x and y are 0",
    derivative="as of x / y: at y = 0 they are infinite or NaN",
)
remainder = elementwise(
    np.remainder,
    lambda v: v,
    lambda v, x, y: -v * np.floor_divide(x, y),
    doc="x - y ⌊x/y⌋, with the sign of y",
    derivative="∂/∂x = 1, ∂/∂y = -⌊x/y⌋",
)
fmod = elementwise(
    np.fmod,
    lambda v: v,
    lambda v, x, y, out: -v * np.rint((x - out) / y),
    doc="x - y trunc(x/y), with the sign of x",
    derivative="∂/∂x = 1, ∂/∂y = -trunc(x/y)",
)

# Powers, exponentials, logarithms
power = elementwise(
    np.power,
    lambda v, x, y: v * _power_slope(x, y),
    lambda v, x, out: v * out * _log(x),
    doc="x to the power y",
    derivative="∂/∂x = y xʸ⁻¹, ∂/∂y = xʸ log x, 0 at x = 0",
    analytic=True,
)
sqrt = elementwise(
    np.sqrt, lambda v, out: v / (2 * out), doc="the square root of x", derivative="1/(2√x), inf at 0", analytic=True
)
cbrt = elementwise(np.cbrt, lambda v, out: v / (3 * out * out), doc="the cube root of x", derivative="1/(3 x^(2/3))")
exp = elementwise(np.exp, lambda v, out: v * out, doc="e to the power x", derivative="exp x", analytic=True)
exp2 = elementwise(
    np.exp2, lambda v, out: v * (out * math.log(2)), doc="2 to the power x", derivative="2ˣ log 2", analytic=True
)
expm1 = elementwise(
    np.expm1, lambda v, x: v * np.exp(x), doc="exp(x) - 1, accurate for small x", derivative="exp x", analytic=True
)
log = elementwise(np.log, lambda v, x: v / x, doc="the natural logarithm of x", derivative="1/x", analytic=True)
log2 = elementwise(
    np.log2,
    lambda v, x: v * (1 / math.log(2)) / x,
    doc="the logarithm of x to base 2",
    derivative="1/(x log 2)",
    analytic=True,
)
log10 = elementwise(
    np.log10,
    lambda v, x: v * (1 / math.log(10)) / x,
    doc="the logarithm of x to base 10",
    derivative="1/(x log 10)",
    analytic=True,
)
log1p = elementwise(
    np.log1p, lambda v, x: v / (1 + x), doc="log(1 + x), accurate for small x", derivative="1/(1 + x)", analytic=True
)
logaddexp = elementwise(
    np.logaddexp,
    lambda v, x, y: v * _softmax_of_pair(x, y),
    lambda v, x, y: v * _softmax_of_pair(y, x),
    doc="log(exp x + exp y), without overflow",
    derivative="∂/∂x = exp x/(exp x + exp y), likewise for y",
)

# Trigonometric and hyperbolic functions
sin = elementwise(np.sin, lambda v, x: v * np.cos(x), doc="the sine of x in radians", derivative="cos x", analytic=True)
cos = elementwise(
    np.cos, lambda v, x: -v * np.sin(x), doc="the cosine of x in radians", derivative="-sin x", analytic=True
)
tan = elementwise(
    np.tan,
    lambda v, out: v * (1 + out * out),
    doc="the tangent of x in radians",
    derivative="1 + tan² x",
    analytic=True,
)
arcsin = elementwise(
    np.arcsin,
    lambda v, x: v / np.sqrt((1 - x) * (1 + x)),
    doc="the angle in [-π/2, π/2] whose sine is x",
    derivative="1/√(1 - x²)",
    analytic=True,
)
arccos = elementwise(
    np.arccos,
    lambda v, x: -v / np.sqrt((1 - x) * (1 + x)),
    doc="the angle in [0, π] whose cosine is x",
    derivative="-1/√(1 - x²)",
    analytic=True,
)
arctan = elementwise(
    np.arctan,
    lambda v, x: v / np.hypot(1, x) / np.hypot(1, x),
    doc="the angle in [-π/2, π/2] whose tangent is x",
    derivative="1/(1 + x²)",
    analytic=True,
)
arctan2 = elementwise(
    np.arctan2,
    lambda v, x, y: v * _over_squared_length(y, x),
    lambda v, x, y: -v * _over_squared_length(x, y),
    doc="the angle of the point (y, x), x its height",
    derivative="∂/∂x = y/(x² + y²), ∂/∂y = -x/(x² + y²); 0 at the origin",
)
sinh = elementwise(
    np.sinh, lambda v, x: v * np.cosh(x), doc="the hyperbolic sine of x", derivative="cosh x", analytic=True
)
cosh = elementwise(
    np.cosh, lambda v, x: v * np.sinh(x), doc="the hyperbolic cosine of x", derivative="sinh x", analytic=True
)
tanh = elementwise(
    np.tanh,
    lambda v, x: v * unrecorded(x, sech_squared_values, sech_squared),
    doc="the hyperbolic tangent of x",
    derivative="1 - tanh² x",
    analytic=True,
)
arcsinh = elementwise(
    np.arcsinh,
    lambda v, x: v / np.hypot(1, x),
    doc="the number whose hyperbolic sine is x",
    derivative="1/√(1 + x²)",
    analytic=True,
)
arccosh = elementwise(
    np.arccosh,
    lambda v, x: v / (np.sqrt(x - 1) * np.sqrt(x + 1)),
    doc="the number >= 0 whose hyperbolic cosine is x",
    derivative="1/√(x² - 1)",
    analytic=True,
)
arctanh = elementwise(
    np.arctanh,
    lambda v, x: v / ((1 - x) * (1 + x)),
    doc="the number whose hyperbolic tangent is x",
    derivative="1/(1 - x²)",
    analytic=True,
)

# Choices
where = elementwise(
    np.where,
    None,
    lambda v, condition: np.where(condition, v, 0),
    lambda v, condition: np.where(condition, 0, v),
    signature="(condition, x, y, /)",
    doc="x where the condition is true, else y",
    derivative="1 for the one chosen, 0 for the other",
    analytic=True,
)
maximum = elementwise(
    np.maximum,
    lambda v, x, y: _choice(v, x > y, x == y),
    lambda v, x, y: _choice(v, y > x, x == y),
    doc="the larger of x and y",
    derivative="1 for the larger, 0 for the smaller, ½ for each at a tie",
)
minimum = elementwise(
    np.minimum,
    lambda v, x, y: _choice(v, x < y, x == y),
    lambda v, x, y: _choice(v, y < x, x == y),
    doc="the smaller of x and y",
    derivative="1 for the smaller, 0 for the larger, ½ for each at a tie",
)
clip_between = elementwise(
    lambda x, min, max, /: np.minimum(np.maximum(x, min), max),
    lambda v, x, min, max: v * ((x >= min) & (x <= max)),
    lambda v, x, min, max: v * ((x < min) & (min < max)),
    lambda v, x, max, min: v * ((x > max) | (min > max) | ((min == max) & (x < max))),
    name="clip",
)
nextafter = elementwise(
    np.nextafter,
    lambda v: v,
    None,
    doc="the next floating-point number after x in the direction of y",
    derivative="∂/∂x = 1",
)
copysign = elementwise(
    np.copysign,
    lambda v, x, out: v * (np.sign(x) * np.sign(out)),
    None,
    doc="|x| with the sign of y",
    derivative="∂/∂x = sign(x) sign(y), 0 at 0",
)


@tensor_function
def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """x clipped to [min, max]; the gradient passes where x lies in the closed interval."""
    if min is None and max is None:
        return positive(x)
    dtype = np.result_type(x)
    lowest, highest = -math.inf, math.inf
    if dtype.kind in "iu":
        lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
    elif dtype.kind == "b":
        lowest, highest = False, True
    return clip_between(x, lowest if min is None else min, highest if max is None else max)


def along(v: Any, x: Any, length: Any) -> Any:
    """v x / length, 0 where the length is 0: the gradient of a norm, chosen to be 0 at the origin.

    A norm has no second derivative there; this formula would give inf or NaN. Its square has one. So where v was
    recorded as a multiple of the length, as in (norm ** 2).backward(), there is no division.
    """
    if type(length) is np.ndarray or type(length) is np.float64:
        return v * (x / (length + (length == 0)))
    multiple = cofactor(v, length)
    return v * quotient(x, length) if multiple is None else multiple * x


def _power_slope(x: Any, y: Any) -> Any:
    """y x^(y-1), 0 at x = y = 0. For a Python number y = 0, which has no derivative, it is 0 everywhere."""
    if isinstance(y, (int, float)):
        return y * x ** (y - (y != 0))
    return y * x ** (y - 1 + ((x == 0) & (y == 0)))


def _log(x: Any) -> Any:
    """log x, but 0 at x = 0, where the derivative of 0**y is 0. A Python number for a Python number."""
    if isinstance(x, (int, float)):
        return math.log(x) if x > 0 else 0.0 if x == 0 else math.nan
    return np.log(x + (x == 0))


def _over(v: Any, y: Any) -> Any:
    """v / y without warnings, as a quotient also has derivatives that are not used."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return v / y


def _softmax_of_pair(x: Any, y: Any) -> Any:
    """exp(x) / (exp(x) + exp(y)): for equal infinities ½ if they are positive, 0 if they are negative."""
    with np.errstate(invalid="ignore"):
        difference = x - y
    return np.where(np.isneginf(x), 0, sigmoid(np.where((x == y) & np.isinf(x), 0, difference)))


def _over_squared_length(x: Any, y: Any) -> Any:
    """x / (x² + y²), 0 at the origin, divided by the length twice so that no square overflows."""
    length = np.hypot(x, y)
    length = length + (length == 0)
    return x / length / length


def _choice(v: Any, is_chosen: Any, is_tie: Any) -> Any:
    """v where the operand is chosen, ½ v at a tie, else 0."""
    return np.where(is_tie, 0.5 * v, v * is_chosen)
