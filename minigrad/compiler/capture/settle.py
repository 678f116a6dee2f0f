"""Settling: real objects instead of tracers, in everything that a recorded step has made or changed."""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from minigrad.compiler.capture.arguments import remade
from minigrad.compiler.capture.recording import GradProbe
from minigrad.compiler.capture.state import StateCapture
from minigrad.compiler.trace.generators import TracerGenerator
from minigrad.compiler.trace.traced_number import TracedNumber
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.tracer_operators import real_of
from minigrad.engine.node import Node
from minigrad.engine.tape import ancestors
from minigrad.reach import (
    MISSING,
    Contents,
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
from minigrad.reach.contents import fields_of
from minigrad.tensor.tensor import Tensor

TRACERS = frozenset({TracerArray, TracedNumber, TracerGenerator, GradProbe})


def settle(capture: StateCapture, *roots: Any) -> list[Any]:
    """Replace tracers by real objects in all that the step has made or changed. Returns the new roots."""
    capture.restore()
    settler = _Settler(capture)
    settler.put_back_copies()
    for ref, _, now in capture.changes:
        new = settler.real(now)
        if new is not now:
            ref.set(new)
    for holder, _, _ in capture.resized:
        settler.inside(holder)
    for holder, before, _ in capture.contents:
        if isinstance(holder, dict) and len(holder) > len(before):
            settler.settle_keys(holder)
    for row in capture.reach.rows:
        if row.kind == "objects":
            settler.inside(row.holder)
    return [settler.real(x) for x in roots]


class _Settler:
    """Replaces tracers by real objects, in everything that is reached."""

    def __init__(self, capture: StateCapture) -> None:
        self.capture = capture
        self.before = capture.reach.seen
        self.seen: dict[int, Any] = {}
        self.scalars: dict[int, tuple[Any, TracerArray]] = {}  # one object for each, wherever it is

    def real(self, x: Any) -> Any:
        """The real object instead of x, inside of which tracers are replaced too."""
        todo: list[Any] = []
        new = self._shallow(x, todo)
        for part in todo:
            self.inside(part)
        return new

    def _shallow(self, x: Any, todo: list[Any]) -> Any:
        """The real object instead of x. Objects that may hold tracers are appended to `todo`."""
        kind, capture = type(x), self.capture
        if kind is TracerArray and x.mg_is_scalar:
            return self.scalars.setdefault(id(x), (x.mg_real, x))[0]
        if kind in TRACERS:
            return x.before if kind is GradProbe else x.mg_real
        if id(x) in capture.originals:
            return capture.originals[id(x)]
        if id(x) in capture.copies:
            return capture.copies[id(x)][1]
        if kind is MethodType and id(x.__self__) in capture.copies:
            return MethodType(x.__func__, self._shallow(x.__self__, todo))
        if kind is slice:
            parts = [x.start, x.stop, x.step]
            real = list(map(real_of, parts))
            return x if same_objects(real, parts) else slice(*real)
        if is_leaf(x) or isinstance(x, type) or (isinstance(x, np.ndarray) and not x.dtype.hasobject):
            return x
        if isinstance(x, (tuple, frozenset)):
            parts = [self._shallow(part, todo) for part in x]
            return x if same_objects(parts, list(x)) else remade(x, parts)
        todo.append(x)
        return x

    def inside(self, x: Any) -> None:
        """Replace tracers in an object and in all that it holds, without recursion between objects."""
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
        """Replace traced numbers among the keys of a dictionary, and keep their order."""
        keys = keys_of(x)
        real = [key if is_leaf(key) and type(key) is not tuple else self._shallow(key, []) for key in keys]
        if not same_objects(real, keys):
            items = list(zip(real, values_of(x), strict=True))
            base = base_of(x)
            base.clear(x)
            for key, value in items:
                base.__setitem__(x, key, value)

    def put_back_copies(self) -> None:
        """Make the user's containers among the arguments hold what the step has changed in its copies."""
        for _, container, before, now, _ in self.capture.filled:
            original = Contents(container)
            known = {id(x): real for x, real in zip(before.values, original.values, strict=True)}
            now.replace([known[id(x)] if id(x) in known else self.real(x) for x in now.values])
            now.keys = now.keys and list(map(self.real, now.keys))
            now.put(container)


# Members: what an object holds, each with a function that replaces it


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
    kind: Any = type(x)
    for name in fields_of(kind):
        yield getattr(x, name), _keep if name.startswith("__") else functools.partial(_set_unless_read_only, x, name)


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
        yield from _place(cell, "cell_contents", "cell")
    yield x.__defaults__, functools.partial(setattr, x, "__defaults__")


_BY_KIND: dict[type, Callable[[Any], Iterator[Member]]] = {
    np.ndarray: _object_array,
    Tensor: _tensor,
    Node: _nodes,
    MethodType: _method,
    FunctionType: _function,
    functools.partial: lambda x: _place(x, "", "partial"),
}
