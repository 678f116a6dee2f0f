"""The edits that are tried on a wrong line: those by which derivations go wrong, the other way round.

Another number, a sign, an operator, a sum or mean, a transpose, a part left out, another name, a name more or less.
Each generator takes an expression of the line's syntax tree and yields what may stand in its place.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

Edit = tuple[ast.expr, ast.expr]  # an expression of the tree, and what to put in its place


def edits(body: ast.FunctionDef, names: Sequence[str], constants: Sequence[str], axes: int) -> Iterator[Edit]:
    """Simple edits first: the first that works is told. `axes`: the most that a value has."""
    nodes = _expressions(body)
    own = [node for node in nodes if isinstance(node, ast.Name) and node.id in names]
    for node in nodes:
        yield from ((node, new) for new in _numbers(node))
        yield from ((node, new) for new in _slopes(node, names))
    yield from ((node, ast.BinOp(node, ast.Add(), _name(eps))) for node in own for eps in constants if eps != node.id)
    for make in (_operators, _transposes, _dropped, _opposites):
        for node in nodes:
            yield from ((node, new) for new in make(node))
    for node in nodes:
        yield from ((node, new) for new in _reductions(node, axes))
    used = list(dict.fromkeys(node.id for node in own))
    ordered = [*used, *(name for name in names if name not in used)]
    for node in own:
        yield from ((node, _name(other)) for other in ordered if other != node.id)
    for operator in (ast.Sub(), ast.Add(), ast.Mult(), ast.Div()):
        for node in own:
            for other in ordered:
                if other != node.id or isinstance(operator, ast.Mult):
                    yield node, ast.BinOp(node, operator, _name(other))
    yield from _larger(body, nodes, names, used)


def _larger(
    body: ast.FunctionDef, nodes: Sequence[ast.expr], names: Sequence[str], used: Sequence[str]
) -> Iterator[Edit]:
    """Edits of whole expressions: a size, a term or a factor that is missing."""
    for node in nodes:
        if _number_of(node) is not None:
            yield from ((node, ast.BinOp(node, ast.Sub(), _name(other))) for other in used)
    sums: list[ast.expr] = [node for node in nodes if isinstance(node, (ast.BinOp, ast.Call, ast.UnaryOp))]
    for node in sums:
        for size in _size_terms(used):
            yield node, ast.BinOp(node, ast.Div(), size)
            yield node, ast.BinOp(node, ast.Mult(), size)
    returned = [s.value for s in ast.walk(body) if isinstance(s, ast.Return) and s.value is not None]
    for operator in (ast.Add(), ast.Sub(), ast.Mult(), ast.Div()):
        for node in returned:
            yield from ((node, ast.BinOp(node, operator, _name(other))) for other in names)
    for node in sums:
        for other in used:
            yield node, ast.BinOp(node, ast.Mult(), _name(other))
            yield node, ast.BinOp(node, ast.Div(), _name(other))
            yield node, ast.BinOp(node, ast.Sub(), _name(other))
            yield node, ast.BinOp(node, ast.Mult(), ast.BinOp(ast.Constant(1), ast.Sub(), _name(other)))
            yield node, ast.BinOp(node, ast.Div(), ast.BinOp(ast.Constant(1), ast.Sub(), _name(other)))


def _expressions(body: ast.FunctionDef) -> list[ast.expr]:
    """The expressions of a line, without those of which Python or NumPy has only one use: axis numbers, shapes."""
    found: list[ast.expr] = []
    skipped: set[int] = set()
    for statement in body.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                skipped.update(id(n) for k in node.keywords for n in ast.walk(k.value))
                skipped.add(id(node.func))
            if isinstance(node, ast.expr) and id(node) not in skipped and not isinstance(node, ast.Slice):
                found.append(node)
    return found


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


def _opposites(node: ast.expr) -> Iterator[ast.expr]:
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
            left, right = transposed(node.left), transposed(node.right)
            for a, b in ((left, node.right), (node.left, right), (left, right)):
                yield ast.BinOp(a, node.op, b)
                yield ast.BinOp(b, node.op, a)
        if isinstance(node.op, ast.Mult):
            yield ast.BinOp(node.left, ast.MatMult(), node.right)


def _reductions(node: ast.expr, axes: int) -> Iterator[ast.expr]:
    """Sum for mean and the other way round, other axes, a sum or mean that is missing or too many."""
    every = [*((k,) for k in range(axes)), *((j, k) for j in range(axes) for k in range(j + 1, axes))]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("sum", "mean"):
        value, name = node.func.value, node.func.attr
        other = "mean" if name == "sum" else "sum"
        yield ast.Call(attribute(value, other), node.args, node.keywords)
        yield value
        for one in (name, other):
            for axis in every:
                yield _reduced(value, one, axis, True)
                yield _reduced(value, one, axis, False)
    elif isinstance(node, (ast.BinOp, ast.Name, ast.Call)):
        for axis in every:
            for name in ("sum", "mean"):
                yield _reduced(node, name, axis, False)
                yield _reduced(node, name, axis, True)


def _reduced(node: ast.expr, name: str, axis: tuple[int, ...], keep: bool) -> ast.expr:
    every: ast.expr = ast.Tuple([ast.Constant(k) for k in axis], ast.Load())
    keywords = [ast.keyword("axis", ast.Constant(axis[0]) if len(axis) == 1 else every)]
    if keep:
        keywords.append(ast.keyword("keepdims", ast.Constant(True)))
    return ast.Call(attribute(node, name), [], keywords)


def _transposes(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        yield node.value
    elif isinstance(node, (ast.Name, ast.BinOp)):
        yield transposed(node)


def _dropped(node: ast.expr) -> Iterator[ast.expr]:
    """One side of an operation alone."""
    if isinstance(node, ast.BinOp):
        yield node.left
        yield node.right


def _size_terms(names: Sequence[str]) -> Iterator[ast.expr]:
    for name in names:
        yield ast.Call(_name("len"), [_name(name)], [])
        yield ast.Subscript(attribute(_name(name), "shape"), ast.Constant(-1), ast.Load())
        yield attribute(_name(name), "size")


def _slopes(node: ast.expr, names: Sequence[str]) -> Iterator[ast.expr]:
    """For an expression in one value: the derivatives of common functions, from their values."""
    if not isinstance(node, ast.BinOp):
        return
    inside = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & set(names)
    values = [name for name in inside if f"d{name}" not in inside or len(inside) == 1]
    for v in (
        sorted(values) if len(inside) == 1 else sorted(n for n in inside if f"d{n}" in inside and len(inside) == 2)
    ):
        upstream = f"d{v} * " if len(inside) == 2 else ""
        for slope in (f"(1 - {v}**2)", f"{v} * (1 - {v})", f"(1 - {v})", f"{v}", f"2 * {v}", f"{v}**2"):
            yield ast.parse(upstream + slope, mode="eval").body


def transposed(node: ast.expr) -> ast.expr:
    """The transpose; of a transpose, what was transposed."""
    return node.value if isinstance(node, ast.Attribute) and node.attr == "T" else attribute(node, "T")


def attribute(node: ast.expr, name: str) -> ast.Attribute:
    """node.name"""
    return ast.Attribute(node, name, ast.Load())
