"""The regions in which an elementwise function is smooth: one for each order of its operands and 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np

from minigrad.engine.primitive import Primitive
from minigrad.verify.rules.to_sympy import sympy

ANCHORS = (-1, 0, 1)  # a single operand is compared with these, where arcsin, log1p and others have their borders
NEAR = "1e-30"  # the distance from a border at which a derivative is evaluated


@dataclass(frozen=True, eq=False)
class Region:
    """One order of the operands and 0.

    Args:
        order: the operands and "0", the smallest first.
        values: for each operand, as a symbol of sympy, its value in terms of positive symbols.
        gaps: those symbols: the distances between neighbors in the order, then the operands without a rule.
    """

    order: tuple[str, ...]
    values: dict[Any, Any]
    gaps: tuple[Any, ...]

    def __str__(self) -> str:
        return " < ".join(self.order)

    def at(self, gaps: Sequence[Any]) -> dict[Any, Any]:
        """The values of the operands for given gaps."""
        there = {gap: gaps[k % len(gaps)] for k, gap in enumerate(self.gaps)}
        return {x: value.subs(there) for x, value in self.values.items()}


@dataclass(frozen=True)
class Border:
    """The points where two operands exchange their order, or where one changes its sign."""

    text: str
    order: str  # the complete order of the operands at the border
    point: dict[str, Any]
    sides: list[tuple[Region, dict[Any, Any]]]  # a region, and a point of it next to the border
    conditions: list[str]  # that describe the sides

    def __str__(self) -> str:
        return self.order


def X(name: str) -> Any:
    """The symbol of sympy for an operand."""
    return sympy().Symbol(name, real=True)


def V() -> Any:
    """The symbol for the cotangent, to which a rule is applied."""
    return X("v")


def regions(p: Primitive) -> Iterator[Region]:
    """All regions of the operands of a primitive."""
    with_rule = [name for name, rule in zip(p.operands, p.rules, strict=True) if rule is not None]
    fixed = [name for name in p.operands if name not in with_rule]
    if len(p.operands) == 1:
        yield from _intervals(p.operands[0])
        return
    for order in permutations([*with_rule, "0"]):
        gaps = tuple(sympy().Dummy(f"gap{k}", positive=True) for k in range(len(with_rule) + len(fixed)))
        zero = order.index("0")
        values = {
            X(name): sum(gaps[zero:k]) if k > zero else -sum(gaps[k:zero]) for k, name in enumerate(order) if k != zero
        }
        others = gaps[len(with_rule) :]
        for signs in product((1, -1, 0), repeat=len(fixed)):
            fixed_values = {
                X(name): sign * gap + sympy().Integer(0) for name, sign, gap in zip(fixed, signs, others, strict=True)
            }
            yield Region(order, {X(name): (values | fixed_values)[X(name)] for name in p.operands}, gaps)


def _intervals(name: str) -> Iterator[Region]:
    """The intervals between the anchors, as functions of a positive gap g: g / (1 + g) lies between 0 and 1."""
    gap = sympy().Dummy("gap", positive=True)
    unit = gap / (1 + gap)
    for k, value in enumerate((-1 - gap, -unit, unit, 1 + gap)):
        order = [*map(str, ANCHORS)]
        order.insert(k, name)
        yield Region(tuple(order), {X(name): value}, (gap,))


def is_inside(p: Primitive, region: Region) -> bool:
    """Whether the function is finite in the region, by NumPy."""
    with np.errstate(all="ignore"):
        value = p.function(*(np.float64(x) for x in region.at([sympy().Rational(k, 7) for k in (2, 3, 5)]).values()))
    return bool(np.isfinite(value))


def domain(p: Primitive, inside: Sequence[Region]) -> str:
    """The domain of a function as text."""
    all_regions, orders = list(regions(p)), {region.order for region in inside}
    if len(inside) == len(all_regions):
        return f"all {', '.join(p.operands)}"
    if len(p.operands) == 1:
        x, positions = p.operands[0], sorted(region.order.index(p.operands[0]) for region in inside)
        low, high = positions[0], positions[-1]
        left = f"{ANCHORS[low - 1]} < " if low and high < len(ANCHORS) else ""
        if left:
            return f"{left}{x} < {ANCHORS[high]}".replace("-", "−")
        return f"{x} > {ANCHORS[low - 1]}".replace("-", "−") if low else f"{x} < {ANCHORS[high]}".replace("-", "−")
    for x in p.operands:
        for sign, is_below in ((">", False), ("<", True)):
            if orders == {
                r.order for r in all_regions if x in r.order and (r.order.index(x) < r.order.index("0")) == is_below
            }:
                return f"{x} {sign} 0, all {', '.join(y for y in p.operands if y != x)}"
    return "; ".join(sorted(map(str, inside)))


def all_borders(p: Primitive, inside: Sequence[Region]) -> Iterator[Border]:
    """The borders of the regions in which a function is defined, with the regions on both sides."""
    yield from _between_intervals(p, inside) if len(p.operands) == 1 else _between_orders(inside)


def _between_intervals(p: Primitive, inside: Sequence[Region]) -> Iterator[Border]:
    name, near = p.operands[0], sympy().Rational(NEAR)
    by_position = {region.order.index(name): region for region in inside}
    for k, anchor in enumerate(ANCHORS):
        around = [(by_position.get(k), -1, "<"), (by_position.get(k + 1), 1, ">")]
        sides = [(region, {X(name): anchor + sign * near}) for region, sign, _ in around if region is not None]
        conditions = [f"{name} {sign} {anchor}" for region, _, sign in around if region is not None]
        if sides:
            text = f"{name} = {anchor}"
            yield Border(text, text, {name: anchor}, sides, conditions)


def _between_orders(inside: Sequence[Region]) -> Iterator[Border]:
    """One border for each pair of neighbors that can be exchanged; the other distances are 1."""
    for region in inside:
        for k in range(len(region.order) - 1):
            first, second = region.order[k : k + 2]
            swapped = (*region.order[:k], second, first, *region.order[k + 2 :])
            other = next(
                (r for r in inside if r.order == swapped and _signs_of_fixed(r) == _signs_of_fixed(region)), None
            )
            if other is not None and region.order > swapped:
                continue  # comes from the other side
            sides, conditions = [], []
            for part in (region, other):
                if part is not None:
                    gaps = [sympy().Integer(1)] * len(part.gaps)
                    sides.append((part, part.at([*gaps[:k], sympy().Rational(NEAR), *gaps[k + 1 :]])))
                    conditions.append(_condition(*part.order[k : k + 2]))
            at = region.at([*gaps[:k], sympy().Integer(0), *gaps[k + 1 :]])
            names = [*(x.name for x in region.values), "0"]
            text = " = ".join(sorted((first, second), key=names.index))
            order = " < ".join([*region.order[:k], text, *region.order[k + 2 :]])
            yield Border(text, order, {x.name: value for x, value in at.items()}, sides, conditions)


def _condition(smaller: str, larger: str) -> str:
    return f"{larger} > 0" if smaller == "0" else f"{smaller} < {larger}"


def _signs_of_fixed(region: Region) -> tuple[int, ...]:
    """The signs of the operands that have no rule."""
    return tuple(int(sympy().sign(value)) for x, value in region.values.items() if x.name not in region.order)
