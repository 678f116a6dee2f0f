"""A line search for the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

Array = Any


class Point(NamedTuple):
    """A point on the line: its parameter t, the value, slope and gradient of the function there."""

    t: float
    value: float
    slope: float
    gradient: Array


def strong_wolfe(
    at: Callable[[float], Point],
    start: Point,
    t: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_evaluations: int = 25,
    tolerance: float = 0.0,
) -> Point:
    """A point where f(t) ≤ f(0) + c₁ t f'(0) and |f'(t)| ≤ c₂ |f'(0)| (Nocedal & Wright 2006, algorithms 3.5 and 3.6).

    Args:
        at: evaluates the function at t.
        start: the point at t = 0, where the slope is negative.
        t: the first trial.
        c1: the fraction of the decrease predicted by the slope that is enough.
        c2: the fraction of the slope that may remain.
        max_evaluations: the number of calls of `at`.
        tolerance: an interval shorter than this is not divided further.

    Returns:
        The point; if there is none, the lowest one that decreases enough, which may be the start.

    A value that is not finite counts as too high.
    """
    low, high = start, None
    for _ in range(max_evaluations):
        if high is not None:
            if abs(high.t - low.t) <= tolerance:
                return low
            t = _interpolated(low, high)
        point = at(t)
        if not point.value <= start.value + c1 * point.t * start.slope or (
            point.value >= low.value and low is not start
        ):
            high = point
            continue
        if abs(point.slope) <= -c2 * start.slope:
            return point
        if high is None:
            previous, low = low, point
            if point.slope >= 0:
                high = previous
            else:
                t = _extrapolated(previous, point)
        else:
            high = low if point.slope * (high.t - low.t) >= 0 else high
            low = point
    return low


def _interpolated(low: Point, high: Point) -> float:
    """The minimum of the cubic, at least a tenth of the interval away from its ends; or the middle."""
    t, width = _cubic(low, high), high.t - low.t
    ends = sorted((low.t + 0.1 * width, high.t - 0.1 * width))
    return min(max(t, ends[0]), ends[1]) if math.isfinite(t) else low.t + width / 2


def _extrapolated(previous: Point, point: Point) -> float:
    """The minimum of the cubic beyond the point, at most ten times as far."""
    t, nearest, farthest = _cubic(previous, point), point.t + 0.1 * (point.t - previous.t), 10 * point.t
    return min(max(t, nearest), farthest) if math.isfinite(t) else farthest


def _cubic(a: Point, b: Point) -> float:
    """The minimum of the cubic through two values and slopes (Nocedal & Wright 2006, equation 3.59), or NaN."""
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return math.nan
    d2 = math.copysign(math.sqrt(square), b.t - a.t)
    denominator = b.slope - a.slope + 2 * d2
    return b.t - (b.t - a.t) * (b.slope + d2 - d1) / denominator if denominator else math.nan
