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
    ArgSlot,
    Buffer,
    Op,
    Program,
    Value,
    without_dead_code,
)
from minigrad.compiler.ir.typing import make
from minigrad.compiler.ir.view_memory import is_identity
from minigrad.compiler.kernels.expressions import can_write

FEW = 4096  # elements that are cheaper to compute twice than to wait for


class Legalizer:
    """Rewrites the ops of a program in order."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.ops: list[Op] = []
        self.new: dict[Value, Value] = {}
        self.shaped: dict[tuple[Value, tuple[int, ...]], Value] = {}
        self.checked = checked_ranges(program)
        self.counts: dict[Any, Op] = {}  # constants 0, 1, ... by how many, and their dtype

    def run(self) -> Program:
        """The program rewritten."""
        for op in views_at_once(sorted(self.program.ops, key=lambda op: op.name != "input")):
            if op.name == "slice" and self._is_of_few(op):
                self.new[op.out] = self._sliced_before(op)
            elif op.name == "gather" and self._takes_one_of_each_row(op, op.operands[0], op.operands[1:]):
                self.new[op.out] = self._picked(op)
            elif op.name == "scatter" and self._fills_one_of_each_row(op):
                self.new[op.out] = self._placed(op)
            elif op.name == "matmul" and self._is_sum(op):
                self.new[op.out] = self._summed(op)
            elif op.name == "matmul" and self._is_with_vector(op):
                self.new[op.out] = self._multiplied(op)
            elif op.name == "reshape":
                self.new[op.out] = self._shaped(self._operand(op.operands[0]), op.out.shape, named=op.out)
            elif op.name in ELEMENTWISE | set(REDUCTIONS) and can_write(op):
                self.new[op.out] = self._kept(op)
            else:
                self._as_it_is(op)
        program = self.program.replaced(lambda v: self.new.get(v, v), views_at_once(self.ops))
        program.buffers = [*program.buffers, *(op.params["buffer"] for op in self.counts.values())]
        return without_dead_code(program)

    def _operand(self, x: Any) -> Any:
        return self.new.get(x, x) if isinstance(x, Value) else x

    def _add(self, name: str, *ins: Any, named: Value | None = None, **params: Any) -> Value:
        op = make(name, *ins, **params)
        if named is not None:
            op.out.name, op.out.label, op.note = named.name, named.label, named.op.note
        self.ops.append(op)
        return op.out

    def _as_it_is(self, op: Op) -> None:
        ins = [self._operand(x) for x in op.ins]
        if all(x is y for x, y in zip(ins, op.ins, strict=True)):
            self.ops.append(op)
            return
        made = Op(op.name, ins, op.params, [(v.shape, v.dtype) for v in op.outs], op.note)
        self.ops.append(made)
        for old, new in zip(op.outs, made.outs, strict=True):
            new.name, new.label = old.name, old.label
            self.new[old] = new

    # Parts of small values

    def _is_of_few(self, op: Op) -> bool:
        x = op.operands[0]
        return x.op.name in ELEMENTWISE and can_write(x.op) and x.size <= FEW

    def _sliced_before(self, op: Op) -> Value:
        """f(x)[k:l] as f(x[k:l]): a kernel may then compute it from the user's array."""
        made, bounds = op.operands[0].op, op.params["bounds"]
        ins = [self._part(self._operand(x), made.out.shape, bounds) for x in made.ins]
        params = {"shape": op.out.shape} if made.name == "broadcast" else made.params
        return self._add(made.name, *ins, named=op.out, **params)

    def _part(self, x: Any, shape: tuple[int, ...], bounds: Any) -> Any:
        if not isinstance(x, Value):
            return x
        lead = len(shape) - x.ndim
        aligned = zip(x.shape, shape[lead:], bounds[lead:], strict=True)
        own = tuple((0, 1, 1) if n == 1 and m != 1 else b for n, m, b in aligned)
        return x if is_identity(x.shape, ("slice", own)) else self._add("slice", x, bounds=own)

    # x[0 ... n-1, labels]

    def _takes_one_of_each_row(self, op: Op, x: Value, arrays: list[Value]) -> bool:
        """Whether an index is (0 ... n-1, labels), both with n elements along one axis or as a column."""
        return (
            op.params["index"] == (ArgSlot(0), ArgSlot(1))
            and x.ndim == 2
            and x.dtype.kind == "f"
            and len(arrays) == 2
            and arrays[0].shape == arrays[1].shape
            and arrays[1].shape in (x.shape[:1], (x.shape[0], 1))
            and arrays[1].dtype.kind in "iu"
            and is_counting(arrays[0], x.shape[0])
        )

    def _fills_one_of_each_row(self, op: Op) -> bool:
        """The gradient of taking one element of each row: something is added there to zeros. Labels are checked."""
        x, *arrays = op.operands
        added = op.ins[1]
        arrays = arrays[isinstance(added, Value) :]
        if op.params["how"] != "add" or not is_zero(x) or not self._takes_one_of_each_row(op, x, arrays):
            return False
        low, high = self._range(arrays[1])
        fits = not isinstance(added, Value) or (added.dtype == x.dtype and added.size in (1, x.shape[0]))
        return fits and low >= 0 and high < x.shape[1] <= np.iinfo(arrays[1].dtype).max

    def _placed(self, op: Op) -> Value:
        """What is added, in the column whose number is the label, and 0 elsewhere."""
        rows, columns = op.out.shape
        label = self._shaped(self._operand(op.operands[-1]), (rows, 1))
        added = self._operand(op.ins[1])
        if isinstance(added, Value):
            added = self._shaped(added, (rows, 1) if added.size == rows else (1, 1))
        return self._add(
            "where", self._add("equal", label, self._numbers(columns, label.dtype)), added, 0.0, named=op.out
        )

    def _picked(self, op: Op) -> Value:
        """Σ of what stands where a column's number is the label; a negative one counts from the end.

        NaN for labels that are no column's number, unless they are checked.
        """
        x, _, labels = map(self._operand, op.operands)
        rows, columns = x.shape
        label = self._shaped(labels, (rows, 1))
        low, high = self._range(op.operands[2])
        if labels.dtype != np.intp and (low < 0 or columns > np.iinfo(labels.dtype).max):
            label = self._add("cast", label, dtype=np.dtype(np.intp))
        if low < 0:
            label = self._add("where", self._add("less", label, 0), self._add("add", label, columns), label)
        chosen = self._add("where", self._add("equal", label, self._numbers(columns, label.dtype)), x, 0.0)
        total = self._add("sum", chosen, axes=(1,))
        if low < -columns or high >= columns:
            inside = self._add("logical_and", self._add("greater_equal", label, 0), self._add("less", label, columns))
            total = self._add("where", inside, total, math.nan)
        return self._shaped(total, op.out.shape, named=op.out)

    def _range(self, v: Value) -> tuple[float, float]:
        """Where the elements of v lie, by what they are and by what is checked."""
        (a, b), (c, d) = range_of(v), self.checked.get(content(v), EVERYTHING)
        return max(a, c), min(b, d)

    def _numbers(self, count: int, dtype: Any) -> Value:
        """0, 1, ... as an array."""
        if (count, dtype) not in self.counts:
            buffer = Buffer("numbers", "state", np.arange(count, dtype=dtype), is_constant=True)
            self.counts[count, dtype] = make("input", buffer=buffer)
            self.ops.insert(0, self.counts[count, dtype])
        return self.counts[count, dtype].out

    # Products with ones

    def _is_sum(self, op: Op) -> bool:
        x, y = op.operands
        return x.dtype == y.dtype and ((is_ones(x) and x.ndim == 1) or (is_ones(y) and y.ndim == 1))

    def _summed(self, op: Op) -> Value:
        x, y = op.operands
        if is_ones(x) and x.ndim == 1:
            rows, axis = y, max(y.ndim - 2, 0)
        else:
            rows, axis = x, x.ndim - 1
        total = self._sum(self._operand(rows), axis)
        return self._shaped(total, op.out.shape, named=op.out)

    def _sum(self, x: Value, axis: int) -> Value:
        wide = self._source_of(x)
        if wide is None:
            return self._add("sum", x, axes=(axis,))
        return self._add("sum", wide, axes=(full_axes(wide.shape)[full_axes(x.shape).index(axis)],))

    def _is_with_vector(self, op: Op) -> bool:
        x, y = op.operands
        return x.dtype == y.dtype and x.dtype.kind == "f" and sorted((x.ndim, y.ndim)) == [1, 2]

    def _multiplied(self, op: Op) -> Value:
        """A matrix times a vector as a sum of products: reads the matrix once, and may not need it in memory at all."""
        x, y = map(self._operand, op.operands)
        if x.ndim == 1:
            total = self._sum(self._add("multiply", self._shaped(x, (x.size, 1)), y), 0)
        else:
            total = self._sum(self._add("multiply", x, y), 1)
        return self._shaped(total, op.out.shape, named=op.out)

    # Axes of size 1

    def _kept(self, op: Op) -> Value:
        """An op on operands from which axes of size 1 were dropped is done on what they were before."""
        ins = [self._operand(x) for x in op.ins]
        if op.name in REDUCTIONS:
            source = self._source_of(ins[0])
            if source is None:
                return self._again(op, ins)
            places = dict(zip(full_axes(ins[0].shape), full_axes(source.shape), strict=True))
            axes = tuple(sorted(places[k] for k in op.params["axes"] if k in places))
            if not axes:
                return self._again(op, ins)
            return self._shaped(self._add(op.name, source, axes=axes, named=op.out), op.out.shape)
        sources = [
            s for s in map(self._source_of, ins) if s is not None and squeezed(s.shape) == squeezed(op.out.shape)
        ]
        if op.name == "broadcast":
            return self._again(op, ins)
        if not sources:
            return self._before_reshape(op, ins) or self._again(op, ins)
        shape = sources[0].shape
        moved = [self._moved(x, op.out.shape, shape) for x in ins]
        if any(x is None for x in moved):
            return self._again(op, ins)
        return self._shaped(self._add(op.name, *moved, named=op.out, **op.params), op.out.shape)

    def _before_reshape(self, op: Op, ins: list[Any]) -> Value | None:
        """f(x.reshape(...), y) as f(x, y.reshape(...)).reshape(...): in a kernel x is there in its own shape only."""
        shape = op.out.shape
        shapes = [x.op.operands[0].shape for x in ins if is_reshaped(x, shape) and is_made(x.op.operands[0])]
        if not shapes:
            return None
        moved = [self._reshaped(x, shape, shapes[0]) for x in ins]
        if any(x is None for x in moved):
            return None
        return self._shaped(self._add(op.name, *moved, named=op.out, **op.params), shape)

    def _reshaped(self, x: Any, given: tuple[int, ...], wanted: tuple[int, ...]) -> Any:
        """An operand of an op of shape `given` as that of an op of shape `wanted`; None if it would cost a copy."""
        if not isinstance(x, Value) or x.ndim == 0:
            return x
        if x.shape != given:
            return x if x.shape == given[-1:] == wanted[-1:] else None
        root = x
        while root.op.name == "reshape":
            root = root.op.operands[0]
        in_memory = not is_made(root) and root.op.name not in VIEWS
        return self._shaped(root, wanted) if in_memory or root.shape == wanted else None

    def _again(self, op: Op, ins: list[Any]) -> Value:
        if all(x is y for x, y in zip(ins, op.ins, strict=True)):
            self.ops.append(op)
            return op.out
        return self._add(op.name, *ins, named=op.out, **op.params)

    def _source_of(self, x: Any) -> Value | None:
        """What a reshape dropped inner or trailing axes of size 1 from."""
        if not isinstance(x, Value) or x.op.name != "reshape":
            return None
        (wide,) = x.op.operands
        if squeezed(wide.shape) != squeezed(x.shape) or math.prod(x.shape) < 2:
            return None
        lead = (1,) * (wide.ndim - x.ndim)
        return None if wide.ndim <= x.ndim or (*lead, *x.shape) == wide.shape else wide

    def _moved(self, x: Any, given: tuple[int, ...], wanted: tuple[int, ...]) -> Any:
        """An operand of an op of shape `given` as one of the same op of shape `wanted`; None if it broadcasts."""
        if not isinstance(x, Value) or x.ndim == 0:
            return x
        if squeezed(x.shape) != squeezed(given):
            return self._shaped(x, ()) if math.prod(x.shape) == 1 else None
        return self._shaped(x, wanted)

    def _shaped(self, x: Value, shape: tuple[int, ...], named: Value | None = None) -> Value:
        """x in another shape, of which there is only one."""
        while x.op.name == "reshape" and x.shape != shape:
            x = x.op.operands[0]
        if x.shape == shape:
            return x
        if (x, shape) not in self.shaped:
            self.shaped[x, shape] = self._add("reshape", x, shape=shape, named=named)
        return self.shaped[x, shape]


