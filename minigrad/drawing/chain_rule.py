"""A short tape as LaTeX, with the chain rule written out line by line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

from minigrad.engine.node import Node
from minigrad.engine.tape import Tape, listed
from minigrad.engine.tape_text import kept
from minigrad.symbols import Call, Expression, Name, Number, computed, contributions
from minigrad.symbols.expression import mapped
from minigrad.symbols.latex import Latex
from minigrad.symbols.notation import written
from minigrad.symbols.symbol import expression_of

LONGEST = 60  # nodes: more of them are nothing to be read
GRADIENT = "∂"  # before a name: the gradient of what bears it


class _Notation(Latex):
    """LaTeX, with gradients as partial derivatives of l."""

    def name(self, name: str) -> str:
        """A variable, or the gradient of one."""
        if name.startswith(GRADIENT):
            return rf"\frac{{\partial l}}{{\partial {super().name(name[1:])}}}"
        return super().name(name)


def to_latex(*outputs: Any) -> str:
    """A short tape as LaTeX: what each node computes, then the gradient of each node by the chain rule, backwards.

    A node without a name is called z with its place on the tape. l is the number that is differentiated; the gradient
    of an output that is none starts the chain.

    Args:
        *outputs: Tensors, or one Tape.

    Returns:
        An `align*` environment, for a document with the package amsmath.

    Raises:
        ValueError: no outputs are given, one was not computed from a Tensor with requires_grad=True, or the tape is too
            long to be read.

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
    if not outputs:
        raise ValueError("to_latex: nothing to write; give the Tensors whose computation you want to see")
    outputs = listed(outputs)
    tape = outputs[0] if len(outputs) == 1 and isinstance(outputs[0], Tape) else Tape(*outputs)
    if len(tape) > LONGEST:
        raise ValueError(
            f"to_latex: {len(tape):,} nodes are too many to be read, {LONGEST} are the most; write a part of the "
            "computation, or draw it folded: mg.draw(..., depth=1)"
        )
    called = _called(tape)
    forward = [_row(Name(called[node]), _value(node, called)) for node in tape if not node.is_leaf]
    gradients = _gradients(tape, called)
    backward = [_row(Name(GRADIENT + called[node]), total) for node, total in gradients]
    rows = " \\\\\n".join(forward) + (" \\\\[1ex]\n" if forward and backward else "") + " \\\\\n".join(backward)
    return f"\\begin{{align*}}\n{rows}\n\\end{{align*}}"


def _called(tape: Tape) -> dict[Node, str]:
    """The label or name of each node where no other has it, else z with its place."""
    given = {node: getattr(node, "label", None) or getattr(node, "name", None) for node in tape}
    taken = list(given.values())
    return {
        node: name if name is not None and taken.count(name) == 1 else f"z{k}"
        for k, (node, name) in enumerate(given.items(), 1)
    }


def _row(left: Expression, right: Expression) -> str:
    return f"{written(_Notation(), left)} &= {written(_Notation(), right)}"


def _value(node: Node, called: Mapping[Node, str]) -> Expression:
    """What a node computes from its operands."""
    if node.primitive.kind == "select":
        parent = node.parents[0]
        assert parent is not None
        return computed(node, [Name(called[parent])])
    pairs = zip(node.parents, kept(node), strict=True)
    return computed(node, [_constant(value) if p is None else Name(called[p]) for p, value in pairs])


def _constant(value: Any) -> Expression:
    return Name("const") if value is None else expression_of(value)


def _gradients(tape: Tape, called: Mapping[Node, str]) -> list[tuple[Node, Expression]]:
    """The sum of the contributions that each node gets, in the order of the walk backwards."""
    arriving: dict[Node, list[Expression]] = {node: [Number(1)] for node in tape.outputs if node.shape == ()}
    found = []
    chosen = {(node.parents[0], node.params[0]): node for node in tape if not node.is_leaf and _selects(node)}
    for node in reversed(tape.nodes):
        if node in arriving:
            found.append((node, reduce(lambda a, b: Call("add", (a, b)), arriving[node])))
        if node.is_leaf or _selects(node):
            continue
        v = GRADIENT + called[node]
        outputs = {f"{v}_{name}": chosen.get((node, k)) for k, name in enumerate(node.primitive.outputs)}
        for parent, contribution in zip(node.parents, contributions(node, called, v=v), strict=True):
            if parent is not None:
                whole = (
                    Name(f"{node.primitive.name}.pull")
                    if contribution is None
                    else _with_outputs(contribution, outputs, called)
                )
                arriving.setdefault(parent, []).append(whole)
    return found


def _selects(node: Node) -> bool:
    return node.primitive is not None and node.primitive.kind == "select"


def _with_outputs(e: Expression, outputs: Mapping[str, Node | None], called: Mapping[Node, str]) -> Expression:
    """A contribution, with each output's gradient by the name of the node that selects it; 0 for the others."""

    def change(part: Expression) -> Expression:
        if not isinstance(part, Name) or part.text not in outputs:
            return part
        node = outputs[part.text]
        return Number(0) if node is None else Name(GRADIENT + called[node])

    return mapped(e, change)
