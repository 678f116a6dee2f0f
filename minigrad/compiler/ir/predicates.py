"""Predicates of values: which number they are, which op computes them, in which range they lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np

from minigrad.compiler.ir.program import VIEWS, Literal, Op, Value, origin

Operand = Value | Literal
Range = tuple[float, float]
EVERYTHING: Range = (-math.inf, math.inf)
FLOOR = 1e-6  # a divisor that is never smaller gives no large numbers
DEPTH = 12  # ops that are looked at behind a value
TINY = 1e-30  # products of constants are folded if neither they nor their reciprocals are smaller
ALONG = {np.argsort: -1, np.argmax: None, np.argmin: None}  # functions that return indices along an axis, its default


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


def size(x: Operand) -> int:
    """The number of elements; 0 for a literal."""
    return x.size if isinstance(x, Value) else 0


# Ranges


def content(v: Value) -> Value:
    """The value whose elements v has, perhaps in another order, repeated, or in a wider integer dtype."""
    while True:
        op = v.op
        same = op.name in ("reshape", "transpose", "copy", "broadcast") or (op.name == "cast" and _is_wider(op))
        if not same or not v.size or not isinstance(op.ins[0], Value):
            return v
        v = op.ins[0]


def _is_wider(op: Op) -> bool:
    (x,) = op.ins
    if not isinstance(x, Value):
        return False
    kinds = op.out.dtype.kind + x.dtype.kind
    return kinds in ("ii", "uu", "iu") and np.can_cast(x.dtype, op.out.dtype)


def lower_bound(x: Operand) -> float:
    """A number that no element of x is below; -inf if none is known."""
    return range_of(x)[0]


def range_of(x: Operand, depth: int = 0) -> Range:
    """A range of the elements of x in every call, but for NaN; of floats hardly more than a lower bound."""
    if not isinstance(x, Value):
        return (x, x) if isinstance(x, (int, float)) else EVERYTHING
    kind, op = x.dtype.kind, x.op
    own: Range = (0, math.inf) if kind == "u" else (0, 1) if kind == "b" else EVERYTHING
    of_ins = RANGES.get(op.name) or (OF_FLOATS.get(op.name) if kind == "f" else None)
    if of_ins is None or depth > DEPTH:
        return own
    return overlap(own, of_ins(op, [range_of(y, depth + 1) for y in op.ins]))


def _range_of_input(op: Op, ins: list[Range]) -> Range:
    array = op.params["buffer"].array if op.params["buffer"].is_constant else None
    if array is None or not array.size or array.dtype.kind not in "iub":
        return EVERYTHING
    return int(array.min()), int(array.max())


def _range_of_sum(op: Op, ins: list[Range]) -> Range:
    """The range of x + y or x - y."""
    (a, b), (c, d) = ins
    low, high = (a + c, b + d) if op.name == "add" else (a - d, b - c)
    if op.out.dtype.kind == "f":
        return low, math.inf
    return (low, high) if is_within((low, high), limits(op.out)) else EVERYTHING  # else integers may overflow


def _range_of_remainder(op: Op, ins: list[Range]) -> Range:
    low, high = ins[1]
    return (0, high - 1) if low == high > 0 and op.out.dtype.kind in "iu" else EVERYTHING


def _range_of_call(op: Op, ins: list[Range]) -> Range:
    """The range of what np.argsort and the like return: indices along an axis of their operand."""
    params, x = op.params, op.operands[0] if op.operands else None
    if x is None or params["function"] not in ALONG or len(params["args"]) > 2:
        return EVERYTHING
    default = params["kwargs"].get("axis", ALONG[params["function"]])
    axis = params["args"][1] if len(params["args"]) > 1 else default
    if not (axis is None or type(axis) is int):
        return EVERYTHING
    return 0, (x.size if axis is None else x.shape[axis]) - 1


def _range_of_random(op: Op, ins: list[Range]) -> Range:
    args, kwargs = op.params["args"], op.params["kwargs"]
    if op.params["method"] == "permutation" and len(args) == 1 and type(args[0]) is int and not kwargs:
        return 0, args[0] - 1
    return EVERYTHING


def _range_of_product(op: Op, ins: list[Range]) -> Range:
    x, y = op.ins
    (a, _), (b, _) = ins
    return (0 if x is y else a * b if min(a, b) >= 0 and math.isfinite(max(a, b)) else -math.inf), math.inf


def _range_of_reduced(op: Op, ins: list[Range]) -> Range:
    """Σ exp(x - max x) is at least 1, as one of the terms is 1."""
    (x,) = op.operands
    if is_op(x, "exp") and is_op(x.op.operands[0], "subtract"):
        a, b = x.op.operands[0].op.ins
        b = origin(b, ("broadcast", "reshape")) if isinstance(b, Value) else b
        if is_op(b, "max") and b.op.operands[0] is a and b.op.params["axes"] == op.params["axes"]:
            return 1, math.inf
    return (0 if ins[0][0] >= 0 else -math.inf), math.inf


RANGES: dict[str, Callable[[Op, list[Range]], Range]] = {
    **dict.fromkeys((*VIEWS, "copy", "broadcast", "gather", "max", "min"), lambda op, ins: ins[0]),
    "cast": lambda op, ins: ins[0] if _is_wider(op) or op.out.dtype.kind == "f" else EVERYTHING,
    "full": lambda op, ins: range_of(op.params["value"]),
    "input": _range_of_input,
    "concatenate": lambda op, ins: _around(ins),
    "where": lambda op, ins: _around(ins[1:]),
    "maximum": lambda op, ins: (max(ins[0][0], ins[1][0]), max(ins[0][1], ins[1][1])),
    "minimum": lambda op, ins: (min(ins[0][0], ins[1][0]), min(ins[0][1], ins[1][1])),
    **dict.fromkeys(("add", "subtract"), _range_of_sum),
    "remainder": _range_of_remainder,
    "call": _range_of_call,
    "random": _range_of_random,
}
OF_FLOATS: dict[str, Callable[[Op, list[Range]], Range]] = {  # integers may overflow
    **dict.fromkeys(("exp", "absolute", "square"), lambda op, ins: (0, math.inf)),
    "multiply": _range_of_product,
    "sqrt": lambda op, ins: (math.sqrt(ins[0][0]) if ins[0][0] >= 0 else -math.inf, math.inf),
    "sum": _range_of_reduced,
}


def _around(ranges: list[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def is_within(inner: Range, outer: Range) -> bool:
    """Whether the inner range lies within the outer one."""
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def limits(v: Value) -> Range:
    """The range of a dtype."""
    if v.dtype.kind not in "iu":
        return (0, 1) if v.dtype.kind == "b" else EVERYTHING
    return int(np.iinfo(v.dtype).min), int(np.iinfo(v.dtype).max)


def overlap(a: Range, b: Range) -> Range:
    """The range that lies in both."""
    return max(a[0], b[0]), min(a[1], b[1])
