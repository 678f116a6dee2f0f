"""Derivatives from values alone: central differences with an error estimate, and kinks.

Two central differences, of steps h and h/2, are combined so that the error falls with h⁴ (Richardson 1911); their
disagreement estimates the error of the result. Where the function can be computed in extended precision
(np.longdouble), the differences have twelve correct digits and more.

No step suits every function: sin needs one that is small compared with 1 whatever x is, x² and log one that is small
compared with x. So steps are tried from the larger of the two down, until the two differences agree (`slope`). A step
much longer than the details of a function may miss them, and one near the spacing of x sees no change:
`slope_by_all_steps` tries all steps, and relies on those that agree with their neighbors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = Any
WIDEST = np.longdouble if np.finfo(np.longdouble).eps < np.finfo(np.float64).eps else np.float64
LAST_STEP = 1e-7  # relative to the first one
MAX_STEPS = 48


@dataclass(frozen=True)
class Slope:
    """The derivative of a function along one direction, by differences."""

    value: float
    error: float  # estimated
    left: float  # one-sided derivatives
    right: float
    noise: float = 0.0  # the part of the error due to rounding

    def is_vague(self, coarse: float) -> bool:
        """Whether the error is large for other reasons than rounding: no step suits the function."""
        return self.error > max(coarse * abs(self.value), 10 * self.noise)

    @property
    def is_kink(self) -> bool:
        """Whether the one-sided derivatives differ by more than their uncertainty."""
        return abs(self.right - self.left) > 1e-3 * max(abs(self.right), abs(self.left), 1e-6) + 100 * self.error

    def relative(self, small: float) -> float:
        """The relative error: a step that is too long sees a small slope in a steep function, and a small error."""
        size = max(abs(self.value), small)
        return self.error / size if size else np.inf * bool(self.error)


def slope(value: Callable[[Any], Array], weights: Array, scale: float, dtype: Any) -> Slope:
    """The derivative at 0 of <weights, value(t)>, where value(t) is a vector.

    Args:
        value: the function of a number t, along a direction.
        weights: `(M,)`, the cotangent.
        scale: the size of the elements that are moved.
        dtype: of the computation.

    The step shrinks until the two differences agree, which avoids kinks near 0, and until it stays in the domain of the
    function.
    """
    direction = _Direction(value, weights, scale, dtype)
    best: Slope | None = None
    for k, h in enumerate(direction.steps(two_scales=True)):
        measured = direction.slope(h)
        # A kink or pole at a distance that is larger than x: a shorter step avoids it.
        if not np.isfinite(measured.error) or (measured.is_kink and h > scale > 0):
            continue
        if best is None or measured.relative(direction.small) < best.relative(direction.small):
            best = measured
        sufficient = 1e-3 if k >= 3 and is_ordinary(scale) else 0.0
        if best.relative(direction.small) <= sufficient or best.error <= 1e-9 * max(
            abs(best.value), 1e-3 * direction.usual
        ):
            return best
    return best or measured


def slope_by_all_steps(value: Callable[[Any], Array], weights: Array, scale: float, dtype: Any) -> Slope:
    """The derivative from all steps. The error of a step is at least its distance from two of its neighbors."""
    direction = _Direction(value, weights, scale, dtype)
    slopes = [(h, direction.slope(h)) for h in direction.steps()]
    finite = [s for _, s in slopes if np.isfinite(s.error)]
    finite = [s for h, s in slopes if np.isfinite(s.error) and not (s.is_kink and h > scale > 0)] or finite
    with_errors = []
    for k, s in enumerate(finite):
        triples = [finite[start : start + 3] for start in range(max(k - 2, 0), k + 1)]
        spreads = [max(_distance(s, other) for other in triple) for triple in triples if len(triple) == 3]
        with_errors.append(replace(s, error=max(s.error, min(spreads, default=abs(s.value)))))
    return min(with_errors, key=lambda s: s.relative(direction.small), default=slopes[0][1])


def _distance(one: Slope, other: Slope) -> float:
    """The difference of two slopes; at a kink, also of their one-sided derivatives."""
    sides = (abs(one.left - other.left), abs(one.right - other.right)) if one.is_kink else ()
    return max(abs(one.value - other.value), *sides, 0.0)


def is_ordinary(scale: float) -> bool:
    """Whether numbers of this size need the same steps and tolerances as 1."""
    return scale == 0 or 1e-3 <= scale <= 1e3


class _Direction:
    """A function along a direction: its value at 0, and the differences for one step."""

    def __init__(self, value: Callable[[Any], Array], weights: Array, scale: float, dtype: Any) -> None:
        self.value, self.weights, self.scale = value, weights, scale
        self.eps = float(np.finfo(dtype).eps)
        self.tiny = float(np.finfo(dtype).tiny)
        with np.errstate(all="ignore"):
            self.center = value(0)
            self.height = self._size(self.center)
            # A slope below `small` is small; errors are compared with `usual`.
            self.small, self.usual = max(self.height, 1e-3), 1.0
            if not is_ordinary(scale):
                self.small, self.usual = self.height / max(1.0, scale), min(1.0, self.height / scale)

    def steps(self, two_scales: bool = False) -> Iterator[float]:
        """Steps from long to short. With `two_scales`, and x tiny, the steps that suit x follow the first one."""
        size, least = max(1.0, self.scale), min(1.0, self.scale or 1.0)
        first = self.eps**0.2
        last = max(first * least * LAST_STEP, 16 * self.eps * self.scale, self.tiny / self.eps)
        ratio = max(10.0, (first * size / last) ** (1 / MAX_STEPS))
        if two_scales and least < 1e-9:
            yield first * size
            yield from first * least * 0.1 ** np.arange(8)
            return
        h = first * size
        while h >= last * 0.99:
            yield float(h)
            h /= ratio

    def slope(self, h: float) -> Slope:
        """The slope from the steps h and h/2."""
        with np.errstate(all="ignore"):  # a step may leave the domain
            return self._slope(h)

    def _slope(self, h: float) -> Slope:
        weights, center = self.weights, self.center
        step = type(weights[0])(h) if weights.size else h
        after, before = self.value(step), self.value(-step)
        after_half, before_half = self.value(step / 2), self.value(-step / 2)

        def dot(v: Array) -> Any:
            return np.add.reduce(weights * v)

        wide, narrow = dot(after - before) / (2 * step), dot(after_half - before_half) / step
        value = float((4 * narrow - wide) / 3)
        # The rounding of the values, and the rounding of x + h.
        noise = self.eps * max(self.height, self._size(after), self._size(before)) / h
        noise += self.eps * self.scale / h * abs(value)
        return Slope(
            value=value,
            error=float(abs(wide - narrow)) / 3 + noise,
            left=float((4 * dot(center - before_half) - dot(center - before)) / step),
            right=float((4 * dot(after_half - center) - dot(after - center)) / step),
            noise=noise,
        )

    def _size(self, v: Array) -> float:
        return float(np.add.reduce(np.abs(self.weights * v)))
