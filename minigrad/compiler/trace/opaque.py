"""Functions for which programs have no operation: one op that calls them, or a view of an operand."""

from __future__ import annotations

from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minigrad.compiler.ir.program import ArgSlot, Literal, Op, Value
from minigrad.compiler.ir.view_memory import elements_in, owner, where_in
from minigrad.compiler.refusal import note_read, unsupported, user_line
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.reach import package_of
from minigrad.reach.code_names import names_of
from minigrad.util.bytecode import stores

OPERANDS = (TracerArray, np.ndarray, np.generic, int, float, complex, str, type(None), tuple)
# Functions whose views NumPy protects from being written.
READ_ONLY = frozenset({np.diagonal, np.linalg.diagonal, np.diag, np.broadcast_to, sliding_window_view})
COMPUTING = frozenset({"abs", "bool", "float", "int", "len", "max", "min", "range", "round", "sum"})


def opaque(trace: Any, function: Any, args: Any, kwargs: Any) -> Any:
    """Record a call of a function without an operation of its own. Views of its operands stay views."""
    _check_callbacks(trace, function, args, kwargs)
    if function is sliding_window_view and (kwargs.get("writeable") or args[4:]):
        unsupported("writeable windows share memory with each other", "write into the array")
    protected = ReadOnlyViews()
    try:
        result = function(*protected.of(args), **protected.of(kwargs))
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
    traced: list[Any] = [_as_view(trace, r, operands, protected, len(results), call) for r in results]
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


class ReadOnlyViews:
    """Read-only views of real arrays instead of tracer arrays, as a write by NumPy would not be in the program."""

    def __init__(self) -> None:
        self.views: dict[int, Any] = {}  # by the id of the tracer array

    def of(self, x: Any) -> Any:
        """Arguments of a function, also in containers."""
        if isinstance(x, TracerArray):
            if id(x) not in self.views:
                view = self.views[id(x)] = x.mg_array.view()
                view.flags.writeable = False
            return self.views[id(x)]
        if isinstance(x, (tuple, list)) and not hasattr(x, "_fields"):
            return type(x)(map(self.of, x))
        if isinstance(x, dict):
            return {k: self.of(v) for k, v in x.items()}
        return x


def _as_view(
    trace: Any, result: Any, operands: list[Any], protected: ReadOnlyViews, count: int, call: tuple[Any, Any, Any]
) -> TracerArray | None:
    """The tracer of a result that is an operand or a view of one, else None."""
    for x in operands:
        if not isinstance(x, TracerArray) or not isinstance(result, np.ndarray):
            continue
        if result is protected.views.get(id(x)):
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
        if issubclass(type(x), kinds):
            ins.append(trace.operand(x))
            return ArgSlot(len(ins) - 1)
        if isinstance(x, (tuple, list)) and not hasattr(x, "_fields"):
            return type(x)(map(template, x))
        if isinstance(x, dict):
            return {k: template(v) for k, v in x.items()}
        return x

    return ins, template(arguments)


def is_foreign(x: Any) -> bool:
    """Whether x is of a class that implements ufuncs itself, such as a Tensor."""
    return hasattr(type(x), "__array_ufunc__") and not isinstance(x, (TracerArray, np.ndarray, np.generic))


def bare(x: Any) -> Any:
    """The real arrays instead of tracers, also inside containers. A scalar is an array of shape ()."""
    if type(x) is TracerArray:
        return x.mg_array
    if hasattr(type(x), "minigrad_tracer"):  # a number or a generator
        return x.mg_real
    if isinstance(x, (tuple, list)) and not hasattr(x, "_fields"):
        return type(x)(map(bare, x))
    if isinstance(x, dict):
        return {k: bare(v) for k, v in x.items()}
    return x


def arrays_in(x: Any) -> Any:
    """The arrays in nested containers."""
    if isinstance(x, (TracerArray, np.ndarray)):
        yield x
    elif isinstance(x, dict):
        for part in x.values():
            yield from arrays_in(part)
    elif isinstance(x, (tuple, list)):
        for part in x:
            yield from arrays_in(part)
