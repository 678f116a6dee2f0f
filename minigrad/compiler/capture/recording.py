"""Recordings: all that is known from one recorded call of a step, and the inputs that later calls read from places.

`Tensor.grad` calls `read(tensor)` of any object there that is not a Tensor, which puts a Tensor there instead.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad.compiler.capture.recipes import Recipe
from minigrad.compiler.ir.program import Buffer, Program
from minigrad.compiler.refusal import CompileError
from minigrad.engine.specialize import attach
from minigrad.reach import Row, StateRef
from minigrad.reach.guards import Predicate
from minigrad.tensor.tensor import Tensor


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
