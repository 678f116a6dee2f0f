"""One function that returns a loss and its gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_homework import load

from minigrad.app.source_files import import_file
from minigrad.verify import WrittenReport, check_backward
from minigrad.verify.as_written.discover import check_found
from minigrad.verify.pairs.found import pairs_in

LOSSES = Path(__file__).parents[3] / "examples" / "homework" / "losses.py"
SOURCE = LOSSES.read_text(encoding="utf-8").replace("dx *= N", "dx /= N")

pytestmark = pytest.mark.floating(all="ignore")


def checked(source: str, name: str) -> WrittenReport:
    module = load(source, "losses")
    return check_found(next(p for p in pairs_in(vars(module), "losses") if p.name == name))


def test_the_wrong_one_of_the_file_is_found() -> None:
    module = import_file(LOSSES)
    reports = [check_found(pair) for pair in pairs_in(vars(module), module.__name__)]
    assert [report.ok for report in reports] == [False, True, True, True]
    assert [line.text.splitlines()[-1] for line in reports[0].wrong] == ["dx *= N"]


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("softmax_loss", "dx[np.arange(N), y] -= 1", "dx[np.arange(N), y] += 1"),
        ("svm_loss", "dx[np.arange(N), y] -= num_pos", "dx[np.arange(N), y] -= 1"),
        ("two_layer_loss", "grads['W1'] = X.T.dot(dhidden) + reg * W1", "grads['W1'] = X.T.dot(dhidden)"),
        ("two_layer_loss", "grads['b2'] = np.sum(dscores, axis=0)", "grads['b2'] = np.mean(dscores, axis=0)"),
        ("two_layer_loss", "dhidden = dscores.dot(W2.T)", "dhidden = 2 * dscores.dot(W2.T)"),
        ("lossFun", "(1 - hs[t] * hs[t]) * dh", "(1 - hs[t]) * dh"),
        ("lossFun", "dWhh += np.dot(dhraw, hs[t-1].T)", "dWhh += np.dot(dhraw, hs[t].T)"),
    ],
)
def test_planted_errors_are_blamed_on_their_line(name: str, right: str, wrong: str) -> None:
    assert checked(SOURCE, name).ok
    assert SOURCE.count(right) == 1 or name == "softmax_loss"
    head, tail = SOURCE.split(f"def {name}(")
    report = checked(f"{head}def {name}({tail.replace(right, wrong, 1)}", name)
    assert len(report.wrong) == 1, report
    assert wrong in report.wrong[0].text


def test_the_loss_must_come_first() -> None:
    def f(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dx = 2 * x
        return dx, (x**2).sum()

    with pytest.raises(TypeError, match="must return a loss, which is one number"):
        check_backward(f, None, np.ones(3))
