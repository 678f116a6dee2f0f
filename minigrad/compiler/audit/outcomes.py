"""Outcomes: what a call returned and left, piece by piece, and in what two of them differ by more than rounding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.reach import alike, is_leaf, package_of
from minigrad.tensor.tensor import Tensor

TOLERANCE = {np.dtype(np.float64): 1e-7, np.dtype(np.complex128): 1e-7, np.dtype(np.float16): 2e-2}
SINGLE = 1e-3
GLANCE = 4096  # elements of an array that are copied beside others


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
    elif depth < 4 and type(getattr(x, "__dict__", None)) is dict and package_of(type(x)) != "minigrad":
        for key, part in vars(x).items():
            yield from parts(f"{path}.{key}", part, depth + 1)


def tolerance_of(dtype: Any) -> float:
    """The relative error that rounding may make in a dtype."""
    return TOLERANCE.get(dtype, SINGLE)


def differing(pairs: list[tuple[Any, Any]]) -> list[int]:
    """The numbers of the pairs whose two things differ by more than rounding.

    What is close at a glance, all arrays of a dtype at once, is not looked at one by one.
    """
    close: set[int] = set()
    groups: dict[Any, list[int]] = {}
    for k, (x, y) in enumerate(pairs):
        if type(x) is np.ndarray and type(y) is np.ndarray and x.dtype.kind == "f" and 0 < x.size <= GLANCE:
            if (x.shape, x.dtype) == (y.shape, y.dtype):
                groups.setdefault(x.dtype, []).append(k)
        elif x is y and (type(x) is bool or isinstance(x, type)):
            close.add(k)
    for dtype, members in groups.items():
        close.update(_close(dtype, members, pairs))
    return [k for k, (x, y) in enumerate(pairs) if k not in close and not _is_same(x, y)]


def _close(dtype: Any, members: list[int], pairs: list[tuple[Any, Any]]) -> list[int]:
    """Those of some arrays whose largest difference is small beside their largest number, and beside 1."""
    x, y = (np.concatenate([pairs[k][side].ravel() for k in members]) for side in (0, 1))
    starts = np.cumsum([0, *(pairs[k][0].size for k in members[:-1])])
    with np.errstate(all="ignore"):
        apart = np.maximum.reduceat(np.abs(x - y), starts)  # NaN stays NaN, and is not small
        scale = np.minimum(np.maximum.reduceat(np.abs(y), starts), 1)
        return [members[k] for k in np.flatnonzero(apart <= tolerance_of(dtype) * scale)]


def _is_same(x: Any, y: Any) -> bool:
    """Whether two things are the same to rounding."""
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        if isinstance(x, float) and isinstance(y, float):
            return _is_same(np.array(x), np.array(y))
        if isinstance(x, type) or isinstance(y, type) or not is_leaf(x):
            return x is y
        if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
            return False
        return alike(x, y) or bool(x == y)
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return False
    if x.dtype.kind not in "fc":
        return np.array_equal(x, y)
    if x.tobytes() == y.tobytes():
        return True
    tolerance = tolerance_of(x.dtype)
    with np.errstate(all="ignore"):
        if x.size and np.max(np.abs(x - y)) <= tolerance * min(float(np.max(np.abs(y))), 1.0):
            return True
        scale = np.max(np.abs(y), initial=0, where=np.isfinite(y))
        return np.allclose(x, y, rtol=tolerance, atol=tolerance * min(float(scale), 1.0), equal_nan=True)


def told(x: Any, y: Any) -> str:
    """In what two things differ, of which the first is compiled, the second eager."""
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        if isinstance(x, float) and isinstance(y, float):
            return told(np.array(x), np.array(y))
        if isinstance(x, type) or isinstance(y, type) or not is_leaf(x):
            return f"{_name(y)} eagerly, {_name(x)} compiled"
        return f"{y!r:.80} eagerly, {x!r:.80} compiled"
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return f"{y.shape} {y.dtype} eagerly, {x.shape} {x.dtype} compiled"
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
