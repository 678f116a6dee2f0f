"""What a recorded step has changed, which of that guards must leave out, and how it is undone."""

from __future__ import annotations

import array
import copy
import warnings
from collections import deque
from collections.abc import MutableSequence
from contextlib import suppress
from typing import Any

import numpy as np

from minigrad.compiler.capture.recording import GradProbe, Recording
from minigrad.compiler.capture.state import StateCapture
from minigrad.compiler.trace.traced_number import TracedNumber
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.reach import (
    MISSING,
    NUMERIC,
    Contents,
    StateRef,
    alike,
    base_of,
    elements,
    keys_of,
    pickled,
    same_objects,
)
from minigrad.recompute.restore import State
from minigrad.tensor.tensor import Tensor


def note_changes(capture: StateCapture) -> None:
    """Note what the step has changed, before tracers are replaced by real objects again.

    Lists and deques have another length or order than before, and dictionaries another order of their keys than adding
    and removing keys would leave.
    """
    capture.changes, capture.resized, capture.reordered = _changed_places(capture), [], []
    for holder, before, path in capture.contents:
        if isinstance(holder, dict):
            keys = keys_of(holder)
            if keys != [*(key for key in before if key in keys), *(key for key in keys if key not in before)]:
                capture.reordered.append((holder, keys, path))
        elif isinstance(holder, set):
            if holder != before:
                capture.resized.append((holder, list(before), path))
        else:
            items = [capture.original(x) for x in elements(holder)]
            if len(items) != len(before) or (isinstance(holder, deque) and not same_objects(items, before)):
                capture.resized.append((holder, before, path))
    capture.filled = [
        (mine, original, before, now, k)
        for mine, original, before, k in capture.copies.values()
        if before is not None and not before.is_same(now := Contents(mine))
    ]


def _is_untouched(capture: StateCapture, ref: StateRef) -> bool:
    """Whether a gradient is unchanged: its probe was read, and has put the gradient back.

    Setting a gradient to None where there is none is a change: in the next call there may be one.
    """
    probe = capture.installed.get(ref.identity)
    return isinstance(probe, GradProbe) and id(ref.holder) in probe.seen and ref.get() is probe.before


def _changed_places(capture: StateCapture) -> list[tuple[StateRef, Any, Any]]:
    """Places that hold another object than was put there: the place, the object before, and now."""
    changed, known = [], set()
    for ref, before in capture.reach.refs:
        identity = ref.identity
        known.add(identity)
        now = ref.get()
        if now is capture.installed.get(identity, before):
            continue
        if ref.is_node:
            is_same = now is before
        else:
            is_same = ref.is_grad and _is_untouched(capture, ref)
            is_same |= ref.kind == "partial" and same_objects(now, before)
        if not is_same:
            changed.append((ref, before, now))
    for ref, before in capture.replaced:
        if ref.identity not in known and type(ref.holder) is Tensor and not _is_untouched(capture, ref):
            now = ref.get()  # the data or the gradient of an argument
            if now is not capture.installed[ref.identity]:
                changed.append((ref, before, now))
    new = [
        StateRef(holder, key, "item", f"{path}.{key}" if path else str(key))
        for holder, before, path in capture.contents
        if isinstance(holder, dict)
        for key in keys_of(holder)
        if key not in before
    ]
    for kind, names, path in capture.classes:
        new += [StateRef(kind, name, "class", f"{path}.{name}") for name in vars(kind).keys() - names]
    return changed + [(ref, MISSING, ref.get()) for ref in new if ref.identity not in known]


# What guards leave out


def find_exempt(recording: Recording, capture: StateCapture, growing: dict[int, Any], replaced: set[Any]) -> None:
    """Note in a recording which places guards must leave out, and which the step itself changes in each call.

    Other recordings have appended to the lists in `growing`, by id, and put new containers in the places of `replaced`.
    """
    exempt = {x.ref.identity for x in capture.numbers if x.ref is not None}  # tuples: StateInputs.tuples
    exempt |= {x.ref.identity for x in capture.arrays}
    for x in capture.arrays:
        if type(x.value) is Tensor:
            exempt |= {(id(x.value), "data"), (id(x.value), "node")}
    recording.exempt = frozenset(exempt)
    grown = {id(x): x for x, _, _ in capture.resized if not isinstance(x, set)}
    recording.growing = dict(grown)
    # Also those to which only another recording has appended, in another branch.
    grown |= {id(x): x for x, _, _ in capture.contents if id(x) in growing}
    recording.grown = frozenset(key for key, x in grown.items() if capture.reach.only_grows(x))
    recording.replaced = {
        ref.identity for ref, before, now in capture.changes if _is_replaced(capture, ref, before, now)
    }
    known = {
        ref.identity for ref, _ in capture.reach.refs if ref.identity in replaced and capture.reach.is_never_read(ref)
    }
    recording.exempt |= recording.replaced | known
    for ref, before, now in capture.changes:
        if ref.is_grad or ref.is_node or ref.identity in recording.replaced:
            continue
        if type(now) is not type(before) and not hasattr(type(now), "minigrad_tracer"):
            continue
        if isinstance(before, tuple) and len(before) == len(now):
            if _changes_arrays(before, now):
                recording.changing_arrays.add(ref.identity)
            recording.changing_numbers |= {(ref.identity, (k,), None) for k in _changed_numbers(before, now)}
        elif type(before) in (int, float):
            recording.changing_numbers.add((ref.identity, (), None))
        elif type(before) in (np.ndarray, Tensor) or isinstance(before, (np.floating, np.integer)):
            recording.changing_arrays.add(ref.identity)


