"""What an expression of a line is replaced by: another number, sign or operator, a sum, a transpose, a slope.

Each function takes an expression of the line's syntax tree and yields replacements.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

Array = Any


def atom(name: str) -> ast.expr:
    """The expression of an atom."""
    return ast.parse(name, mode="eval").body


def is_atom(node: ast.AST) -> bool:
    """Whether an expression only reads a value: a name, an attribute, an item at a name, number or text."""
    if isinstance(node, ast.Name):
        return isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.Attribute):
        return isinstance(node.ctx, ast.Load) and node.attr not in _OF_ARRAYS and is_atom(node.value)
    if isinstance(node, ast.Subscript):
        allowed = (ast.Name, ast.Constant, ast.BinOp, ast.Load, ast.Add, ast.Sub, ast.Tuple)
        is_simple = all(isinstance(n, allowed) for n in ast.walk(node.slice))
        return isinstance(node.ctx, ast.Load) and is_simple and is_atom(node.value)
    return False


def is_size(node: ast.AST) -> bool:
    """Whether an expression is the number of elements along an axis, or of all: len(x), x.shape[0], x.size."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "len"
    if isinstance(node, ast.Subscript):
        node = node.value
        return isinstance(node, ast.Attribute) and node.attr == "shape"
    return isinstance(node, ast.Attribute) and node.attr == "size"


_OF_ARRAYS = frozenset(("T", "mT", "shape", "size", "ndim", "dtype", "real", "imag", "flat"))


def is_plain(value: Any) -> TypeGuard[int | float | Array]:
    """Whether a value is a number, or an array."""
    return isinstance(value, (int, float, np.ndarray, np.number))


def number_of(node: ast.expr) -> float | None:
    """The number that an expression is."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = number_of(node.operand)
        return None if value is None else -value
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return node.value
    return None


def numbers(node: ast.expr) -> Iterator[ast.expr]:
    """Another number: the other sign, 1 or ½ more or less, twice or half."""
    value = number_of(node)
    if value is not None:
        others = (-value, value + 1, value - 1, value + 0.5, value - 0.5, 2 * value, value / 2, 1, 2, 0.5, 1.5)
        for other in dict.fromkeys(others):
            if other not in (value, 0):
                constant = ast.Constant(abs(other))
                yield constant if other > 0 else ast.UnaryOp(ast.USub(), constant)


def shifted(node: ast.expr, values: Mapping[str, Any]) -> Iterator[ast.expr]:
    """The value at the step before or after: hs[t - 1] for hs[t] and vice versa."""
    if not isinstance(node, ast.Subscript):
        return
    index = node.slice
    if isinstance(index, ast.Name) and isinstance(values.get(index.id), (int, np.integer)):
        for operator in (ast.Sub(), ast.Add()):
            yield ast.Subscript(node.value, ast.BinOp(index, operator, ast.Constant(1)), ast.Load())
    elif isinstance(index, ast.BinOp) and isinstance(index.left, ast.Name) and number_of(index.right) is not None:
        yield ast.Subscript(node.value, index.left, ast.Load())


def powers(node: ast.expr) -> Iterator[ast.expr]:
    """A square or a root that is missing, or too much."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        yield node.left
    elif isinstance(node, ast.BinOp) or is_atom(node):
        yield ast.BinOp(node, ast.Pow(), ast.Constant(0.5))
        yield ast.BinOp(node, ast.Pow(), ast.Constant(2))


def negated(node: ast.expr) -> Iterator[ast.expr]:
    """The other sign."""
    if number_of(node) is None and not isinstance(node, (ast.Slice, ast.Tuple, ast.Compare)):
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node.operand
        else:
            yield ast.UnaryOp(ast.USub(), node)


_SWAPS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult), ast.Sub: (ast.Add, ast.Mult), ast.Mult: (ast.Div, ast.Add), ast.Div: (ast.Mult,),
}  # fmt: skip
_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip


