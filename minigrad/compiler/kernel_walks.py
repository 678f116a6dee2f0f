"""The loops of a kernel as text: a nest, and within it the walk over a row in each phase."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from minigrad.compiler.kernel import Axes, Nest, Place
from minigrad.compiler.program import Line, Value
from minigrad.compiler.texts import literal

if TYPE_CHECKING:
    from minigrad.compiler.kernel_source import KernelSource


class NestSource:
    """The text of one nest, appended to the body of its kernel."""

    def __init__(self, source: KernelSource, number: int, nest: Nest) -> None:
        self.source, self.number, self.nest = source, number, nest
        self.kernel, self.schedule = source.kernel, source.schedule
        self.outer, self.last = nest.axes[:-1], nest.axes[-1:]
        self.row_names: dict[Value, str] = {}  # of numbers that are there for a row
        self.pointers: dict[str, str] = {}  # rows of arrays
        self.head: list[str] = []  # before a row's first phase
        self.before: list[str] = []  # before the nest
        self.after: list[str] = []
        phases = [self._phase(p) for p in range(len(nest.inner))]
        if not any(phases):  # all that it computes is computed again where it is needed
            return
        indent = "    " * len(self.outer)
        loops = [f"{'    ' * k}for i{a} in range(n{a}):" for k, a in enumerate(self.outer)]
        rows = [f"{row} = {array}" for array, row in self.pointers.items()]
        inside = [f"{indent}{line}" for line in (*rows, *self.head, *(text for part in phases for text in part))]
        source.body += [*self.before, *loops, *inside, *self.after]
        source.accumulating.clear()

    # A phase: what is computed once for the row, the walk over the row, what follows from it

    def _phase(self, phase: int) -> list[str]:
        nest, text = self.nest, list[str]()
        for line in nest.row[phase]:
            self._row_line(line, text)
        for line in nest.reductions[phase]:
            if self._home(line).how == "row":
                self._reduce_rows(line, text)
        walk = WalkSource(self, phase)
        body = walk.body()
        if body and self.last:
            text += [*walk.starts, f"for j in range(n{self.last[0]}):", *(f"    {line}" for line in body), *walk.ends]
        else:
            text += [*walk.starts, *body, *walk.ends]
        return text

    def _home(self, reduction: Line) -> Place:
        x = self.kernel.real(reduction.operands[0])
        return self.schedule.place.get(x) or Place(self.number, 0, "inner")

    def _row_line(self, line: Line, text: list[str]) -> None:
        name = self.source.names[line.out]
        self.row_names[line.out] = name
        text.append(f"{name} = {self.source.expression(line, [self.number_for(x) for x in line.ins])}")
        if line.out in self.schedule.arrays:
            text.append(f"{self.source.array(line.out)}[{self._index(line.out)}] = {name}")

    def _reduce_rows(self, line: Line, text: list[str]) -> None:
        self._accumulate(line, self.number_for(line.operands[0]), text)

    def _accumulate(self, line: Line, x: str, text: list[str]) -> None:
        """Add a number for this row to a result that is there when the nest has ended."""
        total = self.total(line)
        if self.kernel.axes(line.out):
            total = f"{total}[{self._index(line.out)}]"
        text.append(f"{total} = {self.source.step(line, total, x)}")

    def total(self, line: Line) -> str:
        """The variable or array of a result that is there when the nest has ended, with its start."""
        source, axes = self.source, self.kernel.axes(line.out)
        own = source.summed_by_part(line, self.number)
        if not axes:
            name = source.names[line.out]
            self.before.append(f"{name} = {source.start(line)}")
            if own or line.out in source.targets:
                self.after.append(f"{own or source.targets[line.out]}{'' if own else '[0]'} = {name}")
            return name
        array = source.array(line.out)
        if own:
            array = source.accumulating[line.out] = f"c{source.names[line.out]}"
            self.before.append(f"{array} = {own}")
        self.before += [f"{'    ' * k}for i{a} in range(n{a}):" for k, a in enumerate(axes)]
        self.before.append(f"{'    ' * len(axes)}{array}[{', '.join(f'i{a}' for a in axes)}] = {source.start(line)}")
        return array

    # Where operands are

    def number_for(self, x: Any) -> str:
        """An operand that is one number for the row."""
        if not isinstance(x, Value):
            return literal(x)
        x = self.kernel.real(x)
        if x in self.row_names:
            return self.row_names[x]
        source = self.source
        if not self.kernel.axes(x):
            return source.scalar(x) if x in source.arguments else source.names[x]
        if x in source.arguments:
            self.source.reads.setdefault(x, set()).add((self.number, math.inf))
        name = f"r{source.array(x)}"
        self.head.append(f"{name} = {source.array(x)}[{self._index(x)}]")
        self.row_names[x] = name
        return name

    def element(self, x: Value) -> str:
        """An element of an array within the walk over a row."""
        array, lead = self.source.array(x), self._index(x, without_last=True)
        if not lead:
            return f"{array}[j]"
        row = self.pointers.setdefault(f"{array}[{lead}]", f"p{len(self.pointers)}_{self.number}")
        return f"{row}[j]"

    def _index(self, x: Value, without_last: bool = False) -> str:
        axes: Axes = self.kernel.axes(x)
        return ", ".join(f"i{a}" for a in axes if not (without_last and (a,) == self.last)) if self.nest.axes else "0"


class WalkSource:
    """What happens to every element in one phase."""

    def __init__(self, nest: NestSource, phase: int) -> None:
        self.nest, self.phase, self.source, self.kernel = nest, phase, nest.source, nest.kernel
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
                self.lines.append(f"{self._row(line.out)}[j] = {self.known[line.out]}")
            if line.out in schedule.arrays and self.kernel.axes(line.out):
                self.lines.append(f"{self.nest.element(line.out)} = {self.known[line.out]}")
            elif line.out in source.targets:
                self.lines.append(f"{source.targets[line.out]}[0] = {self.known[line.out]}")
        return self.lines

    def _row(self, v: Value) -> str:
        name = f"row{self.source.names[v]}"
        self.source.allocated.setdefault(name, f"np.empty(n{self.nest.last[0]}, np.{v.dtype.name})")
        return name

    def value(self, x: Any) -> str:
        """The name of an operand's element: computed, loaded, or computed again."""
        if not isinstance(x, Value):
            return literal(x)
        x = self.kernel.real(x)
        if x in self.known:
            return self.known[x]
        axes = self.kernel.axes(x)
        home = self.schedule.place.get(x)
        here = home is not None and home.how == "inner" and (home.nest, home.phase) == (self.nest.number, self.phase)
        if not here and (axes != self.nest.nest.axes or not axes):
            if axes[-1:] != self.nest.last or not axes:
                return self.nest.number_for(x)
            return self._loaded(x)
        kept = home is None or home.how == "total" or x in self.schedule.arrays
        if not here and kept:
            return self._loaded(x)
        if not here and x in self.schedule.rows and home is not None and home.nest == self.nest.number:
            return self._named(x, f"{self._row(x)}[j]")
        return self._named(x, self.source.expression(x.line, [self.value(y) for y in x.line.ins]))

    def _loaded(self, x: Value) -> str:
        if x in self.source.arguments:
            self.source.reads.setdefault(x, set()).add((self.nest.number, self.phase))
        return self._named(x, self.nest.element(x), prefix="e")

    def _named(self, x: Value, expression: str, prefix: str = "") -> str:
        name = f"e{self.source.arguments[x]}" if x in self.source.arguments else prefix + self.source.names[x]
        self.lines.append(f"{name} = {expression}")
        self.known[x] = name
        return name

    def _reduce(self, line: Line) -> None:
        x = self.value(line.operands[0])
        axes, out = self.nest.nest.axes, self.kernel.axes(line.out)
        home = self.schedule.place[line.out]
        name = self.source.names[line.out]
        if home.how == "row" or len(axes) == 1:
            self.starts.append(f"{name} = {self.source.start(line)}")
            self.lines.append(f"{name} = {self.source.step(line, name, x)}")
            if home.how == "row":
                self.nest.row_names[line.out] = name
                if line.out in self.schedule.arrays:
                    self.ends.append(f"{self.source.array(line.out)}[{self.nest._index(line.out)}] = {name}")
            elif (own := self.source.summed_by_part(line, self.nest.number)) is not None:
                self.ends.append(f"{own} = {name}")
            elif line.out in self.source.targets:
                self.ends.append(f"{self.source.targets[line.out]}[0] = {name}")
        elif out[-1:] == self.nest.last:
            self.nest.total(line)
            element = self.nest.element(line.out)
            self.lines.append(f"{element} = {self.source.step(line, element, x)}")
        else:
            part = f"part{name}"
            self.starts.append(f"{part} = {self.source.start(line)}")
            self.lines.append(f"{part} = {self.source.step(line, part, x)}")
            self.nest._accumulate(line, part, self.ends)
