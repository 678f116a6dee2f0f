"""Which nodes are drawn as one vertex: folded scopes, chains of elementwise operations, and blocks of the tape."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from minigrad.drawing.graph.model import Cluster, Phase
from minigrad.drawing.graph.scopes import ClustersOf
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
    only_mark: bool = False  # mark the scopes that are folded, but give every node a vertex of its own

    def __post_init__(self) -> None:
        if self.collapse not in (None, "elementwise"):
            raise ValueError(f"draw: collapse={self.collapse!r}; the only option is 'elementwise'")
        if self.depth is not None and (not isinstance(self.depth, int) or self.depth < 1):
            raise ValueError(f"draw: depth={self.depth!r}; it must be 1 (one node per outermost scope) or more")


@dataclass(eq=False)
class Group:
    """Nodes that are drawn as one vertex."""

    kind: Literal["module", "chain", "block"]
    cluster: Cluster | None = None  # the folded one, if this is a module
    nodes: list[Node] = field(default_factory=list)
    exit: Node | None = None

    @property
    def last(self) -> Node:
        """The node whose value the vertex shows: the last one that is used outside, or else the last one."""
        return self.exit or self.nodes[-1]


def fold_nodes(
    nodes: Sequence[Node],
    clusters: Sequence[Cluster],
    home: ClustersOf,
    outputs: Iterable[Node],
    levels: Levels,
    phase: Callable[[Node], Phase],
) -> tuple[dict[Node, Group], list[str]]:
    """The group of each node that has no vertex of its own, and notes on what was folded without a request."""
    notes: list[str] = []
    _mark_folded_scopes(nodes, clusters, home, levels, notes)
    if levels.only_mark:
        return {}, notes
    groups = _modules(nodes, home)
    groups |= _single_outputs(nodes, groups)
    groups |= _unit_axes([node for node in nodes if phase(node) == "backward"], groups)
    if levels.collapse == "elementwise":
        groups |= _chains(nodes, home, groups, frozenset(outputs))
    if levels.limit is not None and _vertex_count(nodes, groups) > levels.limit:
        groups = _blocks(nodes, groups, levels.limit, notes)
    _find_exits(nodes, groups, outputs, phase)
    return groups, notes


def _find_exits(
    nodes: Sequence[Node], groups: dict[Node, Group], outputs: Iterable[Node], phase: Callable[[Node], Phase]
) -> None:
    """Set the exit of each group. Only uses in its own pass count, as the backward pass uses residuals from inside."""
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


def _mark_folded_scopes(
    nodes: Sequence[Node], clusters: Sequence[Cluster], home: ClustersOf, levels: Levels, notes: list[str]
) -> None:
    """Mark the clusters that are folded. Without a depth, use the largest depth at which the picture fits on a page."""
    by_key = {cluster.key: cluster for cluster in clusters}
    fold_keys = {cluster.key for cluster in _find_scopes(levels.fold, clusters)}
    unfold_keys: set[str] = set()
    for cluster in _find_scopes(levels.unfold, clusters):
        key: str | None = cluster.key
        while key is not None:
            unfold_keys.add(key)
            key = by_key[key].parent
    extra = any(cluster.phase == "backward" for cluster in clusters)  # then all is inside "forward" or "backward"
    depth = None if levels.depth is None else levels.depth + extra
    if depth is None and levels.limit is not None and len(nodes) > levels.limit:
        depth = _largest_fitting_depth(nodes, clusters, home, levels.limit, 1 + extra)
    for cluster in clusters:
        is_deep = depth is not None and cluster.depth >= depth
        cluster.folded = cluster.key in fold_keys or (is_deep and cluster.key not in unfold_keys)
    if depth is not None and levels.depth is None and any(c.folded for c in clusters):
        count = sum(c.folded and c.depth == depth for c in clusters)
        notes.append(
            f"{len(nodes):,} nodes: {count:,} scopes at depth {depth - extra} were folded; "
            "depth=, unfold= and limit= change this"
        )


def _largest_fitting_depth(
    nodes: Sequence[Node], clusters: Sequence[Cluster], home: ClustersOf, limit: int, least: int
) -> int | None:
    """The largest depth of folding with at most `limit` vertices; the least one if none fits, None without scopes."""
    deepest = max((cluster.depth for cluster in clusters), default=0)
    nodes_at = Counter(len(home[node]) for node in nodes)
    runs = Counter(cluster.depth for cluster in clusters)
    for depth in range(deepest, least - 1, -1):
        if sum(count for at, count in nodes_at.items() if at < depth) + runs[depth] <= limit:
            return depth
    return least if deepest >= least else None


def _find_scopes(names: Sequence[str], clusters: Sequence[Cluster]) -> list[Cluster]:
    """The clusters of these scopes: full paths, or the last parts of them, with dots or slashes."""
    names = [names] if isinstance(names, str) else names
    scopes = []
    for name in names:
        path = name.replace(".", "/").strip("/")
        matches = [c for c in clusters if c.key == name or c.scope == path or c.scope.endswith(f"/{path}")]
        if not matches:
            known = list(dict.fromkeys(c.scope.replace("/", ".") for c in clusters))
            near = get_close_matches(name, known, 3, 0.4) or known[:8]
            hint = f"there are {', '.join(map(repr, near))}" if near else "this graph has no scopes"
            raise ValueError(f"draw: no scope is called {name!r}; {hint}")
        scopes += matches
    return scopes


def _modules(nodes: Sequence[Node], home: ClustersOf) -> dict[Node, Group]:
    """Nodes inside a folded cluster, by the outermost one. Leaves that no module owns stay outside, as its inputs."""
    groups: dict[Node, Group] = {}
    by_cluster: dict[str, Group] = {}
    for node in nodes:
        if node.is_leaf and not node.scope:
            continue
        outermost = next((cluster for cluster in home[node] if cluster.folded), None)
        if outermost is not None:
            group = by_cluster.setdefault(outermost.key, Group("module", outermost))
            group.nodes.append(node)
            groups[node] = group
    return groups


def _single_outputs(nodes: Sequence[Node], groups: dict[Node, Group]) -> dict[Node, Group]:
    """Nodes with several outputs of which one is used, together with the node that selects it."""
    selecting: dict[Node, list[Node]] = defaultdict(list)
    for node in nodes:
        if not node.is_leaf and node.primitive.kind == "select" and node not in groups:
            parent = node.parents[0]
            assert parent is not None
            selecting[parent].append(node)
    return {
        node: group
        for parent, selectors in selecting.items()
        if len(selectors) == 1 and parent not in groups
        for group in [Group("chain", nodes=[parent, *selectors])]
        for node in group.nodes
    }


def _unit_axes(nodes: Sequence[Node], groups: dict[Node, Group]) -> dict[Node, Group]:
    """Nodes followed by reshapes that only add or drop axes of size 1, which rules do to fit shapes."""
    users = Counter(parent for node in nodes for parent in node.parents)
    chains: dict[Node, Group] = {}
    for node in nodes:
        parent = node.parents[0] if node.parents else None
        if parent is None or not only_unit_axes(node) or node in groups or parent in groups:
            continue
        if users[parent] == 1 and parent in users and not parent.is_leaf and getattr(parent, "name", None) is None:
            group = chains.get(parent, Group("chain", nodes=[parent]))
            group.nodes.append(node)
            chains |= {parent: group, node: group}
    return chains


def only_unit_axes(node: Node) -> bool:
    """Whether a node is a reshape that only adds or drops axes of size 1."""
    parent = node.parents[0] if node.primitive is not None and node.primitive.name == "reshape" else None
    return parent is not None and [n for n in parent.shape if n != 1] == [n for n in node.shape if n != 1]


def _chains(
    nodes: Sequence[Node], home: ClustersOf, groups: dict[Node, Group], outputs: frozenset[Node]
) -> dict[Node, Group]:
    """Elementwise nodes together with the only elementwise node that uses them, if unnamed and in the same scope.

    A merged node is used only inside its chain, so no path leaves a chain and comes back.
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
        is_internal = node not in outputs and getattr(node, "name", None) is None
        if user is not None and is_internal and user in chains and home[user] == home[node]:
            chains[node] = chains[user]
        else:
            chains[node] = Group("chain", home[node][-1] if home[node] else None)
        chains[node].nodes.append(node)
    for chain in set(chains.values()):
        chain.nodes.reverse()
    return {node: chain for node, chain in chains.items() if len(chain.nodes) > 1}


