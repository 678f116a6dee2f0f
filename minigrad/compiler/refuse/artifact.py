"""Exceptions that may be about tracers: C code takes nothing but an array or a number."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from minigrad.compiler.refusal import OWN, HiddenAttribute
from minigrad.compiler.refuse.operands import are_plain
from minigrad.compiler.trace import numbers, tracer
from minigrad.util.bytecode import instruction

TRACING = frozenset({tracer.__file__, numbers.__file__})
LIBRARY = str(Path(os.__file__).parent) + os.sep
TRACERS = ("TracerArray", "TracedNumber", "TracerGenerator", "GradProbe")


def is_artifact(error: BaseException, numbers: list[Any]) -> bool:
    """Whether an exception may be about a tracer, as of C code that takes nothing but an array.

    C code may say anything about a tracer that it does not take, and the user's own code raises with `raise`. The step
    runs again then, eagerly, and raises what is its own.
    """
    if isinstance(error, (ValueError, NotImplementedError, BufferError)):
        return _is_about_operands(error)
    if not isinstance(error, (TypeError, AttributeError)):
        return False
    return bool(numbers) or any(name in str(error) for name in TRACERS) or _is_of_c_code(error)


def _is_of_c_code(error: BaseException) -> bool:
    """Whether an exception comes from C code, from Python's own library, or from a tracer that hides an attribute."""
    step = _innermost(error.__traceback__)
    name = step.tb_frame.f_code.co_filename if step is not None else ""
    if step is None or name.startswith(OWN):  # what the real array or number says itself, an eager step says as well
        return name in TRACING and isinstance(error, HiddenAttribute)
    return (
        is_of_library(name)
        or name.endswith(".pyx")
        or instruction(step.tb_frame.f_code, step.tb_lasti).startswith(("CALL", "PRECALL", "MATCH_CLASS"))
    )


def _is_about_operands(error: BaseException) -> bool:
    """Whether C code that a user's code has called with something recorded says that it does not take that."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None and not _is_of_cython(step.tb_next):
        step = step.tb_next
    if step is None or step.tb_frame.f_code.co_filename.startswith(OWN):
        return False
    is_call = instruction(step.tb_frame.f_code, step.tb_lasti).startswith(("CALL", "PRECALL"))
    return is_call and not are_plain(step.tb_frame, step.tb_lasti)


def _is_of_cython(step: Any) -> bool:
    return bool(step.tb_frame.f_code.co_filename.endswith(".pyx"))


def is_of_library(name: str) -> bool:
    """Whether a file belongs to Python's own library."""
    return name.startswith("<frozen ") or (name.startswith(LIBRARY) and "site-packages" not in name)


def _innermost(step: Any) -> Any:
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return step
