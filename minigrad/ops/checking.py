"""Checks of the values of operands.

A symbol has no values and is not checked. A tracer array has those of one call only: its method `mg_check(low,
high)` records the check, so that later calls repeat it, and returns the values of this call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def require_range(x: Any, low: float, high: float, error: Callable[[Any], Exception]) -> None:
    """Raise an error unless all elements of x lie in [low, high]. NaN passes.

    Args:
        x: an array; a symbol passes.
        low: the smallest value that is accepted.
        high: the largest.
        error: returns the exception, given the values of x.

    Raises:
        Exception: what `error` returns.

    Example:
        >>> require_range(np.array([0, 3]), 0, 2, lambda x: ValueError(f"{x} for 3 classes"))
        Traceback (most recent call last):
          ...
        ValueError: [0 3] for 3 classes
    """
    if type(x) is np.ndarray:
        values = x
    elif hasattr(type(x), "mg_check"):
        values = x.mg_check(low, high)
    elif isinstance(x, (np.ndarray, np.generic)):
        values = np.asarray(x)
    else:
        return
    if values.size and not lies_in(values, low, high):
        raise error(values)


def require(condition: Callable[..., Any], error: Callable[..., Exception], *operands: Any) -> None:
    """Raise an error unless condition(*operands) is true everywhere.

    Args:
        condition: a function of the operands that returns a bool or an array of bools, written with NumPy's functions.
        error: returns the exception, given the values of the operands.
        operands: arrays; if one of them is a symbol, nothing is checked.

    Raises:
        Exception: what `error` returns.

    Example:
        >>> require(lambda x: np.absolute(x) == 1, lambda x: ValueError(f"{x}: not all are 1 or -1"), np.array([1, 2]))
        Traceback (most recent call last):
          ...
        ValueError: [1 2]: not all are 1 or -1
    """
    if not all(isinstance(x, (np.ndarray, np.generic)) or hasattr(type(x), "mg_check") for x in operands):
        return
    holds = condition(*operands)
    if hasattr(type(holds), "mg_check"):
        holds = holds.mg_check(True, True)
    if not np.all(holds):
        raise error(*(values_of(x) for x in operands))


def outside(values: Any, low: float, high: float) -> Any:
    """The first element that does not lie in [low, high], for an error."""
    return values[(values < low) | (values > high)].flat[0]


def values_of(x: Any) -> Any:
    """The values of an array, or of a tracer array in this call."""
    return x.mg_array if hasattr(type(x), "mg_check") else np.asarray(x)


def lies_in(values: Any, low: float, high: float) -> bool:
    """Whether no element is below low or above high, for arrays that are not empty."""
    if not low and values.dtype.kind in "iu":  # -1 becomes the largest unsigned number, so one pass is enough
        return bool(np.maximum.reduce(values.astype(np.uint64), axis=None) <= high)
    least, largest = np.minimum.reduce(values, axis=None), np.maximum.reduce(values, axis=None)
    return not (least < low or largest > high)
