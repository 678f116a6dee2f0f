"""The walk over a row of a kernel as text: what happens to every element in one phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad.compiler.ir.program import Op, Value
from minigrad.compiler.ir.pysyntax import literal

if TYPE_CHECKING:
    from minigrad.compiler.kernels.nests import NestSource, Row


class WalkSource:
    """What happens to every element of a row in one phase, or to that of one column."""

    def __init__(
        self,
        nest: NestSource,
        phase: int,
        row: Row,
        column: str,
        shared: dict[Value, str],
        sums: dict[str, str] | None,
    ) -> None:
        self.nest, self.phase, self.source, self.kernel = nest, phase, nest.source, nest.kernel
        self.row, self.column, self.shared, self.sums = row, column, shared, sums
        self.schedule = nest.schedule
        self.known: dict[Value, str] = {}
        self.lines: list[str] = []
        self.starts: list[str] = []
        self.ends: list[str] = []

    def body(self) -> list[str]:
        """The statements, with what must stand before and after the loop in `starts` and `ends`."""
        schedule, source = self.schedule, self.source
        inner = self.nest.nest.inner[self.phase]
        for line in inner:
            if line.out in schedule.arrays or line.out in schedule.rows or not self.nest.nest.axes:
                self.value(line.out)
        for line in self.nest.nest.reductions[self.phase]:
            if self.nest._home(line).how != "row":
                self._reduce(line)
        for line in inner:
            if line.out in schedule.rows:
                self.lines.append(f"{self._kept(line.out)} = {self.known[line.out]}")
            if line.out in schedule.arrays and self.kernel.axes(line.out):
                self.lines.append(f"{self._element(line.out)} = {self.known[line.out]}")
            elif line.out in source.targets:
                self.lines.append(f"{source.targets[line.out]}[0] = {self.known[line.out]}")
        return self.lines

    def _kept(self, v: Value) -> str:
        """Where an element is kept for a later phase: in a row of them, or in a variable of its column."""
        name = f"row{self.source.names[v]}{self.row.suffix}"
        if self.column != "j":
            return f"{name}_{self.column}"
        self.source.allocated.setdefault(name, f"np.empty(n{self.nest.last[0]}, np.{v.dtype.name})")
        return f"{name}[j]"

    def _element(self, x: Value) -> str:
        return self.nest.element(x, self.row, self.column)

    def value(self, x: Any) -> str:
        """The name of an operand's element: computed, loaded, or computed again."""
        if not isinstance(x, Value):
            return literal(x)
        x = self.kernel.real(x)
        if x in self.known or x in self.shared:
            return self.known.get(x) or self.shared[x]
        axes = self.kernel.axes(x)
        home = self.schedule.place.get(x)
        here = home is not None and home.how == "inner" and (home.nest, home.phase) == (self.nest.number, self.phase)
        if not here and (axes != self.nest.nest.axes or not axes):
            if axes[-1:] != self.nest.last or not axes:
                return self.nest.number_for(x, self.row)
            return self._loaded(x)
        kept = home is None or home.how == "total" or x in self.schedule.arrays
        if not here and kept:
            return self._loaded(x)
        if not here and x in self.schedule.rows and home is not None and home.nest == self.nest.number:
            return self._named(x, self._kept(x))
        return self._named(x, self.source.expression(x.op, [self.value(y) for y in x.op.ins]))

    def _loaded(self, x: Value) -> str:
        if x in self.source.arguments:
            self.source.reads.setdefault(x, set()).add((self.nest.number, self.phase))
        return self._named(x, self._element(x), prefix="e")

    def _named(self, x: Value, expression: str, prefix: str = "") -> str:
        name = f"e{self.source.arguments[x]}" if x in self.source.arguments else prefix + self.source.names[x]
        if self.nest.outer and set(self.kernel.axes(x)).isdisjoint(self.nest.outer):
            self.shared[x] = name
        else:
            name = self.known[x] = name + self.row.suffix
        self.lines.append(f"{name} = {expression}")
        return name

    def _reduce(self, line: Op) -> None:
        x = self.value(line.operands[0])
        axes, out = self.nest.nest.axes, self.kernel.axes(line.out)
        home = self.schedule.place[line.out]
        name = self.source.names[line.out] + self.row.suffix
        if home.how == "row" or len(axes) == 1:
            self._add_row(line, name, x)
            if home.how == "row":
                self.row.names[line.out] = name
                if line.out in self.schedule.arrays:
                    self.ends.append(f"{self.source.array(line.out)}[{self.nest.index(line.out, self.row)}] = {name}")
            elif (own := self.source.summed_by_part(line, self.nest.number)) is not None:
                self.ends.append(f"{own} = {name}")
            elif line.out in self.source.targets:
                self.ends.append(f"{self.source.targets[line.out]}[0] = {name}")
        elif out[-1:] == self.nest.last:
            self.nest.total(line)
            element = self._element(line.out)
            if self.sums is not None and self.nest.outer[-1] not in out:  # else every row adds to its own
                place, element = element, f"s{self.source.names[line.out]}"
                if element not in self.sums:
                    self.sums[element] = place
                    self.lines.append(f"{element} = {place}")
            self.lines.append(f"{element} = {self.source.step(line, element, x, self.nest.step_dtype(line))}")
        else:
            part = f"part{name}"
            self._add_row(line, part, x)
            self.nest.accumulate(line, part, self.row, self.ends)

    def _add_row(self, line: Op, name: str, x: str) -> None:
        """Add the elements of a row up, in a wider dtype if they are many."""
        dtype = self.nest.row_dtype(line)
        total = name if dtype == line.out.dtype else f"wide{name}"
        self.starts.append(f"{total} = {self.source.start(line, dtype)}")
        self.lines.append(f"{total} = {self.source.step(line, total, x, dtype)}")
        if total != name:
            self.ends.append(f"{name} = {self.source.cast(total, dtype, line.out.dtype)}")
