"""The state that a step can read, with tracers instead of the real objects while a trace records."""

from __future__ import annotations

import builtins
from types import BuiltinFunctionType, MappingProxyType
from typing import Any

import numpy as np

from minigrad.compiler.capture.arguments import remade
from minigrad.compiler.capture.recording import ArrayInput, GradProbe, NumberInput
from minigrad.compiler.ir.program import Buffer
from minigrad.compiler.ir.view_memory import owner
from minigrad.compiler.trace.generators import TracerGenerator
from minigrad.compiler.trace.number_arithmetic import with_form
from minigrad.compiler.trace.trace import Trace
from minigrad.compiler.trace.traced_builtins import replacement
from minigrad.compiler.trace.traced_number import TracedNumber
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.engine.node import next_serial
from minigrad.reach import (
    MISSING,
    NUMERIC,
    Contents,
    Reach,
    StateRef,
    behind,
    elements,
    is_leaf,
    keys_of,
    own_attributes,
    same_objects,
    values_of,
)
from minigrad.tensor.tensor import Tensor


class StateCapture:
    """The state of a step: what it can read, what replaces that while a trace records, and what the step changed.

    Args:
        trace: the trace.
        reach: what the step can read.
        varying: identities of number inputs, which change from call to call.
        fetched: identities of places whose array or Tensor is another one from call to call.

    Attributes:
        installed: what was put into places, by their identity.
        replaced: these places, and the objects that were there.
        numbers, arrays: inputs that are read at each call.
        generators: tracers by the id of the real generator.
        arguments: leaves of the arguments by the number of an argument of the program.
        argument_generators: leaves by the id of a generator.
        grads_read: ids of Tensors whose gradient was read.
        scratch: whether nobody reads an array between two steps, by the id of its owner.
        owned: owners of the arrays of the state, by id.
        shared_grads: ids of gradients that another place holds as well.
        copies: containers among the arguments by the id of the copy that the step gets: the copy, the original, the
            contents of the copy before the step (None for a __dict__), and a number.
        tuples: replacements of tuples of the state, by id. `originals`: originals of what was put into places.
        classes: the user's classes with the names of their attributes. `contents`: containers and what they held.
        changes: places that the step has changed, with the objects before and now (changes.py).
        resized, reordered, filled: lists and sets, dictionaries, containers among the arguments that it has changed.
    """

    def __init__(self, trace: Trace, reach: Reach, varying: set[Any], fetched: set[Any]) -> None:
        self.trace, self.reach, self.varying, self.fetched = trace, reach, varying, fetched
        self.installed: dict[tuple[int, Any], Any] = {}
        self.replaced: list[tuple[StateRef, Any]] = []
        self.numbers: list[NumberInput] = []
        self.arrays: list[ArrayInput] = []
        self.generators: dict[int, TracerGenerator] = {}
        self.arguments: dict[int, int] = {}
        self.argument_generators: dict[int, int] = {}
        self.grads_read: set[int] = set()
        self.scratch: dict[int, bool] = {}
        self.owned: dict[int, Any] = {}
        self.shared_grads: set[int] = set()
        self.copies: dict[int, tuple[Any, Any, Contents | None, int]] = {}
        self.tuples: dict[int, Any] = {}
        self.originals: dict[int, Any] = {}
        self.classes = [(kind, vars(kind).keys() | set(), path) for path, kind in reach.classes]
        self.contents = [(x, _copied(x), path) for x, path in reach.containers]
        self.changes: list[tuple[StateRef, Any, Any]] = []
        self.resized: list[tuple[Any, list[Any], str]] = []
        self.reordered: list[tuple[Any, list[Any], str]] = []
        self.filled: list[tuple[Any, Any, Contents, Contents, int]] = []

    # Before the step

    def begin(self) -> None:
        """Put tracers into all places that the step can read."""
        self.serial = next_serial()  # nodes of the step have larger ones
        by_value: dict[int, StateRef] = {}
        for ref, value in self.reach.refs if self.fetched else ():
            if ref.identity in self.fetched:
                by_value.setdefault(id(value), ref)
        grads = [ref for ref, _ in self.reach.refs if ref.is_grad]
        self.shared_grads = _held_elsewhere(self.reach, grads)
        for ref in grads:
            self._begin_grad(ref)
        for ref, value in self.reach.refs:
            if ref.is_grad:
                continue
            if by_value and by_value.get(id(value)) is ref:
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
                self._install(ref, value, new)
        roots = [owner(m.array) for m in self.trace.memories.values() if m.buffer is None]
        self.owned = {id(root): root for root in roots}

    def _begin_grad(self, ref: StateRef, leaf: int | None = None) -> None:
        """Let a gradient be an input that is read from its place."""
        present = ref.holder.grad
        if type(present) is Tensor and type(present.data) is not TracerArray:
            if id(present) not in self.shared_grads:
                self._fetch(ref, present, leaf)
            data = StateRef(present, "data", "slot", ref.path)
            self._install(data, present.data, self._traced(present.data, data))
        self._install(ref, present, GradProbe(present, self.grads_read))

    def _fetch(self, ref: StateRef, value: Any, leaf: int | None = None, items: tuple[int, ...] = ()) -> None:
        """Let an array or a NumPy scalar be an input that is read from its place at each call."""
        array = value.data if type(value) is Tensor else value
        is_scalar = not items and isinstance(value, (np.floating, np.integer))
        is_loss = type(value) is Tensor and isinstance(array, np.generic)
        is_array = type(array) is np.ndarray and id(array) not in self.trace.known and self._is_alone(array)
        if not (is_scalar or is_loss or is_array):
            return
        number = len(self.arguments) + len(self.arrays)
        self.arrays.append(ArrayInput(ref, value, number, leaf, items))
        tracer = self.trace.argument(np.asarray(array), ref.path, number)
        tracer.mg_is_scalar = is_scalar or is_loss
        if is_scalar:
            self.trace.scalars[id(tracer.mg_memory)] = ref.identity
            self._install(ref, value, tracer)
        elif is_loss:
            self._install(StateRef(value, "data", "slot", ref.path), array, tracer)

    def _is_alone(self, array: Any) -> bool:
        """Whether no other array of the state shares its memory."""
        if array.base is None:
            return True
        others = (x for _, x in self.reach.refs if type(x) is np.ndarray and x is not array)
        return array.dtype.kind in NUMERIC and all(owner(x) is not owner(array) for x in others)

    def note_copies(self, pairs: list[tuple[Any, Any]], options: Any) -> None:
        """Note containers and records among the arguments, and their copies with tracers, which the step gets."""
        for k, (original, copy) in enumerate(pairs):
            if original is options:  # new in each call
                continue
            self.copies[id(copy)] = copy, original, Contents(copy), k
            if type(own := own_attributes(copy)) is dict:
                self.copies[id(own)] = own, own_attributes(original), None, k

    def argument_values(self, leaves: list[Any], names: list[str]) -> list[Any]:
        """The leaves of the arguments as the step gets them."""
        values = []
        for k, (leaf, name) in enumerate(zip(leaves, names, strict=True)):
            new = leaf
            if type(leaf) is Tensor:
                ref = StateRef(leaf, "data", "slot", name)
                if id(leaf) not in self.reach.seen and ref.identity not in self.installed:
                    self._install(ref, leaf.data, self._argument(leaf.data, name, k))
                    self._begin_grad(StateRef(leaf, "_grad", "slot", f"{name}.grad"), k)
            elif isinstance(leaf, np.floating) or (type(leaf) is np.ndarray and leaf.dtype.kind in NUMERIC):
                new = self._argument(leaf, name, k)
                new.mg_is_scalar |= isinstance(leaf, np.floating)
            elif isinstance(leaf, np.random.Generator):
                if id(leaf) not in self.generators:
                    self.argument_generators[id(leaf)] = k
                new = self._generator(leaf)
            elif isinstance(leaf, tuple) and not is_leaf(leaf):
                new = self._traced(leaf, StateRef((leaf,), 0, "index", name))
            elif type(leaf) in (int, float) and (None, (), k) in self.varying:
                new = self._number(leaf, None, (), k)
            values.append(new)
        return values

    def _argument(self, array: Any, name: str, k: int) -> Any:
        if type(array) is not np.ndarray:  # a NumPy scalar
            array = np.asarray(array)
        if id(array) in self.trace.known or id(owner(array)) in self.owned:
            return self.trace.state(array, name)
        number = len(self.arguments) + len(self.arrays)
        self.arguments[number] = k
        return self.trace.argument(array, name, number)

    def _install(self, ref: StateRef, value: Any, new: Any) -> None:
        self.installed[ref.identity] = new
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
            new = self._replaced_builtin(value)
            return value if new is MISSING else new
        if kind is MappingProxyType and type(behind(value)) is dict:
            inner = {k: self._traced(x, ref) for k, x in value.items()}
            if not same_objects(list(inner.values()), list(value.values())):
                return MappingProxyType(inner)
        return value

    def _traced_tuple(self, value: Any, ref: StateRef, items: tuple[int, ...]) -> Any:
        """A tuple with tracers: the same one in all places that hold the user's tuple."""
        if id(value) in self.tuples:
            return self.tuples[id(value)]
        parts = [self._traced(x, ref, (*items, k)) for k, x in enumerate(value)]
        if same_objects(parts, list(value)):
            return value
        new = remade(value, parts)
        if ref.identity not in self.fetched and not any(type(x) is TracedNumber for x in parts):
            self.tuples[id(value)] = new
            self.originals[id(new)] = value
        return new

    def _builtin(self, ref: StateRef) -> Any:
        """The replacement of a builtin, for a global that hides it (traced_builtins.py)."""
        is_global = ref.kind == "item" and "__builtins__" in ref.holder
        return self._replaced_builtin(getattr(builtins, str(ref.key), None)) if is_global else MISSING

    def _replaced_builtin(self, builtin: Any) -> Any:
        new = replacement(self.trace, builtin)
        if new is not MISSING:
            self.originals[id(new)] = builtin
        return new

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

        expression = with_form(lambda inputs: inputs[k], ("input", self.numbers[k].identity))
        return TracedNumber(trace, value, expression, make, k)

    # After the step

    def drop_unread_gradients(self) -> None:
        """Remove gradients that were not read from the inputs."""
        unread = {x.number for x in self.arrays if x.ref.is_grad and id(x.ref.holder) not in self.grads_read}
        if not unread:
            return
        buffers = self.trace.buffers
        buffers[:] = [b for b in buffers if b.kind != "argument" or b.place not in unread]
        remaining = sorted(b.place for b in buffers if b.kind == "argument" and b.place is not None and b.place >= 0)
        number = {old: new for new, old in enumerate(remaining)}
        for b in buffers:
            b.place = None if b.place is None else number.get(b.place, b.place)
        self.arguments = {number[old]: leaf for old, leaf in self.arguments.items()}
        self.arrays = [x._replace(number=number[x.number]) for x in self.arrays if x.number not in unread]

    def original(self, x: Any) -> Any:
        """The user's object that x replaces, else x itself."""
        if type(x) is TracerArray and self.trace.known.get(id(x.mg_array)) is x:
            return x.mg_array
        if type(x) is TracerGenerator:
            return x.mg_real
        return self.originals.get(id(x), x)

    def restore(self) -> None:
        """Put the user's objects back where tracers still are."""
        for ref, value in self.replaced:
            now = ref.get()
            if ref.kind == "partial" or now is self.installed[ref.identity]:
                ref.set(value)

    def forget(self) -> None:
        """Release all tracers."""
        self.installed.clear()
        self.tuples.clear()
        self.originals.clear()
        self.copies.clear()
        self.generators.clear()
        self.changes, self.resized, self.filled = [], [], []


def _copied(x: Any) -> Any:
    if isinstance(x, dict):
        return dict(zip(keys_of(x), values_of(x), strict=True))
    return set(elements(x)) if isinstance(x, set) else elements(x)


def _held_elsewhere(reach: Reach, grads: list[StateRef]) -> set[int]:
    """The ids of gradients that another place holds as well, as a Tensor or an array."""
    held: dict[int, int] = {}
    todo = [x for _, x in reach.refs]
    while todo:
        x = todo.pop()
        if type(x) in (Tensor, np.ndarray):
            held[id(x)] = held.get(id(x), 0) + 1
        elif isinstance(x, (tuple, frozenset)) and not is_leaf(x):
            todo += x
    present = [ref.holder.grad for ref in grads]
    return {id(x) for x in present if type(x) is Tensor and (held.get(id(x), 0) > 1 or id(x.data) in held)}
