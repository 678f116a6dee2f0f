"""Arguments: the structure in which the leaves of a call are, and the same structure with other leaves.

A step that is recorded gets copies of the containers among its arguments, with tracer arrays instead of arrays.
Containers are dictionaries, lists and *records*: objects that are identified by their contents.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from abc import ABC, ABCMeta
from collections import OrderedDict, UserDict, UserList, defaultdict, deque
from types import SimpleNamespace
from typing import Any, Generic, Protocol

import numpy as np

from minigrad.reach import (
    NUMERIC,
    StateRef,
    attributes_of,
    base_of,
    elements,
    is_leaf,
    keys_of,
    own_attributes,
    values_of,
)
from minigrad.reach.leaves import is_users_class
from minigrad.tensor.tensor import Tensor

MAPPINGS = (OrderedDict, defaultdict)
SIMPLE = frozenset({bool, int, float, complex, str, bytes, type(None)})
PLAIN_BASES = frozenset({object, ABC, Generic, Protocol, UserDict, UserList, dict, list, deque, defaultdict})
PLAIN_MODULES = frozenset({"collections", "collections.abc", "typing"})
ODD = frozenset({
    *("__del__", "__getattribute__", "__array__", "__array_ufunc__", "__array_function__", "__next__"),
    *("__array_interface__", "__get__", "__set__"),
})  # fmt: skip

# Records


def is_record(kind: type) -> bool:
    """Whether objects of a class are identified by their contents: namespaces, and plain dataclasses."""
    return kind is SimpleNamespace or (type(kind) in (type, ABCMeta) and _is_record(kind))


@functools.lru_cache(maxsize=4096)
def _is_record(kind: Any) -> bool:
    if not (dataclasses.is_dataclass(kind) or hasattr(kind, "__attrs_attrs__")) or not is_plain(kind):
        return False
    if any("__call__" in vars(base) for base in kind.__mro__[:-1]):  # a layer, not data
        return False
    code = getattr(kind.__hash__, "__code__", None)  # identified by a generated hash, or by none
    return kind.__hash__ is None or (code is not None and code.co_filename == "<string>")


@functools.lru_cache(maxsize=4096)
def is_plain(kind: Any) -> bool:
    """Whether objects of a class can be replaced by copies unnoticed: no method is in ODD, no base in C."""
    if type(kind) not in (type, ABCMeta) or kind is object:
        return False
    bases = [base for base in kind.__mro__ if base not in PLAIN_BASES and base.__module__ not in PLAIN_MODULES]
    if any(not is_users_class(base) or not ODD.isdisjoint(vars(base)) for base in bases):
        return False
    return issubclass(kind, (dict, list, deque)) or can_be_made(kind)


def can_be_made(kind: type) -> bool:
    """Whether an object of a class can be made without calling the class: none of its bases is written in C."""
    try:
        object.__new__(kind)
    except TypeError:
        return False
    return True


def constructed_with(x: Any) -> Any:
    """The default_factory of a defaultdict, or the maxlen of a deque. None for others."""
    for kind, name in ((defaultdict, "default_factory"), (deque, "maxlen")):
        if isinstance(x, kind):
            return vars(kind)[name].__get__(x)
    return None


def empty_like(kind: Any, option: Any = None) -> Any:
    """An object of a class without items and attributes.

    Args:
        kind: the class.
        option: its default_factory or maxlen.
    """
    if kind is SimpleNamespace:
        return SimpleNamespace()
    if issubclass(kind, deque):
        empty: Any = deque.__new__(kind)
        deque.__init__(empty, (), option)
        return empty
    for base in (dict, list):
        if issubclass(kind, base):
            empty = base.__new__(kind)
            if issubclass(kind, defaultdict):
                empty.default_factory = option
            return empty
    return object.__new__(kind)


def remade(x: Any, parts: list[Any]) -> Any:
    """A tuple or frozenset like x with other elements."""
    kind = type(x)
    new = kind(*parts) if hasattr(kind, "_fields") else kind(parts)
    if own := own_attributes(x):
        vars(new).update(own)
    return new


# Structures


class Rebuild:
    """Rebuilds the structure of arguments: calling it with other leaves returns the same structure of these.

    Attributes:
        form: the structure.
        objects: the user's dictionaries, lists, records and tuples in it, in the order in which copies are made.
        kinds: the classes of containers other than dict and list.
        options: the dictionary of arguments by name, one of the objects, which is new in each call.
    """

    def __init__(self, form: Any, objects: list[Any], kinds: set[type], options: Any) -> None:
        self.form, self.objects, self.kinds, self.options = form, objects, kinds, options

    def __call__(self, values: list[Any], pairs: list[tuple[Any, Any]] | None = None) -> Any:
        """The structure with other leaves. Pairs of old and new objects are appended to `pairs`."""
        builder = _Builder(values)
        result = builder.call(self.form)
        if pairs is not None:
            pairs += zip(self.objects, builder.objects, strict=True)
        return result

    @property
    def containers(self) -> list[Any]:
        """The objects without tuples: those that can change."""
        return [x for x in self.objects if not isinstance(x, tuple)]


def flatten(
    args: tuple[Any, ...], options: dict[str, Any], owned: Any = (), leaf_classes: Any = (), records: Any = ()
) -> tuple[list[Any], Rebuild, Any]:
    """The leaves of arguments in dicts, lists, tuples and records, a function that rebuilds it, and the structure.

    Args:
        args: positional arguments.
        options: those by name.
        owned: ids of objects of the state: such containers are leaves.
        leaf_classes: classes whose objects are leaves too.
        records: classes whose objects are containers, whatever they hold.
    """
    walk = _Walk(owned, leaf_classes, records)
    form = "tuple", (walk.form(args), walk.form(options))
    return walk.leaves, Rebuild(form, walk.objects, walk.kinds, options), form


@functools.lru_cache(maxsize=64)
def flat(count: int) -> Rebuild:
    """The function that rebuilds a number of positional arguments that are leaves."""
    options: dict[str, Any] = {}
    return Rebuild(("tuple", (("tuple", ("*",) * count), ("dict", ()))), [(), options], set(), options)


class _NotByValue(Exception):
    """A record holds an object that is neither an array nor identified by value."""


class _Walk:
    """One walk over arguments."""

    def __init__(self, owned: Any, leaf_classes: Any, records: Any) -> None:
        self.owned, self.leaf_classes, self.records = owned, leaf_classes, records
        self.leaves: list[Any] = []
        self.objects: list[Any] = []  # containers in the order in which they are met, tuples after their parts
        self.numbers: dict[int, int] = {}  # of objects, by id: one that is passed twice is one in the step
        self.kinds: set[type] = set()
        self.depth = 0  # of records whose parts must be identified by value

    def form(self, tree: Any) -> Any:
        """The structure of a part, whose leaves are appended."""
        kind = type(tree)
        if kind is np.ndarray or kind is Tensor:
            if self.depth and kind is np.ndarray and tree.dtype.kind not in NUMERIC:
                raise _NotByValue
            self.leaves.append(tree)
            return "*"
        if kind not in SIMPLE and kind not in self.leaf_classes and (id(tree) not in self.owned or is_leaf(tree)):
            if id(tree) in self.numbers:
                return "again", self.numbers[id(tree)]
            if kind is tuple or (isinstance(tree, tuple) and hasattr(kind, "_fields")):
                parts = tuple(map(self.form, tree))
                self._number(tree)
                return ("tuple" if kind is tuple else kind), parts
            structure = (
                self._container if kind is dict or kind is list
                else self._noted if kind in MAPPINGS or kind in self.records
                else self._by_value if is_record(kind)
                else None
            )  # fmt: skip
            if structure is not None:
                self._number(tree)
                return structure(tree, kind)
        if self.depth and not is_leaf(tree):
            raise _NotByValue
        self.leaves.append(tree)
        return "*"

    def _number(self, tree: Any) -> None:
        self.numbers[id(tree)] = len(self.objects)
        self.objects.append(tree)

    def _container(self, tree: Any, kind: type) -> Any:
        """The structure of a dictionary or list."""
        if kind is list:
            return "list", tuple(map(self.form, tree))
        return "dict", tuple((k if type(k) is str else (type(k), k), self.form(part)) for k, part in tree.items())

    def _noted(self, tree: Any, kind: type) -> Any:
        """The structure of any other container: its items, and its attributes."""
        self.kinds.add(kind)
        base, items = base_of(tree), None
        if base in (dict, OrderedDict):
            items = self._container(dict(zip(keys_of(tree), values_of(tree), strict=True)), dict)[1]
        elif base in (list, deque):
            items = tuple(map(self.form, elements(tree)))
        held = tuple(((how, name), self.form(x)) for how, name, x in attributes_of(tree))
        return "record", kind, constructed_with(tree), items, held

    def _by_value(self, tree: Any, kind: type) -> Any:
        """The structure of a record, or that of a leaf if it holds an object that is not identified by value."""
        leaves, objects, kinds = len(self.leaves), len(self.objects) - 1, set(self.kinds)
        self.depth += 1
        try:
            return self._noted(tree, kind)
        except _NotByValue:
            if self.depth > 1:  # then the outer record is a leaf
                raise
            for x in self.objects[objects:]:
                self.numbers.pop(id(x), None)
            del self.leaves[leaves:], self.objects[objects:]
            self.kinds = kinds
            self.leaves.append(tree)
            return "*"
        finally:
            self.depth -= 1


def rebuilt(form: Any, values: list[Any]) -> Any:
    """Positional arguments and those by name, with these leaves."""
    return _Builder(values).call(form)


class _Builder:
    """Makes a structure with other leaves. Its objects are in the order in which a walk numbers them."""

    def __init__(self, values: list[Any]) -> None:
        self.values = iter(values)
        self.objects: list[Any] = []

    def call(self, form: Any) -> Any:
        """Positional arguments and those by name."""
        _, (args, options) = form
        return self.make(args), self.make(options)

    def make(self, form: Any) -> Any:
        """A part of the structure."""
        if form == "*":
            return next(self.values)
        kind, parts = form[:2]
        if kind == "again":
            return self.objects[parts]
        if kind == "record":
            return self._record(*form[1:])
        if kind in ("dict", "list"):
            return self._record(dict if kind == "dict" else list, None, parts, ())
        items = tuple(map(self.make, parts))
        self.objects.append(items if kind == "tuple" else kind(*items))
        return self.objects[-1]

    def _record(self, kind: Any, option: Any, items: Any, attributes: Any) -> Any:
        new = empty_like(kind, option)
        self.objects.append(new)
        base = base_of(new)
        if base in (dict, OrderedDict):
            for key, part in items:
                base.__setitem__(new, key if type(key) is str else key[1], self.make(part))
        elif base in (list, deque):
            base.extend(new, map(self.make, items))
        for (how, name), part in attributes:
            holder = own_attributes(new) if how == "item" else new
            StateRef(holder, name, how, name).set(self.make(part))
        return new


def argument_names(function: Any, leaves: list[Any], rebuild: Any) -> list[str]:
    """Names of the leaves of arguments: of the parameter, with a number where it has several leaves."""
    args, kwargs = rebuild(list(range(len(leaves))))
    try:
        bound = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        bound = {"argument": (args, kwargs)}
    names = [""] * len(leaves)
    for name, tree in bound.items():
        parts, _, _ = flatten((tree,), {}, records=rebuild.kinds)
        for j, k in enumerate(parts):
            names[k] = name if len(parts) == 1 else f"{name}.{j}"
    return names
