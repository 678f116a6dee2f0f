"""What looks like a write: t[index] = value and t += value.

Only a leaf under no_grad is written in place. Any other Tensor is rebound to a new result, so that the old value is
still there for the gradient. So a part, q = x[0], is a Tensor of its own: q *= 2 changes q and not x. A write that
would be lost for this reason is refused: x[0][1] = value, and `for row in x: row /= 2`.
"""

from __future__ import annotations

import sys
import weakref
from types import EllipsisType, NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine.errors import ERRORS, explain_error, refuse_mask
from minigrad.engine.mutation import note_change
from minigrad.engine.node import mode
from minigrad.engine.primitive import value_of
from minigrad.ops import indexing
from minigrad.util.bytecode import instruction

if TYPE_CHECKING:
    from minigrad.tensor.tensor import Tensor

BASIC = frozenset({int, slice, NoneType, EllipsisType, np.int64})


def note_part(part: Tensor, whole: Tensor, is_iterated: bool = False) -> Tensor:
    """The part, which remembers what it was taken from for as long as that lives; of a part of a part the outermost."""
    outer = getattr(whole, "_part", None)
    part._part = (weakref.ref(whole) if outer is None or outer[0]() is None else outer[0], is_iterated)
    return part


def is_basic(index: Any) -> bool:
    """Whether an index takes a part that NumPy would show as a view."""
    return type(index) in BASIC or (type(index) is tuple and all(type(k) in BASIC for k in index))


def iterated(t: Tensor) -> Any:
    """The parts along the first axis. Those of a, b = t are Tensors of their own; those of a loop are rows of t."""
    frame = sys._getframe(2)
    is_loop = not instruction(frame.f_code, frame.f_lasti).startswith("UNPACK")
    return (note_part(t[k], t, is_loop) for k in range(len(t)))


def _refuse_part(t: Tensor, what: str, always: bool) -> None:
    """Refuse a write to a part that would leave the whole as it was, where somebody still has that."""
    whole, is_iterated = getattr(t, "_part", (None, False))
    if whole is None or not (always or is_iterated) or (alive := whole()) is None:
        return
    raise RuntimeError(
        f"{what} on a part, of shape {t.shape}, of a Tensor of shape {alive.shape}: the part alone would change. Write "
        "to the whole, x[0, 1] = value or x[k] /= 2, or to a copy, row = mg.copy(x[0])"
    )


def set_items(t: Tensor, index: Any, value: Any) -> None:
    """Do t[index] = value."""
    index = indexing.plain_index(index)
    if not _in_place(t, "t[index] = value"):
        _refuse_part(t, "t[index] = value", always=True)
        _rebind(t, indexing.set_index(t, value, index=index), "t[index] = value")
        return
    given = value_of(value)
    refuse_mask(given, "t[index] = value")
    try:
        t.data[index] = given
    except ERRORS as error:
        raise explain_error(error, "t[index] = value", (t, given), {"index": index}) from error
    note_change(t.data)


def augmented(symbol: str, function: Any) -> Any:
    """The method of an augmented assignment, such as t += value, for the function of its operator."""

    def assign(t: Tensor, other: Any) -> Tensor:
        in_place = _in_place(t, f"t {symbol}= value")
        if not in_place:
            _refuse_part(t, f"t {symbol}= value", always=False)
        value = function(t, other)
        if value.shape != t.shape:
            raise ValueError(
                f"t {symbol}= value would change the shape of t from {t.shape} to {value.shape}; write "
                f"t = t {symbol} value for a new Tensor"
            )
        if not in_place:
            return _rebind(t, value, f"t {symbol}= value")
        np.copyto(t.data, value.data, casting="same_kind")
        note_change(t.data)
        return t

    return assign


def _in_place(t: Tensor, what: str) -> bool:
    """Whether a write goes into this array (a leaf, under no_grad) or makes a new one. Else it is an error."""
    if t.node is None or t.node.primitive is not None:
        return False
    if mode.get() is not None:
        raise RuntimeError(
            f"{what} on a leaf Tensor (shape {t.shape}) that requires grad, while operations are recorded: the "
            "gradient could no longer be computed. To update a parameter write `with mg.no_grad(): w -= lr * "
            "w.grad`; to compute with a changed value write w = w - ..."
        )
    return True


def _rebind(t: Tensor, result: Tensor, what: str) -> Tensor:
    if t.node is not None and result.node is None and mode.get() is None:
        raise RuntimeError(
            f"{what} under no_grad on a Tensor (shape {t.shape}) that was computed from one with requires_grad=True "
            "would cut it off from its history, and gradients would be lost. Write to its value, t = t.detach(), or "
            "while operations are recorded"
        )
    t.data, t.node = result.data, result.node
    if hasattr(t, "_part"):
        del t._part  # its memory is its own now
    return t
