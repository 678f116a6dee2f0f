"""Settling: real arrays in place of tracers, in everything that a recorded step has made or changed."""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Iterator
from types import FunctionType, MemberDescriptorType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.compiler.trace.generator import TracerGenerator
from minigrad.compiler.trace.numbers import TracedNumber
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.unread_grads import GradProbe
from minigrad.engine.node import Node
from minigrad.engine.tape import ancestors
from minigrad.reach import (
    MISSING,
    StateRef,
    base_of,
    elements,
    is_leaf,
    keys_of,
    own_attributes,
    same_objects,
    slots_of,
    values_of,
)
from minigrad.tensor.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.compiler.capture.state import StateCapture


class Settler:
    """Puts real arrays into the place of tracers, inside of everything that is reached."""

    def __init__(self, capture: StateCapture) -> None:
        self.capture = capture
        self.before = capture.reach.seen
        self.seen: dict[int, Any] = {}
        self.scalars: dict[int, tuple[Any, TracerArray]] = {}  # one object for each, wherever it was put

    def real(self, x: Any) -> Any:
        """x itself, or what stands in its place."""
        kind = type(x)
        if kind is TracerArray:
            return x.mg_array if not x.mg_is_scalar else self.scalars.setdefault(id(x), (x.mg_real_array, x))[0]
        if kind is TracedNumber:
            return x.real
        if kind is TracerGenerator:
            return x.real
        if kind is GradProbe:
            return x.before
        if id(x) in self.capture.originals:
            return self.capture.originals[id(x)]
        if id(x) in self.capture.rebuilt:
            return self.capture.rebuilt[id(x)][1]
        if kind is MethodType and id(x.__self__) in self.capture.rebuilt:
            return MethodType(x.__func__, self.real(x.__self__))
        if kind is slice:
            return _without_tracers(x)
        if is_leaf(x) or isinstance(x, type) or _is_of_numbers(x):
            return x
        if isinstance(x, (tuple, frozenset)):
            parts = [self.real(part) for part in x]
            if same_objects(parts, list(x)):
                return x
            return remade(x, parts)
        self.inside(x)
        return x

    def inside(self, x: Any) -> None:
        """Go through an object and all that it holds, without recursion between objects."""
        todo = [x]
        while todo:
            x = todo.pop()
            if id(x) in self.seen or (
                id(x) in self.before and x is not None and not isinstance(x, (list, deque, set, np.ndarray))
            ):
                continue
            self.seen[id(x)] = x
            if isinstance(x, dict):
                self.settle_keys(x)
            for now, put in members(x):
                new = self._shallow(now, todo)
                if new is not now:
                    put(new)

    def settle_keys(self, x: Any) -> None:
        """Numbers in place of traced ones among the keys of a dictionary, whose order stays."""
        keys = keys_of(x)
        real = [key if is_leaf(key) and type(key) is not tuple else self._shallow(key, []) for key in keys]
        if not same_objects(real, keys):
            items = list(zip(real, values_of(x), strict=True))
            base = base_of(x)
            base.clear(x)
            for key, value in items:
                base.__setitem__(x, key, value)

    def _shallow(self, x: Any, todo: list[Any]) -> Any:
        kind = type(x)
        if kind in (TracerArray, TracedNumber, TracerGenerator, GradProbe) or id(x) in self.capture.rebuilt:
            return self.real(x)
        if kind is slice or (kind is MethodType and id(x.__self__) in self.capture.rebuilt):
            return self.real(x)
        if id(x) in self.capture.originals:
            return self.capture.originals[id(x)]
        if isinstance(x, (tuple, frozenset)) and not is_leaf(x):
            parts = [self._shallow(part, todo) for part in x]
            if same_objects(parts, list(x)):
                return x
            return remade(x, parts)
        if not is_leaf(x) and not isinstance(x, type) and not _is_of_numbers(x):
            todo.append(x)
        return x


