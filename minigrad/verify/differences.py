"""Derivatives from values alone: central differences with an error estimate, and the kinks that they meet.

Two central differences, of steps h and h/2, are combined so that the error falls with h⁴ (Richardson 1911); their
disagreement estimates the error of the result. Where the function can be computed in extended precision
(np.longdouble), the differences are good to twelve digits and more.

No step suits every function: sin wants one that is small beside 1 whatever x is, x² and log one that is small beside
x. So steps are tried from the larger of the two down, until the two differences agree (`slope`). A step much longer
than the details of a function may meet them by chance, and one near the spacing of x sees nothing: `sure_slope` tries
all steps, and believes what two neighboring ones say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = Any
WIDEST = np.longdouble if np.finfo(np.longdouble).eps < np.finfo(np.float64).eps else np.float64
FINEST = 1e-7  # of the first step: so much smaller is the last one
MOST = 48  # steps that are tried


@dataclass(frozen=True)
class Slope:
    """The derivative of a function along one direction, as differences see it."""

    value: float
    error: float  # estimated
    left: float  # one-sided derivatives
    right: float
    noise: float = 0.0  # the part of the error that is rounding

    def is_vague(self, coarse: float) -> bool:
        """Whether the error is a part of the value itself, and not for rounding: no step suits the function."""
        return self.error > max(coarse * abs(self.value), 10 * self.noise)

    @property
    def is_kink(self) -> bool:
        """Whether the one-sided derivatives differ by more than they are uncertain."""
        return abs(self.right - self.left) > 1e-3 * max(abs(self.right), abs(self.left), 1e-6) + 100 * self.error

    def relative(self, small: float) -> float:
        """The error in proportion: too long a step along a steep function sees a small slope, and a small error."""
        size = max(abs(self.value), small)
        return self.error / size if size else np.inf * bool(self.error)


def slope(value: Callable[[Any], Array], weights: Array, scale: float, dtype: Any) -> Slope:
    """The derivative at 0 of <weights, value(t)>, where value(t) is a vector.

    Args:
        value: the function along a line, of a number t.
        weights: `(M,)`, the cotangent.
        scale: the size of what is moved.
        dtype: in which the values are computed.

    The step shrinks until the two differences agree, so that a kink nearby, but not at 0, is stepped around; and
    until it stays in the domain of the function.
    """
    line = _Line(value, weights, scale, dtype)
    best: Slope | None = None
    for k, h in enumerate(line.steps(two_scales=True)):
        found = line.slope(h)
        # A kink, or a pole, that is farther away than x from 0: a shorter step goes around it.
        if not np.isfinite(found.error) or (found.is_kink and h > scale > 0):
            continue
        if best is None or found.relative(line.small) < best.relative(line.small):
            best = found
        enough = 1e-3 if k >= 3 and is_ordinary(scale) else 0.0
        if best.relative(line.small) <= enough or best.error <= 1e-9 * max(abs(best.value), 1e-3 * line.usual):
            return best
    return best or found


def sure_slope(value: Callable[[Any], Array], weights: Array, scale: float, dtype: Any) -> Slope:
    """The same from all steps: what one says is no surer than three in a row agree, of which it is one."""
    line = _Line(value, weights, scale, dtype)
    found = [(h, line.slope(h)) for h in line.steps()]
    finite = [one for _, one in found if np.isfinite(one.error)]
    finite = [one for h, one in found if np.isfinite(one.error) and not (one.is_kink and h > scale > 0)] or finite
    sure = []
    for k, one in enumerate(finite):
        rows = [finite[start : start + 3] for start in range(max(k - 2, 0), k + 1)]
        spread = [max(_apart(one, other) for other in row) for row in rows if len(row) == 3]
        sure.append(replace(one, error=max(one.error, min(spread, default=abs(one.value)))))
    return min(sure, key=lambda one: one.relative(line.small), default=found[0][1])


def _apart(one: Slope, other: Slope) -> float:
    """How far two steps are from saying the same; at a kink, of both sides."""
    sides = (abs(one.left - other.left), abs(one.right - other.right)) if one.is_kink else ()
    return max(abs(one.value - other.value), *sides, 0.0)


def is_ordinary(scale: float) -> bool:
    """Whether numbers of this size call for no other steps and tolerances than 1 does."""
    return scale == 0 or 1e-3 <= scale <= 1e3


class _Line:
    """A function along a line: its value at 0, and the differences of one step."""

    def __init__(self, value: Callable[[Any], Array], weights: Array, scale: float, dtype: Any) -> None:
        self.value, self.weights, self.scale = value, weights, scale
        self.eps = float(np.finfo(dtype).eps)
        self.tiny = float(np.finfo(dtype).tiny)
        with np.errstate(all="ignore"):
            self.center = value(0)
            self.height = self._size(self.center)
            # Below which a slope is small, and what is far below any that matters.
            self.small, self.usual = max(self.height, 1e-3), 1.0
            if not is_ordinary(scale):
                self.small, self.usual = self.height / max(1.0, scale), min(1.0, self.height / scale)

    def steps(self, two_scales: bool = False) -> Iterator[float]:
        """Steps from long to short; if asked for, the one that suits x itself is the second, where x is tiny."""
        size, least = max(1.0, self.scale), min(1.0, self.scale or 1.0)
        first = self.eps**0.2
        last = max(first * least * FINEST, 16 * self.eps * self.scale, self.tiny / self.eps)
        ratio = max(10.0, (first * size / last) ** (1 / MOST))
        if two_scales and least < 1e-9:
            yield first * size
            yield from first * least * 0.1 ** np.arange(8)
            return
        h = first * size
        while h >= last * 0.99:
            yield float(h)
            h /= ratio

    def slope(self, h: float) -> Slope:
        """From the steps h and h/2."""
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
        found = float((4 * narrow - wide) / 3)
        # What the values are rounded by, and by how much x + h is not x + h.
        noise = self.eps * max(self.height, self._size(after), self._size(before)) / h
        noise += self.eps * self.scale / h * abs(found)
        return Slope(
            value=found,
            error=float(abs(wide - narrow)) / 3 + noise,
            left=float((4 * dot(center - before_half) - dot(center - before)) / step),
            right=float((4 * dot(after_half - center) - dot(after - center)) / step),
            noise=noise,
        )

    def _size(self, v: Array) -> float:
        return float(np.add.reduce(np.abs(self.weights * v)))
