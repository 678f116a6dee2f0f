"""Objects by kind: what each holds, as places and rows, and where the walk goes on."""

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
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.reach.code import (
    visit_builtin,
    visit_function,
    visit_method,
    visit_module,
)
from minigrad.reach.contents import (
    CacheState,
    base_in_c,
    behind,
    elements,
    fields_of,
    keys_of,
    own_attributes,
    referent,
    values_of,
)
from minigrad.reach.leaves import MISSING, SIMPLE, is_leaf_class, is_users_class, objects_in, pickled
from minigrad.reach.members import visit_field, visit_members
from minigrad.reach.names import COMPUTED, LOGS
from minigrad.reach.places import StateRef
from minigrad.tensor.tensor import Tensor
from minigrad.util.bytecode import only_answers

if TYPE_CHECKING:
    from minigrad.reach.walk import Reach


SOURCES = (np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random)
LARGE = 1 << 20  # bytes; larger arrays are not compared before each call
# Classes in C whose objects hold nothing that a step could read, or show all that they hold.
HARMLESS = frozenset({"Token", "lock", "RLock", "_local", "_lru_cache_wrapper", "UnionType", "Struct"})
HARMLESS |= {"GenericAlias", "_tuplegetter"}
CONTAINERS: frozenset[type | None] = frozenset(
    {dict, OrderedDict, list, deque, tuple, set, frozenset}
)  # in C, that hold their items and nothing else


def visit_ufunc(reach: Reach, path: str, x: Any) -> None:
    """A function of NumPy's: that of np.frompyfunc has the user's inside."""
    for part in gc.get_referents(x):
        if type(part) is not dict:
            reach.follow(path, part)


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
        visit_key(reach, path, key)
    _visit_rest(reach, path, x)


def _visit_rest(reach: Reach, path: str, x: Any) -> None:
    """What a container holds besides its items: attributes, and what a class in C adds (a default_factory)."""
    kind: Any = type(x)
    if base_in_c(kind) not in CONTAINERS:
        _visit_state(reach, path, x)
    visit_members(reach, path, x)


def visit_key(reach: Reach, path: str, key: Any) -> None:
    """What stands in a dictionary as a key, or in a set: who looks it up asks for its hash and compares it."""
    reach.follow(path, key)
    kind: Any = type(key)
    if kind in SIMPLE:
        return
    for part in elements(key) if kind is frozenset else key if kind is tuple else ():
        visit_key(reach, path, part)
    asked = (vars(base).get(name) for base in kind.__mro__ if is_users_class(base) for name in ("__hash__", "__eq__"))
    if any(isinstance(f, FunctionType) and not only_answers(f.__code__) for f in asked):
        text = f"a {kind.__name__} as a key, whose __hash__ or __eq__ does more than compute"
        reach.unreadable.append((path, text))


def visit_sequence(reach: Reach, path: str, x: Any) -> None:
    """A list or deque: every element."""
    reach.row("list", x, elements(x), path)
    reach.containers.append((x, path))
    for k, value in enumerate(elements(x)):
        reach.ref(x, k, "index", f"{path}.{k}", value)
    _visit_rest(reach, path, x)


def visit_tuple(reach: Reach, path: str, x: Any) -> None:
    """A tuple, which cannot change itself."""
    for k, value in enumerate(tuple.__iter__(x)):
        reach.follow(f"{path}.{k}", value)
    if type(x) is not tuple:
        _visit_rest(reach, path, x)


def visit_set(reach: Reach, path: str, x: Any) -> None:
    """A set or frozenset."""
    if not isinstance(x, frozenset):
        reach.row("set", x, elements(x), path)
        reach.containers.append((x, path))
    for value in elements(x):
        visit_key(reach, path, value)
    if type(x) not in (set, frozenset):
        _visit_rest(reach, path, x)


def visit_proxy(reach: Reach, path: str, x: Any) -> None:
    """A read-only view of a dictionary, whose items may be those of a class, or of an object that acts as one."""
    if type(behind(x)) is not dict:
        reach.follow(path, behind(x))
        return
    reach.row("dict", x, (list(x), list(x.values())), path)
    for key, value in x.items():
        reach.follow(f"{path}.{key}", value)
        reach.follow(path, key)


def visit_weak(reach: Reach, path: str, x: Any) -> None:
    """A weak reference: what it refers to, which a program would keep alive if nothing else in its reach does."""
    reach.row("weak", x, weakref.ref.__call__(x), path)
    _follow_weakly(reach, path, x, weakref.ref.__call__(x))
    if type(x) is not weakref.ref:
        visit_members(reach, path, x)


def _follow_weakly(reach: Reach, path: str, ref: Any, x: Any) -> None:
    was_held = id(x) in reach.held
    reach.follow(path, x)
    if not was_held:
        reach.held.pop(id(x), None)
    reach.weak.append((path, ref, x))


def visit_variable(reach: Reach, path: str, x: Any) -> None:
    """A variable of a context."""
    value = StateRef(x, "value", "variable", x.name).get()
    reach.row("variable", x, value, x.name)
    reach.ref(x, "value", "variable", x.name, value)


def visit_partial(reach: Reach, path: str, x: Any) -> None:
    """functools.partial: a place that holds a function and arguments."""
    reach.ref(x, "partial", "partial", path, (x.func, x.args, x.keywords))
    reach.row("slots", x, (("func", x.func), ("args", x.args)), path)
    visit_members(reach, path, x)


def visit_descriptor(reach: Reach, path: str, x: Any) -> None:
    """A property or another wrapper: the functions inside."""
    for name in ("fget", "fset", "__func__", "func", "__wrapped__"):
        reach.follow(path, getattr(x, name, None))
    if isinstance(x, property):
        reach.only_when_named("__doc__", functools.partial(visit_field, reach, path, x, "__doc__"))
    kind: Any = type(x)
    if is_users_class(kind):
        visit_members(reach, path, x)
    elif isinstance(x, (staticmethod, classmethod)):
        reach.named_attributes(own_attributes(x), path, x)


def visit_cell(reach: Reach, path: str, x: Any) -> None:
    """A cell that is held as an object: a variable of a function, taken from its __closure__."""
    value = StateRef(x, "cell_contents", "cell", path).get()
    reach.row("cell", x, value, path)
    reach.ref(x, "cell_contents", "cell", path, value)


def visit_opaque(reach: Reach, path: str, x: Any) -> None:
    """A compiled function is as good as what it compiles."""
    for part in x.minigrad_reach():
        reach.follow(path, part)


def visit_object(reach: Reach, path: str, x: Any) -> None:
    """Any other object: its members, and what pickle sees of one that holds more than these."""
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


def _visit_state(reach: Reach, path: str, x: Any) -> None:
    """What an object in C holds besides attributes: all that can be known of it is what pickle would keep."""
    if isinstance(x, random.Random) and not isinstance(x, random.SystemRandom):
        reach.generators.append(x)
        return
    own = own_attributes(x)  # which Python makes when it is asked for
    state = pickled(x)
    if state is MISSING:
        reach.unreadable.append((path, x))
        return
    reach.row("state", x, state, path)
    for part in objects_in(state):
        if part is not own:  # its attributes: only some of them may be read
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
    """Let objects of this class be known by what their `minigrad_reach()` returns, and not by their attributes."""
    VISITORS.update({kind: visit_opaque, **{k: v for k, v in VISITORS.items() if k is not kind}})
