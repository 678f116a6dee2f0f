"""Visits to functions and modules: what they can read when they run."""

from __future__ import annotations

import abc
import functools
import sys
import weakref
from contextlib import suppress
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from minigrad.reach.code_names import TEXT, Names, identifiers, names_of, words
from minigrad.reach.collected import COMPUTED, WRITERS, Collected
from minigrad.reach.contents import LIBRARIES, MISSING, STANDARD, cells_of, variable
from minigrad.reach.members import visit_class
from minigrad.reach.rows import UNREAD, description

EVALUATED = frozenset({"eval", "exec", "globals", "locals", "vars"})  # strings in such code may name globals
GENERIC = frozenset({"copy", "pickle", "json", "inspect"})  # modules that read all attributes of objects
PATCHED = frozenset({"forward", "step", "zero_grad"})  # methods of minigrad's that are called without being named
DESCRIBED = ("__doc__", "__module__", "__name__", "__qualname__")  # of functions and classes
LATE = frozenset({"__getattr__", "__getattribute__", "__setattr__", "__delattr__"})  # change a class that gets them
LATE |= {"__bool__", "__len__", "__eq__", "__ne__", "__hash__", "__str__", "__repr__", "__format__"}
MADE = frozenset({"__subclasses__"})  # changes with each class that is made
LOGS = frozenset({"logging", "warnings"})
LOGGED = frozenset({"debug", "info", "warning", "error", "critical", "exception", "log", "warn"})
IMPORTING = frozenset({"import_module", "__import__"})
USES = ("inspected", "inspected_locals", "unindexed", "unindexed_locals", "unkeyed", "keys")
CODE = (FunctionType, BuiltinFunctionType, type, ModuleType, MethodType)


def visit_absences(reach: Collected) -> None:
    """Add rows for names that code may read and that are absent: what appears there later can be read then."""
    if reach.everything:
        for path, kind in reach.classes:
            reach.row("names", kind, vars(kind).keys() - UNREAD, path)
    for path, own in reach.open_objects:
        if reach.everything:
            reach.row("dict", own, (list(own), list(own.values())), path, is_own=True)
        else:
            reach.row("absent", own, frozenset(reach.read | {"__getattr__"}).difference(own), path)
    for path, kind in reach.classes:
        special = {n for base in kind.__mro__[1:] if base is not object for n in vars(base) if n.startswith("__")}
        reach.row("class absent", kind, frozenset(reach.read | LATE | special - UNREAD).difference(vars(kind)), path)
    for kind in reach.library:
        names = {n for n in (reach.words | PATCHED) & vars(kind).keys() if not n.startswith("_")}
        held = {n: vars(kind)[n] for n in sorted(names) if isinstance(vars(kind)[n], (FunctionType, property))}
        if held:
            reach.row("methods", kind, held, kind.__name__)
    if reach.is_abstract:
        reach.row("abstract", abc, abc.get_cache_token(), "what is registered with an abstract class")
    if asked := tuple(name for name in DESCRIBED if name in reach.words):
        described = asked, [*reach.functions, *(kind for _, kind in reach.classes)]
        reach.row("described", described, description(described), "a function or class")
    reach.unreadable += [(name, "the classes that were made so far") for name in MADE & reach.words]


def visit_function(reach: Collected, path: str, x: FunctionType) -> None:
    """A function: its code, defaults and cells, and the globals that it names."""
    root = str(x.__globals__.get("__name__", "")).split(".")[0]
    library = root in LIBRARIES or root in STANDARD
    reach.words |= {x.__name__} if root in LIBRARIES else words(x.__code__)
    if root in STANDARD:  # it reads the user's objects
        reach.read_names(words(x.__code__))
    if library and not x.__closure__ and not x.__defaults__:
        return
    if not library:
        reach.named_attributes(x.__dict__, path or x.__name__, x)
    code = x.__code__
    reach.row("function", x, (code, x.__defaults__, x.__kwdefaults__), path or x.__name__)
    if x.__defaults__:
        reach.ref(x, "__defaults__", "slot", path, x.__defaults__)
    reach.follow(path, x.__kwdefaults__)
    for name, cell in cells_of(x):
        if id(cell) not in reach.seen:
            reach.seen[id(cell)] = cell
            reach.place("cell", cell, "cell_contents", name)
    if not library:
        reach.functions.append(x)
        named = names_of(code)
        reach.read_names(named.words, named.read)
        reach.call(named.explicit)
        reach.when_read("__annotations__", functools.partial(_annotations, reach, x))
        for field in USES:
            getattr(reach, field).update(getattr(named, field))
        reach.unreadable += [(f"an object whose {name} {x.__name__} assigns", x) for name in named.reassigned]
        _globals(reach, x, named)
        _imports(reach, x, named)


def _annotations(reach: Collected, function: FunctionType) -> None:
    with suppress(Exception):  # from Python 3.14 on they are computed when they are read
        name = function.__name__
        reach.place("slots", function, "__annotations__", name, inner=f"{name}.__annotations__")


