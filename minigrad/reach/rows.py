"""Rows: what one object held when it was walked, and how that differs from what it holds now."""

from __future__ import annotations

import gc
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from minigrad.reach.contents import MISSING, StateRef, elements, keys_of, parts_of, values_of
from minigrad.reach.leaves import alike, pickled

# Attributes of classes that no code of a step reads, unless it names them.
UNREAD = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "_abc_impl"})
UNREAD |= {"__static_attributes__", "__firstlineno__", "__dataclass_fields__", "__dataclass_params__", "__match_args__"}

# Kinds of rows that hold some places by their keys, and the kind of these.
PLACES = {
    "items": "item",
    "class": "class",
    "methods": "class",
    "slots": "slot",
    "cell": "cell",
    "variable": "variable",
}
ANY: Any = object()  # in the row of a guard: whatever is there may change

Difference = tuple[str, StateRef | None, Any, Any]  # path, the place if it is one, the object before, the object now


class Row:
    """What one object held when it was walked: the unit of guards.

    `kind` says what of `holder` is in `held`:

    - the kinds in PLACES, some places by their keys, MISSING where nothing is: "items" of a dictionary; attributes of a
      "class", "methods" of a library's class; "slots"; the only one of a "cell" or "variable" (a ContextVar);
    - "dict": keys, in order, and values; "list", "set": all elements; "parts": attributes of some classes, in order;
    - "absent": names that are not keys; "class absent": names that are not attributes;
    - "bases": of a class; "names": of the attributes of a class; "type": the class of an object;
    - "weak": the object that a weak reference refers to;
    - "function": code, defaults and keyword defaults; "hooks": of a node; "cache": results of a functools.lru_cache;
    - "content": the bytes of an array; "layout": its shape, dtype and writeable flag; "objects": its elements;
    - "state": the pickled state of an object in C; "abstract": a counter of registrations with abstract classes;
      "described": names and docstrings of functions and classes.

    In the rows of guards, ANY stands for elements and values of dictionaries that may change.
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


def present(row: Row) -> Row:
    """The row of the same object with its present content."""
    if row.kind in PLACES:
        now = {key: StateRef(row.holder, key, PLACES[row.kind], "").get() for key in row.held}
        return Row(row.kind, row.holder, now, row.path)
    look = _WHOLE[row.kind][0] if row.kind in _WHOLE else _LISTED.get(row.kind)
    return Row(row.kind, row.holder, row.held if look is None else look(row.holder), row.path)


def values(row: Row) -> Iterable[Any]:
    """The objects in a row that is not compared as a whole, without names and keys."""
    kind, held = row.kind, row.held
    if kind in PLACES:
        return held.values()
    return held[1] if kind == "dict" else [held] if kind == "weak" else held if kind in ("list", "set", "hooks") else ()


def differences(row: Row) -> Iterator[Difference]:
    """What the holder of a row holds now, where that is not what it held."""
    return _places(row) if row.kind in PLACES else _whole(row) if row.kind in _WHOLE else _BY_KIND[row.kind](row)


def differs(row: Row) -> bool:
    """Whether the object of a row has another content now."""
    return next(differences(row), None) is not None


def _places(row: Row) -> Iterator[Difference]:
    kind, holder, path = PLACES[row.kind], row.holder, row.path
    own = vars(holder) if kind == "class" else holder if kind == "item" else None
    is_alone = row.kind in ("cell", "variable") or (row.kind == "items" and len(row.held) == 1)
    for key, before in row.held.items():
        now = StateRef(holder, key, kind, "").get() if own is None else own.get(key, MISSING)
        if not alike(now, before):
            is_named = not is_alone and not (row.kind == "slots" and key in ("data", "node"))
            inner = path if not is_named else f"{path}.{key}" if path or row.kind == "slots" else str(key)
            yield inner, StateRef(holder, key, kind, inner), before, now


def _whole(row: Row) -> Iterator[Difference]:
    look, is_same, text = _WHOLE[row.kind]
    now = look(row.holder)
    if not is_same(now, row.held):
        yield text.format(path=row.path, kind=type(row.holder).__name__), None, row.held, now


def _dict(row: Row) -> Iterator[Difference]:
    """All items of a dictionary."""
    holder, path = row.holder, row.path
    keys, present = keys_of(holder), values_of(holder)
    if not _all_alike(keys, row.held[0]):
        yield _keys(path, row.held[0], keys)
        return
    for key, before, now in zip(keys, row.held[1], present, strict=True):
        if before is not ANY and not alike(now, before):
            inner = f"{path}.{key}" if path else str(key)
            yield inner, StateRef(holder, key, "item", inner), before, now


def _keys(path: str, before: list[Any], now: list[Any]) -> Difference:
    """How keys differ: some are new or gone, or the order is another one."""
    gone = [key for key in before if not any(alike(key, k) for k in now)]
    new = [key for key in now if not any(alike(key, k) for k in before)]
    if not (gone or new):
        return f"{path} (the order of its keys)", None, before, now
    return f"{path} (keys that are there)", None, gone, new


def _list(row: Row) -> Iterator[Difference]:
    now = elements(row.holder)
    if len(now) != len(row.held):
        yield f"len({row.path})", None, len(row.held), len(now)
        return
    for k, before in enumerate(row.held):
        if before is not ANY and not alike(now[k], before):
            yield f"{row.path}[{k}]", StateRef(row.holder, k, "index", f"{row.path}[{k}]"), before, now[k]


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


_LISTED: dict[str, Callable[[Any], Any]] = {"dict": lambda x: (keys_of(x), values_of(x)), "list": elements}
_BY_KIND: dict[str, Callable[[Row], Iterator[Difference]]] = {
    "dict": _dict,
    "list": _list,
    "parts": _parts,
    "absent": _absent,
    "class absent": _absent,
    "content": _content,
    "described": _described,
}
# How a row that is compared as a whole is read and compared, and the text for the message.
_WHOLE: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], bool], str]] = {
    "set": (elements, _all_alike, "{path}"),
    "function": (
        lambda x: (x.__code__, x.__defaults__, x.__kwdefaults__),
        _all_alike,
        "{path} (its code or defaults)",
    ),
    "hooks": (lambda x: list(getattr(x, "hooks", None) or ()), operator.eq, "{path}"),
    "weak": (lambda x: x(), operator.is_, "{path}"),
    "type": (type, operator.is_, "the class of {path}"),
    "bases": (lambda x: x.__mro__, operator.eq, "the bases of {path}"),
    "cache": (CacheState, operator.eq, "the cache of {path}"),
    "objects": (lambda x: x.ravel().tolist(), _all_alike, "the elements of {path}"),
    "layout": (
        lambda x: (x.shape, x.dtype, x.flags.writeable),
        operator.eq,
        "{path} (shape, dtype, whether it can be written)",
    ),
    "abstract": (lambda x: x.get_cache_token(), operator.eq, "{path}"),
    "names": (lambda x: vars(x).keys() - UNREAD, operator.eq, "the attributes of {path}"),
    "state": (pickled, alike, "{path} (a {kind})"),
}
