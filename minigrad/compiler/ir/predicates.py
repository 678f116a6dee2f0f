"""Questions about values: which number they are, which operation made them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minigrad.compiler.ir.program import Literal, Op, Value

Operand = Value | Literal
FLOOR = 1e-6  # a divisor that is never smaller makes no large numbers
DEPTH = 12  # ops through which a value is followed
TINY = 1e-30  # products of constants are folded if neither they nor their reciprocals are smaller


def is_full(x: Any) -> bool:
    """Whether x is one number everywhere."""
    return type(x) is Value and x.op.name == "full"


def number(x: Any) -> Any:
    """The number that x is everywhere, or None."""
    return x.op.params["value"] if is_full(x) else None if isinstance(x, Value) else x


def is_op(x: Any, *operations: str) -> bool:
    """Whether x is the value of one of these operations."""
    return type(x) is Value and x.op.name in operations


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
    """Whether x is made by a division or a reciprocal: as large as something else is small, and the other way round.

    Code that scales numbers so that they neither overflow nor vanish, (x / max|x|)², is made of such. Two of them must
    not meet before the numbers that they scale do. 1/√(σ² + ε) of a normalization is none: it is never large.
    """
    if not isinstance(x, Value) or depth > DEPTH:
        return False
    if x.op.name == "divide":
        return least(x.op.ins[1]) < FLOOR or is_scale(x.op.ins[0], depth + 1)
    if x.op.name in ("reciprocal", "power"):
        return True
    through = ("multiply", "negative", "reshape", "broadcast", "copy", "cast", "where")
    return x.op.name in through and any(is_scale(y, depth + 1) for y in x.op.operands)


def least(x: Operand, depth: int = 0) -> float:
    """A number that no element of x is below; 0 or more, if that can be told from how x is made, else -inf."""
    if not isinstance(x, Value):
        return float(x) if isinstance(x, (int, float)) else -math.inf
    op = x.op
    if op.name == "full":
        return least(op.params["value"])
    if depth > DEPTH or op.name not in LEAST:
        return -math.inf
    return LEAST[op.name](op, [least(y, depth + 1) for y in op.ins])


def _least_of_product(op: Op, ins: list[float]) -> float:
    x, y = op.ins
    return 0.0 if x is y else ins[0] * ins[1] if min(ins) >= 0 and math.isfinite(max(ins)) else -math.inf


def _least_of_sum(op: Op, ins: list[float]) -> float:
    """Σ exp(x - max x) is at least 1, as one of the terms is."""
    (x,) = op.operands
    if is_op(x, "exp") and is_op(x.op.operands[0], "subtract"):
        a, b = x.op.operands[0].op.ins
        while is_op(b, "broadcast", "reshape"):
            b = b.op.operands[0]  # type: ignore[union-attr]
        if is_op(b, "max") and b.op.operands[0] is a and b.op.params["axes"] == op.params["axes"]:  # type: ignore[union-attr]
            return 1.0
    return 0.0 if ins[0] >= 0 else -math.inf


LEAST: dict[str, Callable[[Op, list[float]], float]] = {
    **dict.fromkeys(("reshape", "transpose", "slice", "broadcast", "copy", "cast", "max"), lambda op, ins: ins[0]),
    **dict.fromkeys(("exp", "absolute", "square"), lambda op, ins: 0.0),
    "multiply": _least_of_product,
    "add": lambda op, ins: sum(ins),
    "sqrt": lambda op, ins: math.sqrt(ins[0]) if ins[0] >= 0 else -math.inf,
    "maximum": lambda op, ins: max(ins),
    "sum": _least_of_sum,
}


def size(x: Operand) -> int:
    """The number of elements; 0 for a literal."""
    return x.size if isinstance(x, Value) else 0
