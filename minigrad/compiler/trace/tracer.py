"""Tracer arrays: an array that computes as NumPy does and lets a trace record every call that it takes part in.

It represents a real array (`mg_array`), on which every call is executed, and a value of the program. Several tracer
arrays may share memory. So each knows its `Memory`, and a view knows how it was made of another one (`mg_parent` and
`mg_step`): after a write through one of them, the value of another is computed again from the memory's present value.
No value of a program is ever out of date:

    t = p[2:]; p += 1; y = t * 2        t is now a slice of p + 1
"""

from __future__ import annotations

import operator
import sys
import weakref
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import Value
from minigrad.compiler.ir.view_memory import Memory, Step
from minigrad.compiler.refusal import (
    OWN,
    HiddenAttribute,
    is_index,
    note_conversion,
    note_read,
    stop,
    user_frame,
    user_line,
)
from minigrad.compiler.trace.tracer_operators import TracedFlags, TracerOperators, as_scalar, real_of
from minigrad.util.bytecode import instruction

SCALAR = frozenset({np.transpose, np.squeeze, np.real, np.imag})  # functions that return a scalar for a scalar
MEMORY = frozenset(f"__array_{name}__" for name in ("interface", "struct", "priority", "wrap", "prepare", "finalize"))


def _assign(x: TracerArray, name: str, new: Any) -> None:
    """Set an attribute of the real array; the trace stops recording."""
    stop(x.mg_trace, f"array.{name} is assigned to", "use a NumPy function that returns a new array")
    setattr(x.mg_array, name, real_of(new))


def _part(name: str) -> Any:
    """The real or imaginary part, which of real numbers is the array itself."""

    def assign(self: TracerArray, new: Any) -> None:
        if name == "real" and self.dtype.kind != "c":
            self[...] = new
        else:
            _assign(self, name, new)

    return property(lambda self: getattr(np, name)(self), assign)


