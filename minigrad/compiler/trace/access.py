"""How a trace records elements being read and written, casts, and draws."""

from __future__ import annotations

import math
import operator
from types import FunctionType
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import ArgSlot, Op, Value
from minigrad.compiler.ir.view_memory import basic
from minigrad.compiler.refusal import CompileError, place, refuse
from minigrad.compiler.trace.numbers import TracedNumber, pinned
from minigrad.compiler.trace.opaque import bare, templates
from minigrad.compiler.trace.records import NUMERIC
from minigrad.compiler.trace.tracer import TracerArray


def indexed(trace: Any, index: Any) -> tuple[tuple[Any, ...], list[Value]]:
    """An index with arrays in it as programs write it, and the arrays."""
    template: list[Any] = []
    arrays: list[Value] = []
    for p in index if isinstance(index, tuple) else (index,):
        if isinstance(p, bool) or getattr(getattr(p, "dtype", None), "kind", "") == "b":
            if isinstance(p, TracerArray) and not trace.pin_array(p):
                refuse(
                    "the shape of x[mask] depends on the values of the mask",
                    "use mg.where(mask, x, 0); or, for a mask that never changes, indices made outside of the "
                    "step, np.flatnonzero(mask)",
                )
            found = np.nonzero(np.asarray(bare(p)))
            template += [ArgSlot(len(arrays) + k) for k in range(len(found))]
            arrays += [trace.constant(i).mg_value for i in found]
        elif isinstance(p, slice):
            template.append((p.start, p.stop, p.step))
        elif p is None or p is Ellipsis or (type(p) is not TracerArray and isinstance(p, (int, np.integer))):
            template.append(int(p) if isinstance(p, np.integer) else p)
        else:
            template.append(ArgSlot(len(arrays)))
            arrays.append(trace.operand(p))
    return tuple(template), arrays


def check(trace: Any, x: TracerArray, low: Any, high: Any) -> Any:
    """Later calls check that the elements of x lie in [low, high]. The values of this call."""
    if trace.open:
        add_check(trace, x.mg_value, low, high)
    return x.mg_array


def add_check(trace: Any, value: Value, low: Any, high: Any) -> None:
    """Write a check down. A range in which nothing lies has failed already, in the user's hands."""
    if low <= high and value.size:
        trace.add(Op("check", (value,), {"low": low, "high": high}, ()))


def check_index(trace: Any, shape: tuple[int, ...], template: tuple[Any, ...], arrays: list[Value]) -> None:
    """Later calls check that the arrays of an index name elements that are there, counted from the end if negative."""
    rest = len(shape) - sum(p is not None and p is not Ellipsis for p in template)
    axis = 0
    for p in template:
        if isinstance(p, ArgSlot):
            add_check(trace, arrays[p.k], -shape[axis], shape[axis] - 1)
        axis += rest if p is Ellipsis else p is not None


def getitem(trace: Any, x: TracerArray, index: Any) -> Any:
    """x[index]."""
    if not trace.open:
        return x.mg_array[bare(index)]
    index = _as_numbers(index)
    parts = index if isinstance(index, tuple) else (index,)
    if len(parts) == x.ndim and all(isinstance(p, (int, np.integer)) for p in parts):  # a scalar, and no view
        index = parts = _with_arrays(trace, parts)
    if is_basic(parts):
        found = trace.view(x, basic(x.shape, parts), another=True)
        return found if isinstance(x.mg_array[index], np.ndarray) else trace.fresh(x.mg_array[index], found.mg_value)
    template, arrays = indexed(trace, index)
    found = x.mg_array[bare(index)]
    trace.check_index(x.shape, template, arrays)
    return trace.fresh(found, trace.emit("gather", x.mg_value, *arrays, index=template))


def _as_numbers(index: Any) -> Any:
    """An index with numbers in place of objects that stand for one: what their __index__ gives."""
    if type(index) is tuple:
        return tuple(map(_as_numbers, index))
    has_own = isinstance(getattr(type(index), "__index__", None), FunctionType)
    return type(index).__index__(index) if has_own and not hasattr(type(index), "minigrad_tracer") else index


