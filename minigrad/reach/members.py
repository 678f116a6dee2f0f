"""Visits to the members of objects and classes: all of them, or those that some code names."""

from __future__ import annotations

import abc
import functools
from types import FunctionType
from typing import Any

from minigrad.reach.code_names import COMPARISON, TEXT
from minigrad.reach.collected import COMPUTED, MAKERS, TEXTS, Collected
from minigrad.reach.contents import (
    HEAP_TYPE,
    LIBRARIES,
    STANDARD,
    StateRef,
    hides_attributes,
    keys_of,
    own_attributes,
    package_of,
    parts_of,
    slots_of,
    values_of,
)
from minigrad.reach.rows import UNREAD

BY_NAME = frozenset({"types", "functools", "dataclasses"})  # only named attributes of objects of these are read
PLAIN = frozenset({"abc", "typing", "enum"})  # whose classes have no methods that read all attributes
WHOLE = frozenset({TEXT, COMPARISON})
OF_MAPPINGS = frozenset({"keys", "items", "values", "get"})  # what C code calls on a mapping: {**x}, dict(x), match
CONSTRUCTORS = frozenset({"__init__", "__new__", "__post_init__", "__init_subclass__", "__set_name__", "__del__"})
CONSTRUCTORS |= {"__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__sizeof__"}


def visit_members(reach: Collected, path: str, x: Any) -> None:
    """Attributes and slots of an object, and its class."""
    kind: type = type(x)
    if hides_attributes(kind):
        reach.unreadable.append((path, f"a {kind.__name__}, whose __dict__ is not its attributes"))
        return
    own = own_attributes(x)
    before = f"{path}." if path else ""
    if type(own) is dict and id(own) not in reach.seen:
        reach.seen[id(own)] = own
        root = package_of(kind)
        if not reach.everything and root == "minigrad" and getattr(kind, "sliced", False):
            reach.containers.append((own, path))
            for name in own:
                visit = functools.partial(reach.attribute, own, name, f"{before}{name}", x)
                reach.unread.append((readers_of(kind, name), visit))
        elif reach.everything or root in (STANDARD | LIBRARIES) - BY_NAME:
            reach.containers.append((own, path))
            reach.row("dict", own, (list(own), list(own.values())), path, is_own=True)
            reach.fixed |= {id(own[name]) for name in getattr(kind, "fixed", ()) if name in own}
            for name, value in list(own.items()):
                reach.ref(own, name, "item", f"{before}{name}", value, x)
        else:
            reach.named_attributes(own, path, x)
            _wait_for_traversals(reach, path, x, own)
    for base in kind.__mro__:
        names = slots_of(base)
        if not names:
            continue
        held = {name: StateRef(x, name, "slot", "").get() for name in names}
        reach.row("slots", x, held, path)
        for name, value in held.items():
            reach.ref(x, name, "slot", f"{before}{name}", value, x)
    if kind.__module__ != "builtins":
        visit_class(reach, kind.__name__, kind, makes=False)
        if kind.__flags__ & HEAP_TYPE and package_of(kind) not in STANDARD | LIBRARIES:
            reach.row("type", x, kind, path)


def visit_field(reach: Collected, path: str, x: Any, name: str) -> None:
    """A field of an object in C that can be set: `SystemExit.code`, `property.__doc__`."""
    reach.place("slots", x, name, path, x, f"{path}.{name}" if path else name)


def _wait_for_traversals(reach: Collected, path: str, x: Any, own: dict[str, Any]) -> None:
    """Inherited methods of minigrad's and the standard library's may read attributes of x without naming them."""
    kind: type = type(x)
    for base in kind.__mro__[:-1]:
        root = package_of(base)
        if root == "minigrad":
            kinds = getattr(base, "traversed", None)
            if kinds is None:
                _visit_all(reach, path, x, own)
            else:
                visit = functools.partial(_visit_parts, reach, path, x, own, (base, *kinds))
                reach.unread.append((traversals_of(kind), visit))
            return
        if root in STANDARD - PLAIN:
            reach.unread.append((WHOLE, functools.partial(_visit_all, reach, path, x, own)))
            return


