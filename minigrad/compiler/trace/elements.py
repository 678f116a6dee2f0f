"""How a trace records elements being read and written, casts, and writes through views."""

from __future__ import annotations

import functools
import math
import operator
from types import FunctionType
from typing import Any, NoReturn

import numpy as np

from minigrad.compiler.ir.program import ArgSlot, Literal, Op, Value
from minigrad.compiler.ir.view_memory import Step, basic, inverse, simplified, viewed_through
from minigrad.compiler.refusal import unsupported
from minigrad.compiler.trace.traced_number import TracedNumber, array_of, fits
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.tracer_operators import bare


def indexed(trace: Any, index: Any, shape: tuple[int, ...]) -> tuple[tuple[Any, ...], list[Value]]:
    """An index as programs contain it, with places instead of arrays, and the arrays. Later calls check their bounds.

    Args:
        trace: the trace.
        index: of any kind.
        shape: of the array that has the index.
    """
    template: list[Any] = []
    arrays: list[Value] = []
    for p in index if isinstance(index, tuple) else (index,):
        if isinstance(p, bool) or getattr(getattr(p, "dtype", None), "kind", "") == "b":
            if isinstance(p, TracerArray) and not trace.pin_array(p):
                unsupported(
                    "the shape of x[mask] depends on the values of the mask",
                    "use mg.where(mask, x, 0); or, for a mask that never changes, indices made outside of the "
                    "step, np.flatnonzero(mask)",
                )
            indices = np.nonzero(np.asarray(bare(p)))
            template += [ArgSlot(len(arrays) + k) for k in range(len(indices))]
            arrays += [trace.constant(i).mg_value for i in indices]
        elif isinstance(p, slice):
            template.append((p.start, p.stop, p.step))
        elif p is None or p is Ellipsis or (type(p) is not TracerArray and isinstance(p, (int, np.integer))):
            template.append(int(p) if isinstance(p, np.integer) else p)
        else:
            template.append(ArgSlot(len(arrays)))
            arrays.append(trace.operand(p))
    rest = len(shape) - sum(p is not None and p is not Ellipsis for p in template)
    axis = 0
    for p in template:
        if isinstance(p, ArgSlot):  # negative ones count from the end
            add_check(trace, arrays[p.k], -shape[axis], shape[axis] - 1)
        axis += rest if p is Ellipsis else p is not None
    return tuple(template), arrays


def check(trace: Any, x: TracerArray, low: Any, high: Any) -> Any:
    """Let later calls check that the elements of x are in [low, high]. Returns the values of this call."""
    if trace.open:
        add_check(trace, x.mg_value, low, high)
    return x.mg_array


def add_check(trace: Any, value: Value, low: Any, high: Any) -> None:
    """Add a check. An empty range has failed already, in the user's call."""
    if low <= high and value.size:
        trace.add(Op("check", (value,), {"low": low, "high": high}, ()))


def getitem(trace: Any, x: TracerArray, index: Any) -> Any:
    """x[index]."""
    index = _as_numbers(index)
    parts = index if isinstance(index, tuple) else (index,)
    if len(parts) == x.ndim and all(isinstance(p, (int, np.integer)) for p in parts):  # a scalar instead of a view
        index = parts = _with_arrays(trace, parts)
    if is_basic(parts):
        part = trace.view(x, basic(x.shape, parts), another=True)
        return part if isinstance(x.mg_array[index], np.ndarray) else trace.fresh(x.mg_array[index], part.mg_value)
    result = x.mg_array[bare(index)]
    template, arrays = indexed(trace, index, x.shape)
    return trace.fresh(result, trace.emit("gather", x.mg_value, *arrays, index=template))


def _as_numbers(index: Any) -> Any:
    """An index with numbers instead of objects that have a user's __index__."""
    if type(index) is tuple:
        return tuple(map(_as_numbers, index))
    has_own = isinstance(getattr(type(index), "__index__", None), FunctionType)
    return type(index).__index__(index) if has_own and not hasattr(type(index), "minigrad_tracer") else index


