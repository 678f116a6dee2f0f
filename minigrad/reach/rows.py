"""Rows: what one object held when it was walked, and how that differs from what it holds now."""

from __future__ import annotations

import gc
import operator
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from minigrad.reach.contents import MISSING, StateRef, elements, keys_of, parts_of, values_of
from minigrad.reach.leaves import alike, pickled

# Attributes of classes that no code of a step reads, unless it names them.
UNREAD = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "_abc_impl"})
UNREAD |= {"__static_attributes__", "__firstlineno__", "__dataclass_fields__", "__dataclass_params__", "__match_args__"}

Difference = tuple[str, StateRef | None, Any, Any]  # path, the place if it is one, the object before, the object now


class Row:
    """What one object held when it was walked: the unit of guards.

    `kind` says what of `holder` is in `held`:

    - "dict": all items, in order; "items": some items, MISSING for absent keys; "absent": names that are not keys;
    - "list", "set": all elements; "slots": names and values; "parts": attributes of some classes, in order;
    - "class": some attributes; "class absent": names that are not attributes; "methods": of a library's class;
      "bases": of a class; "names": of the attributes of a class; "type": the class of an object;
    - "cell", "variable" (a ContextVar), "weak" (a weak reference): the object that it refers to;
    - "function": code, defaults and keyword defaults; "hooks": of a node; "cache": results of a functools.lru_cache;
    - "content": the bytes of an array; "layout": its shape, dtype and writeable flag; "objects": its elements;
    - "state": the pickled state of an object in C; "abstract": a counter of registrations with abstract classes;
      "described": names and docstrings of functions and classes.

    Guards also use "dict but" and "list but": the same without the places that may change.
    """

    __slots__ = ("held", "holder", "is_own", "kind", "path")

    def __init__(self, kind: str, holder: Any, held: Any, path: str, is_own: bool = False) -> None:
        self.kind, self.holder, self.held, self.path = kind, holder, held, path
        self.is_own = is_own  # whether the dictionary is that of an object's attributes

    def __repr__(self) -> str:
        return f"<Row {self.kind} {self.path}>"


class CacheState:
    """The keys and results in a functools.lru_cache.

    Attributes:
        size: the number of results.
    """

    __slots__ = ("held", "misses", "size")

    def __init__(self, cache: Any) -> None:
        info = cache.cache_info()
        self.misses, self.size = info.misses, info.currsize
        parts = gc.get_referents(cache)  # an unlimited cache keeps its results in a dict
        parts += [y for x in parts if type(x) is dict and x is not vars(cache) for y in gc.get_referents(x)]
        self.held = {id(x): x for x in parts}  # keeps them alive, so that no other object gets the id

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CacheState):
            return NotImplemented
        return (self.misses, self.size) == (other.misses, other.size) and self.held.keys() == other.held.keys()

    __hash__: ClassVar[Any] = None

    def __repr__(self) -> str:
        return f"{self.size} of {self.misses} computed results"


def description(described: tuple[tuple[str, ...], list[Any]]) -> list[Any]:
    """Attributes such as names and docstrings of functions and classes: one entry for each object."""
    names, objects = described
    return list(map(operator.attrgetter(*names), objects))


def differences(row: Row) -> Iterator[Difference]:
    """What the holder of a row holds now, where that is not what it held."""
    return _BY_KIND[row.kind](row)


def _items(row: Row) -> Iterator[Difference]:
    """Items of a dictionary, or attributes of a class."""
    holder, held, path, kind = row.holder, row.held, row.path, row.kind
    items = dict(zip(*held, strict=True)) if kind == "dict" else held[1] if kind == "dict but" else held
    now = vars(holder) if kind in ("class", "methods") else holder
    if kind in ("dict", "dict but"):
        keys = keys_of(now)
        if not _all_alike(keys, held[0]):
            yield _keys(path, held[0], keys)
            return
        now = dict(zip(keys, values_of(now), strict=True))
    where = "class" if kind in ("class", "methods") else "item"
    for key, before in items.items():
        present = now.get(key, MISSING)
        if not alike(present, before):
            inner = path if kind == "items" and len(items) == 1 else f"{path}.{key}" if path else str(key)
            yield inner, StateRef(holder, key, where, inner), before, present


def _keys(path: str, before: list[Any], now: list[Any]) -> Difference:
    """How keys differ: some are new or gone, or the order is another one."""
    gone = [key for key in before if not any(alike(key, k) for k in now)]
    new = [key for key in now if not any(alike(key, k) for k in before)]
    if not (gone or new):
        return f"{path} (the order of its keys)", None, before, now
    return f"{path} (keys that are there)", None, gone, new


