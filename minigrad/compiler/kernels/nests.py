"""The loops of a kernel as text: a nest, with the phases of its rows. What happens to an element: walks.py."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.compiler.ir.kernel import EXPENSIVE, Nest, Place
from minigrad.compiler.ir.program import Op, Value
from minigrad.compiler.ir.pysyntax import literal
from minigrad.compiler.kernels.walks import WalkSource

if TYPE_CHECKING:
    from minigrad.compiler.kernels.loops import KernelSource

BLOCK_ROWS = 32  # that are added in float32
MANY_ROWS, MANY_COLUMNS = 256, 4096  # of which float32 is added in float64: columns are added in eight lanes and more
DOUBLE = np.dtype(np.float64)
FEWEST_ROWS, MOST_LINES = 8, 16  # of a nest that works on several rows at once, which makes its text longer
COMPARED = 8  # pairs of rows of one array that LLVM compares before a loop; of more, it does not vectorize


class Row:
    """A row of a nest: how its index is written, and the names of what is there for it.

    Several are worked on at once, so names end in the row's number.
    """

    def __init__(self, index: str, suffix: str = "") -> None:
        self.index, self.suffix = index, suffix
        self.names: dict[Value, str] = {}  # of numbers that are there for the row
        self.pointers: dict[str, str] = {}  # to the row in arrays
        self.head: list[str] = []  # before the first phase


class NestSource:
    """The text of one nest, appended to the body of its kernel."""

    def __init__(self, source: KernelSource, number: int, nest: Nest) -> None:
        self.source, self.number, self.nest = source, number, nest
        self.kernel, self.schedule = source.kernel, source.schedule
        self.outer, self.last = nest.axes[:-1], nest.axes[-1:]
        self.columns = [str(k) for k in range(source.kernel.sizes[1])] if source.is_narrow and self.outer else ["j"]
        self.totals: dict[Op, str] = {}  # variables and arrays of what is there when the nest has ended
        self.before: list[str] = []  # before the nest
        self.after: list[str] = []
        self.flush: list[str] = []  # after every block of rows
        text = self._loops()
        if text:  # else all that it computes is computed again where it is needed
            source.body += [*self.before, *text, *self.after]
        source.accumulating.clear()

    def _loops(self) -> list[str]:
        loops = [f"{'    ' * k}for i{a} in range(n{a}):" for k, a in enumerate(self.outer)]
        indent, count = "    " * len(self.outer), self._at_once()
        if count == 1:
            text = self._rows([Row("".join(f"i{a}" for a in self.outer[-1:]))])
            text += [f"if i{self.outer[-1]} % {BLOCK_ROWS} == 0:", *self.flush] if text and self.flush else []
            return [*loops, *(indent + line for line in text)] if text else []
        *loops, _ = loops
        a, above = self.outer[-1], "    " * len(loops)
        together = self._rows([Row(f"{count} * k + {r}", f"_{r}") for r in range(count)])
        rest = self._rows([Row(f"i{a}")])
        if not together:
            return []
        together += [f"if k % {BLOCK_ROWS // count} == 0:", *self.flush] if self.flush else []
        loops += [f"{above}for k in range(n{a} // {count}):", *(indent + line for line in together)]
        return [
            *loops,
            f"{above}for i{a} in range(n{a} // {count} * {count}, n{a}):",
            *(indent + line for line in rest),
        ]

    def _at_once(self) -> int:
        """How many rows are worked on at the same time: several, if they share columns and do little else."""
        nest, kernel, schedule = self.nest, self.kernel, self.schedule
        if not self.outer or self.columns != ["j"] or kernel.sizes[self.outer[-1]] < FEWEST_ROWS:
            return 1
        lines = [line for part in (*nest.inner, *nest.reductions) for line in part]
        values = {kernel.real(x) for line in lines for x in (*line.operands, line.out)}
        shared = [v for v in values if self.last[0] in kernel.axes(v) and self.outer[-1] not in kernel.axes(v)]
        simple = len(lines) <= MOST_LINES and not any(
            line.name in EXPENSIVE or line.out in schedule.rows for line in lines
        )
        if not shared or not simple:
            return 1
        written = [line.out for part in nest.inner for line in part if line.out in schedule.arrays]
        in_place = sum(self.source.array(v).startswith("a") for v in written)
        for count in (4, 2):
            pairs = count * (count - 1) // 2
            if pairs * (len(written) + 2 * in_place) <= COMPARED:
                return count
        return 1

    def _rows(self, rows: list[Row]) -> list[str]:
        """What happens in some rows at the same time, in all phases."""
        phases = [text for p in range(len(self.nest.inner)) for text in self._phase(p, rows)]
        heads = [text for row in rows for text in (*(f"{p} = {a}" for a, p in row.pointers.items()), *row.head)]
        return [*heads, *phases] if phases else []

    # A phase: what is computed once for the row, the walk over the row, what follows from it

    def _phase(self, phase: int, rows: list[Row]) -> list[str]:
        nest, text = self.nest, list[str]()
        for row in rows:
            for line in nest.row[phase]:
                self._row_line(line, row, text)
            for line in nest.reductions[phase]:
                if self._home(line).how == "row":
                    self.accumulate(line, self.number_for(line.operands[0], row), row, text)
        shared: dict[Value, str] = {}  # what is the same in all rows is loaded once
        # What they add to is stored once: the place of each variable. A single row adds to the place itself.
        sums: dict[str, str] | None = {} if len(rows) > 1 else None
        starts, body, ends = list[str](), list[str](), list[str]()
        for row in rows:
            for column in self.columns:
                walk = WalkSource(self, phase, row, column, shared, sums)
                body += walk.body()
                starts += walk.starts if column == self.columns[0] else []
                ends += walk.ends if column == self.columns[-1] else []
                if column != "j":
                    shared = {}
        body += [f"{place} = {name}" for name, place in (sums or {}).items()]
        if body and self.last and self.columns == ["j"]:
            body = [f"for j in range(n{self.last[0]}):", *(f"    {line}" for line in body)]
        return [*text, *starts, *body, *ends]

    def _home(self, reduction: Op) -> Place:
        x = self.kernel.real(reduction.operands[0])
        return self.schedule.place.get(x) or Place(self.number, 0, "inner")

    def _row_line(self, line: Op, row: Row, text: list[str]) -> None:
        name = row.names[line.out] = self.source.names[line.out] + row.suffix
        text.append(f"{name} = {self.source.expression(line, [self.number_for(x, row) for x in line.ins])}")
        if line.out in self.schedule.arrays:
            text.append(f"{self.source.array(line.out)}[{self.index(line.out, row)}] = {name}")

    def accumulate(self, line: Op, x: str, row: Row, text: list[str]) -> None:
        """Add a number for this row to a result that is there when the nest has ended."""
        total = self.total(line)
        if self.kernel.axes(line.out):
            total = f"{total}[{self.index(line.out, row)}]"
        text.append(f"{total} = {self.source.step(line, total, x, self.sum_dtype(line))}")

    def sum_dtype(self, line: Op) -> Any:
        """The dtype in which rows are added up: after many of them float32 would be off by 1 %."""
        x, out = line.operands[0], line.out
        columns = self.kernel.sizes[self.last[0]] if self.last and self.last[0] not in self.kernel.axes(out) else 1
        is_long = x.size // max(out.size * columns, 1) > MANY_ROWS
        return DOUBLE if line.name == "sum" and out.dtype == np.float32 and is_long else out.dtype

    def is_flushed(self, line: Op) -> bool:
        """Whether rows are added in float32 to an array that is emptied into a wider one after every block of them."""
        is_wide = self.sum_dtype(line) != line.out.dtype
        return is_wide and len(self.outer) == 1 and self.kernel.axes(line.out) == self.last

    def step_dtype(self, line: Op) -> Any:
        """The dtype in which one row is added."""
        return line.out.dtype if self.is_flushed(line) else self.sum_dtype(line)

    def row_dtype(self, line: Op) -> Any:
        """The dtype in which the elements of a row are added up."""
        is_long = bool(self.last) and self.kernel.sizes[self.last[0]] > MANY_COLUMNS
        return DOUBLE if line.name == "sum" and line.out.dtype == np.float32 and is_long else line.out.dtype

    def total(self, line: Op) -> str:
        """The variable or array of a result that is there when the nest has ended, with its start."""
        if line not in self.totals:
            self.totals[line] = self._started(line)
        return self.totals[line]

    def _started(self, line: Op) -> str:
        source, axes, dtype = self.source, self.kernel.axes(line.out), self.sum_dtype(line)
        is_wide = dtype != line.out.dtype
        own = source.summed_by_part(line, self.number)
        if not axes:
            name = source.names[line.out]
            total = f"wide{name}" if is_wide else name
            self.before.append(f"{total} = {source.start(line, dtype)}")
            if is_wide:
                self.after.append(f"{name} = {source.cast(total, dtype, line.out.dtype)}")
            if own or line.out in source.targets:
                self.after.append(f"{own or source.targets[line.out]}{'' if own else '[0]'} = {name}")
            return total
        array = source.array(line.out)
        if own:
            array = source.accumulating[line.out] = f"c{source.names[line.out]}"
            self.before.append(f"{array} = {own}")
        loops = [f"{'    ' * k}for i{a} in range(n{a}):" for k, a in enumerate(axes)]
        place, indent = ", ".join(f"i{a}" for a in axes), "    " * len(axes)
        if self.is_flushed(line):
            total, added = source.wide(line.out), f"f64({array}[{place}])"
            self.before += [*loops, f"{indent}{total}[{place}] = f64(0)"]
            self.flush += ["    " + text for text in (*loops, f"{indent}{total}[{place}] = {total}[{place}] + {added}")]
            self.flush.append(f"    {indent}{array}[{place}] = {source.start(line)}")
            self.after += [*loops, f"{indent}{array}[{place}] = f32({total}[{place}] + {added})"]
            dtype = line.out.dtype
        elif is_wide:
            total = source.wide(line.out)
            copied = source.cast(f"{total}[{place}]", dtype, line.out.dtype)
            self.after += [*loops, f"{indent}{array}[{place}] = {copied}"]
            array = source.accumulating[line.out] = total
        self.before += [*loops, f"{indent}{array}[{place}] = {source.start(line, dtype)}"]
        return array

    # Where operands are

    def number_for(self, x: Any, row: Row) -> str:
        """An operand that is one number for the row."""
        if not isinstance(x, Value):
            return literal(x)
        x = self.kernel.real(x)
        if x in row.names:
            return row.names[x]
        source = self.source
        if not self.kernel.axes(x):
            return source.scalar(x) if x in source.arguments else source.names[x]
        if x in source.arguments:
            self.source.reads.setdefault(x, set()).add((self.number, math.inf))
        name = row.names[x] = f"r{source.array(x)}{row.suffix}"
        row.head.append(f"{name} = {source.array(x)}[{self.index(x, row)}]")
        return name

    def element(self, x: Value, row: Row, column: str) -> str:
        """An element of an array within the walk over a row."""
        array, axes = self.source.array(x), self.kernel.axes(x)
        if column != "j" and len(axes) == 2:  # flat; an unsigned index is known to count from the beginning
            return f"{array}[np.uint64({row.index} * {len(self.columns)} + {column})]"
        lead = self.index(x, row, without_last=True)
        if not lead:
            return f"{array}[{column}]"
        pointer = row.pointers.setdefault(f"{array}[{lead}]", f"p{len(row.pointers)}_{self.number}{row.suffix}")
        return f"{pointer}[j]"

    def index(self, x: Value, row: Row, without_last: bool = False) -> str:
        """The place of x in a row."""
        if not self.nest.axes:
            return "0"
        axes = [a for a in self.kernel.axes(x) if not (without_last and (a,) == self.last)]
        return ", ".join(row.index if (a,) == self.outer[-1:] else f"i{a}" for a in axes)
