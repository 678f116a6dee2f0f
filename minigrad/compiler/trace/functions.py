"""How a trace records NumPy's functions that are no ufuncs. All others become an opaque op, or a view."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import Value
from minigrad.compiler.refusal import refuse
from minigrad.compiler.trace.opaque import bare
from minigrad.compiler.trace.trace import FUNCTIONS, Trace
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.ops.indexing import read
from minigrad.ops.random import drawn_dtype, normal_like, uniform_like
from minigrad.ops.spatial.conv_primitives import convolution, convolution_input, convolution_kernel
from minigrad.ops.special import WHOLE, exp_of_square, gaussian_values, normal_pdf_values

Handler = Callable[..., Any]


def records(*functions: Any) -> Callable[[Handler], Handler]:
    """Enter a function into the table."""

    def enter(recorded: Handler) -> Handler:
        FUNCTIONS.update(dict.fromkeys(functions, recorded))
        return recorded

    return enter


def _about(function: Any) -> Any:
    """A question about shape or dtype, which is answered and leaves no op."""
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


@records(np.compress)
def _compress(trace: Trace, condition: Any, a: Any, *args: Any, **kwargs: Any) -> Any:
    return _shaped_by_data(trace) if isinstance(condition, TracerArray) else NotImplemented


@records(np.real_if_close)
def _typed_by_data(trace: Trace, *args: Any, **kwargs: Any) -> Any:
    refuse("the dtype of a result depends on values", "use np.real")


@records(*SHAPED_BY_DATA, np.intersect1d, np.setdiff1d, np.setxor1d)
def _shaped_by_data(trace: Trace, *args: Any, **kwargs: Any) -> Any:
    refuse("the shape of a result depends on values", "use mg.where and masks of a fixed shape, or do it outside")


def _full(
    trace: Trace, x: Any, value: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None
) -> TracerArray:
    array = np.empty_like(bare(x), dtype=dtype, order=order, shape=shape)  # in NumPy's layout: it decides about views
    v = trace.operand(value)
    array[...] = bare(value)
    if isinstance(v, Value):
        return trace.fresh(array, trace.fitted(value, array.shape, array.dtype))
    return trace.fresh(array, trace.emit("full", shape=array.shape, dtype=array.dtype, value=v))


@records(np.zeros_like, np.empty_like)
def _zeros_like(trace: Trace, a: Any, *given: Any, device: Any = None, **options: Any) -> Any:
    return _full(trace, a, 0, *given, **options)


@records(np.ones_like)
def _ones_like(trace: Trace, a: Any, *given: Any, device: Any = None, **options: Any) -> Any:
    return _full(trace, a, 1, *given, **options)


@records(np.full_like)
def _full_like(trace: Trace, a: Any, fill_value: Any, *given: Any, device: Any = None, **options: Any) -> Any:
    return _full(trace, a, fill_value, *given, **options)


@records(np.copy)
def _copy(trace: Trace, a: Any, order: Any = "K", subok: bool = False) -> Any:
    value = trace.operand(a)
    assert isinstance(value, Value)
    return trace.fresh(np.copy(bare(a), order=order), value)


@records(np.copyto)
def _copyto(trace: Trace, dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    target = trace.writable(dst, "np.copyto")
    value = trace.fitted(src, target.shape, target.dtype)
    if where is not True:
        value = trace.emit("where", trace.operand(where), value, target.mg_value)
    target.mg_write(value)
    np.copyto(target.mg_array, bare(src), casting=casting, where=bare(where))


@records(np.where)
def _where(trace: Trace, condition: Any, *choices: Any) -> Any:
    if not choices:
        return _shaped_by_data(trace)
    c, x, y = (trace.operand(v) for v in (condition, *choices))
    if isinstance(c, Value) and c.dtype != bool:
        c = trace.emit("not_equal", c, 0)
    return trace.fresh(np.where(bare(condition), *map(bare, choices)), trace.emit("where", c, x, y))


@records(np.concatenate)
def _concatenate(trace: Trace, arrays: Any, axis: Any = 0, out: Any = None, dtype: Any = None, **options: Any) -> Any:
    if out is not None or dtype is not None:
        made = _concatenate(trace, arrays, axis)
        made = made if dtype is None else made.astype(dtype)
        return made if out is None else trace.written(out, made, True)
    members = [x if isinstance(x, (TracerArray, np.ndarray)) else np.asarray(x) for x in arrays]
    if axis is None:
        members, axis = [np.reshape(x, -1) for x in members], 0
    values = [trace.operand(x) for x in members]
    array = np.concatenate(bare(members), axis)
    return trace.fresh(array, trace.emit("concatenate", *values, axis=axis % array.ndim))


@records(np.stack)
def _stack(trace: Trace, arrays: Any, axis: int = 0, out: Any = None, **options: Any) -> Any:
    if out is not None or options:
        return NotImplemented
    return _concatenate(trace, [np.expand_dims(x, axis) for x in arrays], axis)


@records(np.broadcast_to)
def _broadcast_to(trace: Trace, array: Any, shape: Any, subok: bool = False) -> Any:
    shape = (shape,) if isinstance(shape, int) else tuple(map(int, shape))
    if not isinstance(array, TracerArray):
        return NotImplemented
    if array.shape == shape:
        return _locked(trace.view(array, [], another=True))
    return TracerArray(trace, np.broadcast_to(array.mg_array, shape), array.mg_memory, array, ("broadcast", shape))


def _locked(x: TracerArray) -> TracerArray:
    x.mg_array.flags.writeable = False
    return x


@records(np.reshape)
def _reshape(trace: Trace, a: Any, shape: Any, order: str = "C", **options: Any) -> Any:
    if order != "C" or options.get("copy") is not None:
        return NotImplemented
    made = a.mg_array.reshape(shape).shape
    return trace.view(a, [("reshape", made)] if a.shape != made else [], another=True)


def _moving(function: Any) -> Any:
    """A function that puts the axes into another order."""

    def recorded(trace: Trace, a: Any, *args: Any, **kwargs: Any) -> Any:
        marked = np.empty(tuple(range(2, a.ndim + 2)), np.void)  # of which every axis has another size
        order = tuple(n - 2 for n in function(marked, *args, **kwargs).shape)
        return trace.view(a, [] if order == tuple(range(a.ndim)) else [("transpose", order)], another=True)

    return recorded


FUNCTIONS |= {f: _moving(f) for f in (np.transpose, np.swapaxes, np.moveaxis, np.rollaxis)}


def _reshaping(function: Any) -> Any:
    """A function that inserts or drops axes of size 1."""
    return lambda trace, a, *args, **kwargs: _reshape(trace, a, function(a.mg_array, *args, **kwargs).shape)


FUNCTIONS |= {f: _reshaping(f) for f in (np.expand_dims, np.squeeze)}


def _reduction(ufunc: Any) -> Any:
    def recorded(trace: Trace, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, **options: Any) -> Any:
        given = {k: v for k, v in options.items() if v is not np._NoValue}
        if dtype is not None:
            given["dtype"] = dtype
        if out is not None:
            given["out"] = out
        return ufunc.reduce(a, axis=axis, **given)

    return recorded


FUNCTIONS[np.sum], FUNCTIONS[np.prod] = _reduction(np.add), _reduction(np.multiply)


def _extreme(ufunc: Any) -> Any:
    return lambda trace, a, axis=None, out=None, **options: _reduction(ufunc)(trace, a, axis, None, out, **options)


FUNCTIONS |= {np.max: _extreme(np.maximum), np.amax: _extreme(np.maximum)}
FUNCTIONS |= {np.min: _extreme(np.minimum), np.amin: _extreme(np.minimum)}
FUNCTIONS |= {np.all: _extreme(np.logical_and), np.any: _extreme(np.logical_or)}


@records(np.mean)
def _mean(trace: Trace, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, **options: Any) -> Any:
    if dtype is not None or out is not None or a.dtype.kind not in "fc" or a.dtype == np.float16 or "where" in options:
        return NotImplemented
    total = np.add.reduce(a, axis=axis, **{k: v for k, v in options.items() if v is not np._NoValue})
    return total / (a.size // max(total.size, 1))


@records(np.clip)
def _clip(trace: Trace, a: Any, *limits: Any, **options: Any) -> Any:
    if len(limits) > 2:
        return trace.written(limits[2], np.clip(a, *limits[:2], *limits[3:], **options), True)
    if set(options) - {"a_min", "a_max", "min", "max"} or len(limits) + len(options) < 2:
        return NotImplemented
    named: Any = [options.get(f"a_{name}", options.get(name)) for name in ("min", "max")]
    low, high = (limits + tuple(named[len(limits) :]))[:2]
    if low is None and high is None:
        return np.copy(a)
    if any(isinstance(limit, np.ndarray) and limit.dtype != a.dtype for limit in (low, high)):
        return NotImplemented
    a = a if low is None else np.maximum(a, low)
    return a if high is None else np.minimum(a, high)


@records(np.dot)
def _dot(trace: Trace, a: Any, b: Any, out: Any = None) -> Any:
    return np.matmul(a, b) if out is None and np.ndim(a) == np.ndim(b) == 2 else NotImplemented


@records(read)
def _read(trace: Trace, x: Any, index: Any) -> Any:
    return trace.getitem(x if isinstance(x, TracerArray) else trace.constant(x), index)


FUNCTIONS |= {np.isneginf: lambda trace, x: np.equal(x, -math.inf), np.isposinf: lambda trace, x: np.equal(x, math.inf)}


def _whole(name: str) -> Handler:
    """One of minigrad's own functions of single elements, as one operation."""

    def recorded(trace: Trace, x: Any) -> Any:
        x = x if x.dtype in (np.float32, np.float64) else x.astype(np.float64)
        return trace.fresh(WHOLE[name](x.mg_array), trace.emit(name, x.mg_value))

    return recorded


