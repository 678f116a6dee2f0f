"""A kernel as the source of one function of loops, for numba."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad.compiler.kernel import Axes, Kernel, Nest, Place
from minigrad.compiler.program import REDUCTIONS, Line, Literal, Value
from minigrad.compiler.rules import kind, loop

# Of scalars in a loop; what they make is cast to the dtype that NumPy says.
ARITHMETIC = {"add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}", "negative": "-{}"}
EXPRESSIONS = {
    **ARITHMETIC,
    "square": "{0} * {0}",
    "positive": "{}",
    "reciprocal": "1 / {}",
    "absolute": "abs({})",
    "fabs": "abs({})",
    "power": "{} ** {}",
    "float_power": "{} ** {}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "logical_not": "not {}",
    "logical_and": "{} and {}",
    "logical_or": "{} or {}",
    "isnan": "{0} != {0}",
    **{
        name: f"np.{name}({{}})"
        for name in (
            *("sqrt", "sign", "rint", "floor", "ceil", "trunc", "isfinite", "isinf", "sin", "cos", "tan", "arctan"),
            *("sinh", "cosh", "arcsin", "arccos", "expm1", "log1p", "exp2", "log2", "log10"),
        )
    },
    **{name: f"np.{name}({{}}, {{}})" for name in ("copysign", "arctan2", "hypot", "logaddexp")},
}
BOOLEANS = {"bitwise_and": "{} and {}", "bitwise_or": "{} or {}", "invert": "not {}", "bitwise_xor": "{} != {}"}
VECTORIZED = frozenset({"exp", "log", "tanh", "maximum", "minimum"})  # in vecmath
STARTS = {"sum": "0", "prod": "1", "all": "True", "any": "False"}
STEPS = {"sum": "{0} + {1}", "prod": "{0} * {1}", "all": "{0} and {1}", "any": "{0} or {1}"}
NUMBERS = {
    np.dtype(name) for name in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}
FLOATS = {np.dtype("float32"): "32", np.dtype("float64"): "64"}


def can_write(line: Line) -> bool:
    """Whether a line can be part of a kernel."""
    if line.op in ("input", "kernel"):
        return False
    dtypes = [v.dtype for v in (*line.operands, *line.outs)]
    if not all(d in FLOATS or d in NUMBERS for d in dtypes):
        return False
    if line.op in ("where", "cast", "broadcast", "full") or line.op in REDUCTIONS:
        return True
    if line.op in BOOLEANS:
        return all(d == np.bool_ for d in dtypes)
    if line.op in VECTORIZED:
        return line.op in ("maximum", "minimum") or line.out.dtype in FLOATS
    return line.op in EXPRESSIONS and all(
        d in FLOATS or d in NUMBERS for d in loop(line.op, tuple(map(kind, line.ins)))
    )


class KernelSource:
    """The text of a kernel.

    Args:
        kernel: what it computes.
        shared: outputs that lie in the memory of an operand, which is one argument then. Passed twice, the compiler
            could not know that the two do not overlap, and would not vectorize.
    """

    def __init__(self, kernel: Kernel, shared: Mapping[Value, Value] | None = None) -> None:
        self.kernel, self.schedule = kernel, kernel.schedule
        shared = shared or {}
        self.arguments: dict[Value, str] = {v: f"a{k}" for k, v in enumerate(kernel.ins)}
        self.targets: dict[Value, str] = {}
        for v in kernel.outs:
            name = self.arguments[shared[v]] if v in shared else f"o{len(self.targets)}"
            self.targets[kernel.real(v)] = name
        self.names: dict[Value, str] = {}
        for line in kernel.lines:
            self.names.setdefault(line.out, f"v{len(self.names)}")
        self.functions: set[str] = set()
        self.reads: dict[Value, set[tuple[float, float]]] = {}  # by operand: nest and phase
        self.allocated: dict[str, str] = {}
        self.body: list[str] = []
        for number, nest in enumerate(self.schedule.nests):
            NestSource(self, number, nest)

    @property
    def parameters(self) -> list[str]:
        """The names of the arguments: operands, then outputs that share no memory with one."""
        own = [name for name in self.targets.values() if name.startswith("o")]
        return [*self.arguments.values(), *own]

    def text(self, name: str = "kernel") -> str:
        """The function, without decorator."""
        head = [f"def {name}({', '.join(self.parameters)}):"]
        sizes = [f"n{a} = {self._size(a)}" for a in range(len(self.kernel.sizes))]
        scalars = [f"{self.scalar(v)} = {name}[0]" for v, name in self.arguments.items() if not self.kernel.axes(v)]
        rooms = [f"{name} = {made}" for name, made in self.allocated.items()]
        return "\n".join(head + ["    " + line for line in (*sizes, *scalars, *rooms, *self.body)]) + "\n"

    def _size(self, axis: int) -> str:
        for v, name in (*self.arguments.items(), *self.targets.items()):
            axes = self.kernel.axes(v)
            if axis in axes:
                return f"{name}.shape[{axes.index(axis)}]"
        return str(self.kernel.sizes[axis])

    def scalar(self, v: Value) -> str:
        """The name of the only element of an operand."""
        return f"s{self.arguments[v]}"

    def array(self, v: Value) -> str:
        """The array that holds a value which outlasts its walk."""
        if v in self.arguments:
            return self.arguments[v]
        if v in self.targets:
            return self.targets[v]
        name = f"t{self.names[v]}"
        axes = self.kernel.axes(v)
        if name not in self.allocated:
            sizes = ", ".join(f"n{a}" for a in axes)
            self.allocated[name] = f"np.empty(({sizes},), np.{v.dtype.name})"
        return name

    def expression(self, line: Line, operands: list[str]) -> str:
        """What a line computes, from the names of its operands."""
        op, out = line.op, line.out.dtype
        if op == "cast" or op in REDUCTIONS:
            return self.cast(operands[0], kind(line.ins[0]), out)
        if op == "broadcast":
            return operands[0]
        if op == "full":
            return self.cast(literal(line.params["value"]), type(line.params["value"]), out)
        if op == "where":
            x, y = (self.cast(name, kind(v), out) for name, v in zip(operands[1:], line.ins[1:], strict=True))
            return f"({x} if {operands[0]} else {y})"
        dtypes = loop(op, tuple(map(kind, line.ins)))
        if op.startswith("logical_"):
            dtypes = (np.dtype(bool),) * len(dtypes)
        ready = [self.cast(name, kind(v), d) for name, v, d in zip(operands, line.ins, dtypes, strict=False)]
        if op in VECTORIZED:
            return self._vectorized(op, ready, dtypes[0])
        made = (BOOLEANS.get(op) or EXPRESSIONS[op]).format(*ready)
        plain = out == np.bool_ or ((op in ARITHMETIC or op in ("square", "positive")) and out in FLOATS)
        return made if plain else f"{self.dtype(out)}({made})"

    def _vectorized(self, op: str, operands: list[str], dtype: Any) -> str:
        if op in ("maximum", "minimum"):
            if dtype not in FLOATS:
                return f"{self.dtype(dtype)}({op[:3]}({', '.join(operands)}))"
            name = op
        else:
            name = op + FLOATS[dtype]
        self.functions.add(name)
        return f"{name}({', '.join(operands)})"

    def cast(self, name: str, given: Any, wanted: Any) -> str:
        """A number as another dtype."""
        wanted = np.dtype(wanted)
        if given == wanted:
            return name
        if wanted == np.bool_:
            return name if given is bool else f"({name} != 0)"
        return f"{self.dtype(wanted)}({name})"

    def dtype(self, dtype: Any) -> str:
        """The name of a dtype in the source."""
        return {"float32": "f32", "float64": "f64"}.get(np.dtype(dtype).name, f"np.{np.dtype(dtype).name}")

    def start(self, line: Line) -> str:
        """What a reduction begins with."""
        dtype = line.out.dtype
        if line.op in STARTS:
            return STARTS[line.op] if dtype == np.bool_ else f"{self.dtype(dtype)}({STARTS[line.op]})"
        sign = "-" if line.op == "max" else ""
        if dtype in FLOATS:
            return f"{self.dtype(dtype)}({sign}np.inf)"
        if dtype == np.bool_:
            return str(line.op == "min")
        limits = np.iinfo(dtype)
        return f"{self.dtype(dtype)}({limits.min if line.op == 'max' else limits.max})"

    def step(self, line: Line, total: str, x: str) -> str:
        """One more element."""
        dtype = line.out.dtype
        x = self.cast(x, line.operands[0].dtype, dtype)
        if line.op in STEPS:
            made = STEPS[line.op].format(total, x)
            return made if dtype in FLOATS or dtype == np.bool_ else f"{self.dtype(dtype)}({made})"
        if dtype == np.bool_:
            return f"{total} {'or' if line.op == 'max' else 'and'} {x}"
        return self._vectorized({"max": "maximum", "min": "minimum"}[line.op], [total, x], dtype)


def literal(x: Literal) -> str:
    """A Python number as it stands in the source."""
    if isinstance(x, float) and not math.isfinite(x):
        return "np.nan" if math.isnan(x) else "np.inf" if x > 0 else "-np.inf"
    return repr(x)


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
        if not axes:
            name = source.names[line.out]
            self.before.append(f"{name} = {source.start(line)}")
            if line.out in source.targets:
                self.after.append(f"{source.targets[line.out]}[0] = {name}")
            return name
        array = source.array(line.out)
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
