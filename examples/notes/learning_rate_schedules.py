"""Learning rates that fall, rise, or both.

With noisy gradients of variance σ², a constant learning rate stops at a floor. On ½ c w² the error w ends with the
variance lr σ² / (c (2 - lr c)), since each step adds lr² σ² and removes the fraction 1 - (1 - lr c)². So the rate must
go to 0 (Robbins & Monro 1951), but not too soon: after T steps the variance is about σ² / (c² T) at best. Schedules
start fast and end low: steps, an exponential, half a cosine (Loshchilov & Hutter 2017), one cycle (Smith & Topin 2019).
Warm-up (Goyal et al. 2017) starts near 0, for steps that would be too large at the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

import minigrad as mg
from minigrad import optim
from minigrad.app.notes import COLORS, Claim, Experiment, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, RATE, CURVATURE, NOISE = 1000, 0.1, 1.0, 1.0
WALKERS = 2000  # independent w, all moved by one optimizer


def warm_up(optimizer: optim.Optimizer, then: Any) -> Any:
    """Increase the rate from 1/100 of it during a tenth of the steps, then follow another schedule."""
    first = optim.LinearLR(optimizer, start_factor=0.01, total_iters=STEPS // 10)
    return optim.SequentialLR(optimizer, [first, then(optimizer)], milestones=[STEPS // 10])


SCHEDULES = {
    "constant": lambda o: optim.LambdaLR(o, lambda t: 1.0),
    "step": lambda o: optim.StepLR(o, step_size=STEPS // 4, gamma=0.2),
    "exponential": lambda o: optim.ExponentialLR(o, gamma=1e-3 ** (1 / STEPS)),
    "cosine": lambda o: optim.CosineAnnealingLR(o, T_max=STEPS),
    "one cycle": lambda o: optim.OneCycleLR(o, max_lr=RATE, total_steps=STEPS, cycle_momentum=False),
    "warm-up, cosine": lambda o: warm_up(o, lambda o: optim.CosineAnnealingLR(o, T_max=STEPS - STEPS // 10)),
}


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """{schedule: (rates, mean of w²)} over the steps."""
    start = 3 * rng.normal(size=WALKERS)
    return {name: walk(make, start, rng) for name, make in SCHEDULES.items()}


def walk(make: Any, start: Any, rng: np.random.Generator) -> Any:
    """SGD on ½ c w² with noise in the gradient."""
    w = mg.Tensor(start, requires_grad=True)
    optimizer = optim.SGD([w], lr=RATE)
    schedule = make(optimizer)
    rates, errors = [], []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        errors.append(np.mean(w.numpy() ** 2))
        optimizer.zero_grad()
        (CURVATURE * w * w / 2).sum().backward()
        w.grad = w.grad.data + NOISE * rng.normal(size=WALKERS)
        optimizer.step()
        schedule.step()
    return np.array(rates), np.array(errors)


def predicted(rates: Any, start: Any) -> Any:
    """E[w²] after each step: (1 - lr c)² E[w²] + lr² σ², an equation without free constants."""
    errors = [start]
    for lr in rates[:-1]:
        errors.append((1 - lr * CURVATURE) ** 2 * errors[-1] + (lr * NOISE) ** 2)
    return np.array(errors)


FLOOR = RATE * NOISE**2 / (CURVATURE * (2 - RATE * CURVATURE))


def claims(runs: list[Any]) -> Iterator[Claim]:
    """The floor, and how far below it each schedule ends."""

    def end(name: str) -> Any:
        return np.array([run[name][1][-20:].mean() for run in runs])

    yield Claim(f"constant rate: the variance stays at lr σ² / (c (2 - lr c)) = {FLOOR:.4f}",
        [run["constant"][1][STEPS // 2 :].mean() for run in runs], 0.98 * FLOOR, 1.02 * FLOOR,
        because="there a step removes as much as it adds, lr² σ²")  # fmt: skip
    yield Claim("each decreasing schedule ends below a tenth of this floor",
        [end(name) / FLOOR for name in SCHEDULES if name != "constant"], at_most=0.1,
        because="the floor falls with the rate, slowly enough for the error to follow")  # fmt: skip
    yield Claim("and above σ² / (c² T) = 0.001, a fiftieth of it",
        [end(name) for name in SCHEDULES], at_least=NOISE**2 / (CURVATURE**2 * STEPS),
        because="that is the variance of the mean of T noisy gradients")  # fmt: skip
    yield Claim("E[w²] of each schedule follows its equation at every step; their ratio",
        [[np.mean(e / predicted(rates, e[0])) for rates, e in run.values()] for run in runs], 0.95, 1.05,
        because="E[w²] ← (1 - lr c)² E[w²] + lr² σ² is exact for a quadratic")  # fmt: skip


def picture(runs: list[Any]) -> Figure:
    """The rates above; the errors below, measured and predicted."""
    title = "A constant learning rate stops at a floor of noise; one that falls goes through it"
    figure, axes = subplots(2, len(SCHEDULES), title=title, size=(16, 7), sharex=True, sharey="row")
    for (above, below), (name, (rates, errors)) in zip(axes.T, runs[0].items(), strict=True):
        above.plot(rates, color=COLORS["vermilion"])
        above.set_title(name)
        below.semilogy(errors, color=COLORS["blue"], linewidth=3)
        below.semilogy(predicted(rates, errors[0]), color="black", linewidth=1.2, linestyle=":")
        below.axhline(FLOOR, color=COLORS["gray"], linewidth=1, linestyle="--")
        below.set(xlabel="step", ylim=(1e-4, 20), xticks=[0, STEPS // 2, STEPS])
    axes[0, 0].set_ylabel("learning rate")
    axes[1, 0].set_ylabel("mean of w²")
    return figure


experiment = Experiment(
    "learning_rate_schedules", __doc__, measure, claims, picture,
    caption=f"Above: the learning rate. Below: the mean of w² over {WALKERS} walks with noisy gradients, blue; dotted, "
    "its equation; dashed, the floor of the constant rate.",
    seeds=(3, 2),
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