def _is_replaced(capture: StateCapture, ref: StateRef, before: Any, now: Any) -> bool:
    """Whether the step puts a new container into a place that no code reads: best["weights"] = {...}."""
    kinds = (dict, list, tuple)
    is_new = type(now) in kinds and id(now) not in capture.reach.seen and id(now) not in capture.originals
    return is_new and (before is None or type(before) in kinds) and capture.reach.is_never_read(ref)


def _changes_arrays(before: tuple[Any, ...], now: Any) -> bool:
    """Whether a tuple differs in its arrays and Tensors."""
    pairs = list(zip(before, now, strict=False))
    alike = len(before) == len(now) and all(isinstance(b, type(a)) for a, b in pairs)
    return alike and any(a is not b and isinstance(a, (np.ndarray, Tensor)) for a, b in pairs)


def _changed_numbers(before: tuple[Any, ...], now: Any) -> list[int]:
    """The positions at which a tuple holds another number."""
    return [
        k
        for k, (a, b) in enumerate(zip(before, now, strict=True))
        if type(a) in (int, float) and b is not a and (type(b) is type(a) or type(b) is TracedNumber)
    ]


# Undo


class Undo(State):
    """The state before a call: contents of arrays, places, containers and generators.

    Arrays are copied before they are first written: the trace calls `keep` before it records a write, and `keep_all`
    before real arrays may be written unnoticed, when it stops or when another thread uses a tracer. Arrays that no
    tracer represents are copied at once.
    """

    def __init__(self, capture: StateCapture, leaves: list[Any]) -> None:
        self.trace, self.classes, reach = capture.trace, capture.classes, capture.reach
        tensors = [x for x in leaves if type(x) is Tensor]
        places = [StateRef(x, key, "slot", "") for x in tensors for key in ("data", "_grad")]
        grads = [x for ref, x in reach.refs if ref.is_grad] + [x.grad for x in tensors]
        places += [StateRef(grad, "data", "slot", "") for grad in grads if type(grad) is Tensor]
        objects = [*(x for _, x in reach.refs), *leaves]
        arrays = [x for x in objects if type(x) is np.ndarray and x.dtype.kind not in NUMERIC and x.flags.writeable]
        sources = [x for _, x in reach.sources.values()]
        sources += [x for x in leaves if isinstance(x, np.random.Generator)]
        sources = [x for x in sources if not hasattr(type(x), "minigrad_tracer")]
        containers = [x for x, _, _ in capture.contents]
        lists = [x for x in containers if not isinstance(x, dict)]
        super().__init__(arrays, sources, places, lists, [x for x in containers if isinstance(x, dict)])
        self.places += [(ref, x) for ref, x in reach.refs if ref.kind not in ("partial", "index")]  # lists are refilled
        self.containers = capture.contents
        self.known: set[Any] = set()  # parts of memories that were copied
        states = [row for row in reach.rows if row.kind == "state"]
        self.iterators = [(row, copied) for row in states if (copied := _copy(row.holder)) is not None]
        self.refs = reach.refs

    def keep(self, x: TracerArray) -> None:
        """Copy the real array of a tracer array that is about to be written, if it is from outside."""
        memory, array = x.mg_memory, x.mg_array
        if not memory.is_outside or id(memory) in self.known or not array.flags.writeable:
            return
        part: Any = id(memory)
        if array is not memory.array:
            part = part, array.__array_interface__["data"][0], array.shape, array.strides
        if part not in self.known:
            self.known.add(part)
            self.arrays.append((array, array.copy()))

    def keep_all(self) -> None:
        """Copy all arrays from outside, as any may be written unnoticed from here on."""
        for x in list(self.trace.known.values()):
            self.keep(x)

    def watch_arguments(self, pairs: list[tuple[Any, Any]]) -> None:
        """Note the contents of the containers among the arguments, of which the step gets copies."""
        self.objects = [(x, Contents(x)) for x, _ in pairs]

    def put_back(self) -> None:
        """Restore the state, and remove from dictionaries and classes what the step has added."""
        for holder, before, _ in self.containers:
            if isinstance(holder, dict):
                for key in [key for key in keys_of(holder) if key not in before]:
                    base_of(holder).pop(holder, key)
        self.put()
        for kind, names, _ in self.classes:
            for name in vars(kind).keys() - names:
                delattr(kind, name)
        for row, copied in self.iterators:
            if not alike(pickled(row.holder), row.held) and not _rewound(row.holder, copied):
                for ref, value in self.refs:
                    if value is row.holder and ref.kind != "partial":
                        ref.set(copied)


def _copy(x: Any) -> Any:
    """A copy of an object in C (an iterator, a counter, an array.array), None if Python cannot copy it."""
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")  # Python 3.14 cannot copy iterators of itertools, and warns before
        return copy.copy(x)
    return None


def _rewound(x: Any, before: Any) -> bool:
    """Set an object to the state of its copy. Returns whether that was possible."""
    with suppress(Exception):
        if isinstance(x, (MutableSequence, array.array)):
            x[:] = before
            return True
        state = before.__reduce__()
        if len(state) > 2 and hasattr(x, "__setstate__") and same_objects(state[1], x.__reduce__()[1]):
            x.__setstate__(state[2])
            return True
    return False
