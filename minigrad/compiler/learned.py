"""What a compiled function has learned from its calls: what changes from call to call becomes an input, if it can."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad.compiler.capture.arguments import Rebuild, flat, flatten, is_plain
from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.signature import Signature, shown, signature
from minigrad.compiler.specialization import Specialization
from minigrad.reach import Difference, StateRef, is_leaf
from minigrad.reach.guards import is_number
from minigrad.tensor.tensor import Tensor

DISTINCT = 3  # objects of a class, after which they are identified by their contents
IN_A_ROW = 8  # specializations because of one place, after which the step runs eagerly
FLAT = frozenset({np.ndarray, Tensor, bool, int, float, str})  # arguments without a structure


class Call(NamedTuple):
    """The arguments of one call: as the user passed them, their leaves and structure, and what rebuilds them."""

    args: tuple[Any, ...]
    options: dict[str, Any]
    leaves: list[Any]
    rebuild: Rebuild
    form: Any


class Learned:
    """What recordings have shown about arguments and state.

    Attributes:
        owned: arrays and objects of the state, by id: as arguments they are identified by id.
        varying, fetched: identities of numbers that are inputs of programs, and of places whose arrays are.
        pinned: identities of numbers that cannot be inputs.
        growing: lists to which the step appends, by id.
        replaced: identities of places in which the step puts new containers, and that it never reads.
        is_written: whether the step may pass numbers to json, which calls a hook of the user's for other objects: then
            numbers are not inputs.
        leaf_classes, records: classes of arguments that are identified by id, and by their contents.
        streak: the place that caused the latest specializations, how many in a row, and the number of calls by then.
        reason: how that place changed last.
    """

    def __init__(self) -> None:
        self.owned: dict[int, Any] = {}
        self.varying: set[Any] = set()
        self.fetched: set[Any] = set()
        self.pinned: set[Any] = set()
        self.growing: dict[int, Any] = {}
        self.replaced: set[Any] = set()
        self.is_written = False
        self.leaf_classes: set[type] = set()
        self.records: set[type] = set()
        self.streak: tuple[str, int, int] = ("", 0, 0)
        self.reason: Difference = ("", None, None, None)
        self._met: dict[type, dict[int, Any]] = {}  # objects of classes that may become records
        self._passed: dict[int, tuple[Any, int]] = {}  # containers that were arguments, and lengths of lists
        self._held: list[Any] = []  # keeps objects alive whose ids are in `varying` and `fetched`

    @property
    def inputs(self) -> tuple[frozenset[Any], frozenset[Any]]:
        """The numbers and places that are inputs now."""
        return frozenset(self.varying), frozenset(self.fetched)

    # Arguments

    def call(self, args: tuple[Any, ...], options: dict[str, Any]) -> Call:
        """The leaves and the structure of the arguments of a call."""
        if not options and FLAT.issuperset(map(type, args)):
            return Call(args, options, list(args), flat(len(args)), len(args))
        return Call(args, options, *flatten(args, options, self.owned, self.leaf_classes, self.records))

    def signature(self, call: Call, keep: list[Any]) -> Signature:
        """What decides which program runs; see signature.py."""
        return signature(call.leaves, call.form, self.owned, self.varying, keep)

    def identify_by_id(self, call: Call) -> bool:
        """Identify objects of the classes of these arguments by id. False if there are no such classes."""
        self.leaf_classes |= call.rebuild.kinds
        return bool(call.rebuild.kinds)

    def has_grown(self, call: Call) -> bool:
        """Whether lists among the arguments have grown or shrunk since they were recorded.

        Then they belong to the state from now on, with the containers around them that were passed before. As arguments
        they would have another structure in each call; to a list of the state, a step may append without reading it.
        """
        known = [(x, self._passed[id(x)][1]) for x in call.rebuild.containers if id(x) in self._passed]
        has_grown = any(isinstance(x, (list, deque)) and length != len(x) for x, length in known)
        if has_grown:
            self.owned |= {id(x): x for x, _ in known}
        return has_grown

    def _meet(self, x: Any) -> None:
        """Note an object among the arguments. If each call passes another one, only their contents can matter."""
        kind: Any = type(x)
        if is_leaf(x) or not is_plain(kind) or id(x) in self.owned:
            return
        met = self._met.setdefault(kind, {})
        met[id(x)] = x
        if len(met) >= DISTINCT and kind not in self.leaf_classes:
            self.records.add(kind)

    # Recordings

    def note_call(self, call: Call) -> None:
        """Note the containers among the arguments of a call that is recorded."""
        for x in call.leaves:
            self._meet(x)
        containers = call.rebuild.containers
        self._passed |= {id(x): (x, len(x) if isinstance(x, (list, deque)) else 0) for x in containers}

    def note_state(self, call: Call, containers: list[Any]) -> None:
        """Identify these containers by id, or all objects that are not plain containers if there are none."""
        self.owned |= {id(x): x for x in containers}
        if not containers:
            self.identify_by_id(call)

    def note_refusal(self, recording: Recording) -> None:
        """Numbers and places whose value the step asked for are not inputs."""
        self.pinned |= recording.read
        self.fetched -= recording.read
        self.varying -= recording.read

    def learn(self, recording: Recording) -> bool:
        """Learn from a recording. Returns whether more must be inputs of the program than was known before."""
        self.owned |= recording.owned | recording.objects
        self.is_written |= recording.is_written
        self.pinned |= recording.pinned
        self.growing |= recording.growing
        if not recording.replaced <= self.replaced:
            self._held.append(recording.keep)
        self.replaced |= recording.replaced
        self.varying -= recording.pinned
        numbers = recording.changing_numbers - self.varying - self.pinned if not self.is_written else set()
        arrays = recording.changing_arrays - self.fetched - self.pinned
        self.varying |= numbers
        self.fetched |= arrays
        if numbers or arrays:
            self._held.append(recording.keep)
        return bool(numbers or arrays)

    def generalize(self, call: Call, key: Signature, versions: list[Specialization], runs: int) -> bool:
        """Let what has changed since the last specialization be an input, if it can be.

        Args:
            call: a call for which there is no specialization.
            key: its signature.
            versions: all specializations.
            runs: how often their programs were called.

        Returns:
            False if too many were made in a row.
        """
        self.reason = ("", None, None, None)
        reasons: list[Difference] = []
        like = [v for v in versions[::-1] if v.signature[0] == key[0] and len(v.signature) == len(key)]
        for version in sorted(like, key=lambda v: len(_changed(v.signature, key)))[:1]:  # the most similar one
            if version.signature == key:
                reasons = [*version.guard.differences(), *version.from_state.tuple_differences()]
                reasons = reasons or [(version.from_state.other_reason(call.leaves), None, None, None)]
            else:
                reasons = list(self._changed_arguments(call.leaves, version.signature, key))
        for _, ref, before, now in reasons:
            if ref is not None:
                self._let_vary(ref, before, now)
        if not reasons:
            return True
        path = reasons[0][0]
        before, count, then = self.streak
        count = count + 1 if (before, then) == (path, runs) else 1
        self.streak, self.reason = (path, count, runs), reasons[0]
        return count < IN_A_ROW

    def _changed_arguments(self, leaves: list[Any], before: Signature, now: Signature) -> Iterable[Difference]:
        changed = _changed(before, now)
        if not self.is_written and all(_is_number_like(leaves[k], before[k + 1]) for k in changed):
            self.varying |= {(None, (), k) for k in changed} - self.pinned
        for k in changed:
            yield f"argument {k}", None, shown(before[k + 1]), shown(now[k + 1])

    def _let_vary(self, ref: StateRef, before: Any, now: Any) -> None:
        """Let a place that holds another number or array of the same kind be an input from here on."""
        if is_number(now) and type(now) is type(before):
            if self.is_written:
                return
            self.varying |= {(ref.identity, (), None)} - self.pinned
        elif type(now) is tuple and type(before) is tuple and len(now) == len(before):
            for k, (a, b) in enumerate(zip(now, before, strict=True)):
                if is_number(a) and type(a) is type(b) and a != b and not self.is_written:
                    self.varying |= {(ref.identity, (k,), None)} - self.pinned
                elif isinstance(a, (np.ndarray, Tensor)) and type(a) is type(b) and a is not b:
                    self.fetched |= {ref.identity} - self.pinned
        elif type(now) is type(before) and (
            isinstance(now, (np.floating, np.integer))
            or (type(now) in (np.ndarray, Tensor) and ref.key not in ("data", "node"))
        ):
            self.fetched |= {ref.identity} - self.pinned
        elif type(now) is np.ndarray and type(before) is np.ndarray and type(ref.holder) is Tensor:
            self.fetched.add(ref.identity)
        self._held.append(ref.holder)


def _changed(one: Signature, other: Signature) -> list[int]:
    """The numbers of the arguments in which two signatures differ."""
    return [k for k, (a, b) in enumerate(zip(one[1:], other[1:], strict=True)) if a != b]


def _is_number_like(x: Any, key: Any) -> bool:
    """Whether x is a number of the same type as one with this key in a signature."""
    kind = "float" if type(x) is float else type(x)
    return is_number(x) and key[0] == "value" and isinstance(key[1], tuple) and key[1][0] == kind


class Avoided:
    """Calls that take a branch that cannot be recorded, such as `if verbose: print(loss)`, and so run eagerly.

    They are identified by their arguments, or by their decisions on numbers. To run a call eagerly is always right.
    """

    def __init__(self) -> None:
        self.signatures: list[Signature] = []
        self.decisions: list[tuple[Specialization, tuple[int, ...]]] = []
        self._keep: list[Any] = []  # keeps objects alive whose ids are in a signature

    def watch(
        self, key: Signature, keep: Any, versions: Sequence[Specialization], leaves: Sequence[Any]
    ) -> Callable[[], bool]:
        """A function that notes a call which could not be recorded. It returns whether the call differs from others.

        Args:
            key: the signature of its arguments.
            keep: objects whose ids are in it.
            versions: the present programs.
            leaves: of the arguments.
        """
        ready = [v for v in versions if v.ready]
        decisions = [
            (v, changed) for v in ready if v.signature == key and (changed := v.from_state.changed_decisions(leaves))
        ]
        is_another = bool(ready) and all(v.signature != key for v in ready)

        def note() -> bool:
            self.decisions += decisions
            if is_another:
                self.signatures.append(key)
                self._keep.append(keep)
            return is_another or bool(decisions)

        return note

    def has(self, key: Signature, versions: Sequence[Specialization], leaves: Sequence[Any]) -> bool:
        """Whether a call is known to take such a branch."""
        if key in self.signatures:
            return True
        self.decisions = [(v, changed) for v, changed in self.decisions if v in versions]
        return any(
            v.signature == key and v.from_state.changed_decisions(leaves) == changed for v, changed in self.decisions
        )
