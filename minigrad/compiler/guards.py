"""Guards: whether everything that a step can read is as it was, as one generated function that runs before every call.

Foreign values never become source text: holders, keys and values are names in the scope of the generated code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import is_
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from minigrad.node import mode
from minigrad.reach import MISSING, Row, StateRef, alike, is_leaf, pickled
from minigrad.tape import hook_changes
from minigrad.tensor import Tensor
from minigrad.values import get_default_dtype

Difference = tuple[str, StateRef | None, Any, Any]  # path, the place if it is one, what it held, what it holds


class Predicate(NamedTuple):
    """A decision that the step took on numbers: `holds(values)` was `outcome`; values are those of its inputs."""

    holds: Callable[[Any], Any]
    outcome: Any
    where: str


class Guard:
    """The rows of a specialization, without what its step writes itself or fetches at each call.

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
        scope["dtype0"] = self.dtype
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
        exec(text, scope)
        return scope["fits"]  # type: ignore[no-any-return]

    def _same(self, k: int) -> bool:
        """Whether what differs by identity, or cannot be compared quickly, is the same after all."""
        return next(differences(self.rows[k]), None) is None

    def differences(self) -> Iterator[Difference]:
        """Everything that is not as it was."""
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
                return Row("items", holder, rest, row.path)
            return Row("dict but", holder, (held[0], rest), row.path)
        return None if id(holder) in grown else Row("list but", holder, (len(held), rest), row.path)
    if row.kind in ("items", "class"):
        rest = {key: value for key, value in held.items() if (id(holder), key) not in exempt}
        return Row(row.kind, holder, rest, row.path) if rest else None
    if row.kind == "slots":
        pairs = tuple((n, value) for n, value in held if (id(holder), n) not in exempt)
        return Row(row.kind, holder, pairs, row.path) if pairs else None
    if row.kind == "cell":
        return None if (id(holder), "cell_contents") in exempt else row
    return None if id(holder) in grown else row


# What each kind of row is as a test: the quick one, after which `same` decides


def _dict(k: int, row: Row, scope: dict[str, Any]) -> str:
    keys, values = row.held
    if not keys:
        return f"not h{k}"
    scope[f"s{k}"] = dict(zip(keys, values, strict=True))
    scope[f"n{k}"] = keys
    tests = [f"h{k} == s{k}"]
    if not all(type(key) is str for key in keys):
        tests.append(f"[*h{k}] == n{k}")
    return " and ".join([*tests, *_identities(k, zip(keys, values, strict=True), scope)])


def _dict_but(k: int, row: Row, scope: dict[str, Any]) -> str:
    keys, rest = row.held
    return " and ".join([f"len(h{k}) == {len(keys)}", *_identities(k, rest.items(), scope, everything=True)])


def _items(k: int, row: Row, scope: dict[str, Any]) -> str:
    tests = []
    for j, (key, value) in enumerate(row.held.items()):
        scope[f"n{k}_{j}"], scope[f"x{k}_{j}"] = key, value
        tests.append(f"h{k}.get(n{k}_{j}, MISSING) is x{k}_{j}")
    return " and ".join(tests)


def _identities(k: int, items: Any, scope: dict[str, Any], everything: bool = False) -> list[str]:
    """Tests that items are the same objects, where == is not enough."""
    tests = []
    for j, (key, value) in enumerate(items):
        if everything or not _is_exact(value):
            scope[f"n{k}_{j}"], scope[f"x{k}_{j}"] = key, value
            tests.append(f"h{k}[n{k}_{j}] is x{k}_{j}")
    return tests


def _is_exact(x: Any) -> bool:
    """Whether what is equal to x is as good as x."""
    if isinstance(x, tuple) and type(x) is tuple:
        return all(map(_is_exact, x))
    return type(x) in (str, bytes, type(None)) or type(x).__eq__ is object.__eq__


def _list(k: int, row: Row, scope: dict[str, Any]) -> str:
    if not row.held:
        return f"not h{k}"
    if isinstance(row.holder, list) and all(map(_is_exact, row.held)):
        return f"h{k} == v{k}"
    return f"len(h{k}) == {len(row.held)} and all(map(is_, h{k}, v{k}))"


