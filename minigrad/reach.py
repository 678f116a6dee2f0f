"""Reach: everything that a function can read, found by walking from it.

A compiled step, a recomputed function and an audit ask the same question: which objects, arrays, generators and numbers
decide what a call does? The walk goes from a function through its closure, defaults and the globals that its code
names, through attributes, items, slots and class attributes, to the leaves. It yields two things:

- `refs`: places that hold something and can hold something else (`StateRef`), with what stands there now;
- `rows`: for each object on the way what it held, so that a guard can say later whether it still does.

*Can read* is less than *is reachable*: an attribute that no code names cannot be read, so counting epochs in a trainer
does not invalidate its step. Names are the attribute names and string constants of all functions that were reached,
to a fixpoint; everything counts once some code computes names (`vars`, `getattr`, `eval`, ...).
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import functools
import os
import pathlib
import re
import struct
import sys
import uuid
import weakref
from collections import deque
from collections.abc import Iterator
from types import (
    BuiltinFunctionType,
    CellType,
    ClassMethodDescriptorType,
    CodeType,
    EllipsisType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    NotImplementedType,
    WrapperDescriptorType,
)
from typing import Any

import numpy as np

from minigrad.node import Node
from minigrad.tensor import Tensor

MISSING: Any = type("Missing", (), {"__repr__": lambda _: "missing", "__reduce__": lambda _: "MISSING"})()

# Immutable, and equal where their types and bits are: compared by value.
LEAVES = (
    *(bool, int, float, complex, str, bytes, type(None), range, slice, EllipsisType, NotImplementedType, CodeType),
    *(np.generic, np.dtype, enum.Enum, re.Pattern, decimal.Decimal, fractions.Fraction, pathlib.PurePath, uuid.UUID),
    *(datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, np.random.SeedSequence),
)
# Known by their identity; what they hold is looked at by other means, or cannot change.
IDENTITIES = (
    *(np.ndarray, np.ufunc, np.random.Generator, np.random.BitGenerator, np.random.RandomState, Node),
    *(WrapperDescriptorType, MethodWrapperType, GetSetDescriptorType, MemberDescriptorType, type(str.join)),
    ClassMethodDescriptorType,
)
LIBRARIES = frozenset({"minigrad", "numpy", "numba", "llvmlite", "scipy", "builtins"})
CONTAINERS = frozenset({"builtins", "collections", "types", "functools", "__main__", "dataclasses"})
STANDARD = frozenset(sys.stdlib_module_names) - CONTAINERS
COMPUTED = frozenset({"vars", "dir", "eval", "exec", "locals", "globals", "getattr", "hasattr", "attrgetter"})
COMPUTED |= {"__dict__", "__getattr__", "__getattribute__", "asdict", "astuple", "deepcopy", "__slots__", "dumps"}
IMPLICIT = frozenset({"forward", "training", "_hooks", "_parameters", "_buffers", "_name", "rule"})
UNREAD = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "_abc_impl"})
UNREAD |= {"__static_attributes__", "__firstlineno__", "__dataclass_fields__", "__dataclass_params__", "__match_args__"}
CODE = (FunctionType, BuiltinFunctionType, type, ModuleType, MethodType)
LOGS = frozenset({"logging", "warnings"})
LOGGED = frozenset({"debug", "info", "warning", "error", "critical", "exception", "log", "warn"})
HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE
MANY = 200_000  # objects; a step that reaches more is not guarded in a reasonable time


class StateRef:
    """A place that holds something: an item, an attribute, a slot, a cell, a class attribute.

    Args:
        holder: what has it. For attributes the instance's own dictionary.
        key: which one.
        kind: "item" (of a dictionary), "index" (of a list or deque), "slot", "cell", "class" or "partial".
        path: how a user would write it.
        owner: the object whose attribute it is, if it is one.
    """

    __slots__ = ("holder", "key", "kind", "owner", "path")

    def __init__(self, holder: Any, key: Any, kind: str, path: str, owner: Any = None) -> None:
        self.holder, self.key, self.kind, self.path, self.owner = holder, key, kind, path, owner

    @property
    def identity(self) -> tuple[int, Any]:
        """What tells it from other places."""
        return id(self.holder), self.key

    @property
    def is_grad(self) -> bool:
        """Whether this is the gradient of a Tensor."""
        return self.kind == "slot" and self.key == "_grad"

    @property
    def is_node(self) -> bool:
        """Whether this is the node of a Tensor."""
        return self.kind == "slot" and self.key == "node"

    def get(self) -> Any:
        """What stands here, MISSING if nothing."""
        try:
            if self.kind == "item":
                return dict.__getitem__(self.holder, self.key)
            if self.kind == "slot":
                return object.__getattribute__(self.holder, self.key)
            if self.kind == "index":
                return self.holder[self.key]
            if self.kind == "cell":
                return self.holder.cell_contents
            if self.kind == "class":
                return vars(self.holder)[self.key]
            return self.holder.__reduce__()[2][:3]
        except (KeyError, IndexError, AttributeError, ValueError):
            return MISSING

    def set(self, value: Any) -> None:
        """Put something here, without the holder's own __setattr__ or __setitem__; MISSING deletes."""
        holder, key = self.holder, self.key
        if self.kind == "item":
            if value is MISSING:
                dict.pop(holder, key, None)
            else:
                dict.__setitem__(holder, key, value)
        elif self.kind == "slot":
            if value is not MISSING:
                object.__setattr__(holder, key, value)
            elif self.get() is not MISSING:
                object.__delattr__(holder, key)
        elif self.kind == "index":
            if value is not MISSING:
                type(holder).__mro__[-2].__setitem__(holder, key, value)
        elif self.kind == "cell":
            if value is not MISSING:
                holder.cell_contents = value
            elif self.get() is not MISSING:
                del holder.cell_contents
        elif self.kind == "class":
            if value is not MISSING:
                type.__setattr__(holder, key, value)
            elif key in vars(holder):
                type.__delattr__(holder, key)
        else:
            holder.__setstate__((*value, vars(holder) or None))

    def __repr__(self) -> str:
        return f"<StateRef {self.path}>"


