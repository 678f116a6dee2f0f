"""The demonstration: train a batch-norm network on digits, check its gradients, draw them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from minigrad.app.demo import digits, gradient_check, pictures
from minigrad.app.demo.demo_output import Report


def run(out: str | Path, epochs: int, seed: int) -> bool:
    """Run the demonstration and write what it shows.

    Args:
        out: the folder for pictures and the report. It is made if missing.
        epochs: how many times to go through the training digits.
        seed: of everything drawn at random.

    Returns:
        Whether every gradient agrees and, where digits were trained on, the accuracy is reached. A part that needs a
        package that is not installed is left out; the output says which extra brings it.

    Raises:
        ValueError: epochs is below 1 or the seed negative.
        OSError: the folder cannot be made or written to.
    """
    if epochs < 1 or seed < 0:
        raise ValueError(f"epochs={epochs}, seed={seed}: at least 1 epoch is needed, and a seed is not negative")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    report, began = Report(), time.perf_counter()
    report.title(seed)
    steps: tuple[Callable[[], bool], ...] = (
        lambda: digits.show(report, folder, epochs, seed),
        lambda: gradient_check.show(report, seed),
        lambda: pictures.show(report, folder, seed),
    )
    passed = [step() for step in steps]
    report.save(folder / "report.txt", time.perf_counter() - began)
    return all(passed)
