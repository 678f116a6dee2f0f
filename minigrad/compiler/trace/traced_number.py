"""Traced numbers: Python numbers that change from call to call, as inputs of a program.

Examples are a rate that a schedule changes, betas of a one-cycle schedule, a float argument. While a step is recorded,
a traced number replaces the Python number. A decision that depends on it (`if step > 10`) becomes a predicate, which
must have the same outcome in later calls. Whatever else asks for its value (`range(n)`, `math.cos(x)`, a key of a
dictionary) makes it a constant of the program.

Beside narrower arrays a Python number takes their dtype in most functions, and keeps its own in some. Here a traced
number becomes an array that has the same effect, or a constant of the program where that is not known.
"""

from __future__ import annotations

import operator
import sys
import warnings
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import ArgSlot, Op
from minigrad.compiler.refusal import OWN, CompileError, own_hint, stop, unsupported
from minigrad.compiler.trace.functions import STRONG, WEAK, WRITING
from minigrad.compiler.trace.number_arithmetic import (
    Expression,
    NumberOperators,
    composed,
    computed,
    pinned,
    scalar_function,
    tried,
)
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.tracer_operators import arrays_in, bare, mapped
from minigrad.reach import alike, is_leaf
from minigrad.reach.guards import Predicate

DOUBLE = np.dtype(np.float64)
READ = "is read in Python"
# Conversions of the number itself, and what they say about the use of one that has no expression.
CONVERSIONS: dict[Callable[..., Any], str] = {
    **dict.fromkeys((format, str, repr), "is converted to text"),
    **dict.fromkeys((float, int, complex), "is given to code that needs a plain number"),
    operator.index: "decides about an index, a shape or a loop",
    hash: "is the key of a dictionary or a member of a set",
}


