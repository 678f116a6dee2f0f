"""Functions on arrays that count as one operation, whatever they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def whole(function: Callable[..., Any], *operands: Any, **settings: Any) -> Any:
    """function(*operands, **settings).

    An operand with a method `takes_whole` sees it as one operation, and not of those that it is made of.

    Example:
        >>> whole(sorted, [3, 1, 2], reverse=True)
        [3, 2, 1]
    """
    for x in operands:
        if hasattr(x, "takes_whole"):
            return x.takes_whole(function, *operands, **settings)
    return function(*operands, **settings)
