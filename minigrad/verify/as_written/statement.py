"""A statement of a backward function as a function of its local names, in which edits can be tried.

A value that is added up in a loop comes from all runs of its statement, so these are repeated for each edit.
"""

from __future__ import annotations

import ast
import copy
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from minigrad.verify.as_written.written_lines import RIGHT, Event
from minigrad.verify.derivation.line_source import LineSource
from minigrad.verify.derivation.repair import is_right
from minigrad.verify.derivation.replacements import is_atom
from minigrad.verify.pairs.instrument import Written, path_text
from minigrad.verify.pairs.sites import Site, path_of

Runs = Sequence[Mapping[str, Any]]  # the local names before each run of a statement


class StatementSource(LineSource):
    """A statement as a function of local names, which returns what it has written and the object written to."""

    def __init__(self, tree: ast.Module, names: Sequence[str], scope: Mapping[str, Any], base: str) -> None:
        super().__init__(tree, names, scope)
        self.base = base  # the name of the object that is written to; empty if the line only computes a value

    def result(self, function: Callable[..., Any], values: Any) -> Any:
        """What the statement has written after all runs; None if it raises an error."""
        runs: Runs = values
        written = None
        kept = copy.deepcopy(runs[0].get(self.base)) if self.base else None
        for run in runs:
            names = {**run, self.base: kept} if self.base else run
            result = super().result(function, names)
            if result is None:
                return None
            kept, written = result if self.base else (None, result)
        return written

    def values_of(self, atoms: Sequence[str], values: Any) -> dict[str, Any]:
        """The values of expressions that only read a value, in the last run."""
        return super().values_of(atoms, values[-1])

    def text(self) -> str:
        """The line as it stands now, without what is added here."""
        body = self.body.body[:-1] if self.base else self.body.body
        return ast.unparse(ast.Module(body, []))


def line_of(written: Written, event: Event, steps: Sequence[Site], runs: Runs) -> StatementSource | None:
    """The statements of an event as a line of its local names; None if they are not simple ones."""
    local = {k: v for k, v in runs[-1].items() if k in runs[0]}
    expression = _expression(written, event) if len(steps) < 2 else None
    base = ""
    if expression is not None:
        body: list[ast.stmt] = [ast.Return(copy.deepcopy(expression))]
    else:
        if not steps:
            return None
        path = ast.parse(path_text(steps[-1].statement, steps[-1].path), mode="eval").body
        base = next(n.id for n in ast.walk(path) if isinstance(n, ast.Name))
        both = ast.Tuple([ast.Name(base, ast.Load()), path], ast.Load())
        body = [*(copy.deepcopy(step.statement) for step in steps), ast.Return(both)]
    names = list(dict.fromkeys([*_names_in(body), *local]))
    names = [k for k in names if k in local and k.isidentifier()]
    if base and base not in names:
        names.append(base)
    definition = ast.parse("def line(): return None")
    function = definition.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = body
    f = written.function
    scope = dict(f.__globals__)
    for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
        with suppress(ValueError):  # a name that is not bound yet
            scope[name] = cell.cell_contents
    return StatementSource(definition, names, scope, base)


def added_up(source: StatementSource, runs: Sequence[Runs], expected: Sequence[Any]) -> tuple[str, str] | None:
    """The repair `dw[f] = ...` should be `dw[f] += ...`, if it makes the line right."""
    statement = source.body.body[0]
    if not source.base or len(source.body.body) > 2 or not isinstance(statement, ast.Assign):
        return None
    target = statement.targets[0]
    if not isinstance(target, ast.Subscript):
        return None
    source.body.body[0] = ast.copy_location(ast.AugAssign(target, ast.Add(), statement.value), statement)
    try:
        with source.edited(statement.value, statement.value) as function:
            pairs = zip(runs, expected, strict=True)
            if function is not None and all(is_right(source.result(function, r), e) for r, e in pairs):
                left = ast.unparse(target)
                return f"`{left} =` should be `{left} +=`: every step adds to it", source.text()
    finally:
        source.body.body[0] = statement
    return None


