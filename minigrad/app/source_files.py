"""Python files and notebooks as modules."""

from __future__ import annotations

import ast
import importlib.util
import json
import linecache
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

WORDS = (b"Derivation", b"backward", b"backprop", b"grad")  # a file without any of them has nothing to check


def files_of(paths: Sequence[str]) -> list[Path]:
    """The files to check: those that are named, and in folders all Python files and notebooks with a word of WORDS.

    Raises:
        ValueError: a path does not exist, or is neither a folder, a Python file, nor a notebook.
    """
    files = []
    for name in paths:
        path = Path(name)
        if path.is_dir():
            inner = sorted([*path.rglob("*.py"), *path.rglob("*.ipynb")])
            inner = [p for p in inner if "wrong" not in p.relative_to(path).parts[:-1]]
            files += [p for p in inner if any(word in p.read_bytes() for word in WORDS)]
        elif not path.is_file():
            raise ValueError(f"{name}: no such file or folder")
        elif path.suffix not in (".py", ".ipynb"):
            raise ValueError(f"{name}: not a Python file or notebook; derivations are checked in .py and .ipynb files")
        else:
            files.append(path)
    return files


def load(file: Path) -> tuple[ModuleType, list[str]]:
    """A file as a module, and remarks on what was left out of it.

    Raises:
        ValueError: it cannot be imported; the error names the line.
    """
    if file.suffix == ".ipynb":
        return load_notebook(file)
    try:
        return import_file(file), []
    except Exception as error:
        raise ValueError(f"{file}{_line(error, file)}: {type(error).__name__}: {error}") from error


def _line(error: Exception, file: Path) -> str:
    """The line of the file in which the error arose; "" for a syntax error, whose message contains it."""
    numbers = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {numbers[-1]}" if numbers else ""


def import_file(file: Path) -> ModuleType:
    """Import a file as a module. It can import other modules in its folder."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _importing(module, file):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _importing(module: ModuleType, file: Path) -> Iterator[None]:
    """Within the block, the module is known by its name, and modules in the folder of its file can be imported."""
    sys.path.insert(0, str(file.parent))
    sys.modules[module.__name__], before = module, sys.modules.get(module.__name__)
    try:
        yield
    finally:
        sys.path.remove(str(file.parent))
        if before is None:
            del sys.modules[module.__name__]
        else:
            sys.modules[module.__name__] = before


def load_notebook(file: Path) -> tuple[ModuleType, list[str]]:
    """The definitions, imports and assignments of a notebook as a module.

    Other statements, such as calls that train a model, are left out, and so are lines for IPython (`%`, `!`). What
    fails is left out too, and reported: definitions may still be complete.

    Raises:
        ValueError: it is not a notebook with code in Python.
    """
    try:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not a notebook: {error}") from error
    module = ModuleType(file.stem)
    module.__file__ = str(file)
    remarks: list[str] = []
    sources = ["".join(cell["source"]) for cell in cells if cell.get("cell_type") == "code"]
    with _importing(module, file):
        for number, source in enumerate(sources, 1):
            _run_cell(source, f"{file.name}, cell {number}", module, remarks)
    return module, remarks


def _run_cell(source: str, name: str, module: ModuleType, remarks: list[str]) -> None:
    lines = ["pass\n" if line.lstrip().startswith(("%", "!", "?")) else line for line in source.splitlines(True)]
    source = "".join(lines)
    linecache.cache[name] = (len(source), None, lines, name)  # for inspect.getsource
    try:
        tree = ast.parse(source, name)
    except SyntaxError as error:
        remarks.append(f"{name}, line {error.lineno}: {error.msg}; the cell was left out")
        return
    kept = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.If, ast.Try)
    for statement in tree.body:
        if isinstance(statement, kept):
            try:
                exec(compile(ast.Module([statement], []), name, "exec"), vars(module))
            except Exception as error:  # the cell may do anything
                remarks.append(f"{name}, line {statement.lineno}: {type(error).__name__}: {error}; left out")
