"""Graphs of scalars, as micrograd makes them: the expression of its README, and the loss of its moons network.

The same Python runs on micrograd's Values, minigrad's Tensors and PyTorch's; only the leaves differ.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice, pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.workload import Goal, Make, Step, Workload, compiled

Leaf = Callable[[float], Any]


def expression_problem(tiny: bool) -> Any:
    return SimpleNamespace(leaves=[-4.0, 2.0], function=expression)


def expression(leaves: list[Any]) -> Any:
    """The example of micrograd's README (Karpathy 2020)."""
    a, b = leaves
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    f = (c - d) ** 2
    return f / 2.0 + 10.0 / f


def moons_problem(tiny: bool) -> Any:
    """Two half circles, and the parameters of a 2-16-16-1 network."""
    rng = np.random.default_rng(0)
    sizes, count = ([2, 3, 1], 4) if tiny else ([2, 16, 16, 1], 20)
    angles = np.linspace(0, np.pi, count // 2)
    upper = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = np.concatenate([upper, [1.0, 0.5] - upper]) + 0.1 * rng.standard_normal((count, 2))
    labels = np.repeat([1.0, -1.0], count // 2)
    total = sum((n + 1) * m for n, m in pairwise(sizes))
    loss = partial(moons_loss, sizes=sizes, points=points.tolist(), labels=labels.tolist())
    return SimpleNamespace(leaves=rng.uniform(-1, 1, total).tolist(), function=loss)


def moons_loss(parameters: list[Any], sizes: list[int], points: list[list[float]], labels: list[float]) -> Any:
    """The hinge loss of micrograd's demo, with its penalty on the parameters."""
    loss = 0.0
    for point, label in zip(points, labels, strict=True):
        loss = loss + (1 - label * network(parameters, sizes, point)).relu()
    return loss * (1 / len(points)) + 1e-4 * sum((w * w for w in parameters), 0.0)


def network(parameters: list[Any], sizes: list[int], x: list[Any]) -> Any:
    """Neurons one by one: a bias and one weight for each input, with relu in all layers but the last."""
    taken = iter(parameters)
    for depth, width in enumerate(sizes[1:], 2):
        neurons = []
        for _ in range(width):
            bias, *weights = islice(taken, len(x) + 1)
            neurons.append(sum((w * value for w, value in zip(weights, x, strict=True)), bias))
        x = [n.relu() for n in neurons] if depth < len(sizes) else neurons
    return x[0]


def on(leaf_of: Callable[[], Leaf]) -> Make:
    """The step with the leaves of a library."""

    def make(p: Any) -> Step:
        leaves = [leaf_of()(value) for value in p.leaves]

        def step() -> Any:
            for leaf in leaves:
                leaf.grad = None
            loss = p.function(leaves)
            loss.backward()
            return loss, [leaf.grad for leaf in leaves]

        return Step(step)

    return make


def minigrad_leaf() -> Leaf:
    import minigrad as mg

    return lambda value: mg.Tensor(value, requires_grad=True)


def torch_leaf() -> Leaf:
    import torch

    return lambda value: torch.tensor(value, dtype=torch.float64, requires_grad=True)


def micrograd_step(p: Any) -> Step:
    from micrograd.engine import Value

    leaves = [Value(value) for value in p.leaves]

    def step() -> Any:
        for leaf in leaves:
            leaf.grad = 0
        loss = p.function(leaves)
        loss.backward()
        return loss, [leaf.grad for leaf in leaves]

    return Step(step)


CONTENDERS: dict[str, Make] = {
    "minigrad": on(minigrad_leaf),
    "PyTorch": on(torch_leaf),
    "micrograd": micrograd_step,
}
CONTENDERS |= compiled(on(minigrad_leaf))
GOALS = (Goal("minigrad", "micrograd", 1.0, 0.8),)
WORKLOADS = [
    Workload("the expression of micrograd's README", expression_problem, CONTENDERS, "micrograd", GOALS),
    Workload("moons loss, 2-16-16-1, 20 points, neuron by neuron", moons_problem, CONTENDERS, "micrograd", GOALS),
]
