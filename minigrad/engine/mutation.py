"""Which memory was written in place, and when: a backward pass over older nodes must not use it.

Only leaves are ever written in place. Nothing is compared unless some leaf was written after the tape began, so the
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

Bytes = tuple[int, int]  # the address of the first byte, and of the end
Change = tuple[weakref.ref[Any], int]  # the array that owns the memory, and the serial number at the time

_changes: dict[Bytes, Change] = {}  # the latest change of each range of memory
_known: dict[
    int, tuple[weakref.ref[Any], Bytes, weakref.ref[Any]]
] = {}  # by id: an array, its memory, the owner of that
_latest = 0

# Inside `forgotten`: for each range that this context wrote, the change before, and its own.
JOURNAL: ContextVar[dict[Bytes, tuple[Change | None, Change]] | None] = ContextVar("minigrad_journal", default=None)


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
            _drop_dead_entries()
        _latest = next_serial()
        change = known[2], _latest
        journal = JOURNAL.get()
        if journal is not None:
            before = journal[known[1]][0] if known[1] in journal else _changes.get(known[1])
            journal[known[1]] = before, change
        _changes[known[1]] = change


def _owner(array: Any) -> Any:
    """The array that owns the memory of this one."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _drop_dead_entries() -> None:
    tables: tuple[dict[Any, Any], ...] = (_changes, _known)
    for table in tables:
        for key in [key for key, (reference, *_) in table.items() if reference() is None]:
            del table[key]


def _all_changes() -> list[tuple[Bytes, Change]]:
    """A copy of all changes."""
    with LOCK:
        return list(_changes.items())


def check_unchanged(nodes: Sequence[Node]) -> None:
    """Raise an error if memory of residuals was written after their node was recorded."""
    for node in nodes:
        if node.parents:
            if node.serial > _latest:
                return
            break
    oldest = nodes[0].serial if nodes else _latest
    changes = [
        (low, high, when) for (low, high), (owner, when) in _all_changes() if oldest < when and owner() is not None
    ]
    if not changes:
        return
    for node in nodes:
        for value in _arrays(node.residuals or ()):
            start, end = byte_bounds(value)
            for low, high, when in changes:
                if node.serial < when and low < end and start < high:
                    raise RuntimeError(
                        f"{node.primitive.name} (node {node.serial}, shape {node.shape}) kept a value for the backward "
                        "pass, and its memory was changed in place since, so the gradient would be wrong. Call "
                        "backward() before the update, or compute the value again after it."
                    )


def _arrays(residuals: Sequence[Any]) -> list[Any]:
    arrays = []
    for value in residuals:
        if hasattr(type(value), "minigrad_tracer"):
            arrays += [value.mg_array] if hasattr(value, "mg_array") else []
        elif isinstance(value, np.ndarray):
            arrays.append(value)
        elif isinstance(value, (tuple, list)):
            arrays += _arrays(value)
    return arrays


def latest_change() -> int:
    """The serial number of the latest change; 0 before the first."""
    return _latest


def changed_since(array: Any, serial: int) -> bool:
    """Whether `note_change` was called for memory of this array after a serial number was assigned."""
    if _latest < serial:
        return False
    start, end = byte_bounds(array)
    return any(
        serial < when and low < end and start < high and owner() is not None
        for (low, high), (owner, when) in _all_changes()
    )


@contextmanager
def forgotten() -> Iterator[None]:
    """Forget the changes noted in this context inside the block, which restores what it writes before it ends."""
    journal: dict[Bytes, tuple[Change | None, Change]] = {}
    token = JOURNAL.set(journal)
    try:
        yield
    finally:
        JOURNAL.reset(token)
        with LOCK:
            for key, (before, change) in journal.items():
                if _changes.get(key) is not change:
                    continue  # another thread wrote there since
                if before is None:
                    del _changes[key]
                else:
                    _changes[key] = before
