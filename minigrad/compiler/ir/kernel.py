"""Kernels: elementwise ops and reductions over one space, to be run as loops, and in which loops each op runs.

The space of a kernel is the shape that all its values broadcast to. Axes that all values and reductions treat alike are
merged, so that most kernels have one or two. A value has some of the axes in full and is 1 along the others.

A row is what a loop nest does for one index of all axes but the last. It consists of passes over the last axis. A
reduction over that axis alone ends a pass: its result, one number per row, is available to the next pass over the same
row. Any other reduction ends the loop nest: its result is available when that has ended. So batch norm's forward pass
is a loop nest that sums columns, one over the columns alone, and so on; layer norm's is one of several passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from minigrad.compiler.ir.program import REDUCTIONS, VIEWS, Op, Value

Axes = tuple[int, ...]
MAX_RECOMPUTED = 12  # operations that are cheaper to do again than a value is to keep
EXPENSIVE = frozenset({
    "exp", "log", "tanh", "erf", "normal_cdf", "power", "float_power", "logaddexp", "log1p", "expm1",
    "exp2", "log2", "log10", "sin", "cos", "tan", "arctan", "arctan2", "sinh",
    "cosh", "arcsin", "arccos", "hypot", "remainder", "fmod", "cbrt",
})  # fmt: skip
NUMBERS = {np.dtype(code) for code in ("?", *np.typecodes["AllInteger"])}
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
        self.reads: dict[Value, set[tuple[float, float]]] = {}  # loop nests and passes in which an operand is read

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
        return home.how == "element" and max(self.reads.get(x, set()), default=(-1, -1)) <= home[:2]


class Pass:
    """A pass over a row.

    `per_row` are the ops that are computed once before it, `per_element` those that are computed for every element,
    `reductions` those whose operand is computed or read in it.
    """

    def __init__(self) -> None:
        self.per_row: list[Op] = []
        self.per_element: list[Op] = []
        self.reductions: list[Op] = []


class LoopNest:
    """A loop nest over some axes, and its passes over the last one."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.passes = [Pass()]

    def at(self, number: int) -> Pass:
        """A pass, which may be a new one."""
        self.passes += [Pass() for _ in range(len(self.passes), number + 1)]
        return self.passes[number]


class Place(NamedTuple):
    """Where a value is computed: loop nest, pass, and how ("element", "row", or "total": after the nest has ended)."""

    nest: int
    number: int  # of the pass
    how: str


