"""What an object holds now that it did not hold when it was walked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minigrad.reach import (
    MISSING,
    Row,
    StateRef,
    alike,
    cache_state,
    elements,
    keys_of,
    pickled,
    values_of,
)

Difference = tuple[str, StateRef | None, Any, Any]  # path, the place if it is one, what it held, what it holds


def differences(row: Row) -> Iterator[Difference]:
    """What one row holds now that it did not hold then."""
    holder, held, path, kind = row.holder, row.held, row.path, row.kind
    if kind in ("dict", "dict but", "items", "class", "methods"):
        items = dict(zip(*held, strict=True)) if kind == "dict" else held[1] if kind == "dict but" else held
        now = vars(holder) if kind in ("class", "methods") else holder
        if kind in ("dict", "dict but"):
            keys = keys_of(now)
            if [*map(type, keys)] != [*map(type, held[0])] or keys != held[0]:
                yield f"{path} (keys)", None, held[0], keys
                return
            now = dict(zip(keys, values_of(now), strict=True))
        where = "class" if kind in ("class", "methods") else "item"
        for key, before in items.items():
            present = now.get(key, MISSING)
            if not alike(present, before):
                inner = path if kind == "items" and len(items) == 1 else f"{path}.{key}" if path else str(key)
                yield inner, StateRef(holder, key, where, inner), before, present
    elif kind in ("list", "list but"):
        size, rest = (len(held), dict(enumerate(held))) if kind == "list" else held
        present = elements(holder)
        if len(present) != size:
            yield f"len({path})", None, size, len(present)
            return
        for key, before in rest.items():
            if not alike(present[key], before):
                yield f"{path}[{key}]", StateRef(holder, key, "index", f"{path}[{key}]"), before, present[key]
    else:
        yield from _other_differences(row)


def _other_differences(row: Row) -> Iterator[Difference]:
    holder, held, path, kind = row.holder, row.held, row.path, row.kind
    if kind == "slots":
        for name, before in held:
            ref = StateRef(holder, name, "slot", path if name in ("data", "node") else f"{path}.{name}")
            if not alike(ref.get(), before):
                yield ref.path, ref, before, ref.get()
    elif kind == "function":
        now: tuple[Any, ...] = (holder.__code__, holder.__defaults__, holder.__kwdefaults__)
        if not all(map(alike, now, held)):
            yield f"{path} (its code or defaults)", None, held, now
    elif kind == "cell":
        ref = StateRef(holder, "cell_contents", "cell", path)
        if not alike(ref.get(), held):
            yield path, ref, held, ref.get()
    elif kind == "hooks":
        now_hooks = getattr(holder, "hooks", None) or None
        if now_hooks != (held or None):
            yield path, None, held, now_hooks
    elif kind == "weak":
        if holder() is not held:
            yield path, None, held, holder()
    elif kind == "set":
        present = elements(holder)
        if len(present) != len(held) or not all(map(alike, present, held)):
            yield path, None, held, present
    elif kind in ("absent", "class absent"):
        own = holder if kind == "absent" else vars(holder)
        for name in sorted(held & own.keys()):
            ref = StateRef(holder, name, "item" if kind == "absent" else "class", f"{path}.{name}")
            yield ref.path, ref, MISSING, own[name]
    elif kind == "bases":
        if holder.__mro__ != held:
            yield f"the bases of {path}", None, held, holder.__mro__
    elif kind == "variable":
        ref = StateRef(holder, "value", "variable", path)
        if not alike(ref.get(), held):
            yield path, ref, held, ref.get()
    elif kind == "cache":
        if cache_state(holder) != held:
            yield f"the cache of {path}", None, held, cache_state(holder)
    elif kind == "objects":
        present = holder.ravel().tolist()
        if len(present) != len(held) or not all(map(alike, present, held)):
            yield f"the elements of {path}", None, held, present
    elif kind == "type":
        if type(holder) is not held:
            yield f"the class of {path}", None, held, type(holder)
    elif kind == "layout":
        now = holder.shape, holder.dtype, holder.flags.writeable
        if now != held:
            yield f"{path} (shape, dtype, whether it can be written)", None, held, now
    elif kind == "content":
        if holder.tobytes() != held:
            yield f"the elements of {path}", None, "others", holder.ravel()
    elif kind == "state" and not _same_state(pickled(holder), held):
        yield f"{path} (a {type(holder).__name__})", None, held, pickled(holder)


def _same_state(now: Any, before: Any) -> bool:
    try:
        return bool(now == before)
    except Exception:
        return False
