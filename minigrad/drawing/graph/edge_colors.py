"""Colors of named values and of the edges that lead to them: the paths are the terms of the chain rule."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from operator import attrgetter

from minigrad.drawing.graph.scopes import ClustersOf
from minigrad.engine.node import Node

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
