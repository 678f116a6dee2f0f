"""Where two programs that should be equal begin to differ, in words."""

from __future__ import annotations

import numpy as np

from minigrad.compiler.ir.evaluate import Array
from minigrad.compiler.ir.program import Op, Program, Value
from minigrad.compiler.ir.samples import fingerprint
from minigrad.exact import Exact


def first_difference(
    v: Value, w: Value, before: Program, after: Program, old: dict[Value, Array], new: dict[Value, Array]
) -> str:
    """The first op on the way to a wrong result that computes what the other program never does, in words.

    Of the rewritten program, or else of the original one. A value that has a name in both programs is compared by it.
    """
    there = {_content(x) for x in old.values()}
    on_the_way = _needed(w)
    wrong = [op for op in after.ops if op in on_the_way and any(_content(new[u]) not in there for u in op.outs)]
    named = {u.name: u for op in before.ops for u in op.outs if u.name}
    sure = [
        op
        for op in wrong
        for u in op.outs
        if u.name in named and named[u.name].size == u.size and _content(new[u]) != _content(old[named[u.name]])
    ]
    for op in [*sure[:1], *wrong[:1]]:
        return f"the first op that differs is {_described(op)}"
    here, on_the_way = {_content(x) for x in new.values()}, _needed(v)
    for op in before.ops:
        if op in on_the_way and any(_content(old[u]) not in here for u in op.outs):
            return f"the first op that is missing is {_described(op)}"
    return f"it is {_described(w.op)}, and was {_described(v.op)}"


def _content(x: Array) -> bytes:
    """A fingerprint that is the same in each order and shape of the elements."""
    flat = x.p.reshape(-1) if isinstance(x, Exact) else np.asarray(x).reshape(-1)
    return fingerprint(np.unique(flat))


def _needed(v: Value) -> set[Op]:
    found: set[Op] = set()
    pending = [v.op]
    while pending:
        op = pending.pop()
        if op not in found:
            found.add(op)
            pending += [u.op for u in op.operands]
    return found


def _described(op: Op) -> str:
    ins = ", ".join(f"{x.name or x.op.name} {x.shape}" if isinstance(x, Value) else repr(x) for x in op.ins)
    params = {k: v for k, v in op.params.items() if k in ("axes", "axis", "shape", "bounds", "index", "value")}
    given = "".join(f", {k}={v}" for k, v in params.items())
    name = f" of {op.outs[0].name!r}" if op.outs and op.outs[0].name else ""
    return f"{op.name}({ins}{given}){name}" + (f" [{op.note}]" if op.note else "")