FUNCTIONS |= {function: _whole(name) for name, function in WHOLE.items()}


@records(gaussian_values)
def _gaussian(trace: Trace, x: Any) -> Any:
    return exp_of_square(x if x.dtype.kind == "f" else x * 1.0, 1.0)


@records(normal_pdf_values)
def _normal_pdf(trace: Trace, x: Any) -> Any:
    return exp_of_square(x if x.dtype.kind == "f" else x * 1.0, 0.5, 1 / math.sqrt(2 * math.pi))


MANY_PRODUCTS = 1 << 23  # a convolution of as many is one operation; where there are fewer, calls and copies count more


def _convolution(function: Any) -> Handler:
    def recorded(trace: Trace, x: Any, y: Any, **settings: Any) -> Any:
        array = function(bare(x), bare(y), **settings)
        y_like, w = {convolution: (array, y), convolution_input: (x, y), convolution_kernel: (y, array)}[function]
        if math.prod(y_like.shape) * math.prod(w.shape[:-1]) < MANY_PRODUCTS:
            return function(x, y, **settings)
        ins = trace.operand(x), trace.operand(y)
        given = tuple(settings.items())
        return trace.fresh(array, trace.emit("convolution", *ins, function=function, settings=given, shape=array.shape))

    return recorded


FUNCTIONS |= {f: _convolution(f) for f in (convolution, convolution_input, convolution_kernel)}


