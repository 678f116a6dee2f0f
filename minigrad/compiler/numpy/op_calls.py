"""The ops of a program as NumPy calls that write into planned memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.compiler.ir.program import REDUCTIONS, UFUNCS, Op, Value
from minigrad.compiler.ir.pysyntax import index_text, inside, literal, slices
from minigrad.compiler.numpy.plan import Plan
from minigrad.compiler.numpy.scope import Scope
from minigrad.compiler.refusal import DECISION
from minigrad.engine.pairwise import MANY, add_at, add_reduce
from minigrad.ops.special import WHOLE


class Calls:
    """The calls of a program's ops, with the names of a scope."""

    def __init__(self, scope: Scope, plan: Plan, rngs: list[str]) -> None:
        self.scope, self.plan, self.rngs = scope, plan, rngs
        self.names, self._f = scope.names, scope.function
        self.ones: dict[Any, str] = {}
        self.dtypes: dict[Any, str] = {}
        self.can_fail = False  # whether CheckFailed is raised

    def texts(self, op: Op) -> list[str]:
        """The statements that compute an op."""
        if op.name == "check":
            return [self._check(op)]
        out = self.names[op.outs[0]]
        ins = [self.scope.operand(x) for x in op.ins]
        name = op.name
        if name in UFUNCS:
            return [f"{self._f(f'np.{name}')}({', '.join(ins)}, out={out})"]
        if name in ("cast", "broadcast", "copy"):
            unsafe = ", 'unsafe'" if name == "cast" else ""
            return [f"{self._f('np.copyto')}({out}, {ins[0]}{unsafe})"]
        if name in WHOLE:
            return [f"{self._f('np.copyto')}({out}, {self.scope.name_of(WHOLE[name])}({ins[0]}))"]
        if name == "matmul":
            is_plain = all(x.ndim == 2 for x in op.operands) and self._is_plain(op)
            return [
                self._dot(ins[0], ins[1], out) if is_plain else f"{self._f('np.matmul')}({ins[0]}, {ins[1]}, out={out})"
            ]
        if name == "convolution":
            return [self.convolution(op, op.params["function"])]
        if name in REDUCTIONS:
            return [self._reduction(op, ins[0], out)]
        writer = {
            "where": self._where,
            "set_slice": self._set_slice,
            "gather": self._gather,
            "scatter": self._scatter,
        }.get(name)
        if writer is not None:
            return writer(op, ins, out)
        if name == "concatenate" and self.plan.kind[op.out] == "joined" and op.out not in self.plan.part:
            rows = self.plan.pasted.get(op, ())
            return [f"{self._f('np.copyto')}({out}[{start}:{end}], {self.names[x]})" for x, start, end in rows]
        if name == "concatenate":
            return [f"{self._f('np.concatenate')}(({', '.join(ins)},), {op.params['axis']}, {out})"]
        if name == "random":
            return self._draw(op, ins, out)
        return [self._call(op, ins), *(self._result_check(v) for v in op.outs)]

    # Checks

    def _check(self, op: Op) -> str:
        (x,), low, high = op.operands, op.params["low"], op.params["high"]
        name = self.names[x]
        if x.size == 1 and x.dtype.kind == "b":
            condition = f"{'not ' * bool(low)}{name}.item()"
        elif x.size == 1:
            condition = f"not {literal(low)} <= {name}.item() <= {literal(high)}"
        elif x.dtype.kind == "b":
            condition = f"not {self._over_all('logical_and', name)}"
        elif x.dtype.kind in "iu" and x.dtype.isnative and low <= 0 and high <= np.iinfo(x.dtype).max:
            signed = x.dtype.kind == "i"  # a negative integer is a large one without a sign: one walk is enough
            unsigned = f"{name}.view({self._f(f'np.u{x.dtype}')})" if signed else name
            condition = f"{self._over_all('maximum', unsigned)} > {high}"
            condition += f" and ({self._outside(name, low, high)})" if low and signed else ""
        else:
            condition = self._outside(name, low, high)
        self.can_fail = True
        reason = f"{DECISION} on {name}" if "decides" in op.params else f"a check of {name} failed"
        return f"if {condition}: raise CheckFailed({reason!r})"

    def _outside(self, name: str, low: Any, high: Any) -> str:
        least, largest = (self._over_all(ufunc, name) for ufunc in ("minimum", "maximum"))
        return f"{least} < {literal(low)} or {largest} > {literal(high)}"

    def _over_all(self, ufunc: str, name: str) -> str:
        return f"{self._f(f'np.{ufunc}.reduce', f'reduce_{ufunc}')}({name}, None)"

    def _result_check(self, v: Value) -> str:
        """The check that an opaque function returns the shape and dtype that it returned when it was recorded."""
        name = self.names[v]
        dtype = self.dtypes.get(v.dtype)
        if dtype is None:
            dtype = self.dtypes[v.dtype] = self.scope.fresh("dtype")
            self.scope.prepared[dtype] = f"np.dtype({v.dtype.str!r})"
        other = f"{name}.shape != {v.shape} or {name}.dtype != {dtype}"
        self.can_fail = True
        return (
            f"if {other}: raise CheckFailed({f'{name} has another shape or dtype than when the step was recorded'!r})"
        )

    # Operations

    def convolution(self, op: Op, function: Any) -> str:
        """The call of a function that computes a convolution."""
        arguments = [self.scope.operand(x) for x in op.ins]
        arguments += [f"{name}={value!r}" for name, value in op.params["settings"]]
        return f"{self.scope.name_of(function)}({', '.join(arguments)}, out={self.names[op.out]})"

    def _reduction(self, op: Op, x: str, out: str) -> str:
        v, axes = op.operands[0], op.params["axes"]
        if op.name == "sum" and v.dtype == np.float32 and v.size > MANY * op.out.size:
            axis = axes[0] if len(axes) == 1 else axes
            return f"{self._f('np.copyto')}({out}, {self.scope.name_of(add_reduce)}({x}, axis={axis}, keepdims=True))"
        if op.name == "sum" and v.ndim == 2 and len(axes) == 1 and v.dtype in (np.float32, np.float64):
            shape = (v.shape[0], 1)[::-1] if axes == (0,) else (v.shape[1], 1)
            ones = self.ones.get((shape, v.dtype))
            if ones is None:
                ones = self.ones[shape, v.dtype] = self.scope.fresh("ones")
                self.scope.prepared[ones] = f"np.ones({shape}, {str(v.dtype)!r})"
            factors = (ones, x) if axes == (0,) else (x, ones)
            is_plain = v.dtype == op.out.dtype and self._is_plain(op)
            # Both are much faster than np.add.reduce.
            return self._dot(*factors, out) if is_plain else f"{self._f('np.matmul')}({', '.join(factors)}, out={out})"
        function = self._f(f"np.{REDUCTIONS[op.name].__name__}.reduce", f"reduce_{op.name}")
        return f"{function}({x}, {axes[0] if len(axes) == 1 else axes}, None, {out}, True)"

    def _is_plain(self, op: Op) -> bool:
        """Whether the method `dot` can compute a product: dtypes agree, and the result, if planned, is in C order."""
        memory = self.plan.arrays.get(op.out)
        is_alike = op.out.dtype.kind == "f" and all(x.dtype == op.out.dtype for x in op.operands)
        return is_alike and (memory is None or bool(memory.flags.carray))

    def _dot(self, x: str, y: str, out: str) -> str:
        """A product of matrices. For small ones the method takes two thirds of the time of np.dot, and np.dot half of
        that of np.matmul."""
        return f"{x}.dot({y}, {out})"

    def _where(self, op: Op, ins: list[str], out: str) -> list[str]:
        return [f"{self._f('np.copyto')}({out}, {self._f('np.where')}({', '.join(ins)}))"]

    def _set_slice(self, op: Op, ins: list[str], out: str) -> list[str]:
        target = out
        for name, arguments in op.params["steps"]:
            target += f".{name}({inside(arguments)})" if name != "slice" else f"[{slices(arguments, None)}]"
        copyto = self._f("np.copyto")
        first = [] if self._shares(op) else [f"{copyto}({out}, {ins[0]})"]
        return [*first, f"{copyto}({target}, {ins[1]})"]

    def _shares(self, op: Op) -> bool:
        """Whether the result is computed in the first operand's memory."""
        x, out = op.operands[0], op.out
        arrays = self.plan.arrays
        return x in arrays and out in arrays and _address_and_strides(arrays[x]) == _address_and_strides(arrays[out])

    def _gather(self, op: Op, ins: list[str], out: str) -> list[str]:
        return [f"{self._f('np.copyto')}({out}, {ins[0]}[{index_text(op.params['index'], ins[1:])}])"]

    def _scatter(self, op: Op, ins: list[str], out: str) -> list[str]:
        first = [] if self._shares(op) else [f"{self._f('np.copyto')}({out}, {ins[0]})"]
        index = index_text(op.params["index"], ins[2:])
        if op.params["how"] == "set":
            return [*first, f"{out}[{index}] = {ins[1]}"]
        v = op.operands[1]
        is_widened = v.dtype == np.float16 or (v.dtype == np.float32 and v.size > MANY)
        function = self.scope.name_of(add_at) if is_widened else self._f("np.add.at", "add_at")
        return [*first, f"{function}({out}, ({index_text(op.params['index'], ins[2:], False)},), {ins[1]})"]

    def _draw(self, op: Op, ins: list[str], out: str) -> list[str]:
        p = op.params
        if p["method"] == "shuffle":
            copied = f"{self._f('np.copyto')}({out}, {ins[0]})"
            return [copied, f"{self.rngs[p['generator']]}.shuffle({self.scope.arguments(p, [out])})"]
        call = f"{self.rngs[p['generator']]}.{p['method']}({self.scope.arguments(p, ins)})"
        direct = p["method"] in ("random", "standard_normal") and op.out.ndim > 0
        if direct and set(p["kwargs"]) <= {"dtype"} and len(p["args"]) == 1:
            return [f"{call[:-1]}, out={out})"]
        return [f"{self._f('np.copyto')}({out}, {call})"]

    def _call(self, op: Op, ins: list[str]) -> str:
        p = op.params
        results = ", ".join(self.names[v] for v in op.outs)
        call = f"{self.scope.name_of(p['function'])}({self.scope.arguments(p, ins)})"
        if len(op.outs) == 1 and op.out.ndim == 0:
            call = f"{self._f('np.asarray')}({call})"
        return f"{results} = {call}"


def _address_and_strides(array: Any) -> tuple[int, tuple[int, ...]]:
    return int(array.__array_interface__["data"][0]), array.strides
