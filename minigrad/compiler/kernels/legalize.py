"""A program in the form that kernels need: sums instead of products with ones, axes of size 1 kept."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from minigrad.compiler.ir.predicates import EVERYTHING, Operand, Range, content, number, overlap, range_of
from minigrad.compiler.ir.program import (
    ELEMENTWISE,
    REDUCTIONS,
    VIEWS,
    ArgSlot,
    Buffer,
    Op,
    Program,
    Value,
    origin,
    without_dead_code,
)
from minigrad.compiler.ir.rewriter import Rewriter, Rules
from minigrad.compiler.ir.typing import broadcast, make, reduced, result
from minigrad.compiler.ir.view_memory import is_identity
from minigrad.compiler.kernels.expressions import can_write
from minigrad.compiler.numpy.plan import unshaped

FEW = 4096  # elements that are cheaper to compute twice than to wait for
LEGAL = Rules()
Shape = tuple[int, ...]


def legalized(program: Program) -> Program:
    """The program in the form that kernels need, with views directly after their operands."""
    ops = views_after_operands(sorted(program.ops, key=lambda op: op.name != "input"))
    rewriter = Legalizer()
    program = rewriter.run(program.replaced(lambda v: v, ops))
    program = program.replaced(lambda v: v, views_after_operands(program.ops))
    program.buffers = [*program.buffers, *(op.params["buffer"] for op in rewriter.aranges.values())]
    return without_dead_code(program)


class Legalizer(Rewriter):
    """The rewriter with the rules of this file."""

    rules = LEGAL

    def __init__(self) -> None:
        super().__init__()
        self.checked: dict[Value, Range] = {}  # by content, as far as the checks have been seen
        self.aranges: dict[Any, Op] = {}  # constants 0, 1, ... by how many, and their dtype

    def range(self, v: Value) -> Range:
        """The range of the elements of v, from how they are computed and from checks."""
        return overlap(range_of(v), self.checked.get(content(v), EVERYTHING))

    def arange(self, count: int, dtype: Any) -> Value:
        """The constant array 0, 1, ..."""
        if (count, dtype) not in self.aranges:
            buffer = Buffer("numbers", "state", np.arange(count, dtype=dtype), is_constant=True)
            self.aranges[count, dtype] = make("input", buffer=buffer)
            self.ops.insert(0, self.aranges[count, dtype])
        return self.aranges[count, dtype].out

    def shaped(self, x: Value, shape: Shape) -> Value:
        """x in another shape, as the one reshape of it that there is."""
        while x.op.name == "reshape" and x.shape != shape:
            x = x.op.operands[0]
        return x if x.shape == shape else self.raw("reshape", x, shape=shape)

    def sum(self, x: Value, axis: int) -> Value:
        """The sum over an axis, before axes of size 1 are dropped."""
        wide = source_of(x)
        if wide is None:
            return self.raw("sum", x, axes=(axis,))
        return self.raw("sum", wide, axes=(full_axes(wide.shape)[full_axes(x.shape).index(axis)],))


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


@LEGAL.rule("check")
def _check(b: Legalizer, x: Value, *, low: Any, high: Any, **_: Any) -> None:
    b.checked[content(x)] = overlap(b.checked.get(content(x), EVERYTHING), (low, high))


@LEGAL.rule("reshape")
def _reshape(b: Legalizer, x: Value, *, shape: Shape) -> Value:
    return b.shaped(x, shape)


@LEGAL.rule("slice", operands=ELEMENTWISE)
def _slice(b: Legalizer, x: Value, *, bounds: Any) -> Value | None:
    """f(x)[k:l] of small values as f(x[k:l]): then a kernel can compute it from the user's array."""
    if not can_write(x.op) or x.size > FEW:
        return None
    ins = [_part(b, y, x.shape, bounds) if isinstance(y, Value) else y for y in x.op.ins]
    params = x.op.params
    if x.op.name == "broadcast":
        params = {"shape": result("slice", (x,), {"bounds": bounds})[0]}
    return b.raw(x.op.name, *ins, **params)


