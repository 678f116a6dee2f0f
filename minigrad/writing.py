"""What looks like a write: t[index] = value and t += value.

Only a leaf under no_grad is written in place. Any other Tensor is rebound to a new result, so that the old value is
still there for the gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.changes import note_change
from minigrad.errors import ERRORS, complaint, refuse_mask
from minigrad.node import mode
from minigrad.ops import indexing
from minigrad.primitive import value_of

if TYPE_CHECKING:
    from minigrad.tensor import Tensor


def set_items(t: Tensor, index: Any, value: Any) -> None:
    """Do t[index] = value."""
    index = indexing.plain_index(index)
    if not _in_place(t, "t[index] = value"):
        _rebind(t, indexing.set_index(t, value, index=index))
        return
    given = value_of(value)
    refuse_mask(given, "t[index] = value")
    try:
        t.data[index] = given
    except ERRORS as error:
        raise complaint(error, "t[index] = value", (t, given), {"index": index}) from error
    note_change(t.data)


def augmented(symbol: str, function: Any) -> Any:
    """The method of an augmented assignment, such as t += value, for the function of its operator."""

    def assign(t: Tensor, other: Any) -> Tensor:
        in_place = _in_place(t, f"t {symbol}= value")
        value = function(t, other)
        if value.shape != t.shape:
            raise ValueError(
                f"t {symbol}= value would change the shape of t from {t.shape} to {value.shape}; write "
                f"t = t {symbol} value for a new Tensor"
            )
        if not in_place:
            return _rebind(t, value)
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


def _rebind(t: Tensor, result: Tensor) -> Tensor:
    t.data, t.node = result.data, result.node
    return t
