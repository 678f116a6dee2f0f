"""The lines of a derived backward pass as NumPy source, and as a Derivation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from minigrad.verify.derivation.derivation import Derivation
from minigrad.verify.derivation.forward import Forward
from minigrad.verify.derive.factors import CannotWrite
from minigrad.verify.derive.numpy_source import NumPySource
from minigrad.verify.derive.source_text import compiled, names_of
from minigrad.verify.derive.steps import Step, Steps
from minigrad.verify.derive.term import ONE, Term, mapped, name

LETTERS = "stuqrabc"  # of parts that occur more than once
LONG = 60  # characters: in a longer line, parts that occur twice get a line of their own if that is shorter


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


def written(steps: Steps, lines: Sequence[Step]) -> list[DerivedLine]:
    """The lines in NumPy.

    Raises:
        CannotWrite: an operation has no NumPy source.
    """
    shapes = {k: t.shape for k, t in steps.values.items() if t.shape}
    derived_lines = []
    for line in lines:
        text = line_text(line, NumPySource(shapes, [line.target, *shapes]), steps.values)
        derived_lines.append(DerivedLine(line.target, text, line.rules, line.term))
    return derived_lines


def line_text(line: Step, source: NumPySource, taken: Collection[str]) -> str:
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
        t = _replaced(t, part, name(letter, part.shape))
    shorter = "\n".join([*lines, f"d{line.target} = {source.line(t)}"])
    return shorter if lines and len(shorter) < len(text) else text


def _parts(t: Term) -> list[Term]:
    """The parts of a term, each as often as it is written."""
    return [t, *(part for x in t.args for part in _parts(x))]


def _replaced(t: Term, part: Term, new: Term) -> Term:
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
