"""Elementwise functions of terms."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from minigrad.verify.derive.factors import stripped, stripped_axes
from minigrad.verify.derive.shapes import reshape
from minigrad.verify.derive.term import ONE, Term
from minigrad.verify.derive.term_algebra import HALF, Algebra

LARGEST = float(np.finfo(np.float64).max)


def _power(a: Algebra, x: Term, y: Term) -> Term:
    if y.op == "number" and isinstance(y.params[0], Fraction):
        return a.times([(x, y.params[0])])
    return a.known(Term("power", (stripped(x), stripped(y)), (), np.broadcast_shapes(x.shape, y.shape)))


def _compared(op: str) -> Any:
    def compare(a: Algebra, x: Term, y: Term) -> Term:
        if x.op == y.op == "number":
            return a.number(bool(getattr(np, op)(float(x.params[0]), float(y.params[0]))))
        if stripped(x) is stripped(y):
            return a.number(op in ("equal", "less_equal", "greater_equal"))
        is_rare = y.op == "number" and (y.is_zero or math.isinf(y.params[0]))
        if op in ("equal", "not_equal") and is_rare and x.op != "number":
            return a.number(op == "not_equal")
        return Term(op, (stripped(x), stripped(y)), (), np.broadcast_shapes(x.shape, y.shape))

    return compare


def _where(a: Algebra, condition: Term, x: Term, y: Term) -> Term:
    if condition.op == "number":
        return x if condition.params[0] else y
    condition = stripped(condition)
    yes, no = (Term("mask", (condition,), (kept,), condition.shape) for kept in (True, False))
    if y.is_zero:
        return a.times([(x, 1), (yes, 1)])
    if x.is_zero:
        return a.times([(y, 1), (no, 1)])
    shape = np.broadcast_shapes(condition.shape, x.shape, y.shape)
    return a.known(Term("where", (condition, stripped(x), stripped(y)), (), shape))


def _unary(op: str) -> Any:
    return lambda a, x: a.known(Term(op, (stripped(x),), (), stripped(x).shape))


def _log(a: Algebra, x: Term) -> Term:
    if x.op == "number" and x.params[0] > 0:
        return a.number(math.log(x.params[0]))
    return a.known(Term("log", (stripped(x),), (), stripped(x).shape))


def _exp(a: Algebra, x: Term) -> Term:
    for part in x.args if x.op == "plus" else ():
        coefficient, factors = part.factors()
        inner = next(iter(factors), part)
        if (
            len(factors) == 1 and abs(coefficient) == 1 and stripped_axes(inner).op == "log"
        ):  # exp(x - log s) is exp(x) / s
            rest = a.plus([(ONE, x), (-coefficient, inner)])
            s = reshape(a, (stripped_axes(inner).args[0],), (), inner.shape)
            return a.times([(_exp(a, rest), 1), (s, coefficient)])
    return a.known(Term("exp", (stripped(x),), (), stripped(x).shape))


def _sech_squared(a: Algebra, x: Term) -> Term:
    return a.plus([(ONE, a.number(1)), (-ONE, a.times([(_unary("tanh")(a, x), 2)]))])


def _sigmoid_slope(a: Algebra, x: Term) -> Term:
    s = _unary("sigmoid")(a, x)
    return a.times([(s, 1), (a.plus([(ONE, a.number(1)), (-ONE, s)]), 1)])


def _hypot(a: Algebra, x: Term, y: Term) -> Term:
    return a.times([(a.plus([(ONE, a.times([(x, 2)])), (ONE, a.times([(y, 2)]))]), HALF)])


def _extreme(op: str) -> Any:
    def extreme(a: Algebra, x: Term, y: Term) -> Term:
        if any(t.op == "number" and abs(t.params[0]) == LARGEST for t in (x, y)):
            return x if y.op == "number" else y
        return a.known(Term(op, (stripped(x), stripped(y)), (), np.broadcast_shapes(x.shape, y.shape)))

    return extreme


def _logical(op: str) -> Any:
    def logical(a: Algebra, x: Term, y: Term) -> Term:
        for s, other in ((x, y), (y, x)):
            if s.op == "number":
                is_neutral = bool(s.params[0]) == (op == "bitwise_and")
                return other if is_neutral else a.number(op == "bitwise_or")
        return Term(op, (stripped(x), stripped(y)), (), np.broadcast_shapes(x.shape, y.shape))

    return logical


ELEMENTWISE: dict[str, Any] = {
    "add": lambda a, x, y: a.plus([(ONE, x), (ONE, y)]),
    "subtract": lambda a, x, y: a.plus([(ONE, x), (-ONE, y)]),
    "negative": lambda a, x: a.times([(x, 1)], -ONE),
    "positive": lambda a, x: x,
    "multiply": lambda a, x, y: a.times([(x, 1), (y, 1)]),
    "divide": lambda a, x, y: a.times([(x, 1), (y, -1)]),
    "quotient": lambda a, x, y: a.times([(x, 1), (y, -1)]),
    "reciprocal": lambda a, x: a.times([(x, -1)]),
    "square": lambda a, x: a.times([(x, 2)]),
    "sqrt": lambda a, x: a.times([(x, HALF)]),
    "power": _power,
    "where": _where,
    "exp": _exp,
    "log": _log,
    "absolute": _unary("absolute"),
    "sech_squared": _sech_squared,
    "sigmoid_slope": _sigmoid_slope,
    "relu": lambda a, x: _extreme("maximum")(a, x, a.number(0)),
    "softplus": lambda a, x: a.known(Term("logaddexp", (stripped(x), a.number(0)), (), x.shape)),
    "gaussian": lambda a, x: _exp(a, a.times([(x, 2)], -ONE)),
    "hypot": _hypot,
    "maximum": _extreme("maximum"),
    "minimum": _extreme("minimum"),
    "bitwise_and": _logical("bitwise_and"),
    "bitwise_or": _logical("bitwise_or"),
    "isfinite": lambda a, x: a.number(1),
    **{op: (lambda a, x: a.number(0)) for op in ("isnan", "isinf", "isneginf", "isposinf")},
    **{
        op: _compared(op)
        for op in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    },
}  # fmt: skip
