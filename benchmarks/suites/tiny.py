"""A chain of tiny operations: nearly all of the time is what a library adds to each operation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.workload import Goal, Step, Workload, compiled


def problem(tiny: bool) -> Any:
    return SimpleNamespace(x=np.linspace(0.8, 0.9, 10, dtype=np.float32), operations=10 if tiny else 1000)


def chain(x: Any, operations: int) -> Any:
    t = x
    for _ in range(operations // 2):
        t = t * x
        t = t + x
    return t.sum()


# Forward and backward


def minigrad_gradient(p: Any) -> Step:
    import minigrad as mg

    x = mg.Tensor(p.x, requires_grad=True)

    def step() -> Any:
        x.grad = None
        loss = chain(x, p.operations)
        loss.backward()
        return loss, x.grad

    return Step(step)


def torch_gradient(p: Any) -> Step:
    import torch

    x = torch.tensor(p.x, requires_grad=True)

    def step() -> Any:
        x.grad = None
        loss = chain(x, p.operations)
        loss.backward()
        return loss, x.grad

    return Step(step)


def autograd_gradient(p: Any) -> Step:
    from autograd import value_and_grad

    return Step(value_and_grad(lambda x: chain(x, p.operations)), (p.x,))


def mygrad_gradient(p: Any) -> Step:
    import mygrad

    x = mygrad.tensor(p.x)

    def step() -> Any:
        loss = chain(x, p.operations)
        loss.backward()
        return loss, x.grad

    return Step(step)


# Forward only, recording switched off


def numpy_chain(p: Any) -> Step:
    return Step(lambda: chain(p.x, p.operations))


def minigrad_chain(p: Any) -> Step:
    import minigrad as mg

    x = mg.Tensor(p.x, requires_grad=True)

    def step() -> Any:
        with mg.no_grad():
            return chain(x, p.operations)

    return Step(step)


def torch_chain(p: Any) -> Step:
    import torch

    x = torch.tensor(p.x, requires_grad=True)

    def step() -> Any:
        with torch.no_grad():
            return chain(x, p.operations)

    return Step(step)


def mygrad_chain(p: Any) -> Step:
    import mygrad

    x = mygrad.tensor(p.x)

    def step() -> Any:
        with mygrad.no_autodiff:
            return chain(x, p.operations)

    return Step(step)


WORKLOADS = [
    Workload(
        "1000 operations on 10 numbers, forward and backward",
        problem,
        {
            "minigrad": minigrad_gradient,
            **compiled(minigrad_gradient),
            "PyTorch": torch_gradient,
            "autograd": autograd_gradient,
            "MyGrad": mygrad_gradient,
        },
        goals=(Goal("minigrad", "PyTorch", 0.50, 0.36),),
    ),
    Workload(
        "the same, forward only, recording off",
        problem,
        {"minigrad": minigrad_chain, "NumPy": numpy_chain, "PyTorch": torch_chain, "MyGrad": mygrad_chain},
    ),
]
