"""Exemptions: places that guards leave out, and those that must become inputs since the step itself changes them."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.capture.state import StateCapture
from minigrad.compiler.trace.numbers import TracedNumber
from minigrad.reach import StateRef
from minigrad.tensor.tensor import Tensor


def find_exempt(made: Recording, capture: StateCapture, growing: dict[int, Any], replaced: set[Any]) -> None:
    """Say in a recording which places guards leave out, and what the step gives another value at each call.

    Args:
        made: the recording.
        capture: the state.
        growing: lists to which other recordings have appended, by id.
        replaced: places in which others have put new containers.
    """
    exempt = {x.ref.identity for x in capture.numbers if x.ref is not None}  # tuples: Specialization.tuples
    exempt |= {x.ref.identity for x in capture.arrays}
    for x in capture.arrays:
        if type(x.value) is Tensor:
            exempt |= {(id(x.value), "data"), (id(x.value), "node")}
    made.exempt = frozenset(exempt)
    grown = {id(x): x for x, _, _ in capture.resized_after if not isinstance(x, set)}
    made.growing = {key: x for key, x in grown.items() if isinstance(x, (list, deque))}
    # Also those to which this recording appends nothing, and another did, in another branch.
    grown |= {id(x): x for x, _, _ in capture.contents if id(x) in growing}
    made.grown = frozenset(key for key, x in grown.items() if capture.reach.only_grows(x))
    made.replaced = {
        ref.identity for ref, before, now in capture.changes_after if _is_replaced(capture, ref, before, now)
    }
    known = {
        ref.identity for ref, _ in capture.reach.refs if ref.identity in replaced and capture.reach.is_never_read(ref)
    }
    made.exempt |= made.replaced | known
    for ref, before, now in capture.changes_after:
        if ref.is_grad or ref.is_node or ref.identity in made.replaced:
            continue
        if type(now) is not type(before) and not hasattr(type(now), "minigrad_tracer"):
            continue
        if isinstance(before, tuple) and len(before) == len(now):
            if _changes_arrays(before, now):
                made.changing_arrays.add(ref.identity)
            made.changing_numbers |= {(ref.identity, (k,), None) for k in _changed_numbers(before, now)}
        elif type(before) in (int, float):
            made.changing_numbers.add((ref.identity, (), None))
        elif type(before) in (np.ndarray, Tensor) or isinstance(before, (np.floating, np.integer)):
            made.changing_arrays.add(ref.identity)


def _is_replaced(capture: StateCapture, ref: StateRef, before: Any, now: Any) -> bool:
    """Whether the step puts a new container in a place that no code reads: best["weights"] = {...}."""
    kinds = (dict, list, tuple)
    is_new = type(now) in kinds and id(now) not in capture.reach.seen and id(now) not in capture.originals
    return is_new and (before is None or type(before) in kinds) and capture.reach.is_never_read(ref)


def _changes_arrays(before: tuple[Any, ...], now: Any) -> bool:
    """Whether a tuple is another one because of the arrays and Tensors in it."""
    pairs = list(zip(before, now, strict=False))
    alike = len(before) == len(now) and all(isinstance(b, type(a)) for a, b in pairs)
    return alike and any(a is not b and isinstance(a, (np.ndarray, Tensor)) for a, b in pairs)


def _changed_numbers(before: tuple[Any, ...], now: Any) -> list[int]:
    """The positions of a tuple at which another number stands."""
    return [
        k
        for k, (a, b) in enumerate(zip(before, now, strict=True))
        if type(a) in (int, float) and b is not a and (type(b) is type(a) or type(b) is TracedNumber)
    ]
