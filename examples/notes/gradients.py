"""Vanishing and exploding gradients, by depth and initialization.

In the backward pass, each layer multiplies the gradient by its slopes and weights: dl/dh = (dl/dh' · f'(z')) W'ᵀ, so

    E[(dl/dh)²] = n Var(w) E[f'(z')²] E[(dl/dh')²]

If the factor is not 1, the gradient vanishes or explodes exponentially with depth, and the lower layers learn nothing
or everything at once. It is 1 for ReLU with He's weights, as half of the slopes are 1. A sigmoid has slopes of
at most ¼, so with Xavier's weights a layer removes at least three quarters of the gradient. With N(0, 1) and ReLU the
activations grow as fast as the gradients, and in single precision they are soon infinite and the loss is NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

import minigrad as mg
from minigrad import functional, nn
from minigrad.app.notes import COLORS, Claim, Experiment, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS, ROWS, DEPTH = 100, 200, 30
ACTIVATIONS = {"sigmoid": functional.sigmoid, "tanh": np.tanh, "ReLU": functional.relu}
STARTS = {"N(0, 1)": 1.0, "N(0, 0.01²)": 1e-4, "Xavier": 1 / UNITS, "He": 2 / UNITS}  # Var(w)


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """Sizes of dl/dh in every layer by (activation, weights), and where a deep float32 network overflows."""
    depth = DEPTH // (2 if quick else 1)
    sizes = {(f, w): backwards(ACTIVATIONS[f], STARTS[w], depth, rng) for f in ACTIVATIONS for w in STARTS}
    return sizes, overflow(STARTS["N(0, 1)"], rng)


def forward(activation: Any, variance: float, depth: int, rng: np.random.Generator, dtype: Any) -> list[mg.Tensor]:
    """The activations h of all layers, from random inputs, as Tensors that keep their gradients."""
    layers = [mg.Tensor(rng.normal(size=(ROWS, UNITS)), requires_grad=True, dtype=dtype)]
    for _ in range(depth):
        weight = nn.init.random_normal((UNITS, UNITS), stddev=variance**0.5, rng=rng, dtype=dtype)
        layers.append(activation(layers[-1] @ weight))
        layers[-1].retain_grad()
    return layers


def backwards(activation: Any, variance: float, depth: int, rng: np.random.Generator) -> Any:
    """The root mean square of dl/dh in each layer, last layer first, for l = Σ c h with random c in the last layer."""
    layers = forward(activation, variance, depth, rng, "float64")
    (layers[-1] * rng.normal(size=layers[-1].shape)).sum().backward()
    return [float(np.sqrt(np.mean(h.grad.data**2))) for h in reversed(layers)]


def overflow(variance: float, rng: np.random.Generator, depth: int = 60) -> Any:
    """The first layer with an infinite activation in float32, and the loss."""
    with np.errstate(over="ignore", invalid="ignore"):
        layers = forward(functional.relu, variance, depth, rng, "float32")
        loss = functional.cross_entropy(layers[-1], np.zeros(ROWS, int))
    finite = [bool(np.isfinite(h.data).all()) for h in layers]
    return finite.index(False), loss.item()


def claims(runs: list[Any]) -> Iterator[Claim]:
    """The factor per layer, as the geometric mean over the layers."""

    def factor(f: Any, w: str) -> Any:
        return [(run[0][f, w][-1] / run[0][f, w][0]) ** (1 / (len(run[0][f, w]) - 1)) for run in runs]

    yield Claim("ReLU, He: the factor per layer is 1, to 10 %", factor("ReLU", "He"), at_least=0.9, at_most=1.1,
        because="√(n Var(w) E[f'²]) = √(2 · ½) = 1")  # fmt: skip
    yield Claim("ReLU, Xavier: it is √½ ≈ 0.71", factor("ReLU", "Xavier"), at_least=0.64, at_most=0.78,
        because="√(1 · ½)")  # fmt: skip
    yield Claim("ReLU, N(0, 1): it is √50 ≈ 7.1", factor("ReLU", "N(0, 1)"), at_least=6.4, at_most=7.8,
        because="√(100 · ½)")  # fmt: skip
    yield Claim("ReLU, N(0, 0.01²): it is 0.071", factor("ReLU", "N(0, 0.01²)"), at_least=0.064, at_most=0.078,
        because="√(0.01 · ½)")  # fmt: skip
    yield Claim("sigmoid, Xavier: at most ¼", factor("sigmoid", "Xavier"), at_most=0.25,
        because="√(n Var(w)) = 1, and the slope h (1 - h) is at most ¼")  # fmt: skip
    yield Claim("tanh, Xavier: 0.8 to 1", factor("tanh", "Xavier"), at_least=0.8, at_most=1,
        because="slopes are at most 1, and near 1 once the activations have become small")  # fmt: skip
    yield Claim("tanh, N(0, 1): more than 2, although most units are saturated", factor("tanh", "N(0, 1)"), at_least=2,
        because="few slopes are large, but 100 Var(w) = 100 is larger")  # fmt: skip
    yield Claim("ReLU, N(0, 1), float32: activations become infinite between layers 41 and 50",
        [run[1][0] for run in runs], at_least=41, at_most=50,
        because="log(3.4e38) / log(7.1) = 45")  # fmt: skip
    yield Claim("and the loss of 60 layers is not finite", [np.isfinite(run[1][1]) for run in runs], at_most=0,
        because="inf - inf is NaN")  # fmt: skip


def picture(runs: list[Any]) -> Figure:
    """The size of the gradient, layer by layer."""
    title = "Size of the gradient dl/dh on the way back through 30 layers of 100 units"
    figure, axes = subplots(1, 3, title=title, size=(14, 5.5), sharey=True)
    looks = zip(STARTS, ("vermilion", "sky", "blue", "green"), "s^oD", strict=True)
    styles: dict[str, dict[str, Any]] = {
        w: {"color": COLORS[color], "marker": marker, "markevery": 5} for w, color, marker in looks
    }
    for axis, f in zip(axes, ACTIVATIONS, strict=True):
        for w, look in styles.items():
            axis.plot(runs[0][0][f, w], label=w, **look)
        axis.set(title=f, yscale="log", xlabel="layers gone back", yticks=10.0 ** np.arange(-45, 31, 15))
    axes[0].set_ylabel("root mean square of dl/dh")
    axes[0].legend(title="weights")
    return figure


experiment = Experiment(
    "gradients", __doc__, measure, claims, picture, seeds=(5, 2),
    caption="A straight line on a logarithmic axis is a constant factor per layer. A level line is best: ReLU with "
    "He, tanh with Xavier. The gradient of the sigmoid shrinks with every initializer that does not saturate "
    "it.",
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
