"""Packages import only what stands before them, and importing minigrad stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import measures
import pytest

PACKAGE = Path(__file__).parents[2] / "minigrad"

# Eight layers. A package imports only what is named before it, within its layer too.
LAYERS = [
    ("typing", "util"),
    ("engine",),
    ("ops",),
    ("tensor", "reach", "recompute"),
    ("functional", "losses", "linalg", "fused"),
    ("data", "io", "preprocessing", "optim", "nn", "train", "training", "callbacks"),
    ("symbols", "exact", "diagnostics", "drawing", "verify", "compiler"),
    ("app", "__main__"),
]
LEVEL = {name: level for level, name in enumerate(name for layer in LAYERS for name in layer)}
# The same for the parts of the compiler, below those that bring them together.
PARTS = ("refusal", "gate", "ir", "numpy", "kernels", "passes", "follow", "trace")
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def imports(path: Path, depth: int = 1, types: bool = False) -> set[str]:
    """The parts of minigrad that a file imports when it is loaded or later, with `types` also for type checkers only.

    Args:
        path: of the file.
        depth: how far below minigrad they stand.
        types: whether imports under TYPE_CHECKING count.
    """
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if not types and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            module = (node.module or "").split(".")
            if module[0] == "minigrad":
                names = [[*module, alias.name] for alias in node.names]
                found |= {name[depth] for name in names if len(name) > depth and name[1:depth] == module[1:depth]}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[depth] for a in node.names if a.name.count(".") >= depth}
    return found


def part(path: Path, depth: int = 1) -> str:
    return path.relative_to(PACKAGE).parts[depth - 1].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_backwards(path: Path) -> None:
    assert part(path) in LEVEL, f"{part(path)} has no place in LAYERS: say where it stands"
    for name in imports(path):
        if name in LEVEL:
            assert LEVEL[name] <= LEVEL[part(path)], f"{path.name} imports {name}, which stands after it"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_packages_name_files_that_exist(path: Path) -> None:
    """In docstrings of packages: "- fusion: which ops run together; loops, lowering: ..."."""
    lines = re.findall(r"^- .*(?:\n  .*)*", ast.get_docstring(ast.parse(path.read_text())) or "", re.MULTILINE)
    parts = [part for line in lines for part in re.split(r";\s", line.removeprefix("- ")) if ":" in part]
    listed = {name for part in parts for name in re.split(r",\s+| and ", part.split(":")[0])}
    assert not {name for name in listed if name.isidentifier()} - {file.stem for file in path.parent.iterdir()}


COMPILER = [path for path in FILES if part(path) == "compiler" and len(path.relative_to(PACKAGE).parts) > 1]


@pytest.mark.parametrize("path", COMPILER, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_of_the_compiler_point_backwards(path: Path) -> None:
    if (own := part(path, 2)) in PARTS:
        for name in imports(path, 2) & {"__init__", *PARTS}:
            if "compiler" in path.read_text() and name in PARTS:
                assert PARTS.index(name) <= PARTS.index(own), f"{path.name} imports {name}, which stands after it"


def test_no_files_import_each_other() -> None:
    """Also not inside functions, or for types only. The binding of Tensor is the documented exception."""
    assert measures.Source.of_folder().circles() == []


def test_base_names_of_files_are_telling() -> None:
    assert len(measures.Source.of_folder().duplicate_names()) <= 4


def test_terms_are_those_of_the_glossary() -> None:
    assert measures.Source.of_folder().old_names() == {}
    assert measures.old_words() == []


def test_the_circles_of_a_graph_are_found() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": ["e"], "e": ["d"], "f": ["a"]}
    assert sorted(sorted(c) for c in measures.components(graph)) == [["a", "b", "c"], ["d", "e"], ["f"]]


def test_the_root_holds_only_names() -> None:
    """What lies beside the packages are the ways in."""
    ways_in = {"callbacks", "data", "fused", "linalg", "losses", "preprocessing", "training", "typing"}
    assert {path.stem for path in PACKAGE.glob("*.py")} == {"__init__", "__main__", *ways_in}


def test_the_map_names_every_part() -> None:
    page = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    layers = page.partition("## The layers")[2].partition("\n## ")[0]
    facades = {"__main__", "losses", "training", "callbacks"}  # other import paths of functional and train
    assert not {part(path) for path in FILES} - facades - set(re.findall(r"\w+", layers))


def test_type_checkers_are_silenced_in_few_places_and_for_a_reason() -> None:
    source = measures.Source.of_folder()
    assert source.unexplained_type_ignores() == []
    assert source.type_ignores() < 15


def test_a_path_of_version_0_1_still_leads_there() -> None:
    code = "import warnings; warnings.simplefilter('error'); import minigrad.losses"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "DeprecationWarning: minigrad.losses is minigrad.functional now" in done.stderr
    code = (
        "from minigrad.losses import mse_loss; from minigrad import functional; print(mse_loss is functional.mse_loss)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_rules_do_not_know_tensors() -> None:
    for path in sorted((PACKAGE / "ops").rglob("*.py")):
        assert not imports(path) & {"tensor", "Tensor"}, path.name
        assert "minigrad.engine.tape " not in path.read_text(), path.name


def test_importing_minigrad_is_light() -> None:
    heavy = ["graphviz", "matplotlib", "sklearn", "rich", "pytest", "scipy", "hypothesis", "numba", "tqdm"]
    code = "import sys, numpy; before = set(sys.modules); import minigrad; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "minigrad.tensor.tensor" in loaded
    assert not {name.split(".")[0] for name in loaded} & set(heavy)
    assert not any(name.startswith(("minigrad.app", "minigrad.drawing")) for name in loaded)
    assert len(loaded) < 150


def test_a_first_tensor_imports_no_masked_arrays() -> None:
    code = "import sys, minigrad; minigrad.Tensor([1.0]) * 2.0; print('numpy.ma' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_every_name_is_there_from_the_start() -> None:
    code = "import minigrad; print([n for n in dir(minigrad) if not hasattr(minigrad, n)])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_rules_run_without_tensors() -> None:
    """Before tensor.py binds itself in, primitives are functions of arrays."""
    code = (
        "import sys, types; package = types.ModuleType('minigrad'); package.__path__ = [sys.argv[1]]\n"
        "sys.modules['minigrad'] = package\n"
        "from minigrad.ops import elementwise, reduction, product, indexing, shape, searching\n"
        "import numpy as np\n"
        "assert 'minigrad.tensor.tensor' not in sys.modules\n"
        "multiply = elementwise.multiply\n"
        "assert multiply(np.ones(2), 3.0).tolist() == [3.0, 3.0]\n"
        "assert multiply.primitive.rules[0](np.ones(2), 3.0).tolist() == [3.0, 3.0]\n"
        "rule = reduction.prod_over.primitive.rules[0]\n"
        "assert rule(np.ones(()), np.array([0.0, 2.0]), None).tolist() == [2.0, 0.0]\n"
    )
    subprocess.run([sys.executable, "-c", code, str(PACKAGE)], check=True)


def test_importing_minigrad_changes_nothing_outside_it() -> None:
    """Thresholds of the collector, floating-point errors, warnings, the recursion limit, the environment, threads."""
    program = """
import gc, os, signal, sys, threading, warnings
import numpy as np
def state():
    return (
        gc.get_threshold(), gc.isenabled(), gc.get_debug(), np.geterr(), np.get_printoptions(), warnings.filters[:],
        sys.getrecursionlimit(), sys.getswitchinterval(), dict(os.environ), threading.active_count(), sys.excepthook,
        sys.displayhook, sys.gettrace(), sys.getprofile(), signal.getsignal(signal.SIGINT), sys.path[:],
        np.random.get_state()[1].tolist(), sys.meta_path[:], gc.callbacks[:],
    )
before = state()
import minigrad
for name in dir(minigrad):
    getattr(minigrad, name)
(minigrad.Tensor([1.0], requires_grad=True) * 2).sum().backward()
print([k for k, (x, y) in enumerate(zip(before, state())) if x != y])
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
