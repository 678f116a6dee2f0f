"""A trace session: one real call of a step on tracers, from which a recording is made."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from minigrad.compiler.capture.arguments import argument_names, empty_like
from minigrad.compiler.capture.assembly import assemble, check_fetched
from minigrad.compiler.capture.changes import Undo, find_exempt, note_changes
from minigrad.compiler.capture.exceptions import is_about_tracers, watching_exceptions
from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.capture.settle import settle
from minigrad.compiler.capture.state import StateCapture
from minigrad.compiler.capture.static_checks import unsupported_state
from minigrad.compiler.capture.system_calls import UNTRACED, UntrackedRandomness, watching_calls
from minigrad.compiler.follow.flow import follow
from minigrad.compiler.refusal import CompileError, line_of
from minigrad.compiler.trace.trace import Trace
from minigrad.compiler.trace.traced_builtins import renamed_builtins
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.engine.tracing import active
from minigrad.reach import CacheState, Reach, is_leaf, own_attributes
from minigrad.tensor.naming import probe
from minigrad.tensor.tensor import Tensor
from minigrad.util import rng
from minigrad.util.memory_tuning import undisturbed

# One recording at a time in a process: recordings put tracers into objects that others may reach too.
_recordings = SimpleNamespace(lock=threading.RLock())
if hasattr(os, "register_at_fork"):  # in a forked child nothing would release it
    os.register_at_fork(after_in_child=lambda: setattr(_recordings, "lock", threading.RLock()))


@dataclass(eq=False)
class TraceSession:
    """Traces one call.

    Args:
        function: the step.
        roots: what it can reach besides itself: pairs of a path and an object.
        varying: identities of Python numbers that are inputs.
        fetched: identities of places whose arrays are inputs.
        strict: raise where something cannot be recorded, and restore the state before the call.
        confirms: there is another recording already, and this one is only compared with it.
        growing: lists to which other recordings have appended, by id.
        replaced: places in which other recordings have put new containers that are never read.
    """

    function: Any
    roots: list[tuple[str, Any]]
    varying: set[Any]
    fetched: set[Any]
    strict: bool = False
    confirms: bool = False
    growing: dict[int, Any] = field(default_factory=dict)
    replaced: set[Any] = field(default_factory=set)
    recording: Recording = field(default_factory=Recording, init=False)
    undo: Undo = field(init=False)
    is_recorded: bool = field(default=False, init=False)  # and left nothing that cannot be restored

    def run(self, leaves: list[Any], rebuild: Any, call: Any = None) -> Recording:
        """Call the function on the arguments and record what it does.

        Args:
            leaves: of the arguments.
            rebuild: rebuilds the arguments from leaves.
            call: the user's arguments themselves, positional ones and those by name.

        Raises:
            CompileError: the session is strict, and something cannot be recorded; nothing has changed then.
        """
        with _recordings.lock, undisturbed():
            return self._run(leaves, rebuild, rebuild(leaves) if call is None else call)

    def _run(self, leaves: list[Any], rebuild: Any, call: Any) -> Recording:
        recording, names = self.recording, argument_names(self.function, leaves, rebuild)
        reach = self._reach(leaves, names, rebuild)
        containers = [x for x in rebuild.objects if x is not rebuild.options and x is not call[0] and not is_leaf(x)]
        recording.state_arguments = [x for x in containers if reach.by_identity or id(x) in reach.held]
        hides = rebuild.kinds and any(row.kind == "state" for row in reach.rows)  # an iterator may hold a record
        if recording.state_arguments or hides:
            recording.is_state = True
            return recording
        recording.refusal = unsupported_state(reach)
        if recording.refusal is not None:
            if self.strict:
                raise recording.refusal
            self._call_eagerly(call)
            return recording
        trace = Trace(self.strict, annotated=not self.confirms, caller=TraceSession._traced_call.__code__)
        trace.followed = follow(reach, self.function)
        capture = StateCapture(trace, reach, self.varying, self.fetched)
        try:
            self._traced_call(trace, capture, leaves, names, rebuild)
        except CompileError as error:  # raised in the user's own frames, and undone
            if self.strict:
                raise
            recording.refusal, recording.again = error, error.again
        except Exception as error:
            if not is_about_tracers(error, trace.numbers):
                raise
            recording.read, recording.again = {x.identity for x in capture.numbers}, bool(capture.numbers)
            recording.refusal = CompileError(
                f"mg.compile: {type(error).__name__}: {error}, which may be about a tracer, at {line_of(error)}\n"
                "Hint: where an array or a number takes part, use NumPy functions: while the step is recorded, a "
                "tracer replaces it."
            )
            if self.strict:
                raise recording.refusal from None
        if recording.refusal is not None and not hasattr(recording, "result"):
            self._call_eagerly(call)
        capture.forget()
        if self._find_leaks(trace, reach):
            if self.strict:
                self.undo.put_back()
                raise recording.refusal or AssertionError
            if self.is_recorded:  # a second call, without tracers, leaves what one call leaves
                recording.result = None
                self.undo.put_back()
                self._call_eagerly(call)
        return recording

    def _call_eagerly(self, call: Any) -> None:
        args, kwargs = call
        self.recording.result = self.function(*args, **kwargs)

    def _reach(self, leaves: list[Any], names: list[str], rebuild: Any) -> Reach:
        """What the step can read: from itself, the named state and arguments that are other objects than arrays."""
        pairs = zip(names, leaves, strict=True)
        objects = [(n, x) for n, x in pairs if not isinstance(x, (Tensor, np.ndarray, np.random.Generator))]
        records = [("", empty_like(kind)) for kind in sorted(rebuild.kinds, key=lambda kind: kind.__name__)]
        return Reach([("", self.function), *self.roots, *objects, *records])

    def _traced_call(self, trace: Trace, capture: StateCapture, leaves: Any, names: list[str], rebuild: Any) -> None:
        recording, reach = self.recording, capture.reach
        others = [row for row in reach.rows if row.kind in UNTRACED]
        untracked = UntrackedRandomness(reach.generators, others, reach.functions)
        self.undo = undo = trace.undo = Undo(capture, leaves)
        token, named = active.set(trace), probe.set(_naming(probe.get()))
        try:
            if rng._global.cache_info().currsize:
                trace.draws.watch(rng._global())
            capture.begin()
            pairs: list[tuple[Any, Any]] = []
            args, kwargs = rebuild(capture.argument_values(leaves, names), pairs)
            capture.note_copies(pairs, rebuild.options)
            undo.watch_arguments(pairs)
            owns = {id(copy): vars(copy) for _, copy in pairs if type(own_attributes(copy)) is dict}
            with (
                renamed_builtins(trace.followed.renames),
                watching_calls(trace, reach),
                watching_exceptions(trace, reach),
            ):
                result = self.function(*args, **kwargs)
            if trace.refusal is None:
                _check_records(pairs, owns)
            note_changes(capture)
            if trace.refusal is None:
                self._assemble(trace, capture, untracked, leaves, result)
        except BaseException as error:
            trace.recording = False
            note_changes(capture)
            settle(capture, error)
            if isinstance(error, CompileError) or is_about_tracers(error, trace.numbers):
                undo.put_back()
                untracked.put_back()
                trace.printed.clear()
            raise
        finally:
            active.reset(token)
            probe.reset(named)
            trace.close()
        (recording.result,) = settle(capture, result)
        recording.refusal = trace.refusal
        self._note_reads(trace)

    def _assemble(
        self, trace: Trace, capture: StateCapture, untracked: UntrackedRandomness, leaves: list[Any], result: Any
    ) -> None:
        """Make the program of a call that was recorded to its end, if there can be one."""
        recording = self.recording
        try:
            untracked.check(trace.generators)
            trace.draws.check()
            check_fetched(recording, capture)
            self.is_recorded = True
            assemble(recording, trace, capture, leaves, result)
            find_exempt(recording, capture, self.growing, self.replaced)
        except CompileError as error:
            recording.again |= error.again
            recording.once = error.once
            recording.read |= {x.ref.identity for x in capture.arrays if x.number in error.places}
            trace.stop(error)
        except RecursionError:
            trace.stop(
                CompileError("mg.compile: what the step returns or leaves contains itself.\nHint: return its parts.")
            )

    def _note_reads(self, trace: Trace) -> None:
        """Note whether another recording may succeed where this one failed."""
        recording = self.recording
        if trace.scalars and recording.refusal is not None:  # the step may have asked for the value of one
            recording.read |= set(trace.scalars.values())
            recording.again = True
        if trace.is_foreign and recording.refusal is None:
            recording.again = not trace.is_elsewhere
            recording.refusal = CompileError(
                "mg.compile: the step computes in another context (contextvars.Context().run), where nothing is "
                "recorded.\nHint: use copy_context().run, or run the step there."
                if trace.is_elsewhere
                else "mg.compile: another thread used an array of the step while it was recorded.\nHint: let threads "
                "work on arrays of their own until the step is compiled."
            )

    def _find_leaks(self, trace: Trace, reach: Reach) -> bool:
        """Whether a tracer is still alive, held by something that is not known."""
        recording = self.recording
        for register in (trace.known, trace.view_names, trace.contents, trace.constants, trace.described):
            register.clear()
        recording.origins = trace.origins
        if recording.refusal is not None:  # frames of its traceback hold tracers
            recording.refusal.__traceback__ = recording.refusal.__context__ = None
        alive = _alive(trace)
        if alive:
            del alive
            gc.collect()
            alive = _alive(trace)
        if alive and self.is_recorded:  # a tracer cannot be removed from a cache, but the cache can be cleared
            for row in reach.rows:
                if row.kind == "cache" and CacheState(row.holder) != row.held and row.held.size == 0:
                    row.holder.cache_clear()
        if alive and recording.refusal is None:
            recording.refusal = CompileError(
                f"mg.compile: an array of shape {alive[0].shape} is kept in a place that cannot be found again.\n"
                "Hint: return it from the step, or name the object that holds it: mg.compile(step, state=[...])."
            )
        return bool(alive)


def _alive(trace: Trace) -> list[Any]:
    """The tracers that still exist."""
    return [x for r in (*trace.tracers, *trace.numbers) if (x := r()) is not None]


def _check_records(pairs: list[tuple[Any, Any]], owns: dict[int, Any]) -> None:
    """Check that copies of records have kept their class and __dict__, as changes are found in their attributes.

    Raises:
        CompileError: one has another class or __dict__. The step must then get the user's own.
    """
    for original, copy in pairs:
        if type(copy) is not type(original) or (id(copy) in owns and vars(copy) is not owns[id(copy)]):
            raise CompileError(
                f"mg.compile: the step gives a {type(original).__name__} among its arguments another class or "
                "__dict__.\nHint: return a new one."
            )


def _naming(outer: Any) -> Callable[..., Any]:
    """A probe that gives values of the program the names of mg.name."""

    def watch(name: str, value: Any, label: str | None) -> Any:
        data = value.data if type(value) is Tensor else value
        if type(data) is TracerArray and data.mg_trace.open:
            data.mg_value.name, data.mg_value.label = name, label
        return value if outer is None else outer(name, value, label)

    return watch
