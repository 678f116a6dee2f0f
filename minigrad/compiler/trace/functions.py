"""What a trace knows about functions that are not ufuncs, NumPy's and minigrad's: handlers, and sets of functions.

Functions without a handler become one op that calls them, or a view of an operand (recorded_calls.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import Value
from minigrad.compiler.refusal import unsupported
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.tracer_operators import bare, real_of
from minigrad.ops.indexing import read
from minigrad.ops.random import drawn_dtype, normal_like, uniform_like
from minigrad.ops.spatial.conv_primitives import convolution, convolution_input, convolution_kernel
from minigrad.ops.special import WHOLE, exp_of_square, gaussian_values, normal_pdf_values

Handler = Callable[..., Any]
FUNCTIONS: dict[Any, Handler] = {}  # handlers: handler(trace, *args, **kwargs), which may return NotImplemented
WRITERS = (np.put_along_axis, np.put, np.place, np.putmask, np.fill_diagonal)
WRITING = frozenset({np.copyto, *WRITERS})  # write into their first argument, and return nothing
# A Python number beside narrower arrays: WEAK functions give it the dtype of the arrays, STRONG ones its own. For
# functions in neither set, traced numbers are constants.
WEAK = WRITING | {np.where, np.clip, np.full_like, np.nan_to_num, np.isclose}
STRONG = frozenset({np.searchsorted, np.digitize, np.interp, np.quantile, np.percentile, np.isin, np.append})
# Questions about shape or dtype, which are answered and leave no op.
QUESTIONS: tuple[Any, ...] = (np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.may_share_memory)
QUESTIONS += (np.shares_memory, np.iscomplexobj, np.isrealobj, np.min_scalar_type)
SHAPED_BY_DATA: tuple[Any, ...] = (np.nonzero, np.flatnonzero, np.argwhere, np.extract, np.bincount, np.trim_zeros)
SHAPED_BY_DATA += (np.unique, np.unique_all, np.unique_counts, np.unique_inverse, np.unique_values, np.union1d)
SHAPED_BY_DATA += (np.intersect1d, np.setdiff1d, np.setxor1d)
MANY_PRODUCTS = 1 << 23  # convolutions with fewer are recorded in parts: calls and copies take as long as the products


def handles(function: Any) -> Callable[[Handler], Handler]:
    """Enter the handler of a function into the table."""
    return lambda handler: FUNCTIONS.setdefault(function, handler)


def _answering(function: Any) -> Any:
    return lambda _, *args, **kwargs: function(*bare(args), **bare(kwargs))


def _refusing(what: str, hint: str) -> Handler:
    return lambda *args, **kwargs: unsupported(what, hint)


_shaped_by_data = _refusing(
    "the shape of a result depends on values", "use mg.where and masks of a fixed shape, or do it outside"
)
_compared = _refusing("arrays are compared in Python (np.allclose, np.array_equal)", "compare outside, or use mg.where")
FUNCTIONS |= {f: _answering(f) for f in QUESTIONS} | dict.fromkeys(SHAPED_BY_DATA, _shaped_by_data)
FUNCTIONS |= dict.fromkeys((np.array_equal, np.array_equiv, np.allclose), _compared)
FUNCTIONS |= {np.real_if_close: _refusing("the dtype of a result depends on values", "use np.real")}


@handles(np.compress)
def _compress(trace: Any, condition: Any, a: Any, *args: Any, **kwargs: Any) -> Any:
    return _shaped_by_data() if isinstance(condition, TracerArray) else NotImplemented


@handles(np.full_like)
def _full_like(trace: Any, a: Any, fill_value: Any, *args: Any, device: Any = None, **options: Any) -> Any:
    array = np.empty_like(bare(a), *args, **options)  # in NumPy's layout, which decides which reshapes are views
    v = trace.operand(fill_value)
    array[...] = bare(fill_value)
    if isinstance(v, Value):
        return trace.fresh(array, trace.fitted(fill_value, array.shape, array.dtype))
    return trace.fresh(array, trace.emit("full", shape=array.shape, dtype=array.dtype, value=v))


def _filled_with(value: int) -> Handler:
    return lambda trace, a, *args, **options: _full_like(trace, a, value, *args, **options)


FUNCTIONS |= {np.zeros_like: _filled_with(0), np.empty_like: _filled_with(0), np.ones_like: _filled_with(1)}


@handles(np.copy)
def _copy(trace: Any, a: Any, order: Any = "K", subok: bool = False) -> Any:
    value = trace.operand(a)
    assert isinstance(value, Value)
    return trace.fresh(np.copy(bare(a), order=order), value)


@handles(np.copyto)
def _copyto(trace: Any, dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    target = trace.writable(dst, "np.copyto")
    value = trace.fitted(src, target.shape, target.dtype)
    if where is not True:
        value = trace.emit("where", trace.operand(where), value, target.mg_value)
    target.mg_write(value)
    np.copyto(target.mg_array, bare(src), casting=casting, where=bare(where))


@handles(np.where)
def _where(trace: Any, condition: Any, *choices: Any) -> Any:
    if not choices:
        return _shaped_by_data()
    c, x, y = (trace.operand(v) for v in (condition, *choices))
    if isinstance(c, Value) and c.dtype != bool:
        c = trace.emit("not_equal", c, 0)
    return trace.fresh(np.where(bare(condition), *map(bare, choices)), trace.emit("where", c, x, y))


@handles(np.concatenate)
def _concatenate(trace: Any, arrays: Any, axis: Any = 0, out: Any = None, dtype: Any = None, **options: Any) -> Any:
    if out is not None or dtype is not None:
        result = _concatenate(trace, arrays, axis)
        result = result if dtype is None else result.astype(dtype)
        return result if out is None else trace.written(out, result, True)
    members = [x if isinstance(x, (TracerArray, np.ndarray)) else np.asarray(x) for x in arrays]
    if axis is None:
        members, axis = [np.reshape(x, -1) for x in members], 0
    values = [trace.operand(x) for x in members]
    array = np.concatenate(bare(members), axis)
    return trace.fresh(array, trace.emit("concatenate", *values, axis=axis % array.ndim))


@handles(np.stack)
def _stack(trace: Any, arrays: Any, axis: int = 0, out: Any = None, **options: Any) -> Any:
    if out is not None or options:
        return NotImplemented
    return _concatenate(trace, [np.expand_dims(x, axis) for x in arrays], axis)


@handles(np.broadcast_to)
def _broadcast_to(trace: Any, array: Any, shape: Any, subok: bool = False) -> Any:
    shape = (shape,) if isinstance(shape, int) else tuple(map(int, shape))
    if not isinstance(array, TracerArray):
        return NotImplemented
    if array.shape == shape:
        same = trace.view(array, [], another=True)
        same.mg_array.flags.writeable = False
        return same
    return TracerArray(trace, np.broadcast_to(array.mg_array, shape), array.mg_memory, array, ("broadcast", shape))


@handles(np.reshape)
def _reshape(trace: Any, a: Any, shape: Any, order: str = "C", **options: Any) -> Any:
    if order != "C" or options.get("copy") is not None:
        return NotImplemented
    new = a.mg_array.reshape(shape).shape
    return trace.view(a, [("reshape", new)] if a.shape != new else [], another=True)


def _moving(function: Any) -> Any:
    """The handler of a function that permutes axes."""

    def recorded(trace: Any, a: Any, *args: Any, **kwargs: Any) -> Any:
        marked = np.empty(tuple(range(2, a.ndim + 2)), np.void)  # with another size for every axis
        order = tuple(n - 2 for n in function(marked, *args, **kwargs).shape)
        return trace.view(a, [] if order == tuple(range(a.ndim)) else [("transpose", order)], another=True)

    return recorded


FUNCTIONS |= {f: _moving(f) for f in (np.transpose, np.swapaxes, np.moveaxis, np.rollaxis)}


def _reshaping(function: Any) -> Any:
    """The handler of a function that inserts or drops axes of size 1."""
    return lambda trace, a, *args, **kwargs: _reshape(trace, a, function(a.mg_array, *args, **kwargs).shape)


FUNCTIONS |= {f: _reshaping(f) for f in (np.expand_dims, np.squeeze)}


def _reduction(ufunc: Any, *names: str) -> Handler:
    """The handler of a function that is a reduction by a ufunc, with options of these names, in order."""

    def recorded(trace: Any, a: Any, *args: Any, **options: Any) -> Any:
        options = {"axis": None, **options, **dict(zip(names, args, strict=False))}
        return ufunc.reduce(a, **{name: x for name, x in options.items() if x is not np._NoValue})

    return recorded


_REST = ("out", "keepdims", "initial", "where")
_total = _reduction(np.add, "axis", "dtype", *_REST)
FUNCTIONS |= {np.sum: _total, np.prod: _reduction(np.multiply, "axis", "dtype", *_REST)}
FUNCTIONS |= dict.fromkeys((np.max, np.amax), _reduction(np.maximum, "axis", *_REST))
FUNCTIONS |= dict.fromkeys((np.min, np.amin), _reduction(np.minimum, "axis", *_REST))
FUNCTIONS |= {np.all: _reduction(np.logical_and, "axis", *_REST), np.any: _reduction(np.logical_or, "axis", *_REST)}


@handles(np.mean)
def _mean(trace: Any, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, **options: Any) -> Any:
    if dtype is not None or out is not None or a.dtype.kind not in "fc" or a.dtype == np.float16 or "where" in options:
        return NotImplemented
    total = _total(trace, a, axis, **options)
    return total / (a.size // max(total.size, 1))


@handles(np.clip)
def _clip(trace: Any, a: Any, *limits: Any, **options: Any) -> Any:
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


@handles(np.dot)
def _dot(trace: Any, a: Any, b: Any, out: Any = None) -> Any:
    return np.matmul(a, b) if out is None and np.ndim(a) == np.ndim(b) == 2 else NotImplemented


FUNCTIONS |= {np.isneginf: lambda trace, x: np.equal(x, -math.inf), np.isposinf: lambda trace, x: np.equal(x, math.inf)}


@handles(np.take)
def _take(trace: Any, a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    if not isinstance(a, TracerArray) or out is not None or mode != "raise":
        return NotImplemented
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    part = a[(slice(None),) * (axis % a.ndim) + (indices,)]
    return trace.fresh(np.take(a.mg_array, bare(indices), axis=axis), part.mg_value)


@handles(np.repeat)
def _repeat(trace: Any, a: Any, repeats: Any, axis: Any = None) -> Any:
    return _shaped_by_data() if isinstance(repeats, TracerArray) else NotImplemented


def _writer(function: Any) -> Handler:
    def record(trace: Any, a: Any = None, *args: Any, **kwargs: Any) -> Any:
        a = kwargs.pop("arr", a)
        if function in (np.place, np.putmask):  # they accept any dtype of a NumPy scalar, but not of an array
            args = tuple(x.astype(a.dtype) if type(x) is TracerArray and x.mg_is_scalar else x for x in args)
        return trace.rewritten(function, a, args, kwargs)

    return record


FUNCTIONS |= {f: _writer(f) for f in WRITERS}


@handles(np.nan_to_num)
def _nan_to_num(trace: Any, x: Any, copy: bool = True, **values: Any) -> Any:
    if copy:
        return NotImplemented
    np.copyto(x, np.nan_to_num(x, **values))
    return x


# Functions of minigrad on arrays: each is one operation, or several of programs


@handles(read)
def _read(trace: Any, x: Any, index: Any) -> Any:
    return trace.getitem(x if isinstance(x, TracerArray) else trace.constant(x), index)


def _elementwise(name: str) -> Handler:
    """The handler of an elementwise function of minigrad's, as one operation."""

    def recorded(trace: Any, x: Any) -> Any:
        x = x if x.dtype in (np.float32, np.float64) else x.astype(np.float64)
        return trace.fresh(WHOLE[name](x.mg_array), trace.emit(name, x.mg_value))

    return recorded


