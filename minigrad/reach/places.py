"""Places: `StateRef` is one that can hold something else, `Row` says what an object held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad.reach.contents import base_of, keys_of
from minigrad.reach.leaves import MISSING


class StateRef:
    """A place that holds something: an item, an attribute, a slot, a cell, a class attribute.

    Args:
        holder: what has it. For attributes the instance's own dictionary.
        key: which one.
        kind: "item" (of a dictionary), "index" (of a list or deque), "slot", "cell", "class", "partial" or "variable"
            (a ContextVar).
        path: how a user would write it.
        owner: the object whose attribute it is, if it is one.
    """

    __slots__ = ("holder", "key", "kind", "owner", "path")

    def __init__(self, holder: Any, key: Any, kind: str, path: str, owner: Any = None) -> None:
        self.holder, self.key, self.kind, self.path, self.owner = holder, key, kind, path, owner

    @property
    def identity(self) -> tuple[int, Any]:
        """What tells it from other places."""
        return id(self.holder), self.key

    @property
    def is_grad(self) -> bool:
        """Whether this is the gradient of a Tensor."""
        return self.kind == "slot" and self.key == "_grad"

    @property
    def is_node(self) -> bool:
        """Whether this is the node of a Tensor."""
        return self.kind == "slot" and self.key == "node"

    def get(self) -> Any:
        """What stands here, MISSING if nothing."""
        try:
            if self.kind == "item":
                return dict.__getitem__(self.holder, self.key)
            if self.kind == "variable":
                return self.holder.get()
            if self.kind == "slot":
                return object.__getattribute__(self.holder, self.key)
            if self.kind == "index":
                return base_of(self.holder).__getitem__(self.holder, self.key)
            if self.kind == "cell":
                return self.holder.cell_contents
            if self.kind == "class":
                return vars(self.holder)[self.key]
            return self.holder.__reduce__()[2][:3]
        except (LookupError, AttributeError, ValueError):
            return MISSING

    def set(self, value: Any) -> None:
        """Put something here, without the holder's own __setattr__ or __setitem__; MISSING deletes."""
        put, delete = _WRITERS[self.kind]
        if value is not MISSING:
            put(self.holder, self.key, value)
        elif delete is not None and self.get() is not MISSING:
            delete(self.holder, self.key)

    def __repr__(self) -> str:
        return f"<StateRef {self.path}>"


def _set_item(holder: Any, key: Any, value: Any) -> None:
    base_of(holder).__setitem__(holder, key, value)


# How a place of each kind is written and emptied. A variable of a context and an index of a list cannot be emptied.
_WRITERS: dict[str, tuple[Callable[[Any, Any, Any], None], Callable[[Any, Any], Any] | None]] = {
    "item": (_set_item, lambda holder, key: base_of(holder).pop(holder, key)),
    "index": (_set_item, None),
    "variable": (lambda holder, key, value: holder.set(value), None),
    "slot": (object.__setattr__, object.__delattr__),
    "cell": (
        lambda holder, key, value: setattr(holder, "cell_contents", value),
        lambda holder, key: delattr(holder, "cell_contents"),
    ),
    "class": (type.__setattr__, type.__delattr__),
    "partial": (lambda holder, key, value: holder.__setstate__((*value, vars(holder) or None)), None),
}


class Row:
    """What one object held when it was walked: a unit of guards.

    `kind` says how `holder` is looked at and what `held` is: "dict" (all items, in order), "items" (some keys of a
    dictionary, MISSING among the values), "list" (all, in order), "set", "slots" (names and values), "function" (code,
    defaults and keyword defaults), "class" (some attributes), "cell", "hooks" (of a node), "weak" (what a weak
    reference refers to), "type" (its class), "state" (the pickled state of an object that has no other), "content" (the
    bytes of an array), "layout" (shape, dtype and whether it can be written, of an array), "objects" (the elements of
    an array of objects), "absent" and "class absent" (names that code reads and that are not there), "methods" (of a
    library's class), "bases" (of a class), "parts" (attributes of some classes, all that there are, in order),
    "variable" (of a context), "cache" (how often a functools.lru_cache has computed something), "names" (of the
    attributes of a class), "abstract" (how often something was registered with an abstract class), "described" (names
    and texts of functions and classes).
    """

    __slots__ = ("held", "holder", "is_own", "kind", "path")

    def __init__(self, kind: str, holder: Any, held: Any, path: str, is_own: bool = False) -> None:
        self.kind, self.holder, self.held, self.path = kind, holder, held, path
        self.is_own = is_own  # whether a dictionary holds the attributes of an object

    def __repr__(self) -> str:
        return f"<Row {self.kind} {self.path}>"


def refill(holder: Any, items: Any) -> None:
    """Let a list, deque or set hold these items instead of what it holds."""
    base = base_of(holder)
    base.clear(holder)
    if base is set:
        base.update(holder, items)
    else:
        base.extend(holder, items)


def put_in_order(holder: dict[Any, Any], keys: list[Any]) -> None:
    """Put the keys of a dictionary into an order."""
    base = base_of(holder)
    if keys_of(holder) != keys:
        for key in keys:
            if key in keys_of(holder):
                base.__setitem__(holder, key, base.pop(holder, key))
