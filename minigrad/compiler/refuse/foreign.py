"""Code in C: what of it is known to compute only."""

from __future__ import annotations

import functools
import sys
from types import BuiltinFunctionType, FunctionType, MethodWrapperType, ModuleType
from typing import Any

from minigrad.reach import package_of
from minigrad.reach.names import LIBRARIES, STANDARD

# Modules of Python's library that only compute. What draws random numbers is compared before and after.
COMPUTING = frozenset(
    (
        *("abc", "array", "ast", "bisect", "builtins", "cmath", "collections", "colorsys", "contextlib"),
        *("contextvars", "copy", "copyreg", "dataclasses", "enum", "fractions", "functools", "heapq", "inspect"),
        *("itertools", "json", "keyword", "math", "numbers", "operator", "random", "re", "reprlib", "statistics"),
        *("string", "struct", "textwrap", "types", "typing", "unicodedata", "weakref"),
    )
)
ACCELERATORS = frozenset(f"_{name}" for name in COMPUTING) | {"_sre", "_collections_abc", "_datetime", "datetime"}
ALLOWED = COMPUTING | ACCELERATORS | LIBRARIES
PURE = {("posix", "fspath"), ("nt", "fspath"), ("sys", "intern"), ("_pickle", "dumps"), ("_pickle", "loads")}
IMPURE = frozenset({"open", "input", "breakpoint", "print", "now", "today", "utcnow", "getweakrefcount", "getweakrefs"})
STATES = frozenset({"getstate", "get_state"})  # of sources of random numbers
FILES = frozenset(
    {"load", "save", "savez", "savez_compressed", "savetxt", "loadtxt", "genfromtxt", "fromfile", "memmap"}
)
FILES |= {"tofile", "dump", "open_memmap", "fromregex", "DataSource"}  # of NumPy
SHOWN = frozenset({"show_config", "show_runtime", "info", "testing"})  # what of NumPy may print


def name_of_impure(function: Any) -> str | None:
    """What a function in C is called, None if it computes only."""
    if type(function) is MethodWrapperType:  # os.listdir.__call__
        function = function.__self__
    if not callable(function) or isinstance(function, (FunctionType, type)):
        return None
    name = getattr(function, "__name__", "")
    owner = getattr(function, "__self__", None)
    if owner is None or type(owner) is ModuleType:
        kind = getattr(function, "__objclass__", None)
        module = str(function.__module__ if kind is None else kind.__module__)
        shown = f"{module}.{name}"
    else:
        kind = owner if isinstance(owner, type) else type(owner)
        kinds = [base for base in kind.__mro__ if name in vars(base)]
        kind = kinds[0] if kinds else kind
        module, shown = str(kind.__module__), f"{kind.__module__}.{kind.__name__}.{name}"
    root = module.split(".")[0]
    if name in IMPURE and root in ("builtins", "io", "_io", "datetime", "_weakref"):
        return shown
    if (root == "numpy" and name in FILES) or name in STATES:
        return shown
    return None if root in ALLOWED or (root, name) in PURE else shown


@functools.lru_cache(maxsize=1024)
def is_hidden(kind: type) -> bool:
    """Whether a class is written in C, in a module of which it is not known that it only computes."""
    root = package_of(kind)
    if root in ALLOWED or kind.__module__ == "__main__" or issubclass(kind, BaseException):
        return False
    if root in STANDARD:
        return is_in_c(kind)
    return str(getattr(sys.modules.get(kind.__module__), "__file__", "")).endswith((".so", ".pyd"))


def is_in_c(kind: type) -> bool:
    """Whether no method of a class is written in Python."""
    return not any(isinstance(x, FunctionType) for x in vars(kind).values())


def is_of_system(x: Any) -> bool:
    """Whether a module, or a function or an object of one, is not known to compute only."""
    if type(x) is ModuleType:
        root, is_code = x.__name__.split(".")[0], True
    elif isinstance(x, (BuiltinFunctionType, FunctionType, type)):
        root, is_code = package_of(x), True
    else:
        root, is_code = package_of(type(x)), False
    if root in ALLOWED or (is_code and root == "None"):
        return False
    return root in STANDARD or (isinstance(x, BuiltinFunctionType) and is_code)
