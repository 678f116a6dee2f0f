"""One real call of a step on tracer arrays, and what it showed."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.branches import is_in_branch
from minigrad.compiler.capture.arguments import argument_names
from minigrad.compiler.capture.effects import Recipe
from minigrad.compiler.capture.exempt import find_exempt
from minigrad.compiler.capture.overlaps import check_overlaps
from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.capture.sharing import layouts, shared_gradients, tied
from minigrad.compiler.capture.state import StateCapture
from minigrad.compiler.capture.undo import Undo
from minigrad.compiler.follow.flow import follow
from minigrad.compiler.ir.program import Buffer, Program, Value
from minigrad.compiler.ir.view_memory import owner, sharing
from minigrad.compiler.refusal import CompileError, place_of
from minigrad.compiler.refuse.artifact import is_artifact
from minigrad.compiler.refuse.caught import catching
from minigrad.compiler.refuse.system import unreadable, watching_calls, writes_json
from minigrad.compiler.refuse.untracked import UNTRACED, UntrackedRandomness
from minigrad.compiler.trace import functions  # noqa: F401  (fills the table of what a trace records)
from minigrad.compiler.trace.generator import GeneratorSlot
from minigrad.compiler.trace.records import empty_like
from minigrad.compiler.trace.stand_ins import taking_numbers
from minigrad.compiler.trace.trace import Trace
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.engine.tracing import active
from minigrad.reach import (
    CacheState,
    Reach,
    is_leaf,
    own_attributes,
)
from minigrad.tensor.naming import probe
from minigrad.tensor.tensor import Tensor
from minigrad.util import rng
from minigrad.util.gc_tuning import undisturbed


class _Lock:
    """One recording at a time in a process: recordings put tracers into objects that others may reach too."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.RLock()


_recordings = _Lock()


