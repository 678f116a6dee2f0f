"""A row of the table of cases, and what its operands are drawn from."""

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
    label: what is particular about this row
    function: of operands: arrays, Tensors or whatever answers NumPy's protocols
    draws: for each operand, a function from a Generator to its value; a number or array that is no function is itself
    wrt: the operands to differentiate by
    reference: an independent way to compute the value, on ndarrays
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
    """A row; by default all operands that are drawn are differentiated by."""
    if wrt is None:
        wrt = tuple(k for k, draw in enumerate(draws) if callable(draw))
    return Case(primitive, label, function, draws, wrt, reference, skip)


def signed(*shape: int) -> Draw:
    """Of both signs, away from 0."""
    return lambda rng: rng.choice([-1.0, 1.0], shape) * rng.uniform(0.3, 1.7, shape)


def between(low: float, high: float, *shape: int) -> Draw:
    return lambda rng: rng.uniform(low, high, shape)


def either(low: float, high: float, *shape: int) -> Draw:
    """Of both signs, with an absolute value in the interval."""
    return lambda rng: rng.choice([-1.0, 1.0], shape) * rng.uniform(low, high, shape)


def grid(offset: float, *shape: int) -> Draw:
    """Multiples of ¼ and an offset: grids with different offsets stay apart."""
    return lambda rng: np.asarray(rng.integers(-6, 6, shape) * 0.25 + offset)


def distinct(*shape: int) -> Draw:
    """No two elements closer than 0.2, of both signs, none 0."""

    def draw(rng: np.random.Generator) -> Any:
        size = int(np.prod(shape))
        return np.reshape(0.2 * rng.permutation(size) - 0.1 * size + 0.05, shape)

    return draw


def each(value: Any) -> Draw:
    """Always this float array."""
    return lambda rng: np.array(value, dtype=float)
