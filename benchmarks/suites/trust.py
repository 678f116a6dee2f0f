"""What it costs that a compiled step is the eager step: guards before each call, audits now and then, two recordings.

The step is the moons network of `networks`, compiled with numba.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.suites import networks
from benchmarks.workload import Goal, Step, Workload

CALLS = 10_000


def compiled_step(p: Any, audit: bool = False) -> tuple[Any, tuple[Any, ...]]:
    """The compiled step, with its program made, and its arguments."""
    import minigrad as mg

    step = networks.minigrad_step(p)
    made: Any = mg.compile(step.run, backend="numba", audit=audit)  # type: ignore[attr-defined]
    for _ in range(4):
        made(*step.arguments)
    return made, step.arguments


def program_alone(p: Any) -> Step:
    """The program, and what it leaves, without a look at whether it is still the right one."""
    step, arguments = compiled_step(p)
    version, nothing = step.latest, ([], [])
    return Step(lambda *leaves: version.call(leaves, nothing), arguments)


def guarded(p: Any) -> Step:
    step, arguments = compiled_step(p)
    return Step(step, arguments)


def many(p: Any, audit: bool) -> Step:
    step, arguments = compiled_step(p, audit)

    def calls() -> Any:
        first = step(*arguments)
        for _ in range(CALLS - 1):
            step(*arguments)
        return first

    return Step(calls, lines=CALLS)


def eager(p: Any) -> Step:
    return networks.minigrad_step(p)


def recording(p: Any) -> Step:
    """One call on tracer arrays, as the first two calls are."""
    from minigrad.compiler.capture.arguments import flatten
    from minigrad.compiler.capture.session import TraceSession

    step = networks.minigrad_step(p)
    leaves, rebuild, _ = flatten(step.arguments, {})
    return Step(lambda: TraceSession(step.run, [], set(), set()).run(leaves, rebuild).result)


def moons(tiny: bool) -> Any:
    return networks.problem(networks.MOONS, 64, tiny)


MAKERS: dict[str, Callable[[Any], Step]] = {"minigrad, program alone": program_alone, "minigrad": guarded}
WORKLOADS = [
    Workload(
        "a compiled call with its guards, moons",
        moons,
        MAKERS,
        reference="minigrad, program alone",
        goals=(Goal("minigrad", "minigrad, program alone", 1.30, 1.15),),
    ),
    Workload(
        f"{CALLS:,} compiled calls with audits, moons",
        moons,
        {"minigrad, without audits": partial(many, audit=False), "minigrad": partial(many, audit=True)},
        reference="minigrad, without audits",
        goals=(Goal("minigrad", "minigrad, without audits", 1.03, 1.01),),
        calls=1,
    ),
    Workload(
        "a recording, moons",
        moons,
        {"minigrad, an eager step": eager, "minigrad": recording},
        reference="minigrad, an eager step",
        goals=(Goal("minigrad", "minigrad, an eager step", 20.0, 5.0),),
    ),
]
