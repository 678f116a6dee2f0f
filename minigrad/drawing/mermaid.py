"""From a Graph to Mermaid, which many wikis and code hosts draw from text."""

from __future__ import annotations

import math
from collections.abc import Iterator

from minigrad.drawing import number_text, style
from minigrad.drawing.model import Edge, Graph, Vertex
from minigrad.drawing.printable import printable

SHAPES = {"input": "([{}])", "constant": "[{}]", "module": "[[{}]]", "parameter": "[{}]", "output": "[{}]"}
CLASSES = f"""\
    classDef input fill:{style.LEAF["fillcolor"]},stroke:{style.INK}
    classDef parameter fill:{style.LEAF["fillcolor"]},stroke:{style.INK}
    classDef constant fill:#FFFFFF,stroke:{style.GRAY},stroke-dasharray:4
    classDef operation fill:#FFFFFF,stroke:{style.GRAY}
    classDef output fill:#EEEEEE,stroke:{style.INK},stroke-width:3px
    classDef module fill:{style.MODULE["fillcolor"]},stroke:{style.SOFT}"""
ARROWS = {"operand": "-->", "constant": "-.->", "saved": "-.->"}


def mermaid(graph: Graph) -> str:
    """The text of a flowchart.

    Args:
        graph: as `describe` makes it.
    """
    number = {cluster.key: k for k, cluster in enumerate(graph.clusters, 1)}
    lines = [f"flowchart {graph.direction}", *_inside(graph, None, number, 1)]
    links: dict[str, list[str]] = {}
    for k, edge in enumerate(graph.edges):
        lines.append(f"    {edge.source} {ARROWS[edge.kind]}{_edge_text(edge)} {edge.target}")
        if color := _edge_color(edge, graph):
            links.setdefault(color, []).append(str(k))
    lines.append(CLASSES)
    lines += [f"    class {v.key} {v.kind}" for v in graph.vertices]
    lines += [f"    style {v.key} {look}" for v in graph.vertices if (look := _look(v, graph))]
    lines += [f"    linkStyle {','.join(ks)} stroke:{color}" for color, ks in links.items()]
    lines += [f"    %% {printable(note)}" for note in graph.notes]
    return "\n".join(lines) + "\n"


def _inside(graph: Graph, key: str | None, number: dict[str, int], depth: int) -> Iterator[str]:
    """The vertices of a cluster and the clusters within it."""
    indent = "    " * depth
    for vertex in graph.vertices:
        if vertex.cluster == key:
            yield f"{indent}{vertex.key}{SHAPES.get(vertex.kind, '({})').format(_text(vertex, graph))}"
    for cluster in graph.clusters:
        if cluster.parent == key:
            inner = list(_inside(graph, cluster.key, number, depth + 1))
            if inner:
                yield f'{indent}subgraph s{number[cluster.key]}["{escaped(cluster.name)}"]'
                yield f"{indent}    direction {graph.direction}"
                yield from inner
                yield f"{indent}end"


def _text(vertex: Vertex, graph: Graph) -> str:
    rows = [f"<b>{escaped(vertex.label)}</b>"] if vertex.label else []
    rows += [escaped(row) for row in (vertex.formula, *vertex.details) if row]
    rows.append(escaped(vertex.shape if vertex.dtype in ("", graph.dtype) else f"{vertex.shape} {vertex.dtype}"))
    if vertex.values is not None:
        rows.append(escaped(number_text.values(vertex.values)))
    if vertex.gradient is not None:
        rows.append(escaped(number_text.gradient(vertex.gradient)))
    if vertex.born:
        rows.append(escaped(f"{vertex.born} born here"))
    if vertex.verdict is not None:
        rows.append(escaped(vertex.verdict.told))
    return f'"{"<br/>".join(rows)}"'


def _edge_text(edge: Edge) -> str:
    parts = [
        edge.formula,
        "" if edge.contribution is None else number_text.number(edge.contribution),
        edge.born and f"{edge.born} born here",
    ]
    rows = [escaped(part) for part in parts if part]
    return f'|"{"<br/>".join(rows)}"|' if rows else ""


def _edge_color(edge: Edge, graph: Graph) -> str:
    """That of the contribution, or of the only named value that the edge leads to."""
    if edge.contribution is not None:
        return style.magnitude(edge.contribution, style.GRAY)
    if "grads" in graph.shown or len(edge.strands) != 1:
        return ""
    return next((style.hue(v.hue) or "" for v in graph.vertices if v.key == edge.strands[0]), "")


def _look(vertex: Vertex, graph: Graph) -> str:
    if vertex.verdict is not None:
        return f"stroke:{style.RIGHT if vertex.verdict.ok else style.WRONG},stroke-width:3px"
    if "grads" in graph.shown and vertex.gradient is not None:
        norm = vertex.gradient.norm
        fill = style.magnitude(norm) if math.isfinite(norm) else style.BAD
        return f"fill:{fill},color:{style.ink_on(fill)}"
    color = style.hue(vertex.hue) if vertex.kind == "operation" else None
    return f"stroke:{color},fill:{style.mixed('#FFFFFF', color, 0.14)},stroke-width:2px" if color else ""


def escaped(text: str) -> str:
    """Mermaid's own entities: no character of a user's name is taken for markup, of Mermaid or of HTML."""
    return "".join(f"#{ord(c)};" if c in '"#<>&`\\{}|*_~' else c for c in printable(text))
