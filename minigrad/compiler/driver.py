"""mg.compile: a step that is run once as it stands, and afterwards as the program that this has shown."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minigrad.compiler.background import Kernels, check_backend
from minigrad.compiler.kernel_files import is_available
from minigrad.compiler.numpy_source import Source
from minigrad.compiler.passes import optimized
from minigrad.compiler.recording import Recording, Result, active, record
from minigrad.compiler.state import SCALARS
from minigrad.specialize import attach
from minigrad.tensor import Tensor
from minigrad.trees import flatten


class Version:
    """The program for one signature, ready to run."""

    def __init__(self, recording: Recording, signature: Any, title: str, backend: str) -> None:
        self.recording, self.signature = recording, signature
        self.program, self.report = optimized(recording.program)
        self.source = Source(self.program, title)
        self.run = self.source.compiled()
        self.kernels: Kernels | None = None
        if backend == "numba" or (backend == "auto" and is_available()):
            self.kernels = Kernels(self.program, title)
            if backend == "numba":
                self.kernels.wait()
        self.arguments = [recording.arguments[k] for k in range(len(recording.arguments))]
        self.written = {b.place for b in self.program.stores if b.kind == "argument"}

    def fits(self) -> bool:
        """Whether what decided about the course of the step still stands."""
        return all(_stands(spot.get(), expected) for spot, expected in self.recording.guards)

    def call(self, leaves: list[Any]) -> Any:
        """Run the program on the arrays among the leaves of the arguments."""
        given = []
        for number, k in enumerate(self.arguments):
            array = leaves[k].data if isinstance(leaves[k], Tensor) else leaves[k]
            given.append(array if number in self.written or array.flags.carray else np.array(array, order="C"))
        if self.kernels is not None:
            self._take_kernels(self.kernels)
        outputs = self.run(*given)
        made = self.recording
        for spot, value in made.exits:
            spot.set(value)
        for number, k, adds in made.grads:
            t = leaves[self.arguments[number]]
            present = t.grad if adds else None
            t.grad = attach(outputs[k] if present is None else present.data + outputs[k], None)
        results = [_result(part, outputs) if isinstance(part, Result) else part for part in made.static]
        return made.rebuild(results)

    def _take_kernels(self, kernels: Kernels) -> None:
        """Go on with the numba program as soon as it is there."""
        if kernels.run is not None:
            self.run, self.source, self.kernels = kernels.run, kernels.source, None
        elif not kernels.thread.is_alive():
            kernels.warn()
            self.kernels = None


def _result(part: Result, outputs: list[Any]) -> Any:
    return attach(outputs[part.k], None) if part.is_tensor else outputs[part.k]


def _stands(now: Any, expected: Any) -> bool:
    if expected is np.ndarray:
        return not isinstance(now, SCALARS)
    return type(now) is type(expected) and now == expected


class Compiled:
    """A step and its programs, one for each signature."""

    def __init__(
        self, function: Callable[..., Any], state: Iterable[Any] = (), limit: int = 8, backend: str = "auto"
    ) -> None:
        check_backend(backend)
        self.function, self.state, self.limit, self.backend = function, list(state), limit, backend
        self.versions: dict[Any, list[Version]] = {}
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The results of the step."""
        if active.get() is not None:
            return self.function(*args, **kwargs)
        leaves, rebuild = flatten((args, kwargs))
        signature = self._signature(leaves)
        for version in self.versions.get(signature, ()):
            if version.fits():
                return version.call(leaves)
        recording = record(self.function, leaves, rebuild, self.state)
        title = f"{getattr(self.function, '__name__', 'step')}"
        self.versions.setdefault(signature, []).append(Version(recording, signature, title, self.backend))
        return recording.rebuild(recording.results)

    def wait(self, timeout: float | None = None) -> None:
        """Until the kernels of all programs so far are compiled, which otherwise happens in the background.

        Args:
            timeout: in seconds, for each program.

        Raises:
            RuntimeError: numba could not compile a kernel.
        """
        for version in (v for versions in self.versions.values() for v in versions):
            if version.kernels is not None:
                version.kernels.wait(timeout)

    def _signature(self, leaves: list[Any]) -> Any:
        key: list[Any] = []
        for x in leaves:
            data = x.data if isinstance(x, Tensor) else x
            if isinstance(data, np.ndarray):
                key.append((type(x), data.shape, data.dtype, getattr(x, "requires_grad", False)))
            else:
                key.append((type(x), x if isinstance(x, SCALARS) else id(x)))
        return tuple(key)


def compile(function: Any = None, *, state: Iterable[Any] = (), limit: int = 8, backend: str = "auto") -> Any:
    """The step as a program that is recorded in its first call, without Python's and the tape's share of the time.

    Works on any function of Tensors and arrays, also on a whole training step: forward and backward pass, clipping,
    optimizer, running statistics and dropout. The first call with new shapes and dtypes runs the function as it is and
    records what it does to arrays; later ones run the recorded program.

    Args:
        function: the step.
        state: objects with arrays that the step changes and that the compiler cannot find in its closure, globals,
            bound object and arguments.
        limit: how many programs are kept.
        backend: "numpy"; "numba", whose kernels the first call waits for; "auto" begins with NumPy, compiles kernels
            in the background where numba is installed, and goes on with them when they are ready.

    Raises:
        ImportError: backend="numba", and numba is not installed.
        CompileError: the step does what cannot be recorded: it reads an array's elements in Python, changes a Python
            number, has shapes that depend on values, or writes into an array that the compiler was not shown.

    Example:
        >>> import minigrad as mg
        >>> step = mg.compile(lambda x: (x * x).sum())
        >>> float(step(np.array([1.0, 2.0]))), float(step(np.array([3.0, 4.0])))
        (5.0, 25.0)
    """
    if function is None:
        return functools.partial(compile, state=state, limit=limit, backend=backend)
    return Compiled(function, state, limit, backend)
