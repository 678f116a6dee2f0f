"""The graphs that the gradients of the demonstration flow through."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigrad import functional
from minigrad.demo.digits import network
from minigrad.demo.report import Report
from minigrad.draw import draw
from minigrad.draw.engine import EngineNotFound
from minigrad.draw.picture import Picture
from minigrad.tensor import Tensor


def batch_norm(seed: int) -> Picture:
    """Batch norm opened up, with the three paths into x."""
    rng = np.random.default_rng(seed)
    x = Tensor(rng.normal(size=(8, 5)), requires_grad=True).named("x")
    gamma = Tensor(np.ones(5), requires_grad=True).named("gamma", label="γ")
    beta = Tensor(np.zeros(5), requires_grad=True).named("beta", label="β")
    return draw(functional.batch_norm(x, gamma, beta))


def whole_network(seed: int) -> Picture:
    """The network of the digits, from a batch of images to the loss."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(64, 64)).astype(np.float32), rng.integers(0, 10, 64)
    return draw(functional.cross_entropy(network(seed)(x), y).named("loss"))


def show(report: Report, folder: Path, seed: int) -> bool:
    """Both graphs as SVG and PNG."""
    report.heading("Draw the gradient graph")
    for name, picture in (("batch-norm", batch_norm(seed)), ("network", whole_network(seed))):
        for suffix in ("svg", "png"):
            path = folder / f"{name}.{suffix}"
            try:
                report.wrote(picture.save(path))
            except EngineNotFound:
                report.wrote(path.with_suffix(".dot"))
                break
    if report.written[-1].suffix == ".dot":
        report.left_out("only DOT text without Graphviz or graphviz-pure", "dot")
        return True
    return report.verdict(True, "batch norm: x is reached along three paths, by way of x̂, σ² and μ, each in its color")
