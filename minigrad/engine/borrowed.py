"""Arrays of the user that are kept for the backward pass, although the user may write to them before it.

A loader refills its batch buffer, a mask is used again: the rules must see the values that the operation saw. A small
array is copied. A large one is kept with a sample of its elements, and the backward pass raises an error if the sample
has changed. The sample is at random indices, the first and the last element among them: a new batch is noticed, a
single changed element may not be.

Arrays that the engine made are not borrowed. For arrays without axes and for leaves see mutation.py.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine import tracing

if TYPE_CHECKING:
    from minigrad.engine.node import Node

_shared: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # views that `shared` made, by id

_trace = tracing.active.get

SMALL = 1 << 14  # bytes: up to here an array is copied, which takes less than a microsecond
SAMPLED = 48  # elements in the sample of a larger one


def protected(node: Node, k: int) -> tuple[Any, ...]:
    """The residuals of a node, the k-th of which is a borrowed array, copied or watched."""
    residuals: Any = node.residuals
    array = residuals[k]
    if array is None or _trace() is not None:  # a trace knows arrays by identity; see `watch`
        return residuals
    if array.nbytes <= SMALL:
        copy = array.copy("K")
        if len(residuals) == 2:
            return (residuals[0], copy) if k else (copy, residuals[1])
        return *residuals[:k], copy, *residuals[k + 1 :]
    is_fixed = array.flags.owndata and not array.flags.writeable
    return residuals if is_fixed else Watched(residuals, node, array)


class Watched(tuple[Any, ...]):
    """Residuals with borrowed arrays among them: unpacking them raises an error if those have changed.

    A slice of it is a plain tuple without this check, for code that only displays the values.
    """

    samples: list[tuple[Any, Any, bytes]]
    operation: str

    def __new__(cls, residuals: tuple[Any, ...], node: Node, array: Any) -> Watched:
        """The same values, with one more array that is watched."""
        watched = super().__new__(cls, residuals[:])
        watched.samples = [*getattr(residuals, "samples", ()), (array, array.shape, sample(array))]
        watched.operation = f"{node.primitive.name} (node {node.serial})"
        return watched

    def __iter__(self) -> Iterator[Any]:
        for array, shape, before in self.samples:
            if array.shape != shape or sample(array) != before:
                raise RuntimeError(
                    f"{self.operation} kept an array of shape {shape} and dtype {array.dtype} for the backward pass, "
                    "and it was changed since, so the gradient would be wrong. Call backward() before you write to it, "
                    "or pass a copy to the operation: np.copy(array)"
                )
        return super().__iter__()


def watch(nodes: Iterable[Node]) -> None:
    """Watch the constant operands of nodes that were recorded on tracer arrays, and have the real arrays now."""
    for node in nodes:
        if not node.residuals or not isinstance(getattr(node.primitive, "operands", None), tuple):
            continue
        constant = {x for x, parent in zip(node.primitive.operands, node.parents, strict=False) if parent is None}
        for name, value in zip(node.primitive.residuals, node.residuals[:], strict=False):
            if name in constant and type(value) is np.ndarray:
                node.residuals = Watched(node.residuals, node, value)


def owned(x: Any) -> Any:
    """A parameter of a node, with copies of its arrays."""
    if type(x) is np.ndarray:
        return x if _trace() is not None else x.copy("K")
    return tuple(map(owned, x)) if type(x) is tuple else x


def shared(array: Any) -> Any:
    """A view of the user's array, for a Tensor that shares its memory."""
    view = array.view()
    _shared[id(view)] = view
    return view


def own(array: Any) -> Any:
    """The array; a copy if this is a view that `shared` made. A leaf has memory of its own."""
    is_shared = array is not None and _shared.get(id(array)) is array
    return array.copy("K") if is_shared else array


def read_only(x: Any) -> Any:
    """The same values, which cannot be written to."""
    if type(x) is np.ndarray and x.flags.writeable:
        x = x.view()
        x.flags.writeable = False
    return x


def sample(array: Any) -> bytes:
    """The bytes of some elements of an array, of all in a small one."""
    if array.nbytes <= SMALL:
        return array.tobytes()
    if array.flags.c_contiguous:
        return array.take(_sampled_indices(array.size)).tobytes()
    return array[np.unravel_index(_sampled_indices(array.size), array.shape)].tobytes()


@lru_cache(maxsize=256)
def _sampled_indices(size: int) -> Any:
    """Indices of an array with this many elements: random, but always the same."""
    rng = np.random.default_rng(size)
    return np.unique(np.concatenate([[0, size - 1], rng.integers(0, size, SAMPLED - 2)]))
