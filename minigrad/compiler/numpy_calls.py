"""What each line of a program is in NumPy: calls that write into the memory that was planned."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.compiler.plan import Plan
from minigrad.compiler.program import REDUCTIONS, UFUNCS, Line
from minigrad.compiler.scope import Scope
from minigrad.compiler.texts import index_text, inside, slices, tuple_text
from minigrad.ops.special import erf_values


class Calls:
    """Writes the calls of a program's lines, with the names of a scope."""

    def __init__(self, scope: Scope, plan: Plan, rngs: list[str]) -> None:
        self.scope, self.plan, self.rngs = scope, plan, rngs
        self.names, self._f = scope.names, scope.function
        self.ones: dict[Any, str] = {}

    def texts(self, line: Line) -> list[str]:
        """The statements that compute a line."""
        out = self.names[line.outs[0]]
        ins = [self.scope.operand(x) for x in line.ins]
        op = line.op
        if op in UFUNCS:
            return [f"{self._f(f'np.{op}')}({', '.join(ins)}, out={out})"]
        if op in ("cast", "broadcast", "copy"):
            unsafe = ", 'unsafe'" if op == "cast" else ""
            return [f"{self._f('np.copyto')}({out}, {ins[0]}{unsafe})"]
        if op == "erf":
            return [f"{self._f('np.copyto')}({out}, {self.scope.name_of(erf_values)}({ins[0]}))"]
        if op == "matmul":
            function = "np.dot" if self._is_plain_product(line) else "np.matmul"
            return [f"{self._f(function)}({ins[0]}, {ins[1]}, out={out})"]
        if op == "convolution":
            return [self.convolution(line, line.params["function"])]
        if op in REDUCTIONS:
            return [self._reduction(line, ins[0], out)]
        writer = {"where": self._where, "put": self._put, "gather": self._gather, "scatter": self._scatter}.get(op)
        if writer is not None:
            return writer(line, ins, out)
        if op == "concatenate" and self.plan.kind[line.out] == "joined" and line.out not in self.plan.part:
            rows = self.plan.left.get(line, ())
            return [f"{self._f('np.copyto')}({out}[{start}:{end}], {self.names[x]})" for x, start, end in rows]
        if op == "concatenate":
            return [f"{self._f('np.concatenate')}(({', '.join(ins)},), {line.params['axis']}, {out})"]
        if op == "draw":
            return self._draw(line, out)
        return [self._call(line, ins)]

    def convolution(self, line: Line, function: Any) -> str:
        """A convolution, which this function computes."""
        given = [self.scope.operand(x) for x in line.ins]
        given += [f"{name}={value!r}" for name, value in line.params["settings"]]
        return f"{self.scope.name_of(function)}({', '.join(given)}, out={self.names[line.out]})"

    def _reduction(self, line: Line, x: str, out: str) -> str:
        v, axes = line.operands[0], line.params["axes"]
        if line.op == "sum" and v.ndim == 2 and len(axes) == 1 and v.dtype in (np.float32, np.float64):
            shape = (v.shape[0], 1)[::-1] if axes == (0,) else (v.shape[1], 1)
            ones = self.ones.get((shape, v.dtype))
            if ones is None:
                ones = self.ones[shape, v.dtype] = self.scope.fresh("ones")
                self.scope.prepared[ones] = f"np.ones({shape}, {str(v.dtype)!r})"
            factors = (ones, x) if axes == (0,) else (x, ones)
            return f"{self._f('np.matmul')}({', '.join(factors)}, out={out})"  # far quicker than np.add.reduce
        function = self._f(f"np.{REDUCTIONS[line.op].__name__}.reduce", f"reduce_{line.op}")
        return f"{function}({x}, {axes[0] if len(axes) == 1 else axes}, None, {out}, True)"

    def _is_plain_product(self, line: Line) -> bool:
        """Whether np.dot can do it, which for small matrices takes half the time of np.matmul."""
        lies = self.plan.arrays.get(line.out)
        alike = all((x.ndim, x.dtype) == (2, line.out.dtype) for x in line.operands) and line.out.dtype.kind == "f"
        return alike and (lies is None or bool(lies.flags.carray))

    def _where(self, line: Line, ins: list[str], out: str) -> list[str]:
        return [f"{self._f('np.copyto')}({out}, {self._f('np.where')}({', '.join(ins)}))"]

    def _put(self, line: Line, ins: list[str], out: str) -> list[str]:
        target = out
        for op, given in line.params["steps"]:
            target += f".{op}({inside(given)})" if op != "slice" else f"[{slices(given, None)}]"
        copyto = self._f("np.copyto")
        first = [] if self._shares(line) else [f"{copyto}({out}, {ins[0]})"]
        return [*first, f"{copyto}({target}, {ins[1]})"]

    def _shares(self, line: Line) -> bool:
        """Whether the value is computed in its first operand's memory."""
        x, out = line.operands[0], line.out
        arrays = self.plan.arrays
        return x in arrays and out in arrays and _place(arrays[x]) == _place(arrays[out])

    def _gather(self, line: Line, ins: list[str], out: str) -> list[str]:
        return [f"{self._f('np.copyto')}({out}, {ins[0]}[{index_text(line.params['index'], ins[1:])}])"]

    def _scatter(self, line: Line, ins: list[str], out: str) -> list[str]:
        first = [] if self._shares(line) else [f"{self._f('np.copyto')}({out}, {ins[0]})"]
        index = index_text(line.params["index"], ins[2:])
        if line.params["how"] == "set":
            return [*first, f"{out}[{index}] = {ins[1]}"]
        return [
            *first,
            f"{self._f('np.add.at', 'add_at')}({out}, ({tuple_text(line.params['index'], ins[2:])},), {ins[1]})",
        ]

    def _draw(self, line: Line, out: str) -> list[str]:
        p = line.params
        call = f"{self.rngs[p['generator']]}.{p['method']}({self.scope.arguments(p, [])})"
        direct = p["method"] in ("random", "standard_normal") and line.out.ndim > 0
        if direct and set(p["kwargs"]) <= {"dtype"} and len(p["args"]) == 1:
            return [f"{call[:-1]}, out={out})"]
        return [f"{self._f('np.copyto')}({out}, {call})"]

    def _call(self, line: Line, ins: list[str]) -> str:
        p = line.params
        made = ", ".join(self.names[v] for v in line.outs)
        call = f"{self.scope.name_of(p['function'])}({self.scope.arguments(p, ins)})"
        if len(line.outs) == 1 and line.out.ndim == 0:
            call = f"{self._f('np.asarray')}({call})"
        return f"{made} = {call}"


def _place(array: Any) -> tuple[int, tuple[int, ...]]:
    return int(array.__array_interface__["data"][0]), array.strides