class Row:
    """What one object held when it was walked: a unit of guards.

    `kind` says how `holder` is looked at and what `held` is: "dict" (all items, in order), "items" (some keys of a
    dictionary, MISSING among the values), "list" (all, in order), "set", "slots" (names and values), "function" (code,
    defaults and keyword defaults), "class" (some attributes), "cell", "hooks" (of a node), "weak" (what a weak reference
    refers to), "type" (its class), "state" (the pickled state of an object that has no other), "content" (the bytes of an
    array), "layout" (shape, dtype and whether it can be written, of an array).
    """

    __slots__ = ("held", "holder", "kind", "path")

    def __init__(self, kind: str, holder: Any, held: Any, path: str) -> None:
        self.kind, self.holder, self.held, self.path = kind, holder, held, path

    def __repr__(self) -> str:
        return f"<Row {self.kind} {self.path}>"


class Reach:
    """What some objects reach.

    Args:
        roots: pairs of a path (what a user calls it) and an object.
        everything: whether attributes that no code names count too.

    Attributes:
        refs: places and what stands there, nearer ones first.
        rows: what the objects held, for guards.
        functions: the user's functions on the way.
        generators: random generators that no place holds directly, so that none can be put there instead.
        unreadable: pairs of a path and an object whose state cannot be seen, such as a running generator.
    """

    def __init__(self, roots: list[tuple[str, Any]], everything: bool = False) -> None:
        self.refs: list[tuple[StateRef, Any]] = []
        self.rows: list[Row] = []
        self.functions: list[FunctionType] = []
        self.generators: list[Any] = []
        self.unreadable: list[tuple[str, Any]] = []
        self.containers: list[tuple[Any, str]] = []  # whatever can get more items
        self.seen: dict[int, Any] = {}  # keeps alive what has an id here
        self.names: set[str] = set(IMPLICIT)
        self.everything = everything
        self._fixed: set[int] = set()  # containers of minigrad's own that nobody changes once they are made
        self._unread: dict[str, list[Any]] = {}  # attributes that nothing has named yet
        self._todo: deque[tuple[str, Any]] = deque(roots)
        self._walk()

    def _walk(self) -> None:
        while True:
            while self._todo:
                path, x = self._todo.popleft()
                self._visit(path, x)
            if not (self.everything and self._unread):
                break
            for later in [f for waiting in self._unread.values() for f in waiting]:
                later()
            self._unread.clear()
        if len(self.seen) > MANY:
            self.unreadable.append(("the step", f"more than {MANY} objects"))

    # Places and rows

    def _ref(self, holder: Any, key: Any, kind: str, path: str, value: Any, owner: Any = None) -> None:
        self.refs.append((StateRef(holder, key, kind, path, owner), value))
        self._go(path, value)

    def _go(self, path: str, x: Any) -> None:
        if type(x) not in SIMPLE:
            self._todo.append((path, x))

    def _row(self, kind: str, holder: Any, held: Any, path: str) -> None:
        if id(holder) not in self._fixed:
            self.rows.append(Row(kind, holder, held, path))

    # Objects by kind

    def _visit(self, path: str, x: Any) -> None:
        if id(x) in self.seen or len(self.seen) > MANY or is_leaf(x):
            return
        if isinstance(x, IDENTITIES) or hasattr(type(x), "minigrad_tracer"):
            if isinstance(x, (np.random.RandomState, np.random.BitGenerator)):
                self.generators.append(x)
            return
        self.seen[id(x)] = x
        for kind, visit in _VISITORS.items():
            if isinstance(x, kind):
                visit(self, path, x)
                return
        self._object(path, x)

    def _tensor(self, path: str, x: Tensor) -> None:
        node = x.node
        self._row("slots", x, (("data", x.data), ("node", node)), path)
        for key, inner in (("data", path), ("_grad", f"{path}.grad"), ("node", path)):
            ref = StateRef(x, key, "slot", inner)
            value = ref.get()
            self.refs.append((ref, value))
        if node is not None:
            hooks = getattr(node, "hooks", None)
            self._row("hooks", node, hooks and list(hooks), f"{path}.hooks")
            for hook in hooks or ():
                self._go(f"{path}.hook", hook)

    def _function(self, path: str, x: FunctionType) -> None:
        library = is_library(x)
        if library and not x.__closure__ and not x.__defaults__:
            return
        code = x.__code__
        self._row("function", x, (code, x.__defaults__, x.__kwdefaults__), path or x.__name__)
        if x.__defaults__:
            self._ref(x, "__defaults__", "slot", path, x.__defaults__)
        self._go(path, x.__kwdefaults__)
        for name, cell in zip(code.co_freevars, x.__closure__ or (), strict=False):
            value = StateRef(cell, "cell_contents", "cell", name).get()
            if id(cell) not in self.seen:
                self.seen[id(cell)] = cell
                self._row("cell", cell, value, name)
                self._ref(cell, "cell_contents", "cell", name, value)
        if not library:
            self.functions.append(x)
            self._read_names(words(code))
            self._globals(x, code)

    def _globals(self, function: FunctionType, code: CodeType) -> None:
        scope = function.__globals__
        for name in global_names(code):
            if (id(scope), name) in self.seen:
                continue
            self.seen[id(scope), name] = scope  # type: ignore[index]
            value = scope.get(name, MISSING)
            if value is not MISSING or name in BUILTINS:  # a global may come to hide a builtin
                self._row("items", scope, {name: value}, name)
            self._ref(scope, name, "item", name, value)

    def _module(self, path: str, x: ModuleType) -> None:
        root = x.__name__.split(".")[0]
        if root in LIBRARIES:
            return
        scope = vars(x)
        names = [n for n in scope if not n.startswith("__")]
        if root in STANDARD:  # its functions are what they are, and its state is known by name: os.environ, sys.argv
            names = [n for n in names if not isinstance(scope[n], CODE)]
        if x.__name__ == "sys":  # whoever names `modules` means those of a model
            names.remove("modules")
        if x.__name__ in LOGS:
            for name in LOGGED:
                self._if_named(name, functools.partial(self.unreadable.append, (f"{path}.{name}", "a log")))
        for name in names:
            self._if_named(name, functools.partial(self._attribute, scope, name, f"{path}.{name}", x))

    def _attribute(self, scope: dict[str, Any], name: str, path: str, owner: Any) -> None:
        """One attribute of an object whose others may not be read."""
        value = scope.get(name, MISSING)
        self._row("items", scope, {name: value}, path)
        if value is not MISSING:
            self._ref(scope, name, "item", path, value, owner)

    def _if_named(self, name: str, visit: Any) -> None:
        """Visit an attribute now if some code names it, or when some does."""
        if self.everything or name in self.names or name.startswith("__"):
            visit()
        else:
            self._unread.setdefault(name, []).append(visit)

    def _read_names(self, names: frozenset[str]) -> None:
        if COMPUTED & names:
            self.everything = True
        if "getenv" in names:
            self._go("os.environ", os.environ)
        for name in names - self.names:
            self.names.add(name)
            for visit in self._unread.pop(name, ()):
                visit()

    def _class(self, path: str, x: type) -> None:
        root = x.__module__.split(".")[0] if isinstance(x.__module__, str) else ""
        if root in LIBRARIES:
            if root == "minigrad":  # what its methods call on a user's subclass
                self._read_names(_method_names(x))
            return
        if root in STANDARD or not x.__flags__ & HEAP_TYPE:  # written in C, and nobody can change it
            return
        for name, value in vars(x).items():
            if name not in UNREAD:
                self._if_named(name, functools.partial(self._class_attribute, x, name, value, f"{path}.{name}"))
        for base in x.__mro__[1:]:
            self._go(path, base)
        if type(x) is not type:
            self._go(path, type(x))

    def _class_attribute(self, kind: type, name: str, value: Any, path: str) -> None:
        self._row("class", kind, {name: value}, path)
        if name.startswith("__") and not isinstance(value, FunctionType):
            self._go(path, value)
        else:
            self._ref(kind, name, "class", path, value)

    def _method(self, path: str, x: MethodType) -> None:
        self._go(path, x.__self__)
        self._go(path, x.__func__)

    def _builtin(self, path: str, x: BuiltinFunctionType) -> None:
        owner = x.__self__
        if isinstance(owner, (np.random.Generator, np.random.RandomState)):
            self.generators.append(owner)
        elif not isinstance(owner, ModuleType):
            self._go(path, owner)

    def _partial(self, path: str, x: Any) -> None:
        self._ref(x, "partial", "partial", path, (x.func, x.args, x.keywords))
        self._row("slots", x, (("func", x.func), ("args", x.args)), path)

    def _descriptor(self, path: str, x: Any) -> None:
        for name in ("fget", "fset", "__func__", "func", "__wrapped__"):
            self._go(path, getattr(x, name, None))

    def _dict(self, path: str, x: dict[Any, Any]) -> None:
        self._row("dict", x, (list(x), list(x.values())), path)
        self.containers.append((x, path))
        before = f"{path}." if path else ""
        for key, value in list(x.items()):
            self._ref(x, key, "item", f"{before}{key if type(key) in SIMPLE else type(key).__name__}", value)
            self._go(path, key)
        self._members(path, x)

    def _sequence(self, path: str, x: Any) -> None:
        self._row("list", x, list(x), path)
        self.containers.append((x, path))
        for k, value in enumerate(x):
            self._ref(x, k, "index", f"{path}.{k}", value)
        self._members(path, x)

    def _tuple(self, path: str, x: Any) -> None:
        for k, value in enumerate(x):
            self._go(f"{path}.{k}", value)

    def _set(self, path: str, x: Any) -> None:
        if not isinstance(x, frozenset):
            self._row("set", x, frozenset(x), path)
            self.containers.append((x, path))
        for value in x:
            self._go(path, value)

    def _proxy(self, path: str, x: Any) -> None:
        self._row("items", x, dict(x), path)
        for key, value in x.items():
            self._go(f"{path}.{key}", value)

    def _weak(self, path: str, x: Any) -> None:
        self._row("weak", x, x(), path)
        self._go(path, x())

    def _opaque(self, path: str, x: Any) -> None:
        """A compiled function is as good as what it compiles."""
        for part in x.minigrad_reach():
            self._go(path, part)

    def _members(self, path: str, x: Any) -> None:
        """Attributes and slots of an object, and its class."""
        kind = type(x)
        own = getattr(x, "__dict__", None)
        before = f"{path}." if path else ""
        if type(own) is dict and id(own) not in self.seen:
            self.seen[id(own)] = own
            self.containers.append((own, path))
            if self.everything or kind.__module__.split(".")[0] in STANDARD | {"minigrad"}:
                self._row("dict", own, (list(own), list(own.values())), path)
                self._fixed |= {id(own[name]) for name in getattr(kind, "fixed", ()) if name in own}
                for name, value in list(own.items()):
                    self._ref(own, name, "item", f"{before}{name}", value, x)
            else:
                self._sliced(own, before, x)
        for base in kind.__mro__:
            names = _slots(base)
            held = [(name, StateRef(x, name, "slot", "").get()) for name in names]
            if held:
                self._row("slots", x, tuple(held), path)
            for name, value in held:
                self._ref(x, name, "slot", f"{before}{name}", value, x)
        if kind.__module__ != "builtins":
            self._go(type(x).__name__, kind)
            if kind.__flags__ & HEAP_TYPE and kind.__module__.split(".")[0] not in STANDARD | LIBRARIES:
                self._row("type", x, kind, path)

    def _sliced(self, own: dict[str, Any], before: str, x: Any) -> None:
        """The attributes of a user's object that some code names, and those of its class that others would hide."""
        shadowed = {n for base in type(x).__mro__ if base.__module__ != "builtins" for n in vars(base)} - UNREAD
        for name in [*own, *(n for n in shadowed if n not in own and not n.startswith("__"))]:
            if isinstance(name, str):
                self._if_named(name, functools.partial(self._attribute, own, name, f"{before}{name}", x))

    def _object(self, path: str, x: Any) -> None:
        kind = type(x)
        if kind.__module__ in LOGS:
            self.unreadable.append((path, "a log"))
            return
        stateful = kind.__module__.split(".")[0] in STANDARD or kind.__module__ == "builtins"
        if getattr(x, "__dict__", None) or any(_slots(base) for base in kind.__mro__):
            self._members(path, x)
        elif stateful and kind is not object:
            state = pickled(x)
            if state is MISSING and kind.__name__ not in HARMLESS:
                self.unreadable.append((path, x))
            elif state is not MISSING:
                self._row("state", x, state, path)
        else:
            self._members(path, x)


