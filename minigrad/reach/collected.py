"""What a walk has collected so far: places, rows and names, and attributes that wait until some code names them."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Set
from types import BuiltinFunctionType, FunctionType, MethodWrapperType, ModuleType
from typing import Any

import numpy as np

from minigrad.reach.code_names import COMPARISON, TEXT
from minigrad.reach.contents import MISSING, StateRef
from minigrad.reach.leaves import NUMERIC, SIMPLE
from minigrad.reach.rows import PLACES, Row
from minigrad.tensor.tensor import Tensor

# Names that compute other names: once some code uses one, it may read any attribute.
COMPUTED = frozenset({"vars", "dir", "eval", "exec", "locals", "globals", "getattr", "hasattr", "attrgetter"})
COMPUTED |= {"__dict__", "__getattr__", "__getattribute__", "asdict", "astuple", "deepcopy", "__slots__", "dumps"}
COMPUTED |= {"setattr", "delattr", "methodcaller", "format", "format_map", "vformat", "__format__"}
COMPUTED |= {"__reduce__", "__reduce_ex__", "__getstate__", "__dir__"}
WRITERS = frozenset({"__setattr__", "__delattr__"})  # the same where they are called by name
MAKERS = frozenset({"__class__", "type", "copy", "replace", "_replace"})  # make another object of an object's class
IMPLICIT = frozenset({"forward", "training", "_hooks", "_parameters", "_buffers", "_name", "rule", "_value_"})
TEXTS = frozenset({"__repr__", "__str__", "__format__"})  # methods of a class that are called to make text
LOOSE = frozenset({BuiltinFunctionType, MethodWrapperType, ModuleType})


class Collected:
    """What was found by walking from some objects.

    Attributes:
        refs: places and the objects there, nearer ones first.
        rows: what the objects held, for guards.
        functions: the user's functions on the way.
        generators: random generators that no place holds directly, so that none can be replaced there.
        unreadable: paths and objects whose state cannot be seen, such as a running generator.
        containers: whatever can get more items, and paths.
        arrays: paths and arrays by id, without those inside Tensors.
        tensors, sources: paths and Tensors, and sources of random numbers, by id.
        held: what another object holds, by id: everything but arrays, numbers and the roots themselves.
        seen: everything that was visited, by id. It is kept alive.
        occurrences: how often each object of `held` was met.
        loose: paths, and functions in C and modules held by other things than places: tuples, properties, arguments.
        weak: paths, weak references and their referents.
        classes: paths and the user's classes. `library`: minigrad's classes, whose methods may be patched.
        open_objects: paths and dictionaries of attributes that may get more.
        fixed: containers of minigrad's own that never change after construction.
        everything: whether attributes that no code names count too.
        by_identity: whether the user's code can tell an object from an equal one, by id() or weakref.
        is_abstract: whether there is a class with which others may be registered as subclasses.

    Names in the user's code:
        words: all of them, with those of functions of libraries that are held somewhere.
        names, read: names that code may use, and may read. Attributes are visited once they are among `names`.
        inspected, unindexed, unkeyed, keys: see `code_names.Names`.
        called: constructors that are called by name.
    """

    def __init__(self, roots: list[tuple[str, Any]], everything: bool = False) -> None:
        self.roots, self.everything = roots, everything
        self.refs: list[tuple[StateRef, Any]] = []
        self.rows: list[Row] = []
        self.functions: list[FunctionType] = []
        self.generators: list[Any] = []
        self.unreadable: list[tuple[str, Any]] = []
        self.containers: list[tuple[Any, str]] = []
        self.arrays: dict[int, tuple[str, Any]] = {}
        self.tensors: dict[int, tuple[str, Tensor]] = {}
        self.sources: dict[int, tuple[str, Any]] = {}
        self.held: dict[int, Any] = {}
        self.seen: dict[Any, Any] = {}
        self.occurrences: dict[int, int] = {}
        self.loose: list[tuple[str, Any]] = [(path, x) for path, x in roots if type(x) in LOOSE]
        self.weak: list[tuple[str, Any, Any]] = []
        self.classes: list[tuple[str, type]] = []
        self.library: dict[type, None] = {Tensor: None}
        self.open_objects: list[tuple[str, dict[str, Any]]] = []
        self.fixed: set[int] = set()
        self.by_identity = self.is_abstract = False
        self.words: set[str] = set()
        self.names: set[str] = set(IMPLICIT)
        self.read: set[str] = set(IMPLICIT)
        self.inspected: set[str] = set()
        self.inspected_locals: set[str] = set()
        self.unindexed: set[str] = set()
        self.unindexed_locals: set[str] = set()
        self.unkeyed: set[str] = set()
        self.keys: set[str] = set()
        self.called: set[str] = set()
        # Classes of which code can make objects, by id, and constructors of those of which only objects were met.
        self.instantiated: set[int] = set()
        self.instantiates_any = False
        self.constructors: dict[int, list[tuple[str, Any]]] = {}
        # Visits that wait: for a name, for a name that modules need, for one of several readers of an attribute.
        self.unnamed: dict[str, list[Any]] = {}
        self.unnamed_in_modules: dict[str, list[Any]] = {}
        self.unread: list[tuple[frozenset[str], Any]] = []
        self.visited: set[tuple[int, str]] = set()  # ids of dictionaries, and keys whose items were visited
        self.queue: deque[tuple[str, Any]] = deque(roots)

    # Places and rows

    def ref(self, holder: Any, key: Any, kind: str, path: str, value: Any, owner: Any = None) -> None:
        """Add a place and the object there, which is walked too."""
        self.refs.append((StateRef(holder, key, kind, path, owner), value))
        self._enqueue(path, value)

    def follow(self, path: str, x: Any) -> None:
        """Walk an object that is not in a place of its own: in a tuple, a property, a bound method."""
        if type(x) in LOOSE:
            self.loose.append((path, x))
        self._enqueue(path, x)

    def _enqueue(self, path: str, x: Any) -> None:
        if type(x) is np.ndarray:
            self.arrays.setdefault(id(x), (path, x))
            if x.dtype.kind not in NUMERIC:
                self.queue.append((path, x))
        elif type(x) not in SIMPLE:
            self.held[id(x)] = x
            self.occurrences[id(x)] = self.occurrences.get(id(x), 0) + 1
            self.queue.append((path, x))

    def row(self, kind: str, holder: Any, held: Any, path: str, is_own: bool = False) -> None:
        """Add what an object holds, for guards."""
        if id(holder) not in self.fixed:
            self.rows.append(Row(kind, holder, held, path, is_own))

    def place(self, kind: str, holder: Any, key: str, path: str, owner: Any = None, inner: str = "") -> Any:
        """Add one place, for guards and to be walked. Returns the object there."""
        value = StateRef(holder, key, PLACES[kind], path).get()
        self.row(kind, holder, {key: value}, path)
        self.ref(holder, key, PLACES[kind], inner or path, value, owner)
        return value

    def attribute(self, scope: dict[str, Any], name: str, path: str, owner: Any) -> None:
        """Add one attribute of an object whose other attributes may not be read."""
        if (id(scope), name) in self.visited:
            return
        self.visited.add((id(scope), name))
        value = scope.get(name, MISSING)
        self.row("items", scope, {name: value}, path)
        if value is not MISSING:
            self.ref(scope, name, "item", path, value, owner)

    def named_attributes(self, own: dict[str, Any], path: str, x: Any) -> None:
        """Add those attributes of a user's object that some code names."""
        self.containers.append((own, path))
        self.open_objects.append((path, own))
        before = f"{path}." if path else ""
        for name in own:
            if isinstance(name, str):
                self.when_named(name, functools.partial(self.attribute, own, name, f"{before}{name}", x))

    # Names

    def when_named(self, name: str, visit: Any) -> None:
        """Call visit() once some code names an attribute. Python itself reads special attributes: these at once."""
        if name.startswith("__"):
            visit()
        else:
            self.only_when_named(name, visit)

    def only_when_named(self, name: str, visit: Any) -> None:
        """Call visit() once some code names an attribute."""
        if self.everything or name in self.names:
            visit()
        else:
            self.unnamed.setdefault(name, []).append(visit)

    def when_read(self, name: str, visit: Any) -> None:
        """Call visit() once some code names an attribute. Code that computes names does not count."""
        if name in self.names:
            visit()
        else:
            self.unnamed_in_modules.setdefault(name, []).append(visit)

    def read_names(self, names: Set[str], read: Set[str] | None = None) -> None:
        """Add names that some code uses, and visit what waits for them."""
        if COMPUTED & names:
            self.everything = True
        if TEXTS & names:  # object.__repr__(x)
            names = names | {TEXT}
        self.read |= names if read is None else read
        if MAKERS & names:
            self.instantiate_any()
        if "getenv" in names:
            self.follow("os.environ", os.environ)
        for name in names - self.names:
            self.names.add(name)
            for visit in (*self.unnamed.pop(name, ()), *self.unnamed_in_modules.pop(name, ())):
                visit()

    def read_library(self) -> None:
        """Visit attributes that only methods of libraries read, where the user's code may call such a method."""
        marks = {TEXT, COMPARISON} & self.names
        waiting, self.unread[:] = self.unread[:], []
        for readers, visit in waiting:
            if self.everything or readers & (self.words | marks):
                visit()
            else:
                self.unread.append((readers, visit))

    def instantiate_any(self) -> None:
        """Code may make objects of the class of any object: visit all constructors."""
        self.instantiates_any = True
        waiting, self.constructors = self.constructors, {}
        for _, visit in [pair for pairs in waiting.values() for pair in pairs]:
            visit()

    def call(self, special: Set[str]) -> None:
        """Add special methods that some code calls by name."""
        self.everything |= not WRITERS.isdisjoint(special)
        self.called |= special
        for key, pairs in list(self.constructors.items()):
            self.constructors[key] = [(name, visit) for name, visit in pairs if name not in special]
            for name, visit in pairs:
                if name in special:
                    visit()
