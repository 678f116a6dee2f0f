"""How a trace records ufuncs and their methods: as operations where programs have one, else as opaque ops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.compiler.ir.program import REDUCTIONS, UFUNCS, Op, Value
from minigrad.compiler.ir.typing import broadcast, loop, result
from minigrad.compiler.ir.view_memory import Memory
from minigrad.compiler.refusal import CompileError, place
from minigrad.compiler.trace.access import add_check, indexed
from minigrad.compiler.trace.opaque import bare, is_foreign
from minigrad.compiler.trace.records import NUMERIC
from minigrad.compiler.trace.tracer import TracerArray

if TYPE_CHECKING:
    from minigrad.compiler.trace.trace import Trace

OPERATIONS = {ufunc: op for op, ufunc in UFUNCS.items()} | {np.matmul: "matmul"}
REDUCTION_OF = {ufunc: op for op, ufunc in REDUCTIONS.items()}
ACCUMULATING = {np.add: "add", np.subtract: "add"}
LITERALS = frozenset({bool, int, float, complex})
SCALARS = frozenset(np.dtype(code).type for code in "?bhilqBHILQefdFD")  # whose dtype counts, unlike a literal's


def plain(trace: Trace, ufunc: Any, inputs: Any, options: Any) -> Any:
    """ufunc(*inputs) of tracer arrays and numbers, with or without out=, as almost every op is of a step.

    NotImplemented for others. The real call comes before anything is recorded; if it raises, that is the user's.
    """
    name = OPERATIONS.get(ufunc)
    if name is None or ufunc is np.power:
        return NotImplemented
    given = []
    for x in inputs:
        kind = type(x)
        if kind is TracerArray and x.mg_trace is trace:
            given.append(x.mg_array)
        elif kind in LITERALS or kind in SCALARS:
            given.append(x)
        else:
            return NotImplemented
    if options:
        return _plain_into(trace, ufunc, inputs, given, options)
    made = ufunc(*given)
    array = np.asarray(made)
    if array.dtype.kind not in NUMERIC:
        return NotImplemented
    try:
        ins = [x.mg_value if type(x) is TracerArray else trace.operand(x) for x in inputs]
    except CompileError as error:
        trace.stop(error)
        return made
    op = trace.add(Op(name, ins, {}, ((array.shape, array.dtype),)))
    tracer = TracerArray(trace, array, Memory(array, op.outs[0]))
    tracer.mg_is_scalar = array is not made
    return tracer


def _plain_into(trace: Trace, ufunc: Any, inputs: Any, given: list[Any], options: Any) -> Any:
    """The same with out= alone, an array that needs no cast and no broadcast."""
    out = options.get("out", ())
    if len(options) > 1 or len(out) != 1 or type(out[0]) is not TracerArray or ufunc is np.matmul:
        return NotImplemented
    (target,) = out
    buffer = target.mg_memory.buffer
    if target.mg_trace is not trace or (buffer is not None and buffer.is_constant):
        return NotImplemented  # which is refused
    if target.mg_step is not None and target.mg_step[0] == "call":
        return NotImplemented
    kinds = tuple(type(x) if type(x) in LITERALS else x.dtype for x in given)
    shapes = [() if type(x) in LITERALS else x.shape for x in given]
    try:
        fits = loop(OPERATIONS[ufunc], kinds)[-1] == target.dtype and broadcast(*shapes) == target.shape
    except (TypeError, ValueError):  # which NumPy says in its own words
        fits = False
    if not fits:
        return NotImplemented
    ufunc(*given, out=trace.writable(target, "out=").mg_array)
    try:
        ins = [x.mg_value if type(x) is TracerArray else trace.operand(x) for x in inputs]
        op = trace.add(Op(OPERATIONS[ufunc], ins, {}, ((target.shape, target.dtype),)))
        target.mg_write(op.outs[0])
    except CompileError as error:
        trace.stop(error)
    return target


def recorded(trace: Trace, ufunc: Any, method: str, inputs: Any, options: Any) -> Any:
    """A ufunc or one of its methods."""
    if not trace.open:
        return getattr(ufunc, method)(*bare(inputs), **bare(options))
    if ufunc.__name__.endswith(" (vectorized)"):  # of np.frompyfunc
        trace.halt(f"the step calls a ufunc of Python's, {ufunc.__name__}, at {place()}", "use NumPy's functions")
    options = dict(options)  # which the trace needs as they are if this is refused
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
        given = {**options, **({} if mask is True else {"where": mask})}
        result = trace.opaque(getattr(ufunc, method), inputs, given)
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


def _value(trace: Trace, ufunc: Any, method: str, inputs: Any, options: dict[str, Any]) -> Value | None:
    """The value of a ufunc that programs have an operation for, else None."""
    dtype = options.pop("dtype", None)
    for harmless in ("casting", "order", "subok"):
        options.pop(harmless, None)
    if method == "__call__" and not options:
        if ufunc not in OPERATIONS:
            return None
        ins = [trace.operand(x) for x in inputs]
        if dtype is not None:
            ins = [trace.emit("cast", x, dtype=np.dtype(dtype)) if isinstance(x, Value) else x for x in ins]
        made = trace.emit(OPERATIONS[ufunc], *ins)
        exponent = ins[-1]
        if ufunc is np.power and made.dtype.kind == "i" and isinstance(exponent, Value) and exponent.dtype.kind == "i":
            add_check(trace, exponent, 0, np.iinfo(exponent.dtype).max)  # NumPy refuses negative ones
        return made
    if method == "reduce" and ufunc in REDUCTION_OF:
        axis, keepdims = options.pop("axis", 0), options.pop("keepdims", False)
        if options or len(inputs) > 1:
            return None
        return _reduction(trace, ufunc, inputs[0], axis, dtype, keepdims)
    return None


def _reduction(trace: Trace, ufunc: Any, x: Any, axis: Any, dtype: Any, keepdims: bool) -> Value | None:
    v = trace.operand(x)
    assert isinstance(v, Value)
    given = range(v.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(sorted(k % v.ndim for k in given))
    if dtype is not None and v.dtype != dtype:
        v = trace.emit("cast", v, dtype=np.dtype(dtype))
    if not axes or (dtype is not None and result(REDUCTION_OF[ufunc], (v,), {"axes": axes})[1] != dtype):
        return None
    reduced = trace.emit(REDUCTION_OF[ufunc], v, axes=axes)
    if keepdims:
        return reduced
    return trace.emit("reshape", reduced, shape=tuple(n for k, n in enumerate(v.shape) if k not in axes))


def _at(trace: Trace, ufunc: Any, x: Any, index: Any, *given: Any) -> None:
    if ufunc not in ACCUMULATING:
        trace.rewritten(ufunc.at, x, (index, *given), {})
        return
    target = trace.writable(x, f"np.{ufunc.__name__}.at")
    template, arrays = indexed(trace, index)
    added = trace.operand(given[0])
    if ufunc is np.subtract:
        added = trace.emit("negative", added)
    trace.check_index(target.shape, template, arrays)
    value = trace.emit("scatter", target.mg_value, added, *arrays, index=template, how="add")
    target.mg_write(value)
    ufunc.at(target.mg_array, bare(index), bare(given[0]))
