"""Eager speed and memory against PyTorch, in one run: `python benchmarks/eager.py`.

Needs `pip install torch` (any CPU build). Contenders take turns, repetition by repetition, so that a disturbance
meets all of them; the ratio is that of the lower quartiles, with that of the medians beside it.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import fused, nn, optim

Step = Callable[[], Any]


def interleaved(contenders: dict[str, Step], repetitions: int) -> dict[str, list[float]]:
    """Seconds of each repetition of each contender, the contenders taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for step in contenders.values():
        for _ in range(max(3, repetitions // 10)):
            step()
    for _ in range(repetitions):
        for name, step in contenders.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def quartile(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=4)[0]


def report(row: str, seconds: dict[str, list[float]], ours: str, peer: str, goal: float) -> None:
    ratio = quartile(seconds[ours]) / quartile(seconds[peer])
    median = statistics.median(seconds[ours]) / statistics.median(seconds[peer])
    print(f"{row:<58} {peer:<22} {ratio:6.2f}  {median:6.2f}   {goal:.2f}")


def chain(x: Any, operations: int) -> Any:
    t = x
    for _ in range(operations // 2):
        t = t * x
        t = t + x
    return t.sum()


def forward_and_backward(x: Any, operations: int) -> Step:
    def step() -> None:
        chain(x, operations).backward()
        x.grad = None

    return step


def tiny_operations(torch: Any) -> None:
    ours = mg.Tensor(np.ones(10, dtype=np.float32), requires_grad=True)
    theirs = torch.ones(10, requires_grad=True)

    def unrecorded() -> None:
        with mg.no_grad():
            chain(ours, 1000)

    contenders = {
        "minigrad": forward_and_backward(ours, 1000),
        "unrecorded": unrecorded,
        "torch": forward_and_backward(theirs, 1000),
    }
    seconds = interleaved(contenders, 60)
    report("chain of 1000 tiny operations, forward and backward", seconds, "minigrad", "torch", 0.50)
    report("the same, forward only, recording off", seconds, "unrecorded", "torch", 0.15)


def long_tapes() -> None:
    x = mg.Tensor(np.ones(10, dtype=np.float32), requires_grad=True)
    short, long = forward_and_backward(x, 1_000), forward_and_backward(x, 100_000)
    gc.collect()
    costs: dict[str, list[float]] = {"100k lines": [], "1k lines": []}
    for _ in range(7):
        costs["1k lines"] += [t / 1_000 for t in interleaved({"a": short}, 20)["a"]]
        start = time.perf_counter()
        long()
        costs["100k lines"].append((time.perf_counter() - start) / 100_000)
    report("cost per line, 100,000 lines, collector as it comes", costs, "100k lines", "1k lines", 1.50)


def moons(torch: Any) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((100, 2)).astype(np.float32), rng.integers(0, 2, 100)
    sizes = [2, 16, 16, 2]
    report("moons-size batch-norm step, Adam", network_steps(torch, sizes, x, labels, 150), "minigrad", "torch", 0.60)


def large(torch: Any) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((128, 784)).astype(np.float32), rng.integers(0, 10, 128)
    sizes = [784, 100, 100, 100, 100, 100, 10]
    seconds = network_steps(torch, sizes, x, labels, 60)
    report("784-100x5-10 batch-norm step, Adam, batch 128", seconds, "minigrad", "torch", 1.00)


def network_steps(
    torch: Any, sizes: list[int], x: np.ndarray, labels: np.ndarray, repetitions: int
) -> dict[str, list[float]]:
    ours, theirs = network(sizes), torch_network(torch, sizes)
    our_optimizer = optim.Adam(ours.parameters(), lr=1e-3)
    their_optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    tx, tl = torch.from_numpy(x), torch.from_numpy(labels)

    def our_step() -> None:
        our_optimizer.zero_grad()
        fused.softmax_cross_entropy(ours(x), labels).backward()
        our_optimizer.step()

    def their_step() -> None:
        their_optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(tx), tl).backward()
        their_optimizer.step()

    return interleaved({"minigrad": our_step, "torch": their_step}, repetitions)


def network(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes[:-1]):
        layers += [nn.Linear(n_in, n_out, dtype="float32"), nn.BatchNorm(n_out, dtype="float32"), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1], dtype="float32"))


def torch_network(torch: Any, sizes: list[int]) -> Any:
    layers = []
    for n_in, n_out in pairwise(sizes[:-1]):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.BatchNorm1d(n_out), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-2], sizes[-1]))


def saved_bytes(torch: Any) -> None:
    """What the tape keeps for the backward pass, each buffer counted once, parameters and the input apart."""
    sizes, batch = [784, 100, 100, 100, 100, 100, 10], 1024
    x = np.random.default_rng(0).standard_normal((batch, 784)).astype(np.float32)
    labels = np.zeros(batch, dtype=np.int64)
    model = network(sizes)
    loss = fused.softmax_cross_entropy(model(x), labels)
    known = {id(owner(p.data)) for p in model.parameters()} | {id(x)}
    kept: dict[int, int] = {}
    for line in mg.Tape(loss):
        for value in line.saved or ():
            if isinstance(value, np.ndarray) and id(owner(value)) not in known:
                kept[id(owner(value))] = owner(value).nbytes
    theirs = torch_network(torch, sizes)
    tx = torch.from_numpy(x)
    apart = {p.data_ptr() for p in theirs.parameters()} | {tx.data_ptr()}
    kept_by_torch: dict[int, int] = {}

    def pack(t: Any) -> Any:
        if t.untyped_storage().data_ptr() not in apart:
            kept_by_torch[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        _hold = torch.nn.functional.cross_entropy(theirs(tx), torch.from_numpy(labels))
    ratio = sum(kept.values()) / sum(kept_by_torch.values())
    print(f"{'bytes kept for backward, 784-100x5-10, batch 1024':<58} {'torch':<22} {ratio:6.2f}  {'':6}   1.30")


def owner(array: Any) -> Any:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def import_time() -> None:
    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    bare, ours, numpy = ([seconds(code) for _ in range(9)] for code in ("", "import minigrad", "import numpy"))
    base = statistics.median(bare)
    print(
        f"import minigrad: {statistics.median(ours) - base:.3f} s, of which NumPy "
        f"{statistics.median(numpy) - base:.3f} s (median of 9; the goal is 0.15 s)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="threads that torch may use")
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("benchmarks/eager.py compares with PyTorch: pip install torch (any CPU build)")
    torch.set_num_threads(options.threads)
    print(f"{'ratio, lower is better':<58} {'to':<22} quart.  median  goal")
    tiny_operations(torch)
    long_tapes()
    moons(torch)
    large(torch)
    saved_bytes(torch)
    import_time()


if __name__ == "__main__":
    main()
