"""Graphs of a thousand to four hundred thousand lines: what one more line costs, forward and backward."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.suites import tiny
from benchmarks.workload import Goal, Make, Step, Workload


def per_line(make: Make, operations: int | None = None) -> Make:
    """The chain of `tiny`, its time told for one operation."""

    def step(p: Any) -> Step:
        count = operations or p.operations
        return make(SimpleNamespace(x=p.x, operations=count))._replace(lines=count, read=lambda *results: None)

    return step


def row(operations: int) -> Workload:
    def problem(tiny: bool) -> Any:
        return SimpleNamespace(x=np.linspace(0.8, 0.9, 10, dtype=np.float32), operations=20 if tiny else operations)

    contenders: dict[str, Make] = {"minigrad": per_line(tiny.minigrad_gradient)}
    goals: tuple[Goal, ...] = ()
    if operations > 1000:
        contenders["minigrad, 1000 lines"] = per_line(tiny.minigrad_gradient, 1000)
    if operations == 100_000:
        goals = (Goal("minigrad", "minigrad, 1000 lines", 1.5, 1.1),)
    contenders["PyTorch"] = per_line(tiny.torch_gradient)
    if operations <= 100_000:
        contenders["autograd"] = per_line(tiny.autograd_gradient)
        contenders["MyGrad"] = per_line(tiny.mygrad_gradient)
    return Workload(f"a line among {operations:,}", problem, contenders, goals=goals)


WORKLOADS = [row(1_000), row(10_000), row(100_000), row(400_000)]
