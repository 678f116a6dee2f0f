"""Arguments: the structure that the leaves of a call stand in, and the same structure with other leaves.

A step that is recorded gets copies of the containers among its arguments, with tracer arrays in the places of arrays.
Containers are dictionaries, lists and *records*: objects that are known by what they hold, not by which they are.
"""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict, defaultdict, deque
from typing import Any

import numpy as np

from minigrad.compiler.trace.records import NUMERIC, SIMPLE, constructed_with, empty_like, is_record
from minigrad.reach import StateRef, attributes_of, base_of, elements, is_leaf, keys_of, own_attributes, values_of
from minigrad.tensor.tensor import Tensor

MAPPINGS = (OrderedDict, defaultdict)


class Rebuild:
    """Puts others into the places of leaves: calling it with values makes the same structure of them.

    Attributes:
        form: the structure.
        containers: the user's dictionaries, lists and records in it.
        tuples: the tuples in it.
        kinds: the classes of containers other than dict and list.
        options: the dictionary of arguments by name, one of the containers, which is a new one at each call.
    """

    def __init__(self, form: Any, containers: list[Any], tuples: list[Any], kinds: set[type], options: Any) -> None:
        self.form, self.containers, self.tuples, self.kinds = form, containers, tuples, kinds
        self.options = options

    def __call__(self, values: list[Any], pairs: list[tuple[Any, Any]] | None = None) -> Any:
        """The structure with other leaves. Containers and tuples are appended to `pairs`: the old one and the new."""
        builder = _Builder(values)
        result = builder.call(self.form)
        if pairs is not None:
            pairs += zip(self.objects, builder.containers + builder.tuples, strict=True)
        return result

    @property
    def objects(self) -> list[Any]:
        """The containers and the tuples."""
        return self.containers + self.tuples


def flatten(
    args: tuple[Any, ...], options: dict[str, Any], owned: Any = (), whole: Any = (), records: Any = ()
) -> tuple[list[Any], Rebuild, Any]:
    """The leaves of arguments in dicts, lists, tuples and records, the function that puts others in, and the structure.

    Args:
        args: positional arguments.
        options: those by name.
        owned: ids of what belongs to the state: such containers are leaves.
        whole: classes whose objects are leaves too.
        records: classes whose objects are containers, whatever they hold.
    """
    walk = _Walk(owned, whole, records)
    form = "tuple", (walk.form(args), walk.form(options))
    return walk.leaves, Rebuild(form, walk.containers, walk.tuples, walk.kinds, options), form


@functools.lru_cache(maxsize=64)
def flat(count: int) -> Rebuild:
    """What `flatten` returns for positional arguments that are leaves: the function that puts others in."""
    options: dict[str, Any] = {}
    return Rebuild(("tuple", (("tuple", ("*",) * count), ("dict", ()))), [options], [()], set(), options)


class _NotByValue(Exception):
    """A record holds something that is neither an array nor known by value."""


