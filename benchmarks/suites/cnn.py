"""A training step of a small convolutional network: twice convolution, ReLU and max pooling, then a linear layer."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.suites.training import TORCH, constant, drawn, jax_training, minigrad_training, torch_training
from benchmarks.workload import Goal, Make, Step, Workload, compiled


def problem(tiny: bool) -> Any:
    """Pictures (batch, side, side, 1), channels last."""
    rng = np.random.default_rng(0)
    batch, side, channels = (2, 8, (2, 3)) if tiny else (32, 28, (8, 16))
    flat = (side // 4) ** 2 * channels[1]
    parameters = [
        *(drawn(rng, 3, 3, 1, channels[0]), constant(0, channels[0])),
        *(drawn(rng, 3, 3, *channels), constant(0, channels[1])),
        *(drawn(rng, flat, 10), constant(0, 10)),
    ]
    x, labels = rng.standard_normal((batch, side, side, 1), dtype=np.float32), rng.integers(0, 10, batch)
    return SimpleNamespace(parameters=parameters, channels=channels, flat=flat, x=x, labels=labels)


def minigrad_step(p: Any) -> Step:
    from minigrad import nn

    first, second = p.channels
    model = nn.Sequential(
        *(nn.Conv2d(1, first, 3, padding=1, dtype="float32"), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 3, padding=1, dtype="float32"), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(p.flat, 10, dtype="float32")),
    )
    return minigrad_training(model, p.parameters, p.x, p.labels)


def torch_step(p: Any, **how: bool) -> Step:
    from torch import nn

    first, second = p.channels
    model = nn.Sequential(
        *(nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(p.flat, 10)),
    )
    *others, weight, bias = p.parameters
    side = p.x.shape[1] // 4
    channels_first = weight.reshape(side, side, second, 10).transpose(2, 0, 1, 3).reshape(weight.shape)
    x = np.ascontiguousarray(np.moveaxis(p.x, -1, 1))
    return torch_training(model, [*others, channels_first, bias], x, p.labels, **how)


def jax_logits(parameters: Any, x: Any) -> Any:
    import jax
    from jax import numpy as jnp

    *kernels, weight, bias = parameters
    for kernel, shift in zip(kernels[::2], kernels[1::2], strict=True):
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + shift
        x = jnp.maximum(x, 0)
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return x.reshape(len(x), -1) @ weight + bias


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
        "28×28 - 8 - 16 - 10, batch 32",
        problem,
        CONTENDERS,
        reference="PyTorch, fused Adam",
        goals=(Goal("minigrad compiled, numba", (*TORCH, "jax.jit"), 1.5, 1.0),),
        calls=3,
        tolerance=1e-3,
    )
]
