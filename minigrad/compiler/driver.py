"""mg.compile: a step that is run as it stands until it is known, and then as the program that it has shown.

A call is one of four: a recording (the real call on tracer arrays), a call of the program, an audit (both, compared), or
an eager call. The first two calls of every specialization are recordings, and their programs must be the same.
"""

from __future__ import annotations

import functools
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minigrad import observers
from minigrad.compiler.audit import Audit, gap
from minigrad.compiler.background import check_backend
from minigrad.compiler.checks import errors_raise
from minigrad.compiler.compare import difference
from minigrad.compiler.context import active
from minigrad.compiler.derivative import Replay, connect
from minigrad.compiler.guards import Difference, is_number
from minigrad.compiler.refusal import CheckFailed, CompileError, CompileWarning
from minigrad.compiler.session import Recording, TraceSession
from minigrad.compiler.signature import Signature, UnsupportedArgument, flatten, shown, signature
from minigrad.compiler.specialization import Inputs, Specialization
from minigrad.naming import probe
from minigrad.reach import StateRef, register_opaque
from minigrad.tensor import Tensor

FLAT = frozenset({np.ndarray, Tensor, bool, int, float, str})  # arguments without a structure
IN_A_ROW = 8  # specializations because of one place, after which the step runs eagerly
FALLBACKS = ("warn", "raise")


