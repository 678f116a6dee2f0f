"""Contents: what containers and objects hold, whatever their own classes answer."""

from __future__ import annotations

import functools
from collections import OrderedDict, deque
from types import (
    FunctionType,
)
from typing import Any


def own_attributes(x: Any) -> Any:
    """The dictionary of an object's own attributes, None if it has none; a user's __getattribute__ is not asked."""
    kind = type(x)
    get = object.__getattribute__ if isinstance(kind.__getattribute__, FunctionType) else getattr
    try:
        return get(x, "__dict__")
    except AttributeError:
        return None


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


def elements(x: Any) -> list[Any]:
    """The elements of a list, deque or set, whatever its own class does."""
    return list(base_of(x).__iter__(x))


def referent(proxy: Any) -> Any:
    """What a weakref.proxy stands for, None if it is gone."""
    try:
        return proxy.__repr__.__self__
    except ReferenceError:
        return None


def cache_state(x: Any) -> tuple[int, int]:
    """What tells that a functools.lru_cache has computed something, or was cleared."""
    info = x.cache_info()
    return info.misses, info.currsize


@functools.lru_cache(maxsize=4096)
def slots_of(kind: type) -> tuple[str, ...]:
    """The slots that a class adds, by the names under which they are found."""
    if kind.__module__ == "builtins" or kind.__module__.startswith("numpy"):
        return ()
    given = kind.__dict__.get("__slots__", ())
    names = (given,) if isinstance(given, str) else tuple(given)
    private = f"_{kind.__name__.lstrip('_')}"
    mangled = (private + n if n.startswith("__") and not n.endswith("__") else n for n in names)
    return tuple(n for n in mangled if n not in ("__dict__", "__weakref__"))
