"""Random programs of the ops that kernels run, and their values by plain NumPy, op by op.

Sizes of axes differ (and are 1 now and then), values are read again much later, stores go to buffers that are read as
well. Data are small integers: sums of them are exact in any order. What is not exact (`rough`) is compared with a
tolerance, and never decides about a comparison or an integer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import REDUCTIONS, UFUNCS, VIEWS, Buffer, Op, Program, Value, without_dead_code
from minigrad.compiler.ir.typing import check, make
from minigrad.compiler.ir.view_memory import step_of, viewed

FLOATS = ("f4", "f8")
DTYPES = ("f4", "f4", "f8", "i8", "i4", "?")
UNARY = ("negative", "absolute", "square", "sqrt", "sign", "exp", "tanh", "isnan", "floor", "positive", "logical_not")
BINARY = (
    "add",
    "subtract",
    "multiply",
    "divide",
    "maximum",
    "minimum",
    "greater",
    "less_equal",
    "equal",
    "logical_and",
)
ROUGH = {"exp", "tanh", "divide", "sqrt"}
DECIDING = {"greater", "less_equal", "equal", "logical_and", "logical_not", "isnan", "sign", "floor"}


class Drawing:
    """Builds a program. With `merges`, reshapes merge all axes but the last, and undo it."""

    def __init__(self, seed: int, ops: int = 14, merges: bool = False) -> None:
        self.rng, self.merges = np.random.default_rng(seed), merges
        self.ops: list[Op] = []
        self.rough: set[Value] = set()
        self.bound: dict[Value, float] = {}
        ndim = int(self.rng.integers(1, 5))
        sizes = self.rng.choice([1, 2, 3, 4, 5], ndim)
        self.space = tuple(int(n) for n in sizes)
        self.buffers = [self._buffer(k) for k in range(int(self.rng.integers(2, 5)))]
        for b in self.buffers:
            op = self._add(make("input", buffer=b))
            self.bound[op.out] = 3.0
        while len(self.ops) < ops + len(self.buffers):
            self._draw_op()

    def program(self) -> Program:
        """The program, with some of the last values as outputs, and stores where a value fits into a buffer."""
        values = [op.out for op in self.ops if op.name != "input"]
        some = max(1, len(values) // 3)
        outputs = [values[-1], *(v for v in values[-some:-1] if self.rng.random() < 0.3)]
        stores = {}
        for b in self.buffers:
            fit = [v for v in values if (v.shape, v.dtype) == (b.shape, b.dtype)]
            if b.kind == "state" and fit and self.rng.random() < 0.7:
                stores[b] = fit[int(self.rng.integers(len(fit)))]
        return check(without_dead_code(Program(self.ops, self.buffers, stores, outputs, [])))

    def _buffer(self, k: int) -> Buffer:
        shape = [n if self.rng.random() < 0.7 else 1 for n in self.space]
        shape = shape[int(self.rng.integers(0, len(shape) + 1)) if self.rng.random() < 0.3 else 0 :]
        dtype = np.dtype(self.rng.choice(DTYPES if k else FLOATS))
        array = self.rng.integers(0, 2, shape) if dtype.kind == "b" else self.rng.integers(-3, 4, shape)
        if self.rng.random() < 0.5:
            return Buffer(f"x{k}", "state", np.asarray(array.astype(dtype)))
        number = sum(op.params["buffer"].kind == "argument" for op in self.ops)
        return Buffer(f"x{k}", "argument", np.asarray(array.astype(dtype)), number)

    def _add(self, op: Op) -> Op:
        self.ops.append(op)
        if any(x in self.rough for x in op.operands) or op.name in ROUGH:
            self.rough.add(op.out)
        self.bound[op.out] = max((self.bound[x] for x in op.operands), default=1.0)
        return op

    def _value(self, exact: bool = False) -> Value:
        values = [op.out for op in self.ops if not (exact and op.out in self.rough)]
        late = values[-4:] if self.rng.random() < 0.6 else values
        return late[int(self.rng.integers(len(late)))]

    def _draw_op(self) -> None:
        kinds = [self._unary, self._binary, self._where, self._cast, self._reduction, self._reshape, self._broadcast]
        odds = [0.15, 0.35, 0.08, 0.06, 0.2, 0.12, 0.04]
        try:
            op = kinds[int(self.rng.choice(len(kinds), p=odds))]()
        except (TypeError, ValueError):  # shapes that do not fit, or an operation without a loop for the dtypes
            return
        if op is not None and op.out.dtype != np.float16:
            self._add(op)

    def _unary(self) -> Op | None:
        name = str(self.rng.choice(UNARY))
        x = self._value(name in DECIDING)
        return None if name == "exp" and self.bound[x] > 30 else self._grown(make(name, x))

    def _binary(self) -> Op:
        name = str(self.rng.choice(BINARY))
        x = self._value(name in DECIDING)
        y = self._value(name in DECIDING) if self.rng.random() < 0.8 else self.rng.choice([2, 0.5, -1.0]).item()
        x, y = (x, y) if self.rng.random() < 0.5 else (y, x)
        if name == "divide":  # not by numbers near 0, whose sign would matter
            y = self._add(make("add", self._add(make("square", y)).out, 1)).out if isinstance(y, Value) else y
        return self._grown(make(name, x, y))

    def _grown(self, op: Op) -> Op | None:
        """The op, or None if its numbers would no longer be exact."""
        bounds = [self.bound[x] if isinstance(x, Value) else 2.0 for x in op.ins]
        size = {"multiply": np.prod, "square": lambda b: b[0] ** 2, "add": sum, "subtract": sum, "exp": lambda b: 1e3}
        grown = float(size.get(op.name, max)(bounds))
        if grown > 2.0**20 or (op.out.shape and max(op.out.shape) > (125 if self.merges else 5)):
            raise ValueError
        self.bound[op.out] = grown
        return op

    def _where(self) -> Op:
        conditions = [op.out for op in self.ops if op.out.dtype.kind == "b" and op.out not in self.rough]
        if not conditions:
            raise ValueError
        c = conditions[int(self.rng.integers(len(conditions)))]
        return make("where", c, self._value(), self._value())

    def _cast(self) -> Op:
        dtype = np.dtype(self.rng.choice(DTYPES))
        return make("cast", self._value(dtype.kind != "f"), dtype=dtype)

    def _reduction(self) -> Op:
        name = str(self.rng.choice(["sum", "sum", "sum", "max", "min", "all", "any"]))
        x = self._value(name in ("all", "any"))
        axes = tuple(k for k in range(x.ndim) if self.rng.random() < 0.5)
        op = make(name, x, axes=axes)
        if name == "sum" and x.dtype.kind == "f":
            self.rough.add(op.out)
        return op

    def _reshape(self) -> Op:
        x = self._value()
        if self.merges and x.shape in (pair := (self.space, (math.prod(self.space[:-1]), self.space[-1]))):
            return make("reshape", x, shape=pair[x.shape == pair[0]])
        if self.rng.random() < 0.2:
            bounds = tuple((int(n > 2), n, 1) for n in x.shape)
            return make("slice", x, bounds=bounds)
        if self.rng.random() < 0.1:
            return make("transpose", x, axes=tuple(int(k) for k in self.rng.permutation(x.ndim)))
        shape = [n for n in x.shape if n != 1 or self.rng.random() < 0.4]
        for _ in range(int(self.rng.integers(0, 3))):
            if len(shape) < 4:
                shape.insert(int(self.rng.integers(0, len(shape) + 1)), 1)
        return make("reshape", x, shape=tuple(shape))

    def _broadcast(self) -> Op:
        x = self._value()
        return make("broadcast", x, shape=np.broadcast_shapes(x.shape, self.space))


def evaluate(program: Program, contents: dict[Buffer, Any]) -> tuple[list[Any], dict[Buffer, Any]]:
    """The outputs, and the final content of the buffers, from their initial content."""
    values: dict[Value, Any] = {}
    with np.errstate(all="ignore"):
        for op in program.ops:
            values[op.out] = np.asarray(_computed(op, [values.get(x, x) for x in op.ins], contents))
    return [values[v] for v in program.outputs], {b: values[v] for b, v in program.stores.items()}


def _computed(op: Op, ins: list[Any], contents: dict[Buffer, Any]) -> Any:
    name, p = op.name, op.params
    if name in UFUNCS:
        return UFUNCS[name](*ins)
    if name in REDUCTIONS:
        return REDUCTIONS[name].reduce(ins[0], axis=p["axes"], keepdims=True)
    if name in VIEWS:
        return viewed(ins[0], step_of(op))
    others: dict[str, Any] = {
        "input": lambda: contents[p["buffer"]],
        "where": lambda: np.where(*ins),
        "cast": lambda: ins[0].astype(p["dtype"]),
        "broadcast": lambda: np.broadcast_to(ins[0], p["shape"]),
        "full": lambda: np.full(p["shape"], p["value"], p["dtype"]),
        "matmul": lambda: np.matmul(*ins),
        "concatenate": lambda: np.concatenate(ins, p["axis"]),
        "gather": lambda: ins[0][tuple(ins[1:])],
    }
    return others[name]()
