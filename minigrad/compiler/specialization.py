"""A specialization of a compiled step: the program for one signature and state, and its calls.

The common call is one generated function (`add_fast_call`): tests of the arguments, guards, program and results.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any

import numpy as np

from minigrad.compiler.background import Kernels
from minigrad.compiler.capture.recipes import compiled
from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.ir.checks import SETTING, errors_raise
from minigrad.compiler.ir.typing import check
from minigrad.compiler.kernels.files import is_available
from minigrad.compiler.numpy.program_source import ProgramSource
from minigrad.compiler.passes.pipeline import optimized
from minigrad.compiler.refusal import CheckFailed
from minigrad.compiler.signature import NOTHING, Inputs, Signature, StateInputs, argument_tests, data_of, fast_guard
from minigrad.compiler.trace.recorded_program import COMPUTED
from minigrad.engine.intercept import STACK
from minigrad.engine.mutation import note_change
from minigrad.engine.tracing import active
from minigrad.reach.guards import Guard
from minigrad.tensor.naming import probe
from minigrad.tensor.tensor import Tensor
from minigrad.util.bytecode import code_of

MISS: Any = object()  # the result of a fast call that the driver must make
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
        fast_call: fast_call(arguments, lock), the common call as one function, if there is one; see `add_fast_call`.
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
        self.from_state = StateInputs(recording, self.fits)
        self.matches, self.is_simple = self.from_state.fetch, self.from_state.is_simple
        self.written_places, self.written_lists = (
            self.writes("set", "gradient"),
            self.writes("extend", "refill", "set of"),
        )
        self.live, self.captured = recording.recipe.live, recording.recipe.captured
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
        # For each argument of the program the number of a leaf, or ~ that of an array from the state.
        places = recording.arguments | {x.number: ~j for j, x in enumerate(recording.arrays)}
        self.places = [places[k] for k in range(len(places))]
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

    # A call

    def call(self, leaves: Sequence[Any], inputs: Inputs) -> Any:
        """Run the program, and return and leave what the step would.

        Raises:
            CheckFailed: the eager step would raise, or two arrays overlap; nothing has changed.
        """
        fetched, numbers = inputs
        arrays = []
        for number, k in enumerate(self.places):
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

    def writes(self, *kinds: str) -> list[Any]:
        """The places and containers that a call changes in one of these ways; see recipes.py."""
        return [at for how, at, *_ in self.recording.recipe.writes if how in kinds]

    def argument(self, number: int, leaves: Sequence[Any], inputs: Inputs) -> Any:
        """The array that is argument `number` of the program."""
        k = self.places[number]
        return data_of(leaves[k] if k >= 0 else inputs[0][~k])

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


def _calls(reference: weakref.ref[Specialization]) -> int | None:
    return None if (version := reference()) is None else version.calls


def add_fast_call(version: Specialization, audited: bool) -> None:
    """Give a specialization its `fast_call`, if its calls need nothing else. It is tried once for each program.

    It exists for programs whose arguments are arrays and Tensors and which read no other inputs. In all other cases (an
    audit is due, a guard or a check fails, something observes the step) it returns MISS, and the driver finds out why.

    Args:
        version: the specialization, which is ready.
        audited: whether there are audits between calls.
    """
    if version.has_tried_fast_call:
        return
    version.has_tried_fast_call = True
    tests, scope = argument_tests(version.signature, version.owned)
    if not tests or version.has_more or version.live or not version.is_simple:
        return
    watched = "active() is not None or probe() is not None or stack()"
    scope |= {"active": active.get, "probe": probe.get, "stack": STACK.get, "errors": errors_raise}
    if SETTING is not None:
        watched += " or (setting() is not plain and errors())"
        scope |= {"setting": SETTING.get, "plain": SETTING.get() if not errors_raise() else MISS}
    else:
        watched += " or errors()"
    arrays = ", ".join(f"t{leaf}" for leaf in version.places)
    call = f"o = run({arrays})" if version.is_silent else f"with silent(all='ignore'): o = run({arrays})"
    text = f"""
def fast_call(x, lock):
    if {watched}:
        return MISS
    if not ({" and ".join(tests)}):
        return MISS
    with lock:
        if {"version.left <= 0 or " if audited or version.kernels is not None else ""}not fits():
            return MISS
        try:
            {call}
        except CheckFailed:
            return MISS
        version.left -= 1
        {"; ".join(f"note(p{k})" for k in range(len(version.parameters)))}
        return finish(o, x, nothing, nothing)
"""
    scope |= {"MISS": MISS, "version": version, "fits": version.fits, "run": version.run, "finish": version.finish}
    scope |= {"CheckFailed": CheckFailed, "note": note_change, "nothing": NOTHING[0], "silent": np.errstate}
    scope |= {f"p{k}": array for k, array in enumerate(version.parameters)}
    exec(code_of(text), scope)
    version.fast_call = scope["fast_call"]
