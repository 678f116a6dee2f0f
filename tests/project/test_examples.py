"""The examples in a short form."""

from __future__ import annotations

import importlib
import re
import runpy
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad.drawing.render import graphviz_program

EXAMPLES = Path(__file__).parents[2] / "examples"

ROOT = EXAMPLES.parent
GALLERY = runpy.run_path(str(EXAMPLES / "gallery.py"))["PICTURES"]


def words(svg: str) -> list[str]:
    """The texts of a picture, without numbers, whose last digit depends on the machine."""
    texts = [t.text or "" for t in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    return sorted(re.sub(r"−?\d+(\.\d+)?(e−?\d+)?", "#", text).strip() for text in texts)


@pytest.mark.parametrize("name", GALLERY)
def test_gallery_pictures_match_the_docs(name: str) -> None:
    if graphviz_program.find() is None:
        pytest.skip("neither Graphviz nor graphviz-pure is installed")
    picture = GALLERY[name](np.random.default_rng(0))
    kept = (ROOT / "docs" / "images" / f"{name}.svg").read_text(encoding="utf-8")
    assert words(kept) == words(picture.pipe("svg", "utf-8")), "run python examples/gallery.py"
    pages = [(ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/drawing.md")]
    assert any(f"images/{name}.svg" in page for page in pages)


def test_pages_example(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'minigrad[plot]'")
    pytest.importorskip("playwright", reason='needs Playwright: pip install "minigrad[browser]"')
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        pytest.skip("needs a Chromium of the system")
    program = [sys.executable, str(EXAMPLES / "pages.py"), "--out", str(tmp_path)]
    done = subprocess.run(program, cwd=ROOT, check=True, capture_output=True, text=True)
    output = [line.partition(".png: ")[2] for line in done.stdout.splitlines()]
    assert output == ["backward, node 11 of 15", "4 findings"]
    for name in ("explorer.png", "diagnostics.png"):
        taken, kept = ((folder / name).read_bytes() for folder in (tmp_path, ROOT / "docs" / "images"))
        assert taken[:24] == kept[:24]  # a PNG of this width and height


def test_digits_with_fit_and_by_hand() -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn: pip install 'minigrad[data]'")
    example = runpy.run_path(str(EXAMPLES / "digits_mlp.py"))
    fitted, history = example["with_fit"](12, progress=False)
    model, accuracy = example["by_hand"](12)
    assert len(history) == 12
    assert history["val_accuracy"][-1] >= 0.97
    assert accuracy == pytest.approx(history["val_accuracy"][-1])
    ours, theirs = fitted.state_dict(), model.state_dict()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_digits_with_convolutions() -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn: pip install 'minigrad[data]'")
    example = runpy.run_path(str(EXAMPLES / "digits_cnn.py"))
    _, history = example["train"](8, progress=False)
    assert history["val_accuracy"][-1] >= 0.985
    assert history["loss"][-1] < 0.1 * history["loss"][0]


def test_digits_through_eight_numbers(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn: pip install 'minigrad[data]'")
    pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'minigrad[plot]'")
    example = runpy.run_path(str(EXAMPLES / "digits_autoencoder.py"))
    model, history, test = example["train"](25, progress=False)
    assert history["val_loss"][-1] < 0.4 * np.mean((test - test.mean(axis=0)) ** 2)
    example["picture"](model, test[:4], tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def characters(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that the examples on texts share; they find it beside themselves."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("characters")


def test_entropies_of_characters(characters: Any) -> None:
    ids = characters.encode("abac" * 5000 + "a")
    unigram, bigram = characters.entropies(ids)
    assert unigram == pytest.approx(1.5 * np.log(2), rel=1e-3)
    assert bigram == pytest.approx(0.5 * np.log(2), rel=1e-3)
    assert "0.50 bits" in characters.report(unigram, ids)
    train, held_out = characters.split()
    assert characters.decode(np.append(train, held_out)) == characters.TEXT


def test_text_with_an_lstm(characters: Any) -> None:
    example = runpy.run_path(str(EXAMPLES / "text_lstm.py"))
    model, losses = example["train"](1, hidden=64, progress=False)
    unigram, _ = characters.entropies(characters.split()[1])
    assert losses[-1] < 0.85 * unigram
    text = example["sample"](model, "Alice ", 20)
    assert len(text) == 26
    assert text.startswith("Alice ")


def test_text_with_a_transformer(characters: Any) -> None:
    example = runpy.run_path(str(EXAMPLES / "text_transformer.py"))
    model, history = example["train"](1, step=32, lr=1e-2, progress=False, features=32, layers=1)
    unigram, _ = characters.entropies(characters.split()[1])
    assert history["val_loss"][-1] < 0.85 * unigram
    text = example["sample"](model, "Alice ", 100)
    assert len(text) == 106
    assert text.startswith("Alice ")
