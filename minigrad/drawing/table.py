"""The tape as a table, for terminals."""

from __future__ import annotations

from typing import Any

from minigrad.drawing.graph.describe import describe, tape_of
from minigrad.drawing.graph.model import Graph, Vertex
from minigrad.drawing.render.style import gradient_caption, printable, short_number, value_caption
from minigrad.util.report import table


def tape_table(*outputs: Any, values: bool = False, grads: Any = False, formulas: bool = False) -> str:
    """The tape as text: a Wengert list with values, gradients and contributions.

    Args:
        *outputs: Tensors, or one Tape.
        values: show mean ± standard deviation and the extremes of each value.
        grads: show the norm of the gradient at each node, and of the contribution to each operand. Instead of True, the
            gradients of the outputs to start from; for True they are ±1 at random, or 1 for a number.
        formulas: show the contribution to each operand as a formula, for a gradient v of the node.

    Returns:
        One row for each node of the tape, and notes below them.

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
    tape, known = tape_of("tape_table", outputs)
    return _text(describe(tape, known=known, values=values, grads=grads, formulas=formulas))


def _text(graph: Graph) -> str:
    vertices = [vertex for vertex in graph.vertices if vertex.place]
    variables = {vertex.key: vertex.variable for vertex in vertices}
    contributions: dict[str, list[str]] = {}
    for edge in graph.edges:
        parts = [
            edge.formula,
            "" if edge.contribution is None else short_number(edge.contribution),
            edge.arises and "arises here",
        ]
        if contribution := " ".join(part for part in parts if part):
            contributions.setdefault(edge.target, []).append(f"{variables[edge.source]}: {contribution}")
    width = len(str(len(vertices)))
    rows = [[str(v.place).rjust(width), *_cells(v, graph), ", ".join(contributions.get(v.key, []))] for v in vertices]
    is_filled = [any(row[k] for row in rows) for k in range(len(rows[0]))]
    filled = [[cell for cell, is_in in zip(row, is_filled, strict=True) if is_in] for row in rows]
    return "\n".join([*table(filled, indent=""), *map(printable, graph.notes)])


def _cells(vertex: Vertex, graph: Graph) -> list[str]:
    """The cells of a row between the place and the contributions."""
    arises = f" {vertex.arises} arises here" if vertex.arises else ""
    return [
        printable(vertex.variable),
        printable(vertex.call),
        vertex.shape,
        "" if vertex.dtype == graph.dtype else vertex.dtype,
        "" if vertex.values is None else value_caption(vertex.values).replace("  ", " ") + arises,
        "" if vertex.gradient is None else gradient_caption(vertex.gradient),
    ]
