"""One statement of a backward function as a function of its names, in which edits can be tried."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from typing import Any

from minigrad.verify.as_written.written_lines import Event
from minigrad.verify.derivation.line_source import LineSource
from minigrad.verify.pairs.instrument import Written
from minigrad.verify.pairs.sites import path_of


def line_of(written: Written, event: Event, local: Mapping[str, Any]) -> LineSource | None:
    """The statement of an event as a line of its local names; None if it is not an assignment to a whole value."""
    expression = _expression(written, event)
    if expression is None:
        return None
    names = [n.id for n in ast.walk(expression) if isinstance(n, ast.Name) and n.id in local]
    names = list(dict.fromkeys([*names, *(k for k in local if k.isidentifier())]))
    if not names:
        return None
    definition = ast.parse("def line(): return None")
    function = definition.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = [ast.Return(copy.deepcopy(expression))]
    f = written.function
    scope = dict(f.__globals__)
    for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
        scope[name] = cell.cell_contents
    return LineSource(definition, names, scope)


def _expression(written: Written, event: Event) -> ast.expr | None:
    if event.site < 0:
        return written.returns[-1].parts[-1 - event.site]
    statement = written.sites[event.site].statement
    if written.sites[event.site].is_after_loop:
        return None
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if path_of(target) == event.path:
            return statement.value
        if isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
            for part, value in zip(target.elts, statement.value.elts, strict=False):
                if path_of(part) == event.path:
                    return value
    if isinstance(statement, ast.AugAssign) and path_of(statement.target) == event.path:
        target = copy.deepcopy(statement.target)
        for node in ast.walk(target):
            if hasattr(node, "ctx"):
                node.ctx = ast.Load()
        return ast.BinOp(target, statement.op, statement.value)
    return None


def names_in(tree: ast.AST) -> set[str]:
    """The names that a tree reads."""
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
