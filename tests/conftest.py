"""Tests run stricter than users do: floating-point errors raise, random numbers are the same in every run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "minigrad", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("minigrad")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "floating(**how): what np.errstate is to do here, for example under='ignore'")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long fuzzing runs only where they are asked for."""
    if not config.option.markexpr:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(autouse=True)
def strict(request: pytest.FixtureRequest) -> Iterator[None]:
    """Floating-point errors raise, unless the test is marked with `floating`; global generators are seeded."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    marker = request.node.get_closest_marker("floating")
    with np.errstate(**{"all": "raise"} | (marker.kwargs if marker else {})):
        yield


@pytest.fixture(autouse=True)
def no_kernels_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps compiled with backend="auto" stay with NumPy: compiling kernels in the background takes seconds."""
    monkeypatch.setattr("minigrad.compiler.specialization.is_available", lambda: False)


collect_ignore = ["typing"]  # for type checkers

PROVABLE = 300_000  # elements (see minigrad.compiler.ir.evaluate.work) of programs whose passes are proven in the tests


@pytest.fixture(autouse=True)
def passes_are_proven(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Every pass keeps what a program computes, in exact arithmetic, for every program that a test compiles."""
    from minigrad.compiler.passes import proof

    with proof.proven(limit=PROVABLE) as watch:
        yield
    if watch.skipped:
        record_property("programs too large to be proven", watch.skipped)