FUNCTIONS |= {function: _elementwise(name) for name, function in WHOLE.items()}


def _bell(*factors: float) -> Handler:
    return lambda trace, x: exp_of_square(x if x.dtype.kind == "f" else x * 1.0, *factors)


FUNCTIONS |= {gaussian_values: _bell(1.0), normal_pdf_values: _bell(0.5, 1 / math.sqrt(2 * math.pi))}


def _convolution(function: Any) -> Handler:
    def recorded(trace: Any, x: Any, y: Any, **settings: Any) -> Any:
        array = function(bare(x), bare(y), **settings)
        y_like, w = {convolution: (array, y), convolution_input: (x, y), convolution_kernel: (y, array)}[function]
        if math.prod(y_like.shape) * math.prod(w.shape[:-1]) < MANY_PRODUCTS:
            return function(x, y, **settings)
        params = {"function": function, "settings": tuple(settings.items()), "shape": array.shape}
        return trace.fresh(array, trace.emit("convolution", trace.operand(x), trace.operand(y), **params))

    return recorded


FUNCTIONS |= {f: _convolution(f) for f in (convolution, convolution_input, convolution_kernel)}


def _drawing(method: str) -> Handler:
    def recorded(trace: Any, x: Any, rng: Any) -> Any:
        dtype = drawn_dtype(x)
        if dtype in (np.float32, np.float64):
            return trace.draw(real_of(rng), method, (x.shape,), {"dtype": dtype})
        return trace.draw(real_of(rng), method, (x.shape,), {}).astype(dtype)

    return recorded


FUNCTIONS |= {uniform_like: _drawing("random"), normal_like: _drawing("standard_normal")}
