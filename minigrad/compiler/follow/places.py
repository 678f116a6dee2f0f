"""Where in the user's code a name stands, for messages about what was found only after the step, or before it."""

from __future__ import annotations

import dis
import linecache
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType

NAMES = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "LOAD_METHOD", "LOAD_DEREF", "STORE_ATTR", "LOAD_FAST")


def at_name(functions: Iterable[FunctionType], *names: str) -> str:
    """ ", at file:line" and the line in which one of these functions uses one of these names first; else nothing.

    Names that come first are looked for first.
    """
    codes = [function.__code__ for function in functions]
    for name in names:
        for code in codes:
            for op, inner in _instructions(code):
                if op.argval == name and op.opname.startswith(NAMES) and op.positions and op.positions.lineno:
                    return _at(inner.co_filename, op.positions.lineno)
    return ""


def _at(name: str, number: int) -> str:
    text = linecache.getline(name, number).strip()
    return f", at {name}:{number}" + (f"\n    {text}" if text else "")


def _instructions(code: CodeType) -> Iterator[tuple[dis.Instruction, CodeType]]:
    for op in dis.get_instructions(code):
        yield op, code
    for x in code.co_consts:
        if isinstance(x, CodeType):
            yield from _instructions(x)
