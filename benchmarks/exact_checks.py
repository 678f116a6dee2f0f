"""What exact arithmetic adds to the check of a derivation, and what it costs: `python benchmarks/exact_checks.py`.

The derivations in examples/, rewritten in equivalent ways, must be accepted and proven. All mistakes of `detection.py`
are scaled down to a relative size of 1e-12, and must be found; a check by floats accepts them. Mistakes with which the
line does not run or has another shape are left out. Times are of the right derivations, with and without exact
arithmetic in turns, the shortest of each.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.detection import is_wrong, library, wide_sample
from benchmarks.mutations import mutants, refactored, scaled
from minigrad.verify import Derivation
from minigrad.verify.derivation.sample import Sample

TIMES = 7


def runs(d: Derivation, target: str, sample: Sample) -> bool:
    """Whether a line runs, with a result of the right shape."""
    try:
        result = d.evaluate(d.lines[target], sample.names())
    except Exception:  # a mistake may fail in any way
        return False
    return result.shape == sample.reference.gradients[target].shape and bool(np.all(np.isfinite(result)))


def found(d: Derivation, size: float) -> np.ndarray[Any, Any]:
    """How many mistakes there are, how many are found, with exactly the line blamed, and how many by floats."""
    samples = [wide_sample(d, seed) for seed in range(3)]
    counts = np.zeros(4, int)
    for m in mutants(d):
        small = scaled(m, size)
        if is_wrong(m, samples) and runs(small, m.target, samples[0]):
            report = small.check(repair_seconds=0)
            by_floats = small.check(repair_seconds=0, exact=False)
            counts += [1, not report.ok, report.wrong == [m.target], not by_floats.ok]
    return counts


def accepted(d: Derivation) -> np.ndarray[Any, Any]:
    """How many rewritten derivations there are, how many are accepted, and how many proven."""
    counts = np.zeros(3, int)
    for seed in range(5):
        report = refactored(d, np.random.default_rng(seed)).check(seed=seed)
        counts += [1, report.ok, report.proven]
    return counts


def cost(d: Derivation) -> tuple[float, float]:
    """The seconds of a check with exact arithmetic, and how many times that of a check by floats it is."""
    seconds: dict[bool | None, float] = {None: np.inf, False: np.inf}
    for exact in (None, False) * TIMES:
        start = time.perf_counter()
        d.check(exact=exact)
        seconds[exact] = min(seconds[exact], time.perf_counter() - start)
    return seconds[None], seconds[None] / seconds[False]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=1e-12, help="relative size of the mistakes")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    names = dict(library())
    with np.errstate(all="ignore"):
        costs = {name: cost(d) for name, d in names.items()}
        right = sum(accepted(d) for d in names.values())
        wrong = sum(found(d, options.size) for d in names.values())
    print(f"right derivations in other words: {right[1]} of {right[0]} accepted, {right[2]} proven exactly")
    print(
        f"mistakes of relative size {options.size:g}: {wrong[1]} of {wrong[0]} found, {wrong[2]} with exactly the line"
    )
    print(f"    by floats: {wrong[3]}")
    for name, (seconds, ratio) in costs.items():
        print(f"{name:<30}{seconds:>8.3f} s{ratio:>6.1f} times the check by floats")
    ratios = [ratio for _, ratio in costs.values()]
    print(f"median {statistics.median(ratios):.1f}, largest {max(ratios):.1f}")


if __name__ == "__main__":
    main()
