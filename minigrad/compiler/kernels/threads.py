"""Threads for kernels over large arrays: a kernel that releases the GIL runs on ranges of rows in parallel.

numba's own `parallel=True` is not used: it takes several times as long to compile, some of its threading layers abort
when two Python threads use them at once, and OpenMP's threads compete with those of the matrix products. Starting the
threads costs about 50 to 100 microseconds, so it pays from about a million elements on.
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
PADDING = 64  # elements between the sums of two parts: cores that write to one cache line would wait for each other


class Pool:
    """Worker threads that run parts of a kernel.

    Args:
        workers: the number of threads in addition to the calling one.

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
        """The number of parts into which a kernel is split."""
        return self.workers + 1

    def run(self, kernel: Kernel, rows: int, *arguments: Any) -> None:
        """Call kernel(part, first, end, *arguments) for consecutive ranges of rows, from 0 to `rows`.

        The calling thread runs part 0. If another thread is using the pool, the parts run one after the other.

        Raises:
            BaseException: the first exception of a part, after all parts have ended.
        """
        bounds = [rows * k // self.parts for k in range(self.parts + 1)]
        first, *others = [(k, bounds[k], bounds[k + 1]) for k in range(self.parts)]
        if not self._busy.acquire(blocking=False):
            for task in (first, *others):
                kernel(*task, *arguments)
            return
        try:
            outcomes = _Outcomes()
            if self._start():
                for task in others:
                    self._tasks.put((kernel, task, arguments, outcomes))
            else:
                for task in others:
                    outcomes.add(_exception_of(kernel, task, arguments))
            outcomes.add(_exception_of(kernel, first, arguments))
            raised = outcomes.wait(self.parts)
        finally:
            self._busy.release()
        if raised is not None:
            raise raised

    def _start(self) -> bool:
        """Start missing threads. Returns whether there are any: a process that ends, or is at its limit, gets none."""
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
            kernel, task, arguments, outcomes = self._tasks.get()
            outcomes.add(_exception_of(kernel, task, arguments))
            del kernel, task, arguments, outcomes

    def _keep_off_this_core(self) -> None:
        """Exclude this thread's core: Linux would wake the other threads on it, where they would have to wait."""
        core = _core()
        if core is None or core == self._core:
            return
        others = os.sched_getaffinity(0) - {core}
        for thread in self._threads:
            if others and thread.native_id is not None:
                with contextlib.suppress(OSError):  # a container may forbid it: slower, but correct
                    os.sched_setaffinity(thread.native_id, others)
        self._core = core


class _Outcomes:
    """The parts of one run that have ended, with their exceptions.

    An interrupted run (Ctrl+C) must also wait for its parts: they write into the user's arrays.
    """

    def __init__(self) -> None:
        self.raised: list[BaseException | None] = []
        self.signals: SimpleQueue[None] = SimpleQueue()

    def add(self, raised: BaseException | None) -> None:
        self.raised.append(raised)
        self.signals.put(None)

    def wait(self, count: int) -> BaseException | None:
        """Wait until `count` parts have ended. Returns an exception of a part, or else one that came while waiting."""
        interrupt = None
        while len(self.raised) < count:
            try:
                with contextlib.suppress(Empty):
                    self.signals.get(timeout=1)  # an interrupt may have removed an entry
            except BaseException as error:
                interrupt = error
        return next((error for error in self.raised if error is not None), interrupt)


class Chunked:
    """A kernel written for parallel chunks, as a function of its arrays.

    Args:
        kernel: a function of part, first row, end, stage, and arrays.
        rows: the size of the first axis.
        stages: for each stage whether it is split along that axis. All parts of a stage end before the next stage.
        scratch: shapes and dtypes of additional arrays: temporary ones, then those for `sums`.
        sums: stage, operation, the number of the array that holds the sum of each part, and of the array that the
            result goes to (None: the place of the first part).
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
        self.temporaries, self.partial_sums = scratch[:count], scratch[count:]

    def __call__(self, *arrays_of_kernel: Any) -> None:
        """Run all stages. Sums of parts are added in the same order in each call."""
        threads = pool()
        arrays = [*arrays_of_kernel, *(np.empty(shape, dtype) for shape, dtype in self.temporaries)]
        arrays += [
            np.zeros((threads.parts, *shape[1:-1], shape[-1] + PADDING), dtype) for shape, dtype in self.partial_sums
        ]
        for number, is_split in enumerate(self.stages):
            if is_split:
                threads.run(self.kernel, self.rows, number, *arrays)
            else:
                self.kernel(0, 0, self.rows, number, *arrays)
            for stage, op, partial, target in self.sums:
                if stage == number:
                    sums = arrays[partial][: threads.parts if is_split else 1, ..., :-PADDING]
                    total = REDUCTIONS[op].reduce(sums, axis=0, dtype=sums.dtype)
                    sums[0] = total
                    if target is not None:
                        arrays[target][...] = total


def _exception_of(kernel: Kernel, task: tuple[int, int, int], arguments: tuple[Any, ...]) -> BaseException | None:
    try:
        kernel(*task, *arguments)
    except BaseException as error:
        return error
    return None


def _core() -> int | None:
    """The core that this thread runs on, if the system tells."""
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
