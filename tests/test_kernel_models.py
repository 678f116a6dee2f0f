"""Compiled steps with kernels against eager ones: models and hazards once more, the kernels run by Python."""

from __future__ import annotations

import functools
from typing import Any

import interpreted
import numpy as np
import pytest
import test_compile_hazards as hazards
import test_compile_models as models

import minigrad as mg
from minigrad.compiler import driver, kernel_files, rules
from minigrad.compiler.grouping import grouped
from minigrad.compiler.prepare import Preparing


@pytest.fixture(autouse=True)
def _by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_files, "load", interpreted.load)
    monkeypatch.setattr(mg, "compile", functools.partial(driver.compile, backend="numba"))
    monkeypatch.setattr(models, "STEPS", 8)
    monkeypatch.setattr(models, "assert_same", functools.partial(assert_same, steps=8))


def assert_same(make: Any, batches: Any, steps: int) -> Any:
    compiled = SAME(make, batches, steps)
    for versions in compiled.versions.values():
        for version in versions:
            prepared = rules.check(Preparing(version.program).run())
            rules.check(grouped(prepared))
    return compiled


SAME = models.assert_same


@pytest.mark.parametrize("name", models.LAYERS)
def test_layer(name: str) -> None:
    models.test_layer(name)


@pytest.mark.parametrize("name", models.LOSSES)
def test_loss(name: str) -> None:
    models.test_loss(name)


@pytest.mark.parametrize("name", models.OPTIMIZERS)
def test_optimizer(name: str) -> None:
    models.test_optimizer(name)


@pytest.mark.parametrize("name", hazards.CASES)
def test_hazard(name: str) -> None:
    hazards.test_as_eager(name)


@pytest.mark.parametrize("wrong", [[3, 3, 3, 3], [3, 2, 1, 0]])
def test_rows_that_count_now_may_not_later(wrong: list[int]) -> None:
    """An array of the user's that holds 0, 1, 2, 3 in the first call is no constant, whatever it is called."""
    numbers, y = np.arange(4), np.array([0, 1, 2, 0])
    x = mg.Tensor(np.random.default_rng(0).normal(size=(4, 3)))

    def step(x: Any) -> Any:
        return (x[numbers, y] * 2).sum()

    compiled = mg.compile(step)
    assert float(compiled(x)) == pytest.approx(float(step(x)))
    numbers[:] = wrong
    assert float(compiled(x)) == pytest.approx(float(step(x)))
