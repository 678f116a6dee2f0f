"""The lines of a backward function: each is judged, and after a wrong one the function goes on with the true gradient.

So a mistake is found at its own line and not at all that follow. What a line computes is looked up among the gradients
at the forward function's values: by its name first; if a name is used for several values, by what it equals.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.engine.primitive import value_of
from minigrad.verify.as_written.forward_values import VERSIONS, ForwardPass, Version, indices, same_randomness
from minigrad.verify.derivation.reference import agree
from minigrad.verify.pairs.gradient_names import squeeze, values_named_by, without_suffix
from minigrad.verify.pairs.instrument import Listener, Written, caller
from minigrad.verify.pairs.pair import is_number

Array = Any
RIGHT, WRONG, UNKNOWN, PARTIAL = "right", "wrong", "unknown", "partial"
MOST_RUNS = 400  # of a statement, before which the local variables are kept
TRIALS = 60  # runs in search of the line to blame


@dataclass
class Event:
    """One value that the backward function has computed.

    Attributes:
        order: the number of the event, the same in every run.
        site: the number of the site; -1 - k for the k-th part of what is returned.
        path: what was written.
        index: the values of the variables of the loops around it.
        result: the value.
        status: right, wrong, unknown (it is not the gradient of a named value, or cannot be told), or partial (it is
            continued later).
        version: the value whose gradient it is, or should be.
        remark: what the report should say about a right line.
        reason: why a line is wrong, if that is known.
    """

    order: int
    site: int
    path: str
    index: dict[str, Any]
    result: Array
    status: str = UNKNOWN
    version: Version | None = None
    remark: str = ""
    reason: str = ""
    candidates: list[Version] = field(default_factory=list)
    expected: Array = None  # what it should be, if that is not the gradient of the version but a part of it
    label: str = ""  # of what it is the gradient of
    contributions: dict[str, Array] | None = None  # of which the expected value consists


@dataclass
class Outcome:
    """One run of the backward function."""

    events: list[Event] = field(default_factory=list)
    returned: Any = None
    return_number: int = 0
    owner: Any = None
    error: str = ""  # if it raised one
    error_line: int = 0

    @property
    def wrong(self) -> list[Event]:
        """The events that are wrong, in the order of computation."""
        return [e for e in self.events if e.status == WRONG]


class Judge(Listener):
    """Judges what a copy of the backward function writes.

    Args:
        forward: the forward pass whose gradients the function should compute.
        names: by name of a gradient, the name of its value.
        overrides: by the number of an event, the array with which to go on; None for what the function has computed.
        is_judging: whether to go on with the true gradient instead of a wrong one.
        capture: the number of an event, before whose statement the local variables are kept; if it is an array that a
            loop has added up, before all runs of that statement.
        is_strict: whether a gradient of another shape than its value, with the right elements, is wrong.
    """

    def __init__(
        self, written: Written, forward: ForwardPass, names: Mapping[str, str], overrides: Mapping[int, Any],
        is_judging: bool = True, capture: int | None = None, is_strict: bool = False,
    ) -> None:  # fmt: skip
        self.written, self.forward, self.names = written, forward, names
        self.overrides, self.is_judging, self.capture, self.is_strict = overrides, is_judging, capture, is_strict
        self.outcome = Outcome()
        self.upstream = set(forward.call.cotangents)
        self.captured: list[dict[str, Any]] = []
        self.captured_sites: set[int] = set()  # whose statement is captured; that before the event if none is said
        self._right: set[str] = set()
        self._right_for_own: set[tuple[int, str]] = set()  # sites and paths
        self._counts: dict[tuple[int, str], int] = {}

    def before(self, number: int) -> None:
        """Keep the local variables, if this is the statement of the event to capture."""
        if self.capture is None or len(self.outcome.events) > self.capture:
            return
        if not self.captured_sites:
            self.captured.clear()
        elif number not in self.captured_sites:
            return
        if len(self.captured) < MOST_RUNS:
            self.captured.append(_copied(caller().f_locals))

    def wrote(self, number: int, value: Any) -> Any:
        """Judge a value."""
        site = self.written.sites[number]
        return self._event(number, site.path, indices(site.loops, caller().f_locals), value, site.is_complete)

    def item(self, number: int, value: Any, key: Any) -> Any:
        """Judge an item of a dictionary or list, or an array of which a part was written."""
        site = self.written.sites[number]
        index = indices(site.loops, caller().f_locals)
        if isinstance(value, (dict, list)):
            if isinstance(key, (int, str, np.integer)):
                index = {**index, "": key} if key not in index.values() else index
                path = f"{site.path}.{key}" if isinstance(key, str) else site.path
                items: Any = value
                items[key] = self._event(number, path, index, items[key], True)
            return value
        return self._event(number, site.path, index, value, site.is_complete)

    def returned(self, number: int, value: Any) -> Any:
        """Keep what is returned, and judge expressions in it that have no name."""
        self.outcome.return_number = number
        parts = list(value) if isinstance(value, tuple) else [value]
        statement = self.written.returns[number]
        if len(parts) == len(statement.parts):
            for k, part in enumerate(parts):
                if statement.path(k) is None and not isinstance(part, dict):
                    parts[k] = self._returned_expression(k, part, len(parts))
            value = tuple(parts) if isinstance(value, tuple) else parts[0]
        self.outcome.returned = value
        return value

    def _returned_expression(self, k: int, part: Any, count: int) -> Any:
        inputs = self.forward.inputs()
        if count == 1:  # the gradient of any of them: of the one that it fits best, the first of these
            inputs = sorted(inputs, key=lambda version: -self.forward.fit(version, part))
        version = inputs[k] if k < len(inputs) and (count == len(inputs) or count == 1) else None
        return self._event(-1 - k, f"d{version.name}" if version else "", {}, part, True)

    def _is_event(self, site: int, value: Any) -> bool:
        """Whether a value may be a gradient: numbers, and not of the loss in one function that returns both."""
        is_early = site >= 0 and self.written.sites[site].lines[0] <= self.forward.last_line
        return not is_early and (is_number(value) or (isinstance(value, np.ndarray) and value.dtype.kind in "iu"))

    def _event(self, site: int, path: str, index: dict[str, Any], value: Any, is_complete: bool) -> Any:
        value = value_of(value)
        if not self._is_event(site, value):
            return value
        result = np.array(value, dtype=float)
        event = Event(len(self.outcome.events), site, path, index, result)
        self.outcome.events.append(event)
        event.candidates = self._candidates(event)
        if not is_complete and index and event.candidates and self.written.sites[max(site, 0)].continues:
            event.status = PARTIAL
        else:
            self._judge(event, is_complete)
        if event.status == RIGHT:
            self._right.add(path)
        if event.order in self.overrides:
            other = self.overrides[event.order]
            return value if other is None else _like(value, other)
        if event.status == WRONG and self.is_judging:
            assert event.version is not None
            gradient = self.forward.gradient(event.version)
            left_out = self.forward.left_out.get((site, path))
            if left_out is not None:
                gradient, event.contributions = self.forward.without(event.version, left_out)
                event.expected = gradient
                event.label = f"{event.version.label}, through {' and '.join(event.contributions) or 'nothing'}"
            if not self.is_strict and result.size == gradient.size:
                gradient = gradient.reshape(result.shape)  # the function goes on with this shape
            return _like(value, gradient)
        return value

    def _judge(self, event: Event, is_complete: bool) -> None:
        forward = self.forward
        own = event.candidates
        event.version = next((v for v in own if forward.is_gradient(v, event.result)), None)
        if event.version is not None:
            event.status = RIGHT
            self._right_for_own.add((event.site, event.path))
            if sum(v.name == event.version.name and v.index == event.version.index for v in forward.plain.versions) > 1:
                event.remark = f"the gradient of {event.version.label}"
            return
        if not self.is_strict:
            event.version = next((v for v in own if v.line and self._is_reshaped(v, event.result)), None)
            if event.version is not None:
                event.status, event.remark = RIGHT, f"with another shape than {event.version.label}"
                return
        if (own and (self._is_reused(event) or event.path in self.upstream)) or not own:
            other = forward.equal_to(event.result)
            # In another iteration of a loop, a name stands for the same value, and not for a part of its gradient.
            is_part = other is not None and other.is_part and (event.site, event.path) in self._right_for_own
            if other is not None and not is_part:
                event.status, event.version = RIGHT, other
                event.remark = f"the gradient of {other.label}"
                return
        if forward.are_parts_allowed and event.index and self._is_part(event):
            return
        if not own or event.path in self.upstream:
            event.status = UNKNOWN
        elif not is_complete:
            event.status = PARTIAL
        elif event.site >= 0 and self.written.sites[event.site].is_read_in_loop:
            event.status = UNKNOWN
        else:
            event.status, event.version = WRONG, self._expected(event)

    def _is_part(self, event: Event) -> bool:
        """Whether a line in a loop is a contribution to a value of its name, to which the rest is added elsewhere."""
        for version in self._named(event.path):
            if not version.index or version.value.shape != event.result.shape:
                continue
            consumers = self.forward.consumers_of(version, event.result)
            if consumers:
                event.status, event.version = RIGHT, version
                event.label = f"{version.label}, through {' and '.join(consumers)}"
                return True
        return False

    def _is_reshaped(self, version: Version, result: Array) -> bool:
        shape = version.value.shape
        return (
            result.shape != shape
            and result.size == version.value.size > 1
            and self.forward.is_gradient(version, result.reshape(shape))
        )

    def _candidates(self, event: Event) -> list[Version]:
        """The values whose gradient an event may be by its name, those that were computed last first."""
        found = self._named(event.path)
        if not found:
            return []
        count = self._counts[event.site, event.path] = self._counts.get((event.site, event.path), -1) + 1
        return _at_index(found[::-1], event.index, count, self.forward.shifts.get((event.site, event.path), 0))

    def _named(self, path: str) -> list[Version]:
        """The values after which a gradient is named."""
        mapped = self.names.get(path) or self.names.get(path.rpartition(".")[2])
        candidates = map(self.forward.find, [squeeze(mapped)] if mapped else values_named_by(path))
        return next((found for found in candidates if found), [])

    def _is_reused(self, event: Event) -> bool:
        """Whether the name was right for its own value before: now it may stand for another."""
        return event.path in self._right or (event.site >= 0 and not self.written.sites[event.site].is_complete)

    def _expected(self, event: Event) -> Version:
        """The value whose gradient a wrong line should compute."""
        same_shape = [v for v in event.candidates if v.value.shape == event.result.shape]
        candidates = same_shape or event.candidates
        found = {e.version.order for e in self.outcome.events if e.version is not None and e.status == RIGHT}
        left = [v for v in candidates if v.order not in found] or candidates
        earlier = any(e.path == event.path and e.order < event.order for e in self.outcome.events)
        return left[-1] if earlier or len(left) == 1 or self._is_last(event) else left[0]

    def _is_last(self, event: Event) -> bool:
        return event.site < 0 or not any(
            site.path == event.path and site.number > event.site for site in self.written.sites
        )


def _at_index(versions: Sequence[Version], index: Mapping[str, Any], count: int, shift: int) -> list[Version]:
    """The versions of the same iteration: by the loops' variables, or by the number of the iteration.

    A shift says that the version is computed so many assignments before the one of this iteration.
    """
    if not index or not any(v.index for v in versions):
        return list(versions)
    shared = [v for v in versions if set(v.index) & set(index)]
    exact = [v for v in shared if all(index[k] == n for k, n in v.index.items() if k in index)]
    if exact and shift:
        place = versions.index(exact[0]) + shift
        return [versions[place]] if 0 <= place < len(versions) else []
    if exact:
        return exact
    by_key = [v for v in versions if set(v.index.values()) & set(index.values())]
    if by_key and not shared:
        keyed = [v for v in by_key if list(v.index.values())[-1:] == list(index.values())[-1:]]
        if keyed:
            return keyed
    return [versions[count]] if count < len(versions) else []


def _like(value: Any, other: Array) -> Any:
    return float(other) if isinstance(value, (float, np.floating)) and np.ndim(other) == 0 else np.array(other)


def run_backward(
    written: Written, forward: ForwardPass, names: Mapping[str, str], overrides: Mapping[int, Any] | None = None,
    is_judging: bool = True, capture: int | None = None, is_strict: bool = False, captured_sites: Collection[int] = (),
) -> Judge:  # fmt: skip
    """Run the backward function once and judge what it computes."""
    judge = Judge(written, forward, names, overrides or {}, is_judging, capture, is_strict)
    judge.captured_sites = set(captured_sites)
    owner, arguments = forward.backward_arguments()
    first = (owner,) if forward.pair.backward_has_self else ()
    judge.outcome.owner = owner
    with same_randomness(forward.state), np.errstate(all="ignore"):
        try:
            judge.written.copy(judge)(*first, **arguments)
        except Exception as error:
            judge.outcome.error = f"{type(error).__name__}: {error}"
            judge.outcome.error_line = _line_of(error, written)
    return judge


def _line_of(error: BaseException, written: Written) -> int:
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == written.file and trace.tb_frame.f_code.co_name == written.name:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def judged(written: Written, forward: ForwardPass, names: Mapping[str, str]) -> tuple[Outcome, dict[int, Any]]:
    """The outcome in which as few lines as possible are wrong, and the overrides that lead to it.

    A line whose name says nothing, or that a later line continues, is to blame instead of a later line if that one is
    right as soon as the former is.
    """
    overrides: dict[int, Any] = {}
    blamed: dict[tuple[int, str], Suspect] = {}
    is_strict = False
    outcome = run_backward(written, forward, names, overrides).outcome
    if outcome.error or outcome.wrong:  # perhaps because of a shape
        strict = run_backward(written, forward, names, overrides, is_strict=True).outcome
        if (bool(strict.error), len(strict.wrong)) <= (bool(outcome.error), len(outcome.wrong)):
            reshaped = (
                [e for e in strict.wrong if outcome.events[e.order].status == RIGHT]
                if not outcome.error
                else strict.wrong
            )
            overrides = {e.order: forward.gradient(e.version) for e in reshaped if e.version is not None}
            outcome, is_strict = strict, True
    if outcome.wrong:
        outcome = _shifted(written, forward, names, overrides, outcome, is_strict)
    trials = TRIALS
    while outcome.wrong and trials > 0:
        best: tuple[Outcome, dict[int, Any], Event, Suspect] | None = None
        for event, suspect in _suspects(forward, outcome, outcome.wrong):
            trials -= 1
            if trials < 0:
                break
            trial = overrides | _with_other_iterations(forward, outcome, event, suspect)
            other = run_backward(written, forward, names, trial, is_strict=is_strict).outcome
            if not other.error and len(other.wrong) < len(best[0].wrong if best else outcome.wrong):
                best = other, trial, event, suspect
        if best is None:
            break
        outcome, overrides = best[0], best[1]
        blamed[best[2].site, best[2].path] = best[3]
    for event in outcome.events:
        if event.order in overrides and (blame := blamed.get((event.site, event.path))) is not None:
            own = _of_iteration(forward, blame.version, event.index) or blame.version
            expected = blame.expected(forward, own)
            is_right = agree(event.result, expected, forward.rtol, 0.0)
            event.status, event.version = RIGHT if is_right else WRONG, own
            if blame.is_value:
                event.expected, event.label = expected, f"(the value of {own.label})"
    return outcome, overrides


def _shifted(
    written: Written, forward: ForwardPass, names: Mapping[str, str], overrides: Mapping[int, Any], outcome: Outcome,
    is_strict: bool,
) -> Outcome:  # fmt: skip
    """The outcome if lines in loops have other meanings, where fewer are wrong then.

    In iteration t, `dprev_h` is the gradient of what iteration t - 1 has computed, or the contribution to it.
    """
    if any(e.index for e in outcome.wrong):
        forward.are_parts_allowed = True
        other = run_backward(written, forward, names, overrides, is_strict=is_strict).outcome
        forward.are_parts_allowed = not other.error and len(other.wrong) < len(outcome.wrong)
        if forward.are_parts_allowed:
            outcome = other
    for key in dict.fromkeys((e.site, e.path) for e in outcome.wrong if e.index):
        best: tuple[int, str | None] = (0, None)
        for shift, consumer in _meanings(forward, outcome, key):
            _set_meaning(forward, key, shift, consumer)
            other = run_backward(written, forward, names, overrides, is_strict=is_strict).outcome
            if not other.error and len(other.wrong) < len(outcome.wrong):
                outcome, best = other, (shift, consumer)
        _set_meaning(forward, key, *best)
    return outcome


def _meanings(forward: ForwardPass, outcome: Outcome, key: tuple[int, str]) -> list[tuple[int, str | None]]:
    """What a line in a loop may compute: how many assignments earlier, and without which consumer's contribution."""
    consumers: dict[str, None] = {}
    if len(forward.plain.versions) <= VERSIONS and forward.method == "tape":
        for event in outcome.wrong:
            if (event.site, event.path) == key and event.version is not None:
                terms = forward.reference.contributions[event.version.label]
                consumers |= dict.fromkeys(k.partition("[")[0] for k in terms)
    whole: list[tuple[int, str | None]] = [(1, None), (-1, None)]
    return whole + [(shift, k) for k in consumers for shift in (1, 0, -1)]


