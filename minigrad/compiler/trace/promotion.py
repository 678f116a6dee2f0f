"""The warning about float64 computed from float32, which doubles memory and time."""

from __future__ import annotations

import warnings

import numpy as np

from minigrad.compiler.ir.program import VIEWS, Op, Value
from minigrad.compiler.refusal import user_line

STATE = "state"
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


def check_promotion(op: Op, warned: set[str]) -> None:
    """Warn if an op computes float64 from float32, once for each line of the user's.

    A scalar of single precision beside an array of double precision changes nothing.

    Args:
        op: the op that was recorded.
        warned: lines of the user's that a warning has named.
    """
    if not op.outs or op.outs[0].dtype != DOUBLE or op.name in ("cast", "call", "draw"):
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
