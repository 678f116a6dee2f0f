"""The examples in a short form."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


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