@records(np.take)
def _take(trace: Trace, a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    if not isinstance(a, TracerArray) or out is not None or mode != "raise":
        return NotImplemented
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    found = a[(slice(None),) * (axis % a.ndim) + (indices,)]
    return trace.fresh(np.take(a.mg_array, bare(indices), axis=axis), found.mg_value)


@records(np.repeat)
def _repeat(trace: Trace, a: Any, repeats: Any, axis: Any = None) -> Any:
    return _shaped_by_data(trace) if isinstance(repeats, TracerArray) else NotImplemented


WRITERS = (np.put_along_axis, np.put, np.place, np.putmask, np.fill_diagonal)


def _writer(function: Any) -> Handler:
    def record(trace: Trace, a: Any = None, *args: Any, **kwargs: Any) -> Any:
        a = kwargs.pop("arr", a)
        if function in (np.place, np.putmask):  # of a NumPy scalar they take any dtype, and of arrays they do not
            args = tuple(x.astype(a.dtype) if type(x) is TracerArray and x.mg_is_scalar else x for x in args)
        return trace.rewritten(function, a, args, kwargs)

    return record


FUNCTIONS |= {f: _writer(f) for f in WRITERS}


@records(np.nan_to_num)
def _nan_to_num(trace: Trace, x: Any, copy: bool = True, **values: Any) -> Any:
    if copy:
        return NotImplemented
    np.copyto(x, np.nan_to_num(x, **values))
    return x


@records(np.array_equal, np.array_equiv, np.allclose)
def _truth(trace: Trace, *args: Any, **kwargs: Any) -> Any:
    refuse("arrays are compared in Python (np.allclose, np.array_equal)", "return them and compare outside; mg.where")


@records(uniform_like)
def _uniform_like(trace: Trace, x: Any, rng: Any) -> Any:
    return _draw(trace, x, rng, "random")


@records(normal_like)
def _normal_like(trace: Trace, x: Any, rng: Any) -> Any:
    return _draw(trace, x, rng, "standard_normal")


def _draw(trace: Trace, x: Any, rng: Any, method: str) -> Any:
    rng = getattr(rng, "real", rng)
    dtype = drawn_dtype(x)
    if dtype in (np.float32, np.float64):
        return trace.draw(rng, method, (x.shape,), {"dtype": dtype})
    return trace.draw(rng, method, (x.shape,), {}).astype(dtype)
