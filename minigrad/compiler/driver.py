"""mg.compile: a step that is run as it stands until it is known, and then as the program that it has shown.

A call is one of four: a recording (the real call on tracer arrays), a call of the program, an audit (both, compared),
or an eager call. The first two calls of every specialization are recordings, and their programs must be the same.
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
from minigrad.compiler.derivative import Replay, connect, watched
from minigrad.compiler.generalize import IN_A_ROW, generalize, learn, too_many
from minigrad.compiler.recording import Recording
from minigrad.compiler.refusal import CheckFailed, CompileError, CompileWarning, caller_level
from minigrad.compiler.session import TraceSession
from minigrad.compiler.signature import Signature, UnsupportedArgument, flat, flatten, shown, signature
from minigrad.compiler.specialization import Inputs, Specialization
from minigrad.naming import probe
from minigrad.reach import register_opaque
from minigrad.reach.differences import Difference
from minigrad.tensor import Tensor
from minigrad.tracing import active

FLAT = frozenset({np.ndarray, Tensor, bool, int, float, str})  # arguments without a structure

FALLBACKS = ("warn", "raise")

OWN = frozenset({
    *("function", "state", "limit", "backend", "fallback", "audit", "verify", "versions", "latest", "eager", "why"),
    *("owned", "varying", "pinned", "fetched", "derivatives", "recordings", "discarded", "streak"),
    *("reason", "held", "lock", "attribute", "is_homeless", "whole"),
})  # fmt: skip


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
        self.whole: set[type] = set()  # classes of arguments that are known by identity
        self.derivatives: dict[Any, Compiled] = {}
        self.recordings = 0
        self.discarded = 0
        self.streak: tuple[str, int] = ("", 0)
        self.reason: Difference = ("", None, None, None)
        self.held: list[Any] = []  # keeps alive what has an id in `varying` and `fetched`
        self._renew_lock()
        _compiled.add(self)
        functools.update_wrapper(self, function, updated=())

    def __getattr__(self, name: str) -> Any:
        """What is not the compiled function's own is the function's: counters on it, the parameters of a model."""
        if name.startswith("__") or "function" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.function, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OWN or name.startswith("__"):
            object.__setattr__(self, name, value)
        else:
            setattr(self.function, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.function, name)

    def __reduce__(self) -> Any:
        """A copy begins without programs: they belong to the arrays of the original."""
        options = (self.state, self.limit, self.backend, self.fallback, self.audit, self.verify)
        return type(self), (self.function, *options)

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
        if not kwargs and FLAT.issuperset(map(type, args)):
            leaves, form, rebuild = list(args), len(args), flat(len(args))
        else:
            leaves, rebuild, form = flatten((args, kwargs), self.owned, self.whole)
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
                return watched(self._record(leaves, rebuild, key, keep, version, args, kwargs))
        if not generalize(self, key, leaves, form, keep):
            return self._refused(CompileError(too_many(self, key, leaves)), args, kwargs)
        key = signature(leaves, form, self.owned, self.varying, keep)
        return watched(self._record(leaves, rebuild, key, keep, None, args, kwargs))

    # A call of a program

    def _run(self, version: Specialization, leaves: Any, inputs: Inputs, args: Any, kwargs: Any) -> Any:
        """Run the program, or an audit if one is due."""
        if version.left <= 0 and self.audit:
            return self._audit(version, list(leaves), inputs, args, kwargs)
        version.left -= 1
        version.calls += 1
        if self.streak[1]:
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

        def connected(results: Any) -> Any:
            return results if replay is None else connect(self, version, leaves, (args, kwargs), results, replay)

        replay = Replay(version, inputs) if version.live else None
        audit = Audit(version, leaves, inputs, connected)
        compiled = audit.compiled()
        result = self.function(*args, **kwargs)
        if compiled is None:  # a check failed, and the step has not raised: it is right, and not this program's case
            return result
        eager = audit.seen(result)
        found = audit.difference(compiled, eager)
        if found is not None and audit.is_rounding(compiled, eager):
            found = None
        found = found or audit.changed_besides()
        if found is not None:
            self._go_eager(
                f"an audit found a difference in call {version.calls + 1} of a program: {found}. The "
                f"{version.calls - version.audited} calls since the audit before were not covered"
            )
            return result
        version.calls += 1
        version.audited = version.calls
        version.left = gap(version)
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
            self.function,
            [("state", self.state)],
            self.varying,
            self.fetched,
            strict=self.fallback == "raise",
            confirms=version is not None and version.sets == sets,
        )
        self.recordings += 1
        try:
            recording = session.run(leaves, rebuild, (args, kwargs))
        except CompileError:
            if not rebuild.kinds:
                raise
            recording = Recording()
            recording.is_state = True  # nothing has changed
        if recording.is_state:
            self.whole |= rebuild.kinds
            return self._dispatch(args, kwargs)
        if recording.refusal is not None and rebuild.kinds:
            self.whole |= rebuild.kinds
            return recording.result
        if recording.refusal is not None:
            self.pinned |= recording.read
            self.fetched -= recording.read
            self.varying -= recording.read
            if not (recording.again and self.discarded < IN_A_ROW):
                self._go_eager(recording.refusal)
            self.discarded += 1
            return recording.result
        result = recording.result
        self.owned |= recording.owned | recording.objects
        if learn(self, recording):
            return result
        if version is not None and version.sets == sets:
            why = difference(version.recording, recording)
            if why is not None and rebuild.kinds:
                self.whole |= rebuild.kinds
                self.versions.remove(version)
                return result
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
        warnings.warn(CompileWarning(text), stacklevel=caller_level())

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
        method = self.function.__get__(instance)
        own = getattr(instance, "__dict__", None)
        if self.attribute is None:  # assigned to the class later
            attributes = ((n, x) for base in type(instance).__mro__ for n, x in vars(base).items())
            self.attribute = next((n for n, x in attributes if x is self), None)
        name = self.attribute
        if own is not None and name in own:  # the user has put something else there
            return own[name]
        if own is None or name is None:
            if not self.is_homeless:
                self.is_homeless = True
                kind = type(instance).__name__
                text = f"mg.compile: {self.name} runs eagerly, as a {kind} has no __dict__ to keep it in"
                warnings.warn(
                    CompileWarning(f"{text}.\nHint: compile the method in __init__."), stacklevel=caller_level()
                )
            return method
        if active.get() is not None:
            return method
        key = f"<compiled {getattr(self.function, '__qualname__', name)}>"  # a subclass may have another of that name
        made = own.get(key)
        if made is None or _object_of(made) is not instance:  # that of the object that this one is a copy of
            made = own[key] = self._like(method)
        return made

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.attribute] = value  # __get__ comes first because there is this method

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = name

    attribute: str | None = None  # its name in a class
    is_homeless = False

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

    def __repr__(self) -> str:
        count = len(self.versions)
        state = "runs eagerly" if self.eager else f"{count} program{'s' * (count != 1)}"
        return f"<compiled {self.name}: {state}>"

    def _latest(self) -> Specialization:
        if self.why is not None:
            raise CompileError(self.why)
        if self.latest is None:
            hint = "call it." if self.attribute is None else f"ask that of an object: x.{self.attribute}.explain()."
            raise CompileError(f"mg.compile: {self.name} was not called yet, so there is no program.\nHint: {hint}")
        self.latest.prepare(self.backend, self.verify)
        return self.latest


register_opaque(Compiled)

_compiled: weakref.WeakSet[Compiled] = weakref.WeakSet()


def _renew_locks() -> None:
    """In a forked child: what another thread has locked, nobody would unlock."""
    for compiled in list(_compiled):
        compiled._renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def _is_watched() -> bool:
    """Whether the eager step must run because somebody looks at how it runs: anomaly detection, a derivation's names.

    No program raises floating-point errors either, as np.errstate may ask for.
    """
    return errors_raise() or probe.get() is not None or bool(observers.is_active())


def _object_of(method: Compiled) -> Any:
    return getattr(method.function, "__self__", None)
