"""Elementwise functions.

A rule is called with v, the vector it transforms, and what it names: operands x, y and the value out.
Where a derivative does not exist, docs/conventions.md decides: relu'(0) = 0, ties share evenly, clip is closed.
Factors of ½ are Python numbers and masks multiply, so that float32 stays float32.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.engine.primitive import Function, elementwise, tensor_function
from minigrad.ops.cofactor import cofactor
from minigrad.ops.documentation import document
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

# Arithmetic
add = elementwise(np.add, lambda v: v, lambda v: v)
subtract = elementwise(np.subtract, lambda v: v, lambda v: -v)
multiply = elementwise(np.multiply, lambda v, y: v * y, lambda v, x: v * x)
divide = elementwise(np.divide, lambda v, y: v / y, lambda v, out, y: -v * out / y)
negative = elementwise(np.negative, lambda v: -v)
positive = elementwise(np.positive, lambda v: v)
reciprocal = elementwise(np.reciprocal, lambda v, out: -v * out * out)
square = elementwise(np.square, lambda v, x: v * (2 * x))
abs = elementwise(np.absolute, lambda v, x: v * np.sign(x), name="abs")
hypot = elementwise(
    np.hypot, lambda v, x, out: along(v, x, out), lambda v, y, out: along(v, y, out), signature="(x, y, /)"
)
quotient = elementwise(
    lambda x, y, /: x / (y + (y == 0)), lambda v, y: _over(v, y), lambda v, out, y: -_over(v * out, y), name="quotient"
)
remainder = elementwise(np.remainder, lambda v: v, lambda v, x, y: -v * np.floor_divide(x, y))
fmod = elementwise(np.fmod, lambda v: v, lambda v, x, y, out: -v * np.rint((x - out) / y))

# Powers, exponentials, logarithms
power = elementwise(np.power, lambda v, x, y: v * _power_slope(x, y), lambda v, x, out: v * out * _log(x))
sqrt = elementwise(np.sqrt, lambda v, out: v / (2 * out))
cbrt = elementwise(np.cbrt, lambda v, out: v / (3 * out * out))
exp = elementwise(np.exp, lambda v, out: v * out)
exp2 = elementwise(np.exp2, lambda v, out: v * (out * math.log(2)))
expm1 = elementwise(np.expm1, lambda v, x: v * np.exp(x))
log = elementwise(np.log, lambda v, x: v / x)
log2 = elementwise(np.log2, lambda v, x: v * (1 / math.log(2)) / x)
log10 = elementwise(np.log10, lambda v, x: v * (1 / math.log(10)) / x)
log1p = elementwise(np.log1p, lambda v, x: v / (1 + x))
logaddexp = elementwise(np.logaddexp, lambda v, x, y: v * _share(x, y), lambda v, x, y: v * _share(y, x))

# Trigonometric and hyperbolic functions
sin = elementwise(np.sin, lambda v, x: v * np.cos(x))
cos = elementwise(np.cos, lambda v, x: -v * np.sin(x))
tan = elementwise(np.tan, lambda v, out: v * (1 + out * out))
arcsin = elementwise(np.arcsin, lambda v, x: v / np.sqrt((1 - x) * (1 + x)))
arccos = elementwise(np.arccos, lambda v, x: -v / np.sqrt((1 - x) * (1 + x)))
arctan = elementwise(np.arctan, lambda v, x: v / np.hypot(1, x) / np.hypot(1, x))
arctan2 = elementwise(np.arctan2, lambda v, x, y: v * _turn(y, x), lambda v, x, y: -v * _turn(x, y))
sinh = elementwise(np.sinh, lambda v, x: v * np.cosh(x))
cosh = elementwise(np.cosh, lambda v, x: v * np.sinh(x))
tanh = elementwise(np.tanh, lambda v, x: v * _slope(x, sech_squared_values, sech_squared))
arcsinh = elementwise(np.arcsinh, lambda v, x: v / np.hypot(1, x))
arccosh = elementwise(np.arccosh, lambda v, x: v / (np.sqrt(x - 1) * np.sqrt(x + 1)))
arctanh = elementwise(np.arctanh, lambda v, x: v / ((1 - x) * (1 + x)))

# Choices
where = elementwise(
    np.where,
    None,
    lambda v, condition: np.where(condition, v, 0),
    lambda v, condition: np.where(condition, 0, v),
    signature="(condition, x, y, /)",
)
maximum = elementwise(np.maximum, lambda v, x, y: _choice(v, x > y, x == y), lambda v, x, y: _choice(v, y > x, x == y))
minimum = elementwise(np.minimum, lambda v, x, y: _choice(v, x < y, x == y), lambda v, x, y: _choice(v, y < x, x == y))
clip_between = elementwise(
    lambda x, min, max, /: np.minimum(np.maximum(x, min), max),
    lambda v, x, min, max: v * ((x >= min) & (x <= max)),
    lambda v, x, min, max: v * ((x < min) & (min < max)),
    lambda v, x, max, min: v * ((x > max) | (min > max) | ((min == max) & (x < max))),
    name="clip",
)
nextafter = elementwise(np.nextafter, lambda v: v, None)
copysign = elementwise(np.copysign, lambda v, x, out: v * (np.sign(x) * np.sign(out)), None)

# Activations
relu = elementwise(relu_values, lambda v, out: v * (out > 0), name="relu")
sigmoid = elementwise(sigmoid_values, lambda v, x: v * _slope(x, sigmoid_slope_values, sigmoid_slope), name="sigmoid")
softplus = elementwise(softplus_values, lambda v, x: v * sigmoid(x), name="softplus")
erf = elementwise(erf_values, lambda v, x: v * ((2 / math.sqrt(math.pi)) * gaussian(x)), name="erf")  # type: ignore[operator]
normal_cdf = elementwise(normal_cdf_values, lambda v, x: v * normal_pdf(x), name="normal_cdf")

# Their derivatives, which are functions of their own: 1 - out² has no correct digit where out is nearly 1
sigmoid_slope: Function = elementwise(
    sigmoid_slope_values, lambda v, x, out: -v * out * np.tanh(0.5 * x), name="sigmoid_slope"
)
sech_squared: Function = elementwise(
    sech_squared_values, lambda v, x, out: v * (-2 * out * np.tanh(x)), name="sech_squared"
)
gaussian: Function = elementwise(gaussian_values, lambda v, x, out: v * (-2 * out * x), name="gaussian")
normal_pdf: Function = elementwise(normal_pdf_values, lambda v, x, out: -v * out * x, name="normal_pdf")

# Piecewise constant: nothing flows through these
sign = elementwise(np.sign)
floor = elementwise(np.floor)
ceil = elementwise(np.ceil)
trunc = elementwise(np.trunc)
rint = elementwise(np.rint)
round = elementwise(np.round, signature="(x, /, *, decimals=0)", name="round")
floor_divide = elementwise(np.floor_divide)
signbit = elementwise(np.signbit)
isfinite = elementwise(np.isfinite)
isinf = elementwise(np.isinf)
isnan = elementwise(np.isnan)
isclose = elementwise(np.isclose, signature="(x, y, /, *, rtol=1e-05, atol=1e-08, equal_nan=False)")
equal = elementwise(np.equal)
not_equal = elementwise(np.not_equal)
less = elementwise(np.less)
less_equal = elementwise(np.less_equal)
greater = elementwise(np.greater)
greater_equal = elementwise(np.greater_equal)
logical_and = elementwise(np.logical_and)
logical_or = elementwise(np.logical_or)
logical_xor = elementwise(np.logical_xor)
logical_not = elementwise(np.logical_not)
bitwise_and = elementwise(np.bitwise_and)
bitwise_or = elementwise(np.bitwise_or)
bitwise_xor = elementwise(np.bitwise_xor)
bitwise_invert = elementwise(np.bitwise_invert, name="bitwise_invert")
bitwise_left_shift = elementwise(np.bitwise_left_shift, name="bitwise_left_shift")
bitwise_right_shift = elementwise(np.bitwise_right_shift, name="bitwise_right_shift")


@tensor_function
def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """x limited to [min, max]; the gradient passes where x lies in the closed interval."""
    if min is None and max is None:
        return positive(x)
    kind = np.result_type(x)
    lowest, highest = -math.inf, math.inf
    if kind.kind in "iu":
        lowest, highest = np.iinfo(kind).min, np.iinfo(kind).max
    elif kind.kind == "b":
        lowest, highest = False, True
    return clip_between(x, lowest if min is None else min, highest if max is None else max)


def allclose(x: Any, y: Any, /, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether |x - y| <= atol + rtol |y| holds for all elements of the broadcast operands.

    Example:
        >>> import minigrad as mg
        >>> mg.allclose(mg.Tensor([1.0, 2.0]), [1.0, 2.0 + 1e-9])
        True
    """
    return bool(np.all(isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)))


