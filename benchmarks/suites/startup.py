"""What a user waits for: the import, and the first step of a training loop.

Compilers keep what they made in files, so a first step is that of a second process, except in the first round.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

from benchmarks.suites import networks
from benchmarks.workload import Goal, Make, Step, Workload, compiled


def importing(module: str) -> Make:
    """A new Python that imports a module and ends."""
    command = [sys.executable, "-c", f"import {module}"]
    return lambda p: Step(lambda: subprocess.run(command, check=True), read=lambda result: None)


def first_step(make: Make, library: str) -> Make:
    """From the network to the end of its first step; the import comes before the clock."""

    def prepared(p: Any) -> Step:
        __import__(library)

        def step() -> Any:
            run, arguments, *_ = make(p)
            return run(*arguments)

        return Step(step)

    return prepared


CONTENDERS = {
    name: first_step(
        make, "minigrad.nn" if name.startswith("minigrad") else "jax" if name.startswith("jax") else "torch"
    )
    for name, make in {
        "minigrad": networks.minigrad_step,
        **compiled(networks.minigrad_step),
        "PyTorch": partial(networks.torch_step, fused=True),
        "torch.compile": partial(networks.torch_step, fused=True, compiles=True),
        "jax.jit": networks.jax_step,
    }.items()
}
WORKLOADS = [
    Workload(
        "import",
        lambda tiny: None,
        {
            "minigrad": importing("minigrad"),
            "NumPy": importing("numpy"),
            "PyTorch": importing("torch"),
            "jax.jit": importing("jax"),
            "autograd": importing("autograd"),
            "MyGrad": importing("mygrad"),
            "micrograd": importing("micrograd.engine"),
            "tinygrad": importing("tinygrad"),
            "Python alone": importing("sys"),
        },
        goals=(Goal("minigrad", "PyTorch", 0.12, 0.08),),
    ),
    Workload(
        "first step, 784-100×5-10",
        partial(networks.problem, networks.NOTES, 128),
        CONTENDERS,
        reference="jax.jit",
        goals=(
            Goal("minigrad compiled, NumPy", "jax.jit", 0.30, 0.15),
            Goal("minigrad compiled, numba", "jax.jit", 0.60, 0.45),
        ),
        fresh=True,
    ),
]
