"""What the state of a step shares: gradients that several places hold, arrays whose shape a user may assign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.compiler.ir.view_memory import owner
from minigrad.compiler.trace.opaque import arrays_in
from minigrad.compiler.trace.records import NUMERIC
from minigrad.reach import Row, StateRef, is_leaf, package_of
from minigrad.tensor.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.compiler.capture.state import StateCapture


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


def tied(capture: StateCapture) -> list[tuple[int, StateRef]]:
    """Places with arrays in the memory of one that is fetched from another place: they must share it in each call."""
    data = {id(ref.holder): x for ref, x in capture.replaced if ref.key == "data"}  # of Tensors, where tracers are now

    def array_of(x: Any) -> Any:
        return data.get(id(x), x.data) if type(x) is Tensor else x

    memories = {id(owner(a)): j for j, x in enumerate(capture.arrays) if type(a := array_of(x.value)) is np.ndarray}
    own = {x.ref.identity for x in capture.arrays}
    own |= {(id(x.value), "data") for x in capture.arrays if type(x.value) is Tensor}
    found = []
    for ref, value in capture.reach.refs if memories else ():
        array = array_of(value)
        if type(array) is np.ndarray and ref.identity not in own and id(owner(array)) in memories:
            found.append((memories[id(owner(array))], ref))
        elif ref.identity not in capture.fetched and (isinstance(value, tuple) or _holds_objects(value)):
            inside = {id(owner(x)): x for x in arrays_in(_items(value)) if type(x) is np.ndarray}  # these do not change
            found += [
                (memories[key], StateRef((x,), 0, "index", ref.path)) for key, x in inside.items() if key in memories
            ]
    return found


def _holds_objects(x: Any) -> bool:
    return type(x) is np.ndarray and x.dtype.kind == "O"


def _items(x: Any) -> Any:
    return x.ravel().tolist() if _holds_objects(x) else x


def layouts(capture: StateCapture) -> list[Row]:
    """Shapes and dtypes of the user's arrays, which can be assigned, and whether they can be written.

    Those of Tensors and optimizers nobody assigns; whether they can be written counts where the step writes them.
    """
    found = {}
    for ref, value in capture.reach.refs:
        if type(value) is not np.ndarray:
            continue
        is_of_library = type(ref.holder) is Tensor or package_of(type(ref.owner)) == "minigrad"
        if is_of_library and id(value) not in capture.trace.targets:
            continue
        if ".flats." not in ref.path and value.dtype.kind in NUMERIC and ref.identity not in capture.fetched:
            held = value.shape, value.dtype, value.flags.writeable
            found[id(value)] = Row("layout", value, held, ref.path)
    return list(found.values())
