"""The paths from value to named value, which are the terms of the chain rule."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from operator import attrgetter

from minigrad.drawing.clusters import Home
from minigrad.engine.node import Node

STRANDS = 4  # an edge that leads to more named values than this is drawn as one gray line


def hues(nodes: Iterable[Node], outputs: Container[Node], gradient_of: Mapping[Node, Node]) -> dict[Node, int]:
    """The numbers of the colors of named results, the same for the same name in every layer; outputs have 0.

    The gradient of a value has its color.
    """
    by_name: dict[str, int] = {}
    found: dict[Node, int] = {}
    for node in nodes:
        name = getattr(node, "name", None)
        if node in gradient_of:
            if gradient_of[node] in found:
                found[node] = found[gradient_of[node]]
        elif node in outputs:
            found[node] = 0
        elif name is not None and not node.is_leaf:
            found[node] = by_name.setdefault(name, len(by_name) + 1)
    return found


def strands(nodes: list[Node], named: Container[Node], home: Home) -> dict[Node, tuple[Node, ...]]:
    """For each node, the named values of its cluster that an edge into it leads to; itself if it is one.

    Walked backwards, as gradients flow: what is named stops the walk there, and so does the border of its cluster, so
    that every batch norm of a network shows its own paths. Nothing if they are too many.
    """
    ahead: dict[Node, dict[Node, None] | None] = {}  # the named values reached from a node, as an ordered set
    into: dict[Node, tuple[Node, ...]] = {}
    for node in reversed(nodes):
        reached = {node: None} if node in named else ahead.get(node, {})
        if reached:
            reached = {target: None for target in reached if home[target] == home[node]}
        into[node] = tuple(sorted(reached or (), key=attrgetter("serial")))
        for parent in node.parents:
            if parent is None:
                continue
            so_far = ahead.get(parent, {})
            together = None if reached is None or so_far is None else so_far | reached
            ahead[parent] = None if together is None or len(together) > STRANDS else together
    return into
