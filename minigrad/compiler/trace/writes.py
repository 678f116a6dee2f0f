"""What a memory holds after a write through a view of it."""

from __future__ import annotations

import functools
from typing import Any, NoReturn

import numpy as np

from minigrad.compiler.ir.program import ArgSlot, Op, Value
from minigrad.compiler.ir.view_memory import Step, inverse, simplified, viewed_through
from minigrad.compiler.refusal import refuse
from minigrad.compiler.trace.tracer import TracerArray


def memory_after(trace: Any, x: TracerArray, value: Value) -> Value:
    """The value of all memory of x, when x gets a value."""
    while x.mg_parent is not None:
        x, value = _parent_after(trace, x, value)
    return value


def _parent_after(trace: Any, x: TracerArray, value: Value) -> tuple[TracerArray, Value]:
    """An array that x is a view of, and its value when x gets one."""
    assert x.mg_parent is not None
    assert x.mg_step is not None
    op, given = x.mg_step
    if op in ("call", "broadcast"):
        refuse_write()
    if op == "elements":
        if len(np.unique(given)) < given.size:
            refuse(
                f"a write goes into an array of shape {x.shape} of which several elements are the same memory",
                "write into a copy, or into the array that it is a view of",
            )
        index = trace.constant(given).mg_value
        return x.mg_parent, trace.emit("scatter", x.mg_parent.mg_value, value, index, index=(ArgSlot(0),), how="set")
    top, chain = x, []
    while top.mg_parent is not None and top.mg_step is not None and top.mg_step[0] in ("reshape", "transpose", "slice"):
        chain.append(top.mg_step)
        top = top.mg_parent
    steps = _as_one_put(top.shape, tuple(chain[::-1]))
    if steps is not None:
        return top, _put(trace, top.mg_value, value, steps)
    if op == "slice":
        return x.mg_parent, _put(trace, x.mg_parent.mg_value, value, (x.mg_step,))
    op, given = inverse(x.mg_parent.shape, x.mg_step)
    return x.mg_parent, trace.emit(op, value, **{"shape" if op == "reshape" else "axes": given})


@functools.lru_cache(maxsize=4096)
def _as_one_put(shape: tuple[int, ...], chain: tuple[Step, ...]) -> tuple[Step, ...] | None:
    """The steps to a part of an array, if it is written in one, which can be done where they make a view in C order."""
    steps = simplified(shape, list(chain))
    if all(step[0] != "slice" for step in steps):
        return None
    whole = np.empty(shape, bool)
    part = viewed_through(whole, steps)
    return tuple(steps) if not part.size or np.may_share_memory(part, whole) else None


def _put(trace: Any, x: Value, y: Value, steps: tuple[Step, ...]) -> Value:
    made: Value = trace.add(Op("set_slice", (x, y), {"steps": steps}, ((x.shape, x.dtype),))).outs[0]
    return made


def rewritten(trace: Any, function: Any, x: Any, args: Any, kwargs: Any) -> None:
    """function(x, ...), which writes into x: what is left there is a value that a function makes of all operands."""
    target = trace.writable(x, getattr(function, "__name__", str(function)))
    made = trace.opaque(_on_a_copy(function), (target, *args), kwargs)
    target.mg_write(made.mg_value)
    np.copyto(target.mg_array, made.mg_array)


@functools.cache
def _on_a_copy(function: Any) -> Any:
    """The function on a copy of its first argument, which it returns."""

    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        copy = np.array(x)
        function(copy, *args, **kwargs)
        return copy

    return call


def refuse_write() -> NoReturn:
    """The target of a write is a view of which nobody knows what it shows."""
    refuse("a write goes into a view that NumPy made in a way unknown to the compiler", "write into a copy")
