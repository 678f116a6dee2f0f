"""One stack of layers around the operations of the engine. While no layer is open, it costs nothing.

An operation calls the function of its primitive and makes a node; later a walk goes through that node. Code that
replaces or watches this (formulas, anomaly detection, `watch`) opens a layer:

    with intercept(layer): ...      # layer(primitive, call_next, operands, params) is called for each operation

The layer opened last is called first, and calls the next one with `call_next`. Layers belong to a context, and so to a
thread. They are removed by identity, so they may be closed in any order.

While a layer is open in any thread, every primitive calls a dispatcher instead of its function. Dispatchers are
installed with the first layer and removed after the last, in this file and nowhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import FrameType
from typing import Any

from minigrad.engine import primitive
from minigrad.engine.node import Node
from minigrad.engine.pairwise import wide
from minigrad.engine.primitive import Array, Primitive
from minigrad.engine.specialize import rebind
from minigrad.util.locks import LOCK


class Layer:
    """Methods that are called around each operation and each step of a walk. Those of this class change nothing."""

    def __call__(
        self, p: Primitive, call_next: Callable[..., Any], operands: tuple[Any, ...], params: dict[str, Any]
    ) -> Any:
        """The value of a primitive for these arrays: call_next(*operands, **params), or a replacement."""
        return call_next(*operands, **params)

    def recorded(self, node: Node) -> None:
        """A node was made for the value that was computed last. Its slots are filled after this returns."""

    def pulled(self, node: Node, v: Array, contributions: dict[Node, Array], residuals: tuple[Array, ...]) -> None:
        """Reverse mode went through a node: its cotangent, and the contributions to its parents."""

    def pushed(
        self, node: Node, tangents: Sequence[Array | None], tangent_out: Array, residuals: tuple[Array, ...]
    ) -> None:
        """Forward mode went through a node: the tangents of its parents, and that of its value."""


class Entry:
    """One opening of a layer. Once closed, it is closed in contexts that were copied meanwhile too."""

    __slots__ = ("is_open", "layer")

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.is_open = True


class Observer(Layer):
    """A layer that changes nothing. It is a context manager, which threads may share.

    Operations of rules are left out: `pulled` and `pushed` have their results. While formulas are written the operands
    are symbols, which an observer must not look into.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []  # of all threads

    @property
    def inside(self) -> Node | None:
        """The node whose rules are running."""
        return _rules_of.get()

    def computed(self, p: Primitive, values: tuple[Array, ...], out: Array, frame: FrameType) -> None:
        """A primitive was applied to arrays. The frame is that of its record function, with the operands as given."""

    def __call__(
        self, p: Primitive, call_next: Callable[..., Any], operands: tuple[Any, ...], params: dict[str, Any]
    ) -> Any:
        """Run the operation, and call `computed` with its value."""
        out = call_next(*operands, **params)
        if _rules_of.get() is None:
            self.computed(p, operands, out, _frame_of(p))
        return out

    def __enter__(self) -> Any:
        self._entries.append(enter(self))
        return self

    def __exit__(self, *exception: Any) -> Any:
        here, entries = STACK.get(), tuple(self._entries)  # a copy: other threads enter and leave meanwhile
        entry = next((entry for entry in reversed(entries) if entry in here), entries[-1])
        self._entries.remove(entry)
        leave(entry)


STACK: ContextVar[tuple[Entry, ...]] = ContextVar("minigrad_layers", default=())
_rules_of: ContextVar[Node | None] = ContextVar("minigrad_rules", default=None)  # the node whose rules are running
_open = 0  # entries in all threads
_dispatched: list[Primitive] = []  # the primitives that call the dispatchers


def enter(layer: Layer) -> Entry:
    """Put a layer on top of the stack."""
    global _open
    entry = Entry(layer)
    with LOCK:
        if not _open:
            for p in list(primitive.FUNCTIONS):
                _install(p)
            primitive.on_new.append(_install)
        _open += 1
    STACK.set((*STACK.get(), entry))
    return entry


def leave(entry: Entry) -> None:
    """Remove a layer, wherever it lies in the stack. A second call does nothing."""
    global _open
    STACK.set(tuple(other for other in STACK.get() if other is not entry))
    with LOCK:
        if not entry.is_open:
            return
        entry.is_open = False
        _open -= 1
        if not _open:
            primitive.on_new.remove(_install)
            while _dispatched:
                _uninstall(_dispatched.pop())


@contextmanager
def intercept(layer: Layer) -> Iterator[None]:
    """Call the layer for each operation of this context inside the block."""
    entry = enter(layer)
    try:
        yield
    finally:
        leave(entry)


def layers(kind: type[Layer] = Layer) -> list[Layer]:
    """The layers of this kind that are open in this context, the outermost first."""
    return [entry.layer for entry in STACK.get() if entry.is_open and isinstance(entry.layer, kind)]


def _frame_of(p: Primitive) -> FrameType:
    """The frame of the record function that called the primitive, from within a layer."""
    frame = sys._getframe(1)
    while frame.f_globals is not p.record.__globals__ and frame.f_back is not None:
        frame = frame.f_back
    return frame


# The dispatchers


def _install(p: Primitive) -> None:
    _dispatched.append(p)
    if "dispatchers" not in p.__dict__:
        p.__dict__["dispatchers"] = partial(_call, p), partial(_pull, p), partial(_push, p)
    call, pull, push = p.__dict__["dispatchers"]
    rebind(p, call)
    p.record.__globals__["Node"] = _node
    if p.pull_source:
        p.__dict__ |= {"pull": pull, "push": push}


def _uninstall(p: Primitive) -> None:
    rebind(p, p.callee)
    p.record.__globals__["Node"] = Node
    if p.pull_source:
        for name in ("pull", "push"):
            p.__dict__.pop(name)
        if "written_pull" in p.__dict__:
            p.__dict__["pull"] = p.written_pull


def _call(p: Primitive, /, *operands: Any, **params: Any) -> Any:
    call: Any = p.callee
    for entry in STACK.get():
        if entry.is_open:
            call = partial(_call_layer, entry.layer, p, call)
    return call(*operands, **params)


def _call_layer(layer: Layer, p: Primitive, call_next: Callable[..., Any], /, *operands: Any, **params: Any) -> Any:
    return layer(p, call_next, operands, params)


def _node() -> Node:
    node = Node()
    for layer in layers():
        layer.recorded(node)
    return node


def _pull(p: Primitive, n: Node, v: Any, pending: dict[Node, Any], residuals: tuple[Any, ...]) -> None:
    present = layers()
    if not present:
        p.written_pull(n, v, pending, residuals)
        return
    contributions: dict[Node, Any] = {}
    with _rules_running(n):
        p.written_pull(n, v, contributions, residuals)
    for layer in present:
        layer.pulled(n, v, contributions, residuals)
    for parent, contribution in contributions.items():
        pending[parent] = pending[parent] + wide(contribution) if parent in pending else contribution


def _push(p: Primitive, n: Node, tangents: Sequence[Any], residuals: tuple[Any, ...]) -> Any:
    present = layers()
    if not present:
        return type(p).push(p, n, tangents, residuals)
    with _rules_running(n):
        tangent_out = type(p).push(p, n, tangents, residuals)
    if tangent_out is not None:  # else the walk pulls the pull
        for layer in present:
            layer.pushed(n, tangents, tangent_out, residuals)
    return tangent_out


@contextmanager
def _rules_running(node: Node) -> Iterator[None]:
    token = _rules_of.set(node)
    try:
        yield
    finally:
        _rules_of.reset(token)
