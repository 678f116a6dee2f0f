"""The structure of the package in figures: `python -m tests.project.measures [REVISION]`, from the project's root.

With a revision of git, the figures of that revision stand beside today's. `test_imports.py` asserts those that have a
bound.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tarfile
import tokenize
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]

# Words of an earlier private vocabulary, each with what to say instead (CONTRIBUTING.md has the glossary). As names of
# variables, functions, attributes and classes they are not used.
OLD_NAMES = {
    "due": "pending",
    "hears": "is intercepted",
    "heard": "is intercepted",
    "told": "message",
    "wanted": "needs_grad, expected",
    "takes_whole": "is_opaque",
    "complaint": "explain_error",
    "way_out": "hint",
    "strands": "edge colors",
    "hues": "edge colors",
}
# Old names that still work, with a DeprecationWarning.
DEPRECATED = {
    "minigrad/nn/module.py": {"wanted"},
    "minigrad/drawing/graph/model.py": {"told", "strands"},
    "minigrad/verify/derivation/derivation_report.py": {"told"},
}
# The same in prose: docstrings, comments, messages, pages.
OLD_WORDS = (
    "in the place of", "anew", "hence", "way out", "is told", "are told", "are heard", "is heard", "line of the tape",
    "lines of the tape", "static parameter",
)  # fmt: skip


class Source:
    """The Python files of a package by path, as text."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = {path: text for path, text in sorted(files.items()) if path.endswith(".py")}

    @classmethod
    def of_folder(cls, root: Path = ROOT) -> Source:
        """The working tree."""
        paths = (root / "minigrad").rglob("*.py")
        return cls({str(path.relative_to(root).as_posix()): path.read_text(encoding="utf-8") for path in paths})

    @classmethod
    def of_revision(cls, revision: str, root: Path = ROOT) -> Source:
        """A revision of git."""
        archive = subprocess.run(["git", "archive", revision, "minigrad"], cwd=root, capture_output=True, check=True)
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            members = {m.name: tar.extractfile(m) for m in tar.getmembers() if m.name.endswith(".py")}
            return cls({name: file.read().decode() for name, file in members.items() if file is not None})

    def lines(self, under: str = "minigrad") -> int:
        """Lines of all files under a folder, with comments and empty ones."""
        return sum(text.count("\n") for path, text in self.files.items() if path.startswith(f"{under}/"))

    def count(self, under: str = "minigrad") -> int:
        """Files under a folder."""
        return sum(path.startswith(f"{under}/") for path in self.files)

    def root_files(self) -> list[str]:
        """Files that lie beside the packages."""
        return [path for path in self.files if len(PurePosixPath(path).parts) == 2]

    def duplicate_names(self) -> list[str]:
        """Base names that several files have, without `__init__` and façades at the root."""
        names = Counter(PurePosixPath(p).name for p in self.files if len(PurePosixPath(p).parts) > 2)
        return sorted(name for name, count in names.items() if count > 1 and name != "__init__.py")

    def type_ignores(self) -> int:
        """Comments that silence a type checker."""
        return sum(text.count("# type: ignore") for text in self.files.values())

    def unexplained_type_ignores(self) -> list[str]:
        """Those of them that give no reason, in a second comment on the line."""
        explained = re.compile(r"# type: ignore\[[a-z-]+(, ?[a-z-]+)*\]  # (noqa: [A-Z0-9]+ -- )?\w+ \w+")
        lines = [(path, n, x) for path, text in self.files.items() for n, x in enumerate(text.splitlines(), 1)]
        return [f"{path}:{n}" for path, n, x in lines if "# type: ignore" in x and not explained.search(x)]

    def circles(self) -> list[list[str]]:
        """Files that import each other, directly or through others: at the top, inside functions, or for types only."""
        graph = {path: self._imports(path) for path in self.files}
        return [sorted(component) for component in components(graph) if len(component) > 1]

    def _imports(self, path: str) -> set[str]:
        found = set()
        for node in ast.walk(ast.parse(self.files[path])):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "minigrad":
                for alias in node.names:
                    found |= {self._file(f"{node.module}.{alias.name}") or self._file(node.module or "")}
            elif isinstance(node, ast.Import):
                found |= {self._file(alias.name) for alias in node.names if alias.name.startswith("minigrad")}
        # The binding of Tensor (docs/decisions.md): these name it for type checkers only.
        names_tensor = path.startswith(("minigrad/engine/", "minigrad/ops/", "minigrad/typing.py"))
        binding = {"minigrad/tensor/tensor.py"} if names_tensor else set()
        return {name for name in found if name} - binding - {path, "minigrad/__init__.py"}

    def _file(self, module: str) -> str:
        path = module.replace(".", "/")
        return next((file for file in (f"{path}.py", f"{path}/__init__.py") if file in self.files), "")

    def old_names(self) -> dict[str, int]:
        """Uses of names of the earlier vocabulary."""
        found: Counter[str] = Counter()
        for path, text in self.files.items():
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                name = token.string.strip("_")
                if token.type == tokenize.NAME and name in OLD_NAMES and name not in DEPRECATED.get(path, ()):
                    found[name] += 1
        return dict(found)


