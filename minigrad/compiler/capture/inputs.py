"""Inputs that are fetched at each call: numbers and arrays from places that hold another one each time."""

from __future__ import annotations

from typing import Any, NamedTuple

from minigrad.reach import (
    StateRef,
)


class NumberInput(NamedTuple):
    """A Python number that is fetched at each call: from a place (and an item of a tuple there), or an argument."""

    ref: StateRef | None
    items: tuple[int, ...]
    leaf: int | None
    kind: type

    @property
    def identity(self) -> Any:
        """What tells it from other inputs."""
        return (self.ref.identity if self.ref is not None else None, self.items, self.leaf)

    def fetch(self, leaves: Any) -> Any:
        """The number now."""
        if self.ref is None:
            return leaves[self.leaf]
        x = self.ref.get()
        for k in self.items:
            x = x[k]
        return x


class ArrayInput(NamedTuple):
    """An array that is fetched from a place at each call; of a Tensor there, its data, of a gradient place that too."""

    ref: StateRef
    value: Any  # what stood there when the step was recorded
    number: int  # of the argument of the program
    leaf: int | None = None  # the argument whose gradient it is
    items: tuple[int, ...] = ()  # which item of a tuple there

    def fetch(self, leaves: Any) -> Any:
        """What stands there now."""
        if self.leaf is not None:
            return leaves[self.leaf].grad
        if self.items:
            return self.ref.get()[self.items[0]]
        return self.ref.holder.grad if self.ref.is_grad else self.ref.get()
