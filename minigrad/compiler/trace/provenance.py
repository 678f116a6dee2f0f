"""What each line is for, in words: read from the calls that are going on while it is recorded."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import CodeType
from typing import Any

from minigrad.compiler.refusal import OWN
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.engine import tape
from minigrad.engine.modes import current_scope
from minigrad.engine.tracing import walked

PULL, PUSH = tape.pull.__code__, tape.push.__code__
RULES = str(Path(tape.__file__).parents[1] / "optim")


_KINDS: dict[CodeType, str] = {}  # whose code it is: asked for every frame of every op


def _kind(code: CodeType) -> str:
    name = code.co_filename
    if code is PULL or code is PUSH:
        kind = "walk"
    elif name.startswith("<minigrad primitive"):
        kind = "primitive"
    elif name.startswith(RULES):
        kind = "rule"
    else:
        kind = "own" if name.startswith(OWN) else "user"
    _KINDS[code] = kind
    return kind


def note(known: dict[Any, str]) -> str:
    """The primitive whose value or gradient is computed, the optimizer's rule, or the user's line.

    Args:
        known: texts of lines of the tape, which are asked for once for each operation of a rule.
    """
    frame: Any = sys._getframe(3)  # those before are this one, Trace.add and what calls it
    primitive = scope = ""
    while frame is not None:
        code = frame.f_code
        kind = _KINDS.get(code) or _kind(code)
        if kind == "own":
            pass
        elif kind == "walk":
            line = walked.get()
            if line is None:  # the walk began before the trace: from here on the frames are not of the step
                frame = None
                break
            text = known.get(line) or known.setdefault(line, described(line))
            return f"{'gradient' if code is PULL else 'tangent'} of {text}"
        elif kind == "primitive":
            made = None if primitive else frame.f_globals.get("primitive")
            if made is not None:
                primitive, scope = made.name, current_scope()
        elif kind == "user" or not primitive:
            break
        frame = frame.f_back
    if primitive:
        return f"{scope}: {primitive}" if scope else primitive
    if frame is None:
        return ""
    if _KINDS[frame.f_code] == "rule":
        return str(frame.f_code.co_name.strip("_"))
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno, frame.f_globals).strip()


def described(line: Any) -> str:
    """A line of the tape: its name, or what it computes of what; and where it is."""
    text = _name(line)
    if text is None:
        numbers = getattr(line, "numbers", ())
        numbers = numbers if len(numbers) == len(line.parents) else (None,) * len(line.parents)
        operands = [_operand(p, n) for p, n in zip(line.parents, numbers, strict=True)]
        text = line.primitive.name + (f"({', '.join(operands)})" if len(operands) <= 3 else "")
    return f"{line.scope}: {text}" if line.scope else text


def _name(line: Any) -> str | None:
    """What the user calls a line."""
    name: str | None = getattr(line, "label", None) or getattr(line, "name", None)
    return _leaf(line) if name is None and line.primitive is None else name


def _leaf(line: Any) -> str:
    """What the array of a leaf is called where the step finds it."""
    data = getattr(line.owner() if hasattr(line, "owner") else None, "data", None)
    return str(data.mg_trace.name_of(data)) if isinstance(data, TracerArray) else "leaf"


def _operand(parent: Any, number: Any) -> str:
    if parent is None:
        return "constant" if number is None else f"{number:g}"
    return _name(parent) or str(parent.primitive.name)
