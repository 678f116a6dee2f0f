"""Contents: what containers and objects hold, whatever their own classes answer."""

from __future__ import annotations

import functools
import gc
import operator
import struct
from collections import OrderedDict, deque
from contextlib import suppress
from types import (
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
)
from typing import Any

POINTER = struct.calcsize("P")


def package_of(x: Any) -> str:
    """The package that a class or function is from: "numpy" for "numpy.linalg"; its __module__ may hold anything."""
    return str(x.__module__).split(".")[0]


def is_of_minigrad(kind: type) -> bool:
    """Whether a class is minigrad's or comes from one."""
    return any(package_of(base) == "minigrad" for base in kind.__mro__)


def own_attributes(x: Any) -> Any:
    """The dictionary of an object's own attributes, None if it has none; a user's __getattribute__ is not asked."""
    kind = type(x)
    get = object.__getattribute__ if isinstance(kind.__getattribute__, FunctionType) else getattr
    try:
        return get(x, "__dict__")
    except AttributeError:
        return None
    except Exception:  # of a property of that name
        return None


@functools.lru_cache(maxsize=4096)
def hides_attributes(kind: type) -> bool:
    """Whether objects of a class of the user's have a `__dict__` of their own making instead of their attributes."""
    places = [vars(base).get("__dict__") for base in kind.__mro__]
    return any(type(place) not in (type(None), GetSetDescriptorType, MemberDescriptorType) for place in places)


def base_of(x: Any) -> Any:
    """The class of containers that x is one of, whose methods do what they say, whatever x's own class does."""
    for kind in (OrderedDict, dict, list, deque, set, frozenset):
        if isinstance(x, kind):
            return kind
    return type(x)


def keys_of(x: Any) -> list[Any]:
    """The keys of a dictionary, whatever its own class does."""
    return list(base_of(x).keys(x))


def values_of(x: Any) -> list[Any]:
    """The values of a dictionary, whatever its own class does."""
    return list(base_of(x).values(x))


def parts_of(own: dict[str, Any], kinds: tuple[type, ...]) -> list[tuple[str, Any]]:
    """The items of a dictionary of attributes whose values are of some classes."""
    return [(name, value) for name, value in own.items() if issubclass(type(value), kinds)]


def elements(x: Any) -> list[Any]:
    """The elements of a list, deque or set, whatever its own class does."""
    return list(base_of(x).__iter__(x))


def attributes_of(x: Any) -> list[tuple[str, str, Any]]:
    """The attributes of an object: how each is held ("item" of its __dict__, or "slot"), its name and value."""
    own = own_attributes(x)
    held = [("item", name, value) for name, value in own.items()] if type(own) is dict else []
    for base in type(x).__mro__:
        for name in slots_of(base):
            with suppress(AttributeError):
                held.append(("slot", name, object.__getattribute__(x, name)))
    return held


class Contents:
    """What a container or an object holds: keys (None if there are none), items and attributes."""

    def __init__(self, x: Any) -> None:
        base = base_of(x)
        self.keys = keys_of(x) if base in (dict, OrderedDict) else None
        self.items = elements(x) if base in (list, deque, set) else values_of(x) if self.keys is not None else []
        self.attributes = attributes_of(x)

    @property
    def values(self) -> list[Any]:
        """All items and the values of all attributes."""
        return self.items + [value for _, _, value in self.attributes]

    def replace(self, values: list[Any]) -> None:
        """Let other things stand in place of all values."""
        self.items = values[: len(self.items)]
        rest = values[len(self.items) :]
        self.attributes = [(how, name, x) for (how, name, _), x in zip(self.attributes, rest, strict=True)]

    @property
    def names(self) -> list[tuple[str, str]]:
        """How the attributes are held, and what they are called."""
        return [(how, name) for how, name, _ in self.attributes]

    def is_same(self, other: Contents) -> bool:
        """Whether the keys are equal, in order, and all else is the same objects."""
        mine, theirs = self.values, other.values
        is_same = len(mine) == len(theirs) and all(a is b for a, b in zip(mine, theirs, strict=True))
        return is_same and self.names == other.names and self.keys == other.keys

    def put(self, x: Any) -> None:
        """Let x hold this, without its own methods."""
        base = base_of(x)
        if base in (dict, OrderedDict):
            base.clear(x)
            for key, value in zip(self.keys or (), self.items, strict=True):
                base.__setitem__(x, key, value)
        elif base in (list, deque, set):
            base.clear(x)
            (base.update if base is set else base.extend)(x, self.items)
        own = own_attributes(x)
        if type(own) is dict:
            own.clear()
        held = {name for _, name, _ in self.attributes}
        for how, name, _ in attributes_of(x):
            if how == "slot" and name not in held:
                object.__delattr__(x, name)
        for how, name, value in self.attributes:
            if how == "item":
                own[name] = value
            else:
                object.__setattr__(x, name, value)


