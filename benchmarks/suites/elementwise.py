"""GELU (the tanh form), softmax and layer norm on four million numbers, forward, and forward and backward."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.workload import Goal, Make, Step, Workload, compiled


def problem(tiny: bool) -> Any:
    rng = np.random.default_rng(0)
    shape = (3, 8) if tiny else (4096, 1024)
    x, v = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    gamma, beta = (rng.standard_normal(shape[1], dtype=np.float32) for _ in range(2))
    return SimpleNamespace(x=x, v=v, gamma=gamma, beta=beta)


def minigrad_step(p: Any, name: str, backward: bool) -> Step:
    import minigrad as mg
    from minigrad import fused

    functions = {
        "gelu": lambda x, gamma, beta: fused.gelu(x, approximate="tanh"),
        "softmax": lambda x, gamma, beta: fused.softmax(x, axis=-1),
        "layer norm": lambda x, gamma, beta: fused.layer_norm(x, gamma, beta)[0],
    }
    function = functions[name]
    x, gamma, beta = (mg.Tensor(a, requires_grad=True) for a in (p.x, p.gamma, p.beta))

    def forward(v: Any) -> Any:
        with mg.no_grad():
            return function(x, gamma, beta)

    def both(v: Any) -> Any:
        x.grad = gamma.grad = beta.grad = None
        y = function(x, gamma, beta)
        y.backward(v)
        return y, x.grad

    return Step(both if backward else forward, (p.v,))


def torch_step(p: Any, name: str, backward: bool) -> Step:
    import torch
    from torch.nn import functional

    functions = {
        "gelu": lambda x, gamma, beta: functional.gelu(x, approximate="tanh"),
        "softmax": lambda x, gamma, beta: functional.softmax(x, dim=-1),
        "layer norm": lambda x, gamma, beta: functional.layer_norm(x, gamma.shape, gamma, beta),
    }
    function = functions[name]
    x, gamma, beta = (torch.tensor(a, requires_grad=True) for a in (p.x, p.gamma, p.beta))

    def forward(v: Any) -> Any:
        with torch.no_grad():
            return function(x, gamma, beta)

    def both(v: Any) -> Any:
        x.grad = gamma.grad = beta.grad = None
        y = function(x, gamma, beta)
        y.backward(v)
        return y, x.grad

    return Step(both if backward else forward, (torch.from_numpy(p.v),))


def jax_step(p: Any, name: str, backward: bool) -> Step:
    import jax
    from jax import numpy as jnp

    def layer_norm(x: Any, gamma: Any, beta: Any) -> Any:
        centered = x - x.mean(-1, keepdims=True)
        return centered * jax.lax.rsqrt((centered**2).mean(-1, keepdims=True) + 1e-5) * gamma + beta

    functions = {
        "gelu": lambda x, gamma, beta: jax.nn.gelu(x, approximate=True),
        "softmax": lambda x, gamma, beta: jax.nn.softmax(x, axis=-1),
        "layer norm": layer_norm,
    }

    @jax.jit
    def result(v: Any, *inputs: Any) -> Any:
        if not backward:
            return functions[name](*inputs)
        y, pull = jax.vjp(functions[name], *inputs)
        return y, *pull(v)  # the contributions of γ and β too, as the others compute them

    def step(*arguments: Any) -> Any:
        return jax.block_until_ready(result(*arguments))

    def read(y: Any, *contributions: Any) -> Any:
        return y, *contributions[:1]

    return Step(step, tuple(map(jnp.asarray, (p.v, p.x, p.gamma, p.beta))), read)


def row(name: str, backward: bool, goals: tuple[Goal, ...] = ()) -> Workload:
    contenders: dict[str, Make] = {
        "minigrad": partial(minigrad_step, name=name, backward=backward),
        **compiled(partial(minigrad_step, name=name, backward=backward)),
        "PyTorch": partial(torch_step, name=name, backward=backward),
        "jax.jit": partial(jax_step, name=name, backward=backward),
    }
    title = f"{name}, forward and backward" if backward else f"{name}, forward"
    return Workload(title, problem, contenders, goals=goals, tolerance=1e-3)


WORKLOADS = [
    row("gelu", backward=False),
    row("gelu", backward=True, goals=(Goal("minigrad compiled, numba", "PyTorch", 0.45, 0.33),)),
    row("softmax", backward=False),
    row("softmax", backward=True, goals=(Goal("minigrad compiled, numba", "PyTorch", 1.15, 0.90),)),
    row("layer norm", backward=False),
    row("layer norm", backward=True, goals=(Goal("minigrad compiled, numba", "PyTorch", 0.80, 0.60),)),
]
