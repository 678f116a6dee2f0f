"""Arithmetic of traced numbers: +, **, <, round, and functions of Python's math that programs call.

Arithmetic is recorded twice: as ops of the program, for what becomes part of an array, and as a Python expression of
the inputs, for what stays a number (a counter that the step stores).
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from minigrad.compiler.ir.program import Op
from minigrad.compiler.refusal import CompileError, unsupported, user_line
from minigrad.compiler.trace.tracer_operators import mapped, real_of
from minigrad.reach import bits
from minigrad.reach.guards import Predicate
from minigrad.tensor.tensor import Tensor

Expression = Any  # a function of the inputs; its attribute `form` says what it computes
LARGEST = {"add": 2**62 - 1, "subtract": 2**62 - 1, "multiply": 2**31}  # operands whose result fits into 64 bits
EXACT = 2**53  # larger integers are rounded when they meet floating-point arrays


class NumberOperators:
    """The operators of a traced number. Its class, `TracedNumber`, is derived from this one."""

    __slots__ = ()

    def __neg__(self) -> Any:
        return computed(operator.neg, "negative", self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return computed(abs, "absolute", self)

    def __round__(self: Any, *digits: Any) -> Any:
        """round(number, digits). Where the program computes the number, Python rounds it in each call."""
        if self.mg_expression is not None:
            return round(self.mg_pinned(), *pinned(digits))
        return self.mg_called(round, *pinned(digits))


def is_traced(x: Any) -> bool:
    """Whether x is a traced number."""
    return issubclass(type(x), NumberOperators)


def pinned(x: Any, kinds: tuple[type, ...] = (int, float)) -> Any:
    """The numbers themselves instead of traced ones of these kinds; in a tuple, list or dictionary of arguments too."""
    return mapped(lambda part: part.mg_pinned() if is_traced(part) and type(part.mg_real) in kinds else part, x)


def tried(trace: Any, function: Callable[..., Any], *reals: Any) -> Any:
    """function(*reals). If that raises, recording stops, as the step may catch it, and other calls may not raise."""
    try:
        return function(*reals)
    except Exception as error:
        trace.spoil(CompileError(f"mg.compile: {type(error).__name__}: {error}, at {user_line()}"))
        raise


@functools.lru_cache(maxsize=256, typed=True)
def scalar_function(function: Callable[..., Any], kind: Any, is_single: bool, *rest: Any) -> Callable[[Any], Any]:
    """A function of Python numbers as a program calls it: with a NumPy scalar, for a result of this kind.

    Raises:
        ArithmeticError: the last digits may decide how `round` rounds, so the step itself is called.
    """
    spread = 1e-6 if is_single else 1e-9

    def call(x: Any) -> Any:
        result: Any = function(x.item(), *rest)
        if function is round and len({round(x.item() * (1 + e), *rest) for e in (-spread, spread)}) > 1:
            raise ArithmeticError
        if type(result) is not kind:
            raise TypeError
        return np.float64(result) if kind is float else np.int64(result)

    call.__name__ = getattr(function, "__name__", "call")
    return call


def computed(function: Callable[..., Any], name: str, *operands: Any) -> Any:
    """function(*operands), recorded as an expression, and as an op of this name if an array needs it."""
    number: Any = next(x for x in operands if is_traced(x))
    trace = number.mg_trace
    reals = [*map(real_of, operands)]
    real = tried(trace, function, *reals)
    if not trace.open:
        return real
    parts: list[Any] = [x.mg_expression if is_traced(x) else _constant(x) for x in operands]
    is_expression = all(part is not None for part in parts)
    expression = composed(function, name, *parts) if is_expression else None

    def make() -> Any:
        if is_expression and all(type(x) is not float for x in reals):  # Python's integers have no last bit
            return trace.computed(expression, real)
        if type(real) is int:
            for x in operands:
                _check_small(x, LARGEST.get(name, EXACT))
        return trace.emit(name, *_values(operands))

    result = type(number)(trace, real, expression, make)
    if name == "power" and is_expression:  # Python raises where NumPy returns infinity
        result.mg_decide(lambda n: n is not None)
    return result


def _values(operands: Any) -> list[Any]:
    """The operands of an op: values of the program, and plain numbers."""
    return [x.mg_value if is_traced(x) else x for x in operands]


def _check_small(x: Any, largest: int) -> None:
    """Check that an operand of integer arithmetic is so small that the result fits into 64 bits, unlike Python's."""
    is_small = type(real_of(x)) is float or (x.mg_is_within(-largest, largest) if is_traced(x) else abs(x) <= largest)
    if not is_small:
        unsupported("a large integer meets an integer that is computed from arrays", "use float(n)")


def composed(function: Callable[..., Any], name: str, *parts: Expression) -> Expression:
    """The expression that applies a function of this name to other expressions."""

    def expression(inputs: Any) -> Any:
        return function(*(part(inputs) for part in parts))

    return with_form(expression, (name, *(part.form for part in parts)))


