"""The names in a function's code: globals, attributes, imports. Read once for each code object."""

from __future__ import annotations

import dis
import functools
import inspect
import re
import sys
from types import CodeType
from typing import NamedTuple

IDENTIFIER = re.compile(r"[^\W\d]\w*")
_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"})
_IGNORED = frozenset({"CACHE", "EXTENDED_ARG", "PRECALL", "RESUME", "NOP"})
_ITEMS = (["STORE_SUBSCR"], ["BINARY_SUBSCR"], ["COPY"])
_SETTERS = frozenset({"__setattr__", "__delattr__"})  # their first argument is the name of an attribute
_YIELDED_FROM = frozenset({"send", "throw", "close"})  # the methods of x that `yield from x` may call
_NAMESPACES = frozenset({"__dict__", "__class__"})
TEXT, COMPARISON = "<text>", "<comparison>"  # in `Names.words` if the code formats objects, or compares them
_FORMATTING = frozenset({"FORMAT_VALUE", "FORMAT_SIMPLE", "FORMAT_WITH_SPEC", "CONVERT_VALUE"})
_FORMATTERS = frozenset({"str", "repr", "ascii", "print", "join", "mod", "__mod__", "Template"})
_FORMATTERS |= {"str_", "array", "asarray"}
_COMPARERS = frozenset({"index", "count", "remove", "sort", "sorted", "max", "min", "eq", "ne", "lt", "le", "gt", "ge"})
_COMPARERS |= {"__eq__", "__ne__", "__lt__", "__contains__", "contains", "indexOf", "countOf", "bisect", "insort"}
_IMPORTING = frozenset({"import_module", "__import__"})
_SYS = ("sys", "modules")
_USES_OF_NAME = ("CALL", "BINARY_SUBSCR", "LOAD_CONST")
_DISPLAYS = frozenset({"BUILD_MAP", "BUILD_CONST_KEY_MAP"})
VARIADIC = inspect.CO_VARARGS, inspect.CO_VARKEYWORDS
GROWING = frozenset({"append", "extend", "appendleft", "extendleft"})  # list methods that do not read the items


class Names(NamedTuple):
    """The names in the code of a function, and of the functions defined in it.

    Attributes:
        read: names that may be read, strings among the constants included.
        words: all names and strings, TEXT and COMPARISON.
        scope: names of globals and builtins.
        chains: globals and closure variables with their attributes: ("np",), ("np", "random").
        imports: names of modules, with the level of a relative import.
        handed: chains whose values are not only called: they are passed to other code, or stored. They begin with "" if
            the first name is not a global or closure variable, and with "import" and the name of a module for what is
            imported from it; ("os", "()") means that an attribute of os is called.
        searches: expressions that look up modules by names that are not constants: import_module(config.name),
            sys.modules[name].
        opened: names that are used in other ways than `name["key"]` with a literal key.
        keys: string literals that are used in other ways than as the key of an assignment, `name["key"] = x`.
        replaced: `__dict__` or `__class__`, if it is assigned.
        inspected: names that are used in other ways than `name.append(...)` and the like.
        locals: the same for local variables and parameters.
        whole: names that are used in other ways than these, `name["text"]` and `name[key].append(...)`.
        whole_locals: the same for local variables and parameters.
        explicit: special methods that are called by name, `x.__init__()`, except by one that delegates to a base class.
    """

    read: frozenset[str]
    words: frozenset[str]
    scope: frozenset[str]
    chains: frozenset[tuple[str, ...]]
    imports: frozenset[tuple[str, int]]
    inspected: frozenset[str]
    locals: frozenset[str]
    whole: frozenset[str]
    whole_locals: frozenset[str]
    replaced: frozenset[str]
    handed: frozenset[tuple[str, ...]]
    searches: frozenset[str]
    opened: frozenset[str]
    keys: frozenset[str]
    explicit: frozenset[str]


@functools.lru_cache(maxsize=4096)
def names_of(code: CodeType) -> Names:
    """The names in a code object."""
    collector = _Collector(code)
    return Names(*(frozenset(getattr(collector, field)) for field in Names._fields))


