"""Batch norm depends on the batch: small batches are noisy.

μ and σ² are estimated from B samples, so x̂ is a different function of x in every batch. The error of μ is σ/√B. As
long as it is small, it acts as noise, which can reduce overfitting. In the smallest batch, of two samples, nothing else
is left:

x̂₁ = (x₁ - μ) / √(σ² + ε) with μ = (x₁ + x₂)/2 and σ² = (x₁ - x₂)²/4, so x̂₁ ≈ ±1.

Such a layer says only which of the two samples is larger. Five such layers learn hardly anything in a thousand steps of
gradient descent, and what they learn does not hold for the running statistics that are used in the test. A network
without batch norm has no trouble with small batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from batch_norm import network, train
from numpy.typing import NDArray

from minigrad import functional, nn, no_grad
from minigrad.app.notes import COLORS, Claim, Experiment, digits, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (2, 4, 8, 16, 32, 64)
NORMS = {"with batch norm": nn.BatchNorm, "without": None}


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """z and ẑ in batches of every size, and {method: accuracy on test digits for each size}"""
    data, seed, z = digits(rng), rng.integers(1000), rng.normal(size=(4096, 10))
    sizes, rows = ((2, 16), 500) if quick else (SIZES, 1000)

    def tested(norm: Any, size: int) -> Any:  # `size` epochs have as many steps as there are training digits
        model = network(norm, "he_normal", seed)
        train(model, data.x[:rows], data.y[:rows], 0.03, size, seed, batch=size)
        model.eval()
        with no_grad():
            return np.mean(model(data.x_test).numpy().argmax(axis=1) == data.y_test)

    accuracy = {
        method: dict(zip(sizes, [tested(norm, s) for s in sizes], strict=True)) for method, norm in NORMS.items()
    }
    return {"z": z, "normalized": {size: normalized(z, size) for size in SIZES}, "accuracy": accuracy}


def normalized(z: NDArray[Any], size: int) -> Any:
    """z normalized in batches of this size, each with its own mean and variance."""
    ones, zeros = np.ones(z.shape[1]), np.zeros(z.shape[1])
    return np.concatenate([functional.batch_norm(batch, ones, zeros) for batch in z.reshape(-1, size, z.shape[1])])


def claims(runs: list[Any]) -> Iterator[Claim]:
    """The size of the noise, batches of two, and the effect on accuracy."""

    def error(run: Any, size: int) -> Any:
        means = run["z"].reshape(-1, size, run["z"].shape[1]).mean(axis=1)
        return means.std() * size**0.5

    yield Claim("the error of μ is σ/√B for B = 2 to 64, to 10 %",
        [[error(run, size) for size in SIZES] for run in runs], at_least=0.9, at_most=1.1,
        because="the variance of a mean of B independent numbers is σ²/B")  # fmt: skip
    yield Claim("in batches of two, 97 % of all |x̂| lie between 0.99 and 1",
        [np.mean(np.abs(run["normalized"][2]) > 0.99) for run in runs], at_least=0.97,
        because="1/√(1 + 4ε/(x₁ - x₂)²) > 0.99 unless |x₁ - x₂| < 0.045, which has probability 2.5 %")  # fmt: skip
    yield Claim("x̂ and x correlate with 1/√π = 0.56 in batches of two",
        [np.corrcoef(run["z"].ravel(), run["normalized"][2].ravel())[0, 1] for run in runs],
        at_least=0.54, at_most=0.59, because="E[x₁ sign(x₁ - x₂)] = 1/√π for normal numbers")  # fmt: skip
    yield Claim("and with more than 0.98 in batches of 64",
        [np.corrcoef(run["z"].ravel(), run["normalized"][64].ravel())[0, 1] for run in runs], at_least=0.98,
        because="relative errors of 1/√64 in μ and 1/√128 in σ leave 1/√(1 + 1/64 + 1/128) = 0.988")  # fmt: skip
    yield Claim("trained with batches of two, batch norm gets less than half of the test digits right",
        [run["accuracy"]["with batch norm"][2] for run in runs], at_most=0.5,
        because="five layers pass on signs, which depend on the other sample")  # fmt: skip
    yield Claim("without it, more than 70 % are right",
        [run["accuracy"]["without"][2] for run in runs], at_least=0.7,
        because="each sample is independent of the others")  # fmt: skip
    yield Claim("trained with batches of 16, batch norm gets more than 90 % right",
        [run["accuracy"]["with batch norm"][16] for run in runs], at_least=0.9,
        because="x̂ and x correlate with 0.96")  # fmt: skip


def picture(runs: list[Any]) -> Figure:
    """x̂ over x in batches of 2, 8 and 64, and test accuracy by batch size."""
    title = "What batch norm makes of x in batches of B samples, and what a network learns with it"
    figure, axes = subplots(1, 4, size=(15, 4.6), title=title)
    for axis, size in zip(axes, (2, 8, 64), strict=False):
        z, z_hat = (values[:100].ravel() for values in (runs[0]["z"], runs[0]["normalized"][size]))
        axis.plot([-3, 3], [-3, 3], color=COLORS["black"], linewidth=1)
        axis.plot(z, z_hat, ".", markersize=3, color=COLORS["blue"], rasterized=True)
        axis.set(title=f"x̂ over x, B = {size}", xlim=(-3, 3), ylim=(-3, 3))
    sizes = list(runs[0]["accuracy"]["without"])
    for (method, color), marker in zip((("with batch norm", "blue"), ("without", "vermilion")), "os", strict=True):
        values = np.array([list(run["accuracy"][method].values()) for run in runs])
        axes[3].plot(sizes, values.mean(axis=0), color=COLORS[color], marker=marker, label=method)
        axes[3].fill_between(sizes, values.min(axis=0), values.max(axis=0), color=COLORS[color], alpha=0.2)
    axes[3].set(title="test accuracy by B", xscale="log", ylim=(0, 1.04))
    axes[3].set_xticks(sizes, sizes)
    axes[3].minorticks_off()
    axes[3].legend(loc="lower right")
    return figure


experiment = Experiment(
    "batch_size", __doc__, measure, claims, picture, seeds=(3, 1),
    caption="Each point is a number x and its normalized value. In batches of two only the sign remains, in batches "
    "of 64 nearly the number itself. On the right, the fraction of test digits recognized after a thousand "
    "steps: mean and range over three seeds.",
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
