"""Outcomes: what a call returned and changed, piece by piece, and where two outcomes differ by more than rounding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.reach import alike, is_leaf, package_of
from minigrad.tensor.tensor import Tensor

TOLERANCE = {np.dtype(np.float64): 1e-7, np.dtype(np.complex128): 1e-7, np.dtype(np.float16): 2e-2}
SINGLE = 1e-3
GLANCE = 4096  # arrays of at most so many elements are compared together
CHAOTIC = 1e-4  # if roundings change an element by so much of the largest one, they may change all elements

Piece = tuple[str, Any]  # path and value
Pair = tuple[Any, Any]  # compiled, eager


def pieces(path: str, x: Any, depth: int = 0) -> Iterator[Piece]:
    """The arrays, numbers and types in something that a call returned or changed."""
    yield path, type(x)
    if type(x) is Tensor:
        yield path, x.node is None
        yield path, np.array(x.data)
        if x.grad is not None:
            yield from pieces(f"{path}.grad", x.grad, depth + 1)
    elif isinstance(x, (np.ndarray, np.generic)):
        yield path, np.array(x)
    elif isinstance(x, dict):
        for key, item in x.items():
            yield from pieces(f"{path}[{key!r}]", item, depth + 1)
    elif isinstance(x, (tuple, list)):  # before leaves: a tuple of numbers is a leaf too, but they are rounded
        for k, item in enumerate(x):
            yield from pieces(f"{path}[{k}]", item, depth + 1)
    elif is_leaf(x):
        yield path, x
    elif depth < 4 and type(getattr(x, "__dict__", None)) is dict and package_of(type(x)) != "minigrad":
        for key, item in vars(x).items():
            yield from pieces(f"{path}.{key}", item, depth + 1)


def tolerance_of(dtype: Any) -> float:
    """The relative error of rounding that is allowed in a dtype."""
    return TOLERANCE.get(dtype, SINGLE)


def differing(pairs: list[Pair]) -> list[int]:
    """The indices of the pairs that differ by more than rounding.

    Small arrays of a dtype are compared all at once first; only those that are not close are compared one by one.
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


def _close(dtype: Any, members: list[int], pairs: list[Pair]) -> list[int]:
    """The pairs of arrays whose largest difference is small relative to their largest number, and to 1."""
    x, y = (np.concatenate([pairs[k][side].ravel() for k in members]) for side in (0, 1))
    starts = np.cumsum([0, *(pairs[k][0].size for k in members[:-1])])
    with np.errstate(all="ignore"):
        difference = np.maximum.reduceat(np.abs(x - y), starts)  # NaN stays NaN, and is not small
        scale = np.minimum(np.maximum.reduceat(np.abs(y), starts), 1)
        return [members[k] for k in np.flatnonzero(difference <= tolerance_of(dtype) * scale)]


def _is_same(x: Any, y: Any) -> bool:
    """Whether two values are the same up to rounding."""
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


def describe_difference(x: Any, y: Any) -> str:
    """The difference between a compiled and an eager value, in words."""
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        if isinstance(x, float) and isinstance(y, float):
            return describe_difference(np.array(x), np.array(y))
        if isinstance(x, type) or isinstance(y, type) or not is_leaf(x):
            return f"{_name(y)} eagerly, {_name(x)} compiled"
        return f"{y!r:.80} eagerly, {x!r:.80} compiled"
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return f"{y.shape} {y.dtype} eagerly, {x.shape} {x.dtype} compiled"
    index = np.unravel_index(int(np.argmax(~_is_close(x, y))), x.shape)
    return f"{y[index]!r} eagerly, {x[index]!r} compiled, at {tuple(map(int, index))} of {x.shape} {x.dtype}"


def _is_close(x: Any, y: Any) -> Any:
    if x.dtype.kind not in "fc":
        return x == y
    tolerance = tolerance_of(x.dtype)
    with np.errstate(all="ignore"):
        return np.isclose(x, y, rtol=tolerance, atol=0, equal_nan=True)


def _name(x: Any) -> str:
    return getattr(x, "__name__", repr(x)[:60])


# Differences that rounding explains


def is_float(x: Any, y: Any) -> bool:
    """Whether two things are arrays of floating-point numbers that can be compared element by element."""
    arrays = isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
    return arrays and (x.shape, x.dtype) == (y.shape, y.dtype) and x.dtype.kind in "fc"


def distance(x: Any, y: Any) -> Any:
    """How far each number moves; None for anything but floating-point arrays."""
    if not is_float(x, y):
        return None
    with np.errstate(all="ignore"):
        return np.abs(x - y)


def larger(x: Any, y: Any) -> Any:
    """The larger of two distances; one of None is the other."""
    return y if x is None or y is None else np.maximum(x, y)


def within(pairs: list[Pair], indices: list[int], spreads: list[Any]) -> bool:
    """Whether the differences are at most a hundred times the distances that roundings cause."""
    if len(spreads) != len(pairs):
        return False
    for k in indices:
        (x, y), spread = pairs[k], spreads[k]
        if spread is None or not is_float(x, y) or x.shape != spread.shape:
            return False
        with np.errstate(all="ignore"):
            is_chaotic = np.max(spread, initial=0) > CHAOTIC * np.max(np.abs(y), initial=0)
            limit = np.max(spread) if is_chaotic else spread
            if not np.all(np.abs(x - y) <= 100 * limit + tolerance_of(y.dtype) * (1 + np.abs(y))):
                return False
    return True
