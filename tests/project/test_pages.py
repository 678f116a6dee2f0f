"""The Python in the README and in docs/ runs, and prints what the pages say."""

from __future__ import annotations

import doctest
import linecache
import re
from pathlib import Path

import pytest

from minigrad.verify.derivation import repair

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def normalized(text: str) -> str:
    """Without the digits that depend on the machine: rounding errors."""
    return re.sub(r"\d\.\de[-+]\d\d", "tiny", text).strip()


class Checker(doctest.OutputChecker):
    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(normalized(want), normalized(got), optionflags)


WITH_CODE = [p for p in PAGES if "```python\n>>>" in p.read_text(encoding="utf-8")]
WARNED = pytest.mark.floating(all="warn")  # an error here, as all warnings are; where they raise, steps run eagerly


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, marks=WARNED if "mg.compile" in p.read_text(encoding="utf-8") else (), id=p.stem)
        for p in WITH_CODE
    ],
)
def test_what_the_page_shows(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    search = repair.search  # on a busy machine it may need longer than a reader waits
    monkeypatch.setattr(repair, "search", lambda *given: search(*given[:-1], 20.0))
    blocks = re.findall(r"```python\n(?!# minigrad/)(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(Checker(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    examples = 0
    for k, block in enumerate(blocks):
        if not block.startswith(">>>"):
            name = f"<{page.name} block {k}>"
            linecache.cache[name] = (len(block), None, block.splitlines(True), name)  # for inspect.getsource
            exec(compile(block, name, "exec"), names)
            continue
        test = doctest.DocTestParser().get_doctest(block, names, f"{page.name} block {k}", str(page), 0)
        examples += len(test.examples)
        runner.run(test, clear_globs=False)
        names = test.globs
    assert examples >= 3
    assert runner.summarize(verbose=False).failed == 0


LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda p: p.stem)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in filter(None, (a or b for a, b in LINK.findall(text))):
        if "://" not in link:
            file, _, anchor = link.partition("#")
            target = page.parent / file if file else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


EXCERPT = re.compile(r"```python\n# (minigrad/\S+\.py)\n(.*?)```", re.DOTALL)


WITH_EXCERPTS = [p for p in PAGES if EXCERPT.search(p.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", WITH_EXCERPTS, ids=lambda p: p.stem)
def test_excerpts_are_the_code(page: Path) -> None:
    """A block that begins with the path of a file shows lines of that file, in their order."""
    for path, excerpt in EXCERPT.findall(page.read_text(encoding="utf-8")):
        lines = iter([line.strip() for line in (ROOT / path).read_text(encoding="utf-8").splitlines()])
        for shown in filter(None, map(str.strip, excerpt.splitlines())):
            assert any(line == shown for line in lines), f"{path} has no line {shown!r}, or not in this order"


def test_paths_of_the_design_page_exist() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", text):
        roots = (ROOT, ROOT / "minigrad", ROOT / "minigrad" / "ops", ROOT / "minigrad" / "compiler")
        assert any((root / path).exists() for root in roots), path


def test_files_that_pages_name_exist() -> None:
    files = [str(path.relative_to(ROOT).as_posix()) for path in ROOT.rglob("*.py")]
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for name in re.findall(r"`((?:\w+/)*\w+\.py)`", page.read_text(encoding="utf-8")):
            assert any(file == name or file.endswith(f"/{name}") for file in files), f"{page.name} names {name}"
