"""Large results of a step in memory that is used again.

A new array of some megabytes is handed out by the system page by page, which takes longer than to compute what goes
there. In a loop, the result of the last call is usually dropped when the next one begins.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

FROM = 1 << 18  # bytes; smaller arrays come from memory that the process has


class Recycled:
    """An array that is handed out again when nobody holds it any more, not even a view of it; else a new one.

    Example:
        >>> made = Recycled((1000, 1000), "float32")
        >>> first = made()
        >>> second = made()
        >>> second is first
        False
        >>> where = id(second)
        >>> del second
        >>> id(made()) == where
        True
    """

    def __init__(self, shape: Any, dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype
        # Without a global lock, counts that other threads change at the same time tell nothing.
        counts = hasattr(sys, "getrefcount") and getattr(sys, "_is_gil_enabled", lambda: True)()
        self.references: Any = sys.getrefcount if counts else lambda array: 0
        self.arrays = [np.empty(shape, dtype)]
        self.alone = self.references(self.arrays[0]) or -1

    def __call__(self) -> Any:
        """An array with arbitrary content. Two are kept: a step may leave one in a `.grad` until it has the next."""
        for k in range(len(self.arrays)):
            if self.references(self.arrays[k]) == self.alone:
                return self.arrays[k]
        self.arrays = [np.empty(self.shape, self.dtype), *self.arrays[:1]]
        return self.arrays[0]
