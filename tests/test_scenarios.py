"""Every scenario compiled against eager, with both back ends."""

from __future__ import annotations

import functools
from typing import Any

import interpreted
import pytest
import scenarios
from scenarios.scenario import SCENARIOS, Outcome, compare, compare_observations, execute

from minigrad.compiler import kernel_files


@functools.cache
def run(name: str, backend: str | None, hold: bool = True) -> Outcome:
    return execute(SCENARIOS[name], backend, hold)


@pytest.mark.parametrize("name", SCENARIOS)
def test_numpy(name: str) -> None:
    assert compare(SCENARIOS[name], run(name, "numpy"), run(name, None)) == ""


@pytest.mark.parametrize("name", SCENARIOS)
def test_results_are_other_objects_where_they_are_in_eager_mode(name: str) -> None:
    assert compare_observations(run(name, "numpy"), run(name, None), identity=True) == ""


@pytest.mark.parametrize("name", SCENARIOS)
def test_kernels_run_by_python(name: str, monkeypatch: Any) -> None:
    """Objects are not kept between the calls here, so that memory and ids are used again."""
    monkeypatch.setattr(kernel_files, "load", interpreted.load)
    assert compare(SCENARIOS[name], run(name, "numba", hold=False), run(name, None, hold=False)) == ""


def test_every_group_is_there() -> None:
    assert {one.group for one in SCENARIOS.values()} == set(scenarios.GROUPS)
