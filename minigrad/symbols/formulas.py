"""Formulas of the rules of a primitive, or of one node of a tape: the rule itself, run on symbols."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product as combinations
from typing import Any

import numpy as np

from minigrad.engine.node import Node
from minigrad.engine.primitive import REGISTRY, Primitive
from minigrad.engine.specialize import unbroadcast
from minigrad.engine.tape_text import brief, kept, names, params_text
from minigrad.symbols.expression import Call, Expression, Name, Number, mapped
from minigrad.symbols.latex import latex
from minigrad.symbols.notation import text
from minigrad.symbols.symbol import Index, Symbol, evaluated, expression_of, intercepting, like

# Example operands and parameters for general formulas. They are tried until the rule runs on them.
SIZE = 7
SHAPES: list[tuple[int, ...]] = [(SIZE, SIZE), (3, 3), (1, SIZE, SIZE, SIZE), (SIZE,), ()]
PARAMS: dict[str, list[Any]] = {
    "axis": [0, -1],
    "axes": [(1, 0), (0, 1), (1, 2)],
    "index": [Index((slice(None),))],
    "shape": [(3, SIZE, SIZE), (SIZE * SIZE,)],
    "shift": [1],
    "stops": [(0, SIZE, 2 * SIZE)],
    "widths": [((1, 1), (1, 1))],
    "dtype": [np.dtype(np.float32)],
    "keepdims": [False],
    "spec": ["ij,jk->ik", "ii->i"],
    "rtol": [None],
    "ord": [2],
    "window": [(1, 1)],
    "stride": [(1, 1)],
    "dilation": [(1, 1)],
    "padding": [((0, 0), (0, 0))],
    "groups": [1],
    "count_include_pad": [True],
    "size": [(SIZE, SIZE), (SIZE, 2 * SIZE - 1)],
}


def formula(primitive: Any, operand: str | int = 0, *, as_latex: bool = False, v: str = "v") -> str:
    """The formula of an operand's rule, with the rule's own parameter names.

    Shapes are omitted: N is the number of reduced elements, and axes of size 1 are not shown.

    Args:
        primitive: a primitive, the function that records it, or its name.
        operand: its name or its position.
        as_latex: LaTeX instead of text.
        v: the name of the cotangent; for several outputs, the prefix of the names of their cotangents.

    Raises:
        ValueError: the primitive has no such operand, or no derivative with respect to it.

    Example:
        >>> from minigrad.ops.elementwise import divide, tanh
        >>> formula(tanh), formula(divide, "y"), formula("matmul", "x")
        ('v · (1 − tanh(x)²)', '−v · out / y', 'v @ yᵀ')
    """
    p = REGISTRY[primitive] if isinstance(primitive, str) else getattr(primitive, "primitive", primitive)
    k = _operand_index(p, operand)
    contribution = _in_general(p, k, v)
    return _by_name(p, k, v) if contribution is None else _shown(contribution, as_latex)


def _in_general(p: Primitive, k: int, v: str) -> Expression | None:
    """The rule of operand k applied to example operands; None if there is no rule, or it does not run on symbols."""
    if not p.joint and p.rules[k] is None:
        return None
    for names_in_rule in _examples(p):
        contribution = rule_on_symbols(p, k, names_in_rule, _cotangent(p, names_in_rule, v))
        if contribution is not None:
            return mapped(contribution.expression, _counted)
    return None


def local_derivatives(
    node: Node, shown: Mapping[Node, str] | None = None, *, as_latex: bool = False, v: str = "v"
) -> dict[str, str]:
    """The contribution of a node of a tape to each of its operands, with the user's names.

    Args:
        node: of a tape.
        shown: names of nodes, as `minigrad.engine.tape_text.names` returns them; by default the names that the user
            gave to the node and its parents, and the rule's own parameter names for the others.
        as_latex: LaTeX instead of text.
        v: the name of the cotangent of the node.

    Returns:
        for each operand on the tape its contribution, summed over the axes along which the operand was broadcast.
        Constants are shown as numbers.

    Example:
        >>> import minigrad as mg
        >>> w = mg.Tensor([1.0, 2.0], requires_grad=True).named("w")
        >>> y = np.tanh(w * 3.0).named("y")
        >>> local_derivatives(y.node), local_derivatives(y.node.parents[0])
        ({'x': 'v · (1 − tanh(x)²)'}, {'x': 'v · 3'})
    """
    p = node.primitive
    if p is None:
        return {}
    if p.kind == "select":
        parent = node.parents[0]
        assert parent is not None
        return {parent.primitive.outputs[node.params[0]]: v}
    return {
        f"arrays[{k}]" if p.sequence else p.operands[k]: (
            _by_name(p, 0 if p.sequence else k, v) if contribution is None else _shown(contribution, as_latex)
        )
        for k, contribution in enumerate(contributions(node, shown, v=v))
        if node.parents[k] is not None
    }


def contributions(node: Node, shown: Mapping[Node, str] | None = None, *, v: str = "v") -> list[Expression | None]:
    """The contribution to each parent of a node; None for a constant, or if the rule has no formula."""
    p = node.primitive
    shown = _names(node) if shown is None else shown
    names_in_rule = _names_in_rule(node, shown)
    cotangent = _cotangent(p, names_in_rule, v)
    expressions: list[Expression | None] = []
    for k, parent in enumerate(node.parents):
        if parent is None:
            expressions.append(None)
            continue
        contribution = rule_on_symbols(p, k, names_in_rule, cotangent)
        is_released = p.kind != "elementwise" and node.residuals is None
        if contribution is None or (is_released and contribution.shape != parent.shape):
            expressions.append(_renamed(node, _in_general(p, 0 if p.sequence else k, v), shown))
        elif contribution.shape == parent.shape:
            expressions.append(contribution.expression)
        else:
            expressions.append(unbroadcast(contribution, parent.shape).expression)
    return expressions


def _renamed(node: Node, e: Expression | None, shown: Mapping[Node, str]) -> Expression | None:
    """A general formula with the names of a node, for a node whose constants are no longer known."""
    if e is None:
        return None
    p = node.primitive
    letters = [f"arrays[{k}]" for k in range(len(node.parents))] if p.sequence else p.operands
    new_names = {
        x: "const" if parent is None else shown.get(parent, x) for x, parent in zip(letters, node.parents, strict=True)
    }
    new_names |= {"out": shown.get(node, "out")}
    return mapped(e, lambda part: Name(new_names.get(part.text, part.text)) if isinstance(part, Name) else part)


def computed(node: Node, operands: Sequence[Expression]) -> Expression:
    """The value of a node as an expression of its operands' expressions."""
    p = node.primitive
    if p.kind == "select":
        parent = node.parents[0]
        assert parent is not None
        return Call("select", tuple(operands), (parent.primitive.outputs[node.params[0]],))
    if p.name == "getitem":
        index = brief(node.params[0])
        return Call("getitem", tuple(operands), (index[1:-1].rstrip(",") if index.startswith("(") else index,))
    details = (re.sub(r"^axis=\((\d+),\)$", r"axis=\1", part) for part in params_text(node))
    return Call(p.name, tuple(operands), tuple(details))


