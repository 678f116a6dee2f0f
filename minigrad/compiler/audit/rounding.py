"""Programs that round in another way: Monte Carlo arithmetic (Parker 1997).

A recorded program is carried out line by line, and each result that was rounded is multiplied by 1 + ε u with a random
u. That is done a few times in the life of a program at most, so nothing is planned, written or compiled for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import EXACT, REDUCTIONS, UFUNCS, VIEWS, ArgSlot, Buffer, Op, Program, Value
from minigrad.compiler.ir.typing import real_index
from minigrad.compiler.ir.view_memory import viewed, viewed_through
from minigrad.compiler.refusal import CheckFailed
from minigrad.ops.special import WHOLE

Step = tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...], Any]  # what, of which slots, into which, a factor


class Rounded:
    """A recorded program whose roundings can be changed. Checks are left out.

    It stands in place of the source of a program (`Specialization.adopt`, `Specialization.run`).
    """

    is_silent = False

    def __init__(self, program: Program) -> None:
        self.program = program
        self.plan = SimpleNamespace(moved={})  # kept arrays lie in their buffers
        self.slots: list[Any] = []  # operands of ops: values, and literals
        self.number: dict[Value, int] = {}
        self.inputs: list[tuple[int, Buffer]] = []
        self.steps: list[Step] = []
        rounded = [v for op in program.ops if op.name not in EXACT for v in op.outs if _is_rounded(op, v)]
        self.noise = {d: np.ones(sum(v.size for v in rounded if v.dtype == d), d) for d in {v.dtype for v in rounded}}
        factors = dict(self._factors(rounded))
        for op in program.ops:
            if op.name == "input":
                self.inputs.append((self._slot(op.out), op.params["buffer"]))
            elif op.name != "check":
                ins = tuple(self._slot(x) for x in op.ins)
                outs = tuple(self._slot(v) for v in op.outs)
                self.steps.append((_function(program, op), ins, outs, factors.get(op.outs[0])))

    def _slot(self, x: Any) -> int:
        if isinstance(x, Value) and x in self.number:
            return self.number[x]
        self.slots.append(None if isinstance(x, Value) else x)
        if isinstance(x, Value):
            self.number[x] = len(self.slots) - 1
        return len(self.slots) - 1

    def _factors(self, rounded: list[Value]) -> Iterator[tuple[Value, Any]]:
        """For each value that is rounded a part of the noise in its dtype."""
        taken = dict.fromkeys(self.noise, 0)
        for v in rounded:
            start = taken[v.dtype]
            taken[v.dtype] += v.size
            yield v, self.noise[v.dtype][start : start + v.size].reshape(v.shape)

    def draw(self, rng: np.random.Generator) -> None:
        """Round in another way: by factors between 1 - ε and 1 + ε. They are 1 before."""
        for dtype, array in self.noise.items():
            u = rng.random(array.size, np.float64 if dtype.itemsize > 4 else np.float32)
            array[...] = 1 + np.finfo(dtype).eps * (2 * u - 1)

    def run(self, *arguments: Any) -> list[Any]:
        """What the program returns, and leaves in its buffers.

        Raises:
            CheckFailed: something raised, before anything was left.
        """
        slots = self.slots
        for k, buffer in self.inputs:
            slots[k] = buffer.array if buffer.place is None else arguments[buffer.place]
        try:
            for function, ins, outs, factor in self.steps:
                made = function(*[slots[k] for k in ins])
                if len(outs) > 1:
                    for k, part in zip(outs, made, strict=True):
                        slots[k] = part
                else:
                    slots[outs[0]] = made if factor is None else made * factor
        except Exception as error:
            raise CheckFailed(str(error)) from error
        stored = [(b, np.array(slots[self.number[v]])) for b, v in self.program.stores.items()]
        outputs = [np.array(slots[self.number[v]]) for v in self.program.outputs]
        for buffer, new in stored:
            target: Any = arguments[buffer.place] if buffer.place is not None else buffer.array
            np.copyto(target, new)
        return outputs


def _is_rounded(op: Op, v: Value) -> bool:
    return v.dtype.kind == "f" and op.name not in ("input", "check")


def _function(program: Program, op: Op) -> Callable[..., Any]:
    """What an op does with its operands."""
    name, params = op.name, op.params
    if name in UFUNCS:
        return UFUNCS[name]
    if name in REDUCTIONS:
        return partial(REDUCTIONS[name].reduce, axis=params["axes"], keepdims=True)
    if name in VIEWS:
        (how,) = params.values()
        return partial(_viewed, name, how)
    return _OPS[name](program, op, **params)


def _viewed(name: str, how: Any, x: Any) -> Any:
    return viewed(np.asarray(x), (name, how))


def _full(program: Program, op: Op, *, shape: Any, dtype: Any, value: Any) -> Callable[..., Any]:
    made = np.full(shape, value, dtype)
    return lambda: made


def _where(program: Program, op: Op) -> Callable[..., Any]:
    dtype = op.out.dtype
    return lambda c, x, y: np.asarray(np.where(c, x, y), dtype)


def _set_slice(program: Program, op: Op, *, steps: Any) -> Callable[..., Any]:
    def put(x: Any, y: Any) -> Any:
        made = np.array(x, order="C")
        viewed_through(made, steps)[...] = y
        return made

    return put


def _scatter(program: Program, op: Op, *, index: Any, how: str) -> Callable[..., Any]:
    def scatter(x: Any, y: Any, *arrays: Any) -> Any:
        made = np.array(x)
        if how == "add":
            np.add.at(made, real_index(index, arrays), y)
        else:
            made[real_index(index, arrays)] = y
        return made

    return scatter


def _random(program: Program, op: Op, *, generator: int, method: str, args: Any, kwargs: Any) -> Callable[..., Any]:
    source, dtype = program.generators[generator], op.out.dtype

    def draw(*ins: Any) -> Any:
        if method == "shuffle":
            made = np.array(ins[0])
            source.shuffle(made, **kwargs)
            return made
        return np.asarray(getattr(source, method)(*_filled(args, ins), **_filled(kwargs, ins)), dtype)

    return draw


def _call(program: Program, op: Op, *, function: Any, args: Any, kwargs: Any) -> Callable[..., Any]:
    forms = [(v.shape, v.dtype) for v in op.outs]

    def call(*ins: Any) -> Any:
        made = function(*_filled(args, ins), **_filled(kwargs, ins))
        parts = made if len(forms) > 1 or isinstance(made, (tuple, list)) else (made,)
        if [(np.shape(x), x.dtype) for x in parts] != forms:
            raise CheckFailed("a function returns another shape or dtype than before")
        return parts if len(forms) > 1 else parts[0]

    return call


def _filled(x: Any, ins: Any) -> Any:
    """Arguments of a call with the operands in their places."""
    if isinstance(x, ArgSlot):
        return ins[x.k]
    if isinstance(x, (tuple, list)):
        return type(x)(_filled(part, ins) for part in x)
    if isinstance(x, dict):
        return {key: _filled(part, ins) for key, part in x.items()}
    return x


_OPS: dict[str, Callable[..., Callable[..., Any]]] = {
    "full": _full,
    **{name: lambda program, op, whole=whole: whole for name, whole in WHOLE.items()},
    "where": _where,
    "cast": lambda program, op, *, dtype: lambda x: np.asarray(x).astype(dtype),
    "broadcast": lambda program, op, *, shape: lambda x: np.broadcast_to(x, shape),
    "matmul": lambda program, op: np.matmul,
    "convolution": lambda program, op, *, function, settings, shape: partial(function, **dict(settings)),
    "set_slice": _set_slice,
    "concatenate": lambda program, op, *, axis: lambda *arrays: np.concatenate(arrays, axis),
    "gather": lambda program, op, *, index: lambda x, *arrays: x[real_index(index, arrays)],
    "scatter": _scatter,
    "random": _random,
    "copy": lambda program, op: lambda x: np.array(x, order="C"),
    "call": _call,
}
