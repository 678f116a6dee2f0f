"""Inputs of a program that are read from places at each call: numbers, arrays and gradients.

`Tensor.grad` calls `read(tensor)` of any object there that is not a Tensor, which puts a Tensor there instead.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad.engine.specialize import attach
from minigrad.reach import StateRef
from minigrad.tensor.tensor import Tensor


class NumberInput(NamedTuple):
    """A Python number that is read at each call: from a place (or from a tuple there), or an argument."""

    ref: StateRef | None
    items: tuple[int, ...]
    leaf: int | None
    kind: type

    @property
    def identity(self) -> Any:
        """Identifies the input."""
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
    """An array that is read from a place at each call: of a Tensor its data, of a gradient's place the gradient's."""

    ref: StateRef
    value: Any  # the object there when the step was recorded
    number: int  # of the argument of the program
    leaf: int | None = None  # the argument whose gradient it is
    items: tuple[int, ...] = ()  # the item of a tuple there

    def fetch(self, leaves: Any) -> Any:
        """The object there now."""
        if self.leaf is not None:
            return leaves[self.leaf].grad
        if self.items:
            return self.ref.get()[self.items[0]]
        return self.ref.holder.grad if self.ref.is_grad else self.ref.get()


class GradProbe:
    """Tells, while a step is recorded, whether `.grad` was read before it was set. If not, its value does not matter.

    Args:
        before: the gradient before the step, None if there was none.
        seen: the ids of Tensors whose gradient was read, to which `read(tensor)` adds.
    """

    __slots__ = ("before", "seen")

    def __init__(self, before: Tensor | None, seen: set[int]) -> None:
        self.before, self.seen = before, seen

    def read(self, tensor: Tensor) -> Tensor | None:
        """The gradient before the step."""
        self.seen.add(id(tensor))
        tensor._grad = self.before
        return self.before


class DeferredGrad:
    """A gradient in the memory of a program, which is copied when it is read.

    Eager gradients are new arrays in each call. Most are only read by the optimizer, which is part of the same program,
    so nothing is allocated for them. Each call of the program puts this object back before the memory can be seen
    again, so a gradient that was read does not change.
    """

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data

    def read(self, tensor: Tensor) -> Tensor:
        """A Tensor with the gradient, which belongs to the tensor from here on."""
        grad: Tensor = attach(np.copy(self.data), None)
        tensor._grad = grad
        return grad
