"""What a function's code names: globals, attributes, imports, constants. Read once for each code object."""

from __future__ import annotations

import dis
import functools
import inspect
import re
import sys
from collections.abc import Set
from types import CodeType

from minigrad.util.bytecode import ATTRIBUTES, GLOBALS, instructions

IDENTIFIER = re.compile(r"[^\W\d]\w*")
_ITEMS = (["STORE_SUBSCR"], ["BINARY_SUBSCR"], ["COPY"])
_BY_TEXT = frozenset({"__setattr__", "__delattr__"})  # whose first argument is a name
_YIELDED_FROM = frozenset({"send", "throw", "close"})  # what `yield from x` may call of x
_OF_PYTHON = frozenset({"__dict__", "__class__"})
TEXT, COMPARISON = "<text>", "<comparison>"  # words of code that converts objects to text, or compares them
_TEXTS = frozenset({"FORMAT_VALUE", "FORMAT_SIMPLE", "FORMAT_WITH_SPEC", "CONVERT_VALUE"})
_WRITERS = frozenset(
    {"str", "repr", "ascii", "print", "join", "mod", "__mod__", "Template", "str_", "array", "asarray"}
)
_COMPARERS = frozenset({"index", "count", "remove", "sort", "sorted", "max", "min", "eq", "ne", "lt", "le", "gt", "ge"})
_COMPARERS |= {"__eq__", "__ne__", "__lt__", "__contains__", "contains", "indexOf", "countOf", "bisect", "insort"}
_IMPORTING = frozenset({"import_module", "__import__"})
_SYS = ("sys", "modules")
_ENDS = ("CALL", "BINARY_SUBSCR", "LOAD_CONST")
_DISPLAYS = frozenset({"BUILD_MAP", "BUILD_CONST_KEY_MAP"})
VARIADIC = inspect.CO_VARARGS, inspect.CO_VARKEYWORDS
GROWING = frozenset({"append", "extend", "appendleft", "extendleft"})  # methods that reveal nothing about a list


