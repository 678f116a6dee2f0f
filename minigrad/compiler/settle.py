"""Settling: real arrays in the place of tracers, in everything that a recorded step has made or changed."""

from __future__ import annotations

import functools
from collections import deque
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.compiler.generator import TracerGenerator
from minigrad.compiler.gradients import GradProbe
from minigrad.compiler.numbers import TracedNumber
from minigrad.compiler.tracer import TracerArray
from minigrad.node import Node
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
from minigrad.tape import ancestors
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.compiler.capture import StateCapture


class Settler:
    """Puts real arrays into the place of tracers, inside of everything that is reached."""

    def __init__(self, capture: StateCapture) -> None:
        self.capture = capture
        self.before = capture.reach.seen
        self.seen: dict[int, Any] = {}
        self.done: dict[int, tuple[Any, Any]] = {}

    def real(self, x: Any) -> Any:
        """x itself, or what stands in its place."""
        kind = type(x)
        if kind is TracerArray:
            return x.real_array
        if kind is TracedNumber:
            return x.real
        if kind is TracerGenerator:
            return x.real
        if kind is GradProbe:
            return x.before
        if id(x) in self.capture.rebuilt:
            return self.capture.rebuilt[id(x)][1]
        if is_leaf(x) or isinstance(x, (type, np.ndarray)):
            return x
        if isinstance(x, (tuple, frozenset)):
            parts = [self.real(part) for part in x]
            if same_objects(parts, list(x)):
                return x
            return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
        self.inside(x)
        return x

    def inside(self, x: Any) -> None:
        """Go through an object and all that it holds, without recursion between objects."""
        todo = [x]
        while todo:
            x = todo.pop()
            if id(x) in self.seen or (id(x) in self.before and x is not None and not isinstance(x, (list, deque, set))):
                continue
            self.seen[id(x)] = x
            for get, set_ in members(x):
                now = get
                new = self._shallow(now, todo)
                if new is not now:
                    set_(new)

    def _shallow(self, x: Any, todo: list[Any]) -> Any:
        kind = type(x)
        if kind in (TracerArray, TracedNumber, TracerGenerator, GradProbe) or id(x) in self.capture.rebuilt:
            return self.real(x)
        if isinstance(x, (tuple, frozenset)) and not is_leaf(x):
            parts = [self._shallow(part, todo) for part in x]
            if same_objects(parts, list(x)):
                return x
            return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
        if not is_leaf(x) and not isinstance(x, (type, np.ndarray)):
            todo.append(x)
        return x


def members(x: Any) -> Any:
    """What an object holds, each with a function that puts something else there."""
    if type(x) is Tensor:
        for key in ("data", "_grad"):
            ref = StateRef(x, key, "slot", "")
            if ref.get() is not MISSING:
                yield ref.get(), ref.set
        if x.node is not None:
            yield x.node, lambda _: None
        return
    if type(x) is Node:
        for node in ancestors([x])[0]:
            for key in ("saved", "params"):
                value = getattr(node, key, None)
                if value:
                    yield value, functools.partial(setattr, node, key)
            if node.primitive is not None and hasattr(node.primitive, "leaves"):
                yield node.primitive, lambda _: None
        return
    if isinstance(x, MethodType):
        yield x.__self__, lambda _: None
        yield x.__func__, lambda _: None
        return
    if isinstance(x, FunctionType):
        for cell in x.__closure__ or ():
            ref = StateRef(cell, "", "cell", "")
            if ref.get() is not MISSING:
                yield ref.get(), ref.set
        yield x.__defaults__, functools.partial(setattr, x, "__defaults__")
        return
    if isinstance(x, functools.partial):
        ref = StateRef(x, "", "partial", "")
        yield ref.get(), ref.set
        return
    if isinstance(x, dict):
        for key, value in zip(keys_of(x), values_of(x), strict=True):
            yield value, functools.partial(base_of(x).__setitem__, x, key)
    elif isinstance(x, (list, deque)):
        for k, value in enumerate(elements(x)):
            yield value, functools.partial(StateRef(x, k, "index", "").set)
    elif isinstance(x, set):
        for value in elements(x):
            yield value, functools.partial(_exchange, x, value)
    own = own_attributes(x)
    if type(own) is dict:
        yield own, lambda _: None
    for kind in type(x).__mro__:
        for name in slots_of(kind):
            ref = StateRef(x, name, "slot", "")
            if ref.get() is not MISSING:
                yield ref.get(), ref.set


def _exchange(holder: set[Any], old: Any, new: Any) -> None:
    holder.discard(old)
    holder.add(new)