def _with_arrays(trace: Any, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """Parts of an index with arrays of shape () instead of traced integers, which NumPy treats alike."""
    return tuple(array_of(trace, p, []) if type(p) is TracedNumber and type(p.real) is int else p for p in parts)


def setitem(trace: Any, x: TracerArray, index: Any, new: Any) -> None:
    """x[index] = new."""
    writable(trace, x, "x[...] = value")
    index = _as_numbers(index)
    parts = index if isinstance(index, tuple) else (index,)
    if any(type(p) is TracedNumber for p in parts):
        index = parts = _with_arrays(trace, parts)
    if is_basic(parts):
        target = trace.view(x, basic(x.shape, parts))
        if same_part(target, new):
            return  # x[i] += y has written into x[i] already, and now assigns it
        value = fitted(trace, new, target.shape, target.dtype)
        target.mg_write(value)
        target.mg_array[...] = bare(new)
        return
    is_mask = isinstance(index, TracerArray) and index.dtype.kind == "b"
    is_single = math.prod(np.shape(new)) == 1
    if is_mask and not is_single and not trace.pin_array(index):
        rewritten(trace, operator.setitem, x, (index, new), {})
        return
    if is_mask and is_single:
        mask = trace.emit("reshape", index.mg_value, shape=index.shape + (1,) * (x.ndim - index.ndim))
        value = trace.emit("where", mask, fitted(trace, new, (), x.dtype), x.mg_value)
    else:
        template, arrays = indexed(trace, index, x.shape)
        v = stored(trace, new, x.dtype)
        if isinstance(v, Value) and v.dtype != x.dtype:
            v = trace.emit("cast", v, dtype=x.dtype)
        value = trace.emit("scatter", x.mg_value, v, *arrays, index=template, how="set")
    x.mg_write(value)
    x.mg_array[bare(index)] = bare(new)


def cast(trace: Any, x: TracerArray, dtype: Any, casting: Any, copy: bool) -> Any:
    """x.astype(dtype)."""
    if x.dtype == dtype:
        return np.copy(x) if copy else x
    return trace.fresh(x.mg_array.astype(dtype, casting=casting), trace.emit("cast", x.mg_value, dtype=dtype))


def is_basic(parts: tuple[Any, ...]) -> bool:
    """Whether an index consists of ints, slices, None and Ellipsis."""
    return not any(type(p) is TracerArray for p in parts) and all(  # a tracer may represent a NumPy integer
        p is None or p is Ellipsis or (isinstance(p, (int, slice, np.integer)) and not isinstance(p, bool))
        for p in parts
    )


def same_part(x: TracerArray, y: Any) -> bool:
    """Whether two arrays are the same part of the same memory."""
    if not isinstance(y, TracerArray) or y.mg_memory is not x.mg_memory:
        return False
    a, b = x.mg_array.__array_interface__, y.mg_array.__array_interface__
    return all(a[key] == b[key] for key in ("data", "shape", "strides", "typestr"))


# Writes


def fitted(trace: Any, x: Any, shape: tuple[int, ...], dtype: Any) -> Value:
    """The value of x as it is written into an array of a shape and dtype."""
    v = stored(trace, x, dtype)
    if not isinstance(v, Value):
        return trace.emit("full", shape=shape, dtype=np.dtype(dtype), value=v)
    if v.ndim > len(shape):
        v = trace.emit("reshape", v, shape=v.shape[v.ndim - len(shape) :])
    if v.dtype != dtype:
        v = trace.emit("cast", v, dtype=np.dtype(dtype))
    return v if v.shape == shape else trace.emit("broadcast", v, shape=shape)


def stored(trace: Any, x: Any, dtype: Any) -> Value | Literal:
    """The value of x as it is written into an array of a dtype. A number that integers cannot hold is constant."""
    if type(x) is TracedNumber and not fits(x, np.dtype(dtype)):
        x = x.mg_pinned()
    return trace.operand(x)


def writable(trace: Any, x: Any, what: str) -> TracerArray:
    """The target of a write, if it is known. The content of its memory is saved for an undo."""
    part = x
    while isinstance(part, TracerArray):
        trace.targets.add(id(part.mg_array))
        part = part.mg_parent
    if not isinstance(x, TracerArray):
        unsupported(
            f"{what} writes into an array of shape {np.shape(x)} that the compiler was not shown",
            "make it inside the step with np.zeros_like(x, shape=...), or name the object that holds it: "
            "mg.compile(step, state=[...])",
        )
    if x.mg_step is not None and x.mg_step[0] == "call":
        unsupported_view()
    if x.mg_memory.buffer is not None and x.mg_memory.buffer.is_constant:
        unsupported(
            f"{what} writes into an array of shape {x.shape} that no place holds",
            "make it inside the step with np.zeros_like(x, shape=...)",
        )
    trace.remember(x)
    return x


def written(trace: Any, out: Any, result: Any, mask: Any) -> Any:
    """Write a result into out, where the mask is True, and return out."""
    target: Any = writable(trace, out, "out=")
    np.copyto(target, result, casting="same_kind", where=mask)
    return out


def memory_after(trace: Any, x: TracerArray, value: Value) -> Value:
    """The value of all memory of x, after x gets a value."""
    while x.mg_parent is not None:
        x, value = _parent_after(trace, x, x.mg_parent, value)
    return value


def _parent_after(trace: Any, x: Any, parent: Any, value: Value) -> tuple[TracerArray, Value]:
    """An array of which x is a view, and its value after x gets one."""
    op, params = x.mg_step
    if op in ("call", "broadcast"):
        unsupported_view()
    if op == "elements":
        if len(np.unique(params)) < params.size:
            unsupported(
                f"a write goes into an array of shape {x.shape} of which several elements are the same memory",
                "write into a copy, or into the array that it is a view of",
            )
        index = trace.constant(params).mg_value
        return parent, trace.emit("scatter", parent.mg_value, value, index, index=(ArgSlot(0),), how="set")
    top, chain = x, []
    while top.mg_parent is not None and top.mg_step[0] in ("reshape", "transpose", "slice"):
        chain.append(top.mg_step)
        top = top.mg_parent
    steps = _as_one_put(top.shape, tuple(chain[::-1]))
    if steps is not None or op == "slice":
        top, steps = (parent, (x.mg_step,)) if steps is None else (top, steps)
        put = Op("set_slice", (top.mg_value, value), {"steps": steps}, ((top.shape, top.dtype),))
        return top, trace.add(put).out
    op, params = inverse(parent.shape, x.mg_step)
    return parent, trace.emit(op, value, **{"shape" if op == "reshape" else "axes": params})


@functools.lru_cache(maxsize=4096)
def _as_one_put(shape: tuple[int, ...], chain: tuple[Step, ...]) -> tuple[Step, ...] | None:
    """The steps to a part of an array, if one op can write it: where they make a view of an array in C order."""
    steps = simplified(shape, list(chain))
    if all(step[0] != "slice" for step in steps):
        return None
    array = np.empty(shape, bool)
    part = viewed_through(array, steps)
    return tuple(steps) if not part.size or np.may_share_memory(part, array) else None


def rewritten(trace: Any, function: Any, x: Any, args: Any, kwargs: Any) -> None:
    """Record function(x, ...), which writes into x: as an opaque op that returns the new value of x."""
    target = writable(trace, x, getattr(function, "__name__", str(function)))
    result = trace.opaque(_on_a_copy(function), (target, *args), kwargs)
    target.mg_write(result.mg_value)
    np.copyto(target.mg_array, result.mg_array)


@functools.cache
def _on_a_copy(function: Any) -> Any:
    """A function that calls another one on a copy of its first argument, and returns the copy."""

    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        copy = np.array(x)
        function(copy, *args, **kwargs)
        return copy

    return call


def unsupported_view() -> NoReturn:
    """Refuse a write into a view whose elements in its array are not known."""
    unsupported("a write goes into a view that NumPy made in a way unknown to the compiler", "write into a copy")
