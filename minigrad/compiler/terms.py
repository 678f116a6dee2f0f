"""Questions about values: which number they are, which operation made them."""

from __future__ import annotations

from typing import Any

from minigrad.compiler.program import Literal, Value

Operand = Value | Literal
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


def size(x: Operand) -> int:
    """The number of elements; 0 for a literal."""
    return x.size if isinstance(x, Value) else 0
