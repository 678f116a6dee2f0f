"""Which lines are drawn as one vertex: folded scopes, chains of elementwise operations, and blocks of what is left."""

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
    as_drawn: bool = True  # else scopes are only marked as folded, and every line has its vertex


@dataclass(eq=False)
class Group:
    """Lines that are drawn as one vertex."""

    kind: Literal["module", "chain", "block"]
    cluster: Cluster | None = None  # of a module the one that is folded
    lines: list[Node] = field(default_factory=list)
    exit: Node | None = None

    @property
    def last(self) -> Node:
        """The line whose value the vertex stands for: the last that is used outside, else the last."""
        return self.exit or self.lines[-1]


def folded(
    lines: Sequence[Node],
    clusters: Sequence[Cluster],
    home: Home,
    outputs: Iterable[Node],
    levels: Levels,
    phase: Callable[[Node], Phase],
) -> tuple[dict[Node, Group], list[str]]:
    """The group of each line that is not drawn by itself, and notes of what was folded without being asked for."""
    notes: list[str] = []
    _fold_scopes(lines, clusters, home, levels, notes)
    if not levels.as_drawn:
        return {}, notes
    groups = _modules(lines, home)
    groups |= _single_outputs(lines, groups)
    groups |= _unit_axes([line for line in lines if phase(line) == "backward"], groups)
    if levels.collapse == "elementwise":
        groups |= _chains(lines, home, groups, frozenset(outputs))
    if levels.limit is not None and _drawn(lines, groups) > levels.limit:
        groups = _blocks(lines, groups, levels.limit, notes)
    _find_exits(lines, groups, outputs, phase)
    return groups, notes


def _find_exits(
    lines: Sequence[Node], groups: dict[Node, Group], outputs: Iterable[Node], phase: Callable[[Node], Phase]
) -> None:
    """What comes out of each group: for its own pass, as the backward pass uses saved values from within."""
    leaving = {
        parent
        for line in lines
        for parent in line.parents
        if parent in groups and groups.get(line) is not groups[parent] and phase(line) == phase(parent)
    }
    leaving |= {line for line in outputs if line in groups}
    for line in lines:
        if line in leaving and groups[line].kind != "chain":
            groups[line].exit = line


