"""The program with kernels, made while the NumPy program already runs, and put in its place when it is ready."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minigrad.compiler.ir.program import Program
from minigrad.compiler.kernels import files as kernel_files
from minigrad.compiler.kernels import store as kernel_store
from minigrad.compiler.kernels import worker as kernel_worker
from minigrad.compiler.kernels.threads import cores

if TYPE_CHECKING:
    from minigrad.compiler.kernels.numba_backend import NumbaSource
    from minigrad.compiler.specialization import Specialization

BACKENDS = ("auto", "numpy", "numba")
# In seconds of a program's life. Whatever is done for kernels is not done before as much time as it takes has passed:
# then a run is never twice as long as without kernels, and one that ends soon does not pay for what it does not use.
BEFORE_REQUEST, FOR_EACH_OP = 0.05, 0.0003
BEFORE_IMPORT = 0.5


def check_backend(backend: str) -> None:
    """Refuse an unknown back end, and numba where it is not installed."""
    if backend not in BACKENDS:
        raise ValueError(f"compile(backend={backend!r}): must be 'auto', 'numpy' or 'numba'")
    if backend == "numba" and not kernel_files.is_available():
        raise ImportError("compile(backend='numba') needs numba: pip install 'minigrad[jit]'. Or leave backend out")


class Kernels:
    """The numba program of a version, whose kernels another process compiles.

    Args:
        program: with ops in the places of which kernels may stand.
        title: what the step is called.
        version: whose program it is. It is held weakly: nobody needs kernels for a program that is gone.
    """

    def __init__(self, program: Program, title: str, version: Specialization) -> None:
        self.program, self.title = program, title
        self.source: NumbaSource | None = None
        self.error: BaseException | None = None
        self.run: Callable[..., Any] | None = None
        self._version = weakref.ref(version)
        self._requests: list[kernel_worker.Request] = []
        self._process, self._lock, self._is_asked = os.getpid(), threading.Lock(), False
        self._wait_for = BEFORE_REQUEST + FOR_EACH_OP * len(program.ops)

    @property
    def is_over(self) -> bool:
        """Whether there is a program with kernels, or there never will be."""
        return self.run is not None or self.error is not None

    def proceed(self, age: float) -> None:
        """Do what is worth it by now, without waiting. Called between two steps, in the user's thread.

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
        """Until the program is ready.

        Raises:
            RuntimeError: it could not be made.
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
        """A forked child has locks of its own, and none of its parent's requests."""
        if self._process != os.getpid():
            self._process, self._lock, self._requests, self._is_asked = os.getpid(), threading.Lock(), [], False
        return self._lock

    def warn(self) -> None:
        """Say why there are no kernels."""
        warnings.warn(
            f"mg.compile: the kernels of {self.title} could not be compiled ({type(self.error).__name__}: "
            f"{self.error}); the NumPy program goes on. backend='numpy' avoids this message.",
            RuntimeWarning,
            stacklevel=4,
        )

    def _request(self, hurry: bool = False) -> None:
        """Have kernels made, if that has not happened yet."""
        if not (self._is_asked or self.is_over):
            self._is_asked = True
            try:
                if self.source is None:
                    from minigrad.compiler.kernels.numba_backend import NumbaSource

                    self.source = NumbaSource(self.program, self.title)
                self._requests = self._requested(self.source)
            except kernel_worker.Unavailable as error:
                if not hurry:  # who waits has them compiled here
                    self.error = error
            except Exception as error:
                self.error = error
        if hurry and self._requests:
            kernel_worker.workers().hurry(min(4, cores()))

    def _requested(self, source: NumbaSource) -> list[kernel_worker.Request]:
        jobs = [kernel_files.job(*arguments) for arguments in source.kernel_arguments()]
        found = [kernel_files.request(job, self._urgency()) for job in dict.fromkeys(jobs)]
        return [request for request in found if request is not None]

    def _urgency(self) -> Callable[[], float | None]:
        reference = self._version

        def urgency() -> float | None:
            """How often the program was called; None when nobody has it any more."""
            return None if (version := reference()) is None else version.calls

        return urgency

    def _link(self, may_make: bool = False) -> None:
        """Load the machine code, if all of it is there. Who waits may have to make it."""
        if self.is_over or not all(request.done.is_set() for request in self._requests):
            return
        assert self.source is not None
        try:
            for request in self._requests:
                if not (may_make and request.answer.is_lost):
                    kernel_files.take(request)
            self.run = self.source.compiled()
        except Exception as error:  # told by wait or warn
            self.error = error
        self._requests = []
