"""Indices, choices and calls as NumPy source, and sums that are a loop or an array made of parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from minigrad.verify.derive.factors import CannotWrite
from minigrad.verify.derive.source_pieces import (
    ATOM,
    POWER,
    PRODUCT,
    SIGN,
    Piece,
    is_even_progression,
    progression_text,
    slice_of,
)  # fmt: skip
from minigrad.verify.derive.term import Term

COMPARISONS = {"equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">="}
NEGATED = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


class IndexedSource:
    """The part of NumPySource for indices and choices."""

    def write(self, t: Term, loose: bool = False) -> Piece:
        """A term; see NumPySource."""
        raise NotImplementedError

    def size_text(self, n: int) -> str:
        """The size of an axis; see NumPySource."""
        raise NotImplementedError

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
            if not steps or not all(is_even_progression(column) for column in numbers) or min(steps) < -1:
                continue
            count = self.size_text(n)
            body = list(parts[0])
            for i, column in enumerate(numbers):
                body[2 * i + 1] = progression_text(column[0], column[1] - column[0], n, count)
            found.append(f"sum({''.join(body)} for k in range({count}))")
        return Piece(min(found, key=len), ATOM, len(t.shape)) if found else None

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
        if (clipped := _clipped(t)) is not None:
            x, bound = (self.write(part, loose) for part in clipped)
            return Piece(f"np.clip({x.text}, -{bound.within(POWER)}, {bound.text})", ATOM, x.ndim)
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
        coefficient, _ = x.factors()
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
        place = slice_of(t)
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
        parts = [(place, x) for x in t.args if (place := slice_of(x)) is not None]
        if len(parts) < len(t.args):
            return None
        parts.sort(key=lambda part: part[0][1])
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


def _clipped(t: Term) -> tuple[Term, Term] | None:
    """x and d, if the term is x where |x| <= d, and elsewhere d with the sign of x."""
    condition, x, y = t.args
    if condition.op not in ("less", "less_equal"):
        return None
    size, bound = condition.args
    is_bounded = size.op == "absolute" and size.args == (x,) and bound.shape == ()
    coefficient, factors = y.factors()
    is_signed = coefficient == 1 and factors == {bound: 1, Term("sign", (x,), (), x.shape): 1}
    return (x, bound) if is_bounded and is_signed else None