def _fold_scopes(
    lines: Sequence[Node], clusters: Sequence[Cluster], home: Home, levels: Levels, notes: list[str]
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
    if depth is None and levels.limit is not None and len(lines) > levels.limit:
        depth = _fitting(lines, clusters, home, levels.limit, 1 + around)
    for cluster in clusters:
        deep = depth is not None and cluster.depth >= depth
        cluster.folded = cluster.key in shut_keys or (deep and cluster.key not in open_keys)
    if depth is not None and levels.depth is None and any(c.folded for c in clusters):
        count = sum(c.folded and c.depth == depth for c in clusters)
        notes.append(
            f"{len(lines):,} lines: {count:,} scopes at depth {depth - around} were folded; "
            "depth=, unfold= and limit= say otherwise"
        )


def _fitting(lines: Sequence[Node], clusters: Sequence[Cluster], home: Home, limit: int, least: int) -> int | None:
    """The largest depth of folding with at most so many vertices, the least one if there is none."""
    deepest = max((cluster.depth for cluster in clusters), default=0)
    at = Counter(len(home[line]) for line in lines)
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


def _modules(lines: Sequence[Node], home: Home) -> dict[Node, Group]:
    """Lines within a folded cluster, by the outermost such. Leaves that no module owns stay outside: they enter it."""
    groups: dict[Node, Group] = {}
    made: dict[str, Group] = {}
    for line in lines:
        if line.is_leaf and not line.scope:
            continue
        outermost = next((cluster for cluster in home[line] if cluster.folded), None)
        if outermost is not None:
            group = made.setdefault(outermost.key, Group("module", outermost))
            group.lines.append(line)
            groups[line] = group
    return groups


def _single_outputs(lines: Sequence[Node], groups: dict[Node, Group]) -> dict[Node, Group]:
    """Lines with several outputs of which one is used, with the line that selects it."""
    selecting: dict[Node, list[Node]] = defaultdict(list)
    for line in lines:
        if not line.is_leaf and line.primitive.kind == "select" and line not in groups:
            parent = line.parents[0]
            assert parent is not None
            selecting[parent].append(line)
    return {
        line: group
        for parent, found in selecting.items()
        if len(found) == 1 and parent not in groups
        for group in [Group("chain", lines=[parent, *found])]
        for line in group.lines
    }


def _unit_axes(lines: Sequence[Node], groups: dict[Node, Group]) -> dict[Node, Group]:
    """Sums and quotients with what only adds or drops axes of size 1 behind them: rules do that to fit shapes."""
    users = Counter(parent for line in lines for parent in line.parents)
    made: dict[Node, Group] = {}
    for line in lines:
        parent = line.parents[0] if line.parents else None
        if parent is None or not only_unit_axes(line) or line in groups or parent in groups:
            continue
        if users[parent] == 1 and parent in users and not parent.is_leaf and getattr(parent, "name", None) is None:
            group = made.get(parent, Group("chain", lines=[parent]))
            group.lines.append(line)
            made |= {parent: group, line: group}
    return made


def only_unit_axes(line: Node) -> bool:
    """Whether a line is a reshape that changes nothing but axes of size 1."""
    parent = line.parents[0] if line.primitive is not None and line.primitive.name == "reshape" else None
    return parent is not None and [n for n in parent.shape if n != 1] == [n for n in line.shape if n != 1]


def _chains(
    lines: Sequence[Node], home: Home, groups: dict[Node, Group], outputs: frozenset[Node]
) -> dict[Node, Group]:
    """Elementwise lines with the one elementwise line that uses them, if they have no name and the same scope.

    What is merged is used once and within, so no path leaves a chain and comes back.
    """
    users: dict[Node, set[Node]] = defaultdict(set)
    for line in lines:
        for parent in line.parents:
            if parent is not None:
                users[parent].add(line)
    chains: dict[Node, Group] = {}
    for line in reversed(lines):
        if line.is_leaf or line in groups or line.primitive.kind != "elementwise":
            continue
        user = next(iter(users[line])) if len(users[line]) == 1 else None
        free = line not in outputs and getattr(line, "name", None) is None
        if user is not None and free and user in chains and home[user] == home[line]:
            chains[line] = chains[user]
        else:
            chains[line] = Group("chain", home[line][-1] if home[line] else None)
        chains[line].lines.append(line)
    for chain in set(chains.values()):
        chain.lines.reverse()
    return {line: chain for line, chain in chains.items() if len(chain.lines) > 1}


def _drawn(lines: Sequence[Node], groups: dict[Node, Group]) -> int:
    """How many vertices there are."""
    return len({groups.get(line, line) for line in lines})


def _blocks(lines: Sequence[Node], groups: dict[Node, Group], limit: int, notes: list[str]) -> dict[Node, Group]:
    """What follows each other on the tape, in blocks of equal size, leaves apart: no cycles can come of it."""
    last = {groups.get(line, line): k for k, line in enumerate(lines)}
    items = sorted(last, key=last.__getitem__)
    size = -(-len(items) // max(limit // 2, 1))
    kinds = [[x for x in items if (isinstance(x, Node) and x.is_leaf) == leaf] for leaf in (True, False)]
    parts = [kind[k : k + size] for kind in kinds for k in range(0, len(kind), size)]
    where = {item: block for part in parts if len(part) > 1 for block in [Group("block")] for item in part}
    found = {line: where.get(groups.get(line, line), groups.get(line)) for line in lines}
    for line, group in found.items():
        if group is not None and group.kind == "block":
            group.lines.append(line)
    notes.append(
        f"{len(items):,} vertices were too many for one page: {len(parts):,} blocks of up to {size:,} follow the tape; "
        "scopes (mg.scope) would be folded in their place, limit= says otherwise"
    )
    return {line: group for line, group in found.items() if group is not None}
