"""Audits: from time to time a call runs as the program and as the eager step, and the two are compared.

Guards and recordings compare what is known. Only audits test the plan of memory and the kernels, and only they notice
what no recording can see. The eager call is the real one: its results are returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad.compiler.refusal import DECISION, CheckFailed
from minigrad.compiler.rounding import (
    Pair,
    Piece,
    Rounded,
    difference_in_words,
    differing,
    is_float,
    pieces,
    spread,
    within,
)
from minigrad.compiler.signature import Inputs, data_of
from minigrad.compiler.specialization import Specialization
from minigrad.reach import Contents, StateRef, elements, keys_of
from minigrad.recompute.restore import State, checksum, value_at
from minigrad.tensor.tensor import Tensor

RUNS = 4  # with other roundings, at most
SHARE = 50  # an audit is due after so many times its cost


def gap(version: Specialization) -> int:
    """The number of calls until the next audit: few at first, then so that audits take a fiftieth of the time.

    The cost is counted in operations and not by a clock, so that runs are repeatable: an eager call takes the time of
    about five NumPy calls for each recorded op, and copying and comparing an array that of twenty-five.
    """
    arrays = len(version.recording.owned) + len(version.recording.recipe.writes)
    cost = (5 * len(version.recording.program.ops) + 25 * arrays) / max(len(version.source.body), 1)
    return int(min(9 * version.calls, SHARE * max(cost, 5)))


class Audit:
    """One call that is made twice. The state that it may change is saved before.

    Args:
        version: the specialization for the call.
        leaves: the arguments.
        inputs: the arrays and numbers that the program reads from the state.
        connect: makes the results of the program those of a call, on the tape.
    """

    def __init__(
        self, version: Specialization, leaves: list[Any], inputs: Inputs, connect: Callable[[Any], Any] = lambda x: x
    ) -> None:
        self.version, self.leaves, self.inputs, self.connect = version, leaves, inputs, connect
        recording = version.recording
        arrays = [*recording.owned.values(), *(b.array for b in version.program.buffers if b.kind == "state")]
        arrays += map(data_of, (*leaves, *inputs[0]))
        unique = {id(a): a for a in arrays if type(a) is np.ndarray}
        left_out = recording.scratch | {id(b.array) for b in version.program.buffers if b.is_constant}
        stores = [b for b in version.program.stores if b.kind != "kept"]
        written = [b.array if b.place is None else version.argument(b.place, leaves, inputs) for b in stores]
        written = [a for a in written if id(a) not in recording.scratch]
        left_out |= set(map(id, written))
        # The step may write what the program only reads.
        self.others = [(a, checksum(a)) for key, a in unique.items() if key not in left_out]
        generators = [g for g in (*recording.program.generators, *leaves) if isinstance(g, np.random.Generator)]
        tensors = [x for x in leaves if type(x) is Tensor]
        slots = [StateRef(x, "_grad", "slot", "a gradient") for x in tensors]
        slots += [StateRef(x, "data", "slot", "the data of a Tensor") for x in tensors]
        self.arguments = [leaves[at] for at in version.writes("argument")]
        # Python's floats may come from arrays, and are compared as if they had the smallest dtype of these.
        dtypes = {v.dtype for op in recording.program.ops for v in op.outs if v.dtype.kind == "f"}
        self.dtype_of_floats = min(dtypes, key=lambda dtype: dtype.itemsize, default=np.dtype(float))
        places = [*version.written_places, *slots]
        self.before = State(written, generators, places, version.written_lists, version.writes("order"), self.arguments)

    is_other_way = False  # whether the step takes a branch that is not the program's

    def seen(self, result: Any) -> list[Piece]:
        """Everything that a call returned and changed, as paths and values."""
        seen = list(pieces("the result", result))
        for ref, _ in self.before.places:
            seen += pieces(ref.path, value_at(ref))
        for holder, _ in self.before.lists:
            seen += pieces("a list", sorted(map(repr, holder)) if isinstance(holder, set) else elements(holder))
        seen += [("the order of a dict", tuple(map(str, keys_of(holder)))) for holder, _ in self.before.dicts]
        for x in self.arguments:
            now = Contents(x)
            seen += pieces(f"an argument, a {type(x).__name__}", (now.keys, now.names, now.values))
        seen += [("the state", a.copy()) for a, _ in self.before.arrays]
        seen += [("a Generator", str(g.bit_generator.state)) for g, _ in self.before.sources]
        with np.errstate(all="ignore"):
            return [(path, np.array(x, self.dtype_of_floats) if type(x) is float else x) for path, x in seen]

    def compiled(self) -> list[Piece] | None:
        """What the program returns and changes; None if one of its checks fails. The state is restored."""
        try:
            return self.seen(self.connect(self.version.call(self.leaves, self.inputs)))
        except CheckFailed as error:
            self.is_other_way = str(error).startswith(DECISION)
            return None
        finally:
            self.before.put()

    def verdict(self, compiled: list[Piece], result: Any) -> str | None:
        """A message if the eager call, which has just been made, differs from that of the program; else None."""
        changed = self.difference(compiled, self.seen(result)) or self.changed_besides()
        return changed and (
            f"an audit found a difference in call {self.version.calls + 1} of a program: {changed}. The "
            f"{self.version.calls - self.version.audited} calls since the audit before were not covered"
        )

    def changed_besides(self) -> str | None:
        """A message if the step has written an array that the program does not write."""
        written = [a for a, _ in self.before.arrays]
        for array, before in self.others:
            if checksum(array) != before and not any(np.may_share_memory(array, a) for a in written):
                return f"an array of shape {array.shape} is written eagerly, but not by the compiled step"
        return None

    def difference(self, compiled: list[Piece], eager: list[Piece]) -> str | None:
        """A message about the first piece that differs by more than rounding explains; None if there is none."""
        if len(compiled) != len(eager):
            return f"{len(eager)} arrays and values eagerly, {len(compiled)} compiled"
        pairs = [(x, y) for (_, x), (_, y) in zip(compiled, eager, strict=True)]
        indices = differing(pairs)
        if not indices or self._is_rounding(pairs, indices):
            return None
        return f"{compiled[indices[0]][0]}: {difference_in_words(*pairs[indices[0]])}"

    def _is_rounding(self, pairs: list[Pair], indices: list[int]) -> bool:
        """Whether other roundings of each op explain the differences: the numbers are ill-conditioned."""
        if within(pairs, indices, self.version.spreads):  # as measured in an earlier audit
            return True
        if not all(is_float(*pairs[k]) for k in indices):
            return False
        after = self.before.now()
        self.before.put()
        try:
            return any(within(pairs, indices, spreads) for spreads in self._spreads())
        finally:
            after.put()

    def _spreads(self) -> Iterator[list[Any]]:
        """How far the numbers move if every op of the recorded program rounds in another way.

        After one such run, then after two, and so on. The first explains most differences.
        """
        version, rounded = self.version, Rounded(self.version.recording.program)
        first = self._rounded(rounded)
        rounded.rng = np.random.default_rng(0)
        for k in range(RUNS):
            other = first and self._rounded(rounded)
            if not first or not other or len(first) != len(other):
                return
            known = version.spreads if k else [None] * len(first)
            version.spreads = [spread(x, y, z) for (_, x), (_, y), z in zip(first, other, known, strict=True)]
            yield version.spreads

    def _rounded(self, rounded: Rounded) -> list[Piece] | None:
        """What a call of the recorded program returns and changes, with the current roundings."""
        version = self.version
        run, kernels = version.run, version.kernels
        version.run, version.kernels = rounded.run, None
        version.adopt(rounded)
        try:
            return self.compiled()
        finally:
            version.run, version.kernels = run, kernels
            version.adopt(version.source)