def operators(node: ast.expr) -> Iterator[ast.expr]:
    """Another operator, or its operands exchanged, or transposed."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARED:
        yield ast.Compare(node.left, [_COMPARED[type(node.ops[0])]()], node.comparators)
    if isinstance(node, ast.BinOp):
        for other in _SWAPS.get(type(node.op), ()):
            yield ast.BinOp(node.left, other(), node.right)
        if isinstance(node.op, (ast.MatMult, ast.Sub, ast.Div)):
            yield ast.BinOp(node.right, node.op, node.left)
        if isinstance(node.op, ast.Mult):
            yield ast.BinOp(node.left, ast.MatMult(), node.right)
    product = _product(node)
    if product is not None:
        left, right, made = product
        turned, other_turned = _transposed(left), _transposed(right)
        yield made(right, left)
        for a, b in ((turned, right), (left, other_turned), (turned, other_turned)):
            yield made(a, b)
            yield made(b, a)


def _product(node: ast.expr) -> tuple[ast.expr, ast.expr, Callable[[ast.expr, ast.expr], ast.expr]] | None:
    """The operands of a matrix product, and what makes another product of the same form."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        return node.left, node.right, lambda a, b: ast.BinOp(a, ast.MatMult(), b)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.keywords):
        return None
    func, args = node.func, node.args
    if func.attr in ("dot", "matmul") and len(args) == 2:
        return args[0], args[1], lambda a, b: ast.Call(func, [a, b], [])
    if func.attr in ("dot", "matmul") and len(args) == 1:
        return func.value, args[0], lambda a, b: ast.Call(_attribute(a, func.attr), [b], [])
    return None


def reductions(node: ast.expr, ndim: int, names: Sequence[str]) -> Iterator[ast.expr]:
    """A sum instead of a mean and vice versa, other axes, a sum or mean added or removed."""
    axes = [*((k,) for k in range(ndim)), *((j, k) for j in range(ndim) for k in range(j + 1, ndim))]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("sum", "mean"):
        module, name = node.func.value, node.func.attr
        is_function = isinstance(module, ast.Name) and module.id not in names and bool(node.args)
        value = node.args[0] if is_function else module
        other = "mean" if name == "sum" else "sum"
        yield ast.Call(_attribute(module, other), node.args, node.keywords)
        yield value
        if any(k.arg == "keepdims" for k in node.keywords):
            yield ast.Call(node.func, node.args, [k for k in node.keywords if k.arg != "keepdims"])
        for reduction in (name, other):
            for axis in axes:
                for keepdims in (True, False):
                    if is_function:
                        call = reduced(module, reduction, axis, keepdims)
                        yield ast.Call(call.func, [value, *call.args], call.keywords)
                    else:
                        yield reduced(value, reduction, axis, keepdims)
    elif isinstance(node, (ast.BinOp, ast.Call)) or is_atom(node):
        for axis in axes:
            for name in ("sum", "mean"):
                yield reduced(node, name, axis, False)
                yield reduced(node, name, axis, True)


def reduced(node: ast.expr, name: str, axis: tuple[int, ...], keepdims: bool) -> ast.Call:
    """A sum or mean along axes."""
    axes: ast.expr = ast.Tuple([ast.Constant(k) for k in axis], ast.Load())
    keywords = [ast.keyword("axis", ast.Constant(axis[0]) if len(axis) == 1 else axes)]
    if keepdims:
        keywords.append(ast.keyword("keepdims", ast.Constant(True)))
    return ast.Call(_attribute(node, name), [], keywords)


def transposes(node: ast.expr) -> Iterator[ast.expr]:
    """The transpose, or what is transposed."""
    if isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        yield node.value
    elif _is_transpose(node):
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Attribute)
        is_function = isinstance(node.func.value, ast.Name) and node.func.value.id in ("np", "mg", "numpy")
        yield node.args[0] if is_function and node.args else node.func.value
    elif isinstance(node, ast.BinOp) or is_atom(node):
        yield _transposed(node)


def batch_transposes(node: ast.expr, values: Mapping[str, Any]) -> Iterator[ast.expr]:
    """The last two axes of a stack of matrices exchanged."""
    if is_atom(node) and is_plain(value := values.get(ast.unparse(node))) and np.ndim(value) > 2:
        yield ast.Call(_attribute(node, "swapaxes"), [ast.Constant(-1), ast.Constant(-2)], [])


def _is_transpose(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("transpose", "swapaxes")
    )


def operands(node: ast.expr) -> Iterator[ast.expr]:
    """Only one operand of an operation."""
    if isinstance(node, ast.BinOp):
        yield node.left
        yield node.right


