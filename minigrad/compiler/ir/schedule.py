"""In which loops the ops of a kernel run.

A `Nest` walks over some axes. Within it, a reduction over the last axis alone ends a *phase*: the walk over one row.
What it makes, one number for each row, is there for the next phase over the same row. Any other reduction ends the
nest: its result is there when the walk is over. So batch norm's forward pass is a nest that sums columns, one over the
columns alone, and so on; layer norm's is one nest of several phases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minigrad.compiler.ir.costs import EXPENSIVE
from minigrad.compiler.ir.program import REDUCTIONS, Op, Value

if TYPE_CHECKING:
    from minigrad.compiler.ir.kernel import Kernel

Axes = tuple[int, ...]
MAX_RECOMPUTED = 12  # operations that are cheaper to do again than a value is to keep


class Nest:
    """A walk over some axes: phases over the last, for each index of the others.

    `inner[p]` are the ops that are computed in phase p for every element, `row[p]` those that are computed once for
    each row before phase p (row[0]: before all), `reductions[p]` those whose operand runs through phase p.
    """

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.inner: list[list[Op]] = [[]]
        self.row: list[list[Op]] = [[]]
        self.reductions: list[list[Op]] = [[]]

    def reach(self, phase: int) -> None:
        """Make room for a phase."""
        while len(self.inner) <= phase:
            self.inner.append([])
            self.row.append([])
            self.reductions.append([])


class Place:
    """Where a value is computed: nest, phase, and how ("inner", "row", or "total": there when the nest has ended)."""

    __slots__ = ("how", "nest", "phase")

    def __init__(self, nest: int, phase: int, how: str) -> None:
        self.nest, self.phase, self.how = nest, phase, how


class Schedule:
    """The nests of a kernel in order, and the place of every op."""

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
        """The ops, those first that wait for fewer nests; among equals small values that need no walk come first.

        So all that can be summed in one walk over everything is.
        """
        kernel = self.kernel
        known: dict[Value, tuple[int, bool]] = {}  # after how many nests a value is there, and whether in a large walk
        keys: dict[Op, tuple[int, bool]] = {}
        for op in kernel.ops:
            if op.name == "reshape":
                continue
            needs = [known[x] for x in map(kernel.real, op.operands) if x in known]
            stage = max((n for n, _ in needs), default=0)
            in_large = (stage, True) in needs or len(kernel.axes(op.out)) == len(kernel.sizes)
            ends = self._ends_a_nest(op)
            known[op.out] = (stage + 1, False) if ends else (stage, in_large)
            keys[op] = (stage, in_large or ends)
        return sorted(keys, key=keys.__getitem__)

    def _ends_a_nest(self, op: Op) -> bool:
        """Whether a value is there only when the walk over its operand is over."""
        if op.name not in REDUCTIONS or not (gone := self.kernel.reduced_axes(op)):
            return False
        axes = self.kernel.axes(op.operands[0])
        return gone != axes[-1:] or len(axes) == 1

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
        if axes and axes == everything[:-1]:  # for the rows of a walk that will follow
            self.nests.append(Nest(everything))
            self.nests[-1].row[0].append(op)
            self.place[op.out] = Place(len(self.nests) - 1, 0, "row")
            return
        self.nests.append(Nest(axes))
        self.nests[-1].inner[0].append(op)
        self.place[op.out] = Place(len(self.nests) - 1, 0, "inner")

    def _reduction(self, op: Op) -> None:
        x = self.kernel.real(op.operands[0])
        axes, gone = self.kernel.axes(x), self.kernel.reduced_axes(op)
        number, phase, how = self._walk_over(x, axes)
        nest = self.nests[number]
        nest.reductions[phase].append(op)
        ends_phase = how == "inner" and gone == axes[-1:] and len(axes) > 1
        if ends_phase:
            nest.reach(phase + 1)
            self.place[op.out] = Place(number, phase + 1, "row")
        else:
            self.place[op.out] = Place(number, phase, "total")

    def _walk_over(self, x: Value, axes: Axes) -> tuple[int, int, str]:
        """A place where a reduction's operand comes by."""
        home = self.place.get(x)
        if home is not None and home.how != "total":
            return home.nest, home.phase, home.how
        for number in self._candidates([x]):
            if self.nests[number].axes == axes:
                return number, 0, "inner"
        self.nests.append(Nest(axes))
        return len(self.nests) - 1, 0, "inner"

    def _candidates(self, operands: list[Value]) -> range:
        """The nests that come after all that the operands need."""
        need = 0
        for x in operands:
            home = self.place.get(self.kernel.real(x))
            if home is not None:
                need = max(need, home.nest + (home.how == "total"))
        return range(need, len(self.nests))

    def _phase(self, operands: list[Value], number: int, how: str) -> int | None:
        """The first phase of a nest in which all operands are there, None if there is none."""
        phase = 0
        for x in operands:
            home = self.place.get(self.kernel.real(x))
            if home is not None and home.nest == number:
                if how == "row" and home.how == "inner":
                    return None
                phase = max(phase, home.phase)
        return phase

    # What is kept

    def _find_saved(self) -> None:
        """Which values computed inside a walk are kept for another: in a row, or in an array."""
        self.users: dict[Value, list[tuple[int, int]]] = {}
        kernel = self.kernel
        self.rows: set[Value] = set()
        self.arrays: set[Value] = {kernel.real(v) for v in kernel.outs}
        pending = [(op, self._where(op)) for op in kernel.ops if op.name != "reshape"]
        seen: set[tuple[int, tuple[int, int]]] = set()
        while pending:
            op, walk = pending.pop()
            for x in map(kernel.real, op.operands):
                home = self.place.get(x)
                if home is None or home.how == "total" or (home.nest, home.phase) == walk or (id(x), walk) in seen:
                    continue
                if home.how == "row" and home.nest == walk[0]:
                    continue
                seen.add((id(x), walk))
                if x in self.arrays or (x in self.rows and home.nest == walk[0]):
                    continue
                same_axes = home.how == "inner" and kernel.axes(x) == self.nests[walk[0]].axes
                if same_axes and self.is_cheap(x):
                    pending.append((x.op, walk))
                elif same_axes and home.nest == walk[0] and len(kernel.axes(x)) > 1:
                    self.rows.add(x)
                else:
                    self.arrays.add(x)

    def _where(self, op: Op) -> tuple[int, int]:
        """The walk that computes an op, for a reduction the one that its operand runs through."""
        if op.name in REDUCTIONS and self.kernel.reduced_axes(op):
            for number, nest in enumerate(self.nests):
                for phase, ops in enumerate(nest.reductions):
                    if op in ops:
                        return number, phase
        home = self.place[op.out]
        return home.nest, home.phase

    def is_cheap(self, v: Value) -> bool:
        """Whether a value may be computed again where it is needed: few operations, at most two arrays of its size."""
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
