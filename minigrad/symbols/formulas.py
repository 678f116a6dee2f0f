"""What the rules of a primitive, or of one node of a tape, compute: the rule itself, run on symbols."""

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
from minigrad.symbols.array import Index, Symbol, evaluated, expression_of, intercepting, like
from minigrad.symbols.expression import Call, Expression, Name, Number, mapped
from minigrad.symbols.latex import latex
from minigrad.symbols.writing import text

# What a primitive is shown on: sizes and parameters of no importance, tried until its rule runs on them.
SIZE = 7
SHAPES: list[tuple[int, ...]] = [(SIZE, SIZE), (3, 3), (1, SIZE, SIZE, SIZE), (SIZE,), ()]
STATIC: dict[str, list[Any]] = {
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
    """What the rule of an operand computes, in the letters of the rule.

    Shapes are left out: N is the number of elements that are reduced, and axes of size 1 are not shown.

    Args:
        primitive: a primitive, the function that records it, or its name.
        operand: its name or its position.
        as_latex: LaTeX in place of text.
        v: the name of the vector that the rule is applied to; for several outputs, of what theirs begin with.

    Raises:
        ValueError: there is no such operand, or it has no derivative.

    Example:
        >>> from minigrad.ops.elementwise import divide, tanh
        >>> formula(tanh), formula(divide, "y"), formula("matmul", "x")
        ('v · (1 − tanh(x)²)', '−v · out / y', 'v @ yᵀ')
    """
    p = REGISTRY[primitive] if isinstance(primitive, str) else getattr(primitive, "primitive", primitive)
    k = _position(p, operand)
    contribution = _in_general(p, k, v)
    return _by_name(p, k, v) if contribution is None else _shown(contribution, as_latex)


def _in_general(p: Primitive, k: int, v: str) -> Expression | None:
    """What the rule of operand k makes of an example, None if there is no rule that could be shown."""
    if not p.joint and p.rules[k] is None:
        return None
    for known in _examples(p):
        contribution = share_of(p, k, known, _vector(p, known, v))
        if contribution is not None:
            return mapped(contribution.expression, _counted)
    return None


def local_derivatives(
    node: Node, shown: Mapping[Node, str] | None = None, *, as_latex: bool = False, v: str = "v"
) -> dict[str, str]:
    """What a node of a tape hands to each of its operands, in the user's own names.

    Args:
        node: of a tape.
        shown: how nodes are called, as `minigrad.engine.tape_text.names` gives them; by default the names that the
            node and its parents have, and the rule's own letters for those without.
        as_latex: LaTeX in place of text.
        v: the name of the cotangent of the node.

    Returns:
        for each operand that is on the tape the contribution that it gets: summed over the axes along which it was
        broadcast, with the numbers that were constants.

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
    """The contribution of each parent of a node, None for a constant, and where the rule has no formula."""
    p = node.primitive
    shown = _names(node) if shown is None else shown
    known = _of_node(node, shown)
    vector = _vector(p, known, v)
    found: list[Expression | None] = []
    for k, parent in enumerate(node.parents):
        contribution = None if parent is None else share_of(p, k, known, vector)
        if parent is None:
            found.append(None)
        elif contribution is None or (
            p.kind != "elementwise" and contribution.shape != parent.shape and node.residuals is None
        ):
            found.append(_renamed(node, _in_general(p, 0 if p.sequence else k, v), shown))
        else:
            found.append(
                (
                    contribution if contribution.shape == parent.shape else unbroadcast(contribution, parent.shape)
                ).expression
            )
    return found


def _renamed(node: Node, e: Expression | None, shown: Mapping[Node, str]) -> Expression | None:
    """A general formula with the names of a node, whose constants are not known."""
    if e is None:
        return None
    p = node.primitive
    letters = [f"arrays[{k}]" for k in range(len(node.parents))] if p.sequence else p.operands
    given = {
        x: "const" if parent is None else shown.get(parent, x) for x, parent in zip(letters, node.parents, strict=True)
    }
    given |= {"out": shown.get(node, "out")}
    return mapped(e, lambda part: Name(given.get(part.text, part.text)) if isinstance(part, Name) else part)


def computed(node: Node, operands: Sequence[Expression]) -> Expression:
    """What a node computes, from the expressions of its operands: infix, √ and superscripts when it is written."""
    p = node.primitive
    if p.kind == "select":
        parent = node.parents[0]
        assert parent is not None
        return Call("select", tuple(operands), (parent.primitive.outputs[node.params[0]],))
    if p.name == "getitem":
        inside = brief(node.params[0])
        return Call("getitem", tuple(operands), (inside[1:-1].rstrip(",") if inside.startswith("(") else inside,))
    details = (re.sub(r"^axis=\((\d+),\)$", r"axis=\1", part) for part in params_text(node))
    return Call(p.name, tuple(operands), tuple(details))


def share_of(p: Primitive, k: int, known: Mapping[str, Any], v: Any) -> Symbol | None:
    """The rule of operand k run on v and on what it names; None where it cannot run on symbols, whatever the reason."""
    place = 0 if p.sequence else k
    known = {**known, "i": k, "needs_grad": [j == k for j in range(len(p.operands))]}
    rule: Any = p.joint or p.rules[place]
    try:
        with intercepting():
            contribution = rule(v, *(known[name] for name in (p.joint_names if p.joint else p.names[place])))
            contribution = contribution[k] if p.joint else contribution
    except Exception:
        return None
    if contribution is None:  # a joint rule says so of an operand without derivative
        return Symbol(Number(0), known[p.operands[k]].shape)
    return contribution if isinstance(contribution, Symbol) else like(expression_of(contribution), contribution)


def _shown(e: Expression, as_latex: bool) -> str:
    return latex(e) if as_latex else text(e)


def _by_name(p: Primitive, k: int, v: str) -> str:
    """A rule that cannot run on symbols, by its name and what it names."""
    given = p.joint_names if p.joint else p.names[k]
    return f"{p.name}.pull_{p.operands[k]}({', '.join([v, *given])})"


def _vector(p: Primitive, known: Mapping[str, Any], v: str) -> Any:
    """The cotangent: of several outputs a tuple of theirs, v_y and so on."""
    if not p.outputs:
        return Symbol(Name(v), known["out"].shape, known["out"].dtype)
    return tuple(Symbol(Name(f"{v}_{name}"), known[name].shape, known[name].dtype) for name in p.outputs)


def _of_node(node: Node, shown: Mapping[Node, str]) -> dict[str, Any]:
    """What the rules of a node may name, as symbols that bear the user's names."""
    p = node.primitive
    known: dict[str, Any] = dict(zip(p.param_names, node.params, strict=True))
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
    known |= {"arrays": tuple(operands)} if p.sequence else dict(zip(letters, operands, strict=True))
    for letter, parent in zip(letters, node.parents, strict=True):
        if parent is not None:
            known |= {f"{letter}_shape": parent.shape, f"{letter}_dtype": parent.dtype}
    if p.outputs:
        made = zip(p.outputs, node.shape, node.dtype, strict=True)
        return known | {name: Symbol(Name(name), shape, dtype) for name, shape, dtype in made}
    return known | {"out": Symbol(Name(shown.get(node, "out")), node.shape, node.dtype)}


def _names(node: Node) -> dict[Node, str]:
    """The names that the user gave to a node and its parents."""
    nodes = list(dict.fromkeys([*(parent for parent in node.parents if parent is not None), node]))
    return {part: name for part, name in names(nodes).items() if getattr(part, "name", None)}


def _position(p: Primitive, operand: str | int) -> int:
    k = p.operands.index(operand) if operand in p.operands else operand
    if not isinstance(k, int) or not 0 <= k < len(p.operands):
        raise ValueError(f"{p.name}{p.signature} has no operand {operand!r}")
    if not p.joint and (not p.rules or p.rules[k] is None):
        raise ValueError(f"{p.name}{p.signature}: no derivative flows through {p.operands[k]}")
    return k


def _examples(p: Primitive) -> Iterator[dict[str, Any]]:
    """What the rules of a primitive may name, for operands of some shapes that go together."""
    options = [q.default for name, q in p.signature.parameters.items() if name in p.param_names]
    choices = [
        STATIC.get(name, [None]) if default is inspect.Parameter.empty else [default]
        for name, default in zip(p.param_names, options, strict=True)
    ]
    count = 2 if p.sequence else len(p.operands)
    letters = ["arrays[0]", "arrays[1]"] if p.sequence else p.operands
    tried: Any = [p.example_shapes(SIZE)] if p.example_shapes else combinations(SHAPES, repeat=count)
    for shapes in sorted(tried, key=lambda shapes: len(set(shapes))):
        for kind, static_values in combinations((np.float64, np.intp), combinations(*choices)):
            kinds = [np.float64] * (count - 1) + [kind]
            static_known = dict(zip(p.param_names, static_values, strict=True))
            operands = [Symbol(Name(x), *what) for x, *what in zip(letters, shapes, kinds, strict=True)]
            try:
                value = evaluated(p.function, [tuple(operands)] if p.sequence else operands, static_known)
            except Exception:
                continue  # these shapes do not go together
            made: dict[str, Any] = (
                {"arrays": tuple(operands)} if p.sequence else dict(zip(letters, operands, strict=True))
            )
            for x, shape in zip(letters, shapes, strict=True):
                made |= {f"{x}_shape": shape, f"{x}_dtype": np.dtype(np.float64)}
            parts = zip(p.outputs, value, strict=True) if p.outputs else [("out", value)]
            yield static_known | made | {name: like(Name(name), part) for name, part in parts}


def _counted(e: Expression) -> Expression:
    """N for the number of elements in an example."""
    if not isinstance(e, Number) or abs(e.value) not in (SIZE, SIZE * SIZE):
        return e
    return Call("negative", (Name("N"),)) if e.value < 0 else Name("N")
