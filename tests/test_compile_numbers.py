"""Numbers out of arrays: which steps are compiled, and what the others are told."""

from __future__ import annotations

import pytest
import scenarios  # noqa: F401  (registers them)
from scenarios.scenario import SCENARIOS, execute

FOLLOWED = [name for name, one in SCENARIOS.items() if one.group == "following"]


@pytest.mark.parametrize("name", FOLLOWED)
def test_ordinary_steps_are_compiled(name: str) -> None:
    assert execute(SCENARIOS[name], "numpy").warnings == []
