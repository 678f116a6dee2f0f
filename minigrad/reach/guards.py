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
from minigrad.reach.rows import ANY, PLACES, CacheState, Difference, Row, description, differences, differs
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
        scope |= {"size": dict.__len__, "type": type, "map": map, "cache": CacheState, "description": description}
        scope |= {"has_parts": _has_parts, "everything": range(len(self.rows))}

        def bind(x: Any) -> str:
            name = f"x{len(scope)}"
            scope[name] = x
            return name

        tests = ["dtype() is dtype0"]
        hooks = [k for k, row in enumerate(self.rows) if row.kind == "hooks"]
        scope |= {"changes": hook_changes, "changes0": hook_changes[0], "hooks": hooks}
        if hooks:
            tests.append("(changes[0] == changes0 or all(map(same, hooks)))")
        for k, row in enumerate(self.rows):
            if row.kind in _TEXTS:
                test = _TEXTS[row.kind].format(h=bind(row.holder), v=bind(row.held))
                tests.append(f"({test} or same({k}))")
            elif row.kind != "hooks" and (test := _WRITERS[row.kind](bind(row.holder), row, bind)):
                tests.append(f"(({test}) or same({k}))")
        lines = [f"        if not ({test}): return False" for test in tests]
        text = "def fits():\n    try:\n" + "\n".join(lines) + "\n        return True\n"
        text += "    except (AttributeError, KeyError, IndexError, ValueError, TypeError, RuntimeError):\n"
        text += "        return all(map(same, everything))\n"
        exec(code_of(text), scope)
        return scope["fits"]

    def _same(self, k: int) -> bool:
        """Whether a row holds although its quick test fails: another object may have the same value."""
        return not differs(self.rows[k])

    def differences(self) -> Iterator[Difference]:
        """Everything that has changed."""
        for row in self.rows:
            yield from differences(row)


def _without(row: Row, exempt: frozenset[tuple[int, Any]], grown: frozenset[int]) -> Row | None:
    """A row without the places that may change."""
    kind, holder, held = row.kind, row.holder, row.held
    if kind in PLACES:
        held = {key: value for key, value in held.items() if (id(holder), key) not in exempt}
        return Row(kind, holder, held, row.path, row.is_own) if held else None
    if kind == "parts":
        kinds, parts, free = held
        free |= {name for name, _ in parts if (id(holder), name) in exempt}
        return Row(kind, holder, (kinds, [x for x in parts if x[0] not in free], free), row.path)
    keys, values = held if kind == "dict" else (range(len(held)), held) if kind == "list" else ((), ())
    rest = [ANY if (id(holder), key) in exempt else value for key, value in zip(keys, values, strict=True)]
    if kind == "dict" and id(holder) in grown:
        items = {key: value for key, value in zip(keys, rest, strict=True) if value is not ANY}
        return Row("items", holder, items, row.path, row.is_own)
    if id(holder) in grown:
        return None
    return Row(kind, holder, (keys, rest) if kind == "dict" else rest, row.path, row.is_own) if rest else row


# The quick test of each kind of row, as text. Where it fails, `same` decides.

Bind = Callable[[Any], str]  # the name of an object in the generated code


def _dict(h: str, row: Row, bind: Bind) -> str:
    keys, values = row.held
    is_plain = _is_plain(row.holder)
    items = zip(keys, values, strict=True)
    tests = [f"len({h}) == {len(keys)}" if is_plain else f"size({h}) == {len(keys)}", *_identities(h, row, items, bind)]
    if not row.is_own and keys:  # iteration shows the keys and their order
        tests.append(f"all(map(is_, {h if is_plain else f'keys_of({h})'}, {bind(keys)}))")
    return " and ".join(tests)


def _items(h: str, row: Row, bind: Bind) -> str:
    return " and ".join(_identities(h, row, row.held.items(), bind))


def _is_plain(holder: dict[Any, Any]) -> bool:
    """Whether a dictionary has dict's own methods. Those of a user's class are not called."""
    kind = type(holder)
    if package_of(kind) == "minigrad":
        return all(getattr(kind, name) is getattr(dict, name) for name in ("__len__", "__getitem__", "__iter__", "get"))
    return kind in (dict, OrderedDict, MappingProxyType)


