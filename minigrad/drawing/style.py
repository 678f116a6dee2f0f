"""Colors and shapes of pictures."""

from __future__ import annotations

import math

# Okabe & Ito (2008), told apart with every kind of color vision; ordered so that neighbors differ in lightness too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, GRAY, SOFT = "#222222", "#8A8A8A", "#666666"
RIGHT, WRONG = "#009E73", "#D55E00"
BAD, FAINT = "#C8102E", "#F6D5DA"  # what is not finite: lines and background

LEAF = {"shape": "ellipse", "style": "filled", "color": INK, "fillcolor": "#FAF7C6", "margin": "0.04,0.02"}
PARAMETER = {"shape": "box", "style": "filled", "color": INK, "fillcolor": "#FAF7C6"}
CONSTANT = {"style": "dashed"}
OUTPUT = {"color": INK, "peripheries": "2", "penwidth": "1.4", "fillcolor": "#EEEEEE"}
MODULE = {"shape": "box3d", "style": "filled", "color": SOFT, "fillcolor": "#EDF1F5", "margin": "0.18,0.1"}
SAVED = {"constraint": "false", "style": "dotted", "color": "#56B4E9", "penwidth": "1.2"}


def hue(k: int | None) -> str | None:
    """The color of named values; outputs (0) are dark, and so many names have no color of their own."""
    if k is None:
        return None
    return INK if k == 0 else COLORS[k - 1] if k <= len(COLORS) else GRAY


def named(color: str) -> dict[str, str]:
    """The style of a named value."""
    return {"color": color, "penwidth": "2.2", "fillcolor": mixed("#FFFFFF", color, 0.14)}


# Norms of gradients: blue below, orange above (as ColorBrewer's RdBu and PuOr), red for what is not finite.
VANISHING, EXPLODING = "#2166AC", "#B35806"
NEUTRAL, EXTREME = 1.5, 10.0  # decades around 1 that have no color, and those where it is full


def magnitude(norm: float, neutral: str = "#FFFFFF") -> str:
    """The color of a norm by its logarithm: the smaller the bluer, the larger the more orange, red if not finite."""
    if not math.isfinite(norm):
        return BAD
    if norm == 0:
        return neutral
    decades = math.log10(norm)
    strength = min(max(abs(decades) - NEUTRAL, 0) / (EXTREME - NEUTRAL), 1)
    return mixed(neutral, VANISHING if decades < 0 else EXPLODING, strength)


def mixed(a: str, b: str, part: float) -> str:
    """A color between two."""
    pairs = ((int(a[k : k + 2], 16), int(b[k : k + 2], 16)) for k in (1, 3, 5))
    return "#" + "".join(f"{round(x + part * (y - x)):02X}" for x, y in pairs)


def ink_on(color: str) -> str:
    """The color of text on a background: dark or white, whichever can be read."""
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#FFFFFF"
