"""Threads for kernels over large arrays: a kernel without the GIL runs on ranges of rows at the same time.

numba's own `parallel=True` is not used: it takes several times as long to compile, some of its threading layers abort
when two Python threads use them at once, and OpenMP's fights with the threads of the matrix products. A start costs
some 50 to 100 microseconds, so it pays from about a million elements on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import REDUCTIONS

Kernel = Callable[..., Any]
APART = 64  # elements between the shares of two parts: cores that write to one cache line would wait for each other


class Pool:
    """Workers that wait for parts of a kernel.

    Args:
        workers: how many there are besides the calling thread.

    Example:
        >>> pool, seen = Pool(workers=1), []
        >>> pool.run(lambda part, first, end: seen.append((part, first, end)), 10)
        >>> sorted(seen)
        [(0, 0, 5), (1, 5, 10)]
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._busy = threading.Lock()
        self._core: int | None = None
        self._tasks: SimpleQueue[Any] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    @property
    def parts(self) -> int:
        """Into how many parts a kernel is cut, at most."""
        return self.workers + 1

    def run(self, kernel: Kernel, rows: int, *arguments: Any) -> None:
        """Call kernel(part, first, end, *arguments) for ranges of rows that together are 0 ... rows.

        The calling thread takes part 0. While another thread uses the pool, the parts run one after the other.

        Raises:
            BaseException: what a part raised, after all of them have ended.
        """
        bounds = [rows * k // self.parts for k in range(self.parts + 1)]
        first, *others = [(k, bounds[k], bounds[k + 1]) for k in range(self.parts)]
        if not self._busy.acquire(blocking=False):
            for task in (first, *others):
                kernel(*task, *arguments)
            return
        try:
            ended = _Ended()
            if self._start():
                for task in others:
                    self._tasks.put((kernel, task, arguments, ended))
            else:
                for task in others:
                    ended.add(_raised(kernel, task, arguments))
            ended.add(_raised(kernel, first, arguments))
            raised = ended.wait(self.parts)
        finally:
            self._busy.release()
        if raised is not None:
            raise raised

    def _start(self) -> bool:
        """Whether there are threads. A process that ends, or has as many as it may, gets none."""
        while len(self._threads) < self.workers:
            thread = threading.Thread(target=self._work, name="minigrad kernel", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                break
            self._threads.append(thread)
        self._keep_off_this_core()
        return bool(self._threads)

    def _work(self) -> None:
        while True:
            kernel, task, arguments, ended = self._tasks.get()
            ended.add(_raised(kernel, task, arguments))
            del kernel, task, arguments, ended

    def _keep_off_this_core(self) -> None:
        """Linux wakes a thread on the core of the one that wakes it, where it would wait: exclude that core."""
        core = _core()
        if core is None or core == self._core:
            return
        others = os.sched_getaffinity(0) - {core}
        for thread in self._threads:
            if others and thread.native_id is not None:
                with contextlib.suppress(OSError):  # a container may forbid it: slower, and still right
                    os.sched_setaffinity(thread.native_id, others)
        self._core = core


class _Ended:
    """The parts of one run that have ended, with what they raised.

    A run that is interrupted (Ctrl+C) must wait for its parts as well: they write into arrays of the user.
    """

    def __init__(self) -> None:
        self.raised: list[BaseException | None] = []
        self.news: SimpleQueue[None] = SimpleQueue()

    def add(self, raised: BaseException | None) -> None:
        self.raised.append(raised)
        self.news.put(None)

    def wait(self, count: int) -> BaseException | None:
        """Until so many have ended; what one of them raised, or else what came while waiting."""
        interrupt = None
        while len(self.raised) < count:
            try:
                with contextlib.suppress(Empty):
                    self.news.get(timeout=1)  # an interrupt may have swallowed the news
            except BaseException as error:
                interrupt = error
        return next((error for error in self.raised if error is not None), interrupt)


class Chunked:
    """A kernel written for parts, as a function of its own arrays.

    Args:
        kernel: a function of part, first row, end, stage, and arrays.
        rows: the size of the first axis.
        stages: which of the stages are cut along it. They follow one another; between them everybody waits.
        scratch: shapes and dtypes of arrays that it needs besides: temporary ones, then those for `sums`.
        sums: stage, operation, the number of the array in which each part leaves its share, and of the array that the
            result goes to (None: the first part's place).
    """

    def __init__(
        self,
        kernel: Kernel,
        rows: int,
        stages: Sequence[bool],
        scratch: Sequence[tuple[tuple[int, ...], str]],
        sums: Sequence[tuple[int, str, int, int | None]],
    ) -> None:
        self.kernel, self.rows, self.stages, self.sums = kernel, rows, stages, sums
        count = len(scratch) - len(sums)
        self.temporaries, self.shares = scratch[:count], scratch[count:]

    def __call__(self, *given: Any) -> None:
        """Run all stages. The order in which parts are added up is the same in each call."""
        threads = pool()
        arrays = [*given, *(np.empty(shape, dtype) for shape, dtype in self.temporaries)]
        arrays += [np.zeros((threads.parts, *shape[1:-1], shape[-1] + APART), dtype) for shape, dtype in self.shares]
        for number, is_cut in enumerate(self.stages):
            if is_cut:
                threads.run(self.kernel, self.rows, number, *arrays)
            else:
                self.kernel(0, 0, self.rows, number, *arrays)
            for stage, op, share, target in self.sums:
                if stage == number:
                    shares = arrays[share][: threads.parts if is_cut else 1, ..., :-APART]
                    total = REDUCTIONS[op].reduce(shares, axis=0, dtype=shares.dtype)
                    shares[0] = total
                    if target is not None:
                        arrays[target][...] = total


def _raised(kernel: Kernel, task: tuple[int, int, int], arguments: tuple[Any, ...]) -> BaseException | None:
    try:
        kernel(*task, *arguments)
    except BaseException as error:
        return error
    return None


def _core() -> int | None:
    """The core that this thread runs on, where the system tells it."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    try:
        return int(ctypes.CDLL(None).sched_getcpu())
    except (OSError, AttributeError):
        return None


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_shared: Pool | None = None


def pool() -> Pool:
    """The one pool of the process, with a thread for each core. A forked child makes its own."""
    global _shared
    if _shared is None:
        _shared = Pool(cores() - 1)
    return _shared


def _forget() -> None:
    global _shared
    _shared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
