"""From the tape to a Graph."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from minigrad.drawing.backward import Backward, differentiated, phases
from minigrad.drawing.clusters import around, clusters
from minigrad.drawing.constants import constant_arrays, constants_of
from minigrad.drawing.fold import Group, Levels, folded
from minigrad.drawing.formulas import Formulas
from minigrad.drawing.labels import contents, dtype_of, folded_names, key_of, keys, labels, operand_name
from minigrad.drawing.model import Edge, Graph, Phase, Verdict, Vertex
from minigrad.drawing.strands import hues, strands
from minigrad.engine.node import Node
from minigrad.engine.tape import Tape
from minigrad.engine.tape_text import each, expression, names

RELEASED = (
    "Saved values were released by backward(), so constants are not shown, and of gradients those of leaves only. "
    "Draw before it, or call backward(retain_graph=True)."
)


def describe(
    tape: Tape,
    *,
    direction: str = "TB",
    levels: Levels | None = None,
    verdicts: Mapping[str, Verdict] | None = None,
    known: Mapping[Node, Any] | None = None,
    values: bool = False,
    grads: Any = False,
    formulas: bool = False,
    backward: bool = False,
) -> Graph:
    """The graph of a tape.

    Args:
        tape: the nodes to be shown.
        direction: in which it is to be laid out.
        levels: what is folded; nothing, if not given.
        verdicts: on the gradients of named nodes. They take the place of the colors of names.
        known: values of outputs, which a tape does not hold.
        values: show statistics of values.
        grads: show norms of gradients; or the gradients of the outputs to start from.
        formulas: show what the rules hand back.
        backward: show the backward pass too; grads say where it starts.
    """
    gradient: Backward | None = None
    if backward:
        tape, gradient = differentiated(tape, True if grads is False else grads)
        known, grads = {**(known or {}), **gradient.seeds}, False
    asked = {
        "backward": backward,
        "values": values,
        "grads": grads is not False,
        "formulas": formulas,
        "verdicts": bool(verdicts),
    }
    shown = frozenset(name for name, wanted in asked.items() if wanted)
    made = Description(tape, levels or Levels(limit=None), verdicts or {}, shown, gradient)
    graph = made.graph(direction)
    if values or grads is not False:
        from minigrad.drawing.annotate import annotate

        annotate(made, graph, known or {}, values, grads)
    return graph


class Description:
    """What a graph is made from."""

    def __init__(
        self,
        tape: Tape,
        levels: Levels,
        verdicts: Mapping[str, Verdict],
        shown: frozenset[str],
        backward: Backward | None = None,
    ) -> None:
        self.tape, self.verdicts, self.shown = tape, verdicts, shown
        nodes = self.nodes = tape.nodes
        self.outputs = frozenset(tape.outputs)
        self.place = {node: k for k, node in enumerate(nodes, 1)}
        self.backward = backward
        self.clusters, self.home = clusters(nodes, phases(tape, backward), backward.origin if backward else ())
        self.groups, self.notes = folded(nodes, self.clusters, self.home, tape.outputs, levels, self.phase)
        self.key = keys(nodes, self.place, self.groups)
        drawn = {key: self.groups.get(node, node) for node, key in self.key.items()}
        self.last = {key: x if isinstance(x, Node) else x.last for key, x in drawn.items()}  # whose value is shown
        self.operands: list[tuple[Node, int] | None] = []  # of each edge; None where several are one
        self.labels = labels(nodes, self.place)
        self.arrays = constant_arrays(nodes, self.groups)
        self.open = [node for node in nodes if self.is_open(node)]
        self.hues = {} if verdicts else hues(self.open, self.outputs, backward.gradient_of if backward else {})
        called = {key: name for key, (name, _) in self.arrays.items()}
        short = {node: name.partition(" = ")[0] for node, name in self.labels.items() if self.phase(node) == "backward"}
        self.formulas = Formulas(
            self.open,
            self.labels | short,
            called,
            self.home,
            self.place,
            folded_names(self.groups),
            self.groups,
            self.phase,
        )

    def graph(self, direction: str) -> Graph:
        """The graph, without numbers."""
        kinds = Counter(node.dtype for node in self.nodes if not isinstance(node.dtype, tuple))
        edges = self.edges()
        vertices = self.vertices()
        for group in self.groups.values():
            if group.kind == "module" and group.cluster is not None:
                group.cluster.vertex = self.key[group.last]
        if any(node.residuals is None and node.primitive.residuals for node in self.nodes if not node.is_leaf):
            self.notes.append(RELEASED)
        return Graph(
            vertices=[*vertices, *self.constants()],
            edges=[*edges, *self.constant_edges()],
            clusters=self.clusters,
            direction=direction,
            dtype=str(kinds.most_common(1)[0][0]) if kinds else "",
            notes=self.notes,
            shown=self.shown,
        )

    def called(self, node: Node) -> str:
        """How a note refers to a node."""
        name = self.labels.get(node)
        what = "leaf" if node.is_leaf else node.primitive.name
        return f"{name} ({what}, node {self.place[node]})" if name else f"{what} (node {self.place[node]})"

    def phase(self, node: Node) -> Phase:
        """The pass that a node belongs to."""
        return "backward" if self.backward and node in self.backward.origin else "forward"

    def gradient_of(self, node: Node) -> str:
        """The vertex of the value that a node is the gradient of."""
        value = self.backward.gradient_of.get(node) if self.backward else None
        return self.key[value] if value is not None and self.is_open(value) else ""

    def is_open(self, node: Node) -> bool:
        """Whether the node is drawn by itself, or as the last of a chain."""
        return node not in self.groups or self.groups[node].kind == "chain"

    # Vertices

    def vertices(self) -> list[Vertex]:
        """One for each node, or for the nodes of a group, at the place of the last of them."""
        shown = names(self.nodes)
        made = []
        for node in self.nodes:
            group = self.groups.get(node)
            if group is None:
                made.append(self.line_vertex(node, shown))
            elif node is group.last:
                made.append(self.chain_vertex(group, shown) if group.kind == "chain" else self.folded(group))
        return made

    def line_vertex(self, node: Node, shown: dict[Node, str]) -> Vertex:
        """One node."""
        name = getattr(node, "name", None) or ""
        formula = "" if node.is_leaf else self.formulas.text[node]
        if node in self.formulas.called_by_place:
            formula = f"%{self.place[node]} = {formula}"
        return Vertex(
            key=self.key[node],
            kind=self.kind(node),
            name=name,
            label=self.labels.get(node, ""),
            formula=formula,
            operation="" if node.is_leaf else node.primitive.name,
            variable=shown[node],
            call=expression(node, shown),
            shape=each(node, node.shape),
            dtype=dtype_of(node),
            place=self.place[node],
            scope=node.scope,
            cluster=key_of(self.home[node]),
            phase=self.phase(node),
            gradient_of=self.gradient_of(node),
            hue=self.hues.get(node),
            verdict=self.verdicts.get(name),
        )

    def chain_vertex(self, group: Group, shown: dict[Node, str]) -> Vertex:
        """The last node of a chain, and the operations in it."""
        vertex = self.line_vertex(group.last, shown)
        vertex.nodes = len(group.nodes)
        if "…" in vertex.formula and sum(node.primitive.kind == "elementwise" for node in group.nodes) > 1:
            vertex.details = contents(group.nodes, vertex.nodes, 0, [])
        return vertex

    def folded(self, group: Group) -> Vertex:
        """A vertex for a scope or a block of the tape: how much is in it, and its parameters."""
        last, cluster = group.last, group.cluster
        operations = [node for node in group.nodes if not node.is_leaf]
        if cluster is None:
            first = self.place[group.nodes[0]]
            name = f"nodes {first:,} … {self.place[group.nodes[-1]]:,}" if operations else "leaves"
            outer: tuple[Any, ...] = around(self.home[node] for node in group.nodes)
            held = sum(math.prod(node.shape) for node in group.nodes if node.is_leaf)
            shapes: list[tuple[str, str]] = []
        else:
            name, held, shapes = cluster.name, cluster.parameters, cluster.shapes
            outer = self.home[last][: cluster.depth - 1] if not last.is_leaf else ()
        return Vertex(
            key=self.key[last],
            kind="module",
            name=name,
            label=name,
            shape=each(last, last.shape) if operations else "",
            dtype=dtype_of(last) if operations else "",
            place=self.place[last],
            scope=cluster.scope if cluster else "",
            cluster=key_of(outer),
            phase=self.phase(last),
            nodes=len(group.nodes),
            details=contents(operations, len(group.nodes), held, shapes),
        )

    def kind(self, node: Node) -> Any:
        """A leaf in a scope is a parameter: modules place theirs where they are used."""
        if node in self.outputs and not (self.backward and node in self.backward.seeds):
            return "output"
        if not node.is_leaf:
            return "operation"
        return "parameter" if node.scope else "input"

    def constants(self) -> list[Vertex]:
        """Constant arrays, drawn where they are used."""
        users: dict[int, list[Any]] = defaultdict(list)
        phases: dict[int, Phase] = {}
        for node in self.nodes:
            for value in constants_of(node):
                if id(value) in self.arrays:
                    group = self.groups.get(node)
                    depth = group.cluster.depth - 1 if group and group.kind == "module" and group.cluster else None
                    users[id(value)].append(self.home[node][:depth])
                    phases.setdefault(id(value), self.phase(node))
        return [
            Vertex(
                key=name,
                kind="constant",
                name=name,
                label=name,
                shape=str(value.shape),
                dtype=str(value.dtype),
                cluster=key_of(around(users[which])),
                phase=phases[which],
            )
            for which, (name, value) in self.arrays.items()
        ]

    # Edges

    def edges(self) -> list[Edge]:
        """One for each operand. Between folded vertices, and from or to them, one for all."""
        paths = strands(self.nodes, self.hues, self.home)
        made: list[Edge] = []
        joint: dict[tuple[str, str], Edge] = {}
        for node in self.nodes:
            formulas = (
                self.formulas.contributions(node) if "formulas" in self.shown and node in self.formulas.of else []
            )
            for k, parent in enumerate(node.parents):
                if parent is None or (a := self.key[parent]) == (b := self.key[node]):
                    continue
                alone = self.is_open(parent) and self.is_open(node)
                if (a, b) in joint and not alone:
                    joint[a, b].count += 1
                    continue
                edge = Edge(a, b, operand_name(node, k), formula=formulas[k] if formulas else "")
                if self.phase(parent) != self.phase(node):
                    edge.kind = "saved"
                elif alone:
                    edge.strands = tuple(self.key[target] for target in paths[node])
                made.append(edge)
                self.operands.append((node, k) if alone else None)
                joint.setdefault((a, b), edge)
        return made

    def constant_edges(self) -> list[Edge]:
        """From constant arrays to their users."""
        return list(
            {
                (name, self.key[node]): Edge(name, self.key[node], kind="constant")
                for node in self.nodes
                for value in constants_of(node)
                if id(value) in self.arrays
                for name in [self.arrays[id(value)][0]]
            }.values()
        )
