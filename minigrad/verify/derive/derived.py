"""Derived: a backward pass that was derived from the forward function, and proven before it is shown."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.engine.tape import ancestors
from minigrad.verify.derivation.derivation import Derivation
from minigrad.verify.derivation.derivation_report import DerivationReport
from minigrad.verify.derivation.forward import OTHER_SIZES, Forward
from minigrad.verify.derive.algebra import CannotWrite
from minigrad.verify.derive.integer_inputs import Integers, arguments_at
from minigrad.verify.derive.numpy_source import NumPySource
from minigrad.verify.derive.operations import rebuilt
from minigrad.verify.derive.shortening import shortened
from minigrad.verify.derive.source_text import compiled, names_of
from minigrad.verify.derive.steps import Step, Steps, steps_of
from minigrad.verify.derive.term import ONE, Term, mapped, name
from minigrad.verify.derive.term_latex import TermLatex, align

# Sizes of axes while terms are derived: large primes, as a number such as 3 or 4 in a formula is rarely a size then.
LARGE_SIZES = {7: 17, 5: 13, 4: 11, 3: 19, 11: 23, 13: 29}
LETTERS = "stuqrabc"  # of parts that occur more than once
LONG = 60  # characters: in a longer line, parts that occur twice get a line of their own if that is shorter
FEW = 16  # nodes: a sum over so short a loop may come out as one expression


@dataclass
class DerivedLine:
    """One line: the gradient of a value.

    Attributes:
        target: the value.
        text: NumPy source of the gradient, one expression or several statements that assign d<target>.
        rules: the rules of calculus that it uses.
        term: the expression as a term.
    """

    target: str
    text: str
    rules: list[str]
    term: Term

    @property
    def is_expression(self) -> bool:
        """Whether the text is one expression."""
        return "\n" not in self.text

    @property
    def statement(self) -> str:
        """The text as statements that assign the gradient."""
        return f"d{self.target} = {self.text}" if self.is_expression else self.text


class Derived:
    """A backward pass in NumPy, in the names of the forward function. Made by `mg.derive`.

    `print(derived)` shows the lines. It is checked when it is made, in samples of two sizes, so every line that is shown
    is proven.

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
        if "exact" in inspect.signature(self.derivation.check).parameters:
            options.setdefault("exact", True)
        reports = [self.derivation.check(**options)]
        forward = self.derivation.forward
        if forward.axes and all(isinstance(forward.shapes.get(k), (str, Integers)) for k in forward.inputs):
            axes = {axis: OTHER_SIZES[size] for axis, size in forward.axes.items()}
            try:
                other = arguments_at(forward, axes, 1)
                forward.run(other, record=False)
            except (ValueError, IndexError, TypeError):  # the function requires its sizes
                other = {}
            if other:
                reports.append(self.derivation.check(**{**options, **other}))
        for report in reports:
            if not report.ok:
                raise ArithmeticError(f"{self.name}: a derived line is wrong; please report it\n{report}")
        self.derivation.proven = not reports[0].missing
        return reports[0]

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
        for name, text in self._prelude[::-1]:
            if name in needed:
                needed |= set(names_of(text))
                before.insert(0, f"{name} = {text}" if "\n" not in text else text)
        return [*(part for text in before for part in text.splitlines()), *lines]

    @property
    def parameters(self) -> list[str]:
        """The parameters of the backward function: gradients of results, values, then constants with their defaults."""
        texts = self._statements()
        used = list(dict.fromkeys(k for text in texts for k in names_of(text)))
        made = {f"d{line.target}" for line in self.lines} | {name for name, _ in self._prelude}
        steps, constants = self._steps, self.derivation.forward.constants
        gradients = [f"d{k}" for k in steps.outputs if f"d{k}" in used and f"d{k}" not in made]
        values = dict.fromkeys([*self.derivation.forward.inputs, *steps.named, *steps.outputs])
        values = [k for k in values if k in used and k not in constants and k not in made]
        return [*gradients, *values, *(f"{k}={constants[k]!r}" for k in constants if k in used)]

    def backward(self, *arguments: Any, **named: Any) -> Any:
        """The backward pass, run: the function of `source`."""
        functions = compiled(self.source)
        return functions["backward" if not self._prelude else "hessian_product"](*arguments, **named)

    def as_values(self, prefix: str) -> dict[str, str]:
        """The lines for dL/dL = 1, by target, in which the gradients are values with a prefix instead of the d."""
        steps, a = self._steps, self._steps.algebra
        shapes = {k: t.shape for k, t in steps.values.items() if t.shape}
        new = {name("dout", ()): a.number(1)}
        for line in self.lines:
            new[name(f"d{line.target}", line.term.shape)] = name(f"{prefix}{line.target}", line.term.shape)
        terms = [(line.target, a.fit(rebuilt(a, line.term, new), line.term.shape)) for line in self.lines]
        return {target: _line_text(Step(target, t, []), NumPySource(shapes, [target]), steps.values) for target, t in terms}

    def __str__(self) -> str:
        head = f"# {self.name}, {self._shown}: {len(self.lines)} {'lines' if len(self.lines) > 1 else 'line'}, proven"
        notes = [f"# {note}" for note in self.notes]
        return "\n".join([head, *self._statements(), *notes])

    __repr__ = __str__

    def to_latex(self) -> str:
        """The steps as LaTeX, one row of an `align*` for each line, with the rules that it uses."""
        return align(self.lines, self._notation())

    def to_markdown(self) -> str:
        """The steps as Markdown: the formula, the line of NumPy, and the rules."""
        notation = self._notation()
        parts = [f"**{self.name}, {self._shown}**"]
        for line in self.lines:
            rules = f"\n\n{', '.join(line.rules)}" if line.rules else ""
            parts.append(f"$${notation.step(line.target, line.term)}$$\n\n```python\n{line.statement}\n```{rules}")
        return "\n\n".join([*parts, *(f"Note: {note}" for note in self.notes)]) + "\n"

    _repr_markdown_ = to_markdown

    def _notation(self) -> TermLatex:
        steps = self._steps
        return TermLatex([*steps.inputs, *steps.named, *steps.outputs], self.labels, steps.axis_names)


