"""The demo: train a batch-norm network on digits, check its gradients, draw them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from minigrad.app.demo import digits, gradient_check, pictures
from minigrad.app.demo.demo_output import DemoOutput


def run(out: str | Path, epochs: int, seed: int) -> bool:
    """Run the demo and write its pictures and report.

    Args:
        out: the folder for pictures and the report. It is created if missing.
        epochs: the number of passes over the training digits.
        seed: of all random numbers.

    Returns:
        Whether every gradient agrees and, if the network was trained, the accuracy is reached. A part that needs a
        package that is not installed is skipped; the output says which extra to install.

    Raises:
        ValueError: epochs is below 1 or the seed negative.
        OSError: the folder cannot be created or written to.
    """
    if epochs < 1 or seed < 0:
        raise ValueError(f"epochs={epochs}, seed={seed}: at least 1 epoch is needed, and a seed must not be negative")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    output, start = DemoOutput(), time.perf_counter()
    output.title(seed)
    steps: tuple[Callable[[], bool], ...] = (
        lambda: digits.show(output, folder, epochs, seed),
        lambda: gradient_check.show(output, seed),
        lambda: pictures.show(output, folder, seed),
    )
    passed = [step() for step in steps]
    output.save(folder / "report.txt", time.perf_counter() - start)
    return all(passed)
