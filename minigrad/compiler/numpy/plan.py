"""Memory planning: the liveness of each value of a program, and where it is stored.

The kind of a value says where it is stored:

    state       in a buffer of the user's: its content at the beginning, or its content at the end, computed there
    planned     in a block that belongs to the program and is reused after the last read of the value
    joined      in the memory of a concatenation: its operands are computed in their part of the result
    constant    in memory that is filled once, because the value is the same in each call
    fresh       in a new array, because the step returns it
    number      nowhere: a single number that only scalar ops read
    local       wherever it comes from in each call: arguments, results of opaque calls, and views of those

A view shares the memory of its operand. A value may be computed in a buffer if the old content is not read afterwards,
not even at the end of the step: all stores happen at once, so an old content that is stored elsewhere is read last. No
value is computed in a buffer while a check may still fail or a call may raise.

A NumPy call on 0-d arrays takes about 400 ns, whatever it computes. Python's `x * y` takes 20 ns and rounds alike. So
what is computed only from single float64s and bools, by scalar ops, is an expression of Python's floats and bools. It
has memory only if another op reads it, or if it is stored or returned.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from typing import Any

import numpy as np

from minigrad.compiler.ir.checks import barrier
from minigrad.compiler.ir.kernel import Kernel
from minigrad.compiler.ir.program import ELEMENTWISE, UFUNCS, VIEWS, Buffer, Op, Program, Value, origin
from minigrad.compiler.ir.view_memory import step_of, viewed

FLOAT, BOOL = np.dtype(np.float64), np.dtype(np.bool_)
# Those that take only floats or bools: ldexp needs an integer.
OF_FLOATS = {"where", "cast"} | {
    op for op, f in UFUNCS.items() if any(t.split("->")[0] in ("d" * f.nin, "?" * f.nin) for t in f.types)
}
EXACT = 2**53  # smaller integers are floats without rounding
ALIGNMENT = 64
SPECIAL = frozenset({"input", "full", "call", *VIEWS})
IN_PLACE = ELEMENTWISE | {"set_slice", "scatter", "copy", "kernel"}  # may write over an operand


def is_scalar_op(op: Op) -> bool:
    """Whether an op computes a single float64 or bool from single float64s and bools."""
    if not op.operands or not op.outs or op.outs[0].shape or op.operands[0].shape or op.name not in OF_FLOATS:
        return False
    literals = [x for x in op.ins if not isinstance(x, Value)]
    return all(v.shape == () and v.dtype in (FLOAT, BOOL) for v in (*op.operands, *op.outs)) and not any(
        isinstance(x, complex) or (type(x) is int and abs(x) >= EXACT) for x in literals
    )


def scalars_without_memory(program: Program) -> set[Value]:
    """The values of scalar ops that only scalar ops read, and that the program neither stores nor returns."""
    needed = set(program.results())
    for op in program.ops:
        if not is_scalar_op(op):
            needed.update(op.operands)
    return {op.out for op in program.ops if is_scalar_op(op)} - needed


class Plan:
    """The memory of a program: a real array for each value whose memory is the same in each call."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.end, self.barrier = len(program.ops), barrier(program)
        self.kind: dict[Value, str] = {}
        self.arrays: dict[Value, Any] = {}
        self.blocks: list[Any] = []
        self.moved: dict[Buffer, Any] = {}  # kept buffers, and their new memory
        self.block: dict[Value, int] = {}  # of planned roots
        self.root: dict[Value, Value] = {}  # the value that a view is a view of
        self.home: dict[Value, Buffer] = {}  # the buffer in which a value is computed
        self.part: dict[Value, tuple[Value, int, int]] = {}  # operands computed in a concatenation: it, their rows
        self.pasted: dict[Op, list[tuple[Value, int, int]]] = {}  # operands that are copied into a concatenation
        self.filled: dict[Value, list[tuple[int, int, Any]]] = {}  # constant rows of a concatenation, filled once
        self.copied: list[tuple[Buffer, Value]] = []  # stores that are not computed in place
        self.born = {v: k for k, op in enumerate(program.ops) for v in op.outs}
        self.users = program.users()
        self.root_counts: dict[Op, Counter[Value]] = {}
        for op in program.ops:
            self.root |= {v: self.root[op.operands[0]] if op.name in VIEWS else v for v in op.outs}
        self.last = self._last_reads()
        self._place_outside()
        self._place_concatenations()
        self._place_stores()
        self._place_blocks()

    def _last_reads(self) -> dict[Value, int]:
        """For each root the number of the last op that reads it or a view of it; `end` if it is stored or returned."""
        last = dict.fromkeys(self.root.values(), -1)
        for k, op in enumerate(self.program.ops):
            for v in op.operands:
                if op.name not in VIEWS:
                    last[self.root[v]] = k
        for v in self.program.results():
            last[self.root[v]] = self.end
        for op in reversed(self.program.ops):
            if op.name == "call":  # its results may be views of its operands
                end = max(last[self.root[v]] for v in op.outs)
                for x in op.operands:
                    last[self.root[x]] = max(last[self.root[x]], end)
        return last

    def _place_outside(self) -> None:
        self.kind = dict.fromkeys(scalars_without_memory(self.program), "number")
        for op in self.program.ops:
            for v in op.outs:
                if op.name == "input":
                    buffer = op.params["buffer"]
                    self.kind[v] = "local" if buffer.kind == "argument" else "state"
                    if buffer.kind != "argument":
                        self.arrays[v] = buffer.array
                elif op.name == "full":
                    self.kind[v] = "constant"
                    self.arrays[v] = np.full(v.shape, op.params["value"], v.dtype)
                elif op.name == "call":
                    self.kind[v] = "local"
        arrays = {v for k, v in enumerate(self.program.outputs) if k not in self.program.scalars}
        for v in self.program.outputs:
            is_copied = v not in arrays and not v.shape and not is_scalar_op(v.op)  # as a scalar
            if not is_copied and v not in self.kind and v.op.name not in SPECIAL:
                self.kind[v] = "fresh"

    def _place_concatenations(self) -> None:
        """Compute the operands of a concatenation in parts of its own block. Kept arrays may lie there as well."""
        kept = [(b, v) for b, v in self.program.stores.items() if b.kind == "kept" and b.holder is not None]
        # Another kept array with the same value must not share its memory: the first one does.
        self.kept = {unshaped(v): buffer for buffer, v in reversed(kept)}
        for op in self.program.ops:
            if op.name != "concatenate" or op.out in self.kind or op.params["axis"]:
                continue
            out = op.out
            self.kind[out], self.arrays[out] = "joined", self._in(aligned(max(out.nbytes, 1)), out)
            start = 0
            for x in op.operands:
                end, constant = start + x.shape[op.params["axis"]], unshaped(x).op
                if constant.name == "full" and x.dtype == out.dtype:
                    self.filled.setdefault(out, []).append((start, end, constant.params["value"]))
                elif x.dtype != out.dtype or not self._lies_in(x, out, start, end):
                    self.pasted.setdefault(op, []).append((x, start, end))
                start = end

    def _lies_in(self, x: Value, out: Value, start: int, end: int) -> bool:
        """Let x be computed in a part of another value's memory, unless it is placed already. Returns whether it is."""
        x, part = unshaped(x), self.arrays[out][start:end]
        if x in self.kind or x.op.name in SPECIAL:
            return False
        self.kind[x], self.arrays[x], self.part[x] = "joined", part.reshape(x.shape), (out, start, end)
        if x in self.kept and self.born[x] > self.barrier:
            self.moved[self.kept[x]] = part.reshape(self.kept[x].shape)
        return True

    def _place_stores(self) -> None:
        """Compute stored values in their buffers where that is safe, and then also what they are computed from."""
        inputs = {op.params["buffer"]: op.out for op in self.program.ops if op.name == "input"}
        for buffer, v in self.program.stores.items():
            present = inputs.get(buffer)
            if v is present or buffer in self.moved:
                continue
            computed = unshaped(v)
            free = buffer.kind != "argument" and computed not in self.kind and computed.op.name not in SPECIAL
            any_layout = computed is v and not self._is_in_c_order(v)
            fits = any_layout or (buffer.array is not None and buffer.array.flags.carray)
            if free and fits and self._may_overwrite(present, computed):
                self._into(buffer, computed, present)
            else:
                self.copied.append((buffer, v))

    def _may_overwrite(self, present: Value | None, v: Value) -> bool:
        """Whether v may be computed in memory whose present content no later op reads, after all checks have passed."""
        if self.born[v] <= self.barrier:
            return False
        if present is None:
            return True
        last, born = self.last[present], self.born[v]
        return last < born or (last == born and self._in_step(v, present))

    def _into(self, buffer: Buffer, v: Value, present: Value | None) -> None:
        while True:
            memory: Any = buffer.array
            self.kind[v], self.arrays[v], self.home[v] = "state", memory.reshape(v.shape), buffer
            if v.op.name not in ELEMENTWISE:
                return
            candidates = [x for x in v.op.operands if self._ends_in(x, v) and self._may_overwrite(present, x)]
            if not memory.flags.carray:
                candidates = [x for x in candidates if not self._is_in_c_order(x)]
            if not candidates or any(self.root[x] is present for x in v.op.operands):
                return
            v = candidates[0]

    def _is_in_c_order(self, v: Value) -> bool:
        """Whether v must be in C order, for what computes or reads it: otherwise a reshape would be a copy."""
        if v.op.name == "set_slice" and any(name == "reshape" for name, _ in v.op.params["steps"]):
            return True
        return v.op.name in ("kernel", "convolution") or self._is_read_in_c_order(v)

    def _is_read_in_c_order(self, v: Value) -> bool:
        """Whether a reshape or a kernel reads v or a view of it, so that another layout would be copied."""
        return any(
            op.name in ("reshape", "kernel") or (op.name in VIEWS and self._is_read_in_c_order(op.out))
            for op in self.users[v]
        )

    def _ends_in(self, x: Value, v: Value) -> bool:
        """Whether x, an operand of v, has v's shape and dtype and is not read after v's op."""
        return (
            x not in self.kind
            and x.op.name not in SPECIAL
            and (x.shape, x.dtype) == (v.shape, v.dtype)
            and self.last[x] == self.born[v]
        )

    def _place_blocks(self) -> None:
        """First fit from the blocks that are free, in the order of the ops."""
        free: list[tuple[int, int]] = []  # bytes and numbers of blocks, sorted
        ending: dict[int, list[Value]] = {}
        for k, op in enumerate(self.program.ops):
            for v in op.outs:
                if op.name in VIEWS:
                    self._place_view(v)
                elif v not in self.kind:
                    self.kind[v] = "planned"
                    number = self.block[v] = self._block_for(v, op, free)
                    self.arrays[v] = self._in(self.blocks[number], v)
                    ending.setdefault(max(self.last[v], k), []).append(v)
            if k in ending:
                taken = Counter(self.block.get(out) for out in op.outs)
                for v in ending.pop(k):
                    if taken[self.block[v]] == (v in op.outs):  # no other value of the op has taken it over
                        insort(free, (self.blocks[self.block[v]].nbytes, self.block[v]))

    def _block_for(self, v: Value, op: Op, free: list[tuple[int, int]]) -> int:
        if op.name in IN_PLACE:
            taken = {self.block.get(out) for out in op.outs}
            for x in op.operands:
                fits = x in self.block and self.last[x] == self.born[v] and x.nbytes == v.nbytes
                if fits and self.block[x] not in taken and self._in_step(v, x):
                    return self.block[x]
        first = bisect_left(free, (v.nbytes, 0))
        if first < len(free) and free[first][0] <= 4 * v.nbytes + 4096:
            return free.pop(first)[1]
        self.blocks.append(aligned(max(v.nbytes, 1)))
        return len(self.blocks) - 1

    def _in_step(self, v: Value, x: Value) -> bool:
        """Whether v's op reads each element of x before it writes that of v, so that both may share memory."""
        op = v.op
        if op.name not in IN_PLACE or self._roots_of_operands(op)[self.root[x]] > (x in op.ins):
            return False
        if op.name == "kernel":
            kernel: Kernel = op.params["kernel"]
            (operand, *again) = [inner for inner, y in zip(kernel.ins, op.ins, strict=True) if y is x]
            return not again and kernel.may_share(operand, kernel.outs[op.outs.index(v)])
        if op.name not in ELEMENTWISE:
            return [k for k, y in enumerate(op.ins) if y is x] == [0]
        return (x.shape, x.dtype.itemsize) == (v.shape, v.dtype.itemsize)

    def _roots_of_operands(self, op: Op) -> Counter[Value]:
        """For each root how many operands of an op are the root itself or views of it."""
        if op not in self.root_counts:
            self.root_counts[op] = Counter(self.root[y] for y in set(op.operands))
        return self.root_counts[op]

    def _in(self, block: Any, v: Value) -> Any:
        return block[: v.nbytes].view(v.dtype).reshape(v.shape)

    def _place_view(self, v: Value) -> None:
        x = v.op.operands[0]
        self.kind[v] = "local" if self.kind[x] in ("local", "fresh") else "view"
        if x in self.arrays:
            self.arrays[v] = viewed(self.arrays[x], step_of(v.op))

    @property
    def nbytes(self) -> int:
        """The bytes of all blocks."""
        joined = sum(self.arrays[v].nbytes for v, kind in self.kind.items() if kind == "joined" and v not in self.part)
        return int(joined + sum(block.nbytes for block in self.blocks))

    @property
    def unplanned(self) -> int:
        """The bytes needed if no memory were reused."""
        return sum(v.nbytes for v, kind in self.kind.items() if kind in ("planned", "joined"))

    def is_static(self, v: Value) -> bool:
        """Whether v is in the same memory in each call."""
        return v in self.arrays


def unshaped(v: Value) -> Value:
    """The value that v is a reshape of, through all reshapes."""
    return origin(v, ("reshape",))


def aligned(size: int) -> Any:
    """Uninitialized bytes that begin at a cache line."""
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.__array_interface__["data"][0] % ALIGNMENT
    return raw[start : start + size]
