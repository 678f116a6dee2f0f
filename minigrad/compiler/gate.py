"""A lock that `os.fork` waits for.

A forked child only has the forking thread. What other threads were doing stays half done there, and what they had
locked stays locked: our locks, those of modules that were being imported, LLVM's. So a fork waits until nothing is
compiled, which takes at most a kernel or two, and the child can compile like any other process.
"""

from __future__ import annotations

import logging  # noqa: F401  (registers a lock for forks, which must come before ours: see `Gate.watch`)
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# Imported with the compiler, not in `watch`: if a thread forks during an import, the module stays locked in its child
# forever.
with suppress(RuntimeError):  # at exit nothing can be registered, and no thread can start
    import concurrent.futures.thread  # noqa: F401

PATIENCE = 15.0  # seconds for each of two locks; a kernel takes less, unless it waits for a lock of the forking thread


class Gate:
    """A reentrant lock. While a fork waits for it, no other thread takes it.

    `is_broken` is True in a child whose fork did not get it in time, so that what it protects may be half done.

    Example:
        >>> gate = Gate()
        >>> gate.watch()
        >>> with gate.held():
        ...     gate.is_broken
        False
    """

    def __init__(self) -> None:
        self.is_broken = False
        self._forking = threading.local()  # the locks that the present fork in this thread has taken
        self._is_watching = False
        self._make()

    def watch(self) -> None:
        """Let forks wait from now on. Called before the first thread starts that will hold the lock.

        Hooks that are registered last are called first. Logging and concurrent.futures register their own locks, which
        numba needs while it is imported: ours must be taken before theirs, or two threads could wait for each other.
        """
        if self._is_watching or not hasattr(os, "register_at_fork"):
            return
        with suppress(RuntimeError):  # at exit nothing can be registered
            os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self._in_child)
        self._is_watching = True

    def _make(self) -> None:
        self._turn, self._work = threading.RLock(), threading.RLock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. Forks in other threads wait inside the block."""
        turn, work = self._turn, self._work  # these, even if a fork inside the block replaces them
        with turn:  # a waiting fork holds it: locks are not fair, and the next kernel might come first
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
        """The locks taken by the present fork: none if another thread called `watch` during it."""
        return getattr(self._forking, "taken", [])
