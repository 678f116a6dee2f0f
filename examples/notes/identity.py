"""Batch norm can be the identity.

Normalizing removes information from a layer: its outputs have mean 0 and variance 1. The scale γ and the shift β can
restore it, if that is useful: with γ = √(σ² + ε) and β = μ,

y = γ x̂ + β = √(σ² + ε) (x - μ) / √(σ² + ε) + μ = x (Ioffe & Szegedy 2015, section 3).

Gradient descent finds these values if the target is y = x. The loss is then ½ (γ - γ*)² var(x̂) + ½ (β - β*)², a bowl
whose curvatures are both 1, so a step with rate 0.1 leaves 0.9 of the distance, of γ and of β alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

import minigrad as mg
from minigrad import functional, optim
from minigrad.app.notes import COLORS, Claim, Experiment, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, UNITS, STEPS, RATE = 500, 3, 100, 0.1


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """γ and β in all steps, their exact values, and the activations before and after."""
    x = rng.normal(loc=[-4, 0.5, 3], scale=[0.5, 1, 2], size=(ROWS, UNITS))
    gamma, beta = mg.ones(UNITS), mg.zeros(UNITS)
    gamma.requires_grad = beta.requires_grad = True
    optimizer, path = optim.SGD([gamma, beta], lr=RATE), []
    y = functional.batch_norm(x, gamma, beta)
    for _ in range(STEPS):
        path.append((gamma.tolist(), beta.tolist()))
        optimizer.zero_grad()
        y = functional.batch_norm(x, gamma, beta)
        (0.5 * ((y - x) ** 2).mean(axis=0).sum()).backward()
        optimizer.step()
    targets = np.sqrt(x.var(axis=0) + 1e-5), x.mean(axis=0)
    exact = functional.batch_norm(x, *targets)
    return {"x": x, "exact": exact, "path": np.array(path), "targets": np.array(targets), "learned": y.numpy()}


def cltargets(runs: list[Any]) -> Iterator[Any]:
    """The identity is possible, it is learned, and how fast."""
    yield Claim("with γ = √(σ² + ε), β = μ the output is the input, to 12 digits",
        [np.abs(run["exact"] - run["x"]).max() for run in runs], at_most=1e-12,
        because="the two formulas cancel")  # fmt: skip
    yield Claim("γ and β learn these values",
        [np.abs(run["path"][-1] - run["targets"]).max() for run in runs], at_most=1e-3,
        because="0.9¹⁰⁰ = 0.00003, times a distance of at most 5")  # fmt: skip
    yield Claim("each step leaves 0.9 of the distance to them",
        [((run["path"][11] - run["targets"]) / (run["path"][10] - run["targets"])).ravel() for run in runs],
        at_least=0.8999, at_most=0.9001,
        because="E[x̂²] = 1 and E[x̂] = 0, so 1 - 0.1 · 1; ε changes the fifth digit")  # fmt: skip


def picture(runs: list[Any]) -> Figure:
    """Histograms of x, x̂ and y, and γ and β over the steps."""
    figure, axes = subplots(
        1, 4, title="Batch norm takes mean and variance; γ and β can give them back", size=(14, 4.5)
    )
    run, colors = runs[0], [COLORS[name] for name in ("blue", "orange", "green")]
    normalized = functional.batch_norm(run["x"], np.ones(UNITS), np.zeros(UNITS))
    shown = {"x": run["x"], "x̂: mean 0, variance 1": normalized, "y = γ x̂ + β, learned": run["learned"]}
    for axis, (title, values) in zip(axes, shown.items(), strict=False):
        for unit, color in enumerate(colors):
            counts, edges = np.histogram(values[:, unit], bins=np.linspace(-7, 10, 52))
            axis.stairs(counts, edges, color=color, alpha=0.7, fill=True, label=f"unit {unit + 1}")
        axis.set(title=title, yticks=[], ylim=(0, 160))
    axes[0].legend()
    for unit, color in enumerate(colors):
        axes[3].plot(run["path"][:, 0, unit], color=color)
        axes[3].plot(run["path"][:, 1, unit], color=color, linestyle="--")
    axes[3].set(title="γ (solid), β (dashed)", xlabel="step")
    return figure


experiment = Experiment(
    "identity", __doc__, measure, cltargets, picture, seeds=(5, 2),
    caption="Three units with different means and variances; batch norm makes them alike. After a hundred steps of "
    "gradient descent on their difference, γ and β have become √(σ² + ε) and μ, and y equals x again.",
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
