"""The vertices, edges and clusters of a tape."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from minigrad.drawing.graph.backward_pass import Backward, scope_paths
from minigrad.drawing.graph.folding import Group, Levels, fold_nodes
from minigrad.drawing.graph.labels import (
    constant_arrays,
    constant_operands,
    contents,
    dtype_text,
    folded_names,
    innermost_key,
    named_targets,
    node_labels,
    operand_name,
    value_colors,
    vertex_keys,
)
from minigrad.drawing.graph.model import Edge, Graph, Kind, Phase, Verdict, Vertex
from minigrad.drawing.graph.node_formulas import NodeFormulas
from minigrad.drawing.graph.scopes import common_clusters, find_clusters
from minigrad.engine.node import Node
from minigrad.engine.tape import Tape
from minigrad.engine.tape_text import each, expression, names

RELEASED = (
    "backward() released the saved values, so constants are not shown, and gradients only for leaves. Draw before it, "
    "or call backward(retain_graph=True)."
)


class GraphBuilder:
    """Builds the Graph of a tape, and knows which vertex or edge each node or operand has become.

    Args:
        tape: the nodes to show.
        levels: what is folded.
        verdicts: on the gradients of named nodes.
        shown: the options that are on, as in `Graph.shown`.
        backward: which of the nodes belong to the backward pass, if it is shown.
    """

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
        self.clusters, self.home = find_clusters(
            nodes, scope_paths(tape, backward), backward.origin if backward else ()
        )
        self.groups, self.notes = fold_nodes(nodes, self.clusters, self.home, tape.outputs, levels, self.phase)
        self.key = vertex_keys(nodes, self.place, self.groups)
        drawn = {key: self.groups.get(node, node) for node, key in self.key.items()}
        self.last = {key: x if isinstance(x, Node) else x.last for key, x in drawn.items()}  # whose value is shown
        self.operands: list[tuple[Node, int] | None] = []  # of each edge; None if it stands for several
        self.labels = node_labels(nodes, self.place)
        self.arrays = constant_arrays(nodes, self.groups)
        self.open = [node for node in nodes if self.is_open(node)]
        gradient_of = backward.gradient_of if backward else {}
        self.colors = {} if verdicts else value_colors(self.open, self.outputs, gradient_of)
        short = {node: name.partition(" = ")[0] for node, name in self.labels.items() if self.phase(node) == "backward"}
        self.formulas = NodeFormulas(
            self.open,
            labels=self.labels | short,
            arrays={key: name for key, (name, _) in self.arrays.items()},
            home=self.home,
            places=self.place,
            folded=folded_names(self.groups),
            merged=self.groups,
            phase=self.phase,
        )

    def graph(self, direction: str) -> Graph:
        """The graph, without numbers."""
        dtypes = Counter(node.dtype for node in self.nodes if not isinstance(node.dtype, tuple))
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
            dtype=str(dtypes.most_common(1)[0][0]) if dtypes else "",
            notes=self.notes,
            shown=self.shown,
        )

    def description(self, node: Node) -> str:
        """A node as notes refer to it: "log (node 2)", "y (exp, node 3)"."""
        label = self.labels.get(node)
        operation = "leaf" if node.is_leaf else node.primitive.name
        return f"{label} ({operation}, node {self.place[node]})" if label else f"{operation} (node {self.place[node]})"

    def phase(self, node: Node) -> Phase:
        """The pass to which a node belongs."""
        return "backward" if self.backward and node in self.backward.origin else "forward"

    def gradient_of(self, node: Node) -> str:
        """The key of the value of which a node is the gradient; "" if there is none."""
        value = self.backward.gradient_of.get(node) if self.backward else None
        return self.key[value] if value is not None and self.is_open(value) else ""

    def is_open(self, node: Node) -> bool:
        """Whether a node has a vertex of its own or belongs to a chain."""
        return node not in self.groups or self.groups[node].kind == "chain"

    # Vertices

    def vertices(self) -> list[Vertex]:
        """One for each node or group; that of a group comes at the place of its last node."""
        variables = names(self.nodes)
        vertices = []
        for node in self.nodes:
            group = self.groups.get(node)
            if group is None:
                vertices.append(self.node_vertex(node, variables))
            elif node is group.last:
                is_chain = group.kind == "chain"
                vertices.append(self.chain_vertex(group, variables) if is_chain else self.group_vertex(group))
        return vertices

    def node_vertex(self, node: Node, variables: dict[Node, str]) -> Vertex:
        """The vertex of one node."""
        name = getattr(node, "name", None) or ""
        formula = "" if node.is_leaf else self.formulas.text[node]
        if node in self.formulas.named_by_place:
            formula = f"%{self.place[node]} = {formula}"
        return Vertex(
            key=self.key[node],
            kind=self.kind(node),
            name=name,
            label=self.labels.get(node, ""),
            formula=formula,
            operation="" if node.is_leaf else node.primitive.name,
            variable=variables[node],
            call=expression(node, variables),
            shape=each(node, node.shape),
            dtype=dtype_text(node),
            place=self.place[node],
            scope=node.scope,
            cluster=innermost_key(self.home[node]),
            phase=self.phase(node),
            gradient_of=self.gradient_of(node),
            color=self.colors.get(node),
            verdict=self.verdicts.get(name),
        )

    def chain_vertex(self, group: Group, variables: dict[Node, str]) -> Vertex:
        """The vertex of the last node of a chain; it lists the operations if the formula is abbreviated."""
        vertex = self.node_vertex(group.last, variables)
        vertex.nodes = len(group.nodes)
        if "…" in vertex.formula and sum(node.primitive.kind == "elementwise" for node in group.nodes) > 1:
            vertex.details = contents(group.nodes, vertex.nodes, 0, [])
        return vertex

    def group_vertex(self, group: Group) -> Vertex:
        """The vertex of a scope or a block of the tape, with its operations and parameters."""
        last, cluster = group.last, group.cluster
        operations = [node for node in group.nodes if not node.is_leaf]
        if cluster is None:
            first = self.place[group.nodes[0]]
            name = f"nodes {first:,} … {self.place[group.nodes[-1]]:,}" if operations else "leaves"
            outer: tuple[Any, ...] = common_clusters(self.home[node] for node in group.nodes)
            parameters = sum(math.prod(node.shape) for node in group.nodes if node.is_leaf)
            shapes: list[tuple[str, str]] = []
        else:
            name, parameters, shapes = cluster.name, cluster.parameters, cluster.shapes
            outer = self.home[last][: cluster.depth - 1] if not last.is_leaf else ()
        return Vertex(
            key=self.key[last],
            kind="module",
            name=name,
            label=name,
            shape=each(last, last.shape) if operations else "",
            dtype=dtype_text(last) if operations else "",
            place=self.place[last],
            scope=cluster.scope if cluster else "",
            cluster=innermost_key(outer),
            phase=self.phase(last),
            nodes=len(group.nodes),
            details=contents(operations, len(group.nodes), parameters, shapes),
        )

    def kind(self, node: Node) -> Kind:
        """The kind of vertex for a node. A leaf in a scope is a parameter, as modules give theirs their scope."""
        if node in self.outputs and not (self.backward and node in self.backward.seeds):
            return "output"
        if not node.is_leaf:
            return "operation"
        return "parameter" if node.scope else "input"

    def constants(self) -> list[Vertex]:
        """Constant arrays, each in the innermost cluster around its users."""
        users: dict[int, list[Any]] = defaultdict(list)
        phases: dict[int, Phase] = {}
        for node in self.nodes:
            for value in constant_operands(node):
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
                cluster=innermost_key(common_clusters(users[i])),
                phase=phases[i],
            )
            for i, (name, value) in self.arrays.items()
        ]

    # Edges

    def edges(self) -> list[Edge]:
        """One for each operand; only one between two vertices if one of them is folded."""
        targets = named_targets(self.nodes, self.colors, self.home)
        edges: list[Edge] = []
        between: dict[tuple[str, str], Edge] = {}
        for node in self.nodes:
            formulas = (
                self.formulas.contributions(node) if "formulas" in self.shown and node in self.formulas.of else []
            )
            for k, parent in enumerate(node.parents):
                if parent is None or (a := self.key[parent]) == (b := self.key[node]):
                    continue
                are_open = self.is_open(parent) and self.is_open(node)
                if (a, b) in between and not are_open:
                    between[a, b].count += 1
                    continue
                edge = Edge(a, b, operand_name(node, k), formula=formulas[k] if formulas else "")
                if self.phase(parent) != self.phase(node):
                    edge.kind = "saved"
                elif are_open:
                    edge.leads_to = tuple(self.key[target] for target in targets[node])
                edges.append(edge)
                self.operands.append((node, k) if are_open else None)
                between.setdefault((a, b), edge)
        return edges

    def constant_edges(self) -> list[Edge]:
        """From constant arrays to their users."""
        return list(
            {
                (name, self.key[node]): Edge(name, self.key[node], kind="constant")
                for node in self.nodes
                for value in constant_operands(node)
                if id(value) in self.arrays
                for name in [self.arrays[id(value)][0]]
            }.values()
        )
