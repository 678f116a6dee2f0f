"""What stands in place of a `.grad` that nobody has read yet.

`Tensor.grad` calls `read(tensor)` of anything there that is no Tensor, and the object puts a Tensor in its place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.specialize import attach
from minigrad.tensor.tensor import Tensor


class GradProbe:
    """While a step is recorded: was `.grad` read before it was set? If not, what it held does not matter.

    Args:
        before: the gradient that was there, None if there was none.
        read: the ids of Tensors whose gradient was read; `read(tensor)` adds to them.
    """

    __slots__ = ("before", "seen")

    def __init__(self, before: Tensor | None, seen: set[int]) -> None:
        self.before, self.seen = before, seen

    def read(self, tensor: Tensor) -> Tensor | None:
        """The gradient that was there."""
        self.seen.add(id(tensor))
        tensor._grad = self.before
        return self.before


class DeferredGrad:
    """A gradient in the memory of a program, copied when somebody reads it.

    Eager gradients are new arrays at each call. Most are read by nobody but the optimizer, which is part of the same
    program, so nothing is made for them. Each call of the program puts the object back into its places before anyone
    can see the memory again, so a gradient that was read stays what it was.
    """

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data

    def read(self, tensor: Tensor) -> Tensor:
        """A Tensor with the gradient, from here on that Tensor's own."""
        made: Tensor = attach(np.copy(self.data), None)
        tensor._grad = made
        return made
