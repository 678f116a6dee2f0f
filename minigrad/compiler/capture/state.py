"""Capture: the state that a step can read, with tracer arrays put in its places, and the real things put back."""

from __future__ import annotations

import builtins
from types import BuiltinFunctionType, MappingProxyType
from typing import Any

import numpy as np

from minigrad.compiler.capture.changed import changed_places, reordered, resized
from minigrad.compiler.capture.inputs import ArrayInput, NumberInput
from minigrad.compiler.capture.settle import Settler, remade
from minigrad.compiler.capture.sharing import gradients_held_elsewhere
from minigrad.compiler.ir.program import Buffer
from minigrad.compiler.ir.view_memory import owner
from minigrad.compiler.trace.generator import TracerGenerator
from minigrad.compiler.trace.numbers import TracedNumber
from minigrad.compiler.trace.records import NUMERIC
from minigrad.compiler.trace.stand_ins import stand_in
from minigrad.compiler.trace.trace import Trace
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.unread_grads import GradProbe
from minigrad.engine.node import next_serial
from minigrad.reach import (
    MISSING,
    Contents,
    Reach,
    StateRef,
    behind,
    elements,
    is_leaf,
    keys_of,
    own_attributes,
    values_of,
)
from minigrad.tensor.tensor import Tensor


