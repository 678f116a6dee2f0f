"""The graphs that the gradients of the demonstration flow through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minigrad import functional, fused
from minigrad.app.demo.demo_output import Report
from minigrad.app.demo.digits import network
from minigrad.drawing import EngineNotFound, draw
from minigrad.engine.tape import Tape
from minigrad.tensor.tensor import Tensor


def batch_norm(seed: int) -> tuple[Tensor, Any]:
    """Batch norm opened up, with the three paths into x; and its leaves, whose values live as long as they do."""
    rng = np.random.default_rng(seed)
    x = Tensor(rng.normal(size=(8, 5)), requires_grad=True).named("x")
    gamma = Tensor(np.ones(5), requires_grad=True).named("gamma", label="γ")
    beta = Tensor(np.zeros(5), requires_grad=True).named("beta", label="β")
    return functional.batch_norm(x, gamma, beta), (x, gamma, beta)


def whole_network(seed: int) -> tuple[Tensor, Any]:
    """The network of the digits, from a batch of images to the loss; and the network itself."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(64, 64)).astype(np.float32), rng.integers(0, 10, 64)
    model = network(seed)
    return fused.softmax_cross_entropy(model(x), y).named("loss"), model


def show(report: Report, folder: Path, seed: int) -> bool:
    """Both graphs as SVG and PNG, or as DOT text where nothing can draw them, and as pages to explore."""
    report.heading("Draw the gradient graphs")
    made = {"batch-norm": batch_norm(seed), "network": whole_network(seed)}
    lines = {name: len(Tape(output)) for name, (output, _) in made.items()}
    report.say(f"  batch norm, opened up: {lines['batch-norm']} lines, the paths from x to μ, σ² and x̂ in color")
    report.say(f"  the network, from images to the loss: {lines['network']} lines, folded to its layers")
    report.say("  the .html files are pages to explore: a slider plays the chain rule, a click on a box unfolds it")
    for name, (output, _) in made.items():
        picture = draw(output, depth=1)
        for suffix in (".svg", ".png"):
            try:
                report.wrote(picture.save(folder / f"{name}{suffix}"))
            except EngineNotFound:
                report.wrote(folder / f"{name}.dot")
                break
        report.wrote(picture.save(folder / f"{name}.html"))
    if (folder / "network.dot") in report.written:
        report.left_out("only as DOT text, without Graphviz or graphviz-pure", "dot")
    return True
