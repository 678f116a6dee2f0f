"""From a tape to a Graph, with everything that was asked for, and with numbers on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minigrad.diagnostics.anomaly.explain import is_finite
from minigrad.drawing.graph.backward_pass import Backward, differentiated, seeds
from minigrad.drawing.graph.folding import Levels
from minigrad.drawing.graph.graph_builder import GraphBuilder
from minigrad.drawing.graph.model import Graph, Verdict
from minigrad.drawing.graph.node_numbers import (
    Gradients,
    Origin,
    node_gradients,
    recover_values,
    statistics,
    value_origins,
)
from minigrad.engine.node import Node
from minigrad.engine.primitive import value_of
from minigrad.engine.tape import Tape, listed


def tape_of(function: str, outputs: tuple[Any, ...]) -> tuple[Tape, dict[Node, Any]]:
    """The tape of the Tensors, the list of Tensors or the Tape that a function was called with, and known values.

    Raises:
        ValueError: no outputs are given, or one was not computed from a Tensor with requires_grad=True.
    """
    outputs = listed(outputs)
    if not outputs:
        raise ValueError(
            f"{function}: nothing to show; give the Tensors whose computation you want to see, as in {function}(loss)"
        )
    tape = outputs[0] if len(outputs) == 1 and isinstance(outputs[0], Tape) else Tape(*outputs)
    return tape, {t.node: value_of(t) for t in outputs if not isinstance(t, Tape)}


def describe(
    tape: Tape,
    *,
    direction: str = "TB",
    levels: Levels | None = None,
    verdicts: Mapping[str, Verdict] | None = None,
    known: Mapping[Node, Any] | None = None,
    values: bool = False,
    grads: Any = False,
    formulas: bool = False,
    backward: bool = False,
) -> Graph:
    """The graph of a tape.

    Args:
        tape: the nodes to show.
        direction: of the layout, "TB" or "LR".
        levels: what is folded; nothing by default.
        verdicts: on the gradients of named nodes. Vertices have their colors instead of those of names.
        known: values of outputs, which a tape does not hold.
        values: show statistics of values.
        grads: show norms of gradients. Instead of True, the gradients of the outputs to start from.
        formulas: show the contribution to each operand as a formula.
        backward: show the backward pass too; grads may say where it starts.
    """
    gradient: Backward | None = None
    if backward:
        tape, gradient = differentiated(tape, True if grads is False else grads)
        known, grads = {**(known or {}), **gradient.seeds}, False
    options = {
        "backward": backward,
        "values": values,
        "grads": grads is not False,
        "formulas": formulas,
        "verdicts": bool(verdicts),
    }
    shown = frozenset(name for name, is_on in options.items() if is_on)
    builder = GraphBuilder(tape, levels or Levels(limit=None), verdicts or {}, shown, gradient)
    graph = builder.graph(direction)
    if values or grads is not False:
        annotate(builder, graph, known or {}, values, grads)
    return graph


LISTED = 3  # items of a kind in the notes


def annotate(builder: GraphBuilder, graph: Graph, known: Mapping[Node, Any], values: bool, grads: Any) -> None:
    """Measure what was asked for, and write it on the vertices and edges.

    Args:
        builder: that of the graph.
        graph: the graph to write on.
        known: values of outputs.
        values: whether statistics of values are shown.
        grads: whether gradients are shown; or the gradients of the outputs to start from.
    """
    gradients = Gradients()
    if grads is not False:
        pending, notes = seeds(builder.tape.outputs, grads)
        gradients = node_gradients(builder.nodes, pending, builder.key.__getitem__)
        graph.notes += notes if gradients.contributions else gradients.notes
        _write_gradients(builder, graph, gradients)
    is_all_finite = all(not s.nonfinite for s in gradients.of_nodes.values()) and not gradients.origins
    if values or not is_all_finite:
        arrays = recover_values(builder.nodes, known)
        if values:
            _write_values(builder, graph, arrays)
        _write_origins(builder, graph, gradients, value_origins(builder.nodes, arrays), arrays)


def _write_values(builder: GraphBuilder, graph: Graph, arrays: Mapping[Node, Any]) -> None:
    constants = dict(builder.arrays.values())
    for vertex in graph.vertices:
        node = builder.last.get(vertex.key)
        vertex.values = statistics(constants[vertex.key] if node is None else arrays.get(node))
    last = builder.last
    unknown = [v.label or v.formula for v in graph.vertices if v.key in last and last[v.key] not in arrays]
    if unknown:
        some = ", ".join(unknown[:LISTED]) + (f" and {len(unknown) - LISTED:,} more" if len(unknown) > LISTED else "")
        graph.notes.append(f"No values of {some}: no rule keeps them, and their operands no longer exist.")


def _write_gradients(builder: GraphBuilder, graph: Graph, gradients: Gradients) -> None:
    for vertex in graph.vertices:
        node = builder.last.get(vertex.key)
        vertex.gradient = None if node is None else gradients.of_nodes.get(node)
    for edge, operand in zip(graph.edges, builder.operands, strict=False):
        if edge.kind == "constant":
            continue
        if operand is None:
            edge.contribution = gradients.between.get((edge.source, edge.target))
        else:
            edge.contribution = gradients.contributions.get(operand)


def _write_origins(
    builder: GraphBuilder,
    graph: Graph,
    gradients: Gradients,
    origins: Mapping[Node, Origin],
    arrays: Mapping[Node, Any],
) -> None:
    """Mark the vertex of a value, or the edge of a contribution, where a NaN or an infinity arises."""
    vertices = {vertex.key: vertex for vertex in graph.vertices}
    edges = {operand: edge for edge, operand in zip(graph.edges, builder.operands, strict=False) if operand is not None}
    sentences: list[str] = []
    for node, (kind, reason) in origins.items():
        vertex = vertices[builder.key[node]]
        is_inside = node in builder.groups and node is not builder.groups[node].last
        vertex.arises = f"{kind} in {node.primitive.name}" if is_inside else kind
        sentences.append(
            f"{kind} arises in the value of {builder.description(node)}: {reason.sentence}. Hint: {reason.remedy}."
        )
    for (node, k), (kind, reason) in gradients.origins.items():
        edge = edges.get((node, k))
        if edge is not None:
            edge.arises = kind
        else:
            vertices[builder.key[node]].arises = f"{kind} in {node.primitive.name}"
        rule = f"{builder.formulas.contributions(node)[k]} for a finite v; " if node in builder.formulas.of else ""
        sentences.append(
            f"{kind} arises in the backward pass of {builder.description(node)}: {rule}{reason.sentence}. "
            f"Hint: {reason.remedy}."
        )
    rest = len(sentences) - LISTED
    graph.notes += sentences[:LISTED] + ([f"{rest} more arise elsewhere."] if rest > 0 else [])
    for vertex in graph.vertices:
        value = arrays.get(builder.last[vertex.key]) if vertex.key in builder.last else None
        vertex.finite = value is None or is_finite(value)
