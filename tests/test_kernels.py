"""Kernels against plain NumPy: random programs, and what numbers do at the ends of their ranges."""

from __future__ import annotations

from typing import Any

import interpreted
import numpy as np
import pytest
from random_programs import Drawing, evaluate

from minigrad.compiler import kernel_files, numba_source, pool
from minigrad.compiler.numba_source import NumbaSource
from minigrad.compiler.program import Buffer, Program

SAMPLE = range(150)


@pytest.fixture
def _by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_files, "load", interpreted.load)


def apart(found: Any, expected: Any) -> str:
    """How they differ, if they do."""
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return f"{found.shape} {found.dtype} instead of {expected.shape} {expected.dtype}"
    if expected.dtype.kind != "f":
        return "" if np.array_equal(found, expected) else f"{found} instead of {expected}"
    tolerance = 1e-3 if expected.dtype == np.float32 else 1e-9
    scale = np.max(np.abs(expected), where=np.isfinite(expected), initial=1.0)
    close = np.isclose(found, expected, rtol=tolerance, atol=tolerance * min(scale, 1e6), equal_nan=True)
    return "" if close.all() else f"{found} instead of {expected}"


def difference(program: Program, calls: int = 2) -> str:
    """Run a program with kernels several times, and say where it leaves NumPy."""
    arguments = {b: np.random.default_rng(0).integers(-3, 4, b.shape).astype(b.dtype) for b in given(program)}
    run = NumbaSource(program).compiled()
    for _ in range(calls):
        before = arguments | {b: b.array.copy() for b in program.buffers if b.kind == "state"}
        outputs, stores = evaluate(program, before)
        found = run(*arguments.values())
        pairs = [(f"output {k}", *pair) for k, pair in enumerate(zip(found, outputs, strict=True))]
        ends = {b: stores.get(b, x) for b, x in before.items() if b.kind == "state"}
        pairs += [(b.name, b.array, x) for b, x in ends.items()]
        for where, x, y in pairs:
            if complaint := apart(x, y):
                return f"{where}: {complaint}\n{program}\n{NumbaSource(program).text}"
    return ""


def given(program: Program) -> list[Buffer]:
    """The arguments in order."""
    return sorted((b for b in program.buffers if b.kind == "argument"), key=lambda b: b.place or 0)


@pytest.mark.usefixtures("_by_python")
def test_random_programs() -> None:
    for seed in SAMPLE:
        assert not (complaint := difference(Drawing(seed).program())), f"seed {seed}, {complaint}"


@pytest.mark.usefixtures("_by_python")
@pytest.mark.parametrize("workers", [0, 2])
def test_random_programs_in_parts(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """Kernels cut along their first axis, also where there are fewer rows than parts."""
    monkeypatch.setattr(numba_source, "is_worth_threads", lambda kernel: bool(kernel.sizes))
    monkeypatch.setattr(pool, "_shared", pool.Pool(workers))
    for seed in range(500, 560):
        assert not (complaint := difference(Drawing(seed).program())), f"seed {seed}, {complaint}"


@pytest.mark.slow
@pytest.mark.usefixtures("_by_python")
@pytest.mark.parametrize("hundred", range(100))
def test_many_random_programs(hundred: int) -> None:
    for seed in range(1000 + 100 * hundred, 1100 + 100 * hundred):
        program = Drawing(seed, lines=8 + seed % 25).program()
        assert not (complaint := difference(program)), f"seed {seed}, {complaint}"
