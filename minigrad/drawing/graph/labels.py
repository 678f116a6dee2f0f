"""Keys, texts, names and colors of vertices and edges."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from operator import attrgetter
from typing import Any

import numpy as np

from minigrad.drawing.graph.folding import Group
from minigrad.drawing.graph.scopes import ClustersOf
from minigrad.engine.borrowed import SMALL
from minigrad.engine.node import Node
from minigrad.engine.tape_text import kept

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


def constant_arrays(nodes: Iterable[Node], groups: Mapping[Node, Group]) -> dict[int, tuple[str, Any]]:
    """The constant arrays that the rules keep, each with a name: c1, c2, ... in the order of their use; by their id.

    An array that is used only inside a folded vertex is not listed, unless nothing else enters that vertex: then it is
    the data.
    """
    entered = {
        id(groups[node])
        for node in nodes
        if node in groups
        and any(parent is not None and groups.get(parent) is not groups[node] for parent in node.parents)
    }
    arrays: dict[int, tuple[str, Any]] = {}
    for node in nodes:
        group = groups.get(node)
        if group is not None and group.kind != "chain" and id(group) in entered:
            continue
        operands = constant_operands(node)
        for value in operands:
            arrays.setdefault(id(value), (f"c{len(arrays) + 1}", value))
        if operands and group is not None:
            entered.add(id(group))
    return arrays


def constant_operands(node: Node) -> list[Any]:
    """The constant operands of a node that are arrays, as far as the rules keep them."""
    if node.is_leaf or node.primitive.kind == "select":
        return []
    pairs = zip(node.parents, kept(node), strict=True)
    return [shared(value) for parent, value in pairs if parent is None and getattr(value, "shape", ()) != ()]


# Small arrays by their content, for as long as one of them is alive.
_small: weakref.WeakValueDictionary[tuple[Any, ...], Any] = weakref.WeakValueDictionary()


def shared(value: Any) -> Any:
    """One array for all small arrays that are equal, as each node keeps its own copy (engine/borrowed.py)."""
    if type(value) is not np.ndarray or value.nbytes > SMALL:
        return value
    return _small.setdefault((value.shape, value.dtype.str, value.tobytes()), value)


MOST = 4  # an edge that leads to more named values than this is drawn as one gray line


def value_colors(nodes: Iterable[Node], outputs: Container[Node], gradient_of: Mapping[Node, Node]) -> dict[Node, int]:
    """The number of the color of each named value: the same for the same name in every layer, 0 for outputs.

    A gradient has the color of its value.
    """
    by_name: dict[str, int] = {}
    colors: dict[Node, int] = {}
    for node in nodes:
        name = getattr(node, "name", None)
        if node in gradient_of:
            if gradient_of[node] in colors:
                colors[node] = colors[gradient_of[node]]
        elif node in outputs:
            colors[node] = 0
        elif name is not None and not node.is_leaf:
            colors[node] = by_name.setdefault(name, len(by_name) + 1)
    return colors


def named_targets(nodes: list[Node], named: Container[Node], home: ClustersOf) -> dict[Node, tuple[Node, ...]]:
    """For each node, the named values that an edge into it leads to: the node itself if it is named.

    The walk goes backwards, as gradients flow. It stops at named values, and at the border of a cluster, so every batch
    norm of a network shows its own paths. A node from which more than `MOST` are reached has none.
    """
    ahead: dict[Node, dict[Node, None] | None] = {}  # named values reached from a node, in order; None if too many
    targets: dict[Node, tuple[Node, ...]] = {}
    for node in reversed(nodes):
        reached = {node: None} if node in named else ahead.get(node, {})
        if reached:
            reached = {target: None for target in reached if home[target] == home[node]}
        targets[node] = tuple(sorted(reached or (), key=attrgetter("serial")))
        for parent in node.parents:
            if parent is None:
                continue
            known = ahead.get(parent, {})
            union = None if reached is None or known is None else known | reached
            ahead[parent] = None if union is None or len(union) > MOST else union
    return targets