class TracedNumber(NumberOperators):
    """A Python int or float of a step that is being recorded.

    Args:
        trace: the trace.
        real: the number itself.
        expression: the number as a function of the inputs; None if the program computes it, as a random number.
        make: makes the value of the program when it is first needed.
        key: the number of the input; None if the number is computed.
    """

    __slots__ = ("__weakref__", "mg_cached", "mg_expression", "mg_key", "mg_make", "mg_real", "mg_trace")
    minigrad_tracer = True

    def __init__(
        self, trace: Any, real: Any, expression: Expression | None, make: Callable[[], Any], key: int | None = None
    ) -> None:
        self.mg_trace, self.mg_real, self.mg_expression, self.mg_make, self.mg_key = trace, real, expression, make, key
        self.mg_cached: Any = None
        trace.numbers.append(weakref.ref(self))

    @property  # type: ignore[misc]  # that of object may be assigned
    def __class__(self) -> type:
        """The class of the number: isinstance(x, float) is the same as in an eager step."""
        return type(self.mg_real)

    @property
    def mg_value(self) -> Any:
        """The value of the program, of dtype float64 or int64 and shape ()."""
        if self.mg_cached is None:
            if self.mg_expression is not None and type(self.mg_real) is int and not self.mg_decide(_fits_int64):
                unsupported("an integer of more than 64 bits meets an array", "use float(n)")
            self.mg_cached = self.mg_make()
        return self.mg_cached

    @property
    def real(self) -> Any:
        """The number itself for minigrad's own code; for all others this traced number, as of a Python number."""
        return self.mg_real if sys._getframe(1).f_code.co_filename.startswith(OWN) else self

    # Attributes that NumPy and minigrad ask for, and that a Python number does not have.
    shape = property(lambda self: _for_libraries(self, "shape", ()))
    ndim = property(lambda self: _for_libraries(self, "ndim", 0))
    size = property(lambda self: _for_libraries(self, "size", 1))
    dtype = property(lambda self: _for_libraries(self, "dtype", np.dtype(type(self.mg_real))))

    # Decisions, and uses of the number itself

    def mg_decide(self, holds: Callable[[Any], Any], use: str = READ) -> Any:
        """holds(number), which must have the same outcome in every call of the program."""
        outcome = holds(self.mg_real)
        if self.mg_trace.open:
            expression = self.mg_known(use)
            self.mg_trace.predicates.append(Predicate(lambda inputs: holds(expression(inputs)), outcome, ""))
        return outcome

    def mg_is_within(self, low: Any, high: Any) -> bool:
        """Whether the number is in [low, high], in every call of the program."""
        if self.mg_expression is not None:
            return bool(self.mg_decide(lambda n: low <= n <= high))
        if low <= self.mg_real <= high:
            self.mg_trace.add(Op("check", (self.mg_value,), {"low": low, "high": high}, ()))
            return True
        return False

    def mg_pinned(self, use: str = READ) -> Any:
        """The number itself, which is a constant of the program from here on."""
        real = self.mg_real
        if self.mg_trace.open and self.mg_key is not None:
            self.mg_trace.pinned.add(self.mg_key)
        self.mg_decide(lambda n: alike(n, real), use)
        return real

    def mg_known(self, use: str = READ) -> Expression:
        """The expression. A random number has none, and whatever depends on its value differs from call to call."""
        if self.mg_expression is None:
            stop(
                self.mg_trace,
                f"a number that is drawn or taken out of an array {use}",
                own_hint() or "return the array from the step and take the number outside, or use NumPy's functions",
            )
            return lambda inputs: self.mg_real
        return self.mg_expression

    def __bool__(self) -> bool:
        if self.mg_expression is None:
            return self.mg_trace.decide(self.mg_value, bool(self.mg_real))
        return bool(self.mg_decide(bool))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.mg_pinned("is put into an array, as by np.mean of a list"), dtype=dtype)

    def __reduce__(self) -> Any:
        return type(self.mg_real), (self.mg_pinned(),)

    def __getattr__(self, name: str) -> Any:
        if not hasattr(self.mg_real, name):  # NumPy asks for it, and code that tests whether x is a Tensor
            raise AttributeError(f"{type(self.mg_real).__name__!r} object has no attribute {name!r}")
        return getattr(self.mg_pinned(), name)

    # Functions

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return self.mg_trace.ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self.mg_trace.function(function, types, args, kwargs)

    def mg_through(self, function: Callable[[Any], Any], name: str) -> Any:
        """function(number) as a traced number, for code of minigrad's own that calls Python's math."""
        return computed(function, name, self)

    def mg_called(self, function: Callable[..., Any], *rest: Any) -> Any:
        """function(number, *rest) as a traced number: the program calls the function in each call."""
        real = tried(self.mg_trace, function, self.mg_real, *rest)
        kind: Any = type(real)
        if not self.mg_trace.open or kind not in (int, float) or (kind is int and not _fits_int64(real)):
            self.mg_pinned()
            return real
        op = self.mg_value.op
        is_single = op.name == "cast" and any(v.dtype == np.float32 for v in op.operands)
        call: Any = scalar_function(function, kind, is_single, *rest)
        dtype = np.dtype(kind)
        params = {"function": call, "args": (ArgSlot(0),), "kwargs": {}}
        value = self.mg_trace.add(Op("call", (self.mg_value,), params, (((), dtype),))).out
        return TracedNumber(self.mg_trace, real, None, lambda: value)


def _conversion(function: Callable[..., Any], use: str) -> Any:
    return lambda self, *args: function(self.mg_pinned(use), *args)


for _function, _text in CONVERSIONS.items():
    setattr(TracedNumber, f"__{_function.__name__}__", _conversion(_function, _text))


def _for_libraries(number: TracedNumber, name: str, value: Any) -> Any:
    if not sys._getframe(2).f_code.co_filename.startswith(OWN):
        raise AttributeError(f"{type(number.real).__name__!r} object has no attribute {name!r}")
    return value


def _fits_int64(x: int) -> bool:
    return -(2**63) <= x < 2**63


# Numbers out of arrays, and numbers as operands beside arrays


def taken(trace: Any, x: TracerArray, frame: FrameType | None, kind: type | None = None) -> TracedNumber | None:
    """The number in an array of one element, traced; None if its use cannot be followed.

    Args:
        trace: the trace.
        x: the array.
        frame: of the user's function that asks for the number.
        kind: float or int if that was called.
    """
    if frame is None or x.size != 1 or not trace.open or not trace.followed.has(frame):
        return None
    real = x.mg_array.item() if kind is None else kind(x.mg_array.item())
    if type(real) not in (int, float) or x.dtype.itemsize > 8 or x.dtype == np.uint64:
        return None
    try:
        return number(trace, x, real)
    except CompileError as error:
        trace.stop(error)
        return None


