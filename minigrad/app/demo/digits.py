"""Training a batch-norm network on handwritten digits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad import fused, nn, optim
from minigrad.app.demo.demo_output import DemoOutput
from minigrad.data import DataLoader
from minigrad.engine.modes import no_grad

Array = Any

REQUIRED = 0.97  # test accuracy
TEST_SIZE = 360  # of 1797 digits


class Digits(NamedTuple):
    """Images (N, 64) in [0, 1] as float32, and classes (N,), for training and testing."""

    x: Array
    y: Array
    x_test: Array
    y_test: Array


class History(NamedTuple):
    """The mean loss and the accuracy on the test digits, per epoch."""

    loss: list[float]
    accuracy: list[float]


def load(seed: int | np.random.Generator) -> Digits:
    """scikit-learn's 1797 digits of 8 by 8 pixels (Alpaydin & Kaynak 1998), shuffled and split.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(x))
    train, test = order[TEST_SIZE:], order[:TEST_SIZE]
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
    """The fraction of images that the model classifies correctly, in evaluation mode."""
    model.eval()
    with no_grad():
        predicted = model(x).numpy().argmax(axis=1)
    model.train()
    return float((predicted == y).mean())


def train(model: nn.Module, digits: Digits, epochs: int, seed: int, output: DemoOutput) -> History:
    """Train with Adam and cross-entropy; the learning rate falls to 0 along half a cosine."""
    history = History([], [])
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    batches = DataLoader(digits.x, digits.y, batch_size=64, shuffle=True, drop_last=True, rng=seed)
    steps, step = epochs * len(batches), 0
    with output.progress() as progress:
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


def show(output: DemoOutput, folder: Path, epochs: int, seed: int) -> bool:
    """Train, print the results, and draw the curves. Returns whether the required accuracy is reached."""
    output.heading("Train on handwritten digits")
    try:
        digits = load(seed)
    except ImportError:
        output.skipped("no digits without scikit-learn", "data")
        return True
    model = network(seed)
    count = sum(p.size for p in model.parameters())
    output.print(f"  64-128-64-10 with batch norm and ReLU, {count} parameters, float32, Adam")
    output.print(f"  {len(digits.x)} training digits, {len(digits.x_test)} test digits, {epochs} epochs, batches of 64")
    start = time.perf_counter()
    history = train(model, digits, epochs, seed, output)
    seconds = time.perf_counter() - start
    first, last, final = history.loss[0], history.loss[-1], history.accuracy[-1]
    output.print(f"  loss {first:.3f} in the first epoch, {last:.4f} in the last; {seconds:.1f} s")
    is_reached = output.verdict(
        final >= REQUIRED, f"test accuracy [bold]{final:.1%}[/], at least {REQUIRED:.0%} is required"
    )
    curves(output, folder, history)
    return is_reached


def curves(output: DemoOutput, folder: Path, history: History) -> None:
    """Draw loss and accuracy over the epochs as one picture."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        output.skipped("no curves without matplotlib", "plot")
        return
    epochs = range(1, len(history.loss) + 1)
    figure = Figure(figsize=(9, 3.4), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(epochs, history.loss, color="#0072B2", marker="o", markersize=3)
    left.set(title="Training loss (cross-entropy)", xlabel="epoch")
    right.plot(epochs, history.accuracy, color="#D55E00", marker="o", markersize=3)
    right.axhline(REQUIRED, color="#8A8A8A", linestyle="--", linewidth=1)
    right.annotate(f"{REQUIRED:.0%}", (1, REQUIRED), va="bottom", color="#555555")
    right.set(title="Test accuracy", xlabel="epoch")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    path = folder / "curves.png"
    figure.savefig(path)
    output.wrote(path)
