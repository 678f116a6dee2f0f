"""The walk: it visits objects in a queue until nothing new is found."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from types import (
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    WrapperDescriptorType,
)
from typing import Any

import numpy as np

from minigrad.engine.node import Node
from minigrad.reach import code, members, objects
from minigrad.reach.collected import Collected
from minigrad.reach.contents import LIBRARIES, StateRef, is_of_minigrad, own_attributes, package_of
from minigrad.reach.leaves import is_inert
from minigrad.util.text import short

# Known by identity: their contents are compared in another way, or cannot change.
IDENTITIES = (
    *(np.ndarray, np.random.Generator, np.random.BitGenerator, np.random.RandomState, Node),
    *(WrapperDescriptorType, GetSetDescriptorType, MemberDescriptorType, type(str.join)),
    ClassMethodDescriptorType,
)
PLAIN = (list, deque, dict, OrderedDict, defaultdict)  # containers without methods of a user's
MANY = 200_000  # objects; guards of a step that reaches more would take too long


class Reach(Collected):
    """Everything that some objects reach.

    Args:
        roots: pairs of a path (as a user would write it) and an object.
        everything: whether attributes that no code names count too.
    """

    def __init__(self, roots: list[tuple[str, Any]], everything: bool = False) -> None:
        super().__init__(roots, everything)
        while True:
            while self.queue:
                path, x = self.queue.popleft()
                try:
                    self._visit(path, x)
                except Exception as error:  # from a user's metaclass, or from a structure that is nested too deeply
                    self.unreadable.append(
                        (path, f"something that cannot be inspected ({type(error).__name__}: {short(str(error))})")
                    )
            self.read_library()
            if self.everything:
                for visit in [visit for waiting in self.unnamed.values() for visit in waiting]:
                    visit()
                self.unnamed.clear()
            if not self.queue:
                break
        code.visit_absences(self)
        self._check_weak()
        for waiting in (self.unnamed, self.unnamed_in_modules, self.constructors, self.unread):
            waiting.clear()  # visits refer to this object, which would live until the garbage is collected
        if len(self.seen) > MANY:
            self.unreadable.append(("the step", f"more than {MANY} objects"))

    def _visit(self, path: str, x: Any) -> None:
        kind = type(x)  # not isinstance, which calls code of the object
        if issubclass(kind, type):
            members.visit_class(self, path, x, makes=True)
            return
        if id(x) in self.seen or len(self.seen) > MANY or is_inert(x):
            return
        if issubclass(kind, objects.SOURCES):
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
        for visited, visit in objects.VISITORS.items():
            if issubclass(kind, visited):
                visit(self, path, x)
                return
        objects.visit_object(self, path, x)

    def _check_weak(self) -> None:
        """Refuse weak references whose referent may be gone before the next call, where a program keeps it alive.

        It cannot be gone if the reference is reached only through it, as that of a layer to its model, or if the
        reference is minigrad's. Classes are in the caches of functools.singledispatch, and are hardly ever deleted.
        """
        for path, ref, x in self.weak:
            if x is None or isinstance(x, type) or (id(x) in self.held and self._leads_to(x, path)):
                continue
            owners = (place.owner for place, value in self.refs if value is ref)
            if not any(package_of(type(owner)) == "minigrad" for owner in owners):
                self.unreadable.append((path, "a weak reference"))

    def _leads_to(self, x: Any, path: str) -> bool:
        """Whether the object at a path is a part of x."""
        if any(root is x or (type(root) is MethodType and root.__self__ is x) for _, root in self.roots):
            return True
        return any(path.startswith(f"{place.path}.") for place, value in self.refs if value is x)

    # How code uses what was found

    def only_grows(self, container: Any) -> bool:
        """Whether the step only appends to a list or deque, and never reads it.

        The same must hold for the containers around it, of which it may take items: `d == e` would read them all.
        """
        return self._is_used_only(container, self.inspected, self.inspected_locals)

    def _is_used_only(self, x: Any, names: set[str], local: set[str], depth: int = 0) -> bool:
        """Whether a container is only found under names other than these, in containers used only by their items."""
        places = [ref for ref, value in self.refs if value is x]
        if self.everything or type(x) not in PLAIN or self.occurrences.get(id(x), 0) != len(places):
            return False  # read by a computed name or by methods of its own, or held by a tuple and the like
        parameters = [path for path, root in self.roots if root is x]
        called = [ref.path if ref.kind == "cell" else ref.key for ref in places if not (depth and ref.kind == "index")]
        if not (places or parameters) or depth > len(self.containers):
            return False
        if not all(isinstance(name, str) and name not in names for name in called) or not local.isdisjoint(parameters):
            return False
        plain = {id(holder) for holder, _ in self.containers}
        holders = [ref.holder for ref in places if ref.owner is None and id(ref.holder) in plain]
        return all(self._is_used_only(x, self.unindexed, self.unindexed_locals, depth + 1) for x in holders)

    def is_never_read(self, ref: StateRef) -> bool:
        """Whether the step can only assign an attribute or item, and never reads it."""
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
        is_known = self.occurrences.get(id(ref.holder), 0) == len(places)  # not held by a tuple and the like
        is_known &= all(other.owner is not None or other.is_variable for other in places)
        return bool(names) and is_known and all(isinstance(name, str) and name not in self.unkeyed for name in names)
