"""How a trace hears NumPy's functions that are no ufuncs. What is not listed here becomes an opaque line, or a view."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.listening import Listening
from minigrad.compiler.opaque import bare
from minigrad.compiler.program import Value
from minigrad.compiler.refusal import refuse
from minigrad.compiler.trace import FUNCTIONS, Trace
from minigrad.ops.indexing import read
from minigrad.ops.random import normal_like, uniform_like
from minigrad.ops.spatial.convolution import convolution, convolution_input, convolution_kernel
from minigrad.ops.special import erf_values

Heard = Callable[..., Any]


def hears(*functions: Any) -> Callable[[Heard], Heard]:
    """Enter a function into the table."""

    def enter(heard: Heard) -> Heard:
        FUNCTIONS.update(dict.fromkeys(functions, heard))
        return heard

    return enter


def _about(function: Any) -> Any:
    """A question about shape or dtype, which is answered and leaves no line."""
    return lambda _, *args, **kwargs: function(*bare(args), **bare(kwargs))


QUESTIONS = (np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.may_share_memory, np.shares_memory)
FUNCTIONS.update({f: _about(f) for f in (*QUESTIONS, np.iscomplexobj, np.isrealobj, np.min_scalar_type)})

SHAPED_BY_DATA: tuple[Any, ...] = (
    np.nonzero,
    np.flatnonzero,
    np.argwhere,
    np.extract,
    np.bincount,
    np.trim_zeros,
)
SHAPED_BY_DATA += (np.unique, np.unique_all, np.unique_counts, np.unique_inverse, np.unique_values, np.union1d)


@hears(np.compress)
def _compress(trace: Trace, condition: Any, a: Any, *args: Any, **kwargs: Any) -> Any:
    return _shaped_by_data(trace) if isinstance(condition, Listening) else NotImplemented


@hears(np.real_if_close)
def _typed_by_data(trace: Trace, *args: Any, **kwargs: Any) -> Any:
    refuse("the dtype of a result depends on values", "use np.real")


@hears(*SHAPED_BY_DATA, np.intersect1d, np.setdiff1d, np.setxor1d)
def _shaped_by_data(trace: Trace, *args: Any, **kwargs: Any) -> Any:
    refuse("the shape of a result depends on values", "use mg.where and masks of a fixed shape, or do it outside")


def _full(
    trace: Trace, x: Any, value: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None
) -> Listening:
    array = np.empty_like(bare(x), dtype=dtype, order=order, shape=shape)  # in NumPy's layout: it decides about views
    v = trace.operand(value)
    array[...] = bare(value)
    if isinstance(v, Value):
        return trace.fresh(array, trace.fitted(value, array.shape, array.dtype))
    return trace.fresh(array, trace.emit("full", shape=array.shape, dtype=array.dtype, value=v))


@hears(np.zeros_like, np.empty_like)
def _zeros_like(trace: Trace, a: Any, *given: Any, device: Any = None, **options: Any) -> Any:
    return _full(trace, a, 0, *given, **options)


@hears(np.ones_like)
def _ones_like(trace: Trace, a: Any, *given: Any, device: Any = None, **options: Any) -> Any:
    return _full(trace, a, 1, *given, **options)


@hears(np.full_like)
def _full_like(trace: Trace, a: Any, fill_value: Any, *given: Any, device: Any = None, **options: Any) -> Any:
    return _full(trace, a, fill_value, *given, **options)


@hears(np.copy)
def _copy(trace: Trace, a: Any, order: Any = "K", subok: bool = False) -> Any:
    value = trace.operand(a)
    assert isinstance(value, Value)
    return trace.fresh(np.copy(bare(a), order=order), value)


@hears(np.copyto)
def _copyto(trace: Trace, dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    target = trace.writable(dst, "np.copyto")
    value = trace.fitted(src, target.shape, target.dtype)
    if where is not True:
        value = trace.emit("where", trace.operand(where), value, target.value)
    target.write(value)
    np.copyto(target.array, bare(src), casting=casting, where=bare(where))


@hears(np.where)
def _where(trace: Trace, condition: Any, *choices: Any) -> Any:
    if not choices:
        return _shaped_by_data(trace)
    c, x, y = (trace.operand(v) for v in (condition, *choices))
    if isinstance(c, Value) and c.dtype != bool:
        c = trace.emit("not_equal", c, 0)
    return trace.fresh(np.where(bare(condition), *map(bare, choices)), trace.emit("where", c, x, y))


@hears(np.concatenate)
def _concatenate(trace: Trace, arrays: Any, axis: Any = 0, out: Any = None, dtype: Any = None, **options: Any) -> Any:
    if out is not None or dtype is not None:
        made = _concatenate(trace, arrays, axis)
        made = made if dtype is None else made.astype(dtype)
        return made if out is None else trace.written(out, made, True)
    members = [x if isinstance(x, (Listening, np.ndarray)) else np.asarray(x) for x in arrays]
    if axis is None:
        members, axis = [np.reshape(x, -1) for x in members], 0
    values = [trace.operand(x) for x in members]
    array = np.concatenate(bare(members), axis)
    return trace.fresh(array, trace.emit("concatenate", *values, axis=axis % array.ndim))


@hears(np.stack)
def _stack(trace: Trace, arrays: Any, axis: int = 0, out: Any = None, **options: Any) -> Any:
    if out is not None or options:
        return NotImplemented
    return _concatenate(trace, [np.expand_dims(x, axis) for x in arrays], axis)


@hears(np.broadcast_to)
def _broadcast_to(trace: Trace, array: Any, shape: Any, subok: bool = False) -> Any:
    shape = (shape,) if isinstance(shape, int) else tuple(map(int, shape))
    if not isinstance(array, Listening) or array.shape == shape:
        return array if not isinstance(array, Listening) else _locked(trace.view(array, [], another=True))
    return Listening(trace, np.broadcast_to(array.array, shape), array.memory, array, ("broadcast", shape))


def _locked(x: Listening) -> Listening:
    x.array.flags.writeable = False
    return x


@hears(np.reshape)
def _reshape(trace: Trace, a: Any, shape: Any, order: str = "C", **options: Any) -> Any:
    if order != "C" or options.get("copy") is not None:
        return NotImplemented
    made = a.array.reshape(shape).shape
    return trace.view(a, [("reshape", made)] if a.shape != made else [], another=True)


def _moving(function: Any) -> Any:
    """A function that puts the axes into another order."""

    def heard(trace: Trace, a: Any, *args: Any, **kwargs: Any) -> Any:
        marked = np.empty(tuple(range(2, a.ndim + 2)), np.void)  # of which every axis has another size
        order = tuple(n - 2 for n in function(marked, *args, **kwargs).shape)
        return trace.view(a, [] if order == tuple(range(a.ndim)) else [("transpose", order)], another=True)

    return heard


FUNCTIONS |= {f: _moving(f) for f in (np.transpose, np.swapaxes, np.moveaxis, np.rollaxis)}


def _reshaping(function: Any) -> Any:
    """A function that inserts or drops axes of size 1."""
    return lambda trace, a, *args, **kwargs: _reshape(trace, a, function(a.array, *args, **kwargs).shape)


FUNCTIONS |= {f: _reshaping(f) for f in (np.expand_dims, np.squeeze)}


def _reduction(ufunc: Any) -> Any:
    def heard(trace: Trace, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, **options: Any) -> Any:
        given = {k: v for k, v in options.items() if v is not np._NoValue}
        if dtype is not None:
            given["dtype"] = dtype
        if out is not None:
            given["out"] = out
        return ufunc.reduce(a, axis=axis, **given)

    return heard


FUNCTIONS[np.sum], FUNCTIONS[np.prod] = _reduction(np.add), _reduction(np.multiply)


def _extreme(ufunc: Any) -> Any:
    return lambda trace, a, axis=None, out=None, **options: _reduction(ufunc)(trace, a, axis, None, out, **options)


FUNCTIONS |= {np.max: _extreme(np.maximum), np.amax: _extreme(np.maximum)}
FUNCTIONS |= {np.min: _extreme(np.minimum), np.amin: _extreme(np.minimum)}
FUNCTIONS |= {np.all: _extreme(np.logical_and), np.any: _extreme(np.logical_or)}


@hears(np.mean)
def _mean(trace: Trace, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, **options: Any) -> Any:
    if dtype is not None or out is not None or a.dtype.kind not in "fc" or a.dtype == np.float16 or "where" in options:
        return NotImplemented
    total = np.add.reduce(a, axis=axis, **{k: v for k, v in options.items() if v is not np._NoValue})
    return total / (a.size // max(total.size, 1))


@hears(np.clip)
def _clip(trace: Trace, a: Any, *limits: Any, **options: Any) -> Any:
    low, high = (*limits, options.pop("min", None), options.pop("max", None))[:2] if not limits else (*limits, None)[:2]
    if options and set(options) - {"a_min", "a_max"}:
        return NotImplemented
    low, high = options.get("a_min", low), options.get("a_max", high)
    if any(isinstance(limit, np.ndarray) and limit.dtype != a.dtype for limit in (low, high)):
        return NotImplemented
    a = a if low is None else np.maximum(a, low)
    return a if high is None else np.minimum(a, high)


@hears(np.dot)
def _dot(trace: Trace, a: Any, b: Any, out: Any = None) -> Any:
    return np.matmul(a, b) if out is None and np.ndim(a) == np.ndim(b) == 2 else NotImplemented


@hears(read)
def _read(trace: Trace, x: Any, index: Any) -> Any:
    return trace.getitem(x if isinstance(x, Listening) else trace.constant(x), index)


FUNCTIONS |= {np.isneginf: lambda trace, x: np.equal(x, -math.inf), np.isposinf: lambda trace, x: np.equal(x, math.inf)}


@hears(erf_values)
def _erf(trace: Trace, x: Any) -> Any:
    x = x if x.dtype in (np.float32, np.float64) else x.astype(np.float64)
    return trace.fresh(erf_values(x.array), trace.emit("erf", x.value))


MANY_PRODUCTS = 1 << 23  # a convolution of as many is one operation; where there are fewer, calls and copies count more


def _convolution(function: Any) -> Heard:
    def heard(trace: Trace, x: Any, y: Any, **settings: Any) -> Any:
        array = function(bare(x), bare(y), **settings)
        y_like, w = {convolution: (array, y), convolution_input: (x, y), convolution_kernel: (y, array)}[function]
        if math.prod(y_like.shape) * math.prod(w.shape[:-1]) < MANY_PRODUCTS:
            return function(x, y, **settings)
        ins = trace.operand(x), trace.operand(y)
        given = tuple(settings.items())
        return trace.fresh(array, trace.emit("convolution", *ins, function=function, settings=given, shape=array.shape))

    return heard


FUNCTIONS |= {f: _convolution(f) for f in (convolution, convolution_input, convolution_kernel)}


@hears(np.take)
def _take(trace: Trace, a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    if not isinstance(a, Listening) or out is not None or mode != "raise":
        return NotImplemented
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    found = a[(slice(None),) * (axis % a.ndim) + (indices,)]
    return trace.fresh(np.take(a.array, bare(indices), axis=axis), found.value)


@hears(np.repeat)
def _repeat(trace: Trace, a: Any, repeats: Any, axis: Any = None) -> Any:
    return _shaped_by_data(trace) if isinstance(repeats, Listening) else NotImplemented


WRITERS = (np.put_along_axis, np.put, np.place, np.putmask, np.fill_diagonal)


def _writer(function: Any) -> Heard:
    return lambda trace, a=None, *args, **kwargs: trace.rewritten(function, kwargs.pop("arr", a), args, kwargs)


FUNCTIONS |= {f: _writer(f) for f in WRITERS}


@hears(np.nan_to_num)
def _nan_to_num(trace: Trace, x: Any, copy: bool = True, **values: Any) -> Any:
    if copy:
        return NotImplemented
    np.copyto(x, np.nan_to_num(x, **values))
    return x


@hears(np.array_equal, np.array_equiv, np.allclose)
def _truth(trace: Trace, *args: Any, **kwargs: Any) -> Any:
    refuse("arrays are compared in Python (np.allclose, np.array_equal)", "return them and compare outside; mg.where")


@hears(uniform_like)
def _uniform_like(trace: Trace, x: Any, rng: Any) -> Any:
    return _draw(trace, x, rng, "random")


@hears(normal_like)
def _normal_like(trace: Trace, x: Any, rng: Any) -> Any:
    return _draw(trace, x, rng, "standard_normal")


def _draw(trace: Trace, x: Any, rng: Any, method: str) -> Any:
    rng = getattr(rng, "real", rng)
    if x.dtype in (np.float32, np.float64):
        return trace.draw(rng, method, (x.shape,), {"dtype": x.dtype})
    return trace.draw(rng, method, (x.shape,), {}).astype(x.dtype)
