"""A program as kernels want it: sums in place of products with ones, axes of size 1 kept, operands in C order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.compiler.ir.checks import EVERYTHING, checked_ranges, content, range_of
from minigrad.compiler.ir.program import (
    ELEMENTWISE,
    REDUCTIONS,
    VIEWS,
    Buffer,
    Line,
    Place,
    Program,
    Value,
    without_dead_code,
)
from minigrad.compiler.ir.typing import make
from minigrad.compiler.ir.view_memory import is_identity
from minigrad.compiler.kernels.expressions import can_write

FEW = 4096  # elements that are cheaper to compute twice than to wait for


class Legalizer:
    """Rewrites the lines of a program in order."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.lines: list[Line] = []
        self.new: dict[Value, Value] = {}
        self.shaped: dict[tuple[Value, tuple[int, ...]], Value] = {}
        self.checked = checked_ranges(program)
        self.counts: dict[Any, Line] = {}  # constants 0, 1, ... by how many, and their dtype

    def run(self) -> Program:
        """The program rewritten."""
        for line in views_at_once(sorted(self.program.lines, key=lambda line: line.op != "input")):
            if line.op == "slice" and self._is_of_few(line):
                self.new[line.out] = self._sliced_before(line)
            elif line.op == "gather" and self._takes_one_of_each_row(line, line.operands[0], line.operands[1:]):
                self.new[line.out] = self._picked(line)
            elif line.op == "scatter" and self._fills_one_of_each_row(line):
                self.new[line.out] = self._placed(line)
            elif line.op == "matmul" and self._is_sum(line):
                self.new[line.out] = self._summed(line)
            elif line.op == "matmul" and self._is_with_vector(line):
                self.new[line.out] = self._multiplied(line)
            elif line.op == "reshape":
                self.new[line.out] = self._shaped(self._operand(line.operands[0]), line.out.shape, named=line.out)
            elif line.op in ELEMENTWISE | set(REDUCTIONS) and can_write(line):
                self.new[line.out] = self._kept(line)
            else:
                self._as_it_is(line)
        program = self.program.replaced(lambda v: self.new.get(v, v), views_at_once(self.lines))
        program.buffers = [*program.buffers, *(line.params["buffer"] for line in self.counts.values())]
        return without_dead_code(program)

    def _operand(self, x: Any) -> Any:
        return self.new.get(x, x) if isinstance(x, Value) else x

    def _add(self, op: str, *ins: Any, named: Value | None = None, **params: Any) -> Value:
        line = make(op, *ins, **params)
        if named is not None:
            line.out.name, line.out.label, line.note = named.name, named.label, named.line.note
        self.lines.append(line)
        return line.out

    def _as_it_is(self, line: Line) -> None:
        ins = [self._operand(x) for x in line.ins]
        if all(x is y for x, y in zip(ins, line.ins, strict=True)):
            self.lines.append(line)
            return
        made = Line(line.op, ins, line.params, [(v.shape, v.dtype) for v in line.outs], line.note)
        self.lines.append(made)
        for old, new in zip(line.outs, made.outs, strict=True):
            new.name, new.label = old.name, old.label
            self.new[old] = new

    # Parts of small values

    def _is_of_few(self, line: Line) -> bool:
        x = line.operands[0]
        return x.line.op in ELEMENTWISE and can_write(x.line) and x.size <= FEW

    def _sliced_before(self, line: Line) -> Value:
        """f(x)[k:l] as f(x[k:l]): a kernel may then compute it from the user's array."""
        made, bounds = line.operands[0].line, line.params["bounds"]
        ins = [self._part(self._operand(x), made.out.shape, bounds) for x in made.ins]
        params = {"shape": line.out.shape} if made.op == "broadcast" else made.params
        return self._add(made.op, *ins, named=line.out, **params)

    def _part(self, x: Any, shape: tuple[int, ...], bounds: Any) -> Any:
        if not isinstance(x, Value):
            return x
        lead = len(shape) - x.ndim
        aligned = zip(x.shape, shape[lead:], bounds[lead:], strict=True)
        own = tuple((0, 1, 1) if n == 1 and m != 1 else b for n, m, b in aligned)
        return x if is_identity(x.shape, ("slice", own)) else self._add("slice", x, bounds=own)

    # x[0 ... n-1, labels]

    def _takes_one_of_each_row(self, line: Line, x: Value, arrays: list[Value]) -> bool:
        """Whether an index is (0 ... n-1, labels), both with n elements along one axis or as a column."""
        return (
            line.params["index"] == (Place(0), Place(1))
            and x.ndim == 2
            and x.dtype.kind == "f"
            and len(arrays) == 2
            and arrays[0].shape == arrays[1].shape
            and arrays[1].shape in (x.shape[:1], (x.shape[0], 1))
            and arrays[1].dtype.kind in "iu"
            and is_counting(arrays[0], x.shape[0])
        )

    def _fills_one_of_each_row(self, line: Line) -> bool:
        """The gradient of taking one element of each row: something is added there to zeros. Labels are checked."""
        x, *arrays = line.operands
        added = line.ins[1]
        arrays = arrays[isinstance(added, Value) :]
        if line.params["how"] != "add" or not is_zero(x) or not self._takes_one_of_each_row(line, x, arrays):
            return False
        low, high = self._range(arrays[1])
        fits = not isinstance(added, Value) or (added.dtype == x.dtype and added.size in (1, x.shape[0]))
        return fits and low >= 0 and high < x.shape[1] <= np.iinfo(arrays[1].dtype).max

    def _placed(self, line: Line) -> Value:
        """What is added, in the column whose number is the label, and 0 elsewhere."""
        rows, columns = line.out.shape
        label = self._shaped(self._operand(line.operands[-1]), (rows, 1))
        added = self._operand(line.ins[1])
        if isinstance(added, Value):
            added = self._shaped(added, (rows, 1) if added.size == rows else (1, 1))
        return self._add(
            "where", self._add("equal", label, self._numbers(columns, label.dtype)), added, 0.0, named=line.out
        )

    def _picked(self, line: Line) -> Value:
        """Σ of what stands where a column's number is the label; a negative one counts from the end.

        NaN for labels that are no column's number, unless they are checked.
        """
        x, _, labels = map(self._operand, line.operands)
        rows, columns = x.shape
        label = self._shaped(labels, (rows, 1))
        low, high = self._range(line.operands[2])
        if labels.dtype != np.intp and (low < 0 or columns > np.iinfo(labels.dtype).max):
            label = self._add("cast", label, dtype=np.dtype(np.intp))
        if low < 0:
            label = self._add("where", self._add("less", label, 0), self._add("add", label, columns), label)
        chosen = self._add("where", self._add("equal", label, self._numbers(columns, label.dtype)), x, 0.0)
        total = self._add("sum", chosen, axes=(1,))
        if low < -columns or high >= columns:
            inside = self._add("logical_and", self._add("greater_equal", label, 0), self._add("less", label, columns))
            total = self._add("where", inside, total, math.nan)
        return self._shaped(total, line.out.shape, named=line.out)

    def _range(self, v: Value) -> tuple[float, float]:
        """Where the elements of v lie, by what they are and by what is checked."""
        (a, b), (c, d) = range_of(v), self.checked.get(content(v), EVERYTHING)
        return max(a, c), min(b, d)

    def _numbers(self, count: int, dtype: Any) -> Value:
        """0, 1, ... as an array."""
        if (count, dtype) not in self.counts:
            buffer = Buffer("numbers", "state", np.arange(count, dtype=dtype), is_constant=True)
            self.counts[count, dtype] = make("input", buffer=buffer)
            self.lines.insert(0, self.counts[count, dtype])
        return self.counts[count, dtype].out

    # Products with ones

    def _is_sum(self, line: Line) -> bool:
        x, y = line.operands
        return x.dtype == y.dtype and ((is_ones(x) and x.ndim == 1) or (is_ones(y) and y.ndim == 1))

    def _summed(self, line: Line) -> Value:
        x, y = line.operands
        if is_ones(x) and x.ndim == 1:
            rows, axis = y, max(y.ndim - 2, 0)
        else:
            rows, axis = x, x.ndim - 1
        total = self._sum(self._operand(rows), axis)
        return self._shaped(total, line.out.shape, named=line.out)

    def _sum(self, x: Value, axis: int) -> Value:
        wide = self._source_of(x)
        if wide is None:
            return self._add("sum", x, axes=(axis,))
        return self._add("sum", wide, axes=(full_axes(wide.shape)[full_axes(x.shape).index(axis)],))

    def _is_with_vector(self, line: Line) -> bool:
        x, y = line.operands
        return x.dtype == y.dtype and x.dtype.kind == "f" and sorted((x.ndim, y.ndim)) == [1, 2]

    def _multiplied(self, line: Line) -> Value:
        """A matrix times a vector as a sum of products: reads the matrix once, and may not need it in memory at all."""
        x, y = map(self._operand, line.operands)
        if x.ndim == 1:
            total = self._sum(self._add("multiply", self._shaped(x, (x.size, 1)), y), 0)
        else:
            total = self._sum(self._add("multiply", x, y), 1)
        return self._shaped(total, line.out.shape, named=line.out)

    # Axes of size 1

    def _kept(self, line: Line) -> Value:
        """A line on operands from which axes of size 1 were dropped is done on what they were before."""
        ins = [self._operand(x) for x in line.ins]
        if line.op in REDUCTIONS:
            source = self._source_of(ins[0])
            if source is None:
                return self._again(line, ins)
            places = dict(zip(full_axes(ins[0].shape), full_axes(source.shape), strict=True))
            axes = tuple(sorted(places[k] for k in line.params["axes"] if k in places))
            if not axes:
                return self._again(line, ins)
            return self._shaped(self._add(line.op, source, axes=axes, named=line.out), line.out.shape)
        sources = [
            s for s in map(self._source_of, ins) if s is not None and squeezed(s.shape) == squeezed(line.out.shape)
        ]
        if line.op == "broadcast":
            return self._again(line, ins)
        if not sources:
            return self._before_reshape(line, ins) or self._again(line, ins)
        shape = sources[0].shape
        moved = [self._moved(x, line.out.shape, shape) for x in ins]
        if any(x is None for x in moved):
            return self._again(line, ins)
        return self._shaped(self._add(line.op, *moved, named=line.out, **line.params), line.out.shape)

    def _before_reshape(self, line: Line, ins: list[Any]) -> Value | None:
        """f(x.reshape(...), y) as f(x, y.reshape(...)).reshape(...): in a kernel x is there in its own shape only."""
        shape = line.out.shape
        shapes = [x.line.operands[0].shape for x in ins if is_reshaped(x, shape) and is_made(x.line.operands[0])]
        if not shapes:
            return None
        moved = [self._reshaped(x, shape, shapes[0]) for x in ins]
        if any(x is None for x in moved):
            return None
        return self._shaped(self._add(line.op, *moved, named=line.out, **line.params), shape)

    def _reshaped(self, x: Any, given: tuple[int, ...], wanted: tuple[int, ...]) -> Any:
        """An operand of a line of shape `given` as that of a line of shape `wanted`; None if it would cost a copy."""
        if not isinstance(x, Value) or x.ndim == 0:
            return x
        if x.shape != given:
            return x if x.shape == given[-1:] == wanted[-1:] else None
        root = x
        while root.line.op == "reshape":
            root = root.line.operands[0]
        in_memory = not is_made(root) and root.line.op not in VIEWS
        return self._shaped(root, wanted) if in_memory or root.shape == wanted else None

    def _again(self, line: Line, ins: list[Any]) -> Value:
        if all(x is y for x, y in zip(ins, line.ins, strict=True)):
            self.lines.append(line)
            return line.out
        return self._add(line.op, *ins, named=line.out, **line.params)

    def _source_of(self, x: Any) -> Value | None:
        """What a reshape dropped inner or trailing axes of size 1 from."""
        if not isinstance(x, Value) or x.line.op != "reshape":
            return None
        (wide,) = x.line.operands
        if squeezed(wide.shape) != squeezed(x.shape) or math.prod(x.shape) < 2:
            return None
        lead = (1,) * (wide.ndim - x.ndim)
        return None if wide.ndim <= x.ndim or (*lead, *x.shape) == wide.shape else wide

    def _moved(self, x: Any, given: tuple[int, ...], wanted: tuple[int, ...]) -> Any:
        """An operand of a line of shape `given` as one of the same line of shape `wanted`; None if it broadcasts."""
        if not isinstance(x, Value) or x.ndim == 0:
            return x
        if squeezed(x.shape) != squeezed(given):
            return self._shaped(x, ()) if math.prod(x.shape) == 1 else None
        return self._shaped(x, wanted)

    def _shaped(self, x: Value, shape: tuple[int, ...], named: Value | None = None) -> Value:
        """x in another shape, of which there is only one."""
        while x.line.op == "reshape" and x.shape != shape:
            x = x.line.operands[0]
        if x.shape == shape:
            return x
        if (x, shape) not in self.shaped:
            self.shaped[x, shape] = self._add("reshape", x, shape=shape, named=named)
        return self.shaped[x, shape]


