"""How a trace records ufuncs and their methods: as operations where programs have them, else as opaque ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.compiler.ir.program import REDUCTIONS, UFUNCS, Op, Value
from minigrad.compiler.ir.typing import broadcast, loop, result
from minigrad.compiler.ir.view_memory import Memory
from minigrad.compiler.refusal import CompileError, user_line
from minigrad.compiler.trace.elements import add_check, check_index, indexed, rewritten
from minigrad.compiler.trace.opaque import bare, is_foreign
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.reach import NUMERIC

OPERATIONS = {ufunc: op for op, ufunc in UFUNCS.items()} | {np.matmul: "matmul"}
REDUCTION_OF = {ufunc: op for op, ufunc in REDUCTIONS.items()}
ACCUMULATING = {np.add: "add", np.subtract: "add"}
LITERALS = frozenset({bool, int, float, complex})
SCALARS = frozenset(np.dtype(code).type for code in "?bhilqBHILQefdFD")  # whose dtype counts, unlike a literal's


def plain(trace: Any, ufunc: Any, inputs: Any, options: Any) -> Any:
    """Record ufunc(*inputs) of tracer arrays and numbers, with or without out=, as almost all ops of a step are.

    Returns NotImplemented for others. The real call comes before anything is recorded, so that its exceptions are the
    user's.
    """
    name = OPERATIONS.get(ufunc)
    if name is None or ufunc is np.power:
        return NotImplemented
    reals = []
    for x in inputs:
        kind = type(x)
        if kind is TracerArray and x.mg_trace is trace:
            reals.append(x.mg_array)
        elif kind in LITERALS or kind in SCALARS:
            reals.append(x)
        else:
            return NotImplemented
    if options:
        return _plain_into(trace, ufunc, inputs, reals, options)
    result = ufunc(*reals)
    array = np.asarray(result)
    if array.dtype.kind not in NUMERIC:
        return NotImplemented
    try:
        ins = [x.mg_value if type(x) is TracerArray else trace.operand(x) for x in inputs]
    except CompileError as error:
        trace.stop(error)
        return result
    op = trace.add(Op(name, ins, {}, ((array.shape, array.dtype),)))
    tracer = TracerArray(trace, array, Memory(array, op.outs[0]))
    tracer.mg_is_scalar = array is not result
    return tracer


def _plain_into(trace: Any, ufunc: Any, inputs: Any, reals: list[Any], options: Any) -> Any:
    """The same with out= as the only option, an array that needs no cast and no broadcast."""
    out = options.get("out", ())
    if len(options) > 1 or len(out) != 1 or type(out[0]) is not TracerArray or ufunc is np.matmul:
        return NotImplemented
    (target,) = out
    buffer = target.mg_memory.buffer
    if target.mg_trace is not trace or (buffer is not None and buffer.is_constant):
        return NotImplemented  # `recorded` refuses it
    if target.mg_step is not None and target.mg_step[0] == "call":
        return NotImplemented
    kinds = tuple(type(x) if type(x) in LITERALS else x.dtype for x in reals)
    shapes = [() if type(x) in LITERALS else x.shape for x in reals]
    try:
        fits = loop(OPERATIONS[ufunc], kinds)[-1] == target.dtype and broadcast(*shapes) == target.shape
    except (TypeError, ValueError):  # NumPy raises its own error
        fits = False
    if not fits:
        return NotImplemented
    ufunc(*reals, out=trace.writable(target, "out=").mg_array)
    try:
        ins = [x.mg_value if type(x) is TracerArray else trace.operand(x) for x in inputs]
        op = trace.add(Op(OPERATIONS[ufunc], ins, {}, ((target.shape, target.dtype),)))
        target.mg_write(op.outs[0])
    except CompileError as error:
        trace.stop(error)
    return target


def recorded(trace: Any, ufunc: Any, method: str, inputs: Any, options: Any) -> Any:
    """Record a ufunc or one of its methods."""
    if ufunc.__name__.endswith(" (vectorized)"):  # of np.frompyfunc
        what = f"the step calls a ufunc made of a Python function, {ufunc.__name__}, at {user_line()}"
        trace.abort(what, "use NumPy's functions")
    options = dict(options)
    if any(is_foreign(x) for x in (*inputs, *options.get("out", ()))):
        return NotImplemented
    if method == "at":
        return _at(trace, ufunc, *inputs)
    out = options.pop("out", (None,))
    if len(out) > 1:
        results = recorded(trace, ufunc, method, inputs, options)
        return tuple(r if o is None else trace.written(o, r, True) for r, o in zip(results, out, strict=True))
    mask = options.pop("where", True)
    value = _value(trace, ufunc, method, inputs, dict(options)) if mask is True or out[0] is not None else None
    if value is None:
        masked = {} if mask is True else {"where": mask}
        result = trace.opaque(getattr(ufunc, method), inputs, options | masked)
        return result if out[0] is None else trace.written(out[0], result, mask)
    if out[0] is None:
        return trace.fresh(getattr(ufunc, method)(*bare(inputs), **options), value)
    target = trace.writable(out[0], f"np.{ufunc.__name__}(out=...)")
    value = trace.fitted(trace.fresh(target.mg_array, value), target.shape, target.dtype)
    if mask is not True:
        value = trace.emit("where", trace.operand(mask), value, target.mg_value)
    masked = {} if mask is True else {"where": bare(mask)}
    target.mg_write(value)
    getattr(ufunc, method)(*bare(inputs), **options, **masked, out=target.mg_array)
    return target


def _value(trace: Any, ufunc: Any, method: str, inputs: Any, options: dict[str, Any]) -> Value | None:
    """The value of a ufunc if programs have an operation for it, else None."""
    dtype = options.pop("dtype", None)
    for harmless in ("casting", "order", "subok"):
        options.pop(harmless, None)
    if method == "__call__" and not options:
        if ufunc not in OPERATIONS:
            return None
        ins = [trace.operand(x) for x in inputs]
        if dtype is not None:
            ins = [trace.emit("cast", x, dtype=np.dtype(dtype)) if isinstance(x, Value) else x for x in ins]
        value = trace.emit(OPERATIONS[ufunc], *ins)
        exponent = ins[-1]
        if ufunc is np.power and value.dtype.kind == "i" and isinstance(exponent, Value) and exponent.dtype.kind == "i":
            add_check(trace, exponent, 0, np.iinfo(exponent.dtype).max)  # NumPy refuses negative ones
        return value
    if method == "reduce" and ufunc in REDUCTION_OF:
        axis, keepdims = options.pop("axis", 0), options.pop("keepdims", False)
        if options or len(inputs) > 1:
            return None
        return _reduction(trace, ufunc, inputs[0], axis, dtype, keepdims)
    return None


def _reduction(trace: Any, ufunc: Any, x: Any, axis: Any, dtype: Any, keepdims: bool) -> Value | None:
    v = trace.operand(x)
    assert isinstance(v, Value)
    axes = range(v.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(sorted(k % v.ndim for k in axes))
    if dtype is not None and v.dtype != dtype:
        v = trace.emit("cast", v, dtype=np.dtype(dtype))
    if not axes or (dtype is not None and result(REDUCTION_OF[ufunc], (v,), {"axes": axes})[1] != dtype):
        return None
    reduced: Value = trace.emit(REDUCTION_OF[ufunc], v, axes=axes)
    shape = tuple(n for k, n in enumerate(v.shape) if k not in axes)
    return reduced if keepdims else trace.emit("reshape", reduced, shape=shape)


def _at(trace: Any, ufunc: Any, x: Any, index: Any, *operands: Any) -> None:
    if ufunc not in ACCUMULATING:
        rewritten(trace, ufunc.at, x, (index, *operands), {})
        return
    target = trace.writable(x, f"np.{ufunc.__name__}.at")
    template, arrays = indexed(trace, index)
    added = trace.operand(operands[0])
    if ufunc is np.subtract:
        added = trace.emit("negative", added)
    check_index(trace, target.shape, template, arrays)
    value = trace.emit("scatter", target.mg_value, added, *arrays, index=template, how="add")
    target.mg_write(value)
    ufunc.at(target.mg_array, bare(index), bare(operands[0]))
