"""Compiled steps in single precision: every layer, loss and optimizer, with both back ends.

Sums in another order are rounded in another way, and training carries that on. So a compiled step is held to what
rounding does to the eager one: the furthest that it comes from itself when its inputs, and the weights that it begins
with, are changed by one rounding each. Kernels are run by Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import interpreted
import numpy as np
import pytest
import test_compile_models as models

import minigrad as mg

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

TABLES = {"layer": models.LAYERS, "loss": models.LOSSES, "optimizer": models.OPTIMIZERS}
CASES = [(kind, name) for kind, table in TABLES.items() for name in table]
IDS = [f"{kind} {name}" for kind, name in CASES]
CHANGED = 4  # eager runs with other roundings
SLACK = 3  # times the furthest of these few, and so many roundings of the quantity itself

Observed = dict[str, Any]  # of a run: the losses, and the state and the gradients at its end


@pytest.fixture(autouse=True)
def _single() -> Iterator[None]:
    mg.set_default_dtype("float32")
    yield
    mg.set_default_dtype("float64")


def single(x: Any) -> Any:
    return x.astype(np.float32) if x.dtype == np.float64 else x


def changed(x: Any, rng: np.random.Generator) -> Any:
    """The next number above or below, for every element."""
    if x.dtype != np.float32:
        return x
    return np.nextafter(x, np.where(rng.random(x.shape) < 0.5, -np.inf, np.inf).astype(x.dtype))


def observed(build: models.Build, batches: models.Batches, steps: int, backend: str = "", seed: int = 0) -> Observed:
    """A run, eager or compiled; with a seed, on changed inputs from changed weights."""
    model, step = build()
    rng = np.random.default_rng(seed)
    if seed:
        with mg.no_grad():
            for p in model.parameters():
                p[...] = changed(p.numpy(), rng)
    if backend:
        step = mg.compile(step, backend=backend)
    losses = []
    for k in range(steps):
        batch = batches[k % len(batches)]
        losses.append(step(*[changed(x, rng) for x in batch] if seed else batch).numpy())
    found = {"loss": np.stack(losses), **model.state_dict()}
    found |= {f"gradient of {name}": p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    assert {x.dtype for x in found.values() if x.dtype.kind == "f"} == {np.dtype(np.float32)}
    return {name: np.asarray(x, float) for name, x in found.items()}


def distances(a: Observed, b: Observed) -> dict[str, float]:
    """The root mean square difference of each quantity."""
    assert a.keys() == b.keys()
    return {name: float(np.sqrt(np.mean((a[name] - b[name]) ** 2))) for name in a}


def assert_no_further_apart(kind: str, name: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    build, given = getattr(models, f"of_{kind}")(name)
    batches = [tuple(map(single, batch)) for batch in given]
    eager = observed(build, batches, steps)
    apart = [distances(observed(build, batches, steps, seed=seed), eager) for seed in range(1, CHANGED + 1)]
    interpreted.use(monkeypatch)
    for backend in ("numpy", "numba"):
        ours = distances(observed(build, batches, steps, backend), eager)
        for quantity, distance in ours.items():
            furthest = max(a[quantity] for a in apart)
            rounding = np.finfo(np.float32).eps * np.max(np.abs(eager[quantity]), initial=0)
            assert distance <= SLACK * (furthest + rounding), f"{backend}, {quantity}"


@pytest.mark.floating(under="ignore")
@pytest.mark.parametrize(("kind", "name"), CASES, ids=IDS)
def test_results_differ_from_eager_only_by_rounding(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_no_further_apart(kind, name, 8, monkeypatch)


@pytest.mark.slow
@pytest.mark.floating(under="ignore")
@pytest.mark.parametrize(("kind", "name"), CASES, ids=IDS)
def test_results_after_100_steps_differ_only_by_rounding(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_no_further_apart(kind, name, 100, monkeypatch)
