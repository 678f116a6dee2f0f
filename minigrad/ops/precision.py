"""The precision in which functions of many numbers are computed.

Half precision has 11 bits and ends at 65504: functions that add or square many numbers compute in single precision and
round once. Integers wrap around: functions that subtract or multiply them compute in double precision, as NumPy does in
`np.mean` and `np.linalg.norm`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from minigrad.engine.pairwise import HALF, MANY, WIDER

F = TypeVar("F", bound=Callable[..., Any])


def widened(function: F, narrowed: int | None = None) -> F:
    """A function of arrays or Tensors, or a rule, that computes in float32 if its first operand is float16.

    Its results are converted back to float16; of several results, the first `narrowed`. A first operand of integers or
    booleans is converted to float64. Other dtypes are not affected.

    Example:
        >>> root_mean_square = widened(lambda x: np.sqrt((x * x).mean()))
        >>> root_mean_square(np.array([300, 300], np.float16)), root_mean_square(np.array([20, 20], np.uint8))
        (np.float16(300.0), np.float64(20.0))
    """

    @wraps(function)
    def evaluated(*operands: Any, **options: Any) -> Any:
        first: Any = operands[0] if operands else next(iter(options.values()), None)
        if type(first) is tuple:  # the cotangents of several outputs
            first = next((v for v in first if v is not None), None)
        dtype = getattr(first, "dtype", None)
        if dtype is None or dtype.char in "fd":
            return function(*operands, **options)
        if dtype == HALF:
            results = function(*map(_wide, operands), **{k: _wide(x) for k, x in options.items()})
            return _narrow(results) if narrowed is None else (*_narrow(results[:narrowed]), *results[narrowed:])
        if dtype.kind in "iub" and operands:
            return function(first.astype(np.float64), *operands[1:], **options)
        return function(*operands, **options)

    return cast("F", evaluated)


def summing(terms: Callable[..., int]) -> Callable[[F], F]:
    """For a linear function whose results are sums of `terms(x, **params)` numbers, added one after the other.

    It computes in float32 for float16, and in float64 for float32 if there are many terms.
    """

    def decorated(function: F) -> F:
        @wraps(function)
        def evaluated(x: Any, /, *operands: Any, **params: Any) -> Any:
            dtype = x.dtype
            if dtype.char not in "fe" or (dtype != HALF and terms(x, **params) <= MANY):
                return function(x, *operands, **params)
            total = function(x.astype(WIDER[dtype]), *operands, **params)
            with np.errstate(over="ignore"):  # a number beyond the dtype is inf, as anywhere
                return total.astype(dtype)

        return cast("F", evaluated)

    return decorated


def floating(x: Any) -> Any:
    """x, with integers and booleans converted to float64."""
    return x.astype(np.float64) if getattr(x, "dtype", HALF).kind in "iub" else x


def _wide(x: Any) -> Any:
    if type(x) is tuple:
        return tuple(map(_wide, x))
    return x.astype(np.float32) if getattr(x, "dtype", None) == HALF else x


def _narrow(x: Any) -> Any:
    if type(x) is tuple:
        return tuple(map(_narrow, x))
    if getattr(x, "dtype", None) != np.float32:
        return x
    with np.errstate(over="ignore"):  # a number beyond half precision is inf, as anywhere
        return x.astype(np.float16)
