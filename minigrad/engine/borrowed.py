"""Arrays of the user's that are kept for the backward pass, and may be written to before it.

A loader refills its batch buffer, a mask is used again: the rules must see what the operation saw. Such an array is
copied where it is small. Where it is large it is kept as it is, with a sample of its elements, and the backward pass
is refused if the sample has changed. The sample is all that is seen: its places are spread at random over the array,
with the first and the last element among them, so a new batch is noticed, a single other element may not be.

What the engine made itself is not borrowed. Arrays without axes and leaves are looked after by mutation.py.
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

_shared: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # views that asarray made, by id

_trace = tracing.active.get

SMALL = 1 << 14  # bytes: up to here an array is copied, which takes less than a microsecond
SAMPLED = 48  # elements of a larger one that are looked at


def protected(node: Node, k: int) -> tuple[Any, ...]:
    """The residuals of a node, the k-th of which is a borrowed array, copied or watched."""
    residuals: Any = node.residuals
    array = residuals[k]
    if array is None or _trace() is not None:  # a trace knows arrays by what they are; see `watch`
        return residuals  # type: ignore[no-any-return]
    if array.nbytes <= SMALL:
        copy = array.copy("K")
        if len(residuals) == 2:
            return (residuals[0], copy) if k else (copy, residuals[1])
        return *residuals[:k], copy, *residuals[k + 1 :]
    is_fixed = array.flags.owndata and not array.flags.writeable
    return residuals if is_fixed else Watched(residuals, node, array)


class Watched(tuple[Any, ...]):
    """Saved values with borrowed arrays among them: whoever unpacks them is refused if those have changed.

    A slice of it is a plain tuple, for those who only show what is there.
    """

    samples: list[tuple[Any, Any, bytes]]
    what: str

    def __new__(cls, residuals: tuple[Any, ...], node: Node, array: Any) -> Watched:
        """The same values, with one more array that is watched."""
        made = super().__new__(cls, residuals[:])
        made.samples = [*getattr(residuals, "samples", ()), (array, array.shape, sample(array))]
        made.what = f"{node.primitive.name} (node {node.serial})"
        return made

    def __iter__(self) -> Iterator[Any]:
        for array, shape, before in self.samples:
            if array.shape != shape or sample(array) != before:
                raise RuntimeError(
                    f"{self.what} kept an array of shape {shape} and dtype {array.dtype} for the backward pass, and it "
                    "was changed since, so the gradient would be wrong. Call backward() before it is written again, "
                    "or give the operation a copy: np.copy(array)"
                )
        return super().__iter__()


def watch(nodes: Iterable[Node]) -> None:
    """Watch the constant operands of nodes that were recorded on tracer arrays, whose place the real ones have now."""
    for node in nodes:
        if not node.residuals or not isinstance(getattr(node.primitive, "operands", None), tuple):
            continue
        constant = {x for x, parent in zip(node.primitive.operands, node.parents, strict=False) if parent is None}
        for name, value in zip(node.primitive.residuals, node.residuals[:], strict=False):
            if name in constant and type(value) is np.ndarray:
                node.residuals = Watched(node.residuals, node, value)


def owned(x: Any) -> Any:
    """A parameter of a node, with copies in place of arrays."""
    if type(x) is np.ndarray:
        return x if _trace() is not None else x.copy("K")
    return tuple(map(owned, x)) if type(x) is tuple else x


def shared(array: Any) -> Any:
    """A view of an array of the user's, for a Tensor that shares its memory."""
    view = array.view()
    _shared[id(view)] = view
    return view


def own(array: Any) -> Any:
    """The array; a copy if this is a view that `shared` made. A leaf has memory of its own."""
    is_shared = array is not None and _shared.get(id(array)) is array
    return array.copy("K") if is_shared else array


def sample(array: Any) -> bytes:
    """Some elements of an array, all of a small one."""
    if array.nbytes <= SMALL:
        return array.tobytes()  # type: ignore[no-any-return]
    if array.flags.c_contiguous:
        return array.take(_places(array.size)).tobytes()  # type: ignore[no-any-return]
    return array[np.unravel_index(_places(array.size), array.shape)].tobytes()  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def _places(size: int) -> Any:
    """Places in an array of so many elements: at random, but always the same."""
    rng = np.random.default_rng(size)
    return np.unique(np.concatenate([[0, size - 1], rng.integers(0, size, SAMPLED - 2)]))
