"""Source of functions: the syntax tree of a code object, and where a call stands."""

from __future__ import annotations

import ast
import functools
import linecache
from types import CodeType, FrameType
from typing import Any

Place = tuple[str, int, int]  # file, line and column where a call ends
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def end_of_call(frame: FrameType) -> Place | None:
    """Where the call that a frame runs ends in the source."""
    for k, (_, line, _, column) in enumerate(frame.f_code.co_positions()):
        if 2 * k == frame.f_lasti:
            return None if line is None or column is None else (frame.f_code.co_filename, line, column)
    return None


@functools.lru_cache(maxsize=64)
def functions_of(name: str, text: str) -> dict[tuple[str, int], list[Any]]:
    """The functions in a file with this text, by name and first line; each node knows its parent.

    There are none if it cannot be parsed.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, SystemError):  # the last is Python's fault, when two threads parse (issue 106905)
        return {}
    found: dict[tuple[str, int], list[Any]] = {}
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            child.parent = node  # type: ignore[attr-defined]
        if isinstance(node, Function):
            found.setdefault(_key(node), []).append(node)
    return found


def _key(node: Function) -> tuple[str, int]:
    """Name and first line, as a code object has them."""
    if isinstance(node, ast.Lambda):
        return "<lambda>", node.lineno
    return node.name, min(node.lineno, *(x.lineno for x in node.decorator_list), node.lineno)


def node_of(code: CodeType) -> Any:
    """The syntax tree of a function, None if its source cannot be read, or is not that of this code any more."""
    text = "".join(linecache.getlines(code.co_filename))
    return _node_of(code.co_filename, text, code) if text else None


@functools.lru_cache(maxsize=1024)
def _node_of(name: str, text: str, code: CodeType) -> Any:
    nodes = functions_of(name, text).get((code.co_name, code.co_firstlineno), [])
    nodes = [x for x in nodes if len(nodes) == 1 or _stands_at(x, code)]
    return nodes[0] if len(nodes) == 1 and _is_current(nodes[0], code) else None


def _stands_at(node: Any, code: CodeType) -> bool:
    """Whether all instructions of a code object stand in a node: of several lambdas in one line one is meant."""
    body: Any = node.body if isinstance(node.body, ast.AST) else node
    first, last = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    places = [p for p in code.co_positions() if None not in p and p[2:] != (0, 0)]
    return all(first <= (a, c) and (b, d) <= last for a, b, c, d in places)


def _is_current(node: ast.AST, code: CodeType) -> bool:
    """Whether a code object may belong to a node: the file may have changed since."""
    names = {x.id for x in ast.walk(node) if isinstance(x, ast.Name)}
    names |= {x.attr for x in ast.walk(node) if isinstance(x, ast.Attribute)}
    names |= {
        part
        for x in ast.walk(node)
        if isinstance(x, ast.alias)
        for part in (x.name, x.asname or "", x.name.split(".")[0])
    }
    names |= {x.module or "" for x in ast.walk(node) if isinstance(x, ast.ImportFrom)}
    used = {name for name in code.co_names if not name.startswith("__minigrad_")}  # of float while a step is recorded
    return names >= used - {"__annotations__"} and {*code.co_varnames[: code.co_argcount]} <= {
        *(x.arg for x in ast.walk(node) if isinstance(x, ast.arg))
    }


def name_of(node: ast.AST) -> str:
    """The name of a variable or an attribute, else nothing."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_called(node: ast.AST) -> bool:
    """Whether a name is called, or an operand of isinstance."""
    parent: Any = node.parent  # type: ignore[attr-defined]
    return isinstance(parent, ast.Call) and (parent.func is node or name_of(parent.func) == "isinstance")


def shown(node: ast.AST) -> str:
    """Source in a message."""
    text = ast.unparse(node)
    return text if len(text) <= 50 else text[:47] + "..."
