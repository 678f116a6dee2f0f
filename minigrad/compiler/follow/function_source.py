"""The source of the user's functions: their syntax trees, and where calls and names are in it."""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Iterable
from types import CodeType, FrameType, FunctionType
from typing import Any

from minigrad.compiler.refusal import OWN, line_at
from minigrad.util.bytecode import all_instructions, position

Site = tuple[str, int, int]  # file, line and column where a call ends
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
NAMES = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "LOAD_METHOD", "LOAD_DEREF", "STORE_ATTR", "LOAD_FAST")


def site_of(frame: FrameType) -> Site | None:
    """Where the call that a frame runs ends in the source."""
    place = position(frame.f_code, frame.f_lasti)
    return None if place is None else (frame.f_code.co_filename, place[1], place[3])


def at_name(functions: Iterable[FunctionType], *names: str) -> str:
    """ ", at file:line" and the first line in which one of these functions uses one of these names, else nothing.

    Names that come first are looked for first.
    """
    for name in names:
        for function in functions:
            for code, op in all_instructions(function.__code__):
                if op.argval == name and op.opname.startswith(NAMES) and op.positions and op.positions.lineno:
                    return f", at {line_at(code.co_filename, op.positions.lineno)}"
    return ""


def is_in_branch(frame: FrameType | None, outermost: CodeType | None) -> bool:
    """Whether a user's frame runs a statement inside an `if`, or called the present one from there.

    Args:
        frame: the present one.
        outermost: the code that called the step; frames above it do not count.
    """
    while frame is not None and frame.f_code is not outermost:
        if not frame.f_code.co_filename.startswith(OWN) and _is_conditional(node_of(frame.f_code), frame.f_lineno):
            return True
        frame = frame.f_back
    return False


def _is_conditional(function: Any, line: int) -> bool:
    """Whether a line of a function is in the body of an `if`."""
    branches = [x for x in ast.walk(function) if isinstance(x, ast.If)] if function is not None else []
    parts = [part for x in branches for part in (*x.body, *x.orelse)]
    return any(part.lineno <= line <= (part.end_lineno or 0) for part in parts)


@functools.lru_cache(maxsize=64)
def functions_of(name: str, text: str) -> dict[tuple[str, int], list[Any]]:
    """The functions in a file with this text, by name and first line; each node knows its parent.

    The result is empty if it cannot be parsed.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, SystemError):  # SystemError: a bug in Python (issue 106905)
        return {}
    functions: dict[tuple[str, int], list[Any]] = {}
    node: Any
    for node in ast.walk(tree):
        child: Any
        for child in ast.iter_child_nodes(node):
            child.parent = node
        if isinstance(node, Function):
            functions.setdefault(_key(node), []).append(node)
    return functions


def _key(node: Function) -> tuple[str, int]:
    """Name and first line, as in a code object."""
    if isinstance(node, ast.Lambda):
        return "<lambda>", node.lineno
    return node.name, min(node.lineno, *(x.lineno for x in node.decorator_list), node.lineno)


def node_of(code: CodeType) -> Any:
    """The syntax tree of a function, None if its source cannot be read, or has changed since."""
    text = "".join(linecache.getlines(code.co_filename))
    return _node_of(code.co_filename, text, code) if text else None


@functools.lru_cache(maxsize=1024)
def _node_of(name: str, text: str, code: CodeType) -> Any:
    nodes = functions_of(name, text).get((code.co_name, code.co_firstlineno), [])
    nodes = [x for x in nodes if len(nodes) == 1 or _contains(x, code)]
    return nodes[0] if len(nodes) == 1 and _is_current(nodes[0], code) else None


def _contains(node: Any, code: CodeType) -> bool:
    """Whether all instructions of a code object are inside a node: it is one of several lambdas in a line."""
    body: Any = node.body if isinstance(node.body, ast.AST) else node
    first, last = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    places = [p for p in code.co_positions() if None not in p and p[2:] != (0, 0)]
    return all(first <= (a, c) and (b, d) <= last for a, b, c, d in places)


def _is_current(node: ast.AST, code: CodeType) -> bool:
    """Whether a code object can have come from a node: the file may have changed since."""
    names, parameters = {"__annotations__"}, set[str]()
    for x in ast.walk(node):
        match x:
            case ast.Name():
                names.add(x.id)
            case ast.Attribute():
                names.add(x.attr)
            case ast.alias():
                names |= {x.name, x.asname or "", x.name.split(".")[0]}
            case ast.ImportFrom():
                names.add(x.module or "")
            case ast.arg():
                parameters.add(x.arg)
    used = {name for name in code.co_names if not name.startswith("__minigrad_")}  # float, while a step is recorded
    return names >= used and parameters.issuperset(code.co_varnames[: code.co_argcount])


def name_of(node: ast.AST) -> str:
    """The name of a variable or an attribute, else \"\"."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def parent_of(node: Any) -> ast.AST:
    """The node that contains a node of `functions_of`."""
    return node.parent


def is_called(node: ast.AST) -> bool:
    """Whether a name is called, or an argument of isinstance."""
    parent = parent_of(node)
    return isinstance(parent, ast.Call) and (parent.func is node or name_of(parent.func) == "isinstance")


def shown(node: ast.AST) -> str:
    """The source of an expression, shortened for a message."""
    text = ast.unparse(node)
    return text if len(text) <= 50 else text[:47] + "..."
