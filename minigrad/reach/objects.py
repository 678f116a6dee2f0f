"""Visits to objects by kind: what each holds, as places and rows, and which objects are visited next."""

from __future__ import annotations

import functools
import gc
import random
import weakref
from collections import OrderedDict, deque
from contextvars import ContextVar
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import Any

import numpy as np

from minigrad.reach.code import LOGS, visit_builtin, visit_function, visit_method, visit_module
from minigrad.reach.collected import COMPUTED, Collected
from minigrad.reach.contents import (
    MISSING,
    StateRef,
    base_in_c,
    behind,
    elements,
    fields_of,
    keys_of,
    own_attributes,
    referent,
    values_of,
)
from minigrad.reach.leaves import NUMERIC, SIMPLE, is_leaf_class, is_users_class, objects_in, pickled
from minigrad.reach.members import visit_field, visit_members
from minigrad.reach.rows import CacheState
from minigrad.tensor.tensor import Tensor
from minigrad.util.bytecode import is_pure

SOURCES = (np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random)
LARGE = 1 << 20  # bytes; larger arrays are not compared before each call
# Classes in C whose objects hold nothing that a step could read, or hide nothing.
HARMLESS = frozenset({"Token", "lock", "RLock", "_local", "_lru_cache_wrapper", "UnionType", "Struct"})
HARMLESS |= {"GenericAlias", "_tuplegetter"}
# Classes in C whose objects hold their items and nothing else.
CONTAINERS: frozenset[type | None] = frozenset({dict, OrderedDict, list, deque, tuple, set, frozenset})


def visit_ufunc(reach: Collected, path: str, x: Any) -> None:
    """A ufunc: one made by np.frompyfunc contains a user's function."""
    for part in gc.get_referents(x):
        if type(part) is not dict:
            reach.follow(path, part)


def visit_array(reach: Collected, path: str, x: Any) -> None:
    """An array that no tracer replaces: of objects, strings or records, or of a user's subclass."""
    if type(x) is np.ndarray and x.dtype.kind in NUMERIC:
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


def visit_tensor(reach: Collected, path: str, x: Tensor) -> None:
    """A Tensor: its array, gradient and node, and the hooks of that."""
    node = x.node
    reach.tensors[id(x)] = path, x
    reach.row("slots", x, {"data": x.data, "node": node}, path)
    for key, inner in (("data", path), ("_grad", f"{path}.grad"), ("node", path)):
        ref = StateRef(x, key, "slot", inner)
        value = ref.get()
        if key == "_grad" and value is not MISSING:
            value = x.grad  # a deferred gradient is not a part of the state
        reach.refs.append((ref, value))
    if node is not None:
        hooks = list(getattr(node, "hooks", None) or ())
        reach.row("hooks", node, hooks, f"{path}.hooks")
        for hook in hooks:
            reach.follow(f"{path}.hook", hook)


def visit_dict(reach: Collected, path: str, x: dict[Any, Any]) -> None:
    """A dictionary: every item, in order."""
    reach.row("dict", x, (keys_of(x), values_of(x)), path)
    reach.containers.append((x, path))
    before = f"{path}." if path else ""
    for key, value in zip(keys_of(x), values_of(x), strict=True):
        reach.ref(x, key, "item", f"{before}{key if type(key) in SIMPLE else type(key).__name__}", value)
        visit_key(reach, path, key)
    _visit_rest(reach, path, x)


def _visit_rest(reach: Collected, path: str, x: Any) -> None:
    """What a container holds besides its items: attributes, and fields of a class in C (default_factory)."""
    kind: Any = type(x)
    if base_in_c(kind) not in CONTAINERS:
        _visit_state(reach, path, x)
    visit_members(reach, path, x)


def visit_key(reach: Collected, path: str, key: Any) -> None:
    """A key of a dictionary, or a member of a set: a lookup calls its __hash__ and __eq__."""
    reach.follow(path, key)
    kind: Any = type(key)
    if kind in SIMPLE:
        return
    for part in elements(key) if kind is frozenset else key if kind is tuple else ():
        visit_key(reach, path, part)
    called = (vars(base).get(name) for base in kind.__mro__ if is_users_class(base) for name in ("__hash__", "__eq__"))
    if any(isinstance(f, FunctionType) and not is_pure(f.__code__) for f in called):
        text = f"a {kind.__name__} as a key, whose __hash__ or __eq__ does more than compute"
        reach.unreadable.append((path, text))


def visit_sequence(reach: Collected, path: str, x: Any) -> None:
    """A list or deque: every element."""
    reach.row("list", x, elements(x), path)
    reach.containers.append((x, path))
    for k, value in enumerate(elements(x)):
        reach.ref(x, k, "index", f"{path}.{k}", value)
    _visit_rest(reach, path, x)


def visit_tuple(reach: Collected, path: str, x: Any) -> None:
    """A tuple, which cannot change but holds objects that can."""
    for k, value in enumerate(tuple.__iter__(x)):
        reach.follow(f"{path}.{k}", value)
    if type(x) is not tuple:
        _visit_rest(reach, path, x)


