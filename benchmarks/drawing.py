"""How long pictures of long tapes take: `python benchmarks/drawing.py`.

For tapes without scopes and with one in each layer, of 1,000 to 100,000 lines: how many nodes the picture has that draw
makes of its own accord, and the time of its text, of its layout, and with gradients and values measured, each as a
multiple of the time in which the tape itself was recorded.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import minigrad as mg


def plain(lines: int) -> Any:
    """A chain of operations without scopes."""
    y = mg.Tensor(np.ones(4), requires_grad=True)
    for k in range(lines):
        y = mg.tanh(y) if k % 2 else y * 1.01
    return y.sum()


def scoped(lines: int, per_layer: int = 140) -> Any:
    """Layers of so many lines, each with a parameter."""
    y = mg.Tensor(np.ones(4), requires_grad=True)
    for k in range(lines // per_layer):
        with mg.scope(f"layer{k}"):
            w = mg.Tensor(np.ones(4), requires_grad=True)
            for j in range(per_layer - 1):
                y = mg.tanh(y * w) if j % 2 else y + 1.0
    return y.sum()


def seconds(work: Callable[[], Any], times: int = 3) -> float:
    """The shortest of some runs."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    """Print the table."""
    print(f"{'tape':<8} {'lines':>8} {'nodes':>6} {'text':>14} {'with layout':>14} {'and gradients':>14}")
    for name, make in (("plain", plain), ("scoped", scoped)):
        for lines in (1_000, 10_000, 100_000):
            recording = seconds(lambda make=make, lines=lines: make(lines))
            loss = make(lines)
            times = 3 if lines < 100_000 else 1
            taken = [
                seconds(lambda loss=loss: mg.draw(loss).source, times),
                seconds(lambda loss=loss: mg.draw(loss).pipe("svg"), times),
                seconds(lambda loss=loss: mg.draw(loss, grads=True, values=True).pipe("svg"), times),
            ]
            told = " ".join(f"{t:>6.2f} s {t / recording:>4.0f}x" for t in taken)
            graph = mg.draw(loss).graph
            print(f"{name:<8} {len(mg.Tape(loss)):>8,} {len(graph.vertices):>6} {told}", flush=True)


if __name__ == "__main__":
    main()
