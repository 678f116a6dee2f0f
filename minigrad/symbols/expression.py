"""Expressions: trees of calls, which symbols carry. Subtrees are shared.

`notation` and `latex` write them; `minigrad.verify.rules.to_sympy` translates them to sympy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    text: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Call:
    """An operation on expressions.

    Args:
        op: the name of the NumPy function or of the primitive.
        operands: of the operation, in order.
        details: further arguments, already as text: an index, a dtype.
    """

    op: str
    operands: tuple[Expression, ...]
    details: tuple[str, ...] = ()


Expression = Name | Number | Call


def mapped(
    e: Expression, change: Callable[[Expression], Expression], seen: dict[int, Expression] | None = None
) -> Expression:
    """The expression with `change` applied to every part, innermost first. Shared parts stay shared."""
    seen = {} if seen is None else seen
    if not isinstance(e, Call):
        return change(e)
    if id(e) not in seen:
        operands = tuple(mapped(x, change, seen) for x in e.operands)
        seen[id(e)] = change(Call(e.op, operands, e.details))
    return seen[id(e)]


def size(e: Expression, seen: dict[int, int] | None = None) -> int:
    """The number of calls in the expression as it is written, where shared parts are repeated."""
    seen = {} if seen is None else seen
    if not isinstance(e, Call):
        return 0
    if id(e) not in seen:
        seen[id(e)] = 1 + sum(size(x, seen) for x in e.operands)
    return seen[id(e)]


LARGEST_DENOMINATOR = 5000
CONSTANTS: dict[float, Expression] = {
    math.log(2): Call("log", (Number(2),)),
    math.log(10): Call("log", (Number(10),)),
    1 / math.log(2): Call("reciprocal", (Call("log", (Number(2),)),)),
    1 / math.log(10): Call("reciprocal", (Call("log", (Number(10),)),)),
    math.sqrt(2): Call("sqrt", (Number(2),)),
    1 / math.sqrt(2): Call("reciprocal", (Call("sqrt", (Number(2),)),)),
    math.pi: Number(math.pi),
    math.sqrt(math.pi): Call("sqrt", (Number(math.pi),)),
    2 / math.sqrt(math.pi): Call("divide", (Number(2), Call("sqrt", (Number(math.pi),)))),
    1 / math.sqrt(math.pi): Call("reciprocal", (Call("sqrt", (Number(math.pi),)),)),
    math.sqrt(2 / math.pi): Call("sqrt", (Call("divide", (Number(2), Number(math.pi))),)),
    1 / math.sqrt(2 * math.pi): Call("reciprocal", (Call("sqrt", (Call("multiply", (Number(2), Number(math.pi))),)),)),
}


def constant(value: float) -> Expression:
    """The expression that a Python number stands for: log 2 for 0.693..., 2/49 for 0.0408..."""
    if isinstance(value, (bool, int)):
        return Number(int(value))
    if not math.isfinite(value):
        return Number(value)
    if value.is_integer():
        return Number(int(value))
    if abs(value) in CONSTANTS:
        known = CONSTANTS[abs(value)]
        return known if value > 0 else Call("negative", (known,))
    fraction = Fraction(value).limit_denominator(LARGEST_DENOMINATOR)
    if fraction.numerator / fraction.denominator == value and 10**4 % fraction.denominator:
        return Call("divide", (Number(fraction.numerator), Number(fraction.denominator)))
    return Number(value)
