"""Audits: now and then a call runs both ways, as the program and as the eager step, and the two are compared.

Guards and recordings compare what is known. An audit is the only mechanism that tests the plan of memory and the
kernels, and the only one that notices what no recording can see. The eager call is the real one: its results are
returned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.numpy_source import Source
from minigrad.compiler.outcome import differs, parts, tolerance_of
from minigrad.compiler.refusal import DECISION, CheckFailed
from minigrad.compiler.rounding import with_roundings
from minigrad.compiler.specialization import Inputs, Specialization
from minigrad.reach import Contents, StateRef, elements, keys_of
from minigrad.restore import State, checksum, value_at
from minigrad.tensor import Tensor

CHAOTIC = 1e-4  # of an array of which roundings change an element so much, all elements may be changed

SHARE = 50  # an audit is due after so many times its cost


def gap(version: Specialization) -> int:
    """How many calls there are until the next audit: denser at first, then so that audits take a fiftieth of the time.

    Their cost is counted in operations and not by a clock, so that runs can be repeated: an eager call takes the time
    of about five NumPy calls for each op that was recorded, and noting and comparing an array that of twenty-five.
    """
    arrays = len(version.recording.owned) + len(version.recording.recipe.writes)
    cost = (5 * len(version.recording.program.lines) + 25 * arrays) / max(len(version.source.body), 1)
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
        written = [b.array if b.place is None else version.given(b.place, leaves, inputs) for b in stores]
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
        self.grads = [StateRef(x, "_grad", "slot", "a gradient") for x in leaves if type(x) is Tensor]
        dtypes = {v.dtype for line in recording.program.lines for v in line.outs if v.dtype.kind in "fc"}
        self.of_floats = max(map(tolerance_of, dtypes), default=tolerance_of(np.dtype(np.float64)))
        self.arguments = [leaves[at] for how, at, *_ in recording.recipe.writes if how == "argument"]
        self.contents = [Contents(x) for x in self.arguments]
        dicts = [at for how, at, *_ in recording.recipe.writes if how == "order"]
        self.before = State(written, generators, [*self.places, *self.grads], self.lists, dicts)

    is_other_way = False  # whether the step takes a branch that the program does not

    def seen(self, result: Any) -> list[tuple[str, Any]]:
        """Everything that a call returned and left."""
        found = list(parts("the result", result))
        for ref in self.places:
            found += parts(ref.path, value_at(ref))
        for holder in self.lists:
            found += parts("a list", sorted(map(repr, holder)) if isinstance(holder, set) else elements(holder))
        found += [("the order of a dict", tuple(map(str, keys_of(holder)))) for holder, _ in self.before.dicts]
        for ref in self.grads:
            found += parts(ref.path, value_at(ref))
        for x in self.arguments:
            now = Contents(x)
            found += parts(f"an argument, a {type(x).__name__}", (now.keys, now.names, now.values))
        found += [("the state", a.copy()) for a, _ in self.before.arrays]
        found += [("a Generator", str(g.bit_generator.state)) for g, _ in self.before.generators]
        return found

    def changed_besides(self) -> str | None:
        """An array that the program does not write, and the step does."""
        written = [a for a, _ in self.before.arrays]
        for array, before in self.others:
            if checksum(array) != before and not any(np.may_share_memory(array, a) for a in written):
                return f"an array of shape {array.shape} is written eagerly, and not compiled"
        return None

    def compiled(self) -> list[tuple[str, Any]] | None:
        """What the program returns and leaves, which is put back; None if a check of it fails."""
        try:
            return self.seen(self.connect(self.version.call(self.leaves, self.inputs)))
        except CheckFailed as error:
            self.is_other_way = str(error).startswith(DECISION)
            return None
        finally:
            self._put_back()

    def _put_back(self) -> None:
        self.before.put()
        for x, held in zip(self.arguments, self.contents, strict=True):
            held.put(x)

    def spread(self) -> list[Any]:
        """How far the numbers move if every op rounds in another way.

        Monte Carlo arithmetic (Parker 1997): of the program as it was recorded, each result is multiplied by 1 + ε u.
        """
        version = self.version
        noisy, noise = with_roundings(version.recording.program)
        source = Source(noisy, version.title, recycle=False)
        run, version.run = version.run, source.compiled()
        kernels, version.kernels = version.kernels, None
        version.adopt(source)
        rng = np.random.default_rng(0)
        runs = []
        try:
            for scale in (0.0, 1.0, 1.0, 1.0, 1.0):
                for array in noise:
                    eps = scale * np.finfo(array.dtype).eps
                    array[...] = 1 + eps * rng.uniform(-1, 1, array.shape)
                runs.append(self.compiled())
        finally:
            version.run, version.kernels = run, kernels
            version.adopt(version.source)
        if any(r is None for r in runs):
            return []
        spreads: list[Any] = []
        for group in zip(*runs, strict=False):
            values = [np.array(x) if isinstance(x, float) else x for _, x in group]
            is_float = all(isinstance(x, np.ndarray) and x.dtype.kind in "fc" for x in values)
            if not is_float or len({x.shape for x in values}) > 1:
                spreads.append(None)
                continue
            with np.errstate(all="ignore"):
                spreads.append(np.max([np.abs(x - values[0]) for x in values[1:]], axis=0))
        return spreads

    def difference(self, compiled: list[tuple[str, Any]], eager: list[tuple[str, Any]]) -> str | None:
        """The first thing in which the two differ by more than rounding."""
        if len(compiled) != len(eager):
            return f"{len(eager)} arrays and values eagerly, {len(compiled)} compiled"
        for (path, x), (_, y) in zip(compiled, eager, strict=True):
            why = differs(x, y, self.of_floats)
            if why is not None:
                return f"{path}: {why}"
        return None

    def is_rounding(self, compiled: list[tuple[str, Any]], eager: list[tuple[str, Any]]) -> bool:
        """Whether no difference is larger than what roundings of the inputs do: the numbers are ill-conditioned."""
        if len(compiled) != len(eager):
            return False
        if self._within(compiled, eager, self.version.spreads):  # as an audit before has measured
            return True
        after, filled = self.before.now(), [Contents(x) for x in self.arguments]
        self._put_back()
        spreads = self.spread()
        after.put()
        for x, held in zip(self.arguments, filled, strict=True):
            held.put(x)
        self.version.spreads = spreads
        return self._within(compiled, eager, spreads)

    def _within(self, compiled: list[tuple[str, Any]], eager: list[tuple[str, Any]], spreads: list[Any]) -> bool:
        """Whether every difference is at most a hundred times what roundings do there."""
        if len(spreads) != len(eager):
            return False
        for (_, x), (_, y), spread in zip(compiled, eager, spreads, strict=True):
            if differs(x, y, self.of_floats) is None:
                continue
            if isinstance(x, float) and isinstance(y, float):
                x, y = np.array(x), np.array(y)  # noqa: PLW2901
            if spread is None or not isinstance(x, np.ndarray) or x.shape != spread.shape or x.dtype != y.dtype:
                return False
            with np.errstate(all="ignore"):
                is_chaotic = np.max(spread, initial=0) > CHAOTIC * np.max(np.abs(y), initial=0)
                moved = np.max(spread) if is_chaotic else spread
                if not np.all(np.abs(x - y) <= 100 * moved + tolerance_of(y.dtype) * (1 + np.abs(y))):
                    return False
        return True
