"""Memory of the 784-100×5-10 step: what is kept for the backward pass, and the largest size of the process."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.suites import networks
from benchmarks.workload import Goal, Make, Step, Workload, compiled

MB = 1e6


def minigrad_kept(p: Any) -> Step:
    import minigrad as mg
    from minigrad import fused

    model = networks.minigrad_network(p.sizes)

    def kept() -> float:
        """The arrays on the tape, each buffer once, parameters and the input apart."""
        known = {id(owner(t.data)) for t in model.parameters()} | {id(p.x)}
        buffers = {}
        for line in mg.Tape(fused.softmax_cross_entropy(model(p.x), p.labels)):
            for value in line.residuals or ():
                if isinstance(value, np.ndarray) and id(owner(value)) not in known:
                    buffers[id(owner(value))] = owner(value).nbytes
        return sum(buffers.values()) / MB

    return Step(kept)


def owner(array: Any) -> Any:
    """The array that holds the memory of a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def torch_kept(p: Any) -> Step:
    import torch

    model, x, labels = networks.torch_network(p.sizes), torch.from_numpy(p.x), torch.from_numpy(p.labels)

    def kept() -> float:
        known = {t.data_ptr() for t in model.parameters()} | {x.data_ptr()}
        buffers = {}

        def pack(t: Any) -> Any:
            storage = t.untyped_storage()
            if storage.data_ptr() not in known:
                buffers[storage.data_ptr()] = storage.nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            _hold = torch.nn.functional.cross_entropy(model(x), labels)
        return sum(buffers.values()) / MB

    return Step(kept)


def peak(make: Make) -> Make:
    """The largest resident size of a process that makes five steps (VmHWM, which Linux tells)."""

    def measured(p: Any) -> Step:
        run, arguments, *_ = make(p)

        def step() -> float:
            for _ in range(5):
                run(*arguments)
            found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
            assert found
            return int(found[1]) * 1024 / MB

        return Step(step)

    return measured


KEPT: dict[str, Make] = {"minigrad": minigrad_kept, "PyTorch": torch_kept}
PEAK: dict[str, Make] = {
    name: peak(make)
    for name, make in {
        "minigrad": networks.minigrad_step,
        **compiled(networks.minigrad_step),
        "PyTorch": networks.torch_step,
        "jax.jit": networks.jax_step,
        "autograd": networks.autograd_step,
        "MyGrad": networks.mygrad_step,
    }.items()
}


def rows(batch: int, goals: tuple[Goal, ...] = ()) -> list[Workload]:
    of = partial(networks.problem, networks.NOTES, batch)
    return [
        Workload(f"kept for backward, batch {batch}", of, KEPT, goals=goals, unit="MB"),
        Workload(f"peak of the process, batch {batch}", of, PEAK, unit="MB", fresh=True),
    ]


WORKLOADS = [*rows(128), *rows(8192, (Goal("minigrad", "PyTorch", 1.2, 1.0),))]