def number(trace: Any, x: TracerArray, real: Any) -> TracedNumber:
    """The number in an array of one element, traced."""
    value = x.mg_value if not x.shape else trace.emit("reshape", x.mg_value, shape=())
    if type(real) is int and x.dtype.kind == "f":
        trace.add(Op("check", (value,), {"low": -(2.0**62), "high": 2.0**62}, ()))
    dtype = DOUBLE if type(real) is float else np.dtype(np.int64)
    return TracedNumber(
        trace, real, None, lambda: value if value.dtype == dtype else trace.emit("cast", value, dtype=dtype)
    )


def array_of(trace: Any, x: TracedNumber, dtypes: list[Any]) -> TracerArray:
    """An array of shape () instead of a number, with the dtype that it has beside arrays of these dtypes."""
    dtype = np.result_type(*dtypes, x.mg_real) if dtypes else x.dtype
    if type(x.mg_real) is int and dtype.kind == "f" and x.mg_expression is not None:
        value = trace.computed(composed(float, "float", x.mg_expression), float(x.mg_real))
    else:
        value = x.mg_value
    value = value if value.dtype == dtype else trace.emit("cast", value, dtype=dtype)
    return trace.fresh(np.asarray(x.mg_real, dtype), value)


def fits(x: TracedNumber, dtype: Any) -> bool:
    """Whether an integer dtype can hold a number, in every call. NumPy refuses Python numbers that are too large."""
    if dtype.kind not in "iu" or (dtype == np.int64 and type(x.mg_real) is int):
        return True
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if type(x.mg_real) is int:
        return x.mg_is_within(low, high)
    return x.mg_is_within(float(low), float(np.nextafter(high + 1.0, 0)))  # below 2**63 that is 2**63 - 1024


def of_ufunc(trace: Any, operands: Any) -> Any:
    """The operands of a ufunc with arrays instead of traced numbers, in the dtype that a Python number would take."""
    if not any(type(x) is TracedNumber for x in operands):
        return operands
    dtypes = [x.dtype for x in operands if type(x) is not TracedNumber and hasattr(x, "dtype")]

    def weak(x: Any) -> Any:  # an integer that the dtype of the arrays cannot hold is a constant
        if type(x) is not TracedNumber:
            return x
        return array_of(trace, x, dtypes) if fits(x, np.result_type(*dtypes, x.mg_real)) else x.mg_pinned()

    return tuple(map(weak, operands))


def of_function(trace: Any, function: Any, args: Any, kwargs: Any) -> Any:
    """The arguments of a function with arrays instead of numbers if the result is the same, else with constants."""
    dtypes = [x.dtype for x in arrays_in(args)]
    is_strong = function in STRONG
    if any(dtype.itemsize < DOUBLE.itemsize for dtype in dtypes) and not is_strong and function not in WEAK:
        return pinned(args), pinned(kwargs)
    if function in WRITING and args and hasattr(args[0], "dtype"):
        numbers = [x for x in (*args, *kwargs.values()) if type(x) is TracedNumber]
        if not all(fits(x, args[0].dtype) for x in numbers):
            return pinned(args), pinned(kwargs)
    dtypes = [] if is_strong else dtypes
    with_arrays = _with_arrays(trace, args, dtypes), _with_arrays(trace, kwargs, dtypes)
    if function in WRITING or kwargs.get("out") is not None:
        return with_arrays
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            of_numbers = function(*bare(args), **bare(kwargs))
            of_arrays = function(*bare(with_arrays[0]), **bare(with_arrays[1]))
        except Exception:  # the call itself raises it again
            return pinned(args), pinned(kwargs)
    return with_arrays if _form(of_arrays) == _form(of_numbers) else (pinned(args), pinned(kwargs))


def _with_arrays(trace: Any, x: Any, dtypes: list[Any]) -> Any:
    """Arguments of a function with arrays instead of floats, and constants instead of integers (axes, sizes)."""

    def converted(part: Any) -> Any:
        if type(part) is not TracedNumber:
            return part
        return part.mg_pinned() if type(part.mg_real) is int else array_of(trace, part, dtypes)

    return mapped(converted, x)


def _form(x: Any) -> Any:
    """Types, shapes and dtypes of arrays, or of tuples and lists of arrays."""
    if isinstance(x, (tuple, list)):
        return type(x), [*map(_form, x)]
    if isinstance(x, (np.ndarray, np.generic)):
        return type(x), x.shape, x.dtype
    return type(x), x if is_leaf(x) else None