def _list_but(k: int, row: Row, scope: dict[str, Any]) -> str:
    size, rest = row.held
    return " and ".join([f"len(h{k}) == {size}", *_identities(k, rest.items(), scope, everything=True)])


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
    scope["vars"] = vars
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
    "set": lambda k, row, scope: f"h{k} == v{k}",
    "slots": _slots,
    "function": _function,
    "class": _class,
    "cell": _cell,
    "weak": lambda k, row, scope: f"h{k}() is v{k}",
    "type": lambda k, row, scope: f"h{k}.__class__ is v{k}",
    "state": lambda k, row, scope: "False",
    "content": lambda k, row, scope: f"h{k}.tobytes() == v{k}",
    "layout": lambda k, row, scope: f"(h{k}.shape, h{k}.dtype, h{k}.flags.writeable) == v{k}",
}


def differences(row: Row) -> Iterator[Difference]:
    """What one row holds now that it did not hold then."""
    holder, held, path, kind = row.holder, row.held, row.path, row.kind
    if kind in ("dict", "dict but", "items", "class"):
        items = dict(zip(*held, strict=True)) if kind == "dict" else held[1] if kind == "dict but" else held
        now = vars(holder) if kind == "class" else holder
        if kind in ("dict", "dict but") and [*now] != held[0]:
            yield f"{path} (keys)", None, held[0], [*now]
            return
        where = "class" if kind == "class" else "item"
        for key, before in items.items():
            present = now.get(key, MISSING)
            if not alike(present, before):
                inner = path if kind == "items" and len(items) == 1 else f"{path}.{key}" if path else str(key)
                yield inner, StateRef(holder, key, where, inner), before, present
    elif kind in ("list", "list but"):
        size, rest = (len(held), dict(enumerate(held))) if kind == "list" else held
        if len(holder) != size:
            yield f"len({path})", None, size, len(holder)
            return
        for key, before in rest.items():
            if not alike(holder[key], before):
                yield f"{path}[{key}]", StateRef(holder, key, "index", f"{path}[{key}]"), before, holder[key]
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
        if not (type(holder) is set and alike(frozenset(holder), held)) and holder != held:
            yield path, None, held, holder
    elif kind == "type":
        if type(holder) is not held:
            yield f"the class of {path}", None, held, type(holder)
    elif kind == "layout":
        now = holder.shape, holder.dtype, holder.flags.writeable
        if now != held:
            yield f"{path} (shape, dtype, whether it can be written)", None, held, now
    elif kind == "content":
        if holder.tobytes() != held:
            yield f"the elements of {path}", None, np.frombuffer(held, holder.dtype), holder.ravel()
    elif kind == "state" and not _same_state(pickled(holder), held):
        yield f"{path} (a {type(holder).__name__})", None, held, pickled(holder)


def _same_state(now: Any, before: Any) -> bool:
    try:
        return bool(now == before)
    except Exception:
        return False


def fast_guard(signature: tuple[Any, ...], owned: dict[int, Any]) -> Callable[..., bool]:
    """A function of the positional arguments that says whether they have a signature, quicker than by making theirs.

    It may say no where the signatures agree: to views, and wherever the arguments are more than arrays and Tensors.
    """
    (records, form), *leaves = signature
    scope: dict[str, Any] = {"mode": mode, "owned": owned, "ndarray": np.ndarray, "Tensor": Tensor}
    tests = [f"mode.get() is {'not ' if records else ''}None", f"len(x) == {len(leaves)}"]
    kinds = [leaf for leaf in leaves if leaf[0] == "array" and leaf[4] is not None and leaf[5] is None]
    if form != len(leaves) or len(kinds) < len(leaves):
        return lambda x: False
    for k, (_, kind, scope[f"s{k}"], scope[f"d{k}"], has_node, _, layout) in enumerate(leaves):
        tests.append(f"type(t := x[{k}]) is {kind.__name__}")
        if kind is Tensor:
            tests.append(f"t.node is {'not ' if has_node else ''}None and (t := t.data) is not None")
        tests.append(f"type(t) is ndarray and t.shape == s{k} and t.dtype == d{k}")
        tests.append("t.base is None and id(t) not in owned")
        tests.append(
            "t.flags.c_contiguous" if layout is None else f"t.strides == {layout} and not t.flags.c_contiguous"
        )
        tests += [f"x[{k}] is not x[{j}]" for j in range(k)]
    exec(f"def takes(x):\n    return {' and '.join(tests)}\n", scope)
    takes: Callable[..., bool] = scope["takes"]
    return takes


def is_number(x: Any) -> bool:
    """Whether x can be an input of a program that is fetched at each call as a Python number."""
    return type(x) in (int, float)


def is_immutable(x: Any) -> bool:
    """Whether what a step leaves at a place can be left there by every call."""
    return is_leaf(x) or isinstance(x, FunctionType)
