"""The command line and the demo."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from minigrad import fused
from minigrad.app import cli
from minigrad.app.demo import digits, gradient_check
from minigrad.drawing.render import graphviz_program

PNG = b"\x89PNG"
NAMES = ("xhat", "var", "mu", "x", "gamma", "beta")


def without(monkeypatch, *packages):
    """Make imports of these packages fail, as if they were not installed."""
    for module in [*packages, *sys.modules]:
        if module.split(".")[0] in packages:
            monkeypatch.setitem(sys.modules, module, None)


def demo(tmp_path, *arguments):
    return cli.main(["demo", "--out", str(tmp_path / "out"), *arguments])


def test_demo(tmp_path, capsys):
    for package in ("sklearn", "matplotlib"):
        pytest.importorskip(package)
    if graphviz_program.find() is None:
        pytest.skip("neither Graphviz nor graphviz-pure is installed")
    assert demo(tmp_path, "--epochs", "6") == 0
    out, text = tmp_path / "out", capsys.readouterr().out
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", text).group(1))
    assert accuracy >= 97
    for name in NAMES:
        row = re.search(rf"dl/d{gradient_check.LABELS[name]} .*", text).group()
        assert row.strip().endswith("✓")
        assert all(float(number) < 1e-7 for number in re.findall(r"[\d.]+e[-+]\d+", row))
    written = {path.name for path in out.iterdir()}
    assert written == {
        "batch-norm.svg", "batch-norm.png", "batch-norm.html", "network.svg", "network.png", "network.html",
        "curves.png", "report.txt",
    }  # fmt: skip
    assert all((out / name).read_bytes().startswith(PNG) for name in written if name.endswith("png"))
    texts = [t.text for t in ET.parse(out / "batch-norm.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"x", "μ", "σ²", "x̂", "γ", "β", "y"} <= set(texts)
    pages = [(out / name).read_text(encoding="utf-8") for name in written if name.endswith("html")]
    assert not any("No values of" in page for page in pages)  # the leaves were still there
    report = (out / "report.txt").read_text(encoding="utf-8")
    assert f"test accuracy {accuracy}%" in report
    assert "\x1b" not in report
    assert all(str(out / name) in text for name in written)


def test_demo_without_scikit_learn(tmp_path, monkeypatch, capsys):
    without(monkeypatch, "sklearn")
    assert demo(tmp_path) == 0
    text = capsys.readouterr().out
    assert 'pip install "minigrad[data]"' in text
    assert "all 6 gradients agree" in text
    assert list((tmp_path / "out").glob("batch-norm.*"))


def test_demo_without_matplotlib(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    without(monkeypatch, "matplotlib")
    monkeypatch.setattr(digits, "REQUIRED", 0.0)
    assert demo(tmp_path, "--epochs", "1") == 0
    text = capsys.readouterr().out
    assert 'pip install "minigrad[plot]"' in text
    assert "test accuracy" in text
    assert not (tmp_path / "out" / "curves.png").exists()


def test_demo_without_graphviz(tmp_path, monkeypatch, capsys):
    without(monkeypatch, "sklearn")
    monkeypatch.setattr(graphviz_program, "find", lambda: None)
    assert demo(tmp_path) == 0
    assert 'pip install "minigrad[dot]"' in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "batch-norm.dot", "batch-norm.html", "network.dot", "network.html", "report.txt"
    }  # fmt: skip


def test_demo_fails_below_the_required_accuracy(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(digits, "REQUIRED", 1.1)
    assert demo(tmp_path, "--epochs", "1") == 1
    assert re.search(r"✗ test accuracy .* 110% is required", capsys.readouterr().out)


@pytest.mark.parametrize("name", NAMES)
def test_demo_fails_if_a_derivation_line_is_wrong(tmp_path, monkeypatch, capsys, name):
    """With one line of the derivation off by a millionth."""
    derivation = gradient_check.by_hand()
    line = derivation.lines[name]
    monkeypatch.setattr(gradient_check, "by_hand", lambda: derivation)
    derivation.lines[name] = replace(line, function=lambda *values: line.function(*values) * (1 + 1e-6))
    without(monkeypatch, "sklearn")
    assert demo(tmp_path) == 1
    assert f"✗ dl/d{gradient_check.LABELS[name]}: a difference of 1.0e-06" in capsys.readouterr().out


def test_wrong_fused_derivative_is_detected(monkeypatch):
    pull = fused.batch_norm.primitive.pull
    monkeypatch.setattr(
        fused.batch_norm.primitive, "pull", lambda n, v, pending, residuals: pull(n, _doubled(v), pending, residuals)
    )
    _, rows = gradient_check.check_batch_norm(seed=0)
    assert all(rows[name]["fused"] == pytest.approx(1) for name in ("x", "gamma", "beta"))
    assert all(row["hand"] < 1e-12 for row in rows.values())


def _doubled(v):
    return tuple(None if x is None else 2 * x for x in v)


@pytest.mark.parametrize("seed", range(5))
def test_gradients_agree_for_other_seeds(seed):
    report, rows = gradient_check.check_batch_norm(seed, shape=(7, 3))
    assert report.ok
    assert list(rows) == list(NAMES)
    assert max(max(row.values()) for row in rows.values()) < gradient_check.TOLERANCE / 10


def test_training_is_repeatable():
    """The same seed gives the same network, bit for bit."""
    x = np.eye(4, 64, dtype=np.float32)
    first, second = (digits.network(3)(x).numpy() for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, digits.network(4)(x).numpy())


def test_accuracy_uses_running_statistics_and_restores_training_mode():
    model = digits.network(0)
    x = np.eye(4, 64, dtype=np.float32)
    model.eval()
    right = model(x).numpy().argmax(axis=1)
    model.train()
    assert digits.accuracy(model, x, right) == 1
    assert digits.accuracy(model, x[:1], right[:1] + 1) == 0
    assert model.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "at least 1 epoch"),
        (["--seed", "-1"], "a seed must not be negative"),
        (["--epochs", "many"], "invalid int value"),
    ],
)
def test_bad_arguments(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        demo(tmp_path, *arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_folder_cannot_be_created(tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SystemExit) as stopped:
        demo(tmp_path)
    assert stopped.value.code == 2
    assert "out" in capsys.readouterr().err


def test_help_without_a_command(capsys):
    assert cli.main([]) == 0
    assert "demo" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["demo", "check", "notes"])
def test_help_of_a_command(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: minigrad {command}")
    assert not re.search(r"None|False|\[\]\)", text)


def test_running_as_a_module():
    done = subprocess.run([sys.executable, "-m", "minigrad", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("minigrad ")


def test_command_line_imports_lazily():
    program = "import sys, minigrad.app.cli; print([m for m in ('rich', 'graphviz', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
