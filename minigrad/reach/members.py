"""Members: attributes and slots of objects, all of them or those that some code names."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from minigrad.reach.code import visit_class
from minigrad.reach.contents import hides_attributes, keys_of, own_attributes, package_of, parts_of, slots_of, values_of
from minigrad.reach.names import BY_NAME, HEAP_TYPE, LIBRARIES, STANDARD, readers_of, traversals_of
from minigrad.reach.places import StateRef
from minigrad.util.bytecode import COMPARISON, TEXT

if TYPE_CHECKING:
    from minigrad.reach.walk import Reach

PLAIN = frozenset({"abc", "typing", "enum"})  # whose classes have no methods that look at all attributes
WHOLE = frozenset({TEXT, COMPARISON})


def visit_members(reach: Reach, path: str, x: Any) -> None:
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
                reach.sliced.append((readers_of(kind, name), visit))
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
        held = [(name, StateRef(x, name, "slot", "").get()) for name in names]
        reach.row("slots", x, tuple(held), path)
        for name, value in held:
            reach.ref(x, name, "slot", f"{before}{name}", value, x)
    if kind.__module__ != "builtins":
        visit_class(reach, kind.__name__, kind, makes=False)
        if kind.__flags__ & HEAP_TYPE and package_of(kind) not in STANDARD | LIBRARIES:
            reach.row("type", x, kind, path)


def visit_field(reach: Reach, path: str, x: Any, name: str) -> None:
    """A field of an object in C that can be set, and that some code names: `SystemExit.code`, `property.__doc__`."""
    value = StateRef(x, name, "slot", "").get()
    reach.row("slots", x, ((name, value),), path)
    reach.ref(x, name, "slot", f"{path}.{name}" if path else name, value, x)


def _wait_for_traversals(reach: Reach, path: str, x: Any, own: dict[str, Any]) -> None:
    """What goes through the attributes of a user's object without their names: methods that its class inherits."""
    kind: type = type(x)
    for base in kind.__mro__[:-1]:
        root = package_of(base)
        if root == "minigrad":
            kinds = getattr(base, "traversed", None)
            if kinds is None:
                _visit_all(reach, path, x, own)
            else:
                visit = functools.partial(_visit_parts, reach, path, x, own, (base, *kinds))
                reach.traversed.append((traversals_of(kind), visit))
            return
        if root in STANDARD - PLAIN:
            reach.traversed.append((WHOLE, functools.partial(_visit_all, reach, path, x, own)))
            return


def _visit_parts(reach: Reach, path: str, x: Any, own: dict[str, Any], kinds: tuple[type, ...]) -> None:
    """The attributes that are of some classes, such as the parameters and layers of a module."""
    parts = parts_of(own, kinds)
    reach.row("parts", own, (kinds, parts, frozenset()), path)
    for name, _ in parts:
        reach.attribute(own, name, f"{path}.{name}" if path else name, x)


def _visit_all(reach: Reach, path: str, x: Any, own: dict[str, Any]) -> None:
    reach.row("dict", own, (keys_of(own), values_of(own)), path)
    for names in (reach.read, reach.inspected, reach.whole, reach.opened, reach.keys):
        names.update(own)
    for name in own:
        reach.attribute(own, name, f"{path}.{name}" if path else name, x)
