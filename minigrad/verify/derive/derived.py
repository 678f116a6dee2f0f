"""Derived: a backward pass that was derived from the forward function, and proven before it is shown."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from minigrad.engine.tape import ancestors
from minigrad.verify.derivation.derivation import Derivation
from minigrad.verify.derivation.derivation_report import DerivationReport
from minigrad.verify.derivation.forward import OTHER_SIZES, Forward
from minigrad.verify.derive.derived_lines import DerivedLine, as_derivation, line_text, written
from minigrad.verify.derive.factors import CannotWrite
from minigrad.verify.derive.integer_inputs import Integers, arguments_at
from minigrad.verify.derive.numpy_source import NumPySource
from minigrad.verify.derive.shortening import shortened
from minigrad.verify.derive.source_text import compiled, names_of
from minigrad.verify.derive.steps import Step, Steps, steps_of
from minigrad.verify.derive.term import name
from minigrad.verify.derive.term_latex import TermLatex, align
from minigrad.verify.derive.term_operations import rebuilt

# Sizes of axes while terms are derived: large primes, as a number such as 3 or 4 in a formula is rarely a size then.
LARGE_SIZES = {7: 17, 5: 13, 4: 11, 3: 19, 11: 23, 13: 29}
FEW = 16  # nodes: a sum over so short a loop may come out as one expression


class Derived:
    """A backward pass in NumPy, in the names of the forward function. Made by `mg.derive`.

    `print(derived)` shows the lines. It is checked when it is made, in samples of two sizes, so every line that is
    shown is proven.

    Attributes:
        lines: in the order in which they are computed.
        derivation: the lines as a `mg.verify.Derivation`.
        notes: what was assumed.
    """

    def __init__(
        self, derivation: Derivation, steps: Steps, lines: Sequence[DerivedLine],
        prelude: Sequence[tuple[str, str]] = (), hidden: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.derivation = derivation
        self.lines = [line for line in lines if line.target not in hidden]
        self.name = derivation.name
        self.labels, self.notes = dict(steps.labels), list(dict.fromkeys(steps.algebra.notes))
        self._steps, self._prelude = steps, list(prelude)
        self._shown = "backward" if not prelude else "Hessian-vector product"
        self.report = self.check()

    @property
    def inputs(self) -> list[str]:
        """The inputs that have a gradient."""
        return self._steps.inputs

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of the result; None of several."""
        outputs = self._steps.outputs
        return self._steps.values[outputs[0]].shape if len(outputs) == 1 else None

    def check(self, **options: Any) -> DerivationReport:
        """Check every line against the tape, at two sizes of every axis that has a name.

        Args:
            **options: of `Derivation.check`.

        Raises:
            ArithmeticError: a line is wrong. Nothing derived is shown then.
        """
        reports = [self._checked(options)]
        forward = self.derivation.forward
        if forward.axes and all(isinstance(forward.shapes.get(k), (str, Integers)) for k in forward.inputs):
            axes = {axis: OTHER_SIZES[size] for axis, size in forward.axes.items()}
            try:
                other = arguments_at(forward, axes, 1)
                forward.run(other, record=False)
            except (ValueError, IndexError, TypeError):  # the function requires its sizes
                other = {}
            if other:
                reports.append(self._checked({**options, **other}))
        for report in reports:
            if not report.ok:
                raise ArithmeticError(f"{self.name}: a derived line is wrong; please report it\n{report}")
        self.derivation.proven = not reports[0].missing
        return reports[0]

    def _checked(self, options: Mapping[str, Any]) -> DerivationReport:
        """The report of a check, exact if it can be."""
        check: Any = self.derivation.check
        if "exact" in inspect.signature(check).parameters and "exact" not in options:
            with suppress(TypeError, ValueError):  # a function without exact values; what is wrong otherwise, recurs
                exact: DerivationReport = check(**options, exact=True)
                return exact
        report: DerivationReport = check(**options)
        return report

    def fused(self) -> Callable[..., Any]:
        """The forward function as one primitive whose backward pass is this one; see `Derivation.fused`."""
        return self.derivation.fused()

    @property
    def source(self) -> str:
        """The backward pass as Python source that needs only NumPy: `def backward(dout, ...)`.

        It takes the gradient of the result and the values that it uses, and returns the gradients of the inputs.
        """
        inputs = [line.target for line in self.lines if line.target in self.inputs]
        returned = ", ".join(f"d{k}" for k in self.inputs if k in inputs)
        body = "\n".join("    " + text for text in self._statements())
        name = "backward" if not self._prelude else "hessian_product"
        return f"import numpy as np\n\n\ndef {name}({', '.join(self.parameters)}):\n{body}\n    return {returned}\n"

    def _statements(self) -> list[str]:
        """The statements of the body: lines, after the values that they need of the gradient."""
        lines = [text for line in self.lines for text in line.statement.splitlines()]
        needed = {k for text in lines for k in names_of(text)}
        before: list[str] = []
        for value, text in self._prelude[::-1]:
            if value in needed:
                needed |= set(names_of(text))
                before.insert(0, f"{value} = {text}" if "\n" not in text else text)
        return [*(part for text in before for part in text.splitlines()), *lines]

    @property
    def parameters(self) -> list[str]:
        """The parameters of the backward function: gradients of results, values, then constants with their defaults."""
        texts = self._statements()
        used = list(dict.fromkeys(k for text in texts for k in names_of(text)))
        made = {f"d{line.target}" for line in self.lines} | {value for value, _ in self._prelude}
        steps, constants = self._steps, self.derivation.forward.constants
        gradients = [f"d{k}" for k in steps.outputs if f"d{k}" in used and f"d{k}" not in made]
        named = dict.fromkeys([*self.derivation.forward.inputs, *steps.named, *steps.outputs])
        values = [k for k in named if k in used and k not in constants and k not in made]
        return [*gradients, *values, *(f"{k}={constants[k]!r}" for k in constants if k in used)]

    def backward(self, *arguments: Any, **named: Any) -> Any:
        """The backward pass, run: the function of `source`."""
        functions = compiled(self.source)
        return functions["backward" if not self._prelude else "hessian_product"](*arguments, **named)

    def as_values(self, prefix: str) -> dict[str, str]:
        """The lines for dL/dL = 1, by target, in which the gradients are values with a prefix instead of the d."""
        with self._steps.session:
            return self._as_values(prefix)

    def _as_values(self, prefix: str) -> dict[str, str]:
        steps, a = self._steps, self._steps.algebra
        shapes = {k: t.shape for k, t in steps.values.items() if t.shape}
        new = {name("dout", ()): a.number(1)}
        for line in self.lines:
            new[name(f"d{line.target}", line.term.shape)] = name(f"{prefix}{line.target}", line.term.shape)
        terms = [(line.target, a.fit(rebuilt(a, line.term, new), line.term.shape)) for line in self.lines]
        return {
            target: line_text(Step(target, t, []), NumPySource(shapes, [target]), steps.values) for target, t in terms
        }

    def __str__(self) -> str:
        head = f"# {self.name}, {self._shown}: {len(self.lines)} {'lines' if len(self.lines) > 1 else 'line'}, proven"
        notes = [f"# {note}" for note in self.notes]
        return "\n".join([head, *self._statements(), *notes])

    __repr__ = __str__

    def to_latex(self) -> str:
        """The steps as LaTeX, one row of an `align*` for each line, with the rules that it uses."""
        with self._steps.session:
            return align(self.lines, self._notation())

    def to_markdown(self) -> str:
        """The steps as Markdown: the formula, the line of NumPy, and the rules."""
        notation = self._notation()
        parts = [f"**{self.name}, {self._shown}**"]
        for line in self.lines:
            rules = f"\n\n{', '.join(line.rules)}" if line.rules else ""
            with self._steps.session:
                formula = notation.step(line.target, line.term)
            parts.append(f"$${formula}$$\n\n```python\n{line.statement}\n```{rules}")
        return "\n\n".join([*parts, *(f"Note: {note}" for note in self.notes)]) + "\n"

    _repr_markdown_ = to_markdown

    def _notation(self) -> TermLatex:
        steps = self._steps
        return TermLatex([*steps.inputs, *steps.named, *steps.outputs], self.labels, steps.axis_names)


