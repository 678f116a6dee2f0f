"""The state of a step: what its function reaches through closure, globals, bound objects, arguments and `state=`.

Arrays, Tensors, Generators and Python numbers are found at places: an item of a dict (also an object's attributes), an
item of a list, a slot, a cell of a closure. While a step is traced, arrays and Generators at these places are replaced
by those that listen. Afterwards the places are looked at again: whatever stands there then belongs to the result.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections import deque
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from minigrad.compiler.listening import Listening
from minigrad.compiler.refusal import OWN
from minigrad.nn.module import Module
from minigrad.node import Node
from minigrad.tensor import Tensor

MISSING: Any = type("Missing", (), {"__repr__": lambda _: "missing"})()
SCALARS = (bool, int, float, complex, str, type(None))
OPAQUE = (
    type,
    ModuleType,
    Listening,
    np.ndarray,
    np.ufunc,
    np.dtype,
    np.generic,
    bytes,
    Node,
    np.random.Generator,
    *SCALARS,
)
CONTAINERS = {"builtins", "collections", "types", "functools", "__main__"}
STANDARD = sys.stdlib_module_names - CONTAINERS
GRAD, NODE = "_grad", "node"


class Spot:
    """A place that holds something: container[key], container.key for slots, or a cell's content."""

    __slots__ = ("holder", "how", "key", "owner", "path")

    def __init__(self, holder: Any, key: Any, how: str, path: str, owner: Any = None) -> None:
        self.holder, self.key, self.how, self.path = holder, key, how, path
        self.owner = owner  # the object whose attribute this is

    @property
    def is_scratch(self) -> bool:
        """Whether nobody reads it between two steps: its class says so."""
        return self.key in getattr(type(self.owner), "scratch", ())

    @property
    def identity(self) -> tuple[int, Any]:
        """What tells it from other places."""
        return id(self.holder), self.key

    def get(self) -> Any:
        """What stands here, MISSING if nothing."""
        if self.how in ("item", "global"):
            try:
                return self.holder[self.key]
            except (KeyError, IndexError):
                return MISSING
        if self.how == "slot":
            return getattr(self.holder, self.key, None if self.key == GRAD else MISSING)
        try:
            return self.holder.cell_contents
        except ValueError:
            return MISSING

    def set(self, value: Any) -> None:
        """Put something here."""
        if self.how in ("item", "global"):
            if value is MISSING:
                self.holder.pop(self.key, None)
            else:
                dict.__setitem__(self.holder, self.key, value) if isinstance(
                    self.holder, dict
                ) else self.holder.__setitem__(self.key, value)
        elif self.how == "slot":
            if value is not MISSING:
                setattr(self.holder, self.key, value)
            elif hasattr(self.holder, self.key):
                delattr(self.holder, self.key)
        elif value is not MISSING:
            self.holder.cell_contents = value

    def __repr__(self) -> str:
        return f"<{self.path}>"


def explore(roots: list[tuple[str, Any]], functions: list[Any] | None = None) -> list[tuple[Spot, Any]]:
    """All places that can be reached from some objects, and what stands there. Nearer ones come first.

    The user's functions on the way are appended to `functions`.
    """
    found: list[tuple[Spot, Any]] = []
    seen: set[int] = set()
    pending = deque(roots)
    while pending:
        path, thing = pending.popleft()
        if id(thing) in seen or isinstance(thing, OPAQUE):
            continue
        seen.add(id(thing))
        if functions is not None and isinstance(thing, FunctionType) and not _is_library(thing):
            functions.append(thing)
        for spot in spots(thing, path):
            value = spot.get()
            found.append((spot, value))
            pending.append((spot.path, value))
        pending.extend((f"{path}.{k}", part) for k, part in enumerate(_parts(thing)))
    return found


