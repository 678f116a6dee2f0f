"""Functions for which programs have no operation: one line that calls them, or a view of an operand."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.compiler.listening import Listening
from minigrad.compiler.memory import derived, owner
from minigrad.compiler.program import Line, Literal, Place, Value
from minigrad.compiler.refusal import reading, refuse


def opaque(trace: Any, function: Any, args: Any, kwargs: Any) -> Any:
    """A function without an operation of its own: one line that calls it. Views of its operands stay views."""
    operands = list(arrays_in((args, kwargs)))
    result = _unwriting(function, bare(args), bare(kwargs), [bare(x) for x in operands])
    results = result if isinstance(result, (tuple, list)) else (result,)
    if not results or not all(isinstance(r, (np.ndarray, np.generic)) for r in results):
        for x in operands:
            if isinstance(x, Listening):
                reading(x)
                return result
    heard: list[Any] = [_as_view(trace, r, operands, function, args, kwargs) for r in results]
    if any(h is None for h in heard):
        line = opaque_line(trace, function, args, kwargs, *results)
        heard = [trace.fresh(r, v) if h is None else h for h, r, v in zip(heard, results, line.outs, strict=True)]
    if isinstance(result, (tuple, list)):
        return type(result)(*heard) if hasattr(result, "_fields") else type(result)(heard)
    return heard[0]


def _unwriting(function: Any, args: Any, kwargs: Any, arrays: list[Any]) -> Any:
    """What a function returns; refused if it wrote into its operands, which a line that calls it must not."""
    before = [np.copy(x) for x in arrays]
    result = function(*args, **kwargs)
    for x, old in zip(arrays, before, strict=True):
        if x.dtype != object and x.tobytes() != old.tobytes():
            np.copyto(x, old)
            refuse(f"{getattr(function, '__name__', function)} writes into an operand", "let it return a new array")
    return result


def _as_view(trace: Any, result: Any, operands: list[Any], function: Any, args: Any, kwargs: Any) -> Listening | None:
    for x in operands:
        if not isinstance(x, Listening) or not isinstance(result, np.ndarray):
            continue
        if result is x.array:
            return x
        if result.base is not None and owner(result) is owner(x.array):
            steps = derived(result, x.array) if result.dtype == x.dtype else None
            if steps is not None:
                view: Listening = trace.view(x, steps)
                return view
            return Listening(trace, result, x.memory, x, ("call", (function, args, kwargs)))
    return None


def opaque_line(trace: Any, function: Any, args: Any, kwargs: Any, *results: Any) -> Line:
    """A line that calls a function."""
    ins: list[Value | Literal] = []

    def template(x: Any) -> Any:
        if isinstance(x, (Listening, np.ndarray)):
            ins.append(trace.operand(x))
            return Place(len(ins) - 1)
        if isinstance(x, (tuple, list)) and not hasattr(x, "_fields"):
            return type(x)(map(template, x))
        return x

    params = {
        "function": function,
        "args": tuple(map(template, args)),
        "kwargs": {k: template(v) for k, v in kwargs.items()},
    }
    made: Line = trace.add(Line("call", ins, params, [(np.shape(r), r.dtype) for r in results]))
    return made


def is_foreign(x: Any) -> bool:
    """Whether another class than arrays answers for x, such as a Tensor."""
    return hasattr(type(x), "__array_ufunc__") and not isinstance(x, (Listening, np.ndarray, np.generic))


def bare(x: Any) -> Any:
    """The real arrays, inside containers too."""
    if isinstance(x, Listening):
        return x.array
    if isinstance(x, (tuple, list)) and not hasattr(x, "_fields"):
        return type(x)(map(bare, x))
    if isinstance(x, dict):
        return {k: bare(v) for k, v in x.items()}
    return x


def arrays_in(x: Any) -> Any:
    """The arrays in containers."""
    if isinstance(x, (Listening, np.ndarray)):
        yield x
    elif isinstance(x, dict):
        for part in x.values():
            yield from arrays_in(part)
    elif isinstance(x, (tuple, list)):
        for part in x:
            yield from arrays_in(part)
