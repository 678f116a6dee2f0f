"""Capture: the state that a step can read, with tracer arrays put in its places, and the real things put back."""

from __future__ import annotations

import functools
from collections import deque
from types import FunctionType, MappingProxyType, MethodType
from typing import Any, NamedTuple

import numpy as np

from minigrad.compiler.generator import TracerGenerator
from minigrad.compiler.gradients import GradProbe
from minigrad.compiler.listening import Listening
from minigrad.compiler.memory import owner
from minigrad.compiler.numbers import TracedNumber
from minigrad.compiler.program import Buffer
from minigrad.compiler.refusal import CompileError, place
from minigrad.compiler.trace import Trace
from minigrad.node import Node
from minigrad.reach import MISSING, Reach, Row, StateRef, is_leaf
from minigrad.tape import ancestors
from minigrad.tensor import Tensor

NUMERIC = "biufc"


class NumberInput(NamedTuple):
    """A Python number that is fetched at each call: from a place (and an item of a tuple there), or an argument."""

    ref: StateRef | None
    items: tuple[int, ...]
    leaf: int | None
    kind: type

    @property
    def identity(self) -> Any:
        """What tells it from other inputs."""
        return (self.ref.identity if self.ref is not None else None, self.items, self.leaf)

    def fetch(self, leaves: Any) -> Any:
        """The number now."""
        if self.ref is None:
            return leaves[self.leaf]
        x = self.ref.get()
        for k in self.items:
            x = x[k]
        return x


