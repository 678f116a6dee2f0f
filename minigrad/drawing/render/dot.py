"""From a Graph to DOT."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Mapping
from typing import Any

import graphviz

from minigrad.drawing.graph.model import Cluster, Edge, Graph, Vertex
from minigrad.drawing.render import style
from minigrad.drawing.render.style import gradient_caption, printable, shape_caption, short_number, value_caption

SPACE = '<font point-size="3"> <br/></font>'  # between the descenders of a formula and the shape below it
WRAP = 72  # characters in a row of a formula
GRAPH = {"fontname": "Arial", "fontsize": "11", "fontcolor": "#555555", "nodesep": "0.3", "ranksep": "0.4"}
NODE = {
    "fontname": "Arial",
    "fontsize": "12",
    "fontcolor": style.INK,
    "shape": "box",
    "style": "rounded,filled",
    "fillcolor": "white",
    "color": style.GRAY,
    "margin": "0.12,0.06",
    "height": "0.3",
}
EDGE = {"color": style.GRAY, "penwidth": "1.6", "arrowsize": "0.7", "fontname": "Arial", "fontsize": "10"}
# Two invisible nodes, one to the left of the other, put the forward pass to the left of the backward pass.
ANCHOR = '[style=invis label="" width=0 height=0]'
SIDE_BY_SIDE = [
    "\tnewrank=true\n",
    f"\tsubgraph cluster_forward {{ left {ANCHOR} }}\n",
    f"\tsubgraph cluster_backward {{ right {ANCHOR} }}\n",
    "\t{ rank=same; left -> right [style=invis] }\n",
]
DASHED = {"style": "dashed", "penwidth": "1"}
QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"'})
CLUSTER = {"style": "rounded,filled", "fillcolor": "#F7F7F7", "color": "#BBBBBB", "labeljust": "l"}


def write(graph: Graph, dot: Any, legend: bool = False) -> None:
    """Write a graph into a Digraph."""
    dot.attr("graph", **GRAPH, rankdir=graph.direction)
    dot.attr("node", **NODE)
    dot.attr("edge", **EDGE)
    if "backward" in graph.shown:
        dot.body += SIDE_BY_SIDE
    _clusters(graph, dot)
    _edges(graph, dot)
    _stack(graph, dot)
    _align(graph, dot)
    if legend:
        _legend(dot, "grads" in graph.shown)
    explanations = [SIZES if "grads" in graph.shown else PATHS, *([SAVED] if "backward" in graph.shown else [])]
    texts = [*(explanations if legend else []), *graph.notes]
    rows = [graphviz.escape(printable(row)) for text in texts for row in textwrap.wrap(text, 100)]
    if rows:
        dot.attr(label="".join(f"{row}\\l" for row in rows))


def _clusters(graph: Graph, dot: Any) -> None:
    """The vertices, each inside the clusters of its scope."""
    inside: dict[str | None, list[Vertex]] = {None: []}
    for vertex in graph.vertices:
        inside.setdefault(vertex.cluster, []).append(vertex)
    by_key = {cluster.key: cluster for cluster in graph.clusters}
    needed: dict[str, Cluster] = {}
    for key in inside:
        outer = key
        while outer is not None and outer not in needed:
            needed[outer] = by_key[outer]
            outer = by_key[outer].parent
    subgraphs: dict[str | None, Any] = {None: dot}
    for cluster in graph.clusters:
        if cluster.key in needed:
            name = graphviz.escape(printable(f"cluster_{cluster.key}"))
            subgraphs[cluster.key] = graphviz.Digraph(
                name=name, graph_attr=CLUSTER | {"label": f"<{escaped(cluster.name)}>"}
            )
    for key, members in inside.items():
        for vertex in members:
            subgraphs[key].body.append(statement(vertex.key, _attributes(vertex, graph)))
    for cluster in sorted(graph.clusters, key=lambda cluster: -cluster.depth):
        if cluster.key in needed:
            subgraphs[cluster.parent].subgraph(subgraphs[cluster.key])


def _attributes(vertex: Vertex, graph: Graph) -> dict[str, str]:
    tooltip = f"{vertex.name or vertex.label or vertex.key} = {vertex.call}   {vertex.shape} {vertex.dtype}"
    hover = {} if vertex.kind in ("constant", "module") else {"tooltip": printable(tooltip)}
    look = _style(vertex)
    if "grads" in graph.shown:
        look = look | _gradient_style(vertex)
    return {"label": _label(vertex, graph, look.get("fontcolor", style.SOFT)), **hover, **look}


def _label(vertex: Vertex, graph: Graph, soft: str) -> str:
    """The text of a vertex, row by row, as Graphviz's HTML."""
    rows = []
    if vertex.label:
        rows.append(f'<b><font point-size="17">{escaped(vertex.label)}</font></b>')
    if vertex.kind == "constant":
        rows.append("constant")
    if vertex.formula:
        rows += [escaped(row) for part in vertex.formula.split("; ") for row in textwrap.wrap(part, WRAP)]
    rows += [f'<font point-size="10">{escaped(row)}</font>' for row in vertex.details]
    if vertex.shape:
        rows.append(SPACE + f'<font point-size="9" color="{soft}">{escaped(shape_caption(vertex, graph))}</font>')
    if vertex.values is not None:
        rows.append(f'<font point-size="10">{escaped(value_caption(vertex.values))}</font>')
    if vertex.gradient is not None:
        rows.append(f'<font point-size="10"><b>{escaped(gradient_caption(vertex.gradient))}</b></font>')
    if vertex.arises:
        rows.append(f"<b>{escaped(vertex.arises)} arises here</b>")
    if vertex.verdict is not None:
        color = style.RIGHT if vertex.verdict.ok else style.WRONG
        message = "<br/>".join(escaped(row) for row in textwrap.wrap(vertex.verdict.message, 36))
        rows.append(f'<font color="{color}"><b>{message}</b></font>')
    return f"<{'<br/>'.join(rows)}>"


