"""Recurrence and attention against PyTorch, forward and backward: `python benchmarks/sequences.py`.

Needs `pip install torch` (any CPU build). Measured as in benchmarks/eager.py: contenders take turns, the ratio is that
of the lower quartiles, with that of the medians beside it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from eager import interleaved, quartile

import minigrad as mg
from minigrad import nn


def forward_and_backward(layer: Any, x: Any, output: Callable[[Any, Any], Any]) -> Callable[[], None]:
    """A step that leaves no gradients behind."""

    def step() -> None:
        output(layer, x).sum().backward()
        x.grad = None
        for p in layer.parameters():
            p.grad = None

    return step


def compare(
    torch: Any, row: str, ours: Any, theirs: Any, shape: tuple[int, ...], outputs: Any, repetitions: int
) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    contenders = {
        "minigrad": forward_and_backward(ours, mg.Tensor(x, requires_grad=True), outputs[0]),
        "torch": forward_and_backward(theirs, torch.tensor(x, requires_grad=True), outputs[1]),
    }
    seconds = interleaved(contenders, repetitions)
    ratios = [of(seconds["minigrad"]) / of(seconds["torch"]) for of in (quartile, statistics.median)]
    print(f"{row:<58} {ratios[0]:6.2f}  {ratios[1]:6.2f}")


def recurrence(torch: Any) -> None:
    for name in ("LSTM", "GRU"):
        ours = getattr(nn, name)(128, 128, dtype="float32")
        theirs = getattr(torch.nn, name)(128, 128, batch_first=True)
        outputs = [lambda layer, x: layer(x)[0]] * 2
        compare(torch, f"{name}, T = 32, batch 32, 128 units", ours, theirs, (32, 32, 128), outputs, 40)


def attention(torch: Any) -> None:
    shape = (8, 64, 128)
    outputs = [lambda layer, x: layer(x), lambda layer, x: layer(x, x, x, need_weights=False)[0]]
    ours = nn.MultiheadAttention(128, 4, dtype="float32")
    theirs = torch.nn.MultiheadAttention(128, 4, batch_first=True)
    compare(torch, "multi-head attention, (8, 64, 128), 4 heads", ours, theirs, shape, outputs, 60)
    encoder = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, dtype="float32")
    peer = torch.nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True)
    outputs = [lambda layer, x: layer(x)] * 2
    compare(torch, "transformer encoder layer, (8, 64, 128), 4 heads, 512", encoder, peer, shape, outputs, 40)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="threads that torch may use")
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("benchmarks/sequences.py compares with PyTorch: pip install torch (any CPU build)")
    torch.set_num_threads(options.threads)
    print(f"{'ratio to torch, lower is better':<58} quart.  median")
    recurrence(torch)
    attention(torch)


if __name__ == "__main__":
    main()
