"""Recipes: what a call returns and leaves, as entries and writes that every later call repeats.

One generated function makes all entries and writes what a call leaves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import Buffer, Value
from minigrad.compiler.ir.view_memory import viewed
from minigrad.engine.node import Node, next_serial
from minigrad.engine.specialize import attach, new
from minigrad.reach import MISSING, Contents, StateRef, put_in_order, refill
from minigrad.tensor.tensor import Tensor
from minigrad.util.bytecode import code_of

Entry = tuple[Any, ...]


class Recipe:
    """What one recorded call returned and left. Entries refer to earlier entries by number.

    Attributes:
        entries: an object that existed before, an argument, an output of the program, a view, a Tensor, a container.
        writes: tuples of the kind, the place or container, and entry numbers or what else is needed.
        result: the entry of the result.
        outputs: the values of the program that entries refer to.
        kept: buffers of gradients, with their values.
        live: which leaves of the result, and Tensors in which places, carry gradients. `captured`: the Tensors from
            outside on which these depend.
    """

    result: int

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.writes: list[tuple[Any, ...]] = []
        self.outputs: list[Value] = []
        self.kept: dict[Buffer, Value] = {}
        self.live: list[int | StateRef] = []
        self.captured: list[Tensor] = []

    @property
    def scalars(self) -> frozenset[int]:
        """The outputs that are returned as scalars and Python numbers."""
        outputs = (rest for kind, *rest in self.entries if kind == "output")
        return frozenset(number for number, how in outputs if how not in ("array", "locked"))


def compiled(recipe: Recipe) -> Callable[[Any, Any, Any, Any], Any]:
    """A function finish(outputs, leaves, fetched, numbers): it makes all entries, writes, and returns the result."""
    scope: dict[str, Any] = {"Tensor": Tensor, "attach": attach, "viewed": viewed, "method": MethodType}
    scope |= {"released": _released, "leaf_tensor": _leaf_tensor, "strided": _strided, "locked": _locked, "fill": _fill}
    scope |= {"order": put_in_order, "instance": _instance, "extend": _extend, "refill": refill, "MISSING": MISSING}

    def bind(x: Any) -> str:
        name = f"c{len(scope)}"
        scope[name] = x
        return name

    lines = []
    for k, (how, *rest) in enumerate(recipe.entries):
        if how == "object":
            scope[f"t{k}"] = rest[0]
        else:
            lines.append(f"t{k} = {_ENTRIES[how](bind, *rest)}")
    lines += [_WRITES[how](bind, *rest) for how, *rest in recipe.writes]
    body = "\n    ".join([*lines, f"return t{recipe.result}"])
    exec(code_of(f"def finish(o, x, f, n):\n    {body}\n"), scope)
    return scope["finish"]


# The text of each kind of entry and write. Names are bound to objects; numbers are those of entries.

Bind = Callable[[Any], str]


def _names(members: Iterable[int]) -> str:
    return ", ".join(f"t{m}" for m in members)


def _array_of(x: str) -> str:
    return f"({x} if type({x}) is not Tensor else {x}.data)"


def _items(bind: Bind, kind: Any, members: list[int], maxlen: int | None) -> str:
    if kind is list:
        return f"[{_names(members)}]"
    if kind is tuple:
        return f"({_names(members)},)" if members else "()"
    if hasattr(kind, "_fields"):
        return f"{bind(kind)}({_names(members)})"
    return f"{bind(kind)}([{_names(members)}]" + (f", {maxlen})" if issubclass(kind, deque) else ")")


def _dict(bind: Bind, kind: Any, pairs: list[tuple[int, int]], default: Any) -> str:
    items = f"{{{', '.join(f't{a}: t{b}' for a, b in pairs)}}}"
    if kind is dict:
        return items
    return f"{bind(kind)}({f'{bind(default)}, ' if hasattr(kind, 'default_factory') else ''}{items})"


def _output(bind: Bind, number: int, how: str) -> str:
    if how == "locked":
        return f"locked(o[{number}])"
    return f"o[{number}]" + {"array": "", "scalar": "[()]"}.get(how, ".item()")


def _view(bind: Bind, base: int, steps: list[Any], is_locked: bool) -> str:
    text = f"t{base}"
    for step in steps:
        is_strided = step[0] == "strided"
        text = f"{'strided' if is_strided else 'viewed'}({text}, {bind(step[1] if is_strided else step)})"
    return f"locked({text})" if is_locked else text


def _instance_text(bind: Bind, kind: Any, attributes: list[tuple[str, str, int]]) -> str:
    names = bind([(how, name) for how, name, _ in attributes])
    return f"instance({bind(kind)}, {names}, [{_names(m for _, _, m in attributes)}])"


_ENTRIES: dict[str, Callable[..., str]] = {
    "array": lambda bind, x, is_open: f"{bind(x)}.copy()" if is_open else f"locked({bind(x)}.copy())",
    "leaf": lambda bind, k: f"x[{k}]",
    "leaf array": lambda bind, k: _array_of(f"x[{k}]"),
    "fetched": lambda bind, k: f"f[{k}]",
    "fetched array": lambda bind, k: _array_of(f"f[{k}]"),
    "output": _output,
    "view": _view,
    "tensor": lambda bind, data: f"attach(t{data}, None)",
    "leaf tensor": lambda bind, data: f"leaf_tensor(t{data})",
    "released": lambda bind, data, *rest: f"released(t{data}, {', '.join(map(bind, rest))})",
    "number": lambda bind, expression, kind: f"{bind(expression)}(n)",
    "items": _items,
    "dict": _dict,
    "instance": _instance_text,
    "method": lambda bind, function, owner: f"method({bind(function)}, t{owner})",
}


def _set(bind: Bind, ref: StateRef, entry: Any) -> str:
    value = "MISSING" if entry is MISSING else f"t{entry}"
    if type(ref.holder) is Tensor and entry is not MISSING:
        return f"{bind(ref.holder)}.{ref.key} = {value}"
    return f"{bind(ref.set)}({value})"


def _set_of(bind: Bind, holder: Any, path: str, items: Any) -> str:
    h = bind(holder)
    return f"{h}.clear(); {h}.update({bind(items)})"


_WRITES: dict[str, Callable[..., str]] = {
    "set": _set,
    "gradient": lambda bind, ref, deferred: f"{bind(ref.holder)}._grad = {bind(deferred)}",
    "own gradient": lambda bind, k, grad: f"t{k}._grad = t{grad}",
    "argument gradient": lambda bind, k, grad: f"x[{k}]._grad = t{grad}",
    "argument data": lambda bind, k, data: f"x[{k}].data = t{data}",
    "argument": lambda bind, k, keys, names, entries: f"fill(x[{k}], {bind(keys)}, {bind(names)}, [{_names(entries)}])",
    "order": lambda bind, holder, path, keys: f"order({bind(holder)}, {bind(keys)})",
    "set of": _set_of,
    "refill": lambda bind, holder, path, entries: f"refill({bind(holder)}, [{_names(entries)}])",
    "extend": lambda bind, holder, path, dropped, entries: f"extend({bind(holder)}, {dropped}, [{_names(entries)}])",
}


def _strided(base: Any, form: tuple[Any, ...]) -> Any:
    """A view that is given by its place in the memory of an array in C order."""
    shape, dtype, offset, strides = form
    view = np.ndarray(shape, dtype, base, offset, strides)
    view.flags.writeable = base.flags.writeable
    return view


def _locked(array: Any) -> Any:
    """The array, which is read-only from here on, as results of some functions of NumPy's are."""
    array.flags.writeable = False
    return array