def spots(thing: Any, path: str) -> Iterator[Spot]:
    """The places of one object."""
    if isinstance(thing, Tensor):
        yield Spot(thing, "data", "slot", path)
        yield Spot(thing, GRAD, "slot", f"{path}.grad")
        yield Spot(thing, NODE, "slot", path)
        return
    if isinstance(thing, FunctionType):
        yield from _of_function(thing, path)
        return
    if (type(thing).__module__ or "").split(".")[0] in STANDARD:
        return
    before = f"{path}." if path else ""
    if isinstance(thing, dict):
        yield from (Spot(thing, key, "item", f"{before}{key}") for key in list(thing))
    elif isinstance(thing, list):
        yield from (Spot(thing, k, "item", f"{before}{k}") for k, x in enumerate(thing) if not isinstance(x, SCALARS))
    attributes = getattr(thing, "__dict__", None)
    if isinstance(attributes, dict):
        yield from (Spot(attributes, key, "item", f"{before}{key}", thing) for key in list(attributes))
    if isinstance(thing, Module):  # in the class until train() or eval() is called
        yield Spot(thing, "training", "slot", f"{path}.training", thing)
    for kind in type(thing).__mro__:
        yield from (Spot(thing, name, "slot", f"{before}{name}", thing) for name in _slots(kind))


def _slots(kind: type) -> list[str]:
    if kind.__module__ == "builtins" or kind.__module__.startswith("numpy"):
        return []
    given = kind.__dict__.get("__slots__", ())
    names = (given,) if isinstance(given, str) else tuple(given)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _parts(thing: Any) -> list[Any]:
    """What is reached through an object that has no places for it."""
    if isinstance(thing, (tuple, set, frozenset, deque)):
        return [x for x in thing if not isinstance(x, SCALARS)]
    if isinstance(thing, MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, FunctionType):
        return [thing.__kwdefaults__] if thing.__kwdefaults__ else []
    methods = [type(thing).__dict__.get(name) for name in ("__call__", "forward")]
    return [f for f in methods if isinstance(f, FunctionType) and not _is_library(f)]


def _of_function(function: FunctionType, path: str) -> Iterator[Spot]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        yield Spot(cell, "cell_contents", "cell", name)
    if function.__defaults__:
        yield Spot(function, "__defaults__", "slot", path)
    if not _is_library(function):
        for name in _global_names(function.__code__):
            if name in function.__globals__:
                yield Spot(function.__globals__, name, "global", name)


def watched(found: list[tuple[Spot, Any]], functions: list[Any]) -> list[tuple[Spot, Any]]:
    """The Python numbers and words that decide about the course of a step: closures', globals', modules' and options'.

    Of other objects those count whose attributes are named in the user's functions.
    """
    named: set[str] = set()
    for f in functions:
        named |= _attribute_names(f.__code__)
    watch = []
    for spot, value in found:
        if not isinstance(value, SCALARS) or value is None or spot.key in ("lr", "initial_lr", "data", GRAD):
            continue
        if isinstance(spot.owner, Module):
            decides = not str(spot.key).startswith("_") and (spot.key != "training" or spot.how == "slot")
        elif spot.owner is None:
            decides = spot.how in ("cell", "global") or "params" in spot.holder
        else:
            decides = spot.key in named
        if decides:
            watch.append((spot, value))
    return watch


@functools.lru_cache(maxsize=1024)
def _attribute_names(code: CodeType) -> frozenset[str]:
    inner = [_attribute_names(c) for c in code.co_consts if isinstance(c, CodeType)]
    return frozenset(code.co_names).union(*inner)


def _is_library(function: FunctionType) -> bool:
    module = str(function.__globals__.get("__name__", "")).split(".")[0]
    return module in STANDARD or function.__code__.co_filename.startswith(OWN)


@functools.lru_cache(maxsize=1024)
def _global_names(code: CodeType) -> tuple[str, ...]:
    """The globals that a function and those written inside it use."""
    names = dict.fromkeys(
        str(i.argval) for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "STORE_GLOBAL", "LOAD_NAME")
    )
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= dict.fromkeys(_global_names(constant))
    return tuple(names)
