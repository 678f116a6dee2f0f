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
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from minigrad.compiler.audit.audits import Audit, gap
from minigrad.compiler.background import check_backend
from minigrad.compiler.branches import Avoided
from minigrad.compiler.capture.compare import difference
from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.capture.session import TraceSession
from minigrad.compiler.derivative import Replay, connect, watched
from minigrad.compiler.explanation import reason_of, text_of
from minigrad.compiler.fast_call import MISS
from minigrad.compiler.ir.checks import errors_raise
from minigrad.compiler.learned import IN_A_ROW, Call, Learned
from minigrad.compiler.refusal import DECISION, CheckFailed, CompileError, CompileWarning, caller_level
from minigrad.compiler.signature import UnsupportedArgument
from minigrad.compiler.specialization import Inputs, Specialization
from minigrad.engine.intercept import Observer, layers
from minigrad.engine.tracing import active
from minigrad.reach import register_opaque
from minigrad.tensor.naming import probe
from minigrad.util.text import short

FALLBACKS = ("warn", "raise")
WAYS = 8  # through the branches of a step that depend on the values of arrays
PATIENCE, WORTH = 40, 10  # recordings, after which programs must be called so many times as often
OTHER_WAY: Any = object()  # what a call gives if its program decides in another way

OWN = frozenset({
    *("function", "state", "limit", "backend", "fallback", "audit", "verify", "versions", "latest", "eager", "why"),
    *("learned", "derivatives", "recordings", "forgotten", "discarded", "lock", "attribute", "is_homeless"),
    *("avoided", "is_told"),
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
        self.learned = Learned()
        self.derivatives: dict[Any, Compiled] = {}
        self.recordings = 0
        self.forgotten = 0  # calls of programs that are no longer there
        self.discarded = 0
        self.avoided = Avoided()
        self.is_told = False  # whether a warning has said that one branch runs eagerly
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
        latest = self.latest
        if latest is not None and latest.quick is not None and not kwargs and not self.eager:
            result = latest.quick(args, self.lock)
            if result is not MISS:
                return result
        if self.eager or active.get() is not None or _is_watched():
            return self.function(*args, **kwargs)
        if not kwargs and latest is not None and latest.takes(args):
            with self.lock:
                if latest.ready and (inputs := latest.matches(args)) is not None:
                    result = self._run(latest, args, inputs, args, kwargs)
                    return result if result is not OTHER_WAY else self._dispatch(args, kwargs, latest)
        with self.lock:
            return self._dispatch(args, kwargs)

    def _dispatch(self, args: Any, kwargs: Any, tried: Specialization | None = None) -> Any:
        """Find the specialization for these arguments, this state and these decisions, or make one.

        Args:
            args: positional arguments.
            kwargs: those by name.
            tried: a specialization that decides in another way.
        """
        if self.eager:
            return self.function(*args, **kwargs)
        learned, keep = self.learned, list[Any]()
        call = learned.call(args, kwargs)
        try:
            key = learned.signature(call, keep)
        except UnsupportedArgument as error:
            return self._refused(CompileError(f"mg.compile: {self.name}: {error}"), args, kwargs)
        begun, ready = list[Specialization](), list[Specialization]()  # those that differ in their decisions only
        for version in self.versions:
            if version.signature != key or (inputs := version.matches(call.leaves)) is None:
                continue
            (ready if version.ready else begun).append(version)
            if version.ready and version is not tried:
                result = self._run(version, [*call.leaves, *call.rebuild.objects], inputs, args, kwargs)
                if result is not OTHER_WAY:
                    self.latest = version
                    return result
        if self.discarded and self.avoided.has(key, self.versions, call.leaves):
            return self.function(*args, **kwargs)
        if begun or ready:
            return self._record(call, begun, keep, ready)
        records, has_grown = len(learned.records), learned.has_grown(call)
        if not has_grown and not learned.generalize(call, key, self.versions, self.runs):
            return self._refused(CompileError(learned.too_many(self.name)), args, kwargs)
        if has_grown or len(learned.records) > records:  # the arguments have another structure then
            return self._dispatch(args, kwargs)
        return self._record(call, [], keep)

    # A call of a program

    def _run(self, version: Specialization, leaves: Any, inputs: Inputs, args: Any, kwargs: Any) -> Any:
        """Run the program, or an audit if one is due. OTHER_WAY if a branch of the step is taken in another way."""
        if version.left <= 0 and version.is_due(self.audit):
            return self._audit(version, list(leaves), inputs, args, kwargs)
        replay = Replay(version, inputs) if version.live else None
        try:
            results = version.call(leaves, inputs)
        except CheckFailed as error:  # nothing has changed yet
            if str(error).startswith(DECISION):
                return OTHER_WAY
            results = CheckFailed
        version.left -= 1
        if results is CheckFailed:  # the step itself says what is wrong
            return self.function(*args, **kwargs)
        version.make_quick(self.audit)
        return results if replay is None else connect(self, version, leaves, results, replay)

    def _audit(self, version: Specialization, leaves: list[Any], inputs: Inputs, args: Any, kwargs: Any) -> Any:
        """Run program and step from the same state, and compare."""

        def connected(results: Any) -> Any:
            return results if replay is None else connect(self, version, leaves, results, replay)

        replay = Replay(version, inputs) if version.live else None
        audit = Audit(version, leaves, inputs, connected)
        compiled = audit.compiled()
        if audit.is_other_way:
            return OTHER_WAY
        result = self.function(*args, **kwargs)
        if compiled is None:  # a check failed, and the step has not raised: it is right, and not this program's case
            return result
        eager = audit.seen(result)
        found = audit.difference(compiled, eager) or audit.changed_besides()
        if found is not None:
            self._go_eager(
                f"an audit found a difference in call {version.calls + 1} of a program: {found}. The "
                f"{version.calls - version.audited} calls since the audit before were not covered"
            )
            return result
        version.covered(gap)
        return result

    # Recordings

    def _record(
        self, call: Call, begun: list[Specialization], keep: list[Any], ready: Sequence[Specialization] = ()
    ) -> Any:
        """Run the step itself, and make a program of what it does, or confirm one that is there.

        Args:
            call: the arguments.
            begun: specializations that were recorded once.
            keep: keeps alive what has an id in the signature.
            ready: specializations with programs, which have taken branches in another way.
        """
        learned = self.learned
        if self.recordings >= PATIENCE and self.runs < WORTH * self.recordings:
            return self._refused(CompileError(self._too_many_recordings()), call.args, call.options)
        inputs = learned.inputs
        self.versions = [v for v in self.versions if v not in begun or v.inputs == inputs]
        begun = [v for v in begun if v.inputs == inputs]
        session = TraceSession(
            self.function,
            [("state", self.state)],
            learned.varying,
            learned.fetched,
            strict=self.fallback == "raise",
            confirms=len(begun) == 1 and not begun[0].has_decisions,
            growing=learned.growing,
            replaced=learned.replaced,
        )
        self.recordings += 1
        avoid = self.avoided.look(learned.signature(call, keep), keep, self.versions, call.leaves)
        try:
            recording = session.run(call.leaves, call.rebuild, (call.args, call.options))
        except CompileError:
            if not learned.know_by_identity(call):
                raise
            return self._dispatch(call.args, call.options)  # nothing has changed
        if recording.is_state:
            learned.note_state(call, recording.state_arguments)
            return self._dispatch(call.args, call.options)
        learned.note_call(call)
        if recording.refusal is not None:
            is_branch = recording.refusal.is_branch and bool(self.versions)
            self._give_up(call, recording, is_branch or bool(ready), avoid)
        elif any(difference(version.recording, recording) is None for version in ready):
            pass  # what the program decides otherwise is a matter of rounding
        elif not learned.learn(recording) and not self._confirm(call, begun, recording):
            ways = [*ready, *begun]
            if len(ways) < min(self.limit, WAYS):
                self._add(call, recording, keep, inputs, ways)
            else:
                self._go_eager(self._too_many_ways(len(ways)))
        return watched(recording.result)

    def _give_up(self, call: Call, recording: Recording, has_other_ways: bool, avoid: Callable[[], bool]) -> None:
        """A call could not be recorded. The next one may be, if something else is an input then."""
        learned = self.learned
        if learned.know_by_identity(call):
            return
        learned.note_refusal(recording)
        self.discarded += 1
        if recording.again and self.discarded <= (1 if recording.once else IN_A_ROW):
            return
        assert recording.refusal is not None
        if recording.refusal.is_branch:
            has_other_ways |= avoid()
            if self.discarded == 1 and not has_other_ways:  # the next call may take another
                return
        if has_other_ways and self.discarded < IN_A_ROW:
            if not self.is_told:
                self.is_told = True
                self._warn(self._said(recording.refusal, "runs eagerly when it takes this branch"))
        else:
            self._go_eager(recording.refusal)

    def _confirm(self, call: Call, begun: list[Specialization], recording: Recording) -> bool:
        """The second call of a specialization must have done what the first did. False if it is one of its own."""
        found = [difference(version.recording, recording) for version in begun]
        for version, why in zip(begun, found, strict=True):
            if why is None:
                version.recording.keep_alive(recording)
                version.prepare(self.backend, self.verify)
                version.ready = True
                self.latest = version
                return True
        different = next((why for why in found if why is not None and not why.is_decision), None)
        if different is None:
            return False
        if self.learned.know_by_identity(call):
            self.versions = [v for v in self.versions if v not in begun]
        else:
            self._go_eager(
                f"two calls in a row did different things: {different.text}.\nHint: what changes from call to call "
                "must be an argument, an array that the step can reach, or a draw from a Generator that it can reach"
            )
        return True

    def _add(self, call: Call, recording: Recording, keep: list[Any], inputs: Any, ways: list[Specialization]) -> None:
        """A new specialization, after the first of its recordings."""
        key = self.learned.signature(call, keep)  # more is known of the state's memory now
        version = Specialization(recording, key, self.name, self.learned.owned, inputs)
        version.keep = keep
        version.because = reason_of(self.learned.reason, recording, ways) if self.versions else ""
        self._make_room()
        self.versions.append(version)
        self.latest = version

    def _make_room(self) -> None:
        """Forget the oldest program when there are too many."""
        while len(self.versions) >= self.limit:
            self.forgotten += self.versions.pop(0).calls

    def _refused(self, error: CompileError, args: Any, kwargs: Any) -> Any:
        if self.fallback == "raise":
            raise error
        self._go_eager(error)
        return self.function(*args, **kwargs)

    def _go_eager(self, why: Exception | str) -> None:
        """Run the step as it stands from here on, and say so once."""
        self.eager, self.why = True, self._said(why, "runs eagerly from here on")
        self.versions.clear()
        self.latest, self.learned = None, Learned()  # nothing of the state is kept alive any more
        if self.fallback == "raise":
            raise CompileError(self.why)
        self._warn(self.why)

    def _said(self, why: Exception | str, what: str) -> str:
        """A message that names the function and says what it does."""
        text = str(why)
        if not text.startswith("mg.compile"):
            return f"mg.compile: {self.name} {what}: {text}."
        return text if "runs eagerly" in text else text.replace("mg.compile:", f"mg.compile: {self.name} {what}:", 1)

    def _warn(self, text: str) -> None:
        warnings.warn(CompileWarning(text), stacklevel=caller_level())

    def _without_program(self) -> str:
        """Why there is none yet."""
        path, _, before, now = self.learned.reason
        if not self.recordings:
            hint = "call it" if self.attribute is None else f"ask that of an object: x.{self.attribute}.explain()"
            return f"mg.compile: {self.name} was not called yet, so there is no program.\nHint: {hint}."
        last = f"; {path} changed last, from {short(before)} to {short(now)}" if path else ""
        times = "once" if self.recordings == 1 else f"{self.recordings} times"
        return f"mg.compile: {self.name} was recorded {times}, and has no program yet{last}."

    def _too_many_recordings(self) -> str:
        """Why the step is not recorded once more: it takes more time than programs save."""
        path, _, before, now = self.learned.reason
        last = f"; the last because of {path}, from {short(before)} to {short(now)}" if path else ""
        calls = self.recordings + self.runs
        return (
            f"mg.compile: {self.name} was recorded in {self.recordings} of {calls} calls{last}; it runs eagerly from "
            "here on.\nHint: pass arrays of few shapes, and few different objects; limit= says how many are kept."
        )

    def _too_many_ways(self, ways: int) -> str:
        """Why the step is not recorded once more."""
        decisions = [line for v in self.versions for line in v.recording.program.ops if "decides" in line.params]
        note = next((line.note for line in reversed(decisions) if line.note), "")
        where = f" at `{note}`" if note else ""
        return (
            f"mg.compile: {self.name} was recorded {ways} times because it branches on values of arrays{where}, each "
            "time in another way; it runs eagerly from here on.\nHint: choose between values with mg.where, or put the "
            "loop outside of the step."
        )

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
                with self.lock:
                    version.look_now()

    @property
    def runs(self) -> int:
        """How often programs were called."""
        return self.forgotten + sum(version.calls for version in self.versions)

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
                why, hint = f"as a {kind} has no __dict__ to keep it in", "compile the method in __init__"
                if isinstance(instance, type):  # a class method
                    why = f"as it is a method of the class {instance.__name__} itself, which keeps no compiled one"
                    hint = "make it a static method"
                text = f"mg.compile: {self.name} runs eagerly, {why}.\nHint: {hint}."
                warnings.warn(CompileWarning(text), stacklevel=caller_level())
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
        """What was made of the step: for each program why it exists, its operations after each pass, and its memory."""
        if self.why is not None:
            return self.why
        if self.latest is None:
            return self._without_program()
        for version in self.versions:
            version.prepare(self.backend, self.verify)
        return "\n\n".join(text_of(self.name, version) for version in self.versions)

    def __repr__(self) -> str:
        count = len(self.versions)
        state = "runs eagerly" if self.eager else f"{count} program{'s' * (count != 1)}"
        return f"<compiled {self.name}: {state}>"

    def _latest(self) -> Specialization:
        if self.why is not None:
            raise CompileError(self.why)
        if self.latest is None:
            raise CompileError(self._without_program())
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
    return errors_raise() or probe.get() is not None or bool(layers(Observer))


def _object_of(method: Compiled) -> Any:
    return getattr(method.function, "__self__", None)