SIMPLE = frozenset({bool, int, float, complex, str, bytes, type(None), np.ndarray, np.float64, type(MISSING)})
BUILTINS = frozenset(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__)
HARMLESS = frozenset({"lock", "RLock", "Lock", "Event", "Condition", "Semaphore", "Context", "object", "ContextVar"})
_VISITORS: dict[Any, Any] = {
    Tensor: Reach._tensor,
    FunctionType: Reach._function,
    MethodType: Reach._method,
    BuiltinFunctionType: Reach._builtin,
    ModuleType: Reach._module,
    type: Reach._class,
    functools.partial: Reach._partial,
    (property, staticmethod, classmethod, functools.cached_property): Reach._descriptor,
    dict: Reach._dict,
    (list, deque): Reach._sequence,
    tuple: Reach._tuple,
    (set, frozenset): Reach._set,
    MappingProxyType: Reach._proxy,
    weakref.ref: Reach._weak,
    CellType: lambda reach, path, x: reach._ref(x, "cell_contents", "cell", path, StateRef(x, "", "cell", "").get()),
}


def register_opaque(kind: type) -> None:
    """Let objects of this class be known by what their `minigrad_reach()` returns, and not by their attributes."""
    _VISITORS.update({kind: Reach._opaque, **{k: v for k, v in _VISITORS.items() if k is not kind}})


