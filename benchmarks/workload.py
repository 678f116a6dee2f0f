"""What a suite declares: one computation, written once for each library, and the goals for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Step(NamedTuple):
    """What is timed: run(*arguments). Its result stays in the library's own arrays while the clock runs."""

    run: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    read: Callable[..., Any] = lambda *results: results  # makes the results of different layouts comparable
    lines: int = 1  # times are reported for one of these


Make = Callable[[Any], Step]


@dataclass(frozen=True)
class Goal:
    """How much of the peer's time ours may take. Of several peers the quickest counts."""

    ours: str
    peer: str | tuple[str, ...]
    floor: float
    stretch: float


@dataclass(frozen=True)
class Workload:
    """A row of a table.

    Args:
        title: names the row.
        problem: the arrays that every contender starts from; problem(True) is a tiny one, for tests.
        contenders: for each name a function from the problem to the step. Libraries are imported in it.
        reference: the contender whose time counts as 1.
        goals: what is hoped for.
        calls: how many results in a row must agree before anything is timed. Four at least: a compiled step runs as it
            stands in its first three calls, two recordings and an audit.
        tolerance: by how much they may differ, of the largest entry.
        unit: "s" for what is timed; for anything else the step returns the figure itself.
        fresh: whether each call is the first one of a new process.
    """

    title: str
    problem: Callable[[bool], Any]
    contenders: dict[str, Make]
    reference: str = "PyTorch"
    goals: tuple[Goal, ...] = ()
    calls: int = 4
    tolerance: float = 1e-4
    unit: str = "s"
    fresh: bool = False


def compiled(make: Make) -> dict[str, Make]:
    """The same minigrad step through `mg.compile`, with each of its back ends."""
    return {f"minigrad compiled, {name}": _through(make, name.lower()) for name in ("NumPy", "numba")}


def _through(make: Make, backend: str) -> Make:
    def compiled_step(problem: Any) -> Step:
        import minigrad as mg

        step = make(problem)
        return step._replace(run=mg.compile(step.run, backend=backend))  # type: ignore[attr-defined]

    return compiled_step


def arrays(result: Any) -> list[np.ndarray]:
    """The results of a step as a flat list of NumPy arrays, whatever library they come from."""
    if result is None:
        return []
    if isinstance(result, list | tuple):
        return [a for part in result for a in arrays(part)]
    if hasattr(result, "detach"):  # torch, minigrad, tinygrad
        result = result.detach()
    if hasattr(result, "numpy"):
        result = result.numpy()
    elif type(result).__module__.startswith(("mygrad", "micrograd")):
        result = result.data
    return [np.array(result)]


class Disagreement(Exception):
    """Contenders compute different things, so their times cannot be compared."""


def check_agreement(results: dict[str, list[np.ndarray]], tolerance: float) -> None:
    """Compare the results of all contenders with those of the first.

    Raises:
        Disagreement: shapes differ, or values by more than tolerance times the largest; it names the contenders.
    """
    first, expected = next(iter(results.items()), ("", []))
    wrong = []
    for name, found in results.items():
        shapes = [a.shape for a in found]
        if shapes != [a.shape for a in expected]:
            wrong.append(f"{name} has shapes {shapes} instead of {[a.shape for a in expected]}")
            continue
        for k, (a, b) in enumerate(zip(found, expected, strict=True)):
            scale = float(np.max(np.abs(b), initial=0.0))
            apart = float(np.max(np.abs(a - b), initial=0.0))
            if not apart <= tolerance * scale:
                wrong.append(f"result {k} of {name} is {apart:.2g} from that of {first}, whose largest is {scale:.2g}")
                break
    if wrong:
        raise Disagreement("; ".join(wrong))
