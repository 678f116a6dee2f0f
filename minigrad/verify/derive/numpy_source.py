"""Terms as NumPy expressions, as a person writes them: (dout * xhat).sum(axis=0), x.shape[0], np.sqrt(var + eps).

An axis of size 1 that a sum keeps in front is left out where broadcasting brings it back.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from minigrad.verify.derive.algebra import CannotWrite, stripped, without_lead
from minigrad.verify.derive.term import Term, names_in

COMPARISON, SUM, PRODUCT, SIGN, POWER, ATOM = range(6)
COMPARISONS = {"equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">="}
NEGATED = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
LOGIC = {"bitwise_and": "&", "logical_and": "&", "bitwise_or": "|", "logical_or": "|"}
NAMES = {"absolute": "abs", "cumulative_sum": "cumsum"}
METHODS = ("sum", "prod", "max", "min", "any", "all")


class Piece(NamedTuple):
    """A text, its precedence, and the number of axes of its value."""

    text: str
    precedence: int
    ndim: int

    def within(self, precedence: int) -> str:
        """The text in a place that requires a precedence."""
        return self.text if self.precedence >= precedence else f"({self.text})"


class NumPySource:
    """Writes the terms of one line.

    Args:
        shapes: of the values that the line may name.
        first: the names whose shapes are preferred for sizes.
        counts: names of numbers that are sizes.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], first: Sequence[str] = (), counts: Mapping[int, str] | None = None
    ) -> None:
        self.counts = counts or {}
        self.shapes = {k: shapes[k] for k in [*first, *shapes] if k in shapes}
        self.first = list(first)

    def line(self, t: Term) -> str:
        """A term as an expression with exactly its shape."""
        own = names_in(t)
        self.shapes = {k: self.shapes[k] for k in [*own, *self.first, *self.shapes] if k in self.shapes}
        return self.write(t).text

    def write(self, t: Term, loose: bool = False) -> Piece:
        """A term; with `loose` it may lack leading axes of size 1."""
        method = getattr(self, f"_{t.op}", None)
        if method is not None:
            piece: Piece = method(t, loose)
            return piece
        ndim = len(t.shape)
        if t.op in ("normal_cdf", "erf"):
            raise CannotWrite(f"NumPy has no function {t.op}; name the value of it with mg.name, and it is used by name")
        if t.op in COMPARISONS:
            left, right = (self.write(x, True) for x in t.args)
            return Piece(f"{left.within(SUM)} {COMPARISONS[t.op]} {right.within(SUM)}", COMPARISON, ndim)
        if t.op in LOGIC:
            inside = f" {LOGIC[t.op]} ".join(self.write(x).within(ATOM) for x in t.args)
            return Piece(f"({inside})", ATOM, ndim)
        if t.op in METHODS:
            return self._reduced(t, t, "sum" if t.op == "sum" else t.op, loose)
        inside = ", ".join(self.write(x, len(t.args) == 1 and loose).text for x in t.args)
        ndim = self.write(t.args[0], loose).ndim if len(t.args) == 1 else ndim
        return Piece(f"np.{NAMES.get(t.op, t.op)}({inside})", ATOM, ndim)

    # Leaves

    def _name(self, t: Term, loose: bool) -> Piece:
        return Piece(t.params[0], ATOM, len(t.shape))

    def _number(self, t: Term, loose: bool) -> Piece:
        text = number_text(t.params[0])
        if t.shape:
            like = self.named(t.shape)
            filled = {"0": "zeros_like", "1": "ones_like"}.get(text)
            if like is not None:
                text = f"np.{filled}({like})" if filled else f"np.full_like({like}, {text})"
            else:
                text = f"np.full({self.shape_text(t.shape)}, {text})"
            return Piece(text, ATOM, len(t.shape))
        return Piece(text, SIGN if text.startswith("-") else PRODUCT if "/" in text else ATOM, 0)

    def _size(self, t: Term, loose: bool) -> Piece:
        text = self.size_text(t.params[0])
        return Piece(text, PRODUCT if " " in text else ATOM, 0)

    def _array(self, t: Term, loose: bool) -> Piece:
        values, shape = t.params
        listed = ", ".join(repr(v) for v in values)
        text = f"np.array([{listed}])"
        return Piece(text if len(shape) == 1 else f"{text}.reshape({shape})", ATOM, len(shape))

    def named(self, shape: tuple[int, ...]) -> str | None:
        """A value with a shape."""
        return next((k for k, s in self.shapes.items() if s == shape), None)

    def size_text(self, n: int) -> str:
        """The size of an axis, or the number of elements, of a value."""
        if n in self.counts:
            return self.counts[n]
        for k, shape in self.shapes.items():
            if shape and math.prod(shape) == n and len(shape) > 1:
                return f"{k}.size"
            if n in shape:
                return f"len({k})" if shape[0] == n else f"{k}.shape[{shape.index(n)}]"
        for count in (2, 3):
            for k, shape in self.shapes.items():
                for axes in itertools.combinations(range(len(shape)), count):
                    if math.prod(shape[a] for a in axes) == n:
                        return " * ".join(f"{k}.shape[{a}]" for a in axes)
        return str(n)

    def shape_text(self, shape: Sequence[int]) -> str:
        """A shape: that of a named value, or its sizes one by one."""
        like = self.named(tuple(shape))
        if like is not None:
            return f"{like}.shape"
        sizes = [str(n) if n < 5 else self.size_text(n) for n in shape]
        return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"

    # Products and sums

    def _times(self, t: Term, loose: bool) -> Piece:
        coefficient, factors = t.factors()
        means: list[Piece] = []
        if not loose:
            loose_pieces = [self.write(x, True).ndim for x in factors]
            if max(loose_pieces, default=0) >= len(t.shape):
                loose = True
        factors = self._with_means(factors, means, loose)
        flipped = _flipped(factors, coefficient < 0)
        coefficient *= (-1) ** len(flipped)
        pieces, below = list(means), []
        for x, e in sorted(factors.items(), key=_order):
            piece = self._plus(x, loose, -1) if x in flipped else self.write(x, loose)
            powered = self._powered(piece, abs(e))
            (pieces if e > 0 else below).append(powered)
        ndim = max((p.ndim for p in [*pieces, *below]), default=0)
        sign, number, divisor = _number_parts(coefficient)
        if number:
            pieces.insert(0, Piece(number, ATOM, 0))
        if divisor:
            below.append(Piece(divisor, ATOM, 0))
        first = 1 if number else 0  # 2 * a @ b is (2 * a) @ b
        above = " * ".join(p.within(PRODUCT if k <= first else POWER) for k, p in enumerate(pieces)) or "1"
        text = above
        if below:
            bottom = " * ".join(p.within(POWER) for p in below)
            text = f"{above} / {bottom if len(below) == 1 else f'({bottom})'}"
        if len(pieces) == 1 and not below and not sign:
            return pieces[0]._replace(ndim=ndim)
        return Piece(f"-{text}" if sign else text, PRODUCT, ndim)

    def _with_means(self, factors: Mapping[Term, Fraction], means: list[Piece], loose: bool) -> dict[Term, Fraction]:
        """The factors without sums that are means together with the size of an axis; the means are appended."""
        left = dict(factors)
        for x in factors:
            if x.op == "sum" and left.get(x) == 1:
                n = math.prod(x.args[0].shape[k] for k in x.params[0])
                size = Term("size", (), (n,))
                if left.get(size, 0) < 0 and (x.args[0].cost > 2 or x.args[0].op == "name"):
                    left[size] += 1
                    if not left[size]:
                        del left[size]
                    del left[x]
                    means.append(self._reduced(x, x, "mean", loose))
        return left

    def _powered(self, piece: Piece, e: Fraction) -> Piece:
        if e == 1:
            return piece
        if e == Fraction(1, 2):
            return Piece(f"np.sqrt({piece.text})", ATOM, piece.ndim)
        return Piece(f"{piece.within(ATOM)}**{number_text(e)}", POWER, piece.ndim)

    def _plus(self, t: Term, loose: bool, sign: int = 1) -> Piece:
        if sign > 0 and (short := self._joined(t) or self._rolled(t)) is not None:
            return short
        text, ndim = "", 0
        is_loose = loose or max((self.write(x, True).ndim for x in t.args), default=0) >= len(t.shape)
        terms = [(sign, x) for x in t.args]
        terms.sort(key=lambda part: _plus_order(part, sign))
        for s, x in terms:
            piece = self.write(x, is_loose)
            ndim = max(ndim, piece.ndim)
            is_negative = piece.text.startswith("-") and piece.precedence <= SIGN and piece.precedence > SUM
            body = piece.text[1:] if is_negative else piece.within(SIGN if s < 0 else SUM)
            if s < 0 and not is_negative:
                body = piece.within(PRODUCT)
            is_minus = is_negative != (s < 0)
            if text:
                text += f" - {body}" if is_minus else f" + {body}"
            else:
                text = f"-{body}" if is_minus else body
        return Piece(text, SUM, ndim)

    def _rolled(self, t: Term) -> Piece | None:
        """Terms that differ only in numbers which grow from one to the next, as a sum over k."""
        n = len(t.args)
        if n < 3:
            return None
        texts = [self.write(x).text for x in t.args]
        found = []
        for ordered in (texts, texts[::-1]):
            parts = [re.split(r"(?<![\w.])(\d+)(?![\w.])", text) for text in ordered]
            if any(len(p) != len(parts[0]) or p[::2] != parts[0][::2] for p in parts):
                return None
            numbers = [[int(p[i]) for p in parts] for i in range(1, len(parts[0]), 2)]
            steps = {column[1] - column[0] for column in numbers if column[1] != column[0]}
            if not steps or not all(_is_even_progression(column) for column in numbers) or min(steps) < -1:
                continue
            count = self.size_text(n)
            body = list(parts[0])
            for i, column in enumerate(numbers):
                body[2 * i + 1] = _progression_text(column[0], column[1] - column[0], n, count)
            found.append(f"sum({''.join(body)} for k in range({count}))")
        return Piece(min(found, key=len), ATOM, len(t.shape)) if found else None

    def _matmul(self, t: Term, loose: bool) -> Piece:
        left, right = (self.write(x) for x in t.args)
        return Piece(f"{left.within(PRODUCT)} @ {right.within(POWER)}", PRODUCT, len(t.shape))

    # Reductions and shapes

    def _reduced(self, t: Term, x: Term, method: str, loose: bool, without: bool = False) -> Piece:
        """A reduction; `without` its axes if they are removed afterwards, or need not be there."""
        axes, ndim = t.params[0], len(t.shape)
        inside = self.write(t.args[0])
        is_all = len(axes) == ndim
        is_leading = axes == tuple(range(len(axes)))
        without = without or (loose and is_leading)
        axis = "" if is_all else f"axis={axes[0] if len(axes) == 1 else axes}"
        arguments = ", ".join(part for part in (axis, "" if without else "keepdims=True") if part)
        text = f"{inside.within(ATOM)}.{method}({arguments})"
        return Piece(text, ATOM, ndim - len(axes) if without else ndim)

    def _reshape(self, t: Term, loose: bool) -> Piece:
        (x,) = t.args
        if x.op in METHODS and tuple(n for k, n in enumerate(x.shape) if k not in x.params[0]) == t.shape:
            return self._reduced(x, x, x.op, loose, without=True)
        if x.op == "times" and (piece := self._reduced_product(x, t.shape)) is not None:
            return piece
        if without_lead(x.shape) == without_lead(t.shape):
            piece = self.write(x, loose=True)
            if piece.ndim == len(t.shape) or (loose and piece.ndim < len(t.shape)):
                return piece
            if piece.ndim < len(t.shape):
                index = ", ".join(["None"] * (len(t.shape) - piece.ndim))
                return Piece(f"{piece.within(ATOM)}[{index}]", ATOM, len(t.shape))
        piece = self.write(x)
        if (index := _index_of_ones(x.shape, t.shape)) is not None:
            return Piece(f"{piece.within(ATOM)}[{index}]", ATOM, len(t.shape))
        text = self.shape_text(t.shape)
        text = text[1:-1] if text.startswith("(") else text
        return Piece(f"{piece.within(ATOM)}.reshape({text})", ATOM, len(t.shape))

    def _reduced_product(self, x: Term, shape: tuple[int, ...]) -> Piece | None:
        """A product with a sum whose axes a reshape removes: all other factors are numbers."""
        coefficient, factors = x.factors()
        sums = [f for f in factors if f.op in METHODS]
        if len(sums) != 1 or any(f.shape for f in factors if f not in sums):
            return None
        (s,) = sums
        if tuple(n for k, n in enumerate(s.shape) if k not in s.params[0]) != shape:
            return None
        means: list[Piece] = []
        left = self._with_means(factors, means, False)
        inner = self._reduced(s, s, "mean" if means else s.op, False, without=True)
        stand_in = Term("name", (), (inner.text,), shape)
        rest = [(f, e) for f, e in left.items() if f is not s]
        args = (stand_in, *(f for f, _ in rest))
        exponents = (factors[s], *(e for _, e in rest))
        return self._times(Term("times", args, (coefficient, exponents), shape), False)

    def _broadcast_to(self, t: Term, loose: bool) -> Piece:
        inside = self.write(stripped(t))
        like = self.named(t.shape)
        if inside.ndim == 0 and like is not None:
            return Piece(f"np.full_like({like}, {inside.text})", ATOM, len(t.shape))
        return Piece(f"np.broadcast_to({inside.text}, {self.shape_text(t.shape)})", ATOM, len(t.shape))

    def _transpose(self, t: Term, loose: bool) -> Piece:
        (x,), (axes,) = t.args, t.params
        inside = self.write(x).within(ATOM)
        n = len(axes)
        if axes == (1, 0):
            return Piece(f"{inside}.T", ATOM, n)
        if axes == (*range(n - 2), n - 1, n - 2):
            return Piece(f"np.swapaxes({self.write(x).text}, -1, -2)", ATOM, n)
        return Piece(f"{inside}.transpose({', '.join(map(str, axes))})", ATOM, n)

    # Choices and indices

    def _mask(self, t: Term, loose: bool) -> Piece:
        (condition,) = t.args
        piece = self.write(condition)
        if t.params[0]:
            return piece
        if condition.op in COMPARISONS:
            sign = COMPARISONS[condition.op]
            return piece._replace(text=piece.text.replace(f" {sign} ", f" {NEGATED[sign]} ", 1))
        return Piece(f"~{piece.within(ATOM)}", SIGN, piece.ndim)

    def _where(self, t: Term, loose: bool) -> Piece:
        pieces = [self.write(x, True) for x in t.args]
        if max(p.ndim for p in pieces) < len(t.shape) and not loose:
            pieces = [self.write(x) for x in t.args]
        return Piece(f"np.where({', '.join(p.text for p in pieces)})", ATOM, max(p.ndim for p in pieces))

    def _one_hot(self, t: Term, loose: bool) -> Piece:
        classes, count = (self.write(x) for x in t.args)
        return Piece(f"np.eye({count.text})[{classes.text}]", ATOM, 2)

    def _arange(self, t: Term, loose: bool) -> Piece:
        return Piece(f"np.arange({self.write(t.args[0]).text})", ATOM, 1)

    def _eye(self, t: Term, loose: bool) -> Piece:
        return Piece(f"np.eye({self.write(t.args[0]).text})", ATOM, 2)

    def _sigmoid(self, t: Term, loose: bool) -> Piece:
        (x,) = t.args
        coefficient, factors = x.factors()
        minus = Term("times", x.args, (-coefficient, x.params[1]), x.shape) if x.op == "times" else None
        inside = self.write(minus).text if minus is not None else f"-{self.write(x).within(POWER)}"
        return Piece(f"1 / (1 + np.exp({inside}))", PRODUCT, len(t.shape))

    def _einsum(self, t: Term, loose: bool) -> Piece:
        inside = ", ".join([f'"{t.params[0]}"', *(self.write(x).text for x in t.args)])
        return Piece(f"np.einsum({inside})", ATOM, len(t.shape))

    def _getitem(self, t: Term, loose: bool) -> Piece:
        x, *arrays = t.args
        return Piece(f"{self.write(x).within(ATOM)}[{self.index(t.params[0], arrays)}]", ATOM, len(t.shape))

    def index(self, template: Sequence[Any], arrays: Sequence[Term]) -> str:
        """An index as it stands between brackets."""
        left = list(arrays)
        parts = [self.write(left.pop(0)).text if isinstance(p, str) else self._index_part(p) for p in template]
        return ", ".join(parts)

    def _index_part(self, p: Any) -> str:
        if isinstance(p, slice):
            parts = ["" if n is None else self._bound(n) for n in (p.start, p.stop, p.step)]
            return ":".join(parts if parts[2] else parts[:2])
        return "..." if p is Ellipsis else "None" if p is None else self._bound(p)

    def _bound(self, n: int) -> str:
        return self.size_text(n) if n > 10 else str(n)

    def _concatenate(self, t: Term, loose: bool, name: str = "concatenate") -> Piece:
        parts = ", ".join(self.write(x).text for x in t.args)
        return Piece(f"np.{name}([{parts}], axis={t.params[0]})", ATOM, len(t.shape))

    def _stack(self, t: Term, loose: bool) -> Piece:
        return self._concatenate(t, loose, "stack")

    def _pad(self, t: Term, loose: bool) -> Piece:
        return Piece(f"np.pad({self.write(t.args[0]).text}, {t.params[0]})", ATOM, len(t.shape))

    def _scatter(self, t: Term, loose: bool) -> Piece:
        v, *arrays = t.args
        place = _slice_of(t)
        if place is None or arrays:
            raise CannotWrite("writing to an index within an expression")
        axis, start, stop = place
        end = t.shape[axis] - stop
        after = str(end) if end < 5 else f"{self.size_text(t.shape[axis])} - {self._bound(stop)}"
        widths = ", ".join(f"({start}, {after})" if k == axis else "(0, 0)" for k in range(len(t.shape)))
        widths = f"({widths})" if len(t.shape) > 1 else widths
        return Piece(f"np.pad({self.write(v).text}, {widths})", ATOM, len(t.shape))

    def _joined(self, t: Term) -> Piece | None:
        """Values written next to each other along an axis, as one array."""
        places = [_slice_of(x) for x in t.args]
        if any(place is None for place in places):
            return None
        parts = sorted(zip(places, t.args, strict=True), key=lambda part: part[0][1])
        axis = parts[0][0][0]
        edges = [0]
        for (k, start, stop), _ in parts:
            if k != axis or start != edges[-1]:
                return None
            edges.append(stop)
        if edges[-1] != t.shape[axis]:
            return None
        inside = ", ".join(self.write(x.args[0]).text for _, x in parts)
        return Piece(f"np.concatenate([{inside}], axis={axis})", ATOM, len(t.shape))

    def _call(self, t: Term, loose: bool) -> Piece:
        path, rest, kwargs = t.params
        parts = [self.write(x).text for x in t.args] + [repr(x) for x in rest] + [f"{k}={v!r}" for k, v in kwargs]
        return Piece(f"{path}({', '.join(parts)})", ATOM, len(t.shape))