def _vertex_count(nodes: Sequence[Node], groups: dict[Node, Group]) -> int:
    return len({groups.get(node, node) for node in nodes})


def _blocks(nodes: Sequence[Node], groups: dict[Node, Group], limit: int, notes: list[str]) -> dict[Node, Group]:
    """Consecutive vertices in blocks of equal size. Leaves have blocks of their own, so no cycles can arise."""
    last = {groups.get(node, node): k for k, node in enumerate(nodes)}
    vertices = sorted(last, key=last.__getitem__)
    size = -(-len(vertices) // max(limit // 2, 1))
    leaves = [x for x in vertices if isinstance(x, Node) and x.is_leaf]
    others = [x for x in vertices if not (isinstance(x, Node) and x.is_leaf)]
    parts = [kind[k : k + size] for kind in (leaves, others) for k in range(0, len(kind), size)]
    block_of = {vertex: block for part in parts if len(part) > 1 for block in [Group("block")] for vertex in part}
    result = {node: block_of.get(groups.get(node, node), groups.get(node)) for node in nodes}
    for node, group in result.items():
        if group is not None and group.kind == "block":
            group.nodes.append(node)
    notes.append(
        f"{len(vertices):,} vertices were too many for one page: {len(parts):,} blocks of up to {size:,} follow the "
        "tape; scopes (mg.scope) would be folded instead, and limit= changes how many fit"
    )
    return {node: group for node, group in result.items() if group is not None}
