"""Contents of containers and objects, read and written without calling methods of the user's classes.

A `StateRef` is a place that can hold something else: an item, an attribute, a slot, a cell.
"""

from __future__ import annotations

import builtins
import functools
import gc
import struct
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from types import BuiltinFunctionType, FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any

POINTER = struct.calcsize("P")
HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE
MISSING: Any = type("Missing", (), {"__repr__": lambda _: "missing", "__reduce__": lambda _: "MISSING"})()
LIBRARIES = frozenset({"minigrad", "numpy", "numba", "llvmlite", "scipy", "builtins"})
STANDARD = frozenset(sys.stdlib_module_names) - {"builtins", "__main__"}  # whose code does not change


def package_of(x: Any) -> str:
    """The package of a class, function or module, or of an object's class: "numpy" for numpy.linalg.norm."""
    if isinstance(x, (type, FunctionType, BuiltinFunctionType)):
        return str(x.__module__).partition(".")[0]  # __module__ may be anything
    name = getattr(x, "__name__", "") if isinstance(x, ModuleType) else type(x).__module__
    return str(name).partition(".")[0]


def variable(function: FunctionType, name: str) -> Any:
    """What a name means in a function that does not assign it: a closure variable, a global or a builtin."""
    code = function.__code__
    if name in code.co_freevars:
        cell = (function.__closure__ or ())[code.co_freevars.index(name)]
        return StateRef(cell, "cell_contents", "cell", name).get()
    return function.__globals__.get(name, getattr(builtins, name, MISSING) if name else MISSING)


def cells_of(function: FunctionType) -> list[tuple[str, Any]]:
    """The closure variables of a function: names and cells."""
    return list(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))


def is_of_minigrad(kind: type) -> bool:
    """Whether a class is minigrad's or derived from one of its classes."""
    return any(package_of(base) == "minigrad" for base in kind.__mro__)


def own_attributes(x: Any) -> Any:
    """The dictionary of an object's own attributes, None if it has none. A user's __getattribute__ is not called."""
    kind = type(x)
    get = object.__getattribute__ if isinstance(kind.__getattribute__, FunctionType) else getattr
    try:
        return get(x, "__dict__")
    except AttributeError:
        return None
    except Exception:  # of a property of that name
        return None


@functools.lru_cache(maxsize=4096)
def hides_attributes(kind: type) -> bool:
    """Whether a user's class defines `__dict__` itself, so that it may not hold the attributes."""
    places = [vars(base).get("__dict__") for base in kind.__mro__]
    return any(type(place) not in (type(None), GetSetDescriptorType, MemberDescriptorType) for place in places)


def base_of(x: Any) -> Any:
    """The builtin container class of x, whose methods are safe to call, else the class of x."""
    for kind in (OrderedDict, dict, list, deque, set, frozenset):
        if isinstance(x, kind):
            return kind
    return type(x)


def keys_of(x: Any) -> list[Any]:
    """The keys of a dictionary."""
    return list(base_of(x).keys(x))


def values_of(x: Any) -> list[Any]:
    """The values of a dictionary."""
    return list(base_of(x).values(x))


def parts_of(own: dict[str, Any], kinds: tuple[type, ...]) -> list[tuple[str, Any]]:
    """The items of a dictionary whose values are instances of some classes."""
    return [(name, value) for name, value in own.items() if issubclass(type(value), kinds)]


def elements(x: Any) -> list[Any]:
    """The elements of a list, deque or set."""
    return list(base_of(x).__iter__(x))


def attributes_of(x: Any) -> list[tuple[str, str, Any]]:
    """The attributes of an object: where each is kept ("item" of its __dict__, or "slot"), its name and value."""
    own = own_attributes(x)
    held = [("item", name, value) for name, value in own.items()] if type(own) is dict else []
    for base in type(x).__mro__:
        for name in slots_of(base):
            with suppress(AttributeError):
                held.append(("slot", name, object.__getattribute__(x, name)))
    return held


def same_objects(x: Any, y: Any) -> bool:
    """Whether two sequences hold the same objects."""
    return len(x) == len(y) and all(a is b for a, b in zip(x, y, strict=True))


class Contents:
    """What a container or an object holds: keys (None if it is not a dictionary), items and attributes."""

    def __init__(self, x: Any) -> None:
        base = base_of(x)
        self.keys = keys_of(x) if base in (dict, OrderedDict) else None
        self.items = elements(x) if base in (list, deque, set) else values_of(x) if self.keys is not None else []
        self.attributes = attributes_of(x)

    @property
    def values(self) -> list[Any]:
        """All items and the values of all attributes."""
        return self.items + [value for _, _, value in self.attributes]

    def replace(self, values: list[Any]) -> None:
        """Replace all values."""
        self.items = values[: len(self.items)]
        rest = values[len(self.items) :]
        self.attributes = [(how, name, x) for (how, name, _), x in zip(self.attributes, rest, strict=True)]

    @property
    def names(self) -> list[tuple[str, str]]:
        """Where the attributes are kept, and their names."""
        return [(how, name) for how, name, _ in self.attributes]

    def is_same(self, other: Contents) -> bool:
        """Whether keys are equal and in the same order, and all values are the same objects."""
        return same_objects(self.values, other.values) and self.names == other.names and self.keys == other.keys

    def put(self, x: Any) -> None:
        """Make x hold these contents, without calling its own methods."""
        base = base_of(x)
        if base in (dict, OrderedDict):
            base.clear(x)
            for key, value in zip(self.keys or (), self.items, strict=True):
                base.__setitem__(x, key, value)
        elif base in (list, deque, set):
            refill(x, self.items)
        own = own_attributes(x)
        if type(own) is dict:
            own.clear()
        held = {name for _, name, _ in self.attributes}
        for how, name, _ in attributes_of(x):
            if how == "slot" and name not in held:
                object.__delattr__(x, name)
        for how, name, value in self.attributes:
            if how == "item":
                own[name] = value
            else:
                object.__setattr__(x, name, value)


