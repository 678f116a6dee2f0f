"""Batch norm and layer norm, forward and backward: the gradients of x, γ and β for a given cotangent of y."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.workload import Goal, Make, Step, Workload, compiled


def problem(rows: int, features: int, tiny: bool) -> Any:
    rng = np.random.default_rng(0)
    shape = (6, 4) if tiny else (rows, features)
    x, v = rng.standard_normal(shape, dtype=np.float32), rng.standard_normal(shape, dtype=np.float32)
    gamma, beta = rng.standard_normal(shape[1], dtype=np.float32), rng.standard_normal(shape[1], dtype=np.float32)
    return SimpleNamespace(inputs=(x, gamma, beta), v=v)


def minigrad_step(p: Any, norm: str, module: str = "fused") -> Step:
    from importlib import import_module

    import minigrad as mg

    function = getattr(import_module(f"minigrad.{module}"), norm)
    inputs = [mg.Tensor(a, requires_grad=True) for a in p.inputs]

    def step(v: Any) -> Any:
        for t in inputs:
            t.grad = None
        y = function(*inputs)
        y = y[0] if isinstance(y, tuple) else y
        y.backward(v)
        return y, *(t.grad for t in inputs)

    return Step(step, (p.v,))


def torch_step(p: Any, norm: str, compiles: bool = False) -> Step:
    import torch

    x, gamma, beta = (torch.tensor(a, requires_grad=True) for a in p.inputs)
    functions = {
        "batch_norm": lambda x, gamma, beta: torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True),
        "layer_norm": lambda x, gamma, beta: torch.nn.functional.layer_norm(x, gamma.shape, gamma, beta),
    }
    function = torch.compile(functions[norm]) if compiles else functions[norm]

    def step(v: Any) -> Any:
        y = function(x, gamma, beta)
        return y, *torch.autograd.grad(y, (x, gamma, beta), v)

    return Step(step, (torch.from_numpy(p.v),))


def jax_step(p: Any, axis: int) -> Step:
    import jax
    from jax import numpy as jnp

    def norm(x: Any, gamma: Any, beta: Any) -> Any:
        centered = x - x.mean(axis, keepdims=True)
        return centered * jax.lax.rsqrt((centered**2).mean(axis, keepdims=True) + 1e-5) * gamma + beta

    @jax.jit
    def value_and_shares(v: Any, *inputs: Any) -> Any:
        y, pull = jax.vjp(norm, *inputs)
        return y, *pull(v)

    def step(*arguments: Any) -> Any:
        return jax.block_until_ready(value_and_shares(*arguments))

    return Step(step, tuple(map(jnp.asarray, (p.v, *p.inputs))))


def contenders(norm: str, axis: int) -> dict[str, Make]:
    return {
        "minigrad": partial(minigrad_step, norm=norm),
        "minigrad, from primitives": partial(minigrad_step, norm=norm, module="functional"),
        **compiled(partial(minigrad_step, norm=norm)),
        "PyTorch": partial(torch_step, norm=norm),
        "torch.compile": partial(torch_step, norm=norm, compiles=True),
        "jax.jit": partial(jax_step, axis=axis),
    }


def batch_norm(rows: int, features: int, floor: float, stretch: float) -> Workload:
    return Workload(
        f"batch norm, ({rows}, {features})",
        partial(problem, rows, features),
        contenders("batch_norm", axis=0),
        goals=(Goal("minigrad compiled, numba", "PyTorch", floor, stretch),),
        tolerance=1e-3,
    )


WORKLOADS = [
    batch_norm(128, 100, 0.25, 0.17),
    batch_norm(256, 1024, 1.15, 0.9),
    batch_norm(64 * 28 * 28, 64, 0.85, 0.55),
    Workload("layer norm, (512, 128)", partial(problem, 512, 128), contenders("layer_norm", axis=-1), tolerance=1e-3),
]
