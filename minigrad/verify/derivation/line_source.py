"""The source of a line, in which one expression at a time is replaced by another."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np


class LineSource:
    """The source of a line as a function of all names, in which one expression at a time can be replaced.

    Args:
        tree: of a module with the line as its only function, which has no decorators.
        names: the parameters of the edited functions.
        scope: the values of other names that the line uses.
    """

    def __init__(self, tree: ast.Module, names: Sequence[str], scope: Mapping[str, Any]) -> None:
        self._tree, self.names = tree, list(names)
        body = tree.body[0]
        assert isinstance(body, ast.FunctionDef)
        self.body = body
        body.args.args = [ast.arg(arg=name) for name in names]
        ast.fix_missing_locations(tree)
        self._setters = _setters(body)
        self._scope = dict(scope)

    @classmethod
    def of(cls, function: Callable[..., Any], names: Sequence[str]) -> LineSource:
        """The source of a function.

        Raises:
            OSError, TypeError, SyntaxError: it is not available, or not a def.
        """
        closure = inspect.getclosurevars(function)
        return cls(parse_line(function), names, {**function.__globals__, **closure.nonlocals})

    @contextmanager
    def edited(self, new: ast.expr, *old: ast.expr) -> Iterator[Callable[..., Any] | None]:
        """The function with expressions replaced by another, within a block; None if it does not compile."""
        for node in old:
            self._setters[id(node)](ast.fix_missing_locations(ast.copy_location(new, node)))
        try:
            yield _compiled(self._tree, self.body.name, self._scope)
        finally:
            for node in old:
                self._setters[id(node)](node)

    def text(self) -> str:
        """The line as it stands now."""
        return ast.unparse(ast.Module(self.body.body, []))

    def result(self, function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
        """What an edited function computes with values by name; None if it raises an error."""
        try:
            with np.errstate(all="ignore"):
                return function(*(values[name] for name in self.names))
        except Exception:  # an edited line may raise anything
            return None

    def values_of(self, atoms: Sequence[str], values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of expressions that only read a value."""
        known = {}
        for name in atoms:
            if name in values:
                known[name] = values[name]
            else:
                with suppress(Exception):  # an item that is not there
                    known[name] = eval(name, {}, dict(values))
        return known


def parse_line(function: Callable[..., Any]) -> ast.Module:
    """The syntax tree of a line, without decorators and docstring.

    Raises:
        OSError, TypeError, SyntaxError: the source is not available, or not a def.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    body = tree.body[0]
    if not isinstance(body, ast.FunctionDef):
        raise TypeError("not a def")
    body.decorator_list = []
    if ast.get_docstring(body) is not None and len(body.body) > 1:
        del body.body[0]
    return tree


def _setters(body: ast.FunctionDef) -> dict[int, Callable[[ast.expr], None]]:
    """For each expression, by id, the function that replaces it in the tree."""
    setters: dict[int, Callable[[ast.expr], None]] = {}
    for parent in ast.walk(body):
        for name, value in ast.iter_fields(parent):
            if isinstance(value, list):
                setters |= {id(item): partial(value.__setitem__, k) for k, item in enumerate(value)}
            elif isinstance(value, ast.expr):
                setters[id(value)] = partial(setattr, parent, name)
    return setters


def _compiled(tree: ast.Module, name: str, scope: dict[str, Any]) -> Callable[..., Any] | None:
    namespace: dict[str, Any] = {}
    try:
        exec(compile(tree, "<edited line>", "exec"), scope, namespace)
    except (SyntaxError, ValueError):
        return None
    function: Callable[..., Any] = namespace[name]
    return function
