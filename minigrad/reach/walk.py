"""The walk itself: a queue of objects, and attributes that wait until some code names them."""

from __future__ import annotations

import functools
import os
from collections import OrderedDict, defaultdict, deque
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

import numpy as np

from minigrad.engine.node import Node
from minigrad.reach import code, objects
from minigrad.reach.contents import is_of_minigrad, own_attributes, package_of
from minigrad.reach.leaves import MISSING, SIMPLE, is_inert
from minigrad.reach.names import COMPUTED, IMPLICIT, LIBRARIES, MAKERS, TEXTS, WRITERS
from minigrad.reach.objects import SOURCES, VISITORS
from minigrad.reach.places import Row, StateRef
from minigrad.tensor.tensor import Tensor
from minigrad.util.bytecode import COMPARISON, TEXT
from minigrad.util.text import short

# Known by their identity; what they hold is looked at by other means, or cannot change.
IDENTITIES = (
    *(np.ndarray, np.random.Generator, np.random.BitGenerator, np.random.RandomState, Node),
    *(WrapperDescriptorType, GetSetDescriptorType, MemberDescriptorType, type(str.join)),
    ClassMethodDescriptorType,
)

LOOSE = frozenset({BuiltinFunctionType, MethodWrapperType, ModuleType})
PLAIN = (list, deque, dict, OrderedDict, defaultdict)  # containers with no methods of a user's
MANY = 200_000  # objects; a step that reaches more is not guarded in a reasonable time


