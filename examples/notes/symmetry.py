"""Zero and equal weights: the units of a layer stay identical.

If all weights of a layer start with the same value, its units compute the same output, receive the same gradient, and
are the same after every step: the symmetry never breaks, and a layer of 16 units can do what one unit can. Zeros are
worse: tanh(0) = 0, so the activations and gradients of the hidden layers are always 0, and only the bias of the last
layer learns: the frequencies of the classes. Random weights break the symmetry.

By induction: let the columns of W1 be equal, and the rows of W2. Then the columns of h = tanh(x W1) are equal, and so
are those of dl/dh = dl/dz W2ᵀ and of dl/dW1 = xᵀ (dl/dh · (1 - h²)), and the rows of dl/dW2 = hᵀ dl/dz.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minigrad import functional, nn, optim
from minigrad.app.notes import Claim, Experiment, digits, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS, STEPS, BATCH = 16, 600, 64
STARTS = {
    "all 0": lambda shape, **given: nn.init.zeros(shape, **given),
    "all 0.1": lambda shape, **given: nn.init.constant(shape, value=0.1, **given),
    "random (Xavier)": lambda shape, **given: nn.init.glorot_normal(shape, **given),
}


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """{start: losses, weights of the hidden layers, test accuracy, frequency of the largest class}"""
    data = digits(rng)
    return {
        start: train(init, data, rng.integers(1000), STEPS // (3 if quick else 1)) for start, init in STARTS.items()
    }


def train(init: Any, data: Any, seed: Any, steps: int) -> Any:
    """Train a network 64-16-16-10 with tanh on digits."""
    rng = np.random.default_rng(seed)
    x, x_test, y = data.x - data.x.mean(), data.x_test - data.x.mean(), data.y
    hidden = [nn.Linear(64, UNITS, init=init, rng=rng), nn.Linear(UNITS, UNITS, init=init, rng=rng)]
    model = nn.Sequential(hidden[0], nn.Tanh(), hidden[1], nn.Tanh(), nn.Linear(UNITS, 10, init=init, rng=rng))
    optimizer, losses = optim.SGD(model.parameters(), lr=0.1, momentum=0.9), []
    for _ in range(steps):
        rows = rng.integers(0, len(x), BATCH)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    weights = [layer.weight.numpy() for layer in hidden]
    right = model(x_test).numpy().argmax(axis=1) == data.y_test
    frequent = np.bincount(data.y_test).max() / len(data.y_test)
    return {"losses": losses, "weights": weights, "accuracy": right.mean(), "frequent": frequent}


def difference(weights: NDArray[Any]) -> Any:
    """The distance of the two most different units of a layer, relative to the norm of their weights."""
    distances = np.linalg.norm(weights[:, :, None] - weights[:, None, :], axis=0)
    return distances.max() / np.linalg.norm(weights, axis=0).max()


def closest(weights: NDArray[Any]) -> Any:
    """The distance of the two most similar units of a layer, relative to the norm of their weights."""
    distances = np.linalg.norm(weights[:, :, None] - weights[:, None, :], axis=0) + np.diag([np.inf] * UNITS)
    return distances.min() / np.linalg.norm(weights, axis=0).max()


def claims(runs: list[Any]) -> Iterator[Claim]:
    """The symmetry as a distance between units, and its effect on accuracy."""
    zero, equal, random = ([run[start] for run in runs] for start in STARTS)
    yield Claim("zeros: the hidden weights are exactly 0 after training",
        [[np.abs(w).max() for w in r["weights"]] for r in zero], at_most=0,
        because="h = tanh(0) = 0, and dl/dW2 = hᵀ dl/dz, dl/dh = dl/dz W2ᵀ are 0")  # fmt: skip
    yield Claim("equal weights: all 16 units of a layer are the same after training, up to rounding",
        [[difference(w) for w in r["weights"]] for r in equal], at_most=1e-9,
        because="equal units have equal gradients; float64 has 16 digits")  # fmt: skip
    yield Claim("random weights: any two units differ by more than a tenth of their norm",
        [[closest(w) for w in r["weights"]] for r in random], at_least=0.1,
        because="they differed at the start")  # fmt: skip
    yield Claim("zeros: no better than always predicting the same class",
        [r["accuracy"] - r["frequent"] for r in zero], at_most=0,
        because="the output does not depend on the input")  # fmt: skip
    yield Claim("equal weights: less than half of the test digits are recognized",
        [r["accuracy"] for r in equal], at_most=0.5,
        because="the information of one unit, a number between -1 and 1, must distinguish ten classes")  # fmt: skip
    yield Claim("random weights: more than 90 % are recognized",
        [r["accuracy"] for r in random], at_least=0.9, because="16 different features")  # fmt: skip


def picture(runs: list[Any]) -> Figure:
    """The weights of the 16 units as images of 8 by 8 pixels, and the losses."""
    figure, axes = subplots(
        1, 4, size=(14, 4.4), title="The 16 units of the first layer after training, by their weights"
    )
    for axis, (start, result) in zip(axes, runs[0].items(), strict=False):
        weights = result["weights"][0]
        sheet = np.full((4 * 9 + 1, 4 * 9 + 1), np.nan)
        for unit, image in enumerate(weights.T):
            top, left = 1 + 9 * (unit // 4), 1 + 9 * (unit % 4)
            sheet[top : top + 8, left : left + 8] = image.reshape(8, 8)
        limit = np.abs(weights).max() or 1
        axis.imshow(sheet, cmap="PuOr", vmin=-limit, vmax=limit)
        axis.set_title(f"{start}: {result['accuracy']:.0%} right")
        axis.set_axis_off()
        axes[3].plot(np.convolve(result["losses"], np.ones(20) / 20, "valid"), label=start)
    axes[3].set(title="Loss, mean of 20 steps", xlabel="step", ylim=(0, None))
    axes[3].legend()
    return figure


experiment = Experiment(
    "symmetry", __doc__, measure, claims, picture, seeds=(3, 1),
    caption="Each square is a unit: its weights from the 8 by 8 pixels, purple positive, orange negative. Started "
    "from zeros, the weights stay 0; from equal values, all sixteen units are the same; from random values, "
    "there are sixteen features.",
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
