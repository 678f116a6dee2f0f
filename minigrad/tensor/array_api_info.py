"""The inspection of the array API standard: mg.__array_namespace_info__()."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.tensor import dtypes
from minigrad.tensor.convert import get_default_dtype


class NamespaceInfo:
    """Capabilities, devices and dtypes (Python array API standard 2024.12, "Inspection")."""

    def capabilities(self) -> dict[str, Any]:
        """The optional features of the standard, and the largest number of axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """The device of new Tensors."""
        return "cpu"

    def devices(self) -> list[str]:
        """All devices."""
        return ["cpu"]

    def default_dtypes(self, *, device: str | None = None) -> dict[str, np.dtype[Any]]:
        """The dtypes of new Tensors. Complex numbers are not differentiated; their dtype is NumPy's."""
        integer = np.dtype(np.int64)
        return {
            "real floating": get_default_dtype(),
            "complex floating": np.dtype(np.complex128),
            "integral": integer,
            "indexing": integer,
        }

    def dtypes(self, *, device: str | None = None, kind: Any = None) -> dict[str, np.dtype[Any]]:
        """The dtypes of a kind (see mg.isdtype), by name."""
        by_name = {np.dtype(t).name: np.dtype(t) for t in dtypes.REAL}
        return {name: dtype for name, dtype in by_name.items() if kind is None or dtypes.isdtype(dtype, kind)}


def __array_namespace_info__() -> NamespaceInfo:
    """Capabilities, devices and dtypes of minigrad.

    Example:
        >>> import minigrad as mg
        >>> list(mg.__array_namespace_info__().dtypes(kind="real floating"))
        ['float32', 'float64']
    """
    return NamespaceInfo()
