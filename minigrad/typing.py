"""Types for annotations.

`Array` is a Tensor or a NumPy array, for functions that work on both; while they run, also on tracer arrays. A protocol
with NumPy's operators would say the same, but their overloads multiply: pyright does not finish (docs/decisions.md).

Example:
    >>> import numpy as np
    >>> import minigrad as mg
    >>> from minigrad.typing import Array
    >>> def normalized(x: Array) -> Array:
    ...     return x / x.sum(axis=-1, keepdims=True)
    >>> normalized(np.ones((1, 4))), normalized(mg.ones((1, 2)))
    (array([[0.25, 0.25, 0.25, 0.25]]), Tensor([[0.5, 0.5]]))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

__all__ = ["Array"]

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from minigrad.tensor.tensor import Tensor

    Array: TypeAlias = Tensor | NDArray[Any]
else:
    Array = Any
