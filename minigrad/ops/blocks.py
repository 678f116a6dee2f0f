"""Functions of large arrays, evaluated on one block of rows after the other.

NumPy makes a pass over memory for every operation, and a large temporary array is fresh memory every time. A function
of many operations is quicker on blocks that stay in the cache: only operands and results then pass through memory.
Blocks are for plain arrays. An array that listens, and a Tensor, meet the function itself, once; so it may be a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

Evaluated = Callable[..., Any]

BLOCK = 1 << 16  # bytes of a block of the first operand: malloc hands out so little without asking the system for pages


def elementwise_blocks(function: Evaluated) -> Evaluated:
    """A function of single elements of operands of one shape, by blocks of them.

    Example:
        >>> logistic = elementwise_blocks(lambda x: 1 / (1 + np.exp(-x)))
        >>> logistic(np.zeros((1000, 1000))).shape  # 123 blocks
        (1000, 1000)
    """

    @wraps(function)
    def evaluated(*operands: Any) -> Any:
        first = operands[0]
        if not _is_large(first) or any(type(x) is not np.ndarray or x.shape != first.shape for x in operands[1:]):
            return function(*operands)
        return np.reshape(_by_blocks(function, [np.reshape(x, (-1,)) for x in operands], (), 0), first.shape)

    return evaluated


def row_blocks(count: int, *, added: int = 0) -> Callable[[Evaluated], Evaluated]:
    """A function of rows, by blocks of them. Rows are what the first axis counts.

    Args:
        count: how many of the operands go by rows: the first ones, some of which may be None. Others are given whole.
        added: how many of the results are sums over the rows: the last ones, which may be None. Others go by rows.

    Example:
        >>> @row_blocks(1, added=1)
        ... def centered(x):
        ...     return x - x.mean(axis=1, keepdims=True), x.sum(axis=0)
        >>> rows, sums = centered(np.ones((1000, 100)))
        >>> rows.shape, sums.shape
        ((1000, 100), (100,))
    """

    def decorated(function: Evaluated) -> Evaluated:
        @wraps(function)
        def evaluated(*operands: Any) -> Any:
            by_rows = operands[:count]
            if not _is_large(by_rows[0]) or any(type(x) is not np.ndarray for x in by_rows if x is not None):
                return function(*operands)
            return _by_blocks(function, by_rows, operands[count:], added)

        return evaluated

    return decorated


def _is_large(x: Any) -> bool:
    return type(x) is np.ndarray and x.nbytes > 2 * BLOCK


def _by_blocks(function: Evaluated, by_rows: Sequence[Any], whole: Sequence[Any], added: int) -> Any:
    length = len(by_rows[0])
    step = max(1, BLOCK * length // by_rows[0].nbytes)
    made: list[Any] = []
    for start in range(0, length, step):
        rows = slice(start, start + step)
        results = function(*(x if x is None else x[rows] for x in by_rows), *whole)
        parts = results if isinstance(results, tuple) else (results,)
        last = len(parts) - added
        if not made:
            made = [np.empty((length, *part.shape[1:]), part.dtype) for part in parts[:last]] + [*parts[last:]]
        for k, part in enumerate(parts):
            if k < last:
                made[k][rows] = part
            elif start and part is not None:
                made[k] = made[k] + part
    return tuple(made) if isinstance(results, tuple) else made[0]
