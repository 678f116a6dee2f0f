"""The training step in each library: forward, cross-entropy, backward, Adam. The suites give the models.

Parameters are lists of arrays in minigrad's order and layout, so that every library starts from the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.workload import Step

LR, BETAS, EPS = 1e-3, (0.9, 0.999), 1e-8


def drawn(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """A kernel (..., in, out) from N(0, 1/fan_in)."""
    return rng.standard_normal(shape, dtype=np.float32) / np.float32(np.prod(shape[:-1])) ** np.float32(0.5)


def constant(value: float, *shape: int) -> np.ndarray:
    return np.full(shape, value, dtype=np.float32)


# minigrad


def minigrad_training(
    model: Any, parameters: Iterable[np.ndarray], x: np.ndarray, labels: np.ndarray, clipnorm: float | None = None
) -> Step:
    from minigrad import fused, optim

    for parameter, value in zip(model.parameters(), parameters, strict=True):
        parameter.data[...] = value
    optimizer = optim.Adam(model.parameters(), lr=LR, global_clipnorm=clipnorm)

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = fused.softmax_cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return Step(step, (x, labels))


# PyTorch


def torch_training(
    model: Any,
    parameters: Iterable[np.ndarray],
    x: np.ndarray,
    labels: np.ndarray,
    clipnorm: float | None = None,
    fused: bool = False,
    compiles: bool = False,
) -> Step:
    import torch

    with torch.no_grad():
        for parameter, value in zip(model.parameters(), parameters, strict=True):
            parameter.copy_(torch.tensor(torch_layout(value)))
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=fused or None)

    def loss_of(x: Any, labels: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(x), labels)

    loss_function = torch.compile(loss_of) if compiles else loss_of

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_function(x, labels)
        loss.backward()
        if clipnorm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clipnorm)
        optimizer.step()
        return loss

    return Step(step, (torch.from_numpy(x), torch.from_numpy(labels)))


def torch_layout(kernel: np.ndarray) -> np.ndarray:
    """(..., in, out) as (out, in, ...)."""
    return kernel if kernel.ndim < 2 else np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))


TORCH: dict[str, dict[str, bool]] = {
    "PyTorch": {},
    "PyTorch, fused Adam": {"fused": True},
    "torch.compile": {"fused": True, "compiles": True},
}


# JAX


def jax_training(
    logits: Callable[..., Any],
    parameters: Iterable[np.ndarray],
    x: np.ndarray,
    labels: np.ndarray,
    clipnorm: float | None = None,
) -> Step:
    import jax
    from jax import numpy as jnp

    def loss_of(parameters: Any, x: Any, labels: Any) -> Any:
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits(parameters, x)), labels[:, None], axis=1)
        return -chosen.mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(parameters: Any, state: Any, x: Any, labels: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, labels)
        if clipnorm:
            norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradients))
            gradients = [g * jnp.minimum(1, clipnorm / (norm + 1e-6)) for g in gradients]
        return *jax_adam(parameters, gradients, state), loss

    parameters = [jnp.asarray(a) for a in parameters]
    state = [jnp.zeros_like(a) for a in parameters], [jnp.zeros_like(a) for a in parameters], jnp.float32(0)

    def step(x: Any, labels: Any) -> Any:
        nonlocal parameters, state
        parameters, state, loss = update(parameters, state, x, labels)
        return loss.block_until_ready()

    return Step(step, (jnp.asarray(x), jnp.asarray(labels)))


def jax_adam(parameters: Any, gradients: Any, state: Any) -> tuple[Any, Any]:
    """The next parameters, and the next state (m, s, t)."""
    from jax import numpy as jnp
    from jax import tree

    (b1, b2), (m, s, t) = BETAS, state
    t = t + 1
    m = tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, gradients)
    s = tree.map(lambda s, g: b2 * s + (1 - b2) * g * g, s, gradients)
    root = tree.map(lambda s: jnp.sqrt(s / (1 - b2**t)) + EPS, s)
    return tree.map(lambda p, m, r: p - LR * (m / (1 - b1**t)) / r, parameters, m, root), (m, s, t)


# Libraries that come without optimizers


class NumPyAdam:
    """Adam (Kingma & Ba 2015, algorithm 1), which writes into the arrays that it is given."""

    def __init__(self, parameters: Sequence[np.ndarray]) -> None:
        self.parameters = parameters
        self.m, self.s = ([np.zeros_like(p) for p in parameters] for _ in range(2))
        self.steps = 0

    def step(self, gradients: Sequence[np.ndarray]) -> None:
        self.steps += 1
        (b1, b2), t = BETAS, self.steps
        for p, g, m, s in zip(self.parameters, gradients, self.m, self.s, strict=True):
            m += (1 - b1) * (g - m)
            s += (1 - b2) * (g * g - s)
            p -= LR / (1 - b1**t) * m / (np.sqrt(s / (1 - b2**t)) + EPS)
