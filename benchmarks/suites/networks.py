"""A training step of a batch-norm network. 784-100×5-10 is the notes' network, 2-16-16-2 one for the moons.

Linear, BatchNorm, ReLU for each hidden layer, then Linear; cross-entropy and Adam as in `training`.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.suites.training import (
    LR,
    TORCH,
    NumPyAdam,
    constant,
    drawn,
    jax_training,
    minigrad_training,
    torch_training,
)
from benchmarks.workload import Goal, Make, Step, Workload, compiled

MOONS, NOTES = [2, 16, 16, 2], [784, 100, 100, 100, 100, 100, 10]


def problem(sizes: list[int], batch: int, tiny: bool) -> Any:
    """For each layer weight and bias, and for the hidden ones γ and β; a batch x with its labels."""
    if tiny:
        sizes, batch = [3, 5, 5, 2], 8
    rng = np.random.default_rng(0)
    layers = [
        [drawn(rng, n_in, n_out), constant(0, n_out), constant(1, n_out), constant(0, n_out)]
        for n_in, n_out in pairwise(sizes)
    ]
    layers[-1] = layers[-1][:2]
    x, labels = rng.standard_normal((batch, sizes[0]), dtype=np.float32), rng.integers(0, sizes[-1], batch)
    return SimpleNamespace(
        sizes=sizes, layers=layers, parameters=[a for layer in layers for a in layer], x=x, labels=labels
    )


def minigrad_network(sizes: list[int]) -> Any:
    from minigrad import nn

    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes[:-1]):
        layers += [nn.Linear(n_in, n_out, dtype="float32"), nn.BatchNorm(n_out, dtype="float32"), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:], dtype="float32"))


def minigrad_step(p: Any) -> Step:
    return minigrad_training(minigrad_network(p.sizes), p.parameters, p.x, p.labels)


def minigrad_composed_step(p: Any) -> Step:
    """From primitives, each of them a line on the tape that one can see and draw."""
    import minigrad as mg
    from minigrad import functional, optim

    layers = [[mg.Tensor(a, requires_grad=True) for a in layer] for layer in p.layers]
    optimizer = optim.Adam([t for layer in layers for t in layer], lr=LR)

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        for weight, bias, gamma, beta in layers[:-1]:
            x = mg.relu(functional.batch_norm(x @ weight + bias, gamma, beta))
        weight, bias = layers[-1]
        loss = functional.cross_entropy(x @ weight + bias, labels)
        loss.backward()
        optimizer.step()
        return loss

    return Step(step, (p.x, p.labels))


def torch_network(sizes: list[int]) -> Any:
    from torch import nn

    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes[:-1]):
        layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:]))


def torch_step(p: Any, **how: bool) -> Step:
    return torch_training(torch_network(p.sizes), p.parameters, p.x, p.labels, **how)


def jax_logits(parameters: Any, x: Any) -> Any:
    import jax
    from jax import numpy as jnp

    *hidden, weight, bias = parameters
    for k in range(0, len(hidden), 4):
        layer_weight, layer_bias, gamma, beta = hidden[k : k + 4]
        z = x @ layer_weight + layer_bias
        centered = z - z.mean(0)
        x = jnp.maximum(centered * jax.lax.rsqrt((centered**2).mean(0) + 1e-5) * gamma + beta, 0)
    return x @ weight + bias


def jax_step(p: Any) -> Step:
    return jax_training(jax_logits, p.parameters, p.x, p.labels)


def autograd_step(p: Any) -> Step:
    from autograd import numpy as anp
    from autograd import value_and_grad

    def loss_of(layers: Any, x: Any, labels: Any) -> Any:
        for weight, bias, gamma, beta in layers[:-1]:
            z = x @ weight + bias
            centered = z - anp.mean(z, axis=0)
            istd = 1 / anp.sqrt(anp.mean(centered * centered, axis=0) + 1e-5)
            x = anp.maximum(centered * istd * gamma + beta, 0)
        weight, bias = layers[-1]
        logits = x @ weight + bias
        logits = logits - anp.max(logits, axis=1, keepdims=True)
        chosen = logits[np.arange(len(labels)), labels]
        return anp.mean(anp.log(anp.sum(anp.exp(logits), axis=1)) - chosen)

    optimizer, gradient = NumPyAdam(p.parameters), value_and_grad(loss_of)

    def step(x: Any, labels: Any) -> Any:
        loss, gradients = gradient(p.layers, x, labels)
        optimizer.step([g for layer in gradients for g in layer])
        return loss

    return Step(step, (p.x, p.labels))


def mygrad_step(p: Any) -> Step:
    import mygrad
    from mygrad.nnet import batchnorm, relu, softmax_crossentropy

    layers = [[mygrad.tensor(a, copy=False) for a in layer] for layer in p.layers]
    parameters = [t for layer in layers for t in layer]
    optimizer = NumPyAdam([t.data for t in parameters])

    def step(x: Any, labels: Any) -> Any:
        for weight, bias, gamma, beta in layers[:-1]:
            x = relu(batchnorm(x @ weight + bias, gamma=gamma, beta=beta, eps=1e-5))
        weight, bias = layers[-1]
        loss = softmax_crossentropy(x @ weight + bias, labels)
        loss.backward()
        optimizer.step([t.grad for t in parameters])
        return loss

    return Step(step, (p.x, p.labels))


def tinygrad_step(p: Any) -> Step:
    from tinygrad import Context, Tensor, TinyJit, nn

    layers: list[Any] = []
    for weight, bias, *_ in p.layers:
        layer = nn.Linear(*weight.shape)
        layer.weight, layer.bias = Tensor(weight.T.copy()), Tensor(bias)
        layers += [layer, nn.BatchNorm(weight.shape[1]), Tensor.relu]
    layers = layers[:-2]
    optimizer = nn.optim.Adam(nn.state.get_parameters(layers), lr=LR)

    @TinyJit
    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        with Context(TRAINING=1):
            loss = x.sequential(layers).sparse_categorical_crossentropy(labels).backward()
            return loss.realize(*optimizer.schedule_step())

    x, labels = Tensor(p.x).realize(), Tensor(p.labels.astype(np.int32)).realize()
    return Step(lambda: step(x, labels).item())


CONTENDERS: dict[str, Make] = {
    "minigrad": minigrad_step,
    "minigrad, from primitives": minigrad_composed_step,
    **compiled(minigrad_step),
    **{name: partial(torch_step, **how) for name, how in TORCH.items()},
    "jax.jit": jax_step,
    "autograd": autograd_step,
    "MyGrad": mygrad_step,
    "tinygrad": tinygrad_step,
}


def row(title: str, sizes: list[int], batch: int, goals: tuple[Goal, ...]) -> Workload:
    of = partial(problem, sizes, batch)
    return Workload(title, of, CONTENDERS, "PyTorch, fused Adam", goals, calls=3, tolerance=1e-3)


WORKLOADS = [
    row(
        "2-16-16-2, batch 100",
        MOONS,
        100,
        (
            Goal("minigrad", "PyTorch, fused Adam", 0.50, 0.35),
            Goal("minigrad compiled, numba", "jax.jit", 0.15, 0.09),
        ),
    ),
    row(
        "784-100×5-10, batch 128",
        NOTES,
        128,
        (
            Goal("minigrad", "PyTorch, fused Adam", 1.10, 0.90),
            Goal("minigrad compiled, NumPy", "jax.jit", 1.10, 0.90),
            Goal("minigrad compiled, numba", "jax.jit", 0.65, 0.50),
        ),
    ),
]
