"""Builtins while a step is recorded.

`type`, `isinstance`, `hasattr`, `getattr`, `dir` and `id` see through tracers, and `print` stops the recording: they
hide the real ones in the modules of the functions that the step reaches. `float` and `int` take numbers out of arrays,
as traced ones where their use can be followed, and functions of `math` compute with these: the code of the functions
that call them uses other names for them meanwhile.
"""

from __future__ import annotations

import builtins
import functools
import io
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any

import numpy as np

from minigrad.compiler.follow.taint import DECIDING, OF_MATH
from minigrad.compiler.refusal import stop, user_line
from minigrad.compiler.trace.trace import Trace
from minigrad.compiler.trace.traced_number import DOUBLE, TracedNumber, array_of
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.tracer_operators import real_of
from minigrad.reach import MISSING
from minigrad.tensor.tensor import Tensor


class TypeOfTracers:
    """Replaces `type` while a step is recorded: for a tracer it returns the class of the real object.

    It is not a class itself, as metaclasses derived from it would not be subclasses of `type`.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The class of an object, or a new class."""
        if len(args) == 1 and not options:
            x = args[0]
            kind = type if x is self else x.__class__ if _is_tracer(x) else type(x)
            return self if kind is type else kind  # type(float) is type
        if any(base is self for base in args[1:2] and args[1]):
            self.__mro_entries__(args[1])
        return type(*args, **options)

    def __mro_entries__(self, bases: Any) -> Any:
        """Called by Python where an object that is not a class is among the bases of one."""
        trace = object.__getattribute__(self, "trace")
        if trace.open:
            trace.abort(f"the step makes a class whose base is `type`, at {user_line()}", "make it outside of the step")
        return (type,)

    def __getattribute__(self, name: str) -> Any:
        """The attributes of `type`: type.mro. Python itself needs the two of its own."""
        own = name in ("__mro_entries__", "__reduce__")
        return object.__getattribute__(self, name) if own else getattr(type, name)

    def __getitem__(self, x: Any) -> Any:
        return type[x]

    def __eq__(self, other: object) -> bool:
        return other is type or other is self

    def __hash__(self) -> int:
        return hash(type)

    def __reduce__(self) -> str:
        return "type"


def _of_type(name: str) -> Any:
    return lambda self, *args: getattr(type, name)(type, *args)


for _name in ("instancecheck", "subclasscheck", "or", "ror", "repr"):
    setattr(TypeOfTracers, f"__{_name}__", _of_type(f"__{_name}__"))


class _KindOfNumber(type):
    """A metaclass of replacements of float and int, for calls and isinstance."""

    kind: type

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if len(args) == 1 and not options:
            x = args[0].data if type(args[0]) is Tensor else args[0]
            if type(x) is TracerArray and not x.shape:
                number = x.mg_trace.taken(x, sys._getframe(1), cls.kind)
                if number is not None:
                    return number
            if type(x) is TracedNumber and type(x.mg_real) is cls.kind:
                return x
        return cls.kind(*args, **options)

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, cls.kind)

    def __subclasscheck__(cls, x: Any) -> bool:
        return issubclass(x, cls.kind)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.kind, name)


