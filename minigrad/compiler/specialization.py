"""A specialization of a compiled step: the program for one signature and state, and its calls."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any

import numpy as np

from minigrad.compiler.background import Kernels
from minigrad.compiler.capture.recipes import compiled
from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.ir.typing import check
from minigrad.compiler.ir.view_memory import owner, sharing
from minigrad.compiler.kernels.files import is_available
from minigrad.compiler.numpy.program_source import ProgramSource
from minigrad.compiler.passes.pipeline import optimized
from minigrad.compiler.refusal import CheckFailed
from minigrad.compiler.signature import Signature, fast_guard
from minigrad.compiler.trace.recorded_program import COMPUTED
from minigrad.engine.mutation import note_change
from minigrad.reach import Difference, StateRef, alike
from minigrad.reach.guards import Guard
from minigrad.tensor.tensor import Tensor

Inputs = tuple[list[Any], list[Any]]  # read at each call: arrays (or the Tensors around them), and numbers
NOTHING: Inputs = ([], [])
NEVER = 1 << 60  # calls
INTERVAL = 0.05  # seconds between two checks for kernels


class Specialization:
    """A recorded program, ready to run when a second recording has confirmed it.

    Args:
        recording: of one call.
        signature: of its arguments.
        title: the name of the step.
        owned: arrays of the state of all specializations.
        inputs: the varying numbers and fetched places with which it was recorded.

    Attributes:
        ready: whether a second recording has confirmed the first.
        because: why it was made, if it is not the first.
        fast_call: the common call as one function, if there is one (fast_call.py).
        audited: how many calls audits have covered. `left`: calls until the next audit or check for kernels.
        spreads: how far roundings move what a call returns and leaves, if an audit had to ask.
    """

    def __init__(
        self, recording: Recording, signature: Signature, title: str, owned: dict[int, Any], inputs: Any
    ) -> None:
        self.recording, self.signature, self.title, self.inputs = recording, signature, title, inputs
        self.guard = Guard(recording.rows, recording.exempt, recording.grown)
        self.fits = self.guard.fits
        self.takes = fast_guard(signature, owned)
        self.owned = owned
        self.fast_call: Callable[[tuple[Any, ...], Any], Any] | None = None
        self.has_tried_fast_call = False
        self.keep: list[Any] = []
        self.because = ""
        self.prepared = self.ready = False
        self.audited = self.left = 0
        self._pause = 0  # the number of calls at which `left` is 0,
        self._next_audit = 0  # at which the next audit is due,
        self._next_check = 0  # and at which kernels may be ready
        self._first = 0.0  # the time of the first call
        self.spreads: list[Any] = []
        self.seconds = 0.0
        self.kernels: Kernels | None = None
        recipe = recording.recipe
        self.is_simple = not (recording.numbers or recording.arrays or recording.grads_read)
        self.grads_read = recording.grads_read
        self.tuples = _tuples(recording)
        self.live, self.captured = recipe.live, recipe.captured
        self.has_decisions = any("decides" in op.params for op in recording.program.ops)

    def prepare(self, backend: str, verify: bool = False) -> None:
        """Make the program, if there is none yet."""
        if self.prepared:
            return
        began = perf_counter()
        recording = self.recording
        self.program, self.report = optimized(check(recording.program), verify=verify)
        self.source: ProgramSource = ProgramSource(self.program, self.title)
        self.run: Callable[..., Any] = self.source.compiled()
        self.adopt(self.source)
        if backend == "numba" or (backend == "auto" and is_available()):
            reference = weakref.ref(self)  # nobody needs kernels for a program that is gone
            self.kernels = Kernels(self.program, self.title, lambda: _calls(reference))
            if backend == "numba":
                with suppress(RuntimeError):  # numba cannot compile a kernel; a warning follows
                    self.kernels.wait()
                self._take_kernels(self.kernels)
        arguments = recording.arguments
        fetched = {x.number: j for j, x in enumerate(recording.arrays)}
        self.places = [
            (k, arguments[k]) if k in arguments else (k, ~fetched[k]) for k in range(len(arguments) + len(fetched))
        ]
        self.written = {b.place for b in self.program.stores if b.place is not None}
        self.finish = compiled(recording.recipe)
        self.generators = [(self.program.generators[g], leaf) for g, leaf in recording.generator_leaves]
        self.has_more = bool(self.written or self.generators or recording.number_arguments)
        self.parameters = recording.parameters
        self.prepared = True
        self.seconds = perf_counter() - began

    # Between calls

    @property
    def calls(self) -> int:
        """How often the program was called. Each call only decrements `left`."""
        return self._pause - self.left

    def is_due(self, audits: bool) -> bool:
        """Whether an audit is due. Called when `left` is 0, when kernels may be ready too.

        Args:
            audits: whether there are audits.
        """
        calls = self.calls
        if self.kernels is not None and calls >= self._next_check:
            self._check_kernels(self.kernels, calls)
        if audits and calls >= self._next_audit:
            return True
        ends = [self._next_audit] * audits + [self._next_check] * (self.kernels is not None)
        self._pause_until(min(ends, default=NEVER))
        return False

    def covered(self, gap: Callable[[Specialization], int]) -> None:
        """Note that an audit made a call and covered all calls so far. The next is due after `gap` calls."""
        self._pause += 1
        self.audited = self.calls
        self._next_audit = self.audited + gap(self)
        self._pause_until(self._next_audit if self.kernels is None else min(self._next_audit, self._next_check))

    def _pause_until(self, calls: int) -> None:
        self._pause, self.left = calls, calls - self.calls

    def _check_kernels(self, kernels: Kernels, calls: int) -> None:
        """Use the numba program if it is ready. Else check again after INTERVAL, in calls."""
        now = perf_counter()
        self._first = self._first or now
        age = now - self._first
        kernels.proceed(age)
        if kernels.is_over:
            self._take_kernels(kernels)
        self._next_check = calls + max(1, min(calls, int(calls * INTERVAL / age) if age else 1))

    def check_now(self) -> None:
        """Check for kernels before the next call."""
        if self.kernels is not None:
            self._next_check = self.calls
            self._pause_until(self._next_check)

    # Whether it is for a call

    def matches(self, leaves: Sequence[Any]) -> Inputs | None:
        """The inputs of a call, if its state is the one that was recorded, else None."""
        if not self.fits():
            return None
        if self.is_simple:
            return NOTHING
        recording = self.recording
        for tensor, leaf, is_none in self.grads_read:
            if ((tensor if leaf is None else leaves[leaf]).grad is None) is not is_none:
                return None
        for ref, template, free in self.tuples:
            if not _fits_tuple(ref.get(), template, free):
                return None
        numbers = []
        for x in recording.numbers:
            number = x.fetch(leaves)
            if type(number) is not x.kind:
                return None
            numbers.append(number)
        if self._first_changed_decision(numbers) is not None:
            return None
        arrays = self._fetched(leaves)
        return None if arrays is None else (arrays, numbers)

    def _first_changed_decision(self, numbers: list[Any]) -> int | None:
        """The first decision that has another outcome for these numbers, or cannot be evaluated; None if none has."""
        for k, p in enumerate(self.recording.predicates):
            try:
                if p.holds(numbers) != p.outcome:
                    return k
            except (ArithmeticError, ValueError, TypeError):
                return k
        return None

    def changed_decisions(self, leaves: Sequence[Any]) -> tuple[int, ...]:
        """The decisions on numbers with another outcome in a call, if guards compare nothing else that has changed."""
        if not self.fits():
            return ()
        numbers = [x.fetch(leaves) for x in self.recording.numbers]
        try:
            return tuple(k for k, p in enumerate(self.recording.predicates) if p.holds(numbers) != p.outcome)
        except (ArithmeticError, ValueError, TypeError):
            return ()

    def other_reason(self, leaves: Sequence[Any]) -> str:
        """Why this specialization is not for a call although guards hold: numbers that are inputs, or arrays."""
        recording = self.recording
        if self._first_changed_decision([x.fetch(leaves) for x in recording.numbers]) is not None:
            names = [x.ref.path if x.ref is not None else f"argument {x.leaf}" for x in recording.numbers]
            return f"a decision on {', '.join(names)}"
        return f"the shape, dtype or memory of {', '.join(x.ref.path for x in recording.arrays) or 'its arrays'}"

    def tuple_differences(self) -> Iterator[Difference]:
        """Tuples, some of whose numbers are inputs, that differ in other items."""
        for ref, template, free in self.tuples:
            if not _fits_tuple(ref.get(), template, free):
                yield ref.path, ref, template, ref.get()

    def _fetched(self, leaves: Sequence[Any]) -> list[Any] | None:
        """The arrays that a call reads from places, None if one has another layout or shares other memory."""
        arrays: list[Any] = []
        for j, x in enumerate(self.recording.arrays):
            now = x.fetch(leaves)
            if type(now) is not type(x.value):
                return None
            if isinstance(now, (np.floating, np.integer)):
                arrays.append(now)
                continue
            if j in self.recording.used_arrays:
                array, like = (now.data, x.value.data) if type(now) is Tensor else (now, x.value)
                if isinstance(like, np.generic):
                    if type(array) is not type(like) or (now.node is None) is not (x.value.node is None):
                        return None
                    arrays.append(now)
                    continue
                if type(array) is not np.ndarray or (array.shape, array.dtype) != (like.shape, like.dtype):
                    return None
                if array.strides != like.strides and not (array.flags.c_contiguous and like.flags.c_contiguous):
                    return None
                root = array if array.base is None else owner(array)
                if id(root) in self.recording.owned:
                    return None
                if type(now) is Tensor and (now.node is None) is not (x.value.node is None):
                    return None
            arrays.append(now)
        for j, ref in self.recording.tied:
            array, other = arrays[j].data if type(arrays[j]) is Tensor else arrays[j], ref.get()
            other = other.data if type(other) is Tensor else other
            if type(other) is not np.ndarray or owner(other) is not owner(array):
                return None
        return arrays if not arrays or sharing([*arrays, *leaves]) == self.recording.sharing else None

    # A call

    def call(self, leaves: Sequence[Any], inputs: Inputs) -> Any:
        """Run the program, and return and leave what the step would.

        Raises:
            CheckFailed: the eager step would raise, or two arrays overlap; nothing has changed.
        """
        fetched, numbers = inputs
        arrays = []
        for number, k in self.places:
            x = leaves[k] if k >= 0 else fetched[~k]
            array = x.data if type(x) is Tensor else x
            if type(array) is not np.ndarray:
                array = np.asarray(array)
            arrays.append(array if number in self.written or array.flags.carray else np.array(array, order="C"))
        if self.has_more:
            self._add_arguments(arrays, leaves, numbers)
        if self.is_silent:
            outputs = self.run(*arrays)
        else:
            with np.errstate(all="ignore"):
                outputs = self.run(*arrays)
        for array in self.parameters:
            note_change(array)
        return self.finish(outputs, leaves, fetched, numbers)

    def argument(self, number: int, leaves: Sequence[Any], inputs: Inputs) -> Any:
        """The array that is argument `number` of the program."""
        k = dict(self.places)[number]
        x = leaves[k] if k >= 0 else inputs[0][~k]
        return x.data if type(x) is Tensor else x

    def _add_arguments(self, arrays: list[Any], leaves: Sequence[Any], numbers: list[Any]) -> None:
        """Check arguments that are written, set Generators, and append numbers."""
        if self.written:
            self._check_overlaps(arrays)
        for slot, leaf in self.generators:
            slot.current = leaves[leaf]
        expressions = self.recording.expressions
        arrays += [
            np.array(numbers[k] if k < COMPUTED else expressions[k - COMPUTED](numbers))
            for k in self.recording.number_arguments
        ]

    def _take_kernels(self, kernels: Kernels) -> None:
        """Use the numba program from here on, if it could be compiled."""
        self.kernels, self.fast_call, self.has_tried_fast_call = None, None, False
        if kernels.run is None or kernels.source is None:
            kernels.warn()
            return
        self.run, self.source = kernels.run, kernels.source
        self.adopt(self.source)
        self._next_audit = self.calls  # only an audit tests kernels

    def adopt(self, source: Any) -> None:
        """Let deferred gradients refer to the memory where this program computes them."""
        self.is_silent = source.is_silent
        for buffer in self.program.stores:
            if buffer.kind == "kept":
                array = source.plan.moved.get(buffer, buffer.array)
                if buffer.holder.data is not array:
                    np.copyto(array, buffer.holder.data)
                    buffer.holder.data = array

    def _check_overlaps(self, arrays: list[Any]) -> None:
        """Check that no argument that is written overlaps another one."""
        owned = self.recording.owned.values()
        for k in self.written:
            if not arrays[k].flags.writeable:
                raise CheckFailed("an argument that is written is read-only")
            others = [x for j, x in enumerate(arrays) if j != k]
            if any(np.may_share_memory(arrays[k], x) for x in (*others, *owned)):
                raise CheckFailed("an argument that is written shares memory with another array")


def _tuples(recording: Recording) -> list[tuple[StateRef, Any, set[int]]]:
    """Places of tuples of which some items are inputs: the place, the tuple, and these items."""
    tuples: dict[Any, tuple[StateRef, Any, set[int]]] = {}
    for x in recording.numbers:
        if x.ref is not None and x.items:
            tuples.setdefault(x.ref.identity, (x.ref, x.ref.get(), set()))[2].add(x.items[0])
    for y in recording.arrays:
        if y.items:
            tuples.setdefault(y.ref.identity, (y.ref, y.ref.get(), set()))[2].add(y.items[0])
    return list(tuples.values())


def _calls(reference: weakref.ref[Specialization]) -> int | None:
    return None if (version := reference()) is None else version.calls


def _fits_tuple(now: Any, template: Any, free: set[int]) -> bool:
    if type(now) is not type(template) or len(now) != len(template):
        return False
    return all(k in free or alike(a, b) for k, (a, b) in enumerate(zip(now, template, strict=True)))
