"""How a trace hears elements being read and written, casts, and draws."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from minigrad.compiler.listening import Listening
from minigrad.compiler.memory import basic
from minigrad.compiler.numbers import TracedNumber
from minigrad.compiler.opaque import arrays_in, bare
from minigrad.compiler.program import Line, Place, Value
from minigrad.compiler.refusal import CompileError, place, refuse
from minigrad.compiler.signature import NUMERIC


def indexed(trace: Any, index: Any) -> tuple[tuple[Any, ...], list[Value]]:
    """An index with arrays in it as programs write it, and the arrays."""
    template: list[Any] = []
    arrays: list[Value] = []
    for p in index if isinstance(index, tuple) else (index,):
        if isinstance(p, bool) or getattr(getattr(p, "dtype", None), "kind", "") == "b":
            if isinstance(p, Listening) and not trace.pin_array(p):
                refuse(
                    "the shape of x[mask] depends on the values of the mask",
                    "use mg.where(mask, x, 0); or, for a mask that never changes, indices made outside of the "
                    "step, np.flatnonzero(mask)",
                )
            found = np.nonzero(np.asarray(bare(p)))
            template += [Place(len(arrays) + k) for k in range(len(found))]
            arrays += [trace.constant(i).value for i in found]
        elif isinstance(p, slice):
            template.append((p.start, p.stop, p.step))
        elif p is None or p is Ellipsis or isinstance(p, (int, np.integer)):
            template.append(int(p) if isinstance(p, np.integer) else p)
        else:
            template.append(Place(len(arrays)))
            arrays.append(trace.operand(p))
    return tuple(template), arrays


def check(trace: Any, x: Listening, low: Any, high: Any) -> Any:
    """Later calls check that the elements of x lie in [low, high]. The values of this call."""
    if trace.open:
        add_check(trace, x.value, low, high)
    return x.array


def add_check(trace: Any, value: Value, low: Any, high: Any) -> None:
    """Write a check down. A range in which nothing lies has failed already, in the user's hands."""
    if low <= high and value.size:
        trace.add(Line("check", (value,), {"low": low, "high": high}, ()))


def check_index(trace: Any, shape: tuple[int, ...], template: tuple[Any, ...], arrays: list[Value]) -> None:
    """Later calls check that the arrays of an index name elements that are there, counted from the end if negative."""
    rest = len(shape) - sum(p is not None and p is not Ellipsis for p in template)
    axis = 0
    for p in template:
        if isinstance(p, Place):
            add_check(trace, arrays[p.k], -shape[axis], shape[axis] - 1)
        axis += rest if p is Ellipsis else p is not None


def getitem(trace: Any, x: Listening, index: Any) -> Any:
    """x[index]."""
    if not trace.open:
        return x.array[bare(index)]
    parts = index if isinstance(index, tuple) else (index,)
    if is_basic(parts):
        found = trace.view(x, basic(x.shape, parts), another=True)
        return found if isinstance(x.array[index], np.ndarray) else trace.fresh(x.array[index], found.value)
    template, arrays = indexed(trace, index)
    found = x.array[bare(index)]
    trace.check_index(x.shape, template, arrays)
    return trace.fresh(found, trace.emit("gather", x.value, *arrays, index=template))


def setitem(trace: Any, x: Listening, index: Any, new: Any) -> None:
    """x[index] = new."""
    if not trace.open:
        x.array[bare(index)] = bare(new)
        return
    trace.writable(x, "x[...] = value")
    parts = index if isinstance(index, tuple) else (index,)
    if is_basic(parts):
        target = trace.view(x, basic(x.shape, parts))
        if same_part(target, new):
            return  # x[i] += y has written into x[i] already, and now assigns it
        value = trace.fitted(new, target.shape, target.dtype)
        target.write(value)
        target.array[...] = bare(new)
        return
    if is_mask(index) and math.prod(np.shape(new)) != 1 and not trace.pin_array(index):
        trace.rewritten(operator.setitem, x, (index, new), {})
        return
    if is_mask(index) and math.prod(np.shape(new)) == 1:
        mask = trace.emit("reshape", index.value, shape=index.shape + (1,) * (x.ndim - index.ndim))
        value = trace.emit("where", mask, trace.fitted(new, (), x.dtype), x.value)
    else:
        template, arrays = indexed(trace, index)
        given = trace.operand(new)
        if isinstance(given, Value) and given.dtype != x.dtype:
            given = trace.emit("cast", given, dtype=x.dtype)
        trace.check_index(x.shape, template, arrays)
        value = trace.emit("scatter", x.value, given, *arrays, index=template, how="set")
    x.write(value)
    x.array[bare(index)] = bare(new)


def cast(trace: Any, x: Listening, dtype: Any, casting: Any, copy: bool) -> Any:
    """x.astype(dtype)."""
    if not trace.open:
        return x.array.astype(dtype, casting=casting, copy=copy)
    if x.dtype == dtype:
        return np.copy(x) if copy else x
    return trace.fresh(x.array.astype(dtype, casting=casting), trace.emit("cast", x.value, dtype=dtype))


def draw(trace: Any, generator: Any, method: str, args: Any, kwargs: Any) -> Any:
    """A draw from a generator: made anew in each call of the step."""
    if not trace.open:
        return getattr(generator, method)(*args, **kwargs)
    if any(isinstance(x, Listening) for x in arrays_in((args, kwargs))):
        refuse(f"rng.{method} with an array that is computed in the step", "scale what it draws: mu + sigma * draw")
    if not any(generator is g for g in trace.generators):
        trace.generators.append(generator)
    if method == "bytes":
        refuse("rng.bytes draws what is no array", "draw integers: rng.integers(0, 256, n, dtype=np.uint8)")
    again = trace.draws.repeated(generator, method, bare(args), bare(kwargs))
    drawn = getattr(generator, method)(*args, **kwargs)
    args, kwargs = bare(args), bare(kwargs)
    if again is not None:
        return (
            trace.fresh(drawn, again)
            if type(drawn) not in (float, int)
            else TracedNumber(trace, drawn, None, lambda: again)
        )
    params = {
        "generator": next(k for k, g in enumerate(trace.generators) if g is generator),
        "method": method,
        "args": args,
        "kwargs": kwargs,
    }
    if np.asarray(drawn).dtype.kind not in NUMERIC:
        trace.stop(CompileError(f"mg.compile: rng.{method} draws no numbers, at {place()}\nHint: draw an index."))
        return drawn  # refused any earlier, it would not have been drawn; any later, drawn twice
    value = trace.add(Line("draw", (), params, [(np.shape(drawn), np.asarray(drawn).dtype)])).out
    trace.draws.add(generator, method, args, kwargs, value)
    if type(drawn) in (float, int):
        return TracedNumber(trace, drawn, None, lambda: value)
    return trace.fresh(drawn, value)


def is_basic(parts: tuple[Any, ...]) -> bool:
    """Whether an index is made of ints, slices, None and Ellipsis."""
    return all(
        p is None or p is Ellipsis or (isinstance(p, (int, slice, np.integer)) and not isinstance(p, bool))
        for p in parts
    )


def is_mask(index: Any) -> bool:
    """Whether an index is a tracer array of bools."""
    return isinstance(index, Listening) and index.dtype.kind == "b"


def same_part(x: Listening, y: Any) -> bool:
    """Whether two arrays are the same part of the same memory."""
    if not isinstance(y, Listening) or y.memory is not x.memory:
        return False
    a, b = x.array.__array_interface__, y.array.__array_interface__
    return all(a[key] == b[key] for key in ("data", "shape", "strides", "typestr"))
