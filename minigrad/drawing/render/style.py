"""Colors, shapes and short texts of pictures."""

from __future__ import annotations

import math

from minigrad.drawing.graph.model import Graph, Statistics, Vertex

# Okabe & Ito (2008), distinct for every kind of color vision; ordered so that neighbors also differ in lightness.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, GRAY, SOFT = "#222222", "#8A8A8A", "#666666"
RIGHT, WRONG = "#009E73", "#D55E00"
NONFINITE, NONFINITE_FILL = "#C8102E", "#F6D5DA"

LEAF = {"shape": "ellipse", "style": "filled", "color": INK, "fillcolor": "#FAF7C6", "margin": "0.04,0.02"}
PARAMETER = {"shape": "box", "style": "filled", "color": INK, "fillcolor": "#FAF7C6"}
CONSTANT = {"style": "dashed"}
OUTPUT = {"color": INK, "peripheries": "2", "penwidth": "1.4", "fillcolor": "#EEEEEE"}
MODULE = {"shape": "box3d", "style": "filled", "color": SOFT, "fillcolor": "#EDF1F5", "margin": "0.18,0.1"}
SAVED = {"constraint": "false", "style": "dotted", "color": "#56B4E9", "penwidth": "1.2"}


def value_color(k: int | None) -> str | None:
    """The color of a named value by its number: 0 is an output, and numbers above the last color are gray."""
    if k is None:
        return None
    return INK if k == 0 else COLORS[k - 1] if k <= len(COLORS) else GRAY


def colored(color: str) -> dict[str, str]:
    """The style of a vertex with a color of its own."""
    return {"color": color, "penwidth": "2.2", "fillcolor": mix("#FFFFFF", color, 0.14)}


# Norms of gradients: small ones blue, large ones orange (as in ColorBrewer's RdBu and PuOr), not finite ones red.
VANISHING, EXPLODING = "#2166AC", "#B35806"
NEUTRAL, EXTREME = 1.5, 10.0  # decades from 1: up to the first there is no color, from the second on it is full


def norm_color(norm: float, neutral: str = "#FFFFFF") -> str:
    """The color of a norm by its logarithm: blue if it is small, orange if large, red if not finite."""
    if not math.isfinite(norm):
        return NONFINITE
    if norm == 0:
        return neutral
    decades = math.log10(norm)
    strength = min(max(abs(decades) - NEUTRAL, 0) / (EXTREME - NEUTRAL), 1)
    return mix(neutral, VANISHING if decades < 0 else EXPLODING, strength)


def mix(a: str, b: str, part: float) -> str:
    """A color between a and b: a for part 0, b for part 1."""
    pairs = ((int(a[k : k + 2], 16), int(b[k : k + 2], 16)) for k in (1, 3, 5))
    return "#" + "".join(f"{round(x + part * (y - x)):02X}" for x, y in pairs)


def text_color(background: str) -> str:
    """The color of text on a background: dark or white, whichever is readable."""
    red, green, blue = (int(background[k : k + 2], 16) for k in (1, 3, 5))
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#FFFFFF"


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