def _identities(h: str, row: Row, items: Iterable[tuple[Any, Any]], bind: Bind) -> Iterator[str]:
    """Tests that items are the same objects, in 20 ns each. == takes as long, and 1 == True."""
    is_plain = _is_plain(row.holder)
    for key, value in items:
        if value is not ANY:
            name = repr(key) if type(key) is str and key.isidentifier() else bind(key)
            now = f"{h}.get({name}, MISSING)" if value is MISSING else f"{h}[{name}]"
            yield f"{now if is_plain else f'get({h}, {name}, MISSING)'} is {bind(value)}"


def _list(h: str, row: Row, bind: Bind) -> str:
    held, is_whole = row.held, all(x is not ANY for x in row.held)
    if type(row.holder) not in (list, deque):
        return f"len(e := elements({h})) == {len(held)} and all(map(is_, e, {bind(held)}))" if is_whole else "False"
    if len(held) > MANY and is_whole:
        return f"len({h}) == {len(held)} and all(map(is_, {h}, {bind(held)}))"
    tests = (f"{h}[{k}] is {bind(x)}" for k, x in enumerate(held) if x is not ANY)
    return " and ".join([f"len({h}) == {len(held)}", *tests])


def _set(h: str, row: Row, bind: Bind) -> str:
    is_plain = type(row.holder) in (set, frozenset)
    if not row.held and is_plain:
        return f"not {h}"
    return f"len({h}) == {len(row.held)} and all(map(is_, {h}, {bind(row.held)}))" if is_plain else "False"


def _has_parts(own: dict[str, Any], kinds: tuple[type, ...], parts: list[Any], free: frozenset[str]) -> bool:
    """Whether these are all attributes of some classes, without those in `free`."""
    k, count = 0, len(parts)
    for name, value in own.items():
        if issubclass(type(value), kinds) and name not in free:
            if k == count or parts[k][1] is not value or parts[k][0] != name:
                return False
            k += 1
    return k == count


def _absent(h: str, row: Row, bind: Bind) -> str:
    return f"{bind(row.held)}.isdisjoint({h})" if row.holder else f"not {h}"


def _methods(h: str, row: Row, bind: Bind) -> str:
    return " and ".join(f"{h}.{name} is {bind(value)}" for name, value in row.held.items())


def _slots(h: str, row: Row, bind: Bind) -> str:
    tests = []
    for name, value in row.held.items():
        is_direct = value is not MISSING and type(row.holder) is Tensor
        now = f"{h}.{name}" if is_direct else f"{bind(StateRef(row.holder, name, 'slot', row.path).get)}()"
        tests.append(f"{now} is {bind(value)}")
    return " and ".join(tests)


def _function(h: str, row: Row, bind: Bind) -> str:
    names = ("__code__", "__defaults__", "__kwdefaults__")
    return " and ".join(f"{h}.{name} is {bind(x)}" for name, x in zip(names, row.held, strict=True))


def _class(h: str, row: Row, bind: Bind) -> str:
    return " and ".join(f"vars({h}).get({bind(name)}, MISSING) is {bind(value)}" for name, value in row.held.items())


def _cell(h: str, row: Row, bind: Bind) -> str:
    value = row.held["cell_contents"]
    return f"{h}.cell_contents is {bind(value)}" if value is not MISSING else ""


def _variable(h: str, row: Row, bind: Bind) -> str:
    value = row.held["value"]
    return f"{h}.get(MISSING) is {bind(value)}" if value is not MISSING else "False"


_WRITERS: dict[str, Callable[[str, Row, Bind], str]] = {
    "dict": _dict,
    "items": _items,
    "list": _list,
    "set": _set,
    "absent": _absent,
    "methods": _methods,
    "variable": _variable,
    "slots": _slots,
    "function": _function,
    "class": _class,
    "cell": _cell,
}
_TEXTS = {
    "class absent": "{v}.isdisjoint(vars({h}))",
    "bases": "{h}.__mro__ is {v}",
    "cache": "cache({h}) == {v}",
    "parts": "has_parts({h}, *{v})",
    "weak": "{h}() is {v}",
    "type": "type({h}) is {v}",
    "abstract": "{h}.get_cache_token() == {v}",
    "described": "description({h}) == {v}",
    "content": "{h}.tobytes() == {v}",
    "layout": "({h}.shape, {h}.dtype, {h}.flags.writeable) == {v}",
    **dict.fromkeys(("objects", "state", "names"), "False"),
}


def is_number(x: Any) -> bool:
    """Whether x can be an input of a program that is read at each call as a Python number."""
    return type(x) in (int, float)