def components(graph: Mapping[str, Iterable[str]]) -> list[set[str]]:
    """Strongly connected components (Tarjan 1972), without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []
    for start in graph:
        if start in index:
            continue
        index[start] = low[start] = len(index)
        stack.append(start)
        walk = [(start, iter(graph[start]))]
        while walk:
            vertex, targets = walk[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    walk.append((target, iter(graph[target])))
                    break
                if target in stack:
                    low[vertex] = min(low[vertex], index[target])
            else:
                walk.pop()
                if walk:
                    low[walk[-1][0]] = min(low[walk[-1][0]], low[vertex])
                if low[vertex] == index[vertex]:
                    at = stack.index(vertex)
                    found.append(set(stack[at:]))
                    del stack[at:]
    return found


def old_words(root: Path = ROOT) -> list[str]:
    """Where prose of the package, the pages or the tests uses words of the earlier vocabulary."""
    pattern = re.compile("|".join(rf"\b{word}\b" for word in OLD_WORDS), re.IGNORECASE)
    files = [*root.glob("*.md"), *(root / "docs").glob("*.md")]
    files += [
        path for folder in ("minigrad", "tests", "examples", "benchmarks") for path in (root / folder).rglob("*.py")
    ]
    found = []
    for path in sorted(files):
        if path.name in ("measures.py", "CONTRIBUTING.md"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found += [f"{path.relative_to(root)}:{number}: {match.group()}" for match in pattern.finditer(line)]
    return found


def figures(source: Source) -> dict[str, int]:
    """What is measured of a package, by name."""
    return {
        "files": source.count(),
        "lines": source.lines(),
        "files at the root": len(source.root_files()),
        "files of the compiler": source.count("minigrad/compiler"),
        "lines of the compiler": source.lines("minigrad/compiler"),
        "import circles": len(source.circles()),
        "base names of several files": len(source.duplicate_names()),
        "comments `type: ignore`": source.type_ignores(),
        "old names": sum(source.old_names().values()),
    }


def main(revisions: list[str]) -> None:
    """Print the figures of the working tree beside those of revisions."""
    sources = [*map(Source.of_revision, revisions), Source.of_folder()]
    columns = [figures(source) for source in sources]
    print(f"{'':32}" + "".join(f"{name[:12]:>14}" for name in [*revisions, "now"]))
    for name in columns[0]:
        print(f"{name:32}" + "".join(f"{column[name]:14,}" for column in columns))
    print("\nfiles that import each other:", *sources[-1].circles() or ["none"], sep="\n  ")
    print("\nbase names of several files:", ", ".join(sources[-1].duplicate_names()) or "none")
    print("old names:", sources[-1].old_names() or "none")
    words = old_words()
    print(f"old words in prose: {len(words)}", *words[:20], sep="\n  ")


if __name__ == "__main__":
    main(sys.argv[1:])
