"""Clipping cures exploding gradients in a recurrent network.

A recurrent network multiplies by the same matrix at every step of the sequence. If its largest eigenvalue is above 1,
the gradient explodes: one step of gradient descent moves the parameters so far that the next loss is infinite and the
one after it NaN. Clipping bounds the step. By value: every element is limited to [-c, c], which changes the direction
of the gradient. By norm: all elements are scaled by one factor, g min(1, c/|g|), which keeps the direction (Pascanu,
Mikolov & Bengio 2013, algorithm 1).

Here a ReLU network reads 30 random numbers and has to return their sum. Its recurrent matrix starts at 1.15 times the
identity, so a number at the beginning counts 1.15³⁰ = 66 times as much as one at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

import minigrad as mg
from minigrad import functional, nn, optim
from minigrad.app.notes import COLORS, Claim, Experiment, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LENGTH, UNITS, ROWS, STEPS = 30, 20, 32, 300
EIGENVALUE, VALUE, NORM, RATE = 1.15, 0.01, 1.0, 0.01
METHODS = {  # the function that clips the gradients, and the learning rate
    "no clipping": (lambda parameters: None, RATE),
    "no clipping, a hundredth of the rate": (lambda parameters: None, RATE / 100),
    "clipped by value": (lambda parameters: optim.clip_grad_value_(parameters, VALUE), RATE),
    "clipped by norm": (lambda parameters: optim.clip_grad_norm_(parameters, NORM), RATE),
}


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """{method: losses, gradient norms before and after clipping, and the cosine of the two gradients, in all steps}"""
    seed = rng.integers(1000)
    return {method: train(clip, rate, seed, STEPS // (2 if quick else 1)) for method, (clip, rate) in METHODS.items()}


def train(clip: Any, rate: float, seed: Any, steps: int) -> Any:
    """Stochastic gradient descent in float32. Gradients are clipped between backward() and step()."""
    rng = np.random.default_rng(seed)
    network = nn.RNN(1, UNITS, nonlinearity="relu", bias=False, rng=rng, dtype="float32")
    with mg.no_grad():
        network.weight_hh_l0[...] = EIGENVALUE * np.eye(UNITS)
    last = nn.Linear(UNITS, 1, rng=rng, dtype="float32")
    parameters = [*network.parameters(), *last.parameters()]
    optimizer, rows = optim.SGD(parameters, lr=rate), []
    with np.errstate(all="ignore"):  # overflows are expected
        for _ in range(steps):
            x = rng.uniform(-1, 1, size=(ROWS, LENGTH, 1)).astype(np.float32)
            optimizer.zero_grad()
            outputs, _ = network(x)
            loss = functional.mse_loss(last(outputs[:, -1]), x.sum(axis=1))
            loss.backward()
            before = flat(parameters)
            clip(parameters)
            after = flat(parameters)
            optimizer.step()
            norms = np.linalg.norm(before), np.linalg.norm(after)
            rows.append((loss.item(), *norms, before @ after / (norms[0] * norms[1])))
    return dict(zip(("loss", "norm", "clipped", "cosine"), np.transpose(rows), strict=True))


def flat(parameters: Any) -> Any:
    """All gradients as one vector."""
    return np.concatenate([p.grad.data.astype(float).ravel() for p in parameters])


def claims(runs: list[Any]) -> Iterator[Claim]:
    """What happens without clipping, and that both ways of clipping prevent it."""
    none, slow, value, norm = ([run[method] for run in runs] for method in METHODS)

    def final_loss(
        results: Any,
    ) -> Any:  # in units of the variance of the sum: the loss of a network that always returns 0
        return [np.nan_to_num(r["loss"][-50:].mean(), nan=np.inf) / (LENGTH / 3) for r in results]

    yield Claim("without clipping the loss is infinite or NaN after at most 5 steps",
        [np.isfinite(r["loss"]).sum() for r in none], at_most=5,
        because="the gradient contains the 30th power of the matrix; a step makes the matrix even larger")  # fmt: skip
    yield Claim("a hundredth of the learning rate does not help: the loss stays that of always returning 0, or NaN",
        final_loss(slow), at_least=0.9, because="no factor stops an exponential")  # fmt: skip
    for method, results in (("value", value), ("norm", norm)):
        yield Claim(f"clipped by {method}: every loss is finite",
            [np.isfinite(r["loss"]).mean() for r in results], at_least=1,
            because="the parameters move by a bounded distance")  # fmt: skip
        yield Claim(f"clipped by {method}: the loss falls below three quarters of the variance of the sums",
            final_loss(results), at_most=0.75, because="the network can learn now")  # fmt: skip
    yield Claim("clipping by norm keeps the direction: the cosine to the gradient is 1",
        [r["cosine"].min() for r in norm], at_least=1 - 1e-6, because="all elements have the same factor")  # fmt: skip
    yield Claim("and no gradient is longer than 1 afterwards", [r["clipped"].max() for r in norm], at_most=NORM + 1e-6)
    yield Claim("clipping by value turns the gradient: the cosine falls below 0.9",
        [r["cosine"].min() for r in value], at_most=0.9,
        because="all elements beyond the limit become equal in size")  # fmt: skip


def picture(runs: list[Any]) -> Figure:
    """Gradient norms and losses over the steps; a cross where a loss stops being finite."""
    figure, axes = subplots(1, 2, title="A recurrent network learns only if its gradients are clipped", size=(13, 5.2))
    for axis, name, title in zip(axes, ("norm", "loss"), ("Norm of the gradient before clipping", "Loss"), strict=True):
        for (method, result), color in zip(runs[0].items(), ("vermilion", "orange", "sky", "blue"), strict=True):
            values = result[name][np.isfinite(result[name])]
            ends = {"marker": "X", "markersize": 14, "markevery": [-1]} if len(values) < len(result[name]) else {}
            axis.plot(np.arange(len(values)) + 1, values, label=method, color=COLORS[color], linewidth=1.4, **ends)
        axis.set(title=title, xscale="log", yscale="log", xlabel="step")
    axes[0].legend(fontsize=12)
    axes[1].axhline(LENGTH / 3, color=COLORS["black"], linestyle="--", linewidth=1, label="always saying 0")
    axes[1].legend(*([entries[-1]] for entries in axes[1].get_legend_handles_labels()))
    return figure


experiment = Experiment(
    "clipping", __doc__, measure, claims, picture, seeds=(4, 1),
    caption="The cross is the last finite value: without clipping the first step goes too far. With a hundredth of "
    "the learning rate, the parameters end where all units are dead, or at NaN with other seeds. Clipped by "
    "value or by norm, the network learns.",
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
