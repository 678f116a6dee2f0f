"""One real call of a step on tracer arrays, and what it showed."""

from __future__ import annotations

import gc
import inspect
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import rng
from minigrad.compiler import functions  # noqa: F401  (fills the table of what a trace records)
from minigrad.compiler.capture import ArrayInput, NumberInput, StateCapture
from minigrad.compiler.context import active
from minigrad.compiler.effects import Recipe
from minigrad.compiler.generator import GeneratorSlot
from minigrad.compiler.guards import Predicate
from minigrad.compiler.listening import Listening
from minigrad.compiler.numbers import TracedNumber
from minigrad.compiler.overlaps import check_overlaps
from minigrad.compiler.program import Buffer, Program, Value
from minigrad.compiler.refusal import CompileError, place_of
from minigrad.compiler.rules import check
from minigrad.compiler.trace import Trace
from minigrad.compiler.untracked import UntrackedRandomness
from minigrad.naming import probe
from minigrad.reach import Reach, Row, StateRef
from minigrad.tensor import Tensor
from minigrad.trees import flatten


class _Lock:
    """One recording at a time in a process: recordings put tracers into objects that others may reach too."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.RLock()


_recordings = _Lock()


class Recording:
    """What one call of a step showed.

    Attributes:
        result: what the call returned, on real arrays.
        refusal: why there is no program, None if there is one.
        again: whether another recording may succeed where this one did not.
        program, recipe: what later calls do.
        rows: what guards compare. `exempt` and `grown` are the places and containers that they leave out.
        numbers, arrays: inputs that are fetched at each call. `predicates`: decisions on the numbers.
        arguments: number of an argument of the program -> leaf.
        changing: identities of numbers, and of arrays, that the step itself gives another value each time.
    """

    result: Any
    program: Program
    recipe: Recipe
    refusal: CompileError | None = None
    again = False

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.exempt: frozenset[tuple[int, Any]] = frozenset()
        self.grown: frozenset[int] = frozenset()
        self.numbers: list[NumberInput] = []
        self.arrays: list[ArrayInput] = []
        self.used_arrays: set[int] = set()
        self.same_places: list[tuple[StateRef, int]] = []
        self.predicates: list[Predicate] = []
        self.pinned: set[Any] = set()
        self.read: set[Any] = set()  # places of NumPy scalars whose value the step asks for
        self.arguments: dict[int, int] = {}
        self.number_arguments: list[int] = []
        self.owned: dict[int, Any] = {}
        self.grads_read: list[tuple[Tensor, int | None, bool]] = []  # which argument it is; whether there was none
        self.changing_numbers: set[Any] = set()
        self.changing_arrays: set[Any] = set()
        self.generator_leaves: list[tuple[int, int]] = []
        self.parameters: list[Any] = []
        self.scratch: set[int] = set()  # ids of arrays that nobody reads between two steps
        self.origins: list[tuple[Buffer, Any]] = []
        self.keep: Any = None

    def keep_alive(self, other: Recording) -> None:
        """Constants that are one array in both recordings, still alive: somebody holds it, so its content may change.

        (The cache of a functools.cache holds arrays that no walk can find.) Programs read such an array at each call.
        """
        for (buffer, mine), (_, theirs) in zip(self.origins, other.origins, strict=False):
            array = mine()
            if array is not None and array is theirs() and array.flags.c_contiguous:
                buffer.array, buffer.is_constant = array, False


class TraceSession:
    """A trace of one call.

    Args:
        function: the step.
        roots: what it can reach, besides itself: pairs of a path and an object.
        varying: identities of Python numbers that are inputs.
        fetched: identities of places whose arrays are inputs.
        strict: raise where something cannot be recorded, and put back what has changed.
    """

    def __init__(
        self, function: Any, roots: list[tuple[str, Any]], varying: set[Any], fetched: set[Any], strict: bool = False
    ) -> None:
        self.function, self.roots, self.strict = function, roots, strict
        self.varying, self.fetched = varying, fetched
        self.made = Recording()

    def run(self, leaves: list[Any], rebuild: Any) -> Recording:
        """Call the function on the arguments and record what it does.

        Raises:
            CompileError: the session is strict, and something cannot be recorded; nothing has changed then.
        """
        with _recordings.lock:
            return self._run(leaves, rebuild)

    def _run(self, leaves: list[Any], rebuild: Any) -> Recording:
        made = self.made
        objects = [x for x in leaves if not isinstance(x, (Tensor, np.ndarray))]
        names = argument_names(self.function, leaves, rebuild)
        reach = Reach(
            [("", self.function), *self.roots, *((n, x) for n, x in zip(names, leaves) if x in Same(objects))]
        )
        if reach.unreadable:
            path, x = reach.unreadable[0]
            made.refusal = CompileError(
                f"mg.compile: the step can read {path}, {_a(x)}, and nothing tells whether it has changed.\n"
                "Hint: use it outside of the step and pass arrays as arguments."
            )
            if self.strict:
                raise made.refusal
            args, kwargs = rebuild(leaves)
            made.result = self.function(*args, **kwargs)
            return made
        trace = Trace(self.strict)
        capture = StateCapture(trace, reach, self.varying, self.fetched)
        try:
            self._traced_call(trace, capture, leaves, names, rebuild)
        except Exception as error:
            if not is_artifact(error, capture.numbers):
                raise
            made.read, made.again = {x.identity for x in capture.numbers}, bool(capture.numbers)
            made.refusal = CompileError(
                f"mg.compile: {type(error).__name__}: {error}, at {place_of(error)}\nHint: use NumPy functions: no "
                "tracer array can stand for an array here."
            )
            if self.strict:
                raise made.refusal from None
        if made.refusal is not None and not hasattr(made, "result"):
            args, kwargs = rebuild(leaves)
            made.result = self.function(*args, **kwargs)
        capture.forget()
        self._find_leaks(trace)
        return made

    def _traced_call(self, trace: Trace, capture: StateCapture, leaves: Any, names: list[str], rebuild: Any) -> None:
        made, reach = self.made, capture.reach
        others = [(row.path, row.holder) for row in reach.rows if row.kind == "state"]
        untracked = UntrackedRandomness(reach.generators, others)
        before = _Before(capture, leaves)
        token, named = active.set(trace), probe.set(_named(probe.get()))
        try:
            if rng._global.cache_info().currsize:
                trace.draws.watch(rng._global())
            capture.begin()
            pairs: list[tuple[Any, Any]] = []
            args, kwargs = rebuild(capture.argument_values(leaves, names), pairs)
            capture.watch_containers(pairs[:-1])  # without the dictionary of keywords itself
            result = self.function(*args, **kwargs)
            capture.look()
            if trace.refusal is None:
                try:
                    untracked.check(trace.generators)
                    trace.draws.check()
                    self._check_fetched(capture)
                    self._finish(trace, capture, leaves, result)
                except CompileError as error:
                    trace.stop(error)
        except BaseException as error:
            trace.recording = False
            capture.look()
            capture.settle()
            if isinstance(error, CompileError) or is_artifact(error, capture.numbers):
                before.put_back()
            raise
        finally:
            active.reset(token)
            probe.reset(named)
            trace.recording = False
        (made.result,) = capture.settle(result)
        made.refusal = trace.refusal  # type: ignore[assignment]
        if trace.scalars and made.refusal is not None:  # the step may have asked for the value of one
            made.read |= set(trace.scalars.values())
            made.again = True
        if trace.is_foreign and made.refusal is None:
            made.refusal = CompileError(
                "mg.compile: another thread used an array of the step while it was recorded.\nHint: let threads "
                "work on arrays of their own until the step is compiled."
            )
            made.again = True

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
        program = Program([*trace.inputs, *trace.lines], trace.buffers, stores, recipe.outputs, trace.generators)
        made.program = check(program)
        made.rows = [*reach.rows, *trace.contents_read, *capture.layouts()]
        made.numbers, made.arrays = capture.numbers, capture.arrays
        made.predicates, made.arguments, made.owned = trace.predicates, capture.arguments, capture.owned
        made.pinned = {capture.numbers[k].identity for k in trace.pinned}
        read = {line.params["buffer"].place for line in trace.inputs}
        made.used_arrays = {j for j, x in enumerate(capture.arrays) if x.number in read}
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
        self._find_exempt(capture)
        made.parameters = _roots_of_parameters(trace, capture, stores)
        made.scratch = {key for key, is_scratch in capture.scratch.items() if is_scratch}
        made.keep = reach.seen, capture.owned

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

    def _find_exempt(self, capture: StateCapture) -> None:
        """Places that guards leave out: inputs, and what the step gives another value at each call."""
        made = self.made
        exempt = {
            x.ref.identity for x in capture.numbers if x.ref is not None
        }  # the rest of tuples is compared by `matches`
        exempt |= {x.ref.identity for x in capture.arrays}
        for x in capture.arrays:
            if type(x.value) is Tensor:
                exempt |= {(id(x.value), "data"), (id(x.value), "node")}
        made.grown = frozenset(id(holder) for holder, _, _ in capture.resized_after if not isinstance(holder, set))
        for ref, before, now in capture.changes_after:
            if ref.is_grad or ref.is_node:
                continue
            if type(now) is not type(before) and not hasattr(type(now), "minigrad_tracer"):
                continue
            if isinstance(before, (np.floating, np.integer)):
                made.changing_arrays.add(ref.identity)
            elif isinstance(before, tuple) and len(before) == len(now):
                if _changes_arrays(before, now):
                    made.changing_arrays.add(ref.identity)
                made.changing_numbers |= {
                    (ref.identity, (k,), None)
                    for k, (a, b) in enumerate(zip(before, now, strict=True))
                    if type(a) in (int, float) and b is not a and (type(b) is type(a) or type(b) is TracedNumber)
                }
            elif type(before) in (int, float):
                made.changing_numbers.add((ref.identity, (), None))
            elif type(before) is np.ndarray or type(before) is Tensor:
                made.changing_arrays.add(ref.identity)
        made.exempt = frozenset(exempt)

    def _find_leaks(self, trace: Trace) -> None:
        """A tracer that is still alive is held by something that nobody knows of."""
        for register in (trace.known, trace.view_names, trace.contents, trace.constants):
            register.clear()  # type: ignore[attr-defined]
        self.made.origins = trace.origins
        alive = [x for r in trace.tracers if (x := r()) is not None]
        if alive:
            del alive
            gc.collect()
            alive = [x for r in trace.tracers if (x := r()) is not None]
        if alive and self.made.refusal is None:
            self.made.refusal = CompileError(
                f"mg.compile: an array of shape {alive[0].shape} is kept in a place that cannot be found again.\n"
                "Hint: return it from the step, or name the object that holds it: mg.compile(step, state=[...])."
            )


class Same:
    """A container that knows its members by identity."""

    def __init__(self, members: list[Any]) -> None:
        self.ids = set(map(id, members))

    def __contains__(self, x: Any) -> bool:
        return id(x) in self.ids


class _Before:
    """Everything that a strict session puts back: contents of arrays, places, containers and generators."""

    def __init__(self, capture: StateCapture, leaves: list[Any]) -> None:
        self.places = [(ref, value) for ref, value in capture.reach.refs if ref.kind != "partial"]
        self.grads = [(ref.holder, ref.holder.grad) for ref, _ in self.places if ref.is_grad]
        self.contents = capture.contents
        arrays = [x for _, x in self.places] + [x.data if type(x) is Tensor else x for x in leaves]
        self.arrays = [(x, x.copy()) for x in arrays if type(x) is np.ndarray and x.flags.writeable]
        generators = [x for _, x in self.places] + leaves
        self.generators = [(x, x.bit_generator.state) for x in generators if isinstance(x, np.random.Generator)]

    def put_back(self) -> None:
        """Everything as it was."""
        for ref, value in self.places:
            if ref.get() is not value and not ref.is_grad:
                ref.set(value)
        for tensor, grad in self.grads:
            tensor._grad = grad
        for holder, before, _ in self.contents:
            if isinstance(holder, dict):
                for key in [key for key in holder if key not in before]:
                    dict.pop(holder, key)
            elif list(holder) != before if not isinstance(holder, list) else len(holder) != len(before):
                holder.clear()
                holder.update(before) if isinstance(holder, set) else holder.extend(before)
        for array, copy in self.arrays:
            np.copyto(array, copy)
        for generator, state in self.generators:
            generator.bit_generator.state = state


TRACERS = ("Listening", "TracedNumber", "TracerGenerator", "GradProbe")


def is_artifact(error: BaseException, numbers: list[Any]) -> bool:
    """Whether an exception may be about a tracer, as of C code that takes nothing but an array.

    C code that wants a number may say anything about a traced one. The step runs again then, eagerly, and raises what
    is its own.
    """
    if numbers and isinstance(error, TypeError):
        return True
    return isinstance(error, (TypeError, AttributeError)) and any(name in str(error) for name in TRACERS)


def _named(outer: Any) -> Callable[..., Any]:
    """mg.name reaches the values of the program."""

    def watch(name: str, value: Any, label: str | None) -> Any:
        data = value.data if type(value) is Tensor else value
        if type(data) is Listening and data._trace.open:
            data.value.name, data.value.label = name, label
        return value if outer is None else outer(name, value, label)

    return watch


def _changes_arrays(before: tuple[Any, ...], now: Any) -> bool:
    """Whether a tuple is another one because of the arrays and Tensors in it."""
    pairs = list(zip(before, now, strict=False))
    alike = len(before) == len(now) and all(isinstance(b, type(a)) for a, b in pairs)
    return alike and any(a is not b and isinstance(a, (np.ndarray, Tensor)) for a, b in pairs)


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
    from minigrad.compiler.memory import owner

    tensors = {
        id(owner(value))
        for ref, value in capture.reach.refs
        if ref.kind == "slot" and ref.key == "data" and type(value) is np.ndarray
    }
    return [b.array for b in stores if b.kind == "state" and id(owner(b.array)) in tensors]


def _a(x: Any) -> str:
    return x if isinstance(x, str) else f"a {type(x).__name__}"


def argument_names(function: Any, leaves: list[Any], rebuild: Any) -> list[str]:
    """What the leaves of the arguments are called: by the parameter, with a number where it has several."""
    args, kwargs = rebuild(list(range(len(leaves))))
    try:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        given = {"argument": (args, kwargs)}
    names = [""] * len(leaves)
    for name, tree in given.items():
        parts, _ = flatten(tree)
        for j, k in enumerate(parts):
            names[k] = name if len(parts) == 1 else f"{name}.{j}"
    return names
