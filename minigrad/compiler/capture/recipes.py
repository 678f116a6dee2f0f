"""Recipes: what a call returns and leaves, as entries and writes that every later call repeats.

One generated function makes all entries and writes what a call leaves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
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
    lines = []
    for k, entry in enumerate(recipe.entries):
        text = _ENTRIES[entry[0]](k, entry[1:], scope)
        if text == f"c{k}":
            scope[f"t{k}"] = scope[text]
        else:
            lines.append(f"t{k} = {text}")
    for j, write in enumerate(recipe.writes):
        lines.append(_write_text(j, write, scope))
    body = "\n    ".join([*lines, f"return t{recipe.result}"])
    exec(code_of(f"def finish(o, x, f, n):\n    {body}\n"), scope)
    return scope["finish"]


def _constant(k: int, x: Any, scope: dict[str, Any]) -> str:
    scope[f"c{k}"] = x
    return f"c{k}"


def _items_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    kind, members, maxlen = rest
    inside = ", ".join(f"t{m}" for m in members)
    if kind is list:
        return f"[{inside}]"
    if kind is tuple:
        return f"({inside},)" if members else "()"
    scope[f"k{k}"] = kind
    if hasattr(kind, "_fields"):
        return f"k{k}({inside})"
    return f"k{k}([{inside}]" + (f", {maxlen})" if issubclass(kind, deque) else ")")


def _dict_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    kind, pairs, default = rest
    inside = ", ".join(f"t{a}: t{b}" for a, b in pairs)
    if kind is dict:
        return f"{{{inside}}}"
    scope[f"k{k}"] = kind
    if hasattr(kind, "default_factory"):
        scope[f"d{k}"] = default
        return f"k{k}(d{k}, {{{inside}}})"
    return f"k{k}({{{inside}}})"


def _output_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    number, how = rest
    if how == "locked":
        return f"locked(o[{number}])"
    return f"o[{number}]" + {"array": "", "scalar": "[()]"}.get(how, ".item()")


def _released_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    data, scope[f"p{k}"], scope[f"n{k}"], scope[f"l{k}"] = rest
    return f"released(t{data}, p{k}, n{k}, l{k})"


def _instance_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    scope[f"k{k}"], attributes = rest
    scope[f"a{k}"] = [(how, name) for how, name, _ in attributes]
    return f"instance(k{k}, a{k}, ({''.join(f't{m}, ' for _, _, m in attributes)}))"


def _method_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    scope[f"p{k}"], owner = rest
    return f"method(p{k}, t{owner})"


def _number_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    scope[f"e{k}"] = rest[0]
    return f"e{k}(n)"


_ENTRIES: dict[str, Callable[[int, Any, dict[str, Any]], str]] = {
    "object": lambda k, rest, scope: _constant(k, rest[0], scope),
    "array": lambda k, rest, scope: (
        f"{_constant(k, rest[0], scope)}.copy()" if rest[1] else f"locked({_constant(k, rest[0], scope)}.copy())"
    ),
    "leaf": lambda k, rest, scope: f"x[{rest[0]}]",
    "leaf array": lambda k, rest, scope: f"(x[{rest[0]}] if type(x[{rest[0]}]) is not Tensor else x[{rest[0]}].data)",
    "fetched": lambda k, rest, scope: f"f[{rest[0]}]",
    "fetched array": lambda k, rest, scope: (
        f"(f[{rest[0]}] if type(f[{rest[0]}]) is not Tensor else f[{rest[0]}].data)"
    ),
    "output": _output_text,
    "view": lambda k, rest, scope: _view_text(k, rest, scope),
    "tensor": lambda k, rest, scope: f"attach(t{rest[0]}, None)",
    "leaf tensor": lambda k, rest, scope: f"leaf_tensor(t{rest[0]})",
    "released": _released_text,
    "number": _number_text,
    "items": _items_text,
    "dict": _dict_text,
    "instance": _instance_text,
    "method": _method_text,
}


def _view_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    base, steps, is_locked = rest
    text = f"t{base}"
    for j, step in enumerate(steps):
        scope[f"s{k}_{j}"] = step[1] if step[0] == "strided" else step
        text = f"{'strided' if step[0] == 'strided' else 'viewed'}({text}, s{k}_{j})"
    return f"locked({text})" if is_locked else text


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


def _write_text(j: int, write: tuple[Any, ...], scope: dict[str, Any]) -> str:
    how, at, *rest = write
    if how == "set":
        ref, entry = at, "MISSING" if rest[0] is MISSING else f"t{rest[0]}"
        if type(ref.holder) is Tensor and entry != "MISSING":
            scope[f"h{j}"] = ref.holder
            return f"h{j}.{ref.key} = {entry}"
        scope[f"w{j}"] = ref.set
        return f"w{j}({entry})"
    if how == "gradient":
        scope[f"h{j}"], scope[f"w{j}"] = at.holder, rest[0]
        return f"h{j}._grad = w{j}"
    if how == "own gradient":
        return f"t{at}._grad = t{rest[0]}"
    if how == "argument gradient":
        return f"x[{at}]._grad = t{rest[0]}"
    if how == "argument data":
        return f"x[{at}].data = t{rest[0]}"
    if how == "argument":
        keys, scope[f"n{j}"], entries = rest
        scope[f"k{j}"] = keys
        return f"fill(x[{at}], k{j}, n{j}, [{', '.join(f't{m}' for m in entries)}])"
    scope[f"h{j}"] = at
    if how == "order":
        scope[f"w{j}"] = rest[1]
        return f"order(h{j}, w{j})"
    if how == "set of":
        scope[f"w{j}"] = rest[1]
        return f"h{j}.clear(); h{j}.update(w{j})"
    entries = f"[{', '.join(f't{m}' for m in rest[-1])}]"
    return f"refill(h{j}, {entries})" if how == "refill" else f"extend(h{j}, {rest[1]}, {entries})"


def _extend(holder: Any, dropped: int, added: list[Any]) -> None:
    for _ in range(dropped):
        del holder[0]
    holder.extend(added)


def _fill(holder: Any, keys: Any, names: list[tuple[str, str]], values: list[Any]) -> None:
    now = Contents(holder)
    rest = values[len(values) - len(names) :]
    now.keys, now.items = keys, values[: len(values) - len(names)]
    now.attributes = [(*name, value) for name, value in zip(names, rest, strict=True)]
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


def _instance(kind: Any, attributes: list[tuple[str, str]], values: tuple[Any, ...]) -> Any:
    instance = object.__new__(kind)
    for (how, name), value in zip(attributes, values, strict=True):
        if how == "own":
            vars(instance)[name] = value
        else:
            object.__setattr__(instance, name, value)
    return instance
