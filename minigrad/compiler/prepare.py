"""A program as kernels want it: sums in the place of products with ones, axes of size 1 kept, operands in C order."""

from __future__ import annotations

import math
from typing import Any

from minigrad.compiler.kernel_source import can_write
from minigrad.compiler.program import ELEMENTWISE, REDUCTIONS, VIEWS, Line, Program, Value
from minigrad.compiler.rules import make


class Preparing:
    """Rewrites the lines of a program in order."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.lines: list[Line] = []
        self.new: dict[Value, Value] = {}
        self.copies: dict[Value, Value] = {}

    def run(self) -> Program:
        """The program rewritten."""
        for line in self.program.lines:
            if line.op == "matmul" and self._is_sum(line):
                self.new[line.out] = self._summed(line)
            elif line.op in ELEMENTWISE | set(REDUCTIONS) and can_write(line):
                self.new[line.out] = self._kept(line)
            else:
                self._as_it_is(line)
        return self.program.replaced(lambda v: self.new.get(v, v), self.lines)

    def _operand(self, x: Any) -> Any:
        return self.new.get(x, x) if isinstance(x, Value) else x

    def _add(self, op: str, *ins: Any, named: Value | None = None, **params: Any) -> Value:
        line = make(op, *ins, **params)
        if named is not None:
            line.out.name, line.out.label, line.note = named.name, named.label, named.line.note
        self.lines.append(line)
        return line.out

    def _as_it_is(self, line: Line) -> None:
        ins = [self._operand(x) for x in line.ins]
        if all(x is y for x, y in zip(ins, line.ins, strict=True)):
            self.lines.append(line)
            return
        made = Line(line.op, ins, line.params, [(v.shape, v.dtype) for v in line.outs], line.note)
        self.lines.append(made)
        for old, new in zip(line.outs, made.outs, strict=True):
            new.name, new.label = old.name, old.label
            self.new[old] = new

    # Products with ones

    def _is_sum(self, line: Line) -> bool:
        x, y = line.operands
        return x.dtype == y.dtype and ((is_ones(x) and x.ndim == 1) or (is_ones(y) and y.ndim == 1))

    def _summed(self, line: Line) -> Value:
        x, y = line.operands
        if is_ones(x) and x.ndim == 1:
            rows, axis = y, max(y.ndim - 2, 0)
        else:
            rows, axis = x, x.ndim - 1
        total = self._sum(self._operand(rows), axis)
        return self._shaped(total, line.out.shape, named=line.out)

    def _sum(self, x: Value, axis: int) -> Value:
        wide = self._source_of(x)
        if wide is None:
            return self._add("sum", x, axes=(axis,))
        return self._add("sum", wide, axes=(full_axes(wide.shape)[full_axes(x.shape).index(axis)],))

    # Axes of size 1

    def _kept(self, line: Line) -> Value:
        """A line on operands from which axes of size 1 were dropped is done on what they were before."""
        ins = [self._operand(x) for x in line.ins]
        if line.op in REDUCTIONS:
            source = self._source_of(ins[0])
            if source is None:
                return self._again(line, ins)
            places = dict(zip(full_axes(ins[0].shape), full_axes(source.shape), strict=True))
            axes = tuple(sorted(places[k] for k in line.params["axes"] if k in places))
            if not axes:
                return self._again(line, ins)
            return self._shaped(self._add(line.op, source, axes=axes, named=line.out), line.out.shape)
        sources = [
            s for s in map(self._source_of, ins) if s is not None and squeezed(s.shape) == squeezed(line.out.shape)
        ]
        if not sources or line.op == "broadcast":
            return self._again(line, ins)
        shape = sources[0].shape
        moved = [self._moved(x, line.out.shape, shape) for x in ins]
        if any(x is None for x in moved):
            return self._again(line, ins)
        return self._shaped(self._add(line.op, *moved, named=line.out, **line.params), line.out.shape)

    def _again(self, line: Line, ins: list[Any]) -> Value:
        if all(x is y for x, y in zip(ins, line.ins, strict=True)):
            self.lines.append(line)
            return line.out
        return self._add(line.op, *ins, named=line.out, **line.params)

    def _source_of(self, x: Any) -> Value | None:
        """What a reshape dropped inner or trailing axes of size 1 from."""
        if not isinstance(x, Value) or x.line.op != "reshape":
            return None
        (wide,) = x.line.operands
        if squeezed(wide.shape) != squeezed(x.shape) or math.prod(x.shape) < 2:
            return None
        lead = (1,) * (wide.ndim - x.ndim)
        return None if wide.ndim <= x.ndim or (*lead, *x.shape) == wide.shape else wide

    def _moved(self, x: Any, given: tuple[int, ...], wanted: tuple[int, ...]) -> Any:
        """An operand of a line of shape `given` as one of the same line of shape `wanted`; None if it broadcasts."""
        if not isinstance(x, Value) or x.ndim == 0:
            return x
        if squeezed(x.shape) != squeezed(given):
            return self._shaped(x, ()) if math.prod(x.shape) == 1 else None
        return self._shaped(x, wanted)

    def _shaped(self, x: Value, shape: tuple[int, ...], named: Value | None = None) -> Value:
        while x.line.op == "reshape" and x.shape != shape:
            x = x.line.operands[0]
        return x if x.shape == shape else self._add("reshape", x, shape=shape, named=named)


def is_ones(x: Value) -> bool:
    """Whether all elements are 1 in each call."""
    while x.line.op in VIEWS or x.line.op in ("broadcast", "copy"):
        x = x.line.operands[0]
    return x.line.op == "full" and x.line.params["value"] == 1


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without axes of size 1."""
    return tuple(n for n in shape if n != 1)


def full_axes(shape: tuple[int, ...]) -> list[int]:
    """The axes of other sizes than 1."""
    return [k for k, n in enumerate(shape) if n != 1]
