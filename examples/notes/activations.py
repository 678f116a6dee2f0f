"""What initialization does to activations.

A thousand inputs go through five layers of 100 units. With weights from N(0, 1), sigmoid and tanh saturate: their
outputs accumulate at the bounds, where the slope is 0 and nothing is learned. With N(0, 0.01²) all units give nearly
the same output, so a layer might as well have one unit. In between, the variance of the weights must be about one over
the number of inputs: 1/n for tanh and sigmoid (Glorot & Bengio 2010, LeCun et al. 1998), 2/n for ReLU, which sets half
of its inputs to 0 (He et al. 2015).

A unit adds n products of weight and input, so Var(z) = n Var(w) E[h²]. This equation predicts every panel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minigrad import functional, nn
from minigrad.app.notes import COLORS, Claim, Experiment, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS, INPUTS, LAYERS = 100, 1000, 5
ACTIVATIONS = {"sigmoid": functional.sigmoid, "tanh": np.tanh, "ReLU": functional.relu}
INITIALIZERS = {
    "N(0, 1)": lambda shape, rng: nn.init.random_normal(shape, stddev=1.0, rng=rng),
    "N(0, 0.01²)": lambda shape, rng: nn.init.random_normal(shape, stddev=0.01, rng=rng),
    "Xavier": lambda shape, rng: nn.init.glorot_normal(shape, rng=rng),
    "He": lambda shape, rng: nn.init.he_normal(shape, rng=rng),
    "LeCun": lambda shape, rng: nn.init.lecun_normal(shape, rng=rng),
}


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """{(activation, initializer): activations (LAYERS, INPUTS, UNITS)}"""
    x = rng.normal(size=(INPUTS, UNITS))
    return {(f, w): forward(x, ACTIVATIONS[f], INITIALIZERS[w], rng) for f in ACTIVATIONS for w in INITIALIZERS}


def forward(h: NDArray[Any], activation: Any, initializer: Any, rng: np.random.Generator) -> NDArray[Any]:
    """The activations of every layer."""
    layers = []
    for _ in range(LAYERS):
        h = activation(h @ initializer((UNITS, UNITS), rng))
        layers.append(h)
    return np.stack(layers)


def saturated(h: NDArray[Any], low: float, high: float) -> Any:
    """The fraction of activations within 0.05 of the bounds low and high, for each layer from the second on."""
    return np.mean((h[1:] < low + 0.05) | (h[1:] > high - 0.05), axis=(1, 2))


def ratios(h: NDArray[Any], size: Callable[[NDArray[Any]], Any] = np.std) -> Any:
    """The factors from each layer to the next."""
    return [size(after) / size(before) for before, after in pairwise(h)]


def growth(h: NDArray[Any]) -> Any:
    """The geometric mean of these factors."""
    return (h[-1].std() / h[0].std()) ** (1 / (LAYERS - 1))


def signal(h: NDArray[Any]) -> Any:
    """The standard deviation of a unit over the inputs, averaged over units."""
    return np.sqrt(h.var(axis=0).mean())


def claims(runs: list[Any]) -> Iterator[Claim]:
    """Bounds from Var(z) = n Var(w) E[h²]; with 100 units, measurements vary by about 10 %."""

    def over(f: Any, w: str, statistic: Any) -> Any:
        return [statistic(run[f, w]) for run in runs]

    yield Claim("sigmoid, N(0, 1): more than 40 % of the outputs lie within 0.05 of 0 or 1, from layer 2 on",
        over("sigmoid", "N(0, 1)", lambda h: saturated(h, 0, 1)), at_least=0.4,
        because="std(z) = √(100 E[h²]) ≈ √(100 · 0.43) ≈ 6.6, and P(|z| > 2.94) = 66 % then")  # fmt: skip
    yield Claim("tanh, N(0, 1): more than 60 % of the outputs lie within 0.05 of ±1, from layer 2 on",
        over("tanh", "N(0, 1)", lambda h: saturated(h, -1, 1)), at_least=0.6,
        because="std(z) = √(100 E[h²]) ≈ 9.4, and P(|z| > 1.83) = 85 % then")  # fmt: skip
    yield Claim("sigmoid, N(0, 0.01²): the outputs have a standard deviation below 0.02 around ½, from layer 3 on",
        over("sigmoid", "N(0, 0.01²)", lambda h: np.sqrt(np.mean((h[2:] - 0.5) ** 2, axis=(1, 2)))), at_most=0.02,
        because="h ≈ ½, so std(z) = 0.01 √(100/4) = 0.05, times the slope ¼ of the sigmoid at 0: 0.0125")  # fmt: skip
    yield Claim("tanh, N(0, 0.01²): each layer shrinks the standard deviation to a tenth",
        over("tanh", "N(0, 0.01²)", ratios), at_least=0.09, at_most=0.11,
        because="tanh(z) ≈ z near 0, and √(n Var(w)) = √100 · 0.01 = 0.1")  # fmt: skip
    yield Claim("tanh, Xavier: from layer to layer the standard deviation changes by a factor of 0.5 to 1",
        over("tanh", "Xavier", ratios), at_least=0.5, at_most=1,
        because="n Var(w) = 1 keeps the variance, and tanh reduces it, less as z gets smaller")  # fmt: skip
    yield Claim("sigmoid, Xavier: less than 1 % of the outputs saturate",
        over("sigmoid", "Xavier", lambda h: saturated(h, 0, 1)), at_most=0.01,
        because="std(z) = √E[h²] ≈ 0.5, and 2.94 is six times as much")  # fmt: skip
    yield Claim("sigmoid, Xavier: but the variation over the inputs shrinks to less than 0.3 of its size in each layer",
        over("sigmoid", "Xavier", lambda h: ratios(h, signal)), at_most=0.3,
        because="the slope is at most ¼; the histogram shows the different means of the units")  # fmt: skip
    yield Claim("ReLU, He: from layer to layer the standard deviation changes by a factor of 0.8 to 1.25",
        over("ReLU", "He", ratios), at_least=0.8, at_most=1.25,
        because="E[relu(z)²] = Var(z)/2, and n Var(w) = 2")  # fmt: skip
    yield Claim("ReLU, Xavier: it shrinks by √½ ≈ 0.71 per layer",
        over("ReLU", "Xavier", growth), at_least=0.6, at_most=0.8,
        because="the same with n Var(w) = 1")  # fmt: skip
    yield Claim("ReLU, N(0, 1): it grows by √50 ≈ 7.1 per layer",
        over("ReLU", "N(0, 1)", growth), at_least=6, at_most=8,
        because="the same with n Var(w) = 100")  # fmt: skip


def picture(runs: list[Any]) -> Figure:
    """A panel for each pair, a histogram for each layer."""
    ranges = {"sigmoid": (0, 1), "tanh": (-1, 1), "ReLU": (0, 4)}
    figure, axes = subplots(
        len(ACTIVATIONS), len(INITIALIZERS), size=(14, 9), sharey=True,
        title="Activations of five layers of 100 units, layer 1 above; beside each histogram its standard deviation",
    )  # fmt: skip
    for (f, w), axis in zip(runs[0], axes.flat, strict=True):
        low, high = ranges[f]
        for k, h in enumerate(runs[0][f, w]):
            counts, edges = np.histogram(np.clip(h, low, high), bins=40, range=(low, high))
            tallest = counts[f == "ReLU" :].max()  # half of these are 0: that bar is cut
            heights = np.minimum(counts / max(tallest, 1), 1)
            base = LAYERS - 1 - k
            axis.stairs(base + 0.85 * heights, edges, baseline=base, fill=True, color=COLORS["blue"])
            size = f"{h.std():.2g}" if h.std() < 99 else f"{h.std():.0f}"
            axis.text(1.02, base + 0.1, size, transform=axis.get_yaxis_transform(), fontsize=12)
        axis.set(xlim=(low, high), yticks=[], xticks=np.linspace(low, high, 3))
        if f == "ReLU":
            axis.set_xticklabels(["0", "2", "≥ 4"])
    for axis, f in zip(axes[:, 0], ACTIVATIONS, strict=True):
        axis.set_ylabel(f, fontsize=15)
    for axis, w in zip(axes[0], INITIALIZERS, strict=True):
        axis.set_title(f"weights: {w}" if w.startswith("N") else w)
    return figure


experiment = Experiment(
    "activations", __doc__, measure, claims, picture,
    caption="Rows are activation functions, columns initializers. N(0, 1) saturates sigmoid and tanh and makes ReLU "
    "explode; N(0, 0.01²) makes all three collapse. Xavier suits sigmoid and tanh, He suits ReLU. With as "
    "many outputs as inputs, LeCun and Xavier are the same.",
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