def _part(b: Legalizer, x: Value, shape: Shape, bounds: Any) -> Value:
    lead = len(shape) - x.ndim
    aligned = zip(x.shape, shape[lead:], bounds[lead:], strict=True)
    own = tuple((0, 1, 1) if n == 1 and m != 1 else part for n, m, part in aligned)
    return x if is_identity(x.shape, ("slice", own)) else b.raw("slice", x, bounds=own)


# x[0 ... n-1, labels]


def _is_one_per_row(x: Value, arrays: tuple[Value, ...], index: Any) -> bool:
    """Whether the index of a matrix is (0 ... n-1, labels), both arrays with n elements, or as columns."""
    return (
        index == (ArgSlot(0), ArgSlot(1))
        and x.ndim == 2
        and x.dtype.kind == "f"
        and len(arrays) == 2
        and arrays[0].shape == arrays[1].shape
        and arrays[1].shape in (x.shape[:1], (x.shape[0], 1))
        and arrays[1].dtype.kind in "iu"
        and is_counting(arrays[0], x.shape[0])
    )


@LEGAL.rule("gather")
def _selection(b: Legalizer, x: Value, *arrays: Value, index: Any) -> Value | None:
    """The sum over each row of x where the number of the column is the label, and 0 elsewhere.

    A negative label counts from the end. The result is NaN for labels out of range, unless a check excludes them.
    """
    if not _is_one_per_row(x, arrays, index):
        return None
    labels, (rows, columns) = arrays[1], x.shape
    label, (low, high) = b.shaped(labels, (rows, 1)), b.range(labels)
    if labels.dtype != np.intp and (low < 0 or columns > np.iinfo(labels.dtype).max):
        label = b.raw("cast", label, dtype=np.dtype(np.intp))
    if low < 0:
        label = b.raw("where", b.raw("less", label, 0), b.raw("add", label, columns), label)
    chosen = b.raw("where", b.raw("equal", label, b.arange(columns, label.dtype)), x, 0.0)
    total = b.raw("sum", chosen, axes=(1,))
    if low < -columns or high >= columns:
        inside = b.raw("logical_and", b.raw("greater_equal", label, 0), b.raw("less", label, columns))
        total = b.raw("where", inside, total, math.nan)
    return b.shaped(total, labels.shape)


@LEGAL.rule("scatter")
def _scattered(b: Legalizer, x: Value, added: Operand, *arrays: Value, index: Any, how: str) -> Value | None:
    """The gradient of selecting one element per row, a value added to zeros at checked labels.

    It is that value in the column whose number is the label, and 0 elsewhere.
    """
    if how != "add" or number_of(x) != 0 or not _is_one_per_row(x, arrays, index):
        return None
    labels, (rows, columns) = arrays[1], x.shape
    low, high = b.range(labels)
    if low < 0 or high >= columns or columns > np.iinfo(labels.dtype).max:
        return None
    if isinstance(added, Value):
        if added.dtype != x.dtype or added.size not in (1, rows):
            return None
        added = b.shaped(added, (rows, 1) if added.size == rows else (1, 1))
    label = b.shaped(labels, (rows, 1))
    return b.raw("where", b.raw("equal", label, b.arange(columns, label.dtype)), added, 0.0)


@LEGAL.rule("matmul")
def _product(b: Legalizer, x: Value, y: Value) -> Value | None:
    """Products with ones as sums, and a matrix times a vector as a sum of products.

    That reads the matrix once, which may not even be in memory.
    """
    if x.dtype != y.dtype:
        return None
    if x.ndim == 1 and number_of(x) == 1:
        total = b.sum(y, max(y.ndim - 2, 0))
    elif y.ndim == 1 and number_of(y) == 1:
        total = b.sum(x, x.ndim - 1)
    elif x.dtype.kind == "f" and (x.ndim, y.ndim) == (1, 2):
        total = b.sum(b.raw("multiply", b.shaped(x, (x.size, 1)), y), 0)
    elif x.dtype.kind == "f" and (x.ndim, y.ndim) == (2, 1):
        total = b.sum(b.raw("multiply", x, y), 1)
    else:
        return None
    return b.shaped(total, result("matmul", (x, y), {})[0])