def derived(
    forward: Forward, all_steps: bool, prelude: Sequence[tuple[str, str]] = (), hidden: Collection[str] = (), *,
    is_loss: bool = False,
) -> Derived:  # fmt: skip
    """The backward pass of a forward function.

    Args:
        forward: the function.
        all_steps: whether every named value has a line.
        prelude: values that are computed before the lines, with their source.
        hidden: targets whose lines are not shown.
        is_loss: whether the gradient of the result is 1, and is not written.

    Raises:
        ValueError: the backward pass cannot be written well; the message says why.
        ArithmeticError: a derived line is wrong.
    """
    _refuse_loops(forward)
    errors: list[Exception] = []
    is_drawn = [callable(forward.shapes[k]) and not isinstance(forward.shapes[k], Integers) for k in forward.inputs]
    for sizes in ({},) if any(is_drawn) else (LARGE_SIZES, {}):
        axes = {axis: sizes.get(n, n) for axis, n in forward.axes.items()}
        try:
            steps = steps_of(forward, arguments_at(forward, axes))
            steps.axis_names = {n: axis for axis, n in axes.items()}
            with steps.session:
                if is_loss:
                    _without_gradient_of_result(steps)
                lines = written(steps, steps.steps if all_steps else shortened(steps))
            return Derived(as_derivation(forward, steps, lines), steps, lines, prelude, hidden)
        except CannotWrite as error:
            raise ValueError(f"{forward.name} has no backward pass that can be written well: {error}") from error
        except (ValueError, IndexError, TypeError, ArithmeticError) as error:  # the function requires its sizes
            errors.append(error)
    raise errors[-1]


def _without_gradient_of_result(steps: Steps) -> None:
    a, dout = steps.algebra, name("dout", ())
    for step in steps.steps:
        step.term = a.fit(rebuilt(a, step.term, {dout: a.number(1)}), step.term.shape)


def _refuse_loops(forward: Forward) -> None:
    """Raise ValueError if the number of operations depends on the sizes of axes, unless it is a sum of few terms."""
    counts = []
    for sizes in ({}, OTHER_SIZES):
        axes = {axis: sizes.get(n, n) for axis, n in forward.axes.items()}
        try:
            run = forward.run(arguments_at(forward, axes))
        except (ValueError, IndexError, TypeError, np.linalg.LinAlgError):
            return
        nodes = [run.tensors[k].node for k in run.outputs]
        counts.append((len(ancestors([node for node in nodes if node is not None])[0]), len(run.named)))
    if counts[0] != counts[1] and (counts[0][1] != counts[1][1] or counts[0][0] > FEW):
        raise ValueError(
            f"{forward.name} has no backward pass that can be written well: the number of its operations depends on "
            f"the size of an axis ({counts[0][0]} at one size, {counts[1][0]} at another), as in a loop along an axis. "
            'Give that axis a fixed size, x="N 3 D", and its steps are written one by one; or derive the body of the '
            "loop"
        )
