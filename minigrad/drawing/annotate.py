"""Numbers on a Graph: values, gradients and contributions, and where what is not finite was born."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minigrad.diagnostics.reasons import is_finite
from minigrad.drawing.backward import seeds
from minigrad.drawing.gradients import Birth, Gradients, born_values, gradients
from minigrad.drawing.model import Graph
from minigrad.drawing.values import recovered, statistics
from minigrad.engine.node import Node

if TYPE_CHECKING:
    from minigrad.drawing.describe import Description

TOLD = 3  # how many of a kind are told in notes


def annotate(d: Description, graph: Graph, known: Mapping[Node, Any], values: bool, grads: Any) -> None:
    """Measure what was asked for, and write it on the vertices and edges.

    Args:
        d: where the graph comes from.
        graph: to be annotated.
        known: values of outputs.
        values: whether statistics of values are shown.
        grads: whether gradients are; or those of the outputs to start from.
    """
    found = Gradients()
    if grads is not False:
        pending, notes = seeds(d.tape.outputs, grads)
        found = gradients(d.nodes, pending, d.key.__getitem__)
        graph.notes += notes if found.contributions else found.notes
        _write_gradients(d, graph, found)
    finite = all(not s.bad for s in found.adjoints.values()) and not found.born
    if values or not finite:
        arrays = recovered(d.nodes, known)
        if values:
            _write_values(d, graph, arrays)
        _write_births(d, graph, found, born_values(d.nodes, arrays), arrays)


def _write_values(d: Description, graph: Graph, arrays: Mapping[Node, Any]) -> None:
    constants = dict(d.arrays.values())
    for vertex in graph.vertices:
        node = d.last.get(vertex.key)
        vertex.values = statistics(constants[vertex.key] if node is None else arrays.get(node))
    unknown = [v.label or v.formula for v in graph.vertices if v.key in d.last and d.last[v.key] not in arrays]
    if unknown:
        some = ", ".join(unknown[:TOLD]) + (f" and {len(unknown) - TOLD:,} more" if len(unknown) > TOLD else "")
        graph.notes.append(f"No values of {some}: no rule needs them, and what they are computed from is gone.")


def _write_gradients(d: Description, graph: Graph, found: Gradients) -> None:
    for vertex in graph.vertices:
        node = d.last.get(vertex.key)
        vertex.gradient = None if node is None else found.adjoints.get(node)
    for edge, operand in zip(graph.edges, d.operands, strict=False):
        if edge.kind == "constant":
            continue
        edge.contribution = (
            found.joint.get((edge.source, edge.target)) if operand is None else found.contributions.get(operand)
        )


def _write_births(
    d: Description, graph: Graph, found: Gradients, values: Mapping[Node, Birth], arrays: Mapping[Node, Any]
) -> None:
    """Mark where what is not finite came from: the vertex of a value, the edge of a contribution."""
    vertices = {vertex.key: vertex for vertex in graph.vertices}
    edges = {operand: edge for edge, operand in zip(graph.edges, d.operands, strict=False) if operand is not None}
    told: list[str] = []
    for node, (kind, reason) in values.items():
        vertex = vertices[d.key[node]]
        inside = node in d.groups and node is not d.groups[node].last
        vertex.born = f"{kind} in {node.primitive.name}" if inside else kind
        told.append(f"{kind} is born in the value of {d.called(node)}: {reason.sentence}. Hint: {reason.remedy}.")
    for (node, k), (kind, reason) in found.born.items():
        edge = edges.get((node, k))
        if edge is not None:
            edge.born = kind
        else:
            vertices[d.key[node]].born = f"{kind} in {node.primitive.name}"
        rule = f"{d.formulas.contributions(node)[k]}, for a finite v; " if node in d.formulas.of else ""
        told.append(
            f"{kind} is born on the way back through {d.called(node)}: {rule}{reason.sentence}. Hint: {reason.remedy}."
        )
    graph.notes += told[:TOLD] + ([f"{len(told) - TOLD} more are born elsewhere."] if len(told) > TOLD else [])
    for vertex in graph.vertices:
        value = arrays.get(d.last[vertex.key]) if vertex.key in d.last else None
        vertex.finite = value is None or is_finite(value)
