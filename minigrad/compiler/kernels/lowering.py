"""A loop nest of a kernel as statements: for each row its single numbers, then passes over its columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.compiler.ir.kernel import EXPENSIVE
from minigrad.compiler.ir.program import Op, Value
from minigrad.compiler.ir.pysyntax import literal
from minigrad.compiler.kernels.expressions import DOUBLE, Storage
from minigrad.compiler.kernels.loops import (
    COLUMN,
    Accumulate,
    Element,
    If,
    Let,
    Loop,
    Statement,
    Store,
    hoist_pointers,
    nested,
    unroll_columns,
    unroll_rows,
)

BLOCK_ROWS = 32  # rows that are added in float32 before their sum is added to a wider array
# above these float32 is added in float64: columns are added in eight lanes and more
MANY_ROWS, MANY_COLUMNS = 256, 4096
FEWEST_ROWS, MOST_OPS = 8, 16  # of a loop nest that works on several rows at once, which makes its text longer
COMPARED = 8  # pairs of rows of one array that LLVM compares before a loop; of more, it does not vectorize


class LoweredNest:
    """The `statements` of one loop nest; none if other loop nests compute all its values again.

    `totals` are the reductions whose results are complete when the nest has ended, with their variables and arrays.
    """

    def __init__(self, storage: Storage, number: int) -> None:
        self.storage, self.number, self.kernel = storage, number, storage.kernel
        self.schedule = self.kernel.schedule
        self.plan = self.schedule.nests[number]
        self.outer, self.last = self.plan.axes[:-1], self.plan.axes[-1:]
        self.totals: dict[Op, str] = {}
        self.per_row: dict[Value, str] = {}  # names of values of which a row has one number
        self.buffers: set[str] = set()
        self.head: list[Statement] = []  # of each row
        self.before: list[Statement] = []
        self.after: list[Statement] = []
        self.flush: list[Statement] = []  # after each block of rows
        row = [s for k in range(len(self.plan.passes)) for s in LoweredPass(self, k).statements()]
        self.statements = [*self.before, *self._rows([*self.head, *row]), *self.after] if row else []

    def _rows(self, row: list[Statement]) -> list[Statement]:
        """The loops over rows."""
        if not self.outer:
            return row
        *outside, axis = self.outer
        index, size, count = f"i{axis}", f"n{axis}", self._rows_at_once()
        if self.storage.is_flat:
            row = unroll_columns(row, self.kernel.sizes[1], self.buffers)
        one = hoist_pointers(row, self.number)
        if count == 1:
            return nested(self.outer, [*one, *self._flush_if(f"{index} % {BLOCK_ROWS} == 0")])
        several = hoist_pointers(unroll_rows(row, index, count), self.number)
        several += self._flush_if(f"k % {BLOCK_ROWS // count} == 0")
        loop = Loop("k", f"{size} // {count}", tuple(several))
        rest = Loop(index, f"{size} // {count} * {count}, {size}", tuple(one))
        return nested(outside, [loop, rest])

    def _flush_if(self, condition: str) -> list[Statement]:
        return [If(condition, tuple(self.flush))] if self.flush else []

    def _rows_at_once(self) -> int:
        """How many rows are worked on at the same time: several, if they share columns and do little else."""
        plan, kernel, schedule = self.plan, self.kernel, self.schedule
        if self.storage.is_flat or kernel.sizes[self.outer[-1]] < FEWEST_ROWS:
            return 1
        ops = [op for part in plan.passes for op in (*part.per_element, *part.reductions)]
        axes = [kernel.axes(kernel.real(x)) for op in ops for x in (*op.operands, op.out)]
        is_shared = any(self.last[0] in a and self.outer[-1] not in a for a in axes)
        is_simple = len(ops) <= MOST_OPS and not any(op.name in EXPENSIVE or op.out in schedule.rows for op in ops)
        if not is_shared or not is_simple:
            return 1
        written = [op.out for part in plan.passes for op in part.per_element if op.out in schedule.arrays]
        in_place = sum(self.storage.array(v).startswith("a") for v in written)
        for count in (4, 2):
            pairs = count * (count - 1) // 2
            if pairs * (len(written) + 2 * in_place) <= COMPARED:
                return count
        return 1

    # Results that are complete when the nest has ended

    def add_to_total(self, op: Op, x: str) -> Accumulate:
        """Add a number, of this row or of an element of it, to a result."""
        if op not in self.totals:
            self.totals[op] = self._total_array(op) if self.kernel.axes(op.out) else self._total_number(op)
        total, dtype = self.totals[op], op.out.dtype if self._is_flushed(op) else self._sum_dtype(op)
        target = Element(total, self.index(op.out)) if self.kernel.axes(op.out) else total
        return Accumulate(target, self.storage.step(op, "{0}", "{1}", dtype), x)

    def _sum_dtype(self, op: Op) -> np.dtype[Any]:
        """The dtype in which rows are added up: after many of them float32 would be off by 1 %."""
        x, out = op.operands[0], op.out
        columns = self.kernel.sizes[self.last[0]] if self.last and self.last[0] not in self.kernel.axes(out) else 1
        is_long = x.size // max(out.size * columns, 1) > MANY_ROWS
        return DOUBLE if op.name == "sum" and out.dtype == np.float32 and is_long else out.dtype

    def _is_flushed(self, op: Op) -> bool:
        """Whether rows are added in float32 to an array that is added to a wider one after each block of them."""
        is_wide = self._sum_dtype(op) != op.out.dtype
        return is_wide and len(self.outer) == 1 and self.kernel.axes(op.out) == self.last

    def _total_number(self, op: Op) -> str:
        storage, dtype, name = self.storage, self._sum_dtype(op), self.storage.names[op.out]
        total = name if dtype == op.out.dtype else f"wide{name}"
        self.before.append(Let(total, storage.start(op, dtype)))
        if total != name:
            self.after.append(Let(name, storage.cast(total, dtype, op.out.dtype)))
        self.after += self.stored(op)
        return total

    def stored(self, op: Op) -> list[Statement]:
        """The number that an op computes, in its output if it has one."""
        target = self.storage.targets.get(op.out)
        return [] if target is None else [Store(Element(target, ("0",)), self.storage.names[op.out])]

    def _total_array(self, op: Op) -> str:
        storage, axes, dtype, out = self.storage, self.kernel.axes(op.out), self._sum_dtype(op), op.out
        index = tuple(f"i{a}" for a in axes)
        total = Element(storage.array(out), index)
        if self._is_flushed(op):
            wide, added = Element(storage.wide(out), index), f"f64({total})"
            self.before += nested(axes, [Store(wide, "f64(0)")])
            self.flush += nested(axes, [Store(wide, f"{wide} + {added}"), Store(total, storage.start(op))])
            self.after += nested(axes, [Store(total, f"f32({wide} + {added})")])
            dtype = out.dtype
        elif dtype != out.dtype:
            result, total = total, Element(storage.wide(out), index)
            self.after += nested(axes, [Store(result, storage.cast(str(total), dtype, out.dtype))])
        self.before += nested(axes, [Store(total, storage.start(op, dtype))])
        return total.array

    # Names and places of values

    def number_for(self, x: Any) -> str:
        """The name of an operand of which the row has one number."""
        if not isinstance(x, Value):
            return literal(x)
        x, storage = self.kernel.real(x), self.storage
        if x in self.per_row:
            return self.per_row[x]
        if not self.kernel.axes(x):
            return storage.scalar(x) if x in storage.arguments else storage.names[x]
        if x in storage.arguments:
            storage.reads.setdefault(x, set()).add((self.number, math.inf))
        name = self.per_row[x] = f"r{storage.array(x)}"
        self.head.append(Let(name, self.element(x)))
        return name

    def element(self, x: Value) -> Element:
        """The element of an array in a row and column."""
        return Element(self.storage.array(x), self.index(x))

    def index(self, x: Value) -> tuple[str, ...]:
        """The indices of that element."""
        return tuple(COLUMN if (a,) == self.last else f"i{a}" for a in self.kernel.axes(x)) or ("0",)


class LoweredPass:
    """A pass over a row: what is computed once, then a loop over columns, between `starts` and `ends`."""

    def __init__(self, nest: LoweredNest, number: int) -> None:
        self.nest, self.number, self.storage, self.kernel = nest, number, nest.storage, nest.kernel
        self.schedule = nest.schedule
        self.names: dict[Value, str] = {}  # of elements that are already computed or loaded
        self.starts: list[Statement] = []
        self.columns: list[Statement] = []
        self.ends: list[Statement] = []

    def statements(self) -> list[Statement]:
        """The statements of the pass, in order."""
        nest, schedule = self.nest, self.schedule
        own = nest.plan.passes[self.number]
        once = [s for op in own.per_row for s in self._computed_once(op)]
        of_rows: list[Op] = []
        of_elements: list[Op] = []
        for op in own.reductions:
            place = schedule.place.get(self.kernel.real(op.operands[0]))
            (of_rows if place is not None and place.how == "row" else of_elements).append(op)
        once += [nest.add_to_total(op, nest.number_for(op.operands[0])) for op in of_rows]
        for op in own.per_element:
            if op.out in schedule.arrays or op.out in schedule.rows or not nest.plan.axes:
                self._value(op.out)
        for op in of_elements:
            self._reduce(op)
        for op in own.per_element:
            if op.out in schedule.rows:
                self.columns.append(Store(self._in_row_buffer(op.out), self.names[op.out]))
            if op.out in schedule.arrays and self.kernel.axes(op.out):
                self.columns.append(Store(nest.element(op.out), self.names[op.out]))
            else:
                self.columns += nest.stored(op)
        if self.columns and nest.last:
            self.columns = [Loop(COLUMN, f"n{nest.last[0]}", tuple(self.columns))]
        return [*once, *self.starts, *self.columns, *self.ends]

    def _computed_once(self, op: Op) -> list[Statement]:
        name = self.nest.per_row[op.out] = self.storage.names[op.out]
        computed = Let(name, self.storage.expression(op, [self.nest.number_for(x) for x in op.ins]))
        return [computed, Store(self.nest.element(op.out), name)] if op.out in self.schedule.arrays else [computed]

    def _in_row_buffer(self, v: Value) -> Element:
        """The place of an element in the buffer of its row."""
        buffer = self.storage.row_buffer(v, self.nest.last[0])
        self.nest.buffers.add(buffer)
        return Element(buffer, (COLUMN,))

    def _value(self, x: Any) -> str:
        """The name of an operand's element: loaded, computed, or computed again."""
        if not isinstance(x, Value):
            return literal(x)
        x = self.kernel.real(x)
        if x in self.names:
            return self.names[x]
        nest, storage, axes, place = self.nest, self.storage, self.kernel.axes(x), self.schedule.place.get(x)
        in_nest = place is not None and place.nest == nest.number
        is_here = place == (nest.number, self.number, "element")
        if not is_here and (not axes or (axes != nest.plan.axes and axes[-1:] != nest.last)):
            return nest.number_for(x)
        is_stored = place is None or place.how == "total" or x in self.schedule.arrays or axes != nest.plan.axes
        if not is_here and is_stored:
            if x in storage.arguments:
                storage.reads.setdefault(x, set()).add((nest.number, self.number))
            return self._let(x, f"e{storage.arguments.get(x) or storage.names[x]}", nest.element(x))
        if not is_here and in_nest and x in self.schedule.rows:
            return self._let(x, storage.names[x], self._in_row_buffer(x))
        return self._let(x, storage.names[x], storage.expression(x.op, [self._value(y) for y in x.op.ins]))

    def _let(self, x: Value, name: str, value: str | Element) -> str:
        self.columns.append(Let(name, value))
        self.names[x] = name
        return name

    def _reduce(self, op: Op) -> None:
        x, nest, name = self._value(op.operands[0]), self.nest, self.storage.names[op.out]
        if self.schedule.place[op.out].how == "row":
            self._add_up(op, name, x)
            nest.per_row[op.out] = name
            if op.out in self.schedule.arrays:
                self.ends.append(Store(nest.element(op.out), name))
        elif len(nest.plan.axes) == 1:
            self._add_up(op, name, x)
            nest.totals[op] = name
            self.ends += nest.stored(op)
        elif self.kernel.axes(op.out)[-1:] == nest.last:
            self.columns.append(nest.add_to_total(op, x))
        else:
            self._add_up(op, f"part{name}", x)
            self.ends.append(nest.add_to_total(op, f"part{name}"))

    def _add_up(self, op: Op, name: str, x: str) -> None:
        """Add the elements of a row up, in a wider dtype if they are many."""
        last, dtype = self.nest.last, op.out.dtype
        if op.name == "sum" and dtype == np.float32 and last and self.kernel.sizes[last[0]] > MANY_COLUMNS:
            dtype = DOUBLE
        total = name if dtype == op.out.dtype else f"wide{name}"
        self.starts.append(Let(total, self.storage.start(op, dtype)))
        self.columns.append(Accumulate(total, self.storage.step(op, "{0}", "{1}", dtype), x))
        if total != name:
            self.ends.append(Let(name, self.storage.cast(total, dtype, op.out.dtype)))