class _Collector:
    """Collects the names of a code object from its instructions, in sets."""

    def __init__(self, code: CodeType) -> None:
        self.read: set[str] = set()
        self.words: set[str] = set(code.co_names)
        self.scope: set[str] = set()
        self.chains: set[tuple[str, ...]] = set()
        self.imports: set[tuple[str, int]] = set()
        self.inspected: set[str] = set()
        self.locals: set[str] = set()
        self.whole: set[str] = set()
        self.whole_locals: set[str] = set()
        self.replaced: set[str] = set()
        self.handed: set[tuple[str, ...]] = set()
        self.searches: set[str] = set()
        self.opened: set[str] = set()
        self.keys: set[str] = set()
        self.explicit: set[str] = set()
        self.chain: tuple[str, ...] = ()
        self.path: tuple[str, ...] = ()
        self.is_called = False
        self.module = ""
        self.constants: list[object] = []
        instructions = [op for op in dis.get_instructions(code) if op.opname not in _IGNORED]
        own = _own_dictionaries(code, instructions)
        for k, op in enumerate(instructions):
            is_of_own = (
                k > 0 and instructions[k - 1].opname.startswith("LOAD_FAST") and instructions[k - 1].argval in own
            )
            if not (_is_text(op) and (is_of_own or _is_key_of_display(instructions, k))):
                self._note_use(op, instructions[k + 1 : k + 5])
            self._note_keys(op, instructions[k + 1 : k + 3])
            self._note_chain(op)
            self._note_path(instructions, k)
            self._note_rest(op)
            if op.opname in _ATTRIBUTE and op.argval.startswith("__"):
                self._note_special(op, code.co_name, instructions[k - 1], instructions[k + 1 :])
        self.read |= self.scope
        self._collect(code.co_consts)
        if not _FORMATTERS.isdisjoint(self.words):
            self.words.add(TEXT)
        if not _COMPARERS.isdisjoint(self.words):
            self.words.add(COMPARISON)

    def _note_use(self, op: dis.Instruction, following: list[dis.Instruction]) -> None:
        """Note names of values that are used in other ways than by appending to them."""
        name = op.opname
        if name in _GLOBAL or name in _ATTRIBUTE or name == "LOAD_DEREF" or _is_text(op):
            if _is_text(op) and following and _is_subscript(following[0]):
                following = following[1:]
            inspected, whole = self.inspected, self.whole
        elif name.startswith(("LOAD_FAST", "STORE_FAST")):
            inspected, whole = self.locals, self.whole_locals
        else:
            return
        names = set(op.argval) if isinstance(op.argval, tuple) else {op.argval}
        if not _only_grows(following):
            inspected |= names
            whole |= names if not _is_opened(following) else set()

    def _note_keys(self, op: dis.Instruction, following: list[dis.Instruction]) -> None:
        """Note names that are used in other ways than by literal keys, and literals that do not only set an item."""
        names = [op.opname for op in following]
        if _is_text(op):
            if names[:1] != ["STORE_SUBSCR"]:
                self.keys.add(op.argval)
        elif op.opname in _GLOBAL | _ATTRIBUTE or op.opname.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_CLOSURE")):
            is_item = bool(following) and _is_text(following[0]) and names[1:] in _ITEMS
            if not is_item and op.argval is not None:
                self.opened |= set(op.argval) if isinstance(op.argval, tuple) else {op.argval}

    def _note_chain(self, op: dis.Instruction) -> None:
        """Note globals and closure variables, and their attributes."""
        name = op.opname
        if name in _GLOBAL or name == "LOAD_DEREF":
            self.chain = (op.argval,)
            self.scope |= set(self.chain) if name in _GLOBAL else set()
        elif name in _ATTRIBUTE:
            self.read.add(op.argval)
            self.chain = (*self.chain, op.argval) if self.chain else ()
            self.chains |= {self.chain} if self.chain else set()
        else:
            self.chain = ()

    def _note_path(self, code: list[dis.Instruction], k: int) -> None:
        """Note whether a loaded value is called at once. A path that does not begin in a scope begins with ""."""
        op, after = code[k], code[k + 1] if k + 1 < len(code) else None
        if op.opname in _GLOBAL or op.opname == "LOAD_DEREF":
            is_pushed = op.opname == "LOAD_GLOBAL" and bool((op.arg or 0) & 1)
            self.path, self.is_called = (op.argval,), is_pushed or (k > 0 and code[k - 1].opname == "PUSH_NULL")
        elif op.opname in _ATTRIBUTE:
            self.path = (*(self.path or ("",)), op.argval)
        elif op.opname == "IMPORT_FROM":
            self.handed.add(("import", self.module, op.argval))
            return
        else:
            self.path, self.is_called = (), False
            return
        if after is not None and after.opname in _ATTRIBUTE:
            return
        is_called = self.is_called or _is_method(op) or (after is not None and after.opname == "PUSH_NULL")
        if not is_called or len(self.path) > 1:
            self.handed.add((*self.path[:-1], "()") if is_called else self.path)
        if self.path[-1] in _IMPORTING or _SYS in (self.path[:2], self.path[1:3]):
            is_member = after is not None and after.opname == "CONTAINS_OP"
            name = code[max(0, k - len(self.path))] if is_member else after
            ends = is_member or (k + 2 < len(code) and code[k + 2].opname.startswith(_USES_OF_NAME))
            if not ends or name is None or not (_is_text(name) or name.argval == "__name__"):
                self.searches.add(".".join(self.path[-2:]))

    def _note_rest(self, op: dis.Instruction) -> None:
        """Note constants, imports, and assignments to `__dict__` and `__class__`."""
        if op.opname == "LOAD_CONST":
            self.constants.append(op.argval)
        elif op.opname == "IMPORT_NAME":
            self.module = op.argval
            level = self.constants[-2] if len(self.constants) > 1 else 0
            self.imports.add((op.argval, level if isinstance(level, int) else 0))
        elif op.opname == "STORE_ATTR" and op.argval in _NAMESPACES:
            self.replaced.add(op.argval)
        elif op.opname == "IMPORT_FROM":
            self.read.add(op.argval)
        elif op.opname in _FORMATTING:
            self.words.add(TEXT)
        elif op.opname == "CONTAINS_OP" or (op.opname == "COMPARE_OP" and str(op.argval) in ("==", "!=")):
            self.words.add(COMPARISON)
        elif op.opname == "BINARY_OP" and op.argrepr in ("%", "%="):
            self.words.add(TEXT)
        elif op.opname == "MATCH_CLASS":  # reads attributes that the class names
            self.words.add("__dict__")
        elif op.opname == "GET_YIELD_FROM_ITER":
            self.words |= _YIELDED_FROM
            self.read |= _YIELDED_FROM

    def _note_special(
        self, op: dis.Instruction, caller: str, before: dis.Instruction, following: list[dis.Instruction]
    ) -> None:
        """Note a special method, except `super().__init__()` and `Base.__init__(self)` in another __init__."""
        texts = [j for j, other in enumerate(following[:2]) if _is_text(other)] if op.argval in _SETTERS else []
        is_of_base = op.opname == "LOAD_SUPER_ATTR" or before.opname in {*_GLOBAL, "LOAD_DEREF", "CALL"}
        is_known = _is_an_argument(following[texts[0] + 1 :]) if texts else is_of_base and op.argval == caller
        if not is_known:
            self.explicit.add(op.argval)

    def _collect(self, constants: tuple[object, ...]) -> None:
        """Collect the strings among the constants, and the names of inner functions."""
        for x in constants:
            if isinstance(x, str):
                self.words.add(x)
                self.read.add(x)
                self.explicit |= {x} if x.startswith("__") else set()
            elif isinstance(x, (tuple, frozenset)):
                self._collect(tuple(x))
                self.keys |= {part for part in x if isinstance(part, str)}
            elif isinstance(x, CodeType):
                inner = names_of(x)
                for field in Names._fields:
                    getattr(self, field).update(getattr(inner, field))


