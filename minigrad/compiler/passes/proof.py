"""Proofs that a pass keeps a program the same function, in exact arithmetic.

Both programs run on the same random inputs, whose elements are residues modulo a prime (minigrad.exact): what they
return and store must be equal, residue by residue. Two rational functions of degree at most d that differ agree at a
random input with a probability of at most d / 2^30 (Schwartz 1980, Zippel 1979). Roots, logarithms, exponentials and
NumPy functions without an op are pseudo-random functions of their operands here: programs that are equal for all such
functions are equal for the real ones (as in Wu et al., "Mirage", OSDI 2025, and Li & Wu, ITCS 2026). The converse may
fail, so a pass that uses an identity of such a function is refused unless minigrad.exact knows the identity: where
programs differ, they are compared once more with roots and exponentials that obey theirs.

A proof is for the shapes of the program, and for the region in which the inputs lie: a comparison is decided by floats.
Constants are equal to the real numbers that they stand for within 4 roundings (minigrad/exact/numbers.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.ir.evaluate import Array, work
from minigrad.compiler.ir.program import Buffer, Op, Program, Value
from minigrad.compiler.ir.random_inputs import Sample, fingerprint
from minigrad.compiler.passes.watch import TOLERANCE, Report, Watch, proven, watching
from minigrad.exact import Exact, Inexact, Redraw, opaque_roots, same

ATTEMPTS: tuple[dict[str, Any], ...] = (
    {},
    {"positive": True},
    {"positive": True, "scale": 8},
    {"limit": 2},
    {"positive": True, "scale": 4, "limit": 2},
    {"positive": True, "scale": 64, "limit": 1},
    {"scale": 8, "limit": 1},
)
TRIES = 32  # inputs that are drawn until all roots exist


class ProofError(AssertionError):
    """A pass of the compiler changes what a program computes. The message names the pass, the result and the op."""


def prove_equal(before: Program, after: Program, name: str = "the rewriting", *, seed: int = 0) -> Report:
    """Prove that two programs on the same buffers compute the same.

    Args:
        before: the program.
        after: the program as a pass has rewritten it.
        name: of the pass.
        seed: of the random inputs.

    Returns:
        What was compared, and whether floats had to be.

    Raises:
        ProofError: they do not; with the name of the pass, the result, and the first op that differs.
    """
    return Proof(before, seed).step(name, after)


class Proof:
    """The proof of one pass after the other. Programs share ops, which are evaluated once.

    Args:
        program: the program before the first pass.
        seed: of the random inputs.
    """

    def __init__(self, program: Program, seed: int = 0) -> None:
        self.program, self.seed = program, seed
        self.sample: Sample | None = None

    def step(self, name: str, after: Program) -> Report:
        """Prove the next pass. See `prove_equal`."""
        before, self.program = self.program, after
        if before is after:
            return _report(name, after)
        self._check_interface(name, before, after)
        with opaque_roots():
            try:
                found = self._differing(before, after, name)
            except Inexact as error:
                return self._by_floats(name, before, after, f"{error} has no exact meaning")
            except Redraw as error:
                return self._by_floats(name, before, after, f"no inputs were found where all is decided: {error}")
        if found and not self._equal_by_identities(before, after, name):
            raise ProofError(found)
        return _report(name, after)

    def _check_interface(self, name: str, before: Program, after: Program) -> None:
        if len(before.outputs) != len(after.outputs):
            raise ProofError(f"{name}: {len(before.outputs)} outputs became {len(after.outputs)}")

    def _differing(self, before: Program, after: Program, name: str) -> str:
        """What differs, in words; "" if nothing does."""
        if self.sample is not None:
            try:
                return _compared(self.sample, before, after, name, same)
            except (Redraw, IndexError):
                self.sample = None
        return self._first(ATTEMPTS, lambda sample: _compared(sample, before, after, name, same), before)

    def _first(self, attempts: Any, compare: Callable[[Sample], str], program: Program, **options: Any) -> str:
        """The result for the first inputs on which both programs can be evaluated."""
        last: Exception = Redraw("no inputs")
        for k, how in enumerate(attempts):
            sample = Sample(program, self.seed + k, **how, **options)
            try:
                found = compare(sample)
            except (Redraw, IndexError) as error:
                last = error if isinstance(error, Redraw) else Redraw(f"an index out of range: {error}")
                continue
            self.sample = None if options else sample
            return found
        raise last

    def _equal_by_identities(self, before: Program, after: Program, name: str) -> bool:
        """Whether the programs are equal where roots and exponentials obey their identities, on two draws."""
        try:
            for first in (0, TRIES):
                tries = [ATTEMPTS[k % 3] for k in range(first, first + TRIES)]
                if self._first(tries, lambda s: _compared(s, before, after, name, same), before, exponents=True):
                    return False
        except Redraw:
            return False
        return True

    def _by_floats(self, name: str, before: Program, after: Program, reason: str) -> Report:
        try:
            found = self._first(ATTEMPTS, lambda s: _compared(s, before, after, name, _close), before, exact=False)
        except Redraw as error:
            raise ProofError(f"{name}: the programs cannot be evaluated: {error}") from error
        except Inexact as error:
            if lost := [b for b in _unpaired(before, after) if not _is_kept_as_it_is(b, before, after)]:
                raise ProofError(_one_sided(name, lost[0])) from error
            return Report(name, 0, 0, f"{error} cannot be evaluated")
        if found:
            raise ProofError(found)
        return _report(name, after, reason)


def _report(name: str, program: Program, inexact: str = "") -> Report:
    results = program.results()
    return Report(name, len(results), sum(v.size for v in results), inexact)


def _unpaired(before: Program, after: Program) -> list[Buffer]:
    """Buffers that one of two programs stores into. The other one must leave there what the store would write."""
    return [b for b in (*before.stores, *after.stores) if b not in before.stores or b not in after.stores]


def _one_sided(name: str, buffer: Buffer) -> str:
    return f"{name}: the store to {buffer} is in one of the programs only"


def _is_kept_as_it_is(buffer: Buffer, *programs: Program) -> bool:
    """Whether the programs that store into a buffer store its own content."""
    return all(
        v.op.name == "input" and v.op.params["buffer"] is buffer
        for v in (p.stores[buffer] for p in programs if buffer in p.stores)
    )


def _compared(sample: Sample, before: Program, after: Program, name: str, equal: Callable[[Array, Array], bool]) -> str:
    """What differs between two programs on a sample, in words; "" if nothing does."""
    old, draws = sample.values(before)
    new, others = sample.values(after)
    if draws != others:
        lost = next((x for x in [*draws, *others] if draws.count(x) != others.count(x)), draws[0])
        return f"{name}: the draws differ, first {lost[2]}{lost[3]} of generator {lost[0]}"
    pairs = [(f"output {k}", v, w) for k, (v, w) in enumerate(zip(before.outputs, after.outputs, strict=True))]
    pairs += [(f"the store to {b.name!r}", v, after.stores[b]) for b, v in before.stores.items() if b in after.stores]
    for what, v, w in pairs:
        if not _equal(old[v], new[w], equal):
            kind = f"{w.shape} {w.dtype}"
            return f"{name} changes {what} ({kind}): {first_difference(v, w, before, after, old, new)}"
    for b in _unpaired(before, after):
        stored = old[before.stores[b]] if b in before.stores else new[after.stores[b]]
        if not _equal(stored, sample.content(b), equal):
            return _one_sided(name, b)
    return ""


def _equal(x: Array, y: Array, equal: Callable[[Array, Array], bool]) -> bool:
    if isinstance(x, Exact) or isinstance(y, Exact) or np.asarray(x).dtype.kind == "f":
        return equal(x, y)
    return bool(np.array_equal(x, y))


def _close(x: Any, y: Any) -> bool:
    scale = np.max(np.abs(x), initial=1.0, where=np.isfinite(x))
    return bool(np.allclose(x, y, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True))


# The first op that differs


def first_difference(
    v: Value, w: Value, before: Program, after: Program, old: dict[Value, Array], new: dict[Value, Array]
) -> str:
    """The first op on the way to a wrong result that computes what the other program never does, in words.

    Of the rewritten program, or else of the original one. A value that has a name in both programs is compared by it.
    """
    there = {_content(x) for x in old.values()}
    on_the_way = _needed(w)
    wrong = [op for op in after.ops if op in on_the_way and any(_content(new[u]) not in there for u in op.outs)]
    named = {u.name: u for op in before.ops for u in op.outs if u.name}
    sure = [
        op
        for op in wrong
        for u in op.outs
        if u.name in named and named[u.name].size == u.size and _content(new[u]) != _content(old[named[u.name]])
    ]
    for op in [*sure[:1], *wrong[:1]]:
        return f"the first op that differs is {_described(op)}"
    here, on_the_way = {_content(x) for x in new.values()}, _needed(v)
    for op in before.ops:
        if op in on_the_way and any(_content(old[u]) not in here for u in op.outs):
            return f"the first op that is missing is {_described(op)}"
    return f"it is {_described(w.op)}, and was {_described(v.op)}"


def _content(x: Array) -> bytes:
    """A fingerprint that is the same in each order and shape of the elements."""
    flat = x.p.reshape(-1) if isinstance(x, Exact) else np.asarray(x).reshape(-1)
    return fingerprint(np.unique(flat))


def _needed(v: Value) -> set[Op]:
    found: set[Op] = set()
    pending = [v.op]
    while pending:
        op = pending.pop()
        if op not in found:
            found.add(op)
            pending += [u.op for u in op.operands]
    return found


def _described(op: Op) -> str:
    ins = ", ".join(f"{x.name or x.op.name} {x.shape}" if isinstance(x, Value) else repr(x) for x in op.ins)
    params = {k: v for k, v in op.params.items() if k in ("axes", "axis", "shape", "bounds", "index", "value")}
    given = "".join(f", {k}={v}" for k, v in params.items())
    name = f" of {op.outs[0].name!r}" if op.outs and op.outs[0].name else ""
    return f"{op.name}({ins}{given}){name}" + (f" [{op.note}]" if op.note else "")


# Where passes are proven


def started(program: Program, verify: bool) -> Proof | None:
    """The proof of a program's passes, where one is wanted: by `verify`, or within `proven()`."""
    watch = watching.get()
    if verify:
        return Proof(program)
    if watch is None:
        return None
    size = work(program)
    if size > watch.limit:
        watch.skipped.append(size)
        return None
    return Watched(program, watch)


class Watched(Proof):
    """A proof that notes its reports."""

    def __init__(self, program: Program, watch: Watch) -> None:
        super().__init__(program)
        self.watch = watch

    def step(self, name: str, after: Program) -> Report:
        """Prove the next pass."""
        report = super().step(name, after)
        self.watch.reports.append(report)
        return report


__all__ = ["ProofError", "Report", "Watch", "prove_equal", "proven", "started", "watching"]
