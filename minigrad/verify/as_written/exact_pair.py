"""Lines of a plain backward function that are right by floats, proven without a tolerance, or refuted.

As for derivations (verify/derivation/exact_check.py), on a run of both functions on exact arrays.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minigrad.exact import Constants, Exact, Inexact, Redraw, constants, draw, opaque_roots, same
from minigrad.exact.unknowns import unknowns
from minigrad.verify.as_written.forward_values import ForwardPass
from minigrad.verify.as_written.replay import Differs, Replay, converted, replay
from minigrad.verify.as_written.written_lines import RIGHT, Event, Outcome
from minigrad.verify.as_written.written_report import WrittenLine
from minigrad.verify.derivation.derivation_report import LineReport
from minigrad.verify.derivation.exact_check import DRAWS, LARGEST, Exactness, decided, enter, reason_of
from minigrad.verify.derivation.exact_sample import nearest_rationals
from minigrad.verify.derivation.structure import redrawn
from minigrad.verify.pairs.instrument import Written

Array = Any
TRIES = 40  # draws, until all roots exist and no comparison is a tie


def prove_lines(
    written: Written, forward: ForwardPass, judged: Outcome, lines: Sequence[tuple[Event, WrittenLine]], seed: int,
    is_asked: bool,
) -> dict[str, bool | None]:  # fmt: skip
    """Prove or refute the lines that are right by floats, and enter the result into them.

    Args:
        written: the backward function.
        forward: the forward pass by floats.
        judged: the events of the backward function.
        lines: with one of their events.
        seed: of the random numbers.
        is_asked: whether to prove also where that is expensive.

    Returns:
        False for each input whose own line is refuted.
    """
    results = prove_events(written, forward, judged, seed, is_asked)
    refuted: dict[str, bool | None] = {}
    parts: list[LineReport] = []
    for event, line in lines:
        if line.verdict != "right":
            continue
        own = [e for e in judged.events if (e.site, e.path) == (event.site, event.path) and e.order in results]
        if not own:
            parts.append(line.report)
            continue
        worst = max(own, key=lambda e: (results[e.order].difference is not None, not results[e.order].proven))
        enter(line.report, results[worst.order])
        line.verdict = line.report.verdict
        if line.verdict == "wrong":
            line.first_wrong = ", ".join(f"{k} = {n}" for k, n in worst.index.items() if k)
            if worst.version is not None and worst.version.line == 0:
                refuted[worst.version.name] = False
    is_proven = all(line.report.proven or any(line.report is part for part in parts) for _, line in lines)
    for report in parts:  # they go into the sums, which are proven
        report.proven = is_proven and len(parts) < len(lines)
    return refuted


def prove_events(
    written: Written, forward: ForwardPass, judged: Outcome, seed: int, is_asked: bool = False
) -> dict[int, Exactness]:
    """For each event that was judged right, by its number, whether it is proven.

    Args:
        written: the backward function.
        forward: the forward pass by floats.
        judged: its events.
        seed: of the random numbers.
        is_asked: whether to prove also where that is expensive.
    """
    targets = [e.order for e in judged.events if e.status == RIGHT and e.version is not None]
    if forward.method == "differences":
        return dict.fromkeys(targets, Exactness(reason="the true gradients are finite differences"))
    if judged.error:
        return {}
    try:
        with constants(Constants(learns=True)):
            return _Proof(written, forward, judged, seed, is_asked).results(targets)
    except (Inexact, Redraw) as error:
        return dict.fromkeys(targets, Exactness(reason=reason_of(error)))
    except Exception as error:  # code of users may fail on other arrays in any way
        reason = f"the functions do not run on exact arrays ({type(error).__name__}: {error})"
        return dict.fromkeys(targets, Exactness(reason=reason.partition("\n")[0]))


class _Proof:
    """The proof of all lines of a backward function."""

    def __init__(self, written: Written, forward: ForwardPass, judged: Outcome, seed: int, is_asked: bool) -> None:
        self.written, self.forward, self.judged = written, forward, judged
        self.rng = np.random.default_rng([seed, 4, 78])
        if sum(np.size(v.value) for v in forward.inputs()) > LARGEST and not is_asked:
            raise Inexact(f"a check with more than {LARGEST} elements is not made without exact=True; it")

    def results(self, targets: Sequence[int]) -> dict[int, Exactness]:
        """The result for each event."""
        results = {k: Exactness(proven=True) for k in targets}
        for _ in range(DRAWS):
            drawn = self._drawn()
            with unknowns() as names:
                run = self._run(drawn)
            wrong = [
                k for k in targets
                if k in results and results[k].proven and k in run.lines and not same(*run.lines[k])
            ]  # fmt: skip
            involved = self._involved(drawn, run, wrong, names) if wrong else {}
            for k in set(results) - set(run.lines):
                del results[k]
            for k in wrong:
                results[k] = decided(involved[k], self._differences, k)
        return results

    def _drawn(self) -> tuple[dict[str, Any], Any, dict[int, Exact]]:
        """Random exact arguments, at which all is decided if possible, and cotangents."""
        arguments: tuple[dict[str, Any], Any, dict[int, Exact]]
        for _ in range(TRIES):
            arguments = (
                {
                    k: converted(v, Exact.of if k in self.forward.constants else self._rational)
                    for k, v in self.forward.given.items()
                },
                converted(self.forward.owner, self._rational, into_objects=True),
                {k: self._cotangent(c) for k, c in self.forward.cotangents.items()},
            )  # fmt: skip
            try:
                self._run(arguments, with_roots=True)
            except Redraw:
                continue
            break
        return arguments

    def _cotangent(self, cotangent: Array) -> Exact:
        is_fixed = self.forward.call.is_unit or self.forward.are_cotangents_given
        return Exact.of(cotangent) if is_fixed else draw(self.rng, np.shape(cotangent), exponents=False)

    def _rational(self, value: Array) -> Exact:
        return nearest_rationals(redrawn(value, self.rng))

    def _run(self, drawn: tuple[dict[str, Any], Any, dict[int, Exact]], with_roots: bool = False) -> Replay:
        arguments = copy.deepcopy(drawn)
        if with_roots:
            return replay(self.written, self.forward, self.judged, *arguments, Exact.of)
        with opaque_roots():
            return replay(self.written, self.forward, self.judged, *arguments, Exact.of)

    def _involved(
        self, drawn: tuple[dict[str, Any], Any, dict[int, Exact]], run: Replay, wrong: Sequence[int], names: set[str]
    ) -> dict[int, list[str]]:
        """The names of the unknowns on which a result or a gradient depends, by the number of the event."""
        involved: dict[int, list[str]] = {k: [] for k in wrong}
        for name in sorted(names):
            with unknowns(changed=[name]):
                changed = self._run(drawn)
            for k in wrong:
                if not all(same(x, y) for x, y in zip(run.lines[k], changed.lines[k], strict=True)):
                    involved[k].append(name)
        return involved

    def _differences(self, order: int) -> tuple[float, float]:
        """How far an event is off in float64 and in extended precision; NaN if the functions do not compute in it."""
        differences = []
        for dtype in (np.float64, np.longdouble):
            cotangents: Mapping[int, Any] = {k: c.astype(dtype) for k, c in self.forward.cotangents.items()}

            def wide(value: Array, dtype: Any = dtype) -> Array:
                return value.astype(dtype)

            try:
                run = replay(
                    self.written, self.forward, self.judged, converted(self.forward.given, wide),
                    converted(self.forward.owner, wide, into_objects=True), cotangents, wide,
                )  # fmt: skip
            except (Differs, TypeError, ValueError, np.linalg.LinAlgError):
                return (np.nan, np.nan)
            result, expected = (np.asarray(x) for x in run.lines[order])
            if result.dtype != dtype:
                return (np.nan, np.nan)
            largest = np.max(np.abs(expected), initial=0.0) or 1.0
            differences.append(float(np.max(np.abs(result - expected), initial=0.0) / largest))
        is_wider = np.finfo(np.longdouble).eps < np.finfo(float).eps
        return differences[0], (differences[1] if differences[1] > 1e-18 else 0.0) if is_wider else np.nan
