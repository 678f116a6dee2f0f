"""Random training loops: compiled against eager, and what the comparison itself can see."""

from __future__ import annotations

from typing import Any

import interpreted
import numpy as np
import pytest
import random_training
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scenarios.snapshot import difference

SEEDS = st.integers(0, 10**6)
NO_SHRINKING = [Phase.explicit, Phase.generate]  # a smaller seed makes no simpler loop


@given(SEEDS)
@settings(max_examples=25, phases=NO_SHRINKING)
def test_numpy(seed: int) -> None:
    assert random_training.check(seed) == ""


@given(SEEDS)
@settings(max_examples=10, phases=NO_SHRINKING)
def test_kernels_run_by_python(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interpreted.use(patch)
        assert random_training.check(seed, 6, "numba") == ""


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 600, 50))
def test_many(first: int) -> None:
    report = random_training.Report()
    for seed in range(first, first + 50):
        random_training.check(seed, 12, report=report)
    assert not report.different, report
    assert not report.crashed, report


@pytest.mark.slow
def test_with_numba() -> None:
    report = random_training.Report()
    for seed in range(20):
        random_training.check(seed, 8, "numba", report)
    assert not report.different, report
    assert not report.crashed, report


# The tester


def perturbed(monkeypatch: Any, size: float) -> None:
    """All loops start from weights that differ by so much."""
    network = random_training.Loop.network

    def moved(self: Any, r: Any) -> Any:
        model = network(self, r)
        for p in model.parameters():
            p.data *= 1 + size * np.random.default_rng(0).integers(-2, 3, p.shape)
        return model

    monkeypatch.setattr(random_training.Loop, "network", moved)


@pytest.mark.parametrize(("size", "seen"), [(1e-15, 0), (1e-7, 30)])
def test_rounding_does_not_count_as_a_difference(monkeypatch: Any, size: float, seen: int) -> None:
    """No loop is so chaotic that rounding becomes visible, and a change of 1e-7 is seen in all of them."""
    expected = [random_training.losses(seed, 12, False, "numpy")[0] for seed in range(30)]
    perturbed(monkeypatch, size)
    found = [random_training.losses(seed, 12, False, "numpy")[0] for seed in range(30)]
    assert sum(bool(difference(a, b)) for a, b in zip(found, expected, strict=True)) == seen


def test_loops_run_in_eager_mode() -> None:
    for seed in range(30):
        seen, _, error = random_training.losses(seed, 12, False, "numpy")
        assert error == ""
        assert len(seen) == 12


class Frozen(random_training.Loop):
    """Settings that are read once, as a compiled step would that does not look at them again."""

    def compile(self, function: Any) -> Any:
        if self.backend is None:
            return function
        first = dict(vars(self.s), options={"l2": 0.0, "scales": [1.0]})

        def step(*args: Any) -> Any:
            now = {name: vars(self.s)[name] for name in ("noise", "smoothing", "clip", "decay", "scale", "options")}
            vars(self.s).update({name: first[name] for name in now})
            try:
                return function(*args)
            finally:
                vars(self.s).update(now)

        return step


def test_stale_settings_are_detected(monkeypatch: Any) -> None:
    monkeypatch.setattr(random_training, "Loop", Frozen)
    report = random_training.Report()
    for seed in range(20):
        random_training.check(seed, 12, report=report)
    assert len(report.different) >= 8
    assert not report.crashed
