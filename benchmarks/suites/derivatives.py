"""A Hessian-vector product, and the Jacobian of a function with 100 outputs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.suites.training import drawn
from benchmarks.workload import Make, Step, Workload, compiled


def hvp_problem(tiny: bool) -> Any:
    """A network's squared error as a function of its kernel, a direction in which the gradient's change is asked."""
    rng = np.random.default_rng(0)
    rows, features, units = (4, 3, 2) if tiny else (128, 100, 50)
    x, y = rng.standard_normal((rows, features), dtype=np.float32), rng.standard_normal(rows, dtype=np.float32)
    kernel, direction = drawn(rng, features, units), rng.standard_normal((features, units), dtype=np.float32)
    return SimpleNamespace(x=x, y=y, kernel=kernel, direction=direction)


def minigrad_hvp(p: Any) -> Step:
    import minigrad as mg

    def loss(kernel: Any) -> Any:
        return ((mg.tanh(p.x @ kernel).sum(axis=1) - p.y) ** 2).mean()

    return Step(lambda kernel, direction: mg.hvp(loss, (kernel,), (direction,)), (p.kernel, p.direction))


def torch_hvp(p: Any) -> Step:
    import torch

    x, y, kernel, direction = (torch.tensor(a) for a in (p.x, p.y, p.kernel, p.direction))

    def loss(kernel: Any) -> Any:
        return ((torch.tanh(x @ kernel).sum(dim=1) - y) ** 2).mean()

    return Step(lambda: torch.func.jvp(torch.func.grad(loss), (kernel,), (direction,))[1])


def jax_hvp(p: Any) -> Step:
    import jax
    from jax import numpy as jnp

    def loss(kernel: Any) -> Any:
        return ((jnp.tanh(p.x @ kernel).sum(axis=1) - p.y) ** 2).mean()

    product = jax.jit(lambda kernel, direction: jax.jvp(jax.grad(loss), (kernel,), (direction,))[1])
    arguments = (jnp.asarray(p.kernel), jnp.asarray(p.direction))
    return Step(lambda *given: product(*given).block_until_ready(), arguments)


def autograd_hvp(p: Any) -> Step:
    from autograd import hessian_vector_product
    from autograd import numpy as anp

    def loss(kernel: Any) -> Any:
        return anp.mean((anp.sum(anp.tanh(anp.dot(p.x, kernel)), axis=1) - p.y) ** 2)

    return Step(hessian_vector_product(loss), (p.kernel, p.direction))


def jacobian_problem(tiny: bool) -> Any:
    rng = np.random.default_rng(0)
    n = 4 if tiny else 100
    return SimpleNamespace(kernel=drawn(rng, n, n), x=rng.standard_normal(n, dtype=np.float32))


def minigrad_jacobian(p: Any) -> Step:
    import minigrad as mg

    return Step(mg.jacobian(lambda x: mg.tanh(x @ p.kernel) * x), (p.x,))


def torch_jacobian(p: Any) -> Step:
    import torch

    kernel, x = torch.tensor(p.kernel), torch.tensor(p.x)
    return Step(torch.func.jacrev(lambda x: torch.tanh(x @ kernel) * x), (x,))


def jax_jacobian(p: Any) -> Step:
    import jax
    from jax import numpy as jnp

    jacobian = jax.jit(jax.jacrev(lambda x: jnp.tanh(x @ p.kernel) * x))
    return Step(lambda x: jacobian(x).block_until_ready(), (jnp.asarray(p.x),))


def autograd_jacobian(p: Any) -> Step:
    from autograd import jacobian
    from autograd import numpy as anp

    return Step(jacobian(lambda x: anp.tanh(anp.dot(x, p.kernel)) * x), (p.x,))


HVP: dict[str, Make] = {
    "minigrad": minigrad_hvp,
    **compiled(minigrad_hvp),
    "PyTorch": torch_hvp,
    "jax.jit": jax_hvp,
    "autograd": autograd_hvp,
}
JACOBIAN: dict[str, Make] = {
    "minigrad": minigrad_jacobian,
    **compiled(minigrad_jacobian),
    "PyTorch": torch_jacobian,
    "jax.jit": jax_jacobian,
    "autograd": autograd_jacobian,
}
WORKLOADS = [
    Workload("Hessian-vector product, 5000 parameters", hvp_problem, HVP, tolerance=1e-3),
    Workload("Jacobian, 100 outputs of 100 inputs", jacobian_problem, JACOBIAN, tolerance=1e-3),
]
