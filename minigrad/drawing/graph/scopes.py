"""Scopes as clusters: each run of a scope is one, so a layer that is called twice is drawn twice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import takewhile

from minigrad.drawing.graph.model import Cluster, Phase
from minigrad.engine.node import Node

ClustersOf = dict[Node, tuple[Cluster, ...]]  # the clusters around each node, outermost first


def find_clusters(
    nodes: Sequence[Node], paths: Mapping[Node, tuple[str, ...]], backward: Container[Node] = ()
) -> tuple[list[Cluster], ClustersOf]:
    """The clusters of a tape, and the clusters around each node.

    Consecutive nodes in a scope are one run of it. A leaf belongs to the innermost cluster around all of its users.

    Args:
        nodes: the nodes of a tape, in order.
        paths: the scopes around each node, outermost first.
        backward: the nodes of the backward pass. Only users in its own pass decide where a leaf belongs.
    """
    clusters: list[Cluster] = []
    runs: Counter[str] = Counter()
    home: ClustersOf = {}
    current: tuple[Cluster, ...] = ()
    for node in nodes:
        if node.is_leaf:
            continue
        if node.primitive.kind == "select" and (parent := node.parents[0]) is not None:
            home[node] = home[parent]
        else:
            path = paths[node]
            if tuple(cluster.name for cluster in current) != path:
                same = sum(1 for _ in takewhile(lambda p: p[0].name == p[1], zip(current, path, strict=False)))
                current = current[:same]
                for name in path[same:]:
                    current = (*current, _new_run(name, current, runs, node in backward))
                    clusters.append(current[-1])
            home[node] = current
        for cluster in home[node]:
            cluster.nodes += 1
    users = _users_of_leaves(nodes, backward)
    for node in nodes:
        if node.is_leaf:
            home[node] = common_clusters(home[user] for user in users.get(node, ()))
            for cluster in home[node]:
                cluster.nodes += 1
                if node.scope:
                    _add_parameter(cluster, node)
    return clusters, home


def _new_run(name: str, outer: tuple[Cluster, ...], runs: Counter[str], backward: bool) -> Cluster:
    """A new run of a scope. From the second run on, the key has a number."""
    scope = f"{outer[-1].scope}/{name}" if outer else name
    base = f"{outer[-1].key}/{name}" if outer else name
    runs[base] += 1
    key = base if runs[base] == 1 else f"{base}#{runs[base]}"
    phase: Phase = outer[-1].phase if outer else ("backward" if backward else "forward")
    return Cluster(key, name, scope, outer[-1].key if outer else None, len(outer) + 1, phase=phase)


def _users_of_leaves(nodes: Iterable[Node], backward: Container[Node]) -> dict[Node, list[Node]]:
    """For each leaf, the nodes of its own pass that use it."""
    users: dict[Node, list[Node]] = {}
    for node in nodes:
        for parent in node.parents:
            if parent is not None and parent.is_leaf and (parent in backward) == (node in backward):
                users.setdefault(parent, []).append(node)
    return users


def _add_parameter(cluster: Cluster, leaf: Node) -> None:
    cluster.parameters += math.prod(leaf.shape)
    inner = leaf.scope.removeprefix(cluster.scope).strip("/")
    name = getattr(leaf, "label", None) or getattr(leaf, "name", None) or "parameter"
    cluster.shapes.append((f"{inner}/{name}" if inner else name, str(leaf.shape)))


def common_clusters(homes: Iterable[tuple[Cluster, ...]]) -> tuple[Cluster, ...]:
    """The clusters that contain all of these nodes, outermost first."""
    levels = zip(*homes, strict=False)
    return tuple(level[0] for level in takewhile(lambda level: all(c is level[0] for c in level), levels))
