"""What the state of a step shares: gradients that several places hold, arrays whose shape a user may assign."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minigrad.compiler.records import NUMERIC
from minigrad.reach import (
    Row,
    StateRef,
    is_leaf,
)
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.compiler.capture import StateCapture


def gradients_held_elsewhere(capture: StateCapture, grads: list[StateRef]) -> set[int]:
    """The ids of gradients that another place holds as well, as a Tensor or an array: the two may part later."""
    held: dict[int, int] = {}
    todo = [x for _, x in capture.reach.refs]
    while todo:
        x = todo.pop()
        if type(x) in (Tensor, np.ndarray):
            held[id(x)] = held.get(id(x), 0) + 1
        elif isinstance(x, (tuple, frozenset)) and not is_leaf(x):
            todo += x
    present = [ref.holder.grad for ref in grads]
    return {id(x) for x in present if type(x) is Tensor and (held.get(id(x), 0) > 1 or id(x.data) in held)}


def shared_gradients(capture: StateCapture) -> list[Row]:
    """Gradients that were read and that another place holds as well: no inputs, so they must remain the same ones."""
    found = []
    for ref, value in capture.replaced:
        if ref.is_grad and id(value) in capture.shared_grads and id(ref.holder) in capture.grads_read:
            found.append(Row("slots", ref.holder, (("_grad", value),), ref.path))
            found.append(Row("slots", value, (("data", value.data),), ref.path))
    return found


def layouts(capture: StateCapture) -> list[Row]:
    """Shapes and dtypes of the user's arrays, which can be assigned. Those of Tensors and optimizers nobody assigns."""
    found = {}
    for ref, value in capture.reach.refs:
        owner_of_place = type(ref.owner).__module__.partition(".")[0]
        if type(value) is not np.ndarray or type(ref.holder) is Tensor or owner_of_place == "minigrad":
            continue
        if ".flats." not in ref.path and value.dtype.kind in NUMERIC and ref.identity not in capture.fetched:
            held = value.shape, value.dtype, value.flags.writeable
            found[id(value)] = Row("layout", value, held, ref.path)
    return list(found.values())
