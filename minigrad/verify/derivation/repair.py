"""Repair: one edit of a line's own source that makes it right, in two samples.

The edits undo common mistakes: another number, sign or operator, a sum or mean, a transpose, a part left out, another
name, a name added or removed. Each generator takes an expression of the line's syntax tree and yields replacements.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minigrad.engine.primitive import value_of
from minigrad.verify.derivation.backward_pass import BackwardPass, Line
from minigrad.verify.derivation.derivation_report import LineReport
from minigrad.verify.derivation.line_source import LineSource
from minigrad.verify.derivation.reference import agree
from minigrad.verify.derivation.sample import Sample

Edit = tuple[ast.expr, ast.expr]  # an expression of the tree, and its replacement


def search(
    derivation: BackwardPass, line: Line, samples: Sequence[Sample], report: LineReport, seconds: float
) -> str | None:
    """The edit as "`x` should be `x - mu`", or None if none is found in time. Stores the repaired line in the report.

    Raises:
        OSError, TypeError, SyntaxError: the source of the line is not available.
    """
    values = [sample.names() for sample in samples]
    expected = [sample.reference.gradients[line.target] for sample in samples]
    if report.random_upstream is not None:
        values, expected = [report.random_upstream], [report.expected]
    # First the line's own names, then the others, without gradients that are computed from this one.
    later = _later(derivation, line.target)
    others = [k for k in values[0] if k not in line.parameters and k not in later]
    names = [*line.parameters, *others]
    found = search_edit(LineSource.of(line.function, names), line.parameters, values, expected, seconds)
    if found is None:
        return None
    report.repaired = found[1]
    return found[0]


def search_edit(
    source: LineSource, own: Sequence[str], values: Sequence[Mapping[str, Any]], expected: Sequence[Any], seconds: float
) -> tuple[str, str] | None:
    """An edit of a line with which it computes the expected results.

    Args:
        source: of the line.
        own: the names that the line uses.
        values: in each sample, by name.
        expected: in each sample.
        seconds: how long to search.

    Returns:
        The edit as "`x` should be `x - mu`", and the line after it; or None.
    """
    names = source.names
    ndim = max((np.ndim(values[0][name]) for name in own), default=0)
    deadline = time.perf_counter() + seconds
    constants = [k for k in names if isinstance(values[0][k], float)]
    for old, new in edits(source.body, names, constants, ndim):
        if time.perf_counter() > deadline:
            return None
        with source.edited(old, new) as function:
            if function is not None and all(
                _is_right(function, names, *pair) for pair in zip(values, expected, strict=True)
            ):
                repaired = ast.unparse(ast.Module(source.body.body, []))
                return f"`{ast.unparse(old)}` should be `{ast.unparse(new)}`", repaired
    return None


def _later(derivation: BackwardPass, target: str) -> set[str]:
    """The gradients that are computed after this one: its own, and those of the values that it was computed from."""
    order = [*derivation.forward.inputs, *derivation.targets]
    return {f"d{k}" for k in [target, *order[: order.index(target)]]}


def _is_right(function: Callable[..., Any], names: Sequence[str], values: Mapping[str, Any], expected: Any) -> bool:
    try:
        with np.errstate(all="ignore"):
            result = function(*(values[name] for name in names))
        result = np.asarray(value_of(result))
    except Exception:  # an edited line may raise anything
        return False
    return result.dtype.kind == "f" and agree(result, expected, rtol=1e-8, floor=0.0)


def edits(body: ast.FunctionDef, names: Sequence[str], constants: Sequence[str], ndim: int) -> Iterator[Edit]:
    """Edits of a line, simple ones first, as the first that works is reported.

    Args:
        body: the line.
        names: of values and gradients that it may use.
        constants: the names of constants, such as eps.
        ndim: the largest number of axes of a value.
    """
    nodes = _expressions(body)
    name_nodes = [node for node in nodes if isinstance(node, ast.Name) and node.id in names]
    for node in nodes:
        yield from ((node, new) for new in _numbers(node))
        yield from ((node, new) for new in _slopes(node, names))
    yield from (
        (node, ast.BinOp(node, ast.Add(), _name(eps))) for node in name_nodes for eps in constants if eps != node.id
    )
    for replacements in (_operators, _transposes, _operands, _negated):
        for node in nodes:
            yield from ((node, new) for new in replacements(node))
    for node in nodes:
        yield from ((node, new) for new in _reductions(node, ndim))
    used = list(dict.fromkeys(node.id for node in name_nodes))
    ordered = [*used, *(name for name in names if name not in used)]
    for node in name_nodes:
        yield from ((node, _name(other)) for other in ordered if other != node.id)
    for operator in (ast.Sub(), ast.Add(), ast.Mult(), ast.Div()):
        for node in name_nodes:
            for other in ordered:
                if other != node.id or isinstance(operator, ast.Mult):
                    yield node, ast.BinOp(node, operator, _name(other))
    yield from _edits_of_terms(body, nodes, names, used)


def _edits_of_terms(
    body: ast.FunctionDef, nodes: Sequence[ast.expr], names: Sequence[str], used: Sequence[str]
) -> Iterator[Edit]:
    """Edits of compound expressions: a size, a term or a factor is added."""
    for node in nodes:
        if _number_of(node) is not None:
            yield from ((node, ast.BinOp(node, ast.Sub(), _name(other))) for other in used)
    compound: list[ast.expr] = [node for node in nodes if isinstance(node, (ast.BinOp, ast.Call, ast.UnaryOp))]
    for node in compound:
        for size in _sizes(used):
            yield node, ast.BinOp(node, ast.Div(), size)
            yield node, ast.BinOp(node, ast.Mult(), size)
    returned = [s.value for s in ast.walk(body) if isinstance(s, ast.Return) and s.value is not None]
    for operator in (ast.Add(), ast.Sub(), ast.Mult(), ast.Div()):
        for node in returned:
            yield from ((node, ast.BinOp(node, operator, _name(other))) for other in names)
    for node in compound:
        for other in used:
            yield node, ast.BinOp(node, ast.Mult(), _name(other))
            yield node, ast.BinOp(node, ast.Div(), _name(other))
            yield node, ast.BinOp(node, ast.Sub(), _name(other))
            yield node, ast.BinOp(node, ast.Mult(), ast.BinOp(ast.Constant(1), ast.Sub(), _name(other)))
            yield node, ast.BinOp(node, ast.Div(), ast.BinOp(ast.Constant(1), ast.Sub(), _name(other)))


def _expressions(body: ast.FunctionDef) -> list[ast.expr]:
    """The expressions of a line, without names of functions, keyword arguments and slices."""
    expressions: list[ast.expr] = []
    skipped: set[int] = set()
    for statement in body.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                skipped.update(id(n) for k in node.keywords for n in ast.walk(k.value))
                skipped.add(id(node.func))
            if isinstance(node, ast.expr) and id(node) not in skipped and not isinstance(node, ast.Slice):
                expressions.append(node)
    return expressions


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _number_of(node: ast.expr) -> float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _number_of(node.operand)
        return None if value is None else -value
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return node.value
    return None


def _numbers(node: ast.expr) -> Iterator[ast.expr]:
    value = _number_of(node)
    if value is not None:
        others = (-value, value + 1, value - 1, value + 0.5, value - 0.5, 2 * value, value / 2, 1, 2, 0.5, 1.5)
        for other in dict.fromkeys(others):
            if other not in (value, 0):
                constant = ast.Constant(abs(other))
                yield constant if other > 0 else ast.UnaryOp(ast.USub(), constant)


def _negated(node: ast.expr) -> Iterator[ast.expr]:
    if _number_of(node) is None:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node.operand
        else:
            yield ast.UnaryOp(ast.USub(), node)


_SWAPS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult), ast.Sub: (ast.Add, ast.Mult), ast.Mult: (ast.Div, ast.Add), ast.Div: (ast.Mult,),
}  # fmt: skip


def _operators(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp):
        for other in _SWAPS.get(type(node.op), ()):
            yield ast.BinOp(node.left, other(), node.right)
        if isinstance(node.op, (ast.MatMult, ast.Sub, ast.Div)):
            yield ast.BinOp(node.right, node.op, node.left)
        if isinstance(node.op, ast.MatMult):
            left, right = _transposed(node.left), _transposed(node.right)
            for a, b in ((left, node.right), (node.left, right), (left, right)):
                yield ast.BinOp(a, node.op, b)
                yield ast.BinOp(b, node.op, a)
        if isinstance(node.op, ast.Mult):
            yield ast.BinOp(node.left, ast.MatMult(), node.right)


def _reductions(node: ast.expr, ndim: int) -> Iterator[ast.expr]:
    """A sum instead of a mean and vice versa, other axes, a sum or mean added or removed."""
    axes = [*((k,) for k in range(ndim)), *((j, k) for j in range(ndim) for k in range(j + 1, ndim))]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("sum", "mean"):
        value, name = node.func.value, node.func.attr
        other = "mean" if name == "sum" else "sum"
        yield ast.Call(_attribute(value, other), node.args, node.keywords)
        yield value
        for reduction in (name, other):
            for axis in axes:
                yield _reduced(value, reduction, axis, True)
                yield _reduced(value, reduction, axis, False)
    elif isinstance(node, (ast.BinOp, ast.Name, ast.Call)):
        for axis in axes:
            for name in ("sum", "mean"):
                yield _reduced(node, name, axis, False)
                yield _reduced(node, name, axis, True)


def _reduced(node: ast.expr, name: str, axis: tuple[int, ...], keepdims: bool) -> ast.expr:
    axes: ast.expr = ast.Tuple([ast.Constant(k) for k in axis], ast.Load())
    keywords = [ast.keyword("axis", ast.Constant(axis[0]) if len(axis) == 1 else axes)]
    if keepdims:
        keywords.append(ast.keyword("keepdims", ast.Constant(True)))
    return ast.Call(_attribute(node, name), [], keywords)


def _transposes(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        yield node.value
    elif isinstance(node, (ast.Name, ast.BinOp)):
        yield _transposed(node)


def _operands(node: ast.expr) -> Iterator[ast.expr]:
    """Only one operand of an operation."""
    if isinstance(node, ast.BinOp):
        yield node.left
        yield node.right


def _sizes(names: Sequence[str]) -> Iterator[ast.expr]:
    for name in names:
        yield ast.Call(_name("len"), [_name(name)], [])
        yield ast.Subscript(_attribute(_name(name), "shape"), ast.Constant(-1), ast.Load())
        yield _attribute(_name(name), "size")


def _slopes(node: ast.expr, names: Sequence[str]) -> Iterator[ast.expr]:
    """Derivatives of common functions with the value v, instead of an expression in v alone, or in v and dv."""
    if not isinstance(node, ast.BinOp):
        return
    inside = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & set(names)
    values = [*inside] if len(inside) == 1 else [v for v in sorted(inside) if inside == {v, f"d{v}"}]
    for v in values:
        upstream = f"d{v} * " if len(inside) == 2 else ""
        for slope in (f"(1 - {v}**2)", f"{v} * (1 - {v})", f"(1 - {v})", f"{v}", f"2 * {v}", f"{v}**2"):
            yield ast.parse(upstream + slope, mode="eval").body


def _transposed(node: ast.expr) -> ast.expr:
    """The transpose of an expression, without a double transpose."""
    return node.value if isinstance(node, ast.Attribute) and node.attr == "T" else _attribute(node, "T")


def _attribute(node: ast.expr, name: str) -> ast.Attribute:
    return ast.Attribute(node, name, ast.Load())
