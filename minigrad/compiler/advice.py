"""What to write instead, where code that knows nothing of tracer arrays asks one for its elements."""

from __future__ import annotations

import ast
import linecache
from types import FrameType
from typing import Any

from minigrad.util.bytecode import instruction

UNSEEN = "that the compiler was not shown"
ONE_HOT = (
    "F.one_hot(y, 3) makes one-hot rows; or index a table that was made outside of the step: EYE = np.eye(3); EYE[y]"
)
OF_LIST = "np.stack(arrays) makes one array of several, and NumPy's functions take that"


def of_array(x: Any, frame: FrameType | None) -> tuple[str, str]:
    """What the step does where an array is asked for its elements by C code, and a hint.

    Args:
        x: the tracer array.
        frame: of the user's function.
    """
    op = "" if frame is None else instruction(frame.f_code, frame.f_lasti)
    what = f"an array of shape {x.shape}"
    if op == "STORE_SUBSCR":
        made = f"np.zeros_like(x, shape=...) makes it in the step; {ONE_HOT}" if x.dtype.kind in "iu" else (
            "np.zeros_like(x, shape=...) makes it in the step, np.stack and np.concatenate join arrays; or name the "
            "object that holds it: mg.compile(step, state=[...])"
        )  # fmt: skip
        return f"{what} is assigned to a part of an array {UNSEEN}, or is the index of one", made
    if op.startswith(("BINARY_SUBSCR", "BINARY_OP")):
        return f"{what} is the index of an array {UNSEEN}", ONE_HOT
    call = _call(frame)
    name = "" if call is None else ast.unparse(call.func).rpartition(".")[2]
    is_list = call is not None and bool(call.args) and _is_list(call.args[0])
    asked = f"{what} is read in Python by {ast.unparse(call.func) if call is not None else 'np.asarray'}"
    if is_list:
        return asked, OF_LIST if name in ("array", "asarray") else f"{OF_LIST}: np.{name}(np.stack(arrays))"
    if name in ("float16", "float32", "float64", "int32", "int64", "asarray", "array", "ascontiguousarray"):
        kind = f"np.{name}" if name[-1].isdigit() else "dtype"
        return asked, f"x is an array already; of another dtype it is x.astype({kind})"
    if name == "take":
        return asked, ONE_HOT
    return asked, (
        "give it to minigrad's and NumPy's functions as it is; if it becomes part of another array, np.stack and "
        "np.concatenate join them, or name the object that holds that: mg.compile(step, state=[...])"
    )


def is_index(frame: FrameType | None) -> bool:
    """Whether a frame takes or sets a part of something."""
    op = "" if frame is None else instruction(frame.f_code, frame.f_lasti)
    return op.startswith(("BINARY_SUBSCR", "STORE_SUBSCR"))


def _is_list(x: ast.AST) -> bool:
    """Whether an argument is a list of arrays: written out, or a part of one."""
    if isinstance(x, ast.Subscript):
        return isinstance(x.slice, ast.Slice)
    return isinstance(x, (ast.List, ast.Tuple, ast.ListComp, ast.GeneratorExp))


def _call(frame: FrameType | None) -> ast.Call | None:
    """The call that a frame runs."""
    if frame is None:
        return None
    position = next((p for k, p in enumerate(frame.f_code.co_positions()) if 2 * k == frame.f_lasti), None)
    if position is None or None in position:
        return None
    first, last, start, end = position
    lines = linecache.getlines(frame.f_code.co_filename)[first - 1 : last]  # type: ignore[operator]
    if not lines:
        return None
    data = [line.encode() for line in lines]  # columns count bytes
    data[-1] = data[-1][:end]
    data[0] = data[0][start:]
    try:
        found = ast.parse(b"".join(data).decode(), mode="eval").body
    except (SyntaxError, ValueError):
        return None
    return found if isinstance(found, ast.Call) else None
