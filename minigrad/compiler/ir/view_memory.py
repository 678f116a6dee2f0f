"""Views as reshapes, transposes and slices (steps): of a value, and where an array lies in the memory of another one.

NumPy does not record how a view was made, so that is found from the pointer, the shape and the strides. Every
answer is checked by making the view and comparing these three.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import Op, Value
from minigrad.compiler.ir.typing import step_shape
from minigrad.tensor.tensor import Tensor

Step = tuple[str, Any]
Bounds = tuple[int, int | None, int]


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


def bounds(part: slice, size: int) -> Bounds:
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
    at = next((k for k, p in enumerate(index) if p is Ellipsis), len(index))
    index = (*index[:at], *(slice(None),) * (len(shape) - used), *index[at + 1 :])
    parts: list[Bounds] = []
    sizes: list[int] = []
    for p in index:
        if p is None:
            sizes.append(1)
            continue
        axis, n = len(parts), shape[len(parts)]
        if isinstance(p, slice):
            parts.append(bounds(p, n))
            sizes.append(len(range(*p.indices(n))))
            continue
        k = operator.index(p)
        if not -n <= k < n:
            raise IndexError(f"index {k} is out of bounds for axis {axis} with size {n}")
        parts.append((k % n, k % n + 1, 1))
    return simplified(shape, [("slice", tuple(parts)), ("reshape", tuple(sizes))])


def inverse(shape: tuple[int, ...], step: Step) -> Step:
    """The view that undoes a reshape or a transpose of an array of this shape."""
    name, param = step
    return name, shape if name == "reshape" else tuple(sorted(range(len(param)), key=param.__getitem__))


def viewed_through(array: Any, steps: Iterable[Step]) -> Any:
    """The view after some steps."""
    for step in steps:
        array = viewed(array, step)
    return array


def viewed(array: Any, step: Step) -> Any:
    """The view; for a reshape a copy where the layout does not allow a view."""
    name, param = step
    return array[tuple(slice(*b) for b in param)] if name == "slice" else getattr(array, name)(param)


def step_of(op: Op) -> Step:
    """The step of a view's op."""
    (param,) = op.params.values()
    return op.name, param


# Where an array lies


def where_in(view: Any, root: Any) -> list[Step] | None:
    """The steps from root to an array in its memory.

    Args:
        view: the array.
        root: the array whose memory it may lie in, of any layout.

    Returns:
        Slices, transposes and reshapes that lead from `root` to `view`; None if there are none: for another dtype, for
        elements that overlap (as in sliding windows), or for bytes that do not belong to root.

    Example:
        >>> a = np.arange(12.0).reshape(3, 4)
        >>> where_in(a[:, ::2], a)
        [('slice', ((0, 3, 1), (0, 3, 2)))]
        >>> where_in(a.T[1], a)
        [('slice', ((0, 3, 1), (1, 2, 1))), ('reshape', (3,))]
    """
    if view is root:
        return []
    if view.dtype != root.dtype:
        return None
    if root.ndim == 1 and root.flags.c_contiguous and view.flags.c_contiguous and view.size:
        return _block_of(view, root)
    if not view.size:
        return simplified(root.shape, [("slice", ((0, 0, 1),) * root.ndim), ("reshape", view.shape)])
    for steps in _candidates(view, root):
        if _is_same(viewed_through(root, steps), view):
            return simplified(root.shape, steps)
    return None


def _block_of(view: Any, root: Any) -> list[Step] | None:
    """The steps to consecutive elements of an array of one axis, as parameters are of an optimizer's flat array."""
    first, rest = divmod(_address(view) - _address(root), root.itemsize)
    if rest or first < 0 or first + view.size > root.size:
        return None
    steps: list[Step] = [("slice", ((first, first + view.size, 1),))] if view.size < root.size else []
    return [*steps, ("reshape", view.shape)] if view.ndim != 1 else steps


