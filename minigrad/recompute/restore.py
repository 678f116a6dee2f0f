"""How state is read, compared and restored: of objects (rows), arrays, and sources of random numbers.

State is restored without the object's own methods: no __setattr__ of a user runs because a call is repeated.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad.reach import (
    MISSING,
    Contents,
    Row,
    StateRef,
    base_of,
    elements,
    keys_of,
    pickled,
    put_in_order,
    refill,
    same_objects,
)
from minigrad.reach.rows import PLACES

SMALL = 1 << 12  # bytes up to which an array is compared in full; a larger one by a sample
SAMPLE = 256  # elements in a sample
FULLY_READ = 1 << 24  # bytes up to which `checksum` reads an array in full
COLUMNS = 1021  # of words that are summed; prime, so that elements that swap places are rarely in one column
FIXED = frozenset(
    {
        *("weak", "state", "content", "objects", "absent", "class absent", "methods", "bases", "cache", "type"),
        *("names", "abstract", "described"),
    }
)  # kinds of rows that cannot be restored

# Rows


def put(row: Row) -> None:
    """Restore the content of the object of a row."""
    kind, holder, held = row.kind, row.holder, row.held
    if kind in PLACES:
        for key, value in held.items():
            StateRef(holder, key, PLACES[kind], "").set(value)
    elif kind == "dict":
        base = base_of(holder)
        if keys_of(holder) != held[0]:
            base.clear(holder)
        for key, value in zip(*held, strict=True):
            base.__setitem__(holder, key, value)
    elif kind in ("list", "set"):
        refill(holder, held)
    elif kind == "function":
        holder.__code__, holder.__defaults__, holder.__kwdefaults__ = held
    elif kind == "hooks" and hasattr(holder, "hooks"):
        holder.hooks[:] = held


# Arrays


def contents(array: Any) -> Any:
    """A copy of all elements, to be compared and restored later."""
    return array.ravel().tolist() if array.dtype.hasobject else array.tobytes()


def holds(array: Any, held: Any) -> bool:
    """Whether the elements of an array equal a copy from `contents`."""
    if type(held) is bytes:
        return array.tobytes() == held
    return len(held) == array.size and all(a is b for a, b in zip(array.ravel().tolist(), held, strict=True))


def put_contents(array: Any, held: Any) -> None:
    """Write a copy from `contents` into an array."""
    if type(held) is bytes:
        array[...] = np.frombuffer(held, array.dtype).reshape(array.shape)
    else:
        objects = np.empty(len(held), object)
        objects[:] = held
        array[...] = objects.reshape(array.shape)


def sampled(array: Any) -> Any:
    """A view by which writes are noticed: the array if it is small, or a sample spread over it."""
    if array.nbytes <= SMALL or array.dtype.hasobject:
        return array
    if array.flags.c_contiguous:
        return array.view(np.ndarray).reshape(-1)[:: array.size // SAMPLE | 1]
    steps = [max(int(n // SAMPLE ** (1 / array.ndim)), 1) | 1 for n in array.shape]
    return array.view(np.ndarray)[tuple(slice(None, None, step) for step in steps)]


def fingerprint(array: Any) -> bytes:
    """The bytes of a sample of an array."""
    return sampled(array).tobytes()


def checksum(array: Any) -> bytes:
    """Bytes by which writes to an array are noticed: sums over all of it unless it is very large.

    A change of one element is always noticed, and so is a swap of two, unless their distance is a multiple of COLUMNS.
    Of an array of more than FULLY_READ bytes only a part of the elements is read.
    """
    if array.nbytes <= SMALL or array.dtype.hasobject:
        return array.tobytes()
    array = array.view(np.ndarray)
    flat = array.reshape(-1) if array.flags.c_contiguous else array.ravel(order="K")
    if array.nbytes > FULLY_READ:
        flat = flat[:: (array.nbytes // FULLY_READ + 1) * 64 | 1]
    raw = np.ascontiguousarray(flat).view(np.uint8)
    words = raw[: raw.size // 8 * 8].view(np.uint64)
    summed = words.size // COLUMNS * COLUMNS
    sums = np.add.reduce(words[:summed].reshape(-1, COLUMNS), axis=0)
    return b"".join([sums.tobytes(), words[summed:].tobytes(), raw[words.size * 8 :].tobytes()])


# Sources of random numbers, and objects that can only be read


def source_state(source: Any) -> Any:
    """The state of a source of random numbers."""
    if isinstance(source, random.Random):
        return source.getstate()
    if isinstance(source, np.random.RandomState):
        return source.get_state(legacy=False)
    return getattr(source, "bit_generator", source).state


def put_source(source: Any, state: Any) -> None:
    """Restore the state of a source of random numbers."""
    if isinstance(source, random.Random):
        source.setstate(state)
    elif isinstance(source, np.random.RandomState):
        source.set_state(state)
    else:
        getattr(source, "bit_generator", source).state = state


def global_sources() -> list[tuple[str, Any]]:
    """The sources of random numbers of NumPy and Python that all code shares."""
    methods: list[Any] = [np.random.get_state, random.getstate]
    return list(zip(("np.random", "the module random"), (method.__self__ for method in methods), strict=True))


def same_state(x: Any, y: Any) -> bool:
    """Whether two states of one source are equal; dictionaries may contain arrays."""
    try:
        return bool(x == y)
    except ValueError:
        if isinstance(x, dict):
            return all(same_state(x[key], y[key]) for key in x)
        return bool(np.array_equal(x, y))


def progress(x: Any) -> Any:
    """The position of an iterator, a running generator or a file, as far as it is visible."""
    frame = getattr(x, "gi_frame", MISSING)
    if frame is not MISSING:
        return None if frame is None else (frame.f_lasti, {name: _position(v) for name, v in frame.f_locals.items()})
    if hasattr(x, "tell"):
        try:
            return x.tell()
        except (OSError, ValueError):
            return None
    return _position(x)


def _position(x: Any, depth: int = 0) -> Any:
    """A value that differs if an iterator, or one inside it, has advanced."""
    if hasattr(type(x), "__next__") and depth < 4:
        return _position(pickled(x), depth + 1)
    if isinstance(x, tuple) and depth < 8:
        return tuple(_position(part, depth + 1) for part in x)
    return x if isinstance(x, (int, float, str, bytes, bool, type(None))) else id(x)


# State of known objects


class State:
    """The present content of some arrays, sources, references and containers, to be restored later.

    For callers that know what a call changes, such as a compiled step; snapshot.py is for those that do not.

    Args:
        arrays: their elements are copied.
        sources: sources of random numbers.
        refs: references to values; the gradient of a Tensor is one.
        lists: lists, deques and sets whose items change.
        dicts: dictionaries whose order changes, in addition to those of the references.
        objects: containers and objects of which anything may change.
    """

    def __init__(
        self,
        arrays: Iterable[Any],
        sources: Iterable[Any],
        refs: Iterable[StateRef],
        lists: Iterable[Any] = (),
        dicts: Iterable[Any] = (),
        objects: Iterable[Any] = (),
    ) -> None:
        self.arrays = [(a, a.copy()) for a in arrays]
        self.sources = [(x, source_state(x)) for x in sources]
        self.places = [(ref, value_at(ref)) for ref in refs]
        self.lists = [(holder, elements(holder)) for holder in lists]
        holders = [ref.holder for ref, _ in self.places if ref.kind == "item"]
        self.dicts = [(holder, keys_of(holder)) for holder in {id(x): x for x in [*holders, *dicts]}.values()]
        self.objects = [(x, Contents(x)) for x in objects]

    def now(self) -> State:
        """The present state of the same objects."""
        parts = self.arrays, self.sources, self.places, self.lists, self.dicts, self.objects
        return State(*([x for x, _ in part] for part in parts))

    def put(self) -> None:
        """Restore the state."""
        for x, held in self.objects:
            held.put(x)
        for ref, value in self.places:
            if ref.get() is not value:
                ref.set(value)
        for holder, items in self.lists:
            if not same_objects(elements(holder), items):
                refill(holder, items)
        for holder, keys in self.dicts:
            put_in_order(holder, keys)
        for array, copy in reversed(self.arrays):  # a later copy may contain what was written before it was made
            if array.flags.writeable:
                np.copyto(array, copy)
        for source, state in self.sources:
            put_source(source, state)


def value_at(ref: StateRef) -> Any:
    """The value of a reference; None for the gradient of a Tensor without one."""
    return ref.holder.grad if ref.is_grad else ref.get()