class Compiled:
    """A step and its programs, one for each signature and state: shapes, dtypes and Python values that it reads.

    `source` is the program of the latest call as Python source, `explain()` says what was made of the step.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        state: Iterable[Any] = (),
        limit: int = 8,
        backend: str = "auto",
        fallback: str = "warn",
        audit: bool = True,
        verify: bool = False,
    ) -> None:
        check_backend(backend)
        if fallback not in FALLBACKS:
            raise ValueError(f"compile(fallback={fallback!r}): must be 'warn' or 'raise'")
        self.function, self.state, self.limit, self.backend = function, list(state), limit, backend
        self.fallback, self.audit, self.verify = fallback, audit, verify
        self.versions: list[Specialization] = []
        self.latest: Specialization | None = None
        self.eager = False  # whether the step runs as it stands, for good
        self.why: str | None = None  # and why
        self.owned: dict[int, Any] = {}  # memory of the state
        self.varying: set[Any] = set()  # numbers that are inputs
        self.pinned: set[Any] = set()  # numbers that cannot be
        self.fetched: set[Any] = set()  # places whose arrays are inputs
        self.derivatives: dict[Any, Compiled] = {}
        self.instances: weakref.WeakKeyDictionary[Any, Compiled] = weakref.WeakKeyDictionary()
        self.recordings = 0
        self.discarded = 0
        self.streak: tuple[str, int] = ("", 0)
        self._renew_lock()
        if hasattr(os, "register_at_fork"):
            renew = weakref.WeakMethod(self._renew_lock)
            os.register_at_fork(after_in_child=lambda: (f := renew()) and f())
        functools.update_wrapper(self, function)

    def _renew_lock(self) -> None:
        self.lock = threading.RLock()  # a program's memory serves one call at a time

    def minigrad_reach(self) -> list[Any]:
        """What stands for this among what another step reaches."""
        return [self.function, self.state]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The results of the step."""
        if self.eager or active.get() is not None or _is_watched():
            return self.function(*args, **kwargs)
        latest = self.latest
        if not kwargs and latest is not None and latest.takes(args):
            with self.lock:
                if latest.ready and (inputs := latest.matches(args)) is not None:
                    return self._run(latest, args, inputs, args, kwargs)
        with self.lock:
            return self._dispatch(args, kwargs)

    def _dispatch(self, args: Any, kwargs: Any) -> Any:
        """Find the specialization for these arguments and this state, or make one."""
        if self.eager:
            return self.function(*args, **kwargs)
        leaves, rebuild, form = flatten((args, kwargs))
        if not kwargs and FLAT.issuperset(map(type, args)):
            form = len(args)
        keep: list[Any] = []
        try:
            key = signature(leaves, form, self.owned, self.varying, keep)
        except UnsupportedArgument as error:
            return self._refused(CompileError(f"mg.compile: {self.name}: {error}"), args, kwargs)
        for version in self.versions:
            if version.signature == key and (inputs := version.matches(leaves)) is not None:
                if version.ready:
                    self.latest = version
                    return self._run(version, leaves, inputs, args, kwargs)
                return self._record(leaves, rebuild, key, keep, version, args, kwargs)
        if not self._generalize(key, leaves, form, keep):
            return self._refused(CompileError(self._too_many(key, leaves)), args, kwargs)
        key = signature(leaves, form, self.owned, self.varying, keep)
        return self._record(leaves, rebuild, key, keep, None, args, kwargs)

    # A call of a program

    def _run(self, version: Specialization, leaves: Any, inputs: Inputs, args: Any, kwargs: Any) -> Any:
        """Run the program, or an audit if one is due."""
        if version.left <= 0 and self.audit:
            return self._audit(version, list(leaves), inputs, args, kwargs)
        version.left -= 1
        version.calls += 1
        self.streak = ("", 0)
        replay = Replay(version, inputs) if version.live else None
        try:
            results = version.call(leaves, inputs)
        except CheckFailed:  # nothing has changed yet: the step itself says what is wrong
            results = CheckFailed
        if results is CheckFailed:
            return self.function(*args, **kwargs)
        return results if replay is None else connect(self, version, leaves, (args, kwargs), results, replay)

    def _audit(self, version: Specialization, leaves: list[Any], inputs: Inputs, args: Any, kwargs: Any) -> Any:
        """Run program and step from the same state, and compare."""
        audit = Audit(version, leaves, inputs)
        compiled = audit.compiled()
        result = self.function(*args, **kwargs)
        if compiled is None:  # a check failed, and the step has not raised: it is right, and not this program's case
            return result
        eager = audit.seen(result)
        found = audit.difference(compiled, eager)
        if found is not None and not audit.is_rounding(compiled, eager):
            self._go_eager(
                f"an audit found a difference in call {version.calls + 1} of a program: {found[1]}. The "
                f"{version.calls - version.audited} calls since the audit before were not covered"
            )
            return result
        version.calls += 1
        version.audited = version.calls
        version.left = gap(version.calls)
        return result

    # Recordings

    def _record(
        self,
        leaves: Any,
        rebuild: Any,
        key: Signature,
        keep: Any,
        version: Specialization | None,
        args: Any,
        kwargs: Any,
    ) -> Any:
        """Run the step itself, and make a program of what it does, or confirm the one that is there."""
        sets = frozenset(self.varying), frozenset(self.fetched)
        session = TraceSession(
            self.function, [("state", self.state)], self.varying, self.fetched, self.fallback == "raise"
        )
        self.recordings += 1
        recording = session.run(leaves, rebuild)
        if recording.refusal is not None:
            self.pinned |= recording.read
            self.fetched -= recording.read
            self.varying -= recording.read
            if not (recording.again and self.discarded < IN_A_ROW):
                self._go_eager(recording.refusal)
            self.discarded += 1
            return recording.result
        result = recording.result
        self.owned |= recording.owned
        if self._learn(recording):
            return result
        if version is not None and version.sets == sets:
            why = difference(version.recording, recording)
            if why is not None:
                self._go_eager(
                    f"two calls in a row did different things: {why}.\nHint: what changes from call to call must be "
                    "an argument, an array that the step can reach, or a draw from a Generator that it can reach"
                )
                return result
            version.recording.keep_alive(recording)
            version.prepare(self.backend, self.verify)
            version.ready = True
        else:
            if version is not None:
                self.versions.remove(version)
            version = Specialization(recording, self._key_again(leaves, key, keep), self.name, self.owned, sets)
            version.keep = keep
            self._make_room()
            self.versions.append(version)
        self.latest = version
        return result

    def _key_again(self, leaves: Any, key: Signature, keep: list[Any]) -> Signature:
        """The signature, now that more is known of the state's memory."""
        return signature(leaves, key[0][1], self.owned, self.varying, keep)

    def _learn(self, recording: Recording) -> bool:
        """Whether the recording showed that more must be inputs of the program than was known before."""
        self.pinned |= recording.pinned
        self.varying -= recording.pinned
        numbers = recording.changing_numbers - self.varying - self.pinned
        arrays = recording.changing_arrays - self.fetched - self.pinned
        self.varying |= numbers
        self.fetched |= arrays
        self._hold = getattr(self, "_hold", [])
        if numbers or arrays:
            self._hold.append(recording.keep)
        return bool(numbers or arrays)

    def _generalize(self, key: Signature, leaves: list[Any], form: Any, keep: list[Any]) -> bool:
        """Let what has changed since the last specialization be an input, if it can be. False if there are too many."""
        reasons: list[Difference] = []
        for version in sorted(self.versions[::-1], key=lambda version: version.signature != key):
            other = version.signature
            if other[0] != key[0] or len(other) != len(key):
                continue
            if other == key:
                reasons = list(version.guard.differences()) or [("what it fetches", None, None, None)]
                break
            changed = [k for k, (a, b) in enumerate(zip(other[1:], key[1:], strict=True)) if a != b]
            if all(_is_number_key(other[k + 1]) and is_number(leaves[k]) for k in changed):
                same_kind = all(other[k + 1][1][0] == _kind_name(leaves[k]) for k in changed)
                for k in changed:
                    if same_kind and (None, (), k) not in self.pinned:
                        self.varying.add((None, (), k))
            reasons = [(f"argument {k}", None, shown(other[k + 1]), shown(key[k + 1])) for k in changed]
            break
        for _, ref, before, now in reasons:
            if ref is not None:
                self._let_vary(ref, before, now)
        if not reasons:
            return True
        path = reasons[0][0]
        count = self.streak[1] + 1 if self.streak[0] == path else 1
        self.streak = path, count
        self.reason = reasons[0]
        return count < IN_A_ROW

    reason: Difference = ("", None, None, None)

    def _let_vary(self, ref: StateRef, before: Any, now: Any) -> None:
        """A place that held another number or array of the same kind is an input from here on."""
        if is_number(now) and type(now) is type(before):
            self.varying |= {(ref.identity, (), None)} - self.pinned
        elif type(now) is tuple and type(before) is tuple and len(now) == len(before):
            for k, (a, b) in enumerate(zip(now, before, strict=True)):
                if is_number(a) and type(a) is type(b) and a != b:
                    self.varying |= {(ref.identity, (k,), None)} - self.pinned
                elif isinstance(a, (np.ndarray, Tensor)) and type(a) is type(b) and a is not b:
                    self.fetched |= {ref.identity} - self.pinned
        elif (isinstance(now, (np.floating, np.integer)) and type(now) is type(before)) or (type(now) is type(before) and type(now) in (np.ndarray, Tensor) and ref.key not in ("data", "node")):
            self.fetched |= {ref.identity} - self.pinned
        elif type(now) is np.ndarray and type(before) is np.ndarray and type(ref.holder) is Tensor:
            self.fetched.add(ref.identity)
        self._hold = [*getattr(self, "_hold", []), ref.holder]

    def _too_many(self, key: Signature, leaves: list[Any]) -> str:
        path, _, before, now = self.reason
        return (
            f"mg.compile: {self.name} was recorded {IN_A_ROW} times in a row because of {path}, which last changed from "
            f"{_short(before)} to {_short(now)}; it runs eagerly from here on.\nHint: keep it the same (pad batches, "
            "drop_last=True), or pass it as an array."
        )

    def _make_room(self) -> None:
        """Forget the oldest program when there are too many."""
        while len(self.versions) >= self.limit:
            self.versions.pop(0)

    def _refused(self, error: CompileError, args: Any, kwargs: Any) -> Any:
        if self.fallback == "raise":
            raise error
        self._go_eager(error)
        return self.function(*args, **kwargs)

    def _go_eager(self, why: Exception | str) -> None:
        """Run the step as it stands from here on, and say so once."""
        text = str(why)
        if not text.startswith("mg.compile"):
            text = f"mg.compile: {self.name} runs eagerly from here on: {text}."
        elif "runs eagerly" not in text:
            text = text.replace("mg.compile:", f"mg.compile: {self.name} runs eagerly from here on:", 1)
        self.eager, self.why = True, text
        self.versions.clear()
        if self.fallback == "raise":
            raise CompileError(text)
        warnings.warn(CompileWarning(text), stacklevel=_outside())

    def wait(self, timeout: float | None = None) -> None:
        """Until the kernels of all programs so far are compiled, which otherwise happens in the background.

        Args:
            timeout: in seconds, for each program.

        Raises:
            RuntimeError: numba could not compile a kernel.
        """
        for version in self.versions:
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
        made = self.instances.get(instance)
        if made is None:
            made = self._like(self.function.__get__(weakref.proxy(instance) if False else instance))
            try:
                self.instances[instance] = made
            except TypeError:
                return self.function.__get__(instance)
        return made

    def _like(self, function: Any) -> Compiled:
        return Compiled(function, self.state, self.limit, self.backend, self.fallback, self.audit, self.verify)

    def derivative(self, key: Any, make: Callable[[], Any]) -> Compiled:
        """The compiled function that pulls through this one."""
        if key not in self.derivatives:
            self.derivatives[key] = self._like(make())
        return self.derivatives[key]

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
        if self.why is not None:
            return self.why
        self._latest()
        parts = []
        for version in self.versions:
            arguments = ", ".join(shown(part) for part in version.signature[1:]) or "no arguments"
            lines = [f"{self.name}({arguments})"]
            version.prepare(self.backend, self.verify)
            width = max(len(name) for name, _ in version.report)
            lines += [f"    {name:<{width}}  {count:5d} operations" for name, count in version.report]
            source = version.source
            work = f"{len(source.body) - 1 - source.single} NumPy calls"
            work += f", {source.single} lines of single numbers" * bool(source.single)
            lines.append(f"    {work}; {source.memory()}; compiled in {version.seconds:.2f} s")
            parts.append("\n".join(lines))
        return "\n\n".join(parts)

    def _latest(self) -> Specialization:
        if self.why is not None:
            raise CompileError(self.why)
        if self.latest is None:
            raise CompileError(f"mg.compile: {self.name} was not called yet, so there is no program.\nHint: call it.")
        self.latest.prepare(self.backend, self.verify)
        return self.latest