class StateCapture:
    """What is reached from a step, and what stands for it while a trace records.

    Args:
        trace: the trace.
        reach: what the step can read.
        varying: identities of number inputs, which change from call to call.
        fetched: identities of places whose array or Tensor is another one from call to call.
    """

    def __init__(self, trace: Trace, reach: Reach, varying: set[Any], fetched: set[Any]) -> None:
        self.trace, self.reach, self.varying, self.fetched = trace, reach, varying, fetched
        self.put: dict[tuple[int, Any], Any] = {}  # what was put into a place
        self.replaced: list[tuple[StateRef, Any]] = []  # places with something else in them, and what stood there
        self.numbers: list[NumberInput] = []
        self.arrays: list[ArrayInput] = []
        self.generators: dict[int, TracerGenerator] = {}  # by the id of the real one
        self.arguments: dict[int, int] = {}  # number of an argument of the program -> leaf
        self.argument_generators: dict[int, int] = {}  # id of a Generator -> leaf
        self.grads_read: set[int] = set()  # ids of Tensors
        self.scratch: dict[int, bool] = {}  # of owners: whether nobody reads them between two steps
        self.owned: dict[int, Any] = {}
        self.shared_grads: set[int] = set()
        # Containers among the arguments, by the id of their copies: copy, original, what the copy held, and number
        self.rebuilt: dict[int, tuple[Any, Any, Contents | None, int]] = {}
        self.tuples: dict[int, Any] = {}  # what stands for a tuple of the state, by the id of the user's
        self.originals: dict[int, Any] = {}  # and the other way round
        self.classes = [(kind, vars(kind).keys() | set(), path) for path, kind in reach.classes]
        self.contents = [(x, _copied(x), path) for x, path in reach.containers]

    # Before the step

    def begin(self) -> None:
        """Put tracers into all places."""
        self.serial = next_serial()  # nodes of the step have larger ones
        by_value: dict[int, StateRef] = {}
        for ref, value in self.reach.refs if self.fetched else ():
            if ref.identity in self.fetched:
                by_value.setdefault(id(value), ref)
        grads = [ref for ref, _ in self.reach.refs if ref.is_grad]
        self.shared_grads = gradients_held_elsewhere(self, grads)
        for ref in grads:
            self._begin_grad(ref)
        for ref, value in self.reach.refs:
            if ref.is_grad:
                continue
            if by_value and by_value.get(id(value)) is ref:
                if isinstance(value, (np.floating, np.integer)):
                    self._put(ref, value, self._scalar(ref, value))
                    continue
                if isinstance(value, tuple):
                    for k, part in enumerate(value):
                        self._fetch(ref, part, items=(k,))
                else:
                    self._fetch(ref, value)
            new = self._traced(value, ref)
            if new is not value:
                if type(value) is np.ndarray:
                    key = id(owner(value))
                    is_scratch = ref.owner is not None and ref.key in getattr(type(ref.owner), "scratch", ())
                    self.scratch[key] = is_scratch and self.scratch.get(key, True)
                self._put(ref, value, new)
        roots = [owner(m.array) for m in self.trace.memories.values() if m.buffer is None]
        self.owned = {id(root): root for root in roots}

    def _begin_grad(self, ref: StateRef, leaf: int | None = None) -> None:
        """A gradient that was there is an input, fetched from its place."""
        present = ref.holder.grad
        if type(present) is Tensor and type(present.data) is not TracerArray:
            if id(present) not in self.shared_grads:
                self._fetch(ref, present, leaf)
            data = StateRef(present, "data", "slot", ref.path)
            self._put(data, present.data, self._traced(present.data, data))
        self._put(ref, present, GradProbe(present, self.grads_read))

    def _scalar(self, ref: StateRef, value: Any) -> Any:
        """A NumPy scalar that is fetched at each call."""
        number = len(self.arguments) + len(self.arrays)
        self.arrays.append(ArrayInput(ref, value, number))
        made = self.trace.argument(np.asarray(value), ref.path, number)
        made.mg_is_scalar = True
        self.trace.scalars[id(made.mg_memory)] = ref.identity
        return made

    def _fetch(self, ref: StateRef, value: Any, leaf: int | None = None, items: tuple[int, ...] = ()) -> None:
        """Let the array at a place be an input that is fetched at each call."""
        array = value.data if type(value) is Tensor else value
        if type(value) is Tensor and isinstance(array, np.generic):  # as of a loss
            number = len(self.arguments) + len(self.arrays)
            self.arrays.append(ArrayInput(ref, value, number, leaf, items))
            made = self.trace.argument(np.asarray(array), ref.path, number)
            made.mg_is_scalar = True
            self._put(StateRef(value, "data", "slot", ref.path), array, made)
        elif type(array) is np.ndarray and id(array) not in self.trace.known and self._is_alone(array):
            number = len(self.arguments) + len(self.arrays)
            self.arrays.append(ArrayInput(ref, value, number, leaf, items))
            self.trace.argument(array, ref.path, number)

    def _is_alone(self, array: Any) -> bool:
        """Whether no other array of the state lies in the same memory."""
        if array.base is None:
            return True
        root = owner(array)
        return (
            not any(type(x) is np.ndarray and x is not array and owner(x) is root for _, x in self.reach.refs)
            and array.dtype.kind in NUMERIC
        )

    def watch_containers(self, pairs: list[tuple[Any, Any]], options: Any) -> None:
        """Containers and records among the arguments, and copies of them with tracers, which the step gets."""
        for k, (given, made) in enumerate(pairs):
            if given is options:  # the step gets a copy of its own
                continue
            self.rebuilt[id(made)] = made, given, Contents(made), k
            if type(own := own_attributes(made)) is dict:
                self.rebuilt[id(own)] = own, own_attributes(given), None, k

    def changed_arguments(self) -> list[tuple[Any, Any, Contents, Contents, int]]:
        """Containers among the arguments that the step has changed, with what their copies held before and hold now."""
        found = []
        for made, given, before, k in self.rebuilt.values():
            if before is not None and not before.is_same(now := Contents(made)):
                found.append((made, given, before, now, k))
        return found

    def _put_back_containers(self, replacer: Settler) -> None:
        """What the step has changed in its copies is changed in the user's containers."""
        for _, given, before, now, _ in self.filled_after:
            original = Contents(given)
            kept = {id(x): real for x, real in zip(before.values, original.values, strict=True)}
            now.replace([kept[id(x)] if id(x) in kept else replacer.real(x) for x in now.values])
            now.keys = now.keys and list(map(replacer.real, now.keys))
            now.put(given)

    def argument_values(self, leaves: list[Any], names: list[str]) -> list[Any]:
        """The leaves of the arguments as the step gets them."""
        given = []
        reached = self.reach.seen
        for k, (leaf, name) in enumerate(zip(leaves, names, strict=True)):
            new = leaf
            if type(leaf) is Tensor:
                if id(leaf) not in reached:
                    ref = StateRef(leaf, "data", "slot", name)
                    if ref.identity not in self.put:
                        self._put(ref, leaf.data, self._argument(leaf.data, name, k))
                        self._begin_grad(StateRef(leaf, "_grad", "slot", f"{name}.grad"), k)
            elif type(leaf) is np.ndarray and leaf.dtype.kind in NUMERIC:
                new = self._argument(leaf, name, k)
            elif isinstance(leaf, np.floating):
                new = self._argument(np.asarray(leaf), name, k)
                new.mg_is_scalar = True
            elif isinstance(leaf, np.random.Generator) and id(leaf) not in self.generators:
                new = self._generator(leaf)
                self.argument_generators[id(leaf)] = k
            elif isinstance(leaf, np.random.Generator):
                new = self.generators[id(leaf)]
            elif isinstance(leaf, tuple) and not is_leaf(leaf):
                new = self._traced(leaf, StateRef((leaf,), 0, "index", name))
            elif type(leaf) in (int, float) and (None, (), k) in self.varying:
                new = self._number(leaf, None, (), k)
            given.append(new)
        return given

    def _argument(self, array: Any, name: str, k: int) -> Any:
        if type(array) is not np.ndarray:  # the data of a Tensor may be a NumPy scalar
            array = np.asarray(array)
        if id(array) in self.trace.known or id(owner(array)) in self.owned:
            return self.trace.state(array, name)
        number = len(self.arguments) + len(self.arrays)
        self.arguments[number] = k
        return self.trace.argument(array, name, number)

    def _put(self, ref: StateRef, value: Any, new: Any) -> None:
        self.put[ref.identity] = new
        self.replaced.append((ref, value))
        ref.set(new)

    def _traced(self, value: Any, ref: StateRef, items: tuple[int, ...] = ()) -> Any:
        kind = type(value)
        if value is MISSING:
            return self._builtin(ref)
        if kind is np.ndarray:
            return self.trace.state(value, ref.path) if value.dtype.kind in NUMERIC else value
        if issubclass(kind, np.random.Generator) and not hasattr(kind, "minigrad_tracer"):
            return self._generator(value)
        if kind in (int, float) and (ref.identity, items, None) in self.varying:
            return self._number(value, ref, items, None)
        if issubclass(kind, tuple):
            return self._traced_tuple(value, ref, items)
        if kind is BuiltinFunctionType or value is type:
            made = self._hidden(value)
            return value if made is MISSING else made
        if kind is MappingProxyType and type(behind(value)) is dict:
            inner = {k: self._traced(x, ref) for k, x in value.items()}
            if any(a is not b for a, b in zip(inner.values(), value.values(), strict=True)):
                return MappingProxyType(inner)
        return value

    def _traced_tuple(self, value: Any, ref: StateRef, items: tuple[int, ...]) -> Any:
        """A tuple with tracers in it: one for each of the user's, in however many places that stands."""
        if id(value) in self.tuples:
            return self.tuples[id(value)]
        parts = [self._traced(x, ref, (*items, k)) for k, x in enumerate(value)]
        if all(a is b for a, b in zip(parts, value, strict=True)):
            return value
        made = remade(value, parts)
        if ref.identity not in self.fetched and not any(type(x) is TracedNumber for x in parts):
            self.tuples[id(value)] = made
            self.originals[id(made)] = value
        return made

    def _builtin(self, ref: StateRef) -> Any:
        """What a global hides while a step is recorded: see trace/stand_ins.py."""
        if ref.kind != "item" or "__builtins__" not in ref.holder:
            return MISSING
        return self._hidden(getattr(builtins, str(ref.key), None))

    def _hidden(self, builtin: Any) -> Any:
        made = stand_in(self.trace, builtin)
        if made is not MISSING:
            self.originals[id(made)] = builtin
        return made

    def _generator(self, value: Any) -> TracerGenerator:
        self.trace.draws.watch(value)
        return self.generators.setdefault(id(value), TracerGenerator(self.trace, value))

    def _number(self, value: Any, ref: StateRef | None, items: tuple[int, ...], leaf: int | None) -> TracedNumber:
        k = len(self.numbers)
        self.numbers.append(NumberInput(ref, items, leaf, type(value)))
        trace = self.trace
        path = ref.path if ref is not None else f"argument_{leaf}"

        def make() -> Any:
            buffer = Buffer(path, "argument", np.asarray(value, type(value)), place=~k)
            trace.buffers.append(buffer)
            return trace.input_of(buffer)

        def expression(inputs: Any) -> Any:
            return inputs[k]

        expression.form = ("input", self.numbers[k].identity)  # type: ignore[attr-defined]
        return TracedNumber(trace, value, expression, make, k)

    # After the step

    def drop_unread_gradients(self) -> None:
        """Gradients that nobody has read are no inputs."""
        unread = {x.number for x in self.arrays if x.ref.is_grad and id(x.ref.holder) not in self.grads_read}
        if not unread:
            return
        buffers = self.trace.buffers
        buffers[:] = [b for b in buffers if b.kind != "argument" or b.place not in unread]
        kept = sorted(b.place for b in buffers if b.kind == "argument" and b.place is not None and b.place >= 0)
        number = {old: new for new, old in enumerate(kept)}
        for b in buffers:
            b.place = number.get(b.place, b.place)  # type: ignore[arg-type]
        self.arguments = {number[old]: leaf for old, leaf in self.arguments.items()}
        self.arrays = [x._replace(number=number[x.number]) for x in self.arrays if x.number not in unread]

    def original(self, x: Any) -> Any:
        """The user's object that a tracer stands for, if it stands for one."""
        if type(x) is TracerArray and self.trace.known.get(id(x.mg_array)) is x:
            return x.mg_array
        if type(x) is TracerGenerator:
            return x.real
        return self.originals.get(id(x), x)

    def restore(self) -> None:
        """Put the user's objects back where tracers still stand."""
        for ref, value in self.replaced:
            now = ref.get()
            if ref.kind == "partial" or now is self.put[ref.identity]:
                ref.set(value)

    def settle(self, *roots: Any) -> list[Any]:
        """Real arrays in place of tracers in all that the step has made or changed. Returns the new roots."""
        self.restore()
        replacer = Settler(self)
        self._put_back_containers(replacer)
        for ref, _, now in self.changes_after:
            new = replacer.real(now)
            if new is not now:
                ref.set(new)
        for holder, _, _ in self.resized_after:
            replacer.inside(holder)
        for holder, before, _ in self.contents:
            if isinstance(holder, dict) and len(holder) > len(before):
                replacer.settle_keys(holder)
        for row in self.reach.rows:
            if row.kind == "objects":
                replacer.inside(row.holder)
        return [replacer.real(x) for x in roots]

    def look(self) -> None:
        """Remember what has changed, before tracers are taken away."""
        self.changes_after, self.resized_after = changed_places(self), resized(self)
        self.reordered_after, self.filled_after = reordered(self), self.changed_arguments()

    def forget(self) -> None:
        """Let go of all tracers."""
        self.put.clear()
        self.tuples.clear()
        self.originals.clear()
        self.rebuilt.clear()
        self.generators.clear()
        self.changes_after, self.resized_after, self.filled_after = [], [], []

    changes_after: list[tuple[StateRef, Any, Any]]
    resized_after: list[tuple[Any, list[Any], str]]
    reordered_after: list[tuple[Any, list[Any], str]]
    filled_after: list[tuple[Any, Any, Contents, Contents, int]]


def _copied(x: Any) -> Any:
    if isinstance(x, dict):
        return dict(zip(keys_of(x), values_of(x), strict=True))
    return set(elements(x)) if isinstance(x, set) else elements(x)