def views_at_once(lines: list[Line]) -> list[Line]:
    """The lines in an order in which views come directly after what they are views of."""
    views: dict[Value, list[Line]] = {}
    for line in lines:
        if line.op in VIEWS:
            views.setdefault(line.operands[0], []).append(line)
    ordered: list[Line] = []
    pending = [line for line in reversed(lines) if line.op not in VIEWS]
    while pending:
        ordered.append(pending.pop())
        pending += [view for v in ordered[-1].outs for view in reversed(views.get(v, []))]
    return ordered


def is_reshaped(x: Any, shape: tuple[int, ...]) -> bool:
    """Whether x has this shape by a reshape."""
    return isinstance(x, Value) and x.line.op == "reshape" and x.shape == shape


def is_made(x: Value) -> bool:
    """Whether a kernel computes x."""
    return x.line.op in ELEMENTWISE | set(REDUCTIONS) and can_write(x.line)


def is_counting(x: Value, n: int) -> bool:
    """Whether x is a constant 0, 1, ..., n - 1, which NumPy's index arrays often are."""
    while x.line.op == "reshape":
        x = x.line.operands[0]
    if x.line.op != "input" or x.size != n or x.dtype.kind not in "iu":
        return False
    buffer = x.line.params["buffer"]
    return buffer.is_constant and bool((buffer.array.reshape(-1) == np.arange(n)).all())


def is_ones(x: Value) -> bool:
    """Whether all elements are 1 in each call."""
    while x.line.op in VIEWS or x.line.op in ("broadcast", "copy"):
        x = x.line.operands[0]
    return x.line.op == "full" and x.line.params["value"] == 1


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without axes of size 1."""
    return tuple(n for n in shape if n != 1)


def full_axes(shape: tuple[int, ...]) -> list[int]:
    """The axes of other sizes than 1."""
    return [k for k, n in enumerate(shape) if n != 1]


def is_zero(x: Value) -> bool:
    """Whether all elements of x are the constant 0."""
    while x.line.op in ("reshape", "broadcast"):
        x = x.line.operands[0]
    return x.line.op == "full" and x.line.params["value"] == 0