def _style(vertex: Vertex) -> dict[str, str]:
    if vertex.verdict is not None:
        return style.colored(style.RIGHT if vertex.verdict.ok else style.WRONG)
    by_kind = {
        "output": style.OUTPUT,
        "input": style.LEAF,
        "parameter": style.PARAMETER,
        "constant": style.CONSTANT,
        "module": style.MODULE,
    }
    color = style.value_color(vertex.color)
    return by_kind.get(vertex.kind) or ({} if color is None else style.colored(color))


def _gradient_style(vertex: Vertex) -> dict[str, str]:
    """A fill color for the size of the gradient; a red border if the gradient or the value is not finite."""
    norm = None if vertex.gradient is None else vertex.gradient.norm
    fill = "#FFFFFF" if norm is None else style.norm_color(norm) if math.isfinite(norm) else style.NONFINITE_FILL
    ink = style.text_color(fill)
    is_finite = vertex.finite and (norm is None or math.isfinite(norm))
    border = {"color": style.NONFINITE, "penwidth": "2.6"} if not is_finite else {"color": style.GRAY}
    return {"fillcolor": fill, "fontcolor": ink, **border}


def _edges(graph: Graph, dot: Any) -> None:
    """The edges: parallel lines in the colors of the named values they lead to, or one in that of the contribution."""
    vertices = {vertex.key: vertex for vertex in graph.vertices}
    for edge in graph.edges:
        if edge.kind == "constant":
            dot.body.append(arrow(edge.source, edge.target, DASHED))
            continue
        if edge.kind == "saved":
            dot.body.append(arrow(edge.source, edge.target, style.SAVED))
            continue
        targets = [vertices[key] for key in edge.leads_to]
        color = (
            {"color": ":".join(style.value_color(target.color) or style.GRAY for target in targets)} if targets else {}
        )
        if "grads" in graph.shown:
            color = _contribution_color(edge, vertices)
        text = _edge_label(edge, targets, vertices, graph)
        label = {"label": f"<{text}>"} if text else {}
        if vertices[edge.target].phase == "backward":  # upwards, so that gradients are beside their values
            dot.body.append(arrow(edge.target, edge.source, {"dir": "back", **color, **label}))
        else:
            dot.body.append(arrow(edge.source, edge.target, color | label))


def _contribution_color(edge: Edge, vertices: Mapping[str, Vertex]) -> dict[str, str]:
    is_propagated = not vertices[edge.source].finite and not vertices[edge.target].finite
    if is_propagated or (edge.contribution is not None and not math.isfinite(edge.contribution)):
        return {"color": style.NONFINITE, "penwidth": "4" if edge.arises else "2.4"}
    return {} if edge.contribution is None else {"color": style.norm_color(edge.contribution, style.GRAY)}