class ArrayInput(NamedTuple):
    """An array that is fetched from a place at each call; of a Tensor there, its data, of a gradient place that too."""

    ref: StateRef
    value: Any  # what stood there when the step was recorded
    number: int  # of the argument of the program
    leaf: int | None = None  # the argument whose gradient it is
    items: tuple[int, ...] = ()  # which item of a tuple there

    def fetch(self, leaves: Any) -> Any:
        """What stands there now."""
        if self.leaf is not None:
            return leaves[self.leaf].grad
        if self.items:
            return self.ref.get()[self.items[0]]
        return self.ref.holder.grad if self.ref.is_grad else self.ref.get()


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
        self.rebuilt: dict[int, tuple[Any, Any, Any]] = {}  # containers among the arguments, by the id of their copies
        self.contents = [(x, _copied(x), path) for x, path in reach.containers]

    # Before the step

    def begin(self) -> None:
        """Put tracers into all places."""
        by_value: dict[int, StateRef] = {}
        for ref, value in self.reach.refs:
            if ref.identity in self.fetched:
                by_value.setdefault(id(value), ref)
        for ref, _ in self.reach.refs:
            if ref.is_grad:
                self._begin_grad(ref)
        for ref, value in self.reach.refs:
            if ref.is_grad:
                continue
            if id(value) in by_value and by_value[id(value)] is ref:
                if isinstance(value, (np.floating, np.integer)):
                    self._put(ref, value, self._scalar(ref, value))
                    continue
                for k, part in enumerate(value if isinstance(value, tuple) else (value,)):
                    self._fetch(ref, part, items=(k,) if isinstance(value, tuple) else ())
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
        if type(present) is Tensor and type(present.data) is not Listening:
            self._fetch(ref, present, leaf)
            data = StateRef(present, "data", "slot", ref.path)
            self._put(data, present.data, self._traced(present.data, data))
        self._put(ref, present, GradProbe(present, self.grads_read))

    def _scalar(self, ref: StateRef, value: Any) -> Any:
        """A NumPy scalar that is fetched at each call."""
        number = len(self.arguments) + len(self.arrays)
        self.arrays.append(ArrayInput(ref, value, number))
        made = self.trace.argument(np.asarray(value), ref.path, number)
        made.is_scalar = True
        self.trace.scalars[id(made.memory)] = ref.identity
        return made

    def _fetch(self, ref: StateRef, value: Any, leaf: int | None = None, items: tuple[int, ...] = ()) -> None:
        """Let the array at a place be an input that is fetched at each call."""
        array = value.data if type(value) is Tensor else value
        if type(value) is Tensor and isinstance(array, np.generic):  # as of a loss
            number = len(self.arguments) + len(self.arrays)
            self.arrays.append(ArrayInput(ref, value, number, leaf, items))
            made = self.trace.argument(np.asarray(array), ref.path, number)
            made.is_scalar = True
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

    def watch_containers(self, pairs: list[tuple[Any, Any]]) -> None:
        """Dictionaries and lists among the arguments, and copies of them with tracers, which the step gets."""
        self.rebuilt = {id(made): (made, given, _copied(made)) for given, made in pairs}

    def _put_back_containers(self, replacer: _Settler) -> None:
        """What the step has changed in its copies is changed in the user's containers."""
        for made, given, before in self.rebuilt.values():
            now = _copied(made)
            is_same = list(now) == list(before) if isinstance(now, dict) else len(now) == len(before)
            pairs = zip(now.values(), before.values(), strict=False) if isinstance(now, dict) else zip(now, before)
            if is_same and all(a is b for a, b in pairs):
                continue
            self.trace.stop(
                CompileError(
                    f"mg.compile: the step changes a {type(given).__name__} among its arguments.\nHint: return what is "
                    "new, and put it there outside of the step."
                )
            )
            replacer.inside(made)
            given.clear()
            given.update(made) if isinstance(made, dict) else given.extend(made)

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
                new.is_scalar = True
            elif isinstance(leaf, np.random.Generator) and id(leaf) not in self.generators:
                new = self._generator(leaf)
                self.argument_generators[id(leaf)] = k
            elif isinstance(leaf, np.random.Generator):
                new = self.generators[id(leaf)]
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
        if isinstance(value, np.random.Generator) and not hasattr(kind, "minigrad_tracer"):
            return self._generator(value)
        if kind in (int, float) and (ref.identity, items, None) in self.varying:
            return self._number(value, ref, items, None)
        if isinstance(value, tuple):
            parts = [self._traced(x, ref, (*items, k)) for k, x in enumerate(value)]
            if any(a is not b for a, b in zip(parts, value, strict=True)):
                return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
        elif kind is MappingProxyType:
            inner = {k: self._traced(x, ref) for k, x in value.items()}
            if any(a is not b for a, b in zip(inner.values(), value.values(), strict=True)):
                return MappingProxyType(inner)
        return value

    def _builtin(self, ref: StateRef) -> Any:
        """What a global name hides while a step is recorded: `type` sees through tracers, `print` cannot be recorded."""
        if ref.kind != "item" or "__builtins__" not in ref.holder:
            return MISSING
        return _type if ref.key == "type" else functools.partial(_print, self.trace) if ref.key == "print" else MISSING

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

        return TracedNumber(trace, value, lambda inputs: inputs[k], make, k)

    # After the step

    def layouts(self) -> list[Row]:
        """Shapes and dtypes of the user's arrays, which can be assigned; nobody assigns those of Tensors."""
        found = {}
        for ref, value in self.reach.refs:
            owner_of_place = type(ref.owner).__module__.partition(".")[0]
            if type(value) is np.ndarray and type(ref.holder) is not Tensor and owner_of_place != "minigrad":
                if ".flats." not in ref.path and value.dtype.kind in NUMERIC and ref.identity not in self.fetched:
                    held = value.shape, value.dtype, value.flags.writeable
                    found[id(value)] = Row("layout", value, held, ref.path)
        return list(found.values())

    def drop_unread_gradients(self) -> None:
        """Gradients that nobody has read are no inputs."""
        unread = {x.number for x in self.arrays if x.ref.is_grad and id(x.ref.holder) not in self.grads_read}
        if not unread:
            return
        buffers = self.trace.buffers
        buffers[:] = [b for b in buffers if b.kind != "argument" or b.place not in unread]
        kept = sorted(b.place for b in buffers if b.kind == "argument" and b.place >= 0)  # type: ignore
        number = {old: new for new, old in enumerate(kept)}
        for b in buffers:
            b.place = number.get(b.place, b.place)  # type: ignore[arg-type]
        self.arguments = {number[old]: leaf for old, leaf in self.arguments.items()}
        self.arrays = [x._replace(number=number[x.number]) for x in self.arrays if x.number not in unread]

    def changes(self) -> list[tuple[StateRef, Any, Any]]:
        """Places that hold something else than what was put there: the place, what stood there, what does now."""
        found, known = [], set()
        for ref, before in self.reach.refs:
            known.add(ref.identity)
            now = ref.get()
            if ref.is_node:
                if now is not before:
                    found.append((ref, before, now))
                continue
            if now is not self.put.get(ref.identity, before) and not (ref.is_grad and _is_untouched(self, ref)):
                if ref.kind == "partial" and len(now) == 3 and all(a is b for a, b in zip(now, before, strict=True)):
                    continue
                found.append((ref, before, now))
        for ref, before in self.replaced:
            if ref.identity not in known and ref.is_grad and not _is_untouched(self, ref):
                now = ref.get()  # of an argument
                if now is not self.put[ref.identity]:
                    found.append((ref, before, now))
        for holder, before, path in self.contents:
            if isinstance(holder, dict):
                for key in [key for key in holder if key not in before and (id(holder), key) not in known]:
                    inner = f"{path}.{key}" if path else str(key)
                    found.append((StateRef(holder, key, "item", inner), MISSING, holder[key]))
        return found

    def resized(self) -> list[tuple[Any, list[Any], str]]:
        """Lists and deques with another length or order than before, with what they held, and sets that changed."""
        found = []
        for holder, before, path in self.contents:
            if isinstance(holder, (list, deque)):
                now = [self.original(x) for x in holder]
                if len(now) != len(before) or (isinstance(holder, deque) and not _are_same(now, before)):
                    found.append((holder, before, path))
            elif isinstance(holder, set) and holder != before:
                found.append((holder, list(before), path))
        return found

    def original(self, x: Any) -> Any:
        """The user's object that a tracer stands for, if it stands for one."""
        if type(x) is Listening and self.trace.known.get(id(x.array)) is x:
            return x.array
        if type(x) is TracerGenerator:
            return x.real
        return x

    def restore(self) -> None:
        """Put the user's objects back where tracers still stand."""
        for ref, value in self.replaced:
            now = ref.get()
            if ref.kind == "partial" or now is self.put[ref.identity]:
                ref.set(value)

    def settle(self, *roots: Any) -> list[Any]:
        """Real arrays in the place of tracers in all that the step has made or changed. Returns the roots so changed."""
        self.restore()
        replacer = _Settler(self)
        self._put_back_containers(replacer)
        for ref, _, now in self.changes_after:
            new = replacer.real(now)
            if new is not now:
                ref.set(new)
        for holder, _, _ in self.resized_after:
            replacer.inside(holder)
        return [replacer.real(x) for x in roots]

    def look(self) -> None:
        """Remember what has changed, before tracers are taken away."""
        self.changes_after, self.resized_after = self.changes(), self.resized()

    def forget(self) -> None:
        """Let go of all tracers."""
        self.put.clear()
        self.rebuilt.clear()
        self.generators.clear()
        del self.changes_after, self.resized_after

    changes_after: list[tuple[StateRef, Any, Any]]
    resized_after: list[tuple[Any, list[Any], str]]


