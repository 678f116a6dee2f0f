"""Outcomes: what a call returned and left, piece by piece, and in what two of them differ by more than rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.reach import alike, is_leaf
from minigrad.tensor import Tensor

TOLERANCE = {np.dtype(np.float64): 1e-7, np.dtype(np.complex128): 1e-7, np.dtype(np.float16): 2e-2}
SINGLE = 1e-3


def parts(path: str, x: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The arrays, numbers and types in something that a call returned or left."""
    yield path, type(x)
    if type(x) is Tensor:
        yield path, x.node is None
        yield path, np.array(x.data)
        if x.grad is not None:
            yield from parts(f"{path}.grad", x.grad, depth + 1)
    elif isinstance(x, (np.ndarray, np.generic)):
        yield path, np.array(x)
    elif isinstance(x, dict):
        for key, part in x.items():
            yield from parts(f"{path}[{key!r}]", part, depth + 1)
    elif isinstance(x, (tuple, list)):  # before leaves, of which a tuple may be one: its numbers are rounded
        for k, part in enumerate(x):
            yield from parts(f"{path}[{k}]", part, depth + 1)
    elif is_leaf(x):
        yield path, x
    elif depth < 4 and type(getattr(x, "__dict__", None)) is dict and type(x).__module__.split(".")[0] != "minigrad":
        for key, part in vars(x).items():
            yield from parts(f"{path}.{key}", part, depth + 1)


def tolerance_of(dtype: Any) -> float:
    """The relative error that rounding may make in a dtype."""
    return TOLERANCE.get(dtype, SINGLE)


def differs(x: Any, y: Any, of_floats: float = TOLERANCE[np.dtype(np.float64)]) -> str | None:
    """In what two things differ by more than rounding.

    Args:
        x: the one, of the program.
        y: the other, of the eager step.
        of_floats: the relative error that rounding may make in Python's floats, which arrays of any dtype may become.
    """
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        if isinstance(x, float) and isinstance(y, float):
            is_close = x == y or abs(x - y) <= of_floats * abs(y) or (math.isnan(x) and math.isnan(y))
            return None if is_close else f"{y!r} eagerly, {x!r} compiled"
        if isinstance(x, type) or isinstance(y, type) or not is_leaf(x):
            return None if x is y else f"{_name(y)} eagerly, {_name(x)} compiled"
        return None if alike(x, y) or x == y else f"{y!r:.80} eagerly, {x!r:.80} compiled"
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return f"{y.shape} {y.dtype} eagerly, {x.shape} {x.dtype} compiled"
    if x.dtype.kind not in "fc":
        if np.array_equal(x, y):
            return None
    else:
        if x.tobytes() == y.tobytes():
            return None
        tolerance = tolerance_of(x.dtype)
        with np.errstate(all="ignore"):
            if x.size and np.max(np.abs(x - y)) <= tolerance * min(float(np.max(np.abs(y))), 1.0):
                return None
            scale = np.max(np.abs(y), initial=0, where=np.isfinite(y))
            if np.allclose(x, y, rtol=tolerance, atol=tolerance * min(float(scale), 1.0), equal_nan=True):
                return None
    where = np.unravel_index(int(np.argmax(~_is_close(x, y))), x.shape)
    return f"{y[where]!r} eagerly, {x[where]!r} compiled, at {tuple(map(int, where))} of {x.shape} {x.dtype}"


def _is_close(x: Any, y: Any) -> Any:
    if x.dtype.kind not in "fc":
        return x == y
    tolerance = tolerance_of(x.dtype)
    with np.errstate(all="ignore"):
        return np.isclose(x, y, rtol=tolerance, atol=0, equal_nan=True)


def _name(x: Any) -> str:
    return getattr(x, "__name__", repr(x)[:60])
