"""A batch-norm network learns handwritten digits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad import fused, nn, optim
from minigrad.app.demo.demo_output import Report
from minigrad.data import DataLoader
from minigrad.engine.modes import no_grad

Array = Any

NEEDED = 0.97  # test accuracy
TESTED = 360  # of 1797 digits


class Digits(NamedTuple):
    """Images (N, 64) in [0, 1] as float32, and classes (N,), for training and for the test."""

    x: Array
    y: Array
    x_test: Array
    y_test: Array


class History(NamedTuple):
    """Per epoch: the mean loss, and the accuracy on the test digits."""

    loss: list[float]
    accuracy: list[float]


def load(seed: int | np.random.Generator) -> Digits:
    """scikit-learn's 1797 digits of 8 by 8 pixels (Alpaydin & Kaynak 1998), shuffled and split.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(x))
    train, test = order[TESTED:], order[:TESTED]
    return Digits(x[train], y[train], x[test], y[test])


def network(seed: int) -> nn.Sequential:
    """64-128-64-10 with batch norm and ReLU, in float32."""
    rng = np.random.default_rng(seed)

    def linear(inputs: int, outputs: int) -> nn.Linear:
        return nn.Linear(inputs, outputs, init="he_normal", rng=rng, dtype=np.float32)

    return nn.Sequential(
        linear(64, 128),
        nn.BatchNorm(128, dtype=np.float32),
        nn.ReLU(),
        linear(128, 64),
        nn.BatchNorm(64, dtype=np.float32),
        nn.ReLU(),
        linear(64, 10),
    )


def accuracy(model: nn.Module, x: Array, y: Array) -> float:
    """The share of images whose class the model finds, with the statistics that it learned."""
    model.eval()
    with no_grad():
        found = model(x).numpy().argmax(axis=1)
    model.train()
    return float((found == y).mean())


def train(model: nn.Module, digits: Digits, epochs: int, seed: int, report: Report) -> History:
    """Adam with cross-entropy, its rate falling to 0 along a half cosine."""
    history = History([], [])
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    batches = DataLoader(digits.x, digits.y, batch_size=64, shuffle=True, drop_last=True, rng=seed)
    steps, step = epochs * len(batches), 0
    with report.progress() as progress:
        bar = progress.add_task("training", total=steps, now="")
        for epoch in range(1, epochs + 1):
            losses = []
            for x, y in batches:
                optimizer.param_groups[0]["lr"] = 3e-3 * (1 + np.cos(np.pi * step / steps)) / 2
                optimizer.zero_grad()
                loss = fused.softmax_cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                step += 1
                progress.update(bar, completed=step)
            history.loss.append(float(np.mean(losses)))
            history.accuracy.append(accuracy(model, digits.x_test, digits.y_test))
            progress.update(bar, now=f"epoch {epoch}  loss {history.loss[-1]:.4f}  accuracy {history.accuracy[-1]:.3f}")
    return history


def show(report: Report, folder: Path, epochs: int, seed: int) -> bool:
    """Train, say how well it went, and draw the curves. Returns whether the accuracy is reached."""
    report.heading("Train on handwritten digits")
    try:
        digits = load(seed)
    except ImportError:
        report.left_out("no digits without scikit-learn", "data")
        return True
    model = network(seed)
    count = sum(p.size for p in model.parameters())
    report.say(f"  64-128-64-10 with batch norm and ReLU, {count} parameters, float32, Adam")
    report.say(f"  {len(digits.x)} digits to learn from, {len(digits.x_test)} to test, {epochs} epochs, batches of 64")
    began = time.perf_counter()
    history = train(model, digits, epochs, seed, report)
    seconds = time.perf_counter() - began
    first, last, reached = history.loss[0], history.loss[-1], history.accuracy[-1]
    report.say(f"  loss {first:.3f} in the first epoch, {last:.4f} in the last; {seconds:.1f} s")
    right = report.verdict(reached >= NEEDED, f"test accuracy [bold]{reached:.1%}[/], at least {NEEDED:.0%} asked for")
    curves(report, folder, history)
    return right


def curves(report: Report, folder: Path, history: History) -> None:
    """Loss and accuracy over the epochs, as one picture."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        report.left_out("no curves without matplotlib", "plot")
        return
    epochs = range(1, len(history.loss) + 1)
    figure = Figure(figsize=(9, 3.4), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(epochs, history.loss, color="#0072B2", marker="o", markersize=3)
    left.set(title="Training loss (cross-entropy)", xlabel="epoch")
    right.plot(epochs, history.accuracy, color="#D55E00", marker="o", markersize=3)
    right.axhline(NEEDED, color="#8A8A8A", linestyle="--", linewidth=1)
    right.annotate(f"{NEEDED:.0%}", (1, NEEDED), va="bottom", color="#555555")
    right.set(title="Test accuracy", xlabel="epoch")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    path = folder / "curves.png"
    figure.savefig(path)
    report.wrote(path)
