"""Guards: one generated function that tests, before every call, whether everything a step can read is unchanged.

Values never become source text: holders, keys and values are names in the scope of the generated code.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from operator import is_
from types import MappingProxyType
from typing import Any, NamedTuple

from minigrad.engine.gradient_hooks import hook_changes
from minigrad.reach.contents import MISSING, StateRef, elements, keys_of, package_of
from minigrad.reach.rows import CacheState, Difference, Row, description, differences
from minigrad.tensor.convert import get_default_dtype
from minigrad.tensor.tensor import Tensor
from minigrad.util.bytecode import code_of

MANY = 16  # items of a list that are tested individually


class Predicate(NamedTuple):
    """A decision of the step on numbers: `holds(values)` was `outcome`. The values are those of its inputs."""

    holds: Callable[[Any], Any]
    outcome: Any
    where: str


class Guard:
    """The rows of a specialization, without what its step writes itself or reads at each call.

    Args:
        rows: what the objects held when the step began.
        exempt: identities of places that are inputs of the program or written by it.
        grown: ids of containers whose length the step changes.
    """

    def __init__(self, rows: Iterable[Row], exempt: frozenset[tuple[int, Any]], grown: frozenset[int]) -> None:
        self.rows = [kept for row in rows if (kept := _without(row, exempt, grown)) is not None]
        self.dtype = get_default_dtype()
        self.fits: Callable[[], bool] = self._compiled()

    def _compiled(self) -> Callable[[], bool]:
        scope: dict[str, Any] = {"is_": is_, "MISSING": MISSING, "same": self._same, "dtype": get_default_dtype}
        scope |= {"dtype0": self.dtype, "vars": vars, "keys_of": keys_of, "elements": elements, "get": dict.get}
        scope["description"] = description
        scope |= {"size": dict.__len__, "type": type, "map": map, "cache": CacheState}
        tests = ["dtype() is dtype0"]
        hooks = [k for k, row in enumerate(self.rows) if row.kind == "hooks"]
        scope |= {"changes": hook_changes, "changes0": hook_changes[0], "hooks": hooks}
        if hooks:
            tests.append("(changes[0] == changes0 or all(map(same, hooks)))")
        for k, row in enumerate(self.rows):
            if row.kind == "hooks":
                continue
            scope[f"h{k}"], scope[f"v{k}"] = row.holder, row.held
            test = _WRITERS[row.kind](k, row, scope)
            if test:
                tests.append(f"(({test}) or same({k}))")
        lines = [f"        if not ({test}): return False" for test in tests]
        text = "def fits():\n    try:\n" + "\n".join(lines) + "\n        return True\n"
        text += "    except (AttributeError, KeyError, IndexError, ValueError, TypeError, RuntimeError):\n"
        text += "        return all(map(same, everything))\n"
        scope["everything"] = range(len(self.rows))
        exec(code_of(text), scope)
        return scope["fits"]

    def _same(self, k: int) -> bool:
        """Whether a row holds although its quick test fails: another object may have the same value."""
        return next(differences(self.rows[k]), None) is None

    def differences(self) -> Iterator[Difference]:
        """Everything that has changed."""
        for row in self.rows:
            yield from differences(row)


def _without(row: Row, exempt: frozenset[tuple[int, Any]], grown: frozenset[int]) -> Row | None:
    """A row without the places that may change."""
    holder, held = row.holder, row.held
    if row.kind in ("dict", "list"):
        keys = held[0] if row.kind == "dict" else range(len(held))
        values = held[1] if row.kind == "dict" else held
        free = {key for key in keys if (id(holder), key) in exempt}
        if not free and id(holder) not in grown:
            return row
        rest = {key: value for key, value in zip(keys, values, strict=True) if key not in free}
        if row.kind == "dict":
            if id(holder) in grown:
                return Row("items", holder, rest, row.path, row.is_own)
            return Row("dict but", holder, (held[0], rest), row.path, row.is_own)
        return None if id(holder) in grown else Row("list but", holder, (len(held), rest), row.path)
    if row.kind in ("items", "class"):
        rest = {key: value for key, value in held.items() if (id(holder), key) not in exempt}
        return Row(row.kind, holder, rest, row.path, row.is_own) if rest else None
    if row.kind == "slots":
        pairs = tuple((n, value) for n, value in held if (id(holder), n) not in exempt)
        return Row(row.kind, holder, pairs, row.path) if pairs else None
    if row.kind == "parts":
        kinds, parts, free = held
        free |= {name for name, _ in parts if (id(holder), name) in exempt}
        return Row(row.kind, holder, (kinds, [x for x in parts if x[0] not in free], free), row.path)
    if row.kind in ("cell", "variable"):
        return None if (id(holder), "cell_contents" if row.kind == "cell" else "value") in exempt else row
    return None if id(holder) in grown else row


# The quick test of each kind of row, as text. Where it fails, `same` decides.


def _dict(k: int, row: Row, scope: dict[str, Any]) -> str:
    keys, values = row.held
    return _dict_of(k, row, keys, zip(keys, values, strict=True), scope)


def _dict_but(k: int, row: Row, scope: dict[str, Any]) -> str:
    keys, rest = row.held
    return _dict_of(k, row, keys, rest.items(), scope)


def _dict_of(k: int, row: Row, keys: list[Any], items: Iterable[tuple[Any, Any]], scope: dict[str, Any]) -> str:
    is_plain = _is_plain(row.holder)
    tests = [f"len(h{k}) == {len(keys)}" if is_plain else f"size(h{k}) == {len(keys)}", *_identities(k, items, scope)]
    if not row.is_own and keys:  # iteration shows the keys and their order
        scope[f"n{k}"] = keys
        tests.append(f"all(map(is_, h{k}, n{k}))" if is_plain else f"all(map(is_, keys_of(h{k}), n{k}))")
    return " and ".join(tests)


def _items(k: int, row: Row, scope: dict[str, Any]) -> str:
    return " and ".join(_identities(k, row.held.items(), scope))


def _is_plain(holder: dict[Any, Any]) -> bool:
    """Whether a dictionary has dict's own methods. Those of a user's class are not called."""
    kind = type(holder)
    if package_of(kind) == "minigrad":
        return all(getattr(kind, name) is getattr(dict, name) for name in ("__len__", "__getitem__", "__iter__", "get"))
    return kind in (dict, OrderedDict, MappingProxyType)


def _identities(k: int, items: Iterable[tuple[Any, Any]], scope: dict[str, Any]) -> list[str]:
    """Tests that items are the same objects, in 20 ns each. == takes as long, and 1 == True."""
    tests = []
    is_plain = _is_plain(scope[f"h{k}"])
    for j, (key, value) in enumerate(items):
        name = repr(key) if type(key) is str and key.isidentifier() else f"n{k}_{j}"
        scope[f"n{k}_{j}"], scope[f"x{k}_{j}"] = key, value
        now = f"h{k}.get({name}, MISSING)" if value is MISSING else f"h{k}[{name}]"
        if not is_plain:
            now = f"get(h{k}, {name}, MISSING)"
        tests.append(f"{now} is x{k}_{j}")
    return tests


def _list(k: int, row: Row, scope: dict[str, Any]) -> str:
    return _list_of(k, len(row.held), enumerate(row.held), scope)


def _list_but(k: int, row: Row, scope: dict[str, Any]) -> str:
    size, rest = row.held
    return _list_of(k, size, rest.items(), scope)


def _list_of(k: int, size: int, items: Iterable[tuple[int, Any]], scope: dict[str, Any]) -> str:
    known = dict(items)
    if type(scope[f"h{k}"]) not in (list, deque):
        scope[f"v{k}"] = list(known.values())
        return f"len(e := elements(h{k})) == {size} and all(map(is_, e, v{k}))" if len(known) == size else "False"
    if len(known) > MANY and len(known) == size:
        scope[f"v{k}"] = list(known.values())
        return f"len(h{k}) == {size} and all(map(is_, h{k}, v{k}))"
    tests = [f"len(h{k}) == {size}"]
    for j, value in known.items():
        scope[f"x{k}_{j}"] = value
        tests.append(f"h{k}[{j}] is x{k}_{j}")
    return " and ".join(tests)


def _set(k: int, row: Row, scope: dict[str, Any]) -> str:
    is_plain = type(row.holder) in (set, frozenset)
    if not row.held and is_plain:
        return f"not h{k}"
    return f"len(h{k}) == {len(row.held)} and all(map(is_, h{k}, v{k}))" if is_plain else "False"


def _parts(k: int, row: Row, scope: dict[str, Any]) -> str:
    scope["has_parts"] = _has_parts
    return f"has_parts(h{k}, *v{k})"


def _has_parts(own: dict[str, Any], kinds: tuple[type, ...], parts: list[Any], free: frozenset[str]) -> bool:
    """Whether these are all attributes of some classes, without those in `free`."""
    k, count = 0, len(parts)
    for name, value in own.items():
        if issubclass(type(value), kinds) and name not in free:
            if k == count or parts[k][1] is not value or parts[k][0] != name:
                return False
            k += 1
    return k == count


def _absent(k: int, row: Row, scope: dict[str, Any]) -> str:
    if row.kind == "absent":
        return f"v{k}.isdisjoint(h{k})" if row.holder else f"not h{k}"
    return f"v{k}.isdisjoint(vars(h{k}))"


def _methods(k: int, row: Row, scope: dict[str, Any]) -> str:
    scope |= {f"x{k}_{name}": value for name, value in row.held.items()}
    return " and ".join(f"h{k}.{name} is x{k}_{name}" for name in row.held)


def _slots(k: int, row: Row, scope: dict[str, Any]) -> str:
    tests = []
    for j, (name, value) in enumerate(row.held):
        scope[f"x{k}_{j}"] = value
        now = f"h{k}.{name}" if value is not MISSING and type(row.holder) is Tensor else None
        if now is None:
            scope[f"g{k}_{j}"] = StateRef(row.holder, name, "slot", row.path).get
            now = f"g{k}_{j}()"
        tests.append(f"{now} is x{k}_{j}")
    return " and ".join(tests)


def _function(k: int, row: Row, scope: dict[str, Any]) -> str:
    scope[f"v{k}"], scope[f"w{k}"], scope[f"u{k}"] = row.held
    return f"h{k}.__code__ is v{k} and h{k}.__defaults__ is w{k} and h{k}.__kwdefaults__ is u{k}"


def _class(k: int, row: Row, scope: dict[str, Any]) -> str:
    ((name, value),) = row.held.items()
    scope[f"n{k}"], scope[f"x{k}"] = name, value
    return f"vars(h{k}).get(n{k}, MISSING) is x{k}"


def _cell(k: int, row: Row, scope: dict[str, Any]) -> str:
    return f"h{k}.cell_contents is v{k}" if row.held is not MISSING else ""


_WRITERS: dict[str, Callable[[int, Row, dict[str, Any]], str]] = {
    "dict": _dict,
    "dict but": _dict_but,
    "items": _items,
    "list": _list,
    "list but": _list_but,
    "set": _set,
    "absent": _absent,
    "class absent": _absent,
    "methods": _methods,
    "bases": lambda k, row, scope: f"h{k}.__mro__ is v{k}",
    "variable": lambda k, row, scope: f"h{k}.get(MISSING) is v{k}" if row.held is not MISSING else "False",
    "cache": lambda k, row, scope: f"cache(h{k}) == v{k}",
    "objects": lambda k, row, scope: "False",
    "slots": _slots,
    "parts": _parts,
    "function": _function,
    "class": _class,
    "cell": _cell,
    "weak": lambda k, row, scope: f"h{k}() is v{k}",
    "type": lambda k, row, scope: f"type(h{k}) is v{k}",
    "state": lambda k, row, scope: "False",
    "names": lambda k, row, scope: "False",
    "abstract": lambda k, row, scope: f"h{k}.get_cache_token() == v{k}",
    "described": lambda k, row, scope: f"description(h{k}) == v{k}",
    "content": lambda k, row, scope: f"h{k}.tobytes() == v{k}",
    "layout": lambda k, row, scope: f"(h{k}.shape, h{k}.dtype, h{k}.flags.writeable) == v{k}",
}


def is_number(x: Any) -> bool:
    """Whether x can be an input of a program that is read at each call as a Python number."""
    return type(x) in (int, float)
