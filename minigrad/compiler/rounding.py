"""Programs that round in another way: Monte Carlo arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.compiler.program import VIEWS, Buffer, Line, Program, Value
from minigrad.compiler.rules import make

EXACT = VIEWS | {"full", "draw", "put", "concatenate", "gather", "where", "broadcast", "copy", "call"}  # do not round
EXACT |= {"maximum", "minimum", "fmax", "fmin", "negative", "absolute", "sign", "floor", "ceil", "max", "min"}


def with_roundings(program: Program) -> tuple[Program, list[Any]]:
    """The program with a factor after each op that rounds, and the arrays of these factors. Checks are left out."""
    inputs: list[Line] = []
    lines: list[Line] = []
    noise: list[Any] = []
    now: dict[Value, Value] = {}
    buffers = list(program.buffers)
    for op in program.lines:
        if op.op == "input":
            inputs.append(op)
            continue
        if op.op == "check":
            continue
        ins = [now.get(x, x) if isinstance(x, Value) else x for x in op.ins]
        made = Line(op.op, ins, op.params, [(v.shape, v.dtype) for v in op.outs], op.note)
        lines.append(made)
        for old, new in zip(op.outs, made.outs, strict=True):
            now[old] = new
            if old.dtype.kind == "f" and op.op not in EXACT:
                noise.append(np.ones(old.shape, old.dtype))
                buffers.append(Buffer("rounding", "state", noise[-1]))
                inputs.append(make("input", buffer=buffers[-1]))
                lines.append(make("multiply", new, inputs[-1].out))
                now[old] = lines[-1].out
    stores = {b: now.get(v, v) for b, v in program.stores.items()}
    outputs = [now.get(v, v) for v in program.outputs]
    return Program([*inputs, *lines], buffers, stores, outputs, program.generators), noise
