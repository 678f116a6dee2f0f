"""Paths of optimizers through a valley and around a bend.

A valley is 25 times as steep across as along. Gradient descent jumps from wall to wall; stochastic gradients (here with
noise) do the same at random. Momentum accumulates the common direction of the steps, which is along the valley.
Adagrad, RMSprop, Adadelta and Adam divide each coordinate by the size of its own gradients. If the valley is along an
axis, this makes it round: the curvature cancels, and the path is straight whatever the condition number. Turned by 30°,
the valley is not along any coordinate, and this advantage is gone. Gradient descent and momentum do not depend on the
axes.

Rosenbrock's function (1 - x)² + 100 (y - x²)² has a valley with a bend, and its minimum at (1, 1). L-BFGS, which
estimates curvature from the changes of the gradient, gets there in about thirty steps; gradient descent does not in
five hundred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

import minigrad as mg
from minigrad import optim
from minigrad.app.notes import COLORS, Claim, Experiment, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KAPPA, TURN = 25, np.pi / 6
STEPS = {"valley along an axis": 60, "turned by 30°": 60, "Rosenbrock": 500}
OPTIMIZERS = {  # a function of parameters and learning rate; the rates in the valleys and on Rosenbrock's function
    "GD": (lambda w, lr: optim.SGD(w, lr=lr), 0.06, 1.5e-3),
    "SGD, noisy": (lambda w, lr: optim.SGD(w, lr=lr), 0.06, 1.5e-3),
    "Momentum": (lambda w, lr: optim.SGD(w, lr=lr, momentum=0.8), 0.02, 1e-3),
    "Nesterov": (lambda w, lr: optim.SGD(w, lr=lr, momentum=0.8, nesterov=True), 0.02, 1e-3),
    "Adagrad": (optim.Adagrad, 0.3, 0.5),
    "RMSprop": (lambda w, lr: optim.RMSprop(w, lr=lr, alpha=0.9), 0.03, 0.01),
    "Adadelta": (lambda w, lr: optim.Adadelta(w, lr=lr, eps=1e-4), 1.0, 1.0),
    "Adam": (optim.Adam, 0.1, 0.1),
    "NAdam": (optim.NAdam, 0.1, 0.05),
    "Lion": (optim.Lion, 0.025, 0.01),
    "L-BFGS": (lambda w, lr: optim.LBFGS(w, lr=lr, max_iter=1, line_search_fn="strong_wolfe"), 1.0, 1.0),
}
COLUMNS = {
    "the gradient alone": ("SGD, noisy", "GD"),
    "memory of the way": ("Momentum", "Nesterov"),
    "a rate for each coordinate": ("Adagrad", "RMSprop", "Adadelta"),
    "both": ("Adam", "NAdam", "Lion"),
    "curvature": ("L-BFGS",),
}


def valley(turn: float = 0.0, kappa: float = KAPPA) -> Any:
    """½ wᵀ A w with curvatures 1 and κ; the direction of the first is turned by an angle."""
    along = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    curvature = along * [1, kappa] @ along.T
    return lambda w: w @ curvature @ w / 2


def rosenbrock(w: Any) -> Any:
    """The function of Rosenbrock (1960)."""
    return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2


LOSSES = dict(zip(STEPS, (valley(), valley(TURN), rosenbrock), strict=True))


def descend(loss: Any, start: Any, optimizer: Any, steps: int, noise: Callable[[], Any] = lambda: 0.0) -> Any:
    """The path (steps + 1, 2) of an optimizer, with noise added to the gradient."""
    w = mg.Tensor(start, requires_grad=True)
    optimizer = optimizer([w])

    def closure() -> Any:
        optimizer.zero_grad()
        value = loss(w)
        value.backward()
        w.grad = w.grad.data + noise()
        return value

    path = [w.numpy().copy()]
    for _ in range(steps):
        optimizer.step(closure)
        path.append(w.numpy().copy())
    return np.array(path)


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """{(loss, optimizer): path}, and the path of Adam on the diagonal of a valley with a random condition number."""
    angle = rng.uniform(0.6, 0.9)
    paths: dict[Any, Any] = {}
    starts = [1.5 * np.array([-np.cos(a), np.sin(a)]) for a in (angle, angle - TURN)]
    for (place, loss), start in zip(LOSSES.items(), [*starts, rng.normal([-1.4, 1.5], 0.1)], strict=True):
        for name, (make, rate, slow_rate) in OPTIMIZERS.items():
            lr = slow_rate if loss is rosenbrock else rate
            noise = (lambda: rng.normal(scale=1.5, size=2)) if "noisy" in name else (lambda: 0.0)
            paths[place, name] = descend(loss, start, lambda w, f=make, lr=lr: f(w, lr), STEPS[place], noise)
    steep = valley(kappa=10 ** rng.uniform(1, 4))
    paths["diagonal"] = descend(steep, [1.0, 1.0], lambda w: optim.Adam(w, lr=0.1, eps=0), 60)
    return paths


def claims(runs: list[Any]) -> Iterator[Claim]:
    """Three symmetries, which hold up to rounding, and how far each optimizer gets."""
    straight, turned, bend = STEPS

    def distances(run: Any, place: Any, name: Any) -> Any:
        return np.linalg.norm(run[place, name] - (place == bend), axis=1)

    yield Claim("in a valley along an axis, of any condition number, Adam stays on the diagonal: |x - y| at most",
        [np.abs(run["diagonal"][:, 0] - run["diagonal"][:, 1]).max() for run in runs], at_most=1e-12,
        because="a curvature c multiplies m by c and √s by c; it cancels in m/√s")  # fmt: skip
    yield Claim("turning the valley changes no distance from the minimum by more than 1e-9 for GD and Momentum",
        [[np.abs(distances(run, straight, name) - distances(run, turned, name)).max() for name in ("GD", "Momentum")]
         for run in runs], at_most=1e-9,
        because="a turned gradient gives a turned step")  # fmt: skip
    yield Claim("but after 60 steps RMSprop is at least 5 times as far away in the turned valley",
        [distances(run, turned, "RMSprop")[-1] / distances(run, straight, "RMSprop")[-1] for run in runs], at_least=5,
        because="no single coordinate is steep, so none can be slowed down separately")  # fmt: skip
    yield Claim("the first step of Adam is lr in every coordinate, however steep: |Δ| / lr",
        [np.abs(np.diff(run[place, "Adam"][:2], axis=0)) / 0.1 for run in runs for place in STEPS], 0.999, 1.001,
        because="after one step m̂ = g and ŝ = g², so m̂/√ŝ = ±1")  # fmt: skip
    yield Claim("L-BFGS comes within 0.001 of Rosenbrock's minimum in at most 60 steps",
        [np.argmax(distances(run, bend, "L-BFGS") < 1e-3) or np.inf for run in runs], at_most=60,
        because="its model of the curvature bends with the valley")  # fmt: skip
    yield Claim("after 500 steps gradient descent is still at least 0.3 away",
        [distances(run, bend, "GD")[-1] for run in runs], at_least=0.3,
        because="lr < 2/κ across the valley; along it the gradient is a thousand times smaller")  # fmt: skip
    yield Claim("Momentum is at most half as far away by then",
        [distances(run, bend, "Momentum")[-1] / distances(run, bend, "GD")[-1] for run in runs], at_most=0.5,
        because="μ = 0.8 makes it up to 1/(1 - μ) = 5 times as fast along the valley")  # fmt: skip


def picture(runs: list[Any]) -> Figure:
    """A row for each loss, a column for each idea."""
    title = "Paths of optimizers: in a valley, in the same valley turned, around a bend"
    figure, axes = subplots(len(STEPS), len(COLUMNS), size=(16, 10), sharex=True, sharey="row", title=title)
    looks = [(COLORS["sky"], 5), (COLORS["vermilion"], 2.8), (COLORS["black"], 1)]  # thick ones below thin ones
    for row, place in zip(axes, STEPS, strict=True):
        bend = place == "Rosenbrock"
        low, high = (-1, 3) if bend else (-1.5, 1.5)
        x, y = np.meshgrid(np.linspace(-2, 2, 61), np.linspace(low, high, 61))
        height = np.vectorize(lambda *w, loss=LOSSES[place]: loss(np.array(w)))(x, y)
        for axis, names in zip(row, COLUMNS.values(), strict=True):
            axis.contour(x, y, np.sqrt(height), levels=10, colors=COLORS["gray"], linewidths=0.5)
            for (color, width), name in zip(looks, names, strict=False):
                axis.plot(*runs[0][place, name].T, color=color, linewidth=width, label=name)
            axis.plot([bend], [bend], "*", color="white", markersize=17, markeredgecolor="black", zorder=3)
            axis.set(xlim=(-2, 2), ylim=(low, high))
        row[0].set_ylabel(place)
    for axis, idea in zip(axes[0], COLUMNS, strict=True):
        axis.set_title(idea)
        axis.legend(loc="lower right", framealpha=0.8, frameon=True, edgecolor="white", fontsize=12)
    return figure


experiment = Experiment(
    "optimizer_paths", __doc__, measure, claims, picture,
    caption="The star is the minimum. Above, a valley 25 times as steep across as along: 60 steps. "
    "Middle: turned by 30°, the methods with a rate for each coordinate lose their advantage. Below: 500 steps on "
    "Rosenbrock's function.",
    seeds=(5, 2),
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
