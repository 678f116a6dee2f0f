"""mg.compile: a step that runs as it is until its program is known, and then as that program.

A call is one of four: a recording (the real call on tracer arrays), a call of the program, an audit (both, compared),
or an eager call. The first two calls of every specialization are recordings, and their programs must be equal.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.compiler.audits import Audit, gap
from minigrad.compiler.capture.recording import Recording, difference
from minigrad.compiler.capture.session import TraceSession
from minigrad.compiler.derivative import Replay, connect, watched
from minigrad.compiler.ir.checks import errors_raise
from minigrad.compiler.learned import IN_A_ROW, Call, Learned
from minigrad.compiler.refusal import DECISION, CheckFailed, CompileError, CompileWarning, caller_level
from minigrad.compiler.signature import Inputs, UnsupportedArgument
from minigrad.compiler.specialization import MISS, Specialization, add_fast_call
from minigrad.compiler.wrapper import Wrapper
from minigrad.engine.intercept import Observer, layers
from minigrad.engine.tracing import active
from minigrad.reach import register_opaque
from minigrad.tensor.naming import probe

WAYS = 8  # combinations of branches that depend on the values of arrays
PATIENCE, WORTH = 40, 10  # recordings, after which programs must have been called so many times as often
OTHER_WAY: Any = object()  # the result of a call whose program takes other branches


class Compiled(Wrapper):
    """A step and its programs, one for each signature and state: shapes, dtypes and Python values that it reads.

    `source` is the program of the latest call as Python source, `explain()` describes all programs.

    Attributes:
        versions: the programs. `latest`: the one that was called last.
        eager: whether the step runs eagerly for good, `why`: the reason.
        recordings: how often the step was recorded. `discarded`: how often in vain.
        forgotten: how often programs were called that are gone.
        has_warned: whether a warning has said that a branch runs eagerly.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the step and return its results."""
        latest = self.latest
        if latest is not None and latest.fast_call is not None and not kwargs and not self.eager:
            result = latest.fast_call(args, self.lock)
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
        """Find the specialization for this call, other than `tried`, which takes other branches; or record one."""
        if self.eager:
            return self.function(*args, **kwargs)
        learned, keep = self.learned, list[Any]()
        call = learned.call(args, kwargs)
        try:
            key = learned.signature(call, keep)
        except UnsupportedArgument as error:
            return self._refused(f"mg.compile: {self.name}: {error}", args, kwargs)
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
            return self._refused(self._too_many_changes(), args, kwargs)
        if has_grown or len(learned.records) > records:  # the arguments have another structure then
            return self._dispatch(args, kwargs)
        return self._record(call, [], keep)

    # A call of a program

    def _run(self, version: Specialization, leaves: Any, inputs: Inputs, args: Any, kwargs: Any) -> Any:
        """Run the program, or an audit if one is due. OTHER_WAY if the step takes other branches."""
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
        if results is CheckFailed:  # the step itself raises the error
            return self.function(*args, **kwargs)
        add_fast_call(version, self.audit)
        return results if replay is None else connect(self, version, leaves, results, replay)

    def _audit(self, version: Specialization, leaves: list[Any], inputs: Inputs, args: Any, kwargs: Any) -> Any:
        """Run the program and the step from the same state, and compare."""
        replay = Replay(version, inputs) if version.live else None
        audit = Audit(version, leaves, inputs, lambda results: connect(self, version, leaves, results, replay))
        compiled = audit.compiled()
        if audit.is_other_way:
            return OTHER_WAY
        result = self.function(*args, **kwargs)
        if compiled is not None:  # else a check failed and the step has not raised: no case for this program
            if why := audit.verdict(compiled, result):
                self._go_eager(why)
            else:
                version.covered(gap)
        return result

    # Recordings

    def _record(
        self, call: Call, begun: list[Specialization], keep: list[Any], ready: Sequence[Specialization] = ()
    ) -> Any:
        """Run the step itself on tracers, and make a program of what it does, or confirm one.

        Args:
            call: the arguments.
            begun: specializations that were recorded once.
            keep: keeps objects alive whose ids are in the signature.
            ready: specializations with programs that take other branches.
        """
        learned, inputs = self.learned, self.learned.inputs
        if self.recordings >= PATIENCE and self.runs < WORTH * self.recordings:
            return self._refused(self._too_many_recordings(), call.args, call.options)
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
        avoid = self.avoided.watch(learned.signature(call, keep), keep, self.versions, call.leaves)
        try:
            recording = session.run(call.leaves, call.rebuild, (call.args, call.options))
        except CompileError:
            if not learned.identify_by_id(call):
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
            pass  # the program decides differently because of rounding
        elif not learned.learn(recording) and not self._confirm(call, begun, recording):
            others = [*ready, *begun]
            if len(others) < min(self.limit, WAYS):
                self._add(call, recording, keep, inputs, others)
            else:
                self._go_eager(self._too_many_branches(len(others)))
        return watched(recording.result)

    def _give_up(self, call: Call, recording: Recording, has_other_ways: bool, avoid: Callable[[], bool]) -> None:
        """Handle a call that could not be recorded. The next one may be, with other inputs."""
        learned = self.learned
        if learned.identify_by_id(call):
            return
        learned.note_refusal(recording)
        self.discarded += 1
        if recording.again and self.discarded <= (1 if recording.once else IN_A_ROW):
            return
        assert recording.refusal is not None
        if recording.refusal.is_branch:
            has_other_ways |= avoid()
            if self.discarded == 1 and not has_other_ways:  # the next call may take another branch
                return
        if has_other_ways and self.discarded < IN_A_ROW:
            if not self.has_warned:
                self.has_warned = True
                self._warn(self._message(recording.refusal, "runs eagerly when it takes this branch"))
        else:
            self._go_eager(recording.refusal)

    def _confirm(self, call: Call, begun: list[Specialization], recording: Recording) -> bool:
        """Compare with the first recordings of specializations. False if the call has only taken other branches."""
        reasons = [difference(version.recording, recording) for version in begun]
        for version, why in zip(begun, reasons, strict=True):
            if why is None:
                version.recording.keep_alive(recording)
                version.prepare(self.backend, self.verify)
                version.ready = True
                self.latest = version
                return True
        different = next((why for why in reasons if why is not None and not why.is_decision), None)
        if different is None:
            return False
        if self.learned.identify_by_id(call):
            self.versions = [v for v in self.versions if v not in begun]
        else:
            self._go_eager(
                f"two calls in a row did different things: {different.text}.\nHint: what changes from call to call "
                "must be an argument, an array that the step can reach, or a draw from a Generator that it can reach"
            )
        return True

    def _add(
        self, call: Call, recording: Recording, keep: list[Any], inputs: Any, others: list[Specialization]
    ) -> None:
        """Add a specialization after its first recording."""
        key = self.learned.signature(call, keep)  # more is known about the state now
        version = Specialization(recording, key, self.name, self.learned.owned, inputs)
        version.keep = keep
        version.because = self._reason(recording, others) if self.versions else ""
        while len(self.versions) >= self.limit:
            self.forgotten += self.versions.pop(0).calls
        self.versions.append(version)
        self.latest = version

    def _refused(self, why: str, args: Any, kwargs: Any) -> Any:
        if self.fallback == "raise":
            raise CompileError(why)
        self._go_eager(why)
        return self.function(*args, **kwargs)

    def _go_eager(self, why: Exception | str) -> None:
        """Run the step eagerly from here on, and warn once."""
        self.eager, self.why = True, self._message(why, "runs eagerly from here on")
        self.versions.clear()
        self.latest, self.learned = None, Learned()  # nothing of the state must be kept alive
        if self.fallback == "raise":
            raise CompileError(self.why)
        self._warn(self.why)

    def _warn(self, text: str) -> None:
        warnings.warn(CompileWarning(text), stacklevel=caller_level())


register_opaque(Compiled)


def _is_watched() -> bool:
    """Whether the eager step must run because something observes it: anomaly detection, a derivation's names.

    Programs do not raise floating-point errors either, for which np.errstate may ask.
    """
    return errors_raise() or probe.get() is not None or bool(layers(Observer))
