"""The program: what a traced step did, as ops in single assignment.

An `Op` computes values from values: an operation, its operands (`ins`), parameters (`params`), and the values
that it makes (`outs`, nearly always one; a `check` makes none). An operand is a `Value` or a literal: a Python bool,
int, float or complex, which is weak in promotion as in NumPy. Values have NumPy's own shapes and result dtypes. Nothing
in a program is ever written: values are mathematical, so ops may be merged, moved and removed as their operands allow.
Only three kinds of ops have an order or an identity: `input`, `random`, and `call` of a function with an effect.

A `check` is what eager code refuses by looking at values. A program whose check fails raises CheckFailed, and has then
changed nothing that is visible from outside: no buffer, and no Generator (numpy/program_source.py restores those).
The same holds where a `call` raises, or returns other shapes or dtypes than the recorded ones. So a check needs no
order, and runs as early as its operands allow (checks.py). It is never removed, except where it always holds.

Memory appears at the edges only. A `Buffer` is an array that exists outside: an argument, or an array of the user's
(a parameter, running statistics, an optimizer's state). Its content at the beginning is the value of its `input` op.
`stores` says what each written buffer holds at the end. All stores happen at once: a stored value may be computed from,
or be, the old content of any buffer (two buffers may swap theirs). The plan (numpy/plan.py) decides how values are
placed in memory, in the buffer itself where that is safe. Two buffers never overlap.

    outputs     values that the step returns, as new arrays
    stores      Buffer -> the value that it holds at the end

The ops, with operands x, y, ... Those that are "elementwise" broadcast as in NumPy.

    input        ()          buffer                   the content of a buffer at the beginning
    full         ()          shape, dtype, value      one literal, everywhere
    add, exp ... (x, ...)                             a ufunc with one output, by NumPy's name; elementwise
    erf          (x,)                                 minigrad's error function; elementwise
    normal_cdf   (x,)                                 the distribution function of the standard normal; elementwise
    where        (c, x, y)                            c is bool; elementwise
    cast         (x,)        dtype                    astype; elementwise
    broadcast    (x,)        shape                    x repeated to the shape
    sum prod max min all any (x,)  axes               a ufunc's reduce. axes: sorted, non-negative, at least one. They
                                                      are always kept with size 1; a reshape may drop them
    matmul       (x, y)                               np.matmul, both with at least one axis
    convolution  (x, y)      function, settings,      one of the maps of ops/spatial/conv_primitives.py, with
                             shape                    settings as pairs of a name and a value
    reshape      (x,)        shape                    elements in C order
    transpose    (x,)        axes
    slice        (x,)        bounds                   for each axis (start, stop, step) with start and stop as in a
                                                      Python slice, normalized; no axis is dropped (a reshape may)
    set_slice    (x, y)      steps                    a copy of x with y as the part that `steps` view. steps: pairs of
                                                      ("reshape", shape), ("transpose", axes), ("slice", bounds)
    concatenate  (x, ...)    axis
    gather       (x, i, ...) index                    x[index], where index is a tuple of ints, (start, stop, step),
                                                      None, Ellipsis, and ArgSlot(k), the k-th of i, ...
    scatter      (x, y, i, ...) index, how            a copy of x with x[index] = y (how="set"), or with y added ("add")
    random       (x, ...)    generator, method,       numbers from program.generators[generator]: method(*args,
                             args, kwargs             **kwargs); ArgSlot(k) stands for the k-th operand
    copy         (x,)                                 x in C order, in its own memory
    call         (x, ...)    function, args, kwargs   an opaque NumPy function; ArgSlot(k) stands for the k-th operand
    check        (x,)        low, high                makes no value. Fails if an element of x is < low or > high, so
                                                      low = high = True says that all are true. NaN passes

`typing.check` tests a program for all of this, and for the shapes and dtypes that NumPy would give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

Literal = bool | int | float | complex

VIEWS = frozenset({"reshape", "transpose", "slice"})
REDUCTIONS: dict[str, np.ufunc] = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "all": np.logical_and,
    "any": np.logical_or,
}
UFUNCS: dict[str, np.ufunc] = {
    f.__name__: f for f in vars(np).values() if isinstance(f, np.ufunc) and f.nout == 1 and f.signature is None
}
# do not round
EXACT = VIEWS | {"full", "random", "set_slice", "concatenate", "gather", "where", "broadcast", "copy", "call"}
EXACT |= {"maximum", "minimum", "fmax", "fmin", "negative", "absolute", "sign", "floor", "ceil", "max", "min"}
COMMUTATIVE = frozenset({"add", "multiply", "maximum", "minimum", "equal", "not_equal", "logical_and", "logical_or"})
ELEMENTWISE = frozenset(UFUNCS) | {"erf", "normal_cdf", "where", "cast", "broadcast"}


class Value:
    """An array that an op computes.

    `name` is the user's name for it (μ as mu), or None; `label` is how it is written in a formula.
    """

    __slots__ = ("dtype", "label", "name", "op", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any, op: Op) -> None:
        self.shape, self.dtype, self.op = shape, np.dtype(dtype), op
        self.name: str | None = None
        self.label: str | None = None

    def __repr__(self) -> str:
        return f"<{self.name or 'value'} of {self.op.name} {self.shape} {self.dtype}>"

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return self.size * int(self.dtype.itemsize)


class Op:
    """One operation: name(ins, params) computes outs. `operands` are the values among ins; `note` is a comment."""

    __slots__ = ("ins", "name", "note", "operands", "outs", "params")

    def __init__(
        self,
        name: str,
        ins: Iterable[Value | Literal],
        params: dict[str, Any],
        results: Iterable[tuple[tuple[int, ...], Any]],
        note: str = "",
    ) -> None:
        self.name, self.ins, self.params, self.note = name, tuple(ins), params, note
        self.operands = [x for x in self.ins if type(x) is Value]
        self.outs = tuple([Value(shape, dtype, self) for shape, dtype in results])

    @property
    def out(self) -> Value:
        """The value of an op that has one."""
        (out,) = self.outs
        return out

    def on(self, ins: Iterable[Value | Literal]) -> Op:
        """The same op on other operands of the same shapes and dtypes, with the same names; itself on its own."""
        ins = tuple(ins)
        for x, y in zip(ins, self.ins, strict=True):
            if x is not y:
                break
        else:
            return self
        op = Op(self.name, ins, self.params, [(v.shape, v.dtype) for v in self.outs], self.note)
        for old, new in zip(self.outs, op.outs, strict=True):
            new.name, new.label = old.name, old.label
        return op

    def __repr__(self) -> str:
        return f"<{self.name} {', '.join(f'{v.shape} {v.dtype}' for v in self.outs)}>"


class ArgSlot:
    """Stands for the k-th operand in the arguments of a call, or for the k-th array in an index."""

    __slots__ = ("k",)

    def __init__(self, k: int) -> None:
        self.k = k

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArgSlot) and self.k == other.k

    def __hash__(self) -> int:
        return hash((ArgSlot, self.k))

    def __repr__(self) -> str:
        return f"ArgSlot({self.k})"


class Buffer:
    """An array outside of the program.

    Args:
        name: the user's name for it.
        kind: "argument" (another array at each call, in C order), "state" (the same array at each call), "scratch" (a
            state that nobody reads after the step, so that its content at the end does not matter), or "kept" (an array
            that the compiled step makes and that outlives it, such as a parameter's gradient; it has no input).
        array: the array. The attribute is None for an argument.
        place: the number of an argument.
        holder: the object that shows a kept array to the user. The plan may place the array in other memory, and the
            holder looks there while the program runs.
        is_constant: whether a state is out of the user's reach, so that its content is the same in each call.
    """

    __slots__ = ("array", "dtype", "holder", "is_constant", "kind", "name", "place", "shape")

    def __init__(
        self,
        name: str,
        kind: str,
        array: Any,
        place: int | None = None,
        holder: Any = None,
        is_constant: bool = False,
    ) -> None:
        self.name, self.kind, self.place, self.holder, self.is_constant = name, kind, place, holder, is_constant
        self.shape, self.dtype = array.shape, array.dtype
        self.array = None if kind == "argument" else array

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name} {self.shape} {self.dtype}>"


class Program:
    """Ops in an order in which they can run, the buffers that they read, and the results.

    `scalars` are the indices of outputs that a call returns as NumPy scalars.
    """

    __slots__ = ("buffers", "generators", "ops", "outputs", "scalars", "stores")

    def __init__(
        self,
        ops: list[Op],
        buffers: list[Buffer],
        stores: dict[Buffer, Value],
        outputs: list[Value],
        generators: list[Any],
        scalars: frozenset[int] = frozenset(),
    ) -> None:
        self.ops, self.buffers, self.stores, self.outputs = ops, buffers, stores, outputs
        self.generators, self.scalars = generators, scalars

    def __len__(self) -> int:
        return sum(op.name != "input" for op in self.ops)

    def users(self) -> dict[Value, list[Op]]:
        """For each value the ops that read it, in order; an op occurs once for each operand."""
        users: dict[Value, list[Op]] = {v: [] for op in self.ops for v in op.outs}
        for op in self.ops:
            for v in op.operands:
                users[v].append(op)
        return users

    def results(self) -> list[Value]:
        """The outputs and the stored values."""
        return [*self.outputs, *self.stores.values()]

    def replaced(self, change: Callable[[Value], Value], ops: list[Op]) -> Program:
        """A program with other ops on the same buffers and generators, with its results mapped by `change`."""
        stores = {b: change(v) for b, v in self.stores.items()}
        return Program(ops, self.buffers, stores, [change(v) for v in self.outputs], self.generators, self.scalars)

    def __str__(self) -> str:
        """A line of text for each op."""
        names: dict[Value, str] = {}
        text = []
        for op in self.ops:
            for v in op.outs:
                names[v] = f"%{len(names) + 1}" + (f":{v.name}" if v.name else "")
            ins = ", ".join(names[x] if isinstance(x, Value) else repr(x) for x in op.ins)
            params = "".join(f", {k}={_short(v)}" for k, v in op.params.items())
            outs = ", ".join(f"{names[v]} {v.shape} {v.dtype}" for v in op.outs)
            outs = f"{outs} = " if outs else ""
            text.append(f"{outs}{op.name}({ins}{params})" + (f"  # {op.note}" if op.note else ""))
        text += [f"store {b.name} {names[v]}" for b, v in self.stores.items()]
        return "\n".join([*text, f"return {', '.join(names[v] for v in self.outputs)}"])


def _short(x: Any) -> str:
    return x.name if isinstance(x, Buffer) else getattr(x, "__name__", None) or repr(x)


def origin(x: Value, through: Collection[str] = VIEWS) -> Value:
    """The value that x is made from by nothing but ops with these names."""
    while x.op.name in through:
        x = x.op.operands[0]
    return x


def without_dead_code(program: Program) -> Program:
    """The program without ops that nothing needs. Random numbers are drawn, and checks are made, in any case."""
    stores = {b: v for b, v in program.stores.items() if v.op.name != "input" or v.op.params["buffer"] is not b}
    needed = {v.op for v in (*program.outputs, *stores.values())}
    for op in reversed(program.ops):
        if op in needed or op.name in ("random", "check"):
            needed.add(op)
            needed.update(v.op for v in op.operands)
    ops = [op for op in program.ops if op in needed]
    return Program(ops, program.buffers, stores, program.outputs, program.generators, program.scalars)
