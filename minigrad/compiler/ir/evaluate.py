"""The values of a program, op by op, on exact arrays or on plain ones, for proofs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.compiler.ir.operations import function_of
from minigrad.compiler.ir.program import Op, Program, Value
from minigrad.exact import Constants, Exact, Inexact
from minigrad.exact.products import bilinear
from minigrad.exact.tables import UFUNCS as EXACT_UFUNCS
from minigrad.ops.special import WHOLE

Array = Any  # an exact array, a plain one of bools or integers, or any plain one where nothing is exact
FLOATS = {"where": (1, 2), "gather": (0,), "scatter": (0, 1)}  # which operands are numbers like the result


class Evaluator:
    """Evaluates programs on the same inputs.

    Args:
        inputs: gives the content of a buffer.
        draw: gives the value of an op `random`.
        call: gives the values of an op `call`, from its operands.
        exact: whether floating-point values are exact arrays; otherwise they are plain arrays of float64.
    """

    def __init__(
        self,
        inputs: Callable[[Any], Array],
        draw: Callable[[Op, list[Array]], Array],
        call: Callable[[Op, Sequence[Array]], Sequence[Array]],
        exact: bool = True,
    ) -> None:
        self.inputs, self.draw, self.call, self.exact = inputs, draw, call, exact
        self.constants = Constants()
        self.fixed: set[Value] = set()  # values that are computed from literals only
        self.known: dict[Op, tuple[list[Array], tuple[Array, ...]]] = {}  # by op: operands and results

    def values(self, program: Program) -> dict[Value, Array]:
        """All values of a program. An op with the operands that it had in another program is not computed again.

        Raises:
            Inexact: an operation is not known in exact arithmetic.
            Redraw: a comparison or a root cannot be decided for these inputs.
        """
        values: dict[Value, Array] = {}
        for op in program.ops:
            ins = [values[x] if isinstance(x, Value) else x for x in op.ins]
            before = self.known.get(op)
            if before is not None and op.name != "random" and all(x is y for x, y in zip(before[0], ins, strict=True)):
                results = before[1]
            else:
                results = self._computed(op, ins)
                self.known[op] = ins, results
            for v, result in zip(op.outs, results, strict=True):
                if np.shape(result) != v.shape:
                    raise AssertionError(f"{op} computes an array of shape {np.shape(result)}")
                values[v] = result
        return values

    def _computed(self, op: Op, ins: list[Array]) -> tuple[Array, ...]:
        if op.name == "input":
            return (self.inputs(op.params["buffer"]),)
        if op.name == "random":
            return (self.draw(op, ins),)
        if op.name == "check":  # has no value; which checks a pass may remove is tested with the pass
            return ()
        if op.name == "call":
            return tuple(self.call(op, ins))
        dtype = op.out.dtype
        if dtype.kind not in "biuf":
            raise Inexact(f"{op.name} of dtype {dtype}")
        if dtype.kind == "f":
            which = FLOATS.get(op.name, range(len(ins)))
            ins = [self.number(x) if k in which else x for k, x in enumerate(ins)]
        with np.errstate(all="ignore"):
            result = self._result(op, ins)
        if not isinstance(result, Exact):
            return (np.asarray(result, np.float64 if dtype.kind == "f" else dtype),)
        self._learn(op, result)
        return (result,)

    def number(self, x: Any) -> Array:
        """An operand of an op whose value is floating-point."""
        if not self.exact:
            return np.asarray(x, np.float64)
        if isinstance(x, Exact):
            return x
        number = Exact.of(x)
        if type(x) is float and number.q is not None:
            self.constants.learn(x, int(number.p), int(number.q))
        return number

    def _learn(self, op: Op, result: Exact) -> None:
        """Note the value of an op on literals: a pass may compute it."""
        if all(x in self.fixed for x in op.operands) and result.size and op.name != "concatenate":
            self.fixed.add(op.out)
            q = None if result.q is None else int(result.q.flat[0])
            self.constants.learn(float(result.real.flat[0]), int(result.p.flat[0]), q if q is None or q >= 0 else None)

    def _result(self, op: Op, ins: list[Array]) -> Array:
        if op.name in EXACT_OPS:
            return EXACT_OPS[op.name](self, op, *ins, **op.params)
        try:
            function = function_of(op)
        except KeyError:
            raise Inexact(op.name) from None
        return function(*ins)


def _full(self: Evaluator, op: Op, *, shape: Any, dtype: Any, value: Any) -> Array:
    if op.out.dtype.kind != "f":
        return np.full(shape, value, dtype)
    return np.broadcast_to(self.number(value), shape)


def _convolution(self: Evaluator, op: Op, x: Array, y: Array, *, function: Any, settings: Any, shape: Any) -> Array:
    if isinstance(x, Exact):
        return bilinear(function, x, y, **dict(settings))
    return function(x, y, **dict(settings))


def _opaque(self: Evaluator, op: Op, x: Array) -> Array:
    return EXACT_UFUNCS[op.name](x) if isinstance(x, Exact) else WHOLE[op.name](x)


EXACT_OPS: dict[str, Callable[..., Array]] = {  # where exact arrays need something else than NumPy's function
    "full": _full,
    **dict.fromkeys(WHOLE, _opaque),
    "where": lambda self, op, c, x, y: np.where(c, x, y),
    "cast": lambda self, op, x, *, dtype: x if np.dtype(dtype).kind == "f" else x.astype(dtype),
    "convolution": _convolution,
    "copy": lambda self, op, x: x,
}


def work(program: Program) -> int:
    """How many elements a proof has to compute: those of all values, and of products a part of the terms."""
    total = 0
    for op in program.ops:
        total += sum(v.size for v in (*op.outs, *op.operands))
        if op.name == "matmul":
            total += op.out.size * op.operands[0].shape[-1] // 16
        elif op.name == "convolution":
            x, y = op.operands
            total += max(x.size * y.size, op.out.size * min(x.size, y.size)) // 64
    return total
