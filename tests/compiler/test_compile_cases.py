"""The table of cases in compiled steps: value and pull, on other operands than the recorded ones.

Every fifth row runs each time, all of them with -m "slow or not slow".
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import walks
from cases import CASES, Case

import minigrad as mg
from minigrad import Tensor
from minigrad.compiler.ir import typing as rules
from minigrad.compiler.passes import pipeline as passes
from minigrad.engine import tape

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly


@pytest.fixture(autouse=True)
def _checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker runs after every pass."""
    for name, change in passes.PASSES.items():
        monkeypatch.setitem(passes.PASSES, name, lambda program, change=change: rules.check(change(program)))


def step_of(case: Case) -> Any:
    """The values of a case and the gradients of its operands, for cotangents that differ between elements."""

    def step(*operands: Any) -> Any:
        leaves = {k: Tensor(operands[k], requires_grad=True) for k in case.wrt}
        values = walks.outputs(case.function(*(leaves.get(k, x) for k, x in enumerate(operands))))
        values = [t for t in values if hasattr(t, "node")]
        pending: dict[Any, Any] = {}
        for t in values:
            if t.node is not None:
                weights = np.arange(t.size, dtype=t.dtype).reshape(t.shape) + np.full_like(t.data, 0.5)
                pending[t.node] = pending[t.node] + weights if t.node in pending else weights
        cotangents = tape.pull(walks.nodes_of(values), pending)
        return [t.data for t in values], [cotangents[t.node] for t in leaves.values() if t.node in cotangents]

    return step


TRACEABLE = [case for case in CASES if "standin" not in case.skip]
ROWS = [
    pytest.param(case, marks=() if k % 5 == 0 else pytest.mark.slow, id=str(case)) for k, case in enumerate(TRACEABLE)
]


@pytest.mark.parametrize("case", ROWS)
def test_case(case: Case) -> None:
    eager = step_of(case)
    compiled = mg.compile(eager, audit=False, fallback="raise")
    recorded = [np.asarray(x) if k in case.wrt else x for k, x in enumerate(case.operands())]
    others = [x * x.dtype.type(1.001) if k in case.wrt else x for k, x in enumerate(recorded)]
    with np.errstate(all="ignore"):
        for operands in (recorded, others, recorded, others, recorded):
            got, expected = (function(*operands) for function in (compiled, eager))
            for ours, theirs in zip(got, expected, strict=True):
                for a, b in zip(ours, theirs, strict=True):
                    assert a.dtype == b.dtype
                    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
