"""How a trace records calls: ufuncs as operations where programs have them, all others as one op that calls them.

Such an opaque call may return a view of an operand.
"""

from __future__ import annotations

from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minigrad.compiler.ir.program import REDUCTIONS, UFUNCS, ArgSlot, Literal, Op, Value
from minigrad.compiler.ir.typing import result
from minigrad.compiler.ir.view_memory import Memory, elements_in, owner, where_in
from minigrad.compiler.refusal import CompileError, note_read, unsupported, user_line
from minigrad.compiler.trace.elements import add_check, indexed, rewritten
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.tracer_operators import arrays_in, bare, is_foreign, mapped
from minigrad.reach import NUMERIC, package_of
from minigrad.reach.code_names import names_of
from minigrad.util.bytecode import stores

OPERATIONS = {ufunc: op for op, ufunc in UFUNCS.items()} | {np.matmul: "matmul"}
REDUCTION_OF = {ufunc: op for op, ufunc in REDUCTIONS.items()}
ACCUMULATING = {np.add: "add", np.subtract: "add"}
LITERALS = frozenset({bool, int, float, complex})
SCALARS = frozenset(np.dtype(code).type for code in "?bhilqBHILQefdFD")  # whose dtype counts, unlike a literal's
OPERANDS = (TracerArray, np.ndarray, np.generic, int, float, complex, str, type(None), tuple)
# Functions whose views NumPy protects from being written.
READ_ONLY = frozenset({np.diagonal, np.linalg.diagonal, np.diag, np.broadcast_to, sliding_window_view})
COMPUTING = frozenset({"abs", "bool", "float", "int", "len", "max", "min", "range", "round", "sum"})


def plain(trace: Any, ufunc: Any, inputs: Any, options: Any) -> Any:
    """Record ufunc(*inputs) of tracer arrays and numbers without options, as almost all ops of a step are.

    Returns NotImplemented for others. The real call comes before anything is recorded, so that its exceptions are the
    user's.
    """
    name = OPERATIONS.get(ufunc)
    if name is None or options or ufunc is np.power:
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
    getattr(ufunc, method)(*bare(inputs), **options, **masked, out=target.mg_array)
    try:  # after the real call, which may raise
        target.mg_write(value)
    except CompileError as error:
        trace.stop(error)
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
    template, arrays = indexed(trace, index, target.shape)
    added = trace.operand(operands[0])
    if ufunc is np.subtract:
        added = trace.emit("negative", added)
    value = trace.emit("scatter", target.mg_value, added, *arrays, index=template, how="add")
    target.mg_write(value)
    ufunc.at(target.mg_array, bare(index), bare(operands[0]))


# Opaque calls


def opaque(trace: Any, function: Any, args: Any, kwargs: Any) -> Any:
    """Record a call of a function without an operation of its own. Views of its operands stay views."""
    _check_callbacks(trace, function, args, kwargs)
    if function is sliding_window_view and (kwargs.get("writeable") or args[4:]):
        unsupported("writeable windows share memory with each other", "write into the array")
    views: dict[int, Any] = {}
    try:
        result = function(*_read_only(args, views), **_read_only(kwargs, views))
    except ValueError as error:
        if "read-only" in str(error) or "output array" in str(error):
            unsupported(
                f"{getattr(function, '__name__', function)} writes into one of its arguments",
                "write x[...] = values, or give an array as out=",
            )
        raise
    operands = list(arrays_in((args, kwargs)))
    results = result if isinstance(result, (tuple, list)) else (result,)
    if not results or not all(isinstance(r, (np.ndarray, np.generic)) for r in results):
        for x in operands:
            if isinstance(x, TracerArray):
                note_read(x)
                return function(*bare(args), **bare(kwargs))
    call = function, args, kwargs
    traced: list[Any] = [_as_view(trace, r, operands, views, len(results), call) for r in results]
    if any(x is None for x in traced):
        _check_disjoint([r for x, r in zip(traced, results, strict=True) if x is None])
        op = opaque_op(trace, function, args, kwargs, *results)
        traced = [trace.fresh(r, v) if x is None else x for x, r, v in zip(traced, results, op.outs, strict=True)]
    if isinstance(result, (tuple, list)):
        return type(result)(*traced) if hasattr(result, "_fields") else type(result)(traced)
    return traced[0]


def _check_callbacks(trace: Any, function: Any, args: Any, kwargs: Any) -> None:
    """Abort if NumPy calls a function of the user's that may do more than compute, as each call of a program would."""
    operands = [*args, *kwargs.values()]
    operands += [y for part in operands if type(part) in (list, tuple) for y in part]
    called = [x for x in operands if callable(x) and not _is_of_numpy(x)]
    kinds = (*OPERANDS, list) if function is np.piecewise else OPERANDS
    is_known = all(issubclass(type(x), kinds) for x in operands if not callable(x))
    for x in called:
        if not is_known or not _is_plain_function(x):
            trace.abort(
                f"np.{getattr(function, '__name__', function)} calls {getattr(x, '__name__', 'a function')}, which may "
                f"do more than compute, at {user_line()}",
                "use NumPy functions of whole arrays",
            )