def _set_meaning(forward: ForwardPass, key: tuple[int, str], shift: int, consumer: str | None) -> None:
    forward.shifts[key] = shift
    forward.left_out.pop(key, None)
    if consumer is not None:
        forward.left_out[key] = consumer


@dataclass(frozen=True)
class Suspect:
    """What a line may have to compute: the gradient at a value, or the value itself, which is computed again."""

    version: Version
    is_value: bool

    def expected(self, forward: ForwardPass, version: Version) -> Array:
        """What it has to be for a version."""
        return version.value if self.is_value else forward.gradient(version)


def _with_other_iterations(forward: ForwardPass, outcome: Outcome, event: Event, suspect: Suspect) -> dict[int, Array]:
    """What a line should compute, in the iteration of an event and in all others."""
    overrides = {event.order: suspect.expected(forward, suspect.version)}
    for other in outcome.events:
        if other.site == event.site and other.path == event.path and other is not event:
            own = _of_iteration(forward, suspect.version, other.index)
            if own is not None and own.value.shape == other.result.shape:
                overrides[other.order] = suspect.expected(forward, own)
    return overrides


def _of_iteration(forward: ForwardPass, version: Version, index: Mapping[str, Any]) -> Version | None:
    """The version of the same assignment, or expression, in another iteration."""
    same = [
        v
        for v in forward.plain.versions
        if (v.name, v.line, v.is_part) == (version.name, version.line, version.is_part)
    ]
    if not version.index or not index:
        return None
    return next((v for v in same if list(v.index.values()) == list(index.values())), None)


