"""Signatures: what of the arguments decides which program runs."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import struct
from abc import ABC, ABCMeta
from types import BuiltinFunctionType, FunctionType, MethodType, SimpleNamespace
from typing import Any, Generic, Protocol

import numpy as np

from minigrad.compiler.memory import owner
from minigrad.node import mode
from minigrad.reach import StateRef, bits, is_leaf, own_attributes, slots_of
from minigrad.reach.leaves import is_users_class
from minigrad.tensor import Tensor

Signature = tuple[Any, ...]  # whether ops are recorded, the structure, and a key for each leaf
NUMERIC = "biufc"
SIMPLE = frozenset({bool, int, float, complex, str, bytes, type(None)})


class UnsupportedArgument(Exception):
    """An argument with which a step cannot be compiled."""


class Rebuild:
    """Puts others into the places of leaves: calling it with values makes the same structure of them.

    Attributes:
        form: the structure.
        containers: the user's dictionaries, lists and records in it.
        kinds: the classes of the records.
    """

    def __init__(self, form: Any, containers: list[Any], kinds: set[type]) -> None:
        self.form, self.containers, self.kinds = form, containers, kinds

    def __call__(self, values: list[Any], pairs: list[tuple[Any, Any]] | None = None) -> Any:
        """The structure with other leaves. The containers are appended to `pairs`: the old one and the new."""
        made: list[Any] = []
        result = _rebuilt(self.form, iter(values), made)
        if pairs is not None:
            pairs += zip(self.containers, made, strict=True)
        return result


def flatten(tree: Any, owned: Any = (), whole: Any = ()) -> tuple[list[Any], Rebuild, Any]:
    """The leaves of arguments in dicts, lists, tuples and records, the function that puts others in, and the structure.

    Args:
        tree: arguments.
        owned: ids of what belongs to the state: such records are leaves.
        whole: classes whose records are leaves too.
    """
    walk = _Walk(owned, whole)
    form = walk.form(tree)
    return walk.leaves, Rebuild(form, walk.containers, walk.kinds), form


@functools.lru_cache(maxsize=64)
def flat(count: int) -> Rebuild:
    """What `flatten` returns for positional arguments that are leaves: the function that puts others in."""
    return Rebuild(("tuple", (("tuple", ("*",) * count), ("dict", ()))), [{}], set())


class _NoRecord(Exception):
    """An object holds something that is neither an array nor known by value."""


class _Walk:
    """One walk over arguments."""

    def __init__(self, owned: Any, whole: Any) -> None:
        self.owned, self.whole = owned, whole
        self.leaves: list[Any] = []
        self.containers: list[Any] = []  # in the order in which they are met
        self.numbers: dict[int, int] = {}  # of containers, by id: what is passed twice is one object in the step too
        self.kinds: set[type] = set()
        self.depth = 0  # of records

    def form(self, tree: Any) -> Any:
        """The structure of a part. Its leaves are appended to those before."""
        kind = type(tree)
        if kind is np.ndarray or kind is Tensor:
            if self.depth and kind is np.ndarray and tree.dtype.kind not in NUMERIC:
                raise _NoRecord
            self.leaves.append(tree)
            return "*"
        if kind is dict:
            if (again := self._number(tree)) is not None:
                return again
            parts = tree.items()
            return "dict", tuple((k if type(k) is str else (type(k), k), self.form(part)) for k, part in parts)
        if kind is list:
            return self._number(tree) or ("list", tuple(map(self.form, tree)))
        if kind is tuple:
            return "tuple", tuple(map(self.form, tree))
        if kind not in SIMPLE:
            if isinstance(tree, tuple) and hasattr(kind, "_fields"):
                return kind, tuple(map(self.form, tree))
            if is_record(kind) and kind not in self.whole and id(tree) not in self.owned:
                return self._number(tree) or self._record(tree, kind)
            if self.depth and not is_leaf(tree):
                raise _NoRecord
        self.leaves.append(tree)
        return "*"

    def _number(self, tree: Any) -> Any:
        """Note a container that is met for the first time. The form of one that was there before."""
        if id(tree) in self.numbers:
            return "again", self.numbers[id(tree)]
        self.numbers[id(tree)] = len(self.containers)
        self.containers.append(tree)
        return None

    def _record(self, tree: Any, kind: type) -> Any:
        before = len(self.leaves), len(self.containers) - 1, set(self.kinds)
        own = vars(tree)
        self.containers.append(own)
        self.numbers[id(own)] = len(self.containers) - 1
        self.kinds.add(kind)
        self.depth += 1
        try:
            return "record", kind, tuple(own), tuple(map(self.form, own.values()))
        except _NoRecord:
            if self.depth > 1:  # nor is what holds it
                raise
            del self.leaves[before[0] :]
            for x in self.containers[before[1] :]:
                self.numbers.pop(id(x), None)
            del self.containers[before[1] :]
            self.kinds = before[2]
            self.leaves.append(tree)
            return "*"
        finally:
            self.depth -= 1


def rebuilt(form: Any, values: list[Any]) -> Any:
    """A structure with these leaves."""
    return _rebuilt(form, iter(values), [])


def _rebuilt(form: Any, values: Any, made: list[Any]) -> Any:
    """A structure. Its containers are appended to `made`, in the order in which a walk meets them."""
    if form == "*":
        return next(values)
    kind, parts = form[:2]
    new: Any
    if kind == "dict":
        made.append(new := {})
        for key, part in parts:
            new[key if type(key) is str else key[1]] = _rebuilt(part, values, made)
        return new
    if kind == "list":
        made.append(new := [])
        new += [_rebuilt(part, values, made) for part in parts]
        return new
    if kind == "again":
        return made[parts]
    if kind == "record":
        new = empty_record(parts)
        own = vars(new)
        made += [new, own]
        for name, part in zip(form[2], form[3], strict=True):
            own[name] = _rebuilt(part, values, made)
        return new
    items = [_rebuilt(part, values, made) for part in parts]
    return tuple(items) if kind == "tuple" else kind(*items)


def is_record(kind: type) -> bool:
    """Whether objects of a class are told apart by what they hold: namespaces, and dataclasses that do nothing odd."""
    return kind is SimpleNamespace or (type(kind) in (type, ABCMeta) and _is_record(kind))


PLAIN_BASES = frozenset({object, ABC, Generic, Protocol})
ODD = frozenset({
    *("__del__", "__call__", "__getattribute__", "__array__", "__array_ufunc__", "__array_function__", "__next__"),
    *("__array_interface__", "__get__", "__set__"),
})  # fmt: skip


@functools.lru_cache(maxsize=4096)
def _is_record(kind: Any) -> bool:
    if not (dataclasses.is_dataclass(kind) or hasattr(kind, "__attrs_attrs__")):
        return False
    bases = [base for base in kind.__mro__ if base not in PLAIN_BASES]
    if any(not is_users_class(base) or slots_of(base) or not ODD.isdisjoint(vars(base)) for base in bases):
        return False
    code = getattr(kind.__hash__, "__code__", None)  # a key of a dictionary is known by its hash: not by identity then
    if not (kind.__hash__ is None or (code is not None and code.co_filename == "<string>")):
        return False
    return can_be_made(kind) and type(own_attributes(object.__new__(kind))) is dict


def can_be_made(kind: type) -> bool:
    """Whether an object of a class can be made without calling it: none of its bases is written in C."""
    try:
        object.__new__(kind)
    except TypeError:
        return False
    return True


def empty_record(kind: Any) -> Any:
    """An object of a class without attributes."""
    return SimpleNamespace() if kind is SimpleNamespace else object.__new__(kind)


def signature(leaves: list[Any], form: Any, owned: dict[int, Any], varying: set[Any], keep: list[Any]) -> Signature:
    """What decides which program runs.

    Args:
        leaves: of the arguments.
        form: the structure that they stand in.
        owned: arrays of the state, by id: an argument that shares their memory is known by where it lies. Objects and
            functions of the state too, which are known by identity.
        varying: numbers that are inputs of programs.
        keep: objects known by their id are appended here, so that no other gets it.

    Raises:
        UnsupportedArgument: a subclass of arrays, or an array of objects.
    """
    first: dict[int, int] = {}
    keys = []
    for k, x in enumerate(leaves):
        array = x.data if type(x) is Tensor else x
        if isinstance(array, np.ndarray):
            if type(array) is not np.ndarray or array.dtype.kind not in NUMERIC:
                keys.append(_other_array(array))
                continue
            same = first.setdefault(id(x), k)
            shared: Any = ("same", same) if same != k else None
            root = owner(array) if array.base is not None else array
            if id(root) in owned:
                shared = (id(root), array.__array_interface__["data"][0], array.strides)
            elif shared is None and array is not x and id(array) in first:
                shared = ("data of", first[id(array)])
            first.setdefault(id(array), k)
            has_node = x.node is not None if type(x) is Tensor else 0
            layout = None if array.flags.c_contiguous else array.strides  # it decides which reshapes are views
            keys.append(("array", type(x), array.shape, array.dtype, has_node, shared, layout))
        elif type(x) in (int, float) and (None, (), k) in varying:
            keys.append(("number", type(x)))
        elif isinstance(x, np.floating) or type(x) is Tensor:
            keys.append(("scalar", type(x), array.dtype, type(x) is Tensor and x.node is not None))
        elif isinstance(x, np.random.Generator) and id(x) not in owned:
            same = first.setdefault(id(x), k)
            keys.append(("generator", type(x), type(x.bit_generator), same))
        else:
            keys.append(("object", id(x)) if id(x) in owned else ("value", value_key(x, keep)))
    return ((mode.get() is not None, form), *keys)


def _other_array(array: Any) -> tuple[Any, ...]:
    if type(array) is not np.ndarray:
        raise UnsupportedArgument(
            f"an argument is a {type(array).__name__}, whose arithmetic is not that of arrays, of shape {array.shape} "
            f"and dtype {array.dtype}.\nHint: convert it first, np.asarray(x), or x.filled(0) if it is masked."
        )
    if array.dtype.kind == "O":
        raise UnsupportedArgument(
            f"an argument is an array of objects of shape {array.shape}.\nHint: pass numbers, or a list."
        )
    return "content", array.shape, array.dtype.str, array.tobytes()


def value_key(x: Any, keep: list[Any]) -> Any:
    """A key that is equal for objects that stand for each other: by value where that is possible, else by identity."""
    if is_leaf(x):
        return bits(x)
    if isinstance(x, FunctionType):
        cells = tuple(value_key(StateRef(c, "", "cell", "").get(), keep) for c in x.__closure__ or ())
        keep.append(x.__globals__)
        rest = value_key((x.__defaults__ or (), tuple((x.__kwdefaults__ or {}).items())), keep)
        return "function", x.__code__, id(x.__globals__), cells, rest
    if isinstance(x, MethodType):
        return "method", value_key(x.__self__, keep), value_key(x.__func__, keep)
    if isinstance(x, BuiltinFunctionType) and x.__self__ is not None:
        return "builtin", x.__name__, value_key(x.__self__, keep)
    if isinstance(x, functools.partial):
        return "partial", value_key(x.func, keep), value_key(x.args, keep), value_key(tuple(x.keywords.items()), keep)
    if type(x) in (tuple, list, set, frozenset):
        inside = tuple(value_key(part, keep) for part in x)
        return type(x), frozenset(inside) if isinstance(x, (set, frozenset)) else inside
    own = getattr(x, "__dict__", None)
    if type(own) is dict and own and all(map(is_leaf, own.values())) and not callable(x):
        keep.append(type(x))
        return type(x), tuple((name, bits(value)) for name, value in own.items())
    keep.append(x)
    return "object", id(x)


def shown(part: Any) -> str:
    """A part of a signature in words."""
    if part[0] == "array":
        return f"{part[2]} {part[3]}"
    if part[0] == "value":
        inner = part[1]
        if isinstance(inner, tuple) and len(inner) == 2 and inner[0] == "float":
            return repr(struct.unpack("d", inner[1])[0])
        return repr(inner[1]) if isinstance(inner, tuple) and len(inner) == 2 else str(inner)
    return part[1].__name__ if part[0] in ("number", "generator") else str(part[0])


def argument_names(function: Any, leaves: list[Any], rebuild: Any) -> list[str]:
    """What the leaves of the arguments are called: by the parameter, with a number where it has several."""
    args, kwargs = rebuild(list(range(len(leaves))))
    try:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        given = {"argument": (args, kwargs)}
    names = [""] * len(leaves)
    for name, tree in given.items():
        parts, _, _ = flatten(tree)
        for j, k in enumerate(parts):
            names[k] = name if len(parts) == 1 else f"{name}.{j}"
    return names
