"""Reuse of memory for large results of a step.

The system provides the memory of a new array of some megabytes page by page, which takes longer than computing the
content. In a loop, the result of the last call is usually dropped before the next call returns.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

SMALLEST = 1 << 18  # bytes; the process already has memory for smaller arrays


class ReusedBuffer:
    """Returns arrays in the same memory again when it is no longer referenced, else in new memory.

    Each array is a new object, a view of the memory. So a weak reference to it dies with it, and what a user changes in
    it (`a.shape = ...`, `a.flags.writeable = False`) does not appear in the next one. A view of such a view, a
    memoryview, a DLPack capsule and an iterator all hold a reference to the memory, which NumPy passes on, so they are
    counted. If counts cannot be trusted (no global lock, another Python than CPython, or counts that differ from those
    expected here), each array has new memory.

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
        # Without a global lock, other threads may change the counts at the same time.
        counts = hasattr(sys, "getrefcount") and getattr(sys, "_is_gil_enabled", lambda: True)()
        self.references: Any = sys.getrefcount if counts else lambda array: 0
        self.arrays = [np.empty(shape, dtype)]
        unused = self.references(self.arrays[0])
        view = self.arrays[0].view()
        viewed = self.references(self.arrays[0])
        del view
        released = self.references(self.arrays[0])
        self.unused = unused if (unused, viewed, released) == (2, 3, 2) else -1  # the list, the parameter, and a view

    def __call__(self) -> Any:
        """An array with arbitrary content. Two are kept: a step may leave one in a `.grad` until the next call."""
        for k in range(len(self.arrays)):
            if self.references(self.arrays[k]) == self.unused:
                return self.arrays[k].view()
        self.arrays = [np.empty(self.shape, self.dtype), *self.arrays[:1]]
        return self.arrays[0].view()