def written(steps: Steps, lines: Sequence[Step]) -> list[DerivedLine]:
    """The lines in NumPy.

    Raises:
        CannotWrite: an operation has no NumPy source.
    """
    shapes = {k: t.shape for k, t in steps.values.items() if t.shape}
    derived_lines = []
    for line in lines:
        text = _line_text(line, NumPySource(shapes, [line.target, *shapes]), steps.values)
        derived_lines.append(DerivedLine(line.target, text, line.rules, line.term))
    return derived_lines


def _line_text(line: Step, source: NumPySource, taken: Collection[str]) -> str:
    """The text of a line; a value that is written to an index needs statements."""
    t = line.term
    try:
        text = source.line(t)
        return text if len(text) < LONG else _with_letters(line, source, text, taken)
    except CannotWrite:
        terms = t.args if t.op == "plus" else (t,)
        rest = tuple(x for x in terms if _scattered(x) is None)
        start = f"np.zeros_like({line.target})"
        if rest:
            start = source.line(rest[0] if len(rest) == 1 else Term("plus", rest, (), t.shape))
        texts = [f"d{line.target} = {start}"]
        for x in terms:
            if (part := _scattered(x)) is not None:
                factor, scatter = part
                index = source.index(scatter.params[0], scatter.args[1:])
                v = scatter.args[0] if factor is None else Term("times", (scatter.args[0],), (factor, (ONE,)), ())
                text = source.write(scatter.args[0]).text
                text = text if factor is None else f"{source.write(v).text}"
                template = scatter.params[0]
                if not any(isinstance(p, str) for p in template):
                    texts.append(f"d{line.target}[{index}] += {text}")
                    continue
                has_slices = not all(isinstance(p, str) for p in template)
                index = f"np.s_[{index}]" if has_slices else f"({index})" if len(template) > 1 else index
                texts.append(f"np.add.at(d{line.target}, {index}, {text})")
        return "\n".join(texts)


def _with_letters(line: Step, source: NumPySource, text: str, taken: Collection[str]) -> str:
    """The text with letters for parts that occur more than once, if that is shorter."""
    t, lines = line.term, []
    letters = [x for x in LETTERS if x not in taken and x not in names_of(text)]
    for letter in letters[:2]:
        uses = Counter(x for x in _parts(t) if x.op not in ("name", "number", "size") and x.cost > 4)
        part = max(uses, key=lambda x: ((uses[x] - 1) * x.cost, x.cost), default=None)
        if part is None or uses[part] < 2:
            break
        lines.append(f"{letter} = {source.line(part)}")
        t = replaced(t, part, name(letter, part.shape))
    shorter = "\n".join([*lines, f"d{line.target} = {source.line(t)}"])
    return shorter if lines and len(shorter) < len(text) else text


def _parts(t: Term) -> list[Term]:
    """The parts of a term, each as often as it is written."""
    return [t, *(part for x in t.args for part in _parts(x))]


def replaced(t: Term, part: Term, new: Term) -> Term:
    """The term with a part replaced, and nothing else changed."""
    return mapped(t, lambda x, args: new if x is part else Term(x.op, args, x.params, x.shape))


def _scattered(t: Term) -> tuple[Any, Term] | None:
    """The factor and the term of a value that is written to an index."""
    coefficient, factors = t.factors()
    if len(factors) == 1 and next(iter(factors)).op == "scatter":
        return (None if coefficient == 1 else coefficient), next(iter(factors))
    return None


def as_derivation(forward: Forward, steps: Steps, lines: Sequence[DerivedLine]) -> Derivation:
    """The lines as a Derivation."""
    derivation = Derivation(forward.function, **forward.shapes)
    allowed = {*steps.values, *(f"d{k}" for k in steps.values)}
    for line in lines:
        own = f"d{line.target}"
        parameters = [k for k in dict.fromkeys(names_of(line.text)) if k in allowed and k != own]
        body = f"return {line.text}" if line.is_expression else f"{line.text}\nreturn {own}"
        text = "\n".join("    " + part for part in body.splitlines())
        function = compiled(f"def {own}({', '.join(parameters)}):\n{text}\n")[own]
        derivation.line(of=line.target)(function)
    return derivation


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
    for sizes in (LARGE_SIZES, {}):
        axes = {axis: sizes.get(n, n) for axis, n in forward.axes.items()}
        try:
            steps = steps_of(forward, arguments_at(forward, axes))
            steps.axis_names = {n: axis for axis, n in axes.items()}
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
            f"{forward.name} has no backward pass that can be written well: the number of its operations depends on the "
            f"size of an axis ({counts[0][0]} at one size, {counts[1][0]} at another), as in a loop along an axis. Give "
            'that axis a fixed size, x="N 3 D", and its steps are written one by one; or derive the body of the loop'
        )
