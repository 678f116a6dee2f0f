"""Kernels: elementwise ops and reductions over one space, to be run as loops.

The space of a kernel is the shape that all its values broadcast to. Axes that all values and reductions treat alike are
merged, so that most kernels have one or two. A value has some of the axes in full and is 1 along the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from minigrad.compiler.ir.program import REDUCTIONS, Op, Value
from minigrad.compiler.ir.schedule import Axes, Schedule


def padded(shape: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """The shape with leading 1s: how it lies in a space of so many axes."""
    return (1,) * (ndim - len(shape)) + shape


class Kernel:
    """Lines of a program that run together.

    Args:
        ops: elementwise ops, reductions, and reshapes that only add or drop leading axes of size 1, in order.
        outs: those of their values that are needed outside.
    """

    def __init__(self, ops: Iterable[Op], outs: Iterable[Value]) -> None:
        self.ops, self.outs = list(ops), list(outs)
        inner = {v for op in self.ops for v in op.outs}
        self.ins = list(dict.fromkeys(v for op in self.ops for v in op.operands if v not in inner))
        self.alias = {op.out: op.operands[0] for op in self.ops if op.name == "reshape"}
        self._find_axes([*self.ins, *inner])
        self.schedule = Schedule(self)
        self.reads: dict[Value, set[tuple[float, float]]] = {}  # in which walks an operand is read: nest and phase

    def real(self, v: Value) -> Value:
        """The value itself of one that differs from it by axes of size 1 only."""
        while v in self.alias:
            v = self.alias[v]
        return v

    def _find_axes(self, values: list[Value]) -> None:
        """The merged axes of the space: for each how many elements, and which axes of the space it is made of."""
        ndim = max(v.ndim for v in values)
        shapes = {v: padded(v.shape, ndim) for v in values}
        space = [max((shape[k] for shape in shapes.values()), key=lambda n: (n != 1, n)) for k in range(ndim)]
        reduced = [
            {k + ndim - op.operands[0].ndim for k in op.params["axes"]} for op in self.ops if op.name in REDUCTIONS
        ]
        groups: list[list[int]] = []
        for k, n in enumerate(space):
            if n == 1:
                continue
            alike = (
                groups
                and all((shape[groups[-1][0]] == 1) == (shape[k] == 1) for shape in shapes.values())
                and all((groups[-1][0] in axes) == (k in axes) for axes in reduced)
            )
            if alike:
                groups[-1].append(k)
            else:
                groups.append([k])
        self.sizes = tuple(math.prod(space[k] for k in group) for group in groups)
        self.ndim = ndim
        self._groups = groups
        self._axes = {v: tuple(a for a, g in enumerate(groups) if shapes[v][g[0]] != 1) for v in values}

    def axes(self, v: Value) -> Axes:
        """The merged axes that a value has in full."""
        return self._axes[v]

    def reduced_axes(self, op: Op) -> Axes:
        """The merged axes that a reduction takes away."""
        shift = self.ndim - op.operands[0].ndim
        gone = {k + shift for k in op.params["axes"]}
        return tuple(a for a, g in enumerate(self._groups) if g[0] in gone and a in self.axes(op.operands[0]))

    def shape(self, v: Value) -> tuple[int, ...]:
        """The shape in which a value is handed to the kernel: its merged axes, or one element."""
        return tuple(self.sizes[a] for a in self.axes(v)) or (1,)

    def may_share(self, x: Value, out: Value) -> bool:
        """Whether an output may be written into the memory of an operand: each element is read before, and then not."""
        if (self.axes(x), x.dtype) != (self.axes(out), out.dtype) or x not in self.ins:
            return False
        home = self.schedule.place[self.real(out)]
        return home.how == "inner" and max(self.reads.get(x, set()), default=(-1, -1)) <= (home.nest, home.phase)