class TraceSession:
    """A trace of one call.

    Args:
        function: the step.
        roots: what it can reach, besides itself: pairs of a path and an object.
        varying: identities of Python numbers that are inputs.
        fetched: identities of places whose arrays are inputs.
        strict: raise where something cannot be recorded, and put back what has changed.
        confirms: another recording is there already, and this one is only compared with it.
        growing: lists to which other recordings have appended, by id.
        replaced: places in which other recordings have put new containers that nobody reads.
    """

    def __init__(
        self,
        function: Any,
        roots: list[tuple[str, Any]],
        varying: set[Any],
        fetched: set[Any],
        strict: bool = False,
        confirms: bool = False,
        growing: dict[int, Any] | None = None,
        replaced: set[Any] | None = None,
    ) -> None:
        self.function, self.roots, self.strict, self.confirms = function, roots, strict, confirms
        self.varying, self.fetched, self.growing = varying, fetched, growing or {}
        self.replaced = replaced or set()
        self.made = Recording()

    def run(self, leaves: list[Any], rebuild: Any, call: Any = None) -> Recording:
        """Call the function on the arguments and record what it does.

        Args:
            leaves: of the arguments.
            rebuild: the arguments of their leaves.
            call: the user's arguments themselves, positional ones and those by name.

        Raises:
            CompileError: the session is strict, and something cannot be recorded; nothing has changed then.
        """
        with _recordings.lock, undisturbed():
            return self._run(leaves, rebuild, rebuild(leaves) if call is None else call)

    def _run(self, leaves: list[Any], rebuild: Any, call: Any) -> Recording:
        made = self.made
        objects = [x for x in leaves if not isinstance(x, (Tensor, np.ndarray, np.random.Generator))]
        names = argument_names(self.function, leaves, rebuild)
        reach = Reach(
            [
                ("", self.function),
                *self.roots,
                *((n, x) for n, x in zip(names, leaves, strict=True) if x in Same(objects)),
                *(("", empty_like(kind)) for kind in sorted(rebuild.kinds, key=lambda kind: kind.__name__)),
            ]
        )
        inner = [x for x in rebuild.containers if x is not rebuild.options]
        inner += [x for x in rebuild.tuples if x is not call[0] and not is_leaf(x)]
        made.state_arguments = [x for x in inner if reach.by_identity or id(x) in reach.held]
        hides = rebuild.kinds and any(row.kind == "state" for row in reach.rows)  # an iterator may hold a record
        if made.state_arguments or hides:
            made.is_state = True
            return made
        made.refusal = unreadable(reach)
        if made.refusal is not None:
            if self.strict:
                raise made.refusal
            args, kwargs = call
            made.result = self.function(*args, **kwargs)
            return made
        trace = Trace(self.strict, annotated=not self.confirms)
        trace.followed = follow(reach, self.function)
        trace.is_in_branch = is_in_branch
        capture = StateCapture(trace, reach, self.varying, self.fetched)
        try:
            self._traced_call(trace, capture, leaves, names, rebuild)
        except CompileError as error:  # refused in the user's own frames, and undone
            if self.strict:
                raise
            made.refusal, made.again = error, error.again
        except Exception as error:
            if not is_artifact(error, trace.numbers):
                raise
            made.read, made.again = {x.identity for x in capture.numbers}, bool(capture.numbers)
            made.refusal = CompileError(
                f"mg.compile: {type(error).__name__}: {error}, which may be about a tracer, at {place_of(error)}\n"
                "Hint: where an array or a number takes part, use NumPy functions: while the step is recorded, a "
                "tracer stands for it."
            )
            if self.strict:
                raise made.refusal from None
        if made.refusal is not None and not hasattr(made, "result"):
            args, kwargs = call
            made.result = self.function(*args, **kwargs)
        capture.forget()
        if self._find_leaks(trace, reach):
            if self.strict:
                self.before.put_back()
                raise made.refusal or AssertionError
            if self.is_recorded:  # nothing else was refused: a second call leaves what one call leaves, without tracers
                made.result = None
                self.before.put_back()
                args, kwargs = call
                made.result = self.function(*args, **kwargs)
        return made

    def _traced_call(self, trace: Trace, capture: StateCapture, leaves: Any, names: list[str], rebuild: Any) -> None:
        made, reach = self.made, capture.reach
        others = [row for row in reach.rows if row.kind in UNTRACED]
        untracked = UntrackedRandomness(reach.generators, others, reach.functions)
        self.before = before = trace.undo = Undo(capture, leaves)
        token, named = active.set(trace), probe.set(_named(probe.get()))
        try:
            if rng._global.cache_info().currsize:
                trace.draws.watch(rng._global())
            capture.begin()
            pairs: list[tuple[Any, Any]] = []
            args, kwargs = rebuild(capture.argument_values(leaves, names), pairs)
            capture.watch_containers(pairs, rebuild.options)
            before.watch_arguments(pairs)
            owns = {id(made): vars(made) for _, made in pairs if type(own_attributes(made)) is dict}
            with (
                taking_numbers(trace.followed.hides),
                watching_calls(trace, reach),
                catching(trace, reach),
            ):
                result = self.function(*args, **kwargs)
            if trace.refusal is None:
                _check_records(pairs, owns)
            capture.look()
            if trace.refusal is None:
                self._record(trace, capture, untracked, leaves, result)
        except BaseException as error:
            trace.recording = False
            capture.look()
            capture.settle(error)
            if isinstance(error, CompileError) or is_artifact(error, trace.numbers):
                before.put_back()
                untracked.put_back()
                trace.printed.clear()
            raise
        finally:
            active.reset(token)
            probe.reset(named)
            trace.close()
        (made.result,) = capture.settle(result)
        made.refusal = trace.refusal  # type: ignore[assignment]
        self._note_reads(trace)

    def _record(
        self, trace: Trace, capture: StateCapture, untracked: UntrackedRandomness, leaves: list[Any], result: Any
    ) -> None:
        """Make the program of a call that was recorded to its end, if there can be one."""
        made = self.made
        try:
            untracked.check(trace.generators)
            trace.draws.check()
            self._check_fetched(capture)
            self.is_recorded = True
            self._finish(trace, capture, leaves, result)
        except CompileError as error:
            made.again |= error.again
            made.once = error.once
            made.read |= {x.ref.identity for x in capture.arrays if x.number in error.places}
            trace.stop(error)
        except RecursionError:
            trace.stop(
                CompileError("mg.compile: what the step returns or leaves contains itself.\nHint: return its parts.")
            )

    def _note_reads(self, trace: Trace) -> None:
        """Whether another recording may succeed where this one did not."""
        made = self.made
        if trace.scalars and made.refusal is not None:  # the step may have asked for the value of one
            made.read |= set(trace.scalars.values())
            made.again = True
        if trace.is_foreign and made.refusal is None:
            made.again = not trace.is_elsewhere
            made.refusal = CompileError(
                "mg.compile: the step computes in another context (contextvars.Context().run), where nothing is "
                "recorded.\nHint: use copy_context().run, or run the step there."
                if trace.is_elsewhere
                else "mg.compile: another thread used an array of the step while it was recorded.\nHint: let threads "
                "work on arrays of their own until the step is compiled."
            )

    def _finish(self, trace: Trace, capture: StateCapture, leaves: list[Any], result: Any) -> None:
        """The program, and what calls of it do besides."""
        made, reach = self.made, capture.reach
        capture.drop_unread_gradients()
        recipe = made.recipe = Recipe(trace, capture, leaves, result)
        stores = {**recipe.kept, **_stores(trace, capture)}
        base = len(capture.arguments) + len(capture.arrays)
        for buffer in trace.buffers:
            if buffer.place is not None and buffer.place < 0:
                made.number_arguments.append(~buffer.place)
                buffer.place = base + len(made.number_arguments) - 1
        check_overlaps(trace)
        trace.check_contents()
        ops, scalars = [*trace.inputs, *trace.ops], recipe.scalars
        program = Program(ops, trace.buffers, stores, recipe.outputs, trace.generators, scalars)
        made.program = program
        made.rows = [*reach.rows, *trace.contents_read, *layouts(capture), *shared_gradients(capture)]
        made.numbers, made.arrays = capture.numbers, capture.arrays
        made.expressions = trace.expressions
        made.tied, made.is_written = tied(capture), writes_json(reach)
        made.sharing = sharing([x.value for x in capture.arrays] + leaves)
        made.predicates, made.arguments, made.owned = trace.predicates, capture.arguments, capture.owned
        made.pinned = {capture.numbers[k].identity for k in trace.pinned}
        read = {op.params["buffer"].place for op in trace.inputs}
        made.used_arrays = {
            j  # also what may be asked for its shape alone
            for j, x in enumerate(capture.arrays)
            if x.number in read or not (isinstance(x.ref.key, str) and x.ref.key not in reach.read)
        }
        number = {id(leaf): k for k, leaf in reversed(list(enumerate(leaves)))}
        made.grads_read = [
            (ref.holder, None if id(ref.holder) in reach.seen else number[id(ref.holder)], value is None)
            for ref, value in capture.replaced
            if ref.is_grad and id(ref.holder) in capture.grads_read
        ]
        made.generator_leaves = [
            (g, capture.argument_generators[id(x)])
            for g, x in enumerate(trace.generators)
            if id(x) in capture.argument_generators
        ]
        for g, _ in made.generator_leaves:
            program.generators[g] = GeneratorSlot(program.generators[g])
        find_exempt(made, capture, self.growing, self.replaced)
        made.parameters = _roots_of_parameters(trace, capture, stores)
        made.scratch = {key for key, is_scratch in capture.scratch.items() if is_scratch}
        made.keep = reach.seen, capture.owned
        made.objects = reach.held

    def _check_fetched(self, capture: StateCapture) -> None:
        """Gradients belong to the Tensor that stood in a place when the step was recorded.

        Raises:
            CompileError: that is fetched at each call, and its gradient read or written. It must not be fetched then.
        """
        touched = {id(ref.holder) for ref, _, _ in capture.changes_after if ref.is_grad} | capture.grads_read
        for x in capture.arrays:
            if not x.ref.is_grad and type(x.value) is Tensor and id(x.value) in touched:
                self.made.read.add(x.ref.identity)
                self.made.again = True
                raise CompileError(
                    f"mg.compile: {x.ref.path} is another Tensor from call to call, and the step uses its gradient.\n"
                    "Hint: keep the Tensor, and change its data."
                )

    is_recorded = False  # whether the call was recorded, and left nothing behind that cannot be put back
    before: Undo

    def _find_leaks(self, trace: Trace, reach: Reach) -> bool:
        """A tracer that is still alive is held by something that nobody knows of."""
        for register in (trace.known, trace.view_names, trace.contents, trace.constants, trace.described):
            register.clear()
        self.made.origins = trace.origins
        if self.made.refusal is not None:  # frames of its traceback hold tracers
            self.made.refusal.__traceback__ = self.made.refusal.__context__ = None
        tracers = [*trace.tracers, *trace.numbers]
        alive = [x for r in tracers if (x := r()) is not None]
        if alive:
            del alive
            gc.collect()
            alive = [x for r in tracers if (x := r()) is not None]
        if (
            alive and self.is_recorded
        ):  # nobody can take a tracer out of a cache: what this call has put there is undone
            for row in reach.rows:
                if row.kind == "cache" and CacheState(row.holder) != row.held and row.held.size == 0:
                    row.holder.cache_clear()
        if alive and self.made.refusal is None:
            self.made.refusal = CompileError(
                f"mg.compile: an array of shape {alive[0].shape} is kept in a place that cannot be found again.\n"
                "Hint: return it from the step, or name the object that holds it: mg.compile(step, state=[...])."
            )
        return bool(alive)


