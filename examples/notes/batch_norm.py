"""With batch norm the scale of the weights hardly matters.

Five hidden layers of 100 ReLU units learn a thousand digits by gradient descent (batches of 100, rate 0.01), from
weights N(0, s²) with 16 values of s between 1 and 0.0001. Without batch norm, only scales close to He's √(2/100) = 0.14
learn: for others, signals and gradients explode, or vanish after five layers. Batch norm between the linear layer and
the ReLU gives every unit mean 0 and variance 1, whatever s is (Ioffe & Szegedy 2015, algorithm 1): with the batch's own
mean μ and variance σ²,

x̂ = (x - μ) / √(σ² + ε), y = γ x̂ + β.

Two limits remain. The gradient of the weights is proportional to 1/s: large weights change slowly, small ones in jumps.
And if σ² falls below ε, x̂ vanishes with s as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minigrad import data, functional, nn, optim
from minigrad.app.notes import COLORS, Claim, Experiment, digits, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALES = np.logspace(0, -4, 16)


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """{(scale, with batch norm): training accuracy of every epoch}, and other numbers for the claims."""
    known, seed = digits(rng), rng.integers(1000)
    x, y = known.x[:1000], known.y[:1000]

    def learn(s: Any, norm: Any) -> Any:
        return train(network(norm, partial(nn.init.random_normal, stddev=s), seed), x, y, 0.01, 20, seed)

    scales = SCALES[:: 5 if quick else 1]
    curves = {(s, norm is not None): learn(s, norm) for s in scales for norm in (nn.BatchNorm, None)}
    without_eps = learn(SCALES[-1], partial(nn.BatchNorm, eps=1e-12))
    return {"curves": curves, "without eps": without_eps[-1], "variance": x.var(axis=0).sum()}


def network(norm: Any, init: Any, seed: Any) -> nn.Sequential:
    """64-100-100-100-100-100-10 with ReLU, and a normalization before it, or None."""
    rng, width = np.random.default_rng(seed), 64
    layers: list[nn.Module] = []
    for _ in range(5):
        layers += [nn.Linear(width, 100, init=init, rng=rng, dtype="float32")]
        layers += [norm(100, dtype="float32"), nn.ReLU()] if norm else [nn.ReLU()]
        width = 100
    return nn.Sequential(*layers, nn.Linear(width, 10, init=init, rng=rng, dtype="float32"))


def train(
    model: nn.Module, x: NDArray[Any], y: NDArray[Any], rate: float, epochs: int, seed: Any, batch: int = 100
) -> Any:
    """Train by gradient descent; return the accuracy on the training batches in each epoch."""
    optimizer, right = optim.SGD(model.parameters(), lr=rate), np.zeros(epochs)
    loader = data.DataLoader(x, y, batch_size=batch, shuffle=True, rng=seed)
    with np.errstate(all="ignore"):  # some networks overflow
        for epoch in range(epochs):
            for images, labels in loader:
                optimizer.zero_grad()
                logits = model(images)
                functional.cross_entropy(logits, labels).backward()
                optimizer.step()
                right[epoch] += np.sum(logits.numpy().argmax(axis=1) == labels)
    return right / len(x)


def claims(runs: list[Any]) -> Iterator[Claim]:
    """Which scales learn, and why the smallest do not."""

    def last(run: Any, normed: Any, low: float = 0.0, high: float = 1.0) -> Any:
        return np.array([c[-1] for (s, n), c in run["curves"].items() if n == normed and low <= s <= high])

    yield Claim("without batch norm at most a quarter of the scales reach 80 % in 20 epochs",
        [np.mean(last(run, False) > 0.8) for run in runs], at_most=0.25,
        because="a layer multiplies the signal by √50 s; half of He's s loses a factor of 32 in five")  # fmt: skip
    yield Claim("with batch norm all scales between 0.002 and 0.2 do",
        [last(run, True, 0.002, 0.2).min() for run in runs], at_least=0.8,
        because="(s x - s μ) / √(s² σ²) does not depend on s")  # fmt: skip
    yield Claim("with batch norm and s = 0.0001 not even a fifth are right",
        [last(run, True, high=1.1e-4)[0] for run in runs], at_most=0.2,
        because="σ² in the first layer is 200 times less than ε = 0.00001, and less in the next ones")  # fmt: skip
    yield Claim("with ε = 1e-12 instead more than 30 % are", [run["without eps"] for run in runs], at_least=0.3,
        because="it was ε indeed")  # fmt: skip
    yield Claim("σ² falls below ε at s = 0.0015", [np.sqrt(1e-5 / run["variance"]) for run in runs],
        at_least=0.0014, at_most=0.0016, because="σ² = s² Σ Var(x) in the first layer, and Σ Var(x) = 4.7")  # fmt: skip


def picture(runs: list[Any]) -> Figure:
    """A panel for each scale, with training accuracy with and without batch norm."""
    title = "Digits learned, with N(0, s²) as initial weights: share of right answers in 20 epochs"
    figure, axes = subplots(4, 4, title=title, size=(13, 9), sharex=True, sharey=True)
    curves = runs[0]["curves"]
    for axis, s in zip(axes.flat, dict.fromkeys(s for s, _ in curves), strict=False):
        epochs = range(1, 21)
        axis.plot(epochs, curves[s, True], color=COLORS["blue"], label="with batch norm")
        axis.plot(epochs, curves[s, False], color=COLORS["vermilion"], linestyle="--", label="without")
        axis.set(title=f"s = {s:.2g}", ylim=(0, 1.04), xticks=(1, 10, 20), yticks=(0, 0.5, 1))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower right", ncols=2)
    figure.supxlabel("epoch")
    return figure


experiment = Experiment(
    "batch_norm", __doc__, measure, claims, picture, seeds=(3, 1),
    caption="Without batch norm two of the 16 scales learn; one of them, twice He's, learns faster than with it. With "
    "batch norm s may vary by a factor of a hundred. Very large weights learn slowly; for very small ones, ε "
    "exceeds the variance.",
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
