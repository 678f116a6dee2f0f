"""Errors about what cannot be recorded: with the user's line, and a hint what to write instead."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from minigrad.util.bytecode import instruction, position

MINIGRAD, NUMPY = (str(folder) + "/" for folder in (Path(__file__).parent.parent, Path(np.__file__).parent))
GENERATED = ("<minigrad", "<__array_function__")  # file names of generated source
OWN = (MINIGRAD, NUMPY, *GENERATED)
LIBRARY = str(Path(os.__file__).parent) + os.sep

DECISION = "another decision"  # the message of a failed check begins with this if only a branch differs
TAKEN_OUTSIDE = "return the array from the step, and take the number outside: loss = step(x, y).item()"
LOOK_OUTSIDE = (
    "return the array from the step and look at it outside; choose between values with mg.where; convert with "
    ".astype(dtype)"
)
UNKNOWN_TARGET = "that the compiler was not shown"
ONE_HOT = (
    "F.one_hot(y, 3) makes one-hot rows; or index a table that was made outside of the step: EYE = np.eye(3); EYE[y]"
)
OF_LIST = "np.stack(arrays) makes one array of several, and NumPy's functions take that"


class CompileError(RuntimeError):
    """A step does what cannot be recorded. The message says where, and what to write instead.

    Attributes:
        again: whether a later call may be recorded.
        once: whether the next call must be, if any.
        is_branch: whether the user's line is in a branch of the step.
        places: numbers of arguments of the program that must not be inputs in later recordings.
    """

    again = False
    once = False
    is_branch = False
    places: frozenset[int | None] | set[int | None] = frozenset()


class CompileWarning(RuntimeWarning):
    """A compiled function runs eagerly. The message says why, where, and what to write instead."""


class HiddenAttribute(AttributeError):
    """An array has this attribute, and a tracer hides it from NumPy, which would use the array behind it."""


class RecordingAborted(BaseException):
    """Raised instead of a call that must not happen while a step is recorded. `except Exception` does not catch it."""


class CheckFailed(Exception):
    """A check of a program failed, or a function that it calls raised, before anything outside was changed."""


# Lines of the user's code


def is_of_library(name: str) -> bool:
    """Whether a file belongs to Python's standard library."""
    return name.startswith("<frozen ") or (name.startswith(LIBRARY) and "site-packages" not in name)


def user_frame(frame: FrameType | None = None) -> FrameType | None:
    """The innermost frame that belongs to neither minigrad nor NumPy."""
    frame = frame or sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(OWN):
        frame = frame.f_back
    return frame


def user_line() -> str:
    """The user's line: file, number and text."""
    frame = user_frame(sys._getframe(1))
    return "in the compiled step" if frame is None else line_in(frame)


def line_in(frame: FrameType, number: int | None = None) -> str:
    """The line that a frame runs, or another one of the same file."""
    number = number or frame.f_lineno
    return line_at(frame.f_code.co_filename, number, frame.f_globals)


def line_at(filename: str, number: int, scope: dict[str, Any] | None = None) -> str:
    """A line of a file: its name, the number and the text."""
    text = linecache.getline(filename, number, scope).strip()
    return f"{filename}:{number}" + (f"\n    {text}" if text else "")


def line_of(error: BaseException) -> str:
    """The user's line that raised an exception."""
    frames = [(f, n) for f, n in traceback.walk_tb(error.__traceback__) if not f.f_code.co_filename.startswith(OWN)]
    return line_in(*frames[-1]) if frames else "in the compiled step"


