"""Lines that are right by floats, proven without a tolerance, or refuted.

A line and the tape's gradient are evaluated at random rationals, as residues modulo a prime (minigrad.exact). Two
different rational functions agree there by chance with a probability of about their degree over 2^29 (Schwartz 1980,
Zippel 1979): in three draws below 1e-12, up to degree 50,000.

Equal residues are a proof for the sizes that were drawn and for the region of the inputs. Different ones are an error,
unless an unknown took part: an opaque function such as log, of which identities are not seen; the sign of a root; a
constant of which only the rounded value is known. Whether one did is seen by changing it. Then extended precision
decides, with what rounding explains in favor of the line, and the line counts as equal up to the floats' precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.engine.primitive import value_of
from minigrad.exact import Constants, Exact, Inexact, Redraw, constants, draw, opaque_roots, same
from minigrad.exact.unknowns import CONSTANT, ROOT, unknowns
from minigrad.verify.derivation.backward_pass import BackwardPass, CannotRun, Line
from minigrad.verify.derivation.derivation_report import LineReport
from minigrad.verify.derivation.exact_sample import ExactSample, draw_exact
from minigrad.verify.derivation.reference import reference_gradients
from minigrad.verify.derivation.sample import Sample
from minigrad.verify.derivation.structure import redrawn
from minigrad.verify.pairs.pair import is_float_array

Array = Any
DRAWS = 3
CLOSE = 1e-2  # relative difference of floats up to which a line is tried that is wrong by floats: it may cancel
LARGEST = 50_000  # elements of inputs; with more, only exact=True proves
ROUNDED = 1 / 32  # of the difference of floats is left in extended precision by rounding; it is 1/2048, up to chance
# Relative difference in extended precision that is no rounding, for each unknown. Functions have 1e-14, unless they are
# approximations for float64.
SMALLEST = {ROOT: 1e-16, CONSTANT: 1e-13, "erf": np.inf}
UNKNOWN_NAMES = {ROOT: "the sign of a root", CONSTANT: "a constant is known only as a rounded float"}


@dataclass
class Exactness:
    """Whether a line is proven exactly.

    Attributes:
        proven: whether it is.
        reason: why not, if it is right.
        difference: the relative size of its error, if it is wrong; 0 if it is smaller than all floats show.
    """

    proven: bool = False
    reason: str = ""
    difference: float | None = None


def prove_lines(
    derivation: BackwardPass, reports: Mapping[str, LineReport], first: Sample, inputs: Mapping[str, Any], seed: int,
    is_asked: bool, is_given: bool = False,
) -> None:  # fmt: skip
    """Prove or refute the lines that are right by floats, and enter the result into their reports.

    Args:
        derivation: the lines.
        reports: the verdicts by floats.
        first: the sample of floats.
        inputs: that are given, as for the check. Their values are drawn again, with their structure.
        seed: of the random numbers.
        is_asked: whether to prove also where that is expensive.
        is_given: whether the cotangents of the first sample are given, and hold here too.
    """
    right = [t for t, report in reports.items() if report.verdict in ("right", "other decomposition")]
    close = [t for t, report in reports.items() if report.verdict == "wrong" and report.difference < CLOSE]
    try:
        with constants(Constants(learns=True)):
            proof = _Proof(derivation, first, inputs, seed, is_asked)
            proof.cotangents = first.reference.cotangents if is_given else None
            results = proof.results([*right, *(t for t in close if not reports[t].random_upstream)], reports)
    except (Inexact, Redraw) as error:
        results = {t: Exactness(reason=reason_of(error)) for t in right}
    except Exception as error:  # code of users may fail on other arrays in any way
        reason = f"the forward function does not run on exact arrays ({type(error).__name__}: {error})"
        results = {t: Exactness(reason=reason) for t in right}
    refuted = [t for t in right if results[t].difference is not None]
    for t in right:
        enter(reports[t], results[t])
    for t in close:
        if t in results and results[t].proven:
            reports[t].verdict, reports[t].proven = "right", True
            reports[t].notes.append(f"it cancels: as floats the two sides differ by {reports[t].difference:.0e}")
    for t in derivation.lines_using(refuted) & set(reports):
        reports[t].chained_ok = False
    for t in set(reports) - derivation.lines_using([t for t, report in reports.items() if not report.proven]):
        reports[t].chained_ok = True


def enter(report: LineReport, exactness: Exactness) -> None:
    """Enter the result into the report of a line that is right by floats."""
    report.proven, report.not_proven = exactness.proven, exactness.reason
    if exactness.difference is not None:
        report.verdict, report.kind = "wrong", "exact"
        report.reason = (
            f"it differs by {_size(exactness.difference)}, relative to the largest element: below what floats show"
        )


def _size(difference: float) -> str:
    if np.isnan(difference):
        return "less than float64 shows"
    return f"about {difference:.0e}" if difference else "less than 1e-18"


def decided(involved: Sequence[str], differences: Callable[[Any], tuple[float, float]], line: Any) -> Exactness:
    """The verdict on a line whose residues differ from the gradient's.

    Args:
        involved: the unknowns on which they depend.
        differences: how far a line is off in float64 and in extended precision, relative to the largest element.
        line: of which this is computed.
    """
    by_floats, extended = differences(line)
    if not involved:
        return Exactness(difference=extended)
    smallest = max(SMALLEST.get(name, 1e-14) for name in involved)
    if extended > max(smallest, ROUNDED * by_floats):
        return Exactness(difference=extended)
    opaque = [name for name in involved if name not in UNKNOWN_NAMES]
    reasons = [f"{', '.join(opaque)} {'is' if len(opaque) == 1 else 'are'} opaque"] if opaque else []
    return Exactness(reason="; ".join([*reasons, *(UNKNOWN_NAMES[k] for k in involved if k in UNKNOWN_NAMES)]))


def reason_of(error: Exception) -> str:
    """Why nothing is proven, after an error."""
    if isinstance(error, Redraw):
        return f"no inputs were found where all is decided ({error})"
    return f"{error} has no exact meaning"


class _Proof:
    """The proof of all lines of a derivation."""

    def __init__(
        self, derivation: BackwardPass, first: Sample, inputs: Mapping[str, Any], seed: int, is_asked: bool
    ) -> None:
        self.derivation, self.first, self.inputs = derivation, first, inputs
        self.forward = derivation.forward
        self.rng = np.random.default_rng([seed, 4, 77])
        size = sum(v.size for v in first.arguments.values() if is_float_array(v))
        if size > LARGEST and not is_asked:
            raise Inexact(f"a check with {size} elements is not made without exact=True; it")
        fixed = self.forward.fixed(inputs)
        self.given = [k for k in fixed if k in first.reference.run.inputs and k not in self.forward.kept]
        self.cotangents: Mapping[str, Any] | None = None  # if they are given
        # A function may draw inputs with a property that rounding to rationals spoils.
        self.is_structured = any(callable(self.forward.shapes.get(k)) for k in first.reference.run.inputs)

    def results(self, targets: Sequence[str], reports: Mapping[str, LineReport]) -> dict[str, Exactness]:
        """The result for each line."""
        results = {t: Exactness(proven=True) for t in targets}
        for _ in range(DRAWS):
            with unknowns() as names:
                sample = draw_exact(self.forward, self._arguments, self.rng, self.cotangents)
            chain = self._chained(sample) if any(reports[t].verdict == "other decomposition" for t in targets) else {}
            for t in targets:
                if results[t].proven:
                    is_chain = reports[t].verdict == "other decomposition"
                    compare = self._compare_chain(chain) if is_chain else self._compare
                    results[t] = self._line(sample, t, compare, names)
        return results

    def _arguments(self, rng: np.random.Generator) -> dict[str, Any]:
        arguments = self.forward.arguments(self.inputs, rng)
        return arguments | {k: redrawn(arguments[k], rng) for k in self.given}

    def _line(self, sample: ExactSample, target: str, compare: Callable[..., Any], names: set[str]) -> Exactness:
        line = self.derivation.lines[target]
        try:
            with opaque_roots(), unknowns() as own:
                pairs = compare(sample, line)
            if all(same(x, y) for x, y in pairs):
                return Exactness(proven=True)
            involved = self._involved(sample, line, compare, pairs, names | own)
        except (Inexact, Redraw) as error:
            return Exactness(reason=reason_of(error))
        except Exception as error:  # code of users may fail on other arrays in any way
            return Exactness(reason=f"it does not run on exact arrays ({type(error).__name__}: {error})")
        return decided([CONSTANT] if self.is_structured and not involved else involved, self._differences, line)

    def _compare(self, sample: ExactSample, line: Line) -> list[tuple[Any, Any]]:
        """The line's result and the gradient, also for random upstream gradients if they are identically 0."""
        names, expected = sample.names(), sample.gradients[line.target]
        result = _evaluate(line, names)
        pairs = [(result, expected)]
        used = [k for k in line.gradients if k in sample.gradients]
        if used and not all(_any(sample.gradients[k]) for k in [line.target, *used]) and _any_path(self, line, used):
            upstream = {k: draw(np.random.default_rng(5), sample.gradients[k].shape) for k in used}
            other = _evaluate(line, names | {f"d{k}": v for k, v in upstream.items()})
            if _any(expected) or _any(result) or _any(other):
                pairs.append((other, sample.terms(line.target, upstream)))
        return pairs

    def _compare_chain(self, chain: Mapping[str, Any]) -> Callable[..., list[tuple[Any, Any]]]:
        """Another decomposition of the sum is right if the chain gives all inputs' gradients."""

        def compare(sample: ExactSample, line: Line) -> list[tuple[Any, Any]]:
            names = [k for k in sample.run.inputs if k in self.derivation.lines]
            return [(chain[k], sample.gradients[k]) for k in names]

        return compare

    def _chained(self, sample: ExactSample) -> dict[str, Any]:
        names, chain = sample.names(), {}
        with opaque_roots():
            for t in self.derivation.order():
                chain[t] = names[f"d{t}"] = _evaluate(self.derivation.lines[t], names)
        return chain

    def _involved(
        self, sample: ExactSample, line: Line, compare: Callable[..., Any], pairs: Sequence[tuple[Any, Any]],
        names: set[str],
    ) -> list[str]:  # fmt: skip
        """The names of the unknowns on which the line's result or the gradient depends."""
        involved = []
        for name in sorted(names):
            with opaque_roots(), unknowns(changed=[name]):
                changed = compare(sample.again(), line)
            if not all(same(x, y) for before, after in zip(pairs, changed, strict=True)
                       for x, y in zip(before, after, strict=True)):  # fmt: skip
                involved.append(name)
        return involved

    def _differences(self, line: Line) -> tuple[float, float]:
        """How far the line is off in float64 and in extended precision, relative to the largest element.

        The second is NaN if there is no wider format, or the functions do not compute in it.
        """
        sample = self.first
        by_floats = _difference(self.derivation, line, sample)
        if np.finfo(np.longdouble).eps >= np.finfo(float).eps:
            return by_floats, np.nan
        wide = {k: v.astype(np.longdouble) if is_float_array(v) else v for k, v in sample.arguments.items()}
        cotangents = {k: v.astype(np.longdouble) for k, v in sample.reference.cotangents.items()}
        try:
            reference = reference_gradients(self.forward, wide, cotangents)
            extended = _difference(self.derivation, line, Sample(wide, reference, {}))
        except (CannotRun, TypeError, ValueError, np.linalg.LinAlgError):
            return by_floats, np.nan
        return by_floats, extended if extended > 1e-18 else 0.0


def _difference(derivation: BackwardPass, line: Line, sample: Sample) -> float:
    expected = sample.reference.gradients[line.target]
    result = derivation.evaluate(line, sample.names())
    largest = np.max(np.abs(expected), initial=0.0) or 1.0
    return float(np.max(np.abs(result - expected), initial=0.0) / largest)


def _evaluate(line: Line, names: Mapping[str, Any]) -> Exact:
    with np.errstate(all="ignore"):
        return Exact.of(value_of(line.function(*(names[p] for p in line.parameters))))


def _any(x: Exact) -> bool:
    return bool((x.p != 0).any())


def _any_path(proof: _Proof, line: Line, used: Sequence[str]) -> bool:
    """Whether the gradients that a line uses are all those of direct consumers of its target."""
    return set(used) <= set(proof.first.reference.contributions[line.target])
