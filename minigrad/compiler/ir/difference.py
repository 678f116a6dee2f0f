"""Where two programs that should be equal begin to differ, in words."""

from __future__ import annotations

import numpy as np

from minigrad.compiler.ir.evaluate import Array
from minigrad.compiler.ir.program import Line, Program, Value
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
    wrong = [
        line for line in after.lines if line in on_the_way and any(_content(new[u]) not in there for u in line.outs)
    ]
    named = {u.name: u for line in before.lines for u in line.outs if u.name}
    sure = [
        line
        for line in wrong
        for u in line.outs
        if u.name in named and named[u.name].size == u.size and _content(new[u]) != _content(old[named[u.name]])
    ]
    for line in [*sure[:1], *wrong[:1]]:
        return f"the first op that differs is {_described(line)}"
    here, on_the_way = {_content(x) for x in new.values()}, _needed(v)
    for line in before.lines:
        if line in on_the_way and any(_content(old[u]) not in here for u in line.outs):
            return f"the first op that is missing is {_described(line)}"
    return f"it is {_described(w.line)}, and was {_described(v.line)}"


def _content(x: Array) -> bytes:
    """A fingerprint that is the same in each order and shape of the elements."""
    flat = x.p.reshape(-1) if isinstance(x, Exact) else np.asarray(x).reshape(-1)
    return fingerprint(np.unique(flat))


def _needed(v: Value) -> set[Line]:
    found: set[Line] = set()
    pending = [v.line]
    while pending:
        line = pending.pop()
        if line not in found:
            found.add(line)
            pending += [u.line for u in line.operands]
    return found


def _described(line: Line) -> str:
    ins = ", ".join(f"{x.name or x.line.op} {x.shape}" if isinstance(x, Value) else repr(x) for x in line.ins)
    params = {k: v for k, v in line.params.items() if k in ("axes", "axis", "shape", "bounds", "index", "value")}
    given = "".join(f", {k}={v}" for k, v in params.items())
    name = f" of {line.outs[0].name!r}" if line.outs and line.outs[0].name else ""
    return f"{line.op}({ins}{given}){name}" + (f" [{line.note}]" if line.note else "")
