"""What a compiled function has learned of its calls: what changes from one to the next becomes an input, if it can."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minigrad.compiler.capture.arguments import Rebuild, flat, flatten
from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.signature import ANOTHER, Signature, shown, signature
from minigrad.compiler.trace.records import is_plain
from minigrad.reach import StateRef, is_leaf
from minigrad.reach.differences import Difference
from minigrad.reach.guards import is_number
from minigrad.tensor.tensor import Tensor
from minigrad.util.text import short

if TYPE_CHECKING:
    from minigrad.compiler.specialization import Specialization

DISTINCT = 3  # objects of a class, after which they are known by what they hold
IN_A_ROW = 8  # specializations because of one place, after which the step runs eagerly
FLAT = frozenset({np.ndarray, Tensor, bool, int, float, str})  # arguments without a structure


class Call(NamedTuple):
    """The arguments of one call: as the user gave them, their leaves and structure, and what puts others in."""

    args: tuple[Any, ...]
    options: dict[str, Any]
    leaves: list[Any]
    rebuild: Rebuild
    form: Any


class Learned:
    """What recordings have shown of arguments and state.

    Attributes:
        owned: arrays and objects of the state, by id: as arguments they are known by which they are.
        varying, fetched: identities of numbers, and of places whose arrays, are inputs of programs.
        pinned: identities of numbers that cannot be inputs.
        growing: lists to which the step appends, by id.
        replaced: identities of places in which the step puts new containers, and that nobody reads.
        is_written: whether the step may give numbers to json, which asks a hook of the user's about what is none: no
            number is an input then.
        whole, records: classes of arguments that are known by which they are, and by what they hold.
        streak: because of which place the latest specializations were made, how many in a row, after which calls.
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
        self.whole: set[type] = set()
        self.records: set[type] = set()
        self.streak: tuple[str, int, int] = ("", 0, 0)
        self.reason: Difference = ("", None, None, None)
        self._met: dict[type, dict[int, Any]] = {}  # objects of classes that may become records
        self._passed: dict[int, tuple[Any, int]] = {}  # containers that were arguments, and how long lists were
        self._held: list[Any] = []  # keeps alive what has an id in `varying` and `fetched`

    @property
    def inputs(self) -> tuple[frozenset[Any], frozenset[Any]]:
        """The numbers and places that are inputs now."""
        return frozenset(self.varying), frozenset(self.fetched)

    # Arguments

    def call(self, args: tuple[Any, ...], options: dict[str, Any]) -> Call:
        """The leaves and the structure of the arguments of a call."""
        if not options and FLAT.issuperset(map(type, args)):
            return Call(args, options, list(args), flat(len(args)), len(args))
        return Call(args, options, *flatten(args, options, self.owned, self.whole, self.records))

    def signature(self, call: Call, keep: list[Any]) -> Signature:
        """What decides which program runs; see signature.py."""
        return signature(call.leaves, call.form, self.owned, self.varying, keep)

    def know_by_identity(self, call: Call) -> bool:
        """Know objects of the classes of these arguments by which they are. False if there are none."""
        self.whole |= call.rebuild.kinds
        return bool(call.rebuild.kinds)

    def has_grown(self, call: Call) -> bool:
        """Whether lists among the arguments have grown or shrunk since they were recorded.

        They are state from now on, and so is what holds them, if it was passed before. As arguments they would have
        another structure in each call; to a list that is state, a step may append without looking at it.
        """
        known = [(x, self._passed[id(x)][1]) for x in call.rebuild.containers if id(x) in self._passed]
        has_grown = any(isinstance(x, (list, deque)) and length != len(x) for x, length in known)
        if has_grown:
            self.owned |= {id(x): x for x, _ in known}
        return has_grown

    def _meet(self, x: Any) -> None:
        """An object among the arguments. When it is another one in each call, it can only matter what they hold."""
        kind: Any = type(x)
        if is_leaf(x) or not is_plain(kind) or id(x) in self.owned:
            return
        met = self._met.setdefault(kind, {})
        met[id(x)] = x
        if len(met) >= DISTINCT and kind not in self.whole:
            self.records.add(kind)

    # Recordings

    def note_call(self, call: Call) -> None:
        """Remember the containers among the arguments of a call that is recorded."""
        for x in call.leaves:
            self._meet(x)
        containers = call.rebuild.containers
        self._passed |= {id(x): (x, len(x) if isinstance(x, (list, deque)) else 0) for x in containers}

    def note_state(self, call: Call, found: list[Any]) -> None:
        """Containers among the arguments can be told from equal ones: these, or all objects that are no plain ones."""
        self.owned |= {id(x): x for x in found}
        if not found:
            self.know_by_identity(call)

    def note_refusal(self, recording: Recording) -> None:
        """What the step asked for the value of is no input."""
        self.pinned |= recording.read
        self.fetched -= recording.read
        self.varying -= recording.read

    def learn(self, recording: Recording) -> bool:
        """Whether the recording showed that more must be inputs of the program than was known before."""
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
            call: the one that no specialization is for.
            key: its signature.
            versions: all specializations.
            runs: how often their programs were called.

        Returns:
            False if too many were made in a row.
        """
        self.reason = ("", None, None, None)
        reasons: list[Difference] = []
        like = [v for v in versions[::-1] if v.signature[0] == key[0] and len(v.signature) == len(key)]
        for version in sorted(like, key=lambda v: len(_changed(v.signature, key)))[:1]:  # the one that is most alike
            if version.signature == key:
                reasons = [*version.guard.differences(), *version.tuple_differences()]
                reasons = reasons or [(version.undecided(call.leaves), None, None, None)]
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
        if all(_is_number_key(before[k + 1]) and is_number(leaves[k]) for k in changed):
            same_kind = all(before[k + 1][1][0] == _kind_name(leaves[k]) for k in changed)
            for k in changed:
                if same_kind and (None, (), k) not in self.pinned and not self.is_written:
                    self.varying.add((None, (), k))
        for k in changed:
            yield f"argument {k}", None, shown(before[k + 1]), shown(now[k + 1])

    def _let_vary(self, ref: StateRef, before: Any, now: Any) -> None:
        """A place that held another number or array of the same kind is an input from here on."""
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

    def too_many(self, name: str) -> str:
        """Why the step is not recorded once more."""
        path, _, before, now = self.reason
        changed = (
            f", which last changed from {short(before)} to {short(now)}"
            if before is not None or now is not None
            else ""
        )
        if changed and short(before) == short(now):
            changed = ", which is another one that looks the same"
        hint = "keep it the same (pad batches, drop_last=True), or pass it as an array"
        if path.startswith("len("):
            hint = 'let the step only append to a list: history.append(x) or logs["history"].append(x)'
        elif path.startswith("a decision"):
            hint = (
                "compute with the number by NumPy's functions (np.cos instead of math.cos, n * np.ones(3) instead of "
                "np.full(3, n) or np.array([n, n, n])), or outside of the step; so too what looks it up or writes it "
                "down (table[n], writer.writerow([n]))"
            )
        elif isinstance(before, (dict, list)) and isinstance(now, (dict, list)):
            hint = (
                "write into the arrays of the container that is there: best[k][...] = p; if the step only puts a new "
                "one there, let it read nothing else of what holds it"
            )
        elif isinstance(before, str) and isinstance(now, str) and before == now == ANOTHER:
            changed = ", which is another object in each call"
            hint = "pass arrays, or a dataclass, a dictionary or a list of arrays, of which the content counts"
        return (
            f"mg.compile: {name} was recorded {IN_A_ROW} times in a row because of {path}{changed}; it runs eagerly "
            f"from here on.\nHint: {hint}."
        )


def _changed(one: Signature, other: Signature) -> list[int]:
    """The arguments in which two signatures differ."""
    return [k for k, (a, b) in enumerate(zip(one[1:], other[1:], strict=True)) if a != b]


def _is_number_key(part: Any) -> bool:
    return part[0] == "value" and isinstance(part[1], tuple) and part[1][0] in ("float", int)


def _kind_name(x: Any) -> Any:
    return "float" if type(x) is float else type(x)
