"""The regions in which an elementwise function is smooth: cut by the order of its operands and 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np

from minigrad.engine.primitive import Primitive
from minigrad.verify.symbolic import sympy

ANCHORS = (-1, 0, 1)  # one operand is compared with these: where arcsin, log1p and others have their borders
NEAR = "1e-30"  # the distance from a border at which a derivative is evaluated


@dataclass(frozen=True, eq=False)
class Region:
    """One order of the operands and 0.

    Args:
        order: the operands and "0", the smallest first.
        values: for each operand, as sympy's symbol, its value in terms of positive symbols.
        gaps: those symbols: the distances between neighbors of the order, then of the operands without a rule.
    """

    order: tuple[str, ...]
    values: dict[Any, Any]
    gaps: tuple[Any, ...]

    def __str__(self) -> str:
        return " < ".join(self.order)

    def at(self, gaps: Sequence[Any]) -> dict[Any, Any]:
        """The operands as numbers, for given gaps."""
        there = {gap: gaps[k % len(gaps)] for k, gap in enumerate(self.gaps)}
        return {x: value.subs(there) for x, value in self.values.items()}


@dataclass(frozen=True)
class Border:
    """Where two operands change places, or where one changes its sign."""

    text: str
    order: str  # the whole order that the place belongs to
    point: dict[str, Any]
    sides: list[tuple[Region, dict[Any, Any]]]  # a region, and a point of it next to the border
    said: list[str]

    def __str__(self) -> str:
        return self.order


def X(name: str) -> Any:
    """The real number that an operand is."""
    return sympy().Symbol(name, real=True)


def V() -> Any:
    """The vector that a rule is applied to."""
    return X("v")


def regions(p: Primitive) -> Iterator[Region]:
    """All regions of the operands of a primitive."""
    moving = [name for name, rule in zip(p.operands, p.rules, strict=True) if rule is not None]
    fixed = [name for name in p.operands if name not in moving]
    if len(p.operands) == 1:
        yield from _intervals(p.operands[0])
        return
    for order in permutations([*moving, "0"]):
        gaps = tuple(sympy().Dummy(f"gap{k}", positive=True) for k in range(len(moving) + len(fixed)))
        zero = order.index("0")
        values = {
            X(name): sum(gaps[zero:k]) if k > zero else -sum(gaps[k:zero]) for k, name in enumerate(order) if k != zero
        }
        others = gaps[len(moving) :]
        for signs in product((1, -1, 0), repeat=len(fixed)):
            held = {
                X(name): sign * gap + sympy().Integer(0) for name, sign, gap in zip(fixed, signs, others, strict=True)
            }
            yield Region(order, {X(name): (values | held)[X(name)] for name in p.operands}, gaps)


def _intervals(name: str) -> Iterator[Region]:
    """The intervals between the anchors: a positive number g, g / (1 + g) within a unit."""
    gap = sympy().Dummy("gap", positive=True)
    unit = gap / (1 + gap)
    for k, value in enumerate((-1 - gap, -unit, unit, 1 + gap)):
        order = [*map(str, ANCHORS)]
        order.insert(k, name)
        yield Region(tuple(order), {X(name): value}, (gap,))


def is_inside(p: Primitive, region: Region) -> bool:
    """Whether the function is defined in the region, as NumPy sees it."""
    with np.errstate(all="ignore"):
        value = p.function(*(np.float64(x) for x in region.at([sympy().Rational(k, 7) for k in (2, 3, 5)]).values()))
    return bool(np.isfinite(value))


def domain(p: Primitive, inside: Sequence[Region]) -> str:
    """Where a function is defined, in words."""
    everything, orders = list(regions(p)), {region.order for region in inside}
    if len(inside) == len(everything):
        return f"all {', '.join(p.operands)}"
    if len(p.operands) == 1:
        x, places = p.operands[0], sorted(region.order.index(p.operands[0]) for region in inside)
        low, high = places[0], places[-1]
        left = f"{ANCHORS[low - 1]} < " if low and high < len(ANCHORS) else ""
        if left:
            return f"{left}{x} < {ANCHORS[high]}".replace("-", "−")
        return f"{x} > {ANCHORS[low - 1]}".replace("-", "−") if low else f"{x} < {ANCHORS[high]}".replace("-", "−")
    for x in p.operands:
        for sign, ahead in ((">", False), ("<", True)):
            if orders == {
                r.order for r in everything if x in r.order and (r.order.index(x) < r.order.index("0")) == ahead
            }:
                return f"{x} {sign} 0, all {', '.join(y for y in p.operands if y != x)}"
    return "; ".join(sorted(map(str, inside)))


def all_borders(p: Primitive, inside: Sequence[Region]) -> Iterator[Border]:
    """The borders of the regions in which a function is defined, with the regions on either side."""
    yield from _between_intervals(p, inside) if len(p.operands) == 1 else _between_orders(inside)


def _between_intervals(p: Primitive, inside: Sequence[Region]) -> Iterator[Border]:
    name, near = p.operands[0], sympy().Rational(NEAR)
    by_place = {region.order.index(name): region for region in inside}
    for k, anchor in enumerate(ANCHORS):
        around = [(by_place.get(k), -1, "<"), (by_place.get(k + 1), 1, ">")]
        sides = [(region, {X(name): anchor + sign * near}) for region, sign, _ in around if region is not None]
        said = [f"{name} {sign} {anchor}" for region, _, sign in around if region is not None]
        if sides:
            place = f"{name} = {anchor}"
            yield Border(place, place, {name: anchor}, sides, said)


def _between_orders(inside: Sequence[Region]) -> Iterator[Border]:
    """One for each pair of neighbors that can be exchanged; the other distances are 1."""
    for region in inside:
        for k in range(len(region.order) - 1):
            first, second = region.order[k : k + 2]
            swapped = (*region.order[:k], second, first, *region.order[k + 2 :])
            other = next((r for r in inside if r.order == swapped and _held(r) == _held(region)), None)
            if other is not None and region.order > swapped:
                continue  # met from the other side
            sides, said = [], []
            for part in (region, other):
                if part is not None:
                    gaps = [sympy().Integer(1)] * len(part.gaps)
                    sides.append((part, part.at([*gaps[:k], sympy().Rational(NEAR), *gaps[k + 1 :]])))
                    said.append(_compared(*part.order[k : k + 2]))
            at = region.at([*gaps[:k], sympy().Integer(0), *gaps[k + 1 :]])
            names = [*(x.name for x in region.values), "0"]
            place = " = ".join(sorted((first, second), key=names.index))
            order = " < ".join([*region.order[:k], place, *region.order[k + 2 :]])
            yield Border(place, order, {x.name: value for x, value in at.items()}, sides, said)


def _compared(smaller: str, larger: str) -> str:
    return f"{larger} > 0" if smaller == "0" else f"{smaller} < {larger}"


def _held(region: Region) -> tuple[int, ...]:
    """The signs of the operands that have no rule."""
    return tuple(int(sympy().sign(value)) for x, value in region.values.items() if x.name not in region.order)
