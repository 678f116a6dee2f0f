"""The algebra in which terms are built: every result is simplified at once, with the definitions of named values.

Sums collect equal terms and give away common factors; products collect equal factors. What is a named value of the
forward pass is written by its name: (x - mu) / sqrt(var + eps) is xhat. Of several forms the shortest is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np

from minigrad.verify.derive.factors import (
    CannotWrite,
    Factors,
    exact,
    exponential_in,
    is_root,
    powered,
    stripped,
    stripped_axes,
    without_lead,
)
from minigrad.verify.derive.term import ONE, Term

HALF = Fraction(1, 2)
EXPANDED = 24  # the most terms of an expanded product
MOST = 300_000  # products that are built before giving up


class Algebra:
    """Builds terms.

    Args:
        sizes: the sizes of axes, and products of them, that numbers stand for.
    """

    def __init__(self, sizes: Iterable[int] = ()) -> None:
        self.sizes = set(sizes)
        self.definitions: dict[Term, Term] = {}  # from what is computed to its name
        self.meanings: dict[Term, Term] = {}  # from a name to what is computed
        self.products: list[tuple[Term, Any, Factors]] = []  # names that are products
        self.constants: dict[float, Term] = {}  # names of numbers
        self.arrays: list[tuple[Any, Term]] = []  # names of arrays without a gradient
        self.notes: list[str] = []
        self.fixed: frozenset[str] = frozenset()  # names of constants, at whose values a function may look
        self.products_built = 0

    # Leaves

    def number(self, value: Any, shape: tuple[int, ...] = ()) -> Term:
        """A number: a size if it is one, and a fraction rather than a decimal."""
        if isinstance(value, (bool, np.bool_)):
            value = int(value)
        value = value.item() if isinstance(value, np.generic) else value
        if not shape and value in self.constants:
            return self.constants[value]
        if value in self.sizes and not shape:
            return Term("size", (), (int(value),))
        if not shape and (found := self._by_sizes(value)) is not None:
            return found
        return Term("number", (), (exact(value),), shape)

    def _by_sizes(self, value: Any) -> Term | None:
        """A number that is made of a size: n - 1, 2 / n, √n."""
        size = {n: Term("size", (), (n,)) for n in self.sizes}
        for n in self.sizes:
            if isinstance(value, int) and value == n - 1 and n > 10:
                return self.plus([(ONE, size[n]), (-ONE, self.number(1))])
            if isinstance(value, float) and math.isfinite(value) and not value.is_integer():
                for power in (HALF, -HALF):
                    if math.isclose(value, float(n) ** float(power), rel_tol=1e-14):
                        return self.times([(size[n], power)])
                for below in (n, n - 1) if n > 10 else (n,):
                    above = value * below
                    if abs(above - round(above)) < 1e-12 and 0 < abs(above) < 5:
                        return self.times([(self.number(below), -1)], Fraction(round(above)))
        return None

    def define(self, name: Term, meaning: Term) -> None:
        """Write a value by its name from now on."""
        if meaning is name or meaning.op in ("name", "number", "size"):
            return
        self.definitions.setdefault(meaning, name)
        self.meanings[name] = meaning
        coefficient, factors = meaning.factors()
        if meaning.op == "times" and [*factors.values()] != [1]:
            self.products.append((name, coefficient, factors))

    @contextmanager
    def without(self, name: Term) -> Iterator[None]:
        """Within the block, a value is not written by its name."""
        definitions, products, meanings = self.definitions, self.products, self.meanings
        self.definitions = {t: other for t, other in definitions.items() if other is not name}
        self.products = [part for part in products if part[0] is not name]
        self.meanings = {other: t for other, t in meanings.items() if other is not name}
        try:
            yield
        finally:
            self.definitions, self.products, self.meanings = definitions, products, meanings

    # Products

    def times(self, parts: Sequence[tuple[Term, Any]], coefficient: Any = ONE, shape: Any = None) -> Term:
        """A product of powers."""
        self.products_built += 1
        if self.products_built > MOST:
            raise CannotWrite("its formulas become too long; give intermediate values names with mg.name")
        if shape is None:
            shape = np.broadcast_shapes(*(t.shape for t, _ in parts)) if parts else ()
        factors: Factors = {}
        for t, exponent in parts:
            coefficient = self._multiplied(coefficient, factors, t, Fraction(exponent))
            if coefficient == 0:
                return Term("number", (), (Fraction(0),), shape)
        coefficient *= self._with_known_products(factors)
        coefficient = self._named(coefficient, factors)
        factors = {t: e for t, e in factors.items() if e != 0}
        product = self._product(coefficient, factors)
        other = self._multiplied_in(coefficient, factors)
        return self.fit(product if other is None or other.cost >= product.cost else other, shape)

    def _multiplied_in(self, coefficient: Any, factors: Factors) -> Term | None:
        """The product with factors multiplied into a sum in whose terms they are denominators: p (1 - t / p)."""
        for total, n in factors.items():
            if total.op == "plus" and n == 1:
                below = {t for x in total.args for t, e in x.factors()[1].items() if e < 0}
                into = [(t, e) for t, e in factors.items() if t in below and e > 0]
                if into:
                    inner = self.plus([(ONE, self.times([(x, 1), *into])) for x in total.args])
                    moved = {total, *(t for t, _ in into)}
                    rest = [(t, e) for t, e in factors.items() if t not in moved]
                    return stripped(self.times([(inner, 1), *rest], coefficient))
        return None

    def _multiplied(self, coefficient: Any, factors: Factors, t: Term, exponent: Fraction) -> Any:
        """The coefficient after a factor; other factors are added to `factors`."""
        t = stripped(t)
        if t.op == "number":
            return coefficient * powered(t.params[0], exponent)
        if t.op == "times":
            inner, parts = t.factors()
            can_split = exponent.denominator == 1 or (len(parts) == 1 and inner == 1 and is_root(parts))
            sizes = {x: e for x, e in parts.items() if x.op == "size"}
            if can_split:
                coefficient = coefficient * powered(inner, exponent)
                for x, e in parts.items():
                    coefficient = self._multiplied(coefficient, factors, x, e * exponent)
                return coefficient
            if sizes:  # which are positive
                rest = self._product(inner, {x: e for x, e in parts.items() if x not in sizes})
                for x, e in sizes.items():
                    coefficient = self._multiplied(coefficient, factors, x, e * exponent)
                return self._multiplied(coefficient, factors, rest, exponent)
        factors[t] = factors.get(t, Fraction(0)) + exponent
        if factors[t] == 0:
            del factors[t]
        elif factors[t].denominator == 1 and t.op == "times":  # the square of a root of a product
            return self._multiplied(coefficient, factors, t, factors.pop(t))
        return coefficient

    def _with_known_products(self, factors: Factors) -> Any:
        """The number in front, after products that people write in another way: σ(x) exp(-x) is 1 - σ(x)."""
        coefficient: Any = ONE
        for t in [*factors]:
            if t.op == "plus" and factors.get(t, 0) < 0 and factors[t].denominator == 1:
                power = exponential_in(t)
                if power is not None:  # 1 / (1 + exp(-x))
                    s = self.known(Term("sigmoid", (self.times([(power, 1)], -ONE),), (), t.shape))
                    factors[s] = factors.get(s, Fraction(0)) - factors.pop(t)
        for one_hot in [t for t in factors if t.op == "one_hot"]:
            for t in [*factors]:
                if t in factors and (spread := self._at_class(t, one_hot)) is not None:
                    coefficient = self._multiplied(coefficient, factors, spread, factors.pop(t))
        for t in [*factors]:
            if t.op == "exp" and t in factors and factors[t] > 0:
                s = self.known(Term("sigmoid", (self.times([(t.args[0], 1)], -ONE),), (), t.shape))
                if factors.get(s, 0) >= factors[t]:
                    n = factors.pop(t)
                    factors[s] -= n
                    if not factors[s]:
                        del factors[s]
                    rest = self.plus([(ONE, self.number(1)), (-ONE, s)])
                    coefficient = self._multiplied(coefficient, factors, rest, n)
        return coefficient

    def _at_class(self, t: Term, one_hot: Term) -> Term | None:
        """x for a column of the elements x[i, class of i], beside a row that is 0 at all other classes."""
        if t.op == "reshape" and t.shape == (one_hot.shape[0], 1):
            return self._at_class(t.args[0], one_hot)
        if t.op == "times":
            parts = [self._at_class(x, one_hot) for x in t.args]
            found = [(y, e) for y, e in zip(parts, t.params[1], strict=True) if y is not None]
            return self.times(found, t.params[0]) if len(found) == len(parts) else None
        is_element = t.op == "getitem" and t.params == (("array", "array"),) and t.args[0].shape == one_hot.shape
        rows, classes = (stripped_axes(x) for x in t.args[1:]) if is_element else (t, t)
        if is_element and rows.op == "arange" and classes is one_hot.args[0]:
            return t.args[0]
        return None

    def _named(self, coefficient: Any, factors: Factors) -> Any:
        """Replace factors by named values that are products of them."""
        for name, inner, parts in self.products:
            for k in (2, 1, -1, -2):
                if all(factors.get(t, 0) * e * k > 0 and abs(factors[t]) >= abs(k * e) for t, e in parts.items()):
                    for t, e in parts.items():
                        factors[t] -= k * e
                        if not factors[t]:
                            del factors[t]
                    factors[name] = factors.get(name, Fraction(0)) + k
                    if not factors[name]:
                        del factors[name]
                    coefficient = coefficient / powered(inner, Fraction(k))
                    break
        return coefficient

    def _product(self, coefficient: Any, factors: Factors) -> Term:
        """The term of collected factors."""
        if not factors:
            return Term("number", (), (exact(coefficient),))
        if coefficient == 1 and [*factors.values()] == [1]:
            return self.known(next(iter(factors)))
        args = tuple(sorted(factors, key=lambda t: t.serial))
        shape = np.broadcast_shapes(*(t.shape for t in args))
        exponents = tuple(factors[t] for t in args)
        return self.known(Term("times", args, (exact(coefficient), exponents), shape))

    # Sums

    def plus(self, parts: Sequence[tuple[Any, Term]], shape: Any = None) -> Term:
        """A sum of terms, each with a coefficient."""
        if shape is None:
            shape = np.broadcast_shapes(*(t.shape for _, t in parts)) if parts else ()
        best = self._factored(self._collected(parts))
        expanded = self._collected((c, x) for a, t in parts for c, x in self.expanded(a, t))
        if len(expanded) <= EXPANDED:
            other = self._factored(expanded)
            best = other if other.cost < best.cost else best
        return self.fit(best, shape)

    def _collected(self, parts: Iterable[tuple[Any, Term]]) -> dict[Term, Any]:
        """The sum by its terms without their coefficients; numbers under the number 1."""
        total: dict[Term, Any] = {}
        for a, spread in parts:
            t = stripped(spread)
            coefficient, factors = t.factors()
            if t.op == "plus":
                inner = self._collected((ONE, x) for x in t.args)
            elif len(factors) == 1 and [*factors.values()] == [1] and (core := next(iter(factors))).op == "plus":
                inner = {x: coefficient * c for x, c in self._collected((ONE, y) for y in core.args).items()}
            else:
                inner = {self._product(ONE, factors): coefficient}
            for x, c in inner.items():
                total[x] = total.get(x, 0) + a * c
        return {t: c for t, c in total.items() if c != 0}

    def _factored(self, total: dict[Term, Any]) -> Term:
        """The term of a collected sum, with common factors in front of it."""
        if not total:
            return Term("number", (), (Fraction(0),))
        if len(total) == 1:
            ((t, c),) = total.items()
            return self.times([(t, 1)], c)
        common = self._common([t.factors()[1] for t in total])
        if common:
            divided = [(c, self.times([(t, 1), *((x, -e) for x, e in common.items())])) for t, c in total.items()]
            return self.times([(self.plus(divided), 1), *common.items()])
        if (chosen := self._chosen(total)) is not None:
            return chosen
        ordered = sorted(total.items(), key=lambda part: (part[0].op == "number", part[0].serial))
        sizes = {abs(c) for _, c in ordered}
        has_size = any(t.op == "size" for t in total)
        first = ordered[-1] if ordered[-1][0].op == "number" and not has_size else ordered[0]  # is positive: 1 - p
        scale = (sizes.pop() if len(sizes) == 1 else 1) * (-1 if first[1] < 0 else 1)
        args = tuple(self._scaled(t, c / scale) for t, c in ordered)
        core = Term("plus", args, (), np.broadcast_shapes(*(t.shape for t in args)))
        if (named := self.definitions.get(core)) is not None:
            core = named
        return core if scale == 1 else self._product(scale, {core: ONE})

    def _scaled(self, t: Term, c: Any) -> Term:
        coefficient, factors = t.factors()
        return self._product(c * coefficient, factors)

    def _common(self, all_factors: Sequence[Factors]) -> Factors:
        common: Factors = {}
        for t in all_factors[0]:
            exponents = [factors.get(t, Fraction(0)) for factors in all_factors]
            if all(x > 0 for x in exponents):
                common[t] = min(exponents)
            elif all(x < 0 for x in exponents):
                common[t] = max(exponents)
        return common

    def _chosen(self, total: dict[Term, Any]) -> Term | None:
        """where(c, x, y) for x where c is true, and y where it is not."""
        masks = {mask.args[0] for t in total for mask in t.factors()[1] if mask.op == "mask"}
        for condition in masks:
            yes, no = (Term("mask", (condition,), (kept,), condition.shape) for kept in (True, False))
            x, y = ([(c, t) for t, c in total.items() if mask in t.factors()[1]] for mask in (yes, no))
            if x and y and len(x) + len(y) == len(total):
                chosen, other = (
                    self.plus([(c, self.times([(t, 1), (mask, -1)])) for c, t in part])
                    for part, mask in ((x, yes), (y, no))
                )
                shape = np.broadcast_shapes(chosen.shape, other.shape, condition.shape)
                return Term("where", (condition, stripped(chosen), stripped(other)), (), shape)
        return None

    def expanded(self, a: Any, t: Term) -> list[tuple[Any, Term]]:
        """A product as a sum: sums among its factors multiplied out."""
        t = stripped(t)
        coefficient, factors = t.factors()
        if t.op == "plus":
            return [(a * c, x) for part in t.args for c, x in self.expanded(ONE, part)]
        total: list[tuple[Any, Term]] = [(a * coefficient, self.number(1))]
        for x, e in factors.items():
            if x.op == "plus" and e > 0 and e.denominator == 1 and e < 3 and len(total) * len(x.args) <= EXPANDED:
                for _ in range(int(e)):
                    total = [(c * d, self.times([(y, 1), (z, 1)])) for c, y in total for d, z in self.expanded(ONE, x)]
            else:
                total = [(c, self.times([(y, 1), (x, e)])) for c, y in total]
        again = [(c * y.factors()[0], self._product(ONE, y.factors()[1])) for c, y in total]
        if any(x.op == "plus" for _, y in again for x, e in y.factors()[1].items() if e == 1) and t.op != "plus":
            return [part for c, y in again for part in (self.expanded(c, y) if y is not t else [(c, y)])]
        return again

    # Shapes

    def fit(self, t: Term, shape: Sequence[int]) -> Term:
        """The term with a shape to which it broadcasts."""
        shape = tuple(shape)
        if t.shape == shape:
            return t
        if t.op == "number":
            return Term("number", (), t.params, shape)
        t = stripped(t)
        if t.shape == shape:
            return t
        if without_lead(t.shape) == without_lead(shape):
            return self.known(Term("reshape", (t,), (shape,), shape))
        return Term("broadcast_to", (t,), (shape,), shape)

    def known(self, t: Term) -> Term:
        """The name of a value that has one."""
        return self.definitions.get(t, t)