def functions(node: ast.expr) -> Iterator[ast.expr]:
    """Only the argument of a function of one, such as a root or an exponential."""
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords and not is_size(node):
        yield node.args[0]


def indices(node: ast.expr) -> Iterator[ast.expr]:
    """A part of an array: without what is reversed, or with a border at both ends."""
    if isinstance(node, ast.Subscript) and _is_reversed(node.slice):
        yield node.value
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
        plain = [ast.Slice() if _is_reversed(part) else part for part in node.slice.elts]
        if any(_is_reversed(part) for part in node.slice.elts):
            yield ast.Subscript(node.value, ast.Tuple(plain, ast.Load()), ast.Load())
    if isinstance(node, ast.Slice) and node.lower is not None and node.upper is not None and node.step is None:
        for other in (ast.Add(), ast.Sub()):
            for one in (ast.Constant(1),):
                yield ast.Slice(ast.BinOp(node.lower, other, one), ast.BinOp(node.upper, other, one))


def borders(node: ast.expr, names: Sequence[str], values: Mapping[str, Any]) -> Iterator[ast.expr]:
    """The part of an axis that begins after a border, instead of at 0."""
    if isinstance(node, ast.Slice) and node.lower is None and node.upper is not None and node.step is None:
        for name in names:
            if type(values.get(name)) is int and name != ast.unparse(node.upper):
                yield ast.Slice(atom(name), ast.BinOp(atom(name), ast.Add(), node.upper))


def _is_reversed(node: ast.expr) -> bool:
    return isinstance(node, ast.Slice) and node.step is not None and number_of(node.step) == -1


def sizes(names: Sequence[str]) -> Iterator[ast.expr]:
    """The numbers of elements of values, along an axis or of all."""
    for name in names:
        yield ast.Call(ast.Name("len", ast.Load()), [atom(name)], [])
        yield ast.Subscript(_attribute(atom(name), "shape"), ast.Constant(-1), ast.Load())
        yield _attribute(atom(name), "size")


def multiples(node: ast.expr, other: str) -> Iterator[ast.expr]:
    """An expression times, divided by, or less something with a name."""
    yield ast.BinOp(node, ast.Mult(), atom(other))
    yield ast.BinOp(node, ast.Div(), atom(other))
    if ast.unparse(node) != other:
        yield ast.BinOp(node, ast.Sub(), atom(other))
        yield ast.BinOp(atom(other), ast.Sub(), node)
    rest = ast.BinOp(ast.Constant(1), ast.Sub(), atom(other))
    yield ast.BinOp(node, ast.Mult(), rest)
    yield ast.BinOp(node, ast.Div(), rest)


def slopes_added(node: ast.expr, v: str, value: Any) -> Iterator[ast.expr]:
    """An expression times the slope of a common function, whose value or argument is v."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return
    for slope in (
        f"(1 - {v}**2)", f"{v} * (1 - {v})", f"({v} > 0)", f"(1 - np.tanh({v})**2)", f"np.exp({v})", f"np.cos({v})",
        f"2 * {v}",
    ):  # fmt: skip
        yield ast.BinOp(node, ast.Mult(), ast.parse(slope, mode="eval").body)


def slopes(node: ast.expr, atoms: Sequence[ast.expr]) -> Iterator[ast.expr]:
    """Derivatives of common functions with the value v, instead of an expression in v alone, or in v and dv."""
    if not isinstance(node, ast.BinOp):
        return
    inner = {id(n) for n in ast.walk(node)}
    inside = {ast.unparse(a) for a in atoms if id(a) in inner}
    values = [*inside] if len(inside) == 1 else [v for v in sorted(inside) if inside == {v, f"d{v}"}]
    for v in values:
        upstream = f"d{v} * " if len(inside) == 2 else ""
        for slope in (f"(1 - {v}**2)", f"{v} * (1 - {v})", f"(1 - {v})", f"{v}", f"2 * {v}", f"{v}**2", f"({v} > 0)"):
            yield ast.parse(upstream + slope, mode="eval").body


def _transposed(node: ast.expr) -> ast.expr:
    """The transpose of an expression, without a double transpose."""
    return node.value if isinstance(node, ast.Attribute) and node.attr == "T" else _attribute(node, "T")


def _attribute(node: ast.expr, name: str) -> ast.Attribute:
    return ast.Attribute(copy.copy(node), name, ast.Load())
