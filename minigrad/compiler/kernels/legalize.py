"""A program in the form that kernels need: sums instead of products with ones, axes of size 1 kept."""

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
from minigrad.compiler.numpy.plan import unshaped

FEW = 4096  # elements that are cheaper to compute twice than to wait for


class Legalizer:
    """Rewrites the ops of a program in order."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.ops: list[Op] = []
        self.new: dict[Value, Value] = {}  # by old value
        self.shaped: dict[tuple[Value, tuple[int, ...]], Value] = {}
        self.checked = checked_ranges(program)
        self.aranges: dict[Any, Op] = {}  # constants 0, 1, ... by how many, and their dtype

    def run(self) -> Program:
        """The program rewritten."""
        for op in views_after_operands(sorted(self.program.ops, key=lambda op: op.name != "input")):
            if op.name == "slice" and self._is_cheap_slice(op):
                self.new[op.out] = self._slice_of_operands(op)
            elif op.name == "gather" and self._selects_one_per_row(op, op.operands[0], op.operands[1:]):
                self.new[op.out] = self._selection(op)
            elif op.name == "scatter" and self._scatters_one_per_row(op):
                self.new[op.out] = self._scattered(op)
            elif op.name == "matmul" and self._is_product_with_ones(op):
                self.new[op.out] = self._as_sum(op)
            elif op.name == "matmul" and self._is_product_with_vector(op):
                self.new[op.out] = self._as_weighted_sum(op)
            elif op.name == "reshape":
                self.new[op.out] = self._shaped(self._operand(op.operands[0]), op.out.shape, named=op.out)
            elif op.name in ELEMENTWISE | set(REDUCTIONS) and can_write(op):
                self.new[op.out] = self._with_unit_axes(op)
            else:
                self.ops.append(with_operands(op, self.new))
        program = self.program.replaced(lambda v: self.new.get(v, v), views_after_operands(self.ops))
        program.buffers = [*program.buffers, *(op.params["buffer"] for op in self.aranges.values())]
        return without_dead_code(program)

    def _operand(self, x: Any) -> Any:
        return self.new.get(x, x) if isinstance(x, Value) else x

    def _add(self, name: str, *ins: Any, named: Value | None = None, **params: Any) -> Value:
        op = make(name, *ins, **params)
        if named is not None:
            op.out.name, op.out.label, op.note = named.name, named.label, named.op.note
        self.ops.append(op)
        return op.out

    # Slices of small values

    def _is_cheap_slice(self, op: Op) -> bool:
        x = op.operands[0]
        return x.op.name in ELEMENTWISE and can_write(x.op) and x.size <= FEW

    def _slice_of_operands(self, op: Op) -> Value:
        """f(x)[k:l] as f(x[k:l]): then a kernel can compute it from the user's array."""
        sliced, bounds = op.operands[0].op, op.params["bounds"]
        ins = [self._part(self._operand(x), sliced.out.shape, bounds) for x in sliced.ins]
        params = {"shape": op.out.shape} if sliced.name == "broadcast" else sliced.params
        return self._add(sliced.name, *ins, named=op.out, **params)

    def _part(self, x: Any, shape: tuple[int, ...], bounds: Any) -> Any:
        if not isinstance(x, Value):
            return x
        lead = len(shape) - x.ndim
        aligned = zip(x.shape, shape[lead:], bounds[lead:], strict=True)
        own = tuple((0, 1, 1) if n == 1 and m != 1 else b for n, m, b in aligned)
        return x if is_identity(x.shape, ("slice", own)) else self._add("slice", x, bounds=own)

    # x[0 ... n-1, labels]

    def _selects_one_per_row(self, op: Op, x: Value, arrays: list[Value]) -> bool:
        """Whether the index of a matrix is (0 ... n-1, labels), both arrays with n elements, or as columns."""
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

    def _scatters_one_per_row(self, op: Op) -> bool:
        """Whether an op is the gradient of selecting one element per row: a value added to zeros at checked labels."""
        x, *arrays = op.operands
        added = op.ins[1]
        arrays = arrays[isinstance(added, Value) :]
        if op.params["how"] != "add" or not is_zero(x) or not self._selects_one_per_row(op, x, arrays):
            return False
        low, high = self._range(arrays[1])
        fits = not isinstance(added, Value) or (added.dtype == x.dtype and added.size in (1, x.shape[0]))
        return fits and low >= 0 and high < x.shape[1] <= np.iinfo(arrays[1].dtype).max

    def _scattered(self, op: Op) -> Value:
        """The added value in the column whose number is the label, and 0 elsewhere."""
        rows, columns = op.out.shape
        label = self._shaped(self._operand(op.operands[-1]), (rows, 1))
        added = self._operand(op.ins[1])
        if isinstance(added, Value):
            added = self._shaped(added, (rows, 1) if added.size == rows else (1, 1))
        return self._add(
            "where", self._add("equal", label, self._arange(columns, label.dtype)), added, 0.0, named=op.out
        )

    def _selection(self, op: Op) -> Value:
        """The sum over each row of x where the number of the column is the label, and 0 elsewhere.

        A negative label counts from the end. The result is NaN for labels out of range, unless a check excludes them.
        """
        x, _, labels = map(self._operand, op.operands)
        rows, columns = x.shape
        label = self._shaped(labels, (rows, 1))
        low, high = self._range(op.operands[2])
        if labels.dtype != np.intp and (low < 0 or columns > np.iinfo(labels.dtype).max):
            label = self._add("cast", label, dtype=np.dtype(np.intp))
        if low < 0:
            label = self._add("where", self._add("less", label, 0), self._add("add", label, columns), label)
        chosen = self._add("where", self._add("equal", label, self._arange(columns, label.dtype)), x, 0.0)
        total = self._add("sum", chosen, axes=(1,))
        if low < -columns or high >= columns:
            inside = self._add("logical_and", self._add("greater_equal", label, 0), self._add("less", label, columns))
            total = self._add("where", inside, total, math.nan)
        return self._shaped(total, op.out.shape, named=op.out)

    def _range(self, v: Value) -> tuple[float, float]:
        """The range of the elements of v, from how they are computed and from checks."""
        (a, b), (c, d) = range_of(v), self.checked.get(content(v), EVERYTHING)
        return max(a, c), min(b, d)

    def _arange(self, count: int, dtype: Any) -> Value:
        """The constant array 0, 1, ..."""
        if (count, dtype) not in self.aranges:
            buffer = Buffer("numbers", "state", np.arange(count, dtype=dtype), is_constant=True)
            self.aranges[count, dtype] = make("input", buffer=buffer)
            self.ops.insert(0, self.aranges[count, dtype])
        return self.aranges[count, dtype].out

    # Products with ones

    def _is_product_with_ones(self, op: Op) -> bool:
        x, y = op.operands
        return x.dtype == y.dtype and ((is_ones(x) and x.ndim == 1) or (is_ones(y) and y.ndim == 1))

    def _as_sum(self, op: Op) -> Value:
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

    def _is_product_with_vector(self, op: Op) -> bool:
        x, y = op.operands
        return x.dtype == y.dtype and x.dtype.kind == "f" and sorted((x.ndim, y.ndim)) == [1, 2]

    def _as_weighted_sum(self, op: Op) -> Value:
        """A matrix times a vector as a sum of products: it reads the matrix once, which may not even be in memory."""
        x, y = map(self._operand, op.operands)
        if x.ndim == 1:
            total = self._sum(self._add("multiply", self._shaped(x, (x.size, 1)), y), 0)
        else:
            total = self._sum(self._add("multiply", x, y), 1)
        return self._shaped(total, op.out.shape, named=op.out)

    # Axes of size 1

    def _with_unit_axes(self, op: Op) -> Value:
        """An op on operands from which axes of size 1 were dropped, done before they are dropped."""
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
        expanded = [self._expanded(x, op.out.shape, shape) for x in ins]
        if any(x is None for x in expanded):
            return self._again(op, ins)
        return self._shaped(self._add(op.name, *expanded, named=op.out, **op.params), op.out.shape)

    def _before_reshape(self, op: Op, ins: list[Any]) -> Value | None:
        """f(x.reshape(...), y) as f(x, y.reshape(...)).reshape(...): in a kernel x has only its own shape."""
        shape = op.out.shape
        shapes = [x.op.operands[0].shape for x in ins if is_reshaped(x, shape) and is_of_kernel(x.op.operands[0])]
        if not shapes:
            return None
        reshaped = [self._reshaped(x, shape, shapes[0]) for x in ins]
        if any(x is None for x in reshaped):
            return None
        return self._shaped(self._add(op.name, *reshaped, named=op.out, **op.params), shape)

    def _reshaped(self, x: Any, old: tuple[int, ...], new: tuple[int, ...]) -> Any:
        """An operand of an op of shape `old` as operand of an op of shape `new`; None if that needs a copy."""
        if not isinstance(x, Value) or x.ndim == 0:
            return x
        if x.shape != old:
            return x if x.shape == old[-1:] == new[-1:] else None
        root = unshaped(x)
        in_memory = not is_of_kernel(root) and root.op.name not in VIEWS
        return self._shaped(root, new) if in_memory or root.shape == new else None

    def _again(self, op: Op, ins: list[Any]) -> Value:
        if all(x is y for x, y in zip(ins, op.ins, strict=True)):
            self.ops.append(op)
            return op.out
        return self._add(op.name, *ins, named=op.out, **op.params)

    def _source_of(self, x: Any) -> Value | None:
        """The operand of a reshape that drops inner or trailing axes of size 1."""
        if not isinstance(x, Value) or x.op.name != "reshape":
            return None
        (wide,) = x.op.operands
        if squeezed(wide.shape) != squeezed(x.shape) or math.prod(x.shape) < 2:
            return None
        lead = (1,) * (wide.ndim - x.ndim)
        return None if wide.ndim <= x.ndim or (*lead, *x.shape) == wide.shape else wide

    def _expanded(self, x: Any, old: tuple[int, ...], new: tuple[int, ...]) -> Any:
        """An operand of an op of shape `old` as operand of the op in shape `new`; None if it broadcasts."""
        if not isinstance(x, Value) or x.ndim == 0:
            return x
        if squeezed(x.shape) != squeezed(old):
            return self._shaped(x, ()) if math.prod(x.shape) == 1 else None
        return self._shaped(x, new)

    def _shaped(self, x: Value, shape: tuple[int, ...], named: Value | None = None) -> Value:
        """x in another shape, as the one reshape of it that there is."""
        while x.op.name == "reshape" and x.shape != shape:
            x = x.op.operands[0]
        if x.shape == shape:
            return x
        if (x, shape) not in self.shaped:
            self.shaped[x, shape] = self._add("reshape", x, shape=shape, named=named)
        return self.shaped[x, shape]