def _is_of_numpy(x: Any) -> bool:
    """Whether a callable is NumPy's or a builtin that computes: np.sum, len, float as a dtype."""
    root = package_of(x if isinstance(x, (type, FunctionType)) else type(x))
    is_bound = type(x) is BuiltinFunctionType and type(x.__self__) is not ModuleType  # log.append
    return root in ("numpy", "builtins") and not is_bound and type(x) is not MethodType


def _is_plain_function(x: Any) -> bool:
    """Whether a function only uses its arguments, NumPy and builtins that compute, and stores nothing."""
    if type(x) is not FunctionType or x.__closure__ or x.__defaults__ or x.__kwdefaults__:
        return False
    named, scope = names_of(x.__code__), x.__globals__
    for name in named.scope:
        root = getattr(scope.get(name), "__name__", "").split(".")[0]
        if root not in ("numpy", "math") if name in scope else name not in COMPUTING:
            return False
    has_functions = any(isinstance(c, CodeType) for c in x.__code__.co_consts)
    return not (named.imports or has_functions or stores(x.__code__))


def _read_only(x: Any, views: dict[int, Any]) -> Any:
    """Read-only views of real arrays instead of tracer arrays, as a write by NumPy would not be in the program.

    Args:
        x: arguments of a function, also in containers.
        views: gets the views, by the id of the tracer array.
    """

    def view(part: Any) -> Any:
        if isinstance(part, TracerArray) and id(part) not in views:
            views[id(part)] = part.mg_array.view()
            views[id(part)].flags.writeable = False
        return views.get(id(part), part)

    return mapped(view, x)


def _as_view(
    trace: Any, result: Any, operands: list[Any], views: dict[int, Any], count: int, call: tuple[Any, Any, Any]
) -> TracerArray | None:
    """The tracer of a result that is an operand or a view of one, else None."""
    for x in operands:
        if not isinstance(x, TracerArray) or not isinstance(result, np.ndarray):
            continue
        if result is views.get(id(x)):
            return x
        if result.base is not None and owner(result) is owner(x.mg_array):
            view = _view_of(trace, x, result, operands, count, call)
            if x.mg_array.flags.writeable and call[0] not in READ_ONLY and view.mg_step:
                result.flags.writeable = view.mg_step[0] != "call" or _is_writable(call)
            view.mg_array = result
            return view
    return None


def _is_writable(call: tuple[Any, Any, Any]) -> bool:
    """Whether a function returns a writeable view for writeable arrays."""
    function, args, kwargs = call
    result = function(*bare(args), **bare(kwargs))
    return isinstance(result, np.ndarray) and result.flags.writeable


def _view_of(
    trace: Any, x: TracerArray, result: Any, operands: list[Any], count: int, call: tuple[Any, Any, Any]
) -> TracerArray:
    """The view of its operand x that a function returned: as steps, as a call to repeat, or by its elements."""
    view: TracerArray
    steps = where_in(result, x.mg_array)
    if steps is not None:
        view = trace.view(x, steps)
        return view if view is not x else TracerArray(trace, result, x.mg_memory, x, ("reshape", x.shape))
    if count == 1 and len(operands) == 1:
        return TracerArray(trace, result, x.mg_memory, x, ("call", call))
    elements = elements_in(result, x.mg_array)
    if elements is None:
        unsupported(
            f"{getattr(call[0], '__name__', call[0])} returns a view of an argument that the compiler cannot describe",
            "give it a copy: x.copy()",
        )
    view = trace.view(x, elements[0])
    return TracerArray(trace, result, x.mg_memory, view, ("elements", elements[1]))


def _check_disjoint(results: list[Any]) -> None:
    """Check that results have memory of their own: a write into one must not change another."""
    arrays = [r for r in results if isinstance(r, np.ndarray)]
    for k, x in enumerate(arrays):
        if any(np.may_share_memory(x, y) for y in arrays[:k]):
            unsupported("a NumPy function returns several views of one new array", "call it outside of the step")


def opaque_op(trace: Any, function: Any, args: Any, kwargs: Any, *results: Any) -> Op:
    """An op that calls a function."""
    ins, operands = templates(trace, {"args": tuple(args), "kwargs": kwargs})
    params = {"function": function, **operands}
    return trace.add(Op("call", ins, params, [(np.shape(r), r.dtype) for r in results]))


def templates(
    trace: Any, arguments: dict[str, Any], kinds: Any = (TracerArray, np.ndarray)
) -> tuple[list[Value | Literal], dict[str, Any]]:
    """The operands among the arguments of a call, and the arguments with a ArgSlot instead of each operand."""
    ins: list[Value | Literal] = []

    def template(x: Any) -> Any:
        if not issubclass(type(x), kinds):
            return x
        ins.append(trace.operand(x))
        return ArgSlot(len(ins) - 1)

    return ins, mapped(template, arguments)