def caller_level() -> int:
    """The stacklevel of the caller outside minigrad, for a warning issued by the function that calls this."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OWN):
        level, frame = level + 1, frame.f_back
    return level


# Errors


def unsupported(what: str, hint: str) -> NoReturn:
    """Raise an error with the user's line. The trace catches it and stops recording.

    Raises:
        CompileError: always.
    """
    raise CompileError(f"mg.compile: {what}, at {user_line()}\nHint: {hint}.")


def stop(trace: Any, what: str, hint: str) -> None:
    """Stop a recording, if it has not ended.

    Raises:
        CompileError: the trace is strict.
    """
    if trace.open:
        trace.stop(CompileError(f"mg.compile: {what}, at {user_line()}\nHint: {hint}."))


def note_read(x: Any) -> None:
    """The elements of a tracer array are read in Python, so what the step does may depend on them."""
    trace = x.mg_trace
    if not trace.open or trace.pin_array(x):
        return
    frame = user_frame(sys._getframe(1))
    why, hint = trace.followed.reason(frame), own_hint()
    what = f"the elements of an array of shape {x.shape} are read in Python (float, int, print, .item, np.asarray)"
    if why and hint is None:
        what, hint = f"a number is taken out of an array, and the compiler cannot follow its use: {why}", TAKEN_OUTSIDE
    elif is_index(frame) and hint is None:
        what, hint = _described_read(x, frame)
    stop(trace, what, hint or LOOK_OUTSIDE)


def note_conversion(x: Any) -> None:
    """A tracer array is converted by np.asarray, or assigned to a part of an array that the compiler does not know."""
    if not x.mg_trace.pin_array(x):
        stop(x.mg_trace, *_described_read(x, user_frame(sys._getframe(1))))


def own_hint() -> str | None:
    """The hint of an object of minigrad that decides by values, if it is running: its `instead_of_compiling`."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(OWN):
        hint: str | None = getattr(type(frame.f_locals.get("self")), "instead_of_compiling", None)
        if hint is not None:
            return hint
        frame = frame.f_back
    return None


# Hints for code that asks a tracer array for its elements


def is_index(frame: FrameType | None) -> bool:
    """Whether a frame reads or assigns an item of something."""
    op = "" if frame is None else instruction(frame.f_code, frame.f_lasti)
    return op.startswith(("BINARY_SUBSCR", "STORE_SUBSCR"))


def _described_read(x: Any, frame: FrameType | None) -> tuple[str, str]:
    """What the user's code does where C code asks an array for its elements, and a hint."""
    op = "" if frame is None else instruction(frame.f_code, frame.f_lasti)
    what = f"an array of shape {x.shape}"
    if op == "STORE_SUBSCR":
        hint = f"np.zeros_like(x, shape=...) makes it in the step; {ONE_HOT}" if x.dtype.kind in "iu" else (
            "np.zeros_like(x, shape=...) makes it in the step, np.stack and np.concatenate join arrays; or name the "
            "object that holds it: mg.compile(step, state=[...])"
        )  # fmt: skip
        return f"{what} is assigned to a part of an array {UNKNOWN_TARGET}, or is the index of one", hint
    if op.startswith(("BINARY_SUBSCR", "BINARY_OP")):
        return f"{what} is the index of an array {UNKNOWN_TARGET}", ONE_HOT
    call = _running_call(frame)
    name = "" if call is None else ast.unparse(call.func).rpartition(".")[2]
    what = f"{what} is read in Python by {ast.unparse(call.func) if call is not None else 'np.asarray'}"
    if call is not None and call.args and _is_list(call.args[0]):
        return what, OF_LIST if name in ("array", "asarray") else f"{OF_LIST}: np.{name}(np.stack(arrays))"
    if name in ("float16", "float32", "float64", "int32", "int64", "asarray", "array", "ascontiguousarray"):
        kind = f"np.{name}" if name[-1].isdigit() else "dtype"
        return what, f"x is an array already; to convert it to another dtype write x.astype({kind})"
    if name == "take":
        return what, ONE_HOT
    return what, (
        "pass it to minigrad's and NumPy's functions unchanged; if it becomes part of another array, np.stack and "
        "np.concatenate join them, or name the object that holds that: mg.compile(step, state=[...])"
    )


def _is_list(x: ast.AST) -> bool:
    """Whether an argument is a list of arrays: a literal, or a slice of one."""
    if isinstance(x, ast.Subscript):
        return isinstance(x.slice, ast.Slice)
    return isinstance(x, (ast.List, ast.Tuple, ast.ListComp, ast.GeneratorExp))


def _running_call(frame: FrameType | None) -> ast.Call | None:
    """The call that a frame runs, as a syntax tree."""
    place = None if frame is None else position(frame.f_code, frame.f_lasti)
    if frame is None or place is None:
        return None
    first, last, start, end = place
    lines = linecache.getlines(frame.f_code.co_filename)[first - 1 : last]
    if not lines:
        return None
    data = [line.encode() for line in lines]  # columns count bytes
    data[-1] = data[-1][:end]
    data[0] = data[0][start:]
    try:
        tree = ast.parse(b"".join(data).decode(), mode="eval").body
    except (SyntaxError, ValueError):
        return None
    return tree if isinstance(tree, ast.Call) else None
