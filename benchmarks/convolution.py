"""Convolutions against PyTorch, in one run: `python benchmarks/convolution.py`.

Needs `pip install torch` (any CPU build). Each shape is timed forward, and forward with the gradients of x and of the
kernel, through Tensors in float32. minigrad has channels last, and torch the order of memory that it has by default,
channels first, which is its fast one here. Contenders take turns; ratios of lower quartiles, medians beside them.

BLAS and torch each have threads of their own that keep a core busy for a while after their work is done. Every
repetition therefore waits until they sleep and runs once unmeasured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.ops.spatial.conv import conv1d, conv2d

Step = Callable[[], Any]
PAUSE = 0.12  # seconds until the threads of BLAS sleep

# What, x, kernel, padding
SHAPES: list[tuple[str, tuple[int, ...], tuple[int, ...], int]] = [
    ("64 -> 64, 3x3, 28x28, batch 32", (32, 28, 28, 64), (3, 3, 64, 64), 1),
    ("3 -> 6, 5x5, 32x32, batch 32", (32, 32, 32, 3), (5, 5, 3, 6), 0),
    ("3 -> 6, 5x5, 32x32, batch 1", (1, 32, 32, 3), (5, 5, 3, 6), 0),
    ("1 -> 20, window 4, length 200, batch 32", (32, 200, 1), (4, 1, 20), 0),
]


def interleaved(contenders: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of each repetition of each contender, three in a row, the contenders taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, step in contenders.items():
            time.sleep(PAUSE)
            step()
            for _ in range(3):
                start = time.perf_counter()
                step()
                seconds[name].append(time.perf_counter() - start)
    return seconds


def quartile(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=4)[0]


def report(row: str, seconds: dict[str, list[float]], ours: str, peer: str) -> None:
    low, low_peer = quartile(seconds[ours]), quartile(seconds[peer])
    ratio = statistics.median(seconds[ours]) / statistics.median(seconds[peer])
    print(f"{row:<58} {1e3 * low:8.3f} {1e3 * low_peer:8.3f}   {low / low_peer:6.2f}  {ratio:6.2f}")


def steps(torch: Any, x_shape: tuple[int, ...], w_shape: tuple[int, ...], padding: int) -> dict[str, Step]:
    rank = len(x_shape) - 2
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape, dtype=np.float32) for shape in (x_shape, w_shape))
    ours, theirs = (conv1d, conv2d)[rank - 1], (torch.nn.functional.conv1d, torch.nn.functional.conv2d)[rank - 1]
    mx, mw = mg.Tensor(x, requires_grad=True), mg.Tensor(w, requires_grad=True)
    tx = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    tw = torch.tensor(np.moveaxis(w, (-1, -2), (0, 1)).copy(), requires_grad=True)
    v = rng.standard_normal(ours(x, w, padding=padding).shape, dtype=np.float32)
    tv = torch.tensor(np.moveaxis(v, -1, 1).copy())

    def our_forward() -> None:
        with mg.no_grad():
            ours(mx, mw, padding=padding)

    def their_forward() -> None:
        with torch.no_grad():
            theirs(tx, tw, padding=padding)

    def our_gradients() -> None:
        mx.grad = mw.grad = None
        ours(mx, mw, padding=padding).backward(v)

    def their_gradients() -> None:
        tx.grad = tw.grad = None
        theirs(tx, tw, padding=padding).backward(tv)

    our_gradients()
    their_gradients()
    np.testing.assert_allclose(mx.grad.numpy(), np.moveaxis(tx.grad.numpy(), 1, -1), rtol=1e-3, atol=1e-3)
    scale = np.abs(mw.grad.numpy()).max()
    np.testing.assert_allclose(mw.grad.numpy(), np.moveaxis(tw.grad.numpy(), (0, 1), (-1, -2)), atol=1e-4 * scale)
    return {
        "forward": our_forward,
        "torch's forward": their_forward,
        "gradients": our_gradients,
        "torch's gradients": their_gradients,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="threads that torch may use")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each contender, of three repetitions")
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("benchmarks/convolution.py compares with PyTorch: pip install torch (any CPU build)")
    torch.set_num_threads(options.threads)
    print(f"{'float32; ratio to torch, lower is better':<58} {'ms':>8} {'torch':>8}   quart.  median")
    for what, x_shape, w_shape, padding in SHAPES:
        seconds = interleaved(steps(torch, x_shape, w_shape, padding), options.rounds)
        report(f"{what}: forward", seconds, "forward", "torch's forward")
        report(f"{what}: with both gradients", seconds, "gradients", "torch's gradients")


if __name__ == "__main__":
    main()