def rule_on_symbols(p: Primitive, k: int, names_in_rule: Mapping[str, Any], v: Any) -> Symbol | None:
    """The rule of operand k applied to v and to the values of its other parameters; None if it fails on symbols."""
    rule_index = 0 if p.sequence else k
    arguments = {**names_in_rule, "i": k, "needs_grad": [j == k for j in range(len(p.operands))]}
    rule: Any = p.joint or p.rules[rule_index]
    try:
        with intercepting():
            contribution = rule(v, *(arguments[name] for name in (p.joint_names if p.joint else p.names[rule_index])))
            contribution = contribution[k] if p.joint else contribution
    except Exception:
        return None
    if contribution is None:  # returned by a joint rule for an operand without derivative
        return Symbol(Number(0), arguments[p.operands[k]].shape)
    return contribution if isinstance(contribution, Symbol) else like(expression_of(contribution), contribution)


def _shown(e: Expression, as_latex: bool) -> str:
    return latex(e) if as_latex else text(e)


def _by_name(p: Primitive, k: int, v: str) -> str:
    """A rule that does not run on symbols, as a call: convolve.pull_x(v, kernel, ...)."""
    parameters = p.joint_names if p.joint else p.names[k]
    return f"{p.name}.pull_{p.operands[k]}({', '.join([v, *parameters])})"


def _cotangent(p: Primitive, names_in_rule: Mapping[str, Any], v: str) -> Any:
    """A symbol for the cotangent; for several outputs a tuple of symbols, v_y and so on."""
    if not p.outputs:
        return Symbol(Name(v), names_in_rule["out"].shape, names_in_rule["out"].dtype)
    outputs = [(name, names_in_rule[name]) for name in p.outputs]
    return tuple(Symbol(Name(f"{v}_{name}"), out.shape, out.dtype) for name, out in outputs)


