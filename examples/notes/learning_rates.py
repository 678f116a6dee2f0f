"""Batch norm allows higher learning rates.

The network of `batch_norm.py`, with He's weights, learns the digits with learning rates between 0.001 and 30. Without
batch norm, a rate of 1 fails. With it, a rate of 3 still works, and every rate up to that learns more in ten epochs.

The reason is that BN(a W x) = BN(W x): the scale of a unit's weights w does not matter (Ioffe & Szegedy 2015, section
3.3). So the gradient is orthogonal to w, since moving along w changes nothing, and proportional to 1/|w|. A step that
is too large makes |w| larger, by Pythagoras |w - λ g|² = |w|² + λ² |g|², and therefore the next steps smaller: the rate
adapts itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from batch_norm import network, train
from numpy.typing import NDArray

from minigrad import functional, nn
from minigrad.app.notes import COLORS, Claim, Experiment, digits, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATES = 10.0 ** np.arange(-3, 1.6, 0.5)
NORMS = {"with batch norm": nn.BatchNorm, "without": None}


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """{method: the accuracy in the last epoch, for each rate}, and the angles between gradients and weights"""
    known, seed = digits(rng), rng.integers(1000)
    x, y = known.x[:1000], known.y[:1000]
    rates = RATES[2::2] if quick else RATES
    accuracy = {
        method: [train(network(norm, "he_normal", seed), x, y, rate, 10, seed)[-1] for rate in rates]
        for method, norm in NORMS.items()
    }
    return rates, accuracy, {method: cosine(network(norm, "he_normal", seed), x, y) for method, norm in NORMS.items()}


def cosine(model: nn.Sequential, x: NDArray[Any], y: NDArray[Any]) -> Any:
    """The largest cosine between the weights of a unit and their gradient, over the hidden units that have one."""
    functional.cross_entropy(model(x), y).backward()
    layers = [layer for layer in model if isinstance(layer, nn.Linear)][:-1]
    cosines = [
        np.sum(w * g, axis=0) / (np.linalg.norm(w, axis=0) * np.linalg.norm(g, axis=0) + 1e-12)
        for w, g in ((layer.weight.numpy(), layer.weight.grad.numpy()) for layer in layers)
    ]
    return float(np.abs(cosines).max())


def claims(runs: list[Any]) -> Iterator[Claim]:
    """The highest rate at which 90 % are reached, and the angle that explains it."""

    def highest(method: Any) -> Any:
        return [rates[np.array(accuracy[method]) > 0.9].max() for rates, accuracy, _ in runs]

    yield Claim("without batch norm, a rate of 1 and more fails (less than 20 % right)",
        [max(np.array(accuracy["without"])[rates >= 0.99]) for rates, accuracy, _ in runs], at_most=0.2,
        because="the loss overflows, or all units are dead")  # fmt: skip
    yield Claim("with batch norm 90 % are reached with a rate of 1", highest("with batch norm"), at_least=0.99,
        because="the effective rate adapts to the size of the weights")  # fmt: skip
    yield Claim("the highest rate that reaches 90 % is at least three times as high",
        np.divide(highest("with batch norm"), highest("without")), at_least=3)  # fmt: skip
    yield Claim("with batch norm weights and gradient of a unit are orthogonal: the cosine is below 0.001",
        [angles["with batch norm"] for _, _, angles in runs], at_most=1e-3,
        because="BN(a W x) = BN(W x), up to ε")  # fmt: skip
    yield Claim("without, it is above 0.2 for some unit", [angles["without"] for _, _, angles in runs], at_least=0.2)


def picture(runs: list[Any]) -> Figure:
    """The accuracy by learning rate: mean and range over the seeds."""
    figure, axis = subplots(title="Digits learned in 10 epochs, by learning rate", size=(10, 5.5))
    for method, color, marker in (("with batch norm", "blue", "o"), ("without", "vermilion", "s")):
        rates, accuracy = runs[0][0], np.array([run[1][method] for run in runs])
        axis.plot(rates, accuracy.mean(axis=0), label=method, color=COLORS[color], marker=marker)
        axis.fill_between(rates, accuracy.min(axis=0), accuracy.max(axis=0), color=COLORS[color], alpha=0.2)
    axis.set(xscale="log", xlabel="learning rate", ylabel="share of right answers", ylim=(0, 1.04))
    axis.legend()
    return figure


experiment = Experiment(
    "learning_rates", __doc__, measure, claims, picture, seeds=(3, 1),
    caption="Mean and range over three seeds. With batch norm the best rates are ten times higher, and the rates that "
    "work span more than a factor of a hundred.",
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
