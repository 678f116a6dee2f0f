"""Members of objects: what an object holds, each with a function that replaces it."""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Iterator
from types import FunctionType, MemberDescriptorType, MethodType
from typing import Any

import numpy as np

from minigrad.engine.node import Node
from minigrad.engine.tape import ancestors
from minigrad.reach import MISSING, StateRef, base_of, elements, keys_of, own_attributes, slots_of, values_of
from minigrad.tensor.tensor import Tensor

Member = tuple[Any, Callable[[Any], Any]]  # an object, and a function that puts another one there


def members(x: Any) -> Iterator[Member]:
    """The objects that an object holds, each with a function that puts another one there."""
    for kind, parts in _BY_KIND.items():
        if isinstance(x, kind):
            yield from parts(x)
            return
    yield from _elements(x)
    if isinstance(x, BaseException):
        yield from _exception(x)
    own = own_attributes(x)  # of some classes an object of their own
    if type(own) is dict:
        yield own, _keep
    for base in type(x).__mro__:
        for name in slots_of(base):
            yield from _place(x, name, "slot")


def contents_of(x: Any) -> list[Any]:
    """The objects that an object holds, and the keys of a dictionary."""
    keys = keys_of(x) if isinstance(x, dict) else []
    return keys + [value for value, _ in members(x)]


def remade(x: Any, parts: list[Any]) -> Any:
    """A tuple or frozenset like x with other elements."""
    kind = type(x)
    new = kind(*parts) if hasattr(kind, "_fields") else kind(parts)
    if own := own_attributes(x):
        vars(new).update(own)
    return new


def _keep(new: Any) -> None:
    """Nothing can be put there: the object itself has changed."""


def _place(holder: Any, key: str, kind: str) -> Iterator[Member]:
    ref = StateRef(holder, key, kind, "")
    value = ref.get()
    if value is not MISSING:
        yield value, ref.set


def _elements(x: Any) -> Iterator[Member]:
    """The elements of a container."""
    if isinstance(x, dict):
        for key, value in zip(keys_of(x), values_of(x), strict=True):
            yield value, functools.partial(base_of(x).__setitem__, x, key)
    elif isinstance(x, (list, deque)):
        for k, value in enumerate(elements(x)):
            yield value, StateRef(x, k, "index", "").set
    elif isinstance(x, set):
        for value in elements(x):
            yield value, functools.partial(_exchange, x, value)
    elif isinstance(x, (tuple, frozenset)):
        for value in tuple.__iter__(x) if isinstance(x, tuple) else frozenset.__iter__(x):
            yield value, _keep


def _exchange(holder: set[Any], old: Any, new: Any) -> None:
    holder.discard(old)
    holder.add(new)


def _exception(x: BaseException) -> Iterator[Member]:
    """The arguments of an exception, its attributes in C (SystemExit.code), and other exceptions."""
    yield x.args, functools.partial(setattr, x, "args")
    for base in type(x).__mro__:
        for name, place in vars(base).items():
            if type(place) is MemberDescriptorType and base.__module__ == "builtins" and not name.startswith("_"):
                yield getattr(x, name), functools.partial(_set_unless_read_only, x, name)
    yield x.__cause__, _keep
    yield x.__context__, _keep


def _set_unless_read_only(x: BaseException, name: str, new: Any) -> None:
    """Set an attribute of an exception. The members of an ExceptionGroup are read-only: they are in its arguments."""
    with contextlib.suppress(AttributeError):
        setattr(x, name, new)


def _object_array(x: Any) -> Iterator[Member]:
    """The elements of an array of objects."""
    if x.dtype.kind == "O":
        for index in np.ndindex(x.shape):
            yield x[index], functools.partial(x.__setitem__, index)


def _tensor(x: Tensor) -> Iterator[Member]:
    for key in ("data", "_grad"):
        yield from _place(x, key, "slot")
    if x.node is not None:
        yield x.node, _keep


def _nodes(x: Node) -> Iterator[Member]:
    """The tape behind a node."""
    for node in ancestors([x])[0]:
        for key in ("residuals", "params"):
            value = getattr(node, key, None)
            if value:
                yield value, functools.partial(setattr, node, key)
        if node.primitive is not None and hasattr(node.primitive, "leaves"):
            yield node.primitive, _keep


def _method(x: MethodType) -> Iterator[Member]:
    yield x.__self__, _keep
    yield x.__func__, _keep


def _function(x: FunctionType) -> Iterator[Member]:
    for cell in x.__closure__ or ():
        yield from _place(cell, "", "cell")
    yield x.__defaults__, functools.partial(setattr, x, "__defaults__")


_BY_KIND: dict[type, Callable[[Any], Iterator[Member]]] = {
    np.ndarray: _object_array,
    Tensor: _tensor,
    Node: _nodes,
    MethodType: _method,
    FunctionType: _function,
    functools.partial: lambda x: _place(x, "", "partial"),
}
