"""A kernel as the source of one function of loops, for numba."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from minigrad.compiler.ir.kernel import Kernel, Nest
from minigrad.compiler.ir.program import Op, Value
from minigrad.compiler.kernels.expressions import Expressions
from minigrad.compiler.kernels.nests import NestSource

NARROW, MANY_ROWS = 8, 32  # LLVM loads up to 8 interleaved columns at once


class KernelSource(Expressions):
    """The text of a kernel.

    Args:
        kernel: what it computes.
        shared: outputs that lie in the memory of an operand, which is one argument then. Passed twice, the compiler
            could not know that the two do not overlap, and would not vectorize.
        is_chunked: whether it is written for threads, which work on ranges of the first axis. The function then takes
            part, first, end and stage besides: nests are stages, of which one is run at each call, and what is summed
            over the first axis goes to a place of the part's own. `threads.Chunked` calls it.
    """

    def __init__(self, kernel: Kernel, shared: Mapping[Value, Value] | None = None, is_chunked: bool = False) -> None:
        super().__init__()
        # Single numbers are read again at each stage, so none may have been overwritten at one before.
        self.is_chunked = is_chunked and all(kernel.axes(v) for v in shared or ())
        self.is_narrow = not is_chunked and is_narrow(kernel)
        self.stages: list[bool] = []  # whether a nest runs over the first axis
        self.partial: list[tuple[int, str, Value]] = []  # sums by part: stage, operation, what they are of
        self.kernel, self.schedule = kernel, kernel.schedule
        shared = shared or {}
        self.arguments: dict[Value, str] = {v: f"a{k}" for k, v in enumerate(kernel.ins)}
        self.targets: dict[Value, str] = {}
        for v in kernel.outs:
            name = self.arguments[shared[v]] if v in shared else f"o{len(self.targets)}"
            self.targets[kernel.real(v)] = name
        self.names: dict[Value, str] = {}
        for line in kernel.ops:
            self.names.setdefault(line.out, f"v{len(self.names)}")
        self.reads: dict[Value, set[tuple[float, float]]] = {}  # by operand: nest and phase
        self.allocated: dict[str, str] = {}
        self.accumulating: dict[Value, str] = {}  # sums of the nest that is being written, in their parts
        self.body: list[str] = []
        for number, nest in enumerate(self.schedule.nests):
            start = len(self.body)
            NestSource(self, number, nest)
            if self.is_chunked:
                self._as_stage(number, start, nest)

    @property
    def parameters(self) -> list[str]:
        """The names of the arguments: operands, then outputs that share no memory with one."""
        own = [name for name in self.targets.values() if name.startswith("o")]
        if not self.is_chunked:
            return [*self.arguments.values(), *own]
        sums = [f"q{self.names[v]}" for _, _, v in self.partial]
        return ["part", "first", "end", "stage", *self.arguments.values(), *own, *self._temporaries(), *sums]

    def _temporaries(self) -> dict[str, Value]:
        """Arrays that outlast a nest, by name."""
        return {name: v for v in self.names if (name := f"t{self.names[v]}") in self.allocated}

    def _as_stage(self, number: int, start: int, nest: Nest) -> None:
        """Put the text of a nest under the condition that its stage is asked for. Single numbers are made in each."""
        text, self.body[start:] = self.body[start:], []
        for stage, _, v in self.partial:
            if stage == number - 1 and not self.kernel.axes(v):
                self.body.append(f"{self.names[v]} = q{self.names[v]}[0, 0]")
        self.stages.append(nest.axes[:1] == (0,))
        if nest.axes:
            self.body += [f"if stage == {number}:", *(f"    {line}" for line in text or ["pass"])]
        else:
            self.body += text

    def scratch(self) -> list[Any]:
        """(shape, dtype) of the arrays that a kernel in parts takes besides: temporary ones, and sums by part."""
        if not self.is_chunked:
            return []
        made = [(self.kernel.shape(v), v.dtype) for v in self._temporaries().values()]
        return made + [((1, *self.kernel.shape(v)), v.dtype) for _, _, v in self.partial]

    def plan(self) -> dict[str, Any]:
        """What threads.Chunked must know."""
        places = {name: k for k, name in enumerate(self.parameters[4:])}
        sums = []
        for stage, op, v in self.partial:
            target = places.get(self.array(v)) if self.kernel.axes(v) or v in self.targets else None
            sums.append((stage, op, places[f"q{self.names[v]}"], target))
        scratch = [(shape, dtype.name) for shape, dtype in self.scratch()]
        return {"rows": self.kernel.sizes[0], "stages": self.stages, "scratch": scratch, "sums": sums}

    def summed_by_part(self, line: Op, number: int) -> str | None:
        """The place of a part's own share in what a nest sums over the first axis, or in a single number.

        None if the kernel is not in parts, or no part has only a share.
        """
        axes = self.kernel.axes(line.out)
        if not self.is_chunked or 0 in axes or (axes and self.schedule.nests[number].axes[:1] != (0,)):
            return None
        self.partial.append((number, line.name, line.out))
        return f"q{self.names[line.out]}[part{'' if axes else ', 0'}]"

    def text(self, name: str = "kernel") -> str:
        """The function, without decorator."""
        head = [f"def {name}({', '.join(self.parameters)}):"]
        sizes = [f"n{a} = {self._size(a)}" for a in range(len(self.kernel.sizes))]
        scalars = [f"{self.scalar(v)} = {name}[0]" for v, name in self.arguments.items() if not self.kernel.axes(v)]
        given = self._temporaries() if self.is_chunked else {}
        scratch = [f"{name} = {made}" for name, made in self.allocated.items() if name not in given]
        cut = [f"{name} = {name}[first:end]" for name in self._cut()] if self.is_chunked else []
        return "\n".join(head + ["    " + line for line in (*cut, *sizes, *scalars, *scratch, *self.body)]) + "\n"

    def _cut(self) -> list[str]:
        """The arrays along the first axis, of which a part takes its range."""
        arrays = {**self.arguments, **self.targets, **{v: name for name, v in self._temporaries().items()}}
        return list(dict.fromkeys(name for v, name in arrays.items() if self.kernel.axes(v)[:1] == (0,)))

    def shape(self, v: Value) -> tuple[int, ...]:
        """The shape in which a value is handed to the function: the kernel's, in a narrow one flat."""
        shape = self.kernel.shape(v)
        return (math.prod(shape),) if self.is_narrow else shape

    def _size(self, axis: int) -> str:
        if self.is_narrow and axis == 1:
            return str(self.kernel.sizes[1])
        for v, name in (*self.arguments.items(), *self.targets.items()):
            axes = self.kernel.axes(v)
            if axis in axes:
                if self.is_narrow and len(axes) == 2:
                    return f"{name}.size // {self.kernel.sizes[1]}"
                return f"{name}.shape[{axes.index(axis)}]"
        return "end - first" if self.is_chunked and axis == 0 else str(self.kernel.sizes[axis])

    def scalar(self, v: Value) -> str:
        """The name of the only element of an operand."""
        return f"s{self.arguments[v]}"

    def wide(self, v: Value) -> str:
        """The array in which a sum of float32 is added up."""
        name = f"wide{self.names[v]}"
        sizes = (" * " if self.is_narrow else ", ").join(f"n{a}" for a in self.kernel.axes(v))
        self.allocated[name] = f"np.empty(({sizes},), np.float64)"
        return name

    def array(self, v: Value) -> str:
        """The array that holds a value which outlasts its walk."""
        if v in self.accumulating:
            return self.accumulating[v]
        if v in self.arguments:
            return self.arguments[v]
        if v in self.targets:
            return self.targets[v]
        name = f"t{self.names[v]}"
        axes = self.kernel.axes(v)
        if name not in self.allocated:
            sizes = (" * " if self.is_narrow else ", ").join(f"n{a}" for a in axes)
            self.allocated[name] = f"np.empty(({sizes},), np.{v.dtype.name})"
        return name


def is_narrow(kernel: Kernel) -> bool:
    """Whether rows are so short, and so many, that one instruction works on one column of several rows.

    Loops over a column are written out then, and arrays are flat: how far apart its elements are stands in the text.
    """
    return len(kernel.sizes) == 2 and kernel.sizes[1] <= NARROW and kernel.sizes[0] >= MANY_ROWS