def _visit_parts(reach: Collected, path: str, x: Any, own: dict[str, Any], kinds: tuple[type, ...]) -> None:
    """The attributes that are instances of some classes, such as the parameters and layers of a module."""
    parts = parts_of(own, kinds)
    reach.row("parts", own, (kinds, parts, frozenset()), path)
    for name, _ in parts:
        reach.attribute(own, name, f"{path}.{name}" if path else name, x)


def _visit_all(reach: Collected, path: str, x: Any, own: dict[str, Any]) -> None:
    reach.row("dict", own, (keys_of(own), values_of(own)), path)
    for names in (reach.read, reach.inspected, reach.unindexed, reach.unkeyed, reach.keys):
        names.update(own)
    for name in own:
        reach.attribute(own, name, f"{path}.{name}" if path else name, x)


def visit_class(reach: Collected, path: str, x: type, makes: bool) -> None:
    """A class. Its constructors count only if some code can make an object of it."""
    if makes or reach.instantiates_any:
        for _, visit in reach.constructors.pop(id(x), ()):
            visit()
        if id(x) in reach.seen and id(x) not in reach.instantiated:
            for base in x.__mro__[1:]:
                visit_class(reach, path, base, makes=True)
        reach.instantiated.add(id(x))
    if id(x) in reach.seen:
        return
    if x is str and makes:  # used as a function that makes text
        reach.read_names(frozenset({TEXT}))
    reach.seen[id(x)] = x
    reach.is_abstract |= issubclass(type(x), abc.ABCMeta)
    root = package_of(x)
    if root in LIBRARIES:
        if root == "minigrad":  # its methods call those of a user's subclass
            reach.library[x] = None
            reach.read_names(method_names(x))
        return
    if root in STANDARD or not x.__flags__ & HEAP_TYPE:
        reach.read_names(method_names(x))
        return
    _members_of_class(reach, path, x, makes)


def _members_of_class(reach: Collected, path: str, x: type, makes: bool) -> None:
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
        elif name in CONSTRUCTORS and not (makes or reach.instantiates_any or name in reach.called):
            reach.constructors.setdefault(id(x), []).append((name, visit))
        elif is_found and isinstance(value, FunctionType):
            visit()
        else:
            reach.when_named(name, visit)
    for base in x.__mro__[1:]:
        visit_class(reach, path, base, makes)
    if type(x) is not type:
        visit_class(reach, path, type(x), makes)


def _class_attribute(reach: Collected, kind: type, name: str, value: Any, path: str) -> None:
    reach.row("class", kind, {name: value}, path)
    makes = isinstance(value, classmethod) or (issubclass(kind, type) and isinstance(value, FunctionType))
    if makes and not name.startswith("__"):  # it may call the class that it gets
        reach.instantiate_any()
    if name.startswith("__") and not isinstance(value, FunctionType):
        reach.follow(path, value)
    else:
        reach.ref(kind, name, "class", path, value)


@functools.lru_cache(maxsize=1024)
def method_names(kind: type) -> frozenset[str]:
    """The names in the methods of a library's class, which make no objects of the user's classes."""
    names: frozenset[str] = frozenset()
    for value in vars(kind).values():
        if isinstance(value, FunctionType):
            names |= frozenset(value.__code__.co_names)
    return names - COMPUTED - MAKERS


@functools.lru_cache(maxsize=1024)
def finds_methods(kind: type) -> bool:
    """Whether a class of the standard library calls methods of its subclasses by computed names."""
    return package_of(kind) in STANDARD and any(
        isinstance(f, FunctionType) and not name.startswith("__") and "getattr" in f.__code__.co_names
        for name, f in vars(kind).items()
    )


@functools.lru_cache(maxsize=1024)
def readers_of(kind: type, attribute: str) -> frozenset[str]:
    """The names by which a user's code may read an attribute: its own, and those of methods that read it."""
    methods = {
        n: f.__code__ for base in kind.__mro__[::-1] for n, f in vars(base).items() if isinstance(f, FunctionType)
    }
    readers = {attribute}
    while True:
        more = {name for name, code in methods.items() if readers & set(code.co_names)} - readers
        if not more:
            return frozenset(readers)
        readers |= more


@functools.lru_cache(maxsize=1024)
def traversals_of(kind: type) -> frozenset[str]:
    """The names of minigrad's methods that go through all attributes of an object."""
    readers = readers_of(kind, "vars") - {"vars"}
    return readers | {TEXT} if "__repr__" in readers else readers
