"""What a trace of `mg.compile` learns from the engine while a step runs on tracer arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from minigrad.engine.node import Node

# The trace that records in this context, None in all others.
active: ContextVar[Any] = ContextVar("minigrad_trace", default=None)
# While a trace records: the node that a walk along the tape has reached.
walked: ContextVar[Node | None] = ContextVar("minigrad_walked", default=None)


def announced(nodes: Iterable[Node]) -> Iterator[Node]:
    """The nodes one by one, each of them set as `walked` before it is processed."""
    outer = walked.get()
    try:
        for node in nodes:
            walked.set(node)
            yield node
    finally:
        walked.set(outer)
