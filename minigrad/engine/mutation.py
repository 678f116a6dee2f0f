"""Which memory was written in place, and when: a backward pass over older nodes must not use it.

Only leaves are ever written in place. Nothing is compared unless some leaf changed after the tape began, so the
check costs a training loop nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from minigrad.engine.node import Node, next_serial
from minigrad.util.locks import LOCK

Change = tuple[weakref.ref[Any], int]

_changes: dict[tuple[int, int], Change] = {}  # (first byte, end): whose memory, when
_known: dict[int, tuple[weakref.ref[Any], tuple[int, int], weakref.ref[Any]]] = {}  # id: the array, its bytes, whose
_latest = 0

# What this context wrote, and what was noted of that memory before, while it is to be forgotten at the end.
JOURNAL: ContextVar[dict[tuple[int, int], tuple[Change | None, Change]] | None] = ContextVar(
    "minigrad_journal", default=None
)


def note_change(array: Any) -> None:
    """Remember that this array was just written in place."""
    global _latest
    with LOCK:
        known = _known.get(id(array))
        if known is None or known[0]() is not array:
            if hasattr(type(array), "minigrad_tracer"):
                note_change(array.mg_array)
                return
            if not isinstance(array, np.ndarray):
                return
            known = _known[id(array)] = weakref.ref(array), byte_bounds(array), weakref.ref(_owner(array))
            _forget_the_dead()
        _latest = next_serial()
        change = known[2], _latest
        journal = JOURNAL.get()
        if journal is not None:
            before = journal[known[1]][0] if known[1] in journal else _changes.get(known[1])
            journal[known[1]] = before, change
        _changes[known[1]] = change


def _owner(array: Any) -> Any:
    """The array whose memory this is."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _forget_the_dead() -> None:
    registers: tuple[dict[Any, Any], ...] = (_changes, _known)
    for register in registers:
        for key in [key for key, (reference, *_) in register.items() if reference() is None]:
            del register[key]


def _noted() -> list[tuple[tuple[int, int], Change]]:
    """All changes, as they are now."""
    with LOCK:
        return list(_changes.items())


def check_unchanged(nodes: Sequence[Node]) -> None:
    """Refuse nodes that kept memory which was written after they were recorded."""
    for node in nodes:
        if node.parents:
            if node.serial > _latest:
                return
            break
    oldest = nodes[0].serial if nodes else _latest
    changes = [(low, high, when) for (low, high), (owner, when) in _noted() if oldest < when and owner() is not None]
    if not changes:
        return
    for node in nodes:
        for value in _arrays(node.residuals or ()):
            start, end = byte_bounds(value)
            for low, high, when in changes:
                if node.serial < when and low < end and start < high:
                    raise RuntimeError(
                        f"{node.primitive.name} (node {node.serial}, shape {node.shape}) kept a value for the backward "
                        "pass, and that memory was changed in place since, so its gradient would be wrong. Call "
                        "backward() before the update, or compute the value again after it."
                    )


def _arrays(residuals: Sequence[Any]) -> list[Any]:
    found = []
    for value in residuals:
        if hasattr(type(value), "minigrad_tracer"):
            found += [value.mg_array] if hasattr(value, "mg_array") else []
        elif isinstance(value, np.ndarray):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += _arrays(value)
    return found


def latest_change() -> int:
    """The serial number of the latest change, 0 if there was none."""
    return _latest


def changed_since(array: Any, serial: int) -> bool:
    """Whether memory of this array was written in place, and noted, after a serial number was given out."""
    if _latest < serial:
        return False
    start, end = byte_bounds(array)
    return any(
        serial < when and low < end and start < high and owner() is not None for (low, high), (owner, when) in _noted()
    )


@contextmanager
def forgotten() -> Iterator[None]:
    """What this context writes inside is put back before the end, so that nothing has changed then."""
    journal: dict[tuple[int, int], tuple[Change | None, Change]] = {}
    token = JOURNAL.set(journal)
    try:
        yield
    finally:
        JOURNAL.reset(token)
        with LOCK:
            for key, (before, change) in journal.items():
                if _changes.get(key) is not change:
                    continue  # another thread wrote there, and keeps its note
                if before is None:
                    del _changes[key]
                else:
                    _changes[key] = before
