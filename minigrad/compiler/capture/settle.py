"""Settling: real objects instead of tracers, in everything that a recorded step has made or changed."""

from __future__ import annotations

from collections import deque
from types import MethodType
from typing import Any

import numpy as np

from minigrad.compiler.capture.object_members import members, remade
from minigrad.compiler.capture.recording import GradProbe
from minigrad.compiler.capture.state import StateCapture
from minigrad.compiler.trace.generators import TracerGenerator
from minigrad.compiler.trace.traced_number import TracedNumber
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.tracer_operators import real_of
from minigrad.reach import Contents, base_of, is_leaf, keys_of, same_objects, values_of

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
