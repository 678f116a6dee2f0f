"""Questions about values: which number they are, which operation made them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minigrad.compiler.ir.program import Line, Literal, Value

Operand = Value | Literal
FLOOR = 1e-6  # a divisor that is never smaller makes no large numbers
DEPTH = 12  # lines through which a value is followed
TINY = 1e-30  # products of constants are folded if neither they nor their reciprocals are smaller


def is_full(x: Any) -> bool:
    """Whether x is one number everywhere."""
    return type(x) is Value and x.line.op == "full"


def number(x: Any) -> Any:
    """The number that x is everywhere, or None."""
    return x.line.params["value"] if is_full(x) else None if isinstance(x, Value) else x


def is_op(x: Any, *operations: str) -> bool:
    """Whether x is the value of one of these operations."""
    return type(x) is Value and x.line.op in operations


def is_float(*operands: Any) -> bool:
    """Whether all values have one floating-point dtype."""
    dtypes = {x.dtype for x in operands if isinstance(x, Value)}
    return len(dtypes) == 1 and next(iter(dtypes)).kind == "f"


def is_scale(x: Any, depth: int = 0) -> bool:
    """Whether x is made by a division or a reciprocal: as large as something else is small, and the other way round.

    Code that scales numbers so that they neither overflow nor vanish, (x / max|x|)², is made of such. Two of them must
    not meet before the numbers that they scale do. 1/√(σ² + ε) of a normalization is none: it is never large.
    """
    if not isinstance(x, Value) or depth > DEPTH:
        return False
    if x.line.op == "divide":
        return least(x.line.ins[1]) < FLOOR or is_scale(x.line.ins[0], depth + 1)
    if x.line.op in ("reciprocal", "power"):
        return True
    through = ("multiply", "negative", "reshape", "broadcast", "copy", "cast", "where")
    return x.line.op in through and any(is_scale(y, depth + 1) for y in x.line.operands)


def least(x: Operand, depth: int = 0) -> float:
    """A number that no element of x is below; 0 or more, if that can be told from how x is made, else -inf."""
    if not isinstance(x, Value):
        return float(x) if isinstance(x, (int, float)) else -math.inf
    line = x.line
    if line.op == "full":
        return least(line.params["value"])
    if depth > DEPTH or line.op not in LEAST:
        return -math.inf
    return LEAST[line.op](line, [least(y, depth + 1) for y in line.ins])


def _least_of_product(line: Line, ins: list[float]) -> float:
    x, y = line.ins
    return 0.0 if x is y else ins[0] * ins[1] if min(ins) >= 0 and math.isfinite(max(ins)) else -math.inf


def _least_of_sum(line: Line, ins: list[float]) -> float:
    """Σ exp(x - max x) is at least 1, as one of the terms is."""
    (x,) = line.operands
    if is_op(x, "exp") and is_op(x.line.operands[0], "subtract"):
        a, b = x.line.operands[0].line.ins
        while is_op(b, "broadcast", "reshape"):
            b = b.line.operands[0]  # type: ignore[union-attr]
        if is_op(b, "max") and b.line.operands[0] is a and b.line.params["axes"] == line.params["axes"]:  # type: ignore[union-attr]
            return 1.0
    return 0.0 if ins[0] >= 0 else -math.inf


LEAST: dict[str, Callable[[Line, list[float]], float]] = {
    **dict.fromkeys(("reshape", "transpose", "slice", "broadcast", "copy", "cast", "max"), lambda line, ins: ins[0]),
    **dict.fromkeys(("exp", "absolute", "square"), lambda line, ins: 0.0),
    "multiply": _least_of_product,
    "add": lambda line, ins: sum(ins),
    "sqrt": lambda line, ins: math.sqrt(ins[0]) if ins[0] >= 0 else -math.inf,
    "maximum": lambda line, ins: max(ins),
    "sum": _least_of_sum,
}


def size(x: Operand) -> int:
    """The number of elements; 0 for a literal."""
    return x.size if isinstance(x, Value) else 0
