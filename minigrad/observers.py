"""Observers are told of every operation and of every pull while there are any; without one, nothing is paid for it.

An operation calls its primitive's function and makes a line; later the walk pulls through that line. While somebody
observes, these three are replaced in every primitive by ones that do the same and tell of it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import FrameType
from typing import Any

from minigrad import primitive
from minigrad.node import Node
from minigrad.primitive import Primitive
from minigrad.specialize import made, rebind

Array = Any


class Observer:
    """Told of what happens in its `with` block, in its own thread. Subclasses say what they do with it.

    What rules compute is not told; `pulled` tells their results. `inside` is the line whose rules are running.
    """

    inside: Node | None = None
    _token: Token[tuple[Observer, ...]]

    def computed(self, p: Primitive, values: tuple[Array, ...], out: Array, frame: FrameType) -> None:
        """A primitive was applied to arrays. The frame is that of its record function, with the operands as given."""

    def recorded(self, line: Node) -> None:
        """The line for what was computed last; it is filled in when this returns."""

    def pulled(self, line: Node, v: Array, shares: dict[Node, Array], saved: tuple[Array, ...]) -> None:
        """The walk went through a line: its cotangent, and what its rules gave to its parents."""

    def pushed(self, line: Node, tangents: Sequence[Array | None], moved: Array, saved: tuple[Array, ...]) -> None:
        """Forward mode went through a line: the tangents of its parents, and that of its value."""

    def __enter__(self) -> Any:
        self._token = _active.set((*_active.get(), self))
        _install()
        return self

    def __exit__(self, *exception: Any) -> Any:
        _active.reset(self._token)
        _uninstall()


_active: ContextVar[tuple[Observer, ...]] = ContextVar("minigrad_observers", default=())
_undo: dict[Primitive, Callable[[], None]] = {}
_count = 0


def is_active() -> bool:
    """Whether somebody observes in this context."""
    return _count > 0 and bool(_active.get())


_lock = threading.Lock()


def _install() -> None:
    global _count
    with _lock:
        _count += 1
        if _count == 1:
            for p in list(primitive.FUNCTIONS):
                _replace(p)
            primitive.on_new.append(_replace)


def _uninstall() -> None:
    global _count
    with _lock:
        _count -= 1
        if _count == 0:
            primitive.on_new.remove(_replace)
            for undo in _undo.values():
                undo()
            _undo.clear()


def _replace(p: Primitive) -> None:
    """Let a primitive tell of its work, and remember how to undo it."""
    names: dict[str, Any] = p.record.__globals__
    function, node, pull = names["function"], names["Node"], p.__dict__.get("pull")

    def computing(*values: Any, **static: Any) -> Any:
        out = function(*values, **static)
        for observer in _active.get():
            if observer.inside is None:
                observer.computed(p, values, out, sys._getframe(1))
        return out

    def pulling(n: Node, v: Any, due: dict[Node, Any], saved: tuple[Any, ...]) -> None:
        nonlocal pull
        if pull is None:
            pull = made(p, p.pull_source)
        shares: dict[Node, Any] = {}
        with _inside(n):
            pull(n, v, shares, saved)
        for observer in _active.get():
            observer.pulled(n, v, shares, saved)
        for parent, share in shares.items():
            due[parent] = due[parent] + share if parent in due else share

    def pushing(n: Node, tangents: Sequence[Any], saved: tuple[Any, ...]) -> Any:
        with _inside(n):
            moved = type(p).push(p, n, tangents, saved)
        if moved is not None:  # else the walk pulls the pull
            for observer in _active.get():
                observer.pushed(n, tangents, moved, saved)
        return moved

    def undo() -> None:
        p.__dict__.pop("push", None)
        rebind(p, function)
        names["Node"] = node
        if pull is None:
            p.__dict__.pop("pull", None)
        else:
            p.__dict__["pull"] = pull

    rebind(p, computing)
    names["Node"] = _line
    if p.pull_source:
        p.__dict__ |= {"pull": pulling, "push": pushing}
    _undo[p] = undo


@contextmanager
def _inside(line: Node) -> Iterator[None]:
    """The rules of a line are running."""
    before = [(observer, observer.inside) for observer in _active.get()]
    try:
        for observer, _ in before:
            observer.inside = line
        yield
    finally:
        for observer, outer in before:
            observer.inside = outer


def _line() -> Node:
    line = Node()
    for observer in _active.get():
        observer.recorded(line)
    return line
