"""Derivation: a backward pass written by hand, checked line by line against the tape.

Every line is evaluated with the *true* gradients of what it uses, so a mistake is reported for its own line and not for
all lines that follow. The lines are also evaluated as a chain, each with the results of the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, overload

import numpy as np

from minigrad.verify.derivation import diagnosis
from minigrad.verify.derivation.audit import AuditReport, audit
from minigrad.verify.derivation.backward_pass import BackwardPass
from minigrad.verify.derivation.derivation_report import DerivationReport
from minigrad.verify.derivation.exact_check import prove_lines
from minigrad.verify.derivation.excuses import excuse_other_decompositions
from minigrad.verify.derivation.forward import Forward
from minigrad.verify.derivation.reference import confirm
from minigrad.verify.derivation.sample import draw_other_sizes, draw_sample, redraw
from minigrad.verify.derivation.structure import may_be_wanted
from minigrad.verify.derivation.to_primitive import to_primitive
from minigrad.verify.derivation.verdicts import judge

F = TypeVar("F", bound=Callable[..., Any])


class Derivation(BackwardPass):
    """A forward function and the lines of its backward pass.

    Args:
        forward: a function of named inputs. Values that lines refer to are named in it with `mg.name`. Parameters with
            a default are constants.
        **shapes: for each input, the shape from which values are drawn: "N D" (sizes are chosen, pairwise coprime, so
            that a wrong factor shows which size it comes from), a tuple of ints, an array, or a function of a
            Generator. Inputs without one must be given in each check.
        constants: inputs that no gradient is asked for, and that keep their values in all draws: labels, masks.

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

    # A derivation from a plain forward and backward function; see as_written/written_derivation.py.
    from_functions: ClassVar[Any]

    def __init__(self, forward: Callable[..., Any], *, constants: Sequence[str] = (), **shapes: Any) -> None:
        super().__init__(Forward(forward, shapes, constants))
        self.proven = False
        self.lacking: list[str] = []  # inputs whose gradient a fused form would lose

    @overload
    def line(self, function: F) -> F: ...
    @overload
    def line(self, *, of: str) -> Callable[[F], F]: ...
    def line(self, function: Any = None, *, of: str | None = None) -> Any:
        """Add a line; for use as a decorator.

        Its name says whose gradient it is: `def dvar(...)`. With `@derivation.line(of="var")` the function may have
        another name, so that two derivations can stand in one file.
        """
        if function is None:
            return lambda function: self._add_line(function, of)
        return self._add_line(function, of)

    def _add_line(self, function: F, of: str | None) -> F:
        self.add(function, of)
        self.proven = False
        return function

    def check(
        self, *, seed: int = 0, rtol: float = 1e-7, cotangent: Any = None, repair_seconds: float = 0.3,
        exact: bool | None = None, **inputs: Any,
    ) -> DerivationReport:  # fmt: skip
        """Check every line.

        Args:
            seed: of the random values.
            rtol: how far an element may be off, relative to its size and to 1e-3 of the largest one.
            cotangent: of the result, in all draws; drawn, of both signs, if it is not given.
            repair_seconds: how long to search for an edit that makes a wrong line right.
            exact: whether lines that are right by floats are proven without a tolerance too, on exact arrays: None, if
                the inputs have at most 50,000 elements; True, always; False, never. Where that is impossible the report
                says why, and `rtol` decides.
            **inputs: values or shapes of inputs, and values of constants. Others are drawn: both signs, away from 0 and
                1. A tiny default of `eps` is replaced by 0.3 unless eps is given.

        Returns:
            A report: `.ok`, `.lines["var"].verdict`, `.reason`; `print(report)` shows a table with the verdict first.

        Raises:
            TypeError, ValueError: the lines do not fit the forward function; the error says which and why.
            ArithmeticError: the tape disagrees with finite differences at a name.
        """
        if not self.lines:
            raise ValueError(f"{self.name}: no lines to check; add one with @derivation.line")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of NumPy, in the functions and in edits of lines
            return self._checked(seed, rtol, cotangent, repair_seconds, inputs, exact)

    def _checked(
        self,
        seed: int,
        rtol: float,
        cotangent: Any,
        repair_seconds: float,
        inputs: Mapping[str, Any],
        exact: bool | None,
    ) -> DerivationReport:
        self._decide_on_unit(inputs)
        generators = (np.random.default_rng([seed, k, 77]) for k in range(4))
        first = draw_sample(self.forward, inputs, next(generators), cotangent)
        run = first.reference.run
        self.learn_names(run)
        for line in self.lines.values():
            self.check_names(line)
        slopes = confirm(self.forward, first.arguments, first.reference, next(generators))
        given = [k for k in self.forward.fixed(inputs) if k in run.inputs and k not in self.forward.kept]
        if given:
            second = redraw(self.forward, first, given, next(generators), cotangent)
        else:
            kept = {k: first.arguments[k] for k in self.forward.kept}
            second = draw_sample(self.forward, {**inputs, **kept}, next(generators), cotangent)
        reports = {t: judge(self, line, (first, second), given, rtol) for t, line in self.lines.items()}
        chained = self.chained(first)
        for t, line_report in reports.items():
            line_report.chained_ok = t in chained and first.reference.is_gradient(t, chained[t], rtol)
        excuse_other_decompositions(self, reports, (first, second), rtol)
        if exact is not False:
            prove_lines(self, reports, first, inputs, seed, exact is True, cotangent is not None)
        wrong = [
            t
            for t, line_report in reports.items()
            if line_report.verdict in ("wrong", "only here") and line_report.kind != "exact"
        ]
        other = (draw_other_sizes(self.forward, next(generators), inputs, cotangent) if wrong else None) or second
        for t in wrong:
            reports[t].slope = slopes.get(t)
            diagnosis.explain(self, reports[t], first, other, seconds=repair_seconds)
        lacking = [t for t in run.inputs if t not in reports and t not in self.forward.kept]
        missing = [t for t in lacking if may_be_wanted(t, run.values[t], self.forward.is_unit)]
        report = DerivationReport(self, reports, run.labels, missing, self.forward.is_unit)
        self.proven = report.ok and not lacking
        self.lacking = lacking
        return report

    def audit(
        self, *, cotangent: Any = "random", rtol: float = 1e-3, atol: float = 1e-5, seed: int = 0, **inputs: Any
    ) -> AuditReport:
        """Which errors would a check of the inputs' gradients accept?

        Every line is spoiled in turn (sign, size, a factor or a term left out), and every contribution of a consumer is
        dropped. The report lists the errors that the check accepts, and the reason: a parameter that is 1, an upstream
        gradient of ones, a tolerance.

        Args:
            cotangent: of the check: "random" (of both signs), "ones" (as `y.sum().backward()`), or an array.
            rtol, atol: of the check; the defaults are those of PyTorch's gradcheck.
            seed: of the random values.
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
        if not self.proven:
            report = self.check()
            if not report.ok:
                raise ValueError(f"{self.name} is not proven, so it cannot be fused:\n{report}")
            if self.lacking:
                raise ValueError(
                    f"{self.name} has no line for {', '.join(self.lacking)}, whose gradient would be lost; add "
                    f"d{self.lacking[0]}, or say constants=({self.lacking[0]!r},) if none is wanted"
                )
        return to_primitive(self)

    def _decide_on_unit(self, inputs: Mapping[str, Any]) -> None:
        """A loss in textbook notation, where dL/dL = 1 is never written: one number, whose gradient no line names."""
        self.forward.is_unit = False
        if not self.lines:
            return
        run = draw_sample(self.forward, inputs, np.random.default_rng(0)).reference.run
        out = run.tensors[run.outputs[0]]
        same = {f"d{k}" for k in run.named if run.tensors[k].node is out.node and k not in self.lines}
        parameters = {p for line in self.lines.values() for p in line.parameters}
        self.forward.is_unit = len(run.outputs) == 1 and out.shape == () and not parameters & {"dout", *same}
