"""A short tape as LaTeX, with the chain rule written out line by line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

from minigrad.engine.node import Node
from minigrad.engine.tape import Tape, listed
from minigrad.engine.tape_text import kept
from minigrad.symbols import Call, Expression, Name, Number, computed, shares
from minigrad.symbols.array import expression_of
from minigrad.symbols.expression import mapped
from minigrad.symbols.latex import Latex
from minigrad.symbols.writing import written

LONGEST = 60  # lines: more of them are nothing to be read
GRADIENT = "∂"  # before a name: the gradient of what bears it


class _Notation(Latex):
    """LaTeX, with gradients as partial derivatives of l."""

    def name(self, name: str) -> str:
        """A variable, or the gradient of one."""
        if name.startswith(GRADIENT):
            return rf"\frac{{\partial l}}{{\partial {super().name(name[1:])}}}"
        return super().name(name)


def to_latex(*outputs: Any) -> str:
    """A short tape as LaTeX: what each line computes, then the gradient of each line by the chain rule, backwards.

    A line without a name is called z with its place on the tape. l is the number that is differentiated; the gradient
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
            f"to_latex: {len(tape):,} lines are too many to be read, {LONGEST} are the most; write a part of the "
            "computation, or draw it folded: mg.draw(..., depth=1)"
        )
    called = _called(tape)
    forward = [_row(Name(called[line]), _value(line, called)) for line in tape if not line.is_leaf]
    gradients = _gradients(tape, called)
    backward = [_row(Name(GRADIENT + called[line]), total) for line, total in gradients]
    rows = " \\\\\n".join(forward) + (" \\\\[1ex]\n" if forward and backward else "") + " \\\\\n".join(backward)
    return f"\\begin{{align*}}\n{rows}\n\\end{{align*}}"


def _called(tape: Tape) -> dict[Node, str]:
    """The label or name of each line where no other has it, else z with its place."""
    given = {line: getattr(line, "label", None) or getattr(line, "name", None) for line in tape}
    taken = list(given.values())
    return {
        line: name if name is not None and taken.count(name) == 1 else f"z{k}"
        for k, (line, name) in enumerate(given.items(), 1)
    }


def _row(left: Expression, right: Expression) -> str:
    return f"{written(_Notation(), left)} &= {written(_Notation(), right)}"


def _value(line: Node, called: Mapping[Node, str]) -> Expression:
    """What a line computes from its operands."""
    if line.primitive.kind == "select":
        parent = line.parents[0]
        assert parent is not None
        return computed(line, [Name(called[parent])])
    pairs = zip(line.parents, kept(line), strict=True)
    return computed(line, [_constant(value) if p is None else Name(called[p]) for p, value in pairs])


def _constant(value: Any) -> Expression:
    return Name("const") if value is None else expression_of(value)


def _gradients(tape: Tape, called: Mapping[Node, str]) -> list[tuple[Node, Expression]]:
    """The sum of the shares that each line gets, in the order of the walk backwards."""
    arriving: dict[Node, list[Expression]] = {line: [Number(1)] for line in tape.outputs if line.shape == ()}
    found = []
    chosen = {(line.parents[0], line.params[0]): line for line in tape if not line.is_leaf and _selects(line)}
    for line in reversed(tape.lines):
        if line in arriving:
            found.append((line, reduce(lambda a, b: Call("add", (a, b)), arriving[line])))
        if line.is_leaf or _selects(line):
            continue
        v = GRADIENT + called[line]
        outputs = {f"{v}_{name}": chosen.get((line, k)) for k, name in enumerate(line.primitive.outputs)}
        for parent, share in zip(line.parents, shares(line, called, v=v), strict=True):
            if parent is not None:
                whole = Name(f"{line.primitive.name}.pull") if share is None else _with_outputs(share, outputs, called)
                arriving.setdefault(parent, []).append(whole)
    return found


def _selects(line: Node) -> bool:
    return line.primitive is not None and line.primitive.kind == "select"


def _with_outputs(e: Expression, outputs: Mapping[str, Node | None], called: Mapping[Node, str]) -> Expression:
    """A share with the gradients of several outputs by the names of the lines that select them; 0 for the others."""

    def change(part: Expression) -> Expression:
        if not isinstance(part, Name) or part.text not in outputs:
            return part
        line = outputs[part.text]
        return Number(0) if line is None else Name(GRADIENT + called[line])

    return mapped(e, change)
