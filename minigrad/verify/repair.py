"""Repair: one edit of a line's own source that makes it right.

The edits are those by which derivations go wrong: another name, a name left out of a difference, a number, a sign, an
operator, a factor, a sum or mean, a transpose. A candidate counts only if it is right on two draws.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.verify.derivation import Derivation, Draw, Line
    from minigrad.verify.derivation_report import LineReport

Edit = tuple[ast.AST, ast.AST]  # a node of the line's tree, and what to put in its place


def search(
    derivation: Derivation, line: Line, draws: Sequence[Draw], report: LineReport, seconds: float
) -> str | None:
    """The edit as "`x` should be `x - mu`", or None if none is found in time."""
    tree = parsed(line.function)
    body = tree.body[0]
    assert isinstance(body, ast.FunctionDef)
    known = [{k: v for k, v in draw.names().items() if k != f"d{line.target}"} for draw in draws]
    expected = [draw.truth.gradients[line.target] for draw in draws]
    if report.random_upstream is not None:
        known, expected = [report.random_upstream], [report.expected]
    # Values first, in the order in which the line itself names them; then what else there is.
    others = [k for k in known[0] if k not in line.parameters]
    names = [*line.parameters, *others]
    deadline = time.perf_counter() + seconds
    for old, new in _edits(body, names):
        if time.perf_counter() > deadline:
            return None
        function = line_with(tree, old, new, line.function, names)
        if function is not None and all(_right(function, names, k, e) for k, e in zip(known, expected, strict=True)):
            return f"`{ast.unparse(old)}` should be `{ast.unparse(new)}`"
    return None


def parsed(function: Callable[..., Any]) -> ast.Module:
    source = textwrap.dedent(inspect.getsource(function))
    tree = ast.parse(source)
    body = tree.body[0]
    if not isinstance(body, ast.FunctionDef):
        raise TypeError("not a def")
    body.decorator_list = []
    return tree


def line_with(
    tree: ast.Module, old: ast.AST, new: ast.AST, original: Callable[..., Any], names: Sequence[str]
) -> Callable[..., Any] | None:
    """The line with one node replaced, as a function of all names."""
    edited = _Replace(old, new).visit(copy.deepcopy(tree, {id(old): old}))
    body = edited.body[0]
    body.args.args = [ast.arg(arg=name) for name in names]
    ast.fix_missing_locations(edited)
    closure = inspect.getclosurevars(original)
    scope: dict[str, Any] = {**original.__globals__, **closure.nonlocals}
    try:
        exec(compile(edited, "<edited line>", "exec"), scope)
    except (SyntaxError, ValueError):
        return None
    function: Callable[..., Any] = scope[body.name]
    return function


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        if node is self.old:
            return self.new
        return self.generic_visit(node)


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


def _edits(body: ast.FunctionDef, names: Sequence[str]) -> Iterator[Edit]:
    """Simple edits first: the first that works is told."""
    nodes = [node for statement in body.body for node in ast.walk(statement) if isinstance(node, ast.expr)]
    loads = [node for node in nodes if isinstance(node, ast.Name) and node.id in names]
    for make in (_numbers, _signs, _operators, _reductions, _transposes, _dropped):
        for node in nodes:
            yield from ((node, new) for new in make(node))
    for node in loads:
        yield from ((node, ast.Name(other, ast.Load())) for other in names if other != node.id)
    for operator in (ast.Sub, ast.Add, ast.Mult, ast.Div):
        for node in loads:
            for other in names:
                if other != node.id or operator is ast.Mult:
                    yield node, ast.BinOp(node, operator(), ast.Name(other, ast.Load()))
    returned = [s.value for s in ast.walk(body) if isinstance(s, ast.Return) and s.value is not None]
    for node in returned:
        for operator in (ast.Add, ast.Sub):
            yield from ((node, ast.BinOp(node, operator(), ast.Name(other, ast.Load()))) for other in names)


def _numbers(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        value = node.value
        for other in (value + 1, value - 1, value + 0.5, value - 0.5, value * 2, value / 2, 0, 1, 2, 0.5, 1.5):
            if other != value and other >= 0:
                yield ast.Constant(other)


def _signs(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand
    elif not isinstance(node, (ast.Attribute, ast.Slice)):
        yield ast.UnaryOp(ast.USub(), node)


_SWAPS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
}  # fmt: skip


def _operators(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp):
        if type(node.op) in _SWAPS:
            yield ast.BinOp(node.left, _SWAPS[type(node.op)](), node.right)
        if isinstance(node.op, (ast.MatMult, ast.Sub, ast.Div)):
            yield ast.BinOp(node.right, node.op, node.left)
        if isinstance(node.op, ast.MatMult):
            yield ast.BinOp(_attribute(node.left, "T"), node.op, node.right)
            yield ast.BinOp(node.left, node.op, _attribute(node.right, "T"))


def _reductions(node: ast.expr) -> Iterator[ast.expr]:
    """sum for mean and the other way round, other axes, a sum or mean that is missing or too many."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("sum", "mean"):
        other = "mean" if node.func.attr == "sum" else "sum"
        yield ast.Call(_attribute(node.func.value, other), node.args, node.keywords)
        yield node.func.value
        for axis in (0, 1, -1):
            for keep in (False, True):
                yield _reduced(node.func.value, node.func.attr, axis, keep)
    if isinstance(node, (ast.BinOp, ast.Name)):
        for name in ("sum", "mean"):
            for axis in (0, -1):
                for keep in (False, True):
                    yield _reduced(node, name, axis, keep)


def _reduced(node: ast.expr, name: str, axis: int, keep: bool) -> ast.expr:
    keywords = [ast.keyword("axis", ast.Constant(axis))]
    if keep:
        keywords.append(ast.keyword("keepdims", ast.Constant(True)))
    return ast.Call(_attribute(node, name), [], keywords)


def _transposes(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        yield node.value
    elif isinstance(node, ast.Name):
        yield _attribute(node, "T")


def _dropped(node: ast.expr) -> Iterator[ast.expr]:
    """One side of an operation alone."""
    if isinstance(node, ast.BinOp):
        yield node.left
        yield node.right


def _attribute(node: ast.expr, name: str) -> ast.Attribute:
    return ast.Attribute(node, name, ast.Load())
