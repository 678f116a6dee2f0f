"""Derivatives from values alone: central differences with an error estimate, and the kinks that they meet.

Two central differences, of steps h and h/2, are combined so that the error falls with h⁴ (Richardson 1911); their
disagreement estimates the error of the result. Where the function can be computed in extended precision
(np.longdouble), the differences are good to twelve digits and more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
WIDEST = np.longdouble if np.finfo(np.longdouble).eps < np.finfo(np.float64).eps else np.float64


@dataclass(frozen=True)
class Slope:
    """The derivative of a function along one direction, as differences see it."""

    value: float
    error: float  # estimated
    left: float  # one-sided derivatives
    right: float

    @property
    def is_kink(self) -> bool:
        """Whether the one-sided derivatives differ by more than they are uncertain."""
        return abs(self.right - self.left) > 1e-3 * max(abs(self.right), abs(self.left), 1e-6) + 100 * self.error

    def relative(self, small: float) -> float:
        """The error in proportion: too long a step along a steep function sees a small slope, and a small error."""
        return self.error / max(abs(self.value), small)


def slope(value: Callable[[Any], Array], weights: Array, scale: float, dtype: Any) -> Slope:
    """The derivative at 0 of <weights, value(t)>, where value(t) is a vector.

    Args:
        value: the function along a line, of a number t.
        weights: `(M,)`, the cotangent.
        scale: the size of what is moved; steps are relative to max(1, scale).
        dtype: in which the values are computed.

    The step shrinks until the two differences agree, so that a kink nearby, but not at 0, is stepped around; and
    until it stays in the domain of the function.
    """
    eps = float(np.finfo(dtype).eps)
    size = max(1.0, scale)
    best: Slope | None = None
    with np.errstate(all="ignore"):  # a step may leave the domain
        center = value(0)
        small = max(float(np.add.reduce(np.abs(weights * center))), 1e-3)
        for shrink in 10.0 ** -np.arange(8):
            found = _slope(value, weights, center, eps**0.2 * size * float(shrink), eps)
            if np.isfinite(found.error) and (best is None or found.relative(small) < best.relative(small)):
                best = found
            enough = 1e-3 if shrink <= 1e-3 else 0.0
            if best and (best.relative(small) <= enough or best.error <= 1e-9 * max(abs(best.value), 1e-3)):
                return best
    return best or found


def _slope(value: Callable[[Any], Array], weights: Array, center: Array, h: float, eps: float) -> Slope:
    step = type(weights[0])(h) if weights.size else h
    after, before = value(step), value(-step)
    after_half, before_half = value(step / 2), value(-step / 2)

    def dot(v: Array) -> Any:
        return np.add.reduce(weights * v)

    wide, narrow = dot(after - before) / (2 * step), dot(after_half - before_half) / step
    noise = eps * float(np.add.reduce(np.abs(weights * center))) / h
    right = (4 * dot(after_half - center) - dot(after - center)) / step
    left = (4 * dot(center - before_half) - dot(center - before)) / step
    return Slope(
        value=float((4 * narrow - wide) / 3),
        error=float(abs(wide - narrow)) / 3 + noise,
        left=float(left),
        right=float(right),
    )
