"""Traced numbers: Python numbers that change from call to call, as inputs of a program.

Examples are a rate that a schedule changes, betas of a one-cycle schedule, a float argument. While a step is recorded,
a traced number replaces the Python number. A decision that depends on it (`if step > 10`) becomes a predicate, which
must have the same outcome in later calls. Whatever else asks for its value (`range(n)`, `math.cos(x)`, a key of a
dictionary) makes it a constant of the program.
"""

from __future__ import annotations

import operator
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import ArgSlot, Op
from minigrad.compiler.refusal import OWN, own_hint, stop, unsupported
from minigrad.compiler.trace.number_arithmetic import Expression, NumberOperators, computed, scalar_function, tried
from minigrad.reach.guards import Predicate

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

    @property  # type: ignore[misc]  # it is never assigned
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

    def mg_decide(self, holds: Callable[[Any], Any]) -> Any:
        """holds(number), which must have the same outcome in every call of the program."""
        outcome = holds(self.mg_real)
        if self.mg_trace.open:
            expression = self.mg_known()
            self.mg_trace.predicates.append(Predicate(lambda inputs: holds(expression(inputs)), outcome, ""))
        return outcome

    def mg_pinned(self, use: str = "is read in Python") -> Any:
        """The number itself, which is a constant of the program from here on."""
        if self.mg_trace.open:
            self.mg_trace.pin(self)
            real, expression = self.mg_real, self.mg_known(use)
            self.mg_trace.predicates.append(Predicate(lambda inputs: _is_same(expression(inputs), real), True, ""))
        return self.mg_real

    def mg_known(self, use: str = "is read in Python") -> Expression:
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
        kind = type(real)
        if not self.mg_trace.open or kind not in (int, float) or (kind is int and not _fits_int64(real)):
            self.mg_pinned()
            return real
        call: Any = scalar_function(function, kind, self.mg_is_single, *rest)  # type: ignore[arg-type]
        dtype = np.dtype(kind)
        params = {"function": call, "args": (ArgSlot(0),), "kwargs": {}}
        value = self.mg_trace.add(Op("call", (self.mg_value,), params, (((), dtype),))).out
        return TracedNumber(self.mg_trace, real, None, lambda: value)

    def mg_as_float(self) -> Any:
        """Its value in the program, in dtype float64."""
        value = self.mg_value
        return value if value.dtype == np.float64 else self.mg_trace.emit("cast", value, dtype=np.dtype(float))

    @property
    def mg_is_single(self) -> bool:
        """Whether it was computed in single precision."""
        op = self.mg_value.op
        return op.name == "cast" and any(v.dtype == np.float32 for v in op.operands)


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


def _is_same(now: Any, before: Any) -> bool:
    return type(now) is type(before) and bool(now == before) and str(now) == str(before)
