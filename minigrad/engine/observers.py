"""Observers are told of every operation and of every pull in their `with` block: a layer that replaces nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any

from minigrad.engine.intercept import STACK, Entry, Layer, enter, frame_of, layers, leave, running
from minigrad.engine.node import Node
from minigrad.engine.primitive import Primitive

Array = Any


class Observer(Layer):
    """Told of what happens in its `with` block, in its own thread. Subclasses say what they do with it.

    What rules compute is not told; `pulled` tells their results. While formulas are written there are symbols in the
    place of arrays, which an observer does not look into.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []  # of all threads

    @property
    def inside(self) -> Node | None:
        """The node whose rules are running."""
        return running()

    def computed(self, p: Primitive, values: tuple[Array, ...], out: Array, frame: FrameType) -> None:
        """A primitive was applied to arrays. The frame is that of its record function, with the operands as given."""

    def __call__(
        self, p: Primitive, call_next: Callable[..., Any], operands: tuple[Any, ...], params: dict[str, Any]
    ) -> Any:
        """Let the operation happen, and tell of it."""
        out = call_next(*operands, **params)
        if running() is None:
            self.computed(p, operands, out, frame_of(p))
        return out

    def __enter__(self) -> Any:
        self._entries.append(enter(self))
        return self

    def __exit__(self, *exception: Any) -> Any:
        here, entries = STACK.get(), tuple(self._entries)  # a copy: other threads enter and leave meanwhile
        entry = next((entry for entry in reversed(entries) if entry in here), entries[-1])
        self._entries.remove(entry)
        leave(entry)


def is_active() -> bool:
    """Whether somebody observes in this context."""
    return bool(layers(Observer))
