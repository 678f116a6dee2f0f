"""Recordings: all that is known from one recorded call of a step, inputs of later calls, and how two recordings differ.

`Tensor.grad` calls `read(tensor)` of any object there that is not a Tensor, which puts a Tensor there instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minigrad.compiler.capture.recipes import Recipe
from minigrad.compiler.ir.program import ArgSlot, Buffer, Program, Value
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.trace.recorded_program import COMPUTED
from minigrad.engine.specialize import attach
from minigrad.reach import Row, StateRef, bits, is_leaf
from minigrad.reach.guards import Predicate
from minigrad.tensor.tensor import Tensor
from minigrad.util.text import short


class NumberInput(NamedTuple):
    """A Python number that is read at each call: from a place (or from a tuple there), or an argument."""

    ref: StateRef | None
    items: tuple[int, ...]
    leaf: int | None
    kind: type

    @property
    def identity(self) -> Any:
        """Identifies the input."""
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
    """An array that is read from a place at each call: of a Tensor its data, of a gradient's place the gradient's."""

    ref: StateRef
    value: Any  # the object there when the step was recorded
    number: int  # of the argument of the program
    leaf: int | None = None  # the argument whose gradient it is
    items: tuple[int, ...] = ()  # the item of a tuple there

    def fetch(self, leaves: Any) -> Any:
        """The object there now."""
        if self.leaf is not None:
            return leaves[self.leaf].grad
        if self.items:
            return self.ref.get()[self.items[0]]
        return self.ref.holder.grad if self.ref.is_grad else self.ref.get()


class GradProbe:
    """Tells, while a step is recorded, whether `.grad` was read before it was set. If not, its value does not matter.

    Args:
        before: the gradient before the step, None if there was none.
        seen: the ids of Tensors whose gradient was read, to which `read(tensor)` adds.
    """

    __slots__ = ("before", "seen")

    def __init__(self, before: Tensor | None, seen: set[int]) -> None:
        self.before, self.seen = before, seen

    def read(self, tensor: Tensor) -> Tensor | None:
        """The gradient before the step."""
        self.seen.add(id(tensor))
        tensor._grad = self.before
        return self.before


class DeferredGrad:
    """A gradient in the memory of a program, which is copied when it is read.

    Eager gradients are new arrays in each call. Most are only read by the optimizer, which is part of the same program,
    so nothing is allocated for them. Each call of the program puts this object back before the memory can be seen
    again, so a gradient that was read does not change.
    """

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data

    def read(self, tensor: Tensor) -> Tensor:
        """A Tensor with the gradient, which belongs to the tensor from here on."""
        grad: Tensor = attach(np.copy(self.data), None)
        tensor._grad = grad
        return grad


class Recording:
    """All that is known from one call of a step.

    Attributes:
        result: what the call returned, with real arrays.
        refusal: why there is no program, None if there is one.
        again, once: whether a later recording may succeed where this one failed, and whether the next one must.
        read: places that must not be inputs in later recordings.
        is_state: whether the step was not called, as it can tell containers among the arguments from equal ones:
            `state_arguments`, or all objects that are not plain containers.
        program, recipe: what later calls execute.
        rows: what guards compare, except places in `exempt` and the lengths of containers in `grown`.
        growing: lists to which the step appends, by id; `replaced`: places where it puts new containers, never read.
        numbers, arrays: inputs that are read at each call. `predicates`: decisions on the numbers.
        used_arrays: arrays whose layout counts; `tied`: places whose arrays share memory with one of them.
        sharing: which of the arrays and arguments share memory.
        arguments: leaves by the number of an argument of the program. `number_arguments`: numbers that follow them,
            those from COMPUTED on in `expressions`.
        changing_numbers, changing_arrays: identities of places that the step itself changes in each call.
        pinned: identities of numbers that cannot be inputs.
        owned, objects: arrays and objects of the state, by id: an argument may be one of them.
        grads_read: Tensors whose gradient was read, the leaf if it is an argument, and whether it was None.
        generator_leaves: numbers of generators of the program, and the leaves that they are.
        parameters: arrays of Tensors that the program writes. `scratch`: ids of arrays that nobody reads between steps.
        origins: buffers of constants, and the arrays that had their content.
        keep: keeps objects alive whose ids are in use.
        is_written: whether the step may write numbers as JSON.
    """

    result: Any
    program: Program
    recipe: Recipe
    refusal: CompileError | None = None
    is_written = again = once = is_state = False
    sharing: tuple[int, ...] = ()
    keep: Any = None

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.exempt: frozenset[tuple[int, Any]] = frozenset()
        self.grown: frozenset[int] = frozenset()
        self.replaced: set[Any] = set()
        self.growing: dict[int, Any] = {}
        self.state_arguments: list[Any] = []
        self.numbers: list[NumberInput] = []
        self.arrays: list[ArrayInput] = []
        self.used_arrays: set[int] = set()
        self.tied: list[tuple[int, StateRef]] = []
        self.predicates: list[Predicate] = []
        self.pinned: set[Any] = set()
        self.read: set[Any] = set()
        self.arguments: dict[int, int] = {}
        self.number_arguments: list[int] = []
        self.expressions: list[Any] = []
        self.objects: dict[int, Any] = {}
        self.owned: dict[int, Any] = {}
        self.grads_read: list[tuple[Tensor, int | None, bool]] = []
        self.changing_numbers: set[Any] = set()
        self.changing_arrays: set[Any] = set()
        self.generator_leaves: list[tuple[int, int]] = []
        self.parameters: list[Any] = []
        self.scratch: set[int] = set()
        self.origins: list[tuple[Buffer, Any]] = []

    def keep_alive(self, other: Recording) -> None:
        """Let programs read constants that are the same living array in both recordings: its content may change.

        Such an array is held by something that the walk cannot find, such as a functools.cache.
        """
        for (buffer, mine), (_, theirs) in zip(self.origins, other.origins, strict=False):
            array = mine()
            if array is not None and array is theirs() and array.flags.c_contiguous:
                buffer.array, buffer.is_constant = array, False


# Comparison of two recordings: what differs between them would be frozen in a program


def _canonical_recipe(recipe: Recipe, number: Callable[[Value], Any]) -> Iterator[tuple[str, Any]]:
    """The entries and writes of a recipe, without identities that differ between recordings."""
    for entry in recipe.entries:
        how, *rest = entry
        if how == "object":
            yield how, bits(rest[0]) if is_leaf(rest[0]) else id(rest[0])
        elif how == "output":
            yield how, (number(recipe.outputs[rest[0]]), rest[1])
        elif how == "array":
            yield how, (rest[0].shape, rest[0].dtype.str, rest[0].tobytes(), rest[1])
        elif how in ("items", "dict"):
            yield how, (rest[0], repr(rest[1:]))
        elif how == "number":
            yield how, (rest[1], rest[0].form)
        elif how in ("instance", "method"):
            yield how, (rest[0], repr(rest[1]))
        else:
            yield how, repr(rest)
    for how, at, *rest in recipe.writes:
        if how == "gradient":
            yield how, (at.path, number(recipe.kept[next(b for b in recipe.kept if b.holder is rest[0])]))
        elif how == "set":
            yield how, (at.path, at.identity, repr(rest))
        else:
            kept = [sorted(map(repr, x)) if isinstance(x, frozenset) else x for x in rest if type(x) is not str]
            yield how, (at if type(at) is int else id(at), repr(kept))


class _Canonical:
    """A recording without names, and without identities that differ between recordings."""

    def __init__(self, recording: Recording) -> None:
        self.recording, self.program = recording, recording.program
        self.places: dict[int, Any] = {
            x.number: x.ref.identity if x.leaf is None else ("gradient of", x.leaf) for x in recording.arrays
        } | recording.arguments
        first = len(self.places)
        self.places |= {
            first + k: recording.numbers[n].identity if n < COMPUTED else recording.expressions[n - COMPUTED].form
            for k, n in enumerate(recording.number_arguments)
        }
        self.numbers: dict[Value, Any] = {}

    def buffer(self, b: Buffer) -> Any:
        """A key for a buffer, by where it comes from."""
        if b.kind == "argument":
            assert b.place is not None
            return "argument", self.places[b.place], b.shape, b.dtype.str
        if b.is_constant:
            assert b.array is not None
            return "constant", b.shape, b.dtype.str, b.array.tobytes()
        return "memory", id(b.array)

    def ops(self) -> Iterator[tuple[str, Any, str]]:
        """The items to compare: a kind, a key, and a note for the message."""
        count = 0  # of values
        for op in self.program.ops:
            if op.name == "input":
                self.numbers[op.out] = self.buffer(op.params["buffer"])
                continue
            ins = tuple([self.numbers[x] if type(x) is Value else bits(x) for x in op.ins])
            if "decides" in op.params:
                yield "decision", (ins, op.params["low"]), op.note
                continue
            params = tuple([(k, self._param(op.name, k, v)) for k, v in op.params.items()]) if op.params else ()
            outs = tuple([(v.shape, v.dtype) for v in op.outs])
            for v in op.outs:
                self.numbers[v] = count = count + 1
            yield op.name, (ins, params, outs), op.note
        stores = {self.buffer(b): self.numbers[v] for b, v in self.program.stores.items() if b.kind != "kept"}
        for key in sorted(stores, key=repr):
            yield "store", (key, stores[key]), ""
        for how, key in _canonical_recipe(self.recording.recipe, self.numbers.__getitem__):
            yield how, key, ""
        yield "decisions", tuple(repr(p.outcome) for p in self.recording.predicates), ""

    def _param(self, kind: str, name: str, x: Any) -> Any:
        if isinstance(x, Buffer):
            return self.buffer(x)
        if kind == "random" and name == "generator":
            leaves = dict(self.recording.generator_leaves)
            return ("leaf", leaves[x]) if x in leaves else id(self.program.generators[x])
        return _key(x)


def _key(x: Any) -> Any:
    """A key for a parameter of an op, by its parts."""
    if isinstance(x, ArgSlot) or is_leaf(x):
        return x if isinstance(x, ArgSlot) else bits(x)
    if isinstance(x, (tuple, list)):
        return type(x), tuple(map(_key, x))
    if isinstance(x, dict):
        return tuple((k, _key(v)) for k, v in x.items())
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype.str, x.tobytes()
    if hasattr(x, "__code__"):
        return x.__code__, tuple(_key(c.cell_contents) for c in x.__closure__ or ()), _key(x.__defaults__)
    owner = getattr(x, "__self__", None)
    return (id(owner), x.__name__) if owner is not None and hasattr(x, "__name__") else id(x)


class Difference(NamedTuple):
    """The first difference between two recordings, and whether it is the decision of a branch."""

    text: str
    is_decision: bool = False


def difference(first: Recording, second: Recording) -> Difference | None:
    """The first difference between two recordings of one step, None if they are equal."""
    a, b = list(_Canonical(first).ops()), list(_Canonical(second).ops())
    for x, y in zip(a, b, strict=False):
        if x[:2] != y[:2]:
            is_decision = x[0] == y[0] == "decision" and x[1][0] == y[1][0]
            return Difference(_described(x, y), is_decision)
    if len(a) != len(b):
        longer = max((a, b), key=len)
        extra = longer[min(len(a), len(b))]
        return Difference(
            f"one call did {len(a)} things, the next {len(b)}; the first that only one did is {extra[0]} ({extra[2]})"
        )
    return None


def _described(x: tuple[str, Any, str], y: tuple[str, Any, str]) -> str:
    note = x[2] or y[2]
    where = f" in `{note}`" if note else ""
    if x[0] != y[0]:
        return f"{x[0]}{where} in one call, {y[0]} in the next"
    was, now = _first_difference(x[1], y[1])
    return f"{x[0]}{where}: {_short(was)} in one call, {_short(now)} in the next"


def _first_difference(x: Any, y: Any) -> tuple[Any, Any]:
    if isinstance(x, tuple) and isinstance(y, tuple) and len(x) == len(y):
        for a, b in zip(x, y, strict=True):
            if a != b:
                return _first_difference(a, b)
    return x, y


def _short(x: Any) -> str:
    if isinstance(x, bytes) and len(x) == np.dtype(float).itemsize:
        return f"{np.frombuffer(x)[0]:.6g}"
    return short(x, 60)