def is_leaf(x: Any) -> bool:
    """Whether x is immutable through and through, and compared by value."""
    kind = type(x)  # and not isinstance: tracers pass for what they stand for
    if kind in SIMPLE:
        return kind is not np.ndarray
    return issubclass(kind, LEAVES) or (kind in (tuple, frozenset) and all(map(is_leaf, x)))


def bits(x: Any) -> Any:
    """A leaf by type and bits: 0.0 is not -0.0, True is not 1, nan is nan."""
    kind = type(x)
    if kind is float:
        return "float", struct.pack("d", x)
    if kind is complex:
        return "complex", struct.pack("dd", x.real, x.imag)
    if isinstance(x, np.generic):
        return kind, x.dtype.str, x.tobytes()
    if isinstance(x, (tuple, list)):
        return kind, tuple(map(bits, x))
    if kind in (set, frozenset):
        return kind, frozenset(map(bits, x))
    if kind is slice:
        return "slice", bits((x.start, x.stop, x.step))
    if isinstance(x, enum.Enum):
        return kind, x.name
    return kind, x


def alike(now: Any, before: Any) -> bool:
    """Whether one thing stands for another: the same object, or leaves of the same type and bits."""
    if now is before:
        return True
    if type(now) is not type(before):
        return False
    if isinstance(now, tuple):
        return len(now) == len(before) and all(map(alike, now, before))
    if isinstance(now, MethodType):
        return now.__self__ is before.__self__ and now.__func__ is before.__func__
    return is_leaf(now) and bool(bits(now) == bits(before))


