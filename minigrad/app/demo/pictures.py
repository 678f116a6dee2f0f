"""The pictures of the demo: the graphs of batch norm and of the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minigrad import functional, fused
from minigrad.app.demo.demo_output import DemoOutput
from minigrad.app.demo.digits import network
from minigrad.drawing import EngineNotFound, draw
from minigrad.engine.tape import Tape
from minigrad.tensor.tensor import Tensor


def batch_norm(seed: int) -> tuple[Tensor, Any]:
    """Composed batch norm, with three paths into x; and its leaves, which must stay alive to have values."""
    rng = np.random.default_rng(seed)
    x = Tensor(rng.normal(size=(8, 5)), requires_grad=True).named("x")
    gamma = Tensor(np.ones(5), requires_grad=True).named("gamma", label="γ")
    beta = Tensor(np.zeros(5), requires_grad=True).named("beta", label="β")
    return functional.batch_norm(x, gamma, beta), (x, gamma, beta)


def whole_network(seed: int) -> tuple[Tensor, Any]:
    """The loss of the digits' network on a batch of images; and the network itself."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(64, 64)).astype(np.float32), rng.integers(0, 10, 64)
    model = network(seed)
    return fused.softmax_cross_entropy(model(x), y).named("loss"), model


def show(output: DemoOutput, folder: Path, seed: int) -> bool:
    """Save both graphs as SVG and PNG, or as DOT text without a drawing program, and as pages to explore."""
    output.heading("Draw the gradient graphs")
    outputs = {"batch-norm": batch_norm(seed), "network": whole_network(seed)}
    nodes = {name: len(Tape(loss)) for name, (loss, _) in outputs.items()}
    output.print(f"  batch norm, composed: {nodes['batch-norm']} nodes, the paths from x to μ, σ² and x̂ in color")
    output.print(f"  the network, from images to the loss: {nodes['network']} nodes, folded to its layers")
    output.print("  the .html files are pages to explore: a slider steps along the tape, a click on a box unfolds it")
    for name, (loss, _) in outputs.items():
        picture = draw(loss, depth=1)
        for suffix in (".svg", ".png"):
            try:
                output.wrote(picture.save(folder / f"{name}{suffix}"))
            except EngineNotFound:
                output.wrote(folder / f"{name}.dot")
                break
        output.wrote(picture.save(folder / f"{name}.html"))
    if (folder / "network.dot") in output.written:
        output.skipped("only as DOT text, without Graphviz or graphviz-pure", "dot")
    return True