class TracerArray(TracerOperators):
    """An array inside a traced step.

    Attributes that an array does not have begin with mg_, so that code that asks for x.value finds what an array has.
    """

    __slots__ = (
        *("__weakref__", "mg_array", "mg_cached", "mg_is_scalar", "mg_memory", "mg_parent", "mg_step", "mg_trace"),
        "mg_version",
    )
    minigrad_tracer = True

    def __init__(
        self, trace: Any, array: Any, memory: Memory, parent: TracerArray | None = None, step: Step | None = None
    ) -> None:
        self.mg_trace, self.mg_array, self.mg_memory, self.mg_parent, self.mg_step = trace, array, memory, parent, step
        self.mg_cached: Value | None = None
        self.mg_version = -1
        self.mg_is_scalar = False  # whether it represents a NumPy scalar
        trace.tracers.append(weakref.ref(self))

    @property  # type: ignore[misc]  # that of object may be assigned
    def __class__(self) -> Any:
        """The class of the array: isinstance(x, np.ndarray) is the same as in an eager step."""
        return self.mg_array.dtype.type if self.mg_is_scalar else np.ndarray

    @property
    def mg_real(self) -> Any:
        """The array or NumPy scalar that an eager step would have instead."""
        return self.mg_array[()] if self.mg_is_scalar else self.mg_array

    @property
    def mg_value(self) -> Value:
        """The present value in the program."""
        if self.mg_version != self.mg_memory.version or self.mg_cached is None:
            self.mg_cached = self.mg_trace.present(self)
            self.mg_version = self.mg_memory.version
        return self.mg_cached

    def mg_write(self, value: Value) -> None:
        """Give this part of the memory another value from here on."""
        self.mg_memory.value = self.mg_trace.memory_after(self, value)
        self.mg_memory.version += 1
        self.mg_cached, self.mg_version = value, self.mg_memory.version

    def __hash__(self) -> int:
        if not self.mg_is_scalar:
            raise TypeError("unhashable type: 'numpy.ndarray'")
        return hash(self.mg_no_value())

    # Attributes

    shape = property(lambda self: self.mg_array.shape, lambda self, new: _assign(self, "shape", new))
    dtype = property(lambda self: self.mg_array.dtype, lambda self, new: _assign(self, "dtype", new))
    strides = property(lambda self: self.mg_array.strides, lambda self, new: _assign(self, "strides", new))
    flat = property(lambda self: self.__getattr__("flat"), lambda self, new: _assign(self, "flat", new))
    real, imag = _part("real"), _part("imag")
    nbytes = property(lambda self: self.mg_array.nbytes)
    itemsize = property(lambda self: self.mg_array.itemsize)

    flags = property(TracedFlags)

    def __len__(self) -> int:
        return len(self.mg_real)

    def __iter__(self) -> Any:
        return iter(self.mg_real) if self.mg_is_scalar else (self[k] for k in range(len(self)))

    # NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return self.mg_trace.ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        result = self.mg_trace.function(function, types, args, kwargs)
        is_of_scalar = function in SCALAR and args and type(args[0]) is TracerArray and args[0].mg_is_scalar
        return as_scalar(result) if is_of_scalar else result

    def __getitem__(self, index: Any) -> Any:
        if self.mg_is_scalar:
            _ = self.mg_real[real_of(index)]  # raises what is wrong with an index of a scalar
        return self.mg_trace.getitem(self, index)

    def __setitem__(self, index: Any, new: Any) -> None:
        if self.mg_is_scalar:
            self.mg_real[index] = new  # raises what an eager step would
        frame = sys._getframe(1)
        is_users = self.mg_trace.open and not frame.f_code.co_filename.startswith(OWN)
        if is_users and not instruction(frame.f_code, frame.f_lasti).startswith("STORE"):
            self.mg_abort("is written by C code, as by np.random.shuffle", "do it outside of the step")
        self.mg_trace.setitem(self, index, new)

    def mg_opaque_call(self, function: Any, *operands: Any, **settings: Any) -> Any:
        """The value of one of minigrad's own functions on arrays, as one operation."""
        return self.mg_trace.function(function, (), operands, settings)

    def mg_check(self, low: Any, high: Any) -> Any:
        """The values of this call, for a check (ops/checking.py) that later calls repeat."""
        return self.mg_trace.check(self, low, high)

    def mg_as_number(self) -> Any:
        """The Python number of a NumPy scalar, for code of minigrad's that stores it."""
        real = self.mg_array.item()
        is_traced = self.mg_trace.open and type(real) in (int, float) and self.size == 1
        return self.mg_trace.number(self, real) if is_traced else real

    # Methods

    def astype(self, dtype: Any, order: str = "K", casting: str = "unsafe", copy: bool = True) -> Any:
        """A copy in another dtype."""
        result = self.mg_trace.cast(self, np.dtype(dtype), casting, copy)
        return as_scalar(result) if self.mg_is_scalar else result

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
        """np.reshape."""
        options: Any = {"order": order} if copy is None else {"order": order, "copy": copy}
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **options)

    def transpose(self, *axes: Any) -> Any:
        """np.transpose."""
        if self.mg_is_scalar:
            return self
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def flatten(self, order: Any = "C") -> Any:
        """A copy with one axis."""
        return np.copy(np.reshape(self, -1, order=order))

    def copy(self, order: Any = "C") -> Any:
        """A copy in C order, as of the method of an array; np.copy keeps the layout. A scalar needs none."""
        if self.mg_is_scalar:
            return self
        return np.copy(self, order=order)

    def clip(self, min: Any = None, max: Any = None, out: Any = None, **options: Any) -> Any:
        """np.clip, which needs both limits."""
        return np.clip(self, min, max, out=out, **options)

    def conjugate(self) -> Any:
        """np.conjugate, and the array itself if it is real."""
        return np.conjugate(self) if self.dtype.kind == "c" else self

    conj = conjugate

    def fill(self, value: Any) -> None:
        """Write one value everywhere."""
        self[...] = value

    def resize(self, *shape: Any, refcheck: bool = True) -> None:
        """Not supported: tracers of views would keep the old memory.

        Raises:
            TypeError: always; the recording is then undone, and the step runs eagerly.
        """
        raise TypeError(f"a TracerArray array of shape {self.shape} cannot be resized in place")

    def view(self, *dtype: Any) -> Any:
        """The same array. Another dtype for the same bytes is not supported."""
        if dtype:
            stop(self.mg_trace, f".view{dtype} reads the bytes of an array as another dtype", "use .astype(dtype)")
            return self.mg_array.view(*dtype)
        return self if self.mg_is_scalar else self[...]

    def item(self, *args: Any) -> Any:
        """Its only element: of a bool a decision, else a traced number where its use can be followed."""
        if not args and self.size == 1 and self.dtype == np.bool_:
            return bool(self)
        number = None if args else self.mg_trace.taken(self, user_frame(sys._getframe(1)))
        return self.mg_no_value().item(*args) if number is None else number

    # What Python asks for

    def mg_no_value(self, *args: Any, **kwargs: Any) -> Any:
        """The real value, for Python to read. Unless it is a constant of the program, the trace stops recording."""
        note_read(self)
        return self.mg_real

    def mg_abort(self, what: str, hint: str) -> None:
        """Abort the recording, if it has not ended: C code would see a tracer instead of an array."""
        if self.mg_trace.open:
            self.mg_trace.abort(f"an array of shape {self.shape} {what}, at {user_line()}", hint)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.mg_trace.open:
            frame = user_frame(sys._getframe(1))
            if frame is not None and "-packages" in frame.f_code.co_filename:  # it may rely on a copy
                self.mg_abort("is read by another library", "call it outside of the step, and pass what it returns")
            note_conversion(self)
        return np.array(self.mg_array, dtype=dtype, copy=copy)

    def __bool__(self) -> bool:
        if not self.mg_trace.open or self.size != 1:
            return bool(self.mg_no_value())
        outcome = bool(self.mg_real)
        return outcome if self.mg_trace.pin_array(self) else self.mg_trace.decide(self.mg_value, outcome)

    def __index__(self) -> int:
        frame = user_frame(sys._getframe(1)) if self.ndim else None
        if frame is not None and not is_index(frame):  # bytearray(x) asks for a size first, then for the memory
            self.mg_abort("is read as bytes, or used as an index", "use NumPy functions: x.tobytes()")
        return operator.index(self.mg_no_value())

    def __contains__(self, x: Any) -> bool:
        return real_of(x) in self.mg_no_value()

    def __buffer__(self, flags: int) -> memoryview:  # called from Python 3.12 on
        stop(self.mg_trace, f"the memory of an array of shape {self.shape} is read", "use NumPy functions")
        return memoryview(self.mg_array)

    def __bytes__(self) -> bytes:
        self.mg_abort("is read as bytes", "use NumPy functions: x.tobytes()")  # of a scalar, int.from_bytes() differs
        return bytes(self.mg_real)

    def __sizeof__(self) -> int:
        self.mg_abort("is asked for its size in memory", "use x.nbytes")
        return int(self.mg_real.__sizeof__())

    def __copy__(self) -> Any:
        return self if self.mg_is_scalar else np.copy(self)

    def __deepcopy__(self, memo: Any) -> Any:
        return self.__copy__()

    def __getattr__(self, name: str) -> Any:
        if not hasattr(self.mg_real, name):
            return getattr(self.mg_real, name)  # raises what an eager step would
        if name in MEMORY and not _is_named(sys._getframe(1)):  # np.asarray looks for these before it calls __array__
            raise HiddenAttribute(f"{self.__class__.__name__!r} object has no attribute {name!r}")
        hint = f"use np.{name}(x)" if hasattr(np, name) else "use a NumPy function that returns a new array"
        stop(self.mg_trace, f"array.{name}", hint)
        return getattr(self.mg_real, name)


def _is_named(frame: Any) -> bool:
    """Whether a frame of the user's reads an attribute by name: x.__array_interface__."""
    code = frame.f_code
    return not code.co_filename.startswith(OWN) and instruction(code, frame.f_lasti) in ("LOAD_ATTR", "LOAD_METHOD")
