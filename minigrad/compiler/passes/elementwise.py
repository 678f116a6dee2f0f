"""What holds for every elementwise operation: constants are folded, and operands need not be repeated.

An operation on constants is a constant. Operands are taken as they are before a broadcast, or before axes of size 1 are
added or dropped, so that axes op up and equal ops are found to be equal.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.compiler.ir.builder import Builder, rule
from minigrad.compiler.ir.predicates import Operand, is_full, is_op, number
from minigrad.compiler.ir.program import UFUNCS, Value
from minigrad.compiler.ir.typing import result

PURE = frozenset(UFUNCS) | {"where", "cast"}


def same_form(b: Builder, x: Operand, shape: tuple[int, ...], dtype: Any) -> Value | None:
    """x in this shape and dtype, if it has the dtype."""
    if not isinstance(x, Value) or x.dtype != dtype:
        return None
    return x if x.shape == shape else b.op("broadcast", x, shape=shape)


# Constants


def folded(b: Builder, name: str, ins: tuple[Operand, ...], params: dict[str, Any]) -> Value | None:
    """The constant that an operation on constants gives."""
    if not ins or any(number(x) is None for x in ins):
        return None
    shape, dtype = result(name, ins, params)
    given: list[Any] = [np.asarray(number(x), x.dtype) if isinstance(x, Value) else x for x in ins]
    compute: dict[str, Any] = {**UFUNCS, "where": np.where, "cast": lambda x: np.asarray(x).astype(dtype)}
    with np.errstate(all="ignore"):
        value = compute[name](*given)
    return b.raw("full", shape=shape, dtype=np.dtype(dtype), value=np.asarray(value, dtype).item())


def without_full(name: str, ins: tuple[Operand, ...], params: dict[str, Any]) -> tuple[Operand, ...]:
    """Constant operands as literals, where shape and dtype of the result stay the same."""
    if not any(map(is_full, ins)):
        return ins
    wanted = result(name, ins, params)
    for k, x in enumerate(ins):
        if is_full(x) and any(isinstance(y, Value) for j, y in enumerate(ins) if j != k):
            fewer = (*ins[:k], number(x), *ins[k + 1 :])
            if result(name, fewer, params) == wanted:
                return without_full(name, fewer, params)
    return ins


ARITHMETIC = frozenset({"add", "subtract", "multiply", "divide", "maximum", "minimum", "greater", "less"})


def _weak(name: str, ins: tuple[Operand, ...]) -> tuple[Operand, ...]:
    """Python integers beside floating-point values as floats, so that 1 / s and 1.0 / s are the same."""
    if name not in ARITHMETIC or not any(isinstance(x, Value) and x.dtype.kind == "f" for x in ins):
        return ins
    return tuple(float(x) if type(x) is int and abs(x) < 2**24 else x for x in ins)


def without_broadcast(name: str, ins: tuple[Operand, ...], params: dict[str, Any]) -> tuple[Operand, ...]:
    """Operands before they are repeated or get axes of size 1 in front, where the result's shape stays the same."""
    sources = [_before_broadcast(x) for x in ins]
    if all(source is None for source in sources):
        return ins
    wanted = result(name, ins, params)
    for k, source in enumerate(sources):
        if source is not None:
            fewer = (*ins[:k], source, *ins[k + 1 :])
            if result(name, fewer, params) == wanted:
                return without_broadcast(name, fewer, params)
    return ins


def _before_broadcast(x: Operand) -> Value | None:
    """What x is repeated from, or gets axes of size 1 of."""
    return x.op.operands[0] if is_op(x, "broadcast") or _drops_front(x) else None  # type: ignore[union-attr]


def _drops_front(x: Any) -> bool:
    """Whether x is (C,) made of (1, C)."""
    if not is_op(x, "reshape"):
        return False
    source = x.op.operands[0].shape
    extra = len(source) - len(x.shape)
    return extra > 0 and source == (1,) * extra + x.shape


def elementwise(b: Builder, name: str, ins: tuple[Operand, ...], params: dict[str, Any]) -> Value | None:
    """What holds for every elementwise operation."""
    found = folded(b, name, ins, params)
    if found is not None:
        return found
    fewer = without_broadcast(name, _weak(name, without_full(name, ins, params)), params)
    if any(x is not y for x, y in zip(fewer, ins, strict=True)):
        return b.op(name, *fewer, **params)
    return before_reshape(b, name, ins, params)


def before_reshape(b: Builder, name: str, ins: tuple[Operand, ...], params: dict[str, Any]) -> Value | None:
    """f(x.reshape(...)) as f(x).reshape(...), where the reshape drops axes of size 1: axes then op up."""
    values = [x for x in ins if isinstance(x, Value)]
    dropping = [x for x in values if _drops_units(x)]
    if not dropping or len({x.shape for x in values}) > 1:
        return None
    inner = max((x.op.operands[0].shape for x in dropping), key=len)
    shape = values[0].shape
    if not all(x.size == math.prod(inner) for x in values):
        return None
    raised = [b.op("reshape", x, shape=inner) if isinstance(x, Value) else x for x in ins]
    return b.op("reshape", b.op(name, *raised, **params), shape=shape)


def _drops_units(x: Value) -> bool:
    if not is_op(x, "reshape"):
        return False
    source = x.op.operands[0].shape
    return len(source) > x.ndim and [n for n in source if n != 1] == [n for n in x.shape if n != 1]


def _enter_elementwise() -> None:
    def make(name: str) -> Any:
        return lambda b, *ins, **params: elementwise(b, name, ins, params)

    for name in PURE:
        rule(name)(make(name))


_enter_elementwise()


@rule("cast")
def cast(b: Builder, x: Value, *, dtype: Any) -> Value | None:
    """A cast to the dtype that is there."""
    return x if x.dtype == dtype else None


@rule("copy", "positive")
def copied(b: Builder, x: Value) -> Value:
    """The same values."""
    return x


@rule("broadcast")
def broadcast(b: Builder, x: Value, *, shape: tuple[int, ...]) -> Value | None:
    """A broadcast of what is a constant, has the shape, or is a broadcast itself."""
    if x.shape == shape:
        return x
    if is_full(x):
        return b.op("full", shape=shape, dtype=x.dtype, value=number(x))
    if is_op(x, "broadcast") or (_drops_front(x) and x.op.operands[0].ndim <= len(shape)):
        return b.op("broadcast", x.op.operands[0], shape=shape)
    return None
