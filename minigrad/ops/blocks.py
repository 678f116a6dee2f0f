"""Functions of large arrays, evaluated on one block of rows after the other.

NumPy makes a pass over memory for every operation, and every large temporary array is newly allocated memory. A
function of many operations is faster on blocks that stay in the cache: only operands and results then pass through
memory. Only plain arrays are divided into blocks. Tracer arrays and Tensors are passed to the function itself, once; so
it may be a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

ArrayFunction = Callable[..., Any]

BLOCK = 1 << 16  # bytes of a block of the first operand: malloc serves such sizes without asking the system for pages


def elementwise_blocks(function: ArrayFunction) -> ArrayFunction:
    """An elementwise function of operands of one shape, evaluated by blocks.

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


def row_blocks(count: int, *, added: int = 0) -> Callable[[ArrayFunction], ArrayFunction]:
    """A function of rows, evaluated by blocks of rows. Rows are slices along the first axis.

    Args:
        count: how many of the operands have rows: the first ones, some of which may be None. The others are passed to
            every block as they are.
        added: how many of the results are sums over the rows: the last ones, which may be None. The others have rows.

    Example:
        >>> @row_blocks(1, added=1)
        ... def centered(x):
        ...     return x - x.mean(axis=1, keepdims=True), x.sum(axis=0)
        >>> rows, sums = centered(np.ones((1000, 100)))
        >>> rows.shape, sums.shape
        ((1000, 100), (100,))
    """

    def decorated(function: ArrayFunction) -> ArrayFunction:
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


def _by_blocks(function: ArrayFunction, by_rows: Sequence[Any], shared: Sequence[Any], added: int) -> Any:
    length = len(by_rows[0])
    step = max(1, BLOCK * length // by_rows[0].nbytes)
    results: list[Any] = []
    for start in range(0, length, step):
        rows = slice(start, start + step)
        returned = function(*(x if x is None else x[rows] for x in by_rows), *shared)
        parts = returned if isinstance(returned, tuple) else (returned,)
        last = len(parts) - added
        if not results:
            results = [np.empty((length, *part.shape[1:]), part.dtype) for part in parts[:last]] + [*parts[last:]]
        for k, part in enumerate(parts):
            if k < last:
                results[k][rows] = part
            elif start and part is not None:
                results[k] = results[k] + part
    return tuple(results) if isinstance(returned, tuple) else results[0]
