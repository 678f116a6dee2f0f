"""Derivation: a backward pass written by hand, checked line by line against the tape.

Every line is evaluated with the *true* gradients of what it uses, so that a mistake is blamed on its own line and not on
all that follow; and once more chained, with the results of the other lines, to see whether the whole is right.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.tensor import Tensor
from minigrad.verify import diagnosis
from minigrad.verify.audit import AuditReport, audit
from minigrad.verify.derivation_report import DerivationReport, LineReport
from minigrad.verify.forward import Forward, away
from minigrad.verify.gradients import signed
from minigrad.verify.proven import fused
from minigrad.verify.truth import Truth, confirm, shares, truth

Array = Any


@dataclass(frozen=True)
class Line:
    """One line of a derivation: the gradient of `target` from values and gradients, by name."""

    target: str
    function: Callable[..., Any]
    parameters: tuple[str, ...]

    @property
    def gradients(self) -> tuple[str, ...]:
        """Parameters that begin with d, without it: names whose gradients it uses, or the rest of a value's name (delta)."""
        return tuple(p[1:] for p in self.parameters if p.startswith("d"))

    def uses(self, t: Truth) -> list[str]:
        """The names whose gradients it uses."""
        return [k for k in self.gradients if k in t.gradients]


@dataclass
class Draw:
    """One set of inputs, with the truth for a random cotangent."""

    arguments: dict[str, Any]
    truth: Truth

    def names(self) -> dict[str, Any]:
        """What the parameters of lines may name: values, and gradients as d<name>."""
        found = {**self.truth.run.values}
        found |= {f"d{name}": g for name, g in self.truth.gradients.items()}
        return found


