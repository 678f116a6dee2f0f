"""Expressions as text, with as few parentheses as precedence allows: v · (1 − out²).

What is written is the formula for finite operands other than 0: guards such as out + (out == 0) in a denominator are
written as out. Products are written in the order of their factors, those of a denominator together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from minigrad.symbols.expression import Call, Expression, Name, Number, size
from minigrad.symbols.simplify import Product, product, shared, simplified, terms

WIDTH = 100  # characters, beyond which parts that occur twice are written once, behind the formula

# How tightly a formula holds together: a part that holds less tightly gets parentheses.
OR, AND, COMPARISON, SUM, SIGN, MATRIX, PRODUCT, POWER, ATOM = range(9)

COMPARISONS = {"equal": "=", "not_equal": "≠", "less": "<", "less_equal": "≤", "greater": ">", "greater_equal": "≥"}
LOGIC = {
    "logical_and": ("∧", AND),
    "bitwise_and": ("∧", AND),
    "logical_or": ("∨", OR),
    "bitwise_or": ("∨", OR),
}
BRACKETS = {"absolute": "||", "abs": "||", "floor": "⌊⌋", "ceil": "⌈⌉"}
CALLED = {
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
    """A text, and how tightly it holds together."""

    text: str
    strength: int = ATOM


def text(e: Expression) -> str:
    """The expression as text, in one line.

    Example:
        >>> x = Name("x")
        >>> text(Call("divide", (Call("negative", (x,)), Call("add", (Number(1), Call("multiply", (x, x)))))))
        '−x / (1 + x²)'
    """
    return written(Text(), e)


def written(notation: Text, e: Expression) -> str:
    """The expression in a notation; if it is long, what occurs several times in it is written behind it."""
    e = simplified(e)
    if size(e) <= WIDTH and len(whole := notation.write(e).text) <= WIDTH:
        return whole
    e, parts = shared(e, lambda part: len(Text().write(part).text) > 8)
    given = [f"{notation.write(name).text} = {notation.write(part).text}" for name, part in parts]
    return "; ".join([notation.write(e).text, *given])


class Text:
    """Writes expressions in Unicode."""

    times, minus, at = " · ", "−", " @ "

    def write(self, e: Expression) -> Piece:
        """An expression with its strength."""
        match e:
            case Name(name):
                return Piece(self.name(name))
            case Number(value) if value >= 0 or math.isnan(value):
                return self.number(value)
            case Call("add" | "subtract"):
                return self.sum(terms(e))
            case Call("negative" | "multiply" | "divide" | "reciprocal" | "square") | Number():
                return self.product(product(e))
            case Call("power", (_, Number(n))) if isinstance(n, int) and n > 0:
                return self.product(product(e))
            case Call("matmul", (x, y)):
                if (signed := product(e)).sign < 0:
                    return self.product(signed)
                return Piece(self.at.join(self.matrix(part) for part in (x, y)), MATRIX)
        return self.call(e)

    def matrix(self, e: Expression) -> str:
        """A factor of a matrix product."""
        return self.within(e, MATRIX if isinstance(e, Call) and e.op == "matmul" else POWER)

    def within(self, e: Expression | Piece, strength: int) -> str:
        """An expression as a part of something that holds together so tightly."""
        piece = e if isinstance(e, Piece) else self.write(e)
        return piece.text if piece.strength >= strength else self.parenthesized(piece.text)

    def sum(self, parts: Sequence[tuple[int, Expression]]) -> Piece:
        """A signed sum."""
        made = ""
        for before, e in parts:
            inner = product(e)
            piece = self.product(inner._replace(sign=1)) if inner.sign < 0 else self.write(e)
            sign, what = before * inner.sign, self.within(piece, SIGN)
            if made:
                made += f" {self.minus} {what}" if sign < 0 else f" + {what}"
            else:
                made = f"{self.minus}{what}" if sign < 0 else what
        return Piece(made, SUM)

    def product(self, p: Product) -> Piece:
        """A signed quotient of products."""
        above, below = self.factors(p.above), self.factors(p.below)
        made = self.quotient(above, below) if p.below else above
        return Piece(f"{self.minus}{self.within(made, MATRIX)}", SIGN) if p.sign < 0 else made

    def factors(self, found: list[tuple[Expression, int]]) -> Piece:
        """A product without sign."""
        if not found:
            return Piece("1")
        if len(found) == 1:
            return self.powered(*found[0])
        return Piece(self.times.join(self.within(self.powered(x, n), POWER) for x, n in found), PRODUCT)

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
            sign, strength = LOGIC[op]
            return Piece(f" {self.symbol(sign)} ".join(self.within(x, strength) for x in operands), strength)
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
        parts = details + parts if CALLED.get(op) == "einsum" else parts + details
        return Piece(f"{self.function(CALLED.get(op, op))}{self.parenthesized(', '.join(parts))}")

    def number(self, value: float) -> Piece:
        """A number, common fractions as such."""
        if value == math.pi:
            return Piece("π")
        if (fraction := self.fraction(value)) is not None:
            return Piece(FRACTIONS[fraction])
        return self.decimal(value)

    def decimal(self, value: float) -> Piece:
        """A decimal number, 10⁻⁵ for 1e-05."""
        if value == math.inf:
            return Piece(self.symbol("∞"))
        mantissa, _, exponent = f"{value:.6g}".partition("e")
        if not exponent:
            return Piece(mantissa)
        power = self.raised(Number(10), Number(int(exponent)))
        return power if mantissa == "1" else Piece(f"{mantissa}{self.times}{power.text}", PRODUCT)

    def fraction(self, value: float) -> Fraction | None:
        """The common fraction that a number is, if it is one."""
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

    def plain(self, words: str) -> str:
        """Words that are no formula."""
        return words

    def symbol(self, sign: str) -> str:
        """A sign of comparison or logic."""
        return sign

    def parenthesized(self, inside: str) -> str:
        """In parentheses."""
        return f"({inside})"

    def bracketed(self, inside: str, pair: str) -> str:
        """Between a pair of brackets."""
        return f"{pair[0]}{inside}{pair[1]}"

    def transposed(self, matrix: str) -> str:
        """A transposed matrix."""
        return f"{matrix}ᵀ"
