"""Threads for kernels."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest

from minigrad.compiler.kernels.threads import Pool, pool


def test_every_row_is_processed_once() -> None:
    threads = Pool(workers=3)
    for rows in (0, 1, 3, 4, 1001):
        counts, parts = np.zeros(rows), []

        def kernel(part: int, first: int, end: int, out: Any, parts: Any = parts) -> None:
            parts.append(part)
            out[first:end] += 1

        threads.run(kernel, rows, counts)
        assert sorted(parts) == [0, 1, 2, 3]
        assert (counts == 1).all()


def test_parts_run_in_parallel() -> None:
    """Each part waits for the other: one after the other they would wait in vain."""
    together = threading.Barrier(2, timeout=60)
    Pool(workers=1).run(lambda part, first, end: together.wait(), 10)


def test_an_error_is_raised_after_all_parts_have_ended() -> None:
    threads, ended = Pool(workers=1), []

    def kernel(part: int, first: int, end: int) -> None:
        ended.append(part)
        if part == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        threads.run(kernel, 10)
    threads.run(lambda part, first, end: ended.append(part), 10)
    assert sorted(ended) == [0, 0, 1, 1]


def test_a_busy_pool_does_not_wait() -> None:
    threads, seen = Pool(workers=1), []

    def outer(part: int, first: int, end: int) -> None:
        if part == 0:
            threads.run(lambda part, first, end: seen.append((first, end)), 4)

    threads.run(outer, 10)
    assert seen == [(0, 2), (2, 4)]


def test_without_workers() -> None:
    seen = []
    Pool(workers=0).run(lambda part, first, end: seen.append((part, first, end)), 5)
    assert seen == [(0, 0, 5)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12 warns of forking with threads: it is the point
def test_a_forked_child_makes_its_own() -> None:
    before = pool()
    before.run(lambda part, first, end: None, 10)
    child = os.fork()
    if child == 0:
        total: list[int] = []
        pool().run(lambda part, first, end: total.append(end - first), 10)
        os._exit(0 if sum(total) == 10 and pool() is not before else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
