"""Functions of arrays that a tracer records as one operation, whatever they are computed from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def opaque(function: Callable[..., Any], *operands: Any, **params: Any) -> Any:
    """function(*operands, **params).

    An operand with a method `mg_opaque_call` records it as one operation instead of those that it calls.

    Example:
        >>> opaque(sorted, [3, 1, 2], reverse=True)
        [3, 2, 1]
    """
    for x in operands:
        if hasattr(x, "mg_opaque_call"):
            return x.mg_opaque_call(function, *operands, **params)
    return function(*operands, **params)
