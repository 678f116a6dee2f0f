"""Objects by kind: what each holds, as places and rows, and where the walk goes on."""

from __future__ import annotations

import functools
import random
import weakref
from collections import deque
from contextvars import ContextVar
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    MappingProxyType,
    MethodType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.reach.code import (
    visit_builtin,
    visit_descriptor,
    visit_function,
    visit_method,
    visit_module,
    visit_partial,
)
from minigrad.reach.contents import CacheState, elements, keys_of, own_attributes, referent, slots_of, values_of
from minigrad.reach.leaves import MISSING, SIMPLE, pickled
from minigrad.reach.members import visit_members
from minigrad.reach.names import COMPUTED, LOGS, STANDARD
from minigrad.reach.places import StateRef
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.reach.walk import Reach


SOURCES = (np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random)
LARGE = 1 << 20  # bytes; larger arrays are not compared before each call
HARMLESS = frozenset({"Token", "lock", "RLock", "Lock", "Event", "Condition", "Semaphore", "object"})


def visit_array(reach: Reach, path: str, x: Any) -> None:
    """An array whose elements no tracer stands for: of objects, texts or records, or of a user's class."""
    if type(x) is np.ndarray and x.dtype.kind in "biufc":
        return
    reach.seen[id(x)] = x
    if x.dtype.kind == "O":
        held = x.ravel().tolist()
        reach.row("objects", x, held, path)
        for k, value in enumerate(held):
            reach.follow(f"{path}.{k}", value)
    elif x.nbytes > LARGE:
        reach.unreadable.append((path, x))
    else:
        reach.row("content", x, x.tobytes(), path)
    if type(x) is not np.ndarray:
        visit_members(reach, path, x)


def visit_tensor(reach: Reach, path: str, x: Tensor) -> None:
    """A Tensor: its array, gradient and node, and the hooks of that."""
    node = x.node
    reach.tensors[id(x)] = path, x
    reach.row("slots", x, (("data", x.data), ("node", node)), path)
    for key, inner in (("data", path), ("_grad", f"{path}.grad"), ("node", path)):
        ref = StateRef(x, key, "slot", inner)
        value = ref.get()
        if key == "_grad" and value is not MISSING:
            value = x.grad  # what stands for a gradient that nobody has read yet is no part of the state
        reach.refs.append((ref, value))
    if node is not None:
        hooks = getattr(node, "hooks", None)
        reach.row("hooks", node, hooks and list(hooks), f"{path}.hooks")
        for hook in hooks or ():
            reach.follow(f"{path}.hook", hook)


def visit_dict(reach: Reach, path: str, x: dict[Any, Any]) -> None:
    """A dictionary: every item, in order."""
    reach.row("dict", x, (keys_of(x), values_of(x)), path)
    reach.containers.append((x, path))
    before = f"{path}." if path else ""
    for key, value in zip(keys_of(x), values_of(x), strict=True):
        reach.ref(x, key, "item", f"{before}{key if type(key) in SIMPLE else type(key).__name__}", value)
        reach.follow(path, key)
    visit_members(reach, path, x)


def visit_sequence(reach: Reach, path: str, x: Any) -> None:
    """A list or deque: every element."""
    reach.row("list", x, elements(x), path)
    reach.containers.append((x, path))
    for k, value in enumerate(elements(x)):
        reach.ref(x, k, "index", f"{path}.{k}", value)
    visit_members(reach, path, x)


def visit_tuple(reach: Reach, path: str, x: Any) -> None:
    """A tuple, which cannot change itself."""
    for k, value in enumerate(tuple.__iter__(x)):
        reach.follow(f"{path}.{k}", value)
    if type(x) is not tuple:
        visit_members(reach, path, x)


def visit_set(reach: Reach, path: str, x: Any) -> None:
    """A set or frozenset."""
    if not isinstance(x, frozenset):
        reach.row("set", x, elements(x), path)
        reach.containers.append((x, path))
    for value in elements(x):
        reach.follow(path, value)
    if type(x) not in (set, frozenset):
        visit_members(reach, path, x)


def visit_proxy(reach: Reach, path: str, x: Any) -> None:
    """A read-only view of a dictionary."""
    reach.row("items", x, dict(x), path)
    for key, value in x.items():
        reach.follow(f"{path}.{key}", value)


def visit_weak(reach: Reach, path: str, x: Any) -> None:
    """A weak reference: what it refers to."""
    reach.row("weak", x, x(), path)
    reach.follow(path, x())


def visit_variable(reach: Reach, path: str, x: Any) -> None:
    """A variable of a context."""
    value = StateRef(x, "value", "variable", x.name).get()
    reach.row("variable", x, value, x.name)
    reach.ref(x, "value", "variable", x.name, value)


def visit_opaque(reach: Reach, path: str, x: Any) -> None:
    """A compiled function is as good as what it compiles."""
    for part in x.minigrad_reach():
        reach.follow(path, part)


def visit_object(reach: Reach, path: str, x: Any) -> None:
    """Any other object: its members, or what pickle sees of one that shows none."""
    kind = type(x)
    if kind.__module__ in LOGS:
        reach.unreadable.append((path, "a log"))
        return
    stateful = kind.__module__.split(".")[0] in STANDARD or kind.__module__ == "builtins"
    stateful |= issubclass(kind, np.random.SeedSequence)  # which counts what it has spawned
    if kind.__name__ in COMPUTED:
        reach.everything = True
    if kind.__name__ == "_lru_cache_wrapper":
        reach.row("cache", x, CacheState(x), path)
    if type(own_attributes(x)) is dict or any(slots_of(base) for base in kind.__mro__):
        visit_members(reach, path, x)
    elif stateful and kind is not object:
        state = pickled(x)
        if state is MISSING and kind.__name__ not in HARMLESS:
            reach.unreadable.append((path, x))
        elif state is not MISSING:
            reach.row("state", x, state, path)
    else:
        visit_members(reach, path, x)


VISITORS: dict[Any, Any] = {
    Tensor: visit_tensor,
    FunctionType: visit_function,
    MethodType: visit_method,
    BuiltinFunctionType: visit_builtin,
    ModuleType: visit_module,
    functools.partial: visit_partial,
    (property, staticmethod, classmethod, functools.cached_property): visit_descriptor,
    dict: visit_dict,
    (list, deque): visit_sequence,
    tuple: visit_tuple,
    (set, frozenset): visit_set,
    MappingProxyType: visit_proxy,
    weakref.ref: visit_weak,
    weakref.ProxyTypes: lambda reach, path, x: reach.follow(path, referent(x)),
    ContextVar: visit_variable,
    CellType: lambda reach, path, x: reach.ref(x, "cell_contents", "cell", path, StateRef(x, "", "cell", "").get()),
}


def register_opaque(kind: type) -> None:
    """Let objects of this class be known by what their `minigrad_reach()` returns, and not by their attributes."""
    VISITORS.update({kind: visit_opaque, **{k: v for k, v in VISITORS.items() if k is not kind}})
