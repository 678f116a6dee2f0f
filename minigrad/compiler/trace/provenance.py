"""What each op is for, in words: read from the frames that are running while it is recorded."""

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

PULL, PUSH = tape.pull.__code__, tape.push.__code__
RULES = str(Path(tape.__file__).parents[1] / "optim")


_KINDS: dict[CodeType, str] = {}  # whose code it is, by code object: looked up for every frame of every op


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
        known: texts of nodes of the tape, which are made once and used for each op of a rule.
    """
    frame: Any = sys._getframe(3)  # skip this frame, Trace.add and its caller
    primitive = scope = ""
    while frame is not None:
        code = frame.f_code
        kind = _KINDS.get(code) or _kind(code)
        if kind == "own":
            pass
        elif kind == "walk":
            node = frame.f_locals["node"]
            text = known.get(node) or known.setdefault(node, described(node))
            return f"{'gradient' if code is PULL else 'tangent'} of {text}"
        elif kind == "primitive":
            own = None if primitive else frame.f_globals.get("primitive")
            if own is not None:
                primitive, scope = own.name, current_scope()
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


def described(node: Any) -> str:
    """A node of the tape in words: its name, or what it computes from which operands; and its scope."""
    text = _name(node)
    if text is None:
        numbers = getattr(node, "numbers", ())
        numbers = numbers if len(numbers) == len(node.parents) else (None,) * len(node.parents)
        operands = [_operand(p, n) for p, n in zip(node.parents, numbers, strict=True)]
        text = node.primitive.name + (f"({', '.join(operands)})" if len(operands) <= 3 else "")
    return f"{node.scope}: {text}" if node.scope else text


def _name(node: Any) -> str | None:
    """The user's name of a node."""
    name: str | None = getattr(node, "label", None) or getattr(node, "name", None)
    return _leaf(node) if name is None and node.primitive is None else name


def _leaf(node: Any) -> str:
    """The name of the array of a leaf, from the place where the step finds it."""
    data = getattr(node.owner() if hasattr(node, "owner") else None, "data", None)
    return str(data.mg_trace.name_of(data)) if isinstance(data, TracerArray) else "leaf"


def _operand(parent: Any, number: Any) -> str:
    if parent is None:
        return "constant" if number is None else f"{number:g}"
    return _name(parent) or str(parent.primitive.name)
