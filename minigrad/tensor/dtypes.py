"""Data types, the functions of the array API standard about them, and its inspection of the namespace."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.primitive import value_of
from minigrad.tensor.convert import get_default_dtype

bool = np.bool
int8, int16, int32, int64 = np.int8, np.int16, np.int32, np.int64
uint8, uint16, uint32, uint64 = np.uint8, np.uint16, np.uint32, np.uint64
float32, float64 = np.float32, np.float64

REAL = (bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64)


def _dtype(x: Any) -> np.dtype[Any]:
    """The dtype of an array or Tensor, or the one that x names."""
    return np.dtype(x) if isinstance(x, (type, str, np.dtype)) else value_of(x).dtype


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype of an operation on arrays, Tensors, numbers and dtypes. Promotion is NumPy's.

    Example:
        >>> import minigrad as mg
        >>> mg.result_type(mg.float32, 1.0), mg.result_type(mg.float32, mg.int64)
        (dtype('float32'), dtype('float64'))
    """
    return np.result_type(*map(value_of, arrays_and_dtypes))


def can_cast(from_: Any, to: Any, /) -> np.bool[Any] | Any:
    """Whether values of a dtype (or of an array's or Tensor's) survive a conversion to another.

    Example:
        >>> import minigrad as mg
        >>> mg.can_cast(mg.float32, mg.float64), mg.can_cast(mg.float32, mg.int64)
        (True, False)
    """
    return np.can_cast(_dtype(from_), to)


def isdtype(dtype: Any, kind: Any) -> Any:
    """Whether a dtype is of a kind.

    Args:
        dtype: a dtype.
        kind: "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric",
            a dtype, or a tuple of these.

    Example:
        >>> import minigrad as mg
        >>> mg.isdtype(mg.float32, "real floating"), mg.isdtype(mg.int8, ("bool", "unsigned integer"))
        (True, False)
    """
    return np.isdtype(np.dtype(dtype), kind)


def finfo(type: Any, /) -> np.finfo[Any]:
    """The limits of a floating-point dtype (or of an array's or Tensor's): bits, eps, max, min, smallest_normal.

    Example:
        >>> import minigrad as mg
        >>> mg.finfo(mg.float32).bits
        32
    """
    return np.finfo(_dtype(type))


def iinfo(type: Any, /) -> np.iinfo[Any]:
    """The limits of an integer dtype (or of an array's or Tensor's): bits, max, min.

    Example:
        >>> import minigrad as mg
        >>> mg.iinfo(mg.uint8).max
        255
    """
    return np.iinfo(_dtype(type))


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
        by_name = {np.dtype(t).name: np.dtype(t) for t in REAL}
        return {name: dtype for name, dtype in by_name.items() if kind is None or isdtype(dtype, kind)}


def __array_namespace_info__() -> NamespaceInfo:
    """Capabilities, devices and dtypes of minigrad.

    Example:
        >>> import minigrad as mg
        >>> list(mg.__array_namespace_info__().dtypes(kind="real floating"))
        ['float32', 'float64']
    """
    return NamespaceInfo()
