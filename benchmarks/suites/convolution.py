"""Convolutions, forward, and forward with the gradients of x and of the kernel.

minigrad has channels last; PyTorch gets its channels first, in the order of memory in which it is fastest.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.workload import Goal, Make, Step, Workload, compiled


def problem(shape: tuple[int, ...], kernel: tuple[int, ...], padding: int, tiny: bool) -> Any:
    """x (N, ..., in), the kernel (..., in, out), and a cotangent of the result."""
    if tiny:
        shape = (2, *(k + 2 for k in kernel[:-2]), kernel[-2])
    rng = np.random.default_rng(0)
    out = [n + 2 * padding - k + 1 for n, k in zip(shape[1:-1], kernel[:-2], strict=True)]
    arrays = (rng.standard_normal(s, dtype=np.float32) for s in (shape, kernel, (shape[0], *out, kernel[-1])))
    return SimpleNamespace(**dict(zip(("x", "kernel", "v"), arrays, strict=True)), padding=padding)


def minigrad_step(p: Any, backward: bool) -> Step:
    import minigrad as mg
    from minigrad.ops.spatial.conv_nd import conv1d, conv2d

    convolve = conv1d if p.x.ndim == 3 else conv2d
    x, kernel = (mg.Tensor(a, requires_grad=True) for a in (p.x, p.kernel))

    def forward(v: Any) -> Any:
        with mg.no_grad():
            return convolve(x, kernel, padding=p.padding)

    def both(v: Any) -> Any:
        x.grad = kernel.grad = None
        y = convolve(x, kernel, padding=p.padding)
        y.backward(v)
        return y, x.grad, kernel.grad

    return Step(both if backward else forward, (p.v,))


def torch_step(p: Any, backward: bool) -> Step:
    import torch

    def first(a: np.ndarray) -> Any:
        """Channels first."""
        return torch.tensor(np.ascontiguousarray(np.moveaxis(a, -1, 1)))

    convolve = torch.nn.functional.conv1d if p.x.ndim == 3 else torch.nn.functional.conv2d
    x = first(p.x).requires_grad_()
    kernel = torch.tensor(np.ascontiguousarray(np.moveaxis(p.kernel, (-1, -2), (0, 1)))).requires_grad_()

    def forward(v: Any) -> Any:
        with torch.no_grad():
            return convolve(x, kernel, padding=p.padding)

    def both(v: Any) -> Any:
        x.grad = kernel.grad = None
        y = convolve(x, kernel, padding=p.padding)
        y.backward(v)
        return y, x.grad, kernel.grad

    def read(y: Any, *contributions: Any) -> Any:
        if not contributions:
            return y.movedim(1, -1)
        dx, dkernel = contributions
        return y.detach().movedim(1, -1), dx.movedim(1, -1), dkernel.movedim((0, 1), (-1, -2))

    return Step(both if backward else forward, (first(p.v),), read)


def jax_step(p: Any, backward: bool) -> Step:
    import jax
    from jax import numpy as jnp

    layouts = ("NWC", "WIO", "NWC") if p.x.ndim == 3 else ("NHWC", "HWIO", "NHWC")
    space = p.x.ndim - 2
    convolve = partial(
        jax.lax.conv_general_dilated,
        window_strides=(1,) * space,
        padding=((p.padding, p.padding),) * space,
        dimension_numbers=layouts,
    )

    @jax.jit
    def result(v: Any, x: Any, kernel: Any) -> Any:
        if not backward:
            return convolve(x, kernel)
        y, pull = jax.vjp(convolve, x, kernel)
        return y, *pull(v)

    def step(*arguments: Any) -> Any:
        return jax.block_until_ready(result(*arguments))

    return Step(step, tuple(map(jnp.asarray, (p.v, p.x, p.kernel))))


def rows(
    title: str, shape: tuple[int, ...], kernel: tuple[int, ...], padding: int, **limits: tuple[float, float]
) -> list[Workload]:
    """Forward, and with both gradients; for the latter floor and stretch to each peer, eager and compiled."""
    peers = {"torch": "PyTorch", "jax": "jax.jit"}
    ours = ("minigrad", "minigrad compiled, numba")
    goals = tuple(Goal(mine, peers[peer], *limit) for peer, limit in limits.items() for mine in ours)
    made = []
    for backward in (False, True):
        contenders: dict[str, Make] = {
            "minigrad": partial(minigrad_step, backward=backward),
            **compiled(partial(minigrad_step, backward=backward)),
            "PyTorch": partial(torch_step, backward=backward),
            "jax.jit": partial(jax_step, backward=backward),
        }
        what = "with both gradients" if backward else "forward"
        of = partial(problem, shape, kernel, padding)
        made.append(Workload(f"{title}, {what}", of, contenders, goals=goals if backward else (), tolerance=1e-3))
    return made


WORKLOADS = [
    *rows("3×3, 64→64, 28×28, batch 32", (32, 28, 28, 64), (3, 3, 64, 64), padding=1, torch=(2.2, 1.0), jax=(1.2, 0.5)),
    *rows("5×5, 3→6, 32×32, batch 32", (32, 32, 32, 3), (5, 5, 3, 6), padding=0, torch=(2.5, 1.5), jax=(0.8, 0.5)),
    *rows("5×5, 3→6, 32×32, batch 1", (1, 32, 32, 3), (5, 5, 3, 6), padding=0),
    *rows("window 4, 1→20, length 200, batch 32", (32, 200, 1), (4, 1, 20), padding=0, torch=(0.8, 0.2)),
]
