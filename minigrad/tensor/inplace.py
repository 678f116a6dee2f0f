"""What looks like a write: t[index] = value and t += value.

Only a leaf under no_grad is written in place. Any other Tensor is rebound to a new result, so that the old value is
still there for the gradient.

A part of a Tensor, x[0] or x.T, remembers what it is a part of, so that a write to it reaches that as well, as it does
in NumPy: x[0][1] = value, and `for row in x: row /= 2`. The whole is rebound in its turn, and the gradient is right.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine.errors import ERRORS, explain_error, refuse_mask
from minigrad.engine.mutation import note_change
from minigrad.engine.node import mode
from minigrad.engine.primitive import value_of
from minigrad.ops import indexing, shape

if TYPE_CHECKING:
    from minigrad.tensor.tensor import Tensor

TRANSPOSED = "mT"  # in place of an index


def note_part(part: Tensor, whole: Tensor, index: Any) -> Tensor:
    """The part, which remembers the whole if it shares its memory: (whole, index).

    Once it was written it has memory of its own; then what the whole held after that is there too.
    """
    data = part.data if type(part.data) is np.ndarray else getattr(part.data, "mg_array", None)
    if data is not None and data.base is not None:
        if hasattr(whole, "_part") and _is_unseen(whole._part):
            del whole._part  # h = h[1:] keeps nothing of what h was before
        part._part = (whole, index)
    return part


def _is_unseen(part: Any) -> bool:
    """Whether nobody else has the whole, nor what that is a part of itself."""
    return sys.getrefcount(part[0]) <= UNSEEN and not hasattr(part[0], "_part")


UNSEEN = 2  # references to a whole that only its part has, and the one that counts them


def _write_whole(t: Tensor, result: Tensor) -> None:
    """Let what t is a part of hold the result.

    Raises:
        RuntimeError: it holds something else than when the part was taken from it.
    """
    whole, index, *held = t._part
    data = getattr(whole.data, "mg_array", whole.data)
    is_same = whole.data is held[0] if held else _base(getattr(t.data, "mg_array", t.data)) is _base(data)
    if not is_same:
        raise RuntimeError(
            f"a write to a part of shape {t.shape} of a Tensor of shape {whole.shape} that was written itself since "
            "the part was taken from it. Take it again, row = x[0], or write to the whole, x[0, 1] = value"
        )
    if index is TRANSPOSED:
        set_items(whole, ..., shape.matrix_transpose(result))
    else:
        set_items(whole, index, result)
    t._part = (whole, index, whole.data)


def _base(array: Any) -> Any:
    return array if array.base is None else array.base


def set_items(t: Tensor, index: Any, value: Any) -> None:
    """Do t[index] = value."""
    index = indexing.plain_index(index)
    if _is_there(t, index, value):
        return
    if not _in_place(t, "t[index] = value"):
        _rebind(t, indexing.set_index(t, value, index=index))
        return
    given = value_of(value)
    refuse_mask(given, "t[index] = value")
    try:
        t.data[index] = given
    except ERRORS as error:
        raise explain_error(error, "t[index] = value", (t, given), {"index": index}) from error
    note_change(t.data)


def _is_there(t: Tensor, index: Any, value: Any) -> bool:
    """Whether this is the second half of t[index] += value, whose first has written to t already."""
    part: tuple[Any, ...] = getattr(value, "_part", ())
    if len(part) < 3 or part[0] is not t or part[2] is not t.data:
        return False
    return part[1] is not TRANSPOSED and indexing.is_basic(index) and bool(part[1] == index)


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
    if hasattr(t, "_part") and not _is_unseen(t._part):
        _write_whole(t, result)
    t.data, t.node = result.data, result.node
    return t
