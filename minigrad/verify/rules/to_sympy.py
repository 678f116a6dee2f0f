"""Translates expressions of `minigrad.symbols` to sympy.

An expression has different formulas in different regions: |x| is x for x > 0 and −x for x < 0. A translation is for one
region, in which every comparison is decided, so its result is a smooth formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from minigrad.engine.primitive import REGISTRY
from minigrad.symbols import Call, Expression, Name, Number, Symbol, intercepting
from minigrad.symbols.simplify import TESTS

DEFINED_BY_NAME = {
    "erf": "the error function; its approximation is tested against known values",
    "normal_cdf": "the normal distribution function; its approximation is tested against known values",
    "normal_pdf": "the normal density; its evaluation by parts of x is tested against known values",
    "softsign": "x / (1 + |x|), with the largest number instead of inf",
    **dict.fromkeys(("bounded", "bounded_below"), "x, as its factor is 0 where x is cut off"),
    "gaussian": "exp(-x²); its evaluation by parts of x is tested against known values",
}
BY_TANH = ("sigmoid", "sigmoid_slope", "sech_squared")  # sympy simplifies them in formulas only in this form
STEPS = ("Floor", "Ceil", "Trunc")
COMPARISONS: dict[str, Callable[[int], bool]] = {
    "equal": lambda sign: sign == 0,
    "not_equal": lambda sign: sign != 0,
    "less": lambda sign: sign < 0,
    "less_equal": lambda sign: sign <= 0,
    "greater": lambda sign: sign > 0,
    "greater_equal": lambda sign: sign >= 0,
}


class UndecidedError(Exception):
    """The formula of an expression, or whether it is 0, cannot be decided."""


@cache
def sympy() -> ModuleType:
    """The module sympy, imported at the first call."""
    try:
        import sympy as module
    except ImportError as error:
        raise ImportError("proving a rule needs sympy: pip install 'minigrad[symbols]'") from error
    return module


@cache
def step(name: str) -> Any:
    """A function of sympy that is constant except for jumps: its derivative is 0."""
    return type(name, (sympy().Function,), {"nargs": 1, "fdiff": lambda self, argindex=1: sympy().Integer(0)})


def of_integers(x: Any) -> Any:
    """np.rint of an expression that is an integer up to rounding."""
    s = sympy()
    simple = s.simplify(x)
    if simple.func in (step("Floor"), step("Ceil"), step("Trunc")) or simple.is_integer:
        return simple
    raise UndecidedError("the rule contains rint of a value that is not an integer")


def with_own_steps(e: Any) -> Any:
    """A formula with sympy's own floor and ceiling instead of `step`, for evaluation."""
    s = sympy()
    e = e.replace(step("Floor"), s.floor).replace(step("Ceil"), s.ceiling)
    return e.replace(step("Trunc"), lambda t: s.sign(t) * s.floor(abs(t)))


def is_composed(op: str) -> bool:
    """Whether a primitive is defined by its function, which is composed of NumPy functions."""
    p = REGISTRY.get(op)
    if p is None or p.kind != "elementwise" or op in DEFINED_BY_NAME or op in BY_TANH:
        return False
    return not isinstance(p.function, np.ufunc) and p.function is not np.where


class Translation:
    """Expressions to sympy, in one region.

    Args:
        names: the values of variables.
        region: for each symbol of sympy its value in terms of positive symbols.
    """

    def __init__(self, names: Mapping[str, Any], region: Mapping[Any, Any]) -> None:
        self.names, self.region = names, dict(region)
        self._formulas: dict[int, Any] = {}

    def __call__(self, e: Expression) -> Any:
        """The formula of an expression. Truth values are 0 and 1."""
        s = sympy()
        if isinstance(e, Name):
            if e.text not in self.names:
                raise UndecidedError(f"{e.text} has no value here")
            return self.names[e.text]
        if isinstance(e, Number):
            return rational(e.value)
        if id(e) not in self._formulas:
            x = [self(part) for part in e.operands]
            self._formulas[id(e)] = s.Integer(int(y)) if isinstance(y := self.call(e, x), bool) else y
        return self._formulas[id(e)]

    def call(self, e: Call, x: list[Any]) -> Any:
        """An operation on the formulas of its operands."""
        op = e.op
        if op in COMPARISONS:
            return COMPARISONS[op](self.sign(x[0] - x[1]))
        if op in TESTS:
            return bool(TESTS[op])
        if is_composed(op):
            return self.composed(op, x)
        if (smooth := smooth_functions().get(op)) is not None:
            return smooth(*x)
        if op in PIECEWISE:
            return PIECEWISE[op](self, *x)
        raise UndecidedError(f"{op} is not an elementwise function of sympy")

    def composed(self, op: str, x: list[Any]) -> Any:
        """A primitive composed of NumPy functions: the formula of its function."""
        p = REGISTRY[op]
        with intercepting():
            value = p.function(*(Symbol(Name(name)) for name in p.operands))
        return Translation(dict(zip(p.operands, x, strict=True)), self.region)(value.expression)

    def sign(self, e: Any) -> int:
        """The sign of a formula in the region: 1, 0 or −1."""
        s = sympy()
        for form in (lambda t: t, s.expand, s.factor, s.simplify):
            there = form(e.subs(self.region, simultaneous=True))
            for sign, answer in ((1, there.is_positive), (-1, there.is_negative), (0, there.is_zero)):
                if answer:
                    return sign
        raise UndecidedError(f"the sign of {e} is not the same everywhere in the region, or not known")


