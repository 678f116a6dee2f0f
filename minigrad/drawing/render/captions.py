"""Short texts on pictures: numbers, statistics, and names that every format can contain."""

from __future__ import annotations

import math

from minigrad.drawing.graph.model import Graph, Statistics, Vertex

ROUNDING = 1e-12  # a mean that is smaller than this times the deviation is written as 0


def short_number(x: float) -> str:
    """A number in two digits, with "−" as its minus sign."""
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    text = f"{x + 0.0:.2g}"  # + 0.0 turns −0 into 0
    mantissa, e, exponent = text.partition("e")
    text = f"{mantissa}e{int(exponent)}" if e else text
    return text.replace("-", "−")


def shape_caption(vertex: Vertex, graph: Graph) -> str:
    """The shape, or the shapes of several outputs, and the dtype if it is not the most frequent one."""
    return vertex.shape if vertex.dtype in ("", graph.dtype) else f"{vertex.shape} {vertex.dtype}"


def value_caption(s: Statistics) -> str:
    """Mean ± deviation and extremes, and the number of elements that are not finite."""
    if math.isnan(s.mean):
        return f"{s.nonfinite:,} not finite"
    mean = 0.0 if abs(s.mean) < ROUNDING * s.std else s.mean
    caption = f"{short_number(mean)} ± {short_number(s.std)}  [{short_number(s.low)}, {short_number(s.high)}]"
    if s.low == s.high:
        caption = short_number(s.low)
    return f"{caption}, {s.nonfinite:,} not finite" if s.nonfinite else caption


def gradient_caption(s: Statistics) -> str:
    """The norm of a gradient."""
    return f"‖grad‖ {short_number(s.norm)}"


def printable(text: str) -> str:
    """A user's name without the control characters that XML, and therefore SVG, cannot contain."""
    if text.isprintable():
        return text
    return "".join(" " if c in "\t\r\n" else "\N{REPLACEMENT CHARACTER}" if c < " " or c == "\x7f" else c for c in text)
