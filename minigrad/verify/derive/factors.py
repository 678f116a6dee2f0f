"""Factors of products: exact numbers, powers, and terms without what only spreads them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from minigrad.verify.derive.term import Term

Factors = dict[Term, Fraction]


class CannotWrite(Exception):
    """Something of which no NumPy source can be written."""


def exact(value: Any) -> Any:
    """A number as a fraction if it is a simple one."""
    if isinstance(value, int):
        return Fraction(value)
    if isinstance(value, float) and math.isfinite(value):
        simple = Fraction(value).limit_denominator(64)
        return simple if float(simple) == value else value
    return value


def powered(value: Any, exponent: Fraction) -> Any:
    """A power of a number, exact where it can be."""
    if exponent.denominator == 1 and isinstance(value, Fraction):
        return value ** int(exponent)
    return exact(float(value) ** float(exponent))


def stripped(t: Term) -> Term:
    """The term without what only spreads it, or adds and removes leading axes of size 1."""
    while t.op == "broadcast_to" or (t.op == "reshape" and without_lead(t.shape) == without_lead(t.args[0].shape)):
        t = t.args[0]
    return Term("number", (), t.params) if t.op == "number" and t.shape else t


def stripped_axes(t: Term) -> Term:
    """The term without changes of its shape."""
    while t.op in ("reshape", "broadcast_to"):
        (t,) = t.args
    return t


def without_lead(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without leading axes of size 1."""
    k = next((k for k, n in enumerate(shape) if n != 1), len(shape))
    return shape[k:]


def is_root(parts: Factors) -> bool:
    """Whether all factors are roots."""
    return all(e.denominator > 1 for e in parts.values())


def exponential_in(t: Term) -> Term | None:
    """The u in 1 + exp(u)."""
    ones = [x for x in t.args if x.op == "number" and x.params[0] == 1]
    powers = [x for x in t.args if x.op == "exp"]
    return powers[0].args[0] if len(t.args) == 2 and ones and powers else None