register_opaque(Compiled)


def _is_watched() -> bool:
    """Whether the eager step must run because somebody looks at how it runs: anomaly detection, a derivation's names.

    No program raises floating-point errors either, as np.errstate may ask for.
    """
    return errors_raise() or probe.get() is not None or bool(observers.is_active())


def _outside() -> int:
    """The stacklevel of the caller outside of minigrad, for a warning given by the function that calls this."""
    import sys

    from minigrad.compiler.refusal import OWN

    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OWN):
        level, frame = level + 1, frame.f_back
    return level


def _is_number_key(part: Any) -> bool:
    return part[0] == "value" and isinstance(part[1], tuple) and part[1][0] in ("float", int)


def _kind_name(x: Any) -> Any:
    return "float" if type(x) is float else type(x)


def _short(x: Any) -> str:
    text = x if isinstance(x, str) else repr(x)
    return text if len(text) <= 80 else text[:77] + "..."


def compile(
    function: Any = None,
    *,
    state: Iterable[Any] = (),
    limit: int = 8,
    backend: str = "auto",
    fallback: str = "warn",
    audit: bool = True,
    verify: bool = False,
) -> Any:
    """The step as a program, without Python's and the tape's share of the time, and otherwise as it is.

    Works on any function of Tensors and arrays, also on a whole training step: forward and backward pass, clipping,
    optimizer, running statistics and dropout. Every call returns what the eager function would return and leaves what it
    would leave, up to rounding; a step that cannot be compiled runs eagerly, after one warning that says why and where.
    The first two calls in every state record what the function does; later ones run the recorded program.
    docs/compile.md has the contract.

    Args:
        function: the step.
        state: objects that the step reads or changes and that cannot be found from its closure, globals, bound object
            and arguments.
        limit: how many programs are kept.
        backend: "numpy"; "numba", whose kernels the first calls wait for; "auto" begins with NumPy, compiles kernels
            in the background where numba is installed, and goes on with them when they are ready.
        fallback: "warn": what cannot be compiled runs eagerly, after one CompileWarning. "raise": it is a CompileError.
        audit: whether now and then a call runs both ways and is compared. An audited call rounds as the eager step does,
            so a run that must be repeated bit by bit needs audit=False.
        verify: prove in exact arithmetic that every optimization keeps the program what it was.

    Raises:
        ImportError: backend="numba", and numba is not installed.
        CompileError: with fallback="raise", the step does what cannot be recorded: it reads an array's elements in
            Python, has shapes that depend on values, or writes into an array that cannot be reached. Arrays, gradients,
            attributes and generators are as before the call then.

    Example:
        >>> import minigrad as mg
        >>> step = mg.compile(lambda x: (x * x).sum())
        >>> [float(step(np.array([1.0, k]))) for k in (2.0, 3.0, 4.0, 5.0)]
        [5.0, 10.0, 17.0, 26.0]
    """
    if function is None:
        return functools.partial(
            compile, state=state, limit=limit, backend=backend, fallback=fallback, audit=audit, verify=verify
        )
    return Compiled(function, state, limit, backend, fallback, audit, verify)
