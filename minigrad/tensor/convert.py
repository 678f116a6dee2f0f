"""The arrays inside Tensors: the default dtype, copies, and checks."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.errors import refuse_mask
from minigrad.engine.primitive import value_of

_default_dtype: np.dtype[Any] = np.dtype(np.float64)


def set_default_dtype(dtype: Any) -> None:
    """The dtype of Tensors made from Python numbers and lists, and of parameters: "float64" (as NumPy) or "float32"."""
    global _default_dtype
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"set_default_dtype({dtype!r}): must be a floating-point dtype, such as 'float32'")
    _default_dtype = np.dtype(dtype)


def get_default_dtype() -> np.dtype[Any]:
    """The dtype of Tensors made from Python numbers and lists."""
    return _default_dtype


def copied(data: Any, dtype: Any) -> Any:
    """A copy of the data as an array of numbers. A copy of a tracer array is traced, as np.copy and astype are."""
    data = value_of(data)
    if not hasattr(data, "__array_function__"):
        value = np.array(data)
        if dtype is None and value.dtype.char == "d" and not isinstance(data, np.generic):
            dtype = _default_dtype
        return numbers(value if dtype is None or value.dtype == dtype else value.astype(dtype))
    refuse_mask(data, "Tensor")
    value = np.copy(data) if dtype is None or data.dtype == np.dtype(dtype) else data.astype(dtype)
    return numbers(value)


def numbers(value: Any) -> Any:
    """The array, checked to hold numbers."""
    refuse_mask(value, "Tensor")
    if value.dtype.kind not in "biufc":
        raise TypeError(f"Tensor: data of dtype {value.dtype}; they must be numbers or booleans")
    return value


def check_device(device: Any) -> None:
    """Refuse any device but the CPU."""
    if device not in (None, "cpu"):
        raise ValueError(f"device={device!r}: only 'cpu' is supported")
