"""Code: functions, modules and classes, and what they can read when they run."""

from __future__ import annotations

import abc
import functools
import sys
import weakref
from contextlib import suppress
from types import (
    BuiltinFunctionType,
    FunctionType,
    MethodType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.reach.contents import description, package_of
from minigrad.reach.leaves import MISSING
from minigrad.reach.names import (
    COMPUTED,
    CONSTRUCTORS,
    DESCRIBED,
    EVALUATED,
    GENERIC,
    HEAP_TYPE,
    LATE,
    LIBRARIES,
    LOGGED,
    LOGS,
    MADE,
    OF_MAPPINGS,
    PATCHED,
    STANDARD,
    TEXTS,
    UNREAD,
    WRITERS,
    finds_methods,
    method_names,
    words,
)
from minigrad.reach.places import StateRef
from minigrad.util.bytecode import TEXT, Names, identifiers, names_of

if TYPE_CHECKING:
    from minigrad.reach.walk import Reach


IMPORTING = frozenset({"import_module", "__import__"})
CODE = (FunctionType, BuiltinFunctionType, type, ModuleType, MethodType)


def has_a_name(ref: StateRef) -> bool:
    """Whether a place is a global or a variable: all that reads it is in the code."""
    return ref.kind == "cell" or (ref.kind == "item" and "__builtins__" in ref.holder)


def visit_absences(reach: Reach) -> None:
    """Names that code may read, where they are not: an attribute that appears later can be read then."""
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


def visit_function(reach: Reach, path: str, x: FunctionType) -> None:
    """A function: its code, defaults and cells, and what its names mean."""
    root = str(x.__globals__.get("__name__", "")).split(".")[0]
    library = root in LIBRARIES or root in STANDARD
    reach.words |= {x.__name__} if root in LIBRARIES else words(x.__code__)
    if root in STANDARD:  # what it reads of the user's objects
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
    for name, cell in zip(code.co_freevars, x.__closure__ or (), strict=False):
        value = StateRef(cell, "cell_contents", "cell", name).get()
        if id(cell) not in reach.seen:
            reach.seen[id(cell)] = cell
            reach.row("cell", cell, value, name)
            reach.ref(cell, "cell_contents", "cell", name, value)
    if not library:
        reach.functions.append(x)
        named = names_of(code)
        reach.read_names(named.words, named.read)
        reach.call(named.explicit)
        reach.when_read("__annotations__", functools.partial(_annotations, reach, x))
        reach.inspected |= named.inspected
        reach.inspected_locals |= named.locals
        reach.opened |= named.opened
        reach.keys |= named.keys
        reach.whole |= named.whole
        reach.whole_locals |= named.whole_locals
        reach.unreadable += [(f"an object whose {name} {x.__name__} assigns", x) for name in named.replaced]
        _globals(reach, x, named)
        _imports(reach, x, named)


def _annotations(reach: Reach, function: FunctionType) -> None:
    with suppress(Exception):  # of Python 3.14 they are computed when they are read
        value, path = function.__annotations__, f"{function.__name__}.__annotations__"
        reach.row("slots", function, (("__annotations__", value),), function.__name__)
        reach.ref(function, "__annotations__", "slot", path, value)


def _globals(reach: Reach, function: FunctionType, named: Names) -> None:
    scope = function.__globals__
    names = named.scope
    if EVALUATED & named.words:
        names = names | identifiers(named.words) & scope.keys()
    for name in sorted(names):
        if (id(scope), name) in reach.seen:
            continue
        reach.seen[id(scope), name] = scope
        value = scope.get(name, MISSING)
        reach.row("items", scope, {name: value}, name)  # also if it is a builtin's, which a global may come to hide
        reach.ref(scope, name, "item", name, value)
        reach.by_identity |= value is id or value is weakref or (value is MISSING and name == "id")
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
            reach.by_identity |= value.__module__ == "weakref"
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    for first, *attributes in sorted(named.chains):
        cell = cells.get(first)
        module = scope.get(first) if cell is None else StateRef(cell, "cell_contents", "cell", first).get()
        _library_attribute(reach, module, attributes)


def _library_attribute(reach: Reach, module: Any, names: list[str]) -> None:
    """What a name in a library's module means, which somebody may patch."""
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


def _imports(reach: Reach, x: FunctionType, named: Names) -> None:
    """Modules that a function imports when it runs."""
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


def visit_module(reach: Reach, path: str, x: ModuleType) -> None:
    """A module: of the user's what some code names, of the standard library its data."""
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
    else:  # its functions are what they are, and its state is known by name: os.environ, sys.argv
        for name in names:
            if not isinstance(scope[name], CODE) and scope[name] is not sys.modules:
                reach.when_read(name, functools.partial(reach.attribute, scope, name, f"{path}.{name}", x))
        names = []
    if x.__name__ in LOGS:
        for name in LOGGED:
            reach.when_named(name, functools.partial(reach.unreadable.append, (f"{path}.{name}", "a log")))
    for name in names:
        reach.when_named(name, functools.partial(reach.attribute, scope, name, f"{path}.{name}", x))


def visit_class(reach: Reach, path: str, x: type, makes: bool) -> None:
    """A class, whose constructors count only if some code can make an object of it."""
    if makes or reach.makes_all:
        for _, visit in reach.constructors.pop(id(x), ()):
            visit()
        if id(x) in reach.seen and id(x) not in reach.made:
            for base in x.__mro__[1:]:
                visit_class(reach, path, base, makes=True)
        reach.made.add(id(x))
    if id(x) in reach.seen:
        return
    if x is str and makes:  # held as a function that makes texts
        reach.read_names(frozenset({TEXT}))
    reach.seen[id(x)] = x
    reach.is_abstract |= issubclass(type(x), abc.ABCMeta)
    root = package_of(x)
    if root in LIBRARIES:
        if root == "minigrad":  # what its methods call on a user's subclass
            reach.library[x] = None
            reach.read_names(method_names(x))
        return
    if root in STANDARD or not x.__flags__ & HEAP_TYPE:
        reach.read_names(method_names(x))
        return
    _members_of_class(reach, path, x, makes)


def _members_of_class(reach: Reach, path: str, x: type, makes: bool) -> None:
    """Attributes and bases of a user's class."""
    reach.classes.append((path, x))
    reach.row("bases", x, x.__mro__, path)
    is_found = any(map(finds_methods, x.__mro__))
    if issubclass(x, dict) or "__getitem__" in vars(x):
        reach.read_names(OF_MAPPINGS, frozenset())
    for name, value in vars(x).items():
        visit = functools.partial(_class_attribute, reach, x, name, value, f"{path}.{name}")
        if name in TEXTS:
            reach.when_named(TEXT, visit)
        elif name in UNREAD:
            reach.when_read(name, visit)
        elif name in CONSTRUCTORS and not (makes or reach.makes_all or name in reach.called):
            reach.constructors.setdefault(id(x), []).append((name, visit))
        elif is_found and isinstance(value, FunctionType):
            visit()
        else:
            reach.when_named(name, visit)
    for base in x.__mro__[1:]:
        visit_class(reach, path, base, makes)
    if type(x) is not type:
        visit_class(reach, path, type(x), makes)


def _class_attribute(reach: Reach, kind: type, name: str, value: Any, path: str) -> None:
    reach.row("class", kind, {name: value}, path)
    makes = isinstance(value, classmethod) or (issubclass(kind, type) and isinstance(value, FunctionType))
    if makes and not name.startswith("__"):  # it may call the class that it is given
        reach.make_all()
    if name.startswith("__") and not isinstance(value, FunctionType):
        reach.follow(path, value)
    else:
        reach.ref(kind, name, "class", path, value)


def visit_method(reach: Reach, path: str, x: MethodType) -> None:
    """A bound method: its object and its function."""
    _visit_owner(reach, path, x.__self__)
    reach.follow(path, x.__func__)


def visit_builtin(reach: Reach, path: str, x: Any) -> None:
    """A function written in C: the object that it is bound to."""
    owner = x.__self__
    if x.__name__ in COMPUTED | WRITERS:
        reach.everything = True
    if x in (repr, ascii, print):
        reach.read_names(frozenset({TEXT}))
    if x.__name__ in MADE:
        reach.unreadable.append((path, "the classes that were made so far"))
    if isinstance(owner, np.ndarray):  # no tracer can take its place: what it writes and reads would be lost
        reach.unreadable.append((path, f"the method {x.__name__} of an array"))
    elif not isinstance(owner, ModuleType):
        _visit_owner(reach, path, owner)


def _visit_owner(reach: Reach, path: str, owner: Any) -> None:
    """What a method is bound to: no tracer can take the place of a generator there."""
    if isinstance(owner, (np.random.Generator, np.random.RandomState)):
        reach.generators.append(owner)
        reach.sources.setdefault(id(owner), (path, owner))
    else:
        reach.follow(path, owner)