class Names:
    """The names in a function's code and in that of the functions written inside it.

    Attributes:
        read: names that may be read, including strings among the constants.
        words: all names and strings, TEXT and COMPARISON.
        scope: names of globals and builtins.
        chains: globals and closure variables with attributes that are read from them: ("np", "random").
        imports: names of modules, with the level of a relative import.
        inspected: names whose values are used in other ways than `name.append(...)` and the like.
        unindexed: names whose values are used in other ways than `name["text"]` and `name[key].append(...)`.
        inspected_locals, unindexed_locals: the same for local variables and parameters.
        unkeyed: names whose values are used in other ways than `name["key"]` with a literal key.
        keys: strings that are used in other ways than as the key of an assignment `name["key"] = x`.
        reassigned: attributes kept by Python itself that are assigned: `__dict__`, `__class__`.
        escaping: chains whose values are not only called, but passed on or stored. They begin with "" where the first
            name is neither a global nor a closure variable, and with "import" and the module's name for what is
            imported from it; ("os", "()") means that an attribute of os is called.
        searches: lookups of modules by names that are not constants: import_module(config.name), sys.modules[name].
        explicit: special methods called by name, `x.__init__()`, except by one that delegates to its base class.
    """

    def __init__(self, code: CodeType) -> None:
        self.read: set[str] = set()
        self.words: set[str] = set(code.co_names)
        self.scope: set[str] = set()
        self.chains: set[tuple[str, ...]] = set()
        self.imports: set[tuple[str, int]] = set()
        self.inspected: set[str] = set()
        self.unindexed: set[str] = set()
        self.inspected_locals: set[str] = set()
        self.unindexed_locals: set[str] = set()
        self.unkeyed: set[str] = set()
        self.keys: set[str] = set()
        self.reassigned: set[str] = set()
        self.escaping: set[tuple[str, ...]] = set()
        self.searches: set[str] = set()
        self.explicit: set[str] = set()
        self._chain: tuple[str, ...] = ()
        self._path: tuple[str, ...] = ()
        self._is_called = False
        self._module = ""
        self._constants: list[object] = []
        ops = instructions(code)
        own = _own_dictionaries(code, ops)
        for k, op in enumerate(ops):
            is_of_own = k > 0 and ops[k - 1].opname.startswith("LOAD_FAST") and ops[k - 1].argval in own
            if not (_is_text(op) and (is_of_own or _is_key_of_display(ops, k))):
                self._note_use(op, ops[k + 1 : k + 5])
            self._note_keys(op, ops[k + 1 : k + 3])
            self._note_chain(op)
            self._note_path(ops, k)
            self._note_rest(op)
            if op.opname in ATTRIBUTES and op.argval.startswith("__"):
                self._note_special(op, code.co_name, ops[k - 1], ops[k + 1 :])
        self.read |= self.scope
        self._collect(code.co_consts)
        if not _WRITERS.isdisjoint(self.words):
            self.words.add(TEXT)
        if not _COMPARERS.isdisjoint(self.words):
            self.words.add(COMPARISON)

    def _note_use(self, op: dis.Instruction, following: list[dis.Instruction]) -> None:
        """Note values that are used in other ways than by appending to them, or by taking an item."""
        name = op.opname
        if name in GLOBALS or name in ATTRIBUTES or name == "LOAD_DEREF" or _is_text(op):
            if _is_text(op) and following and _is_subscript(following[0]):
                following = following[1:]
            inspected, unindexed = self.inspected, self.unindexed
        elif name.startswith(("LOAD_FAST", "STORE_FAST")):
            inspected, unindexed = self.inspected_locals, self.unindexed_locals
        else:
            return
        names = set(op.argval) if isinstance(op.argval, tuple) else {op.argval}
        if not _only_grows(following):
            inspected |= names
            unindexed |= names if not _is_indexed(following) else set()

    def _note_keys(self, op: dis.Instruction, following: list[dis.Instruction]) -> None:
        """Note values that are used in other ways than by literal keys, and strings that are read as keys."""
        names = [op.opname for op in following]
        if _is_text(op):
            if names[:1] != ["STORE_SUBSCR"]:
                self.keys.add(op.argval)
        elif op.opname in GLOBALS | ATTRIBUTES or op.opname.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_CLOSURE")):
            is_item = bool(following) and _is_text(following[0]) and names[1:] in _ITEMS
            if not is_item and op.argval is not None:
                self.unkeyed |= set(op.argval) if isinstance(op.argval, tuple) else {op.argval}

    def _note_chain(self, op: dis.Instruction) -> None:
        """Note globals, closure variables and their attributes."""
        name = op.opname
        if name in GLOBALS or name == "LOAD_DEREF":
            self._chain = (op.argval,)
            self.scope |= set(self._chain) if name in GLOBALS else set()
        elif name in ATTRIBUTES:
            self.read.add(op.argval)
            self._chain = (*self._chain, op.argval) if self._chain else ()
            self.chains |= {self._chain} if self._chain else set()
        else:
            self._chain = ()

    def _note_path(self, code: list[dis.Instruction], k: int) -> None:
        """Note values that are loaded and not called at once, and lookups of modules by computed names."""
        op, after = code[k], code[k + 1] if k + 1 < len(code) else None
        if op.opname in GLOBALS or op.opname == "LOAD_DEREF":
            is_pushed = op.opname == "LOAD_GLOBAL" and bool((op.arg or 0) & 1)
            self._path, self._is_called = (op.argval,), is_pushed or (k > 0 and code[k - 1].opname == "PUSH_NULL")
        elif op.opname in ATTRIBUTES:
            self._path = (*(self._path or ("",)), op.argval)
        elif op.opname == "IMPORT_FROM":
            self.escaping.add(("import", self._module, op.argval))
            return
        else:
            self._path, self._is_called = (), False
            return
        if after is not None and after.opname in ATTRIBUTES:
            return
        is_called = self._is_called or _is_method(op) or (after is not None and after.opname == "PUSH_NULL")
        if not is_called or len(self._path) > 1:
            self.escaping.add((*self._path[:-1], "()") if is_called else self._path)
        if self._path[-1] in _IMPORTING or _SYS in (self._path[:2], self._path[1:3]):
            is_member = after is not None and after.opname == "CONTAINS_OP"
            name = code[max(0, k - len(self._path))] if is_member else after
            ends = is_member or (k + 2 < len(code) and code[k + 2].opname.startswith(_ENDS))
            if not ends or name is None or not (_is_text(name) or name.argval == "__name__"):
                self.searches.add(".".join(self._path[-2:]))

    def _note_rest(self, op: dis.Instruction) -> None:
        """Note constants, imports, and operations that read attributes without naming them."""
        if op.opname == "LOAD_CONST":
            self._constants.append(op.argval)
        elif op.opname == "IMPORT_NAME":
            self._module = op.argval
            level = self._constants[-2] if len(self._constants) > 1 else 0
            self.imports.add((op.argval, level if isinstance(level, int) else 0))
        elif op.opname == "STORE_ATTR" and op.argval in _OF_PYTHON:
            self.reassigned.add(op.argval)
        elif op.opname == "IMPORT_FROM":
            self.read.add(op.argval)
        elif op.opname in _TEXTS:
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
        """Note a special method, unless it is `super().__init__()` or `Base.__init__(self)` in another __init__."""
        texts = [j for j, other in enumerate(following[:2]) if _is_text(other)] if op.argval in _BY_TEXT else []
        is_of_base = op.opname == "LOAD_SUPER_ATTR" or before.opname in {*GLOBALS, "LOAD_DEREF", "CALL"}
        is_known = _is_an_argument(following[texts[0] + 1 :]) if texts else is_of_base and op.argval == caller
        if not is_known:
            self.explicit.add(op.argval)

    def _collect(self, constants: tuple[object, ...]) -> None:
        """Add the strings among constants, and the names in the functions written inside."""
        for x in constants:
            if isinstance(x, str):
                self.words.add(x)
                self.read.add(x)
                self.explicit |= {x} if x.startswith("__") else set()
            elif isinstance(x, (tuple, frozenset)):
                self._collect(tuple(x))
                self.keys |= {part for part in x if isinstance(part, str)}
            elif isinstance(x, CodeType):
                for field, names in vars(names_of(x)).items():
                    if isinstance(names, set):
                        getattr(self, field).update(names)


