"""Large results of a step in memory that is used again.

A new array of some megabytes is handed out by the system page by page, which takes longer than to compute what goes
there. In a loop, the result of the last call is usually dropped when the next one begins.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

FROM = 1 << 18  # bytes; smaller arrays come from memory that the process has


class ReusedBuffer:
    """Memory that is handed out again when nobody holds an array in it any more; else new memory.

    Each array is a new object, a view of the memory: so a weak reference to it ends with it, and what a user does to
    it (`a.shape = ...`, `a.flags.writeable = False`) does not come back with the next one. Who holds a view of such a
    view, a memoryview, a DLPack capsule or an iterator, holds the memory too, because NumPy hands on the reference to
    the owner; all this is counted. Without counts that can be trusted (no global lock, another Python than CPython,
    or a Python whose counts are not those that are expected here), each array has new memory.

    Example:
        >>> made = ReusedBuffer((1000, 1000), "float32")
        >>> first = made()
        >>> second = made()
        >>> second.base is first.base
        False
        >>> memory = second.base
        >>> where = memory.ctypes.data
        >>> del second, memory
        >>> made().ctypes.data == where
        True
    """

    def __init__(self, shape: Any, dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype
        # Without a global lock, counts that other threads change at the same time tell nothing.
        counts = hasattr(sys, "getrefcount") and getattr(sys, "_is_gil_enabled", lambda: True)()
        self.references: Any = sys.getrefcount if counts else lambda array: 0
        self.arrays = [np.empty(shape, dtype)]
        alone = self.references(self.arrays[0])
        holder = self.arrays[0].view()
        held = self.references(self.arrays[0])
        del holder
        again = self.references(self.arrays[0])
        self.alone = alone if (alone, held, again) == (2, 3, 2) else -1  # the list, the parameter, and the holder

    def __call__(self) -> Any:
        """An array with arbitrary content. Two are kept: a step may leave one in a `.grad` until it has the next."""
        for k in range(len(self.arrays)):
            if self.references(self.arrays[k]) == self.alone:
                return self.arrays[k].view()
        self.arrays = [np.empty(self.shape, self.dtype), *self.arrays[:1]]
        return self.arrays[0].view()
