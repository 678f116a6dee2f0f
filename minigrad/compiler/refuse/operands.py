"""What an instruction of the user's code works on: whether any of it may be, or hold, something that is recorded.

C code that raises an exception says nothing of what it got. But the bytecode tells which names stand in the expression
that failed, and if these mean texts, numbers and containers of such, no tracer took part:

    try:
        scale = int(config.text)
    except ValueError:
        scale = 1
"""

from __future__ import annotations

import builtins
import dis
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType
from typing import Any

from minigrad.compiler.trace import stand_ins
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.reach import is_leaf, own_attributes
from minigrad.reach.names import STANDARD
from minigrad.tensor.tensor import Tensor

# Instructions whose operands are all computed by the expression that the instruction is said to stand for.
WHOLE = ("CALL", "BINARY_", "UNARY_", "COMPARE_OP", "CONTAINS_OP", "GET_ITER", "FOR_ITER")
NAMES = frozenset({"LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"})
ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
OTHERS = ("LOAD_", "MAKE_", "COPY", "SWAP", "YIELD", "SEND")  # and LOAD_CONST
SHAPE = frozenset({"shape", "ndim", "dtype", "size"})  # what guards compare of an array
MANY = 10_000  # items of a container that are looked at
UNKNOWN: Any = type("Unknown", (), {})()


def are_plain(frame: FrameType, offset: int) -> bool:
    """Whether nothing recorded takes part in an expression.

    Args:
        frame: of the user's.
        offset: of the instruction that the expression ends with.
    """
    code = list(dis.get_instructions(frame.f_code))
    k = max(k for k, op in enumerate(code) if op.offset <= offset)  # a frame that waits may stand behind its call
    if not code[k].opname.startswith(WHOLE):
        return False
    if code[k].opname == "FOR_ITER":  # which is said to stand for the whole loop
        k = max((j for j in range(1, k) if code[j].opname == "GET_ITER"), default=1) - 1
    place = _place(code[k])
    inside = [op for op in code if _is_within(_place(op), place)]
    for j, op in enumerate(inside):
        if op.opname in NAMES:
            value = _value(frame, op.argval)
            for after in inside[j + 1 :]:
                if after.opname not in ATTRIBUTES:
                    break
                value = _attribute(value, after.argval)
            if not is_plain(value):
                return False
        elif op.opname.startswith(OTHERS) and op.opname not in ATTRIBUTES and op.opname != "LOAD_CONST":
            return False
    return bool(inside)


def _place(op: dis.Instruction) -> tuple[tuple[int, int], tuple[int, int]] | None:
    at = op.positions
    if at is None or None in at:
        return None
    return (at.lineno, at.col_offset), (at.end_lineno, at.end_col_offset)  # type: ignore[return-value]


def _is_within(inner: Any, outer: Any) -> bool:
    return None not in (inner, outer) and outer[0] <= inner[0] and inner[1] <= outer[1]


def _value(frame: FrameType, name: str) -> Any:
    """What a name means in a frame."""
    for scope in (frame.f_locals, frame.f_globals, vars(builtins)):
        if name in scope:
            return scope[name]
    return UNKNOWN


def _attribute(x: Any, name: str) -> Any:
    """An attribute, if no code of the user's decides what it is."""
    own = own_attributes(x)
    if type(own) is dict and name in own and not any(name in vars(base) for base in type(x).__mro__):
        return own[name]
    if name in SHAPE and type(x) in (TracerArray, Tensor):
        return None
    return None if is_plain(x) and type(x) is not ModuleType else UNKNOWN  # a method of C code


def is_plain(x: Any, left: int = MANY) -> bool:
    """Whether x is immutable, a container of such, or code that has no part in what is recorded."""
    kind = type(x)  # and not isinstance: tracers pass for what they stand for
    if kind in (list, tuple, set, frozenset, dict):
        parts = [*x, *x.values()] if kind is dict else list(x)
        return len(parts) <= left and all(is_plain(y, left // (len(parts) or 1)) for y in parts)
    if kind.__module__ == stand_ins.__name__:  # what float and int are while a step is recorded
        return True
    if kind in (FunctionType, BuiltinFunctionType, ModuleType, type):
        owner = getattr(x, "__self__", None)
        module = str(x.__name__ if kind is ModuleType else x.__module__)
        root = module.split(".", maxsplit=1)[0]
        is_builtin = root in ("builtins", "numpy") or module == stand_ins.__name__
        return root in STANDARD or is_builtin or (owner is not None and is_plain(owner, left))
    return x is not UNKNOWN and is_leaf(x)
