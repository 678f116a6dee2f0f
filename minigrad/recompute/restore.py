"""How the state of one thing is noted, compared and put back: objects (rows), arrays, sources of random numbers.

Everything is put back without the object's own methods: no __setattr__ of a user runs because a call is repeated.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minigrad.reach import MISSING, Row, StateRef, elements, keys_of, pickled, put_in_order, refill
from minigrad.reach.rows import differences

SMALL = 1 << 12  # bytes of an array that are compared in full; of a larger one a sample
SAMPLE = 256  # elements in a sample
WHOLE = 1 << 24  # bytes up to which `checksum` reads an array in full
COLUMNS = 1021  # of words that are added up; prime, so that elements that trade places rarely land in one column
FIXED = frozenset(
    {
        *("weak", "state", "content", "objects", "absent", "class absent", "methods", "bases", "cache", "type"),
        *("names", "abstract", "described"),
    }
)  # kinds of rows that nothing can put back

# Rows


def present(row: Row) -> Row:
    """What the object of a row holds now."""
    look = _LOOKS.get(row.kind)
    return Row(row.kind, row.holder, row.held if look is None else look(row.holder, row.held), row.path)


_LOOKS: dict[str, Callable[[Any, Any], Any]] = {  # of an object, and what it held
    "dict": lambda x, held: (list(x), list(x.values())),
    "items": lambda x, held: {key: x.get(key, MISSING) for key in held},
    "class": lambda x, held: {key: vars(x).get(key, MISSING) for key in held},
    "list": lambda x, held: list(x),
    "set": lambda x, held: elements(x),
    "slots": lambda x, held: tuple((name, StateRef(x, name, "slot", "").get()) for name, _ in held),
    "function": lambda x, held: (x.__code__, x.__defaults__, x.__kwdefaults__),
    "cell": lambda x, held: StateRef(x, "cell_contents", "cell", "").get(),
    "hooks": lambda x, held: (hooks := getattr(x, "hooks", None)) and list(hooks),
    "variable": lambda x, held: StateRef(x, "value", "variable", "").get(),
    "weak": lambda x, held: x(),
    "objects": lambda x, held: x.ravel().tolist(),
    "state": lambda x, held: pickled(x),
    "content": lambda x, held: x.tobytes(),
}


def values(row: Row) -> Iterable[Any]:
    """What a row holds, without names and keys."""
    kind, held = row.kind, row.held
    if kind == "dict":
        return held[1]
    if kind in ("items", "class"):
        return held.values()
    if kind == "slots":
        return [value for _, value in held]
    return [held] if kind in ("cell", "weak", "variable") else (held or ()) if kind in ("list", "set", "hooks") else ()


def differs(row: Row) -> bool:
    """Whether the object of a row holds something else by now."""
    return next(differences(row), None) is not None


def put(row: Row) -> None:
    """Let the object of a row hold again what it held."""
    kind, holder, held = row.kind, row.holder, row.held
    if kind in _WHOLE:
        _WHOLE[kind](holder, held)
    elif kind == "slots":
        for name, value in held:
            StateRef(holder, name, "slot", "").set(value)
    elif kind in ("cell", "variable"):
        StateRef(holder, "cell_contents", kind, "").set(held)
    elif kind in ("items", "class"):
        for key, value in held.items():
            StateRef(holder, key, "class" if kind == "class" else "item", "").set(value)


def _put_dict(holder: Any, held: Any) -> None:
    base = OrderedDict if isinstance(holder, OrderedDict) else dict
    if list(holder) != held[0]:
        base.clear(holder)
    for key, value in zip(*held, strict=True):
        base.__setitem__(holder, key, value)


def _put_list(holder: Any, held: Any) -> None:
    if isinstance(holder, list):
        list.__setitem__(holder, slice(None), held)
    else:
        deque.clear(holder)
        deque.extend(holder, held)


def _put_set(holder: Any, held: Any) -> None:
    set.clear(holder)
    set.update(holder, held)


def _put_function(holder: Any, held: Any) -> None:
    holder.__code__, holder.__defaults__, holder.__kwdefaults__ = held


def _put_hooks(holder: Any, held: Any) -> None:
    hooks = getattr(holder, "hooks", None)
    if hooks is not None:
        hooks[:] = held or ()


_WHOLE = {"dict": _put_dict, "list": _put_list, "set": _put_set, "function": _put_function, "hooks": _put_hooks}

# Arrays


def contents(array: Any) -> Any:
    """All elements, to be compared and put back later."""
    return array.ravel().tolist() if array.dtype.hasobject else array.tobytes()


def holds(array: Any, held: Any) -> bool:
    """Whether the elements of an array are those that were noted."""
    if type(held) is bytes:
        return array.tobytes() == held
    return len(held) == array.size and all(a is b for a, b in zip(array.ravel().tolist(), held, strict=True))


def put_contents(array: Any, held: Any) -> None:
    """Write the elements that were noted into an array again."""
    if type(held) is bytes:
        array[...] = np.frombuffer(held, array.dtype).reshape(array.shape)
    else:
        before = np.empty(len(held), object)
        before[:] = held
        array[...] = before.reshape(array.shape)


def sampled(array: Any) -> Any:
    """A view that tells whether an array was written: all of it if it is small, else a sample spread over it."""
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
    """What tells whether an array was written, with sums over all of it unless it is very large.

    One element that changes is always noticed, and so are two that trade places, unless their distance is a multiple
    of COLUMNS. Of an array of more than WHOLE bytes only every so many-th element is read.
    """
    if array.nbytes <= SMALL or array.dtype.hasobject:
        return array.tobytes()
    array = array.view(np.ndarray)
    flat = array.reshape(-1) if array.flags.c_contiguous else array.ravel(order="K")
    if array.nbytes > WHOLE:
        flat = flat[:: (array.nbytes // WHOLE + 1) * 64 | 1]
    raw = np.ascontiguousarray(flat).view(np.uint8)
    words = raw[: raw.size // 8 * 8].view(np.uint64)
    whole = words.size // COLUMNS * COLUMNS
    sums = np.add.reduce(words[:whole].reshape(-1, COLUMNS), axis=0)
    return b"".join([sums.tobytes(), words[whole:].tobytes(), raw[words.size * 8 :].tobytes()])


# Sources of random numbers, and what can only be looked at


def source_state(source: Any) -> Any:
    """Where a source of random numbers stands."""
    if isinstance(source, random.Random):
        return source.getstate()
    if isinstance(source, np.random.RandomState):
        return source.get_state(legacy=False)
    return getattr(source, "bit_generator", source).state


def put_source(source: Any, state: Any) -> None:
    """Let a source of random numbers draw from there again."""
    if isinstance(source, random.Random):
        source.setstate(state)
    elif isinstance(source, np.random.RandomState):
        source.set_state(state)
    else:
        getattr(source, "bit_generator", source).state = state


def same_state(x: Any, y: Any) -> bool:
    """Whether two states are equal; they may contain arrays."""
    try:
        return bool(x == y)
    except ValueError:
        pass
    if isinstance(x, dict) and isinstance(y, dict):
        return x.keys() == y.keys() and all(same_state(x[key], y[key]) for key in x)
    if isinstance(x, (tuple, list)) and isinstance(y, (tuple, list)):
        return len(x) == len(y) and all(map(same_state, x, y))
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        return bool(np.array_equal(x, y))
    return bool(x == y)


def progress(x: Any) -> Any:
    """How far an iterator, a running generator or a file is, as far as that shows."""
    frame = getattr(x, "gi_frame", MISSING)
    if frame is not MISSING:
        return None if frame is None else (frame.f_lasti, {name: _shown(v) for name, v in frame.f_locals.items()})
    if hasattr(x, "tell"):
        try:
            return x.tell()
        except (OSError, ValueError):
            return None
    return _shown(x)


def _shown(x: Any, depth: int = 0) -> Any:
    """Something that differs if an iterator, or one inside of it, went on."""
    if hasattr(type(x), "__next__") and depth < 4:
        return _shown(pickled(x), depth + 1)
    if isinstance(x, tuple) and depth < 8:
        return tuple(_shown(part, depth + 1) for part in x)
    return x if isinstance(x, (int, float, str, bytes, bool, type(None))) else id(x)


# Known parts


class State:
    """What some arrays, generators, places and lists hold when this is made, to be put back later.

    For those who know what a call changes, such as a compiled step; snapshot.py is for those who do not.

    Args:
        arrays: their elements are copied.
        generators: NumPy's Generators.
        refs: places; the gradient of a Tensor is one.
        lists: lists, deques and sets whose length changes.
        dicts: dictionaries whose order changes, besides those in which there are places.
    """

    def __init__(
        self,
        arrays: Iterable[Any],
        generators: Iterable[Any],
        refs: Iterable[StateRef],
        lists: Iterable[Any],
        dicts: Iterable[Any] = (),
    ) -> None:
        self.arrays = [(a, a.copy()) for a in arrays]
        self.generators = [(g, g.bit_generator.state) for g in generators]
        self.places = [(ref, value_at(ref)) for ref in refs]
        self.lists = [(holder, elements(holder)) for holder in lists]
        holders = [ref.holder for ref, _ in self.places if ref.kind == "item"]
        self.dicts = [(holder, keys_of(holder)) for holder in {id(x): x for x in [*holders, *dicts]}.values()]

    def now(self) -> State:
        """The present state of the same things."""
        parts = self.arrays, self.generators, self.places, self.lists, self.dicts
        return State(*([x for x, _ in part] for part in parts))

    def put(self) -> None:
        """Let everything hold again what it held."""
        for array, copy in self.arrays:
            if array.flags.writeable:
                np.copyto(array, copy)
        for generator, state in self.generators:
            generator.bit_generator.state = state
        for ref, value in self.places:
            ref.set(value)
        for holder, items in self.lists:
            refill(holder, items)
        for holder, keys in self.dicts:
            put_in_order(holder, keys)


def value_at(ref: StateRef) -> Any:
    """What stands at a place; a Tensor without a gradient has None."""
    return ref.holder.grad if ref.is_grad else ref.get()
