"""The tape as a table, for terminals."""

from __future__ import annotations

from typing import Any

from minigrad.drawing import number_text
from minigrad.drawing.describe import describe
from minigrad.drawing.model import Graph, Vertex
from minigrad.drawing.printable import printable
from minigrad.engine.primitive import value_of
from minigrad.engine.tape import Tape, listed


def tape_table(*outputs: Any, values: bool = False, grads: Any = False, formulas: bool = False) -> str:
    """The tape as text: a Wengert list with values, gradients and their contributions.

    Args:
        *outputs: Tensors, or one Tape.
        values: mean ± standard deviation, least and largest element of each value.
        grads: the norm of the gradient at each node, and of the contribution to each operand; or the gradients of the
            outputs to start from, ±1 at random if they are not numbers.
        formulas: the contribution of each operand as a formula, for a gradient v of the line.

    Returns:
        One line of text for each line of the tape, in columns, and notes below it.

    Raises:
        ValueError: no outputs are given, or one was not computed from a Tensor with requires_grad=True.

    Example:
        >>> import minigrad as mg
        >>> x = mg.Tensor([3.0, 4.0], requires_grad=True).named("x")
        >>> print(tape_table((x * x).sum(), values=True, grads=True))
        1  x   leaf            (2,)  3.5 ± 0.5 [3, 4]   ‖grad‖ 10
        2  %2  multiply(x, x)  (2,)  12 ± 3.5 [9, 16]   ‖grad‖ 1.4  x: 5, x: 5
        3  %3  sum(%2)         ()    25                 ‖grad‖ 1    %2: 1.4
    """
    if not outputs:
        raise ValueError("tape_table: nothing to show; give the Tensors whose computation you want to see")
    outputs = listed(outputs)
    tape = outputs[0] if len(outputs) == 1 and isinstance(outputs[0], Tape) else Tape(*outputs)
    known = {t.node: value_of(t) for t in outputs if not isinstance(t, Tape)}
    graph = describe(tape, known=known, values=values, grads=grads, formulas=formulas)
    return _written(graph)


def _written(graph: Graph) -> str:
    """The columns, each as wide as it must be."""
    lines = [vertex for vertex in graph.vertices if vertex.place]
    called = {vertex.key: vertex.variable for vertex in lines}
    contributions: dict[str, list[str]] = {}
    for edge in graph.edges:
        parts = [
            edge.formula,
            "" if edge.contribution is None else number_text.number(edge.contribution),
            edge.born and "born here",
        ]
        if what := " ".join(part for part in parts if part):
            contributions.setdefault(edge.target, []).append(f"{called[edge.source]}: {what}")
    rows = [[*_row(vertex, graph), ", ".join(contributions.get(vertex.key, []))] for vertex in lines]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    text = [
        "  ".join(
            cell.rjust(width) if k == 0 else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*text, *map(printable, graph.notes)])


def _row(vertex: Vertex, graph: Graph) -> list[str]:
    """The cells of a line but the last."""
    born = f" {vertex.born} born here" if vertex.born else ""
    return [
        str(vertex.place),
        printable(vertex.variable),
        printable(vertex.call),
        vertex.shape,
        "" if vertex.dtype == graph.dtype else vertex.dtype,
        "" if vertex.values is None else number_text.values(vertex.values).replace("  ", " ") + born,
        "" if vertex.gradient is None else number_text.gradient(vertex.gradient),
    ]
