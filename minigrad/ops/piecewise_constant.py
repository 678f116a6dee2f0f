"""Elementwise functions that are piecewise constant: rounding, comparisons, logic and bits. No gradient flows here."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.primitive import elementwise

sign = elementwise(np.sign, doc="-1, 0 or 1, as x is negative, zero or positive")
floor = elementwise(np.floor, doc="the largest whole number <= x")
ceil = elementwise(np.ceil, doc="the smallest whole number >= x")
trunc = elementwise(np.trunc, doc="x without its fractional part")
rint = elementwise(np.rint, doc="the whole number nearest to x, the even one at a tie")
round = elementwise(
    np.round,
    signature="(x, /, *, decimals=0)",
    name="round",
    doc="the whole number nearest to x (the multiple of 10^-decimals), the even one at a tie",
)
floor_divide = elementwise(np.floor_divide, doc="⌊x / y⌋")
signbit = elementwise(np.signbit, doc="whether the sign of x is negative, also for -0.0")
isfinite = elementwise(np.isfinite, doc="whether x is neither infinite nor NaN")
isinf = elementwise(np.isinf, doc="whether x is inf or -inf")
isnan = elementwise(np.isnan, doc="whether x is NaN")
isclose = elementwise(
    np.isclose,
    signature="(x, y, /, *, rtol=1e-05, atol=1e-08, equal_nan=False)",
    doc="whether |x - y| <= atol + rtol |y|; with equal_nan also where both are NaN",
)
equal = elementwise(np.equal, doc="whether x == y")
not_equal = elementwise(np.not_equal, doc="whether x != y")
less = elementwise(np.less, doc="whether x < y")
less_equal = elementwise(np.less_equal, doc="whether x <= y")
greater = elementwise(np.greater, doc="whether x > y")
greater_equal = elementwise(np.greater_equal, doc="whether x >= y")
logical_and = elementwise(np.logical_and, doc="whether x and y are both not 0")
logical_or = elementwise(np.logical_or, doc="whether x or y is not 0")
logical_xor = elementwise(np.logical_xor, doc="whether exactly one of x and y is not 0")
logical_not = elementwise(np.logical_not, doc="whether x is 0")
bitwise_and = elementwise(np.bitwise_and, doc="the bits that are set in x and in y")
bitwise_or = elementwise(np.bitwise_or, doc="the bits that are set in x or in y")
bitwise_xor = elementwise(np.bitwise_xor, doc="the bits that are set in exactly one of x and y")
bitwise_invert = elementwise(np.bitwise_invert, name="bitwise_invert", doc="the bits that are not set in x")
bitwise_left_shift = elementwise(
    np.bitwise_left_shift, name="bitwise_left_shift", doc="x with its bits shifted by y places to the left"
)
bitwise_right_shift = elementwise(
    np.bitwise_right_shift, name="bitwise_right_shift", doc="x with its bits shifted by y places to the right"
)


def allclose(x: Any, y: Any, /, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether |x - y| <= atol + rtol |y| holds for all elements of the broadcast operands.

    Example:
        >>> import minigrad as mg
        >>> mg.allclose(mg.Tensor([1.0, 2.0]), [1.0, 2.0 + 1e-9])
        True
    """
    return bool(np.all(isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)))