def with_operands(op: Op, replacements: dict[Value, Value]) -> Op:
    """The op on replaced operands. If it is another one, its results are added to the replacements."""
    ins = [replacements.get(x, x) if isinstance(x, Value) else x for x in op.ins]
    if all(x is y for x, y in zip(ins, op.ins, strict=True)):
        return op
    copy = Op(op.name, ins, op.params, [(v.shape, v.dtype) for v in op.outs], op.note)
    for old, new in zip(op.outs, copy.outs, strict=True):
        new.name, new.label = old.name, old.label
        replacements[old] = new
    return copy


def views_after_operands(ops: list[Op]) -> list[Op]:
    """The ops in an order in which views come directly after their operands."""
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
    """Whether x is a reshape to this shape."""
    return isinstance(x, Value) and x.op.name == "reshape" and x.shape == shape


def is_of_kernel(x: Value) -> bool:
    """Whether a kernel computes x."""
    return x.op.name in ELEMENTWISE | set(REDUCTIONS) and can_write(x.op)


def is_counting(x: Value, n: int) -> bool:
    """Whether x is the constant 0, 1, ..., n - 1, as index arrays often are."""
    x = unshaped(x)
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
    """The axes whose size is not 1."""
    return [k for k, n in enumerate(shape) if n != 1]


def is_zero(x: Value) -> bool:
    """Whether all elements of x are the constant 0."""
    while x.op.name in ("reshape", "broadcast"):
        x = x.op.operands[0]
    return x.op.name == "full" and x.op.params["value"] == 0
