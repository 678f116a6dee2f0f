"""`minigrad check`: finding derivations, verdicts, JSON, the page, exit statuses."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from minigrad.app import cli

LIBRARY = Path(__file__).parents[2] / "examples" / "derivations"
RIGHT, WRONG = LIBRARY / "batch_norm.py", LIBRARY / "wrong" / "x_for_centered.py"


class Page(HTMLParser):
    """Collects the tags that are still open, all text, and references to other files."""

    VOID = ("meta", "br", "path", "polygon", "ellipse", "image", "link")

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.outside: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("script", "link", "img", "iframe"):
            self.outside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_right_derivations(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(RIGHT)]) == 0
    output = capsys.readouterr().out
    assert "batch_norm: all" in output
    assert output.strip().endswith("all right")


def test_folder_skips_subfolders_called_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wrong").mkdir()
    (tmp_path / "right.py").write_text(RIGHT.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "wrong" / "one.py").write_text(WRONG.read_text(encoding="utf-8"), encoding="utf-8")
    assert cli.main(["check", str(tmp_path)]) == 0
    assert "one.py" not in capsys.readouterr().out
    assert cli.main(["check", str(tmp_path / "wrong")]) == 1


def test_wrong_line_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(WRONG)]) == 1
    output = capsys.readouterr().out
    assert "1 of 4 lines is wrong: dvar" in output
    assert "`x` should be `x - mu`" in output


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(WRONG), "--json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)
    assert report["file"] == str(WRONG)
    assert [t for t, line in report["lines"].items() if line["verdict"] == "wrong"] == ["var"]


def test_page_is_self_contained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    assert cli.main(["check", str(WRONG), "--html", str(out)]) == 1
    page = Page(out.read_text(encoding="utf-8"))
    assert page.open == []
    assert page.outside == []
    text = " ".join(" ".join(page.text).split())
    assert "dl/dσ² = Σ dl/dx̂ · x · (−½)(σ² + ε)^(−3/2)" in text
    assert "one edit makes it right: x should be x - mu at [1]" in text
    assert "<code>x - mu</code>" in out.read_text(encoding="utf-8")
    assert "dl/dσ² wrong: `x` should be" in text.replace("\xa0", " ")
    assert "dl/dμ right" in text.replace("\xa0", " ")


def test_select_a_derivation_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(RIGHT), "batch_norm"]) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main(["check", str(RIGHT), "nothing_of_this_name"])
    assert "no derivation called 'nothing_of_this_name'" in capsys.readouterr().err


def test_several_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(RIGHT), str(LIBRARY / "layer_norm.py"), "batch_norm", str(WRONG)]) == 1
    output = capsys.readouterr().out
    assert output.count("batch_norm.py\n") == 2  # in two ways
    assert "x_for_centered.py" in output
    assert "layer_norm: " not in output
    with pytest.raises(SystemExit):
        cli.main(["check", str(RIGHT), "batch_norm", "fused"])
    assert "'batch_norm', 'fused': give the name of one derivation" in capsys.readouterr().err


def test_error_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["check", str(tmp_path / "nowhere.py")])
    assert "no such file or folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["check", str(RIGHT), "--seed", "-1"])
    assert "argument --seed: -1: a seed must not be negative" in capsys.readouterr().err
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        cli.main(["check", str(empty)])
    assert "no derivation" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "a.txt: not a Python file"),
        ("a.py", "import math\nmath.sqrt('4')\n", "a.py, line 2: TypeError: must be real number"),
        ("a.py", "import numpy\nimport nothing_of_this_name\n", "a.py, line 2: ModuleNotFoundError: No module named"),
        ("a.py", "x = = 1\n", "a.py: SyntaxError: invalid syntax (a.py, line 1)"),
    ],
)
def test_file_that_cannot_be_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["check", str(tmp_path / name)])
    assert stopped.value.code == 2
    output = capsys.readouterr().err
    assert message in output
    assert output.startswith("usage: minigrad check")


def test_folder_imports_only_files_with_derivations(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    (tmp_path / "right.py").write_text(RIGHT.read_text(encoding="utf-8"), encoding="utf-8")
    assert cli.main(["check", str(tmp_path)]) == 0


def test_file_can_import_its_neighbors(tmp_path: Path) -> None:
    (tmp_path / "lib_beside.py").write_text("factor = 3.0\n", encoding="utf-8")
    (tmp_path / "uses.py").write_text(
        "from lib_beside import factor\n"
        "from minigrad.verify import Derivation\n"
        "d = Derivation(lambda x: factor * x, x='N')\n"
        "@d.line\n"
        "def dx(dout): return factor * dout\n",
        encoding="utf-8",
    )
    assert cli.main(["check", str(tmp_path / "uses.py")]) == 0


def test_derive_takes_the_shapes_of_a_derivation_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["derive", f"{RIGHT}:batch_norm"]) == 0
    assert "dgamma = (dout * xhat).sum(axis=0)" in capsys.readouterr().out