def _edge_label(edge: Edge, targets: list[Vertex], vertices: Mapping[str, Vertex], graph: Graph) -> str:
    """The formula and the size of the contribution.

    Without them, the gradients that flow back along the edge: "dl/dσ² dl/dx̂". An output that is a number is left out.
    """
    rows = [escaped(edge.formula)] if edge.formula else []
    if edge.contribution is not None:
        rows.append(escaped(short_number(edge.contribution)))
    if edge.arises:
        rows.append(f'<font color="{style.NONFINITE}"><b>{escaped(edge.arises)} arises here</b></font>')
    if rows or graph.shown & {"grads", "formulas"}:
        return "<br/>".join(f"&#160;{row}&#160;" for row in rows)
    if not vertices[edge.source].label or vertices[edge.target].phase == "backward":
        return ""
    return "".join(
        f'<font color="{style.value_color(target.color)}">&#160;dl/d{escaped(target.label)}&#160;</font>'
        for target in targets
        if target.label and target.shape != "()"
    )


def _stack(graph: Graph, dot: Any) -> None:
    """Invisible edges that put parameters below the inputs of their cluster, so that clusters follow each other."""
    vertices = {vertex.key: vertex for vertex in graph.vertices}
    sources_of: dict[str, list[Vertex]] = {}
    for edge in graph.edges:
        if edge.kind == "operand":
            sources_of.setdefault(edge.target, []).append(vertices[edge.source])
    for target, sources in sources_of.items():
        home = vertices[target].cluster
        leaves = sorted({v.key for v in sources if v.cluster == home and _is_leaf(v)})
        for entering in sources if leaves else ():
            if entering.cluster != home:
                for key in leaves:
                    dot.body.append(arrow(entering.key, key, {"style": "invis"}))


def _align(graph: Graph, dot: Any) -> None:
    """Gradients at the height of their values, if both have vertices of their own."""
    pairs = [(v.gradient_of, v.key) for v in graph.vertices if v.gradient_of]
    dot.body += [f"\t{{ rank=same; {value}; {gradient} }}\n" for value, gradient in pairs]


def _is_leaf(vertex: Vertex) -> bool:
    return vertex.call == "leaf"


PATHS = "Gradients flow against the arrows. A line leads to the named value that has its color."
SAVED = "Dotted lines lead from values of the forward pass to their uses in the backward pass."
SIZES = "Colors show norms: on a node that of its gradient, on an edge that of the contribution flowing back along it."


def _legend(dot: Any, by_size: bool) -> None:
    """Samples of the shapes, or of the colors of norms, beside the graph."""
    samples: dict[str, dict[str, str]] = {
        "leaf": style.LEAF,
        "parameter": style.PARAMETER,
        "constant": style.CONSTANT,
        "operation": {},
        "named value": style.colored(style.COLORS[0]),
        "output": style.OUTPUT,
        "folded scope": style.MODULE,
    }
    if by_size:
        colors = {short_number(norm): style.norm_color(norm) for norm in (1e9, 1e6, 1e3, 1, 1e-3, 1e-6, 1e-9)}
        samples = {text: {"fillcolor": color, "fontcolor": style.text_color(color)} for text, color in colors.items()}
        samples["not finite"] = {"fillcolor": style.NONFINITE_FILL, "color": style.NONFINITE, "penwidth": "2.6"}
    with dot.subgraph(name="cluster legend", graph_attr=CLUSTER | {"label": "legend"}) as inside:
        for k, (text, look) in enumerate(samples.items(), 1):
            inside.node(f"legend{k}", label=text, fontsize="10", **look)
        for k in range(1, len(samples)):
            inside.edge(f"legend{k}", f"legend{k + 1}", style="invis")


def statement(head: str, attributes: Mapping[str, str]) -> str:
    """A line of DOT. Labels are HTML and everything else is quoted, so no text of the user is read as markup."""
    pairs = [
        f"{name}={value}" if name == "label" else f'{name}="{value.translate(QUOTED)}"'
        for name, value in attributes.items()
    ]
    return f"\t{head} [{' '.join(pairs)}]\n" if pairs else f"\t{head}\n"


def arrow(source: str, target: str, attributes: Mapping[str, str]) -> str:
    """A line of DOT for an edge."""
    return statement(f"{source} -> {target}", attributes)


def escaped(text: str) -> str:
    """A text for labels, which are HTML: no character of a user's name is read as markup."""
    return html.escape(printable(text))
