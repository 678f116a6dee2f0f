"""Operators and methods of tracer arrays, each by a function of NumPy's: x + y, x == y, x += y, x.sum(); and flags.

Also what is asked of arguments that may be, or contain, tracers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad.compiler.refusal import stop
from minigrad.util import duck_array
from minigrad.util.duck_array import ArrayMethods, DuckArray

PLAIN = frozenset({bool, int, float})
SEQUENCES = (list, tuple, str, bytes, bytearray)
COMPARED = (np.ndarray, np.generic, int, float, complex, list, tuple)
IN_PLACE = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "xor", "or")
ARITHMETIC = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "matmul": np.matmul}
REFLECTED = {f"r{name}": ufunc for name, ufunc in ARITHMETIC.items()}
WRITERS = ("partition", "put", "sort")
# Functions that read the elements in Python, beside the conversions of arrays; the trace stops recording.
READERS = {f"__{function.__name__}__": function for function in (round, format, str, repr, math.trunc)}
READERS |= {"tobytes": lambda x: x.tobytes(), "__reduce__": lambda x: x.__reduce__()}


def as_scalar(x: Any) -> Any:
    """A tracer array that represents a NumPy scalar from here on; the scalar itself if nothing is recorded any more."""
    if issubclass(type(x), TracerOperators):
        x.mg_is_scalar = True
    return x[()] if type(x) is np.ndarray and not x.shape else x


def real_of(x: Any) -> Any:
    """The real array, number or generator that a tracer represents; other objects unchanged."""
    return x.mg_real if hasattr(type(x), "minigrad_tracer") else x


def mapped(function: Callable[[Any], Any], x: Any) -> Any:
    """An argument with a function applied to it, or to all that nested tuples, lists and dictionaries contain."""
    kind = type(x)  # isinstance would ask a tracer for its __class__
    if issubclass(kind, (tuple, list)) and not hasattr(kind, "_fields"):
        return kind([mapped(function, part) for part in x])
    if issubclass(kind, dict):
        return {name: mapped(function, part) for name, part in x.items()}
    return function(x)


def bare(x: Any) -> Any:
    """The real arrays instead of tracers, also inside containers. A scalar is an array of shape ()."""
    return x.mg_array if issubclass(type(x), TracerOperators) else mapped(_bare, x)


def _bare(x: Any) -> Any:
    return x.mg_array if issubclass(type(x), TracerOperators) else real_of(x)


def arrays_in(x: Any) -> Iterator[Any]:
    """The arrays in nested containers, NumPy's and tracers of them."""
    return (array for array in duck_array.arrays_in(x) if isinstance(array, ARRAYS))


def is_foreign(x: Any) -> bool:
    """Whether x is of a class that implements ufuncs itself, such as a Tensor."""
    return hasattr(type(x), "__array_ufunc__") and not isinstance(x, (*ARRAYS, np.generic))


def _binary(name: str, ufunc: Any) -> Any:
    """x + y or y + x, which need not ask NumPy who answers where both are tracers of arrays, or y is a number."""
    general, is_reflected = getattr(DuckArray, f"__{name}__"), name in REFLECTED

    def operator(self: Any, other: Any) -> Any:
        if type(other) is type(self) or type(other) in PLAIN:
            return self.mg_trace.ufunc(ufunc, "__call__", (other, self) if is_reflected else (self, other), {})
        if self.mg_is_scalar and ufunc is np.multiply and isinstance(other, SEQUENCES):
            return self.mg_no_value() * other  # repeated so many times
        return general(self, other)

    return operator


def _comparison(name: str) -> Any:
    """x == y and x != y, where y may be anything: None, a string, an object with a comparison of its own."""
    compare = getattr(DuckArray, f"__{name}__")

    def operator(self: Any, other: Any) -> Any:
        if other is None or isinstance(other, (str, bytes)):
            return getattr(self.mg_real, f"__{name}__")(other)  # does not depend on the elements
        if not isinstance(other, COMPARED) and not hasattr(type(other), "__array_ufunc__"):
            return getattr(self.mg_no_value(), f"__{name}__")(other)
        return compare(self, other)

    return operator


def _in_place(name: str) -> Any:
    in_place = getattr(DuckArray, f"__i{name}__")

    def operator(self: Any, other: Any) -> Any:
        if self.mg_is_scalar:  # a NumPy scalar does not change
            return getattr(self, f"__{name}__")(other)
        return in_place(self, other)

    return operator


def _writer(name: str) -> Any:
    function = getattr(np.ndarray, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> None:
        self.mg_trace.rewrite(function, self, args, kwargs)

    method.__name__, method.__doc__ = name, f"ndarray.{name}: recorded as a write into this array."
    return method


def _reader(function: Callable[..., Any]) -> Any:
    def method(self: Any, *args: Any) -> Any:
        return function(self.mg_no_value(), *args)

    return method


class TracerOperators(ArrayMethods, DuckArray):
    """The operators of a tracer array, and those of its methods that are functions of NumPy's."""

    __slots__ = ()

    def mg_refuse(self: Any, conversion: str) -> Any:
        """float(x) and the like, of the real value; the trace stops recording."""
        return getattr(self.mg_no_value(), conversion)()

    def __pow__(self, other: Any) -> Any:
        x: Any = self
        if x.mg_is_scalar and x.dtype.kind == "b":  # NumPy's scalars decide the dtype of a bool and a Python number
            return as_scalar(np.power(x.astype((x.mg_real ** real_of(other)).dtype), other))
        if type(other) is int and other == 2:  # as arrays do: np.power of bools has another dtype
            return np.square(x)
        if isinstance(other, (float, np.floating)) and other == 0.5 and x.dtype.kind == "f":
            if x.mg_is_scalar:  # scalars compute powers as C does: of -inf and -0.0 they are not roots
                x = x if type(other) is float else x * type(other)(1)
                return as_scalar(np.where(x == -np.inf, -x, np.sqrt(x + 0.0)))
            if type(other) is float:
                return np.sqrt(x)  # as arrays do
        return np.power(x, other) if getattr(type(other), "__array_ufunc__", 0) is not None else NotImplemented


class TracedFlags:
    """The flags of a tracer array. A step may read and set only `writeable`."""

    def __init__(self, array: Any) -> None:
        object.__setattr__(self, "_array", array)

    def __getattr__(self, name: str) -> Any:
        if name != "writeable":
            stop(self._array.mg_trace, f"array.flags.{name}", "read the memory layout of an array outside of the step")
        return getattr(self._array.mg_real.flags, name)

    def __setattr__(self, name: str, value: Any) -> None:
        x = self._array
        if name != "writeable" or value or x.mg_parent is None:
            stop(x.mg_trace, f"array.flags.{name} = {value}", "return a view that cannot be written")
        setattr(x.mg_array.flags, name, value)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name.lower())


ARRAYS = (TracerOperators, np.ndarray)
for _name, _ufunc in (*ARITHMETIC.items(), *REFLECTED.items()):
    setattr(TracerOperators, f"__{_name}__", _binary(_name, _ufunc))
for _name, _function in READERS.items():
    setattr(TracerOperators, _name, _reader(_function))
for _name in ("eq", "ne"):
    setattr(TracerOperators, f"__{_name}__", _comparison(_name))
for _name in IN_PLACE:
    setattr(TracerOperators, f"__i{_name}__", _in_place(_name))
for _name in WRITERS:
    setattr(TracerOperators, _name, _writer(_name))
