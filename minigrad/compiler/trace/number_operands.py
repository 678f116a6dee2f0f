"""Traced numbers and arrays: numbers taken out of arrays, and numbers as operands beside arrays.

Beside narrower arrays a Python number takes their dtype in most functions, and keeps its own in some. Here a traced
number becomes an array that has the same effect, or a constant of the program where that is not known.
"""

from __future__ import annotations

import warnings
from types import FrameType
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import Op
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.trace.number_arithmetic import pinned
from minigrad.compiler.trace.numpy_functions import STRONG, WEAK, WRITING
from minigrad.compiler.trace.opaque import arrays_in, bare
from minigrad.compiler.trace.traced_number import TracedNumber
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.tracer_operators import mapped
from minigrad.reach import is_leaf

DOUBLE = np.dtype(np.float64)


def taken(trace: Any, x: TracerArray, frame: FrameType | None, kind: type | None = None) -> TracedNumber | None:
    """The number in an array of one element, traced; None if its use cannot be followed.

    Args:
        trace: the trace.
        x: the array.
        frame: of the user's function that asks for the number.
        kind: float or int if that was called.
    """
    if frame is None or x.size != 1 or not trace.open or not trace.followed.has(frame):
        return None
    real = x.mg_array.item() if kind is None else kind(x.mg_array.item())
    if type(real) not in (int, float) or x.dtype.itemsize > 8 or x.dtype == np.uint64:
        return None
    try:
        return number(trace, x, real)
    except CompileError as error:
        trace.stop(error)
        return None


def number(trace: Any, x: TracerArray, real: Any) -> TracedNumber:
    """The number in an array of one element, traced."""
    value = x.mg_value if not x.shape else trace.emit("reshape", x.mg_value, shape=())
    if type(real) is int and x.dtype.kind == "f":
        trace.add(Op("check", (value,), {"low": -(2.0**62), "high": 2.0**62}, ()))
    dtype = DOUBLE if type(real) is float else np.dtype(np.int64)
    return TracedNumber(
        trace, real, None, lambda: value if value.dtype == dtype else trace.emit("cast", value, dtype=dtype)
    )


def array_of(trace: Any, x: TracedNumber, dtypes: list[Any]) -> TracerArray:
    """An array of shape () instead of a number, with the dtype that it has beside arrays of these dtypes."""
    dtype = np.result_type(*dtypes, x.mg_real) if dtypes else x.dtype
    if type(x.mg_real) is int and dtype.kind == "f" and x.mg_expression is not None:
        value = trace.computed(_as_float(x.mg_expression), float(x.mg_real))
    else:
        value = x.mg_value
    value = value if value.dtype == dtype else trace.emit("cast", value, dtype=dtype)
    return trace.fresh(np.asarray(x.mg_real, dtype), value)


def fits(trace: Any, x: TracedNumber, dtype: Any) -> bool:
    """Whether an integer dtype can hold a number, in every call. NumPy refuses Python numbers that are too large."""
    if dtype.kind not in "iu" or (dtype == np.int64 and type(x.mg_real) is int):
        return True
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if x.mg_expression is not None:
        return bool(x.mg_decide(lambda n: low <= n <= high))
    if not low <= x.mg_real <= high:
        return False
    # The largest float below 2**63 is 2**63 - 1024.
    bounds = (low, high) if type(x.mg_real) is int else (float(low), float(np.nextafter(high + 1.0, 0)))
    trace.add(Op("check", (x.mg_value,), {"low": bounds[0], "high": bounds[1]}, ()))
    return True


def of_ufunc(trace: Any, operands: Any) -> Any:
    """The operands of a ufunc with arrays instead of traced numbers, in the dtype that a Python number would take."""
    if not any(type(x) is TracedNumber for x in operands):
        return operands
    dtypes = [x.dtype for x in operands if type(x) is not TracedNumber and hasattr(x, "dtype")]
    return tuple(_weak(trace, x, dtypes) if type(x) is TracedNumber else x for x in operands)


def _weak(trace: Any, x: TracedNumber, dtypes: list[Any]) -> Any:
    """An array instead of a number beside arrays, or a constant if it is an integer that theirs cannot hold."""
    dtype = np.result_type(*dtypes, x.mg_real) if dtypes else x.dtype
    return array_of(trace, x, dtypes) if fits(trace, x, dtype) else x.mg_pinned()


def of_function(trace: Any, function: Any, args: Any, kwargs: Any) -> Any:
    """The arguments of a function with arrays instead of numbers if the result is the same, else with constants."""
    dtypes = [x.dtype for x in arrays_in(args)]
    is_strong = function in STRONG
    if any(dtype.itemsize < DOUBLE.itemsize for dtype in dtypes) and not is_strong and function not in WEAK:
        return pinned(args), pinned(kwargs)
    if function in WRITING and args and hasattr(args[0], "dtype"):
        numbers = [x for x in (*args, *kwargs.values()) if type(x) is TracedNumber]
        if not all(fits(trace, x, args[0].dtype) for x in numbers):
            return pinned(args), pinned(kwargs)
    dtypes = [] if is_strong else dtypes
    with_arrays = _with_arrays(trace, args, dtypes), _with_arrays(trace, kwargs, dtypes)
    if function in WRITING or kwargs.get("out") is not None:
        return with_arrays
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            of_numbers = function(*bare(args), **bare(kwargs))
            of_arrays = function(*bare(with_arrays[0]), **bare(with_arrays[1]))
        except Exception:  # the call itself raises it again
            return pinned(args), pinned(kwargs)
    return with_arrays if _form(of_arrays) == _form(of_numbers) else (pinned(args), pinned(kwargs))


def _with_arrays(trace: Any, x: Any, dtypes: list[Any]) -> Any:
    """Arguments of a function with arrays instead of floats, and constants instead of integers (axes, sizes)."""

    def converted(part: Any) -> Any:
        if type(part) is not TracedNumber:
            return part
        return part.mg_pinned() if type(part.mg_real) is int else array_of(trace, part, dtypes)

    return mapped(converted, x)


def _form(x: Any) -> Any:
    """Types, shapes and dtypes of arrays, or of tuples and lists of arrays."""
    if isinstance(x, (tuple, list)):
        return type(x), [*map(_form, x)]
    if isinstance(x, (np.ndarray, np.generic)):
        return type(x), x.shape, x.dtype
    return type(x), x if is_leaf(x) else None


def _as_float(expression: Any) -> Any:
    def converted(inputs: Any) -> float:
        return float(expression(inputs))

    converted.form = ("float", expression.form)  # type: ignore[attr-defined]
    return converted