def behind(proxy: Any) -> Any:
    """The object behind a MappingProxyType: a dictionary, or any other mapping."""
    return gc.get_referents(proxy)[0]


def referent(proxy: Any) -> Any:
    """The object behind a weakref.proxy, None if it is gone."""
    try:
        return proxy.__repr__.__self__
    except ReferenceError:
        return None


@functools.lru_cache(maxsize=4096)
def base_in_c(kind: type) -> type | None:
    """The class in C that a class is or derives from, if its objects hold more than attributes and slots, else None.

    The size of objects shows it: a class written in Python adds one pointer for each slot.
    """
    while (base := kind.__base__) is not None:
        own = vars(kind)
        fields = sum(isinstance(x, MemberDescriptorType) for x in own.values()) if "__slots__" in own else 0
        fields += kind.__dictoffset__ > 0 == base.__dictoffset__
        fields += kind.__weakrefoffset__ > 0 == base.__weakrefoffset__
        if kind.__basicsize__ != base.__basicsize__ + fields * POINTER or kind.__itemsize__ != base.__itemsize__:
            return kind
        kind = base
    return None


@functools.lru_cache(maxsize=4096)
def slots_of(kind: type) -> tuple[str, ...]:
    """The names of the slots that a class adds, mangled where they are private."""
    if package_of(kind) in ("builtins", "numpy"):
        return ()
    slots = kind.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    private = f"_{kind.__name__.lstrip('_')}"
    mangled = (private + n if n.startswith("__") and not n.endswith("__") else n for n in names)
    return tuple(n for n in mangled if n not in ("__dict__", "__weakref__"))


@functools.lru_cache(maxsize=1024)
def fields_of(kind: type) -> tuple[str, ...]:
    """The fields of an exception class in C: the code of `SystemExit`, and the cause of any."""
    bases = [base for base in kind.__mro__ if base.__module__ == "builtins"]
    names = [name for base in bases for name, place in vars(base).items() if type(place) is MemberDescriptorType]
    return ("__cause__", "__context__", *names)


def refill(holder: Any, items: Any) -> None:
    """Replace the items of a list, deque or set."""
    base = base_of(holder)
    if base is list:
        list.__setitem__(holder, slice(None), items)
        return
    base.clear(holder)
    (base.update if base is set else base.extend)(holder, items)


def put_in_order(holder: dict[Any, Any], keys: list[Any]) -> None:
    """Reorder the keys of a dictionary."""
    base = base_of(holder)
    if keys_of(holder) != keys:
        for key in keys:
            if base.__contains__(holder, key):
                base.__setitem__(holder, key, base.pop(holder, key))


class StateRef:
    """A place that can hold different objects over time: an item, an attribute, a slot, a cell, a class attribute.

    Args:
        holder: the container. For attributes this is the instance's own dictionary.
        key: the key, index or name in it.
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
        """Identifies the place: equal for two refs to the same place."""
        return id(self.holder), self.key

    @property
    def is_grad(self) -> bool:
        """Whether this is the gradient of a Tensor."""
        return self.kind == "slot" and self.key == "_grad"

    @property
    def is_node(self) -> bool:
        """Whether this is the node of a Tensor."""
        return self.kind == "slot" and self.key == "node"

    @property
    def is_variable(self) -> bool:
        """Whether this is a global or a closure variable, which only code that names it can read."""
        return self.kind == "cell" or (self.kind == "item" and "__builtins__" in self.holder)

    def get(self) -> Any:
        """The object that is here now, MISSING if there is none."""
        try:
            return _PLACES[self.kind][0](self.holder, self.key)
        except (LookupError, AttributeError, ValueError):
            return MISSING

    def set(self, value: Any) -> None:
        """Put an object here without calling the holder's own __setattr__ or __setitem__. MISSING deletes."""
        _, put, delete = _PLACES[self.kind]
        if value is not MISSING:
            put(self.holder, self.key, value)
        elif delete is not None and self.get() is not MISSING:
            delete(self.holder, self.key)

    def __repr__(self) -> str:
        return f"<StateRef {self.path}>"


def _set_item(holder: Any, key: Any, value: Any) -> None:
    base_of(holder).__setitem__(holder, key, value)


# How a place of each kind is read, set and deleted. A context variable and an index of a list cannot be deleted.
_PLACES: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any] | None]] = {
    "item": (dict.__getitem__, _set_item, lambda holder, key: base_of(holder).pop(holder, key)),
    "index": (lambda holder, key: base_of(holder).__getitem__(holder, key), _set_item, None),
    "variable": (lambda holder, key: holder.get(), lambda holder, key, value: holder.set(value), None),
    "slot": (object.__getattribute__, object.__setattr__, object.__delattr__),
    "cell": (
        lambda cell, key: cell.cell_contents,
        lambda cell, key, value: setattr(cell, "cell_contents", value),
        lambda cell, key: delattr(cell, "cell_contents"),
    ),
    "class": (lambda holder, key: vars(holder)[key], type.__setattr__, type.__delattr__),
    "partial": (
        lambda holder, key: holder.__reduce__()[2][:3],
        lambda holder, key, value: holder.__setstate__((*value, vars(holder) or None)),
        None,
    ),
}