def _own_dictionaries(code: CodeType, instructions: list[dis.Instruction]) -> set[str]:
    """Local variables that are only bound to dictionary displays: out = {"loss": loss}.

    Their items come from the same code, so the names used to compute them are noted already.
    """
    count = code.co_argcount + code.co_kwonlyargcount + sum(bool(code.co_flags & flag) for flag in VARIADIC)
    stores = dict.fromkeys(code.co_varnames[:count], False)  # parameters may be any object
    for k, op in enumerate(instructions):
        if op.opname.startswith("STORE_FAST"):
            is_display = op.opname == "STORE_FAST" and instructions[k - 1].opname in _DISPLAYS
            for name in op.argval if isinstance(op.argval, tuple) else (op.argval,):
                stores[name] = stores.get(name, True) and is_display
    return {name for name, is_own in stores.items() if is_own}


# How many values an instruction pops from the stack, for those that may follow a key.
_POPPED = {"BINARY_OP": 2, "BINARY_SUBSCR": 2, "COMPARE_OP": 2, "CONTAINS_OP": 2, "IS_OP": 2, "LOAD_ATTR": 1}
_POPPED |= {"LOAD_METHOD": 1, "UNARY_NEGATIVE": 1, "UNARY_NOT": 1, "PRECALL": 0, "KW_NAMES": 0, "PUSH_NULL": 0}


