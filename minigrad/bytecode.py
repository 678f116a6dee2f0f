"""What a function's code names: globals, attributes, imports. Read once for each code object."""

from __future__ import annotations

import dis
import functools
import re
from types import CodeType
from typing import NamedTuple

IDENTIFIER = re.compile(r"[^\W\d]\w*")
_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"})
_STORE = frozenset({"STORE_ATTR", "STORE_GLOBAL", "STORE_NAME"})


class Names(NamedTuple):
    """What a function's code, and that of the functions written inside it, names.

    Attributes:
        read: names that may be read, strings among the constants included.
        words: all names and strings.
        scope: names of globals and builtins.
        chains: attributes of globals and closure variables, each with what they are attributes of: ("np", "random").
        imports: names of modules, with the level of a relative import.
    """

    read: frozenset[str]
    words: frozenset[str]
    scope: frozenset[str]
    chains: frozenset[tuple[str, ...]]
    imports: frozenset[tuple[str, int]]


@functools.lru_cache(maxsize=4096)
def names_of(code: CodeType) -> Names:
    """What a code object names."""
    read: set[str] = set()
    words: set[str] = set(code.co_names)
    scope: set[str] = set()
    chains: set[tuple[str, ...]] = set()
    imports: set[tuple[str, int]] = set()
    chain: tuple[str, ...] = ()
    constants: list[object] = []
    for op in dis.get_instructions(code):
        name = op.opname
        if name in _GLOBAL or name == "LOAD_DEREF":
            chain = (op.argval,)
            scope |= set(chain) if name in _GLOBAL else set()
        elif name in _ATTRIBUTE:
            read.add(op.argval)
            chain = (*chain, op.argval) if chain else ()
            chains |= {chain} if chain else set()
        elif name not in ("CACHE", "EXTENDED_ARG", "PRECALL"):
            chain = ()
        if name == "LOAD_CONST":
            constants.append(op.argval)
        elif name == "IMPORT_NAME":
            level = constants[-2] if len(constants) > 1 else 0
            imports.add((op.argval, level if isinstance(level, int) else 0))
        elif name == "IMPORT_FROM":
            read.add(op.argval)
    read |= scope

    def collect(parts: tuple[object, ...]) -> None:
        for x in parts:
            if isinstance(x, str):
                words.add(x)
                read.add(x)
            elif isinstance(x, (tuple, frozenset)):
                collect(tuple(x))
            elif isinstance(x, CodeType):
                inner = names_of(x)
                read.update(inner.read)
                words.update(inner.words)
                scope.update(inner.scope)
                chains.update(inner.chains)
                imports.update(inner.imports)

    collect(code.co_consts)
    return Names(frozenset(read), frozenset(words), frozenset(scope), frozenset(chains), frozenset(imports))


def identifiers(strings: frozenset[str]) -> frozenset[str]:
    """The names in strings that may be evaluated, such as "config.rate * 2"."""
    return frozenset(word for text in strings for word in IDENTIFIER.findall(text))
