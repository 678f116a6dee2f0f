"""A lock that `os.fork` waits for.

A forked child has the forking thread only. What another thread was in the middle of stays half done there, and what it
had locked stays locked: our locks, those of modules that it was importing, LLVM's. So a fork waits until nobody
compiles, which is at most a kernel or two, and the child can compile like any other process.
"""

from __future__ import annotations

import logging  # noqa: F401  (registers a lock for forks, which must come before ours: see `Gate.watch`)
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# With the first use of the compiler, not in `watch`: a thread that forks at the moment of an import would leave the
# module locked in its child for ever.
with suppress(RuntimeError):  # while the process ends nothing can be registered; no thread can begin either
    import concurrent.futures.thread  # noqa: F401

PATIENCE = 15.0  # seconds, for each of two locks. A kernel takes less, unless it waits for what the forking thread has


class Gate:
    """A reentrant lock. While a fork waits for it, no other thread takes it.

    `is_broken` says that this is a child which did not get it in time, so that what it protects may be half done.

    Example:
        >>> gate = Gate()
        >>> gate.watch()
        >>> with gate.held():
        ...     gate.is_broken
        False
    """

    def __init__(self) -> None:
        self.is_broken = False
        self._forking = threading.local()  # which of the two locks the fork under way in this thread has
        self._is_watching = False
        self._make()

    def watch(self) -> None:
        """Let forks wait from now on. Called before the first thread begins that will hold the lock.

        What is registered last is called first. Logging and concurrent.futures register locks of their own, which numba
        needs while it is imported: ours must be taken before theirs, or each thread would wait for the other.
        """
        if self._is_watching or not hasattr(os, "register_at_fork"):
            return
        with suppress(RuntimeError):  # while the process ends nothing can be registered
            os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self._in_child)
        self._is_watching = True

    def _make(self) -> None:
        self._turn, self._work = threading.RLock(), threading.RLock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. Inside, fork waits, except in this thread."""
        turn, work = self._turn, self._work  # these, also if they are others after a fork inside
        with turn:  # a fork keeps it while it waits: locks are not fair, and the next kernel would come first
            work.acquire()
        try:
            yield
        finally:
            work.release()

    def _before(self) -> None:
        both = (self._turn, self._work)
        self._forking.taken = [lock for lock in both if lock.acquire(timeout=PATIENCE)]

    def _after(self) -> None:
        for lock in reversed(self._taken()):
            lock.release()

    def _in_child(self) -> None:
        if self._work not in self._taken():
            self.is_broken = True
        self._after()
        self._make()

    def _taken(self) -> list[Any]:
        """What the fork under way has locked: nothing if another thread began to watch in the middle of it."""
        return getattr(self._forking, "taken", [])
