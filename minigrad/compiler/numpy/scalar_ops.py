"""Ops on single numbers, written with Python's operators instead of NumPy calls.

A NumPy call on 0-d arrays takes about 400 ns, whatever it computes. Python's `x * y` takes 20 ns and rounds alike. So
what is computed only from single float64s and bools is an expression of Python's floats and bools. It has memory only
if another op reads it, or if it is stored or returned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import UFUNCS, Op, Program, Value
from minigrad.compiler.ir.pysyntax import literal

FLOAT, BOOL = np.dtype(np.float64), np.dtype(np.bool_)
ARITHMETIC = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "negative": "-{}",
    "square": "{0} * {0}",
    "absolute": "abs({})",
    "divide": "{0} / {1} if {1} else float({divide}({0}, {1}))",
}
COMPARISONS = {"greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=", "equal": "==", "not_equal": "!="}
CHOICES = {  # one of the operands: NaN where there is one, as in NumPy
    "maximum": "{0} if {0} >= {1} or {0} != {0} else {1}",
    "minimum": "{0} if {0} <= {1} or {0} != {0} else {1}",
    "where": "{1} if {0} else {2}",
}
# Those that take only floats or bools: ldexp needs an integer.
OF_FLOATS = {op for op, f in UFUNCS.items() if any(t.split("->")[0] in ("d" * f.nin, "?" * f.nin) for t in f.types)}
EXACT = 2**53  # smaller integers are floats without rounding


def is_scalar_op(op: Op) -> bool:
    """Whether an op computes a single float64 or bool from single float64s and bools."""
    if not op.operands or not op.outs or op.outs[0].shape or op.operands[0].shape:
        return False
    if not (op.name in OF_FLOATS or op.name in ("where", "cast")):
        return False
    literals = [x for x in op.ins if not isinstance(x, Value)]
    return all(v.shape == () and v.dtype in (FLOAT, BOOL) for v in (*op.operands, *op.outs)) and not any(
        isinstance(x, complex) or (type(x) is int and abs(x) >= EXACT) for x in literals
    )


def scalars_without_memory(program: Program) -> set[Value]:
    """The values of scalar ops that only scalar ops read, and that the program neither stores nor returns."""
    needed = set(program.results())
    for op in program.ops:
        if not is_scalar_op(op):
            needed.update(op.operands)
    return {op.out for op in program.ops if is_scalar_op(op)} - needed


def scalar_literal(x: Any, op: Op) -> str:
    """The text of a literal operand, in the type in which the op computes."""
    is_float = FLOAT in (op.out.dtype, *(v.dtype for v in op.operands))
    return literal(float(x) if is_float else x)


def scalar_expression(op: Op, operands: list[str], function: Callable[[str], str]) -> str:
    """The Python expression of a scalar op. `function` returns the local name of a NumPy function."""
    name, dtype = op.name, op.out.dtype
    if name in ARITHMETIC and dtype == FLOAT:
        return ARITHMETIC[name].format(*operands, divide=function("np.divide") if name == "divide" else "")
    if name in COMPARISONS:
        return f" {COMPARISONS[name]} ".join(operands)
    chosen = [x.dtype for x in op.ins[name == "where" :] if isinstance(x, Value)]
    if name in CHOICES and all(d == dtype for d in chosen):
        return CHOICES[name].format(*operands)
    inner = operands[0] if name == "cast" else f"{function(f'np.{name}')}({', '.join(operands)})"
    return f"{'float' if dtype == FLOAT else 'bool'}({inner})"