@functools.lru_cache(maxsize=4096)
def names_of(code: CodeType) -> Names:
    """The names in a code object. They are shared: nobody changes them."""
    return Names(code)


def words(code: CodeType) -> Set[str]:
    """The names and strings in a function's code, and in the functions written inside it."""
    return names_of(code).words


def identifiers(strings: Set[str]) -> frozenset[str]:
    """The names in strings that may be evaluated, such as "config.rate * 2"."""
    return frozenset(word for text in strings for word in IDENTIFIER.findall(text))


def _own_dictionaries(code: CodeType, ops: list[dis.Instruction]) -> set[str]:
    """Local variables that are only ever assigned a dictionary literal: out = {"loss": loss}.

    The items of such a dictionary were put in by the same code, so reading one reveals nothing new.
    """
    count = code.co_argcount + code.co_kwonlyargcount + sum(bool(code.co_flags & flag) for flag in VARIADIC)
    stores = dict.fromkeys(code.co_varnames[:count], False)  # a parameter may be anything
    for k, op in enumerate(ops):
        if op.opname.startswith("STORE_FAST"):
            is_display = op.opname == "STORE_FAST" and ops[k - 1].opname in _DISPLAYS
            for name in op.argval if isinstance(op.argval, tuple) else (op.argval,):
                stores[name] = stores.get(name, True) and is_display
    return {name for name, is_own in stores.items() if is_own}


# How many values an instruction takes from the stack. Others than these and loads end the search.
_TAKES = {"BINARY_OP": 2, "BINARY_SUBSCR": 2, "COMPARE_OP": 2, "CONTAINS_OP": 2, "IS_OP": 2, "LOAD_ATTR": 1}
_TAKES |= {"LOAD_METHOD": 1, "UNARY_NEGATIVE": 1, "UNARY_NOT": 1, "PRECALL": 0, "KW_NAMES": 0, "PUSH_NULL": 0}


def _is_key_of_display(ops: list[dis.Instruction], k: int) -> bool:
    """Whether a string is a key in a dictionary literal: {"loss": loss}."""
    above = 0  # values on the stack above it
    for op in ops[k + 1 :]:
        count = op.arg or 0
        if op.opname == "BUILD_MAP" and 2 * count > above:
            return (2 * count - 1 - above) % 2 == 0
        if op.opname == "CALL":
            taken = count + 2
        elif op.opname in ("BUILD_TUPLE", "BUILD_LIST", "BUILD_MAP"):
            taken = 2 * count if op.opname == "BUILD_MAP" else count
        elif op.opname.startswith("LOAD_") and op.opname not in _TAKES:
            taken = 0
        else:
            taken = _TAKES.get(op.opname, above + 1)
        if taken > above or op.is_jump_target:
            return False
        above += dis.stack_effect(op.opcode, op.arg)
    return False


def _only_grows(following: list[dis.Instruction]) -> bool:
    """Whether the loaded value is only appended to."""
    return bool(following) and following[0].opname in ATTRIBUTES and following[0].argval in GROWING


def _is_method(op: dis.Instruction) -> bool:
    """Whether an attribute is loaded as a method that is called next."""
    return op.opname == "LOAD_METHOD" or (
        op.opname in ATTRIBUTES and sys.version_info >= (3, 12) and bool((op.arg or 0) & 1)
    )


def _is_an_argument(following: list[dis.Instruction]) -> bool:
    """Whether a loaded string is passed to a function unchanged."""
    depth = 1
    for op in following:
        depth += -1 - (op.arg or 0) if op.opname == "CALL" else dis.stack_effect(op.opcode, op.arg)
        if depth <= 1:
            return op.opname.startswith("CALL")
    return True


def _is_indexed(following: list[dis.Instruction]) -> bool:
    """Whether only an item of the loaded value is used: one with a literal key, or one that is only appended to."""
    if len(following) < 3 or not following[0].opname.startswith("LOAD"):
        return False
    if _is_text(following[0]) and (_is_subscript(following[1]) or following[1].opname in ("COPY", "STORE_SUBSCR")):
        return True
    return _is_subscript(following[1]) and _only_grows(following[2:])


def _is_subscript(op: dis.Instruction) -> bool:
    return op.opname == "BINARY_SUBSCR" or (op.opname == "BINARY_OP" and op.argrepr == "[]")


def _is_text(op: dis.Instruction) -> bool:
    return op.opname == "LOAD_CONST" and isinstance(op.argval, str)
