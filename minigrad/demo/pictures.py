"""The graphs that the gradients of the demonstration flow through."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigrad import functional, fused
from minigrad.demo.digits import network
from minigrad.demo.report import Report
from minigrad.drawing import draw
from minigrad.drawing.engine import EngineNotFound
from minigrad.tape import Tape
from minigrad.tensor import Tensor


def batch_norm(seed: int) -> Tape:
    """Batch norm opened up, with the three paths into x."""
    rng = np.random.default_rng(seed)
    x = Tensor(rng.normal(size=(8, 5)), requires_grad=True).named("x")
    gamma = Tensor(np.ones(5), requires_grad=True).named("gamma", label="γ")
    beta = Tensor(np.zeros(5), requires_grad=True).named("beta", label="β")
    return Tape(functional.batch_norm(x, gamma, beta))


def whole_network(seed: int) -> Tape:
    """The network of the digits, from a batch of images to the loss."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(64, 64)).astype(np.float32), rng.integers(0, 10, 64)
    return Tape(fused.softmax_cross_entropy(network(seed)(x), y).named("loss"))


def show(report: Report, folder: Path, seed: int) -> bool:
    """Both graphs as SVG and PNG, or as DOT text where nothing can draw them."""
    report.heading("Draw the gradient graphs")
    graphs = {"batch-norm": batch_norm(seed), "network": whole_network(seed)}
    report.say(f"  batch norm, opened up: {len(graphs['batch-norm'])} lines, the paths from x to μ, σ² and x̂ in color")
    report.say(f"  the network, from images to the loss: {len(graphs['network'])} lines")
    for name, tape in graphs.items():
        for suffix in (".svg", ".png"):
            try:
                report.wrote(draw(tape).save(folder / f"{name}{suffix}"))
            except EngineNotFound:
                report.wrote(folder / f"{name}.dot")
                break
    if report.written[-1].suffix == ".dot":
        report.left_out("only as DOT text, without Graphviz or graphviz-pure", "dot")
    return True
