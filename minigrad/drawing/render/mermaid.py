"""From a Graph to Mermaid, which many wikis and code hosts render."""

from __future__ import annotations

import math
from collections.abc import Iterator

from minigrad.drawing.graph.model import Edge, Graph, Vertex
from minigrad.drawing.render import style
from minigrad.drawing.render.style import gradient_caption, printable, shape_caption, short_number, value_caption

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
    """The text of a flowchart."""
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
    """The vertices of a cluster and the clusters inside it."""
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
    rows.append(escaped(shape_caption(vertex, graph)))
    if vertex.values is not None:
        rows.append(escaped(value_caption(vertex.values)))
    if vertex.gradient is not None:
        rows.append(escaped(gradient_caption(vertex.gradient)))
    if vertex.arises:
        rows.append(escaped(f"{vertex.arises} arises here"))
    if vertex.verdict is not None:
        rows.append(escaped(vertex.verdict.message))
    return f'"{"<br/>".join(rows)}"'


def _edge_text(edge: Edge) -> str:
    parts = [
        edge.formula,
        "" if edge.contribution is None else short_number(edge.contribution),
        edge.arises and f"{edge.arises} arises here",
    ]
    rows = [escaped(part) for part in parts if part]
    return f'|"{"<br/>".join(rows)}"|' if rows else ""


def _edge_color(edge: Edge, graph: Graph) -> str:
    """The color of the contribution, or of the only named value that the edge leads to; "" if it has none."""
    if edge.contribution is not None:
        return style.norm_color(edge.contribution, style.GRAY)
    if "grads" in graph.shown or len(edge.leads_to) != 1:
        return ""
    return next((style.value_color(v.color) or "" for v in graph.vertices if v.key == edge.leads_to[0]), "")


def _look(vertex: Vertex, graph: Graph) -> str:
    if vertex.verdict is not None:
        return f"stroke:{style.RIGHT if vertex.verdict.ok else style.WRONG},stroke-width:3px"
    if "grads" in graph.shown and vertex.gradient is not None:
        norm = vertex.gradient.norm
        fill = style.norm_color(norm) if math.isfinite(norm) else style.NONFINITE
        return f"fill:{fill},color:{style.text_color(fill)}"
    color = style.value_color(vertex.color) if vertex.kind == "operation" else None
    return f"stroke:{color},fill:{style.mix('#FFFFFF', color, 0.14)},stroke-width:2px" if color else ""


def escaped(text: str) -> str:
    """A text with Mermaid's entities: no character of a user's name is read as markup, of Mermaid or of HTML."""
    return "".join(f"#{ord(c)};" if c in '"#<>&`\\{}|*_~' else c for c in printable(text))