class Schedule:
    """The loop nests of a kernel in order, and the place of every op.

    `arrays` are the values that are stored in memory, `rows` those of which one row is stored for a later pass over it.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.nests: list[LoopNest] = []
        self.place: dict[Value, Place] = {}
        self.read_in: dict[Op, tuple[int, int]] = {}  # by reduction the loop nest and pass of its operand
        for op in self._by_stages():
            if op.name in REDUCTIONS and kernel.reduced_axes(op):
                self._reduction(op)
            else:  # a sum over axes of size 1 too
                self._elementwise(op)
        self.rows: set[Value] = set()
        self.arrays: set[Value] = {kernel.real(v) for v in kernel.outs}
        self._find_stored()

    def _by_stages(self) -> list[Op]:
        """The ops, ordered by the number of loop nests that they wait for; small values come first among equals.

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
        """Whether a value is available only when the loop nest over its operand has ended."""
        if op.name not in REDUCTIONS or not (reduced := self.kernel.reduced_axes(op)):
            return False
        axes = self.kernel.axes(op.operands[0])
        return reduced != axes[-1:] or len(axes) == 1

    # Places

    def _elementwise(self, op: Op) -> None:
        axes, everything = self.kernel.axes(op.out), tuple(range(len(self.kernel.sizes)))
        for number in self._candidates(op.operands):
            nest = self.nests[number]
            how = "element" if nest.axes == axes else "row" if axes and nest.axes[:-1] == axes else ""
            if how and (first := self._first_pass(op.operands, number, how)) is not None:
                self.place[op.out] = Place(number, first, how)
                break
        else:
            is_before_rows = bool(axes) and axes == everything[:-1]  # of a loop nest that will follow
            self.place[op.out] = Place(len(self.nests), 0, "row" if is_before_rows else "element")
            self.nests.append(LoopNest(everything if is_before_rows else axes))
        home = self.place[op.out]
        own = self.nests[home.nest].at(home.number)
        (own.per_row if home.how == "row" else own.per_element).append(op)

    def _reduction(self, op: Op) -> None:
        x = self.kernel.real(op.operands[0])
        axes, home = self.kernel.axes(x), self.place.get(x)
        if home is None or home.how == "total":
            fitting = [number for number in self._candidates([x]) if self.nests[number].axes == axes]
            home = Place(fitting[0] if fitting else len(self.nests), 0, "element")
            if not fitting:
                self.nests.append(LoopNest(axes))
        self.read_in[op] = home[:2]
        nest = self.nests[home.nest]
        nest.at(home.number).reductions.append(op)
        if home.how == "element" and self.kernel.reduced_axes(op) == axes[-1:] and len(axes) > 1:
            nest.at(home.number + 1)
            self.place[op.out] = Place(home.nest, home.number + 1, "row")
        else:
            self.place[op.out] = Place(home.nest, home.number, "total")

    def _candidates(self, operands: list[Value]) -> range:
        """The loop nests in which all operands are available."""
        homes = [self.place[x] for x in map(self.kernel.real, operands) if x in self.place]
        return range(max((home.nest + (home.how == "total") for home in homes), default=0), len(self.nests))

    def _first_pass(self, operands: list[Value], number: int, how: str) -> int | None:
        """The first pass of a loop nest in which all operands are available, None if there is none."""
        homes = [self.place[x] for x in map(self.kernel.real, operands) if x in self.place]
        homes = [home for home in homes if home.nest == number]
        if how == "row" and any(home.how == "element" for home in homes):
            return None
        return max((home.number for home in homes), default=0)

    # Values that are stored

    def _find_stored(self) -> None:
        """Find the values of one pass that are stored for another: in a row, or in an array."""
        kernel = self.kernel
        pending = [(op, self.read_in.get(op) or self.place[op.out][:2]) for op in kernel.ops if op.name != "reshape"]
        seen: set[tuple[Value, tuple[int, int]]] = set()
        while pending:
            op, at = pending.pop()
            for x in map(kernel.real, op.operands):
                home = self.place.get(x)
                if home is None or home.how == "total" or home[:2] == at or (x, at) in seen:
                    continue
                in_nest = home.nest == at[0]
                if home.how == "row" and in_nest:
                    continue
                seen.add((x, at))
                if x in self.arrays or (x in self.rows and in_nest):
                    continue
                same_axes = home.how == "element" and kernel.axes(x) == self.nests[at[0]].axes
                if same_axes and self.is_cheap(x):
                    pending.append((x.op, at))
                elif same_axes and in_nest and len(kernel.axes(x)) > 1:
                    self.rows.add(x)
                else:
                    self.arrays.add(x)

    def is_cheap(self, v: Value) -> bool:
        """Whether a value may be computed again where it is needed: by few ops, from at most two arrays of its size."""
        kernel = self.kernel

        def is_there(x: Value) -> bool:
            home = self.place.get(kernel.real(x))
            return home is None or home.how != "element" or kernel.real(x) in self.arrays

        leaves = recipe(v, is_there, MAX_RECOMPUTED)
        return leaves is not None and len({kernel.real(x) for x in leaves if kernel.axes(x) == kernel.axes(v)}) <= 2


def recipe(v: Value, is_there: Callable[[Value], bool], limit: int) -> set[Value] | None:
    """The values that are there from which v is computed, by at most `limit` cheap ops; None if it takes more."""
    operations, leaves, pending = 0, set[Value](), [v]
    while pending:
        x = pending.pop()
        if x is not v and is_there(x):
            leaves.add(x)
            continue
        operations += x.op.name not in VIEWS
        if operations > limit or x.op.name in EXPENSIVE:
            return None
        pending += x.op.operands
    return leaves
