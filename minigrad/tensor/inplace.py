"""Assignments to elements and augmented assignments: t[index] = value and t += value.

Only a leaf under no_grad is written in place. Any other Tensor is rebound to a new result, so that the old value
remains for the gradient. So a part, q = x[0], is a Tensor of its own: q *= 2 changes q and not x. A write that would be
lost for this reason is refused: x[0][1] = value, and `for row in x: row /= 2`.
"""

from __future__ import annotations

import sys
import weakref
from types import EllipsisType, FrameType, NoneType
from typing import Any

import numpy as np

from minigrad.engine.errors import ERRORS, explain_error, refuse_mask
from minigrad.engine.mutation import note_change
from minigrad.engine.node import mode, transformed
from minigrad.engine.primitive import value_of
from minigrad.ops import indexing
from minigrad.util.bytecode import instruction

Tensor = Any  # the class imports this file

BASIC = frozenset({int, slice, NoneType, EllipsisType, *(np.dtype(code).type for code in "bhilqBHILQ")})
OWN_REFERENCES = 2  # those of the function that counts the references to a base


def note_part(part: Tensor, base: Tensor, rows: Rows | None = None) -> Tensor:
    """The part, which from now on has a weak reference to its base; to the outermost base if that is a part itself."""
    of_base = getattr(base, "_part", None)
    reference = weakref.ref(base) if of_base is None or of_base[0]() is None else of_base[0]
    part._part = (reference, None if rows is None else weakref.ref(rows))
    return part


class Rows:
    """An iterator over the parts of a Tensor along its first axis.

    In `a, b = t` they are Tensors of their own, and so are the elements of a vector, which NumPy returns as numbers. In
    a loop they are parts of t.
    """

    __slots__ = ("__weakref__", "base", "is_loop", "k")

    def __init__(self, base: Tensor, caller: FrameType) -> None:
        self.base, self.k = base, 0
        self.is_loop = base.ndim > 1 and not instruction(caller.f_code, caller.f_lasti).startswith("UNPACK")

    def __iter__(self) -> Rows:
        return self

    def __next__(self) -> Tensor:
        if self.k == len(self.base):
            raise StopIteration
        part = self.base[self.k]
        self.k += 1
        return note_part(part, self.base, self) if self.is_loop else part


def is_basic(index: Any) -> bool:
    """Whether NumPy would return a view for this index."""
    return type(index) in BASIC or (type(index) is tuple and all(type(k) in BASIC for k in index))


def refuse_traced(value: Any, what: str) -> None:
    """Refuse a value that depends on the argument of a transform, where it is written into a leaf under no_grad."""
    since, node = transformed.get(), getattr(value, "node", None)
    if since is not None and node is not None and node.serial >= since:
        raise RuntimeError(
            f"{what} under no_grad inside a function that mg.grad and the like differentiate, with a value of shape "
            f"{value.shape} that depends on its argument: the gradient would be lost. Assign the value instead of "
            "copying it, setattr(module, name, value), or leave no_grad out"
        )


def _refuse_part(t: Tensor, what: str, always: bool) -> None:
    """Refuse a write to a part, which would not change its base, if there are other references to the base."""
    reference, rows = getattr(t, "_part", (None, None))
    if reference is None or not (always or rows is not None) or (base := reference()) is None:
        return
    if rows is not None and sys.getrefcount(base) == OWN_REFERENCES + (rows() is not None):
        return  # for row in x * 2: only the loop refers to the base
    raise RuntimeError(
        f"{what} on a part, of shape {t.shape}, of a Tensor of shape {base.shape}: the part alone would change. Write "
        "to the whole Tensor, x[0, 1] = value or x[k] /= 2, or to a copy, row = mg.copy(x[0])"
    )


def set_items(t: Tensor, index: Any, value: Any) -> None:
    """Do t[index] = value."""
    if sys.getrefcount(t) == _temporary and _is_assignment(sys._getframe(2)):
        raise RuntimeError(
            f"t[index] = value on a Tensor of shape {t.shape} that nothing else refers to, so the value would be lost. "
            "Write to the Tensor that it comes from, x[0, 1] = value instead of x.reshape(-1)[1] = value"
        )
    index = indexing.plain_index(index)
    if not _in_place(t, "t[index] = value"):
        _refuse_part(t, "t[index] = value", always=True)
        _rebind(t, indexing.set_index(t, value, index=index), "t[index] = value")
        return
    refuse_traced(value, "t[index] = value")
    array = value_of(value)
    refuse_mask(array, "t[index] = value")
    try:
        t.data[index] = array
    except ERRORS as error:
        raise explain_error(error, "t[index] = value", (t, array), {"index": index}) from error
    note_change(t.data)


def augmented(symbol: str, function: Any) -> Any:
    """The method of an augmented assignment, such as t += value, for the function of its operator."""

    def assign(t: Tensor, other: Any) -> Tensor:
        in_place = _in_place(t, f"t {symbol}= value")
        if in_place:
            refuse_traced(other, f"t {symbol}= value")
        else:
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
    """Whether a write changes the array, that of a leaf under no_grad, or makes a new one.

    Raises:
        RuntimeError: t is a leaf, and operations are recorded.
    """
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
        del t._part  # it has its own memory now
    return t


def _is_assignment(frame: FrameType) -> bool:
    """Whether a frame executes x[index] = value; in x.__setitem__(index, value) there is one reference less."""
    return instruction(frame.f_code, frame.f_lasti).startswith("STORE")


class _Probe:
    def __setitem__(self, index: int, counts: list[int]) -> None:
        _count(self, counts)


def _count(probe: _Probe, counts: list[int]) -> None:
    counts.append(sys.getrefcount(probe))


def _count_of_temporary() -> int:
    """The references that `set_items` counts to a Tensor that is the value of an expression; 0 if that is not unique.

    From Python 3.14 on the count may be the same for a variable; then only writes to parts are refused.
    """
    counts: list[int] = []
    named = _Probe()
    _Probe()[0] = counts
    named[0] = counts
    return counts[0] if counts[0] < counts[1] else 0


_temporary = _count_of_temporary()