def _is_even_progression(column: Sequence[int]) -> bool:
    return len({b - a for a, b in itertools.pairwise(column)}) == 1


def _progression_text(first: int, step: int, n: int, count: str) -> str:
    """The k-th number of a progression; n - 1 in terms of n."""
    if not step:
        return str(first)
    start = f"{count} - 1" if first == n - 1 and step < 0 else str(first)
    k = "k" if abs(step) == 1 else f"{abs(step)} * k"
    if step < 0:
        return f"{start} - {k}"
    return k if first == 0 else f"{start} + {k}"


def _slice_of(t: Term) -> tuple[int, int, int] | None:
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


def _number_parts(c: Any) -> tuple[bool, str, str]:
    """The sign of a coefficient, its numerator if it is not 1, and its denominator if it is not written as decimals."""
    sign, size = c < 0, abs(c)
    if isinstance(size, Fraction) and 64 % size.denominator:
        return sign, "" if size.numerator == 1 else str(size.numerator), str(size.denominator)
    return sign, "" if size == 1 else number_text(size), ""


def _order(part: tuple[Term, Fraction]) -> tuple[int, int]:
    """The place of a factor: matrix products, gradients, values, sums in parentheses, masks."""
    x, _ = part
    if x.op == "matmul":
        return 0, x.serial
    if x.op == "name":
        return (1 if x.params[0].startswith("d") else 2), x.serial
    return {"sum": 3, "plus": 4, "where": 5, "mask": 6, "size": 9}.get(x.op, 3), x.serial


def _flipped(factors: Mapping[Term, Fraction], is_negative: bool) -> list[Term]:
    """The sums that are written with the other sign: p - 1 as 1 - p, if the sign of the product allows it."""
    odd = [x for x, e in factors.items() if x.op == "plus" and e.denominator == 1 and e % 2 == 1]
    preferred = [x for x in odd if any(y.op == "number" and y.params[0] < 0 for y in x.args)]
    if len(preferred) % 2 == is_negative:
        return preferred
    if is_negative:
        return [x for x in odd if any(y.factors()[0] < 0 for y in x.args)][:1]
    return preferred[1:]


def _plus_order(part: tuple[int, Term], sign: int) -> tuple[bool, bool]:
    s, x = part
    is_negative = (x.factors()[0] < 0) != (s < 0)
    is_number = x.op == "number"
    return is_negative, (is_number or not x.shape) if sign > 0 else not is_number


def _index_of_ones(old: tuple[int, ...], new: tuple[int, ...]) -> str | None:
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
