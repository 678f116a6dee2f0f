"""check_backward: a plain forward and backward function, as people write them, checked line by line."""

from __future__ import annotations

import ast
import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from minigrad.engine.primitive import value_of
from minigrad.verify.as_written.exact_pair import prove_lines
from minigrad.verify.as_written.explanation import Judged, explain, is_gradient_name
from minigrad.verify.as_written.forward_values import ForwardPass, Version, randomness
from minigrad.verify.as_written.parts import judged_with_parts
from minigrad.verify.as_written.right_line import right_line
from minigrad.verify.as_written.unseen import has_unseen_term, is_linear
from minigrad.verify.as_written.written_lines import PARTIAL, RIGHT, UNKNOWN, WRONG, Event, Outcome, run_backward
from minigrad.verify.as_written.written_report import WrittenLine, WrittenReport
from minigrad.verify.derivation.derivation_report import LineReport
from minigrad.verify.derivation.structure import may_be_wanted, redrawn
from minigrad.verify.pairs.gradient_names import values_named_by, without_suffix
from minigrad.verify.pairs.helpers import called_pairs
from minigrad.verify.pairs.instrument import Listener
from minigrad.verify.pairs.pair import Pair
from minigrad.verify.pairs.results import given_gradients

Array = Any


def check_backward(
    forward: Any,
    backward: Any = None,
    *args: Any,
    names: Mapping[str, str] | None = None,
    constants: Sequence[str] = (),
    cotangent: Any = None,
    seed: int = 0,
    repair_seconds: float = 0.3,
    helpers: bool = False,
    exact: bool | None = None,
    **options: Any,
) -> WrittenReport:
    """Check a backward function line by line, as it was written, against the gradients of its forward function.

    Nothing is changed in the functions. Each assignment of the forward function names a value, by its own local names;
    each assignment of `d<value>` in the backward function is a line (also `d_mu`, `dMu`, `grad_mu`, `mu_grad`,
    `delta_mu`, `self.grads["mu"]`). After a wrong line the backward function goes on with the true gradient, so only
    the wrong line is blamed.

    Args:
        forward: a function that returns its result, or several, and what the backward function needs; or an object with
            the methods `forward` and `backward`.
        backward: a function of the upstream gradient and of what the forward function returned with the result. None if
            `forward` is an object, or a function that returns a loss and then its gradients.
        *args: the forward function's arguments, with which it is called. Arrays of floating-point numbers are its
            inputs; their values are also drawn again, as a line may be right for the given values only.
        names: by the name of a gradient in the backward function, the name of the value: `{"dtmp1": "xc"}`.
        constants: the arguments that no gradient is asked for, and that keep their values: labels, masks.
        cotangent: the upstream gradient, or a tuple of several, in all draws; drawn if it is not given.
        seed: of the random values.
        repair_seconds: how long to search for an edit that makes a wrong line right.
        helpers: whether to check also the pairs that the functions call (rnn_step_forward in rnn_forward), with the
            arguments of their first call.
        exact: whether lines that are right by floats are proven without a tolerance too, as in `Derivation.check`.
        **options: keyword arguments of the forward function.

    Returns:
        A report: `.ok`, `.lines` with the verdict, the reason and a repair of each line, `.whole`; `print(report)`
        shows it.

    Raises:
        TypeError: the source of a function is not available, or it is not clear how to call the backward function.
        ValueError: the forward function is random, or its result is not finite.

    Example:
        >>> import numpy as np
        >>> import minigrad as mg
        >>> def forward(x, w):
        ...     z = x @ w
        ...     h = np.tanh(z)
        ...     return h, (x, w, h)
        >>> def backward(dh, cache):
        ...     x, w, h = cache
        ...     dz = dh * (1 - h)
        ...     return dz @ w.T, x.T @ dz
        >>> rng = np.random.default_rng(0)
        >>> report = mg.verify.check_backward(forward, backward, rng.normal(size=(5, 3)), rng.normal(size=(3, 4)))
        >>> report.wrong[0].path, report.wrong[0].repair
        ('dz', '`h` should be `h ** 2`')
    """
    pair = Pair(forward) if backward is None else Pair(forward, backward)
    arguments = pair.arguments(args, options)
    settings: dict[str, Any] = {
        "names": names,
        "seed": seed,
        "repair_seconds": repair_seconds,
        "exact": exact,
        "constants": constants,
    }
    report = check_pair(pair, arguments, cotangent=cotangent, **settings)
    if helpers:
        owner = pair.owner if pair.has_self else None
        call = partial(pair.call_forward, Listener(), copy.deepcopy(arguments), copy.deepcopy(owner))
        called = called_pairs(pair, call)
        report.helpers = [check_pair(p, a, **settings) for p, a in called]
    return report


