"""Parts of a gradient: `dx1` and `dx2` of `dx = dx1 + dx2`, and the steps of `dx += ...`.

A part is right if it is the contribution of one consumer of the value, or of several. If the sum is wrong because of
one part, that part is blamed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.verify.as_written.forward_values import VERSIONS, ForwardPass, Version
from minigrad.verify.as_written.written_lines import (
    PARTIAL,
    RIGHT,
    UNKNOWN,
    WRONG,
    Event,
    Outcome,
    judged,
    run_backward,
)
from minigrad.verify.derivation.reference import agree
from minigrad.verify.pairs.gradient_names import values_named_by, without_suffix
from minigrad.verify.pairs.instrument import Written
from minigrad.verify.pairs.sites import path_of

Array = Any


@dataclass
class Part:
    """What one event contributes to the gradient of a value."""

    event: Event
    version: Version
    result: Array
    expected: Array | None  # None if it is not known
    consumers: tuple[str, ...]
    is_right: bool
    total: int = -1  # the number of the event of the sum

    @property
    def label(self) -> str:
        """The value, and through which others the part comes."""
        return f"{self.version.label}, through {' and '.join(self.consumers)}" if self.consumers else self.version.label


def parts_of(written: Written, forward: ForwardPass, outcome: Outcome) -> dict[int, Part]:
    """The parts of gradients among the events that could not be judged, by the number of the event.

    Of the parts of a wrong sum, the one that is wrong has `is_right` False, if it is one only.
    """
    if len(forward.plain.versions) > VERSIONS or forward.method == "differences":
        return {}
    found: dict[int, Part] = {}
    for total in outcome.events:
        if total.status not in (RIGHT, WRONG) or total.version is None or total.site < 0:
            continue
        parts = [*_addends(written, outcome, total)]
        if len(parts) > 1:
            found |= {part.event.order: part for part in _matched(forward, total, parts)}
    for event in outcome.events:
        if event.status == UNKNOWN and event.site >= 0 and event.order not in found:
            version = _base(forward, event)
            consumers = None if version is None else forward.consumers_of(version, event.result)
            if version is not None and consumers:
                found[event.order] = Part(event, version, event.result, event.result, consumers, True)
    return found


def _addends(written: Written, outcome: Outcome, total: Event) -> Iterator[tuple[Event, Array]]:
    """The events whose results are added up in a line, each with what it adds, if they are all of the sum."""
    statement = written.sites[total.site].statement
    if isinstance(statement, ast.Assign):
        for name, sign in _terms(statement.value, 1.0):
            event = next((e for e in reversed(outcome.events[: total.order]) if e.path == name), None)
            if event is None or event.path == total.path:
                return
            yield event, sign * event.result
    elif isinstance(statement, ast.AugAssign):
        steps = [e for e in outcome.events[: total.order + 1] if e.path == total.path and e.index == total.index]
        before: Array = 0.0
        for event in steps:
            if np.shape(before) not in ((), event.result.shape):
                return
            yield event, event.result - before
            before = event.result


def _terms(node: ast.expr, sign: float) -> Iterator[tuple[str | None, float]]:
    """The paths that are added and subtracted in an expression; None for a term that is no path."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield from _terms(node.left, sign)
        yield from _terms(node.right, sign if isinstance(node.op, ast.Add) else -sign)
    else:
        yield path_of(node), sign


def _matched(forward: ForwardPass, total: Event, parts: Sequence[tuple[Event, Array]]) -> list[Part]:
    version = total.version
    assert version is not None
    matched: list[Part] = []
    used: set[str] = set()
    unknown: list[tuple[Event, Array]] = []
    for event, result in parts:
        consumers = forward.consumers_of(version, result, used)
        if consumers:
            used |= set(consumers)
            if event.status in (UNKNOWN, PARTIAL):
                matched.append(Part(event, version, result, result, consumers, True))
        else:
            unknown.append((event, result))
    if len(unknown) == 1 and total.status == WRONG:
        event, result = unknown[0]
        rest = sum(r for e, r in parts if e is not event)
        expected = forward.gradient(version) - rest
        left = tuple(k for k in forward.reference.contributions[version.label] if k not in used)
        has_wrong_sign = forward.consumers_of(version, event.result, used)  # in the sum: the part itself is right
        if (
            left
            and not has_wrong_sign
            and event.status in (UNKNOWN, PARTIAL)
            and forward.consumers_of(version, expected, used)
        ):
            matched.append(Part(event, version, result, expected, left, False, total.order))
    return matched


def _base(forward: ForwardPass, event: Event) -> Version | None:
    base = without_suffix(event.path.rpartition(".")[2])
    for squeezed in values_named_by(base):
        versions = [v for v in forward.find(squeezed) if v.value.shape == event.result.shape]
        if versions:
            return versions[0]
    return None


def judged_with_parts(
    written: Written, forward: ForwardPass, names: Mapping[str, str]
) -> tuple[Outcome, dict[int, Any]]:
    """The outcome in which the parts of sums are judged too: a wrong part is blamed instead of the sum."""
    outcome, overrides = judged(written, forward, names)
    parts = parts_of(written, forward, outcome)
    wrong: dict[int, Part] = {}
    innocent: set[int] = set()  # parts that cannot be to blame: with what they should be, others would be wrong
    while part := next((p for o, p in parts.items() if not p.is_right and o not in wrong and o not in innocent), None):
        order = part.event.order
        trial = {k: v for k, v in overrides.items() if k != part.total}
        trial[order] = part.event.result - part.result + part.expected
        blamed = [(e.order, e.version) for e in outcome.wrong if e.order in trial and e.order not in wrong]
        other = run_backward(written, forward, names, trial).outcome
        if {e.order for e in other.wrong} - {e.order for e in outcome.wrong} - {order}:
            innocent.add(order)
            continue
        wrong[order] = part
        outcome, overrides = other, trial
        for blamed_order, version in blamed:
            outcome.events[blamed_order].status, outcome.events[blamed_order].version = WRONG, version
        parts = parts_of(written, forward, outcome)
    parts = {order: part for order, part in parts.items() if order not in innocent}
    parts |= wrong
    for order, part in parts.items():
        event = outcome.events[order]
        event.status, event.version, event.label = RIGHT if part.is_right else WRONG, part.version, part.label
        if not part.is_right:
            event.expected = event.result - part.result + part.expected
            terms = forward.reference.contributions[part.version.label]
            event.contributions = {k: terms[k] for k in part.consumers}
            if np.any(event.result != part.result):
                event.contributions[event.path] = event.result - part.result
    _blame_lost_sums(written, forward, outcome)
    return outcome, overrides


def _blame_lost_sums(written: Written, forward: ForwardPass, outcome: Outcome) -> None:
    """Blame only the last of several lines `dw = ...` that should have been added up."""
    by_path: dict[str, list[Event]] = {}
    for event in outcome.events:
        if event.site >= 0:
            by_path.setdefault(event.path, []).append(event)
    for path, events in by_path.items():
        last = events[-1]
        if len(events) < 2 or last.version is None or any(e.status != WRONG for e in events if np.any(e.result)):
            continue
        gradient = forward.gradient(last.version)
        if any(e.result.shape != gradient.shape or written.sites[e.site].continues for e in events):
            continue
        if agree(np.asarray(sum(e.result for e in events)), gradient, forward.rtol, 1e-11 * forward.reference.scale):
            for event in events:
                event.status = WRONG if event.site == last.site else PARTIAL
                event.reason = f"`{path} =` should be `{path} +=`: every step adds to it"
