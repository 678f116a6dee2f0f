"""All optimizers on handwritten digits.

The same network, 64-64-64-10 with ReLU, is trained from the same initial weights with each optimizer of `mg.optim`, at
a suitable learning rate, at a third of it and at three times as much. The name of gradient descent depends on the
batch: the entire set is GD, one image SGD, 32 images mini-batch SGD. An epoch always costs the gradients of all images,
but GD takes only one step with them.

The groups carry over to other tasks, not the order within them: all methods with momentum or with a rate for each
weight are about equally good at their best learning rate, and differ in how easily that rate is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

import minigrad as mg
from minigrad import nn, optim
from minigrad.app.notes import COLORS, Claim, Experiment, digits, subplots
from minigrad.fused import softmax_cross_entropy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH, EPOCHS = 32, 10
OPTIMIZERS = {  # batch size (None: all images), learning rate, function of parameters and learning rate
    "GD": (None, 0.3, optim.SGD),
    "SGD": (1, 0.01, optim.SGD),
    "mini-batch SGD": (BATCH, 0.3, optim.SGD),
    "Momentum": (BATCH, 0.03, lambda w, lr: optim.SGD(w, lr=lr, momentum=0.9)),
    "Nesterov": (BATCH, 0.03, lambda w, lr: optim.SGD(w, lr=lr, momentum=0.9, nesterov=True)),
    "Adagrad": (BATCH, 0.03, optim.Adagrad),
    "RMSprop": (BATCH, 0.003, optim.RMSprop),
    "AdaDelta": (BATCH, 1.0, optim.Adadelta),
    "Adam": (BATCH, 0.01, optim.Adam),
    "AdamW": (BATCH, 0.01, optim.AdamW),
    "Adamax": (BATCH, 0.03, optim.Adamax),
    "NAdam": (BATCH, 0.003, optim.NAdam),
    "RAdam": (BATCH, 0.01, optim.RAdam),
    "Lion": (BATCH, 0.001, optim.Lion),
    "L-BFGS": (None, 1.0, lambda w, lr: optim.LBFGS(w, lr=lr, max_iter=1, line_search_fn="strong_wolfe")),
}
FULL_BATCH = ("GD", "L-BFGS")


def network(rng: np.random.Generator) -> nn.Sequential:
    """64-64-64-10 with ReLU."""
    layers = []
    for _ in range(2):
        layers += [nn.Linear(64, 64, init="he_normal", rng=rng, dtype="float32"), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10, init="he_normal", rng=rng, dtype="float32"))


def train(data: Any, size: int, seed: Any, optimizer: Any, batch: int) -> Any:
    """The training loss before the first epoch and after each, and the test accuracy at the end."""
    rng = np.random.default_rng(seed)
    model, losses = network(rng), []
    optimizer = optimizer(model.parameters())
    x, y = data.x[:size], data.y[:size]
    for epoch in range(EPOCHS + 1):
        with mg.no_grad():
            losses.append(float(softmax_cross_entropy(model(x), y)))
        for rows in rng.permutation(size).reshape(-1, batch) if epoch < EPOCHS else ():

            def closure(rows: Any = rows) -> Any:
                optimizer.zero_grad()
                loss = softmax_cross_entropy(model(x[rows]), y[rows])
                loss.backward()
                return loss

            optimizer.step(closure)
    with mg.no_grad():
        return np.array(losses), float((model(data.x_test).numpy().argmax(axis=1) == data.y_test).mean())


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """{(optimizer, learning rate): (losses, test accuracy)}; the full form has a third and three times the rate too."""
    data, seed, size, results = digits(rng), int(rng.integers(2**32)), 512 if quick else 1024, {}
    for name, (batch, middle, make) in OPTIMIZERS.items():
        for lr in (middle,) if quick or name == "L-BFGS" else (middle / 3, middle, 3 * middle):
            results[name, lr] = train(data, size, seed, lambda w, f=make, lr=lr: f(w, lr=lr), batch or size)
    return results


def claims(runs: list[Any]) -> Iterator[Claim]:
    """Groups, not ranks."""

    def losses(name: str) -> Any:
        return np.array([run[name, OPTIMIZERS[name][1]][0] for run in runs])

    stochastic = [name for name in OPTIMIZERS if name not in FULL_BATCH]
    yield Claim("after 10 epochs all optimizers that step after 1 or 32 images have a test accuracy of 90 % or more",
        [[run[name, OPTIMIZERS[name][1]][1] for name in stochastic] for run in runs], at_least=0.9,
        because="with a learning rate that fits, each of them takes hundreds of useful steps")  # fmt: skip
    yield Claim("one epoch of SGD leaves a smaller loss than ten of GD: their ratio",
        losses("SGD")[:, 1] / losses("GD")[:, -1], at_most=0.8,
        because="a thousand noisy steps go further than ten exact ones, at a tenth of the cost")  # fmt: skip
    yield Claim("lr = 0.03 with momentum 0.9 learns like lr = 0.3 without: ratio of the losses after 3 epochs",
        losses("Momentum")[:, 3] / losses("mini-batch SGD")[:, 3], 1 / 2.5, 2.5,
        because="a constant gradient adds up to 1 + μ + μ² + ... = 1/(1 - μ) = 10 of it")  # fmt: skip
    yield Claim("RAdam begins slowly: at the same lr its loss after the first epoch is at least twice that of Adam",
        losses("RAdam")[:, 1] / losses("Adam")[:, 1], at_least=2,
        because="its factor r is 0 for 5 steps and 0.1 after 32, a warm-up")  # fmt: skip
    yield Claim("ten steps of L-BFGS leave at most 70 % of the loss of ten steps of GD",
        losses("L-BFGS")[:, -1] / losses("GD")[:, -1], at_most=0.7,
        because="it knows the curvature, and finds the length of each step by a line search")  # fmt: skip


def picture(runs: list[Any]) -> Figure:
    """A panel for each optimizer, all others in gray."""
    title = "Training loss on digits: each optimizer among all others"
    figure, axes = subplots(3, 5, title=title, size=(16, 9), sharex=True, sharey=True)
    curves = {name: np.array([run[name, OPTIMIZERS[name][1]][0] for run in runs]) for name in OPTIMIZERS}
    for axis, (name, own) in zip(axes.flat, curves.items(), strict=True):
        for other in curves.values():
            axis.semilogy(np.exp(np.log(other).mean(axis=0)), color=COLORS["gray"], linewidth=0.7, alpha=0.6)
        rate = OPTIMIZERS[name][1]
        for lr, look in ((rate / 3, ":"), (3 * rate, "--")):
            if (name, lr) in runs[0]:
                other = np.array([run[name, lr][0] for run in runs])
                axis.semilogy(np.exp(np.log(other).mean(axis=0)), look, color=COLORS["vermilion"], linewidth=1.5)
        axis.fill_between(range(EPOCHS + 1), own.min(axis=0), own.max(axis=0), color=COLORS["sky"], alpha=0.5)
        axis.semilogy(np.exp(np.log(own).mean(axis=0)), color=COLORS["blue"], linewidth=2.5)
        axis.set_title(f"{name}, lr = {rate:g}")
        axis.set(ylim=(0.005, 5), xticks=range(0, EPOCHS + 1, 2))
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    for axis in axes[:, 0]:
        axis.set_ylabel("training loss")
    return figure


experiment = Experiment(
    "optimizer_curves", __doc__, measure, claims, picture,
    caption="Blue: the training loss with the learning rate in the title, its mean over the seeds and their range. "
    "Red: a third of this rate (dotted) and three times as much (dashed). Gray: all other optimizers.",
    seeds=(3, 2),
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