def _list(row: Row) -> Iterator[Difference]:
    holder, held, path = row.holder, row.held, row.path
    size, rest = (len(held), dict(enumerate(held))) if row.kind == "list" else held
    present = elements(holder)
    if len(present) != size:
        yield f"len({path})", None, size, len(present)
        return
    for key, before in rest.items():
        if not alike(present[key], before):
            yield f"{path}[{key}]", StateRef(holder, key, "index", f"{path}[{key}]"), before, present[key]


def _slots(row: Row) -> Iterator[Difference]:
    for name, before in row.held:
        ref = StateRef(row.holder, name, "slot", row.path if name in ("data", "node") else f"{row.path}.{name}")
        if not alike(ref.get(), before):
            yield ref.path, ref, before, ref.get()


def _parts(row: Row) -> Iterator[Difference]:
    """Attributes of some classes, such as the layers of a module."""
    kinds, parts, free = row.held
    before, now = dict(parts), {name: x for name, x in parts_of(row.holder, kinds) if name not in free}
    for name in [*before, *(name for name in now if name not in before)]:
        ref = StateRef(row.holder, name, "item", f"{row.path}.{name}" if row.path else name)
        if ref.get() is not before.get(name, MISSING):
            yield ref.path, ref, before.get(name, MISSING), ref.get()
    if list(now) != list(before) and now.keys() == before.keys():
        yield f"{row.path} (order of its parts)", None, list(before), list(now)


def _absent(row: Row) -> Iterator[Difference]:
    """Names that have appeared."""
    own, where = (row.holder, "item") if row.kind == "absent" else (vars(row.holder), "class")
    for name in sorted(row.held & own.keys()):
        ref = StateRef(row.holder, name, where, f"{row.path}.{name}")
        yield ref.path, ref, MISSING, own[name]


def _place(key: str, kind: str) -> Callable[[Row], Iterator[Difference]]:
    """The differences of an object that is a single place: a cell, a context variable."""

    def look_at(row: Row) -> Iterator[Difference]:
        ref = StateRef(row.holder, key, kind, row.path)
        if not alike(ref.get(), row.held):
            yield row.path, ref, row.held, ref.get()

    return look_at


def _whole(
    look: Callable[[Any], Any], same: Callable[[Any, Any], bool], text: str = "{path}"
) -> Callable[[Row], Iterator[Difference]]:
    """The differences of an object that is compared as a whole."""

    def look_at(row: Row) -> Iterator[Difference]:
        now = look(row.holder)
        if not same(now, row.held):
            yield text.format(path=row.path, kind=type(row.holder).__name__), None, row.held, now

    return look_at


def _content(row: Row) -> Iterator[Difference]:
    if row.holder.tobytes() != row.held:
        yield f"the elements of {row.path}", None, "other values", row.holder.ravel()


def _described(row: Row) -> Iterator[Difference]:
    names, objects = row.holder
    for x, before, now in zip(objects, row.held, description(row.holder), strict=True):
        if now != before:
            yield f"{x.__qualname__} ({', '.join(names)})", None, before, now


def _all_alike(now: Any, before: Any) -> bool:
    return len(now) == len(before) and all(map(alike, now, before))


def _equal(now: Any, before: Any) -> bool:
    try:
        return bool(now == before)
    except Exception:
        return False


_BY_KIND: dict[str, Callable[[Row], Iterator[Difference]]] = {
    **dict.fromkeys(("dict", "dict but", "items", "class", "methods"), _items),
    **dict.fromkeys(("list", "list but"), _list),
    **dict.fromkeys(("absent", "class absent"), _absent),
    "slots": _slots,
    "parts": _parts,
    "cell": _place("cell_contents", "cell"),
    "variable": _place("value", "variable"),
    "set": _whole(elements, _all_alike),
    "function": _whole(
        lambda x: (x.__code__, x.__defaults__, x.__kwdefaults__), _all_alike, "{path} (its code or defaults)"
    ),
    "hooks": _whole(lambda x: getattr(x, "hooks", None), lambda now, before: (now or None) == (before or None)),
    "weak": _whole(lambda x: x(), operator.is_),
    "type": _whole(type, operator.is_, "the class of {path}"),
    "bases": _whole(lambda x: x.__mro__, operator.eq, "the bases of {path}"),
    "cache": _whole(CacheState, operator.eq, "the cache of {path}"),
    "objects": _whole(lambda x: x.ravel().tolist(), _all_alike, "the elements of {path}"),
    "layout": _whole(
        lambda x: (x.shape, x.dtype, x.flags.writeable), operator.eq, "{path} (shape, dtype, whether it can be written)"
    ),
    "content": _content,
    "described": _described,
    "abstract": _whole(lambda x: x.get_cache_token(), operator.eq),
    "names": _whole(lambda x: vars(x).keys() - UNREAD, operator.eq, "the attributes of {path}"),
    "state": _whole(pickled, alike, "{path} (a {kind})"),
}
