"""Undo: restores the state before a call that could not be recorded."""

from __future__ import annotations

import array
import copy
import warnings
from collections.abc import MutableSequence
from contextlib import suppress
from typing import Any

import numpy as np

from minigrad.compiler.capture.state import StateCapture
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.reach import NUMERIC, Contents, alike, base_of, keys_of, pickled, put_in_order, refill, same_objects
from minigrad.recompute.restore import put_source, source_state
from minigrad.tensor.tensor import Tensor


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
