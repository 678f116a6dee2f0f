"""Inputs that hold integers, such as class ids, and arguments at other sizes of axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad.verify.derivation.forward import Forward


class Integers:
    """Draws integers below a bound, with the sizes that named axes have at the time.

    Args:
        axes: names and numbers.
        below: the name or number of the bound; 3 if it is not known.
        given: sizes of axes that are not named in other shapes.
    """

    def __init__(self, axes: tuple[str, ...], below: str | None, given: Mapping[str, int]) -> None:
        self.axes, self.below, self.given = axes, below, dict(given)
        self.sizes: Mapping[str, int] = {}

    def __call__(self, rng: np.random.Generator) -> Any:
        """Draw them."""
        shape = tuple(self._size(axis, 7) for axis in self.axes)
        return rng.integers(0, self._size(self.below, 3) if self.below else 3, shape)

    def _size(self, axis: str, default: int) -> int:
        return int(axis) if axis.isdigit() else self.sizes.get(axis, self.given.get(axis, default))


def arguments_at(forward: Forward, axes: Mapping[str, int], seed: int = 0) -> dict[str, Any]:
    """Arguments of the forward function with these sizes of its named axes."""
    drawn = [spec for spec in forward.shapes.values() if isinstance(spec, Integers)]
    try:
        for spec in drawn:
            spec.sizes = axes
        return forward.arguments({}, np.random.default_rng(seed), axes)
    finally:
        for spec in drawn:
            spec.sizes = forward.axes
