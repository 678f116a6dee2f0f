"""A short tape as LaTeX, with the chain rule written out node by node."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

from minigrad.drawing.graph.describe import tape_of
from minigrad.engine.node import Node
from minigrad.engine.tape import Tape
from minigrad.engine.tape_text import kept
from minigrad.symbols import Call, Expression, Name, Number, computed, contributions
from minigrad.symbols.expression import mapped
from minigrad.symbols.latex import Latex
from minigrad.symbols.notation import written
from minigrad.symbols.symbol import expression_of

LONGEST = 60  # nodes; more of them cannot be read
GRADIENT = "∂"  # before a name: the gradient with respect to it


class _Notation(Latex):
    """LaTeX that writes gradients as partial derivatives of l."""

    def name(self, name: str) -> str:
        """A variable, or the gradient of one."""
        if name.startswith(GRADIENT):
            return rf"\frac{{\partial l}}{{\partial {super().name(name[1:])}}}"
        return super().name(name)


def to_latex(*outputs: Any) -> str:
    """A short tape as LaTeX: the value of each node, then the gradient of each node by the chain rule, backwards.

    A node without a name is called z with its place on the tape. l is the number that is differentiated; if an output
    is not a number, the chain starts from its gradient.

    Args:
        *outputs: Tensors, or one Tape.

    Returns:
        An `align*` environment, for a document with the package amsmath.

    Raises:
        ValueError: no outputs are given, one was not computed from a Tensor with requires_grad=True, or the tape is too
            long to read.

    Example:
        >>> import minigrad as mg
        >>> x = mg.Tensor([3.0, 4.0], requires_grad=True).named("x")
        >>> print(to_latex(mg.tanh(x * 2.0)))
        \\begin{align*}
        z_{2} &= x \\cdot 2 \\\\
        z_{3} &= \\tanh(z_{2}) \\\\[1ex]
        \\frac{\\partial l}{\\partial z_{2}} &= \\frac{\\partial l}{\\partial z_{3}} \\cdot (1 - \\tanh(z_{2})^{2}) \\\\
        \\frac{\\partial l}{\\partial x} &= \\frac{\\partial l}{\\partial z_{2}} \\cdot 2
        \\end{align*}
    """
    tape, _ = tape_of("to_latex", outputs)
    if len(tape) > LONGEST:
        raise ValueError(
            f"to_latex: {len(tape):,} nodes are too many to read (the limit is {LONGEST}); write a part of the "
            "computation, or draw it folded: mg.draw(..., depth=1)"
        )
    names = _names(tape)
    forward = [_equation(Name(names[node]), _value(node, names)) for node in tape if not node.is_leaf]
    gradients = _gradients(tape, names)
    backward = [_equation(Name(GRADIENT + names[node]), total) for node, total in gradients]
    rows = " \\\\\n".join(forward) + (" \\\\[1ex]\n" if forward and backward else "") + " \\\\\n".join(backward)
    return f"\\begin{{align*}}\n{rows}\n\\end{{align*}}"


def _names(tape: Tape) -> dict[Node, str]:
    """The label or name of each node if it is unique, otherwise z with the node's place."""
    labels = {node: getattr(node, "label", None) or getattr(node, "name", None) for node in tape}
    all_labels = list(labels.values())
    return {
        node: label if label is not None and all_labels.count(label) == 1 else f"z{k}"
        for k, (node, label) in enumerate(labels.items(), 1)
    }


def _equation(left: Expression, right: Expression) -> str:
    return f"{written(_Notation(), left)} &= {written(_Notation(), right)}"


def _value(node: Node, names: Mapping[Node, str]) -> Expression:
    """The value of a node as an expression of its operands."""
    if node.primitive.kind == "select":
        parent = node.parents[0]
        assert parent is not None
        return computed(node, [Name(names[parent])])
    pairs = zip(node.parents, kept(node), strict=True)
    return computed(node, [_constant(value) if p is None else Name(names[p]) for p, value in pairs])


def _constant(value: Any) -> Expression:
    return Name("const") if value is None else expression_of(value)


def _gradients(tape: Tape, names: Mapping[Node, str]) -> list[tuple[Node, Expression]]:
    """The gradient of each node as the sum of its contributions, in the order of the walk backwards."""
    arrived: dict[Node, list[Expression]] = {node: [Number(1)] for node in tape.outputs if node.shape == ()}
    gradients = []
    selectors = {(node.parents[0], node.params[0]): node for node in tape if not node.is_leaf and _selects(node)}
    for node in reversed(tape.nodes):
        if node in arrived:
            gradients.append((node, reduce(lambda a, b: Call("add", (a, b)), arrived[node])))
        if node.is_leaf or _selects(node):
            continue
        v = GRADIENT + names[node]
        outputs = {f"{v}_{name}": selectors.get((node, k)) for k, name in enumerate(node.primitive.outputs)}
        for parent, contribution in zip(node.parents, contributions(node, names, v=v), strict=True):
            if parent is not None:
                if contribution is None:
                    term: Expression = Name(f"{node.primitive.name}.pull")
                else:
                    term = _with_output_gradients(contribution, outputs, names)
                arrived.setdefault(parent, []).append(term)
    return gradients


def _selects(node: Node) -> bool:
    return node.primitive is not None and node.primitive.kind == "select"


def _with_output_gradients(e: Expression, outputs: Mapping[str, Node | None], names: Mapping[Node, str]) -> Expression:
    """A contribution that names the gradient of each output after the node that selects it; 0 for other outputs."""

    def change(part: Expression) -> Expression:
        if not isinstance(part, Name) or part.text not in outputs:
            return part
        node = outputs[part.text]
        return Number(0) if node is None else Name(GRADIENT + names[node])

    return mapped(e, change)
