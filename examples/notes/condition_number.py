"""How fast gradient descent and momentum converge.

On f(w) = ½ wᵀ A w, whose curvatures (the eigenvalues of A) lie between 1 and κ, every step of a method multiplies the
error by a matrix, and after a while the error shrinks by the spectral radius of that matrix in each step. With the best
learning rate, gradient descent has the rate (κ - 1)/(κ + 1); Polyak's momentum (√κ - 1)/(√κ + 1) (Polyak 1964);
Nesterov's, with the learning rate 1/κ, 1 - 1/√κ (Nesterov 2004, section 2.2). So momentum needs √κ steps where gradient
descent needs κ, which matters in the ill-conditioned valleys of deep networks.

The learning rate of gradient descent must stay below 2 over the largest curvature. One percent above, it diverges.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import minigrad as mg
from minigrad import optim
from minigrad.app.notes import COLORS, Claim, Experiment, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = 20
ACCURACY = 1e-10
# name: optimizer for a condition number κ, rate, and whether the rate is a double root
METHODS: dict[str, tuple[Any, Any, Any]] = {
    "gradient descent": (lambda w, k: optim.SGD(w, lr=2 / (k + 1)), lambda k: (k - 1) / (k + 1), False),
    "Nesterov": (
        lambda w, k: optim.SGD(w, lr=1 / k, momentum=(k**0.5 - 1) / (k**0.5 + 1), nesterov=True),
        lambda k: 1 - 1 / k**0.5,
        True,
    ),
    "momentum": (
        lambda w, k: optim.SGD(w, lr=4 / (k**0.5 + 1) ** 2, momentum=((k**0.5 - 1) / (k**0.5 + 1)) ** 2),
        lambda k: (k**0.5 - 1) / (k**0.5 + 1),
        True,
    ),
}


def measure(rng: np.random.Generator, quick: bool) -> Any:
    """{(method, κ): |w| after each step}, and that of gradient descent with too large a learning rate."""
    errors = {}
    for kappa in (10, 100) if quick else (10, 30, 100, 300, 1000):
        axes = mg.nn.init.orthogonal((SIZE, SIZE), rng=rng)
        curvature = axes * np.geomspace(1, kappa, SIZE) @ axes.T
        start = rng.normal(size=SIZE)
        for name, (optimizer, rate, _) in METHODS.items():
            steps = int(np.log(ACCURACY) / np.log(rate(kappa)))
            errors[name, kappa] = descend(curvature, start, lambda w, k=kappa, make=optimizer: make(w, k), steps)
        errors["too large", kappa] = descend(curvature, start, lambda w, k=kappa: optim.SGD(w, lr=2.02 / k), 400)
    return errors


def descend(curvature: Any, start: NDArray[Any], optimizer: Any, steps: int) -> Any:
    """|w| before and after each step on ½ wᵀ A w."""
    w = mg.Tensor(start, requires_grad=True)
    errors, optimizer = [np.linalg.norm(start)], optimizer([w])
    for _ in range(steps):
        optimizer.zero_grad()
        (w @ curvature @ w / 2).backward()
        optimizer.step()
        errors.append(np.linalg.norm(w.numpy()))
    return np.array(errors)


def measured_rate(errors: NDArray[Any], double: bool = False) -> Any:
    """The factor per step over the second half. For a double root, the error is about t rateᵗ."""
    end, half = len(errors) - 1, len(errors) // 2
    fall = errors[end] / errors[half] / (end / half if double else 1)
    return fall ** (1 / (end - half))


def speed(errors: Any, name: str) -> Any:
    """The measured speed -ln(rate) relative to the predicted one, for each κ."""
    _, rate, double = METHODS[name]
    return [np.log(measured_rate(e, double)) / np.log(rate(k)) for (n, k), e in errors.items() if n == name]


def claims(runs: list[Any]) -> Iterator[Claim]:
    """The theoretical rates, without free constants."""
    yield Claim("gradient descent, lr = 2/(κ + 1): the error falls by (κ - 1)/(κ + 1) per step; -ln(rate) over theory",
        [speed(run, "gradient descent") for run in runs], 0.99, 1.01,
        because="an error along curvature c is multiplied by 1 - lr c, worst for c = 1 and c = κ")  # fmt: skip
    yield Claim("Polyak's momentum at its best: it falls by (√κ - 1)/(√κ + 1) per step; -ln(rate) over theory",
        [speed(run, "momentum") for run in runs], 0.95, 1.1,
        because="z² - (1 + μ - lr c) z + μ has roots of size √μ = (√κ - 1)/(√κ + 1) for all c in 1 ... κ")  # fmt: skip
    yield Claim("Nesterov's, lr = 1/κ: it falls by 1 - 1/√κ per step; -ln(rate) over theory",
        [speed(run, "Nesterov") for run in runs], 0.95, 1.1,
        because="z² - (1 + μ)(1 - c/κ) z + μ (1 - c/κ) has the double root 1 - 1/√κ at c = 1")  # fmt: skip
    yield Claim("κ = 100: gradient descent needs 10 times as many steps as momentum for each digit",
        [np.log(measured_rate(run["momentum", 100], True)) / np.log(measured_rate(run["gradient descent", 100]))
         for run in runs], 9.5, 10.5,
        because="-ln of the rates is about 2/κ and 2/√κ")  # fmt: skip
    yield Claim("a learning rate 1 % above 2/κ diverges: the error grows by 2 % per step",
        [[measured_rate(e) for (name, _), e in run.items() if name == "too large"] for run in runs], 1.0195, 1.0205,
        because="|1 - 2.02/κ · κ| = 1.02")  # fmt: skip


def picture(runs: list[Any]) -> Figure:
    """Errors for κ = 100 on the left; steps per digit for all κ on the right."""
    figure, (left, right) = subplots(1, 2, title="Where gradient descent needs κ steps, momentum needs √κ")
    kappas = np.geomspace(8, 1200, 50)
    theory = {"color": "black", "linewidth": 1.5, "linestyle": ":", "zorder": 3}
    looks = {  # color, and places of the name
        "gradient descent": ("vermilion", (260, 5e-3), (45, 260)),
        "Nesterov": ("sky", (175, 2e-6), (110, 48)),
        "momentum": ("blue", (15, 2e-10), (300, 10)),
    }
    for name, (_, rate, double) in METHODS.items():
        color, *places = looks[name]
        errors = runs[0][name, 100]
        t = np.arange(len(errors))
        form = rate(100) ** t * (np.maximum(t, 1) if double else 1)
        left.semilogy(errors / errors[0], color=COLORS[color])
        left.semilogy(form * (errors[-1] / errors[0] / form[-1]), **theory)
        for run in runs:
            digit = {k: np.log(0.1) / np.log(measured_rate(e, double)) for (n, k), e in run.items() if n == name}
            right.loglog(list(digit), list(digit.values()), "o", color=COLORS[color], markersize=9)
        right.loglog(kappas, np.log(0.1) / np.log(rate(kappas)), **theory)
        for axis, place, side in ((left, places[0], "left"), (right, places[1], "center")):
            axis.text(*place, name, color=COLORS[color], fontsize=15, ha=side)
    right.text(0.03, 0.97, "dots: measured, all seeds\ndotted: theory", transform=right.transAxes, va="top")
    left.set(xlim=(0, 600), ylim=(ACCURACY, 3), xlabel="step", ylabel="error |w| / |w₀|", title="errors for κ = 100")
    right.set(
        xlim=(8, 1200),
        ylim=(2, 3000),
        xlabel="condition number κ",
        ylabel="steps for a factor of 10",
        title="steps for each digit",
    )
    return figure


experiment = Experiment(
    "condition_number", __doc__, measure, claims, picture,
    caption="Left: the error on a quadratic of condition number 100; dotted, the theoretical rates. Right: the number "
    "of steps per digit for each condition number, measured (dots, all seeds) and in theory (dotted).",
    seeds=(3, 2),
)  # fmt: skip

if __name__ == "__main__":
    experiment.main()
