"""Predicates of values: which number they are, which op computes them, what no element is below."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeGuard

from minigrad.compiler.ir.program import Literal, Op, Value

Operand = Value | Literal
FLOOR = 1e-6  # a divisor that is never smaller gives no large numbers
DEPTH = 12  # ops that are looked at behind a value
TINY = 1e-30  # products of constants are folded if neither they nor their reciprocals are smaller


def is_full(x: Any) -> TypeGuard[Value]:
    """Whether x is a constant array."""
    return type(x) is Value and x.op.name == "full"


def number(x: Any) -> Any:
    """The number that all elements of x are: of a literal or a constant array, else None."""
    return x.op.params["value"] if is_full(x) else None if isinstance(x, Value) else x


def is_op(x: Any, *names: str) -> TypeGuard[Value]:
    """Whether x is the value of one of these ops."""
    return type(x) is Value and x.op.name in names


def is_float(*operands: Any) -> bool:
    """Whether all values have one floating-point dtype."""
    dtype = None
    for x in operands:
        if isinstance(x, Value):
            if dtype is not None and x.dtype != dtype:
                return False
            dtype = x.dtype
    return dtype is not None and dtype.kind == "f"


def is_scale(x: Any, depth: int = 0) -> bool:
    """Whether x comes from a division or a reciprocal: it is large where something else is small, and vice versa.

    Code that scales numbers so that they neither overflow nor vanish, (x / max|x|)², uses such factors. Two of them
    must not be multiplied before the numbers that they scale. 1/√(σ² + ε) of a normalization is no scale: it is never
    large.
    """
    if not isinstance(x, Value) or depth > DEPTH:
        return False
    if x.op.name == "divide":
        return lower_bound(x.op.ins[1]) < FLOOR or is_scale(x.op.ins[0], depth + 1)
    if x.op.name in ("reciprocal", "power"):
        return True
    through = ("multiply", "negative", "reshape", "broadcast", "copy", "cast", "where")
    return x.op.name in through and any(is_scale(y, depth + 1) for y in x.op.operands)


def lower_bound(x: Operand, depth: int = 0) -> float:
    """A lower bound of the elements of x: 0 or more if that follows from how x is computed, else -inf."""
    if not isinstance(x, Value):
        return float(x) if isinstance(x, (int, float)) else -math.inf
    op = x.op
    if op.name == "full":
        return lower_bound(op.params["value"])
    if depth > DEPTH or op.name not in LOWER_BOUNDS:
        return -math.inf
    return LOWER_BOUNDS[op.name](op, [lower_bound(y, depth + 1) for y in op.ins])


def _bound_of_product(op: Op, ins: list[float]) -> float:
    x, y = op.ins
    return 0.0 if x is y else ins[0] * ins[1] if min(ins) >= 0 and math.isfinite(max(ins)) else -math.inf


def _bound_of_sum(op: Op, ins: list[float]) -> float:
    """Σ exp(x - max x) is at least 1, as one of the terms is 1."""
    (x,) = op.operands
    if is_op(x, "exp") and is_op(x.op.operands[0], "subtract"):
        a, b = x.op.operands[0].op.ins
        while is_op(b, "broadcast", "reshape"):
            b = b.op.operands[0]
        if is_op(b, "max") and b.op.operands[0] is a and b.op.params["axes"] == op.params["axes"]:
            return 1.0
    return 0.0 if ins[0] >= 0 else -math.inf


LOWER_BOUNDS: dict[str, Callable[[Op, list[float]], float]] = {
    **dict.fromkeys(("reshape", "transpose", "slice", "broadcast", "copy", "cast", "max"), lambda op, ins: ins[0]),
    **dict.fromkeys(("exp", "absolute", "square"), lambda op, ins: 0.0),
    "multiply": _bound_of_product,
    "add": lambda op, ins: sum(ins),
    "sqrt": lambda op, ins: math.sqrt(ins[0]) if ins[0] >= 0 else -math.inf,
    "maximum": lambda op, ins: max(ins),
    "sum": _bound_of_sum,
}


def size(x: Operand) -> int:
    """The number of elements; 0 for a literal."""
    return x.size if isinstance(x, Value) else 0