def _with_arrays(trace: Any, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """Parts of an index with arrays without axes in place of traced integers: NumPy takes them alike."""
    return tuple(trace.array_of(p, []) if type(p) is TracedNumber and type(p.real) is int else p for p in parts)


def setitem(trace: Any, x: TracerArray, index: Any, new: Any) -> None:
    """x[index] = new."""
    if not trace.open:
        x.mg_array[bare(index)] = bare(new)
        return
    trace.writable(x, "x[...] = value")
    index = _as_numbers(index)
    parts = index if isinstance(index, tuple) else (index,)
    if any(type(p) is TracedNumber for p in parts):
        index = parts = _with_arrays(trace, parts)
    if is_basic(parts):
        target = trace.view(x, basic(x.shape, parts))
        if same_part(target, new):
            return  # x[i] += y has written into x[i] already, and now assigns it
        value = trace.fitted(new, target.shape, target.dtype)
        target.mg_write(value)
        target.mg_array[...] = bare(new)
        return
    if is_mask(index) and math.prod(np.shape(new)) != 1 and not trace.pin_array(index):
        trace.rewritten(operator.setitem, x, (index, new), {})
        return
    if is_mask(index) and math.prod(np.shape(new)) == 1:
        mask = trace.emit("reshape", index.mg_value, shape=index.shape + (1,) * (x.ndim - index.ndim))
        value = trace.emit("where", mask, trace.fitted(new, (), x.dtype), x.mg_value)
    else:
        template, arrays = indexed(trace, index)
        given = trace.stored(new, x.dtype)
        if isinstance(given, Value) and given.dtype != x.dtype:
            given = trace.emit("cast", given, dtype=x.dtype)
        trace.check_index(x.shape, template, arrays)
        value = trace.emit("scatter", x.mg_value, given, *arrays, index=template, how="set")
    x.mg_write(value)
    x.mg_array[bare(index)] = bare(new)


def cast(trace: Any, x: TracerArray, dtype: Any, casting: Any, copy: bool) -> Any:
    """x.astype(dtype)."""
    if not trace.open:
        return x.mg_array.astype(dtype, casting=casting, copy=copy)
    if x.dtype == dtype:
        return np.copy(x) if copy else x
    return trace.fresh(x.mg_array.astype(dtype, casting=casting), trace.emit("cast", x.mg_value, dtype=dtype))


def draw(trace: Any, generator: Any, method: str, args: Any, kwargs: Any) -> Any:
    """A draw from a generator: made again in each call of the step."""
    if not trace.open:
        return getattr(generator, method)(*args, **kwargs)
    if not any(generator is g for g in trace.generators):
        trace.generators.append(generator)
    if method == "bytes":
        refuse("rng.bytes draws what is no array", "draw integers: rng.integers(0, 256, n, dtype=np.uint8)")
    given = _parameters(method, args, kwargs)
    ins, operands = templates(trace, given, (TracerArray, TracedNumber))
    again = trace.draws.repeated(generator, method, bare(args), bare(kwargs))
    if again is not None and ins:  # equal operands now are not equal operands in each call
        refuse(f"rng.{method} of computed arrays is repeated from an earlier state", "draw with constant parameters")
    drawn = getattr(generator, method)(*bare(args), **bare(kwargs))
    if again is not None:
        return _as_drawn(trace, drawn, again)
    if np.asarray(drawn).dtype.kind not in NUMERIC:
        trace.stop(CompileError(f"mg.compile: rng.{method} draws no numbers, at {place()}\nHint: draw an index."))
        return drawn  # refused any earlier, it would not have been drawn; any later, drawn twice
    value = _drawn(trace, generator, method, ins, operands, drawn)
    trace.draws.add(generator, method, bare(args), bare(kwargs), value)
    return _as_drawn(trace, drawn, value)


def _parameters(method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a draw. Integers are constants, as sizes and numbers of trials, but for the range of integers."""
    is_free = method == "integers" and "dtype" not in kwargs and len(args) <= 3
    free = {"low", "high"} if is_free else set()
    first = args[:2] if free else ()
    rest = pinned(args[len(first) :], (int,))
    return {
        "args": (*first, *rest),
        "kwargs": {name: x if name in free else pinned(x, (int,)) for name, x in kwargs.items()},
    }


def _as_drawn(trace: Any, drawn: Any, value: Value) -> Any:
    """The tracer of what has been drawn: an array, or a Python number."""
    if type(drawn) is bool:
        trace.stop(CompileError(f"mg.compile: a single bool is drawn, at {place()}\nHint: draw size=1."))
        return drawn
    if type(drawn) not in (float, int):
        return trace.fresh(drawn, value)
    number = TracedNumber(trace, drawn, None, lambda: value)
    number.mg_cached = value  # an integer that is drawn has 64 bits
    return number


def shuffle(trace: Any, generator: Any, x: TracerArray, axis: int) -> None:
    """rng.shuffle(x): a draw of the shuffled elements, which are written into x."""
    trace.writable(x, "rng.shuffle")
    if not any(generator is g for g in trace.generators):
        trace.generators.append(generator)
    if trace.draws.repeated(generator, "shuffle", (bare(x), axis), {}) is not None:
        refuse("rng.shuffle is repeated from an earlier state", "x = x[rng.permutation(len(x))]")
    value = x.mg_value
    generator.shuffle(x.mg_array, axis)
    value = _drawn(trace, generator, "shuffle", [value], {"args": (ArgSlot(0),), "kwargs": {"axis": axis}}, x.mg_array)
    trace.draws.add(generator, "shuffle", (bare(x), axis), {}, value)
    x.mg_write(value)


def _drawn(trace: Any, generator: Any, method: str, ins: Any, operands: dict[str, Any], drawn: Any) -> Value:
    k = next(k for k, g in enumerate(trace.generators) if g is generator)
    params = {"generator": k, "method": method, **operands}
    made: Value = trace.add(Op("random", ins, params, [(np.shape(drawn), np.asarray(drawn).dtype)])).out
    return made


def is_basic(parts: tuple[Any, ...]) -> bool:
    """Whether an index is made of ints, slices, None and Ellipsis."""
    return not any(type(p) is TracerArray for p in parts) and all(  # one of them may stand for a NumPy integer
        p is None or p is Ellipsis or (isinstance(p, (int, slice, np.integer)) and not isinstance(p, bool))
        for p in parts
    )


def is_mask(index: Any) -> bool:
    """Whether an index is a tracer array of bools."""
    return isinstance(index, TracerArray) and index.dtype.kind == "b"


def same_part(x: TracerArray, y: Any) -> bool:
    """Whether two arrays are the same part of the same memory."""
    if not isinstance(y, TracerArray) or y.mg_memory is not x.mg_memory:
        return False
    a, b = x.mg_array.__array_interface__, y.mg_array.__array_interface__
    return all(a[key] == b[key] for key in ("data", "shape", "strides", "typestr"))
