"""Names: which attributes some code can read, as its bytecode tells."""

from __future__ import annotations

import functools
import sys
from types import (
    CodeType,
    FunctionType,
)

from minigrad.reach.contents import package_of
from minigrad.util.bytecode import TEXT, names_of

LIBRARIES = frozenset({"minigrad", "numpy", "numba", "llvmlite", "scipy", "builtins"})
STANDARD = frozenset(sys.stdlib_module_names) - {"builtins", "__main__"}  # whose code nobody changes
BY_NAME = frozenset({"types", "functools", "dataclasses"})  # of whose objects only what code names is read
COMPUTED = frozenset({"vars", "dir", "eval", "exec", "locals", "globals", "getattr", "hasattr", "attrgetter"})
COMPUTED |= {"__dict__", "__getattr__", "__getattribute__", "asdict", "astuple", "deepcopy", "__slots__", "dumps"}
COMPUTED |= {"setattr", "delattr", "methodcaller", "format", "format_map", "vformat", "__format__"}
COMPUTED |= {"__reduce__", "__reduce_ex__", "__getstate__", "__dir__"}
WRITERS = frozenset({"__setattr__", "__delattr__"})  # the same where they are called by name
MAKERS = frozenset({"__class__", "type", "copy", "replace", "_replace"})  # with them an object's class makes another
OF_MAPPINGS = frozenset({"keys", "items", "values", "get"})  # what C code calls of one: {**x}, dict(x), match
DESCRIBED = ("__doc__", "__module__", "__name__", "__qualname__")  # of functions and classes
LATE = frozenset({"__getattr__", "__getattribute__", "__setattr__", "__delattr__"})  # change a class that gets them
LATE |= {"__bool__", "__len__", "__eq__", "__ne__", "__hash__", "__str__", "__repr__", "__format__"}
MADE = frozenset({"__subclasses__"})  # changes with each class that is made
EVALUATED = frozenset({"eval", "exec", "globals", "locals", "vars"})  # strings in such code may name globals
GENERIC = frozenset({"copy", "pickle", "json", "inspect"})  # modules that read objects as wholes
IMPLICIT = frozenset({"forward", "training", "_hooks", "_parameters", "_buffers", "_name", "rule", "_value_"})
PATCHED = frozenset({"forward", "step", "zero_grad"})  # methods of minigrad's that are called without being named
UNREAD = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "_abc_impl"})
UNREAD |= {"__static_attributes__", "__firstlineno__", "__dataclass_fields__", "__dataclass_params__", "__match_args__"}
CONSTRUCTORS = frozenset({"__init__", "__new__", "__post_init__", "__init_subclass__", "__set_name__", "__del__"})
TEXTS = frozenset(
    {"__repr__", "__str__", "__format__"}
)  # methods of a class that count where texts are made of objects
CONSTRUCTORS |= {"__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__sizeof__"}
LOGS = frozenset({"logging", "warnings"})
LOGGED = frozenset({"debug", "info", "warning", "error", "critical", "exception", "log", "warn"})
HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE
BUILTINS = frozenset(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__)


def words(code: CodeType) -> frozenset[str]:
    """The names and strings in a function's code, and in the functions written inside it."""
    return names_of(code).words


@functools.lru_cache(maxsize=1024)
def method_names(kind: type) -> frozenset[str]:
    """The names that the methods of one of a library's classes use. They make no objects of the user's classes."""
    found: frozenset[str] = frozenset()
    for value in vars(kind).values():
        if isinstance(value, FunctionType):
            found |= frozenset(value.__code__.co_names)
    return found - COMPUTED - MAKERS


@functools.lru_cache(maxsize=1024)
def traversals_of(kind: type) -> frozenset[str]:
    """The names by which a user's code has methods of minigrad's go through all attributes of an object."""
    readers = readers_of(kind, "vars") - {"vars"}
    return readers | {TEXT} if "__repr__" in readers else readers


@functools.lru_cache(maxsize=1024)
def finds_methods(kind: type) -> bool:
    """Whether a class of the standard library calls methods of those derived from it by names that it computes."""
    return package_of(kind) in STANDARD and any(
        isinstance(f, FunctionType) and not name.startswith("__") and "getattr" in f.__code__.co_names
        for name, f in vars(kind).items()
    )


@functools.lru_cache(maxsize=1024)
def readers_of(kind: type, attribute: str) -> frozenset[str]:
    """The names in a user's code that may read an attribute: its own, and those of methods that read it in the end."""
    methods = {
        n: f.__code__ for base in kind.__mro__[::-1] for n, f in vars(base).items() if isinstance(f, FunctionType)
    }
    readers = {attribute}
    while True:
        more = {name for name, code in methods.items() if readers & set(code.co_names)} - readers
        if not more:
            return frozenset(readers)
        readers |= more
