"""Code objects: their instructions, where these stand in the source, and code objects of generated text."""

from __future__ import annotations

import dis
import functools
from collections.abc import Iterator
from types import CodeType

Position = tuple[int, int, int, int]  # first and last line, first and last column (in bytes)

GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"})
ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"})
_NOTHING = frozenset({"CACHE", "EXTENDED_ARG", "PRECALL", "RESUME", "NOP"})


def instructions(code: CodeType) -> list[dis.Instruction]:
    """The instructions of a code object, without those that do nothing."""
    return [op for op in dis.get_instructions(code) if op.opname not in _NOTHING]


def all_instructions(code: CodeType) -> Iterator[tuple[CodeType, dis.Instruction]]:
    """The instructions of a code object and of the functions written inside it, each with its code object."""
    for op in instructions(code):
        yield code, op
    for x in code.co_consts:
        if isinstance(x, CodeType):
            yield from all_instructions(x)


def instruction(code: CodeType, offset: int) -> str:
    """The name of the instruction at an offset, such as a frame's f_lasti."""
    return next((op.opname for op in dis.get_instructions(code) if op.offset == offset), "")


def position(code: CodeType, offset: int) -> Position | None:
    """Where the expression of the instruction at an offset stands in the source; None if that is not known."""
    for k, (line, last, column, end) in enumerate(code.co_positions()):
        if 2 * k == offset:
            return None if line is None or last is None or column is None or end is None else (line, last, column, end)
    return None


_STORING = ("STORE_ATTR", "STORE_SUBSCR", "STORE_GLOBAL", "STORE_DEREF", "DELETE_ATTR", "DELETE_SUBSCR")
_PURE = frozenset({"hash", "id", "type", "tuple", "frozenset", "sorted", "len", "str", "repr", "int", "round"})
_PURE |= {"super", "isinstance", "issubclass", "__eq__", "__hash__", "tobytes", "lower", "items", "keys", "values"}


def stores(code: CodeType) -> bool:
    """Whether a function assigns to attributes, items, globals or variables of outer functions."""
    return any(op.opname in _STORING for op in instructions(code))


@functools.lru_cache(maxsize=1024)
def is_pure(code: CodeType) -> bool:
    """Whether a function stores nothing and calls only what computes, so that it may be called any number of times."""
    ops = instructions(code)
    calls = sum(op.opname.startswith("CALL") and not op.opname.startswith("CALL_INTRINSIC") for op in ops)
    known = sum(op.opname in GLOBALS | ATTRIBUTES and op.argval in _PURE for op in ops)
    return calls <= known and not stores(code)


@functools.lru_cache(maxsize=4096)
def stored_names(code: CodeType) -> frozenset[str]:
    """Names of attributes, globals and variables of outer functions that a function assigns."""
    free = set(code.co_freevars)
    ops = [op for op in instructions(code) if op.opname in _NAMED_STORES]
    own = {op.argval for op in ops if op.opname != "STORE_DEREF" or op.argval in free}
    return frozenset(own).union(*(stored_names(x) for x in code.co_consts if isinstance(x, CodeType)))


_NAMED_STORES = frozenset({"STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF", "STORE_NAME", "DELETE_ATTR", "DELETE_GLOBAL"})


def code_of(text: str, filename: str = "<string>") -> CodeType:
    """The code of a module, ready to be executed; text that was compiled before is not compiled again.

    Guards and programs of a step that is recorded again often have the same text, and compiling it is the most
    expensive part of making them. Each call returns its own code objects: the interpreter caches in them where globals
    were found, and two functions that share one would look theirs up more slowly.

    Raises:
        SyntaxError: the text is not Python.
    """
    return _copy(_compiled(text, filename))


@functools.lru_cache(maxsize=64)
def _compiled(text: str, filename: str) -> CodeType:
    return compile(text, filename, "exec")


def _copy(code: CodeType) -> CodeType:
    return code.replace(co_consts=tuple(_copy(x) if isinstance(x, CodeType) else x for x in code.co_consts))
