"""A stand-in for an array: it answers NumPy's protocols and refuses everything that the engine must not do to values.

It is no ndarray. It refuses to become one (`__array__`), to become a number or a truth value, to be iterated, and to
be written to, except by the function of a primitive into an array that this same call made, or a view of it. What the
rules and the walks do must go through NumPy's functions, or a tracer array could not see it.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

MAKERS = {np.zeros_like, np.ones_like, np.empty_like, np.full_like, np.copy}
VIEWS = {np.reshape, np.swapaxes, np.transpose, np.moveaxis}
WRITERS = {np.copyto, np.put_along_axis, np.place, np.put, np.putmask, np.fill_diagonal}


class Refused(AssertionError):
    """Something was done that a tracer array would not survive."""


class StandIn(NDArrayOperatorsMixin):
    """Wraps an ndarray and answers for it."""

    __slots__ = ("_array", "_made_in")

    def __init__(self, array: Any, made_in: Any = None) -> None:
        self._array = np.asarray(array)
        self._made_in = made_in

    def __repr__(self) -> str:
        return f"StandIn({self._array})"

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    T = property(lambda self: StandIn(self._array.T))
    mT = property(lambda self: StandIn(self._array.mT))

    def astype(self, dtype: Any, copy: bool = True) -> StandIn:
        return StandIn(self._array.astype(dtype, copy=copy))

    def __len__(self) -> int:
        return len(self._array)

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
            raise Refused(f"{what}, of an array that was not made here")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if any(is_foreign(x) for x in inputs):
            return NotImplemented
        if method == "at":
            inputs[0]._check_write(f"{ufunc.__name__}.at", sys._getframe(1))
        for out in options.get("out", ()):
            if out is not None:
                check_out(out, ufunc.__name__, sys._getframe(1))
        result = dressed(getattr(ufunc, method)(*bare(inputs), **bare(options)))
        if isinstance(result, StandIn):
            result._made_in = innermost(sys._getframe(1))[0]
        return result

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        if any(not issubclass(kind, StandIn | np.ndarray) for kind in types):
            return NotImplemented
        frame = sys._getframe(1)
        if function in WRITERS:
            inputs[0]._check_write(function.__name__, frame)
        if options.get("out") is not None:
            check_out(options["out"], function.__name__, frame)
        result = dressed(function(*bare(inputs), **bare(options)))
        if function in VIEWS:
            inherited(result, inputs[0])
        if function in MAKERS:
            result._made_in = innermost(frame)[0]
        return result

    def _refuse(self, *arguments: Any, **options: Any) -> Any:
        raise Refused(f"{sys._getframe(1).f_code.co_name} asked a stand-in for its bare value")

    __array__ = __float__ = __int__ = __bool__ = __index__ = __complex__ = __iter__ = _refuse


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


def is_foreign(x: Any) -> bool:
    return hasattr(type(x), "__array_ufunc__") and not isinstance(x, StandIn | np.ndarray | np.generic)


def bare(x: Any) -> Any:
    """The arrays within stand-ins, inside containers too."""
    if isinstance(x, StandIn):
        return x._array
    if isinstance(x, tuple | list):
        return type(x)(map(bare, x)) if not hasattr(x, "_fields") else x
    if isinstance(x, dict):
        return {k: bare(v) for k, v in x.items()}
    return x


def dressed(x: Any) -> Any:
    """Stand-ins for the arrays of a result."""
    if isinstance(x, np.ndarray | np.generic):
        return StandIn(x)
    if hasattr(x, "_fields"):
        return type(x)(*map(dressed, x))
    if isinstance(x, tuple | list):
        return type(x)(map(dressed, x))
    return x
