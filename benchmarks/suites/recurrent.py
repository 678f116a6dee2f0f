"""A training step of an LSTM that classifies sequences by its output after the last step."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.suites.training import TORCH, constant, drawn, jax_training, minigrad_training, torch_training
from benchmarks.workload import Goal, Make, Step, Workload, compiled


def problem(tiny: bool) -> Any:
    """Sequences (batch, length, features); the gates' columns are in the order i, f, g, o."""
    rng = np.random.default_rng(0)
    batch, length, features, units = (2, 3, 4, 5) if tiny else (32, 32, 128, 128)
    kernels = [drawn(rng, features, 4 * units), drawn(rng, units, 4 * units)]
    biases = [constant(0.1, 4 * units), constant(0.1, 4 * units)]
    parameters = [*kernels, *biases, drawn(rng, units, 10), constant(0, 10)]
    x, labels = rng.standard_normal((batch, length, features), dtype=np.float32), rng.integers(0, 10, batch)
    return SimpleNamespace(parameters=parameters, features=features, units=units, x=x, labels=labels)


def minigrad_step(p: Any) -> Step:
    from minigrad import nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            self.lstm = nn.LSTM(p.features, p.units, dtype="float32")
            self.head = nn.Linear(p.units, 10, dtype="float32")

        def forward(self, x: Any) -> Any:
            outputs, _ = self.lstm(x)
            return self.head(outputs[:, -1])

    return minigrad_training(Classifier(), p.parameters, p.x, p.labels)


def torch_step(p: Any, **how: bool) -> Step:
    from torch import nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(p.features, p.units, batch_first=True)
            self.head = nn.Linear(p.units, 10)

        def forward(self, x: Any) -> Any:
            outputs, _ = self.lstm(x)
            return self.head(outputs[:, -1])

    return torch_training(Classifier(), p.parameters, p.x, p.labels, **how)


def jax_logits(parameters: Any, x: Any) -> Any:
    import jax
    from jax import numpy as jnp

    kernel, recurrent, bias, recurrent_bias, weight, shift = parameters

    def cell(state: Any, z: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(z + h @ recurrent, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((x.shape[0], recurrent.shape[0]))
    inputs = jnp.swapaxes(x @ kernel + (bias + recurrent_bias), 0, 1)
    (h, _), _ = jax.lax.scan(cell, (zeros, zeros), inputs)
    return h @ weight + shift


def jax_step(p: Any) -> Step:
    return jax_training(jax_logits, p.parameters, p.x, p.labels)


CONTENDERS: dict[str, Make] = {
    "minigrad": minigrad_step,
    **compiled(minigrad_step),
    **{name: partial(torch_step, **how) for name, how in TORCH.items()},
    "jax.jit": jax_step,
}
WORKLOADS = [
    Workload(
        "LSTM, 32 steps, batch 32, 128 units",
        problem,
        CONTENDERS,
        reference="PyTorch, fused Adam",
        goals=(Goal("minigrad compiled, numba", (*TORCH, "jax.jit"), 1.5, 1.0),),
        calls=3,
        tolerance=1e-3,
    )
]
