"""Records: objects among the arguments that are known by what they hold, so that copies of them can be made."""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, ABCMeta
from collections import UserDict, UserList, defaultdict, deque
from types import SimpleNamespace
from typing import Any, Generic, Protocol

from minigrad.reach.leaves import is_users_class

NUMERIC = "biufc"
SIMPLE = frozenset({bool, int, float, complex, str, bytes, type(None)})
PLAIN_BASES = frozenset({object, ABC, Generic, Protocol, UserDict, UserList, dict, list, deque, defaultdict})
PLAIN_MODULES = frozenset({"collections", "collections.abc", "typing"})
ODD = frozenset({
    *("__del__", "__getattribute__", "__array__", "__array_ufunc__", "__array_function__", "__next__"),
    *("__array_interface__", "__get__", "__set__"),
})  # fmt: skip


def is_record(kind: type) -> bool:
    """Whether objects of a class are told apart by what they hold: namespaces, and dataclasses that do nothing odd."""
    return kind is SimpleNamespace or (type(kind) in (type, ABCMeta) and _is_record(kind))


@functools.lru_cache(maxsize=4096)
def _is_record(kind: Any) -> bool:
    if not (dataclasses.is_dataclass(kind) or hasattr(kind, "__attrs_attrs__")) or not is_plain(kind):
        return False
    if any("__call__" in vars(base) for base in kind.__mro__[:-1]):  # a layer rather than data
        return False
    code = getattr(kind.__hash__, "__code__", None)  # a key of a dictionary is known by its hash: not by identity then
    return kind.__hash__ is None or (code is not None and code.co_filename == "<string>")


@functools.lru_cache(maxsize=4096)
def is_plain(kind: Any) -> bool:
    """Whether objects of a class can be copied without anybody noticing: a user's or a container, with nothing odd."""
    if type(kind) not in (type, ABCMeta) or kind is object:
        return False
    bases = [base for base in kind.__mro__ if base not in PLAIN_BASES and base.__module__ not in PLAIN_MODULES]
    if any(not is_users_class(base) or not ODD.isdisjoint(vars(base)) for base in bases):
        return False
    return issubclass(kind, (dict, list, deque)) or can_be_made(kind)


def can_be_made(kind: type) -> bool:
    """Whether an object of a class can be made without calling it: none of its bases is written in C."""
    try:
        object.__new__(kind)
    except TypeError:
        return False
    return True


def constructed_with(x: Any) -> Any:
    """What a defaultdict makes of missing keys, or how many items a deque can hold. None for others."""
    for kind, name in ((defaultdict, "default_factory"), (deque, "maxlen")):
        if isinstance(x, kind):
            return vars(kind)[name].__get__(x)
    return None


def empty_like(kind: Any, given: Any = None) -> Any:
    """An object of a class without items and attributes.

    Args:
        kind: the class.
        given: what such an object was constructed with.
    """
    if kind is SimpleNamespace:
        return SimpleNamespace()
    if issubclass(kind, deque):
        made: Any = deque.__new__(kind)
        deque.__init__(made, (), given)
        return made
    for base in (dict, list):
        if issubclass(kind, base):
            made = base.__new__(kind)
            if issubclass(kind, defaultdict):
                made.default_factory = given
            return made
    return object.__new__(kind)
