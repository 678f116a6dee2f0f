"""Walks over all that a checkpointed function reaches, kept from call to call: a walk costs more than a small layer."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.tensor.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.recompute.snapshot import Snapshot
    from minigrad.recompute.surroundings import Surroundings

MAX_WALKS = 8  # of one function, for different objects among its arguments

_surroundings: weakref.WeakKeyDictionary[Any, dict[Any, Surroundings]] = weakref.WeakKeyDictionary()


class WalkCache:
    """Walks over the objects that f reaches, for each set of objects among its arguments, kept from call to call.

    Walks from a module or a global function are kept as long as it lives, for all wrappers; others as long as this.
    """

    def __init__(self, f: Any) -> None:
        self.f, self.title = f, f"checkpoint({getattr(f, '__name__', type(f).__name__)})"
        self.method = f.__func__ if isinstance(f, MethodType) else None
        owner = f.__self__ if isinstance(f, MethodType) else f
        self.keeper = owner if _is_keeper(owner) else self

    def minigrad_reach(self) -> list[Any]:
        """The objects that a checkpoint around this one reaches through it, without the cache itself."""
        return [self.f]

    def snapshot(self, leaves: list[Any], moving: list[int]) -> Snapshot:
        """A snapshot of the state that f and its arguments reach."""
        snapshot, surroundings, is_leaf = _loaded()
        roots: list[tuple[str, Any]] = [("", self.f)]
        arrays: list[tuple[str, Any]] = []
        for k, x in enumerate(leaves):
            if k not in moving and not is_leaf(x):
                (arrays if isinstance(x, (np.ndarray, Tensor)) else roots).append((f"argument {k}", x))
        key = (self.method, *(id(x) for _, x in roots[1:]))
        keeper = self.keeper if len(roots) == 1 else self
        before = _surroundings.get(keeper, {}).get(key)
        if before is None and keeper is not self:
            before = _surroundings.get(self, {}).get(key)
        walk, loose = (surroundings(roots), ([], [], [])) if before is None else before.current(roots)
        if before is not walk:
            # An entry must not keep its keeper alive, unless that is a global function.
            is_free = keeper is self or isinstance(keeper, FunctionType) or not walk.holds(keeper)
            walks = _surroundings.setdefault(keeper if is_free else self, {})
            while len(walks) >= MAX_WALKS:
                walks.pop(next(iter(walks)))
            walks[key] = walk
        return snapshot(walk, loose, self.title, arrays)


@functools.cache
def _loaded() -> tuple[type[Snapshot], type[Surroundings], Callable[[Any], bool]]:
    """Snapshot, Surroundings and is_leaf, imported on first use because they load NumPy's random module."""
    from minigrad.reach import is_leaf, register_opaque
    from minigrad.recompute.snapshot import Snapshot
    from minigrad.recompute.surroundings import Surroundings

    register_opaque(WalkCache)
    return Snapshot, Surroundings, is_leaf


def _is_keeper(x: Any) -> bool:
    """Whether walks are kept as long as x lives instead of one wrapper: for modules and global functions."""
    if isinstance(x, FunctionType):
        return x.__globals__.get(x.__name__) is x
    kind: Any = type(x)
    return kind.__eq__ is object.__eq__ and kind.__hash__ is object.__hash__ and hasattr(x, "__weakref__")