def steps_of(written: Written, event: Event, before: Sequence[Event]) -> list[Site]:
    """The statements that compute an event: the last ones that wrote its value, if it is written in steps.

    Of a value that is added up in a loop, the only statement there. None if they are not simple statements.
    """
    if event.site < 0:
        return []
    site = written.sites[event.site]
    if site.is_after_loop:
        steps = [
            s for s in written.sites[: site.number]
            if s.path == site.path and s.continues and len(s.loops) > len(site.loops) and not s.is_after_loop
        ]  # fmt: skip
        return steps if len(steps) == 1 and steps[0].statement is site.statement else []
    steps = [site]
    for other in reversed(before):
        if other.path != event.path or other.site < 0 or other.index != event.index:
            continue
        earlier = written.sites[other.site]
        if other.status == RIGHT or earlier.loops != site.loops or not steps[0].continues or earlier.is_after_loop:
            break
        steps.insert(0, earlier)
    is_simple = all(isinstance(s.statement, (ast.Assign, ast.AugAssign, ast.Expr)) for s in steps)
    return steps if is_simple else []


def environments(captured: Runs, steps: Sequence[Site]) -> Runs:
    """The local names before each run: those before the last of several steps, with what was there before the first."""
    if len(steps) < 2 or len(captured) < len(steps):
        return captured
    first, last = captured[-len(steps)], captured[-1]
    base = steps[-1].path.partition(".")[0]
    merged = {k: v for k, v in last.items() if k != base}
    return [merged | ({base: first[base]} if base in first else {})]


def _expression(written: Written, event: Event) -> ast.expr | None:
    """The expression whose value an event is."""
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


def atoms_of(written: Written, source: StatementSource, runs: Runs, event: Event) -> list[str]:
    """What a statement reads by name, then what else it could read: names, items and attributes with values."""
    local = {k: v for k, v in runs[-1].items() if k in runs[0]}
    called = {id(n.func) for n in ast.walk(source.body) if isinstance(n, ast.Call)}
    own = [n for s in source.body.body for n in ast.walk(s) if is_atom(n) and id(n) not in called]
    names = sorted((name for name in local if name.isidentifier()), key=lambda name: "cache" in name)
    found = [ast.unparse(n) for n in own] + names
    for name, value in local.items():
        found += _items(name, value, event.index)
    nodes = list(ast.walk(written.definition))
    functions = {id(n.func) for n in nodes if isinstance(n, ast.Call)}
    found += [ast.unparse(n) for n in nodes if isinstance(n, ast.Subscript) and is_atom(n) and id(n) not in functions]
    known = source.values_of(list(dict.fromkeys(found)), runs)
    # In a loop, what the line writes is what it wrote before.
    is_in_loop = event.site >= 0 and bool(written.sites[event.site].loops)
    target = {event.path} if is_in_loop and event.path not in map(ast.unparse, own) else set()
    return [name for name, value in known.items() if is_value(value) and name not in target]


def _items(name: str, value: Any, index: Mapping[str, Any]) -> Iterator[str]:
    """The items of a dictionary by a loop's variable or by text, and the attributes of an object."""
    if isinstance(value, dict):
        yield from (f"{name}[{k!r}]" for k in value if isinstance(k, str))
        for k, n in index.items():
            yield from (f"{name}[{k}{step}]" for step, at in (("", n), (" - 1", n - 1)) if k and at in value)
    elif hasattr(value, "__dict__") and not isinstance(value, (types.ModuleType, np.ndarray, type)):
        for attribute, inner in vars(value).items():
            yield f"{name}.{attribute}"
            yield from _items(f"{name}.{attribute}", inner, {}) if isinstance(inner, dict) else ()


def is_value(value: Any) -> bool:
    """Whether a value can be in a formula: a number, or an array of numbers."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf"
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _names_in(body: Sequence[ast.stmt]) -> list[str]:
    return [n.id for s in body for n in ast.walk(s) if isinstance(n, ast.Name)]
