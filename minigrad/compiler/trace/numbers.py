"""Traced numbers: Python numbers that change from call to call, as inputs of a program.

A rate that a schedule changes, betas of a one-cycle schedule, a float argument. Such a number stands in place of
the Python number while a step is recorded. Arithmetic is recorded twice: as ops of the program, for what becomes part
of an array, and as a Python expression of the inputs, for what stays a number (a counter that the step writes back). A
decision that depends on it (`if step > 10`) becomes a predicate, which later calls must decide alike. Whatever else
asks for its value (`range(n)`, `math.cos(x)`, a dictionary's key) makes it a constant of the program.
"""

from __future__ import annotations

import operator
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import ArgSlot, Op
from minigrad.compiler.refusal import OWN, instead, refuse, stop
from minigrad.compiler.trace.through import asked, through, tried
from minigrad.reach import bits
from minigrad.reach.guards import Predicate
from minigrad.tensor.tensor import Tensor

Expression = Any  # a function of the inputs, with what it computes in its attribute `form`
LARGEST = {"add": 2**62 - 1, "subtract": 2**62 - 1, "multiply": 2**31}  # operands of whom 64 bits hold the result
EXACT = 2**53  # integers beyond are rounded when they meet floating-point arrays


class TracedNumber:
    """A Python int or float of a step that is being recorded.

    Args:
        trace: the trace.
        real: the number itself.
        expression: the number as a function of the inputs; None if the program computes it, as a draw.
        op: makes the value of the program when it is first needed.
        key: which input it is, None for what is computed.
    """

    __slots__ = ("__weakref__", "mg_cached", "mg_expression", "mg_key", "mg_make", "mg_real", "mg_trace")
    minigrad_tracer = True

    def __init__(
        self, trace: Any, real: Any, expression: Expression | None, make: Callable[[], Any], key: int | None = None
    ) -> None:
        self.mg_trace, self.mg_real, self.mg_expression, self.mg_make, self.mg_key = trace, real, expression, make, key
        self.mg_cached: Any = None
        trace.numbers.append(weakref.ref(self))

    @property  # type: ignore[misc]  # nobody assigns it
    def __class__(self) -> type:
        """That of the number: isinstance(x, float) is answered as in an eager step."""
        return type(self.mg_real)

    @property
    def mg_value(self) -> Any:
        """The value of the program, of dtype float64 or int64 and without axes."""
        if self.mg_cached is None:
            if self.mg_expression is not None and type(self.mg_real) is int and not self.mg_decide(_fits_int64):
                refuse("an integer of more than 64 bits meets an array", "use float(n), or reduce it in another step")
            self.mg_cached = self.mg_make()
        return self.mg_cached

    @property
    def real(self) -> Any:
        """The number itself for minigrad's own code; for all others what a number gives, which is a number like it."""
        return self.mg_real if sys._getframe(1).f_code.co_filename.startswith(OWN) else self

    # What NumPy and minigrad ask of it, and a Python number does not have.
    shape = property(lambda self: _for_libraries(self, "shape", ()))
    ndim = property(lambda self: _for_libraries(self, "ndim", 0))
    size = property(lambda self: _for_libraries(self, "size", 1))
    dtype = property(lambda self: _for_libraries(self, "dtype", np.dtype(type(self.mg_real))))

    # What decides, and what needs the number itself

    def mg_decide(self, holds: Callable[[Any], Any]) -> Any:
        """holds(number), which every call of the program must answer alike."""
        outcome = holds(self.mg_real)
        if self.mg_trace.open:
            expression = self.mg_known()
            self.mg_trace.predicates.append(Predicate(lambda inputs: holds(expression(inputs)), outcome, ""))
        return outcome

    def mg_pinned(self) -> Any:
        """The number itself, which from here on is a constant of the program."""
        if self.mg_trace.open:
            self.mg_trace.pin(self)
            real, expression = self.mg_real, self.mg_known()
            self.mg_trace.predicates.append(Predicate(lambda inputs: _is_same(expression(inputs), real), True, ""))
        return self.mg_real

    def mg_known(self) -> Expression:
        """The expression. A draw has none: what depends on its value differs from call to call."""
        if self.mg_expression is None:
            stop(
                self,
                f"a number that is drawn or taken out of an array {asked(__file__)}",
                instead() or "return the array from the step and take the number outside, or use NumPy's functions",
            )
            return lambda inputs: self.mg_real
        return self.mg_expression

    def __bool__(self) -> bool:
        if self.mg_expression is None:
            return self.mg_trace.decide(self.mg_value, bool(self.mg_real))  # type: ignore[no-any-return]
        return bool(self.mg_decide(bool))

    def __float__(self) -> float:
        return float(self.mg_pinned())

    def __int__(self) -> int:
        return int(self.mg_pinned())

    def __complex__(self) -> complex:
        return complex(self.mg_pinned())

    def __index__(self) -> int:
        return operator.index(self.mg_pinned())

    def __hash__(self) -> int:
        return hash(self.mg_pinned())

    def __repr__(self) -> str:
        return repr(self.mg_pinned())

    def __str__(self) -> str:
        return str(self.mg_pinned())

    def __format__(self, form: str) -> str:
        return format(self.mg_pinned(), form)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.mg_pinned(), dtype=dtype)

    def __reduce__(self) -> Any:
        return type(self.mg_real), (self.mg_pinned(),)

    def __getattr__(self, name: str) -> Any:
        if not hasattr(self.mg_real, name):  # which NumPy asks for, and whoever asks whether it is a Tensor
            raise AttributeError(f"{type(self.mg_real).__name__!r} object has no attribute {name!r}")
        return getattr(self.mg_pinned(), name)

    # Arithmetic

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return self.mg_trace.ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self.mg_trace.function(function, types, args, kwargs)

    def mg_through(self, function: Callable[[Any], Any], name: str) -> Any:
        """function(number) as a number again, for code of minigrad's own that calls Python's math."""
        return _computed(self.mg_trace, function, name, self)

    def mg_called(self, function: Callable[..., Any], *rest: Any) -> Any:
        """function(number, *rest) as a number again: called again in each call of the program."""
        real = tried(self.mg_trace, function, self.mg_real, *rest)
        kind = type(real)
        if not self.mg_trace.open or kind not in (int, float) or (kind is int and not _fits_int64(real)):
            self.mg_pinned()
            return real
        call: Any = through(function, kind, self.mg_is_single, *rest)  # type: ignore[arg-type]
        dtype = np.dtype(kind)
        params = {"function": call, "args": (ArgSlot(0),), "kwargs": {}}
        value = self.mg_trace.add(Op("call", (self.mg_value,), params, (((), dtype),))).out
        return TracedNumber(self.mg_trace, real, None, lambda: value)

    def mg_as_float(self) -> Any:
        """Its value as one of dtype float64."""
        value = self.mg_value
        return value if value.dtype == np.float64 else self.mg_trace.emit("cast", value, dtype=np.dtype(float))

    @property
    def mg_is_single(self) -> bool:
        """Whether it comes from single precision."""
        op = self.mg_value.op
        return op.name == "cast" and any(v.dtype == np.float32 for v in op.operands)

    def __neg__(self) -> Any:
        return _computed(self.mg_trace, operator.neg, "negative", self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return _computed(self.mg_trace, abs, "absolute", self)


def _for_libraries(number: TracedNumber, name: str, value: Any) -> Any:
    if not sys._getframe(2).f_code.co_filename.startswith(OWN):
        raise AttributeError(f"{type(number.real).__name__!r} object has no attribute {name!r}")
    return value


def _fits_int64(x: int) -> bool:
    return -(2**63) <= x < 2**63


def _is_same(now: Any, before: Any) -> bool:
    return type(now) is type(before) and bool(now == before) and str(now) == str(before)


def _is_plain(x: Any) -> bool:
    return type(x) in (int, float, bool, TracedNumber)


def _base(exponent: Any, base: Any) -> Any:
    """base ** exponent."""
    return base**exponent


def _computed(trace: Any, function: Callable[..., Any], name: str, *operands: Any) -> Any:
    """function(*operands), recorded as an expression, and as an name if an array needs it."""
    reals = [x.real if type(x) is TracedNumber else x for x in operands]
    real = tried(trace, function, *reals)
    if not trace.open:
        return real
    parts: list[Any] = [x.mg_expression if type(x) is TracedNumber else _constant(x) for x in operands]
    known = all(part is not None for part in parts)

    def expression(inputs: Any) -> Any:
        return function(*(part(inputs) for part in parts))

    if known:
        expression.form = (name, *(part.form for part in parts))  # type: ignore[attr-defined]

    def make() -> Any:
        if known and all(type(x) is not float for x in reals):  # Python's integers have no last bit
            return trace.computed(expression, real)
        if type(real) is int:
            for x in operands:
                _check_small(trace, x, LARGEST.get(name, EXACT))
        ins = [x.mg_value if type(x) is TracedNumber else x for x in operands]
        return trace.emit(name, *ins)

    if name == "power" and known:  # Python raises where NumPy has infinity
        trace.predicates.append(Predicate(lambda inputs: expression(inputs) is not None, True, ""))
    return TracedNumber(trace, real, expression if known else None, make)


def _check_small(trace: Any, x: Any, largest: int) -> None:
    """An operand of integer arithmetic must be so small that 64 bits hold the result: Python's are unlimited."""
    if type(x.real) is float:
        return
    if type(x) is TracedNumber and x.mg_expression is None and abs(x.real) <= largest:
        trace.add(Op("check", (x.mg_value,), {"low": -largest, "high": largest}, ()))
    elif not (x.mg_decide(lambda v: abs(v) <= largest) if type(x) is TracedNumber else abs(x) <= largest):
        refuse("a large integer meets an integer that is computed from arrays", "use float(n)")


def _constant(x: Any) -> Expression:
    def expression(inputs: Any) -> Any:
        return x

    expression.form = bits(x)  # type: ignore[attr-defined]
    return expression


def _binary(name: str, kind: str) -> None:
    function = getattr(operator, name)
    array_function = getattr(np, kind)

    def forward(self: Any, other: Any, *modulus: Any) -> Any:
        if modulus:
            return pow(self.mg_pinned(), pinned(other), *pinned(modulus))
        if not _is_plain(other):
            return _with_other(array_function, function, self, self, other)
        if name == "pow" and self.mg_expression is None and type(other) in (int, float):
            return self.mg_called(operator.pow, other)
        _check(self.mg_trace, name, self, other)
        return _computed(self.mg_trace, function, kind, self, other)

    def backward(self: Any, other: Any) -> Any:
        if not _is_plain(other):
            return _with_other(array_function, function, self, other, self)
        if name == "pow" and self.mg_expression is None and type(other) in (int, float):
            return self.mg_called(_base, other)
        _check(self.mg_trace, name, other, self)
        return _computed(self.mg_trace, function, kind, other, self)

    setattr(TracedNumber, f"__{name}__", forward)
    setattr(TracedNumber, f"__r{name}__", backward)


def pinned(x: Any, kinds: tuple[type, ...] = (int, float)) -> Any:
    """Numbers themselves in place of traced ones of these kinds: in a tuple, list or dictionary of arguments."""
    if type(x) is dict:
        return {key: pinned(part, kinds) for key, part in x.items()}
    if type(x) in (tuple, list):
        return type(x)(pinned(part, kinds) for part in x)
    return x.mg_pinned() if type(x) is TracedNumber and type(x.real) in kinds else x


def _with_other(function: Any, plain: Any, number: TracedNumber, x: Any, y: Any) -> Any:
    """An operation of a number and no number: with arrays NumPy's; Tensors answer for themselves.

    An object of any other class gets the number itself, and so does a complex number, by the plain operator.
    """
    other = y if x is number else x
    if isinstance(other, (np.ndarray, np.generic)):
        return function(x, y)
    if isinstance(other, Tensor):
        return NotImplemented
    real = number.mg_pinned()
    return plain(real, y) if x is number else plain(x, real)


def _check(trace: Any, name: str, x: Any, y: Any) -> None:
    """What Python refuses or computes in another way than NumPy must be decided as it was."""
    if name in ("truediv", "floordiv", "mod") and type(y) is TracedNumber:
        if y.mg_expression is None:
            trace.add(Op("check", (trace.emit("equal", y.mg_value, 0),), {"low": False, "high": False}, ()))
        else:
            y.mg_decide(bool)
    if name == "pow":
        if type(y) is TracedNumber:
            y.mg_decide(lambda v: (type(v), v >= 0))
        if type(x) is TracedNumber:
            x.mg_decide(lambda v: (v > 0, v == 0))


for _name, _op in (
    *(("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "divide")),
    *(("floordiv", "floor_divide"), ("mod", "remainder"), ("pow", "power")),
):
    _binary(_name, _op)


def _comparison(name: str, kind: str) -> None:
    function = getattr(operator, name)

    def compare(self: Any, other: Any) -> Any:
        if not _is_plain(other):
            return _with_other(getattr(np, kind), function, self, self, other)
        trace = self.mg_trace
        outcome = function(self.mg_real, other.real if type(other) is TracedNumber else other)
        if trace.open and not all(x.mg_expression is not None for x in (self, other) if type(x) is TracedNumber):
            if {type(x.real if type(x) is TracedNumber else x) for x in (self, other)} == {int, float}:
                for x in (self, other):  # Python compares exactly, NumPy after rounding the integer
                    _check_small(trace, x, EXACT)
            ins = [x.mg_value if type(x) is TracedNumber else x for x in (self, other)]
            return trace.decide(trace.emit(kind, *ins), outcome)
        if trace.open:
            mine, theirs = self.mg_known(), other.mg_known() if type(other) is TracedNumber else _constant(other)
            trace.predicates.append(Predicate(lambda inputs: function(mine(inputs), theirs(inputs)), outcome, ""))
        return outcome

    setattr(TracedNumber, f"__{name}__", compare)


for _name, _op in (
    *(("lt", "less"), ("le", "less_equal"), ("gt", "greater"), ("ge", "greater_equal")),
    *(("eq", "equal"), ("ne", "not_equal")),
):
    _comparison(_name, _op)


def _of_two_numbers(name: str, function: Callable[[Any, Any], Any]) -> None:
    setattr(TracedNumber, f"__{name}__", lambda self, other: function(self.mg_pinned(), pinned(other)))
    setattr(TracedNumber, f"__r{name}__", lambda self, other: function(pinned(other), self.mg_pinned()))


for _name in (
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
    "divmod",
):  # what is asked of counters, and has a value in the end
    _of_two_numbers(_name, divmod if _name == "divmod" else getattr(operator, f"__{_name}__"))


def _of_the_number(name: str) -> None:
    function = getattr(int, name, None) or getattr(float, name)

    def method(self: Any, *others: Any) -> Any:
        real = self.mg_pinned()
        return getattr(type(real), name)(real, *pinned(others))

    method.__name__, method.__doc__ = name, function.__doc__
    setattr(TracedNumber, name, method)


def _rounded(self: Any, *digits: Any) -> Any:
    """round(number, digits): of a number that the program computes Python rounds it in each call."""
    if self.mg_expression is not None:
        real = self.mg_pinned()
        return round(real, *pinned(digits))
    return self.mg_called(round, *pinned(digits))


TracedNumber.__round__ = _rounded  # type: ignore[attr-defined]

for _name in ["invert", "trunc", "floor", "ceil"]:
    _of_the_number(f"__{_name}__")
