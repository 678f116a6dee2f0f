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
    put_in_order,
    refill,
    same_objects,
)
from minigrad.recompute.restore import put_source, source_state
from minigrad.tensor.tensor import Tensor


def note_changes(capture: StateCapture) -> None:
    """Note what the step has changed, before tracers are replaced by real objects again."""
    capture.changes, capture.resized = _changed_places(capture), _resized(capture)
    capture.reordered, capture.filled = _reordered(capture), _filled(capture)


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
    for holder, before, path in capture.contents:
        if isinstance(holder, dict):
            for key in [key for key in keys_of(holder) if key not in before and (id(holder), key) not in known]:
                ref = StateRef(holder, key, "item", f"{path}.{key}" if path else str(key))
                changed.append((ref, MISSING, ref.get()))
    return changed + [(ref, MISSING, ref.get()) for ref in _new_attributes(capture) if ref.identity not in known]


def _new_attributes(capture: StateCapture) -> list[StateRef]:
    """Attributes that classes did not have before."""
    return [
        StateRef(kind, name, "class", f"{path}.{name}")
        for kind, names, path in capture.classes
        for name in vars(kind).keys() - names
    ]


def _reordered(capture: StateCapture) -> list[tuple[Any, list[Any], str]]:
    """Dictionaries whose keys have another order than adding and removing keys would leave, with that order."""
    changed = []
    for holder, before, path in capture.contents:
        if isinstance(holder, dict):
            now = keys_of(holder)
            if now != [*(key for key in before if key in now), *(key for key in now if key not in before)]:
                changed.append((holder, now, path))
    return changed


def _resized(capture: StateCapture) -> list[tuple[Any, list[Any], str]]:
    """Lists and deques with another length or order than before, and sets that have changed, with what they held."""
    changed: list[tuple[Any, list[Any], str]] = []
    for holder, before, path in capture.contents:
        if isinstance(holder, (list, deque)):
            now = [capture.original(x) for x in elements(holder)]
            if len(now) != len(before) or (isinstance(holder, deque) and not same_objects(now, before)):
                changed.append((holder, before, path))
        elif isinstance(holder, set) and holder != before:
            changed.append((holder, list(before), path))
    return changed


def _filled(capture: StateCapture) -> list[tuple[Any, Any, Contents, Contents, int]]:
    """Containers among the arguments that the step has changed: the copy, the original, contents before and now."""
    changed = []
    for mine, original, before, k in capture.copies.values():
        if before is not None and not before.is_same(now := Contents(mine)):
            changed.append((mine, original, before, now, k))
    return changed


# What guards leave out


def find_exempt(recording: Recording, capture: StateCapture, growing: dict[int, Any], replaced: set[Any]) -> None:
    """Note in a recording which places guards must leave out, and which the step itself changes in each call.

    Args:
        recording: the recording.
        capture: the state.
        growing: lists to which other recordings have appended, by id.
        replaced: places where other recordings have put new containers.
    """
    exempt = {x.ref.identity for x in capture.numbers if x.ref is not None}  # tuples: StateInputs.tuples
    exempt |= {x.ref.identity for x in capture.arrays}
    for x in capture.arrays:
        if type(x.value) is Tensor:
            exempt |= {(id(x.value), "data"), (id(x.value), "node")}
    recording.exempt = frozenset(exempt)
    grown = {id(x): x for x, _, _ in capture.resized if not isinstance(x, set)}
    recording.growing = {key: x for key, x in grown.items() if isinstance(x, (list, deque))}
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


class Undo:
    """The state before a call: contents of arrays, places, containers and generators.

    Arrays are copied before they are first written: the trace calls `keep` before it records a write, and `keep_all`
    before real arrays may be written unnoticed, when it stops or when another thread uses a tracer. Arrays that no
    tracer represents are copied at once.
    """

    def __init__(self, capture: StateCapture, leaves: list[Any]) -> None:
        self.trace = capture.trace
        self.places = [(ref, value) for ref, value in capture.reach.refs if ref.kind != "partial"]
        self.grads = [(ref.holder, ref.holder.grad) for ref, _ in self.places if ref.is_grad]
        self.grads += [(x, x.grad) for x in leaves if type(x) is Tensor]
        self.data = [(x, x.data) for x in leaves if type(x) is Tensor]
        self.gradients = [(grad, grad.data) for _, grad in self.grads if type(grad) is Tensor]
        self.contents = capture.contents
        self.arguments: list[tuple[Any, Contents]] = []  # containers among the arguments, and their contents
        self.arrays: list[tuple[Any, Any]] = []  # and copies, in the order in which they were made
        self.known: set[Any] = set()  # parts of memories that were copied
        for x in [x for _, x in self.places] + leaves:
            if type(x) is np.ndarray and x.dtype.kind not in NUMERIC and x.flags.writeable:
                self.arrays.append((x, x.copy()))
        sources = [x for _, x in capture.reach.sources.values()]
        sources += [x for x in leaves if isinstance(x, np.random.Generator)]
        self.sources = [(x, source_state(x)) for x in sources if not hasattr(type(x), "minigrad_tracer")]
        self.classes = capture.classes
        states = [row for row in capture.reach.rows if row.kind == "state"]
        self.iterators = [(row, copied) for row in states if (copied := _copy(row.holder)) is not None]

    def keep(self, x: TracerArray) -> None:
        """Copy the real array of a tracer array that is about to be written, if it is from outside."""
        memory, array = x.mg_memory, x.mg_array
        if not memory.is_outside or id(memory) in self.known:
            return
        if not array.flags.writeable:
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
        self.arguments = [(x, Contents(x)) for x, _ in pairs]

    def put_back(self) -> None:
        """Restore the state."""
        for x, held in self.arguments:
            held.put(x)
        for ref, value in self.places:
            if ref.kind != "index" and ref.get() is not value and not ref.is_grad:  # lists are refilled below
                ref.set(value)
        for tensor, grad in self.grads:
            tensor._grad = grad
        for tensor, data in self.data + self.gradients:
            tensor.data = data
        self._put_back_contents()
        for real, copied in reversed(self.arrays):  # a later copy may contain what was written before it was made
            np.copyto(real, copied)
        for source, state in self.sources:
            put_source(source, state)
        for row, copied in self.iterators:
            if not alike(pickled(row.holder), row.held) and not _rewound(row.holder, copied):
                for ref, value in self.places:
                    if value is row.holder:
                        ref.set(copied)

    def _put_back_contents(self) -> None:
        """Restore containers, and remove from classes what the step has added."""
        for holder, before, _ in self.contents:
            if isinstance(holder, dict):
                for key in [key for key in keys_of(holder) if key not in before]:
                    base_of(holder).pop(holder, key)
                put_in_order(holder, list(before))
            elif holder != before if isinstance(holder, set) else not same_objects(holder, before):
                refill(holder, before)
        for kind, names, _ in self.classes:
            for name in vars(kind).keys() - names:
                delattr(kind, name)


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
