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
import random
import re
import struct
import sys
import uuid
import weakref
from collections import OrderedDict, deque
from contextvars import ContextVar
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

from minigrad.bytecode import Names, identifiers, names_of
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
SOURCES = (np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random)
LIBRARIES = frozenset({"minigrad", "numpy", "numba", "llvmlite", "scipy", "builtins"})
STANDARD = frozenset(sys.stdlib_module_names) - {"builtins", "__main__"}  # whose code nobody changes
BY_NAME = frozenset({"types", "functools", "dataclasses"})  # of whose objects only what code names is read
COMPUTED = frozenset({"vars", "dir", "eval", "exec", "locals", "globals", "getattr", "hasattr", "attrgetter"})
COMPUTED |= {"__dict__", "__getattr__", "__getattribute__", "asdict", "astuple", "deepcopy", "__slots__", "dumps"}
COMPUTED |= {"setattr", "delattr", "methodcaller"}
EVALUATED = frozenset({"eval", "exec", "globals", "locals", "vars"})  # strings in such code may name globals
GENERIC = frozenset({"copy", "pickle", "json", "inspect"})  # modules that read objects as wholes
IMPLICIT = frozenset({"forward", "training", "_hooks", "_parameters", "_buffers", "_name", "rule", "_value_"})
PATCHED = frozenset({"forward", "step", "zero_grad"})  # methods of minigrad's that are called without being named
UNREAD = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "_abc_impl"})
UNREAD |= {"__static_attributes__", "__firstlineno__", "__dataclass_fields__", "__dataclass_params__", "__match_args__"}
CONSTRUCTORS = frozenset({"__init__", "__new__", "__post_init__", "__init_subclass__", "__set_name__", "__del__"})
CONSTRUCTORS |= {"__repr__", "__str__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__sizeof__"}
CODE = (FunctionType, BuiltinFunctionType, type, ModuleType, MethodType)
LOGS = frozenset({"logging", "warnings"})
LOGGED = frozenset({"debug", "info", "warning", "error", "critical", "exception", "log", "warn"})
HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE
LARGE = 1 << 20  # bytes; larger arrays are not compared before each call
MANY = 200_000  # objects; a step that reaches more is not guarded in a reasonable time


