"""The passes in their order: each makes a program that computes the same with less."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.ir.checks import checks_first
from minigrad.compiler.ir.program import VIEWS, Program, Value, without_dead_code
from minigrad.compiler.ir.rewriter import Rewriter, Rules
from minigrad.compiler.ir.view_memory import step_of, viewed
from minigrad.compiler.passes import sums_and_views, watching  # noqa: F401  (the former fills the table of rules)
from minigrad.compiler.passes.algebra import SIMPLER

Pass = Callable[[Program], Program]


class Simplifier(Rewriter):
    """The rewriter with the rules of algebra.py and sums_and_views.py."""

    rules = SIMPLER


def simplified(program: Program) -> Program:
    """The program after the rules have been applied until nothing changes.

    Programs with empty arrays stay as they are: the factor 1/0 of a mean over nothing may be in a sum over nothing,
    which is 0, but not before it.
    """
    if any(v.size == 0 for op in program.ops for v in (*op.operands, *op.outs)):
        return without_dead_code(program)
    for _ in range(6):
        before = [op.name for op in program.ops]
        rewriter = Simplifier()
        program = without_dead_code(rewriter.run(program))
        is_stable = before == [op.name for op in program.ops]
        if is_stable or not set(rewriter.added_late()).intersection(program.ops):
            break
    return program


CONTIGUITY = Rules()


class Contiguity(Rewriter):
    """Copies values where a reshape would not be a view, or a matrix product cannot use the memory as it is."""

    rules = CONTIGUITY
    merges = False

    def __init__(self) -> None:
        super().__init__()
        self.layouts: dict[Value, Any] = {}  # of the values that a rule asked about
        self.copies: dict[Value, Value] = {}

    def copied(self, x: Value) -> Value:
        """A copy in C order."""
        if x not in self.copies:
            self.copies[x] = self.raw("copy", x)
            self.copies[x].op.note = f"{x.op.note}, in C order".lstrip(", ")
        return self.copies[x]


@CONTIGUITY.rule("reshape")
def _reshape(b: Contiguity, x: Value, *, shape: tuple[int, ...]) -> Value | None:
    return None if _is_view(_layout(x, b.layouts), shape) else b.raw("reshape", b.copied(x), shape=shape)


@CONTIGUITY.rule("matmul")
def _matmul(b: Contiguity, x: Value, y: Value) -> Value | None:
    usable = [v if _for_blas(_layout(v, b.layouts)) else b.copied(v) for v in (x, y)]
    return None if usable[0] is x and usable[1] is y else b.raw("matmul", *usable)


def _layout(v: Value, layouts: dict[Value, Any]) -> Any:
    """An array that has v's shape and strides, and takes no memory."""
    chain = []  # of views, the last one first
    while v not in layouts and v.op.name in VIEWS:
        chain.append(v)
        v = v.op.operands[0]
    if v not in layouts:
        array = v.op.params["buffer"].array if v.op.name == "input" else None
        strides = c_strides(v) if array is None else array.strides
        layouts[v] = np.lib.stride_tricks.as_strided(np.zeros((), v.dtype), v.shape, strides)
    layout = layouts[v]
    for view in reversed(chain):
        layout = layouts[view] = viewed(layout, step_of(view.op))
    return layout


def c_strides(v: Value) -> list[int]:
    """The strides of an array of v's shape in C order."""
    return [v.dtype.itemsize * math.prod(max(n, 1) for n in v.shape[k + 1 :]) for k in range(v.ndim)]


def _is_view(layout: Any, shape: tuple[int, ...]) -> bool:
    """Whether a reshape is possible without a copy."""
    try:
        np.reshape(layout, shape, copy=False)
    except ValueError:
        return False
    return True


def _for_blas(layout: Any) -> bool:
    """Whether BLAS can read the matrices: rows or columns are contiguous."""
    if layout.ndim < 2:
        return True
    rows, columns = layout.strides[-2:]
    size = layout.itemsize
    return min(layout.shape[-2:]) <= 1 or size in (rows, columns)


PASSES: dict[str, Pass] = {
    "dead code": without_dead_code,
    "algebra": simplified,
    "checks": lambda program: without_dead_code(checks_first(program)),
    "contiguity": lambda program: Contiguity().run(program),
}


def optimized(program: Program, verify: bool = False) -> tuple[Program, list[tuple[str, int]]]:
    """The program after all passes, and the number of ops after each.

    Args:
        program: the program as it was recorded.
        verify: whether to prove in exact arithmetic that each pass keeps what the program computes; see proof.py.

    Raises:
        ProofError: a pass changes what the program computes (with verify=True, or within `proof.proven()`).
    """
    proof = None
    if verify or watching.get() is not None:
        from minigrad.compiler.passes.proof import started  # exact arithmetic, which takes a while to import

        proof = started(program, verify)
    report = [("recorded", len(program))]
    for name, change in PASSES.items():
        program = change(program)
        report.append((name, len(program)))
        if proof is not None:
            proof.step(name, program)
    if proof is not None:
        from minigrad.compiler.kernels.legalize import legalized

        proof.step("the form for kernels", legalized(program))
    return program, report