class Derivation:
    """A forward function and the lines of its backward pass.

    Args:
        forward: a function of named inputs. Values that lines refer to are named in it with `mg.name`. Parameters with
            a default are constants.
        **shapes: for each input, the shape from which values are drawn: "N D" (sizes are chosen, pairwise coprime, so
            that a factor tells where it comes from), a tuple of ints, an array, or a function of a Generator. Inputs
            without one must be given in each check.

    A line is a function called d<name>, for an input or a named value. Its parameters are values by name and gradients
    as d<name>; `dout` is the gradient of the result (`dout0`, `dout1`, ... of several).

    Example:
        >>> import minigrad as mg
        >>> def scaled(x, w):
        ...     h = mg.name("h", x * w)
        ...     return mg.tanh(h)
        >>> d = mg.verify.Derivation(scaled, x="N D", w="D")
        >>> @d.line
        ... def dh(dout, out): return dout * (1 - out**2)
        >>> @d.line
        ... def dx(dh, w): return dh * w
        >>> @d.line
        ... def dw(dh, x): return dh * x
        >>> report = d.check()
        >>> report.ok
        False
        >>> print(report.lines["w"].reason)
        the sum over axis 0 is missing: the result has shape (7, 5), w has (5,)
    """

    def __init__(self, forward: Callable[..., Any], **shapes: Any) -> None:
        self.forward = Forward(forward, shapes)
        self.lines: dict[str, Line] = {}
        self.name = self.forward.name
        self.proven = False
        self._known: set[str] | None = None

    def line(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Add a line; for use as a decorator. Its name says whose gradient it is: `def dvar(...)`."""
        given = function.__name__
        if not given.startswith("d") or len(given) < 2:
            raise TypeError(f"{self.name}: a line is called d<name> after the value whose gradient it is, not {given!r}")
        target = given[1:]
        parameters = []
        for p in inspect.signature(function).parameters.values():
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.default is not p.empty:
                raise TypeError(
                    f"{self.name}: line {given} has the parameter {p}; a line takes values and gradients by name only, "
                    "without defaults"
                )
            parameters.append(p.name)
        if target in self.lines:
            raise TypeError(f"{self.name}: there is a line {given} already")
        made = Line(target, function, tuple(parameters))
        if self._known is None and all(k in self.forward.shapes for k in self.forward.inputs):
            self._learn(self.draw({}, np.random.default_rng(0)))
        if self._known is not None:
            self._check_names(made)
        self.lines[target] = made
        self.proven = False
        return function

    def check(
        self, *, seed: int = 0, rtol: float = 1e-7, cotangent: Any = None, repair_seconds: float = 0.4, **inputs: Any
    ) -> DerivationReport:
        """Check every line.

        Args:
            seed: of the draws.
            rtol: how far an element may be off, relative to its size and to 1e-3 of the largest one.
            cotangent: of the result; drawn, of both signs, if it is not given.
            repair_seconds: how long to look for an edit that makes a wrong line right.
            **inputs: values or shapes of inputs, and values of constants. What is not given is drawn: both signs, away
                from 0 and 1. A tiny default of `eps` is replaced by 0.3 unless eps is given.

        Returns:
            A report: `.ok`, `.lines["var"].verdict`, `.reason`; `print(report)` shows a table with the verdict first.

        Raises:
            TypeError, ValueError: the lines do not fit the forward function; the error says which and why.
            ArithmeticError: the tape disagrees with finite differences at a name.
        """
        if not self.lines:
            raise ValueError(f"{self.name}: there is no line to check; add one with @derivation.line")
        first, second = (self.draw(inputs, np.random.default_rng([seed, k, 77]), cotangent) for k in (0, 1))
        self._learn(first)
        for line in self.lines.values():
            self._check_names(line)
        slopes = confirm(self.forward, first.arguments, first.truth, np.random.default_rng([seed, 2, 77]))
        given = [k for k in first.truth.run.inputs if k in inputs and not isinstance(inputs[k], (str, tuple))]
        fresh = self.redraw(first, given, np.random.default_rng([seed, 3, 77])) if given else second
        reports = {t: self._check_line(line, first, fresh, given, rtol) for t, line in self.lines.items()}
        chained = self._chained(first)
        for t, report in reports.items():
            report.chained_ok = t in chained and close(chained[t], first.truth.gradients[t], rtol, first.truth)
        self._excuse_other_decompositions(reports, fresh, rtol)
        for t, report in reports.items():
            if report.verdict == "wrong":
                report.slope = slopes.get(t)
                diagnosis.explain(self, self.lines[t], report, first, fresh, rtol, repair_seconds)
        made = DerivationReport(self, reports, first.truth.run.labels, [t for t in first.truth.run.inputs if t not in reports])
        self.proven = made.ok and not made.missing
        return made

    def audit(
        self, *, cotangent: Any = "random", rtol: float = 1e-3, atol: float = 1e-5, seed: int = 0, **inputs: Any
    ) -> AuditReport:
        """Which errors would a check of the inputs' gradients accept?

        Every line is spoiled in turn (sign, size, a factor or a term left out), and every share that a consumer hands
        to a value is dropped. The report lists what the check accepts all the same, and because of what: a parameter
        that is 1, an upstream gradient of ones, a tolerance.

        Args:
            cotangent: of the check: "random" (of both signs), "ones" (as `y.sum().backward()`), or an array.
            rtol, atol: of the check; the defaults are those of PyTorch's gradcheck.
            seed: of the draws.
            **inputs: of the check; those not given are drawn.

        Example:
            >>> import minigrad as mg
            >>> d = mg.verify.Derivation(lambda x, w: x * w, x="N", w="N")
            >>> @d.line
            ... def dx(dout, w): return dout * w
            >>> print(d.audit(w=np.ones(7)))
            <lambda>: this check is blind to 2 of 6 errors
              in  it cannot see          because
              dx  a factor 1.001         it is smaller than the tolerance (rtol 0.001, atol 1e-05)
              dx  `dout` for `dout * w`  w = 1
        """
        return audit(self, inputs, cotangent, rtol, atol, seed)

    def fused(self) -> Callable[..., Any]:
        """The forward function as one primitive, whose backward pass is these lines.

        Raises:
            ValueError: a line is wrong, or an input has none. The derivation is checked first if it was not yet.

        Example:
            >>> import minigrad as mg
            >>> d = mg.verify.Derivation(lambda x: mg.exp(x) * x, x="N")
            >>> @d.line
            ... def dx(dout, x): return dout * np.exp(x) * (1 + x)
            >>> f = d.fused()
            >>> mg.grad(lambda x: f(x).sum())(np.zeros(2))
            array([1., 1.])
        """
        return fused(self)

    # Draws

    def draw(self, given: Mapping[str, Any], rng: np.random.Generator, cotangent: Any = None) -> Draw:
        """Inputs, as given or drawn, with the truth about them."""
        arguments = self.forward.arguments(given, rng)
        return self._with_truth(arguments, rng, cotangent)

    def _with_truth(self, arguments: dict[str, Any], rng: np.random.Generator, cotangent: Any = None) -> Draw:
        run = self.forward.run(arguments, record=False)
        again = self.forward.run(arguments, record=False)
        for k in run.outputs:
            if not np.array_equal(run.values[k], again.values[k], equal_nan=True):
                raise ValueError(
                    f"{self.name} gave other values when it was called again with the same inputs. If it draws random "
                    "numbers, make their generator inside it from a fixed seed, or give the mask as an input"
                )
            if not np.all(np.isfinite(run.values[k])):
                raise ValueError(f"{self.name}: the result has NaN or infinite elements at these inputs")
        cotangents = {k: signed(rng, run.values[k].shape) for k in run.outputs}
        if cotangent is not None:
            given = cotangent if isinstance(cotangent, tuple) else (cotangent,)
            cotangents = {
                k: np.broadcast_to(np.asarray(v.data if isinstance(v, Tensor) else v, dtype=float), run.values[k].shape)
                for k, v in zip(run.outputs, given, strict=True)
            }
        return Draw(arguments, truth(self.forward, arguments, cotangents))

    def redraw(
        self, draw: Draw, names: list[str], rng: np.random.Generator, cotangents: Mapping[str, Array] | None = None
    ) -> Draw:
        """The same with other values for some inputs, which the user gave: a line may be right for those alone."""
        arguments = dict(draw.arguments)
        for k in names:
            before = draw.arguments[k]
            fresh = away(rng, before.shape)
            arguments[k] = np.abs(fresh) if np.all(before > 0) else fresh
        return self._with_truth(arguments, rng, tuple(cotangents.values()) if cotangents else None)

    # Names

    def _learn(self, draw: Draw) -> None:
        run = draw.truth.run
        if not run.inputs:
            raise TypeError(
                f"{self.name}: none of the inputs {', '.join(self.forward.inputs)} holds floating-point numbers, so there "
                "is no gradient; convert one: x.astype(float)"
            )
        gradients = {f"d{k}" for k in [*run.inputs, *run.named, *run.outputs]}
        clash = gradients & set(run.values)
        if clash:
            raise TypeError(
                f"{self.name}: {sorted(clash)[0]!r} is a value of the forward function, and also the name of a gradient. "
                "Give the value another name"
            )
        self._known = set(run.values) | gradients

    def _check_names(self, line: Line) -> None:
        assert self._known is not None
        given = f"d{line.target}"
        if given not in self._known or line.target.startswith("out"):
            raise TypeError(
                f"{self.name}: line {given} is for {line.target!r}, which is no input or named value of the forward "
                f"function; there are {self._listed(gradients=False)}. Name it there: mg.name({line.target!r}, ...)"
            )
        for p in line.parameters:
            if p not in self._known:
                raise TypeError(
                    f"{self.name}: line {given} has the parameter {p!r}, which names nothing. Values are "
                    f"{self._listed(gradients=False)}; gradients {self._listed(gradients=True)}"
                )
        if given in line.parameters:
            raise TypeError(f"{self.name}: line {given} uses its own result as a parameter")

    def _listed(self, gradients: bool) -> str:
        assert self._known is not None
        of_gradients = {k for k in self._known if k.startswith("d") and k[1:] in self._known}
        return ", ".join(sorted(of_gradients if gradients else self._known - of_gradients))

    # Evaluation

    def evaluate(self, line: Line, names: Mapping[str, Any]) -> Array:
        """The line's result for given values and gradients; they cannot be written to."""
        arguments = []
        for p in line.parameters:
            value = names[p]
            if isinstance(value, np.ndarray):
                value = value.view()
                value.flags.writeable = False
            arguments.append(value)
        try:
            result = line.function(*arguments)
        except ValueError as error:
            if "read-only" in str(error):
                raise ValueError(
                    f"{self.name}: line d{line.target} writes into one of its inputs; copy it first, or compute a new value"
                ) from error
            raise
        result = np.asarray(result.data if isinstance(result, Tensor) else result)
        if result.dtype.kind not in "fiub":
            raise TypeError(f"{self.name}: line d{line.target} returned {result.dtype}, not numbers")
        return result.astype(float)

    def _check_line(self, line: Line, first: Draw, fresh: Draw, given: list[str], rtol: float) -> LineReport:
        t = first.truth
        expected = t.gradients[line.target]
        report = LineReport(line.target, line.function, expected)
        report.result = self.evaluate(line, first.names())
        if not np.all(np.isfinite(report.result)):
            report.verdict, report.reason = "wrong", "it returns NaN or infinite elements"
            return report
        report.verdict = "right" if close(report.result, expected, rtol, t) else "wrong"
        if report.verdict == "right" and not close(
            self.evaluate(line, fresh.names()), fresh.truth.gradients[line.target], rtol, fresh.truth
        ):
            report.verdict = "only here"
            report.reason = self._which_values(line, first, given, rtol)
        if report.verdict == "right":
            self._check_vanishing(line, report, first, rtol)
        if report.verdict == "right":
            report.notes += self._dropped_zeros(line, first)
        return report

    def _check_vanishing(self, line: Line, report: LineReport, draw: Draw, rtol: float) -> None:
        """A line whose truth or upstream is identically 0 is tried with a random upstream, else anything would pass."""
        t = draw.truth
        used = line.uses(t)
        consumers = t.shares[line.target]
        vanishing = [k for k in [line.target, *used] if t.is_zero(k)]
        if not vanishing or not used or not set(used) <= set(consumers):
            return
        rng = np.random.default_rng(5)
        upstream = {k: signed(rng, g.shape) for k, g in t.gradients.items()}
        handed = shares(t, upstream)[line.target]
        expected = sum(handed[k] for k in used)
        names = draw.names() | {f"d{k}": upstream[k] for k in used}
        result = self.evaluate(line, names)
        scale = max(float(np.max(np.abs(part), initial=0.0)) for part in handed.values())
        if close(result, expected, rtol, t, scale):
            return
        label = t.run.labels.get(line.target, line.target)
        if t.is_zero(line.target) and not np.any(report.result):
            report.notes.append(f"dl/d{label} is identically 0 here, so the line is right although it says just 0")
            return
        report.verdict, report.result, report.expected = "wrong", result, expected
        report.random_upstream = names
        report.notes.append(
            f"with the true gradients dl/d{vanishing[0]} is identically 0, and any line would pass: compared with a random "
            f"gradient of {', '.join(used)} instead"
        )

    def _dropped_zeros(self, line: Line, draw: Draw) -> list[str]:
        """Notes on consumers whose share is identically 0 and which the line leaves out, rightly."""
        t = draw.truth
        used = set(line.uses(t))
        consumers = t.shares[line.target]
        if not used or not used <= set(consumers):
            return []
        labels = t.run.labels
        return [
            f"the path through {labels.get(k, k)} is identically 0 here, so leaving it out is right"
            for k, share in consumers.items()
            if k not in used and np.all(np.abs(share) <= 1e-11 * t.scale) and not t.is_zero(k)
        ]

    def _which_values(self, line: Line, first: Draw, given: list[str], rtol: float) -> str:
        """Because of which of the given inputs a line is right only for these values."""
        guilty = []
        for k in given:
            draw = self.redraw(first, [k], np.random.default_rng(11))
            if not close(self.evaluate(line, draw.names()), draw.truth.gradients[line.target], rtol, draw.truth):
                guilty.append(k)
        if len(guilty) != 1:
            return "right for these values, wrong for others"
        value = first.arguments[guilty[0]]
        constant = f" = {value.flat[0]:g}" if value.size and np.all(value == value.flat[0]) else " has these values"
        return f"right only because {first.truth.run.labels.get(guilty[0], guilty[0])}{constant}; with others it is wrong"

    def order(self) -> list[str]:
        """The targets of the lines, each after those whose results it uses. Raises ValueError if they form a circle."""
        done: list[str] = []
        pending = list(self.lines)
        while pending:
            ready = [t for t in pending if not (set(self.lines[t].gradients) & set(pending))]
            if not ready:
                raise ValueError(f"{self.name}: the lines {', '.join('d' + t for t in pending)} use each other's results in a circle")
            done += ready
            pending = [t for t in pending if t not in ready]
        return done

    def _chained(self, draw: Draw) -> dict[str, Array]:
        """All lines, each with the results of the others. A line that no longer runs ends the chain."""
        names = draw.names()
        found: dict[str, Array] = {}
        for t in self.order():
            try:
                found[t] = self.evaluate(self.lines[t], names)
            except (ValueError, TypeError, IndexError):
                return found
            names[f"d{t}"] = found[t]
        return found

    def _excuse_other_decompositions(self, reports: dict[str, LineReport], fresh: Draw, rtol: float) -> None:
        """Lines that differ from the tape's, while all inputs' gradients come out right: another way to split the sum."""
        wrong = [t for t, report in reports.items() if report.verdict == "wrong"]
        inputs = [t for t in reports if t in fresh.truth.run.inputs]
        if not wrong or not inputs or not any(t not in inputs for t in wrong):
            return
        again = self._chained(fresh)
        if not all(reports[t].chained_ok for t in inputs):
            return
        if not all(t in again and close(again[t], fresh.truth.gradients[t], rtol, fresh.truth) for t in inputs):
            return
        used = self._leading_to(inputs)
        if not all(t in used or t in inputs for t in wrong):
            return
        for t in wrong:
            labels = fresh.truth.run.labels
            through = ", ".join(labels.get(k, k) for k in fresh.truth.shares[t])
            reports[t].verdict = "other decomposition"
            reports[t].reason = (
                f"the inputs' gradients are right, but this forward function uses {labels.get(t, t)} in another way "
                f"(through {through}), so its tape splits the sum differently"
            )

    def _leading_to(self, targets: list[str]) -> set[str]:
        """The lines whose results are used, directly or not, by the lines of the targets."""
        found: set[str] = set()
        pending = list(targets)
        while pending:
            for k in self.lines[pending.pop()].gradients:
                if k in self.lines and k not in found:
                    found.add(k)
                    pending.append(k)
        return found


def close(result: Array, expected: Array, rtol: float, t: Truth, scale: float | None = None) -> bool:
    """Whether a line's result is the expected gradient, up to rounding."""
    if result.shape != expected.shape:
        return False
    largest = float(np.max(np.abs(expected), initial=0.0))
    floor = 1e-11 * (t.scale if scale is None else scale)
    return bool(np.all(np.abs(result - expected) <= rtol * (np.abs(expected) + 1e-3 * largest) + floor))
