"""The layers of minigrad, drawn from its own imports: `python examples/layers.py` writes docs/images/layers.svg.

A row is a layer. A package imports only packages above it, or earlier in its own row. Arrows that follow from
others are left out.
"""

from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path

from graphviz import Digraph

ROOT = Path(__file__).parent.parent
# What each row is for, and its packages. tests/project/test_imports.py holds the imports to this order.
ROWS = {
    "no arrays": ("typing", "util"),
    "the tape": ("engine",),
    "primitives": ("ops",),
    "Tensor": ("tensor", "reach", "recompute"),
    "functions": ("functional", "fused", "linalg"),
    "models": ("data", "preprocessing", "io", "optim", "nn", "train"),
    "tools": ("symbols", "exact", "diagnostics", "drawing", "verify", "compiler"),
    "app": ("app",),
}
COLORS = ("#eeeeee", "#dbe9f6", "#d3eadd", "#fbe8c8", "#f6dcd0", "#e8dff2", "#d9eef0", "#eeeeee")


def imports(name: str) -> set[str]:
    """The packages that a package imports, at its top or later."""
    path = ROOT / "minigrad" / name
    found = set()
    for file in path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (module := (node.module or "").split("."))[0] == "minigrad":
                found |= {module[1]} if len(module) > 1 else {alias.name for alias in node.names}
    return found


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """A graph without cycles, without the edges that follow from others (Aho, Garey & Ullman 1972)."""
    reach: dict[str, set[str]] = {}
    for name, others in graph.items():  # what is imported comes first
        reach[name] = others.union(*(reach[other] for other in others))
    return {name: others - set[str]().union(*(reach[other] for other in others)) for name, others in graph.items()}


def picture() -> Digraph:
    """The layers as rows of boxes."""
    order = [name for row in ROWS.values() for name in row]
    graph: dict[str, set[str]] = {}
    for name in order:
        graph[name] = imports(name) & set(graph)
    dot = Digraph("layers", graph_attr={"ranksep": "0.35", "nodesep": "0.25", "bgcolor": "transparent"})
    dot.attr("node", shape="box", style="filled,rounded", color="#888888", fontname="Arial", fontsize="13")
    dot.attr("edge", color="#777777", arrowsize="0.6")
    for (title, names), color in zip(ROWS.items(), COLORS, strict=True):
        row = Digraph(graph_attr={"rank": "same"})
        row.node(f"row {title}", title, shape="plaintext", style="", fontcolor="#555555")
        for name in names:
            row.node(name, fillcolor=color)
        dot.subgraph(row)
    titles = [f"row {title}" for title in ROWS]
    for above, below in pairwise(titles):
        dot.edge(above, below, style="invis", weight="20")
    for name, others in reduced(graph).items():
        for other in sorted(others):
            dot.edge(other, name, dir="back")
    return dot


if __name__ == "__main__":
    (ROOT / "docs" / "images" / "layers.svg").write_bytes(picture().pipe(format="svg"))