def _names_in_rule(node: Node, shown: Mapping[Node, str]) -> dict[str, Any]:
    """The values of all parameters that the rules of a node may have: symbols with the user's names."""
    p = node.primitive
    values: dict[str, Any] = dict(zip(p.param_names, node.params, strict=True))
    letters = [f"arrays[{k}]" for k in range(len(node.parents))] if p.sequence else p.operands
    operands = []
    for letter, parent, value in zip(letters, node.parents, kept(node), strict=True):
        if parent is not None:
            operands.append(Symbol(Name(shown.get(parent, letter)), parent.shape, parent.dtype))
        elif value is None:
            operands.append(Symbol(Name("const"), () if p.outputs else node.shape))
        elif np.ndim(value) == 0:
            operands.append(value.item() if hasattr(value, "item") else value)
        else:
            operands.append(like(expression_of(value), value))
    values |= {"arrays": tuple(operands)} if p.sequence else dict(zip(letters, operands, strict=True))
    for letter, parent in zip(letters, node.parents, strict=True):
        if parent is not None:
            values |= {f"{letter}_shape": parent.shape, f"{letter}_dtype": parent.dtype}
    if p.outputs:
        outputs = zip(p.outputs, node.shape, node.dtype, strict=True)
        return values | {name: Symbol(Name(name), shape, dtype) for name, shape, dtype in outputs}
    return values | {"out": Symbol(Name(shown.get(node, "out")), node.shape, node.dtype)}


def _names(node: Node) -> dict[Node, str]:
    """The names that the user gave to a node and its parents."""
    nodes = list(dict.fromkeys([*(parent for parent in node.parents if parent is not None), node]))
    return {part: name for part, name in names(nodes).items() if getattr(part, "name", None)}


def _operand_index(p: Primitive, operand: str | int) -> int:
    k = p.operands.index(operand) if operand in p.operands else operand
    if not isinstance(k, int) or not 0 <= k < len(p.operands):
        raise ValueError(f"{p.name}{p.signature} has no operand {operand!r}")
    if not p.joint and (not p.rules or p.rules[k] is None):
        raise ValueError(f"{p.name}{p.signature}: no derivative flows through {p.operands[k]}")
    return k


def _examples(p: Primitive) -> Iterator[dict[str, Any]]:
    """The values of all parameters that the rules of a primitive may have, for operands whose shapes fit."""
    defaults = [q.default for name, q in p.signature.parameters.items() if name in p.param_names]
    choices = [
        PARAMS.get(name, [None]) if default is inspect.Parameter.empty else [default]
        for name, default in zip(p.param_names, defaults, strict=True)
    ]
    count = 2 if p.sequence else len(p.operands)
    letters = ["arrays[0]", "arrays[1]"] if p.sequence else p.operands
    candidates: Any = [p.example_shapes(SIZE)] if p.example_shapes else combinations(SHAPES, repeat=count)
    for shapes in sorted(candidates, key=lambda shapes: len(set(shapes))):
        for last_dtype, param_values in combinations((np.float64, np.intp), combinations(*choices)):
            dtypes = [np.float64] * (count - 1) + [last_dtype]
            params = dict(zip(p.param_names, param_values, strict=True))
            operands = [Symbol(Name(x), *spec) for x, *spec in zip(letters, shapes, dtypes, strict=True)]
            try:
                value = evaluated(p.function, [tuple(operands)] if p.sequence else operands, params)
            except Exception:
                continue  # these shapes do not fit
            values: dict[str, Any] = (
                {"arrays": tuple(operands)} if p.sequence else dict(zip(letters, operands, strict=True))
            )
            for x, shape in zip(letters, shapes, strict=True):
                values |= {f"{x}_shape": shape, f"{x}_dtype": np.dtype(np.float64)}
            outputs = zip(p.outputs, value, strict=True) if p.outputs else [("out", value)]
            yield params | values | {name: like(Name(name), out) for name, out in outputs}


def _counted(e: Expression) -> Expression:
    """N instead of the number of elements in an example."""
    if not isinstance(e, Number) or abs(e.value) not in (SIZE, SIZE * SIZE):
        return e
    return Call("negative", (Name("N"),)) if e.value < 0 else Name("N")
