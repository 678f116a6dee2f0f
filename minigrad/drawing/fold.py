"""Which nodes are drawn as one vertex: folded scopes, chains of elementwise operations, and blocks of what is left."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from minigrad.drawing.clusters import Home
from minigrad.drawing.model import Cluster, Phase
from minigrad.engine.node import Node

LIMIT = 100  # vertices: about what can be read on a page


@dataclass
class Levels:
    """What is folded: the arguments of draw."""

    depth: int | None = None
    fold: Sequence[str] = ()
    unfold: Sequence[str] = ()
    collapse: Literal["elementwise"] | None = None
    limit: int | None = LIMIT
    as_drawn: bool = True  # else scopes are only marked as folded, and every node has its vertex


@dataclass(eq=False)
class Group:
    """Lines that are drawn as one vertex."""

    kind: Literal["module", "chain", "block"]
    cluster: Cluster | None = None  # of a module the one that is folded
    nodes: list[Node] = field(default_factory=list)
    exit: Node | None = None

    @property
    def last(self) -> Node:
        """The node whose value the vertex stands for: the last that is used outside, else the last."""
        return self.exit or self.nodes[-1]


def folded(
    nodes: Sequence[Node],
    clusters: Sequence[Cluster],
    home: Home,
    outputs: Iterable[Node],
    levels: Levels,
    phase: Callable[[Node], Phase],
) -> tuple[dict[Node, Group], list[str]]:
    """The group of each node that is not drawn by itself, and notes of what was folded without being asked for."""
    notes: list[str] = []
    _fold_scopes(nodes, clusters, home, levels, notes)
    if not levels.as_drawn:
        return {}, notes
    groups = _modules(nodes, home)
    groups |= _single_outputs(nodes, groups)
    groups |= _unit_axes([node for node in nodes if phase(node) == "backward"], groups)
    if levels.collapse == "elementwise":
        groups |= _chains(nodes, home, groups, frozenset(outputs))
    if levels.limit is not None and _drawn(nodes, groups) > levels.limit:
        groups = _blocks(nodes, groups, levels.limit, notes)
    _find_exits(nodes, groups, outputs, phase)
    return groups, notes


def _find_exits(
    nodes: Sequence[Node], groups: dict[Node, Group], outputs: Iterable[Node], phase: Callable[[Node], Phase]
) -> None:
    """What comes out of each group: for its own pass, as the backward pass uses residuals from within."""
    leaving = {
        parent
        for node in nodes
        for parent in node.parents
        if parent in groups and groups.get(node) is not groups[parent] and phase(node) == phase(parent)
    }
    leaving |= {node for node in outputs if node in groups}
    for node in nodes:
        if node in leaving and groups[node].kind != "chain":
            groups[node].exit = node


def _fold_scopes(
    nodes: Sequence[Node], clusters: Sequence[Cluster], home: Home, levels: Levels, notes: list[str]
) -> None:
    """Mark the clusters that are folded. Without a depth, the deepest one at which the picture fits on a page."""
    by_key = {cluster.key: cluster for cluster in clusters}
    shut_keys = {cluster.key for cluster in _named(levels.fold, clusters)}
    open_keys: set[str] = set()
    for cluster in _named(levels.unfold, clusters):
        key: str | None = cluster.key
        while key is not None:
            open_keys.add(key)
            key = by_key[key].parent
    around = any(cluster.phase == "backward" for cluster in clusters)  # then all is within "forward" or "backward"
    depth = None if levels.depth is None else levels.depth + around
    if depth is None and levels.limit is not None and len(nodes) > levels.limit:
        depth = _fitting(nodes, clusters, home, levels.limit, 1 + around)
    for cluster in clusters:
        deep = depth is not None and cluster.depth >= depth
        cluster.folded = cluster.key in shut_keys or (deep and cluster.key not in open_keys)
    if depth is not None and levels.depth is None and any(c.folded for c in clusters):
        count = sum(c.folded and c.depth == depth for c in clusters)
        notes.append(
            f"{len(nodes):,} nodes: {count:,} scopes at depth {depth - around} were folded; "
            "depth=, unfold= and limit= say otherwise"
        )


def _fitting(nodes: Sequence[Node], clusters: Sequence[Cluster], home: Home, limit: int, least: int) -> int | None:
    """The largest depth of folding with at most so many vertices, the least one if there is none."""
    deepest = max((cluster.depth for cluster in clusters), default=0)
    at = Counter(len(home[node]) for node in nodes)
    runs = Counter(cluster.depth for cluster in clusters)
    for depth in range(deepest, least - 1, -1):
        if sum(count for where, count in at.items() if where < depth) + runs[depth] <= limit:
            return depth
    return least if deepest >= least else None


def _named(wanted: Sequence[str], clusters: Sequence[Cluster]) -> list[Cluster]:
    """The clusters of these scopes: whole paths, or the last parts of them, with dots or slashes."""
    wanted = [wanted] if isinstance(wanted, str) else wanted
    found = []
    for name in wanted:
        path = name.replace(".", "/").strip("/")
        some = [c for c in clusters if c.key == name or c.scope == path or c.scope.endswith(f"/{path}")]
        if not some:
            known = list(dict.fromkeys(c.scope.replace("/", ".") for c in clusters))
            near = get_close_matches(name, known, 3, 0.4) or known[:8]
            there = f"there are {', '.join(map(repr, near))}" if near else "this graph has no scopes"
            raise ValueError(f"draw: no scope is called {name!r}; {there}")
        found += some
    return found


def _modules(nodes: Sequence[Node], home: Home) -> dict[Node, Group]:
    """Lines within a folded cluster, by the outermost such. Leaves that no module owns stay outside: they enter it."""
    groups: dict[Node, Group] = {}
    made: dict[str, Group] = {}
    for node in nodes:
        if node.is_leaf and not node.scope:
            continue
        outermost = next((cluster for cluster in home[node] if cluster.folded), None)
        if outermost is not None:
            group = made.setdefault(outermost.key, Group("module", outermost))
            group.nodes.append(node)
            groups[node] = group
    return groups


def _single_outputs(nodes: Sequence[Node], groups: dict[Node, Group]) -> dict[Node, Group]:
    """Lines with several outputs of which one is used, with the node that selects it."""
    selecting: dict[Node, list[Node]] = defaultdict(list)
    for node in nodes:
        if not node.is_leaf and node.primitive.kind == "select" and node not in groups:
            parent = node.parents[0]
            assert parent is not None
            selecting[parent].append(node)
    return {
        node: group
        for parent, found in selecting.items()
        if len(found) == 1 and parent not in groups
        for group in [Group("chain", nodes=[parent, *found])]
        for node in group.nodes
    }


def _unit_axes(nodes: Sequence[Node], groups: dict[Node, Group]) -> dict[Node, Group]:
    """Sums and quotients with what only adds or drops axes of size 1 behind them: rules do that to fit shapes."""
    users = Counter(parent for node in nodes for parent in node.parents)
    made: dict[Node, Group] = {}
    for node in nodes:
        parent = node.parents[0] if node.parents else None
        if parent is None or not only_unit_axes(node) or node in groups or parent in groups:
            continue
        if users[parent] == 1 and parent in users and not parent.is_leaf and getattr(parent, "name", None) is None:
            group = made.get(parent, Group("chain", nodes=[parent]))
            group.nodes.append(node)
            made |= {parent: group, node: group}
    return made


def only_unit_axes(node: Node) -> bool:
    """Whether a node is a reshape that changes nothing but axes of size 1."""
    parent = node.parents[0] if node.primitive is not None and node.primitive.name == "reshape" else None
    return parent is not None and [n for n in parent.shape if n != 1] == [n for n in node.shape if n != 1]


def _chains(
    nodes: Sequence[Node], home: Home, groups: dict[Node, Group], outputs: frozenset[Node]
) -> dict[Node, Group]:
    """Elementwise nodes with the one elementwise node that uses them, if they have no name and the same scope.

    What is merged is used once and within, so no path leaves a chain and comes back.
    """
    users: dict[Node, set[Node]] = defaultdict(set)
    for node in nodes:
        for parent in node.parents:
            if parent is not None:
                users[parent].add(node)
    chains: dict[Node, Group] = {}
    for node in reversed(nodes):
        if node.is_leaf or node in groups or node.primitive.kind != "elementwise":
            continue
        user = next(iter(users[node])) if len(users[node]) == 1 else None
        free = node not in outputs and getattr(node, "name", None) is None
        if user is not None and free and user in chains and home[user] == home[node]:
            chains[node] = chains[user]
        else:
            chains[node] = Group("chain", home[node][-1] if home[node] else None)
        chains[node].nodes.append(node)
    for chain in set(chains.values()):
        chain.nodes.reverse()
    return {node: chain for node, chain in chains.items() if len(chain.nodes) > 1}


def _drawn(nodes: Sequence[Node], groups: dict[Node, Group]) -> int:
    """How many vertices there are."""
    return len({groups.get(node, node) for node in nodes})


def _blocks(nodes: Sequence[Node], groups: dict[Node, Group], limit: int, notes: list[str]) -> dict[Node, Group]:
    """What follows each other on the tape, in blocks of equal size, leaves apart: no cycles can come of it."""
    last = {groups.get(node, node): k for k, node in enumerate(nodes)}
    items = sorted(last, key=last.__getitem__)
    size = -(-len(items) // max(limit // 2, 1))
    kinds = [[x for x in items if (isinstance(x, Node) and x.is_leaf) == leaf] for leaf in (True, False)]
    parts = [kind[k : k + size] for kind in kinds for k in range(0, len(kind), size)]
    where = {item: block for part in parts if len(part) > 1 for block in [Group("block")] for item in part}
    found = {node: where.get(groups.get(node, node), groups.get(node)) for node in nodes}
    for node, group in found.items():
        if group is not None and group.kind == "block":
            group.nodes.append(node)
    notes.append(
        f"{len(items):,} vertices were too many for one page: {len(parts):,} blocks of up to {size:,} follow the tape; "
        "scopes (mg.scope) would be folded in their place, limit= says otherwise"
    )
    return {node: group for node, group in found.items() if group is not None}
