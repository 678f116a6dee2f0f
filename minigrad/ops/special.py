"""Functions that NumPy lacks, on arrays: stable sigmoid and softplus, and erf."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.ops.blocks import elementwise_blocks

# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969): coefficients,
# highest power first, for |x| <= 15/32 (erf), up to 4 (exp(x²) erfc) beyond.
# As evaluated here the error is at most 3 units in the last place of float64.
_SMALL = (
    (
        1.85777706184603153e-1,
        3.16112374387056560e0,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
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
# For float32, a minimax fit of erf(x)/x in x², up to |x| = 3.95: the one of compiler/vecmath.py.
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

    An array with a method `takes_whole` hears of it as one operation, and not of those that it is made of.
    """
    if hasattr(x, "takes_whole"):
        return x.takes_whole(erf_values, x)
    if getattr(x, "dtype", None) == np.float32:
        return _erf_single(x)
    size = np.absolute(x)
    inner, middle = np.minimum(size, 0.46875), np.clip(size, 0.46875, 4.0)
    value = np.where(
        size <= 0.46875,
        inner * _ratio(_SMALL, inner * inner),
        1 - np.exp(-middle * middle) * _ratio(_MIDDLE, middle),
    )
    if type(size) is not np.ndarray or (size > 4).any():  # which only an array that has values can be asked
        value = np.where(size <= 4, value, _erf_large(np.maximum(size, 4.0)))
    return np.where(np.isnan(x), x, np.copysign(value, x))


def _erf_large(size: Any) -> Any:
    inverse = 1 / (size * size)
    tail = (1 / math.sqrt(math.pi) - inverse * _ratio(_LARGE, inverse)) / size
    # Beyond 6 erf is 1 to the last digit; the bound keeps exp from underflowing.
    return 1 - np.exp(-np.minimum(size * size, 40.0)) * tail


def _erf_single(x: Any) -> Any:
    """An odd quotient of polynomials, which is ±1 at ±4 and from there on."""
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
    """max(x, 0). Python compares single numbers at a twentieth of what it costs NumPy."""
    if type(x) is np.float64:
        return ZERO if x <= 0 else x
    return np.maximum(x, 0)


@elementwise_blocks
def sigmoid_values(x: Any, /) -> Any:
    """1 / (1 + exp(-x)), as ½ (1 + tanh(x/2)): neither branch overflows."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def softplus_values(x: Any, /) -> Any:
    """log(1 + exp(x)) without overflow."""
    return np.logaddexp(x, 0.0)
