"""Every scenario compiled against eager, with both back ends."""

from __future__ import annotations

import functools
from typing import Any

import interpreted
import pytest
import scenarios
from scenarios.scenario import SCENARIOS, Outcome, compare, execute

from minigrad.compiler import kernel_files


@functools.cache
def eager(name: str, hold: bool) -> Outcome:
    return execute(SCENARIOS[name], None, hold)


@pytest.mark.parametrize("name", SCENARIOS)
def test_numpy(name: str) -> None:
    assert compare(SCENARIOS[name], execute(SCENARIOS[name], "numpy"), eager(name, True)) == ""


@pytest.mark.parametrize("name", SCENARIOS)
def test_kernels_run_by_python(name: str, monkeypatch: Any) -> None:
    """Objects are not kept between the calls here, so that memory and ids are used again."""
    monkeypatch.setattr(kernel_files, "load", interpreted.load)
    assert compare(SCENARIOS[name], execute(SCENARIOS[name], "numba", hold=False), eager(name, False)) == ""


def test_every_group_is_there() -> None:
    assert {one.group for one in SCENARIOS.values()} == set(scenarios.GROUPS)
