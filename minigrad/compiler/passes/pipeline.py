"""Passes: from a program to one that computes the same with less."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

from minigrad.compiler.ir.builder import rebuilt
from minigrad.compiler.ir.checks import checks_first
from minigrad.compiler.ir.program import VIEWS, Op, Program, Value, without_dead_code
from minigrad.compiler.ir.typing import make
from minigrad.compiler.ir.view_memory import step_of, viewed
from minigrad.compiler.passes import algebra, sums, views  # noqa: F401  (they fill the table of rules)

Pass = Callable[[Program], Program]
always: ContextVar[Any] = ContextVar("always", default=None)  # a `proof.Watch` where every program is proven


def simplified(program: Program) -> Program:
    """Through the rules (algebra.py, sums.py, views.py), until nothing changes any more.

    Not with empty arrays: the factor 1/0 of a mean over nothing may stand within a sum over nothing, which is 0, and
    not before it.
    """
    if any(v.size == 0 for op in program.ops for v in (*op.operands, *op.outs)):
        return without_dead_code(program)
    for _ in range(6):
        before = len(program.ops)
        text = [op.name for op in program.ops]
        made, late = rebuilt(program)
        program = without_dead_code(made)
        is_stable = len(program.ops) == before and text == [op.name for op in program.ops]
        if is_stable or not set(late).intersection(program.ops):
            break
    return program


def contiguous(program: Program) -> Program:
    """Copies where a reshape is not possible as a view, or a matrix product could not use the memory as it is."""
    layouts: dict[Value, Any] = {}  # of values that somebody asked for
    copies: dict[Value, Value] = {}
    ops: list[Op] = []
    now: dict[Value, Value] = {}

    def copied(x: Value) -> Value:
        if x not in copies:
            op = make("copy", x)
            op.note = f"{x.op.note}, in C order".lstrip(", ")
            ops.append(op)
            copies[x] = op.out
        return copies[x]

    for op in program.ops:
        ins: Any = [now[x] if isinstance(x, Value) else x for x in op.ins]
        if op.name == "reshape" and not _reshapes(_layout(ins[0], layouts), op.params["shape"]):
            ins = [copied(ins[0])]
        elif op.name == "matmul":
            ins = [x if _for_blas(_layout(x, layouts)) else copied(x) for x in ins]
        if any(x is not y for x, y in zip(ins, op.ins, strict=True)):
            moved = Op(op.name, ins, op.params, [(v.shape, v.dtype) for v in op.outs], op.note)
            for old, new in zip(op.outs, moved.outs, strict=True):
                new.name, new.label = old.name, old.label
                now[old] = new
        else:
            moved = op
            now.update({v: v for v in op.outs})
        ops.append(moved)
    return program.replaced(now.__getitem__, ops)


def _in_c_order(v: Value) -> Any:
    """An array of v's shape that takes no memory."""
    strides = [v.dtype.itemsize] * v.ndim
    for k in range(v.ndim - 2, -1, -1):
        strides[k] = strides[k + 1] * max(v.shape[k + 1], 1)
    return np.lib.stride_tricks.as_strided(np.zeros((), v.dtype), v.shape, strides)


def _layout(v: Value, layouts: dict[Value, Any]) -> Any:
    """An array without memory that has v's shape and strides."""
    above = []
    while v not in layouts and v.op.name in VIEWS:
        above.append(v)
        v = v.op.operands[0]
    if v not in layouts:
        array = v.op.params["buffer"].array if v.op.name == "input" else None
        if array is None:
            layouts[v] = _in_c_order(v)
        else:
            layouts[v] = np.lib.stride_tricks.as_strided(np.zeros((), v.dtype), v.shape, array.strides)
    layout = layouts[v]
    for view in reversed(above):
        layout = layouts[view] = viewed(layout, step_of(view.op))
    return layout


def _reshapes(layout: Any, shape: tuple[int, ...]) -> bool:
    try:
        np.reshape(layout, shape, copy=False)
    except ValueError:
        return False
    return True


def _for_blas(layout: Any) -> bool:
    """Whether rows or columns of the matrices lie next to each other."""
    if layout.ndim < 2:
        return True
    rows, columns = layout.strides[-2:]
    size = layout.itemsize
    return min(layout.shape[-2:]) <= 1 or size in (rows, columns)


PASSES: dict[str, Pass] = {
    "dead code": without_dead_code,
    "algebra": simplified,
    "checks": lambda program: without_dead_code(checks_first(program)),
    "contiguity": contiguous,
}


def optimized(program: Program, verify: bool = False) -> tuple[Program, list[tuple[str, int]]]:
    """The program after all passes, and how many operations there were after each.

    Args:
        program: the program as it was recorded.
        verify: prove in exact arithmetic that each pass keeps what the program computes; see proof.py.

    Raises:
        ProofError: a pass changes it (with verify=True, or within `proof.proven()`).
    """
    proof = None
    if verify or always.get() is not None:
        from minigrad.compiler.passes.proof import started  # exact arithmetic, which takes a while to import

        proof = started(program, verify)
    report = [("recorded", len(program))]
    for name, change in PASSES.items():
        program = change(program)
        report.append((name, len(program)))
        if proof is not None:
            proof.step(name, program)
    if proof is not None:
        from minigrad.compiler.kernels.legalize import Legalizer

        proof.step("the form for kernels", Legalizer(program).run())
    return program, report
