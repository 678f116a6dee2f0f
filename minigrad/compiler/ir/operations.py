"""What ops compute, as functions of NumPy: for the proofs of passes, and for audits that round in another way.

Back ends write source of their own (`numpy/program_source.py`), which the proofs and audits test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import REDUCTIONS, UFUNCS, ArgSlot, Op
from minigrad.compiler.ir.typing import real_index
from minigrad.compiler.ir.view_memory import viewed, viewed_through
from minigrad.ops.special import WHOLE

Function = Callable[..., Any]


def function_of(op: Op) -> Function:
    """The function that computes the value of an op from its operands: plain arrays, or arrays that NumPy knows.

    Raises:
        KeyError: for `input`, `random`, `call` and `check`, which need more than their operands.
    """
    if op.name in UFUNCS:
        return UFUNCS[op.name]
    if op.name in REDUCTIONS:
        return partial(REDUCTIONS[op.name].reduce, axis=op.params["axes"], keepdims=True)
    return FUNCTIONS[op.name](op, **op.params)


def filled(template: Any, operands: Sequence[Any]) -> Any:
    """The arguments of a call, with operands instead of their slots."""
    if isinstance(template, ArgSlot):
        return operands[template.k]
    if isinstance(template, dict):
        return {key: filled(x, operands) for key, x in template.items()}
    if isinstance(template, (tuple, list)) and not hasattr(template, "_fields"):
        return type(template)(filled(x, operands) for x in template)
    return template


def _full(op: Op, *, shape: Any, dtype: Any, value: Any) -> Function:
    array = np.full(shape, value, dtype)
    return lambda: array


def _where(op: Op) -> Function:
    dtype = op.out.dtype
    return lambda c, x, y: np.asarray(np.where(c, x, y), dtype)


def _set_slice(op: Op, *, steps: Any) -> Function:
    places = viewed_through(np.arange(op.out.size).reshape(op.out.shape), steps).reshape(-1)

    def set_slice(x: Any, y: Any) -> Any:
        flat = np.copy(x).reshape(-1)
        flat[places] = y.reshape(-1)
        return flat.reshape(op.out.shape)

    return set_slice


def _gather(op: Op, *, index: Any) -> Function:
    return lambda x, *arrays: x[real_index(index, arrays)]


def _scatter(op: Op, *, index: Any, how: str) -> Function:
    def scatter(x: Any, y: Any, *arrays: Any) -> Any:
        out = np.copy(x)
        if how == "add":
            np.add.at(out, real_index(index, arrays), y)
        else:
            out[real_index(index, arrays)] = y
        return out

    return scatter


FUNCTIONS: dict[str, Callable[..., Function]] = {
    "full": _full,
    **{name: lambda op, function=function: function for name, function in WHOLE.items()},
    "where": _where,
    "cast": lambda op, *, dtype: lambda x: np.asarray(x).astype(dtype),
    "broadcast": lambda op, *, shape: lambda x: np.broadcast_to(x, shape),
    "matmul": lambda op: np.matmul,
    "convolution": lambda op, *, function, settings, shape: partial(function, **dict(settings)),
    "reshape": lambda op, *, shape: lambda x: np.reshape(x, shape),
    "transpose": lambda op, *, axes: lambda x: np.transpose(x, axes),
    "slice": lambda op, *, bounds: lambda x: viewed(x, ("slice", bounds)),
    "set_slice": _set_slice,
    "concatenate": lambda op, *, axis: lambda *arrays: np.concatenate(arrays, axis),
    "gather": _gather,
    "scatter": _scatter,
    "copy": lambda op: lambda x: np.array(x, order="C"),
}