def _extend(holder: Any, dropped: int, added: list[Any]) -> None:
    for _ in range(dropped):
        del holder[0]
    holder.extend(added)


def _fill(holder: Any, keys: Any, names: list[tuple[str, str]], values: list[Any]) -> None:
    now, count = Contents(holder), len(values) - len(names)
    now.keys, now.items = keys, values[:count]
    now.attributes = [(*name, value) for name, value in zip(names, values[count:], strict=True)]
    now.put(holder)


def _released(value: Any, primitive: Any, name: Any, label: Any) -> Tensor:
    """A Tensor computed by a tape whose residuals were released, as after backward()."""
    tensor = new(Tensor)
    tensor.data = value
    tensor.node = node = Node()
    node.primitive = primitive
    node.parents = node.params = ()
    node.residuals = None
    node.shape = value.shape
    node.dtype = value.dtype
    node.scope = ""
    node.serial = next_serial()
    if name is not None:
        node.name = name
        if label is not None:
            node.label = label
    return tensor


def _leaf_tensor(value: Any) -> Tensor:
    tensor: Tensor = attach(value, None)
    tensor.requires_grad = True
    return tensor


def _instance(kind: Any, attributes: list[tuple[str, str]], values: list[Any]) -> Any:
    instance = object.__new__(kind)
    for (how, name), value in zip(attributes, values, strict=True):
        if how == "item":
            vars(instance)[name] = value
        else:
            object.__setattr__(instance, name, value)
    return instance
