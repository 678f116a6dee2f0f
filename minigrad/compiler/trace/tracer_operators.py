"""Operators and methods of tracer arrays, each by a function of NumPy's: x + y, x == y, x += y, x.sum()."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

PLAIN = frozenset({bool, int, float})
SEQUENCES = (list, tuple, str, bytes, bytearray)
COMPARED = (np.ndarray, np.generic, int, float, complex, list, tuple)
IN_PLACE = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "xor", "or")
METHODS: tuple[str, ...] = ("all", "any", "argmax", "argmin", "argsort", "cumprod", "cumsum", "diagonal", "dot", "max")
METHODS += ("mean", "min", "nonzero", "prod", "ravel", "repeat", "round", "searchsorted", "squeeze", "std", "sum")
METHODS += ("swapaxes", "take", "trace", "var")
WRITERS = ("partition", "put", "sort")
# Functions and methods that read the elements in Python, after which the trace stops recording.
READERS = {f"__{function.__name__}__": function for function in (float, int, complex, round, format, str, math.trunc)}
READERS |= {"tolist": lambda x: x.tolist(), "tobytes": lambda x: x.tobytes()}


def as_scalar(x: Any) -> Any:
    """A tracer array that represents a NumPy scalar from here on; the scalar itself if nothing is recorded any more."""
    if issubclass(type(x), TracerOperators):
        x.mg_is_scalar = True
    return x[()] if type(x) is np.ndarray and not x.shape else x


def real_of(x: Any) -> Any:
    """The real array, number or generator that a tracer represents; other objects unchanged."""
    return x.mg_real if hasattr(type(x), "minigrad_tracer") else x


def _binary(name: str, ufunc: Any) -> Any:
    """x + y, which need not ask NumPy who answers where both are tracers of arrays, or y is a number."""
    general = getattr(NDArrayOperatorsMixin, f"__{name}__")

    def operator(self: Any, other: Any) -> Any:
        if type(other) is type(self) or type(other) in PLAIN:
            return self.mg_trace.ufunc(ufunc, "__call__", (self, other), {})
        if self.mg_is_scalar and name == "mul" and isinstance(other, SEQUENCES):
            return self.mg_no_value() * other  # repeated so many times
        return general(self, other)

    return operator


def _reflected(name: str, ufunc: Any) -> Any:
    """y + x, where y is not a tracer."""
    general = getattr(NDArrayOperatorsMixin, f"__r{name}__")

    def operator(self: Any, other: Any) -> Any:
        if type(other) in PLAIN:
            return self.mg_trace.ufunc(ufunc, "__call__", (other, self), {})
        if self.mg_is_scalar and name == "mul" and isinstance(other, SEQUENCES):
            return other * self.mg_no_value()
        return general(self, other)

    return operator


def _comparison(name: str) -> Any:
    """x == y and x != y, where y may be anything: None, a string, an object with a comparison of its own."""
    compare = getattr(NDArrayOperatorsMixin, f"__{name}__")

    def operator(self: Any, other: Any) -> Any:
        if other is None or isinstance(other, (str, bytes)):
            return getattr(self.mg_real, f"__{name}__")(other)  # does not depend on the elements
        if not isinstance(other, COMPARED) and not hasattr(type(other), "__array_ufunc__"):
            return getattr(self.mg_no_value(), f"__{name}__")(other)
        return compare(self, other)

    return operator


def _in_place(name: str) -> Any:
    in_place = getattr(NDArrayOperatorsMixin, f"__i{name}__")

    def operator(self: Any, other: Any) -> Any:
        if self.mg_is_scalar:  # a NumPy scalar does not change
            return getattr(self, f"__{name}__")(other)
        return in_place(self, other)

    return operator


def _method(name: str) -> Any:
    function = getattr(np, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__name__, method.__doc__ = name, f"np.{name}."
    return method


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


class TracerOperators(NDArrayOperatorsMixin):
    """The operators of a tracer array, and those of its methods that are functions of NumPy's."""

    __slots__ = ()

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


ARITHMETIC = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "matmul": np.matmul}
for _name, _ufunc in ARITHMETIC.items():
    setattr(TracerOperators, f"__{_name}__", _binary(_name, _ufunc))
    setattr(TracerOperators, f"__r{_name}__", _reflected(_name, _ufunc))
for _name, _function in READERS.items():
    setattr(TracerOperators, _name, _reader(_function))
for _make, _form, _names in (
    *((_comparison, "__{}__", ("eq", "ne")), (_in_place, "__i{}__", IN_PLACE)),
    *((_method, "{}", METHODS), (_writer, "{}", WRITERS)),
):
    for _name in _names:
        setattr(TracerOperators, _form.format(_name), _make(_name))
