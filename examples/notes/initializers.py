"""All initializers on handwritten digits.

A deep network, with five hidden layers of 64 units, takes a hundred steps of SGD with momentum, starting from the
weights of each initializer in `nn.init`. With zeros, or any constant, all units of a layer stay the same, and ReLU
learns only the frequencies of the classes: a loss of ln 10. With weights that are too small, all images look the same
in the last layer, and the gradients are 0 in the first; with weights that are too large, the loss explodes at once.
Initializers that keep the variance of the signal (Xavier, LeCun, He, orthogonal, identity) learn within a hundred
steps.

Keras's default of 0.05 for `random_normal` means √(n Var(w)) = √64 · 0.05 = 0.4 per layer here: after six layers 0.4 %
of the signal is left, and ReLU also removes half of the variance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

import minigrad as mg
from minigrad import nn, optim
from minigrad.app.notes import COLORS, Claim, Experiment, digits, subplots
from minigrad.fused import softmax_cross_entropy
from minigrad.nn import init

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS, LAYERS, BATCH = 64, 5, 64
STEPS = 100
INITIALIZERS = {
    "zeros": init.zeros,
    "ones": init.ones,
    "constant(0.05)": lambda shape, **options: init.constant(shape, value=0.05, **options),
    "normal, N(0, 1)": init.normal,
    "uniform, U(0, 1)": init.uniform,
    "random_normal, N(0, 0.05²)": init.random_normal,
    "random_uniform, U(±0.05)": init.random_uniform,
    "truncated_normal(0.05)": init.truncated_normal,
    "sparse(0.1), N(0, 0.01²)": init.sparse,
    "variance_scaling": init.variance_scaling,
    "glorot_uniform": init.glorot_uniform,
    "glorot_normal": init.glorot_normal,
    "lecun_uniform": init.lecun_uniform,
    "lecun_normal": init.lecun_normal,
    "he_uniform": init.he_uniform,
    "he_normal": init.he_normal,
    "orthogonal": init.orthogonal,
    "orthogonal(gain √2)": lambda shape, **options: init.orthogonal(shape, gain=2**0.5, **options),
    "identity, dirac": init.dirac,
}
CONSTANT, TOO_SMALL = list(INITIALIZERS)[:3], list(INITIALIZERS)[5:9]
SCALED = list(INITIALIZERS)[9:]
ACTIVATIONS = {"ReLU": nn.ReLU, "tanh": nn.Tanh}


def train(data: Any, seed: Any, initializer: Any, activation: Any, steps: int) -> Any:
    """The loss on all training digits before the first step and after the last; NaN counts as infinite."""
    rng = np.random.default_rng(seed)
    sizes, layers = [64] + [UNITS] * LAYERS, []
    for k in range(LAYERS):
        layers += [nn.Linear(sizes[k], sizes[k + 1], init=initializer, rng=rng, dtype="float32"), activation()]
    model = nn.Sequential(*layers, nn.Linear(UNITS, 10, init=initializer, rng=rng, dtype="float32"))
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x = (data.x - data.x.mean(axis=0)) / (data.x.std(axis=0) + np.float32(0.01))
    losses = []
    with np.errstate(all="ignore"):
        for step in range(steps + 1):
            if step in (0, steps):
                with mg.no_grad():
                    losses.append(float(softmax_cross_entropy(model(x), data.y)))
            rows = rng.integers(0, len(x), BATCH)
            optimizer.zero_grad()
            softmax_cross_entropy(model(x[rows]), data.y[rows]).backward()
            optimizer.step()
    return np.nan_to_num(losses, nan=np.inf)


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """{(activation, initializer): loss at the first and last step}"""
    data, seed, steps = digits(rng), int(rng.integers(2**32)), 50 if quick else STEPS
    pairs = [(f, w) for f in ACTIVATIONS for w in INITIALIZERS]
    return {(f, w): train(data, seed, INITIALIZERS[w], ACTIVATIONS[f], steps) for f, w in pairs}


def claims(runs: list[Any]) -> Iterator[Claim]:
    """The loss after 100 steps."""

    def last(activation: Any, names: Any) -> Any:
        return [[run[activation, name][1] for name in names] for run in runs]

    yield Claim("ReLU, zeros, ones and 0.05 everywhere: the loss stays near ln 10 = 2.303",
        last("ReLU", CONSTANT), 2.25, 2.35,
        because="equal units get equal gradients; only the bias of the output distinguishes classes")  # fmt: skip
    yield Claim("ReLU, standard deviations of 0.05 and less: it stays there too",
        last("ReLU", TOO_SMALL), 2.25, 2.35,
        because="a layer keeps √(½ · 64) · 0.05 = 0.28 of the signal and of the gradient; six 5e-4")  # fmt: skip
    yield Claim("ReLU, N(0, 1): the loss starts above 1000",
        [run["ReLU", "normal, N(0, 1)"][0] for run in runs], at_least=1000,
        because="each layer makes the signal √(½ · 64) = 5.7 times as large, six of them 30 000 times")  # fmt: skip
    yield Claim("ReLU, all that are scaled by the fans: the loss is below 0.5",
        last("ReLU", SCALED), at_most=0.5,
        because="signal and gradient keep their size through six layers")  # fmt: skip
    yield Claim("tanh, likewise: below 0.2",
        last("tanh", SCALED), at_most=0.2,
        because="tanh has the slope 1 at 0, so nothing is lost to zeros")  # fmt: skip
    yield Claim("ReLU: He's mean loss is smaller than LeCun's, half its variance",
        np.divide(np.mean(last("ReLU", ["he_uniform", "he_normal"]), axis=1),
                  np.mean(last("ReLU", ["lecun_uniform", "lecun_normal"]), axis=1)), at_most=1,
        because="LeCun's loses half of the variance in each ReLU, 1/64 is left after six")  # fmt: skip


def picture(runs: list[Any]) -> Figure:
    """A row for each initializer, its loss at the first step and after a hundred for each seed."""
    title = f"Where {STEPS} steps lead from each initializer: scale by the number of inputs, or nothing is learned"
    figure, axes = subplots(1, 2, title=title, size=(14, 8.5), sharey=True)
    names = list(INITIALIZERS)[::-1]
    for axis, activation in zip(axes, ACTIVATIONS, strict=True):
        for row, name in enumerate(names):
            losses = np.array([run[activation, name] for run in runs])
            bad = np.median(losses[:, 1]) > 1
            color = COLORS["vermilion" if bad else "blue"]
            first = np.clip(losses[:, 0], None, 30)
            last = np.clip(losses[:, 1], None, 30)
            axis.plot([np.mean(first), np.mean(last)], [row, row], color=color, linewidth=1, alpha=0.5)
            axis.plot(first, [row] * len(runs), "|", color=COLORS["gray"], markersize=12, markeredgewidth=2)
            axis.plot(last, [row] * len(runs), "o", color=color, markersize=8, alpha=0.8)
        axis.axvline(np.log(10), color="black", linestyle=":", linewidth=1.5)
        axis.set(xscale="log", xlim=(0.015, 40), xlabel="loss", title=f"{activation}, five layers of {UNITS} units")
        axis.set_xticks([0.02, 0.1, 0.5, np.log(10), 30], ["0.02", "0.1", "0.5", "ln 10", "≥ 30"])
    axes[0].set_yticks(range(len(names)), names)
    return figure


experiment = Experiment(
    "initializers", __doc__, measure, claims, picture,
    caption=f"Gray: the loss before the first step; dots: after {STEPS}, one for each seed, red where the median is "
    "above 1. Dotted: ln 10, the loss of guessing.",
    seeds=(4, 2),
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
