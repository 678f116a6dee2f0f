"""Recordings: what one call of a step showed."""

from __future__ import annotations

from typing import Any

from minigrad.compiler.capture.effects import Recipe
from minigrad.compiler.capture.inputs import ArrayInput, NumberInput
from minigrad.compiler.ir.program import Buffer, Program
from minigrad.compiler.refusal import CompileError
from minigrad.reach import Row, StateRef
from minigrad.reach.guards import Predicate
from minigrad.tensor.tensor import Tensor


class Recording:
    """What one call of a step showed.

    Attributes:
        result: what the call returned, on real arrays.
        refusal: why there is no program, None if there is one.
        again, once: whether a later recording may succeed where this one did not, and whether the next must.
        is_state: whether nothing was called, as the step can tell containers among the arguments from equal ones:
            `state_arguments`, or all objects that are no plain containers.
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
    is_written = False  # whether the step may write numbers as JSON
    again = False
    once = False
    is_state = False

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.exempt: frozenset[tuple[int, Any]] = frozenset()
        self.grown: frozenset[int] = frozenset()
        self.replaced: set[Any] = set()  # places in which each call puts a new container, and that nobody reads
        self.growing: dict[int, Any] = {}  # lists to which the step appends, by id
        self.state_arguments: list[Any] = []
        self.numbers: list[NumberInput] = []
        self.arrays: list[ArrayInput] = []
        self.used_arrays: set[int] = set()
        self.sharing: tuple[int, ...] = ()  # which of the fetched arrays and arguments are in one memory
        self.tied: list[tuple[int, StateRef]] = []  # places with arrays in the memory of a fetched one
        self.predicates: list[Predicate] = []
        self.pinned: set[Any] = set()
        self.read: set[Any] = set()  # places of NumPy scalars whose value the step asks for
        self.arguments: dict[int, int] = {}
        self.number_arguments: list[int] = []
        self.expressions: list[Any] = []
        self.objects: dict[int, Any] = {}  # of the state: an argument may be one of them
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