def check_pair(
    pair: Pair,
    arguments: Mapping[str, Any],
    *,
    names: Mapping[str, str] | None = None,
    cotangent: Any = None,
    seed: int = 0,
    repair_seconds: float = 0.3,
    other: Mapping[str, Any] | None = None,
    exact: bool | None = None,
    constants: Sequence[str] = (),
) -> WrittenReport:
    """See check_backward. `other` are arguments of other sizes, with which reasons are tried too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of NumPy, in the functions and in edits of them
        return _Check(pair, arguments, names or {}, cotangent, seed, repair_seconds, other, exact, constants).report()


class _Check:
    """One check: two forward passes, with the given values and with others."""

    def __init__(
        self, pair: Pair, arguments: Mapping[str, Any], names: Mapping[str, str], cotangent: Any, seed: int,
        seconds: float, other: Mapping[str, Any] | None = None, exact: bool | None = None,
        constants: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.pair, self.names, self.seconds, self.seed, self.exact = pair, names, seconds, seed, exact
        self.constants = (constants,) if isinstance(constants, str) else tuple(constants)
        generators = [np.random.default_rng([seed, k, 78]) for k in range(4)]
        state = randomness()
        owner = pair.owner if pair.has_self else None

        def passed(values: Mapping[str, Any], rng: np.random.Generator, owner: Any = owner) -> ForwardPass:
            forward = ForwardPass(pair, values, owner, state, rng)
            return forward if cotangent is None else ForwardPass(
                pair, values, owner, state, rng, _given_cotangents(forward, cotangent)
            )  # fmt: skip

        self.first = passed(arguments, generators[0])
        self.first.constants = self.constants
        self.second = self._redrawn(arguments, owner, passed, generators[1])
        self.other_sizes: ForwardPass | None = None
        with suppress(Exception):  # the user's function may refuse other sizes in any way
            self.other_sizes = None if other is None else passed(other, generators[2])
        self.judged_other: Judged | None = None
        self.doubled: Outcome | None = None  # with twice the upstream gradient
        twice = {k: 2 * c for k, c in self.first.cotangents.items()}
        self._double: Callable[[], ForwardPass] = partial(
            ForwardPass, pair, arguments, owner, state, generators[3], twice
        )

    def _redrawn(
        self, arguments: Mapping[str, Any], owner: Any, passed: Callable[..., ForwardPass], rng: np.random.Generator
    ) -> ForwardPass | None:
        """A pass with other values of the same kind for all inputs; None if the function does not take them."""
        try:
            other = {
                name: value if name in self.constants else _redrawn_value(value, rng)
                for name, value in copy.deepcopy(dict(arguments)).items()
            }
            other_owner = copy.deepcopy(owner)
            if other_owner is not None:
                vars(other_owner).update({k: _redrawn_value(v, rng) for k, v in vars(other_owner).items()})
            return passed(other, rng, other_owner)
        except Exception:  # the user's function may refuse other values in any way
            return None

    def report(self) -> WrittenReport:
        """Judge the lines, look for reasons, and write the report."""
        written, first = self.pair.backward, self.first
        outcome, overrides = judged_with_parts(written, first, self.names)
        plain = run_backward(written, first, self.names, is_judging=False)
        whole = self._whole(first, plain.outcome)
        is_right = bool(whole) and all(ok is not False for ok in whole.values()) and not plain.outcome.error
        second = judged_with_parts(written, self.second, self.names) if self.second is not None else None
        excused, unseen = self._excused(outcome, overrides) if is_right else (set(), set())
        lines = self._lines(outcome, overrides, second)
        if self.exact is not False:
            whole |= prove_lines(written, first, outcome, lines, self.seed, self.exact is True)
        for event, line in lines:
            if event.order in excused:
                line.verdict = line.report.kind = "other meaning"
                line.report.repair = line.report.repaired = None
                line.report.reason = (
                    f"the gradients that it returns are right, but this is not the gradient of {line.target} in "
                    f"{self.pair.forward.name}: another line makes up for it"
                )
            elif event.order in unseen and line.verdict == "wrong":
                line.notes.append("nothing that follows sees the mistake: the gradients that it returns are right")
        if outcome.error and outcome.error_line:
            lines.append((Event(len(outcome.events), -1, "", {}, np.zeros(0)), self._failed(outcome)))
        report = WrittenReport(
            self.pair.name, written.file, whole, [line for _, line in lines], self._unnamed(outcome), first.method,
            first.call.is_unit, outcome.error and f"line {outcome.error_line}: {outcome.error}",
        )  # fmt: skip
        if first.why_differences:
            report.assumptions.append(
                f"the true gradients are finite differences, as {self.pair.forward.name} does not run on Tensors "
                f"({first.why_differences})"
            )
        if self.second is None:
            report.assumptions.append("only the given values were used, as the functions refuse others")
        return report

    def _failed(self, outcome: Outcome) -> WrittenLine:
        """The line that raised an error."""
        written, number = self.pair.backward, outcome.error_line
        site = next((s for s in written.sites if s.lines[0] <= number <= s.lines[1]), None)
        start, end = site.lines if site else (number, number)
        report = LineReport(
            "", written.function, np.zeros(0), None, "wrong", f"it does not run: {outcome.error}", "error"
        )
        return WrittenLine(site.path if site else "", start, end, written.text(start, end), "", "wrong", report)

    def _excused(self, outcome: Outcome, overrides: Mapping[int, Any]) -> tuple[set[int], set[int]]:
        """Of the wrong events of a function that is right as a whole: those that others make up for, and the rest."""
        excused: set[int] = set()
        for event in outcome.wrong:
            trial = run_backward(self.pair.backward, self.first, self.names, {**overrides, event.order: None}).outcome
            now_right = [e.order for e in outcome.wrong if e is not event and trial.events[e.order].status != WRONG]
            returned_right = all(ok is not False for ok in self._whole(self.first, trial).values())
            before = all(ok is not False for ok in self._whole(self.first, outcome).values())
            if now_right or (returned_right and not before):
                if self._sees_all_of(event, outcome):
                    excused.add(event.order)
                excused |= {*now_right}
        return excused, {e.order for e in outcome.wrong} - excused

    def _sees_all_of(self, event: Event, outcome: Outcome) -> bool:
        """Whether all of what a line computes reaches the gradients that are returned."""
        if self.doubled is None and not self.first.call.is_unit:
            self.doubled = judged_with_parts(self.pair.backward, self._double(), self.names)[0]

        def is_right(trial: Outcome) -> bool:
            return all(ok is not False for ok in self._whole(self.first, trial).values())

        return is_linear(event, self.doubled) and not has_unseen_term(
            self.pair.backward, self.first, self.names, event, outcome, is_right
        )

    def _whole(self, forward: ForwardPass, outcome: Outcome) -> dict[str, bool | None]:
        """For each input, whether the gradient that the function gives is right."""
        inputs = {v.order: v.name for v in forward.inputs()}
        versions = {v.order: v for v in forward.inputs()}
        given = given_gradients(
            self.pair, inputs, outcome.returned, outcome.return_number, outcome.owner, self.names,
            lambda key, value: forward.fit(versions[key], value),
        )  # fmt: skip
        whole: dict[str, bool | None] = {}
        for version in forward.inputs():
            is_zero = not np.any(np.abs(forward.gradient(version)) > 1e-11 * forward.reference.scale)
            if version.order in given:
                whole[version.name] = forward.is_gradient(version, np.asarray(given[version.order], float))
            elif not is_zero and not outcome.error and self._may_be_wanted(version):
                whole[version.name] = None
        return whole

    def _may_be_wanted(self, version: Version) -> bool:
        is_constant = version.name in self.constants
        return not is_constant and may_be_wanted(version.name, version.value, self.first.call.is_unit)

    def _lines(
        self, outcome: Outcome, overrides: Mapping[int, Any], second: Judged | None
    ) -> list[tuple[Event, WrittenLine]]:
        """The lines that could be judged, one for each site: with the first iteration in which it is wrong."""
        by_site: dict[tuple[int, str], list[Event]] = {}
        for event in outcome.events:
            if event.status in (RIGHT, WRONG):
                by_site.setdefault((event.site, event.path), []).append(event)
        other = {(e.site, e.path) for e in second[0].wrong} if second else set()
        lines = []
        for key, events in by_site.items():
            wrong = [e for e in events if e.status == WRONG]
            event = wrong[0] if wrong else events[-1]
            line = self._line(event, outcome)
            if wrong:
                line.verdict = "wrong"
                line.first_wrong = ", ".join(f"{k} = {n}" for k, n in event.index.items() if k)
                samples = [(self.first, (outcome, overrides)), *self._other_samples(second)]
                places = explain(line.report, self.pair, self.names, event, samples, self.seconds)
                if event.expected is None and places:
                    line.right_line = right_line(places, outcome, event)
            elif key in other and second is not None:
                line.verdict, line.report.kind = "only here", "only here"
                line.report.reason = "right for the given values, wrong for others"
            lines.append((event, line))
        return sorted(lines, key=lambda pair: (pair[1].line, pair[0].order))

    def _other_samples(self, second: Judged | None) -> list[tuple[ForwardPass, Judged]]:
        """The samples with other sizes and other values, with the backward function judged there."""
        if self.other_sizes is not None and self.judged_other is None:
            self.judged_other = judged_with_parts(self.pair.backward, self.other_sizes, self.names)
        pairs = [(self.other_sizes, self.judged_other), (self.second, second)]
        return [(forward, judged) for forward, judged in pairs if forward is not None and judged is not None]

    def _with_steps_before(self, event: Event, outcome: Outcome, start: int, end: int) -> tuple[int, str]:
        """The first line and the text of a value that is written in steps, of which any may be wrong."""
        sites = self.pair.backward.sites
        for other in reversed(outcome.events[: event.order]):
            if other.path == event.path and other.site >= 0 and other.index == event.index:
                if other.status != PARTIAL or sites[other.site].loops != sites[event.site].loops:
                    break
                start = min(start, sites[other.site].lines[0])
        return start, self.pair.backward.text(start, end)

    def _line(self, event: Event, outcome: Outcome) -> WrittenLine:
        version = event.version
        assert version is not None
        forward, written = self.first, self.pair.backward
        if event.site >= 0:
            site = written.sites[event.site]
            (start, end), text = site.lines, site.text
            if event.status == WRONG and not site.is_after_loop:
                start, text = self._with_steps_before(event, outcome, start, end)
        else:
            statement = written.returns[-1]
            (start, end), text = statement.lines, f"return ... {ast.unparse(statement.parts[-1 - event.site])}"
        expected = forward.gradient(version) if event.expected is None else event.expected
        report = LineReport(version.label, written.function, expected, event.result)
        report.verdict = event.status
        line = WrittenLine(event.path, start, end, text, event.label or version.label, event.status, report)
        if event.remark and event.status == RIGHT:
            line.notes.append(event.remark)
        return line

    def _unnamed(self, outcome: Outcome) -> list[tuple[int, str, str]]:
        """The lines that could not be judged, each with the reason."""
        found: dict[str, tuple[int, str, str]] = {}
        judged_paths = {e.path for e in outcome.events if e.status in (RIGHT, WRONG)}
        for event in outcome.events:
            if event.status != UNKNOWN or event.site < 0 or event.path in judged_paths or event.path in found:
                continue
            site = self.pair.backward.sites[event.site]
            if not is_gradient_name(event.path):
                continue
            found[event.path] = (site.lines[0], event.path, self._why_unknown(event))
        return sorted(found.values())

    def _why_unknown(self, event: Event) -> str:
        if event.candidates:
            return "it is changed where it is read, so it cannot be told when it is complete"
        base = without_suffix(event.path.rpartition(".")[2])
        for squeezed in values_named_by(base):
            if self.first.find(squeezed):
                name = self.first.find(squeezed)[0].name
                return f"a part of the gradient of {name}"
        name = event.path.rpartition(".")[2]
        return f"{self.pair.forward.name} has no value of this name; names={{{name!r}: ...}} says which it is"


def _given_cotangents(forward: ForwardPass, cotangent: Any) -> dict[int, Array]:
    parts = cotangent if isinstance(cotangent, tuple) else (cotangent,)
    return {
        k: np.broadcast_to(np.asarray(value_of(c), float), np.shape(forward.cotangents[k]))
        for k, c in zip(forward.call.outputs, parts, strict=True)
    }


def _redrawn_value(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return redrawn(value, rng)
    if isinstance(value, dict):
        return {k: _redrawn_value(v, rng) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_redrawn_value(v, rng) for v in value)
    return value
