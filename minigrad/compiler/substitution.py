"""The places of a step's state, with listening arrays and Generators put there, and taken away again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.compiler.generator import ListeningGenerator
from minigrad.compiler.memory import owner
from minigrad.compiler.state import GRAD, MISSING, NODE, Spot, explore
from minigrad.compiler.trace import Trace
from minigrad.tensor import Tensor


class Substitution:
    """What is reached from some objects (`roots`), and what stands for it while a trace hears the step."""

    def __init__(self, trace: Trace, roots: list[tuple[str, Any]]) -> None:
        self.trace, self.roots = trace, roots
        self.functions: list[Any] = []  # the user's, on the way
        self.found = explore(roots, self.functions)
        self.holders = {id(spot.holder) for spot, _ in self.found}
        self.before = {spot.identity: value for spot, value in self.found}
        self.put: dict[Any, Any] = {}  # what was put in the place of it
        self.replaced: dict[Any, tuple[Spot, Any]] = {}  # places that listen, and what stood there
        self.generators: dict[int, ListeningGenerator] = {}  # by the id of the real one
        self.scratch: dict[int, bool] = {}  # of owners: whether nobody reads them between two steps
        self.owned: dict[int, Any] = {}  # the memories of the state
        self.numbers: dict[int, int] = {}  # number of an argument -> leaf

    def begin(self) -> None:
        """Let everything listen."""
        for spot, value in self.found:
            if spot.key == NODE:
                self.replaced[spot.identity] = spot, value
                continue
            new = self._listening(value, spot.path)
            if isinstance(value, np.ndarray) and new is not value:
                key = id(owner(value))
                self.scratch[key] = spot.is_scratch and self.scratch.get(key, True)
            if new is not value:
                self._put(spot, value, new)
        self.owned = dict(self.trace.memories)

    def arguments(self, leaves: list[Any], names: list[str]) -> list[Any]:
        """The leaves of the arguments, as the step gets them. Arrays that are no state are others in each call."""
        given = []
        for k, (leaf, name) in enumerate(zip(leaves, names, strict=True)):
            if isinstance(leaf, Tensor):
                if id(leaf) not in self.holders:
                    self._put(Spot(leaf, "data", "slot", name), leaf.data, self._argument(leaf.data, name, k))
                    if leaf.grad is not None:
                        self._put(Spot(leaf, GRAD, "slot", name), leaf.grad, None)
                given.append(leaf)
            else:
                given.append(self._argument(leaf, name, k) if isinstance(leaf, np.ndarray) else leaf)
        return given

    def changes(self) -> Iterator[tuple[Spot, Any]]:
        """The places that hold something else than what was put there.

        A place whose object is no longer reached, such as the .grad of what it was before, needs nothing.
        """
        for spot, now in explore(self.roots):
            old = self.before.get(spot.identity, MISSING)
            is_new = id(spot.holder) not in self.holders or isinstance(spot.holder, list)
            if spot.key == NODE or (old is MISSING and is_new):
                continue
            if now is not self.put.get(spot.identity, old):
                yield spot, now

    def keep(self, spot: Spot) -> Any:
        """Leave at a place what is there now. Returns what stood there before, None if it was not replaced."""
        return self.replaced.pop(spot.identity, (spot, None))[1]

    def end(self) -> None:
        """Put back what stood there."""
        for spot, value in self.replaced.values():
            spot.set(value)

    def undo(self) -> None:
        """Put back also what a step that is refused has counted."""
        self.end()
        for spot, value in self.found:
            if isinstance(value, (int, float)) and spot.get() is not value:
                spot.set(value)

    def _put(self, spot: Spot, value: Any, new: Any) -> None:
        self.put[spot.identity] = new
        self.replaced[spot.identity] = spot, value
        spot.set(new)

    def _listening(self, value: Any, name: str) -> Any:
        if type(value) is np.ndarray and value.dtype.kind in "biufc":
            return self.trace.state(value, name)
        if isinstance(value, np.random.Generator) and not isinstance(value, ListeningGenerator):
            return self.generators.setdefault(id(value), ListeningGenerator(self.trace, value))
        if type(value) is tuple and any(isinstance(x, (np.ndarray, np.random.Generator)) for x in value):
            return tuple(self._listening(x, f"{name}.{k}") for k, x in enumerate(value))
        return value

    def _argument(self, array: Any, name: str, k: int) -> Any:
        if id(owner(array)) in self.owned:
            return self.trace.state(array, name)
        number = len(self.numbers)
        self.numbers[number] = k
        return self.trace.argument(array, name, number)