def _is_untouched(capture: StateCapture, ref: StateRef) -> bool:
    """Whether a gradient is what it was: its probe was read, and put the gradient back."""
    probe = capture.put.get(ref.identity)
    return isinstance(probe, GradProbe) and ref.get() is probe.before


def _are_same(x: list[Any], y: list[Any]) -> bool:
    return len(x) == len(y) and all(a is b for a, b in zip(x, y, strict=True))


def _copied(x: Any) -> Any:
    return dict(x) if isinstance(x, dict) else set(x) if isinstance(x, set) else list(x)


class _TypeOfType(type):
    """Makes a class that answers as `type` does, but for tracers with the class that they stand for."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if len(args) == 1 and not options:
            return args[0].__class__ if hasattr(type(args[0]), "minigrad_tracer") else type(args[0])
        return type(*args, **options)

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, type)

    def __subclasscheck__(cls, x: Any) -> bool:
        return issubclass(x, type)

    def __eq__(cls, other: object) -> bool:
        return other is type or other is cls

    def __hash__(cls) -> int:
        return hash(type)


_type = _TypeOfType("type", (), {})


def _print(trace: Trace, *values: Any, **options: Any) -> None:
    if trace.open:
        trace.stop(
            CompileError(
                f"mg.compile: the step prints, and a program would not, at {place()}\nHint: return what is to be "
                "printed, and print it outside."
            )
        )
    print(*values, **options)


class _Settler:
    """Puts real arrays into the place of tracers, inside of everything that is reached."""

    def __init__(self, capture: StateCapture) -> None:
        self.capture = capture
        self.before = capture.reach.seen
        self.seen: dict[int, Any] = {}
        self.done: dict[int, tuple[Any, Any]] = {}

    def real(self, x: Any) -> Any:
        """x itself, or what stands in its place."""
        kind = type(x)
        if kind is Listening:
            return x.real_array
        if kind is TracedNumber:
            return x.real
        if kind is TracerGenerator:
            return x.real
        if kind is GradProbe:
            return x.before
        if id(x) in self.capture.rebuilt:
            return self.capture.rebuilt[id(x)][1]
        if is_leaf(x) or isinstance(x, (type, np.ndarray)):
            return x
        if isinstance(x, (tuple, frozenset)):
            parts = [self.real(part) for part in x]
            if _are_same(parts, list(x)):
                return x
            return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
        self.inside(x)
        return x

    def inside(self, x: Any) -> None:
        """Go through an object and all that it holds, without recursion between objects."""
        todo = [x]
        while todo:
            x = todo.pop()
            if id(x) in self.seen or (id(x) in self.before and x is not None and not isinstance(x, (list, deque, set))):
                continue
            self.seen[id(x)] = x
            for get, set_ in _parts(x):
                now = get
                new = self._shallow(now, todo)
                if new is not now:
                    set_(new)

    def _shallow(self, x: Any, todo: list[Any]) -> Any:
        kind = type(x)
        if kind in (Listening, TracedNumber, TracerGenerator, GradProbe) or id(x) in self.capture.rebuilt:
            return self.real(x)
        if isinstance(x, (tuple, frozenset)) and not is_leaf(x):
            parts = [self._shallow(part, todo) for part in x]
            if _are_same(parts, list(x)):
                return x
            return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
        if not is_leaf(x) and not isinstance(x, (type, np.ndarray)):
            todo.append(x)
        return x


def _parts(x: Any) -> Any:
    """What an object holds, each with a function that puts something else there."""
    if type(x) is Tensor:
        for key in ("data", "_grad"):
            ref = StateRef(x, key, "slot", "")
            if ref.get() is not MISSING:
                yield ref.get(), ref.set
        if x.node is not None:
            yield x.node, lambda _: None
        return
    if type(x) is Node:
        for node in ancestors([x])[0]:
            for key in ("saved", "params"):
                value = getattr(node, key, None)
                if value:
                    yield value, functools.partial(setattr, node, key)
            if node.primitive is not None and hasattr(node.primitive, "leaves"):
                yield node.primitive, lambda _: None
        return
    if isinstance(x, MethodType):
        yield x.__self__, lambda _: None
        yield x.__func__, lambda _: None
        return
    if isinstance(x, FunctionType):
        for cell in x.__closure__ or ():
            ref = StateRef(cell, "", "cell", "")
            if ref.get() is not MISSING:
                yield ref.get(), ref.set
        yield x.__defaults__, functools.partial(setattr, x, "__defaults__")
        return
    if isinstance(x, functools.partial):
        ref = StateRef(x, "", "partial", "")
        yield ref.get(), ref.set
        return
    if isinstance(x, dict):
        for key, value in list(x.items()):
            yield value, functools.partial(dict.__setitem__, x, key)
    elif isinstance(x, (list, deque)):
        for k, value in enumerate(list(x)):
            yield value, functools.partial(StateRef(x, k, "index", "").set)
    elif isinstance(x, set):
        for value in list(x):
            yield value, functools.partial(_swap, x, value)
    own = getattr(x, "__dict__", None)
    if type(own) is dict:
        yield own, lambda _: None
    for kind in type(x).__mro__:
        for name in kind.__dict__.get("__slots__", ()) if kind.__module__ != "builtins" else ():
            ref = StateRef(x, name, "slot", "")
            if isinstance(name, str) and ref.get() is not MISSING:
                yield ref.get(), ref.set


def _swap(holder: set[Any], old: Any, new: Any) -> None:
    holder.discard(old)
    holder.add(new)
