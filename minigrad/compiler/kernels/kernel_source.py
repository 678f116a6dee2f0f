"""A kernel as the source of one function, for numba."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from minigrad.compiler.ir.kernel import Kernel
from minigrad.compiler.ir.program import Op, Value
from minigrad.compiler.kernels.expressions import Storage
from minigrad.compiler.kernels.loops import Element, If, Let, Statement, chunk, python
from minigrad.compiler.kernels.lowering import LoweredNest

NARROW, FEWEST_NARROW_ROWS = 8, 32  # LLVM loads up to 8 interleaved columns at once


class KernelSource:
    """The text of a kernel.

    Args:
        kernel: what it computes.
        shared: outputs that lie in the memory of an operand, which is one argument then. Passed twice, the compiler
            could not know that the two do not overlap, and would not vectorize.
        is_chunked: whether it is written for threads, which work on ranges of the first axis. The function then takes
            part, first, end and stage as well: loop nests are stages, of which one is run at each call, and what is
            summed over the first axis goes to a place of the part's own. `threads.Chunked` calls it.
    """

    def __init__(self, kernel: Kernel, shared: Mapping[Value, Value] | None = None, is_chunked: bool = False) -> None:
        shared = shared or {}
        self.kernel = kernel
        # Single numbers are read again at each stage, so none may have been overwritten at one before.
        self.is_chunked = is_chunked and all(kernel.axes(v) for v in shared)
        self.storage = Storage(kernel, shared, is_flat=not is_chunked and is_narrow(kernel))
        self.sums: list[tuple[int, Op]] = []  # by part: stage, and the reduction
        self.body: list[Statement] = []
        for number in range(len(kernel.schedule.nests)):
            nest = LoweredNest(self.storage, number)
            self.body += self._as_stage(nest) if self.is_chunked else nest.statements
        self.functions = self.storage.functions

    def _as_stage(self, nest: LoweredNest) -> list[Statement]:
        """The statements of a nest, run if its stage is asked for. Single numbers are computed at each stage."""
        names, axes = self.storage.names, nest.plan.axes
        numbers = [
            Let(names[op.out], Element(f"q{names[op.out]}", ("0", "0")))
            for stage, op in self.sums
            if stage == nest.number - 1 and not self.kernel.axes(op.out)
        ]
        sums = [op for op in nest.totals if self._is_summed_by_part(op, nest)]
        self.sums += [(nest.number, op) for op in sums]
        arrays = {names[op.out]: self.storage.array(op.out) if self.kernel.axes(op.out) else None for op in sums}
        statements = chunk(nest.statements, arrays)
        if axes:
            statements = [If(f"stage == {nest.number}", tuple(statements))]
        return [*numbers, *statements]

    def _is_summed_by_part(self, op: Op, nest: LoweredNest) -> bool:
        """Whether each part has its own contribution to a result: to a number, or to a sum over the first axis."""
        axes = self.kernel.axes(op.out)
        return not axes or (0 not in axes and nest.plan.axes[:1] == (0,))

    @property
    def parameters(self) -> list[str]:
        """The names of the arguments: operands, then outputs that share no memory with one."""
        arguments = list(dict.fromkeys([*self.storage.arguments.values(), *self.storage.targets.values()]))
        if not self.is_chunked:
            return arguments
        sums = [f"q{self.storage.names[op.out]}" for _, op in self.sums]
        return ["part", "first", "end", "stage", *arguments, *self._temporaries(), *sums]

    def _temporaries(self) -> dict[str, Value]:
        """Arrays that outlast a loop nest, by name."""
        storage = self.storage
        return {name: v for v in storage.names if (name := f"t{storage.names[v]}") in storage.allocated}

    def scratch(self) -> list[Any]:
        """(shape, dtype) of the arrays that a chunked kernel also takes: temporary ones, and sums by part."""
        if not self.is_chunked:
            return []
        temporaries = [(self.kernel.shape(v), v.dtype) for v in self._temporaries().values()]
        return temporaries + [((1, *self.kernel.shape(op.out)), op.out.dtype) for _, op in self.sums]

    def plan(self) -> dict[str, Any]:
        """The arguments of threads.Chunked, without the kernel."""
        kernel, storage = self.kernel, self.storage
        places = {name: k for k, name in enumerate(self.parameters[4:])}
        sums = []
        for stage, op in self.sums:
            target = places.get(storage.array(op.out)) if kernel.axes(op.out) or op.out in storage.targets else None
            sums.append((stage, op.name, places[f"q{storage.names[op.out]}"], target))
        stages = [nest.axes[:1] == (0,) for nest in kernel.schedule.nests]
        scratch = [(shape, dtype.name) for shape, dtype in self.scratch()]
        return {"rows": kernel.sizes[0], "stages": stages, "scratch": scratch, "sums": sums}

    def text(self, name: str = "kernel") -> str:
        """The function, without decorator."""
        kernel, storage = self.kernel, self.storage
        temporaries = self._temporaries() if self.is_chunked else {}
        lines = [f"{array} = {array}[first:end]" for array in self._chunked_arrays()] if self.is_chunked else []
        lines += [f"n{a} = {self._size(a)}" for a in range(len(kernel.sizes))]
        lines += [f"{storage.scalar(v)} = {a}[0]" for v, a in storage.arguments.items() if not kernel.axes(v)]
        lines += [f"{array} = {made}" for array, made in storage.allocated.items() if array not in temporaries]
        lines += python(self.body)
        return "\n".join([f"def {name}({', '.join(self.parameters)}):", *(f"    {line}" for line in lines)]) + "\n"

    def _chunked_arrays(self) -> list[str]:
        """The arrays along the first axis, of which a part takes its range."""
        storage, temporaries = self.storage, self._temporaries()
        arrays = {**storage.arguments, **storage.targets, **{v: name for name, v in temporaries.items()}}
        return list(dict.fromkeys(name for v, name in arrays.items() if self.kernel.axes(v)[:1] == (0,)))

    def shape(self, v: Value) -> tuple[int, ...]:
        """The shape in which the function takes a value: the kernel's, or flat."""
        shape = self.kernel.shape(v)
        return (math.prod(shape),) if self.storage.is_flat else shape

    def _size(self, axis: int) -> str:
        kernel, storage = self.kernel, self.storage
        if storage.is_flat and axis == 1:
            return str(kernel.sizes[1])
        for v, name in (*storage.arguments.items(), *storage.targets.items()):
            axes = kernel.axes(v)
            if axis in axes:
                if storage.is_flat and len(axes) == 2:
                    return f"{name}.size // {kernel.sizes[1]}"
                return f"{name}.shape[{axes.index(axis)}]"
        return "end - first" if self.is_chunked and axis == 0 else str(kernel.sizes[axis])


def is_narrow(kernel: Kernel) -> bool:
    """Whether rows are so short, and so many, that one instruction works on one column of several rows.

    Then the loops over columns are unrolled, and arrays are flat: the distance of their elements is in the text.
    """
    return len(kernel.sizes) == 2 and kernel.sizes[1] <= NARROW and kernel.sizes[0] >= FEWEST_NARROW_ROWS
