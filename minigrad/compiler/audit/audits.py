"""Audits: now and then a call runs both ways, as the program and as the eager step, and the two are compared.

Guards and recordings compare what is known. An audit is the only mechanism that tests the plan of memory and the
kernels, and the only one that notices what no recording can see. The eager call is the real one: its results are
returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad.compiler.audit.outcomes import differing, parts, told, tolerance_of
from minigrad.compiler.audit.rounding import Rounded
from minigrad.compiler.refusal import DECISION, CheckFailed
from minigrad.compiler.specialization import Inputs, Specialization
from minigrad.reach import Contents, StateRef, elements, keys_of
from minigrad.recompute.restore import State, checksum, value_at
from minigrad.tensor.tensor import Tensor

CHAOTIC = 1e-4  # of an array of which roundings change an element so much, all elements may be changed

RUNS = 4  # with other roundings, at most
SHARE = 50  # an audit is due after so many times its cost

Part = tuple[str, Any]
Pair = tuple[Any, Any]  # compiled, eager


def gap(version: Specialization) -> int:
    """How many calls there are until the next audit: denser at first, then so that audits take a fiftieth of the time.

    Their cost is counted in operations and not by a clock, so that runs can be repeated: an eager call takes the time
    of about five NumPy calls for each op that was recorded, and noting and comparing an array that of twenty-five.
    """
    arrays = len(version.recording.owned) + len(version.recording.recipe.writes)
    cost = (5 * len(version.recording.program.ops) + 25 * arrays) / max(len(version.source.body), 1)
    return int(min(9 * version.calls, SHARE * max(cost, 5)))


class Audit:
    """The state around one call, noted before it, so that the call can be made twice.

    Args:
        version: the specialization that the call has.
        leaves: its arguments.
        inputs: what it fetches.
        connect: makes the results of a program those of a call, with their place on the tape.
    """

    def __init__(
        self, version: Specialization, leaves: list[Any], inputs: Inputs, connect: Callable[[Any], Any] = lambda x: x
    ) -> None:
        self.version, self.leaves, self.inputs, self.connect = version, leaves, inputs, connect
        recording = version.recording
        arrays = [*recording.owned.values(), *(b.array for b in version.program.buffers if b.kind == "state")]
        arrays += [x.data if type(x) is Tensor else x for x in (*leaves, *inputs[0])]
        unique = {id(a): a for a in arrays if type(a) is np.ndarray}
        left_out = recording.scratch | {id(b.array) for b in version.program.buffers if b.is_constant}
        stores = [b for b in version.program.stores if b.kind != "kept"]
        written = [b.array if b.place is None else version.argument(b.place, leaves, inputs) for b in stores]
        written = [a for a in written if id(a) not in recording.scratch]
        left_out |= set(map(id, written))
        # What the program only reads, the step may write.
        self.others = [(a, checksum(a)) for key, a in unique.items() if key not in left_out]
        generators = [
            g
            for g in (*recording.program.generators, *leaves)
            if isinstance(g, np.random.Generator)  # those of slots are among the leaves
        ]
        self.places = [at for how, at, *_ in recording.recipe.writes if how in ("set", "gradient")]
        self.lists = [at for how, at, *_ in recording.recipe.writes if how in ("extend", "refill", "set of")]
        tensors = [x for x in leaves if type(x) is Tensor]
        self.slots = [StateRef(x, "_grad", "slot", "a gradient") for x in tensors]
        self.slots += [StateRef(x, "data", "slot", "the data of a Tensor") for x in tensors]
        self.arguments = [leaves[at] for how, at, *_ in recording.recipe.writes if how == "argument"]
        self.contents = self._held()
        # Python's floats may come from arrays, and are compared as if they were of the same dtype.
        dtypes = {v.dtype for line in recording.program.ops for v in line.outs if v.dtype.kind == "f"}
        self.of_floats = min(
            dtypes, key=lambda dtype: dtype.itemsize, default=np.dtype(float)
        )  # Python's, rounded as those
        dicts = [at for how, at, *_ in recording.recipe.writes if how == "order"]
        self.before = State(written, generators, [*self.places, *self.slots], self.lists, dicts)

    is_other_way = False  # whether the step takes a branch that the program does not

    def _held(self) -> list[Contents]:
        return [Contents(x) for x in self.arguments]

    def seen(self, result: Any) -> list[Part]:
        """Everything that a call returned and left."""
        found = list(parts("the result", result))
        for ref in self.places:
            found += parts(ref.path, value_at(ref))
        for holder in self.lists:
            found += parts("a list", sorted(map(repr, holder)) if isinstance(holder, set) else elements(holder))
        found += [("the order of a dict", tuple(map(str, keys_of(holder)))) for holder, _ in self.before.dicts]
        for ref in self.slots:
            found += parts(ref.path, value_at(ref))
        for x in self.arguments:
            now = Contents(x)
            found += parts(f"an argument, a {type(x).__name__}", (now.keys, now.names, now.values))
        found += [("the state", a.copy()) for a, _ in self.before.arrays]
        found += [("a Generator", str(g.bit_generator.state)) for g, _ in self.before.generators]
        with np.errstate(all="ignore"):
            return [(path, np.array(x, self.of_floats) if type(x) is float else x) for path, x in found]

    def changed_besides(self) -> str | None:
        """An array that the program does not write, and the step does."""
        written = [a for a, _ in self.before.arrays]
        for array, before in self.others:
            if checksum(array) != before and not any(np.may_share_memory(array, a) for a in written):
                return f"an array of shape {array.shape} is written eagerly, and not compiled"
        return None

    def compiled(self) -> list[Part] | None:
        """What the program returns and leaves, which is put back; None if a check of it fails."""
        try:
            return self.seen(self.connect(self.version.call(self.leaves, self.inputs)))
        except CheckFailed as error:
            self.is_other_way = str(error).startswith(DECISION)
            return None
        finally:
            self._put(self.before, self.contents)

    def _put(self, state: State, contents: list[Contents]) -> None:
        state.put()
        for x, held in zip(self.arguments, contents, strict=True):
            held.put(x)

    def difference(self, compiled: list[Part], eager: list[Part]) -> str | None:
        """The first thing in which the two differ by more than rounding does there."""
        if len(compiled) != len(eager):
            return f"{len(eager)} arrays and values eagerly, {len(compiled)} compiled"
        values = [(x, y) for (_, x), (_, y) in zip(compiled, eager, strict=True)]
        apart = differing(values)
        if not apart or self._is_rounding(values, apart):
            return None
        return f"{compiled[apart[0]][0]}: {told(*values[apart[0]])}"

    def _is_rounding(self, values: list[Pair], apart: list[int]) -> bool:
        """Whether no difference is larger than what roundings of each op do: the numbers are ill-conditioned."""
        if _within(values, apart, self.version.spreads):  # as an audit before has measured
            return True
        if not all(_is_float(x, y) for x, y in (values[k] for k in apart)):
            return False
        after, contents = self.before.now(), self._held()
        self._put(self.before, self.contents)
        try:
            return any(_within(values, apart, spreads) for spreads in self._spreads())
        finally:
            self._put(after, contents)

    def _spreads(self) -> Iterator[list[Any]]:
        """How far the numbers move if every op of the program, as it was recorded, rounds in another way.

        After one such run, then after two, and so on; most differences are explained by the first.
        """
        version = self.version
        rounded = Rounded(version.recording.program)
        rng = np.random.default_rng(0)
        first = self._rounded(rounded)
        for k in range(RUNS):
            rounded.draw(rng)
            other = None if first is None else self._rounded(rounded)
            if first is None or other is None or len(first) != len(other):
                return
            found = [_distance(x, y) for (_, x), (_, y) in zip(first, other, strict=True)]
            known = version.spreads if k else [None] * len(found)
            version.spreads = list(map(_larger, known, found))
            yield version.spreads

    def _rounded(self, rounded: Rounded) -> list[Part] | None:
        """What a call of the recorded program returns and leaves, with its present roundings."""
        version = self.version
        run, kernels = version.run, version.kernels
        version.run, version.kernels = rounded.run, None
        version.adopt(rounded)
        try:
            return self.compiled()
        finally:
            version.run, version.kernels = run, kernels
            version.adopt(version.source)


def _is_float(x: Any, y: Any) -> bool:
    """Whether two things are arrays of floating-point numbers that can be compared element by element."""
    arrays = isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
    return arrays and (x.shape, x.dtype) == (y.shape, y.dtype) and x.dtype.kind in "fc"


def _distance(x: Any, y: Any) -> Any:
    """How far each number moves; None for what is no floating-point array."""
    if not _is_float(x, y):
        return None
    with np.errstate(all="ignore"):
        return np.abs(x - y)


def _larger(x: Any, y: Any) -> Any:
    return y if x is None or y is None else np.maximum(x, y)


def _within(values: list[Pair], apart: list[int], spreads: list[Any]) -> bool:
    """Whether the differences are at most a hundred times what roundings do there."""
    if len(spreads) != len(values):
        return False
    for k in apart:
        (x, y), spread = values[k], spreads[k]
        if spread is None or not _is_float(x, y) or x.shape != spread.shape:
            return False
        with np.errstate(all="ignore"):
            is_chaotic = np.max(spread, initial=0) > CHAOTIC * np.max(np.abs(y), initial=0)
            moved = np.max(spread) if is_chaotic else spread
            if not np.all(np.abs(x - y) <= 100 * moved + tolerance_of(y.dtype) * (1 + np.abs(y))):
                return False
    return True
