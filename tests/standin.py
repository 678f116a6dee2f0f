"""A stand-in for an array: it implements NumPy's protocols and raises for everything that the engine must not do.

It is not an ndarray. It raises when it is converted to one (`__array__`), to a number or a truth value, when it is
iterated, and when it is written to, except by the function of a primitive that writes into an array which the same call
allocated, or a view of it. Rules and walks must use NumPy's functions, as tracer arrays intercept nothing else.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

ALLOCATORS = {np.zeros_like, np.ones_like, np.empty_like, np.full_like, np.copy}
VIEWS = {np.reshape, np.swapaxes, np.transpose, np.moveaxis}
WRITERS = {np.copyto, np.put_along_axis, np.place, np.put, np.putmask, np.fill_diagonal}


class Refused(AssertionError):
    """An operation that a tracer array does not support."""


class StandIn(NDArrayOperatorsMixin):
    """A wrapper of an ndarray."""

    __slots__ = ("_allocated_in", "_array")

    def __init__(self, array: Any, allocated_in: Any = None) -> None:
        self._array = np.asarray(array)
        self._allocated_in = allocated_in

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
        return as_view(part, self)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._check_write("an element was assigned", sys._getframe(1))
        self._array[bare(index)] = bare(value)

    def _check_write(self, what: str, frame: FrameType) -> None:
        place, name = innermost(frame)
        if name == "pull":
            raise Refused(f"{what} in a rule of {place}: rules do not write")
        if self._allocated_in is None or self._allocated_in is not place:
            raise Refused(f"{what}, of an array that was not allocated here")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if any(is_foreign(x) for x in inputs):
            return NotImplemented
        if method == "at":
            inputs[0]._check_write(f"{ufunc.__name__}.at", sys._getframe(1))
        for out in options.get("out", ()):
            if out is not None:
                check_out(out, ufunc.__name__, sys._getframe(1))
        result = wrapped(getattr(ufunc, method)(*bare(inputs), **bare(options)))
        if isinstance(result, StandIn):
            result._allocated_in = innermost(sys._getframe(1))[0]
        return result

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        if any(not issubclass(kind, StandIn | np.ndarray) for kind in types):
            return NotImplemented
        frame = sys._getframe(1)
        if function in WRITERS:
            inputs[0]._check_write(function.__name__, frame)
        if options.get("out") is not None:
            check_out(options["out"], function.__name__, frame)
        result = wrapped(function(*bare(inputs), **bare(options)))
        if function in VIEWS:
            as_view(result, inputs[0])
        if function in ALLOCATORS:
            result._allocated_in = innermost(frame)[0]
        return result

    def _refuse(self, *arguments: Any, **options: Any) -> Any:
        raise Refused(f"{sys._getframe(1).f_code.co_name} asked a stand-in for its bare value")

    __array__ = __float__ = __int__ = __bool__ = __index__ = __complex__ = __iter__ = _refuse


def innermost(frame: FrameType | None) -> tuple[FrameType | None, str]:
    """The frame of the innermost generated function of a primitive, else that of the caller; and its name."""
    caller = frame
    while frame is not None:
        if frame.f_code.co_filename.startswith("<minigrad primitive"):
            return frame, frame.f_code.co_name
        frame = frame.f_back
    return caller, "the walk"


def as_view(result: StandIn, source: Any) -> StandIn:
    """A view of an array may be written to by the same call as the array."""
    if isinstance(source, StandIn) and (not result.size or np.may_share_memory(result._array, source._array)):
        result._allocated_in = source._allocated_in
    return result


def check_out(out: Any, name: str, frame: FrameType) -> None:
    if not isinstance(out, StandIn):
        raise Refused(f"{name}(out=...) wrote a stand-in's values into a plain array")
    out._check_write(f"{name}(out=...)", frame)


def is_foreign(x: Any) -> bool:
    return hasattr(type(x), "__array_ufunc__") and not isinstance(x, StandIn | np.ndarray | np.generic)


def bare(x: Any) -> Any:
    """The arrays of stand-ins, also inside containers."""
    if isinstance(x, StandIn):
        return x._array
    if isinstance(x, tuple | list):
        return type(x)(map(bare, x)) if not hasattr(x, "_fields") else x
    if isinstance(x, dict):
        return {k: bare(v) for k, v in x.items()}
    return x


def wrapped(x: Any) -> Any:
    """A result with stand-ins instead of arrays."""
    if isinstance(x, np.ndarray | np.generic):
        return StandIn(x)
    if hasattr(x, "_fields"):
        return type(x)(*map(wrapped, x))
    if isinstance(x, tuple | list):
        return type(x)(map(wrapped, x))
    return x
