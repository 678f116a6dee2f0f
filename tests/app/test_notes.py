"""The experiments of the notes in their quick form, the command that runs them, and the page."""

from __future__ import annotations

import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad.app import cli
from minigrad.app.notes import Claim, Experiment, collection, subplots
from minigrad.app.notes.experiment import CHAPTERS

pytest.importorskip("sklearn", reason="the digits come with scikit-learn: pip install 'minigrad[data]'")
pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'minigrad[plot]'")

DOCS = Path(__file__).parents[2] / "docs"
NAMES = [path.stem for path in sorted(collection.folder().glob("*.py"))]


@pytest.mark.floating(under="ignore")  # squares of small gradients in single precision
@pytest.mark.parametrize("name", NAMES)
def test_every_claim_of_the_notes(name: str, tmp_path: Path) -> None:
    (experiment,) = collection.experiments([name])
    outcome = experiment.run(quick=True)
    assert experiment.name == name
    assert outcome.claims
    assert [str(claim) for claim in outcome.claims if not claim.ok] == []
    assert outcome.save(tmp_path).read_text(encoding="utf-8").startswith("<?xml")


def test_every_experiment_belongs_to_a_chapter() -> None:
    assert set(NAMES) <= {name for chapter in CHAPTERS.values() for name in chapter}


@pytest.mark.parametrize("name", NAMES)
def test_docs_show_every_experiment(name: str) -> None:
    (experiment,) = collection.experiments([name])
    gallery, notes = (
        " ".join((DOCS / page).read_text(encoding="utf-8").split()) for page in ("gallery.md", "notes.md")
    )
    assert f"### {experiment.title} ![{experiment.title}](images/notes/{name}.svg) {experiment.caption}" in gallery
    assert f"(images/notes/{name}.svg)" in notes
    assert f"(../examples/notes/{name}.py)" in notes
    assert (DOCS / "images" / "notes" / f"{name}.svg").exists()


SMALL = '''"""Coins.

A fair coin shows heads
half of the time.
"""

from minigrad.app.notes import Claim, Experiment, subplots

def picture(runs):
    figure, axis = subplots(title="Heads")
    axis.plot(runs)
    return figure

experiment = Experiment(
    "coins", __doc__, lambda rng, quick: rng.random(10_000).round().mean(),
    lambda runs: [Claim("as many heads as tails", runs, at_least=0.48, at_most=BOUND, because="it is <fair>")],
    picture, caption="The share of heads.",
)

if __name__ == "__main__":
    experiment.main()
'''


@pytest.fixture
def coins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder with one experiment; whether its claim holds depends on the bound."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    monkeypatch.setattr(collection, "folder", lambda: folder)

    def write(bound: float) -> Path:
        path = folder / "coins.py"
        path.write_text(SMALL.replace("BOUND", str(bound)), encoding="utf-8")
        return path

    return write


def test_command_writes_one_page(coins: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coins(0.52)
    assert cli.main(["notes", "--quick", "--out", str(tmp_path / "out")]) == 0
    assert "coins: 1 claim holds (2 seeds, quick form" in capsys.readouterr().out
    html = (tmp_path / "out" / "notes.html").read_text(encoding="utf-8")
    assert "1 claim, all hold" in html
    assert "<p>A fair coin shows heads half of the time.</p>" in html
    assert re.search(r"0.48 to 0.52</td><td class=\"number\">0\.(49|5)", html)
    assert "because it is &lt;fair&gt;" in html
    assert re.findall(r'(?:src|href)="(?!data:image/svg\+xml;base64,|#coins")', html) == []


def test_failed_claim(coins: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a bound that the numbers exceed."""
    coins(0.485)
    assert cli.main(["notes", "--only", "coins", "--out", str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "✗ as many heads as tails" in output
    assert "claims fail in coins" in output
    assert "1 claim, 1 failed" in (tmp_path / "notes.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("bound", "status"), [(0.52, 0), (0.485, 1)])
def test_run_an_experiment_file(
    coins: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: float, status: int
) -> None:
    path = coins(bound)
    monkeypatch.setattr(sys, "argv", [str(path), "--quick", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(path), run_name="__main__")
    assert stopped.value.code == status
    assert (tmp_path / "coins.svg").exists()


def test_unknown_experiment(coins: Any, capsys: pytest.CaptureFixture[str]) -> None:
    coins(0.52)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["notes", "--only", "coin"])
    assert stopped.value.code == 2
    assert "unknown experiment 'coin'; did you mean 'coins'?" in " ".join(capsys.readouterr().err.split())


def test_without_matplotlib(
    coins: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    coins(0.52)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit):
        cli.main(["notes", "--out", str(tmp_path)])
    assert 'pip install "minigrad[all]"' in capsys.readouterr().err


def test_missing_experiments_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(collection, "__file__", str(tmp_path / "minigrad" / "notes" / "collection.py"))
    with pytest.raises(ValueError, match="is the installation complete"):
        collection.folder()


def test_claim_bounds_hold_for_every_seed() -> None:
    claim = Claim("more than one", [[1.5, 2.0], [1.0, 3.0]], at_least=1)
    assert claim.ok
    assert claim.spread == "1.88 (1 to 3)"
    assert not replace(claim, at_least=1.1).ok
    assert not replace(claim, at_most=2.9).ok
    assert not replace(claim, measured=[2.0, np.nan]).ok


@pytest.mark.parametrize(("measured", "bounds"), [([], {"at_least": 0}), ([1.0], {})])
def test_invalid_claims(measured: list[float], bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs at least one measured number, and at_least or at_most"):
        Claim("something", measured, **bounds)


def test_pictures_are_reproducible(tmp_path: Path) -> None:
    def draw(runs: list[Any]) -> Any:
        figure, axis = subplots(title="a σ²")
        axis.plot([0, 1 / 3, runs[0]], label="line")
        axis.legend()
        return figure

    experiment = Experiment("one", "One.", lambda rng, quick: 0.5, lambda runs: [], draw, "A line.", seeds=(1, 1))
    first, second = (experiment.run().save(tmp_path / k).read_bytes() for k in "ab")
    assert first == second
    assert max(len(digits) for digits in re.findall(rb' d="M \d+\.(\d+)', first)) == 1
