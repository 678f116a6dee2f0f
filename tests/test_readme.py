"""The README's Python runs, and prints what it says."""

from __future__ import annotations

import doctest
import linecache
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def normalized(text: str) -> str:
    """Without the digits that depend on the machine: rounding errors."""
    return re.sub(r"\d\.\de-\d\d", "tiny", text).strip()


class Checker(doctest.OutputChecker):
    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(normalized(want), normalized(got), optionflags)


def test_the_readme_runs_and_prints_what_it_says() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 5
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(Checker(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    examples = 0
    for k, block in enumerate(blocks):
        if not block.startswith(">>>"):
            name = f"<README block {k}>"
            linecache.cache[name] = (len(block), None, block.splitlines(True), name)  # for inspect.getsource
            exec(compile(block, name, "exec"), names)
            continue
        test = doctest.DocTestParser().get_doctest(block, names, f"README block {k}", str(README), 0)
        examples += len(test.examples)
        runner.run(test, clear_globs=False)
        names = test.globs
    assert examples >= 4
    assert runner.summarize(verbose=False).failed == 0
