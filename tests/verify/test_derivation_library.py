"""The derivations in examples/: the right ones pass, the wrong ones are blamed where and for what they say."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad.verify import Derivation

LIBRARY = Path(__file__).parents[2] / "examples" / "derivations"
RIGHT = sorted(LIBRARY.glob("*.py"))
WRONG = sorted((LIBRARY / "wrong").glob("*.py"))


def derivations(path: Path) -> dict[str, Derivation]:
    return {name: d for name, d in runpy.run_path(str(path)).items() if isinstance(d, Derivation)}


def stem(path: Path) -> str:
    return path.stem


def test_library_has_all_derivations() -> None:
    assert {"batch_norm", "layer_norm", "convolution", "attention", "lstm_cell"} <= {path.stem for path in RIGHT}
    assert len(WRONG) >= 12


@pytest.mark.parametrize("path", RIGHT, ids=stem)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_library_derivations_are_right(path: Path, seed: int) -> None:
    by_name = derivations(path)
    assert by_name
    for name, d in by_name.items():
        report = d.check(seed=seed)
        assert report.ok, f"{name}\n{report}"
        assert all(line.verdict == "right" and line.chained_ok for line in report.lines.values())
        assert not report.missing


@pytest.mark.parametrize("path", RIGHT, ids=stem)
def test_every_line_has_a_formula_as_docstring(path: Path) -> None:
    for d in derivations(path).values():
        for line in d.lines.values():
            assert (line.function.__doc__ or "").startswith("dl/d")


def test_batch_norm_at_realistic_values() -> None:
    rng = np.random.default_rng(4)
    for d in derivations(LIBRARY / "batch_norm.py").values():
        report = d.check(
            x=10 + 3 * rng.standard_normal((64, 8)), gamma=rng.standard_normal(8), beta=np.zeros(8), eps=1e-5
        )
        assert report.ok, str(report)


@pytest.mark.parametrize("path", WRONG, ids=stem)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_wrong_derivations_have_the_expected_verdict_and_reason(path: Path, seed: int) -> None:
    expected: dict[str, Any] = runpy.run_path(str(path))["EXPECTED"]
    (d,) = derivations(path).values()
    report = d.check(seed=seed, repair_seconds=3)  # so that a slow machine finds the same repair
    line = report.lines[expected["line"].removeprefix("d")]
    assert line.verdict == expected["verdict"]
    if line.ok:
        assert report.ok
    else:
        assert report.wrong == [line.target]
    assert expected.get("reason", "") in line.reason
    assert expected.get("repair", "") in (line.repair or "")
    assert expected.get("note", "") in " ".join(line.notes)
    assert expected.keys() > {"line", "verdict"}  # and a reason, repair or note


@pytest.mark.parametrize("path", [*RIGHT, *WRONG], ids=stem)
def test_files_are_short_and_describe_the_derivation(path: Path) -> None:
    text = path.read_text()
    assert text.startswith('"""')
    assert len(text.splitlines()) <= 100
