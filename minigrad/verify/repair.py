"""Repair: one edit of a line's own source that makes it right, on two draws."""

from __future__ import annotations

import ast
import inspect
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.tensor.tensor import Tensor
from minigrad.verify.edits import edits

if TYPE_CHECKING:
    from minigrad.verify.derivation import Derivation, Line
    from minigrad.verify.derivation_report import LineReport
    from minigrad.verify.samples import Draw


def search(derivation: Derivation, line: Line, draws: Sequence[Draw], report: LineReport, seconds: float) -> str | None:
    """The edit as "`x` should be `x - mu`", or None if none is found in time."""
    known = [draw.names() for draw in draws]
    expected = [draw.truth.gradients[line.target] for draw in draws]
    if report.random_upstream is not None:
        known, expected = [report.random_upstream], [report.expected]
    # First what the line itself names, then what else there is; but no gradient that is computed from this one.
    later = _later(derivation, line.target)
    others = [k for k in known[0] if k not in line.parameters and k not in later]
    names = [*line.parameters, *others]
    source = Source(line.function, names)
    axes = max((np.ndim(known[0][name]) for name in line.parameters), default=0)
    deadline = time.perf_counter() + seconds
    constants = [k for k in names if isinstance(known[0][k], float)]
    for old, new in edits(source.body, names, constants, axes):
        if time.perf_counter() > deadline:
            return None
        with source.edited(old, new) as function:
            if function is not None and all(_right(function, names, *of) for of in zip(known, expected, strict=True)):
                report.repaired = ast.unparse(ast.Module(source.body.body, []))
                break
    else:
        return None
    return f"`{ast.unparse(old)}` should be `{ast.unparse(new)}`"


class Source:
    """A line's own source as a function of all names, in which one expression at a time can be another.

    Raises:
        OSError, TypeError, SyntaxError: there is no source to be had, or it is not a def.
    """

    def __init__(self, function: Callable[..., Any], names: Sequence[str]) -> None:
        self._tree = _parse(function)
        body = self._tree.body[0]
        assert isinstance(body, ast.FunctionDef)
        self.body = body
        body.args.args = [ast.arg(arg=name) for name in names]
        ast.fix_missing_locations(self._tree)
        self._places = _places(body)
        closure = inspect.getclosurevars(function)
        self._scope: dict[str, Any] = {**function.__globals__, **closure.nonlocals}

    @contextmanager
    def edited(self, old: ast.expr, new: ast.expr) -> Iterator[Callable[..., Any] | None]:
        """The function with one expression in place of another, None if that is no program."""
        put = self._places[id(old)]
        put(ast.fix_missing_locations(ast.copy_location(new, old)))
        try:
            yield _compiled(self._tree, self.body.name, self._scope)
        finally:
            put(old)


def _parse(function: Callable[..., Any]) -> ast.Module:
    """The line's source without decorators and docstring."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    body = tree.body[0]
    if not isinstance(body, ast.FunctionDef):
        raise TypeError("not a def")
    body.decorator_list = []
    if ast.get_docstring(body) is not None and len(body.body) > 1:
        del body.body[0]
    return tree


def _later(derivation: Derivation, target: str) -> set[str]:
    """The gradients d<name> that come after this one: its own, and those of the values that it was computed from."""
    order = [*derivation.forward.inputs, *derivation.targets]
    place = order.index(target)
    return {f"d{target}"} | {f"d{k}" for k in order[:place]}


def _places(body: ast.FunctionDef) -> dict[int, Callable[[ast.expr], None]]:
    """For each expression, by id: what puts another one in its place."""
    found: dict[int, Callable[[ast.expr], None]] = {}
    for parent in ast.walk(body):
        for name, value in ast.iter_fields(parent):
            if isinstance(value, list):
                found |= {id(item): partial(value.__setitem__, k) for k, item in enumerate(value)}
            elif isinstance(value, ast.expr):
                found[id(value)] = partial(setattr, parent, name)
    return found


def _compiled(tree: ast.Module, name: str, scope: dict[str, Any]) -> Callable[..., Any] | None:
    try:
        made: dict[str, Any] = {}
        exec(compile(tree, "<edited line>", "exec"), scope, made)
    except (SyntaxError, ValueError):
        return None
    function: Callable[..., Any] = made[name]
    return function


def _right(function: Callable[..., Any], names: Sequence[str], known: dict[str, Any], expected: Any) -> bool:
    try:
        with np.errstate(all="ignore"):
            result = function(*(known[name] for name in names))
        result = np.asarray(result.data if isinstance(result, Tensor) else result)
    except Exception:  # an edit may do anything at all
        return False
    if result.shape != expected.shape or result.dtype.kind != "f":
        return False
    largest = float(np.max(np.abs(expected), initial=0.0))
    return bool(np.all(np.abs(result - expected) <= 1e-8 * (np.abs(expected) + 1e-3 * largest)))
