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
from minigrad import nn, optim
from minigrad.compiler import decorator
from minigrad.compiler.ir import typing as rules
from minigrad.compiler.kernels.legalize import legalized
from minigrad.compiler.kernels.numba_backend import with_kernels

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly


@pytest.fixture(autouse=True)
def _by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreted.use(monkeypatch)
    monkeypatch.setattr(mg, "compile", functools.partial(decorator.compile, backend="numba"))
    monkeypatch.setattr(models, "STEPS", 8)
    monkeypatch.setattr(models, "assert_same", functools.partial(assert_same, steps=8))


def assert_same(make: Any, batches: Any, steps: int) -> Any:
    compiled = SAME(make, batches, steps)
    for version in compiled.versions:
        prepared = rules.check(legalized(version.program))
        rules.check(with_kernels(prepared))
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
    hazards.test_hazards_match_eager(name)


@pytest.mark.parametrize("wrong", [[3, 3, 3, 3], [3, 2, 1, 0]])
def test_an_argument_that_counts_rows_is_not_a_constant(wrong: list[int]) -> None:
    """An array of the user's that holds 0, 1, 2, 3 in the first call is no constant, whatever it is called."""
    numbers, y = np.arange(4), np.array([0, 1, 2, 0])
    x = mg.Tensor(np.random.default_rng(0).normal(size=(4, 3)))

    def step(x: Any) -> Any:
        return (x[numbers, y] * 2).sum()

    compiled = mg.compile(step)
    assert float(compiled(x)) == pytest.approx(float(step(x)))
    numbers[:] = wrong
    assert float(compiled(x)) == pytest.approx(float(step(x)))


def test_an_index_created_in_the_step_is_constant() -> None:
    """x[np.arange(n), labels] is a sum in a kernel; the rows of an array that somebody holds may change."""

    @functools.cache
    def held() -> Any:
        return np.arange(4)

    x, labels = np.random.default_rng(0).normal(size=(4, 3)), np.array([2, 0, 1, 2])
    made = mg.compile(lambda x, labels: x[np.arange(4), labels] * 2, backend="numba")
    kept = mg.compile(lambda x, labels: x[held(), labels] * 2, backend="numba")
    for step in (made, kept):
        for _ in range(4):
            np.testing.assert_array_equal(step(x, labels), x[np.arange(4), labels] * 2)
    assert "gather" not in made.source
    assert "gather" in kept.source
    held()[:] = [3, 2, 1, 0]
    np.testing.assert_array_equal(kept(x, labels), x[held(), labels] * 2)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_gradient_that_is_always_0_has_its_own_memory(backend: str) -> None:
    """A bias before batch norm: the optimizer's zeros are written once, the parameter's `.grad` in each call."""
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm(3), nn.Linear(3, 1))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    bias = model[0].bias

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled, x = mg.compile(step, backend=backend), np.random.default_rng(0).normal(size=(5, 2))
    for _ in range(3):  # two recordings and an audit, which are eager calls
        compiled(x)
    before = bias.numpy().copy()
    for _ in range(3):
        compiled(x)
        assert not bias.grad.numpy().any()
        bias.grad.data[...] = 7.0
    np.testing.assert_array_equal(bias.numpy(), before)
