"""What a function's code names: globals, attributes, imports. Read once for each code object."""

from __future__ import annotations

import dis
import functools
import re
from types import CodeType
from typing import Any, NamedTuple

IDENTIFIER = re.compile(r"[^\W\d]\w*")
_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"})
_NOTHING = frozenset({"CACHE", "EXTENDED_ARG", "PRECALL", "RESUME", "NOP"})
_OF_PYTHON = frozenset({"__dict__", "__class__"})
GROWING = frozenset({"append", "extend", "appendleft", "extendleft"})  # methods that tell nothing of a list


class Names(NamedTuple):
    """What a function's code, and that of the functions written inside it, names.

    Attributes:
        read: names that may be read, strings among the constants included.
        words: all names and strings.
        scope: names of globals and builtins.
        chains: attributes of globals and closure variables, each with what they are attributes of: ("np", "random").
        imports: names of modules, with the level of a relative import.
        replaced: attributes that Python itself keeps and that are assigned: `__dict__`, `__class__`.
        inspected: names whose values are used otherwise than by `name.append(...)` and its like.
        locals: the same of local variables and parameters.
    """

    read: frozenset[str]
    words: frozenset[str]
    scope: frozenset[str]
    chains: frozenset[tuple[str, ...]]
    imports: frozenset[tuple[str, int]]
    inspected: frozenset[str]
    locals: frozenset[str]
    replaced: frozenset[str]


@functools.lru_cache(maxsize=4096)
def names_of(code: CodeType) -> Names:
    """What a code object names."""
    read: set[str] = set()
    words: set[str] = set(code.co_names)
    scope: set[str] = set()
    chains: set[tuple[str, ...]] = set()
    imports: set[tuple[str, int]] = set()
    inspected: set[str] = set()
    local: set[str] = set()
    chain: tuple[str, ...] = ()
    replaced: set[str] = set()
    constants: list[object] = []
    instructions = [op for op in dis.get_instructions(code) if op.opname not in _NOTHING]
    for k, op in enumerate(instructions):
        name = op.opname
        if name in _GLOBAL or name in _ATTRIBUTE or name == "LOAD_DEREF" or _is_text(op):
            following = instructions[k + 1 : k + 3]
            if _is_text(op) and following and following[0].opname == "BINARY_SUBSCR":
                following = following[1:]
            if not _only_grows(following):
                inspected.add(op.argval)
        if name.startswith(("LOAD_FAST", "STORE_FAST")) and not _only_grows(instructions[k + 1 : k + 2]):
            local |= set(op.argval) if isinstance(op.argval, tuple) else {op.argval}
        if name in _GLOBAL or name == "LOAD_DEREF":
            chain = (op.argval,)
            scope |= set(chain) if name in _GLOBAL else set()
        elif name in _ATTRIBUTE:
            read.add(op.argval)
            chain = (*chain, op.argval) if chain else ()
            chains |= {chain} if chain else set()
        else:
            chain = ()
        if name == "LOAD_CONST":
            constants.append(op.argval)
        elif name == "IMPORT_NAME":
            level = constants[-2] if len(constants) > 1 else 0
            imports.add((op.argval, level if isinstance(level, int) else 0))
        elif name == "STORE_ATTR" and op.argval in _OF_PYTHON:
            replaced.add(op.argval)
        elif name == "IMPORT_FROM":
            read.add(op.argval)
    read |= scope
    found: tuple[set[Any], ...] = (read, words, scope, chains, imports, inspected, local, replaced)

    def collect(parts: tuple[object, ...]) -> None:
        for x in parts:
            if isinstance(x, str):
                words.add(x)
                read.add(x)
            elif isinstance(x, (tuple, frozenset)):
                collect(tuple(x))
            elif isinstance(x, CodeType):
                for mine, others in zip(found, names_of(x), strict=True):
                    mine.update(others)

    collect(code.co_consts)
    return Names(*map(frozenset, found))


def _only_grows(following: list[dis.Instruction]) -> bool:
    """Whether what was loaded is only appended to."""
    return bool(following) and following[0].opname in _ATTRIBUTE and following[0].argval in GROWING


def _is_text(op: dis.Instruction) -> bool:
    return op.opname == "LOAD_CONST" and isinstance(op.argval, str)


def identifiers(strings: frozenset[str]) -> frozenset[str]:
    """The names in strings that may be evaluated, such as "config.rate * 2"."""
    return frozenset(word for text in strings for word in IDENTIFIER.findall(text))