class Reach:
    """What some objects reach.

    Args:
        roots: pairs of a path (what a user calls it) and an object.
        everything: whether attributes that no code names count too.

    Attributes:
        refs: places and what stands there, nearer ones first.
        rows: what the objects held, for guards.
        functions: the user's functions on the way.
        generators: random generators that no place holds directly, so that none can be put there instead.
        unreadable: pairs of a path and an object whose state cannot be seen, such as a running generator.
        arrays: paths and arrays, by id; those inside of Tensors are not among them.
        tensors: paths and Tensors, by id.
        held: what something else holds, by id: everything but arrays, numbers and the roots themselves.
        loose: paths, and functions in C and modules that other objects hold than places: tuples, properties, arguments.
        sources: paths and all sources of random numbers, by id.
    """

    def __init__(self, roots: list[tuple[str, Any]], everything: bool = False) -> None:
        self.refs: list[tuple[StateRef, Any]] = []
        self.rows: list[Row] = []
        self.functions: list[FunctionType] = []
        self.generators: list[Any] = []
        self.held: dict[int, Any] = {}
        self.unreadable: list[tuple[str, Any]] = []
        self.containers: list[tuple[Any, str]] = []  # whatever can get more items
        self.arrays: dict[int, tuple[str, Any]] = {}
        self.tensors: dict[int, tuple[str, Tensor]] = {}
        self.sources: dict[int, tuple[str, Any]] = {}
        self.seen: dict[Any, Any] = {}  # keeps alive what has an id here
        self.names: set[str] = set(IMPLICIT)
        self.words: set[str] = set()  # names in the user's code, and of the library's functions that are held somewhere
        self.by_identity = False  # whether the user's code can tell an object from an equal one by id() or weakref
        self.inspected: set[str] = set()  # names of what is used otherwise than by appending to it
        self.opened: set[str] = set()  # names whose values are used otherwise than by items of known names
        self.keys: set[str] = set()  # texts that may be keys of items that are read
        self.times: dict[int, int] = {}  # how often dictionaries were met, by id
        self.inspected_locals: set[str] = set()  # the same of local variables and parameters
        self.whole: set[str] = set()  # names of what is used otherwise than by its items
        self.whole_locals: set[str] = set()
        self.weak: list[tuple[str, Any, Any]] = []  # weak references, and what they refer to
        self.roots = roots
        self.loose: list[tuple[str, Any]] = [(path, x) for path, x in roots if type(x) in LOOSE]
        self.everything = everything
        self.fixed: set[int] = set()  # containers of minigrad's own that nobody changes once they are made
        self.constructors: dict[int, list[tuple[str, Any]]] = {}  # of classes of which only objects were met, by id
        self.called: set[str] = set()  # constructors that some code calls by name
        self.is_abstract = False  # whether there is a class of which others may be registered as subclasses
        self.made: set[int] = set()  # classes of which some code can make objects
        self.makes_all = False
        self.read: set[str] = set(IMPLICIT)  # names that may be read, where `names` may be written only
        self.unread: dict[str, list[Any]] = {}  # attributes that nothing has named yet
        self.unnamed: dict[str, list[Any]] = {}  # the same of modules, of which nothing is read without a name
        self.open_objects: list[tuple[str, dict[str, Any]]] = []  # objects that may get attributes
        self.classes: list[tuple[str, type]] = []  # and classes
        self.library: dict[type, None] = {Tensor: None}  # classes of minigrad's, whose methods may be patched
        self.sliced: list[tuple[frozenset[str], Any]] = []  # the same for objects of the library, with readers
        self.traversed: list[tuple[frozenset[str], Any]] = []  # objects that are gone through as wholes, and by whom
        self.visited: set[tuple[int, str]] = set()  # ids of dictionaries, with keys whose items were visited
        self._todo: deque[tuple[str, Any]] = deque(roots)
        self._walk()

    def _walk(self) -> None:
        while True:
            while self._todo:
                path, x = self._todo.popleft()
                try:
                    self._visit(path, x)
                except Exception as error:  # of a metaclass of the user's, or of a structure that is nested too deeply
                    self.unreadable.append(
                        (path, f"something that cannot be looked at ({type(error).__name__}: {short(str(error))})")
                    )
            self._read_library()
            if self.everything:
                for later in [f for waiting in self.unread.values() for f in waiting]:
                    later()
                self.unread.clear()
            if not self._todo:
                break
        code.visit_absences(self)
        self._look_at_weak()
        for waiting in (self.unread, self.unnamed, self.constructors, self.sliced, self.traversed):
            waiting.clear()  # visits hold the walk, which would live on until the garbage is collected
        if len(self.seen) > MANY:
            self.unreadable.append(("the step", f"more than {MANY} objects"))

    def _look_at_weak(self) -> None:
        """What a weak reference refers to may be gone before the next call, where a program keeps it alive.

        It cannot if the reference is reached through it alone, as that of a layer to its model, or is minigrad's.
        Classes are in the caches of functools.singledispatch, and hardly ever go.
        """
        for path, ref, x in self.weak:
            if x is None or isinstance(x, type) or (id(x) in self.held and self._leads_to(x, path)):
                continue
            owners = (place.owner for place, value in self.refs if value is ref)
            if not any(package_of(type(owner)) == "minigrad" for owner in owners):
                self.unreadable.append((path, "a weak reference"))

    def _leads_to(self, x: Any, path: str) -> bool:
        """Whether what is found at a path is a part of x."""
        if any(root is x or (type(root) is MethodType and root.__self__ is x) for _, root in self.roots):
            return True
        return any(path.startswith(f"{place.path}.") for place, value in self.refs if value is x)

    def only_grows(self, container: Any) -> bool:
        """Whether no code that was reached does anything with a list or deque but append to it.

        Nor with the containers that hold it, but to take items of them: `d == e` would look at all they hold.
        """
        return self._is_used(container, self.inspected, self.inspected_locals)

    def _is_used(self, x: Any, names: set[str], local: set[str], depth: int = 0) -> bool:
        """Whether a container is found only under names other than these, and in containers that are used by items."""
        places = [ref for ref, value in self.refs if value is x]
        if self.everything or type(x) not in PLAIN or self.times.get(id(x), 0) != len(places):
            return False  # read by a computed name, by methods of its own, or held by a tuple and the like
        parameters = [path for path, root in self.roots if root is x]
        called = [ref.path if ref.kind == "cell" else ref.key for ref in places if not (depth and ref.kind == "index")]
        if not (places or parameters) or depth > len(self.containers):
            return False
        if not all(isinstance(name, str) and name not in names for name in called) or not local.isdisjoint(parameters):
            return False
        plain = {id(holder) for holder, _ in self.containers}
        holders = [ref.holder for ref in places if ref.owner is None and id(ref.holder) in plain]
        return all(self._is_used(holder, self.whole, self.whole_locals, depth + 1) for holder in holders)

    def is_never_read(self, ref: StateRef) -> bool:
        """Whether no code that was reached can read a place: an attribute or an item that it only assigns."""
        if self.everything or ref.kind != "item" or not isinstance(ref.key, str):
            return False
        owner = ref.owner
        if owner is not None and own_attributes(owner) is ref.holder:
            root = package_of(type(owner))
            is_plain = not is_of_minigrad(type(owner))
            return is_plain and (root == "types" or root not in LIBRARIES) and ref.key not in self.read
        if type(ref.holder) is not dict or ref.key in self.keys or any(x is ref.holder for _, x in self.roots):
            return False
        places = [other for other, value in self.refs if value is ref.holder]
        names = [other.path if other.kind == "cell" else other.key for other in places]
        is_known = self.times.get(id(ref.holder), 0) == len(places)  # no tuple holds it, and the like
        is_known &= all(other.owner is not None or code.has_a_name(other) for other in places)
        return bool(names) and is_known and all(isinstance(name, str) and name not in self.opened for name in names)

    # Places and rows

    def ref(self, holder: Any, key: Any, kind: str, path: str, value: Any, owner: Any = None) -> None:
        """A place and what stands there, which is walked too."""
        self.refs.append((StateRef(holder, key, kind, path, owner), value))
        self._later(path, value)

    def follow(self, path: str, x: Any) -> None:
        """Walk an object later that stands in no place of its own: in a tuple, a property, a bound method."""
        if type(x) in LOOSE:
            self.loose.append((path, x))
        self._later(path, x)

    def _later(self, path: str, x: Any) -> None:
        if type(x) is np.ndarray:
            self.arrays.setdefault(id(x), (path, x))
            if x.dtype.kind not in "biufc":
                self._todo.append((path, x))
        elif type(x) not in SIMPLE:
            self.held[id(x)] = x
            self.times[id(x)] = self.times.get(id(x), 0) + 1
            self._todo.append((path, x))

    def row(self, kind: str, holder: Any, held: Any, path: str, is_own: bool = False) -> None:
        """What an object holds, for guards."""
        if id(holder) not in self.fixed:
            self.rows.append(Row(kind, holder, held, path, is_own))

    def _visit(self, path: str, x: Any) -> None:
        kind = type(x)  # and not isinstance, which asks the object
        if issubclass(kind, type):
            code.visit_class(self, path, x, makes=True)
            return
        if id(x) in self.seen or len(self.seen) > MANY or is_inert(x):
            return
        if issubclass(kind, SOURCES):
            self.sources.setdefault(id(x), (path, x))
        if issubclass(kind, np.ndarray) and not hasattr(kind, "minigrad_tracer"):
            self.arrays.setdefault(id(x), (path, x))
            objects.visit_array(self, path, x)
            return
        if issubclass(kind, IDENTITIES) or hasattr(kind, "minigrad_tracer"):
            if issubclass(kind, (np.random.RandomState, np.random.BitGenerator)):
                self.generators.append(x)
            return
        self.seen[id(x)] = x
        for visited, visit in VISITORS.items():
            if issubclass(kind, visited):
                visit(self, path, x)
                return
        objects.visit_object(self, path, x)

    def attribute(self, scope: dict[str, Any], name: str, path: str, owner: Any) -> None:
        """One attribute of an object whose others may not be read."""
        if (id(scope), name) in self.visited:
            return
        self.visited.add((id(scope), name))
        value = scope.get(name, MISSING)
        self.row("items", scope, {name: value}, path)
        if value is not MISSING:
            self.ref(scope, name, "item", path, value, owner)

    def when_named(self, name: str, visit: Any) -> None:
        """Visit an attribute now if some code names it, or when some does."""
        if name.startswith("__"):
            visit()
        else:
            self.only_when_named(name, visit)

    def only_when_named(self, name: str, visit: Any) -> None:
        """The same of an attribute that the language itself never reads."""
        if self.everything or name in self.names:
            visit()
        else:
            self.unread.setdefault(name, []).append(visit)

    def read_names(self, names: frozenset[str], read: frozenset[str] | None = None) -> None:
        """Some code uses these names: visit what waits for them."""
        if COMPUTED & names:
            self.everything = True
        if TEXTS & names:  # object.__repr__(x)
            names = names | {TEXT}
        self.read |= names if read is None else read
        if MAKERS & names:
            self.make_all()
        if "getenv" in names:
            self.follow("os.environ", os.environ)
        for name in names - self.names:
            self.names.add(name)
            for visit in (*self.unread.pop(name, ()), *self.unnamed.pop(name, ())):
                visit()

    def make_all(self) -> None:
        """Of any object's class another one may be made."""
        self.makes_all = True
        waiting, self.constructors = self.constructors, {}
        for _, visit in [pair for pairs in waiting.values() for pair in pairs]:
            visit()

    def call(self, special: frozenset[str]) -> None:
        """Some code calls special methods by name."""
        self.everything |= not WRITERS.isdisjoint(special)
        self.called |= special
        for key, pairs in list(self.constructors.items()):
            self.constructors[key] = [(name, visit) for name, visit in pairs if name not in special]
            for name, visit in pairs:
                if name in special:
                    visit()

    def when_read(self, name: str, visit: Any) -> None:
        """Visit something now if some code names it, or when some does, also if code computes names."""
        if name in self.names:
            visit()
        else:
            self.unnamed.setdefault(name, []).append(visit)

    def _read_library(self) -> None:
        """Visit attributes without a name in the user's code that some method which may be called reads."""
        marks = {TEXT, COMPARISON} & self.names
        for kept in (self.sliced, self.traversed):
            waiting, kept[:] = kept[:], []
            for readers, visit in waiting:
                if self.everything or readers & (self.words | marks):
                    visit()
                else:
                    kept.append((readers, visit))

    def named_attributes(self, own: dict[str, Any], path: str, x: Any) -> None:
        """The attributes of a user's object that some code names."""
        self.containers.append((own, path))
        self.open_objects.append((path, own))
        before = f"{path}." if path else ""
        for name in own:
            if isinstance(name, str):
                self.when_named(name, functools.partial(self.attribute, own, name, f"{before}{name}", x))