class _Walk:
    """One walk over arguments."""

    def __init__(self, owned: Any, whole: Any, records: Any) -> None:
        self.owned, self.whole, self.records = owned, whole, records
        self.leaves: list[Any] = []
        self.containers: list[Any] = []  # in the order in which they are met
        self.tuples: list[Any] = []
        self.numbers: dict[int, int] = {}  # of containers, by id: what is passed twice is one object in the step too
        self.kinds: set[type] = set()
        self.depth = 0  # of records whose parts must be known by value

    def form(self, tree: Any) -> Any:
        """The structure of a part. Its leaves are appended to those before."""
        kind = type(tree)
        if kind is np.ndarray or kind is Tensor:
            if self.depth and kind is np.ndarray and tree.dtype.kind not in NUMERIC:
                raise _NotByValue
            self.leaves.append(tree)
            return "*"
        if kind not in SIMPLE and kind not in self.whole and (id(tree) not in self.owned or is_leaf(tree)):
            if kind is tuple or (isinstance(tree, tuple) and hasattr(kind, "_fields")):
                return self._tuple(tree, kind)
            if kind is dict or kind is list:
                return self._number(tree) or self._container(tree, kind)
            if kind in MAPPINGS or kind in self.records:
                return self._number(tree) or self._noted(tree, kind)
            if is_record(kind):
                return self._number(tree) or self._by_value(tree, kind)
        if self.depth and not is_leaf(tree):
            raise _NotByValue
        self.leaves.append(tree)
        return "*"

    def _tuple(self, tree: Any, kind: type) -> Any:
        if id(tree) in self.numbers:
            return "tuple again", self.numbers[id(tree)]
        parts = tuple(map(self.form, tree))
        self.numbers[id(tree)] = len(self.tuples)
        self.tuples.append(tree)
        return ("tuple" if kind is tuple else kind), parts

    def _number(self, tree: Any) -> Any:
        """Note a container that is met for the first time. The form of one that was there before."""
        if id(tree) in self.numbers:
            return "again", self.numbers[id(tree)]
        self.numbers[id(tree)] = len(self.containers)
        self.containers.append(tree)
        return None

    def _container(self, tree: Any, kind: type) -> Any:
        """The structure of a dictionary or list."""
        if kind is list:
            return "list", tuple(map(self.form, tree))
        return "dict", tuple((k if type(k) is str else (type(k), k), self.form(part)) for k, part in tree.items())

    def _noted(self, tree: Any, kind: type) -> Any:
        """The structure of any other container: its items if it has some, and its attributes."""
        self.kinds.add(kind)
        base, items = base_of(tree), None
        if base in (dict, OrderedDict):
            items = self._container(dict(zip(keys_of(tree), values_of(tree), strict=True)), dict)[1]
        elif base in (list, deque):
            items = tuple(map(self.form, elements(tree)))
        held = tuple(((how, name), self.form(x)) for how, name, x in attributes_of(tree))
        return "record", kind, constructed_with(tree), items, held

    def _by_value(self, tree: Any, kind: type) -> Any:
        """The structure of a record, or that of a leaf if it holds what is not known by value."""
        before = len(self.leaves), len(self.containers) - 1, len(self.tuples), set(self.kinds)
        self.depth += 1
        try:
            return self._noted(tree, kind)
        except _NotByValue:
            if self.depth > 1:  # nor is what holds it
                raise
            for x in self.containers[before[1] :] + self.tuples[before[2] :]:
                self.numbers.pop(id(x), None)
            del self.leaves[before[0] :], self.containers[before[1] :], self.tuples[before[2] :]
            self.kinds = before[3]
            self.leaves.append(tree)
            return "*"
        finally:
            self.depth -= 1


def rebuilt(form: Any, values: list[Any]) -> Any:
    """Positional arguments and those by name, with these leaves."""
    return _Builder(values).call(form)


class _Builder:
    """Makes a structure with other leaves.

    Attributes:
        containers, tuples: those that were made, in the order in which a walk numbers them.
    """

    def __init__(self, values: list[Any]) -> None:
        self.values = iter(values)
        self.containers: list[Any] = []
        self.tuples: list[Any] = []

    def call(self, form: Any) -> Any:
        """Positional arguments and those by name."""
        _, (args, options) = form
        return self.made(args), self.made(options)

    def made(self, form: Any) -> Any:
        """A part of the structure."""
        if form == "*":
            return next(self.values)
        kind, parts = form[:2]
        if kind == "again":
            return self.containers[parts]
        if kind == "tuple again":
            return self.tuples[parts]
        if kind == "dict":
            new: dict[Any, Any] = {}
            self.containers.append(new)
            self._fill(new, parts)
            return new
        if kind == "list":
            made: list[Any] = []
            self.containers.append(made)
            made += map(self.made, parts)
            return made
        if kind == "record":
            return self._record(*form[1:])
        items = tuple(map(self.made, parts))
        self.tuples.append(items if kind == "tuple" else kind(*items))
        return self.tuples[-1]

    def _record(self, kind: Any, given: Any, items: Any, attributes: Any) -> Any:
        new = empty_like(kind, given)
        self.containers.append(new)
        base = base_of(new)
        if base in (dict, OrderedDict):
            self._fill(new, items)
        elif base in (list, deque):
            base.extend(new, map(self.made, items))
        for (how, name), part in attributes:
            holder = own_attributes(new) if how == "item" else new
            StateRef(holder, name, how, name).set(self.made(part))
        return new

    def _fill(self, new: Any, items: Any) -> None:
        put = base_of(new).__setitem__
        for key, part in items:
            put(new, key if type(key) is str else key[1], self.made(part))


def argument_names(function: Any, leaves: list[Any], rebuild: Any) -> list[str]:
    """What the leaves of the arguments are called: by the parameter, with a number where it has several."""
    args, kwargs = rebuild(list(range(len(leaves))))
    try:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        given = {"argument": (args, kwargs)}
    names = [""] * len(leaves)
    for name, tree in given.items():
        parts, _, _ = flatten((tree,), {}, records=rebuild.kinds)
        for j, k in enumerate(parts):
            names[k] = name if len(parts) == 1 else f"{name}.{j}"
    return names