def with_form(expression: Any, form: Any) -> Expression:
    """The expression, which now has a form. It stays a function: calls of a class with the form would cost more."""
    expression.form = form
    return cast("Expression", expression)


def _constant(x: Any) -> Expression:
    return with_form(lambda inputs: x, bits(x))


def _is_number(x: Any) -> bool:
    return type(x) in (int, float, bool) or is_traced(x)


def _base(exponent: Any, base: Any) -> Any:
    """base ** exponent."""
    return base**exponent


def _with_other(function: Any, plain: Any, number: Any, x: Any, y: Any) -> Any:
    """An operation of a number and something else: NumPy's with arrays; Tensors answer for themselves.

    Objects of other classes, and complex numbers, get the number itself, by the plain operator.
    """
    other = y if x is number else x
    if isinstance(other, (np.ndarray, np.generic)):
        return function(x, y)
    if isinstance(other, Tensor):
        return NotImplemented
    real = number.mg_pinned()
    return plain(real, y) if x is number else plain(x, real)


def _check_operands(trace: Any, name: str, x: Any, y: Any) -> None:
    """Decide what Python refuses, or computes in another way than NumPy, as in this call."""
    if name in ("truediv", "floordiv", "mod") and is_traced(y):
        if y.mg_expression is None:
            trace.add(Op("check", (trace.emit("equal", y.mg_value, 0),), {"low": False, "high": False}, ()))
        else:
            y.mg_decide(bool)
    if name == "pow":
        if is_traced(y):
            y.mg_decide(lambda v: (type(v), v >= 0))
        if is_traced(x):
            x.mg_decide(lambda v: (v > 0, v == 0))


def _binary(name: str, kind: str) -> None:
    function, array_function = getattr(operator, name), getattr(np, kind)

    def compute(self: Any, x: Any, y: Any) -> Any:
        other = y if x is self else x
        if not _is_number(other):
            return _with_other(array_function, function, self, x, y)
        if name == "pow" and self.mg_expression is None and type(other) in (int, float):
            return self.mg_called(operator.pow if x is self else _base, other)
        _check_operands(self.mg_trace, name, x, y)
        return computed(function, kind, x, y)

    def forward(self: Any, other: Any, *modulus: Any) -> Any:
        return pow(self.mg_pinned(), pinned(other), *pinned(modulus)) if modulus else compute(self, self, other)

    setattr(NumberOperators, f"__{name}__", forward)
    setattr(NumberOperators, f"__r{name}__", lambda self, other: compute(self, other, self))


def _comparison(name: str, kind: str) -> None:
    function = getattr(operator, name)

    def compare(self: Any, other: Any) -> Any:
        if not _is_number(other):
            return _with_other(getattr(np, kind), function, self, self, other)
        trace = self.mg_trace
        real = real_of(other)
        outcome = function(self.mg_real, real)
        if trace.open and not all(x.mg_expression is not None for x in (self, other) if is_traced(x)):
            if {type(self.mg_real), type(real)} == {int, float}:
                for x in (self, other):  # Python compares exactly, NumPy after rounding the integer
                    _check_small(x, EXACT)
            return trace.decide(trace.emit(kind, *_values((self, other))), outcome)
        if trace.open:
            mine, theirs = self.mg_known(), other.mg_known() if is_traced(other) else _constant(other)
            trace.predicates.append(Predicate(lambda inputs: function(mine(inputs), theirs(inputs)), outcome, ""))
        return outcome

    setattr(NumberOperators, f"__{name}__", compare)


def _of_the_number(name: str, function: Callable[..., Any], *, reflected: bool = False) -> None:
    """An operator for counters, whose operands become constants."""

    def method(self: Any, *others: Any) -> Any:
        real, rest = self.mg_pinned(), pinned(others)
        return function(*rest, real) if reflected else function(real, *rest)

    setattr(NumberOperators, name, method)


for _name, _kind in (
    *(("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "divide")),
    *(("floordiv", "floor_divide"), ("mod", "remainder"), ("pow", "power")),
):
    _binary(_name, _kind)
for _name, _kind in (
    *(("lt", "less"), ("le", "less_equal"), ("gt", "greater"), ("ge", "greater_equal")),
    *(("eq", "equal"), ("ne", "not_equal")),
):
    _comparison(_name, _kind)
for _name in ("and", "or", "xor", "lshift", "rshift", "divmod"):
    _function = divmod if _name == "divmod" else getattr(operator, f"__{_name}__")
    _of_the_number(f"__{_name}__", _function)
    _of_the_number(f"__r{_name}__", _function, reflected=True)
for _function in (operator.invert, math.trunc, math.floor, math.ceil):
    _of_the_number(f"__{_function.__name__.strip('_')}__", _function)
