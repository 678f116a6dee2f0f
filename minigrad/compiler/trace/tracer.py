"""Tracer arrays: an array that computes as NumPy does and lets a trace record every call that it takes part in.

It stands for a real array (`mg_array`), on which every call is carried out, and for a value of the program. Several
tracer arrays may share memory. So each knows its `Memory`, and as a view how it was made of another one (`mg_parent`
and `mg_step`): after a write through one of them, the value of another is made again from the memory's present value.
Nothing that a program holds is ever out of date:

    t = p[2:]; p += 1; y = t * 2        t is now a slice of p + 1
"""

from __future__ import annotations

import operator
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from minigrad.compiler.advice import is_index
from minigrad.compiler.ir.program import Value
from minigrad.compiler.ir.view_memory import Memory, Step
from minigrad.compiler.refusal import OWN, HiddenAttribute, filling, place, reading, stop, user_frame
from minigrad.util.bytecode import instruction

SCALAR = frozenset({np.transpose, np.squeeze, np.real, np.imag})  # functions that make a scalar of a scalar


class TracerArray(NDArrayOperatorsMixin):
    """An array inside a traced step.

    What an array does not have begins with mg_: code that asks for x.value or x.array finds what it finds in an array.
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
        self.mg_is_scalar = False  # whether it stands for a NumPy scalar
        trace.tracers.append(weakref.ref(self))

    @property  # type: ignore[misc]  # nobody assigns it
    def __class__(self) -> Any:
        """That of the array: isinstance(x, np.ndarray) is answered as in an eager step."""
        return self.mg_array.dtype.type if self.mg_is_scalar else np.ndarray

    @property
    def mg_real_array(self) -> Any:
        """What an eager step would have in its place."""
        return self.mg_array[()] if self.mg_is_scalar else self.mg_array

    @property
    def mg_value(self) -> Value:
        """The present value in the program."""
        if self.mg_version != self.mg_memory.version or self.mg_cached is None:
            self.mg_cached = self.mg_trace.present(self)
            self.mg_version = self.mg_memory.version
        return self.mg_cached

    def mg_write(self, value: Value) -> None:
        """This part of the memory has another value from here on."""
        self.mg_memory.value = self.mg_trace.memory_after(self, value)
        self.mg_memory.version += 1
        self.mg_cached, self.mg_version = value, self.mg_memory.version

    def __hash__(self) -> int:
        if not self.mg_is_scalar:
            raise TypeError("unhashable type: 'numpy.ndarray'")
        return hash(self.mg_no_value())

    # What it is

    shape = property(lambda self: self.mg_array.shape)
    dtype = property(lambda self: self.mg_array.dtype)
    ndim = property(lambda self: self.mg_array.ndim)
    size = property(lambda self: self.mg_array.size)
    nbytes = property(lambda self: self.mg_array.nbytes)
    itemsize = property(lambda self: self.mg_array.itemsize)
    T = property(lambda self: self.transpose())
    mT = property(lambda self: np.swapaxes(self, -1, -2))

    def __len__(self) -> int:
        return len(self.mg_real_array)

    def __repr__(self) -> str:
        if self.mg_trace.open:
            reading(self)
        return repr(self.mg_real_array)

    def __iter__(self) -> Any:
        return iter(self.mg_real_array) if self.mg_is_scalar else (self[k] for k in range(len(self)))

    # NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return self.mg_trace.ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        made = self.mg_trace.function(function, types, args, kwargs)
        is_of_scalar = function in SCALAR and args and type(args[0]) is TracerArray and args[0].mg_is_scalar
        return _scalar(made) if is_of_scalar else made

    def __getitem__(self, index: Any) -> Any:
        if self.mg_is_scalar:
            _ = self.mg_real_array[bare(index)]  # which says what is wrong with an index of a scalar
        return self.mg_trace.getitem(self, index)

    def __setitem__(self, index: Any, new: Any) -> None:
        if self.mg_is_scalar:
            self.mg_real_array[index] = new  # raises what the user would see
        frame = sys._getframe(1)
        is_users = self.mg_trace.open and not frame.f_code.co_filename.startswith(OWN)
        if is_users and not instruction(frame.f_code, frame.f_lasti).startswith("STORE"):
            self.mg_halt("is written by C code, as by np.random.shuffle", "do it outside of the step")
        self.mg_trace.setitem(self, index, new)

    def takes_whole(self, function: Any, *operands: Any, **settings: Any) -> Any:
        """The value of one of minigrad's own functions on arrays, as one operation."""
        return self.mg_trace.function(function, (), operands, settings)

    def takes_check(self, low: Any, high: Any) -> Any:
        """The values of this call, for a check (ops/checking.py) that later calls make as well."""
        return self.mg_trace.check(self, low, high)

    def mg_as_number(self) -> Any:
        """The Python number of a NumPy scalar, for code of minigrad's that keeps it as such."""
        real = self.mg_array.item()
        is_traced = self.mg_trace.open and type(real) in (int, float) and self.size == 1
        return self.mg_trace.number(self, real) if is_traced else real

    # Methods are NumPy's functions

    def astype(self, dtype: Any, order: str = "K", casting: str = "unsafe", copy: bool = True) -> Any:
        """A copy in another dtype."""
        made = self.mg_trace.cast(self, np.dtype(dtype), casting, copy)
        return _scalar(made) if self.mg_is_scalar else made

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
        """np.reshape."""
        given = shape[0] if len(shape) == 1 else shape
        return np.reshape(self, given, order=order) if copy is None else np.reshape(self, given, order=order, copy=copy)  # type: ignore[call-overload]

    def transpose(self, *axes: Any) -> Any:
        """np.transpose."""
        if self.mg_is_scalar:
            return self
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def flatten(self, order: Any = "C") -> Any:
        """A copy with one axis."""
        return np.copy(np.reshape(self, -1, order=order))

    def copy(self, order: Any = "C") -> Any:
        """A copy in C order, as the method of an array makes it; np.copy keeps the layout. A scalar needs none."""
        if self.mg_is_scalar:
            return self
        return np.copy(self, order=order)

    def clip(self, min: Any = None, max: Any = None, out: Any = None, **options: Any) -> Any:
        """np.clip, which does not take one limit alone."""
        return np.clip(self, min, max, out=out, **options)

    def conjugate(self) -> Any:
        """np.conjugate, and the array itself if it is real."""
        return np.conjugate(self) if self.dtype.kind == "c" else self

    conj = conjugate

    def fill(self, value: Any) -> None:
        """Write one value everywhere."""
        self[...] = value

    def resize(self, *shape: Any, refcheck: bool = True) -> None:
        """Other memory for the same array: tracers of its views would stay in the old one.

        Raises:
            TypeError: always; the session then undoes the recording and runs the step eagerly.
        """
        raise TypeError(f"a TracerArray array of shape {self.shape} cannot be resized in place")

    def view(self, *given: Any) -> Any:
        """The same array; another dtype for the same bytes is refused."""
        if given:
            stop(self, f".view{given} looks at the bytes of an array", "use .astype(dtype)")
            return self.mg_array.view(*given)
        return self if self.mg_is_scalar else self[...]

    def mg_no_value(self, *args: Any, **kwargs: Any) -> Any:
        """The real value, which Python reads: unless it is a constant of the program, the trace stops recording."""
        if self.mg_trace.open:
            reading(self)
        return self.mg_real_array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.mg_trace.open:
            frame = user_frame(sys._getframe(1))
            if frame is not None and "-packages" in frame.f_code.co_filename:  # which may take it for a copy
                self.mg_halt("is read by another library", "call it outside of the step, and pass what it gives")
            filling(self)
        return np.array(self.mg_array, dtype=dtype, copy=copy)

    def __format__(self, form: str) -> str:
        return format(self.mg_no_value(), form)

    def __str__(self) -> str:
        return str(self.mg_no_value())

    def __reduce__(self) -> Any:
        return self.mg_no_value().__reduce__()

    def __copy__(self) -> Any:
        return self if self.mg_is_scalar else np.copy(self)

    def __deepcopy__(self, memo: Any) -> Any:
        return self if self.mg_is_scalar else np.copy(self)

    def __float__(self) -> float:
        return float(self.mg_no_value())

    def __int__(self) -> int:
        return int(self.mg_no_value())

    def __round__(self, *digits: Any) -> Any:
        return round(self.mg_no_value(), *digits)

    def __trunc__(self) -> Any:
        return self.mg_no_value().__trunc__()

    def __pow__(self, other: Any) -> Any:
        if self.mg_is_scalar and self.dtype.kind == "b":  # of a bool and a Python number NumPy's scalars say the dtype
            return _scalar(np.power(self.astype((self.mg_real_array ** bare(other)).dtype), other))
        if type(other) is int and other == 2:  # as arrays do: of bools np.power would make other integers
            return np.square(self)
        if isinstance(other, (float, np.floating)) and other == 0.5 and self.dtype.kind == "f":
            if self.mg_is_scalar:  # scalars compute powers as C does: of -inf and -0.0 they are no roots
                x = self if type(other) is float else self * type(other)(1)
                return _scalar(np.where(x == -np.inf, -x, np.sqrt(x + 0.0)))
            if type(other) is float:
                return np.sqrt(self)  # as arrays do
        return np.power(self, other) if not _answers_itself(other) else NotImplemented

    def __contains__(self, x: Any) -> bool:
        if self.mg_trace.open:
            reading(self)
        return bare(x) in self.mg_array

    def __buffer__(self, flags: int) -> memoryview:  # asked for from Python 3.12 on
        if self.mg_trace.open:
            stop(self, f"the memory of an array of shape {self.shape} is used", "use NumPy functions")
        return memoryview(self.mg_array)

    def __complex__(self) -> complex:
        return complex(self.mg_no_value())

    def __bool__(self) -> bool:
        if not self.mg_trace.open or self.size != 1:
            return bool(self.mg_no_value())
        outcome = bool(self.mg_real_array)
        return outcome if self.mg_trace.pin_array(self) else self.mg_trace.decide(self.mg_value, outcome)

    def __index__(self) -> int:
        frame = user_frame(sys._getframe(1)) if self.ndim and self.mg_trace.open else None
        if frame is not None and not is_index(frame):  # bytearray(x) asks for a size first, then for the memory
            self.mg_halt("is read as bytes, or stands for an index", "use NumPy functions: x.tobytes()")
        return operator.index(self.mg_no_value())

    def __bytes__(self) -> bytes:
        if self.mg_trace.open:  # of a scalar bytes() and int.from_bytes() make different ones
            self.mg_halt("is read as bytes", "use NumPy functions: x.tobytes()")
        return bytes(self.mg_real_array)

    def __sizeof__(self) -> int:
        if self.mg_trace.open:
            self.mg_halt("is asked for its size in memory", "use x.nbytes")
        return int(self.mg_real_array.__sizeof__())

    def mg_halt(self, what: str, hint: str) -> None:
        """Undo the recording: C code would see something else than an array."""
        self.mg_trace.halt(f"an array of shape {self.shape} {what}, at {place()}", hint)

    def item(self, *args: Any) -> Any:
        """Its only element: a decision of a bool, traced where it is known what becomes of it; else no recording."""
        if not args and self.size == 1 and self.dtype == np.bool_:
            return bool(self)
        taken = None if args else self.mg_trace.taken(self, user_frame(sys._getframe(1)))
        return self.mg_no_value().item(*args) if taken is None else taken

    def tolist(self) -> Any:
        """Its elements: the trace stops recording."""
        return self.mg_no_value().tolist()

    def tobytes(self) -> Any:
        """Its elements: the trace stops recording."""
        return self.mg_no_value().tobytes()

    @property
    def flags(self) -> Any:
        """The flags of the array, of which a step may set and ask one: whether it can be written."""
        return TracedFlags(self)

    def __getattr__(self, name: str) -> Any:
        kind = self.__class__
        if not hasattr(self.mg_real_array, name):
            return getattr(self.mg_real_array, name)  # raises what an eager step would see
        if name in MEMORY and not _is_asked(sys._getframe(1)):  # np.asarray looks for it before it calls __array__
            raise HiddenAttribute(f"{kind.__name__!r} object has no attribute {name!r}")
        if self.mg_trace.open:
            hint = f"use np.{name}(x)" if hasattr(np, name) else "use a NumPy function that returns a new array"
            stop(self, f"array.{name}", hint)
        return getattr(self.mg_real_array, name)


