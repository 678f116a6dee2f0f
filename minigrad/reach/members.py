"""Members: attributes and slots of objects, all of them or those that some code names."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from minigrad.reach.code import visit_class
from minigrad.reach.contents import own_attributes, slots_of
from minigrad.reach.names import BY_NAME, HEAP_TYPE, LIBRARIES, STANDARD, readers_of
from minigrad.reach.places import StateRef

if TYPE_CHECKING:
    from minigrad.reach.walk import Reach


def visit_members(reach: Reach, path: str, x: Any) -> None:
    """Attributes and slots of an object, and its class."""
    kind: type = type(x)
    own = own_attributes(x)
    before = f"{path}." if path else ""
    if type(own) is dict and id(own) not in reach.seen:
        reach.seen[id(own)] = own
        root = kind.__module__.split(".")[0]
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
        if kind.__flags__ & HEAP_TYPE and kind.__module__.split(".")[0] not in STANDARD | LIBRARIES:
            reach.row("type", x, kind, path)