def _is_key_of_display(instructions: list[dis.Instruction], k: int) -> bool:
    """Whether a string is the key of a dictionary display: {"loss": loss}."""
    above = 0  # values on the stack above it
    for op in instructions[k + 1 :]:
        count = op.arg or 0
        if op.opname == "BUILD_MAP" and 2 * count > above:
            return (2 * count - 1 - above) % 2 == 0
        if op.opname == "CALL":
            taken = count + 2
        elif op.opname in ("BUILD_TUPLE", "BUILD_LIST", "BUILD_MAP"):
            taken = 2 * count if op.opname == "BUILD_MAP" else count
        elif op.opname.startswith("LOAD_") and op.opname not in _POPPED:
            taken = 0
        else:
            taken = _POPPED.get(op.opname, above + 1)
        if taken > above or op.is_jump_target:
            return False
        above += dis.stack_effect(op.opcode, op.arg)
    return False


def _only_grows(following: list[dis.Instruction]) -> bool:
    """Whether a loaded value is only appended to."""
    return bool(following) and following[0].opname in _ATTRIBUTE and following[0].argval in GROWING


def _is_method(op: dis.Instruction) -> bool:
    """Whether an attribute is loaded as a method, which is called next."""
    return op.opname == "LOAD_METHOD" or (
        op.opname in _ATTRIBUTE and sys.version_info >= (3, 12) and bool((op.arg or 0) & 1)
    )


def _is_an_argument(following: list[dis.Instruction]) -> bool:
    """Whether a loaded string is an argument of a call, and not part of a longer string."""
    depth = 1
    for op in following:
        depth += -1 - (op.arg or 0) if op.opname == "CALL" else dis.stack_effect(op.opcode, op.arg)
        if depth <= 1:
            return op.opname.startswith("CALL")
    return True


def _is_opened(following: list[dis.Instruction]) -> bool:
    """Whether only an item of a loaded value is used: one with a literal key, or one that is appended to."""
    if len(following) < 3 or not following[0].opname.startswith("LOAD"):
        return False
    if _is_text(following[0]) and (_is_subscript(following[1]) or following[1].opname in ("COPY", "STORE_SUBSCR")):
        return True
    return _is_subscript(following[1]) and _only_grows(following[2:])


def _is_subscript(op: dis.Instruction) -> bool:
    return op.opname == "BINARY_SUBSCR" or (op.opname == "BINARY_OP" and op.argrepr == "[]")


def _is_text(op: dis.Instruction) -> bool:
    return op.opname == "LOAD_CONST" and isinstance(op.argval, str)


def identifiers(strings: frozenset[str]) -> frozenset[str]:
    """The names in strings that may be evaluated, such as "config.rate * 2"."""
    return frozenset(word for text in strings for word in IDENTIFIER.findall(text))


_STORES = ("STORE_ATTR", "STORE_SUBSCR", "STORE_GLOBAL", "STORE_DEREF", "DELETE_ATTR", "DELETE_SUBSCR")
_PURE_FUNCTIONS = frozenset(
    {"hash", "id", "type", "tuple", "frozenset", "sorted", "len", "str", "repr", "int", "round"}
)
_PURE_FUNCTIONS |= {
    "super",
    "isinstance",
    "issubclass",
    "__eq__",
    "__hash__",
    "tobytes",
    "lower",
    "items",
    "keys",
    "values",
}


@functools.lru_cache(maxsize=1024)
def only_answers(code: CodeType) -> bool:
    """Whether a function writes nothing and calls only pure functions, so that the number of calls does not matter."""
    instructions = [op for op in dis.get_instructions(code) if op.opname not in _IGNORED]
    calls = sum(op.opname.startswith("CALL") and not op.opname.startswith("CALL_INTRINSIC") for op in instructions)
    known = sum(op.opname in _GLOBAL | _ATTRIBUTE and op.argval in _PURE_FUNCTIONS for op in instructions)
    return calls <= known and not any(op.opname in _STORES for op in instructions)


def instruction(code: CodeType, offset: int) -> str:
    """The name of the instruction at an offset, as of a frame's f_lasti."""
    return next((op.opname for op in dis.get_instructions(code) if op.offset == offset), "")
