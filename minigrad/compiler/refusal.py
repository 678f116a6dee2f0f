"""What cannot be recorded: reported with the user's line and a hint."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from minigrad.compiler.advice import is_index, of_array

MINIGRAD, NUMPY = (str(folder) + "/" for folder in (Path(__file__).parent.parent, Path(np.__file__).parent))
WRITTEN = ("<minigrad", "<__array_function__")  # source that is generated
OWN = (MINIGRAD, NUMPY, *WRITTEN)


class CompileError(RuntimeError):
    """A step does what cannot be recorded. The message says where, and what to write instead.

    Attributes:
        again: whether it may be different in a later call.
        once: whether then in the next.
        is_branch: whether that stands in a branch of the step.
        places: numbers of inputs that may be no inputs then.
    """

    again = False
    once = False
    is_branch = False
    places: frozenset[int | None] | set[int | None] = frozenset()


class CompileWarning(RuntimeWarning):
    """A compiled function runs eagerly. The message says why, where, and what to write instead."""


DECISION = "another decision"  # how the message of a failed check begins if nothing is wrong but the way


class HiddenAttribute(AttributeError):
    """An array has this attribute, and a tracer hides it from NumPy, which would take the array behind it."""


class Stopped(BaseException):
    """Raised in place of a call that must not happen while a step is recorded, where no handler takes it."""


class CheckFailed(Exception):
    """A check of a program failed, or a function that it calls raised, before anything outside was changed."""


def user_frame(frame: FrameType | None = None) -> FrameType | None:
    """The innermost frame that belongs to neither minigrad nor NumPy."""
    frame = frame or sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(OWN):
        frame = frame.f_back
    return frame


def place() -> str:
    """The user's line: file, number and text."""
    frame = user_frame(sys._getframe(1))
    return "in the compiled step" if frame is None else _line(frame, frame.f_lineno)


def place_in(frame: FrameType) -> str:
    """The present line of a frame."""
    return _line(frame, frame.f_lineno)


def place_of(error: BaseException) -> str:
    """The user's line that an exception comes from."""
    found, step = "in the compiled step", error.__traceback__
    while step is not None:
        if not step.tb_frame.f_code.co_filename.startswith(OWN):
            found = _line(step.tb_frame, step.tb_lineno)
        step = step.tb_next
    return found


def _line(frame: FrameType, number: int) -> str:
    name = frame.f_code.co_filename
    text = linecache.getline(name, number, frame.f_globals).strip()
    return f"{name}:{number}" + (f"\n    {text}" if text else "")


def refuse(what: str, hint: str) -> NoReturn:
    """Say with the user's line what cannot be recorded. The trace catches it and records no more.

    Raises:
        CompileError: always.
    """
    raise CompileError(f"mg.compile: {what}, at {place()}\nHint: {hint}.")


def stop(x: Any, what: str, hint: str) -> None:
    """Let the trace of a tracer array record nothing from here on.

    Raises:
        CompileError: the trace is strict.
    """
    x.mg_trace.stop(CompileError(f"mg.compile: {what}, at {place()}\nHint: {hint}."))


def reading(x: Any) -> None:
    """The elements of a tracer array are read in Python: what the step does may depend on them."""
    if x.mg_trace.pin_array(x):
        return
    frame = user_frame(sys._getframe(1))
    why = x.mg_trace.followed.reason(frame)
    if why and instead() is None:
        stop(x, f"a number is taken out of an array, and what becomes of it is not known: {why}", TAKEN_OUTSIDE)
        return
    if is_index(frame) and instead() is None:
        stop(x, *of_array(x, frame))
        return
    stop(
        x,
        f"the elements of an array of shape {x.shape} are read in Python (float, int, print, .item, np.asarray)",
        instead()
        or "return the array from the step and look at it outside; choose between values with mg.where; "
        "convert with .astype(dtype)",
    )


TAKEN_OUTSIDE = "return the array from the step, and take the number outside: loss = step(x, y).item()"


def instead() -> str | None:
    """What an object of minigrad that decides by values says about itself where it does: `instead_of_compiling`."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(OWN):
        hint: str | None = getattr(type(frame.f_locals.get("self")), "instead_of_compiling", None)
        if hint is not None:
            return hint
        frame = frame.f_back
    return None


def filling(x: Any) -> None:
    """The elements are wanted as an array: np.asarray, or an assignment to a part of an array that is unknown."""
    if x.mg_trace.pin_array(x):
        return
    stop(x, *of_array(x, user_frame(sys._getframe(1))))


def caller_level() -> int:
    """The stacklevel of the caller outside of minigrad, for a warning given by the function that calls this."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OWN):
        level, frame = level + 1, frame.f_back
    return level
