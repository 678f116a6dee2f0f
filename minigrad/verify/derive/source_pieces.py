"""Pieces of source: texts with their precedence, numbers, the order of factors, indices."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from minigrad.verify.derive.term import Term

COMPARISON, SUM, PRODUCT, SIGN, POWER, ATOM = range(6)


class Piece(NamedTuple):
    """A text, its precedence, and the number of axes of its value."""

    text: str
    precedence: int
    ndim: int

    def within(self, precedence: int) -> str:
        """The text in a place that requires a precedence."""
        return self.text if self.precedence >= precedence else f"({self.text})"


def is_even_progression(column: Sequence[int]) -> bool:
    """Whether numbers grow by the same step."""
    return len({b - a for a, b in itertools.pairwise(column)}) == 1


def progression_text(first: int, step: int, n: int, count: str) -> str:
    """The k-th number of a progression; n - 1 in terms of n."""
    if not step:
        return str(first)
    start = f"{count} - 1" if first == n - 1 and step < 0 else str(first)
    k = "k" if abs(step) == 1 else f"{abs(step)} * k"
    if step < 0:
        return f"{start} - {k}"
    return k if first == 0 else f"{start} + {k}"


def slice_of(t: Term) -> tuple[int, int, int] | None:
    """The axis, start and stop of a value that is written to a slice along one axis."""
    if t.op != "scatter" or len(t.args) > 1 or not all(isinstance(p, slice) for p in t.params[0]):
        return None
    found = [(k, p) for k, p in enumerate(t.params[0]) if p != slice(None)]
    if len(found) != 1 or found[0][1].step not in (None, 1):
        return None
    axis, p = found[0]
    start, stop, _ = p.indices(t.shape[axis])
    return axis, start, stop


def number_text(value: Any) -> str:
    """A number: 0.5 for one half, 1/3 for one third."""
    if isinstance(value, Fraction):
        if value.denominator == 1:
            return str(value.numerator)
        if 64 % value.denominator == 0:
            return f"{float(value):g}" if value.denominator <= 8 else repr(float(value))
        return f"{value.numerator} / {value.denominator}"
    return repr(value)


def number_parts(c: Any) -> tuple[bool, str, str]:
    """The sign of a coefficient, its numerator if it is not 1, and its denominator if it is not written as decimals."""
    sign, size = c < 0, abs(c)
    if isinstance(size, Fraction) and 64 % size.denominator:
        return sign, "" if size.numerator == 1 else str(size.numerator), str(size.denominator)
    return sign, "" if size == 1 else number_text(size), ""


def order_of(part: tuple[Term, Fraction]) -> tuple[int, int]:
    """The place of a factor: matrix products, gradients, values, sums in parentheses, masks."""
    x, _ = part
    if x.op == "matmul":
        return 0, x.serial
    if x.op == "name":
        return (1 if x.params[0].startswith("d") else 2), x.serial
    return {"sum": 3, "plus": 4, "where": 5, "mask": 6, "size": 9}.get(x.op, 3), x.serial


def flipped_sums(factors: Mapping[Term, Fraction], is_negative: bool) -> list[Term]:
    """The sums that are written with the other sign: p - 1 as 1 - p, if the sign of the product allows it."""
    odd = [x for x, e in factors.items() if x.op == "plus" and e.denominator == 1 and e % 2 == 1]
    preferred = [x for x in odd if any(y.op == "number" and y.params[0] < 0 for y in x.args)]
    if len(preferred) % 2 == is_negative:
        return preferred
    if is_negative:
        return [x for x in odd if any(y.factors()[0] < 0 for y in x.args)][:1]
    return preferred[1:]


def negated(t: Term) -> Term | None:
    """-t, if that is written without a minus in front: p - y for y - p, within matrix products and shapes too."""
    if t.op == "plus":
        is_mixed = len({x.factors()[0] < 0 for x in t.args}) == 2
        return Term("plus", tuple(map(_minus, t.args)), (), t.shape) if is_mixed else None
    if t.op in ("reshape", "matmul", "sum", "transpose"):
        for k, x in enumerate(t.args):
            if (other := negated(x)) is not None:
                return Term(t.op, (*t.args[:k], other, *t.args[k + 1 :]), t.params, t.shape)
    return None


def _minus(t: Term) -> Term:
    coefficient, factors = t.factors()
    if not factors:
        return Term("number", (), (-coefficient,), t.shape)
    if coefficient == -1 and [*factors.values()] == [1]:
        return next(iter(factors))
    return Term("times", tuple(factors), (-coefficient, tuple(factors.values())), t.shape)


def plus_order(part: tuple[int, Term], sign: int) -> tuple[bool, bool]:
    """The place of a term in a sum: those with a minus last, and constants behind arrays."""
    s, x = part
    is_negative = (x.factors()[0] < 0) != (s < 0)
    is_number = x.op == "number"
    return is_negative, (is_number or not x.shape) if sign > 0 else not is_number


def index_of_ones(old: tuple[int, ...], new: tuple[int, ...]) -> str | None:
    """The index that adds axes of size 1 to a shape, or removes them: `:, None`."""
    if tuple(n for n in old if n != 1) != tuple(n for n in new if n != 1):
        return None
    if len(new) > len(old):
        parts, left = [], list(old)
        for n in new:
            if left and n == left[0]:
                parts.append(":")
                left.pop(0)
            elif n == 1:
                parts.append("None")
            else:
                return None
        return ", ".join(parts) if not left else None
    parts, left = [], list(new)
    for n in old:
        if left and n == left[0]:
            parts.append(":")
            left.pop(0)
        elif n == 1:
            parts.append("0")
        else:
            return None
    return ", ".join(parts) if not left else None
