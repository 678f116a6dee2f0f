"""Derivation: a backward pass written by hand, checked line by line against the tape.

Every line is evaluated with the *true* gradients of what it uses, so that a mistake is blamed on its own line and not
on all that follow; and once more chained, with the results of the other lines, to see whether the whole is right.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.tensor.tensor import Tensor
from minigrad.verify import diagnosis
from minigrad.verify.audit import AuditReport, audit
from minigrad.verify.derivation_report import DerivationReport
from minigrad.verify.forward import Forward
from minigrad.verify.proven import fused
from minigrad.verify.samples import Draw, draw, elsewhere, redraw
from minigrad.verify.truth import Truth, confirm
from minigrad.verify.verdicts import CannotRun, close, excuse_other_decompositions, judge

Array = Any


@dataclass(frozen=True)
class Line:
    """One line of a derivation: the gradient of `target` from values and gradients, by name."""

    target: str
    function: Callable[..., Any]
    parameters: tuple[str, ...]

    @property
    def gradients(self) -> tuple[str, ...]:
        """Parameters that begin with d, without it: names whose gradients it uses, or the rest of delta."""
        return tuple(p[1:] for p in self.parameters if p.startswith("d"))

    def uses(self, t: Truth) -> list[str]:
        """The names whose gradients it uses."""
        return [k for k in self.gradients if k in t.gradients]


class Derivation:
    """A forward function and the lines of its backward pass.

    Args:
        forward: a function of named inputs. Values that lines refer to are named in it with `mg.name`. Parameters with
            a default are constants.
        **shapes: for each input, the shape from which values are drawn: "N D" (sizes are chosen, pairwise coprime, so
            that a factor tells where it comes from), a tuple of ints, an array, or a function of a Generator. Inputs
            without one must be given in each check.

    A line is a function called d<name>, for an input or a named value. Its parameters are values by name and gradients
    as d<name>; `dout` is the gradient of the result (`dout0`, `dout1`, ... of several). If the result is a single
    number and no line names `dout`, it is 1: the loss of a textbook.

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
        the sum over axis 0 is missing
    """

    def __init__(self, forward: Callable[..., Any], **shapes: Any) -> None:
        self.forward = Forward(forward, shapes)
        self.lines: dict[str, Line] = {}
        self.name = self.forward.name
        self.proven = False
        self._known: set[str] | None = None
        self.targets: list[str] = []

    def line(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Add a line; for use as a decorator. Its name says whose gradient it is: `def dvar(...)`."""
        given = function.__name__
        if not given.startswith("d") or len(given) < 2:
            raise TypeError(
                f"{self.name}: a line is called d<name> after the value whose gradient it is, not {given!r}"
            )
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
            self._learn(draw(self.forward, {}, np.random.default_rng(0)))
        if self._known is not None:
            self._check_names(made)
        self.lines[target] = made
        self.proven = False
        return function

    def check(
        self, *, seed: int = 0, rtol: float = 1e-7, cotangent: Any = None, repair_seconds: float = 0.3, **inputs: Any
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
        self._decide_on_unit(inputs)
        generators = (np.random.default_rng([seed, k, 77]) for k in range(4))
        first = draw(self.forward, inputs, next(generators), cotangent)
        self._learn(first)
        for line in self.lines.values():
            self._check_names(line)
        slopes = confirm(self.forward, first.arguments, first.truth, next(generators))
        given = [k for k in self.forward.fixed(inputs) if k in first.truth.run.inputs]
        fresh = (
            redraw(self.forward, first, given, next(generators))
            if given
            else draw(self.forward, inputs, next(generators))
        )
        reports = {t: judge(self, line, (first, fresh), given, rtol) for t, line in self.lines.items()}
        chained = self.chained(first)
        for t, report in reports.items():
            report.chained_ok = t in chained and close(chained[t], first.truth.gradients[t], rtol, first.truth)
        excuse_other_decompositions(self, reports, fresh, rtol)
        wrong = [t for t, report in reports.items() if report.verdict in ("wrong", "only here")]
        other = (elsewhere(self.forward, next(generators)) if wrong else None) or fresh
        for t in wrong:
            reports[t].slope = slopes.get(t)
            diagnosis.explain(self, reports[t], first, other, seconds=repair_seconds)
        made = DerivationReport(
            self,
            reports,
            first.truth.run.labels,
            [t for t in first.truth.run.inputs if t not in reports],
            self.forward.is_unit,
        )
        self.proven = made.ok and not made.missing
        return made

    def audit(
        self, *, cotangent: Any = "random", rtol: float = 1e-3, atol: float = 1e-5, seed: int = 0, **inputs: Any
    ) -> AuditReport:
        """Which errors would a check of the inputs' gradients accept?

        Every line is spoiled in turn (sign, size, a factor or a term left out), and every contribution of a consumer is
        dropped. The report lists what the check accepts all the same, and because of what: a parameter
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
        self._decide_on_unit(inputs)
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

    # Names

    def _decide_on_unit(self, inputs: Mapping[str, Any]) -> None:
        """A loss in textbook notation, where dL/dL = 1 is never written: one number, whose gradient no line names."""
        self.forward.is_unit = False
        if not self.lines:
            return
        run = draw(self.forward, inputs, np.random.default_rng(0)).truth.run
        out = run.tensors[run.outputs[0]]
        same = {f"d{k}" for k in run.named if run.tensors[k].node is out.node and k not in self.lines}
        named = {p for line in self.lines.values() for p in line.parameters}
        self.forward.is_unit = len(run.outputs) == 1 and out.shape == () and not named & {"dout", *same}

    def _learn(self, made: Draw) -> None:
        run = made.truth.run
        if not run.inputs:
            raise TypeError(
                f"{self.name}: none of the inputs {', '.join(self.forward.inputs)} holds floating-point numbers, so "
                "there is no gradient; convert one: x.astype(float)"
            )
        gradients = {f"d{k}" for k in [*run.inputs, *run.named, *run.outputs]}
        clash = gradients & set(run.values)
        if clash:
            raise TypeError(
                f"{self.name}: {sorted(clash)[0]!r} is a value of the forward function, and also the name of a "
                "gradient. Give the value another name"
            )
        self._known = set(run.values) | gradients
        self.targets = [*run.inputs, *run.named]

    def _check_names(self, line: Line) -> None:
        assert self._known is not None
        given = f"d{line.target}"
        if line.target not in self.targets:
            raise TypeError(
                f"{self.name}: line {given} is for {line.target!r}, which is no input or named value of the forward "
                f"function; there are {', '.join(self.targets)}. Name it there: mg.name({line.target!r}, ...)"
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
        """The line's result for given values and gradients; they cannot be written to. Raises CannotRun."""
        arguments = []
        for p in line.parameters:
            value = names[p]
            if isinstance(value, np.ndarray):
                value = value.view()
                value.flags.writeable = False
            arguments.append(value)
        try:
            with np.errstate(all="ignore"):  # what is not finite is reported
                result = line.function(*arguments)
        except Exception as error:
            if "read-only" in str(error):
                raise ValueError(
                    f"{self.name}: line d{line.target} writes into one of its inputs; copy it first, or compute a new "
                    "value"
                ) from error
            raise CannotRun(f"{type(error).__name__}: {error}") from error
        result = np.asarray(result.data if isinstance(result, Tensor) else result)
        if result.dtype.kind not in "fiub":
            raise TypeError(f"{self.name}: line d{line.target} returned {result.dtype}, not numbers")
        return result if result.dtype.kind == "f" else result.astype(float)

    def order(self) -> list[str]:
        """The targets of the lines, each after those whose results it uses. Raises ValueError if they form a circle."""
        done: list[str] = []
        pending = list(self.lines)
        while pending:
            ready = [t for t in pending if not (set(self.lines[t].gradients) & set(pending))]
            if not ready:
                raise ValueError(
                    f"{self.name}: the lines {', '.join('d' + t for t in pending)} use each other's results in a circle"
                )
            done += ready
            pending = [t for t in pending if t not in ready]
        return done

    def chained(self, made: Draw) -> dict[str, Array]:
        """The results of the lines, each with those of the others. What needs a line that cannot run is left out."""
        names = made.names()
        found: dict[str, Array] = {}
        for t in self.order():
            line = self.lines[t]
            if any(k in self.lines and k not in found for k in line.gradients):
                continue
            with suppress(CannotRun):
                found[t] = names[f"d{t}"] = self.evaluate(line, names)
        return found