def visit_set(reach: Collected, path: str, x: Any) -> None:
    """A set or frozenset."""
    if not isinstance(x, frozenset):
        reach.row("set", x, elements(x), path)
        reach.containers.append((x, path))
    for value in elements(x):
        visit_key(reach, path, value)
    if type(x) not in (set, frozenset):
        _visit_rest(reach, path, x)


def visit_proxy(reach: Collected, path: str, x: Any) -> None:
    """A read-only view of a dictionary or another mapping."""
    if type(behind(x)) is not dict:
        reach.follow(path, behind(x))
        return
    reach.row("dict", x, (list(x), list(x.values())), path)
    for key, value in x.items():
        reach.follow(f"{path}.{key}", value)
        reach.follow(path, key)


def visit_weak(reach: Collected, path: str, x: Any) -> None:
    """A weak reference, and its referent."""
    reach.row("weak", x, weakref.ref.__call__(x), path)
    _follow_weakly(reach, path, x, weakref.ref.__call__(x))
    if type(x) is not weakref.ref:
        visit_members(reach, path, x)


def _follow_weakly(reach: Collected, path: str, ref: Any, x: Any) -> None:
    was_held = id(x) in reach.held
    reach.follow(path, x)
    if not was_held:
        reach.held.pop(id(x), None)
    reach.weak.append((path, ref, x))


def visit_variable(reach: Collected, path: str, x: Any) -> None:
    """A context variable."""
    reach.place("variable", x, "value", x.name)


def visit_partial(reach: Collected, path: str, x: Any) -> None:
    """A functools.partial, which is a place that holds a function and arguments."""
    reach.ref(x, "partial", "partial", path, (x.func, x.args, x.keywords))
    reach.row("slots", x, {"func": x.func, "args": x.args}, path)
    visit_members(reach, path, x)


def visit_descriptor(reach: Collected, path: str, x: Any) -> None:
    """A property or another wrapper of functions."""
    for name in ("fget", "fset", "__func__", "func", "__wrapped__"):
        reach.follow(path, getattr(x, name, None))
    if isinstance(x, property):
        reach.only_when_named("__doc__", functools.partial(visit_field, reach, path, x, "__doc__"))
    kind: Any = type(x)
    if is_users_class(kind):
        visit_members(reach, path, x)
    elif isinstance(x, (staticmethod, classmethod)):
        reach.named_attributes(own_attributes(x), path, x)


def visit_cell(reach: Collected, path: str, x: Any) -> None:
    """A cell that is held as an object, taken from a function's __closure__."""
    reach.place("cell", x, "cell_contents", path)


def visit_opaque(reach: Collected, path: str, x: Any) -> None:
    """An object that says itself what it reaches, such as a compiled function."""
    for part in x.minigrad_reach():
        reach.follow(path, part)


def visit_object(reach: Collected, path: str, x: Any) -> None:
    """Any other object: its members, and its pickled state where it holds more than these."""
    kind: Any = type(x)
    if kind.__module__ in LOGS:
        reach.unreadable.append((path, "a log"))
        return
    if kind.__name__ in COMPUTED:
        reach.everything = True
    if kind.__name__ == "_lru_cache_wrapper":
        reach.row("cache", x, CacheState(x), path)
    base = base_in_c(kind)
    if base is not None and base.__name__ not in HARMLESS and not is_leaf_class(kind):
        _visit_state(reach, path, x)
    if isinstance(x, BaseException):
        for name in fields_of(kind):
            reach.only_when_named(name, functools.partial(visit_field, reach, path, x, name))
    visit_members(reach, path, x)


def _visit_state(reach: Collected, path: str, x: Any) -> None:
    """The state of an object in C: only what pickle would store can be known."""
    if isinstance(x, random.Random) and not isinstance(x, random.SystemRandom):
        reach.generators.append(x)
        return
    own = own_attributes(x)  # Python makes it when it is read
    state = pickled(x)
    if state is MISSING:
        reach.unreadable.append((path, x))
        return
    reach.row("state", x, state, path)
    for part in objects_in(state):
        if part is not own:  # of its attributes only some may be read
            reach.follow(path, part)


VISITORS: dict[Any, Any] = {
    Tensor: visit_tensor,
    FunctionType: visit_function,
    MethodType: visit_method,
    (BuiltinFunctionType, MethodWrapperType): visit_builtin,
    np.ufunc: visit_ufunc,
    ModuleType: visit_module,
    functools.partial: visit_partial,
    (property, staticmethod, classmethod, functools.cached_property): visit_descriptor,
    dict: visit_dict,
    (list, deque): visit_sequence,
    tuple: visit_tuple,
    (set, frozenset): visit_set,
    MappingProxyType: visit_proxy,
    weakref.ref: visit_weak,
    weakref.ProxyTypes: lambda reach, path, x: _follow_weakly(reach, path, x, referent(x)),
    ContextVar: visit_variable,
    CellType: visit_cell,
}


def register_opaque(kind: type) -> None:
    """Walk objects of this class through what their `minigrad_reach()` returns, instead of their attributes."""
    VISITORS.update({kind: visit_opaque, **{k: v for k, v in VISITORS.items() if k is not kind}})