def _suspects(forward: ForwardPass, outcome: Outcome, wrong: Sequence[Event]) -> list[tuple[Event, Suspect]]:
    """Events before a wrong one that may be to blame, and what each may have to compute.

    One iteration of a loop stands for all of them. The first events come first: what a later one computes from a wrong
    value is wrong too.
    """
    found: dict[tuple[int, str, str, int], tuple[Event, Suspect]] = {}
    targets = {e.version.name for e in wrong if e.version is not None}
    for event in outcome.events[: wrong[-1].order]:
        if event.status == RIGHT:  # perhaps a step is missing: a later value of the same name is not reached
            found |= _steps_further(forward, event)
        site = forward.pair.backward.sites[event.site] if event.site >= 0 else None
        is_changed = event.status == WRONG and site is not None and site.continues  # dh[h <= 0] = 0: of another value
        if event.status not in (UNKNOWN, PARTIAL) and not is_changed:
            continue
        is_value = next(values_named_by(event.path), None) is None
        if (is_value and forward.is_value(event.result)) or (not is_value and forward.has_value(event.path)):
            continue
        name = event.path.rpartition(".")[2]
        whole = set(values_named_by(without_suffix(name))) if without_suffix(name) != name else set()
        orders = {v.order for v in event.candidates}
        others = [v for v in forward.plain.versions if v.order not in orders]
        for version in [*event.candidates, *others]:  # of its own values, the last one first
            is_own = version.order in orders
            if version.value.shape != event.result.shape or (not is_value and version.line == 0):
                continue
            if (version.name in targets or squeeze(version.name) in whole) and not is_own and not is_value:
                continue
            if event.index and version.index and list(event.index.values()) != list(version.index.values()):
                continue
            if is_value or np.any(forward.gradient(version)):
                key = (event.site, event.path, version.name, version.line)
                found.setdefault(key, (event, Suspect(version, is_value)))
    return sorted(
        found.values(),
        key=lambda pair: (pair[0].status == RIGHT, pair[1].version not in pair[0].candidates, pair[1].is_value),
    )


def _steps_further(forward: ForwardPass, event: Event) -> dict[tuple[int, str, str, int], tuple[Event, Suspect]]:
    """The values of the same name that a right line may have to reach, before the one whose gradient it is."""
    assert event.version is not None
    return {
        (event.site, event.path, v.name, v.line): (event, Suspect(v, False))
        for v in event.candidates
        if v.order < event.version.order and v.index == event.version.index and v.value.shape == event.result.shape
        and v.line and np.any(forward.gradient(v) != forward.gradient(event.version))
    }  # fmt: skip


def _copied(names: Mapping[str, Any]) -> dict[str, Any]:
    """Local variables as they are now; what cannot be copied as it is."""
    copied, memo = {}, {}  # type: dict[str, Any], dict[int, Any]
    for name, value in names.items():
        if isinstance(value, types.ModuleType) or callable(value):
            copied[name] = value
            continue
        try:
            copied[name] = copy.deepcopy(value, memo)
        except Exception:  # objects of the user may refuse to be copied in any way
            copied[name] = value
    return copied