MEMORY = frozenset(f"__array_{name}__" for name in ("interface", "struct", "priority", "wrap", "prepare", "finalize"))


def _is_asked(frame: Any) -> bool:
    """Whether a frame of the user's asks for an attribute itself: x.__array_interface__."""
    code = frame.f_code
    return not code.co_filename.startswith(OWN) and instruction(code, frame.f_lasti) in ("LOAD_ATTR", "LOAD_METHOD")


class TracedFlags:
    """The flags of a tracer array."""

    def __init__(self, array: TracerArray) -> None:
        object.__setattr__(self, "_array", array)

    def __getattr__(self, name: str) -> Any:
        x = self._array
        if name != "writeable" and x.mg_trace.open:
            stop(x, f"array.flags.{name}", "ask outside of the step how an array lies in memory")
        return getattr(x.mg_real_array.flags, name)

    def __setattr__(self, name: str, value: Any) -> None:
        x = self._array
        if (name != "writeable" or value or x.mg_parent is None) and x.mg_trace.open:
            stop(x, f"array.flags.{name} = {value}", "return a view that cannot be written")
        setattr(x.mg_array.flags, name, value)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name.lower())


def _scalar(x: Any) -> Any:
    """A tracer array that stands for a NumPy scalar from here on; the scalar itself if nothing is recorded any more."""
    if type(x) is TracerArray:
        x.mg_is_scalar = True
    return x[()] if type(x) is np.ndarray and not x.shape else x


