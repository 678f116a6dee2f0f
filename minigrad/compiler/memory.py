"""Which part of which memory an array is, as reshapes, transposes and slices."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from minigrad.compiler.rules import step_shape

Step = tuple[str, Any]


def owner(array: Any) -> Any:
    """The array that owns the bytes (or has them from outside of NumPy).

    NumPy's as_strided, and so sliding_window_view, puts an object of its own between a view and its array.
    """
    base = array.base
    while isinstance(base, np.ndarray) or isinstance(getattr(base, "base", None), np.ndarray):
        if isinstance(base, np.ndarray):
            array = base
        base = base.base
    return array


def where_in(view: Any, root: Any) -> list[Step] | None:
    """The steps from root to an array in its memory, or None if reshapes, slices and transposes do not lead there."""
    if view.shape == root.shape and view.strides == root.strides and _offset(view, root) == 0:
        return []
    if not root.flags.c_contiguous or view.dtype != root.dtype:
        return None
    size, offset = view.itemsize, _offset(view, root)
    order = sorted(range(view.ndim), key=lambda k: (-view.strides[k], k))
    inner = np.transpose(view, order)
    if offset % size or not (inner.flags.c_contiguous and all(s >= 0 for s in view.strides)):
        return None
    start = offset // size
    steps: list[Step] = [("reshape", (root.size,)), ("slice", ((start, start + view.size, 1),))]
    steps.append(("reshape", inner.shape))
    if order != list(range(view.ndim)):
        steps.append(("transpose", tuple(order.index(k) for k in range(view.ndim))))
    return simplified(root.shape, steps)


def _offset(view: Any, root: Any) -> int:
    return int(view.__array_interface__["data"][0] - root.__array_interface__["data"][0])


def simplified(shape: tuple[int, ...], steps: list[Step]) -> list[Step]:
    """Without steps that change nothing, neighboring reshapes as one."""
    kept: list[tuple[tuple[int, ...], Step]] = []  # the shape before each step, and the step
    for step in steps:
        if step[0] == "reshape" and kept and kept[-1][1][0] == "reshape":
            shape = kept.pop()[0]
        after = step_shape(shape, step)
        if not is_identity(shape, step):
            kept.append((shape, step))
        shape = after
    return [step for _, step in kept]


def is_identity(shape: tuple[int, ...], step: Step) -> bool:
    """Whether a view is its operand."""
    op, given = step
    if op == "reshape":
        return given == shape  # type: ignore[no-any-return]
    if op == "transpose":
        return list(given) == list(range(len(shape)))
    return all(b == (0, n, 1) for b, n in zip(given, shape, strict=True))


def bounds(part: slice, size: int) -> tuple[int, int | None, int]:
    """A slice of an axis with nothing left open; no two that take the same elements differ."""
    start, stop, step = part.indices(size)
    count = len(range(start, stop, step))
    if count <= 1:
        step = 1
    if not count:
        return 0, 0, 1
    last = start + (count - 1) * step
    end = last + (1 if step > 0 else -1)
    return start, (end if end >= 0 else None), step


def basic(shape: tuple[int, ...], index: tuple[Any, ...]) -> list[Step]:
    """A basic index (ints, slices, None, Ellipsis) as a slice and a reshape."""
    used = sum(p is not None and p is not Ellipsis for p in index)
    if used > len(shape):
        raise IndexError(f"too many indices: {used} for an array of shape {shape}")
    if Ellipsis not in [p if p is Ellipsis else 0 for p in index]:
        index = (*index, Ellipsis)
    parts: list[tuple[int, int | None, int]] = []
    kept: list[int] = []
    axis = 0
    for p in index:
        if p is None:
            kept.append(1)
        elif p is Ellipsis:
            for _ in range(len(shape) - used):
                parts.append((0, shape[axis], 1))
                kept.append(shape[axis])
                axis += 1
        elif isinstance(p, slice):
            parts.append(bounds(p, shape[axis]))
            kept.append(len(range(*p.indices(shape[axis]))))
            axis += 1
        else:
            k = operator.index(p)
            if not -shape[axis] <= k < shape[axis]:
                raise IndexError(f"index {k} is out of bounds for axis {axis} with size {shape[axis]}")
            parts.append((k % shape[axis], k % shape[axis] + 1, 1))
            axis += 1
    return simplified(shape, [("slice", tuple(parts)), ("reshape", tuple(kept))])


def inverse(shape: tuple[int, ...], step: Step) -> Step:
    """The view that undoes a reshape or a transpose of an array of this shape."""
    op, given = step
    if op == "reshape":
        return ("reshape", shape)
    return ("transpose", tuple(sorted(range(len(given)), key=given.__getitem__)))


def viewed(array: Any, step: Step) -> Any:
    """The view itself; of a reshape a view if the layout allows it."""
    op, given = step
    if op == "reshape":
        return array.reshape(given)
    if op == "transpose":
        return array.transpose(given)
    return array[tuple(slice(*b) for b in given)]


def derived(result: Any, array: Any) -> list[Step] | None:
    """The steps from an array to a view of it that some NumPy function made; None if there is no short way."""
    if result.size == array.size and math.prod(result.shape):
        if result.flags.c_contiguous and array.flags.c_contiguous and _offset(result, array) == 0:
            return simplified(array.shape, [("reshape", result.shape)])
        order = _permutation(array, result)
        if order is not None:
            return simplified(array.shape, [("transpose", order)])
        squeezed, without = _unit_free(array), _unit_free(result)
        order = _permutation(squeezed, without)
        if order is not None:
            steps = [("reshape", squeezed.shape), ("transpose", order), ("reshape", result.shape)]
            return simplified(array.shape, steps)
        flips = _flipped(array, result)
        if flips is not None:
            return [("slice", flips)]
    return None


def _unit_free(array: Any) -> Any:
    return array[tuple(0 if n == 1 else slice(None) for n in array.shape)]


def _permutation(array: Any, result: Any) -> tuple[int, ...] | None:
    """The axes of array in the order that makes result of it, if there is just one way to tell."""
    if array.ndim != result.ndim or _offset(result, array) != 0:
        return None
    ours, theirs = (list(zip(a.shape, a.strides, strict=True)) for a in (array, result))
    if sorted(ours) != sorted(theirs) or len(set(ours)) != len(ours) or 1 in array.shape:
        return None
    return tuple(ours.index(pair) for pair in theirs)


def _flipped(array: Any, result: Any) -> tuple[tuple[int, int | None, int], ...] | None:
    """The bounds that reverse some axes."""
    if result.shape != array.shape or any(abs(a) != abs(b) for a, b in zip(array.strides, result.strides, strict=True)):
        return None
    found = tuple(
        (n - 1, None, -1) if a == -b and n > 1 else (0, n, 1)
        for n, a, b in zip(array.shape, array.strides, result.strides, strict=True)
    )
    same = viewed(array, ("slice", found))
    return found if same.strides == result.strides and _offset(same, result) == 0 else None
