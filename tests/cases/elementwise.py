"""Elementwise functions, over shapes that broadcast either operand, 0-d and empty ones."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from cases.case import Case, Draw, between, each, either, grid, row, signed
from minigrad.ops import activation
from minigrad.ops import elementwise as e

above_one = partial(between, 1.2, 3.0)
positive = partial(between, 0.3, 2.0)
unit = partial(either, 0.1, 0.8)

UNARY: dict[str, Any] = {
    "negative": signed, "positive": signed, "reciprocal": signed, "square": signed, "abs": signed,
    "sqrt": positive, "cbrt": signed, "exp": signed, "exp2": signed, "expm1": signed,
    "log": positive, "log2": positive, "log10": positive, "log1p": unit,
    "sin": signed, "cos": signed, "tan": unit, "arcsin": unit, "arccos": unit, "arctan": signed,
    "sinh": signed, "cosh": signed, "tanh": signed, "arcsinh": signed, "arccosh": above_one, "arctanh": unit,
    "relu": signed, "sigmoid": signed, "softplus": signed, "erf": signed,
    "normal_cdf": signed, "normal_pdf": signed, "gaussian": signed, "sigmoid_slope": signed, "sech_squared": signed,
    "silu": signed, "mish": signed, "softsign": signed, "bounded": signed, "bounded_below": signed,
}  # fmt: skip

BINARY: dict[str, tuple[Any, Any]] = {
    "add": (signed, signed),
    "subtract": (signed, signed),
    "multiply": (signed, signed),
    "divide": (signed, signed),
    "hypot": (signed, signed),
    "remainder": (partial(either, 2.3, 2.7), partial(either, 0.95, 1.05)),
    "fmod": (partial(either, 2.3, 2.7), partial(either, 0.95, 1.05)),
    "power": (positive, signed),
    "quotient": (signed, signed),
    "logaddexp": (signed, signed),
    "arctan2": (signed, signed),
    "maximum": (partial(grid, 0.0), partial(grid, 0.1)),
    "minimum": (partial(grid, 0.0), partial(grid, 0.1)),
    "copysign": (signed, signed),
    "nextafter": (signed, signed),
}

SHAPES = [(3, 4), (), (1,), (2, 1, 3), (0, 3)]
PAIRS = [
    ((3, 4), (3, 4)),
    ((4,), (3, 4)),
    ((3, 4), (4,)),
    ((3, 1), (1, 4)),
    ((2, 1, 4), (3, 1)),
    ((), (2, 3)),
    ((2, 3), ()),
    ((), ()),
    ((1,), (1, 1)),
    ((1, 1), (2, 3)),
    ((0, 4), (4,)),
    ((1, 4), (0, 4)),
    ((2, 0), ()),
]

REFERENCES: dict[str, Any] = {
    "relu": lambda x: np.where(x > 0, x, 0.0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "erf": lambda x: np.reshape([math.erf(value) for value in np.ravel(x)], np.shape(x)),
    "normal_cdf": lambda x: np.reshape([math.erfc(-a / math.sqrt(2)) / 2 for a in np.ravel(x)], np.shape(x)),
    "normal_pdf": lambda x: np.exp(-x * x / 2) / np.sqrt(2 * np.pi),
    "gaussian": lambda x: np.exp(-x * x),
    "sigmoid_slope": lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2,
    "sech_squared": lambda x: 1 / np.cosh(x) ** 2,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "bounded": lambda x: x,
    "bounded_below": lambda x: x,
    "quotient": np.divide,
    "abs": lambda x: np.where(x < 0, -x, x),
    "square": lambda x: x * x,
    "cbrt": lambda x: np.sign(x) * np.abs(x) ** (1 / 3),
    "logaddexp": lambda x, y: np.log(np.exp(x) + np.exp(y)),
    "hypot": lambda x, y: np.sqrt(x * x + y * y),
    "maximum": lambda x, y: np.where(x > y, x, y),
    "minimum": lambda x, y: np.where(x < y, x, y),
}


def unary(name: str, draw: Any) -> list[Case]:
    function = next(getattr(module, name) for module in (e, activation) if hasattr(module, name))
    reference = REFERENCES.get(name) or getattr(np, name)
    rows = [row(name, str(shape), function, draw(*shape), reference=reference) for shape in SHAPES]
    if hasattr(np, name):
        rows.append(row(name, "by NumPy's name", getattr(np, name), draw(3, 4), reference=reference))
    return rows


def binary(name: str, draw_x: Any, draw_y: Any) -> list[Case]:
    function = getattr(e, name)
    reference = REFERENCES.get(name) or getattr(np, name)
    wrt = (0,) if name in ("copysign", "nextafter") else (0, 1)
    make = partial(row, name, reference=reference)
    rows = [make(f"{a}{b}", function, draw_x(*a), draw_y(*b), wrt=wrt) for a, b in PAIRS]
    theirs = getattr(np, name, function)
    rows.append(make("by NumPy's name", theirs, draw_x(3, 4), draw_y(4), wrt=wrt))
    y = float(draw_y()(np.random.default_rng(1)))
    rows.append(make("number on the right", function, draw_x(3, 4), y))
    rows.append(make("array on the right", theirs, draw_x(3, 4), np.full(4, y), wrt=(0,)))
    if name not in ("copysign", "nextafter"):
        x = float(draw_x()(np.random.default_rng(2)))
        rows.append(make("number on the left", function, x, draw_y(3, 4)))
        rows.append(make("array on the left", theirs, np.full(4, x), draw_y(3, 4), wrt=(1,)))
        same: Draw = draw_x(2, 3)
        if name not in ("remainder", "fmod", "maximum", "minimum"):
            twice = lambda x: function(np.abs(x), np.abs(x)) if name == "power" else function(x, x)
            twice_reference = lambda x: reference(np.abs(x), np.abs(x)) if name == "power" else reference(x, x)
            rows.append(row(name, "of x and x", twice, same, reference=twice_reference))
    return rows


MASK = np.array([[True, False, True, False], [False, False, True, True], [True, True, True, False]])


def where_rows() -> list[Case]:
    make = partial(row, "where", reference=np.where, wrt=(1, 2))
    rows = [
        make(f"{a}{b}{c}", e.where, np.resize(MASK, a), signed(*b), signed(*c))
        for a, b, c in [
            ((3, 4), (3, 4), (3, 4)),
            ((3, 4), (4,), (3, 1)),
            ((3, 4), (), (3, 4)),
            ((4,), (3, 4), ()),
            ((3, 1), (4,), (4,)),
            ((), (2, 3), (3,)),
            ((2, 3, 4), (4,), (1, 4)),
            ((0, 4), (4,), (0, 4)),
            ((), (), ()),
        ]
    ]
    rows.append(row("where", "number", np.where, MASK, signed(3, 4), 0.5, reference=np.where, wrt=(1,)))
    rows.append(row("where", "number first", np.where, MASK, 0.5, signed(4), reference=np.where, wrt=(2,)))
    rows.append(row("where", "integer condition", np.where, MASK.astype(int), signed(4), signed(3, 1),
                    reference=np.where, wrt=(1, 2)))  # fmt: skip
    rows.append(row("where", "condition from x", lambda x: np.where(x > 0, x * x, -x), signed(3, 4),
                    reference=lambda x: np.where(x > 0, x * x, -x)))  # fmt: skip
    return rows


def clip_rows() -> list[Case]:
    make = partial(row, "clip")
    shapes = [((3, 4), (4,), (3, 1)), ((3, 4), (), ()), ((), (3,), (3,)), ((4,), (3, 4), (1,)), ((0, 4), (4,), ())]
    rows = [
        make(f"{a}{b}{c}", e.clip, grid(0.0, *a), between(-0.9, -0.55, *b), between(0.55, 0.7, *c),
             reference=lambda x, low, high: np.minimum(high, np.maximum(low, x)))
        for a, b, c in shapes
    ]  # fmt: skip
    rows += [
        make("numbers", lambda x: e.clip(x, -0.6, 0.6), grid(0.0, 3, 4), reference=lambda x: np.clip(x, -0.6, 0.6)),
        make("np.clip", lambda x: np.clip(x, -0.6, 0.6), grid(0.0, 3, 4),
             reference=lambda x: np.where(x < -0.6, -0.6, np.where(x > 0.6, 0.6, x))),
        make("only below", lambda x: e.clip(x, -0.6), grid(0.0, 3, 4), reference=lambda x: np.maximum(x, -0.6)),
        make("only above", lambda x: e.clip(x, None, 0.6), grid(0.0, 3, 4), reference=lambda x: np.minimum(x, 0.6)),
        make("bounds crossed", e.clip, grid(0.0, 3, 4), between(0.55, 0.7, 4), between(-0.7, -0.55, 4),
             reference=lambda x, low, high: np.minimum(high, np.maximum(low, x))),
    ]  # fmt: skip
    return rows


KINK = "the gradient itself jumps here"
INTEGERS = np.array([[1, 2, -3, 4], [2, -1, 1, 3], [5, -2, 2, 1]])

CASES = [case for name, draw in UNARY.items() for case in unary(name, draw)]
CASES += [case for name, draws in BINARY.items() for case in binary(name, *draws)]
CASES += where_rows() + clip_rows()
CASES += [
    row("add", "integers", np.add, signed(3, 4), INTEGERS, reference=np.add, wrt=(0,)),
    row("multiply", "booleans", np.multiply, signed(4), MASK, reference=np.multiply, wrt=(0,)),
    row("multiply", "integers on the left", np.multiply, INTEGERS, signed(4), reference=np.multiply, wrt=(1,)),
    row("divide", "by integers", np.divide, signed(3, 4), INTEGERS, reference=np.divide, wrt=(0,)),
    row("divide", "of integers", np.divide, INTEGERS, signed(3, 4), reference=np.divide, wrt=(1,)),
    row("power", "negative bases", lambda x: x**3, signed(3, 4), reference=lambda x: x * x * x),
    row("power", "integer exponents", np.power, signed(3, 4), INTEGERS, reference=lambda x, y: x**y, wrt=(0,)),
    row("power", "zeros to integers", np.power, each([0.0, 0.0, 0.0, 2.0]), np.array([2, 3, 1, 2]),
        reference=lambda x, y: np.array([0.0, 0.0, 0.0, 4.0]), wrt=(0,)),
    row("power", "exponent 0", lambda x: x**0, signed(4), reference=lambda x: np.ones(4)),
    row("power", "number to a Tensor", lambda y: 2**y, signed(4), reference=lambda y: np.exp(np.log(2) * y)),
    row("square", "x ** 2", lambda x: x**2, signed(3, 4), reference=lambda x: x * x),
    row("sqrt", "x ** 0.5", lambda x: x**0.5, positive(3, 4), reference=np.sqrt),
    row("maximum", "ties of two", np.maximum, each([1.0, -2.0, 0.0]), each([1.0, -2.0, 0.0]), reference=np.maximum, second=KINK),
    row("minimum", "ties of two", np.minimum, each([1.0, -2.0, 0.0]), each([[1.0, -2.0, 0.0]]), reference=np.minimum,
        second=KINK),
    row("hypot", "one of both 0", np.hypot, each([0.0, 1.0, 2.0]), each([1.5, 0.5, 1.0]), reference=np.hypot),
    row("multiply", "by NumPy's outer", lambda x: np.multiply.outer(x, x), signed(4), reference=lambda x: x[:, None] * x),
    row("relu", "large", activation.relu, each([-40.0, 30.0, 1e3]), reference=lambda x: np.array([0.0, 30.0, 1e3])),
    row("softplus", "large", activation.softplus, each([-30.0, 30.0, 80.0]),
        reference=lambda x: np.where(x > 0, x, 0) + np.log1p(np.exp(-np.abs(x)))),
    row("power", "exponent 0 to be differentiated", np.power, positive(4), each([0.0, 0.0, 1.0, 2.0]), reference=np.power),
    row("expm1", "large negative", np.expm1, each([-15.0, -5.0, 3.0]), reference=np.expm1),
    row("tanh", "large", np.tanh, each([-12.0, 4.0, 9.0]), reference=np.tanh),
    row("arctan", "large", np.arctan, each([-40.0, 1e3, 9.0]), reference=np.arctan),
    row("logaddexp", "far apart", np.logaddexp, each([0.0, 30.0]), each([-20.0, 0.0]), reference=np.logaddexp),
    row("normal_cdf", "both tails", activation.normal_cdf, each([-9.0, -3.0, 0.0, 4.0]),
        reference=lambda x: np.array([math.erfc(-a / math.sqrt(2)) / 2 for a in x])),
    row("sigmoid", "large negative", activation.sigmoid, each([-40.0, -20.0]), reference=lambda x: np.exp(x) / (1 + np.exp(x))),
    row("sigmoid", "large", activation.sigmoid, each([-30.0, 5.0, 30.0]), reference=lambda x: 1 / (1 + np.exp(-x))),
    row("erf", "all branches", activation.erf, each([-3.0, -0.2, 0.4, 1.0, 4.5]),
        reference=lambda x: np.array([math.erf(value) for value in x])),
]  # fmt: skip
