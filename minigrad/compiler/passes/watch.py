"""Where the passes of every program are proven, and what the proofs report. The proofs themselves are in proof.py."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

TOLERANCE = 1e-7  # where nothing is exact: of the largest element, or of 1


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


watching: ContextVar[Watch | None] = ContextVar("watching", default=None)


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
