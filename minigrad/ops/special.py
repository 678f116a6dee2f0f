"""Functions of arrays that NumPy does not have: the logistic function, its relatives, erf, the normal distribution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.ops.blocks import elementwise_blocks

# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969): coefficients,
# highest power first, for |x| <= 15/32 (erf), up to 4 (exp(x²) erfc) beyond.
# As evaluated here the error is at most 3 units in the last place of float64.
_SMALL = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)  # fmt: skip
_MIDDLE = (
    (
        2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
        2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
        3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
    ),
)  # fmt: skip
_LARGE = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
     2.33520497626869185e-3),
)  # fmt: skip
# For float32, a minimax fit of erf(x)/x in x², up to |x| = 3.95: the one of compiler/kernels/vecmath.py.
_SINGLE = (
    (
        2.0257309874882760e-6, 2.8469266319268342e-4, 3.8086400342500576e-3, 5.2876859839153826e-2,
        0.19156212729116954, 1.1283791435556902,
    ),
    (
        3.7830248836235061e-5, 1.1708319903402190e-3, 1.5056037312194777e-2, 0.11456437441116511,
        0.50310018765250243, 1.0,
    ),
)  # fmt: skip


@elementwise_blocks
def erf_values(x: Any, /) -> Any:
    """The error function 2/√π ∫₀ˣ exp(-t²) dt, to the last digits of its dtype (float64: Cody 1969).

    An array with a method `mg_opaque_call` records it as one operation.
    """
    if hasattr(x, "mg_opaque_call") and x.dtype.char in "fd":
        return x.mg_opaque_call(erf_values, x)
    if getattr(x, "dtype", None) == np.float32:
        return _erf_single(x)
    if getattr(x, "dtype", None) == np.float16:
        return _erf_single(x.astype(np.float32)).astype(np.float16)
    size = np.absolute(x)
    inner, middle = np.minimum(size, 0.46875), np.clip(size, 0.46875, 4.0)
    value = np.where(
        size <= 0.46875,
        inner * _ratio(_SMALL, inner * inner),
        1 - np.exp(-middle * middle) * _ratio(_MIDDLE, middle),
    )
    if type(size) is not np.ndarray or (size > 4).any():  # only arrays have values to look at
        value = np.where(size <= 4, value, _erf_large(np.maximum(size, 4.0)))
    return np.where(np.isnan(x), x, np.copysign(value, x))


def _erf_large(size: Any) -> Any:
    inverse = 1 / (size * size)
    tail = (1 / math.sqrt(math.pi) - inverse * _ratio(_LARGE, inverse)) / size
    # Beyond 6 erf is 1 to the last digit; the bound keeps exp from underflowing.
    return 1 - np.exp(-np.minimum(size * size, 40.0)) * tail


def _erf_single(x: Any) -> Any:
    """An odd quotient of polynomials, clipped to ±1, which it reaches before ±4."""
    bounded = np.minimum(np.maximum(x, -4.0), 4.0)
    return np.minimum(np.maximum(bounded * _ratio(_SINGLE, bounded * bounded), -1.0), 1.0)


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Any) -> Any:
    above, below = (_horner(part, x) for part in coefficients)
    return above / below


def _horner(coefficients: tuple[float, ...], x: Any) -> Any:
    value = coefficients[0] * x + coefficients[1]
    for c in coefficients[2:]:
        value = value * x + c
    return value


ZERO = np.float64(0)


def relu_values(x: Any, /) -> Any:
    """max(x, 0). For single numbers, Python's comparison is 20 times as fast as NumPy's."""
    if type(x) is np.float64:
        return ZERO if x <= 0 else x
    return np.maximum(x, 0)


# The logistic function and its relatives. For arrays there is a fast formula, in which nothing cancels, but exp and
# cosh may overflow. If they do, and for tracer arrays, the formula uses e = exp(-|x|), which is at most 1. Single
# numbers are computed with Python's functions, which take a tenth of the time.


@elementwise_blocks
def sigmoid_values(x: Any, /) -> Any:
    """1 / (1 + exp(-x)), accurate also where it is tiny."""
    if type(x) is np.float64:
        e = math.exp(-abs(float(x)))
        return np.float64((1.0 if x >= 0 else e) / (1.0 + e))
    x = _floating(x)
    if x.dtype.kind == "c":
        return 1 / (1 + np.exp(-x))
    if type(x) is np.ndarray:
        try:
            with np.errstate(over="raise", under="ignore"):
                return 1 / (1 + np.exp(-x))
        except FloatingPointError:  # the value is denormal
            pass
    e = np.exp(-np.absolute(x))
    has_values = isinstance(x, (np.ndarray, np.generic)) or hasattr(x, "mg_opaque_call")
    return (np.maximum(e, x >= 0) if has_values else np.where(x >= 0, 1, e)) / (1 + e)  # the first is faster


@elementwise_blocks
def sigmoid_slope_values(x: Any, /) -> Any:
    """σ(x) (1 - σ(x)) = 1 / (2 + 2 cosh(x)) = e / (1 + e (2 + e)), the derivative of the sigmoid.

    It is not computed as 1 / (2 cosh(x/2))², nor with (1 + e)²: a square doubles the relative error, which in float32
    is 2.4 units for cosh alone.
    """
    if type(x) is np.float64:
        e = math.exp(-abs(float(x)))
        return np.float64(e / (1.0 + e * (2.0 + e)))
    x = _floating(x)
    if type(x) is np.ndarray:
        try:
            with np.errstate(over="raise"):
                size = np.cosh(x)
                size += 1
                return 0.5 / size
        except FloatingPointError:
            pass
    e = np.exp(-np.absolute(x))
    return e / (1 + e * (2 + e))


@elementwise_blocks
def sech_squared_values(x: Any, /) -> Any:
    """1 - tanh²(x) = 1 / cosh²(x) = 2 / (1 + cosh(2x)), the derivative of the hyperbolic tangent."""
    if type(x) is np.float64:
        e = math.exp(-2.0 * abs(float(x)))
        return np.float64(4.0 * e / (1.0 + e * (2.0 + e)))
    x = _floating(x)
    if type(x) is np.ndarray:
        try:
            with np.errstate(over="raise"):
                size = np.cosh(2 * x)
                size += 1
                return 2 / size
        except FloatingPointError:
            pass
    e = np.exp(-2 * np.absolute(x))
    return 4 * e / (1 + e * (2 + e))


@elementwise_blocks
def softplus_values(x: Any, /) -> Any:
    """log(1 + exp(x)) without overflow, for arrays by functions that NumPy vectorizes."""
    if type(x) is np.ndarray and x.dtype.char in "fd":
        with np.errstate(under="ignore"):
            return np.maximum(x, 0) + np.log1p(np.exp(-np.absolute(x)))
    if getattr(x, "dtype", None) is not None and x.dtype.kind == "c":
        return np.log1p(np.exp(x))
    return np.logaddexp(x, 0.0)


def _floating(x: Any) -> Any:
    """x, with integers, booleans and Python numbers as floats: the absolute value of -128 is not an int8."""
    return x if getattr(x, "dtype", None) is not None and x.dtype.kind in "fc" else np.multiply(x, 1.0)


# The normal distribution. The rounding error of x² would be large in exp(-x²): at x = 9, half a unit of 81 is 40 units
# of the result. So |x| = m + r with a multiple m of 1/64, whose square is exact, and x² = m² + (m + |x|) r (Moshier,
# Cephes, expx2). The distribution function is exp(-x²/2) R(|x|) for x < 0, where R is a minimax fit of exp(x²/2) Φ(-x)
# by a quotient of polynomials with positive coefficients (reweighted least squares in 80 digits; relative error 5e-17,
# 6e-9).

_TAIL = (
    (
        1.3810227743921767092e-6, 3.7149076645032444015e-5, 4.8926019454265440446e-4, 4.081310477421918221e-3,
        2.3584739203373212209e-2, 9.7575973905593004463e-2, 0.28905769986027963197, 0.5936612785078461879,
        0.7746081619796464041, 0.5,
    ),
    (
        3.4617107342114894134e-6, 9.3118925892666842038e-5, 1.2298551482311925287e-3, 1.0323447154694991839e-2,
        6.0337644586707824152e-2, 0.2546307735936579425, 0.78126045526372501442, 1.7131413651188066694,
        2.5600381156144721391, 2.3471008847621482558, 1.0,
    ),
)  # fmt: skip
_TAIL_SINGLE = (
    (4.1105437620632960251e-3, 4.0594429158355683884e-2, 0.18312011287319397159, 0.43813978700053699365, 0.5),
    (
        1.0303484165601023539e-2, 0.10176164409108188479, 0.46916695157200023173, 1.202025524068953832,
        1.6741645514048267975, 1.0,
    ),
)  # fmt: skip
BEYOND = 40.0  # exp(-x²/2) is 0 in float64 from 38.6 on


@elementwise_blocks
def gaussian_values(x: Any, /) -> Any:
    """exp(-x²), to the last digits."""
    return _gaussian(x, gaussian_values, 1.0)


@elementwise_blocks
def normal_pdf_values(x: Any, /) -> Any:
    """exp(-x²/2) / √(2π), to the last digits."""
    return _gaussian(x, normal_pdf_values, 0.5, 1 / math.sqrt(2 * math.pi))


def _gaussian(x: Any, function: Any, scale: float, factor: float = 1.0) -> Any:
    """factor exp(-scale x²). An array with a method `mg_opaque_call` records it as one operation, `function`."""
    if hasattr(x, "mg_opaque_call") and x.dtype.char in "fd":
        return x.mg_opaque_call(function, x)
    return exp_of_square(_floating(x), scale, factor)


def exp_of_square(x: Any, scale: float, factor: float = 1.0) -> Any:
    """factor exp(-scale x²), for a scale of 1 or ½, without the error of a rounded square."""
    if x.dtype == np.float16:
        return exp_of_square(x.astype(np.float32), scale, factor).astype(np.float16)
    if type(x) is np.ndarray and x.dtype == np.float32:  # its square is exact in float64
        wide = np.square(np.minimum(np.absolute(x), BEYOND), dtype=np.float64)
        return (np.exp(wide * -scale) * factor).astype(np.float32)
    size = np.minimum(np.absolute(x), BEYOND)
    near = np.rint(size * 64) * 0.015625
    value = np.exp(near * near * -scale) * np.exp((near + size) * (size - near) * -scale)
    return value if factor == 1 else value * factor


@elementwise_blocks
def normal_cdf_values(x: Any, /) -> Any:
    """Φ(x), the distribution function of the standard normal, to the last digits, also where it is tiny.

    An array with a method `mg_opaque_call` records it as one operation.
    """
    if hasattr(x, "mg_opaque_call") and x.dtype.char in "fd":
        return x.mg_opaque_call(normal_cdf_values, x)
    x = _floating(x)
    if x.dtype == np.float16:
        return normal_cdf_values(x.astype(np.float32)).astype(np.float16)
    return _normal_cdf(x, exp_of_square(x, 0.5))


def _normal_cdf(x: Any, e: Any) -> Any:
    """Φ(x) from e = exp(-x²/2)."""
    ratio = _ratio(_TAIL_SINGLE if x.dtype == np.float32 else _TAIL, np.minimum(np.absolute(x), BEYOND))
    return np.absolute((x > 0) - e * ratio)


def normal_values(x: Any) -> tuple[Any, Any]:
    """Φ(x) and the density φ(x) for an array of floats."""
    e = exp_of_square(x, 0.5)
    return _normal_cdf(x, e), e * (1 / math.sqrt(2 * math.pi))


WHOLE = {"erf": erf_values, "normal_cdf": normal_cdf_values}  # functions that are operations of compiled programs
