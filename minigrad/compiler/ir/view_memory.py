"""Views as reshapes, transposes and slices (steps), and the array that owns the memory of a view."""

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
    """What views share: the array that owns the bytes, its current value, and the number of writes.

    `is_outside` says whether the array existed before the step.
    """

    __slots__ = ("array", "buffer", "is_outside", "value", "version")

    def __init__(self, array: Any, value: Value | None, buffer: Any = None, is_outside: bool = False) -> None:
        self.array, self.value, self.buffer, self.is_outside = array, value, buffer, is_outside
        self.version = 0


def sharing(things: Iterable[Any]) -> tuple[int, ...]:
    """For each array or Tensor the index of the first one in the same memory; for anything else its own index."""
    first: dict[int, int] = {}
    indices = []
    for k, x in enumerate(things):
        array = x.data if type(x) is Tensor else x
        indices.append(first.setdefault(id(owner(array)), k) if type(array) is np.ndarray else k)
    return tuple(indices)


def owner(array: Any) -> Any:
    """The array that owns the bytes (or that has them from outside of NumPy).

    NumPy's as_strided, and so sliding_window_view, puts an object between a view and its array; so does
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
    """The steps without those that change nothing, and neighboring reshapes as one."""
    simpler: list[tuple[tuple[int, ...], Step]] = []  # the shape before each step, and the step
    for step in steps:
        if step[0] == "reshape" and simpler and simpler[-1][1][0] == "reshape":
            shape = simpler.pop()[0]
        after = step_shape(shape, step)
        if not is_identity(shape, step):
            simpler.append((shape, step))
        shape = after
    return [step for _, step in simpler]


def is_identity(shape: tuple[int, ...], step: Step) -> bool:
    """Whether a view changes nothing."""
    name, param = step
    if name == "reshape":
        return param == shape
    if name == "transpose":
        return list(param) == list(range(len(shape)))
    return all(b == (0, n, 1) for b, n in zip(param, shape, strict=True))


def bounds(part: slice, size: int) -> tuple[int, int | None, int]:
    """A slice of an axis as (start, stop, step), the same for all slices that take the same elements."""
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
    sizes: list[int] = []
    axis = 0
    for p in index:
        if p is None:
            sizes.append(1)
        elif p is Ellipsis:
            for _ in range(len(shape) - used):
                parts.append((0, shape[axis], 1))
                sizes.append(shape[axis])
                axis += 1
        elif isinstance(p, slice):
            parts.append(bounds(p, shape[axis]))
            sizes.append(len(range(*p.indices(shape[axis]))))
            axis += 1
        else:
            k = operator.index(p)
            if not -shape[axis] <= k < shape[axis]:
                raise IndexError(f"index {k} is out of bounds for axis {axis} with size {shape[axis]}")
            parts.append((k % shape[axis], k % shape[axis] + 1, 1))
            axis += 1
    return simplified(shape, [("slice", tuple(parts)), ("reshape", tuple(sizes))])


def inverse(shape: tuple[int, ...], step: Step) -> Step:
    """The view that undoes a reshape or a transpose of an array of this shape."""
    name, param = step
    if name == "reshape":
        return ("reshape", shape)
    return ("transpose", tuple(sorted(range(len(param)), key=param.__getitem__)))


def viewed_through(array: Any, steps: Iterable[Step]) -> Any:
    """The view after some steps."""
    for step in steps:
        array = viewed(array, step)
    return array


def viewed(array: Any, step: Step) -> Any:
    """The view; for a reshape a copy where the layout does not allow a view."""
    name, param = step
    if name == "reshape":
        return array.reshape(param)
    if name == "transpose":
        return array.transpose(param)
    return array[tuple(slice(*b) for b in param)]


def step_of(op: Op) -> Step:
    """The step of a view's op."""
    (param,) = op.params.values()
    return op.name, param