def pickled(x: Any, depth: int = 0) -> Any:
    """The state of an object without attributes (an iterator, a counter) as pickle would keep it, or MISSING."""
    try:
        state = x.__reduce_ex__(4)
    except Exception:
        return MISSING
    if isinstance(state, str):
        return state
    return tuple(_as_it_stands(part, depth) for part in state[1:3] if part is not None)


def _as_it_stands(x: Any, depth: int) -> Any:
    """A part of a state that later changes leave alone: a copy of a list, the state of an iterator inside."""
    if depth > 3:
        return x
    if type(x) in (tuple, list):
        return type(x), tuple(_as_it_stands(part, depth + 1) if type(part) not in (tuple, list) else part for part in x)
    return (type(x), pickled(x, depth + 1)) if isinstance(x, Iterator) else x


@functools.lru_cache(maxsize=4096)
def words(code: CodeType) -> frozenset[str]:
    """The names and strings in a function's code, and in the functions written inside it."""
    found = set(code.co_names)

    def collect(constants: tuple[Any, ...]) -> None:
        for x in constants:
            if isinstance(x, str):
                found.add(x)
            elif isinstance(x, (tuple, frozenset)):
                collect(tuple(x))
            elif isinstance(x, CodeType):
                found.update(words(x))

    collect(code.co_consts)
    return frozenset(found)


