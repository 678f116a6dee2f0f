"""Notes of what each op is for, read from the running frames; and the warning about float64 computed from float32."""

from __future__ import annotations

import linecache
import sys
import warnings
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import VIEWS, Op, Value
from minigrad.compiler.refusal import OWN, user_line
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.engine import tape
from minigrad.engine.modes import current_scope
from minigrad.engine.tracing import walked

PULL, PUSH = tape.pull.__code__, tape.push.__code__
RULES = str(Path(tape.__file__).parents[1] / "optim")

STATE = "state"
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
_KINDS: dict[CodeType, str] = {}  # whose code it is: looked up for every frame of every op


def _kind(code: CodeType) -> str:
    """Whose code it is."""
    if code is PULL or code is PUSH:
        return "walk"
    kinds = (("primitive", "<minigrad primitive"), ("rule", RULES), ("own", OWN))
    return next((kind for kind, start in kinds if code.co_filename.startswith(start)), "user")


def note(known: dict[Any, str]) -> str:
    """The primitive whose value or gradient is computed, the optimizer's rule, or the user's line.

    Args:
        known: texts of nodes of the tape, which are made once and used for each op of a rule.
    """
    frame: Any = sys._getframe(3)  # skip this frame, RecordedProgram.add and its caller
    primitive = scope = ""
    while frame is not None:
        code = frame.f_code
        kind = _KINDS.get(code) or _KINDS.setdefault(code, _kind(code))
        if kind == "walk":
            node = walked.get()
            if node is None:  # the walk began before the trace: from here on the frames are not of the step
                break
            text = known.get(node) or known.setdefault(node, described(node))
            return f"{'gradient' if code is PULL else 'tangent'} of {text}"
        if kind == "user" and primitive:
            break
        if kind == "user":
            return linecache.getline(code.co_filename, frame.f_lineno, frame.f_globals).strip()
        if kind == "rule" and not primitive:
            return str(code.co_name.strip("_"))
        if kind == "primitive" and not primitive and (own := frame.f_globals.get("primitive")) is not None:
            primitive, scope = own.name, current_scope()
        frame = frame.f_back
    return f"{scope}: {primitive}" if scope else primitive


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


# float64 computed from float32, which doubles memory and time


def check_promotion(op: Op, warned: set[str]) -> None:
    """Warn if an op computes float64 from float32, once for each line of the user's.

    A scalar of single precision beside an array of double precision changes nothing.

    Args:
        op: the op that was recorded.
        warned: lines of the user's that a warning has named.
    """
    if not op.outs or op.outs[0].dtype != DOUBLE or op.name in ("cast", "call", "random"):
        return
    singles = [v for v in op.operands if v.dtype == SINGLE]
    others = [v for v in op.operands if v.dtype != SINGLE]
    is_scalar = all(v.shape == () for v in singles) and any(v.dtype == DOUBLE and v.shape for v in others)
    if not singles or is_scalar:
        return
    where = user_line()
    if where in warned or STATE in warned:
        return
    warned.add(where)
    kinds = min((str(v.dtype) for v in others), default="?")
    state = next((name for v in others if (name := _name_of_state(v))), "")
    warned |= {STATE} if state else set()  # other ops follow from that
    hint = (
        f"{state} is float64. If that is not meant, call mg.set_default_dtype('float32') before the model is made, or "
        "give it x.astype(np.float64)."
        if state
        else "If that is not meant, make the other operand a Python number (float(c)) or cast it: c.astype(x.dtype)."
    )
    warnings.warn(f"mg.compile: {op.name} of float32 and {kinds} gives float64, at {where}\n{hint}", stacklevel=2)


def _name_of_state(v: Value) -> str:
    """The name of the array of the state of which a value is a view, else \"\"."""
    named = v.name
    while v.op.name in VIEWS or v.op.name == "broadcast":
        v = v.op.operands[0]
        named = named or v.name
    if v.op.name != "input" or v.op.params["buffer"].kind != "state":
        return ""
    return str(named or v.op.params["buffer"].name)
