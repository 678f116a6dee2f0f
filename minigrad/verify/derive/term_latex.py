"""Terms as LaTeX, through the expressions of `minigrad.symbols`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from minigrad.symbols.expression import Call, Expression, Name, Number
from minigrad.symbols.latex import Latex
from minigrad.symbols.notation import PRODUCT, SUM, Piece
from minigrad.symbols.simplify import simplified
from minigrad.verify.derive.factors import stripped
from minigrad.verify.derive.numpy_source import NumPySource
from minigrad.verify.derive.term import Term

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eps": "ε", "epsilon": "ε", "eta": "η", "theta": "θ",
    "lambda_": "λ", "mu": "μ", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "psi": "ψ", "omega": "ω",
}  # fmt: skip


class TermLatex(Latex):
    """Writes terms. Sums show the letter of their axis, gradients are partial derivatives of L.

    Args:
        targets: the values that have a gradient.
        labels: of values, by name.
        axes: letters of axes, by size.
    """

    def __init__(self, targets: Iterable[str], labels: Mapping[str, str], axes: Mapping[int, str]) -> None:
        self.targets, self.labels, self.axes = frozenset(targets), labels, axes

    def step(self, target: str, t: Term) -> str:
        """The equation of one line."""
        return f"{self.gradient(target)} = {self.right_side(t)}"

    def right_side(self, t: Term) -> str:
        """A term as a formula."""
        return self.write(simplified(self.expression(t))).text

    def gradient(self, name: str) -> str:
        """The partial derivative of the loss with respect to a value."""
        return rf"\frac{{\partial L}}{{\partial {super().name(self.label(name))}}}"

    def label(self, name: str) -> str:
        """How a value is written: its label, or the Greek letter of its name."""
        return self.labels.get(name) or GREEK.get(name, name)

    def name(self, name: str) -> str:
        """A value, or a gradient."""
        return self.gradient(name[1:]) if name.startswith("∂") else super().name(name)

    def expression(self, t: Term) -> Expression:  # noqa: PLR0912  (a table)
        """A term as an expression."""
        if t.op == "name":
            text = t.params[0]
            if text.startswith("d") and text[1:] in self.targets:
                return Name(f"∂{text[1:]}")
            return Name(self.label(text))
        if t.op == "number":
            return _number(t.params[0])
        if t.op == "size":
            return self.size(t.params[0])
        if t.op == "times":
            return self._product(t)
        if t.op == "plus":
            total = self.expression(t.args[0])
            for x in t.args[1:]:
                total = Call("add", (total, self.expression(x)))
            return total
        if t.op in ("reshape", "broadcast_to"):
            return self.expression(stripped(t).args[0] if stripped(t).op == "reshape" else stripped(t))
        operands = tuple(self.expression(x) for x in t.args)
        if t.op == "getitem":
            return Call("getitem", operands[:1], (NumPySource({}).index(t.params[0], t.args[1:]),))
        if t.op == "scatter":
            return Call("scatter", operands[:1], ())
        if t.op == "transpose":
            return Call("matrix_transpose", operands)
        if t.op == "mask":
            return Call("indicator", operands, () if t.params[0] else ("not",))
        if t.op in ("sum", "prod", "max", "min"):
            sizes = [t.args[0].shape[k] for k in t.params[0]]
            return Call(f"{t.op}_over", operands, tuple(self.axes.get(n, str(n)) for n in sizes))
        if t.op == "einsum":
            return Call("contract", operands, (f'"{t.params[0]}"',))
        return Call(t.op, operands, ())

    def _product(self, t: Term) -> Expression:
        coefficient, factors = t.factors()
        above: list[Expression] = []
        below: list[Expression] = []
        order = sorted(factors.items(), key=lambda part: (part[0].op != "name", part[0].serial))
        for x, e in order:
            power = abs(e)
            base = self.expression(x)
            if power == Fraction(1, 2):
                base = Call("sqrt", (base,))
            elif power != 1:
                base = Call("power", (base, _number(power)))
            (above if e > 0 else below).append(base)
        if abs(coefficient) != 1:
            above.insert(0, _number(abs(coefficient)))
        quotient = _chained(above) or Number(1)
        if below:
            quotient = Call("divide", (quotient, _chained(below) or Number(1)))
        return Call("negative", (quotient,)) if coefficient < 0 else quotient

    def size(self, n: int) -> Expression:
        """The letter of a size, or a product of letters."""
        if n in self.axes:
            return Name(self.axes[n])
        for count in (2, 3):
            for sizes in itertools.combinations(self.axes, count):
                if math.prod(sizes) == n:
                    return _chained([Name(self.axes[k]) for k in sizes]) or Number(n)
        return Number(n)

    def call(self, e: Call) -> Piece:
        """An operation that is neither a sum nor a product."""
        if e.op == "indicator":
            sign = r"\neg " if e.details else ""
            return Piece(rf"\mathbf{{1}}[{sign}{self.write(e.operands[0]).text}]")
        if e.op.endswith("_over"):
            sign = {"sum": r"\sum", "prod": r"\prod", "max": r"\max", "min": r"\min"}[e.op[:-5]]
            inside = self.within(e.operands[0], PRODUCT)
            return Piece(rf"{sign}_{{{','.join(e.details)}}} {inside}", SUM + 1)
        if e.op == "one_hot":
            return Piece(rf"\operatorname{{onehot}}({self.write(e.operands[0]).text})")
        if e.op == "sigmoid":
            return Piece(rf"\sigma({self.write(e.operands[0]).text})")
        return super().call(e)


def _number(value: Any) -> Expression:
    if isinstance(value, Fraction):
        if value.denominator == 1:
            return Number(int(value))
        if value.denominator in (2, 4):
            return Number(float(value))
        return Call("divide", (Number(value.numerator), Number(value.denominator)))
    return Number(value)


def _chained(factors: Sequence[Expression]) -> Expression | None:
    e: Expression | None = None
    for x in factors:
        e = x if e is None else Call("multiply", (e, x))
    return e


def align(lines: Sequence[Any], notation: TermLatex) -> str:
    """The lines as rows of an `align*`, with the rules of each."""
    rows = []
    for line in lines:
        rules = rf" && \text{{{', '.join(line.rules)}}}" if line.rules else ""
        rows.append(f"{notation.gradient(line.target)} &= {notation.right_side(line.term)}{rules}")
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}\n"
