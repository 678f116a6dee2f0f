"""A stand-in for an array: it answers NumPy's protocols and refuses everything that the engine must not do to values.

It is not an ndarray. It refuses to become one (`__array__`), to become a number or a truth value, to be iterated, and
to be written to, except by the function of a primitive into an array that the same call created, or a view of it. Rules
and walks must go through NumPy's functions, or a tracer array could not see what they do.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np

from minigrad.util.duck_array import DuckArray, arrays_in, map_arrays

MAKERS = {np.zeros_like, np.ones_like, np.empty_like, np.full_like, np.copy}
VIEWS = {np.reshape, np.swapaxes, np.transpose, np.moveaxis}
WRITERS = {np.copyto, np.put_along_axis, np.place, np.put, np.putmask, np.fill_diagonal}


class Refused(AssertionError):
    """An operation that a tracer array does not support."""


class StandIn(DuckArray):
    """Wraps an ndarray and answers for it."""

    __slots__ = ("_array", "_made_in")

    def __init__(self, array: Any, made_in: Any = None) -> None:
        self._array = np.asarray(array)
        self._made_in = made_in

    def __repr__(self) -> str:
        return f"StandIn({self._array})"

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)

    def astype(self, dtype: Any, copy: bool = True) -> StandIn:
        return StandIn(self._array.astype(dtype, copy=copy))

    def __getitem__(self, index: Any) -> StandIn:
        part = StandIn(self._array[bare(index)])
        return inherited(part, self)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._check_write("an element was assigned", sys._getframe(1))
        self._array[bare(index)] = bare(value)

    def _check_write(self, what: str, frame: FrameType) -> None:
        place, name = innermost(frame)
        if name == "pull":
            raise Refused(f"{what} in a rule of {place}: rules do not write")
        if self._made_in is None or self._made_in is not place:
            raise Refused(f"{what}, of an array that was not allocated here")

    def mg_compute(self, function: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not all(isinstance(x, StandIn | np.ndarray) for x in arrays_in([args, kwargs])):
            return NotImplemented
        frame = sys._getframe(2)
        if method == "at" or function in WRITERS:
            args[0]._check_write(function.__name__, frame)
        outputs = kwargs.get("out")
        for out in outputs if isinstance(outputs, tuple) else (outputs,):
            if out is not None:
                check_out(out, function.__name__, frame)
        result = dressed(getattr(function, method)(*bare(args), **bare(kwargs)))
        if function in VIEWS:
            inherited(result, args[0])
        if isinstance(result, StandIn) and (function in MAKERS or isinstance(function, np.ufunc)):
            result._made_in = innermost(frame)[0]
        return result

    def mg_refuse(self, conversion: str) -> Any:
        raise Refused(f"{sys._getframe(2).f_code.co_name} called {conversion} of a stand-in")

    def __iter__(self) -> Any:
        return self.mg_refuse("__iter__")


def innermost(frame: FrameType | None) -> tuple[FrameType | None, str]:
    """The frame of the innermost function that was written for a primitive, else the caller's own; and its name."""
    caller = frame
    while frame is not None:
        if frame.f_code.co_filename.startswith("<minigrad primitive"):
            return frame, frame.f_code.co_name
        frame = frame.f_back
    return caller, "the walk"


def inherited(result: StandIn, source: Any) -> StandIn:
    """A view of an array may be written to where that array may."""
    if isinstance(source, StandIn) and (not result.size or np.may_share_memory(result._array, source._array)):
        result._made_in = source._made_in
    return result


def check_out(out: Any, name: str, frame: FrameType) -> None:
    if not isinstance(out, StandIn):
        raise Refused(f"{name}(out=...) wrote a stand-in's values into a plain array")
    out._check_write(f"{name}(out=...)", frame)


def bare(x: Any) -> Any:
    """The arrays within stand-ins, inside containers too."""
    return map_arrays(lambda stand_in: stand_in._array, StandIn, x)


def dressed(x: Any) -> Any:
    """Stand-ins for the arrays of a result."""
    return map_arrays(StandIn, (np.ndarray, np.generic), x)