# Axes of size 1


def _reduction(name: str, b: Legalizer, x: Value, *, axes: tuple[int, ...]) -> Value | None:
    """A reduction of a value from which axes of size 1 were dropped, done before they are dropped."""
    source = source_of(x)
    if source is None or not can_write(make(name, x, axes=axes)):
        return None
    places = dict(zip(full_axes(x.shape), full_axes(source.shape), strict=True))
    own = tuple(sorted(places[k] for k in axes if k in places))
    return b.shaped(b.raw(name, source, axes=own), reduced(x.shape, axes)) if own else None


def _elementwise(name: str, b: Legalizer, *ins: Operand, **params: Any) -> Value | None:
    """An op on operands from which axes of size 1 were dropped, done before they are dropped.

    And f(x.reshape(...), y) as f(x, y.reshape(...)).reshape(...): in a kernel x has only its own shape.
    """
    values = [x for x in ins if isinstance(x, Value)]
    shape = broadcast(*(x.shape for x in values))
    change, shapes = _expanded, [s.shape for s in map(source_of, values) if s is not None]
    shapes = [s for s in shapes if squeezed(s) == squeezed(shape)]
    if not shapes:
        sources = [x.op.operands[0] for x in values if x.op.name == "reshape" and x.shape == shape]
        change, shapes = _reshaped, [s.shape for s in sources if is_of_kernel(s)]
    if not shapes or not can_write(make(name, *ins, **params)):
        return None
    changed: list[Any] = [change(b, x, shape, shapes[0]) if isinstance(x, Value) and x.ndim else x for x in ins]
    return None if None in changed else b.shaped(b.raw(name, *changed, **params), shape)


for _name in ELEMENTWISE - {"broadcast"}:
    LEGAL.rule(_name)(partial(_elementwise, _name))
for _name in REDUCTIONS:
    LEGAL.rule(_name)(partial(_reduction, _name))


def _expanded(b: Legalizer, x: Value, old: Shape, new: Shape) -> Value | None:
    """An operand of an op of shape `old` as operand of the op in shape `new`; None if it broadcasts."""
    if squeezed(x.shape) != squeezed(old):
        return b.shaped(x, ()) if x.size == 1 else None
    return b.shaped(x, new)


def _reshaped(b: Legalizer, x: Value, old: Shape, new: Shape) -> Value | None:
    """An operand of an op of shape `old` as operand of an op of shape `new`; None if that needs a copy."""
    if x.shape != old:
        return x if x.shape == old[-1:] == new[-1:] else None
    root = unshaped(x)
    in_memory = not is_of_kernel(root) and root.op.name not in VIEWS
    return b.shaped(root, new) if in_memory or root.shape == new else None


def source_of(x: Value) -> Value | None:
    """The operand of a reshape that drops inner or trailing axes of size 1."""
    if x.op.name != "reshape":
        return None
    (wide,) = x.op.operands
    if squeezed(wide.shape) != squeezed(x.shape) or x.size < 2:
        return None
    lead = (1,) * (wide.ndim - x.ndim)
    return None if wide.ndim <= x.ndim or (*lead, *x.shape) == wide.shape else wide


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


def number_of(x: Value) -> Any:
    """The number that all elements of x are in each call; None if that is not known."""
    return number(origin(x, VIEWS | {"broadcast", "copy"}))


def squeezed(shape: Shape) -> Shape:
    """The shape without axes of size 1."""
    return tuple(n for n in shape if n != 1)


def full_axes(shape: Shape) -> list[int]:
    """The axes whose size is not 1."""
    return [k for k, n in enumerate(shape) if n != 1]
