"""A test case of a primitive, and the distributions of its operands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Draw = Callable[[np.random.Generator], Any]


@dataclass(frozen=True)
class Case:
    """A use of a primitive.

    primitive: its name in the registry
    label: what is particular about this case
    function: of operands: arrays, Tensors or anything with NumPy's protocols
    draws: for each operand, its value (a number or an array), or a function from a Generator to its value
    wrt: the operands with respect to which it is differentiated
    reference: an independent computation of the value, on ndarrays
    skip: the drivers that do not apply, and why
    """

    primitive: str
    label: str
    function: Callable[..., Any]
    draws: tuple[Any, ...]
    wrt: tuple[int, ...]
    reference: Callable[..., Any]
    skip: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.primitive}-{self.label}"

    def operands(self, seed: int = 0) -> list[Any]:
        rng = np.random.default_rng([seed, *map(ord, self.primitive)])
        return [np.asarray(draw(rng)) if callable(draw) else draw for draw in self.draws]


def row(
    primitive: str,
    label: str,
    function: Callable[..., Any],
    *draws: Any,
    reference: Callable[..., Any],
    wrt: tuple[int, ...] | None = None,
    **skip: str,
) -> Case:
    """A case; by default it is differentiated with respect to all operands that are drawn at random."""
    if wrt is None:
        wrt = tuple(k for k, draw in enumerate(draws) if callable(draw))
    return Case(primitive, label, function, draws, wrt, reference, skip)


def signed(*shape: int) -> Draw:
    """Numbers of both signs, not close to 0."""
    return lambda rng: rng.choice([-1.0, 1.0], shape) * rng.uniform(0.3, 1.7, shape)


def between(low: float, high: float, *shape: int) -> Draw:
    return lambda rng: rng.uniform(low, high, shape)


def either(low: float, high: float, *shape: int) -> Draw:
    """Numbers of both signs, with an absolute value in the interval."""
    return lambda rng: rng.choice([-1.0, 1.0], shape) * rng.uniform(low, high, shape)


def grid(offset: float, *shape: int) -> Draw:
    """Multiples of ¼ plus an offset: grids with different offsets have no common elements."""
    return lambda rng: np.asarray(rng.integers(-6, 6, shape) * 0.25 + offset)


def distinct(*shape: int) -> Draw:
    """Numbers of both signs, not 0, with distances of at least 0.2."""

    def draw(rng: np.random.Generator) -> Any:
        size = int(np.prod(shape))
        return np.reshape(0.2 * rng.permutation(size) - 0.1 * size + 0.05, shape)

    return draw


def each(value: Any) -> Draw:
    """This float array, always."""
    return lambda rng: np.array(value, dtype=float)
