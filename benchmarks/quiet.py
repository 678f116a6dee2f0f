"""Waiting until nothing else uses the cores.

Threads of BLAS and OpenMP spin for a tenth of a second after their work is done, so the contender before can slow down
the one after it; and on few cores any other job does. Linux tells in /proc/stat how each core spent its time.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
SAMPLE = 0.1  # seconds over which the idleness of a core is measured


def core_times(text: str) -> dict[int, tuple[int, int]]:
    """For each core its idle and its total time so far, from the text of /proc/stat.

    Example:
        >>> core_times("cpu  9 9 9 9\\ncpu0 1 0 2 90 5 0 0 0 0 0\\nintr 5")
        {0: (95, 98)}
    """
    times = {}
    for line in text.splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            ticks = [int(x) for x in fields[:8]]  # what follows, the time of guests, is counted in the first two
            times[int(name[3:])] = (ticks[3] + ticks[4], sum(ticks))
    return times


def busiest(before: dict[int, tuple[int, int]], after: dict[int, tuple[int, int]], cores: set[int]) -> float:
    """The share of its time that the busiest of these cores was not idle.

    Example:
        >>> busiest({0: (0, 0), 1: (0, 0)}, {0: (9, 10), 1: (5, 10)}, {0, 1})
        0.5
    """
    return max(1 - (after[k][0] - before[k][0]) / max(1, after[k][1] - before[k][1]) for k in cores & after.keys())


class Quiet:
    """Waits until every core is at least 90 % idle, but no longer than its patience.

    After it waited in vain it has a twentieth of the patience until a quiet moment comes: a machine that is busy all
    the time is measured all the same, and the result says so.
    """

    def __init__(self, patience: float) -> None:
        self.patience, self.vain = patience, False
        self.waits = self.loud = 0

    def wait(self) -> bool:
        """Whether a quiet moment came."""
        self.waits += 1
        end = time.monotonic() + self.patience / (20 if self.vain else 1)
        while STAT.exists():
            before = core_times(STAT.read_text())
            time.sleep(SAMPLE)
            if busiest(before, core_times(STAT.read_text()), os.sched_getaffinity(0)) <= 0.1:
                self.vain = False
                return True
            if time.monotonic() >= end:
                break
        else:
            time.sleep(SAMPLE)
        self.loud += 1
        self.vain = True
        return False
