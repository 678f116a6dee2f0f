"""The program with kernels, made while the NumPy program already runs, and put in its place when it is ready."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from minigrad.compiler import kernel_files, kernel_store
from minigrad.compiler.program import Program

BACKENDS = ("auto", "numpy", "numba")


def check_backend(backend: str) -> None:
    """Refuse an unknown back end, and numba where it is not installed."""
    if backend not in BACKENDS:
        raise ValueError(f"compile(backend={backend!r}): must be 'auto', 'numpy' or 'numba'")
    if backend == "numba" and not kernel_files.is_available():
        raise ImportError("compile(backend='numba') needs numba: pip install 'minigrad[jit]'. Or leave backend out")


class Kernels:
    """The numba program of a version: compiled at once (`wait`) or in a thread of its own.

    `run` and `source` are there when the program is ready. Both programs write into the same arrays of the user, so
    they may take turns from step to step.
    """

    def __init__(self, program: Program, title: str) -> None:
        self.program, self.title = program, title
        self.source: Any = None
        self.error: BaseException | None = None
        self._run: Callable[..., Any] | None = None
        self._start()

    @property
    def run(self) -> Callable[..., Any] | None:
        """The step with kernels, as soon as it is ready. Called between two steps, in the user's thread."""
        if self._run is not None:
            kernel_store.warn()
        return self._run

    @property
    def thread(self) -> threading.Thread:
        """The thread that compiles. A forked child has none of its parent's threads, and begins again."""
        if self._process != os.getpid() and self._run is None and self.error is None:
            self._start()
        return self._thread

    def wait(self, timeout: float | None = None) -> None:
        """Until the program is ready.

        Raises:
            RuntimeError: it could not be made.
        """
        thread = self.thread
        if thread.ident is None:  # not started, because the process ends
            self._make()
        else:
            thread.join(timeout)
        kernel_store.warn()
        if self.error is not None:
            raise RuntimeError(f"the kernels of {self.title} could not be compiled: {self.error}") from self.error

    def warn(self) -> None:
        """Say once why there are no kernels."""
        if self.error is not None:
            error, self.error = self.error, None
            warnings.warn(
                f"mg.compile: the kernels of {self.title} could not be compiled ({type(error).__name__}: {error}); the "
                "NumPy program goes on. backend='numpy' avoids this message.",
                RuntimeWarning,
                stacklevel=4,
            )

    def _start(self) -> None:
        kernel_files.gate.watch()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._make, name="minigrad compiler", daemon=False)
        with suppress(RuntimeError):  # no threads are left, or the process ends: NumPy goes on
            self._thread.start()

    def _make(self) -> None:
        if _is_ending():
            return
        try:
            with kernel_files.gate.held():
                from minigrad.compiler.numba_source import NumbaSource
            source = NumbaSource(self.program, self.title)
            for load in source.loads():
                if _is_ending():
                    return
                load()
            run = source.compiled()
        except Exception as error:  # told by wait or warn, in the user's thread
            self.error = error
        else:
            self.source = source
            self._run = run  # last: it says that both are there


def _is_ending() -> bool:
    """Whether the process ends: it waits for threads that are no daemons, and no further kernel need be compiled.

    So the import of numba, too, is over before functions of atexit run, among which it has some.
    """
    return not threading.main_thread().is_alive()
