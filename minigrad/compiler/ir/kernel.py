"""Kernels: elementwise ops and reductions over one space, to be run as loops, and in which loops each op runs.

The space of a kernel is the shape that all its values broadcast to. Axes that all values and reductions treat alike are
merged, so that most kernels have one or two. A value has some of the axes in full and is 1 along the others.

A `Nest` is a loop nest over some axes. Within it, a reduction over the last axis alone ends a *phase*: a pass over one
row. Its result, one number per row, is available to the next phase over the same row. Any other reduction ends the
nest: its result is available when the nest has ended. So batch norm's forward pass is a nest that sums columns, one
over the columns alone, and so on; layer norm's is one nest of several phases.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minigrad.compiler.ir.program import REDUCTIONS, Op, Value

Axes = tuple[int, ...]
MAX_RECOMPUTED = 12  # operations that are cheaper to do again than a value is to keep
EXPENSIVE = frozenset({
    "exp", "log", "tanh", "erf", "normal_cdf", "power", "float_power", "logaddexp", "log1p", "expm1",
    "exp2", "log2", "log10", "sin", "cos", "tan", "arctan", "arctan2", "sinh",
    "cosh", "arcsin", "arccos", "hypot", "remainder", "fmod", "cbrt",
})  # fmt: skip
NUMBERS = {
    np.dtype(name) for name in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}
FLOATS = {np.dtype("float32"): "32", np.dtype("float64"): "64"}


def padded(shape: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """The shape with leading 1s, as one of so many axes."""
    return (1,) * (ndim - len(shape)) + shape


class Kernel:
    """Ops that run together.

    Args:
        ops: elementwise ops, reductions, and reshapes that only add or drop leading axes of size 1, in order.
        outs: the values that are needed outside.
    """

    def __init__(self, ops: Iterable[Op], outs: Iterable[Value]) -> None:
        self.ops, self.outs = list(ops), list(outs)
        inner = {v for op in self.ops for v in op.outs}
        self.ins = list(dict.fromkeys(v for op in self.ops for v in op.operands if v not in inner))
        self.alias = {op.out: op.operands[0] for op in self.ops if op.name == "reshape"}
        self._find_axes([*self.ins, *inner])
        self.schedule = Schedule(self)
        self.reads: dict[Value, set[tuple[float, float]]] = {}  # nests and phases in which an operand is read

    def real(self, v: Value) -> Value:
        """The value from which v differs by axes of size 1 only, or v."""
        while v in self.alias:
            v = self.alias[v]
        return v

    def _find_axes(self, values: list[Value]) -> None:
        """Find the merged axes of the space: the size of each, and which axes of the space it consists of."""
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
            is_alike = (
                groups
                and all((shape[groups[-1][0]] == 1) == (shape[k] == 1) for shape in shapes.values())
                and all((groups[-1][0] in axes) == (k in axes) for axes in reduced)
            )
            if is_alike:
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
        """The merged axes over which an op reduces."""
        shift = self.ndim - op.operands[0].ndim
        reduced = {k + shift for k in op.params["axes"]}
        return tuple(a for a, g in enumerate(self._groups) if g[0] in reduced and a in self.axes(op.operands[0]))

    def shape(self, v: Value) -> tuple[int, ...]:
        """The shape in which the kernel takes a value: its merged axes, or one element."""
        return tuple(self.sizes[a] for a in self.axes(v)) or (1,)

    def may_share(self, x: Value, out: Value) -> bool:
        """Whether an output may be written into the memory of an operand: no element is read after it is written."""
        if (self.axes(x), x.dtype) != (self.axes(out), out.dtype) or x not in self.ins:
            return False
        home = self.schedule.place[self.real(out)]
        return home.how == "inner" and max(self.reads.get(x, set()), default=(-1, -1)) <= (home.nest, home.phase)


class Nest:
    """A loop nest over some axes: phases over the last, for each index of the others.

    `inner[p]` are the ops that are computed for every element in phase p, `row[p]` those that are computed once per row
    before phase p, `reductions[p]` those whose operand is computed or read in phase p.
    """

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.inner: list[list[Op]] = [[]]
        self.row: list[list[Op]] = [[]]
        self.reductions: list[list[Op]] = [[]]

    def reach(self, phase: int) -> None:
        """Extend the lists up to a phase."""
        while len(self.inner) <= phase:
            self.inner.append([])
            self.row.append([])
            self.reductions.append([])


class Place:
    """Where a value is computed: nest, phase, and how ("inner", "row", or "total": after the nest has ended)."""

    __slots__ = ("how", "nest", "phase")

    def __init__(self, nest: int, phase: int, how: str) -> None:
        self.nest, self.phase, self.how = nest, phase, how


class Schedule:
    """The loop nests of a kernel in order, and the place of every op."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.nests: list[Nest] = []
        self.place: dict[Value, Place] = {}
        for op in self._by_stages():
            if op.name in REDUCTIONS and kernel.reduced_axes(op):
                self._reduction(op)
            else:  # a sum over axes of size 1 too
                self._elementwise(op)
        self._find_saved()

    def _by_stages(self) -> list[Op]:
        """The ops, ordered by the number of nests that they wait for; small values come first among equals.

        So everything that can be summed in one loop nest over the space is.
        """
        kernel = self.kernel
        known: dict[Value, tuple[int, bool]] = {}  # nests before a value, and whether the next one is large
        keys: dict[Op, tuple[int, bool]] = {}
        for op in kernel.ops:
            if op.name == "reshape":
                continue
            operands = [known[x] for x in map(kernel.real, op.operands) if x in known]
            stage = max((n for n, _ in operands), default=0)
            in_large = (stage, True) in operands or len(kernel.axes(op.out)) == len(kernel.sizes)
            ends = self._ends_a_nest(op)
            known[op.out] = (stage + 1, False) if ends else (stage, in_large)
            keys[op] = (stage, in_large or ends)
        return sorted(keys, key=keys.__getitem__)

    def _ends_a_nest(self, op: Op) -> bool:
        """Whether a value is available only when the nest over its operand has ended."""
        if op.name not in REDUCTIONS or not (reduced := self.kernel.reduced_axes(op)):
            return False
        axes = self.kernel.axes(op.operands[0])
        return reduced != axes[-1:] or len(axes) == 1

    # Places

    def _elementwise(self, op: Op) -> None:
        axes = self.kernel.axes(op.out)
        for number in self._candidates(op.operands):
            nest = self.nests[number]
            if nest.axes == axes:
                phase = self._phase(op.operands, number, "inner")
                if phase is not None:
                    nest.reach(phase)
                    nest.inner[phase].append(op)
                    self.place[op.out] = Place(number, phase, "inner")
                    return
            elif axes and nest.axes[:-1] == axes:
                phase = self._phase(op.operands, number, "row")
                if phase is not None:
                    nest.reach(phase)
                    nest.row[phase].append(op)
                    self.place[op.out] = Place(number, phase, "row")
                    return
        everything = tuple(range(len(self.kernel.sizes)))
        if axes and axes == everything[:-1]:  # for the rows of a nest that will follow
            self.nests.append(Nest(everything))
            self.nests[-1].row[0].append(op)
            self.place[op.out] = Place(len(self.nests) - 1, 0, "row")
            return
        self.nests.append(Nest(axes))
        self.nests[-1].inner[0].append(op)
        self.place[op.out] = Place(len(self.nests) - 1, 0, "inner")

    def _reduction(self, op: Op) -> None:
        x = self.kernel.real(op.operands[0])
        axes, reduced = self.kernel.axes(x), self.kernel.reduced_axes(op)
        number, phase, how = self._nest_over(x, axes)
        nest = self.nests[number]
        nest.reductions[phase].append(op)
        ends_phase = how == "inner" and reduced == axes[-1:] and len(axes) > 1
        if ends_phase:
            nest.reach(phase + 1)
            self.place[op.out] = Place(number, phase + 1, "row")
        else:
            self.place[op.out] = Place(number, phase, "total")

    def _nest_over(self, x: Value, axes: Axes) -> tuple[int, int, str]:
        """Nest, phase and how a reduction meets the elements of its operand."""
        home = self.place.get(x)
        if home is not None and home.how != "total":
            return home.nest, home.phase, home.how
        for number in self._candidates([x]):
            if self.nests[number].axes == axes:
                return number, 0, "inner"
        self.nests.append(Nest(axes))
        return len(self.nests) - 1, 0, "inner"

    def _candidates(self, operands: list[Value]) -> range:
        """The nests in which all operands are available."""
        first = 0
        for x in operands:
            home = self.place.get(self.kernel.real(x))
            if home is not None:
                first = max(first, home.nest + (home.how == "total"))
        return range(first, len(self.nests))

    def _phase(self, operands: list[Value], number: int, how: str) -> int | None:
        """The first phase of a nest in which all operands are available, None if there is none."""
        phase = 0
        for x in operands:
            home = self.place.get(self.kernel.real(x))
            if home is not None and home.nest == number:
                if how == "row" and home.how == "inner":
                    return None
                phase = max(phase, home.phase)
        return phase

    # Values that are stored

    def _find_saved(self) -> None:
        """Find the values of one phase that are stored for another: in a row, or in an array."""
        kernel = self.kernel
        self.rows: set[Value] = set()
        self.arrays: set[Value] = {kernel.real(v) for v in kernel.outs}
        pending = [(op, self._phase_of(op)) for op in kernel.ops if op.name != "reshape"]
        seen: set[tuple[int, tuple[int, int]]] = set()
        while pending:
            op, phase = pending.pop()
            for x in map(kernel.real, op.operands):
                home = self.place.get(x)
                if home is None or home.how == "total" or (home.nest, home.phase) == phase or (id(x), phase) in seen:
                    continue
                if home.how == "row" and home.nest == phase[0]:
                    continue
                seen.add((id(x), phase))
                if x in self.arrays or (x in self.rows and home.nest == phase[0]):
                    continue
                same_axes = home.how == "inner" and kernel.axes(x) == self.nests[phase[0]].axes
                if same_axes and self.is_cheap(x):
                    pending.append((x.op, phase))
                elif same_axes and home.nest == phase[0] and len(kernel.axes(x)) > 1:
                    self.rows.add(x)
                else:
                    self.arrays.add(x)

    def _phase_of(self, op: Op) -> tuple[int, int]:
        """Nest and phase in which an op is computed; of a reduction, where its operand is read."""
        if op.name in REDUCTIONS and self.kernel.reduced_axes(op):
            for number, nest in enumerate(self.nests):
                for p, ops in enumerate(nest.reductions):
                    if op in ops:
                        return number, p
        home = self.place[op.out]
        return home.nest, home.phase

    def is_cheap(self, v: Value) -> bool:
        """Whether a value may be computed again where it is needed: by few ops, from at most two arrays of its size."""
        kernel, operations, leaves = self.kernel, 0, set[Value]()
        pending = [v]
        while pending:
            x = kernel.real(pending.pop())
            home = self.place.get(x)
            if home is None or home.how != "inner" or (x in self.arrays and x is not v):
                if kernel.axes(x) == kernel.axes(v):
                    leaves.add(x)
                continue
            if x.op.name in EXPENSIVE:
                return False
            operations += 1
            pending += x.op.operands
            if operations > MAX_RECOMPUTED or len(leaves) > 2:
                return False
        return len(leaves) <= 2
