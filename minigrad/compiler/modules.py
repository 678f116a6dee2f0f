"""Modules as a recorded step sees them: what a global such as `os`, `builtins` or `np` stands for meanwhile.

A stand-in hands on all that it is asked for. Functions and classes in C that do more than compute stop the recording
when they are called, also by other C code, as in map(os.stat, paths). Builtins are those that see through tracers.
Arrays that the step makes (np.zeros) belong to the program, so that it may write computed values into them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, FrameType, ModuleType
from typing import Any

import numpy as np

from minigrad.compiler.builtins import BUILTINS, stand_in
from minigrad.compiler.system import ALLOWED, MINIGRAD, is_in_c, name_of_impure
from minigrad.compiler.trace import Trace
from minigrad.compiler.tracer import TracerArray, bare
from minigrad.reach import MISSING
from minigrad.reach.names import CONSTRUCTORS, STANDARD

KEPT = ("__name__", "__doc__", "__package__", "__loader__", "__spec__")


class ModuleStandIn(ModuleType):
    """What a step finds in the place of a module.

    Args:
        module: the module.
        seen_as: what the step gets for a value of the module.
    """

    def __init__(self, module: ModuleType, seen_as: Callable[[Any], Any]) -> None:
        super().__init__(module.__name__)
        own = {name: getattr(module, name, None) for name in KEPT}
        vars(self).update(own, mg_module=module, mg_seen_as=seen_as)

    def __getattr__(self, name: str) -> Any:
        return self.mg_seen_as(getattr(self.mg_module, name))

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.mg_module, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.mg_module, name)

    def __dir__(self) -> list[str]:
        return dir(self.mg_module)


def seen_as(trace: Trace, x: Any) -> Any:
    """What stands in the place of a module or function while a step is recorded; MISSING if nothing does."""
    if type(x) is ModuleType:
        if x is np or x.__name__ == "builtins" or _is_of_system(x.__name__):
            return ModuleStandIn(x, functools.partial(_handed_on, trace))
        return MISSING
    if isinstance(x, BuiltinFunctionType) or (isinstance(x, type) and x.__module__ == "builtins"):
        if x in BUILTINS:
            return stand_in(trace, x)
        if isinstance(x, BuiltinFunctionType) and (name := name_of_impure(x)) is not None:
            return _refusing(trace, x, name)
    if isinstance(x, type) and _is_of_system(x.__module__) and is_in_c(x) and not issubclass(x, BaseException):
        return _RefusingType(x.__name__, (), {"mg_kind": x, "mg_trace": trace})
    try:
        made = CREATING.get(x)
    except TypeError:  # it has no hash
        return MISSING
    return MISSING if made is None else functools.partial(made, trace, x)


def _handed_on(trace: Trace, x: Any) -> Any:
    made = seen_as(trace, x)
    return x if made is MISSING else made


def _is_of_system(name: str) -> bool:
    root = name.split(".", maxsplit=1)[0]
    return root in STANDARD and root not in ALLOWED


def _refusing(trace: Trace, function: Any, name: str) -> Any:
    """A function in C that does more than compute: it stops the recording."""

    def call(*args: Any, **options: Any) -> Any:
        if trace.open:
            trace.calls.refuse(name, sys._getframe(1))
        return function(*args, **options)

    return call


class _RefusingType(type):
    """Makes a class that answers as one in C does, and makes no object while a step is recorded."""

    mg_kind: Any
    mg_trace: Any

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if cls.mg_trace.open:
            cls.mg_trace.calls.refuse(f"{cls.mg_kind.__module__}.{cls.mg_kind.__name__}", sys._getframe(1))
        return cls.mg_kind(*args, **options)

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, cls.mg_kind)

    def __subclasscheck__(cls, x: Any) -> bool:
        return issubclass(x, cls.mg_kind)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.mg_kind, name)


# Arrays that the step makes


def _made(trace: Trace, function: Any, *args: Any, **options: Any) -> Any:
    """An array of floats that the step makes: it may write computed values into it."""
    fill = args[1] if len(args) > 1 else options.get("fill_value")
    if function is np.full and hasattr(type(fill), "minigrad_tracer") and trace.open and not _is_for_an_object(trace):
        shape = args[0] if args else options["shape"]
        filled = trace.made(np.zeros(shape, options.get("dtype") or np.asarray(bare(fill)).dtype))
        filled[...] = fill
        return filled
    made = function(*args, **options)
    if function is np.empty and made.dtype.kind == "f":
        made[...] = 0  # what nobody knows
    is_plain = type(made) is np.ndarray and made.dtype.kind == "f" and made.flags.c_contiguous
    return trace.made(made) if trace.open and is_plain and not _is_for_an_object(trace) else made


def _is_for_an_object(trace: Trace) -> bool:
    """Whether minigrad, a constructor or a function in a functools.cache makes an array: who keeps it is not known."""
    frame: FrameType | None = sys._getframe(2)
    assert frame is not None
    if frame.f_code.co_filename.startswith(MINIGRAD):
        return True
    while frame is not None and frame.f_code is not trace.step_code:
        if frame.f_code.co_name in CONSTRUCTORS or frame.f_code in trace.cached:
            return True
        frame = frame.f_back
    return False


def _copied(trace: Trace, function: Any, *args: Any, **options: Any) -> Any:
    """np.array and np.asarray of an array that the step computes."""
    x = args[0] if args else None
    if not trace.open or type(x) is not TracerArray or len(args) > 2 or options.keys() - {"dtype", "copy"}:
        return function(*args, **options)
    dtype = np.dtype(args[1] if len(args) == 2 else options.get("dtype") or x.dtype)
    copies = options.get("copy", function is np.array)
    if copies is False and dtype != x.dtype:
        return function(*args, **options)
    made = x.astype(dtype) if dtype != x.dtype else np.copy(x) if copies else x
    return made if made is not x or not x.mg_is_scalar else function(*args, **options)


CREATING: dict[Any, Any] = dict.fromkeys((np.zeros, np.ones, np.empty, np.full, np.eye, np.identity), _made)
CREATING |= {np.array: _copied, np.asarray: _copied}
