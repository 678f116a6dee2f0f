"""Derived: a backward pass that was derived from the forward function, and proven before it is shown."""

from __future__ import annotations

import ast
import inspect
import itertools
import linecache
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.verify.derivation.derivation import Derivation
from minigrad.verify.derivation.derivation_report import DerivationReport
from minigrad.verify.derivation.forward import OTHER_SIZES, Forward
from minigrad.verify.derive.numpy_source import NumPySource
from minigrad.verify.derive.shortening import shortened
from minigrad.verify.derive.steps import Step, Steps, steps_of
from minigrad.verify.derive.symbolic import CannotWrite
from minigrad.verify.derive.term import ONE, Term

# Sizes of axes while terms are derived: large primes, as a number such as 3 or 4 in a formula is rarely a size then.
LARGE_SIZES = {7: 17, 5: 13, 4: 11, 3: 19, 11: 23, 13: 29}
_numbers = itertools.count()


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

    def __init__(self, derivation: Derivation, steps: Steps, lines: list[DerivedLine]) -> None:
        self.derivation, self.lines = derivation, lines
        self.name = derivation.name
        self.labels, self.notes = dict(steps.labels), list(dict.fromkeys(steps.algebra.notes))
        self._steps = steps
        self.report = self.check()

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
        if forward.axes and all(isinstance(forward.shapes.get(k), str) for k in forward.inputs):
            axes = {axis: OTHER_SIZES[size] for axis, size in forward.axes.items()}
            try:
                other = forward.arguments({}, np.random.default_rng(1), axes)
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
        body = "\n".join(self._body())
        inputs = [line.target for line in self.lines if line.target in self._steps.inputs]
        returned = ", ".join(f"d{k}" for k in self._in_order(inputs))
        return f"import numpy as np\n\n\ndef backward({', '.join(self.parameters)}):\n{body}\n    return {returned}\n"

    def _in_order(self, inputs: Sequence[str]) -> list[str]:
        return [k for k in self._steps.inputs if k in inputs]

    def _body(self) -> list[str]:
        return ["    " + text for line in self.lines for text in line.statement.splitlines()]

    @property
    def parameters(self) -> list[str]:
        """The parameters of the backward function: gradients of results, values, then constants with their defaults."""
        used = list(dict.fromkeys(k for line in self.lines for k in _names(line.text)))
        made = {f"d{line.target}" for line in self.lines}
        steps, constants = self._steps, self.derivation.forward.constants
        gradients = [f"d{k}" for k in steps.outputs if f"d{k}" in used and f"d{k}" not in made]
        values = [k for k in [*self.derivation.forward.inputs, *steps.named, *steps.outputs] if k in used]
        values = [k for k in dict.fromkeys(values) if k not in constants]
        return [*gradients, *values, *(f"{k}={constants[k]!r}" for k in constants if k in used)]

    def backward(self, *arguments: Any, **named: Any) -> Any:
        """The backward pass, run: the function of `source`."""
        return _compiled(self.source)["backward"](*arguments, **named)

    def __str__(self) -> str:
        head = f"# {self.name}, backward: {len(self.lines)} {'lines' if len(self.lines) > 1 else 'line'}, proven"
        notes = [f"# {note}" for note in self.notes]
        return "\n".join([head, *(line.statement for line in self.lines), *notes])

    __repr__ = __str__

    def to_latex(self) -> str:
        """The steps as LaTeX, one row of an `align*` for each line, with the rules that it uses."""
        from minigrad.verify.derive.term_latex import align

        return align(self.lines, self.labels, self._axis_names())

    def to_markdown(self) -> str:
        """The steps as Markdown: the formula, the line of NumPy, and the rules."""
        from minigrad.verify.derive.term_latex import TermLatex

        notation = TermLatex(self.labels, self._axis_names())
        parts = [f"**{self.name}, backward**"]
        for line in self.lines:
            rules = f"\n\n{', '.join(line.rules)}" if line.rules else ""
            parts.append(f"$${notation.step(line.target, line.term)}$$\n\n```python\n{line.statement}\n```{rules}")
        return "\n\n".join([*parts, *(f"Note: {note}" for note in self.notes)]) + "\n"

    _repr_markdown_ = to_markdown

    def _axis_names(self) -> dict[int, str]:
        """The letters of axes, by their size while terms were derived."""
        return dict(self._steps.axis_names)


def written(steps: Steps, lines: Sequence[Step]) -> list[DerivedLine]:
    """The lines in NumPy.

    Raises:
        CannotWrite: an operation has no NumPy source.
    """
    shapes = {k: t.shape for k, t in steps.values.items() if t.shape}
    return [
        DerivedLine(line.target, _line_text(line, NumPySource(shapes, [line.target, *shapes])), line.rules, line.term)
        for line in lines
    ]


def _line_text(line: Step, source: NumPySource) -> str:
    """The text of a line; a value that is written to an index needs statements."""
    t = line.term
    try:
        return source.line(t)
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
                texts.append(f"np.add.at(d{line.target}, ({index}), {text})")
        return "\n".join(texts)


def _scattered(t: Term) -> tuple[Any, Term] | None:
    """The factor and the term of a value that is written to an index."""
    coefficient, factors = t.factors()
    if len(factors) == 1 and next(iter(factors)).op == "scatter":
        return (None if coefficient == 1 else coefficient), next(iter(factors))
    return None


def _names(text: str) -> list[str]:
    """The names in a source text, in their order."""
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
    return [node.id for node in sorted(found, key=lambda node: (node.lineno, node.col_offset))]


def _compiled(source: str) -> dict[str, Any]:
    filename = f"<derived {next(_numbers)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"np": np}
    exec(compile(source, filename, "exec"), namespace)
    return namespace


def as_derivation(forward: Forward, steps: Steps, lines: Sequence[DerivedLine]) -> Derivation:
    """The lines as a Derivation."""
    derivation = Derivation(forward.function, **forward.shapes)
    allowed = {*steps.values, *(f"d{k}" for k in steps.values)}
    for line in lines:
        own = f"d{line.target}"
        parameters = [k for k in dict.fromkeys(_names(line.text)) if k in allowed and k != own]
        body = f"return {line.text}" if line.is_expression else f"{line.text}\nreturn {own}"
        text = "\n".join("    " + part for part in body.splitlines())
        function = _compiled(f"def {own}({', '.join(parameters)}):\n{text}\n")[own]
        derivation.line(of=line.target)(function)
    return derivation


def recorded_steps(forward: Forward) -> Steps:
    """The steps at large sizes, or at the usual ones if the function requires them.

    Raises:
        ValueError: the backward pass cannot be written; the message says why.
    """
    rng = np.random.default_rng(0)
    errors: list[Exception] = []
    for axes in ({axis: LARGE_SIZES[n] for axis, n in forward.axes.items()}, forward.axes):
        try:
            steps = steps_of(forward, forward.arguments({}, rng, axes))
        except CannotWrite as error:
            raise ValueError(f"{forward.name} has no backward pass that can be written well: {error}") from error
        except (ValueError, IndexError, TypeError) as error:
            errors.append(error)
            continue
        steps.axis_names = {n: axis for axis, n in axes.items()}
        return steps
    raise errors[-1]


def derived(forward: Forward, all_steps: bool) -> Derived:
    """The backward pass of a forward function."""
    steps = recorded_steps(forward)
    try:
        lines = written(steps, steps.steps if all_steps else shortened(steps))
        return Derived(as_derivation(forward, steps, lines), steps, lines)
    except CannotWrite as error:
        raise ValueError(f"{forward.name} has no backward pass that can be written well: {error}") from error


_ = Mapping
