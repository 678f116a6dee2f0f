"""Small operations on Python source."""

from __future__ import annotations

import ast
import itertools
import linecache
from typing import Any

import numpy as np

_numbers = itertools.count()


def names_of(text: str) -> list[str]:
    """The names in a source text, in their order."""
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
    return [node.id for node in sorted(found, key=lambda node: (node.lineno, node.col_offset))]


def compiled(source: str) -> dict[str, Any]:
    """The names that a source text defines. The text is kept, so that errors and reports can show its lines."""
    filename = f"<derived {next(_numbers)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"np": np}
    exec(compile(source, filename, "exec"), namespace)
    return namespace
