"""The program with kernels, compiled while the NumPy program already runs, and used once it is ready."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minigrad.compiler.ir.program import Program
from minigrad.compiler.kernels import files as kernel_files
from minigrad.compiler.kernels import store as kernel_store
from minigrad.compiler.kernels import worker as kernel_worker
from minigrad.compiler.kernels.threads import cores

if TYPE_CHECKING:
    from minigrad.compiler.kernels.numba_backend import NumbaSource

BACKENDS = ("auto", "numpy", "numba")
# Seconds of a program's life before work for kernels starts: as many as that work takes. So a run never takes twice as
# long as without kernels, and a short run does not pay for what it does not use.
BEFORE_REQUEST, FOR_EACH_OP = 0.05, 0.0003
BEFORE_IMPORT = 0.5


def check_backend(backend: str) -> None:
    """Raise an error for an unknown back end, and for numba where it is not installed."""
    if backend not in BACKENDS:
        raise ValueError(f"compile(backend={backend!r}): must be 'auto', 'numpy' or 'numba'")
    if backend == "numba" and not kernel_files.is_available():
        raise ImportError("compile(backend='numba') needs numba: pip install 'minigrad[jit]'. Or leave backend out")


class Kernels:
    """The numba program of a specialization, whose kernels another process compiles.

    Args:
        program: the program, some ops of which kernels may replace.
        title: the name of the step.
        urgency: how often the program was called; None once nothing uses it any more.
    """

    def __init__(self, program: Program, title: str, urgency: Callable[[], float | None]) -> None:
        self.program, self.title = program, title
        self.source: NumbaSource | None = None
        self.error: BaseException | None = None
        self.run: Callable[..., Any] | None = None
        self._urgency = urgency
        self._requests: list[kernel_worker.Request] = []
        self._process, self._lock, self._is_asked = os.getpid(), threading.Lock(), False
        self._wait_for = BEFORE_REQUEST + FOR_EACH_OP * len(program.ops)

    @property
    def is_over(self) -> bool:
        """Whether there is a program with kernels, or never will be."""
        return self.run is not None or self.error is not None

    def proceed(self, age: float) -> None:
        """Start or finish the compilation where it pays by now, without waiting. Called between two steps.

        Args:
            age: seconds for which the NumPy program has been in use.
        """
        if self.is_over or age < self._wait_for or not self._own_lock().acquire(blocking=False):
            return
        try:
            self._request()
            if "numba" in sys.modules or age >= BEFORE_IMPORT:
                self._link()
        finally:
            self._lock.release()
        kernel_store.warn()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the program is ready.

        Raises:
            RuntimeError: it could not be compiled.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._own_lock():
            self._request(hurry=True)
            for request in self._requests:
                request.done.wait(None if end is None else max(0.0, end - time.monotonic()))
            self._link(may_make=True)
        kernel_store.warn()
        if self.error is not None:
            raise RuntimeError(f"the kernels of {self.title} could not be compiled: {self.error}") from self.error

    def _own_lock(self) -> threading.Lock:
        """The lock of this process: a forked child has its own, and none of its parent's requests."""
        if self._process != os.getpid():
            self._process, self._lock, self._requests, self._is_asked = os.getpid(), threading.Lock(), [], False
        return self._lock

    def warn(self) -> None:
        """Warn that there are no kernels, and why."""
        warnings.warn(
            f"mg.compile: the kernels of {self.title} could not be compiled ({type(self.error).__name__}: "
            f"{self.error}); the NumPy program continues. backend='numpy' avoids this message.",
            RuntimeWarning,
            stacklevel=4,
        )

    def _request(self, hurry: bool = False) -> None:
        """Request the kernels, if that has not been done yet."""
        if not (self._is_asked or self.is_over):
            self._is_asked = True
            try:
                if self.source is None:
                    from minigrad.compiler.kernels.numba_backend import NumbaSource

                    self.source = NumbaSource(self.program, self.title)
                self._requests = self._requested(self.source)
            except kernel_worker.Unavailable as error:
                if not hurry:  # a caller that waits compiles them here
                    self.error = error
            except Exception as error:
                self.error = error
        if hurry and self._requests:
            kernel_worker.workers().hurry(min(4, cores()))

    def _requested(self, source: NumbaSource) -> list[kernel_worker.Request]:
        jobs = [kernel_files.job(*arguments) for arguments in source.kernel_arguments()]
        requests = [kernel_files.request(job, self._urgency) for job in dict.fromkeys(jobs)]
        return [request for request in requests if request is not None]

    def _link(self, may_make: bool = False) -> None:
        """Load the machine code, if all of it is there. A caller that waits may have to compile it."""
        if self.is_over or not all(request.done.is_set() for request in self._requests):
            return
        assert self.source is not None
        try:
            for request in self._requests:
                if not (may_make and request.answer.is_lost):
                    kernel_files.take(request)
            self.run = self.source.compiled()
        except Exception as error:  # reported by wait or warn
            self.error = error
        self._requests = []
