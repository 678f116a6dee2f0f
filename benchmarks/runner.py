"""Measuring: contenders take turns in rounds, on a machine that is as quiet as it gets.

Each contender is a process of its own, so that none has another's threads, allocator or garbage. First their results
are compared. Then, round by round, every contender gets its turn: wait for quiet cores, warm up, time a batch of calls.
What disturbs a round disturbs all of them, and the ratios over the rounds tell how much.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from benchmarks.contender import Contender, Failed
from benchmarks.peers import machine, missing
from benchmarks.quiet import Quiet
from benchmarks.ratios import summary
from benchmarks.workload import Disagreement, Workload, check_agreement

Measured = list[list[float]]  # by rounds


@dataclass(frozen=True)
class Effort:
    """How long is measured, and how long a batch may wait for quiet cores."""

    rounds: int = 8
    seconds: float = 0.2
    patience: float = 20.0
    tiny: bool = False


QUICK = Effort(rounds=2, seconds=0.02, patience=0.1)


def run_suite(suite: str, effort: Effort, tell: Callable[[dict[str, Any]], None] = lambda row: None) -> dict[str, Any]:
    """All workloads of a suite, as plain data for JSON."""
    load, start = os.getloadavg()[0], time.time()
    quiet, rows = Quiet(effort.patience), []
    for k in range(len(import_module(suite).WORKLOADS)):
        rows.append(run_workload(suite, k, effort, quiet))
        tell(rows[-1])
    return {
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.time() - start),
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
        "batches": quiet.waits,
        "not quiet": quiet.loud,
        **machine(),
        "rows": rows,
    }


def run_workload(suite: str, number: int, effort: Effort, quiet: Quiet) -> dict[str, Any]:
    """One row: what was measured of each contender, and why others were left out."""
    workload = import_module(suite).WORKLOADS[number]
    left_out = {name: why for name in workload.contenders if (why := missing(name))}
    field = Field(workload, suite, number, effort, quiet, left_out)
    row = {"title": workload.title, "reference": workload.reference, "unit": workload.unit, "left out": left_out}
    try:
        found = field.first_calls() if workload.fresh else field.turns()
    except Disagreement as error:
        return row | {"measured": {}, "disagreement": str(error)}
    return row | {"measured": {name: summary(rounds) for name, rounds in found.items()}}


@dataclass
class Field:
    """The contenders of one workload. Those that fail are left out, with the reason."""

    workload: Workload
    suite: str
    number: int
    effort: Effort
    quiet: Quiet
    left_out: dict[str, str]

    def names(self) -> list[str]:
        """Who has not failed so far."""
        return [name for name in self.workload.contenders if name not in self.left_out]

    def turns(self) -> dict[str, Measured]:
        """All stay alive, must agree, and take turns. A figure that is no time is asked for once."""
        is_timed = self.workload.unit == "s"
        question = ("results", self.workload.calls) if is_timed else ("figure",)
        with ExitStack() as running:
            contenders, answers = {}, {}
            for name in self.names():
                with self._or_left_out(name):
                    contenders[name] = running.enter_context(self._start(name))
                    answers[name] = contenders[name].ask(*question)
            if not is_timed:
                return {name: [[answer]] for name, answer in answers.items()}
            check_agreement(answers, self.workload.tolerance)
            del answers
            found: dict[str, Measured] = {name: [] for name in self.names()}
            for _ in range(self.effort.rounds):
                for name in self.names():
                    self.quiet.wait()
                    with self._or_left_out(name):
                        found[name].append(contenders[name].ask("batch", self.effort.seconds))
        return {name: found[name] for name in self.names()}

    def first_calls(self) -> dict[str, Measured]:
        """Each call is the first of a new process. A figure that is no time is asked for once."""
        is_timed = self.workload.unit == "s"
        found: dict[str, Measured] = {name: [] for name in self.names()}
        for _ in range(self.effort.rounds if is_timed else 1):
            for name in self.names():
                self.quiet.wait()
                with self._or_left_out(name), self._start(name) as contender:
                    found[name].append([contender.ask("once" if is_timed else "figure")])
        return {name: found[name] for name in self.names()}

    def _start(self, name: str) -> Contender:
        return Contender(self.suite, self.number, name, self.effort.tiny)

    @contextmanager
    def _or_left_out(self, name: str) -> Iterator[None]:
        try:
            yield
        except Failed as error:
            self.left_out[name] = str(error)