def behind(proxy: Any) -> Any:
    """What a MappingProxyType shows: a dictionary, or an object of a class that answers as it likes."""
    return gc.get_referents(proxy)[0]


def description(described: tuple[tuple[str, ...], list[Any]]) -> list[Any]:
    """What functions and classes say of themselves, as their names and texts: one entry for each object."""
    names, objects = described
    return list(map(operator.attrgetter(*names), objects))


def referent(proxy: Any) -> Any:
    """What a weakref.proxy stands for, None if it is gone."""
    try:
        return proxy.__repr__.__self__
    except ReferenceError:
        return None


class CacheState:
    """What a functools.lru_cache holds: it is told by its keys and results, and not by how many there are.

    Attributes:
        size: how many results there are.
    """

    __slots__ = ("held", "misses", "size")

    def __init__(self, cache: Any) -> None:
        info = cache.cache_info()
        self.misses, self.size = info.misses, info.currsize
        parts = gc.get_referents(cache)  # of an unlimited one the results stand in a dict of its own
        parts += [y for x in parts if type(x) is dict and x is not vars(cache) for y in gc.get_referents(x)]
        self.held = {id(x): x for x in parts}  # which keeps them, so that no other object gets the id

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CacheState):
            return NotImplemented
        return (self.misses, self.size) == (other.misses, other.size) and self.held.keys() == other.held.keys()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{self.size} of {self.misses} computed results"


@functools.lru_cache(maxsize=4096)
def base_in_c(kind: type) -> type | None:
    """The class in C that a class is or comes from, whose objects hold more than attributes and slots; None for object.

    It is told by the size of its objects: a class written in Python adds a pointer for each slot.
    """
    while (base := kind.__base__) is not None:
        own = vars(kind)
        fields = sum(isinstance(x, MemberDescriptorType) for x in own.values()) if "__slots__" in own else 0
        fields += kind.__dictoffset__ > 0 == base.__dictoffset__
        fields += kind.__weakrefoffset__ > 0 == base.__weakrefoffset__
        if kind.__basicsize__ != base.__basicsize__ + fields * POINTER or kind.__itemsize__ != base.__itemsize__:
            return kind
        kind = base
    return None


@functools.lru_cache(maxsize=4096)
def slots_of(kind: type) -> tuple[str, ...]:
    """The slots that a class adds, by the names under which they are found."""
    if package_of(kind) in ("builtins", "numpy"):
        return ()
    given = kind.__dict__.get("__slots__", ())
    names = (given,) if isinstance(given, str) else tuple(given)
    private = f"_{kind.__name__.lstrip('_')}"
    mangled = (private + n if n.startswith("__") and not n.endswith("__") else n for n in names)
    return tuple(n for n in mangled if n not in ("__dict__", "__weakref__"))


@functools.lru_cache(maxsize=1024)
def fields_of(kind: type) -> tuple[str, ...]:
    """The fields of a class of exceptions in C: of `SystemExit` its code, of all of them the cause."""
    bases = [base for base in kind.__mro__ if base.__module__ == "builtins"]
    names = [name for base in bases for name, place in vars(base).items() if type(place) is MemberDescriptorType]
    return ("__cause__", "__context__", *names)
