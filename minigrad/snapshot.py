"""Snapshots: what a function saw in one call, so that the call can be repeated as it was.

`Surroundings` is what a function reaches, found by one walk (reach.py) that is good for as long as a guard says that
nothing changed. A `Snapshot` is the state of the surroundings before a call. Its `repeat()` puts back what the call saw,
and afterwards what is there now: objects, plain arrays and sources of random numbers. Parameters are not copied: if one
was written since, the call cannot be repeated, as a backward pass over it could not be run.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import numpy as np

from minigrad import restore, rng
from minigrad.changes import changed_since, forgotten, latest_change, note_change
from minigrad.guards import Guard
from minigrad.node import next_serial
from minigrad.reach import Reach, Row, is_leaf, words
from minigrad.tensor import Tensor
from minigrad.values import get_default_dtype, set_default_dtype

COPIED = 1 << 16  # bytes of an array that is copied at each call; of a larger one a checksum is kept
SETTLED = 3  # calls after which a guard is worth compiling

Root = tuple[str, Any]  # a path and an object
Loose = tuple[list[Row], list[tuple[str, Any]], list[tuple[str, Tensor]]]


class Surroundings:
    """What some objects reach, walked once.

    Args:
        roots: pairs of a path and an object.
        loose: keys of rows that changed from one call to the next before; their objects are looked at in each call.
        written: arrays, by id, that a call has written and that are not copied because of their size or kind.
    """

    def __init__(self, roots: Sequence[Root], loose: frozenset[Any] = frozenset(), written: Any = None) -> None:
        self.loose_keys = loose
        self.written: dict[int, Any] = {} if written is None else written
        reach = Reach(list(roots))
        gradients = _gradients(reach)
        rows = [row for row in reach.rows if id(row.holder) not in gradients]
        self.fixed = [row for row in rows if row.kind in restore.FIXED]
        self.loose = [row for row in rows if row.kind not in restore.FIXED and _key(row) in loose]
        self.stable = [row for row in rows if row.kind not in restore.FIXED and _key(row) not in loose]
        self.tensors = [(path, t) for path, t in reach.tensors.values() if id(t) not in gradients]
        self.arrays = list(reach.arrays.values())
        self.sources = _sources(reach)
        self.unreadable = reach.unreadable
        self.iterators = [*reach.unreadable, *((row.path, row.holder) for row in self.fixed if row.kind == "state")]
        self.reads_gradients = any("grad" in words(f.__code__) for f in reach.functions)
        self.guard: Guard | None = None
        self.dtype = get_default_dtype()
        self.calls = 0

    def holds(self, x: Any) -> bool:
        """Whether x is among what was reached, so that these surroundings keep it alive."""
        return any(
            row.holder is x or any(v is x or getattr(v, "__self__", None) is x for v in restore.values(row))
            for row in (*self.stable, *self.loose, *self.fixed)
        )

    def fits(self) -> bool:
        """Whether the objects whose rows are stable hold what they held."""
        if self.guard is not None:
            return self.guard.fits()
        return self.dtype is get_default_dtype() and not any(map(restore.differs, self.stable))

    def current(self, roots: Sequence[Root]) -> tuple[Surroundings, Loose]:
        """These surroundings if they are as they were, else those from another walk; and their loose rows now."""
        if self.fits() and not any(map(restore.differs, self.fixed)):
            now = self.loose_now()
            if now is not None:
                self.calls += 1
                if self.calls == SETTLED:
                    self.guard = Guard(self.stable, frozenset(), frozenset())
                return self, now
        changed = {_key(row) for row in self.stable if restore.differs(row)}
        other = Surroundings(roots, self.loose_keys | changed, self.written)
        return other, (other.loose, [], [])

    def loose_now(self) -> Loose | None:
        """The loose rows as they are now, new arrays and Tensors in them; None if there is more that is new."""
        rows: list[Row] = []
        arrays: list[tuple[str, Any]] = []
        tensors: list[tuple[str, Tensor]] = []
        for row in self.loose:
            now = restore.present(row)
            known = set(map(id, restore.values(row)))
            for value in restore.values(now):
                if id(value) in known or is_leaf(value):
                    continue
                if type(value) is np.ndarray:
                    arrays.append((row.path, value))
                elif type(value) is Tensor and not getattr(value.node, "hooks", None):
                    tensors.append((row.path, value))
                else:
                    return None
            rows.append(now)
        return rows, arrays, tensors


def _gradients(reach: Reach) -> set[int]:
    """Ids of Tensors that are nothing but the gradient of another, and change with every step."""
    found = {id(value) for ref, value in reach.refs if ref.is_grad}
    return found - {id(value) for ref, value in reach.refs if not ref.is_grad}


def _sources(reach: Reach) -> list[tuple[str, Any]]:
    """Sources of random numbers, one for each stream, with the common ones of Python and NumPy if some code names them."""
    found = [("minigrad's global generator", rng.generator()), *reach.sources.values()]
    modules = {value.__name__ for _, value in reach.refs if isinstance(value, ModuleType)}
    if "random" in reach.names or modules & {"random", "numpy.random"}:
        common: Any = np.random.get_state
        found += [("np.random", common.__self__), ("the module random", random.random.__self__)]  # type: ignore[attr-defined]
    return list({id(getattr(x, "bit_generator", x)): (path, x) for path, x in found}.values())


def _key(row: Row) -> Any:
    names = tuple(row.held) if row.kind in ("items", "class") else None
    return row.kind, id(row.holder), names


class Snapshot:
    """The state of some surroundings before a call.

    Args:
        surroundings: of the function.
        now: its loose rows, as `Surroundings.current` gives them.
        what: the call, for errors.
        arguments: pairs of a path and an array or a Tensor without a history.
    """

    def __init__(self, surroundings: Surroundings, now: Loose, what: str, arguments: Sequence[Root] = ()) -> None:
        self.what = what
        self.surroundings = surroundings
        self.serial, self.latest = next_serial(), latest_change()
        self.dtype = get_default_dtype()
        loose, arrays, tensors = now
        given = [(path, t) for path, t in arguments if isinstance(t, Tensor)]
        new = [Row("slots", t, (("data", t.data), ("node", t.node)), path) for path, t in (*tensors, *given)]
        self.loose = [*loose, *new]
        arrays = [*arrays, *surroundings.arrays, *((path, x) for path, x in arguments if not isinstance(x, Tensor))]
        tensors = [*tensors, *surroundings.tensors, *given]
        self._note_arrays(arrays, tensors)
        self.grads = [(t, getattr(t, "_grad", None)) for _, t in tensors]
        self.sources = [(path, x, restore.source_state(x)) for path, x in surroundings.sources]
        self.progress = [(path, x, restore.progress(x)) for path, x in surroundings.iterators]

    def _note_arrays(self, arrays: list[tuple[str, Any]], tensors: list[tuple[str, Tensor]]) -> None:
        """Copy small arrays; keep of large ones, and of parameters, what tells whether they were written."""
        written, unique = self.surroundings.written, {}
        plain = [(path, x, False) for path, x in arrays]
        for path, x, is_parameter in plain + [(path, t.data, t.node is not None) for path, t in tensors]:
            if isinstance(x, np.ndarray) and not hasattr(type(x), "minigrad_tracer"):
                unique.setdefault(id(x), (path, x, is_parameter))
        self.copies: list[tuple[str, Any, Any]] = []
        self.prints: list[tuple[str, Any, Any]] = []
        self.parameters: list[tuple[str, Any, Any]] = []
        for path, x, is_parameter in unique.values():
            if id(x) in written or not (is_parameter or x.nbytes > COPIED):
                self.copies.append((path, x, restore.contents(x)))
            elif is_parameter:
                self.parameters.append((path, x, restore.fingerprint(x)))
            else:
                self.prints.append((path, x, restore.checksum(x)))

    def close(self) -> bool:
        """After the call: whether it can be repeated.

        It cannot be if it wrote an array of which no copy was made. The next snapshot has one.

        Raises:
            RuntimeError: the call has advanced something whose state nothing can put back.
        """
        self._check_iterators()
        written = [x for _, x, before in self.prints if restore.checksum(x) != before]
        if latest_change() != self.latest:
            written += [x for _, x, _ in self.parameters if changed_since(x, self.serial)]
        written += [x for _, x, before in self.parameters if restore.fingerprint(x) != before]
        self.surroundings.written |= {id(x): x for x in written}
        if all(before is getattr(t, "_grad", None) for t, before in self.grads):
            self.grads = self.grads if self.surroundings.reads_gradients else []
        self.sources = [
            (path, x, state) for path, x, state in self.sources if not restore.same_state(restore.source_state(x), state)
        ]
        return not written

    def _check_iterators(self) -> None:
        moved = [(path, x) for path, x, before in self.progress if restore.progress(x) != before]
        moved += [(row.path, row.holder) for row in self.surroundings.fixed if restore.differs(row)]
        if moved:
            path, x = moved[0]
            raise RuntimeError(
                f"{self.what} advances or changes {path or 'an object'}, a {type(x).__name__}, whose state cannot be put "
                "back, so the call cannot be repeated in the backward pass. Advance it outside, and pass what it yields "
                "as an argument."
            )

    def check(self) -> None:
        """Whether everything is unchanged that cannot be put back.

        Raises:
            RuntimeError: something has changed since the call.
        """
        for path, x, before in self.parameters:
            if changed_since(x, self.serial) or restore.fingerprint(x) != before:
                raise self._changed(f"{path or 'a parameter'} of shape {x.shape} was changed in place")
        for path, x, before in self.prints:
            if restore.checksum(x) != before:
                raise self._changed(f"the array {path} of shape {x.shape} and dtype {x.dtype} was changed")
        for path, x, before in self.copies:
            if not x.flags.writeable and not restore.holds(x, before):
                raise self._changed(f"the read-only array {path} of shape {x.shape} was changed")
        moved = [(path, x) for path, x, before in self.progress if restore.progress(x) != before]
        moved += [(row.path, row.holder) for row in self.surroundings.fixed if restore.differs(row)]
        for path, x in moved:
            raise self._changed(f"{path or 'an object'}, a {type(x).__name__}, was advanced or changed")

    def _changed(self, what: str) -> RuntimeError:
        return RuntimeError(
            f"the backward pass computes {self.what} once more, and {what} since the forward call, so the gradient would "
            "be wrong. Call backward() before the change, or change a copy."
        )

    def repeat(self) -> Repetition:
        """The state of the call, for as long as a `with` block lasts."""
        return Repetition(self)


class Repetition:
    """The time in which everything is as it was before a call.

    In the end arrays, objects and sources of random numbers are as they were when it began. `settle()` puts the last two
    back earlier: after the call itself, so that what hooks do during the pull through it remains.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.retained = False  # whether the tape of the repeated call lives on
        self.settled = True
        self.rows: dict[int, Row] = {}
        self.arrays: dict[int, Any] = {}
        self.stack = ExitStack()

    def __enter__(self) -> Repetition:
        snapshot = self.snapshot
        snapshot.check()
        if snapshot.surroundings.written:
            self.stack.enter_context(forgotten())
        self.settled = False
        self.sources = [(x, restore.source_state(x)) for _, x, _ in snapshot.sources]
        self.grads = [(t, getattr(t, "_grad", None)) for t, _ in snapshot.grads]
        self.dtype = get_default_dtype()
        try:
            self._enter()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _enter(self) -> None:
        snapshot = self.snapshot
        set_default_dtype(snapshot.dtype)
        stable = snapshot.surroundings.stable
        for row in [*snapshot.loose, *(() if snapshot.surroundings.fits() else stable)]:
            if restore.differs(row):
                self.rows[id(row)] = restore.present(row)
                restore.put(row)
        for _, x, before in snapshot.copies:
            if not restore.holds(x, before):
                self.arrays[id(x)] = restore.contents(x)
                restore.put_contents(x, before)
        for _, x, state in snapshot.sources:
            restore.put_source(x, state)
        for t, grad in snapshot.grads:
            t._grad = grad

    def settle(self) -> None:
        """Put back what objects held when the repetition began, and where random numbers stood."""
        if self.settled:
            return
        self.settled = True
        snapshot = self.snapshot
        set_default_dtype(self.dtype)
        stable = snapshot.surroundings.stable
        for row in [*snapshot.loose, *(() if not self.rows and snapshot.surroundings.fits() else stable)]:
            before = self.rows.get(id(row), row)
            if restore.differs(before):
                restore.put(before)
        for x, state in self.sources:
            restore.put_source(x, state)
        for t, grad in self.grads:
            if getattr(t, "_grad", None) is not grad:
                t._grad = grad  # type: ignore[assignment]

    def __exit__(self, *exception: Any) -> None:
        self.settle()
        changed = []
        for _, x, held in self.snapshot.copies:
            before = self.arrays.get(id(x), held)
            if not restore.holds(x, before):
                restore.put_contents(x, before)
                changed.append(x)
        self.stack.close()
        if self.retained:
            for x in changed:  # the tape of the repeated call may need what stood there
                note_change(x)
