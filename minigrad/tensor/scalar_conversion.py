"""A Tensor taken for a plain number: `float(t)` is meant, `math.exp(t)` and `array[k] = t` lose the gradient.

All of them end in Tensor.__float__, which is not told who asks: Python's float() and the C code of NumPy and of math
call it in the same way. The only difference is the instruction of the caller that is running. So that is looked up,
once for each place in the code, and only for a Tensor whose gradient would be lost.
"""

from __future__ import annotations

import dis
import inspect
import math
import sys
from types import BuiltinFunctionType, CodeType, FrameType, ModuleType
from typing import Any, NamedTuple

MEANT = (float, int, complex)
NAMES = frozenset(f.__name__ for f in MEANT)
QUESTIONS = (math.isnan, math.isinf, math.isfinite, math.isclose)  # whose answers have no gradient
LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS")
ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
MOST = 4096  # places that are remembered


class Site(NamedTuple):
    """An instruction of the caller: what it does; for a call the names of what is called; names passed as values."""

    operation: str
    callee: tuple[str, ...]
    passed: frozenset[str]


_sites: dict[tuple[int, int], tuple[CodeType, Site]] = {}


def refuse(t: Any) -> None:
    """Raise unless whoever has called Tensor.__float__ (or __int__, __complex__) wants the number.

    Raises:
        TypeError: the gradient would be lost. The message says how, and what to write.
    """
    frame = sys._getframe(2)
    code, place = frame.f_code, frame.f_lasti
    known = _sites.get((id(code), place))
    if known is None or known[0] is not code:
        if len(_sites) > MOST:
            _sites.clear()
        known = _sites[id(code), place] = code, _site(code, place)
    site = known[1]
    called = _resolved(frame, site.callee)
    if _is_meant(site, called, frame):
        return
    name = ".".join(site.callee)
    if site.operation == "STORE_SUBSCR":
        how = "was written into an element of a plain array"
    elif isinstance(called, BuiltinFunctionType) and called.__module__ in ("math", "cmath"):
        how = f"was given to {called.__module__}.{called.__name__}, which takes plain numbers"
    else:
        how = f"was turned into a plain number{f' by {name}' if name else ''}"
    raise TypeError(
        f"a Tensor of shape {t.shape} that requires grad {how}, and the gradient would be lost. Use mg's functions "
        "(mg.exp for math.exp), mg.stack([t, u]) for an array of several, or write into a Tensor: h = mg.zeros(3); "
        "h[0] = t. For the value alone say float(t) or t.item()."
    )


def _is_meant(site: Site, called: Any, frame: FrameType) -> bool:
    """Whether the instruction asks for the number in so many words."""
    if any(called is f for f in (*MEANT, *QUESTIONS)):
        return True
    if site.callee[-1:] in (("__float__",), ("__int__",), ("__complex__",)):
        return True
    if site.operation == "BINARY_OP":  # "%.3f" % t
        return True
    # map(float, losses): whoever iterates asks, and float was passed as a value
    passed = site.passed
    if site.operation.startswith(("CALL", "PRECALL")):
        return bool(passed & NAMES) and getattr(called, "__module__", None) == "builtins"
    if frame.f_code.co_name.startswith("<") and frame.f_back is not None:  # a comprehension over what stands outside
        passed = passed | _passed(_instructions(frame.f_back.f_code))
    return site.operation != "STORE_SUBSCR" and bool(passed & NAMES)


def _instructions(code: CodeType) -> list[dis.Instruction]:
    return [op for op in dis.get_instructions(code) if op.opname not in ("CACHE", "EXTENDED_ARG", "PUSH_NULL")]


def _site(code: CodeType, place: int) -> Site:
    instructions = _instructions(code)
    here = max(k for k, op in enumerate(instructions) if op.offset <= place)  # or in its inline cache
    op = instructions[here]
    if not op.opname.startswith(("CALL", "PRECALL")):
        return Site(op.opname, (), _passed(instructions))
    start, end = _span(op)
    within = [other for other in instructions[:here] if start <= _span(other)[0] and _span(other)[1] <= end]
    callee: tuple[str, ...] = ()
    for other in within:
        if _span(other) == (start, end) or _span(other)[0] != start:
            continue
        name = other.argval[0] if isinstance(other.argval, tuple) else other.argval
        if other.opname.startswith(LOADS):
            callee = (str(name),)
        elif other.opname in ATTRIBUTES and callee:
            callee = (*callee, str(name))
        elif other.opname.startswith("CALL"):
            callee = ()
    return Site(op.opname, callee, _passed(within))


def _span(op: dis.Instruction) -> tuple[tuple[int, int], tuple[int, int]]:
    """From where to where in the source an instruction belongs."""
    at = op.positions
    if at is None or at.lineno is None or at.col_offset is None:
        return (0, 0), (0, 0)
    return (at.lineno, at.col_offset), (at.end_lineno or at.lineno, at.end_col_offset or at.col_offset)


def _passed(instructions: list[dis.Instruction]) -> frozenset[str]:
    """Global names that are loaded, and not called where they stand."""
    calls = {_span(op)[0] for op in instructions if op.opname.startswith("CALL")}
    return frozenset(
        str(op.argval)
        for op in instructions
        if op.opname in ("LOAD_GLOBAL", "LOAD_NAME") and (_span(op)[0] not in calls or _span(op)[0] == (0, 0))
    )


def _resolved(frame: FrameType, names: tuple[str, ...]) -> Any:
    """What names mean in a frame; None if that is not known without running code of others."""
    if not names:
        return None
    first, *attributes = names
    code = frame.f_code
    if first in (*code.co_varnames, *code.co_freevars, *code.co_cellvars):
        found = frame.f_locals.get(first)
    else:
        own = () if code.co_flags & inspect.CO_OPTIMIZED else (frame.f_locals,)  # of a module or a class
        found = next((s[first] for s in (*own, frame.f_globals, frame.f_builtins) if first in s), None)
    for name in attributes:
        if not isinstance(found, (ModuleType, type)):
            return None
        found = getattr(found, name, None)
    return found