def views_at_once(ops: list[Op]) -> list[Op]:
    """The ops in an order in which views come directly after what they are views of."""
    views: dict[Value, list[Op]] = {}
    for op in ops:
        if op.name in VIEWS:
            views.setdefault(op.operands[0], []).append(op)
    ordered: list[Op] = []
    pending = [op for op in reversed(ops) if op.name not in VIEWS]
    while pending:
        ordered.append(pending.pop())
        pending += [view for v in ordered[-1].outs for view in reversed(views.get(v, []))]
    return ordered


def is_reshaped(x: Any, shape: tuple[int, ...]) -> bool:
    """Whether x has this shape by a reshape."""
    return isinstance(x, Value) and x.op.name == "reshape" and x.shape == shape


def is_made(x: Value) -> bool:
    """Whether a kernel computes x."""
    return x.op.name in ELEMENTWISE | set(REDUCTIONS) and can_write(x.op)


def is_counting(x: Value, n: int) -> bool:
    """Whether x is a constant 0, 1, ..., n - 1, which NumPy's index arrays often are."""
    while x.op.name == "reshape":
        x = x.op.operands[0]
    if x.op.name != "input" or x.size != n or x.dtype.kind not in "iu":
        return False
    buffer = x.op.params["buffer"]
    return buffer.is_constant and bool((buffer.array.reshape(-1) == np.arange(n)).all())


def is_ones(x: Value) -> bool:
    """Whether all elements are 1 in each call."""
    while x.op.name in VIEWS or x.op.name in ("broadcast", "copy"):
        x = x.op.operands[0]
    return x.op.name == "full" and x.op.params["value"] == 1


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without axes of size 1."""
    return tuple(n for n in shape if n != 1)


def full_axes(shape: tuple[int, ...]) -> list[int]:
    """The axes of other sizes than 1."""
    return [k for k, n in enumerate(shape) if n != 1]


def is_zero(x: Value) -> bool:
    """Whether all elements of x are the constant 0."""
    while x.op.name in ("reshape", "broadcast"):
        x = x.op.operands[0]
    return x.op.name == "full" and x.op.params["value"] == 0
