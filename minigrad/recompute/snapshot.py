"""Snapshots: the state that a function read in one call, so that the call can be repeated.

A `Snapshot` is the state of a function's surroundings before a call. Its `repeat()` restores that state, and afterwards
the present one: objects, plain arrays and sources of random numbers. Parameters are not copied: if one was written
since, the call cannot be repeated, just as a backward pass over it could not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from minigrad.engine.mutation import changed_since, forgotten, latest_change, note_change
from minigrad.engine.node import next_serial
from minigrad.reach import Row
from minigrad.reach.rows import differs, present
from minigrad.recompute import restore
from minigrad.recompute.surroundings import Arrays, Loose, Root, Surroundings
from minigrad.tensor.convert import get_default_dtype, set_default_dtype
from minigrad.tensor.tensor import Tensor


class Snapshot:
    """The state of some surroundings before a call.

    Args:
        surroundings: of the function.
        now: its loose rows, as `Surroundings.current` returns them.
        call: the call, for errors.
        arguments: pairs of a path and an array or a Tensor without a history.
    """

    def __init__(self, surroundings: Surroundings, now: Loose, call: str, arguments: Sequence[Root] = ()) -> None:
        self.call = call
        self.surroundings = surroundings
        self.serial, self.latest = next_serial(), latest_change()
        self.dtype = get_default_dtype()
        loose, arrays, tensors = now
        passed = [(path, t) for path, t in arguments if isinstance(t, Tensor)]
        new = [Row("slots", t, {"data": t.data, "node": t.node}, path) for path, t in (*tensors, *passed)]
        self.loose = [*loose, *new]
        arrays = [*arrays, *((path, x) for path, x in arguments if not isinstance(x, Tensor))]
        self._note_arrays(arrays, [*tensors, *passed])
        self.grads = [(t, getattr(t, "_grad", None)) for _, t in (*surroundings.tensors, *tensors, *passed)]
        self.sources = [(path, x, restore.source_state(x)) for path, x in surroundings.sources]
        self.progress = [(path, x, restore.progress(x)) for path, x in surroundings.iterators]

    def _note_arrays(self, arrays: list[Root], tensors: list[tuple[str, Tensor]]) -> None:
        """Copy small arrays; take checksums of large ones and samples of parameters."""
        prepared = self.surroundings.prepared()
        copied, parameters, large = prepared.copied, prepared.parameters, prepared.large
        if arrays or tensors:
            new = Arrays(arrays, tensors, self.surroundings.written)
            copied, parameters, large = copied + new.copied, parameters + new.parameters, large + new.large
        self.copies = [(path, x, restore.contents(x)) for path, x in copied]
        self.prints = [(path, x, restore.checksum(x)) for path, x in large]
        self.parameters = parameters
        self.samples = [view.tobytes() for _, _, view in parameters]

    def close(self) -> bool:
        """Whether the call, which is over, can be repeated.

        It cannot if it wrote an array that was not copied. The next snapshot copies it.

        Raises:
            RuntimeError: the call has advanced something whose state cannot be restored.
        """
        for path, x in self._unrestorable():
            raise RuntimeError(
                f"{self.call} advances or changes {path or 'an object'}, a {type(x).__name__}, whose state cannot be "
                "restored, so the call cannot be repeated in the backward pass. Advance it outside, and pass what it "
                "yields as an argument."
            )
        written = [x for _, x, before in self.prints if restore.checksum(x) != before]
        if latest_change() != self.latest:
            written += [x for _, x, _ in self.parameters if changed_since(x, self.serial)]
        if written:
            self.surroundings.note_written(written)
        if all(before is getattr(t, "_grad", None) for t, before in self.grads):
            self.grads = self.grads if self.surroundings.reads_gradients else []
        self.sources = [
            (path, x, state)
            for path, x, state in self.sources
            if not restore.same_state(restore.source_state(x), state)
        ]
        return not written

    def _unrestorable(self) -> list[Root]:
        """The objects that were advanced or changed since and cannot be restored."""
        advanced = [(path, x) for path, x, before in self.progress if restore.progress(x) != before]
        return advanced + [(row.path, row.holder) for row in self.surroundings.fixed if differs(row)]

    def check(self) -> None:
        """Check that everything that cannot be restored is unchanged.

        Raises:
            RuntimeError: something has changed since the call.
        """
        for (path, x, view), before in zip(self.parameters, self.samples, strict=True):
            if view.tobytes() != before or changed_since(x, self.serial):
                raise self._changed(f"{path or 'a parameter'} of shape {x.shape} was changed in place")
        for path, x, before in self.prints:
            if restore.checksum(x) != before:
                raise self._changed(f"the array {path} of shape {x.shape} and dtype {x.dtype} was changed")
        for path, x, before in self.copies:
            if not x.flags.writeable and not restore.holds(x, before):
                raise self._changed(f"the read-only array {path} of shape {x.shape} was changed")
        for path, x in self._unrestorable():
            raise self._changed(f"{path or 'an object'}, a {type(x).__name__}, was advanced or changed")

    def _changed(self, change: str) -> RuntimeError:
        return RuntimeError(
            f"the backward pass computes {self.call} again, and {change} since the forward call, so the gradient "
            "would be wrong. Call backward() before the change, or change a copy."
        )

    def repeat(self) -> Repetition:
        """A context manager in which the state of the call is restored."""
        return Repetition(self)


class Repetition:
    """A context manager in which everything is as it was before a call.

    At its end arrays, objects and sources of random numbers are as they were at its beginning. `settle()` restores
    objects and sources earlier: after the call itself, so that the effects of hooks during the pull remain.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.retained = False  # whether the tape of the repeated call lives on
        self.settled = True
        self.rows: dict[int, Row] = {}
        self.arrays: dict[int, Any] = {}
        # Arrays that the call writes in place are restored at the end, so they have not changed for others.
        self.changes: AbstractContextManager[None] = forgotten() if snapshot.surroundings.written else nullcontext()

    def __enter__(self) -> Repetition:
        snapshot = self.snapshot
        snapshot.check()
        self.changes.__enter__()
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
        stable = snapshot.surroundings.stable
        for row in [*snapshot.loose, *(() if snapshot.surroundings.fits() else stable)]:
            if differs(row):
                self.rows[id(row)] = present(row)
                restore.put(row)
        for _, x, before in snapshot.copies:
            if not restore.holds(x, before):
                self.arrays[id(x)] = restore.contents(x)
                restore.put_contents(x, before)
        _put(snapshot.dtype, [(x, state) for _, x, state in snapshot.sources], snapshot.grads)

    def settle(self) -> None:
        """Restore the objects and the sources of random numbers as they were when the repetition began."""
        if self.settled:
            return
        self.settled = True
        snapshot = self.snapshot
        stable = snapshot.surroundings.stable
        for row in [*snapshot.loose, *(() if not self.rows and snapshot.surroundings.fits() else stable)]:
            before = self.rows.get(id(row), row)
            if differs(before):
                restore.put(before)
        _put(self.dtype, self.sources, self.grads)

    def __exit__(self, *exception: Any) -> None:
        self.settle()
        changed = []
        for _, x, copy in self.snapshot.copies:
            before = self.arrays.get(id(x), copy)
            if not restore.holds(x, before):
                restore.put_contents(x, before)
                changed.append(x)
        self.changes.__exit__(None, None, None)
        if self.retained:
            for x in changed:  # the tape of the repeated call may need the values that were there
                note_change(x)


def _put(dtype: Any, sources: list[tuple[Any, Any]], grads: list[tuple[Tensor, Any]]) -> None:
    """Restore the default dtype, sources of random numbers, and gradients."""
    if get_default_dtype() is not dtype:
        set_default_dtype(dtype)
    for x, state in sources:
        restore.put_source(x, state)
    for t, grad in grads:
        if getattr(t, "_grad", None) is not grad:
            t._grad = grad