def _check_records(pairs: list[tuple[Any, Any]], owns: dict[int, Any]) -> None:
    """The step got copies of records, and what it writes into one is found by comparing its attributes.

    Raises:
        CompileError: a record has another class or dictionary than before. The step must get the user's own then.
    """
    for given, made in pairs:
        if type(made) is not type(given) or (id(made) in owns and vars(made) is not owns[id(made)]):
            raise CompileError(
                f"mg.compile: the step gives a {type(given).__name__} among its arguments another class or __dict__.\n"
                "Hint: return a new one."
            )


class Same:
    """A container that knows its members by identity."""

    def __init__(self, members: list[Any]) -> None:
        self.ids = set(map(id, members))

    def __contains__(self, x: Any) -> bool:
        return id(x) in self.ids


def _named(outer: Any) -> Callable[..., Any]:
    """mg.name reaches the values of the program."""

    def watch(name: str, value: Any, label: str | None) -> Any:
        data = value.data if type(value) is Tensor else value
        if type(data) is TracerArray and data.mg_trace.open:
            data.mg_value.name, data.mg_value.label = name, label
        return value if outer is None else outer(name, value, label)

    return watch


def _stores(trace: Trace, capture: StateCapture) -> dict[Buffer, Value]:
    stores: dict[Buffer, Value] = {}
    for memory in trace.memories.values():
        scratch = capture.scratch.get(id(memory.array), False)
        if memory.buffer is None and memory.version and not scratch:
            memory.buffer = Buffer(trace.names[id(memory.array)], "state", memory.array)
            trace.buffers.append(memory.buffer)
        if memory.buffer is not None and scratch:
            memory.buffer.kind = "scratch"
        if memory.buffer is not None and memory.version and not scratch:
            assert memory.value is not None
            stores[memory.buffer] = memory.value
    return stores


def _roots_of_parameters(trace: Trace, capture: StateCapture, stores: dict[Buffer, Value]) -> list[Any]:
    """The written arrays that hold Tensors' data: a tape that has kept them must be told."""
    tensors = {
        id(owner(value))
        for ref, value in capture.reach.refs
        if ref.kind == "slot" and ref.key == "data" and type(value) is np.ndarray
    }
    return [b.array for b in stores if b.kind == "state" and id(owner(b.array)) in tensors]
