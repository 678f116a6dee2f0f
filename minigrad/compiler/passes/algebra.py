"""What the compiler knows about arithmetic: neutral elements, signs, products and powers.

Results may differ from the step's own in the last digits, as x · (1/s) differs from x / s. A product with 0 is kept,
because it may be NaN. So is x - x. The sum of deviations from a mean is 0 times the mean, for the same reason. By it
the second term of dl/dμ in batch normalization's derivation needs no walk over the batch, and a bias before it gets
the gradient 0 that it has, instead of what rounding leaves.

With constants taken out of sums (Σ c x = c Σ x), small factors multiplied first ((x r) s = x (r s)), and x / s = x
(1/s), the terms of a derivation that was composed line by line become the same as those of one made by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.compiler.ir.builder import Builder, rule
from minigrad.compiler.ir.predicates import TINY, Operand, is_float, is_op, is_scale, least, number, size
from minigrad.compiler.ir.program import Value
from minigrad.compiler.ir.typing import result
from minigrad.compiler.passes.elementwise import same_form  # its rules come first

SMALLEST = 1e-12  # what is divided by becomes a factor if it is never smaller
MODERATE = 4096.0  # factors that no number which is otherwise harmless overflows by


def _is_neutral(x: Operand, dtype: Any) -> bool:
    """Whether x is the 0 that changes nothing: of floats the negative one, as -0.0 + 0.0 is 0.0."""
    c = number(x)
    return c is not None and c == 0 and (dtype.kind not in "fc" or (dtype.kind == "f" and bool(np.signbit(c))))


@rule("add")
def add(b: Builder, x: Operand, y: Operand) -> Value | None:
    """x + 0; x + (-y); x + x."""
    shape, dtype = result("add", (x, y), {})
    for one, other in ((x, y), (y, x)):
        if _is_neutral(other, dtype) and not is_op(one, "full"):
            return same_form(b, one, shape, dtype)
    if is_float(x, y):
        if is_op(y, "negative"):
            return b.op("subtract", x, y.op.ins[0])  # type: ignore[union-attr]
        if is_op(x, "negative"):
            return b.op("subtract", y, x.op.ins[0])  # type: ignore[union-attr]
        if x is y:
            return b.op("multiply", x, 2.0)
        for one, other in ((x, y), (y, x)):
            if is_op(one, "add") and isinstance(other, Value):
                p, q = one.op.ins  # type: ignore[union-attr]
                if p is other or q is other:
                    return b.op("add", p if q is other else q, b.op("multiply", other, 2.0))
    return None


@rule("subtract")
def subtract(b: Builder, x: Operand, y: Operand) -> Value | None:
    """x - 0; x - (-y); (-x) - y."""
    shape, dtype = result("subtract", (x, y), {})
    if number(y) == 0 and not np.signbit(number(y)):
        return same_form(b, x, shape, dtype)
    if not is_float(x, y):
        return None
    if is_op(y, "negative"):
        return b.op("add", x, y.op.ins[0])  # type: ignore[union-attr]
    if is_op(x, "negative"):
        return b.op("negative", b.op("add", x.op.ins[0], y))  # type: ignore[union-attr]
    return None


@rule("negative")
def negative(b: Builder, x: Value) -> Value | None:
    """-(-x); -(x - y); -(x c) for a number c."""
    if x.dtype.kind != "f":
        return None
    if is_op(x, "negative"):
        return x.op.operands[0]
    if is_op(x, "subtract"):
        return b.op("subtract", *x.op.ins[::-1])
    if is_op(x, "multiply", "divide"):
        for k, c in enumerate(x.op.ins):
            if not isinstance(c, Value):
                ins = list(x.op.ins)
                ins[k] = -c
                return b.op(x.op.name, *ins)
    return None


@rule("multiply")
def multiply(b: Builder, x: Operand, y: Operand) -> Value | None:
    """x · 1; x · (-1); (-x) y; and small factors first: (x r) s = x (r s)."""
    shape, dtype = result("multiply", (x, y), {})
    if number(x) is not None and number(y) is None:
        x, y = y, x
    if number(y) == 1 and type(number(y)) is not bool:
        return same_form(b, x, shape, dtype)
    if not is_float(x, y) or not isinstance(x, Value):
        return None
    if number(y) == -1 and x.shape == shape:
        return b.op("negative", x)
    for one, other in ((x, y), (y, x)):
        if is_op(one, "negative"):
            return b.op("negative", b.op("multiply", one.op.ins[0], other))  # type: ignore[union-attr]
    return _small_first(b, x, y) or _small_first(b, y, x)


def _small_first(b: Builder, x: Operand, y: Operand) -> Value | None:
    """x y with x = p q, where q and y are smaller than p."""
    if not is_op(x, "multiply") or not is_float(*x.op.ins):  # type: ignore[union-attr]
        return None
    p, q = sorted(x.op.ins, key=size, reverse=True)  # type: ignore[union-attr]
    if size(y) < size(p) and size(q) < size(p) and p.shape == x.shape:  # type: ignore[union-attr]
        if is_scale(q) and is_scale(y):
            return None
        if isinstance(q, Value) or isinstance(y, Value):
            return b.op("multiply", p, b.op("multiply", q, y))
        if TINY <= abs(q * y) <= 1 / TINY and _is_safe(q, y):
            return b.op("multiply", p, q * y)
    return None


def _is_safe(p: complex, q: complex) -> bool:
    """Whether x p overflows or underflows only where x (p q) does.

    A loss in float32 that is multiplied by 65536, and gradients that are divided by it later, overflow where they do in
    an eager step. 1e300 · 1e300 and 1e-300 · 1e-300 are kept apart too: an x may bear them in turn.
    """
    same_side = (abs(p) >= 1) is (abs(q) >= 1)
    return same_side or all(1 / MODERATE <= abs(c) <= MODERATE for c in (p, q))


@rule("divide")
def divide(b: Builder, x: Operand, y: Operand) -> Value | None:
    """x / 1; x / c and x / s with a small s as products; signs outside."""
    shape, dtype = result("divide", (x, y), {})
    if number(y) == 1:
        return same_form(b, x, shape, dtype)
    if not is_float(x, y) or dtype.kind != "f":
        return None
    if is_op(x, "negative"):
        return b.op("negative", b.op("divide", x.op.ins[0], y))  # type: ignore[union-attr]
    if is_op(y, "negative"):
        return b.op("negative", b.op("divide", x, y.op.ins[0]))  # type: ignore[union-attr]
    if not isinstance(y, Value):
        return b.op("multiply", x, 1 / y) if y and np.isfinite(1 / y) else None
    if isinstance(x, Value) and y.size < x.size and least(y) >= SMALLEST:  # 1/y of others may be infinite, and x/y not
        return b.op("multiply", x, b.op("divide", 1.0, y))
    return None


@rule("reciprocal")
def reciprocal(b: Builder, x: Value) -> Value | None:
    """1/x."""
    return b.op("divide", 1.0, x) if x.dtype.kind == "f" else None


@rule("square")
def square(b: Builder, x: Value) -> Value | None:
    """x²; of a bool NumPy makes an integer."""
    return b.op("multiply", x, x) if x.dtype.kind != "b" else None


@rule("power")
def power(b: Builder, x: Operand, y: Operand) -> Value | None:
    """Powers that are products and roots."""
    if not isinstance(x, Value) or x.dtype.kind != "f" or isinstance(y, (Value, complex)):
        return None
    if y == 1:
        return x
    if y in (2, 3):
        squared = b.op("multiply", x, x)
        return squared if y == 2 else b.op("multiply", squared, x)
    if y == 0.5 and (x.dtype.itemsize > 2 or least(x) >= 0):  # NumPy's loop of float16 gives others of -inf and -0.0
        return b.op("sqrt", x)
    if y in (-1, -2):
        return b.op("divide", 1.0, x if y == -1 else b.op("multiply", x, x))
    return None


@rule("where")
def where(b: Builder, c: Operand, x: Operand, y: Operand) -> Value | None:
    """A choice between equals, or without one."""
    shape, dtype = result("where", (c, x, y), {})
    if x is y or number(c) is not None:
        return same_form(b, x if x is y or number(c) else y, shape, dtype)
    return None
