"""Expressions as LaTeX."""

from __future__ import annotations

import math
import re
import unicodedata

from minigrad.symbols.expression import Expression
from minigrad.symbols.notation import ATOM, POWER, PRODUCT, Piece, Text, written

SIGNS = {
    "∞": r"\infty",
    "=": "=",
    "≠": r"\ne",
    "<": "<",
    "≤": r"\le",
    ">": ">",
    "≥": r"\ge",
    "∧": r"\land",
    "∨": r"\lor",
}
KNOWN = ("exp", "log", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "max", "min")
PAIRS = {
    "||": (r"\left|", r"\right|"),
    "⌊⌋": (r"\left\lfloor ", r" \right\rfloor"),
    "⌈⌉": (r"\left\lceil ", r" \right\rceil"),
}
ACCENTS = {"\u0302": "hat", "\u0304": "bar", "\u0303": "tilde", "\u0307": "dot"}


def latex(e: Expression) -> str:
    """The expression as LaTeX, for math mode.

    Example:
        >>> from minigrad.symbols.expression import Call, Name
        >>> print(latex(Call("divide", (Name("x"), Call("sqrt", (Call("add", (Name("σ²"), Name("eps"))),))))))
        \\frac{x}{\\sqrt{\\sigma^{2} + \\mathrm{eps}}}
    """
    return written(Latex(), e)


class Latex(Text):
    """Writes expressions for LaTeX's math mode."""

    times, minus, at = r" \cdot ", "-", r" \, "

    def number(self, value: float) -> Piece:
        """A number; common fractions as fractions."""
        if value == math.pi:
            return Piece(r"\pi")
        if (fraction := self.fraction(value)) is not None:
            return Piece(rf"\tfrac{{{fraction.numerator}}}{{{fraction.denominator}}}")
        return self.decimal(value)

    def raised(self, x: Expression, n: Expression) -> Piece:
        """A power."""
        return Piece(f"{self.within(x, ATOM)}^{{{self.write(n).text}}}", POWER)

    def quotient(self, above: Piece, below: Piece) -> Piece:
        """A quotient of two products."""
        return Piece(rf"\frac{{{above.text}}}{{{below.text}}}", PRODUCT)

    def root(self, x: Expression) -> Piece:
        """A square root."""
        return Piece(rf"\sqrt{{{self.write(x).text}}}", POWER)

    def name(self, name: str) -> str:
        """A name of the user's: Greek letters, accents, superscripts and numbers as LaTeX commands."""
        letters = unicodedata.normalize("NFD", name)
        if letters[1:] and letters[-1] in ACCENTS:
            return rf"\{ACCENTS[letters[-1]]}{{{self.name(letters[:-1])}}}"
        if match := re.fullmatch(r"([^\W\d_])_?([0-9]+)", name):
            return f"{self.name(match[1])}_{{{match[2]}}}"
        if name[1:2] == "_" and name[2:]:
            return f"{self.name(name[0])}_{{{self.name(name[2:])}}}"
        if name[1:] and (kind := unicodedata.decomposition(name[-1])).startswith(("<super>", "<sub>")):
            mark = "^" if kind.startswith("<super>") else "_"
            return f"{self.name(name[:-1])}{mark}{{{unicodedata.normalize('NFKC', name[-1])}}}"
        if len(name) == 1 and "GREEK" in (unicode_name := unicodedata.name(name, "")):
            letter = unicode_name.split()[-1]
            return rf"\{letter.capitalize() if 'CAPITAL' in unicode_name else letter.lower()}"
        return name if len(name) == 1 and name.isalpha() else self.plain(name)

    def function(self, name: str) -> str:
        """The name of a function."""
        return rf"\{name}" if name in KNOWN else rf"\operatorname{{{self.plain(name, upright=False)}}}"

    def plain(self, text: str, upright: bool = True) -> str:
        """Text that is not part of a formula."""
        escaped = "".join(f"\\{c}" if c in "_%&#${}" else c for c in text)
        return rf"\mathrm{{{escaped}}}" if upright else escaped

    def symbol(self, sign: str) -> str:
        """A sign of comparison or logic."""
        return SIGNS[sign]

    def parenthesized(self, inside: str) -> str:
        """The text in parentheses."""
        return rf"\left({inside}\right)" if "\\frac" in inside else f"({inside})"

    def bracketed(self, inside: str, pair: str) -> str:
        """The text between a pair of brackets."""
        left, right = PAIRS[pair]
        return f"{left}{inside}{right}"

    def transposed(self, matrix: str) -> str:
        """A transposed matrix."""
        return rf"{matrix}^{{\top}}"
