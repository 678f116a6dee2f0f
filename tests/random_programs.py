"""Random programs of what kernels are made of, and their values by plain NumPy, line by line.

Sizes of axes differ (and are 1 now and then), values are read again much later, stores go to buffers that are read as
well. Data are small integers: sums of them are exact in any order. What is not exact (`rough`) is compared with a
tolerance, and never decides about a comparison or an integer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import REDUCTIONS, UFUNCS, VIEWS, Buffer, Line, Program, Value
from minigrad.compiler.ir.typing import check, make
from minigrad.compiler.ir.view_memory import viewed
from minigrad.compiler.numpy.plan import step_of
from minigrad.compiler.passes.pipeline import without_dead_code

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
    """A program in the making. With `merges`, reshapes make one axis of all but the last, and undo it."""

    def __init__(self, seed: int, lines: int = 14, merges: bool = False) -> None:
        self.rng, self.merges = np.random.default_rng(seed), merges
        self.lines: list[Line] = []
        self.rough: set[Value] = set()
        self.bound: dict[Value, float] = {}
        ndim = int(self.rng.integers(1, 5))
        sizes = self.rng.choice([1, 2, 3, 4, 5], ndim)
        self.space = tuple(int(n) for n in sizes)
        self.buffers = [self._buffer(k) for k in range(int(self.rng.integers(2, 5)))]
        for b in self.buffers:
            line = self._add(make("input", buffer=b))
            self.bound[line.out] = 3.0
        while len(self.lines) < lines + len(self.buffers):
            self._line()

    def program(self) -> Program:
        """With some of the last values as outputs, and stores wherever a value fits into a buffer."""
        made = [line.out for line in self.lines if line.op != "input"]
        some = max(1, len(made) // 3)
        outputs = [made[-1], *(v for v in made[-some:-1] if self.rng.random() < 0.3)]
        stores = {}
        for b in self.buffers:
            fit = [v for v in made if (v.shape, v.dtype) == (b.shape, b.dtype)]
            if b.kind == "state" and fit and self.rng.random() < 0.7:
                stores[b] = fit[int(self.rng.integers(len(fit)))]
        return check(without_dead_code(Program(self.lines, self.buffers, stores, outputs, [])))

    def _buffer(self, k: int) -> Buffer:
        shape = [n if self.rng.random() < 0.7 else 1 for n in self.space]
        shape = shape[int(self.rng.integers(0, len(shape) + 1)) if self.rng.random() < 0.3 else 0 :]
        dtype = np.dtype(self.rng.choice(DTYPES if k else FLOATS))
        array = self.rng.integers(0, 2, shape) if dtype.kind == "b" else self.rng.integers(-3, 4, shape)
        if self.rng.random() < 0.5:
            return Buffer(f"x{k}", "state", np.asarray(array.astype(dtype)))
        number = sum(line.params["buffer"].kind == "argument" for line in self.lines)
        return Buffer(f"x{k}", "argument", np.asarray(array.astype(dtype)), number)

    def _add(self, line: Line) -> Line:
        self.lines.append(line)
        if any(x in self.rough for x in line.operands) or line.op in ROUGH:
            self.rough.add(line.out)
        self.bound[line.out] = max((self.bound[x] for x in line.operands), default=1.0)
        return line

    def _value(self, exact: bool = False) -> Value:
        made = [line.out for line in self.lines if not (exact and line.out in self.rough)]
        late = made[-4:] if self.rng.random() < 0.6 else made
        return late[int(self.rng.integers(len(late)))]

    def _line(self) -> None:
        kinds = [self._unary, self._binary, self._where, self._cast, self._reduction, self._reshape, self._broadcast]
        odds = [0.15, 0.35, 0.08, 0.06, 0.2, 0.12, 0.04]
        try:
            line = kinds[int(self.rng.choice(len(kinds), p=odds))]()
        except (TypeError, ValueError):  # shapes that do not fit, or an operation without a loop for the dtypes
            return
        if line is not None and line.out.dtype != np.float16:
            self._add(line)

    def _unary(self) -> Line | None:
        op = str(self.rng.choice(UNARY))
        x = self._value(op in DECIDING)
        return None if op == "exp" and self.bound[x] > 30 else self._grown(make(op, x))

    def _binary(self) -> Line:
        op = str(self.rng.choice(BINARY))
        x = self._value(op in DECIDING)
        y = self._value(op in DECIDING) if self.rng.random() < 0.8 else self.rng.choice([2, 0.5, -1.0]).item()
        x, y = (x, y) if self.rng.random() < 0.5 else (y, x)
        if op == "divide":  # by nothing near 0, whose sign would decide
            y = self._add(make("add", self._add(make("square", y)).out, 1)).out if isinstance(y, Value) else y
        return self._grown(make(op, x, y))

    def _grown(self, line: Line) -> Line | None:
        """None for numbers that would no longer be exact."""
        bounds = [self.bound[x] if isinstance(x, Value) else 2.0 for x in line.ins]
        size = {"multiply": np.prod, "square": lambda b: b[0] ** 2, "add": sum, "subtract": sum, "exp": lambda b: 1e3}
        grown = float(size.get(line.op, max)(bounds))
        if grown > 2.0**20 or (line.out.shape and max(line.out.shape) > (125 if self.merges else 5)):
            raise ValueError
        self.bound[line.out] = grown
        return line

    def _where(self) -> Line:
        conditions = [line.out for line in self.lines if line.out.dtype.kind == "b" and line.out not in self.rough]
        if not conditions:
            raise ValueError
        c = conditions[int(self.rng.integers(len(conditions)))]
        return make("where", c, self._value(), self._value())

    def _cast(self) -> Line:
        dtype = np.dtype(self.rng.choice(DTYPES))
        return make("cast", self._value(dtype.kind != "f"), dtype=dtype)

    def _reduction(self) -> Line:
        op = str(self.rng.choice(["sum", "sum", "sum", "max", "min", "all", "any"]))
        x = self._value(op in ("all", "any"))
        axes = tuple(k for k in range(x.ndim) if self.rng.random() < 0.5)
        line = make(op, x, axes=axes)
        if op == "sum" and x.dtype.kind == "f":
            self.rough.add(line.out)
        return line

    def _reshape(self) -> Line:
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

    def _broadcast(self) -> Line:
        x = self._value()
        return make("broadcast", x, shape=np.broadcast_shapes(x.shape, self.space))


def evaluate(program: Program, given: dict[Buffer, Any]) -> tuple[list[Any], dict[Buffer, Any]]:
    """Outputs, and what the buffers hold at the end, from what they hold at the beginning."""
    found: dict[Value, Any] = {}
    with np.errstate(all="ignore"):
        for line in program.lines:
            found[line.out] = np.asarray(_computed(line, [found.get(x, x) for x in line.ins], given))
    return [found[v] for v in program.outputs], {b: found[v] for b, v in program.stores.items()}


def _computed(line: Line, ins: list[Any], given: dict[Buffer, Any]) -> Any:
    op, p = line.op, line.params
    if op in UFUNCS:
        return UFUNCS[op](*ins)
    if op in REDUCTIONS:
        return REDUCTIONS[op].reduce(ins[0], axis=p["axes"], keepdims=True)
    if op in VIEWS:
        return viewed(ins[0], step_of(line))
    others: dict[str, Any] = {
        "input": lambda: given[p["buffer"]],
        "where": lambda: np.where(*ins),
        "cast": lambda: ins[0].astype(p["dtype"]),
        "broadcast": lambda: np.broadcast_to(ins[0], p["shape"]),
        "full": lambda: np.full(p["shape"], p["value"], p["dtype"]),
        "matmul": lambda: np.matmul(*ins),
        "concatenate": lambda: np.concatenate(ins, p["axis"]),
        "gather": lambda: ins[0][tuple(ins[1:])],
    }
    return others[op]()
