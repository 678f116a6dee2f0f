"""Scopes as clusters: each run of a scope is one, so that a layer called twice is drawn twice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import takewhile

from minigrad.drawing.model import Cluster, Phase
from minigrad.engine.node import Node

Home = dict[Node, tuple[Cluster, ...]]  # the clusters around each node, the outermost first


def clusters(
    nodes: Sequence[Node], paths: Mapping[Node, tuple[str, ...]], backward: Container[Node] = ()
) -> tuple[list[Cluster], Home]:
    """The clusters of a tape, and where its nodes belong.

    Lines that follow each other in a scope are one run of it. Leaves belong where they are used: to the innermost
    cluster around all of their users; of the forward pass, if `backward` says which nodes are not.
    """
    made: list[Cluster] = []
    runs: Counter[str] = Counter()
    home: Home = {}
    open_now: tuple[Cluster, ...] = ()
    for node in nodes:
        if node.is_leaf:
            continue
        if node.primitive.kind == "select" and (parent := node.parents[0]) is not None:
            home[node] = home[parent]
            for cluster in home[node]:
                cluster.nodes += 1
            continue
        path = paths[node]
        if len(path) != len(open_now) or any(c.name != name for c, name in zip(open_now, path, strict=True)):
            same = sum(1 for _ in takewhile(lambda pair: pair[0].name == pair[1], zip(open_now, path, strict=False)))
            open_now = open_now[:same]
            for name in path[same:]:
                open_now = (*open_now, _opened(name, open_now, runs, node in backward))
                made.append(open_now[-1])
        home[node] = open_now
        for cluster in open_now:
            cluster.nodes += 1
    users = _users(nodes, backward)
    for node in nodes:
        if node.is_leaf:
            home[node] = around(home[user] for user in users.get(node, ()))
            for cluster in home[node]:
                cluster.nodes += 1
                if node.scope:
                    cluster.parameters += math.prod(node.shape)
                    within = node.scope.removeprefix(cluster.scope).strip("/")
                    name = getattr(node, "label", None) or getattr(node, "name", None) or "parameter"
                    cluster.shapes.append((f"{within}/{name}" if within else name, str(node.shape)))
    return made, home


def _opened(name: str, outer: tuple[Cluster, ...], runs: Counter[str], backward: bool) -> Cluster:
    """A new run of a scope. From the second on its key bears a number."""
    scope = f"{outer[-1].scope}/{name}" if outer else name
    base = f"{outer[-1].key}/{name}" if outer else name
    runs[base] += 1
    key = base if runs[base] == 1 else f"{base}#{runs[base]}"
    phase: Phase = outer[-1].phase if outer else ("backward" if backward else "forward")
    return Cluster(key, name, scope, outer[-1].key if outer else None, len(outer) + 1, phase=phase)


def _users(nodes: Iterable[Node], backward: Container[Node]) -> dict[Node, list[Node]]:
    """For each leaf, the nodes of its own pass that use it."""
    users: dict[Node, list[Node]] = {}
    for node in nodes:
        for parent in node.parents:
            if parent is not None and parent.is_leaf and (parent in backward) == (node in backward):
                users.setdefault(parent, []).append(node)
    return users


def around(homes: Iterable[tuple[Cluster, ...]]) -> tuple[Cluster, ...]:
    """The innermost clusters that contain all of these."""
    levels = zip(*homes, strict=False)
    return tuple(found[0] for found in takewhile(lambda found: all(c is found[0] for c in found), levels))
