"""Proofs in exact arithmetic that a pass keeps what a program computes.

Both programs run on the same random inputs, whose elements are residues modulo a prime (minigrad.exact). What they
return and store must be equal, residue by residue. Two rational functions of degree at most d that differ agree at a
random input with a probability of at most d / 2^30 (Schwartz 1980, Zippel 1979). Roots, logarithms, exponentials and
NumPy functions without an op are pseudo-random functions of their operands here: programs that are equal for all such
functions are equal for the real ones (as in Wu et al., "Mirage", OSDI 2025, and Li & Wu, ITCS 2026). The converse may
fail, so a pass that uses an identity of such a function is refused unless minigrad.exact knows the identity: where
programs differ, they are compared again with roots and exponentials that obey theirs.

A proof is for the shapes of the program, and for the region of the inputs: floats decide comparisons.
Constants are equal to the real numbers that they stand for within 4 roundings (minigrad/exact/float_values.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.compiler.ir.evaluate import Array, Sample, fingerprint, work
from minigrad.compiler.ir.program import Buffer, Op, Program, Value
from minigrad.compiler.passes import watching
from minigrad.exact import Exact, Inexact, Redraw, opaque_roots, same

Equal = Callable[[Array, Array], bool]
ATTEMPTS: tuple[dict[str, Any], ...] = (
    {},
    {"positive": True},
    {"positive": True, "scale": 8},
    {"limit": 2},
    {"positive": True, "scale": 4, "limit": 2},
    {"positive": True, "scale": 64, "limit": 1},
    {"scale": 8, "limit": 1},
)
TRIES = 32  # random inputs, until all roots exist
TOLERANCE = 1e-7  # where nothing is exact: of the largest element, or of 1


class ProofError(AssertionError):
    """A pass changes what a program computes. The message names the pass, the result and the op."""


@dataclass
class Report:
    """What the proof of a pass has compared.

    Args:
        name: the name of the pass.
        results: the number of outputs and stores that are equal.
        elements: the number of their elements.
        inexact: why floats were compared, to TOLERANCE; empty if everything was compared exactly.
    """

    name: str
    results: int
    elements: int
    inexact: str = ""

    def __str__(self) -> str:
        how = f"to {TOLERANCE:g} only: {self.inexact}" if self.inexact else "exactly"
        return f"{self.name}: {self.results} results of {self.elements} elements are equal {how}"


@dataclass
class Watch:
    """The proofs of a `proven()` block.

    Args:
        limit: programs of more work (see `evaluate.work`) are skipped.
        reports: one for each pass of each program.
        skipped: the work of each program that was skipped.
    """

    limit: float = math.inf
    reports: list[Report] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)


def prove_equal(before: Program, after: Program, name: str = "the rewriting", *, seed: int = 0) -> Report:
    """Prove that two programs on the same buffers compute the same.

    Args:
        before: the program before the pass.
        after: the program after the pass.
        name: of the pass.
        seed: of the random inputs.

    Returns:
        What was compared, and how.

    Raises:
        ProofError: they do not. The message has the name of the pass, the result, and the first op that differs.
    """
    return Proof(before, seed).step(name, after)


class Proof:
    """A proof of one pass after the other. Ops that programs share are evaluated once.

    Args:
        program: the program before the first pass.
        seed: of the random inputs.
        reports: to which those of the passes are appended.
    """

    def __init__(self, program: Program, seed: int = 0, reports: list[Report] | None = None) -> None:
        self.program, self.seed, self.reports = program, seed, [] if reports is None else reports
        self.sample: Sample | None = None

    def step(self, name: str, after: Program) -> Report:
        """Prove that the next pass keeps what the program computes. See `prove_equal`."""
        before, self.program = self.program, after
        self.reports.append(_report(name, after) if before is after else self._proven(name, before, after))
        return self.reports[-1]

    def _proven(self, name: str, before: Program, after: Program) -> Report:
        if len(before.outputs) != len(after.outputs):
            raise ProofError(f"{name}: {len(before.outputs)} outputs became {len(after.outputs)}")
        programs = (before, after, name)
        with opaque_roots():
            try:
                difference = self._difference(*programs)
            except Inexact as error:
                return self._by_floats(*programs, f"{error} has no exact meaning")
            except Redraw as error:
                return self._by_floats(*programs, f"no inputs were found where all is decided: {error}")
        if difference and not self._equal_by_identities(*programs):
            raise ProofError(difference)
        return _report(name, after)

    def _difference(self, before: Program, after: Program, name: str) -> str:
        """The difference in words; "" if there is none."""
        if self.sample is not None:
            try:
                return _comparison(self.sample, before, after, name, same)
            except (Redraw, IndexError):
                self.sample = None
        return self._first(ATTEMPTS, before, after, name)

    def _first(
        self, attempts: Iterable[Any], before: Program, after: Program, name: str, equal: Equal = same, **options: Any
    ) -> str:
        """The difference in words for the first inputs on which both programs can be evaluated."""
        last: Exception = Redraw("no inputs")
        for k, attempt in enumerate(attempts):
            sample = Sample(before, self.seed + k, **attempt, **options)
            try:
                difference = _comparison(sample, before, after, name, equal)
            except (Redraw, IndexError) as error:
                last = error if isinstance(error, Redraw) else Redraw(f"an index out of range: {error}")
                continue
            self.sample = None if options else sample
            return difference
        raise last

    def _equal_by_identities(self, before: Program, after: Program, name: str) -> bool:
        """Whether the programs are equal on two samples where roots and exponentials obey their identities."""
        tries = [[ATTEMPTS[k % 3] for k in range(first, first + TRIES)] for first in (0, TRIES)]
        try:
            return not any(self._first(attempts, before, after, name, exponents=True) for attempts in tries)
        except Redraw:
            return False

    def _by_floats(self, before: Program, after: Program, name: str, reason: str) -> Report:
        try:
            difference = self._first(ATTEMPTS, before, after, name, _close, exact=False)
        except Redraw as error:
            raise ProofError(f"{name}: the programs cannot be evaluated: {error}") from error
        except Inexact as error:
            if stores := [b for b in _unpaired(before, after) if not _is_stored_unchanged(b, before, after)]:
                raise ProofError(_one_sided(name, stores[0])) from error
            return Report(name, 0, 0, f"{error} cannot be evaluated")
        if difference:
            raise ProofError(difference)
        return _report(name, after, reason)


def _report(name: str, program: Program, inexact: str = "") -> Report:
    results = program.results()
    return Report(name, len(results), sum(v.size for v in results), inexact)


def _unpaired(before: Program, after: Program) -> list[Buffer]:
    """Buffers into which only one of two programs stores. The store must write what the buffer holds already."""
    return [b for b in (*before.stores, *after.stores) if b not in before.stores or b not in after.stores]


def _one_sided(name: str, buffer: Buffer) -> str:
    return f"{name}: the store to {buffer} is in one of the programs only"


def _is_stored_unchanged(buffer: Buffer, *programs: Program) -> bool:
    """Whether the programs that store into a buffer store its old content."""
    return all(
        v.op.name == "input" and v.op.params["buffer"] is buffer
        for v in (p.stores[buffer] for p in programs if buffer in p.stores)
    )


def _comparison(sample: Sample, before: Program, after: Program, name: str, equal: Equal) -> str:
    """The difference between two programs on a sample, in words; "" if there is none."""
    old, draws = sample.values(before)
    new, new_draws = sample.values(after)
    if draws != new_draws:
        first = next((x for x in [*draws, *new_draws] if draws.count(x) != new_draws.count(x)), draws[0])
        return f"{name}: the draws differ, first {first[2]}{first[3]} of generator {first[0]}"
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


def _equal(x: Array, y: Array, equal: Equal) -> bool:
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
    """The first op that a wrong result depends on and that computes what the other program does not, in words.

    It is an op of the rewritten program, or else of the original one. A value that has a name in both programs is
    compared by it.
    """
    contents = {_content(x) for x in old.values()}
    ancestors = _ancestors(w)
    wrong = [op for op in after.ops if op in ancestors and any(_content(new[u]) not in contents for u in op.outs)]
    named = {u.name: u for op in before.ops for u in op.outs if u.name}
    known = [(op, u, named[u.name]) for op in wrong for u in op.outs if u.name in named]
    certain = [op for op, u, x in known if x.size == u.size and _content(new[u]) != _content(old[x])]
    for op in [*certain, *wrong]:
        return f"the first op that differs is {_described(op)}"
    contents, ancestors = {_content(x) for x in new.values()}, _ancestors(v)
    for op in before.ops:
        if op in ancestors and any(_content(old[u]) not in contents for u in op.outs):
            return f"the first op that is missing is {_described(op)}"
    return f"it is {_described(w.op)}, and was {_described(v.op)}"


def _content(x: Array) -> bytes:
    """A fingerprint that is the same in each order and shape of the elements."""
    flat = x.p.reshape(-1) if isinstance(x, Exact) else np.asarray(x).reshape(-1)
    return fingerprint(np.unique(flat))


def _ancestors(v: Value) -> set[Op]:
    ancestors: set[Op] = set()
    pending = [v.op]
    while pending:
        op = pending.pop()
        if op not in ancestors:
            ancestors.add(op)
            pending += [u.op for u in op.operands]
    return ancestors


def _described(op: Op) -> str:
    ins = ", ".join(f"{x.name or x.op.name} {x.shape}" if isinstance(x, Value) else repr(x) for x in op.ins)
    params = {k: v for k, v in op.params.items() if k in ("axes", "axis", "shape", "bounds", "index", "value")}
    params_text = "".join(f", {k}={v}" for k, v in params.items())
    name = f" of {op.outs[0].name!r}" if op.outs and op.outs[0].name else ""
    return f"{op.name}({ins}{params_text}){name}" + (f" [{op.note}]" if op.note else "")


# Where passes are proven


@contextmanager
def proven(limit: float = math.inf) -> Iterator[Watch]:
    """Prove the passes of every program that is compiled within a block.

    Args:
        limit: skip programs of more work than this.

    Example:
        >>> import minigrad as mg
        >>> import numpy as np
        >>> with proven() as watch:
        ...     step = mg.compile(lambda x: (x * x).sum(), backend="numpy")
        ...     y = [step(np.ones(3)) for _ in range(2)]
        >>> len(watch.reports) > 0, watch.skipped
        (True, [])
    """
    watch = Watch(limit)
    token = watching.set(watch)
    try:
        yield watch
    finally:
        watching.reset(token)


def started(program: Program, verify: bool) -> Proof | None:
    """A proof of a program's passes, with `verify` or within `proven()`; else None."""
    watch: Watch | None = watching.get()
    if verify or watch is None:
        return Proof(program) if verify else None
    size = work(program)
    if size > watch.limit:
        watch.skipped.append(size)
        return None
    return Proof(program, reports=watch.reports)
