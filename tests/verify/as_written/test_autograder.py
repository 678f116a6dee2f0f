"""The examples for autograders do what docs/homework.md says, and `minigrad check` as one."""

from __future__ import annotations

import ast
import doctest
import json
import re
from pathlib import Path
from typing import Any

import pytest

from minigrad.app import cli
from minigrad.app.source_files import import_file, load_notebook

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "autograder"
LAYERS = ROOT / "examples" / "homework" / "layers.py"


def test_otter_grader_accepts_right_and_refuses_wrong_functions() -> None:
    layers = vars(import_file(LAYERS))
    (suite,) = import_file(EXAMPLES / "q1.py").test["suites"]

    def failures(relu_backward: Any) -> list[int]:
        names = {"relu_forward": layers["relu_forward"], "relu_backward": relu_backward}
        failed = []
        for case in suite["cases"]:
            text = "\n".join(line.strip() for line in (suite["setup"] + "\n" + case["code"]).splitlines())
            test = doctest.DocTestParser().get_doctest(text, dict(names), "q1", None, 0)
            failed.append(doctest.DocTestRunner(verbose=False).run(test, out=lambda _: None).failed)
        return failed

    def wrong(dout: Any, cache: Any) -> Any:
        dx = dout * cache
        return dx  # noqa: RET504  (as it is written)

    assert failures(layers["relu_backward"]) == [0, 0]
    assert failures(wrong) == [1, 0]


@pytest.mark.floating(all="ignore")
def test_nbgrader_gives_partial_credit(capsys: pytest.CaptureFixture[str]) -> None:
    layers = vars(import_file(LAYERS))
    cell = ast.parse((EXAMPLES / "nbgrader_cell.py").read_text(encoding="utf-8"))
    last = cell.body.pop()
    assert isinstance(last, ast.Expr)
    names = dict(layers)
    exec(compile(cell, "cell", "exec"), names)
    points = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    assert 5 < points < 10  # one line is wrong, and with it the whole
    assert "dxmu2" in capsys.readouterr().out


def test_workflow_of_the_classroom_runs_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = (EXAMPLES / "classroom.yml").read_text(encoding="utf-8")
    (command,) = re.findall(r"- run: (minigrad check .*)", workflow)
    monkeypatch.chdir(tmp_path)
    source = LAYERS.read_text(encoding="utf-8")
    start, end = source.index("# 2. ReLU"), source.index("# 3. Batch norm")
    (tmp_path / "homework.py").write_text("import numpy as np\n\n\n" + source[start:end], encoding="utf-8")
    assert cli.main(command.split()[1:]) == 0
    assert "relu_backward" in (tmp_path / "report.html").read_text(encoding="utf-8")


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    status = cli.main(["check", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.floating(all="ignore")
def test_json_has_verdict_reason_repair_and_points(capsys: pytest.CaptureFixture[str]) -> None:
    status, (report,) = run_json(capsys, str(LAYERS), "lstm_step_backward")
    assert status == 1
    assert not report["ok"]
    (wrong,) = [line for line in report["lines"] if line["verdict"] == "wrong"]
    assert (wrong["path"], wrong["text"]) == ("df", "df = dc * next_c")
    assert wrong["repair"] == "`next_c` should be `prev_c`"
    assert wrong["line"] == source_line("df = dc * next_c")
    _, (weighted,) = run_json(capsys, str(LAYERS), "lstm_step_backward", "--weight", "f=10")
    assert weighted["points"] < report["points"] < 1


def source_line(text: str) -> int:
    lines = LAYERS.read_text(encoding="utf-8").splitlines()
    return 1 + next(k for k, line in enumerate(lines) if text in line)


@pytest.mark.floating(all="ignore")
def test_shapes_and_names_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "homework.py"
    file.write_text(
        "import numpy as np\n"
        "def scale_forward(x, s):\n    y = x * s\n    out = np.sin(y)\n    return out, (x, s, y)\n"
        "def scale_backward(dout, cache):\n    x, s, y = cache\n    t = dout * np.cos(y)\n"
        "    return t * s, (t * x).sum(axis=0)\n",
        encoding="utf-8",
    )
    with pytest.raises(SystemExit):
        cli.main(["check", str(file)])
    assert "--input x=N,D" in capsys.readouterr().err
    shapes = ["--input", "x=N,D", "--input", "s=D"]
    assert cli.main(["check", str(file), *shapes]) == 0
    assert "x (N, D); s (D), where N = 5, D = 4" in capsys.readouterr().out
    status, (report,) = run_json(capsys, str(file), *shapes, "--name", "t=y")
    assert status == 0
    assert [line["target"] for line in report["lines"]] == ["y", "x", "s"]
    with pytest.raises(SystemExit):
        cli.main(["check", str(file), "--input", "x"])
    assert "--input NAME=VALUE" in capsys.readouterr().err


NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Homework"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "import numpy as np\n", "raise SystemExit\n"]},
        {"cell_type": "code", "source": ["this is no Python"]},
        {
            "cell_type": "code",
            "source": [
                "def square_forward(x):\n", '    """x: (N,)."""\n', "    out = x**2\n", "    return out, x\n", "\n",
                "def square_backward(dout, x):\n", "    dx = dout * x\n", "    return dx\n",
            ],
        },
    ]
}  # fmt: skip


@pytest.mark.floating(all="ignore")
def test_notebooks_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "homework.ipynb"
    file.write_text(json.dumps(NOTEBOOK), encoding="utf-8")
    status, (report,) = run_json(capsys, str(file))
    assert status == 1
    assert [line["text"] for line in report["lines"] if line["verdict"] == "wrong"] == ["dx = dout * x"]
    assert report["file"].endswith("homework.ipynb")
    module, remarks = load_notebook(file)
    assert callable(module.square_backward)
    assert len(remarks) == 1  # the cell that is not Python; a call such as `raise` is not run
    assert "cell 2, line 1" in remarks[0]


def test_a_file_without_pairs_says_what_is_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        cli.main(["check", str(tmp_path / "empty.py")])
    assert "relu_forward and relu_backward" in capsys.readouterr().err