def _without_tracers(x: slice) -> slice:
    """A slice with plain numbers."""
    parts = (x.start, x.stop, x.step)
    if any(hasattr(type(part), "minigrad_tracer") for part in parts):
        return slice(*(part.real if hasattr(type(part), "minigrad_tracer") else part for part in parts))
    return x


Part = tuple[Any, Callable[[Any], Any]]  # what stands there, and a function that puts something else there


def members(x: Any) -> Iterator[Part]:
    """What an object holds, each with a function that puts something else there."""
    for kind, parts in _PARTS.items():
        if isinstance(x, kind):
            yield from parts(x)
            return
    yield from _elements(x)
    if isinstance(x, BaseException):
        yield from _exception(x)
    own = own_attributes(x)
    if type(own) is dict:
        yield own, _leave
    for base in type(x).__mro__:
        for name in slots_of(base):
            yield from _place(x, name, "slot")


def _exception(x: BaseException) -> Iterator[Part]:
    """What an exception was raised with: arguments, attributes in C (SystemExit.code), and other exceptions."""
    yield x.args, functools.partial(setattr, x, "args")
    for base in type(x).__mro__:
        for name, place in vars(base).items():
            if type(place) is MemberDescriptorType and base.__module__ == "builtins" and not name.startswith("_"):
                yield getattr(x, name), functools.partial(_set_unless_read_only, x, name)
    yield x.__cause__, _leave
    yield x.__context__, _leave


def _set_unless_read_only(x: BaseException, name: str, new: Any) -> None:
    """An attribute of an exception, if it can be set: the members of an ExceptionGroup are those of its arguments."""
    with contextlib.suppress(AttributeError):
        setattr(x, name, new)


def _is_of_numbers(x: Any) -> bool:
    """Whether x is an array that cannot hold tracers."""
    return isinstance(x, np.ndarray) and not x.dtype.hasobject


def _object_array(x: Any) -> Iterator[Part]:
    """The elements of an array of objects."""
    if x.dtype.kind == "O":
        for index in np.ndindex(x.shape):
            yield x[index], functools.partial(x.__setitem__, index)


def _place(holder: Any, key: str, kind: str) -> Iterator[Part]:
    ref = StateRef(holder, key, kind, "")
    value = ref.get()
    if value is not MISSING:
        yield value, ref.set


def _leave(new: Any) -> None:
    """Nothing can stand there instead: what is inside has changed."""


def _tensor(x: Tensor) -> Iterator[Part]:
    for key in ("data", "_grad"):
        yield from _place(x, key, "slot")
    if x.node is not None:
        yield x.node, _leave


def _nodes(x: Node) -> Iterator[Part]:
    """The tape behind a node."""
    for node in ancestors([x])[0]:
        for key in ("residuals", "params"):
            value = getattr(node, key, None)
            if value:
                yield value, functools.partial(setattr, node, key)
        if node.primitive is not None and hasattr(node.primitive, "leaves"):
            yield node.primitive, _leave


def _method(x: MethodType) -> Iterator[Part]:
    yield x.__self__, _leave
    yield x.__func__, _leave


def _function(x: FunctionType) -> Iterator[Part]:
    for cell in x.__closure__ or ():
        yield from _place(cell, "", "cell")
    yield x.__defaults__, functools.partial(setattr, x, "__defaults__")


_PARTS: dict[type, Callable[[Any], Iterator[Part]]] = {
    np.ndarray: _object_array,
    Tensor: _tensor,
    Node: _nodes,
    MethodType: _method,
    FunctionType: _function,
    functools.partial: lambda x: _place(x, "", "partial"),
}


def _elements(x: Any) -> Iterator[Part]:
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


def remade(x: Any, parts: list[Any]) -> Any:
    """A tuple or frozenset like x with other elements."""
    kind = type(x)
    made = kind(*parts) if hasattr(kind, "_fields") else kind(parts)
    if own := own_attributes(x):
        vars(made).update(own)
    return made


def _exchange(holder: set[Any], old: Any, new: Any) -> None:
    holder.discard(old)
    holder.add(new)
