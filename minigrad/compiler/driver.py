"""mg.compile: a step that is run once as it stands, and afterwards as the program that this has shown."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minigrad.compiler.background import check_backend
from minigrad.compiler.derivative import connect
from minigrad.compiler.guards import same
from minigrad.compiler.memory import owner
from minigrad.compiler.recording import active
from minigrad.compiler.refusal import CheckFailed, CompileError
from minigrad.compiler.session import record
from minigrad.compiler.state import SCALARS
from minigrad.compiler.version import Signature, Version
from minigrad.node import mode
from minigrad.tensor import Tensor
from minigrad.trees import flatten

FLAT = frozenset({np.ndarray, Tensor, bool, int, float, str})  # arguments without a structure


class Compiled:
    """A step and its programs, one for each signature: shapes, dtypes and Python values of the arguments.

    `source` is the program of the latest call as Python source, `explain()` says what was made of the step.
    """

    def __init__(
        self, function: Callable[..., Any], state: Iterable[Any] = (), limit: int = 8, backend: str = "auto"
    ) -> None:
        check_backend(backend)
        self.function, self.state, self.limit, self.backend = opened(function), list(state), limit, backend
        self.versions: dict[Signature, list[Version]] = {}
        self.latest: Version | None = None
        self.owned: dict[int, Any] = {}  # memory of the state
        self.derivatives: dict[Any, Compiled] = {}
        self.lock = threading.RLock()  # a program's memory serves one call at a time
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The results of the step."""
        rebuild: Any
        form: Any
        if active.get() is not None:  # inside another step that is being compiled, it is a part of that
            return self.function(*args, **kwargs)
        latest = self.latest
        if not kwargs and latest is not None and latest.takes(args):
            with self.lock:
                if latest.fits():
                    try:
                        return connect(self, latest, args, _positional, latest.call(args))
                    except CheckFailed:  # nothing is changed yet: the step itself says what is wrong
                        return self.function(*args)
        if not kwargs and FLAT.issuperset(map(type, args)):
            leaves, rebuild, form = list(args), _positional, len(args)
        else:
            (leaves, rebuild), form = flatten((args, kwargs)), form_of((args, kwargs))
        with self.lock:
            signature = self.signature(leaves, form)
            for version in self.versions.get(signature, ()):
                if version.fits():
                    self.latest = version
                    try:
                        return connect(self, version, leaves, rebuild, version.call(leaves))
                    except CheckFailed:
                        return self.function(*args, **kwargs)
            return self._compiled(leaves, rebuild, form)

    def _compiled(self, leaves: list[Any], rebuild: Any, form: Any) -> Any:
        """Run the step itself, and make a program of what it does."""
        recording = record(self.function, leaves, rebuild, self.state)
        self.owned |= recording.owned
        version = Version(recording, self.signature(leaves, form), self.name, self.backend, self.owned)
        self._make_room(version)
        self.versions.setdefault(version.signature, []).append(version)
        self.latest = version
        return connect(self, version, leaves, rebuild, recording.rebuild(recording.results))

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

    @property
    def name(self) -> str:
        """What the step is called."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """A compiled function in a class is a method, with a compiled step for each object."""
        if instance is None:
            return self
        made = Compiled(self.function.__get__(instance), self.state, self.limit, self.backend)
        vars(instance)[self.name] = made
        return made

    def signature(self, leaves: list[Any], form: Any) -> Signature:
        """What decides which program runs: the arguments as a list, and the structure that they stand in."""
        key: list[Any] = [(mode.get() is not None, form)]
        for x in leaves:
            array = x.data if isinstance(x, Tensor) else x
            if not isinstance(array, np.ndarray):
                key.append((type(x), x if isinstance(x, SCALARS) else id(x)))
                continue
            root = owner(array) if array.base is not None else array
            shared = None
            if id(root) in self.owned:
                shared = (id(root), array.__array_interface__["data"][0], array.strides)
            node = x.node if isinstance(x, Tensor) else None
            key.append((type(x), array.shape, array.dtype, node is not None, shared))
        return tuple(key)

    def derivative(self, key: Any, line: Any) -> Compiled:
        """The compiled function that pulls through this one."""
        if key not in self.derivatives:
            self.derivatives[key] = Compiled(line.shares, self.state, self.limit, self.backend)
        return self.derivatives[key]

    def _make_room(self, new: Version) -> None:
        """Forget the oldest program when there are too many, and say why there are."""
        kept = [version for versions in self.versions.values() for version in versions]
        if len(kept) < self.limit:
            return
        oldest = kept[0]
        siblings = self.versions[oldest.signature]
        siblings.remove(oldest)
        if not siblings:
            del self.versions[oldest.signature]
        warnings.warn(
            f"mg.compile: {self.name} was compiled for more than {self.limit} signatures, and the oldest program is "
            f"forgotten. What changed last: {self.difference(kept[-1], new)}. Keep it the same (pad batches, "
            "drop_last=True), pass numbers that change as arrays, or raise limit=.",
            stacklevel=4,
        )

    def difference(self, old: Version, new: Version) -> str:
        """What tells two signatures apart."""
        if len(old.signature) != len(new.signature):
            return f"the number of arguments, {len(old.signature) - 1} to {len(new.signature) - 1}"
        for k, (a, b) in enumerate(zip(old.signature, new.signature, strict=True)):
            if a != b:
                if not k:
                    return "whether operations are recorded" if a[1] == b[1] else "the structure of the arguments"
                return f"argument {k - 1}, {_told(a)} to {_told(b)}"
        for spot, value in old.recording.guards:
            if not same(spot.get(), value):
                return f"{spot.path}, {value!r} to {spot.get()!r}"
        for spot, value in old.recording.held:
            if spot.get() is not value:
                return f"{spot.path}, another object in the place of the one that was there"
        return "the state of the step"

    # What the user looks at

    @property
    def source(self) -> str:
        """The program of the latest call as Python source. It runs on its own: bind(**arrays) gives the step."""
        return self._latest().source.text

    @property
    def arrays(self) -> dict[str, Any]:
        """What `bind` in the source is called with: the arrays of the step's state, and Generators."""
        return self._latest().source.bound()

    def explain(self) -> str:
        """What was made of the step: for each signature the operations before and after each pass, and the memory."""
        self._latest()
        parts = []
        for signature, versions in self.versions.items():
            for version in versions:
                told = ", ".join(_told(part) for part in signature[1:]) or "no arguments"
                lines = [f"{self.name}({told})"]
                width = max(len(name) for name, _ in version.report)
                lines += [f"    {name:<{width}}  {count:5d} operations" for name, count in version.report]
                source = version.source
                work = f"{len(source.body) - 1 - source.single} NumPy calls"
                work += f", {source.single} lines of single numbers" * bool(source.single)
                lines.append(f"    {work}; {source.memory()}; compiled in {version.seconds:.2f} s")
                parts.append("\n".join(lines))
        return "\n\n".join(parts)

    def _latest(self) -> Version:
        if self.latest is None:
            raise CompileError(f"mg.compile: {self.name} was not called yet, so there is no program.\nWay out: call it")
        return self.latest