def bare(x: Any) -> Any:
    """The real array or number in place of a tracer."""
    return x.mg_real_array if type(x) is TracerArray else x.real if hasattr(type(x), "minigrad_tracer") else x


def _answers_itself(x: Any) -> bool:
    return getattr(type(x), "__array_ufunc__", 0) is None


def _method(name: str) -> Any:
    function = getattr(np, name)

    def method(self: TracerArray, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__name__, method.__doc__ = name, f"np.{name}."
    return method


def _part(name: str) -> Any:
    """The real or imaginary part, which of real numbers is the array itself."""

    def assigned(self: TracerArray, new: Any) -> None:
        if name == "real" and self.dtype.kind != "c":
            self[...] = new
        else:
            _assigned(name)(self, new)

    return property(lambda self: getattr(np, name)(self), assigned)


def _assigned(name: str) -> Any:
    """A function that sets an attribute of the array itself; the trace stops recording."""

    def assign(self: TracerArray, new: Any) -> None:
        if self.mg_trace.open:
            stop(self, f"array.{name} is assigned to", "use a NumPy function that returns a new array")
        setattr(self.mg_array, name, bare(new))

    return assign


for _name in ("shape", "dtype"):
    setattr(TracerArray, _name, property(vars(TracerArray)[_name].fget, _assigned(_name)))

_ASSIGNABLE: dict[str, Callable[[TracerArray], Any]] = {
    "strides": lambda self: self.mg_array.strides,
    "flat": lambda self: TracerArray.__getattr__(self, "flat"),
}
for _name, _get in _ASSIGNABLE.items():
    setattr(TracerArray, _name, property(_get, _assigned(_name)))

for _name in ("real", "imag"):
    setattr(TracerArray, _name, _part(_name))


PLAIN = frozenset({bool, int, float})


def _operators(name: str, ufunc: Any) -> None:
    """x + y and y + x, which need not ask NumPy who answers where both are arrays of the trace, or one is a number."""
    forward, backward = (getattr(NDArrayOperatorsMixin, f"__{side}{name}__") for side in ("", "r"))

    def operator(self: TracerArray, other: Any) -> Any:
        if type(other) is TracerArray or type(other) in PLAIN:
            return self.mg_trace.ufunc(ufunc, "__call__", (self, other), {})
        if self.mg_is_scalar and name == "mul" and isinstance(other, SEQUENCES):
            return _repeated(self, other)
        return forward(self, other)

    def reflected(self: TracerArray, other: Any) -> Any:
        if type(other) in PLAIN:
            return self.mg_trace.ufunc(ufunc, "__call__", (other, self), {})
        if self.mg_is_scalar and name == "mul" and isinstance(other, SEQUENCES):
            return _repeated(other, self)
        return backward(self, other)

    setattr(TracerArray, f"__{name}__", operator)
    setattr(TracerArray, f"__r{name}__", reflected)


SEQUENCES = (list, tuple, str, bytes, bytearray)


def _repeated(x: Any, y: Any) -> Any:
    """A sequence times a NumPy integer is repeated, and its length is asked for."""
    scalar, sequence = (x, y) if type(x) is TracerArray else (y, x)
    real = scalar.mg_no_value()
    return real * sequence if scalar is x else sequence * real


for _name, _ufunc in (("add", np.add), ("sub", np.subtract), ("mul", np.multiply), ("truediv", np.divide)):
    _operators(_name, _ufunc)
_operators("matmul", np.matmul)


def _comparison(name: str) -> None:
    """x == y and x != y, of which y may be anything: None, a text, an object that answers itself."""
    compare = getattr(NDArrayOperatorsMixin, f"__{name}__")

    def operator(self: TracerArray, other: Any) -> Any:
        if other is None or isinstance(other, (str, bytes)):
            return getattr(self.mg_real_array, f"__{name}__")(other)  # which no element decides
        if not isinstance(other, (np.ndarray, np.generic, int, float, complex, list, tuple)) and not hasattr(
            type(other), "__array_ufunc__"
        ):
            return getattr(self.mg_no_value(), f"__{name}__")(other)
        return compare(self, other)

    setattr(TracerArray, f"__{name}__", operator)


for _name in ("eq", "ne"):
    _comparison(_name)


def _in_place(name: str) -> Any:
    in_place = getattr(NDArrayOperatorsMixin, f"__i{name}__")
    plain = getattr(TracerArray, f"__{name}__")

    def operator(self: TracerArray, other: Any) -> Any:
        return plain(self, other) if self.mg_is_scalar else in_place(self, other)  # nothing is written into a scalar

    return operator


for _name in [
    "add",
    "sub",
    "mul",
    "matmul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "lshift",
    "rshift",
    "and",
    "xor",
    "or",
]:
    setattr(TracerArray, f"__i{_name}__", _in_place(_name))


def _writer(name: str) -> Any:
    function = getattr(np.ndarray, name)

    def method(self: TracerArray, *args: Any, **kwargs: Any) -> None:
        self.mg_trace.rewrite(function, self, args, kwargs)

    method.__name__, method.__doc__ = name, f"ndarray.{name}: recorded as a write into this array."
    return method


for _name in ("partition", "put", "sort"):
    setattr(TracerArray, _name, _writer(_name))

METHODS = "all any argmax argmin argsort cumprod cumsum diagonal dot max mean min nonzero prod ravel repeat "

METHODS += "round searchsorted squeeze std sum swapaxes take trace var"

for _name in METHODS.split():
    setattr(TracerArray, _name, _method(_name))
