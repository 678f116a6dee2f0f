"""Numbers in few characters."""

from __future__ import annotations

import math

from minigrad.drawing.model import Statistics

ROUNDING = 1e-12  # a mean that is so small against the deviation is 0


def number(x: float) -> str:
    """Two digits, with a minus sign."""
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    text = f"{x + 0.0:.2g}"  # + 0.0 turns −0 into 0
    mantissa, e, exponent = text.partition("e")
    short = f"{mantissa}e{int(exponent)}" if e else text
    return short.replace("-", "−")


def values(s: Statistics) -> str:
    """Mean ± deviation and extremes, and how many elements are not finite."""
    if math.isnan(s.mean):
        return f"{s.bad:,} not finite"
    mean = 0.0 if abs(s.mean) < ROUNDING * s.std else s.mean
    told = f"{number(mean)} ± {number(s.std)}  [{number(s.low)}, {number(s.high)}]"
    if s.low == s.high:
        told = number(s.low)
    return f"{told}, {s.bad:,} not finite" if s.bad else told


def gradient(s: Statistics) -> str:
    """The norm."""
    return f"‖grad‖ {number(s.norm)}"
