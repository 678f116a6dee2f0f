"""Expressions as text, with as few parentheses as precedence allows: v · (1 − out²).

The text is the formula for finite operands other than 0: a guard in a denominator, out + (out == 0), is written as out.
Factors keep their order; those of the denominator are written together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from minigrad.symbols.expression import Call, Expression, Name, Number, size
from minigrad.symbols.simplify import Product, as_product, as_sum, shared, simplified

WIDTH = 100  # characters; in a longer formula, parts that occur twice are defined behind it

# Precedence, from low to high: a part with a lower precedence than its place requires gets parentheses.
OR, AND, COMPARISON, SUM, SIGN, MATRIX, PRODUCT, POWER, ATOM = range(9)

COMPARISONS = {"equal": "=", "not_equal": "≠", "less": "<", "less_equal": "≤", "greater": ">", "greater_equal": "≥"}
LOGIC = {
    "logical_and": ("∧", AND),
    "bitwise_and": ("∧", AND),
    "logical_or": ("∨", OR),
    "bitwise_or": ("∨", OR),
}
BRACKETS = {"absolute": "||", "abs": "||", "floor": "⌊⌋", "ceil": "⌈⌉"}
SHORT_NAMES = {
    "normal_cdf": "Φ",
    "normal_pdf": "φ",
    "maximum": "max",
    "minimum": "min",
    "broadcast_to": "spread",
    "permute_dims": "transpose",
    "concatenate": "concat",
    "contract": "einsum",
    "einsum_diagonal": "einsum",
    "cumulative_sum": "cumsum",
    "cumulative_prod": "cumprod",
}
FRACTIONS = {Fraction(1, 2): "½", Fraction(1, 4): "¼", Fraction(3, 4): "¾", Fraction(1, 3): "⅓", Fraction(2, 3): "⅔"}
COMMON = {float(fraction): fraction for fraction in FRACTIONS}
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Piece(NamedTuple):
    """A text with its precedence."""

    text: str
    precedence: int = ATOM


def text(e: Expression) -> str:
    """The expression as a line of text.

    Example:
        >>> x = Name("x")
        >>> text(Call("divide", (Call("negative", (x,)), Call("add", (Number(1), Call("multiply", (x, x)))))))
        '−x / (1 + x²)'
    """
    return written(Text(), e)


def written(notation: Text, e: Expression) -> str:
    """The expression in a notation. If it is long, parts that occur more than once are defined behind it."""
    e = simplified(e)
    if size(e) <= WIDTH and len(line := notation.write(e).text) <= WIDTH:
        return line
    e, parts = shared(e, lambda part: len(Text().write(part).text) > 8)
    definitions = [f"{notation.write(name).text} = {notation.write(part).text}" for name, part in parts]
    return "; ".join([notation.write(e).text, *definitions])


class Text:
    """Writes expressions in Unicode."""

    times, minus, at = " · ", "−", " @ "

    def write(self, e: Expression) -> Piece:
        """An expression with its precedence."""
        match e:
            case Name(name):
                return Piece(self.name(name))
            case Number(value) if value >= 0 or math.isnan(value):
                return self.number(value)
            case Call("add" | "subtract"):
                return self.sum(as_sum(e))
            case Call("negative" | "multiply" | "divide" | "reciprocal" | "square") | Number():
                return self.product(as_product(e))
            case Call("power", (_, Number(n))) if isinstance(n, int) and n > 0:
                return self.product(as_product(e))
            case Call("matmul", (x, y)):
                if (signed := as_product(e)).sign < 0:
                    return self.product(signed)
                return Piece(self.at.join(self.matrix(part) for part in (x, y)), MATRIX)
        return self.call(e)

    def matrix(self, e: Expression) -> str:
        """A factor of a matrix product."""
        return self.within(e, MATRIX if isinstance(e, Call) and e.op == "matmul" else POWER)

    def within(self, e: Expression | Piece, precedence: int) -> str:
        """An expression in a place that requires a precedence, in parentheses if its own is lower."""
        piece = e if isinstance(e, Piece) else self.write(e)
        return piece.text if piece.precedence >= precedence else self.parenthesized(piece.text)

    def sum(self, parts: Sequence[tuple[int, Expression]]) -> Piece:
        """A signed sum."""
        text = ""
        for outer_sign, e in parts:
            inner = as_product(e)
            piece = self.product(inner._replace(sign=1)) if inner.sign < 0 else self.write(e)
            sign, term = outer_sign * inner.sign, self.within(piece, SIGN)
            if text:
                text += f" {self.minus} {term}" if sign < 0 else f" + {term}"
            else:
                text = f"{self.minus}{term}" if sign < 0 else term
        return Piece(text, SUM)

    def product(self, p: Product) -> Piece:
        """A signed quotient of products."""
        above, below = self.factors(p.above), self.factors(p.below)
        piece = self.quotient(above, below) if p.below else above
        return Piece(f"{self.minus}{self.within(piece, MATRIX)}", SIGN) if p.sign < 0 else piece

    def factors(self, factors: list[tuple[Expression, int]]) -> Piece:
        """A product without sign."""
        if not factors:
            return Piece("1")
        if len(factors) == 1:
            return self.powered(*factors[0])
        return Piece(self.times.join(self.within(self.powered(x, n), POWER) for x, n in factors), PRODUCT)

    def powered(self, x: Expression, n: int) -> Piece:
        """A factor with its exponent."""
        return self.write(x) if n == 1 else self.raised(x, Number(n))

    def call(self, e: Call) -> Piece:
        """An operation that is neither a sum nor a product."""
        op, operands = e.op, e.operands
        if op in COMPARISONS:
            left, right = (self.within(x, SUM) for x in operands)
            return Piece(f"{left} {self.symbol(COMPARISONS[op])} {right}", COMPARISON)
        if op in LOGIC:
            sign, precedence = LOGIC[op]
            return Piece(f" {self.symbol(sign)} ".join(self.within(x, precedence) for x in operands), precedence)
        if op in BRACKETS or op == "floor_divide":
            inside = Call("divide", operands) if op == "floor_divide" else operands[0]
            return Piece(self.bracketed(self.write(inside).text, BRACKETS.get(op, "⌊⌋")))
        if op == "power":
            return self.raised(*operands)
        if op == "sqrt":
            return self.root(operands[0])
        if op == "matrix_transpose":
            return Piece(self.transposed(self.within(operands[0], ATOM)), POWER)
        if op == "select":
            return Piece(f"{self.within(operands[0], ATOM)}.{self.plain(e.details[0])}")
        if op == "getitem":
            return Piece(f"{self.within(operands[0], ATOM)}[{self.plain(e.details[0])}]")
        parts, details = [self.write(x).text for x in operands], [self.plain(part) for part in e.details]
        parts = details + parts if SHORT_NAMES.get(op) == "einsum" else parts + details
        return Piece(f"{self.function(SHORT_NAMES.get(op, op))}{self.parenthesized(', '.join(parts))}")

    def number(self, value: float) -> Piece:
        """A number; common fractions as fractions."""
        if value == math.pi:
            return Piece("π")
        if (fraction := self.fraction(value)) is not None:
            return Piece(FRACTIONS[fraction])
        return self.decimal(value)

    def decimal(self, value: float) -> Piece:
        """A decimal number: 10⁻⁵ for 1e-05."""
        if value == math.inf:
            return Piece(self.symbol("∞"))
        mantissa, _, exponent = f"{value:.6g}".partition("e")
        if not exponent:
            return Piece(mantissa)
        power = self.raised(Number(10), Number(int(exponent)))
        return power if mantissa == "1" else Piece(f"{mantissa}{self.times}{power.text}", PRODUCT)

    def fraction(self, value: float) -> Fraction | None:
        """The common fraction equal to a number, or None."""
        return COMMON.get(value)

    def raised(self, x: Expression, n: Expression) -> Piece:
        """A power."""
        exponent = self.write(n).text
        plain = exponent.replace(self.minus, "-")
        if plain.lstrip("-").isdigit():
            return Piece(f"{self.within(x, ATOM)}{plain.translate(SUPERSCRIPTS)}", POWER)
        return Piece(f"{self.within(x, ATOM)}^{self.within(n, ATOM)}", POWER)

    def quotient(self, above: Piece, below: Piece) -> Piece:
        """A quotient of two products."""
        return Piece(f"{self.within(above, PRODUCT)} / {self.within(below, POWER)}", PRODUCT)

    def root(self, x: Expression) -> Piece:
        """A square root."""
        return Piece(f"√{self.within(x, ATOM)}", POWER)

    def name(self, name: str) -> str:
        """A variable."""
        return name

    def function(self, name: str) -> str:
        """The name of a function."""
        return name

    def plain(self, text: str) -> str:
        """Text that is not part of a formula."""
        return text

    def symbol(self, sign: str) -> str:
        """A sign of comparison or logic."""
        return sign

    def parenthesized(self, inside: str) -> str:
        """The text in parentheses."""
        return f"({inside})"

    def bracketed(self, inside: str, pair: str) -> str:
        """The text between a pair of brackets."""
        return f"{pair[0]}{inside}{pair[1]}"

    def transposed(self, matrix: str) -> str:
        """A transposed matrix."""
        return f"{matrix}ᵀ"
