"""Functions of Python's own numbers that programs call: round(v, 2), math.sqrt(v), v ** 2."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.refusal import CompileError, place

ASKED = {
    **dict.fromkeys(("__format__", "__str__", "__repr__"), "is written as text"),
    **dict.fromkeys(("__float__", "__int__", "__complex__"), "is given to code that wants a plain number"),
    **dict.fromkeys(("__array__",), "is put into an array, as by np.mean of a list"),
    **dict.fromkeys(("__index__",), "decides about an index, a shape or a loop"),
    **dict.fromkeys(("__hash__",), "is the key of a dictionary or a member of a set"),
}


def asked(file: str) -> str:
    """What is asked of a number, as the special method says that was called of the class in this file."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_back.f_code.co_filename == file:
        frame = frame.f_back
    return ASKED.get(frame.f_code.co_name, "is read in Python")


def tried(trace: Any, function: Callable[..., Any], *reals: Any) -> Any:
    """function(*reals). If that raises, and the step catches it, no more is recorded: other calls may not raise."""
    try:
        return function(*reals)
    except Exception as error:
        trace.spoil(CompileError(f"mg.compile: {type(error).__name__}: {error}, at {place()}"))
        raise


@functools.lru_cache(maxsize=256, typed=True)
def through(function: Callable[..., Any], kind: Any, is_single: bool, *rest: Any) -> Callable[[Any], Any]:
    """What a program calls for a function of a Python number: a NumPy scalar of this kind.

    Raises:
        ArithmeticError: where `round` may be turned by the last digits, the step itself is called.
    """
    spread = 1e-6 if is_single else 1e-9

    def call(x: Any) -> Any:
        made: Any = function(x.item(), *rest)
        if function is round and len({round(x.item() * (1 + e), *rest) for e in (-spread, spread)}) > 1:
            raise ArithmeticError
        if type(made) is not kind:
            raise TypeError
        return np.float64(made) if kind is float else np.int64(made)

    call.__name__ = getattr(function, "__name__", "call")
    return call
