"""Terms as NumPy expressions, as a person writes them: (dout * xhat).sum(axis=0), x.shape[0], np.sqrt(var + eps).

An axis of size 1 that a sum keeps in front is left out where broadcasting brings it back.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from minigrad.verify.derive.factors import CannotWrite, stripped, without_lead
from minigrad.verify.derive.indexed_source import COMPARISONS, IndexedSource
from minigrad.verify.derive.source_pieces import (
    ATOM,
    COMPARISON,
    POWER,
    PRODUCT,
    SIGN,
    SUM,
    Piece,
    flipped_sums,
    index_of_ones,
    negated,
    number_parts,
    number_text,
    order_of,
    plus_order,
)  # fmt: skip
from minigrad.verify.derive.term import Term, names_in

LOGIC = {"bitwise_and": "&", "logical_and": "&", "bitwise_or": "|", "logical_or": "|"}
NAMES = {"absolute": "abs", "cumulative_sum": "cumsum"}
METHODS = ("sum", "prod", "max", "min", "any", "all")


class NumPySource(IndexedSource):
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
            raise CannotWrite(
                f"NumPy has no function {t.op}; name the value of it with mg.name, and it is used by name"
            )
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
        flipped = flipped_sums(factors, coefficient < 0)
        coefficient *= (-1) ** len(flipped)
        for x, e in [*factors.items()] if coefficient < 0 else []:
            if e == 1 and x not in flipped and (other := negated(x)) is not None:
                factors = {other if y is x else y: n for y, n in factors.items()}
                coefficient = -coefficient
                break
        pieces, below = list(means), list[Piece]()
        for x, e in sorted(factors.items(), key=order_of):
            piece = self._plus(x, loose, -1) if x in flipped else self.write(x, loose)
            powered = self._powered(piece, abs(e))
            (pieces if e > 0 else below).append(powered)
        ndim = max((p.ndim for p in [*pieces, *below]), default=0)
        sign, number, divisor = number_parts(coefficient)
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
        terms.sort(key=lambda part: plus_order(part, sign))
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
        if (ones := index_of_ones(x.shape, t.shape)) is not None:
            return Piece(f"{piece.within(ATOM)}[{ones}]", ATOM, len(t.shape))
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
        inside = self.write(stripped(t), loose=True)
        like = self.named(t.shape)
        if (more := inside.ndim - len(t.shape)) > 0:  # axes of size 1 in front
            inside = Piece(f"{inside.within(ATOM)}[{', '.join(['0'] * more)}]", ATOM, len(t.shape))
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
