"""Overfitting and its cures.

A network of 64-256-10 units memorizes 400 digits to which noise was added: the training loss goes to 0, while the loss
on test digits falls and then rises. The difference between them is the gap. Each cure narrows it:

L2 (Tikhonov) and L1 penalties (Tibshirani 1996) and max-norm (Srebro & Shraibman 2005) keep the weights small; dropout
(Srivastava et al. 2014) prevents units from relying on each other, here with 20 % of the pixels and half of the units
dropped; early stopping (Prechelt 1998) takes the parameters of the epoch with the smallest loss on validation digits.

The test accuracy does not fall with any of them. How much it gains depends on the task: a point or two here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import minigrad as mg
from minigrad import nn, optim
from minigrad.app.notes import COLORS, Claim, Experiment, digits, subplots
from minigrad.functional import cross_entropy
from minigrad.nn.constraints import MaxNorm
from minigrad.nn.regularizers import L1, L2

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, SET_ASIDE, NOISE, EPOCHS, BATCH = 400, 200, 0.3, 80, 25
NONE, STOPPED = "no cure", "early stopping"
# options of train; they do not apply to biases
CURES: dict[str, dict[str, Any]] = {
    NONE: {},
    "L2, λ = 0.003": {"penalty": L2(0.003, only="*weight")},
    "L1, λ = 0.002": {"penalty": L1(0.002, only="*weight")},
    "max-norm 1.5": {"constraint": MaxNorm(1.5, only="*weight")},
    "dropout": {"dropout": True},
    "dropout and L2": {"dropout": True, "penalty": L2(0.003, only="*weight")},
}


def train(
    x: NDArray[Any],
    y: NDArray[Any],
    seed: Any,
    epochs: int,
    penalty: Any = None,
    constraint: Any = None,
    dropout: bool = False,
) -> Any:
    """After each epoch: the losses on the training, validation and test digits, and the test accuracy."""
    rng = np.random.default_rng(seed)
    layers = [
        nn.Linear(64, 256, init="he_normal", rng=rng, dtype="float32"),
        nn.ReLU(),
        nn.Linear(256, 10, rng=rng, dtype="float32"),
    ]
    if dropout:
        layers = [nn.Dropout(0.2, rng=rng), *layers[:2], nn.Dropout(0.5, rng=rng), layers[2]]
    model, curves = nn.Sequential(*layers), []
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    parts = np.split(np.arange(len(x)), [ROWS, ROWS + SET_ASIDE])
    for _ in range(epochs):
        model.train()
        for rows in rng.permutation(ROWS).reshape(-1, BATCH):
            optimizer.zero_grad()
            loss = cross_entropy(model(x[rows]), y[rows])
            (loss + penalty(model) if penalty else loss).backward()
            optimizer.step()
            if constraint:
                constraint(model)
        model.eval()
        with mg.no_grad():
            logits = [model(x[part]).numpy() for part in parts]
        losses = [float(cross_entropy(out, y[part])) for out, part in zip(logits, parts, strict=True)]
        curves.append([*losses, (logits[2].argmax(axis=1) == y[parts[2]]).mean()])
    return np.array(curves)


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """{cure: curves (EPOCHS, 4)}"""
    data, seed = digits(rng), int(rng.integers(2**32))
    x, y = np.concatenate([data.x, data.x_test]), np.concatenate([data.y, data.y_test])
    x = x + NOISE * rng.standard_normal(x.shape, dtype=np.float32)
    return {cure: train(x, y, seed, 30 if quick else EPOCHS, **options) for cure, options in CURES.items()}


def ends(run: Any) -> Any:
    """{cure: (gap, test accuracy)}, averaged over the last 10 epochs, and where early stopping stops."""
    results = {cure: (np.mean(c[-10:, 2] - c[-10:, 0]), np.mean(c[-10:, 3])) for cure, c in run.items()}
    best = run[NONE][run[NONE][:, 1].argmin()]
    return results | {STOPPED: (best[2] - best[0], best[3])}


def claims(runs: list[Any]) -> Iterator[Claim]:
    """Each cure narrows the gap; none costs accuracy."""
    results, cures = [ends(run) for run in runs], [*CURES, STOPPED][1:]
    yield Claim("without a cure the training loss falls below 0.05",
        [run[NONE][-1, 0] for run in runs], at_most=0.05,
        because="19 210 weights for 400 images")  # fmt: skip
    yield Claim("while the test loss rises: its last value over its smallest",
        [run[NONE][-1, 2] / run[NONE][:, 2].min() for run in runs], at_least=1.05,
        because="the outputs become more certain, even if they are wrong")  # fmt: skip
    for cure in cures:
        yield Claim(f"{cure}: the gap between test and training loss is narrower; ratio",
            [f[cure][0] / f[NONE][0] for f in results], at_most=0.9)  # fmt: skip
    yield Claim("no cure costs more than 3 points of test accuracy on any split",
        [[f[cure][1] - f[NONE][1] for cure in cures] for f in results], at_least=-0.03,
        because="the standard deviation of an accuracy of 0.8 on 1197 digits is 0.012")  # fmt: skip
    yield Claim("averaged over the splits, the test accuracy does not fall with any cure",
        np.mean([[f[cure][1] - f[NONE][1] for cure in cures] for f in results], axis=0), at_least=0,
        because="the cures limit the weights that fit the noise")  # fmt: skip
    yield Claim("and dropout with L2 gains a point or more",
        np.mean([f["dropout and L2"][1] - f[NONE][1] for f in results]), at_least=0.01,
        because="each has its own effect: an average over networks, and a bound on their weights")  # fmt: skip


def picture(runs: list[Any]) -> Figure:
    """Training and test loss with each cure, the test loss without one in gray; gap and accuracy at the end."""
    title = f"{ROWS} noisy digits learned by heart, and the cures: the gap between training and test narrows"
    figure, axes = subplots(2, 4, title=title, size=(16, 8))
    mean = {cure: np.mean([run[cure] for run in runs], axis=0) for cure in CURES}
    stop = round(np.mean([run[NONE][:, 1].argmin() for run in runs])) + 1
    mean[STOPPED] = mean[NONE][:stop]
    results = {cure: np.mean([ends(run)[cure] for run in runs], axis=0) for cure in mean}
    epochs = np.arange(1, len(mean[NONE]) + 1)
    for axis, (cure, curves) in zip(axes.flat, mean.items(), strict=False):
        t = epochs[: len(curves)]
        axis.plot(epochs, mean[NONE][:, 2], color=COLORS["gray"], linewidth=1.2, linestyle="--")
        axis.fill_between(t, curves[:, 0], curves[:, 2], color=COLORS["orange"], alpha=0.25)
        axis.plot(t, curves[:, 2], color=COLORS["vermilion"])
        axis.plot(t, curves[:, 0], color=COLORS["blue"])
        axis.set(ylim=(0, 1.2), xlim=(0, epochs[-1]), title=cure)
        axis.text(
            0.97, 0.95, f"gap {results[cure][0]:.2f}", transform=axis.transAxes, ha="right", va="top", fontsize=15
        )
    axes[0, 0].text(0.5, 0.72, "test", color=COLORS["vermilion"], transform=axes[0, 0].transAxes, fontsize=15)
    axes[0, 0].text(0.5, 0.05, "training", color=COLORS["blue"], transform=axes[0, 0].transAxes, fontsize=15)
    axes[-1, -2].plot([stop, stop], mean[STOPPED][-1, [0, 2]], color="black", linewidth=2.5)
    for axis in axes[:, 0]:
        axis.set_ylabel("loss")
    for axis in axes[-1, :-1]:
        axis.set_xlabel("epoch")
    last = axes[-1, -1]
    for cure, (gap, accuracy) in results.items():
        last.plot(gap, 100 * accuracy, "o", color=COLORS["vermilion" if cure == NONE else "blue"], markersize=9)
        name = cure.partition(",")[0]
        last.annotate(
            name, (gap, 100 * accuracy), xytext=(-26 if name == "L2" else 6, 4), textcoords="offset points", fontsize=11
        )
    last.set(xlabel="gap", title="test accuracy in %", xlim=(0.3, 0.9), ylim=(79.5, 83))
    return figure


experiment = Experiment(
    "overfitting", __doc__, measure, claims, picture,
    caption="Red: the loss on test digits; blue: on training digits; shaded: the gap; dashed: the test loss without a "
    "cure. Means over the splits. Below right: the remaining gap and the test accuracy.",
    seeds=(5, 2),
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
