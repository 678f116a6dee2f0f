"""Keys and texts of vertices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from minigrad.drawing.graph.folding import Group
from minigrad.engine.node import Node

COUNTED = 4  # the most frequent operations of a folded vertex are listed
WIDTH = 70  # characters for the shapes of its parameters


def vertex_keys(nodes: Iterable[Node], place: Mapping[Node, int], groups: Mapping[Node, Group]) -> dict[Node, str]:
    """The key of the vertex that each node is drawn as."""
    keys = {}
    for node in nodes:
        group = groups.get(node)
        kind = "n" if group is None or group.kind == "chain" else "m"
        keys[node] = f"{kind}{place[node if group is None else group.last]}"
    return keys


def innermost_key(clusters: tuple[Any, ...]) -> str | None:
    """The key of the innermost of the clusters around a node; None if there are none."""
    return clusters[-1].key if clusters else None


def node_labels(nodes: Iterable[Node], place: Mapping[Node, int]) -> dict[Node, str]:
    """The user's label or name of each node that has one; a leaf without one gets its place, as on the printed tape."""
    labels = {}
    for node in nodes:
        label = getattr(node, "label", None) or getattr(node, "name", None)
        if label or node.is_leaf:
            labels[node] = label or f"%{place[node]}"
    return labels


def folded_names(groups: Mapping[Node, Group]) -> dict[Node, str]:
    """The names of folded scopes in formulas: "norm1"; "layers.2" where the last part of the path is a number."""
    names = {}
    for node, group in groups.items():
        if group.cluster is not None and group.kind == "module":
            parts = group.cluster.scope.split("/")
            names[node] = ".".join(parts[-2:]) if parts[-1].isdigit() else parts[-1]
    return names


def dtype_text(node: Node) -> str:
    """The dtype of a node; with several outputs, all of their dtypes if they differ."""
    return ", ".join(dict.fromkeys(map(str, node.dtype))) if isinstance(node.dtype, tuple) else str(node.dtype)


def contents(operations: list[Node], nodes: int, parameters: int, shapes: list[tuple[str, str]]) -> tuple[str, ...]:
    """The contents of a folded vertex, row by row: its operations, its size, and the shapes of its parameters.

    Args:
        operations: the nodes in it that are not leaves.
        nodes: the number of all nodes in it.
        parameters: the number of elements of its parameters.
        shapes: the names and shapes of its parameters.
    """
    counts = Counter(node.primitive.name for node in operations if node.primitive.kind != "select").most_common(COUNTED)
    size = f"{nodes:,} nodes" if nodes > 1 else "1 node"
    rows = [", ".join(name if n == 1 else f"{name} ×{n:,}" for name, n in counts)] if counts else []
    rows.append(f"{parameters:,} parameters, {size}" if parameters else size)
    items = [f"{name} {shape}" for name, shape in shapes]
    while items and sum(map(len, items)) > WIDTH:
        items.pop()
    if rest := len(shapes) - len(items):
        items.append(f"{rest} more" if items else f"{rest} arrays")
    half = -(-len(items) // 2) if sum(map(len, items)) > WIDTH // 2 else len(items)
    return (*rows, *filter(None, (", ".join(items[:half]), ", ".join(items[half:]))))


def operand_name(node: Node, k: int) -> str:
    """The primitive's name for an operand."""
    p = node.primitive
    if p.kind == "select":
        return ""
    return f"arrays[{k}]" if p.sequence else str(p.operands[k])