def along(v: Any, x: Any, length: Any) -> Any:
    """v x / length, 0 where the length is 0: the gradient of a norm, chosen to be 0 at the origin.

    A norm has no second derivative there, and what this leads to is inf or NaN. Its square has one. So where v was
    recorded as a multiple of the length, as by (norm ** 2).backward(), nothing is divided.
    """
    if type(length) is np.ndarray or type(length) is np.float64:
        return v * (x / (length + (length == 0)))
    multiple = cofactor(v, length)
    return v * quotient(x, length) if multiple is None else multiple * x


def _power_slope(x: Any, y: Any) -> Any:
    """y x^(y-1), 0 at x = y = 0. A number y = 0 is not differentiated by, so all of its slope may be 0."""
    if isinstance(y, (int, float)):
        return y * x ** (y - (y != 0))
    return y * x ** (y - 1 + ((x == 0) & (y == 0)))


def _log(x: Any) -> Any:
    """log x, 0 at x = 0, where the derivative of 0**y is 0. A Python number stays one."""
    if isinstance(x, (int, float)):
        return math.log(x) if x > 0 else 0.0 if x == 0 else math.nan
    return np.log(x + (x == 0))


def _slope(x: Any, values: Any, recorded: Any) -> Any:
    """A function of x, for plain arrays and numbers without the detour through what records it."""
    return values(x) if type(x) is np.ndarray or type(x) is np.float64 else recorded(x)


def _over(v: Any, y: Any) -> Any:
    """v / y, silently: a quotient is also differentiated by what nobody asks for."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return v / y


def _share(x: Any, y: Any) -> Any:
    """exp(x) / (exp(x) + exp(y)): of equal infinities ½ if they are positive, 0 if they are negative."""
    with np.errstate(invalid="ignore"):
        apart = x - y
    return np.where(np.isneginf(x), 0, sigmoid(np.where((x == y) & np.isinf(x), 0, apart)))


def _turn(x: Any, y: Any) -> Any:
    """x / (x² + y²), 0 at the origin, by way of the length so that neither square overflows."""
    length = np.hypot(x, y)
    length = length + (length == 0)
    return x / length / length


def _choice(v: Any, chosen: Any, tied: Any) -> Any:
    """All of v where chosen, half of it at a tie."""
    return np.where(tied, 0.5 * v, v * chosen)


document(globals())
