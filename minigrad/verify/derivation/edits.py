"""Edits of a line's syntax tree that undo common mistakes, simple ones first.

What a line reads by name is an atom: `h`, but also `hs[t]`, `self.out` and `cache["x"]`. See also `replacements`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minigrad.verify.derivation.replacements import (
    atom,
    batch_transposes,
    borders,
    functions,
    indices,
    is_atom,
    is_plain,
    is_size,
    multiples,
    negated,
    numbers,
    operands,
    operators,
    powers,
    reduced,
    reductions,
    shifted,
    sizes,
    slopes,
    slopes_added,
    transposes,
)


class Edit(NamedTuple):
    """Expressions of the tree, and what each of them is replaced by."""

    old: Sequence[ast.expr]
    new: ast.expr

    def __str__(self) -> str:
        everywhere = " everywhere" if len(self.old) > 1 else ""
        return f"`{ast.unparse(self.old[0])}` should be `{ast.unparse(self.new)}`{everywhere}"


@dataclass
class Editable:
    """A line and what may stand in it.

    Attributes:
        body: the line.
        names: the atoms that it may use, its own first.
        values: of the atoms, in one sample.
    """

    body: ast.FunctionDef
    names: Sequence[str]
    values: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.nodes = _expressions(self.body)
        known = set(self.names)
        self.atoms = [node for node in self.nodes if is_atom(node) and ast.unparse(node) in known]
        self.used = list(dict.fromkeys(ast.unparse(node) for node in self.atoms))
        self.ordered = [*self.used, *(name for name in self.names if name not in self.used)]
        self.constants = [k for k in self.names if isinstance(self.values.get(k), float)]
        own = [self.values.get(name) for name in self.used]
        self.ndim = max((np.ndim(value) for value in own if is_plain(value)), default=0)
        returned = [s.value for s in ast.walk(self.body) if isinstance(s, ast.Return) and s.value is not None]
        returned += [s.value for s in self.body.body if isinstance(s, (ast.Assign, ast.AugAssign))]
        self.returned = [node for node in returned if not isinstance(node, ast.Tuple)]

    def edits(self) -> Iterator[Edit]:
        """Edits, simple ones first, as the first that works is reported."""
        yield from self._small()
        for node in self.returned:  # the upstream gradient is missing
            upstream = (name for name in self.ordered if name.startswith(("d", "grad")))
            yield from _each(node, (ast.BinOp(node, ast.Mult(), atom(name)) for name in upstream))
        for replacements in (powers, operators, transposes, operands, negated, functions):
            for node in self.nodes:
                yield from _each(node, replacements(node))
        for node in self.nodes:
            yield from _each(node, batch_transposes(node, self.values))
            yield from _each(node, borders(node, self.ordered, self.values))
            yield from _each(node, reductions(node, self.ndim, self.names))
        yield from self._other_atoms()
        for operator in (ast.Sub(), ast.Add(), ast.Mult(), ast.Div()):
            for node in self.atoms:
                for other in self.ordered:
                    if other != ast.unparse(node) or isinstance(operator, ast.Mult):
                        yield Edit([node], ast.BinOp(node, operator, atom(other)))
        yield from self._terms()

    def _small(self) -> Iterator[Edit]:
        """A part of an array, a square, a number, a slope, a step in time, a constant."""
        for node in self.nodes:
            yield from _each(node, indices(node))
        for node in self.atoms:
            yield Edit([node], ast.BinOp(node, ast.Pow(), ast.Constant(2)))
        for node in self.nodes:
            yield from _each(node, numbers(node))
            yield from _each(node, slopes(node, self.atoms))
        for node in self.atoms:
            yield from _each(node, shifted(node, self.values))
            yield from _each(
                node, (ast.BinOp(node, ast.Add(), atom(k)) for k in self.constants if k != ast.unparse(node))
            )
            name = ast.unparse(node)
            if name.startswith("d") and name[1:] in self.values:  # the slope of the value's own function
                yield from _each(node, slopes_added(node, name[1:], self.values[name[1:]]))

    def _other_atoms(self) -> Iterator[Edit]:
        """Another value, at one place or at all."""
        for name in self.used:
            places = [node for node in self.atoms if ast.unparse(node) == name]
            for other in self.ordered:
                if other != name:
                    yield from (Edit([place], atom(other)) for place in places)
                    if len(places) > 1:
                        yield Edit(places, atom(other))

    def _terms(self) -> Iterator[Edit]:
        """A size, a term or a factor is added to a compound expression."""
        for node in self.nodes:
            if is_size(node):
                yield from _each(node, (s for s in sizes(self.used) if ast.unparse(s) != ast.unparse(node)))
                yield Edit([node], ast.BinOp(node, ast.Sub(), ast.Constant(1)))
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and is_size(node.left):
                yield Edit([node], node.left)
        compound: list[ast.expr] = [node for node in self.nodes if isinstance(node, (ast.BinOp, ast.Call, ast.UnaryOp))]
        compound = [node for node in compound if not is_size(node)]
        for node in compound:
            for size in sizes(self.used):
                yield Edit([node], ast.BinOp(node, ast.Div(), size))
                yield Edit([node], ast.BinOp(node, ast.Mult(), size))
        for operator in (ast.Add(), ast.Sub(), ast.Mult(), ast.Div()):
            for node in self.returned:
                yield from _each(node, (ast.BinOp(node, operator, atom(other)) for other in self.names))
        for node in compound:
            for other in self.used:
                yield from _each(node, multiples(node, other))
        for node in [*self.atoms, *compound, *self.returned]:
            for other in self.ordered:
                yield from _each(node, slopes_added(node, other, self.values.get(other)))
        for node in self.atoms:  # the path through a mean
            means = (reduced(node, "mean", (axis,), True) for axis in range(self.ndim))
            yield from _each(node, (ast.BinOp(node, ast.Sub(), mean) for mean in means))


def _each(node: ast.expr, replacements: Iterator[ast.expr]) -> Iterator[Edit]:
    return (Edit([node], new) for new in replacements)


def _expressions(body: ast.FunctionDef) -> list[ast.expr]:
    """The expressions of a line, without functions, keyword arguments, targets, and what is inside of sizes."""
    expressions: list[ast.expr] = []
    skipped: set[int] = set()
    for statement in body.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                skipped.update(id(n) for k in node.keywords for n in ast.walk(k.value))
                skipped.add(id(node.func))
                if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
                    skipped.update([id(node.func.value)] if node.func.value.id in ("np", "mg", "numpy", "math") else [])
            if is_size(node) or (isinstance(node, ast.Attribute) and node.attr in ("shape", "dtype", "ndim")):
                skipped.update(id(n) for n in ast.walk(node) if n is not node)
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(body.body) > 1:
                skipped.update(id(n) for n in ast.walk(node.value))  # what a statement wrote
            if is_atom(node) and not isinstance(node, ast.Name) and id(node) not in skipped:
                skipped.update(id(n) for n in ast.walk(node) if n is not node)
            is_target = not isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
            if isinstance(node, ast.expr) and id(node) not in skipped and not is_target:
                expressions.append(node)
    return expressions