def absolute(t: Translation, x: Any) -> Any:
    """|x| in the region of a translation."""
    return -x if t.sign(x) < 0 else x


PIECEWISE: dict[str, Callable[..., Any]] = {  # functions whose formula depends on the region
    "absolute": absolute,
    "abs": absolute,
    "softsign": lambda t, x: x / (1 + absolute(t, x)),
    "sign": lambda t, x: sympy().Integer(t.sign(x)),
    "copysign": lambda t, x, y: absolute(t, x) * (-1 if t.sign(y) < 0 else 1),
    "maximum": lambda t, x, y: y if t.sign(x - y) < 0 else x,
    "minimum": lambda t, x, y: x if t.sign(x - y) < 0 else y,
    "where": lambda t, condition, x, y: x if t.sign(condition) else y,
    "nextafter": lambda t, x, y: x,  # up to rounding
    "cbrt": lambda t, x: t.sign(x) * absolute(t, x) ** sympy().Rational(1, 3),
    "logical_and": lambda t, x, y: bool(t.sign(x) and t.sign(y)),
    "logical_or": lambda t, x, y: bool(t.sign(x) or t.sign(y)),
    "logical_not": lambda t, x: not t.sign(x),
    "bitwise_and": lambda t, x, y: bool(t.sign(x) and t.sign(y)),
    "bitwise_or": lambda t, x, y: bool(t.sign(x) or t.sign(y)),
}


def rational(value: float) -> Any:
    """A number as it is written in source code: 1/10 for 0.1."""
    s = sympy()
    if not math.isfinite(value):
        raise UndecidedError(f"the rule contains {value}")
    return s.pi if value == math.pi else s.Rational(repr(value))


@cache
def smooth_functions() -> dict[str, Callable[..., Any]]:
    """Functions that are smooth, or constant except for jumps."""
    s = sympy()
    floor, trunc = step("Floor"), step("Trunc")
    return {
        "add": lambda x, y: x + y,
        "subtract": lambda x, y: x - y,
        "multiply": lambda x, y: x * y,
        "divide": lambda x, y: x / y,
        "negative": lambda x: -x,
        "positive": lambda x: x,
        "reciprocal": lambda x: 1 / x,
        "square": lambda x: x**2,
        "power": lambda x, y: x**y,
        "sqrt": s.sqrt,
        "hypot": lambda x, y: s.sqrt(x**2 + y**2),
        "exp": s.exp,
        "exp2": lambda x: s.Integer(2) ** x,
        "expm1": lambda x: s.exp(x) - 1,
        "log": s.log,
        "log2": lambda x: s.log(x) / s.log(2),
        "log10": lambda x: s.log(x) / s.log(10),
        "log1p": lambda x: s.log(1 + x),
        "logaddexp": lambda x, y: s.log(s.exp(x) + s.exp(y)),
        "sin": s.sin, "cos": s.cos, "tan": s.tan,
        "arcsin": s.asin, "arccos": s.acos, "arctan": s.atan, "arctan2": s.atan2,
        "sinh": s.sinh, "cosh": s.cosh, "tanh": s.tanh,
        "arcsinh": s.asinh, "arccosh": s.acosh, "arctanh": s.atanh,
        "erf": s.erf,
        "sigmoid": lambda x: (1 + s.tanh(x / 2)) / 2,
        "sigmoid_slope": lambda x: (1 - s.tanh(x / 2) ** 2) / 4,
        "sech_squared": lambda x: 1 - s.tanh(x) ** 2,
        "bounded": lambda x: x,
        "bounded_below": lambda x: x,
        "normal_cdf": lambda x: (1 + s.erf(x / s.sqrt(2))) / 2,
        "normal_pdf": lambda x: s.exp(-(x**2) / 2) / s.sqrt(2 * s.pi),
        "gaussian": lambda x: s.exp(-(x**2)),
        "floor": floor,
        "ceil": step("Ceil"),
        "trunc": trunc,
        "rint": of_integers,
        "floor_divide": lambda x, y: floor(x / y),
        "remainder": lambda x, y: x - y * floor(x / y),
        "fmod": lambda x, y: x - y * trunc(x / y),
    }  # fmt: skip
