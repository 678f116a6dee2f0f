"""Undo: everything as it was before a call that turned out not to be recordable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.reach import base_of, keys_of, refill, same_objects
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.compiler.capture import StateCapture


class Undo:
    """Everything that a strict session puts back: contents of arrays, places, containers and generators."""

    def __init__(self, capture: StateCapture, leaves: list[Any]) -> None:
        self.places = [(ref, value) for ref, value in capture.reach.refs if ref.kind != "partial"]
        self.grads = [(ref.holder, ref.holder.grad) for ref, _ in self.places if ref.is_grad]
        self.grads += [(x, x.grad) for x in leaves if type(x) is Tensor]
        self.contents = capture.contents
        arrays = [x for _, x in self.places] + [x.data if type(x) is Tensor else x for x in leaves]
        self.arrays = [(x, x.copy()) for x in arrays if type(x) is np.ndarray and x.flags.writeable]
        generators = [x for _, x in self.places] + leaves
        self.generators = [(x, x.bit_generator.state) for x in generators if isinstance(x, np.random.Generator)]

    def put_back(self) -> None:
        """Everything as it was."""
        for ref, value in self.places:
            if ref.get() is not value and not ref.is_grad:
                ref.set(value)
        for tensor, grad in self.grads:
            tensor._grad = grad
        for holder, before, _ in self.contents:
            if isinstance(holder, dict):
                for key in [key for key in keys_of(holder) if key not in before]:
                    base_of(holder).pop(holder, key)
            elif holder != before if isinstance(holder, set) else not same_objects(holder, before):
                refill(holder, before)
        for array, copy in self.arrays:
            np.copyto(array, copy)
        for generator, state in self.generators:
            generator.bit_generator.state = state
