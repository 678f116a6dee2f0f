"""Builtins as a recorded step sees them.

`type` sees through tracers, `float` and `int` of an array with one element are numbers that the program computes, and
`print` stops the recording. They hide the real ones in the modules of the functions that the step reaches.
"""

from __future__ import annotations

import functools
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from minigrad.bytecode import names_of
from minigrad.compiler.numbers import TracedNumber, number_of
from minigrad.compiler.refusal import CompileError, place
from minigrad.compiler.trace import Trace
from minigrad.compiler.tracer import TracerArray
from minigrad.reach import MISSING
from minigrad.tensor import Tensor


class _TypeOfType(type):
    """Makes a class that answers as `type` does, but for tracers with the class that they stand for."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if len(args) == 1 and not options:
            return args[0].__class__ if hasattr(type(args[0]), "minigrad_tracer") else type(args[0])
        return type(*args, **options)

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, type)

    def __subclasscheck__(cls, x: Any) -> bool:
        return issubclass(x, type)

    def __eq__(cls, other: object) -> bool:
        return other is type or other is cls

    def __hash__(cls) -> int:
        return hash(type)


traced_type = _TypeOfType("type", (), {})


class _TypeOfNumbers(type):
    """Makes a class that answers as `float` or `int` does, but for tracers with a number that is traced.

    Other threads may meet it, in any use: isinstance, a dtype, a key.
    """

    hidden: Any

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if len(args) == 1 and not options:
            x = args[0].data if type(args[0]) is Tensor else args[0]
            if type(x) is TracerArray and x.dtype.kind in ("biuf" if cls.hidden is float else "biu"):
                number = number_of(x if x.dtype.kind == np.dtype(cls.hidden).kind else x.astype(cls.hidden))
                return cls.hidden(x) if number is None else number
            if type(x) is TracedNumber and type(x.real) is cls.hidden:
                return x
        return cls.hidden(*args, **options)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.hidden, name)

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, cls.hidden)

    def __subclasscheck__(cls, x: Any) -> bool:
        return issubclass(x, cls.hidden)

    def __eq__(cls, other: object) -> bool:
        return other is cls.hidden or other is cls

    def __hash__(cls) -> int:
        return hash(cls.hidden)


traced_float = _TypeOfNumbers("float", (), {"hidden": float, "dtype": np.dtype(float)})
traced_int = _TypeOfNumbers("int", (), {"hidden": int, "dtype": np.dtype(int)})


def stand_in(trace: Trace, name: str, scope: dict[str, Any], functions: list[FunctionType]) -> Any:
    """What hides a builtin in a module while a step is recorded, MISSING if nothing does.

    Args:
        trace: the recording.
        name: of the builtin.
        scope: the module's globals.
        functions: those that the step reaches.
    """
    if name == "type":
        return traced_type
    if name == "print":
        return functools.partial(refused_print, trace)
    if name in ("float", "int") and not _is_uncalled(name, scope, functions):
        return traced_float if name == "float" else traced_int
    return MISSING


def _is_uncalled(name: str, scope: dict[str, Any], functions: list[FunctionType]) -> bool:
    """Whether some code of a module does anything with a builtin but call it, such as `type(x) is float`."""
    own = [f for f in functions if f.__globals__ is scope]
    for value in [*own, *scope.values()]:
        held = list(vars(value).values()) if isinstance(value, type) else [value]
        for x in held:
            code = getattr(getattr(x, "__func__", getattr(x, "fget", x)), "__code__", None)
            if isinstance(code, CodeType) and name in names_of(code).uncalled:
                return True
    return False


def refused_print(trace: Trace, *values: Any, **options: Any) -> None:
    """What `print` is while a step is recorded: it prints, and stops the recording."""
    if trace.open:
        trace.stop(
            CompileError(
                f"mg.compile: the step prints, and a program would not, at {place()}\nHint: return what is to be "
                "printed, and print it outside."
            )
        )
    print(*values, **options)
