"""Why a line of a backward function is wrong, and the edit that makes it right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.verify.as_written import right_line
from minigrad.verify.as_written.forward_values import ForwardPass
from minigrad.verify.as_written.statement import (
    Runs,
    StatementSource,
    added_up,
    atoms_of,
    environments,
    is_value,
    line_of,
    steps_of,
)
from minigrad.verify.as_written.written_lines import Event, Outcome, run_backward
from minigrad.verify.derivation import diagnosis, repair
from minigrad.verify.derivation.derivation_report import LineReport
from minigrad.verify.derivation.named_factors import Case
from minigrad.verify.derivation.reference import contributions_through
from minigrad.verify.pairs.gradient_names import values_named_by
from minigrad.verify.pairs.pair import Pair

Array = Any
Judged = tuple[Outcome, Mapping[int, Any]]  # an outcome, and the values with which the function went on


@dataclass
class Place:
    """A wrong line in one sample: its event there, and the local names before it."""

    forward: ForwardPass
    event: Event
    runs: Runs


def explain(
    report: LineReport, pair: Pair, names: Mapping[str, str], event: Event,
    samples: Sequence[tuple[ForwardPass, Judged]], seconds: float,
) -> list[right_line.Place]:  # fmt: skip
    """Fill in the reason and the repair of a wrong line. Returns where it stands in each sample.

    Args:
        report: of the line.
        pair: the functions.
        names: see check_backward.
        event: the line's result in the first sample.
        samples: forward passes, and the backward function judged there.
        seconds: how long to search for a repair.
    """
    if not np.all(np.isfinite(event.result)):
        report.kind, report.reason = "finite", "it has NaN or infinite elements"
        return []
    if event.reason:
        report.kind, report.reason = "added", event.reason
        return []
    written, outcome = pair.backward, samples[0][1][0]
    steps = steps_of(written, event, outcome.events[: event.order])
    sites = {next(s.number for s in written.sites if s.statement is step.statement) for step in steps}
    places = []
    for k, (forward, (judged_there, overrides)) in enumerate(samples):
        same = event if k == 0 else _same_line(event, judged_there)
        if same is not None:
            runs = run_backward(
                written, forward, names, {n: v for n, v in overrides.items() if n != same.order}, capture=same.order,
                captured_sites=sites,
            ).captured  # fmt: skip
            places.append(Place(forward, same, environments(runs, steps)))
    source = line_of(written, event, steps, places[0].runs) if all(place.runs for place in places) else None
    atoms = atoms_of(written, source, places[0].runs, event) if source is not None else []
    cases = [_case(place, source, atoms) for place in places]
    report.kind, report.reason, _ = diagnosis.common_reason(cases)
    if source is not None:
        all_runs, expected = [place.runs for place in places], [case.expected for case in cases]
        found = added_up(source, all_runs, expected) or repair.search_edit(source, atoms, all_runs, expected, seconds)
        if found is not None:
            report.repair, report.repaired = found
    return [
        right_line.Place(place.forward, place.runs[-1], case.expected)
        for place, case in zip(places, cases, strict=True)
        if place.runs
    ]


def _same_line(event: Event, outcome: Outcome) -> Event | None:
    """The same wrong line in another sample, where it is wrong for the first time there."""
    for other in outcome.wrong:
        is_same = (other.site, other.path) == (event.site, event.path) and other.version is not None
        if is_same and (other.expected is None) == (event.expected is None):
            return other
    return None


def _case(place: Place, source: StatementSource | None, atoms: Sequence[str]) -> Case:
    """The result of a line, and what may explain it: the line's own names first, then those of both functions."""
    forward, event = place.forward, place.event
    assert event.version is not None
    known = source.values_of(atoms, place.runs) if source is not None else {}
    values = {k: v for k, v in known.items() if not is_gradient_name(k)}
    for name, value in forward.plain.by_name.items():
        if is_value(value) and not any(_is_same(value, other) for other in values.values()):
            values.setdefault(name, value)
    label, reference = event.version.label, forward.reference
    contributions = reference.contributions[label] if event.contributions is None else event.contributions
    if source is not None and event.contributions is None and forward.method == "tape":
        contributions = _of_own_gradients(place, source, known) or contributions
    expected = forward.gradient(event.version) if event.expected is None else event.expected
    sizes = _sizes(forward, place.runs[-1] if place.runs else {})
    return Case(label, event.result, expected, contributions, values, sizes, reference)


def _of_own_gradients(place: Place, source: StatementSource, known: Mapping[str, Any]) -> dict[str, Array]:
    """The contributions of the values whose gradients the line uses, if these are not those that the tape knows."""
    forward, version = place.forward, place.event.version
    assert version is not None
    text = source.text()
    own = [v for k, v in known.items() if k in text and is_gradient_name(k) and isinstance(v, np.ndarray)]
    used = [found.label for value in own if (found := forward.equal_to(value)) is not None]
    if not used or set(used) <= set(forward.reference.contributions[version.label]):
        return {}
    return contributions_through(forward.reference, version.label, list(dict.fromkeys(used)))


def _is_same(a: Any, b: Any) -> bool:
    return np.shape(a) == np.shape(b) and bool(np.all(np.asarray(a) == np.asarray(b)))


def is_gradient_name(path: str) -> bool:
    """Whether a name is one that people give to gradients."""
    return next(values_named_by(path), None) is not None


def _sizes(forward: ForwardPass, environment: Mapping[str, Any]) -> dict[str, float]:
    """The sizes of axes, by the names in the functions, the backward function's first, or "x.shape[0]"."""
    sizes: dict[str, float] = {}
    for name, value in [*environment.items(), *forward.plain.by_name.items()]:
        is_size = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value > 1
        if is_size and name.isidentifier() and float(value) not in sizes.values():
            sizes[name] = float(value)
    for version in forward.inputs():
        for axis, n in enumerate(version.value.shape):
            if n > 1 and float(n) not in sizes.values():
                sizes[f"{version.name}.shape[{axis}]"] = float(n)
    return sizes
