"""Programs that round in another way: Monte Carlo arithmetic (Parker 1997).

A recorded program runs op by op, and each rounded result is multiplied by 1 + ε u with a random u. That happens a few
times in the life of a program at most, so nothing is planned, written or compiled for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from minigrad.compiler.ir.operations import filled, function_of
from minigrad.compiler.ir.program import EXACT, Buffer, Op, Program, Value
from minigrad.compiler.refusal import CheckFailed

Step = tuple[
    Callable[..., Any], tuple[int, ...], tuple[int, ...], Any
]  # function, slots of operands and results, factor


class Rounded:
    """A recorded program whose roundings can be changed. Checks are left out.

    It takes the place of the source of a program (`Specialization.adopt`, `Specialization.run`).
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
        """For each rounded value a view of the noise in its dtype."""
        used = dict.fromkeys(self.noise, 0)
        for v in rounded:
            start = used[v.dtype]
            used[v.dtype] += v.size
            yield v, self.noise[v.dtype][start : start + v.size].reshape(v.shape)

    def draw(self, rng: np.random.Generator) -> None:
        """Round in another way: by random factors between 1 - ε and 1 + ε. They are 1 at first."""
        for dtype, array in self.noise.items():
            u = rng.random(array.size, np.float64 if dtype.itemsize > 4 else np.float32)
            array[...] = 1 + np.finfo(dtype).eps * (2 * u - 1)

    def run(self, *arguments: Any) -> list[Any]:
        """Run the program: return its outputs, and store into its buffers.

        Raises:
            CheckFailed: an op raised. Nothing was stored.
        """
        slots = self.slots
        for k, buffer in self.inputs:
            slots[k] = buffer.array if buffer.place is None else arguments[buffer.place]
        try:
            for function, ins, outs, factor in self.steps:
                result = function(*[slots[k] for k in ins])
                if len(outs) > 1:
                    for k, part in zip(outs, result, strict=True):
                        slots[k] = part
                else:
                    slots[outs[0]] = result if factor is None else result * factor
        except Exception as error:
            raise CheckFailed(str(error)) from error
        stored = [(b, np.array(slots[self.number[v]])) for b, v in self.program.stores.items()]
        outputs = [np.array(slots[self.number[v]]) for v in self.program.outputs]
        for buffer, content in stored:
            target: Any = arguments[buffer.place] if buffer.place is not None else buffer.array
            np.copyto(target, content)
        return outputs


def _is_rounded(op: Op, v: Value) -> bool:
    return v.dtype.kind == "f" and op.name not in ("input", "check")


def _function(program: Program, op: Op) -> Callable[..., Any]:
    """The function that computes an op from its operands."""
    if op.name == "random":
        return _random(program, op, **op.params)
    return _call(op, **op.params) if op.name == "call" else function_of(op)


def _random(program: Program, op: Op, *, generator: int, method: str, args: Any, kwargs: Any) -> Callable[..., Any]:
    source, dtype = program.generators[generator], op.out.dtype

    def random(*ins: Any) -> Any:
        if method == "shuffle":
            array = np.array(ins[0])
            source.shuffle(array, **kwargs)
            return array
        return np.asarray(getattr(source, method)(*filled(args, ins), **filled(kwargs, ins)), dtype)

    return random


def _call(op: Op, *, function: Any, args: Any, kwargs: Any) -> Callable[..., Any]:
    forms = [(v.shape, v.dtype) for v in op.outs]

    def call(*ins: Any) -> Any:
        result = function(*filled(args, ins), **filled(kwargs, ins))
        results = result if len(forms) > 1 or isinstance(result, (tuple, list)) else (result,)
        if [(np.shape(x), x.dtype) for x in results] != forms:
            raise CheckFailed("a function returns another shape or dtype than before")
        return results if len(forms) > 1 else results[0]

    return call
