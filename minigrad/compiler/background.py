"""The program with kernels, made while the NumPy program already runs, and put in its place when it is ready."""

from __future__ import annotations

import atexit
import threading
import warnings
from collections.abc import Callable
from typing import Any

from minigrad.compiler import kernel_files
from minigrad.compiler.program import Program

BACKENDS = ("auto", "numpy", "numba")
_ending = threading.Event()


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
        self.run: Callable[..., Any] | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._make, name="minigrad compiler", daemon=True)
        self.thread.start()

    def wait(self, timeout: float | None = None) -> None:
        """Until the program is ready.

        Raises:
            RuntimeError: it could not be made.
        """
        self.thread.join(timeout)
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

    def _make(self) -> None:
        from minigrad.compiler.numba_source import NumbaSource

        try:
            source = NumbaSource(self.program, self.title)
            for load in source.loads():
                if _ending.is_set():
                    return
                load()
            run = source.compiled()
        except Exception as error:  # told by wait or warn, in the user's thread
            self.error = error
        else:
            self.source, self.run = source, run


def _stop() -> None:
    """At the end of the process let the kernel that is being compiled come to its end, and no other begin."""
    _ending.set()
    for thread in threading.enumerate():
        if thread.name == "minigrad compiler":
            thread.join(10)


atexit.register(_stop)
