"""Views as reshapes, transposes and slices, and the array that owns the memory of a view."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import Op, Value
from minigrad.compiler.ir.typing import step_shape
from minigrad.tensor.tensor import Tensor

Step = tuple[str, Any]


class Memory:
    """What views share: the array that owns the bytes, its present value, and how many writes there were.

    `is_outside` says that the array existed before the step.
    """

    __slots__ = ("array", "buffer", "is_outside", "value", "version")

    def __init__(self, array: Any, value: Value | None, buffer: Any = None, is_outside: bool = False) -> None:
        self.array, self.value, self.buffer, self.is_outside = array, value, buffer, is_outside
        self.version = 0


def sharing(things: Iterable[Any]) -> tuple[int, ...]:
    """For each array or Tensor the first among them that lies in the same memory; for all else itself."""
    first: dict[int, int] = {}
    found = []
    for k, x in enumerate(things):
        array = x.data if type(x) is Tensor else x
        found.append(first.setdefault(id(owner(array)), k) if type(array) is np.ndarray else k)
    return tuple(found)


def owner(array: Any) -> Any:
    """The array that owns the bytes (or has them from outside of NumPy).

    NumPy's as_strided, and so sliding_window_view, puts an object of its own between a view and its array; so does
    np.asarray(memoryview(array)).
    """
    base: Any = array.base
    while base is not None:
        base = base.obj if isinstance(base, memoryview) else base
        if isinstance(base, np.ndarray):
            array = base
        elif not isinstance(getattr(base, "base", None), (np.ndarray, memoryview)):
            break
        base = base.base
    return array


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
    name, given = step
    if name == "reshape":
        return given == shape  # type: ignore[no-any-return]
    if name == "transpose":
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
    name, given = step
    if name == "reshape":
        return ("reshape", shape)
    return ("transpose", tuple(sorted(range(len(given)), key=given.__getitem__)))


def viewed_through(array: Any, steps: Iterable[Step]) -> Any:
    """The view at the end of some steps."""
    for step in steps:
        array = viewed(array, step)
    return array


def viewed(array: Any, step: Step) -> Any:
    """The view itself; of a reshape a view if the layout allows it."""
    name, given = step
    if name == "reshape":
        return array.reshape(given)
    if name == "transpose":
        return array.transpose(given)
    return array[tuple(slice(*b) for b in given)]


def step_of(op: Op) -> tuple[str, Any]:
    """A view's op as a step."""
    return op.name, op.params[{"reshape": "shape", "transpose": "axes", "slice": "bounds"}[op.name]]
