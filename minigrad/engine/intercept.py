"""One stack of layers around the operations of the engine; without a layer, nothing is paid for it.

An operation calls the function of its primitive and makes a node; later a walk goes through that node. Whoever wants to
see or replace that (formulas, anomaly detection, a watch) enters a layer. The layer entered last is asked first, and
asks the next with `call_next`. Layers belong to a context, so to a thread; they are removed by identity, so they may
end in any order.

While there is a layer in any thread, every primitive calls a dispatcher in place of its function. That is put in
with the first layer and taken out after the last, in this file and nowhere else.
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
from minigrad.engine.primitive import Primitive
from minigrad.engine.specialize import rebind
from minigrad.util.locks import LOCK

Array = Any


class Layer:
    """What may be done around each operation. The methods of this class do nothing of their own."""

    def __call__(
        self, p: Primitive, call_next: Callable[..., Any], operands: tuple[Any, ...], params: dict[str, Any]
    ) -> Any:
        """What a primitive gives for these arrays: call_next(*operands, **params), or something else."""
        return call_next(*operands, **params)

    def recorded(self, node: Node) -> None:
        """The node for what was computed last; it is filled in when this returns."""

    def pulled(self, node: Node, v: Array, contributions: dict[Node, Array], residuals: tuple[Array, ...]) -> None:
        """The walk went through a node: its cotangent, and what its rules gave to its parents."""

    def pushed(
        self, node: Node, tangents: Sequence[Array | None], tangent_out: Array, residuals: tuple[Array, ...]
    ) -> None:
        """Forward mode went through a node: the tangents of its parents, and that of its value."""


class Entry:
    """A layer that was entered. It is over when it is left, also in contexts that were copied meanwhile."""

    __slots__ = ("is_open", "layer")

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.is_open = True


STACK: ContextVar[tuple[Entry, ...]] = ContextVar("minigrad_layers", default=())
_rules: ContextVar[Node | None] = ContextVar("minigrad_rules", default=None)  # the node whose rules are running
_open = 0  # entries in all threads
_changed: list[Primitive] = []  # in which the dispatchers are


def enter(layer: Layer) -> Entry:
    """Put a layer on top of the stack."""
    global _open
    entry = Entry(layer)
    with LOCK:
        if not _open:
            for p in list(primitive.FUNCTIONS):
                _put_in(p)
            primitive.on_new.append(_put_in)
        _open += 1
    STACK.set((*STACK.get(), entry))
    return entry


def leave(entry: Entry) -> None:
    """Remove a layer, wherever it lies in the stack. A second time it does nothing."""
    global _open
    STACK.set(tuple(other for other in STACK.get() if other is not entry))
    with LOCK:
        if not entry.is_open:
            return
        entry.is_open = False
        _open -= 1
        if not _open:
            primitive.on_new.remove(_put_in)
            while _changed:
                _take_out(_changed.pop())


@contextmanager
def intercept(layer: Layer) -> Iterator[None]:
    """Within, the layer is asked for what primitives do in this context."""
    entry = enter(layer)
    try:
        yield
    finally:
        leave(entry)


def layers(kind: type[Layer] = Layer) -> list[Layer]:
    """The layers of this kind that are open in this context, the outermost first."""
    return [entry.layer for entry in STACK.get() if entry.is_open and isinstance(entry.layer, kind)]


def running() -> Node | None:
    """The node whose rules are running in this context, while there are layers."""
    return _rules.get()


def frame_of(p: Primitive) -> FrameType:
    """The frame of the record function that called the primitive, from within a layer."""
    frame = sys._getframe(1)
    while frame.f_globals is not p.record.__globals__ and frame.f_back is not None:
        frame = frame.f_back
    return frame


# What stands in primitives while there are layers


def _put_in(p: Primitive) -> None:
    _changed.append(p)
    if "layered" not in p.__dict__:
        p.__dict__["layered"] = partial(_call, p), partial(_pull, p), partial(_push, p)
    call, pull, push = p.__dict__["layered"]
    rebind(p, call)
    p.record.__globals__["Node"] = _line
    if p.pull_source:
        p.__dict__ |= {"pull": pull, "push": push}


def _take_out(p: Primitive) -> None:
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
            call = partial(_asked, entry.layer, p, call)
    return call(*operands, **params)


def _asked(layer: Layer, p: Primitive, call_next: Callable[..., Any], /, *operands: Any, **params: Any) -> Any:
    return layer(p, call_next, operands, params)


def _line() -> Node:
    node = Node()
    for layer in layers():
        layer.recorded(node)
    return node


def _pull(p: Primitive, n: Node, v: Any, pending: dict[Node, Any], residuals: tuple[Any, ...]) -> None:
    told = layers()
    if not told:
        p.written_pull(n, v, pending, residuals)
        return
    contributions: dict[Node, Any] = {}
    with _inside(n):
        p.written_pull(n, v, contributions, residuals)
    for layer in told:
        layer.pulled(n, v, contributions, residuals)
    for parent, contribution in contributions.items():
        pending[parent] = pending[parent] + wide(contribution) if parent in pending else contribution


def _push(p: Primitive, n: Node, tangents: Sequence[Any], residuals: tuple[Any, ...]) -> Any:
    told = layers()
    if not told:
        return type(p).push(p, n, tangents, residuals)
    with _inside(n):
        tangent_out = type(p).push(p, n, tangents, residuals)
    if tangent_out is not None:  # else the walk pulls the pull
        for layer in told:
            layer.pushed(n, tangents, tangent_out, residuals)
    return tangent_out


@contextmanager
def _inside(node: Node) -> Iterator[None]:
    """The rules of a node are running."""
    token = _rules.set(node)
    try:
        yield
    finally:
        _rules.reset(token)
