"""One contender in a process of its own, which sleeps on a pipe while the others run."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import time
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.workload import Step, arrays

WARM_UP = 0.03  # seconds of running before a batch is timed
MOST, FEWEST = 200, 3  # calls in a batch; fewer only if they take five times the batch's time

LONGEST = 300  # seconds for an answer; some compile for a minute

SPAWN = multiprocessing.get_context("spawn")


class Failed(Exception):
    """The contender cannot do this; the message says why."""


class Contender:
    """The parent's end: starts the process, and asks it for results and times.

    Args:
        suite: the module that declares the workload.
        row: which of its workloads.
        name: the contender's.
        tiny: whether it gets the small problem.
    """

    def __init__(self, suite: str, row: int, name: str, tiny: bool = False) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=serve, args=(theirs, suite, row, name, tiny), daemon=False)
        self.process.start()
        theirs.close()

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process: it stops when it finds the pipe closed."""
        self.pipe.close()
        self.process.join()

    def ask(self, what: str, *arguments: Any) -> Any:
        """The answer to a question.

        Raises:
            Failed: the contender raised an exception, its process died, or it takes too long.
        """
        try:
            self.pipe.send((what, *arguments))
            if not self.pipe.poll(LONGEST):
                self.process.kill()
                raise Failed(f"no answer in {LONGEST} s")
            good, answer = self.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise Failed("its process died") from error
        if not good:
            raise Failed(answer)
        return answer


def serve(pipe: Connection, suite: str, row: int, name: str, tiny: bool) -> None:
    """Answer questions until the other end closes. What libraries print is not of interest."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    step = None
    while True:
        try:
            what, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            if step is None:
                workload = import_module(suite).WORKLOADS[row]
                step = workload.contenders[name](workload.problem(tiny))
                tune()
            answer = True, ANSWERS[what](step, *arguments)
        except Exception as error:
            answer = False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        pipe.send(answer)


def tune() -> None:
    """What a program that trains with minigrad calls once, if this contender uses it: the tables say so (report.py)."""
    if "minigrad" in sys.modules:
        sys.modules["minigrad"].tune_gc()


def results(step: Step, calls: int) -> list[Any]:
    """The results of so many calls in a row, as NumPy arrays."""
    found = []
    for _ in range(calls):
        result = step.run(*step.arguments)
        found += arrays(step.read(*result) if isinstance(result, tuple) else step.read(result))
    return found


def batch(step: Step, seconds: float) -> list[float]:
    """Warm up, and time calls one by one until the seconds are over."""
    run, arguments, clock = step.run, step.arguments, time.perf_counter
    gc.collect()
    start = clock()
    while clock() < start + WARM_UP:
        run(*arguments)
    times: list[float] = []
    start = clock()
    while True:
        before = clock()
        run(*arguments)
        now = clock()
        times.append((now - before) / step.lines)
        if len(times) == MOST or now > start + seconds * (5 if len(times) < FEWEST else 1):
            return times


def once(step: Step) -> float:
    """The time of a single call, without any before it."""
    start = time.perf_counter()
    step.run(*step.arguments)
    return time.perf_counter() - start


def figure(step: Step) -> float:
    """What the step returns, where that is the measurement."""
    return float(step.run(*step.arguments))


ANSWERS: dict[str, Any] = {
    "results": results,
    "batch": batch,
    "once": once,
    "figure": figure,
}
