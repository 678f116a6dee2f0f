"""Source of functions: the syntax tree of a code object, and where a call stands."""

from __future__ import annotations

import ast
import functools
from types import CodeType, FrameType

Place = tuple[str, int, int]  # file, line and column where a call ends


def end_of_call(frame: FrameType) -> Place | None:
    """Where the call that a frame runs ends in the source."""
    for k, (_, line, _, column) in enumerate(frame.f_code.co_positions()):
        if 2 * k == frame.f_lasti:
            return None if line is None or column is None else (frame.f_code.co_filename, line, column)
    return None


@functools.lru_cache(maxsize=64)
def tree_of(name: str, text: str) -> ast.Module | None:
    """The syntax tree of a file with this text; each node knows its parent. None if it cannot be parsed."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, SystemError):  # the last is Python's fault, when two threads parse (issue 106905)
        return None
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            child.parent = node  # type: ignore[attr-defined]
    return tree


def is_of(node: ast.AST, code: CodeType) -> bool:
    """Whether a code object belongs to a node, by its name and its line."""
    if isinstance(node, ast.Lambda):
        return code.co_name == "<lambda>" and node.lineno == code.co_firstlineno
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        lines = [node.lineno, *(x.lineno for x in node.decorator_list)]
        return code.co_name == node.name and min(lines) == code.co_firstlineno
    return False