def _globals(reach: Collected, function: FunctionType, named: Names) -> None:
    scope = function.__globals__
    names = named.scope
    if EVALUATED & named.words:
        names = names | identifiers(named.words) & scope.keys()
    for name in sorted(names):
        if (id(scope), name) in reach.seen:
            continue
        reach.seen[id(scope), name] = scope
        value = reach.place("items", scope, name, name)  # also where it is a builtin, which a global may hide later
        reach.by_identity |= value is id or value is weakref or (value is MISSING and name == "id")
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
            reach.by_identity |= value.__module__ == "weakref"
    for first, *attributes in sorted(named.chains):
        _library_attribute(reach, variable(function, first), attributes)


def _library_attribute(reach: Collected, module: Any, names: list[str]) -> None:
    """Attributes of modules of libraries, which somebody may patch."""
    for name in names:
        if type(module) is not ModuleType or (id(module), name) in reach.seen:
            return
        scope = vars(module)
        if module.__name__.split(".")[0] in LIBRARIES | STANDARD and name in scope:
            reach.seen[id(module), name] = module
            reach.row("items", scope, {name: scope[name]}, f"{module.__name__}.{name}")
            if isinstance(scope[name], FunctionType) and module.__name__.split(".")[0] in STANDARD:
                reach.follow(f"{module.__name__}.{name}", scope[name])  # which may read the user's objects
        module = scope.get(name)


def _imports(reach: Collected, x: FunctionType, named: Names) -> None:
    """The modules that a function imports when it runs."""
    scope = x.__globals__
    package = scope.get("__package__") or ""
    modules = named.imports
    is_searched = not {("sys", "modules"), ("sys", "modules", "get")}.isdisjoint(named.chains)
    imported = IMPORTING & named.words
    if is_searched or imported:
        modules = modules | {(name, 0) for name in named.words}
        modules |= {(str(scope.get("__name__")), 0)} if is_searched else set()
        reach.unreadable += [("a module", f"by what {name} gets") for name in sorted(named.searches)]
        if imported and any(word.startswith(".") for word in named.words):
            reach.unreadable.append(("a module", "by a relative name"))
    reach.by_identity |= any(name == "weakref" for name, _ in modules)
    for name, level in sorted(modules):
        full = ".".join([*package.split(".")[: max(0, package.count(".") + 2 - level)], name]) if level else name
        parts = full.split(".")
        for k in range(1, len(parts) + 1):
            module = ".".join(parts[:k])
            if (id(sys.modules), module) in reach.seen:
                continue
            reach.seen[id(sys.modules), module] = sys.modules
            if parts[0] not in LIBRARIES | STANDARD:
                reach.attribute(sys.modules, module, module, None)
            elif is_searched:
                reach.row("items", sys.modules, {module: sys.modules.get(module, MISSING)}, module)


def visit_module(reach: Collected, path: str, x: ModuleType) -> None:
    """A module: of a user's what some code names, of the standard library its data."""
    root = x.__name__.split(".")[0]
    if root in LIBRARIES:
        return
    if x.__name__ in GENERIC:
        reach.everything = True
    scope = vars(x)
    names = [n for n in scope if not n.startswith("__") or n == "__getattr__"]
    if root not in STANDARD:
        reach.open_objects.append((path, scope))
        reach.row("type", x, type(x), path)
        for name in scope.keys() - set(names):
            reach.when_read(name, functools.partial(reach.attribute, scope, name, f"{path}.{name}", x))
        if type(x) is not ModuleType:
            visit_class(reach, type(x).__name__, type(x), makes=False)
    else:  # its functions do not change, and its state is read by name: os.environ, sys.argv
        for name in names:
            if not isinstance(scope[name], CODE) and scope[name] is not sys.modules:
                reach.when_read(name, functools.partial(reach.attribute, scope, name, f"{path}.{name}", x))
        names = []
    if x.__name__ in LOGS:
        for name in LOGGED:
            reach.when_named(name, functools.partial(reach.unreadable.append, (f"{path}.{name}", "a log")))
    for name in names:
        reach.when_named(name, functools.partial(reach.attribute, scope, name, f"{path}.{name}", x))


def visit_method(reach: Collected, path: str, x: MethodType) -> None:
    """A bound method: its object and its function."""
    _visit_owner(reach, path, x.__self__)
    reach.follow(path, x.__func__)


def visit_builtin(reach: Collected, path: str, x: Any) -> None:
    """A function written in C: the object that it is bound to."""
    owner = x.__self__
    if x.__name__ in COMPUTED | WRITERS:
        reach.everything = True
    if x in (repr, ascii, print):
        reach.read_names(frozenset({TEXT}))
    if x.__name__ in MADE:
        reach.unreadable.append((path, "the classes that were made so far"))
    if isinstance(owner, np.ndarray):  # it cannot be replaced by a tracer, so its reads and writes would be lost
        reach.unreadable.append((path, f"the method {x.__name__} of an array"))
    elif not isinstance(owner, ModuleType):
        _visit_owner(reach, path, owner)


def _visit_owner(reach: Collected, path: str, owner: Any) -> None:
    """The object that a method is bound to. A generator there cannot be replaced by a tracer."""
    if isinstance(owner, (np.random.Generator, np.random.RandomState)):
        reach.generators.append(owner)
        reach.sources.setdefault(id(owner), (path, owner))
    else:
        reach.follow(path, owner)