class StateRef:
    """A place that holds something: an item, an attribute, a slot, a cell, a class attribute.

    Args:
        holder: what has it. For attributes the instance's own dictionary.
        key: which one.
        kind: "item" (of a dictionary), "index" (of a list or deque), "slot", "cell", "class", "partial" or "variable"
            (a ContextVar).
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
            if self.kind == "variable":
                return self.holder.get()
            if self.kind == "slot":
                return object.__getattribute__(self.holder, self.key)
            if self.kind == "index":
                return base_of(self.holder).__getitem__(self.holder, self.key)
            if self.kind == "cell":
                return self.holder.cell_contents
            if self.kind == "class":
                return vars(self.holder)[self.key]
            return self.holder.__reduce__()[2][:3]
        except (LookupError, AttributeError, ValueError):
            return MISSING

    def set(self, value: Any) -> None:
        """Put something here, without the holder's own __setattr__ or __setitem__; MISSING deletes."""
        holder, key = self.holder, self.key
        if self.kind == "item":
            if value is MISSING:
                base_of(holder).pop(holder, key, None)
            else:
                base_of(holder).__setitem__(holder, key, value)
        elif self.kind == "variable":
            if value is not MISSING:
                holder.set(value)
        elif self.kind == "slot":
            if value is not MISSING:
                object.__setattr__(holder, key, value)
            elif self.get() is not MISSING:
                object.__delattr__(holder, key)
        elif self.kind == "index":
            if value is not MISSING:
                base_of(holder).__setitem__(holder, key, value)
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
    refers to), "type" (its class), "state" (the pickled state of an object that has no other), "content" (the bytes of
    an array), "layout" (shape, dtype and whether it can be written, of an array), "objects" (the elements of an array
    of objects), "absent" and "class absent" (names that code reads and that are not there), "methods" (of a library's
    class), "bases" (of a class), "variable" (of a context), "cache" (how often a functools.lru_cache has computed
    something).
    """

    __slots__ = ("held", "holder", "is_own", "kind", "path")

    def __init__(self, kind: str, holder: Any, held: Any, path: str, is_own: bool = False) -> None:
        self.kind, self.holder, self.held, self.path = kind, holder, held, path
        self.is_own = is_own  # whether a dictionary holds the attributes of an object

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
        arrays: paths and arrays, by id; those inside of Tensors are not among them.
        tensors: paths and Tensors, by id.
        sources: paths and all sources of random numbers, by id.
    """

    def __init__(self, roots: list[tuple[str, Any]], everything: bool = False) -> None:
        self.refs: list[tuple[StateRef, Any]] = []
        self.rows: list[Row] = []
        self.functions: list[FunctionType] = []
        self.generators: list[Any] = []
        self.unreadable: list[tuple[str, Any]] = []
        self.containers: list[tuple[Any, str]] = []  # whatever can get more items
        self.arrays: dict[int, tuple[str, Any]] = {}
        self.tensors: dict[int, tuple[str, Tensor]] = {}
        self.sources: dict[int, tuple[str, Any]] = {}
        self.seen: dict[int, Any] = {}  # keeps alive what has an id here
        self.names: set[str] = set(IMPLICIT)
        self.words: set[str] = set()  # names in the user's code, and of the library's functions that are held somewhere
        self.inspected: set[str] = set()  # names of what is used otherwise than by appending to it
        self.everything = everything
        self._fixed: set[int] = set()  # containers of minigrad's own that nobody changes once they are made
        self._constructors: dict[int, list[Any]] = {}  # of classes of which only objects were met, by id
        self._made: set[int] = set()  # classes of which some code can make objects
        self._makes_all = False
        self.read: set[str] = set(IMPLICIT)  # names that may be read, where `names` may be written only
        self._unread: dict[str, list[Any]] = {}  # attributes that nothing has named yet
        self._unnamed: dict[str, list[Any]] = {}  # the same of modules, of which nothing is read without a name
        self._open: list[tuple[str, dict[str, Any]]] = []  # objects that may get attributes
        self._classes: list[tuple[str, type]] = []  # and classes
        self._library: dict[type, None] = {Tensor: None}  # classes of minigrad's, whose methods may be patched
        self._sliced_later: list[tuple[frozenset[str], Any]] = []  # the same for objects of the library, with readers
        self._todo: deque[tuple[str, Any]] = deque(roots)
        self._walk()

    def _walk(self) -> None:
        while True:
            while self._todo:
                path, x = self._todo.popleft()
                self._visit(path, x)
            self._read_library()
            if self.everything:
                for later in [f for waiting in self._unread.values() for f in waiting]:
                    later()
                self._unread.clear()
            if not self._todo:
                break
        self._absences()
        if len(self.seen) > MANY:
            self.unreadable.append(("the step", f"more than {MANY} objects"))

    def _absences(self) -> None:
        """Names that code may read, where they are not: an attribute that appears later can be read then."""
        for path, own in self._open:
            if self.everything:
                self._row("dict", own, (list(own), list(own.values())), path, is_own=True)
            else:
                self._row("absent", own, frozenset(self.read).difference(own), path)
        for path, kind in self._classes:
            special = {n for base in kind.__mro__[1:] if base is not object for n in vars(base) if n.startswith("__")}
            self._row("class absent", kind, frozenset(self.read | special - UNREAD).difference(vars(kind)), path)
        for kind in self._library:
            names = {n for n in (self.words | PATCHED) & vars(kind).keys() if not n.startswith("_")}
            held = {n: vars(kind)[n] for n in sorted(names) if isinstance(vars(kind)[n], (FunctionType, property))}
            if held:
                self._row("methods", kind, held, kind.__name__)

    def only_grows(self, container: Any) -> bool:
        """Whether no code that was reached does anything with a list or deque but append to it."""
        names = [ref.path if ref.kind == "cell" else ref.key for ref, value in self.refs if value is container]
        return bool(names) and all(isinstance(name, str) and name not in self.inspected for name in names)

    # Places and rows

    def _ref(self, holder: Any, key: Any, kind: str, path: str, value: Any, owner: Any = None) -> None:
        self.refs.append((StateRef(holder, key, kind, path, owner), value))
        self._go(path, value)

    def _go(self, path: str, x: Any) -> None:
        if type(x) is np.ndarray:
            self.arrays.setdefault(id(x), (path, x))
            if x.dtype.kind not in "biufc":
                self._todo.append((path, x))
        elif type(x) not in SIMPLE:
            self._todo.append((path, x))

    def _row(self, kind: str, holder: Any, held: Any, path: str, is_own: bool = False) -> None:
        if id(holder) not in self._fixed:
            self.rows.append(Row(kind, holder, held, path, is_own))

    # Objects by kind

    def _visit(self, path: str, x: Any) -> None:
        kind = type(x)  # and not isinstance, which asks the object
        if issubclass(kind, type):
            self._class(path, x, makes=True)
            return
        if id(x) in self.seen or len(self.seen) > MANY or is_inert(x):
            return
        if issubclass(kind, SOURCES):
            self.sources.setdefault(id(x), (path, x))
        if issubclass(kind, np.ndarray) and not hasattr(kind, "minigrad_tracer"):
            self.arrays.setdefault(id(x), (path, x))
            self._array(path, x)
            return
        if issubclass(kind, IDENTITIES) or hasattr(kind, "minigrad_tracer"):
            if issubclass(kind, (np.random.RandomState, np.random.BitGenerator)):
                self.generators.append(x)
            return
        self.seen[id(x)] = x
        for visited, visit in _VISITORS.items():
            if issubclass(kind, visited):
                visit(self, path, x)
                return
        self._object(path, x)

    def _array(self, path: str, x: Any) -> None:
        """An array whose elements no tracer stands for: of objects, texts or records, or of a user's class."""
        if type(x) is np.ndarray and x.dtype.kind in "biufc":
            return
        self.seen[id(x)] = x
        if x.dtype.kind == "O":
            held = x.ravel().tolist()
            self._row("objects", x, held, path)
            for k, value in enumerate(held):
                self._go(f"{path}.{k}", value)
        elif x.nbytes > LARGE:
            self.unreadable.append((path, x))
        else:
            self._row("content", x, x.tobytes(), path)
        if type(x) is not np.ndarray:
            self._members(path, x)

    def _tensor(self, path: str, x: Tensor) -> None:
        node = x.node
        self.tensors[id(x)] = path, x
        self._row("slots", x, (("data", x.data), ("node", node)), path)
        for key, inner in (("data", path), ("_grad", f"{path}.grad"), ("node", path)):
            ref = StateRef(x, key, "slot", inner)
            value = ref.get()
            if key == "_grad" and value is not MISSING:
                value = x.grad  # what stands for a gradient that nobody has read yet is no part of the state
            self.refs.append((ref, value))
        if node is not None:
            hooks = getattr(node, "hooks", None)
            self._row("hooks", node, hooks and list(hooks), f"{path}.hooks")
            for hook in hooks or ():
                self._go(f"{path}.hook", hook)

    def _function(self, path: str, x: FunctionType) -> None:
        root = str(x.__globals__.get("__name__", "")).split(".")[0]
        library = root in LIBRARIES or root in STANDARD
        self.words |= {x.__name__} if root in LIBRARIES else words(x.__code__)
        if root in STANDARD:  # what it reads of the user's objects
            self._read_names(words(x.__code__))
        if library and not x.__closure__ and not x.__defaults__:
            return
        if not library:
            self._sliced(x.__dict__, path or x.__name__, x)
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
            named = names_of(code)
            self._read_names(named.words, named.read)
            self.inspected |= named.inspected
            self._globals(x, named)
            self._imports(x, named)

    def _globals(self, function: FunctionType, named: Names) -> None:
        scope = function.__globals__
        names = named.scope
        if EVALUATED & named.words:
            names = names | identifiers(named.words) & scope.keys()
        for name in sorted(names):
            if (id(scope), name) in self.seen:
                continue
            self.seen[id(scope), name] = scope  # type: ignore[index]
            value = scope.get(name, MISSING)
            self._row("items", scope, {name: value}, name)  # also if it is a builtin's, which a global may come to hide
            self._ref(scope, name, "item", name, value)
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
        for first, *attributes in sorted(named.chains):
            cell = cells.get(first)
            module = scope.get(first) if cell is None else StateRef(cell, "cell_contents", "cell", first).get()
            self._library_attribute(module, attributes)

    def _library_attribute(self, module: Any, names: list[str]) -> None:
        """What a name in a library's module means, which somebody may patch."""
        for name in names:
            if type(module) is not ModuleType or (id(module), name) in self.seen:
                return
            scope = vars(module)
            if module.__name__.split(".")[0] in LIBRARIES | STANDARD and name in scope:
                self.seen[id(module), name] = module  # type: ignore[index]
                self._row("items", scope, {name: scope[name]}, f"{module.__name__}.{name}")
            module = scope.get(name)

    def _imports(self, function: FunctionType, named: Names) -> None:
        """Modules that a function imports when it runs."""
        package = function.__globals__.get("__package__") or ""
        modules = named.imports
        if ("sys", "modules") in named.chains:
            names = (named.words | {function.__globals__.get("__name__", "")}) & sys.modules.keys()
            modules = modules | {(name, 0) for name in names}
        for name, level in sorted(modules):
            full = ".".join([*package.split(".")[: max(0, package.count(".") + 2 - level)], name]) if level else name
            parts = full.split(".")
            for k in range(1, len(parts) + 1):
                module = ".".join(parts[:k])
                if parts[0] not in LIBRARIES | STANDARD and (id(sys.modules), module) not in self.seen:
                    self.seen[id(sys.modules), module] = sys.modules  # type: ignore[index]
                    self._attribute(sys.modules, module, module, None)

    def _module(self, path: str, x: ModuleType) -> None:
        root = x.__name__.split(".")[0]
        if root in LIBRARIES:
            return
        if x.__name__ in GENERIC:
            self.everything = True
        scope = vars(x)
        names = [n for n in scope if not n.startswith("__")]
        if root in STANDARD:  # its functions are what they are, and its state is known by name: os.environ, sys.argv
            for name in names:
                if not isinstance(scope[name], CODE) and scope[name] is not sys.modules:
                    visit = functools.partial(self._attribute, scope, name, f"{path}.{name}", x)
                    if name in self.names:
                        visit()
                    else:
                        self._unnamed.setdefault(name, []).append(visit)
            names = []
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

    def _read_names(self, names: frozenset[str], read: frozenset[str] | None = None) -> None:
        if COMPUTED & names:
            self.everything = True
        self.read |= names if read is None else read
        if {"__class__", "type", "copy", "replace", "_replace"} & names and not self._makes_all:
            self._makes_all = True  # of an object's class another one may be made
            for visit in [f for waiting in self._constructors.values() for f in waiting]:
                visit()
            self._constructors.clear()
        if "getenv" in names:
            self._go("os.environ", os.environ)
        for name in names - self.names:
            self.names.add(name)
            for visit in (*self._unread.pop(name, ()), *self._unnamed.pop(name, ())):
                visit()

    def _read_library(self) -> None:
        """Visit the attributes of the library's sliced objects that some method which may be called reads."""
        waiting, self._sliced_later = self._sliced_later, []
        for readers, visit in waiting:
            if self.everything or readers & self.words:
                visit()
            else:
                self._sliced_later.append((readers, visit))

    def _class(self, path: str, x: type, makes: bool) -> None:
        """A class, whose constructors count only if some code can make an object of it."""
        if makes or self._makes_all:
            for visit in self._constructors.pop(id(x), ()):
                visit()
            if id(x) in self.seen and id(x) not in self._made:
                for base in x.__mro__[1:]:
                    self._class(path, base, makes=True)
            self._made.add(id(x))
        if id(x) in self.seen:
            return
        self.seen[id(x)] = x
        root = x.__module__.split(".")[0] if isinstance(x.__module__, str) else ""
        if root in LIBRARIES:
            if root == "minigrad":  # what its methods call on a user's subclass
                self._library[x] = None
                self._read_names(_method_names(x))
            return
        if root in STANDARD or not x.__flags__ & HEAP_TYPE:
            self._read_names(_method_names(x))
            return
        self._classes.append((path, x))
        self._row("bases", x, x.__mro__, path)
        for name, value in vars(x).items():
            if name in UNREAD:
                continue
            visit = functools.partial(self._class_attribute, x, name, value, f"{path}.{name}")
            if name in CONSTRUCTORS and not (makes or self._makes_all):
                self._constructors.setdefault(id(x), []).append(visit)
            else:
                self._if_named(name, visit)
        for base in x.__mro__[1:]:
            self._class(path, base, makes)
        if type(x) is not type:
            self._class(path, type(x), makes)

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
        if x.__name__ in COMPUTED:
            self.everything = True
        if isinstance(owner, (np.random.Generator, np.random.RandomState)):
            self.generators.append(owner)
            self.sources.setdefault(id(owner), (path, owner))
        elif not isinstance(owner, ModuleType):
            self._go(path, owner)

    def _partial(self, path: str, x: Any) -> None:
        self._ref(x, "partial", "partial", path, (x.func, x.args, x.keywords))
        self._row("slots", x, (("func", x.func), ("args", x.args)), path)

    def _descriptor(self, path: str, x: Any) -> None:
        for name in ("fget", "fset", "__func__", "func", "__wrapped__"):
            self._go(path, getattr(x, name, None))

    def _dict(self, path: str, x: dict[Any, Any]) -> None:
        self._row("dict", x, (keys_of(x), values_of(x)), path)
        self.containers.append((x, path))
        before = f"{path}." if path else ""
        for key, value in zip(keys_of(x), values_of(x), strict=True):
            self._ref(x, key, "item", f"{before}{key if type(key) in SIMPLE else type(key).__name__}", value)
            self._go(path, key)
        self._members(path, x)

    def _sequence(self, path: str, x: Any) -> None:
        self._row("list", x, elements(x), path)
        self.containers.append((x, path))
        for k, value in enumerate(elements(x)):
            self._ref(x, k, "index", f"{path}.{k}", value)
        self._members(path, x)

    def _tuple(self, path: str, x: Any) -> None:
        for k, value in enumerate(tuple.__iter__(x)):
            self._go(f"{path}.{k}", value)
        if type(x) is not tuple:
            self._members(path, x)

    def _set(self, path: str, x: Any) -> None:
        if not isinstance(x, frozenset):
            self._row("set", x, elements(x), path)
            self.containers.append((x, path))
        for value in elements(x):
            self._go(path, value)
        if type(x) not in (set, frozenset):
            self._members(path, x)

    def _proxy(self, path: str, x: Any) -> None:
        self._row("items", x, dict(x), path)
        for key, value in x.items():
            self._go(f"{path}.{key}", value)

    def _weak(self, path: str, x: Any) -> None:
        self._row("weak", x, x(), path)
        self._go(path, x())

    def _variable(self, path: str, x: Any) -> None:
        value = StateRef(x, "value", "variable", x.name).get()
        self._row("variable", x, value, x.name)
        self._ref(x, "value", "variable", x.name, value)

    def _opaque(self, path: str, x: Any) -> None:
        """A compiled function is as good as what it compiles."""
        for part in x.minigrad_reach():
            self._go(path, part)

    def _members(self, path: str, x: Any) -> None:
        """Attributes and slots of an object, and its class."""
        kind: type = type(x)
        own = own_attributes(x)
        before = f"{path}." if path else ""
        if type(own) is dict and id(own) not in self.seen:
            self.seen[id(own)] = own
            root = kind.__module__.split(".")[0]
            if not self.everything and root == "minigrad" and getattr(kind, "sliced", False):
                self.containers.append((own, path))
                for name in own:
                    visit = functools.partial(self._attribute, own, name, f"{before}{name}", x)
                    self._sliced_later.append((_readers(kind, name), visit))
            elif self.everything or root in (STANDARD | LIBRARIES) - BY_NAME:
                self.containers.append((own, path))
                self._row("dict", own, (list(own), list(own.values())), path, is_own=True)
                self._fixed |= {id(own[name]) for name in getattr(kind, "fixed", ()) if name in own}
                for name, value in list(own.items()):
                    self._ref(own, name, "item", f"{before}{name}", value, x)
            else:
                self._sliced(own, path, x)
        for base in kind.__mro__:
            names = slots_of(base)
            held = [(name, StateRef(x, name, "slot", "").get()) for name in names]
            if held:
                self._row("slots", x, tuple(held), path)
            for name, value in held:
                self._ref(x, name, "slot", f"{before}{name}", value, x)
        if kind.__module__ != "builtins":
            self._class(kind.__name__, kind, makes=False)
            if kind.__flags__ & HEAP_TYPE and kind.__module__.split(".")[0] not in STANDARD | LIBRARIES:
                self._row("type", x, kind, path)

    def _sliced(self, own: dict[str, Any], path: str, x: Any) -> None:
        """The attributes of a user's object that some code names."""
        self.containers.append((own, path))
        self._open.append((path, own))
        before = f"{path}." if path else ""
        for name in own:
            if isinstance(name, str):
                self._if_named(name, functools.partial(self._attribute, own, name, f"{before}{name}", x))

    def _object(self, path: str, x: Any) -> None:
        kind = type(x)
        if kind.__module__ in LOGS:
            self.unreadable.append((path, "a log"))
            return
        stateful = kind.__module__.split(".")[0] in STANDARD or kind.__module__ == "builtins"
        if kind.__name__ in COMPUTED:
            self.everything = True
        if kind.__name__ == "_lru_cache_wrapper":
            self._row("cache", x, cache_state(x), path)
        if type(own_attributes(x)) is dict or any(slots_of(base) for base in kind.__mro__):
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
HARMLESS = frozenset({"Token", "lock", "RLock", "Lock", "Event", "Condition", "Semaphore", "Context", "object"})
_VISITORS: dict[Any, Any] = {
    Tensor: Reach._tensor,
    FunctionType: Reach._function,
    MethodType: Reach._method,
    BuiltinFunctionType: Reach._builtin,
    ModuleType: Reach._module,
    functools.partial: Reach._partial,
    (property, staticmethod, classmethod, functools.cached_property): Reach._descriptor,
    dict: Reach._dict,
    (list, deque): Reach._sequence,
    tuple: Reach._tuple,
    (set, frozenset): Reach._set,
    MappingProxyType: Reach._proxy,
    weakref.ref: Reach._weak,
    weakref.ProxyTypes: lambda reach, path, x: reach._go(path, referent(x)),
    ContextVar: Reach._variable,
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
    if issubclass(kind, LEAVES):
        return issubclass(kind, enum.Enum) or not (_is_users(kind) and own_attributes(x))
    return kind in (tuple, frozenset) and all(map(is_leaf, x))


def is_inert(x: Any) -> bool:
    """Whether x is a leaf whose class has nothing of the user's that could change."""
    kind = type(x)
    if kind in SIMPLE:
        return kind is not np.ndarray
    if kind in (tuple, frozenset):
        return all(map(is_inert, x))
    return issubclass(kind, LEAVES) and not _is_users(kind)


@functools.lru_cache(maxsize=4096)
def _is_users(kind: type) -> bool:
    return str(kind.__module__).split(".")[0] not in STANDARD | LIBRARIES


def own_attributes(x: Any) -> Any:
    """The dictionary of an object's own attributes, None if it has none; a user's __getattribute__ is not asked."""
    kind = type(x)
    get = object.__getattribute__ if isinstance(kind.__getattribute__, FunctionType) else getattr
    try:
        return get(x, "__dict__")
    except AttributeError:
        return None


def base_of(x: Any) -> Any:
    """The class of containers that x is one of, whose methods do what they say, whatever x's own class does."""
    for kind in (OrderedDict, dict, list, deque, set, frozenset):
        if isinstance(x, kind):
            return kind
    return type(x)


def keys_of(x: Any) -> list[Any]:
    """The keys of a dictionary, whatever its own class does."""
    return list(base_of(x).keys(x))


def values_of(x: Any) -> list[Any]:
    """The values of a dictionary, whatever its own class does."""
    return list(base_of(x).values(x))


def elements(x: Any) -> list[Any]:
    """The elements of a list, deque or set, whatever its own class does."""
    return list(base_of(x).__iter__(x))


def referent(proxy: Any) -> Any:
    """What a weakref.proxy stands for, None if it is gone."""
    try:
        return proxy.__repr__.__self__
    except ReferenceError:
        return None


def cache_state(x: Any) -> tuple[int, int]:
    """What tells that a functools.lru_cache has computed something, or was cleared."""
    info = x.cache_info()
    return info.misses, info.currsize


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


def same_objects(x: Any, y: Any) -> bool:
    """Whether two sequences hold the same objects."""
    return len(x) == len(y) and all(a is b for a, b in zip(x, y, strict=True))


def refill(holder: Any, items: Any) -> None:
    """Let a list, deque or set hold these items instead of what it holds."""
    base = base_of(holder)
    base.clear(holder)
    if base is set:
        base.update(holder, items)
    else:
        base.extend(holder, items)


def put_in_order(holder: dict[Any, Any], keys: list[Any]) -> None:
    """Put the keys of a dictionary into an order."""
    base = base_of(holder)
    if keys_of(holder) != keys:
        for key in keys:
            if key in keys_of(holder):
                base.__setitem__(holder, key, base.pop(holder, key))


def pickled(x: Any) -> Any:
    """The state of an object without attributes (an iterator, a counter) as pickle would keep it, or MISSING."""
    try:
        state = x.__reduce_ex__(4)
    except Exception:
        return MISSING
    if isinstance(state, str):
        return state
    return tuple(part for part in state[1:3] if part is not None)


def words(code: CodeType) -> frozenset[str]:
    """The names and strings in a function's code, and in the functions written inside it."""
    return names_of(code).words


@functools.lru_cache(maxsize=1024)
def _method_names(kind: type) -> frozenset[str]:
    """The names that the methods of one of minigrad's classes use."""
    found: frozenset[str] = frozenset()
    for value in vars(kind).values():
        if isinstance(value, FunctionType):
            found |= frozenset(value.__code__.co_names)
    return found - COMPUTED


@functools.lru_cache(maxsize=1024)
def _readers(kind: type, attribute: str) -> frozenset[str]:
    """The names in a user's code that may read an attribute: its own, and those of methods that read it in the end."""
    methods = {
        n: f.__code__ for base in kind.__mro__[::-1] for n, f in vars(base).items() if isinstance(f, FunctionType)
    }
    readers = {attribute}
    while True:
        more = {name for name, code in methods.items() if readers & set(code.co_names)} - readers
        if not more:
            return frozenset(readers)
        readers |= more


@functools.lru_cache(maxsize=4096)
def slots_of(kind: type) -> tuple[str, ...]:
    """The slots that a class adds, by the names under which they are found."""
    if kind.__module__ == "builtins" or kind.__module__.startswith("numpy"):
        return ()
    given = kind.__dict__.get("__slots__", ())
    names = (given,) if isinstance(given, str) else tuple(given)
    private = f"_{kind.__name__.lstrip('_')}"
    mangled = (private + n if n.startswith("__") and not n.endswith("__") else n for n in names)
    return tuple(n for n in mangled if n not in ("__dict__", "__weakref__"))
