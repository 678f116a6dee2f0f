"""Every scenario compiled against eager, with both back ends. `PYTHONPATH=tests python -m scenarios` makes a table."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import interpreted
import pytest
import scenarios
from scenarios.scenario import SCENARIOS, Outcome, compare, compare_observations, execute

NAMES = list(SCENARIOS)
EVERY = 4  # kernels of one scenario out of so many are run by default


@functools.lru_cache(maxsize=4)
def run(name: str, backend: str | None, hold: bool = True) -> Outcome:
    """The outcomes of the last few runs only: searches of the garbage collector take longer the more there is."""
    return execute(SCENARIOS[name], backend, hold)


@pytest.fixture(autouse=True, scope="module")
def _forget() -> Iterator[None]:
    yield
    run.cache_clear()


@pytest.mark.parametrize("what", ["values", "objects"])
@pytest.mark.parametrize("name", NAMES)
def test_numpy(name: str, what: str) -> None:
    """What is computed and left behind; and which arrays are other objects than before."""
    ours, eager = run(name, "numpy"), run(name, None)
    differs = compare(SCENARIOS[name], ours, eager) if what == "values" else ""
    assert (differs or compare_observations(ours, eager, identity=what == "objects")) == ""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (k % EVERY > 0)) for k, name in enumerate(NAMES)]
)
def test_kernels_run_by_python(name: str, monkeypatch: Any) -> None:
    """Objects are not kept between the calls here, so that memory and ids are used again."""
    interpreted.use(monkeypatch)
    assert compare(SCENARIOS[name], run(name, "numba", hold=False), run(name, None, hold=False)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[::12])
def test_kernels_run_by_numba(name: str) -> None:
    assert compare(SCENARIOS[name], run(name, "numba"), run(name, None)) == ""


def test_every_group_has_scenarios() -> None:
    assert {one.group for one in SCENARIOS.values()} == set(scenarios.GROUPS)


@pytest.mark.slow
def test_few_scenarios_run_eagerly() -> None:
    """At most a tenth of those that need not."""
    ordinary = [name for name, one in SCENARIOS.items() if not one.eager]
    fell_back = [name for name in ordinary if run(name, "numpy").warnings]
    assert len(fell_back) <= len(ordinary) / 10, fell_back