def elements_in(view: Any, root: Any) -> tuple[list[Step], Any] | None:
    """The steps from root to all of its memory as one axis, and the positions of a view's elements there.

    None if root has gaps or overlaps itself, or if the view does not lie on root's elements.

    Example:
        >>> a = np.arange(5)
        >>> elements_in(np.lib.stride_tricks.sliding_window_view(a, 3), a)
        ([], array([[0, 1, 2],
               [1, 2, 3],
               [2, 3, 4]]))
    """
    flat, size = _flattening(root), root.itemsize
    if flat is None or view.dtype != root.dtype:
        return None
    offset = _address(view) - _address(root)
    if offset % size or any(s % size for s, n in zip(view.strides, view.shape, strict=True) if n > 1):
        return None
    positions = np.full(view.shape, offset // size, np.intp)
    for axis, (n, stride) in enumerate(zip(view.shape, view.strides, strict=True)):
        steps = np.arange(n, dtype=np.intp) * (stride // size)
        positions += steps.reshape((n,) + (1,) * (view.ndim - axis - 1))
    if positions.size and (positions.min() < 0 or positions.max() >= root.size):
        return None
    return simplified(root.shape, flat), positions


def _candidates(view: Any, root: Any) -> Iterator[list[Step]]:
    """Steps that may lead from root to a view."""
    if _is_same(view, root):
        yield []
    if (steps := _along_axes(view, root)) is not None:
        yield steps
    flat = _flattening(root)
    if flat is None or (_address(view) - _address(root)) % root.itemsize:
        return
    memory = viewed_through(root, flat)
    for blocks in _blocks(view, memory):
        inner = _along_axes(view, viewed_through(memory, blocks))
        if inner is not None:
            yield [*flat, *blocks, *inner]


def _along_axes(view: Any, root: Any) -> list[Step] | None:
    """A slice, a transpose and reshapes by axes of size 1, where each axis of the view runs along one of root's."""
    first = _first_element(view, root)
    if first is None:
        return None
    along: dict[int, int] = {}  # axis of root -> axis of the view
    for axis, (n, stride) in enumerate(zip(view.shape, view.strides, strict=True)):
        if n == 1:
            continue
        fit = [
            k
            for k, (size, of_root) in enumerate(zip(root.shape, root.strides, strict=True))
            if k not in along and size > 1 and of_root and stride and stride % of_root == 0
            if 0 <= first[k] + (n - 1) * (stride // of_root) < size
        ]
        if not fit:
            return None
        along[max(fit, key=lambda k: abs(root.strides[k]))] = axis
    all_bounds: list[Bounds] = [(start, start + 1, 1) for start in first]
    for k, axis in along.items():
        step = view.strides[axis] // root.strides[k]
        end = first[k] + view.shape[axis] * step
        all_bounds[k] = bounds(slice(first[k], None if end < 0 else end, step), root.shape[k])
    axes = [along[k] for k in sorted(along)]
    steps: list[Step] = [("slice", tuple(all_bounds)), ("reshape", tuple(view.shape[axis] for axis in axes))]
    steps.append(("transpose", tuple(axes.index(axis) for axis in sorted(axes))))
    return [*steps, ("reshape", view.shape)]


def _first_element(view: Any, root: Any) -> list[int] | None:
    """The index in root of the view's first element."""
    if not root.size:
        return None
    lowest = sum((n - 1) * stride for n, stride in zip(root.shape, root.strides, strict=True) if stride < 0)
    offset = _address(view) - _address(root) - lowest
    index = [0] * root.ndim
    for k in sorted(range(root.ndim), key=lambda k: -abs(root.strides[k])):
        n, stride = root.shape[k], root.strides[k]
        if n > 1 and stride:
            count, offset = divmod(offset, abs(stride))
            index[k] = count if stride > 0 else n - 1 - count
            if not 0 <= index[k] < n:
                return None
    return None if offset else index


def _flattening(root: Any) -> list[Step] | None:
    """The steps to all of root's memory as one axis, in the order of the addresses; None if it has gaps."""
    order = sorted(range(root.ndim), key=lambda k: (-abs(root.strides[k]), -root.shape[k], k))
    if not root.transpose(order).flags.c_contiguous:
        return None
    return [("transpose", tuple(order)), ("reshape", (root.size,))]


def _blocks(view: Any, flat: Any) -> Iterator[list[Step]]:
    """Slices and reshapes of a memory into axes along which a view may run: blocks as large as its strides."""
    size = flat.itemsize
    axes = sorted(((abs(s) // size, n) for s, n in zip(view.strides, view.shape, strict=True) if n > 1), reverse=True)
    lowest = sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True) if s < 0)
    start = (_address(view) - _address(flat) + lowest) // size
    if not axes or any(not s for s, _ in axes):
        yield []
        return
    sizes = [s for s, _ in axes] + [1]
    if len(axes) == 1 or any(a % b for a, b in pairwise(sizes)):
        yield []
        return
    shape = (axes[0][1], *(a // b for a, b in pairwise(sizes)))
    count = sizes[0] * shape[0]
    for first in dict.fromkeys((start, start - start % sizes[0], flat.size - count)):
        if first >= 0 and first + count <= flat.size:
            yield [("slice", ((first, first + count, 1),)), ("reshape", shape)]


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def _is_same(a: Any, b: Any) -> bool:
    """Whether two arrays consist of the same elements of one memory in the same order."""
    if a.shape != b.shape or a.dtype != b.dtype or _address(a) != _address(b):
        return False
    return all(s == t for s, t, n in zip(a.strides, b.strides, a.shape, strict=True) if n > 1)
