"""What a recorded step has changed: places, and containers that are longer, shorter or in another order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from minigrad.compiler.trace.unread_grads import GradProbe
from minigrad.reach import (
    MISSING,
    StateRef,
    elements,
    keys_of,
    same_objects,
)
from minigrad.tensor.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.compiler.capture.state import StateCapture


def _is_untouched(capture: StateCapture, ref: StateRef) -> bool:
    """Whether a gradient is what it was: its probe was read, and put the gradient back.

    A gradient that is set to None where it is None already is touched: in the next call it may be there.
    """
    probe = capture.put.get(ref.identity)
    return isinstance(probe, GradProbe) and id(ref.holder) in probe.seen and ref.get() is probe.before


def changed_places(capture: StateCapture) -> list[tuple[StateRef, Any, Any]]:
    """Places that hold something else than what was put there: the place, what stood there, what does now."""
    found, known = [], set()
    for ref, before in capture.reach.refs:
        identity = ref.identity
        known.add(identity)
        now = ref.get()
        if now is capture.put.get(identity, before):
            continue
        if ref.is_node:
            if now is not before:
                found.append((ref, before, now))
        elif not (ref.is_grad and _is_untouched(capture, ref)):
            if ref.kind == "partial" and len(now) == 3 and all(a is b for a, b in zip(now, before, strict=True)):
                continue
            found.append((ref, before, now))
    for ref, before in capture.replaced:
        if ref.identity not in known and type(ref.holder) is Tensor and not _is_untouched(capture, ref):
            now = ref.get()  # of an argument: its data, or its gradient
            if now is not capture.put[ref.identity]:
                found.append((ref, before, now))
    for holder, before, path in capture.contents:
        if isinstance(holder, dict):
            for key in [key for key in keys_of(holder) if key not in before and (id(holder), key) not in known]:
                ref = StateRef(holder, key, "item", f"{path}.{key}" if path else str(key))
                found.append((ref, MISSING, ref.get()))
    found += [(ref, MISSING, ref.get()) for ref in _new_attributes(capture) if ref.identity not in known]
    return found


def _new_attributes(capture: StateCapture) -> list[StateRef]:
    """Attributes that classes did not have before."""
    return [
        StateRef(kind, name, "class", f"{path}.{name}")
        for kind, names, path in capture.classes
        for name in vars(kind).keys() - names
    ]


def reordered(capture: StateCapture) -> list[tuple[Any, list[Any], str]]:
    """Dictionaries whose keys are in another order than removing and adding keys would leave, with the order."""
    found = []
    for holder, before, path in capture.contents:
        if isinstance(holder, dict):
            now = keys_of(holder)
            if now != [*(key for key in before if key in now), *(key for key in now if key not in before)]:
                found.append((holder, now, path))
    return found


def resized(capture: StateCapture) -> list[tuple[Any, list[Any], str]]:
    """Lists and deques with another length or order than before, with what they held, and sets that changed."""
    found: list[tuple[Any, list[Any], str]] = []
    for holder, before, path in capture.contents:
        if isinstance(holder, (list, deque)):
            now = [capture.original(x) for x in elements(holder)]
            if len(now) != len(before) or (isinstance(holder, deque) and not same_objects(now, before)):
                found.append((holder, before, path))
        elif isinstance(holder, set) and holder != before:
            found.append((holder, list(before), path))
    return found
