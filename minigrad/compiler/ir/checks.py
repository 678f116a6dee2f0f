"""Checks in a program: which of them are needed, and when they run.

A failed check ends a program before it changes anything that is visible from outside. So checks run as early as their
operands allow, and no store is computed in its buffer before the last of them (numpy/plan.py). Calls of opaque
functions may raise too, and count as checks there; `barrier` is the last of both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy._core import umath

from minigrad.compiler.ir.kernel import FLOATS, NUMBERS
from minigrad.compiler.ir.predicates import EVERYTHING, Range, content, is_within, limits, overlap, range_of
from minigrad.compiler.ir.program import EXACT, Op, Program, Value
from minigrad.compiler.ir.typing import make

SETTING: Any = getattr(umath, "_extobj_contextvar", None)
_last_setting: tuple[Any, bool] = (None, False)  # NumPy's setting when it was read last, and whether errors raise
COMPARISONS = frozenset({"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"})
CLOSE = {8: (1e-9, 1e-12), 4: (1e-4, 1e-6), 2: (1e-2, 1e-3)}  # relative and absolute distance, by the size of a float


def barrier(program: Program) -> int:
    """The index of the last op that may end the program; -1 if there is none."""
    return max((k for k, op in enumerate(program.ops) if op.name == "check" or may_raise(op)), default=-1)


def may_raise(op: Op) -> bool:
    """Whether an op calls a function which may refuse its operands."""
    return op.name == "call" or (op.name == "random" and bool(op.ins))


def errors_raise() -> bool:
    """Whether np.errstate says that floating-point errors raise. A program never raises, so eager code must run.

    Takes a tenth of the time of np.geterr: NumPy keeps its settings in one object, which is read once.
    """
    global _last_setting
    setting = SETTING.get() if SETTING is not None else None
    if setting is None or _last_setting[0] is not setting:
        _last_setting = setting, any(kind in ("raise", "call", "log") for kind in np.geterr().values())
    return _last_setting[1]


def close_calls(decision: Value) -> list[Op]:
    """The comparisons of a decision whose result rounding may change: of floats that were computed."""
    comparisons, pending, seen = [], [decision], set[Value]()
    while pending:
        v = pending.pop()
        if v in seen:
            continue
        seen.add(v)
        op = v.op
        if op.name in COMPARISONS and any(x.dtype.kind == "f" and _is_rounded(x) for x in op.operands):
            comparisons.append(op)
        elif v.dtype.kind == "b":
            pending += [x for x in op.operands if x.dtype.kind == "b"]
        elif v.dtype.kind in "iu":  # perhaps a count of elements that satisfy a condition
            pending += op.operands
        if op.name in COMPARISONS:
            pending += [x for x in op.operands if x.dtype.kind in "biu"]
    return comparisons


def _is_rounded(v: Value) -> bool:
    """Whether a value was computed with roundings, and not only read or moved."""
    pending, seen = [v], set[Value]()
    while pending:
        v = pending.pop()
        if v.op.name == "call" or (v.op.name != "input" and v.op.name not in EXACT):  # opaque functions may round
            return True
        if v not in seen:
            seen.add(v)
            pending += v.op.operands
    return False


def checks_first(program: Program) -> Program:
    """The program with one check per value, none that always holds, and all of them as early as possible."""
    needed = checked_ranges(program)
    decides = {content(op.operands[0]) for op in program.ops if op.name == "check" and "decides" in op.params}
    ops = [op for op in program.ops if op.name != "check"]
    checks = []
    for op in program.ops:
        if op.name == "check" and (root := content(op.operands[0])) in needed:
            low, high = needed.pop(root)
            if root.dtype.kind == "f" or not is_within(range_of(root), (low, high)):
                params = {"low": low, "high": high} | ({"decides": True} if root in decides else {})
                checks.append(Op("check", (root,), params, (), op.note))
    if len(ops) == len(program.ops):
        return program
    return program.replaced(lambda v: v, _early(ops, checks))


def checked_ranges(program: Program) -> dict[Value, Range]:
    """For each value whose content is checked: the range in which it lies."""
    ranges: dict[Value, Range] = {}
    for op in program.ops:
        if op.name == "check":
            root = content(op.operands[0])
            ranges[root] = overlap(ranges.get(root, EVERYTHING), (op.params["low"], op.params["high"]))
    return ranges


def _early(ops: list[Op], checks: list[Op]) -> list[Op]:
    """The ops with each check directly after all that it depends on. Random numbers keep their order."""
    number = {op: k for k, op in enumerate(ops)}
    draws = [op for op in ops if op.name == "random"]
    placed = {op for op in ops if op.name == "input"}
    ordered = [op for op in ops if op.name == "input"]
    depends = {check: _ancestors(check, number, draws) for check in checks}
    for check in sorted(checks, key=lambda check: len(depends[check])):
        ordered += sorted(depends[check] - placed, key=number.__getitem__)
        ordered.append(check)
        placed |= depends[check]
    return [*ordered, *(op for op in ops if op not in placed)]


def _ancestors(check: Op, number: dict[Op, int], draws: list[Op]) -> set[Op]:
    ancestors, pending = set[Op](), [v.op for v in check.operands]
    while pending:
        op = pending.pop()
        if op not in ancestors:
            ancestors.add(op)
            pending += [v.op for v in op.operands]
            if op.name == "random":
                pending += [earlier for earlier in draws if number[earlier] < number[op]]
    return ancestors


def by_kernels(program: Program) -> Program:
    """The program with checks of arrays as checks of a single bool, which a kernel computes in a third of the time."""
    ops = []
    for op in program.ops:
        tests = _out_of_range(op.operands[0], op.params["low"], op.params["high"]) if op.name == "check" else []
        if tests:
            params = {**op.params, "low": False, "high": False}
            ops += [*tests, Op("check", (tests[-1].out,), params, (), op.note)]
        else:
            ops.append(op)
    return program.replaced(lambda v: v, ops)


def _out_of_range(x: Value, low: Any, high: Any) -> list[Op]:
    """Ops that compute whether an element of x is out of range. None if that is no work for a kernel."""
    if x.ndim == 0 or not (x.dtype in FLOATS or x.dtype in NUMBERS):
        return []
    axes = tuple(range(x.ndim))
    if x.dtype.kind == "b":
        if not high:
            return [make("any", x, axes=axes)]
        holds = make("all", x, axes=axes)
        return [holds, make("logical_not", holds.out)] if low else []
    least, largest = limits(x)  # NumPy cannot compare with numbers beyond
    sides = [make("less", x, low)] if low > least else []
    sides += [make("greater", x, high)] if high < largest else []
    if len(sides) > 1:
        sides.append(make("logical_or", *(side.out for side in sides)))
    return [*sides, make("any", sides[-1].out, axes=axes)] if sides else []