@functools.lru_cache(maxsize=4096)
def global_names(code: CodeType) -> tuple[str, ...]:
    """The names that may be globals of a function and of those written inside it."""
    names = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= dict.fromkeys(global_names(constant))
    return tuple(names)


@functools.lru_cache(maxsize=1024)
def _method_names(kind: type) -> frozenset[str]:
    """The names that the methods of one of minigrad's classes use."""
    found: frozenset[str] = frozenset()
    for value in vars(kind).values():
        if isinstance(value, FunctionType):
            found |= frozenset(value.__code__.co_names)
    return found - COMPUTED


@functools.lru_cache(maxsize=4096)
def _slots(kind: type) -> tuple[str, ...]:
    if kind.__module__ == "builtins" or kind.__module__.startswith("numpy"):
        return ()
    given = kind.__dict__.get("__slots__", ())
    names = (given,) if isinstance(given, str) else tuple(given)
    private = f"_{kind.__name__.lstrip('_')}"
    mangled = (private + n if n.startswith("__") and not n.endswith("__") else n for n in names)
    return tuple(n for n in mangled if n not in ("__dict__", "__weakref__"))


def is_library(function: FunctionType) -> bool:
    """Whether a function belongs to minigrad, NumPy or their kin, whose code is not the user's."""
    return str(function.__globals__.get("__name__", "")).split(".")[0] in LIBRARIES