class _Math:
    """Replaces the module math in functions that are recorded."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(math, name)
        return MATH[value] if type(value) is BuiltinFunctionType and value in OF_MATH else value


def _of_math(function: Any) -> Any:
    """A function of math that returns a traced number for a traced one. Later calls check what it decides."""

    def call(*args: Any) -> Any:
        x = args[0].data if len(args) == 1 and type(args[0]) is Tensor and not args[0].requires_grad else None
        if len(args) == 1 and type(args[0]) is TracedNumber and args[0].mg_expression is None:
            if function not in DECIDING:
                return args[0].mg_called(function)
            x = array_of(args[0].mg_trace, args[0], [DOUBLE])
        if function in DECIDING and type(x) is TracerArray and not x.shape:
            return bool(getattr(np, function.__name__)(x))
        return function(*args)

    call.__name__ = function.__name__
    return call


NUMBERS: dict[str, Any] = {kind.__name__: _KindOfNumber(kind.__name__, (), {"kind": kind}) for kind in (float, int)}
MATH = {function: _of_math(function) for function in OF_MATH}
NUMBERS |= {"math": _Math(), **{function.__name__: call for function, call in MATH.items()}}
# Recorded code finds them here. They stay: another thread may still run such code when a recording ends.
for _name, _x in NUMBERS.items():
    setattr(builtins, f"__minigrad_{_name}__", _x)


@contextmanager
def renamed_builtins(renames: list[tuple[FunctionType, dict[str, str]]]) -> Iterator[None]:
    """Let these functions of the user's use other names for float, int and math inside the block."""
    before: list[tuple[FunctionType, CodeType, CodeType]] = []
    try:
        for function, names in renames:
            code = function.__code__
            other = _renamed(code, {name: f"__minigrad_{meaning}__" for name, meaning in names.items()})
            before.append((function, code, other))
            function.__code__ = other
        yield
    finally:
        for function, code, other in before:
            if function.__code__ is other:  # else the step itself has set another one
                function.__code__ = code


def _renamed(code: CodeType, names: dict[str, str]) -> CodeType:
    inner = tuple(_renamed(x, names) if isinstance(x, CodeType) else x for x in code.co_consts)
    return code.replace(co_names=tuple(names.get(name, name) for name in code.co_names), co_consts=inner)


def _is_tracer(x: Any) -> bool:
    return hasattr(type(x), "minigrad_tracer")


def traced_isinstance(x: Any, kinds: Any, /) -> bool:
    """isinstance of the real object: an abstract class such as Iterable would inspect the tracer."""
    return isinstance(real_of(x), kinds)


def traced_hasattr(x: Any, name: str, /) -> bool:
    """hasattr of the real object."""
    return hasattr(real_of(x), name)


def traced_getattr(x: Any, name: str, /, *default: Any) -> Any:
    """getattr of the real object, or of the tracer if it has the attribute too."""
    if not _is_tracer(x):
        return getattr(x, name, *default)
    if not hasattr(real_of(x), name):
        return getattr(real_of(x), name, *default)
    if type(x) is TracerArray and name.startswith("__") and not hasattr(TracerArray, name):
        x = x.mg_no_value()
    return getattr(x, name)


def traced_dir(*x: Any) -> Any:
    """dir of the real object, or of the caller's scope."""
    return dir(real_of(x[0])) if x else sorted(sys._getframe(1).f_locals)


def traced_id(x: Any, /) -> int:
    """id of an array of the state. Any other array is another object in each call."""
    if type(x) is TracerArray:
        if not (x.mg_memory.is_outside and x.mg_trace.known.get(id(x.mg_array)) is x):
            stop(x.mg_trace, "id() of an array that is another one in each call", "use a name or a number instead")
        return id(x.mg_array)
    return id(real_of(x))


REPLACEMENTS: dict[Any, Any] = {id: traced_id, isinstance: traced_isinstance, hasattr: traced_hasattr}
REPLACEMENTS |= {getattr: traced_getattr, dir: traced_dir}


def replacement(trace: Trace, builtin: Any) -> Any:
    """What replaces a builtin while a step is recorded, MISSING if nothing does."""
    if builtin is print:
        return functools.partial(deferred_print, trace)
    if builtin is type:
        trace.type_builtin = trace.type_builtin or TypeOfTracers(trace)
        return trace.type_builtin
    return REPLACEMENTS.get(builtin, MISSING)


def deferred_print(trace: Trace, *values: Any, **options: Any) -> None:
    """Replaces `print` while a step is recorded: it stops the recording, and prints after the call.

    If the step has to run again, as after an exception about a tracer, that run prints instead.
    """
    stop(trace, "the step prints, and a program would not", "return what it prints, and print it outside")
    text = io.StringIO()
    print(*values, **{**options, "file": text, "flush": False})
    trace.printed.append((text.getvalue(), options.get("file"), options.get("flush", False)))
