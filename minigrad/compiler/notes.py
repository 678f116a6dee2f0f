"""What each line is for, in words: read from the calls that are going on while it is recorded."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from typing import Any

from minigrad import tape
from minigrad.compiler.refusal import OWN

PULL, PUSH = tape.pull.__code__, tape.push.__code__
RULES = str(Path(tape.__file__).parent / "optim")


def note() -> str:
    """The primitive whose value or gradient is computed, the optimizer's rule, or the user's line."""
    frame: Any = sys._getframe(1)
    primitive = scope = rule = ""
    while frame is not None:
        code = frame.f_code
        if code is PULL or code is PUSH:
            line = frame.f_locals["line"]
            return f"{'gradient' if code is PULL else 'tangent'} of {described(line)}"
        if not primitive and code.co_filename.startswith("<minigrad primitive"):
            made = frame.f_globals.get("primitive")
            if made is not None:
                primitive, scope = made.name, tape_scope()
        elif not rule and code.co_filename.startswith(RULES):
            rule = code.co_name
        elif not code.co_filename.startswith(OWN):
            break
        frame = frame.f_back
    if primitive:
        return f"{scope}: {primitive}" if scope else primitive
    if rule:
        return rule.strip("_")
    if frame is None:
        return ""
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno, frame.f_globals).strip()


def described(line: Any) -> str:
    """A line of the tape: its name, or its primitive and scope."""
    name = getattr(line, "label", None) or getattr(line, "name", None) or getattr(line.primitive, "name", "leaf")
    return f"{line.scope}: {name}" if line.scope else str(name)


def tape_scope() -> str:
    """The path of the modules that are running."""
    from minigrad.modes import current_scope

    return current_scope()