def opened(function: Any) -> Any:
    """A partial as a function with a closure, whose arrays and Generators can be replaced by listening ones."""
    if not isinstance(function, functools.partial):
        return function
    inner, fixed, options = opened(function.func), function.args, dict(function.keywords)

    def step(*args: Any, **kwargs: Any) -> Any:
        return inner(*fixed, *args, **{**options, **kwargs})

    return step


def form_of(tree: Any) -> Any:
    """The structure of nested arguments, without their leaves."""
    if isinstance(tree, dict):
        return tuple((key, form_of(part)) for key, part in tree.items())
    if isinstance(tree, (tuple, list)):
        return type(tree), tuple(map(form_of, tree))
    return None if tree is None else "*"


def _positional(leaves: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return tuple(leaves), {}


def _told(part: Any) -> str:
    """A part of a signature in words."""
    if len(part) == 2:
        return repr(part[1])
    return f"{part[1]} {part[2]}"


def compile(function: Any = None, *, state: Iterable[Any] = (), limit: int = 8, backend: str = "auto") -> Any:
    """The step as a program that is recorded in its first call, without Python's and the tape's share of the time.

    Works on any function of Tensors and arrays, also on a whole training step: forward and backward pass, clipping,
    optimizer, running statistics and dropout. The first call with new shapes and dtypes runs the function as it is and
    records what it does to arrays; later ones run the recorded program. What the function does besides (print, append
    to a list) happens in the first call only. Results are new arrays. docs/compile.md says more.

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
            number, has shapes that depend on values, or writes into an array that the compiler was not shown. Nothing
            is changed then.

    Example:
        >>> import minigrad as mg
        >>> step = mg.compile(lambda x: (x * x).sum())
        >>> float(step(np.array([1.0, 2.0]))), float(step(np.array([3.0, 4.0])))
        (5.0, 25.0)
    """
    if function is None:
        return functools.partial(compile, state=state, limit=limit, backend=backend)
    return Compiled(function, state, limit, backend)
