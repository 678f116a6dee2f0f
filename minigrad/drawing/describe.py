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
        tape: the lines to be shown.
        direction: in which it is to be laid out.
        levels: what is folded; nothing, if not given.
        verdicts: on the gradients of named lines. They take the place of the colors of names.
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
        lines = self.lines = tape.lines
        self.outputs = frozenset(tape.outputs)
        self.place = {line: k for k, line in enumerate(lines, 1)}
        self.backward = backward
        self.clusters, self.home = clusters(lines, phases(tape, backward), backward.origin if backward else ())
        self.groups, self.notes = folded(lines, self.clusters, self.home, tape.outputs, levels, self.phase)
        self.key = keys(lines, self.place, self.groups)
        drawn = {key: self.groups.get(line, line) for line, key in self.key.items()}
        self.last = {key: x if isinstance(x, Node) else x.last for key, x in drawn.items()}  # whose value is shown
        self.operands: list[tuple[Node, int] | None] = []  # of each edge; None where several are one
        self.labels = labels(lines, self.place)
        self.arrays = constant_arrays(lines, self.groups)
        self.open = [line for line in lines if self.is_open(line)]
        self.hues = {} if verdicts else hues(self.open, self.outputs, backward.gradient_of if backward else {})
        called = {key: name for key, (name, _) in self.arrays.items()}
        short = {line: name.partition(" = ")[0] for line, name in self.labels.items() if self.phase(line) == "backward"}
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
        kinds = Counter(line.dtype for line in self.lines if not isinstance(line.dtype, tuple))
        edges = self.edges()
        vertices = self.vertices()
        for group in self.groups.values():
            if group.kind == "module" and group.cluster is not None:
                group.cluster.vertex = self.key[group.last]
        if any(line.saved is None and line.primitive.saved for line in self.lines if not line.is_leaf):
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

    def called(self, line: Node) -> str:
        """How a note refers to a line."""
        name = self.labels.get(line)
        what = "leaf" if line.is_leaf else line.primitive.name
        return f"{name} ({what}, line {self.place[line]})" if name else f"{what} (line {self.place[line]})"

    def phase(self, line: Node) -> Phase:
        """The pass that a line belongs to."""
        return "backward" if self.backward and line in self.backward.origin else "forward"

    def gradient_of(self, line: Node) -> str:
        """The vertex of the value that a line is the gradient of."""
        value = self.backward.gradient_of.get(line) if self.backward else None
        return self.key[value] if value is not None and self.is_open(value) else ""

    def is_open(self, line: Node) -> bool:
        """Whether the line is drawn by itself, or as the last of a chain."""
        return line not in self.groups or self.groups[line].kind == "chain"

    # Vertices

    def vertices(self) -> list[Vertex]:
        """One for each line, or for the lines of a group, at the place of the last of them."""
        shown = names(self.lines)
        made = []
        for line in self.lines:
            group = self.groups.get(line)
            if group is None:
                made.append(self.line_vertex(line, shown))
            elif line is group.last:
                made.append(self.chain_vertex(group, shown) if group.kind == "chain" else self.folded(group))
        return made

    def line_vertex(self, line: Node, shown: dict[Node, str]) -> Vertex:
        """One line."""
        name = getattr(line, "name", None) or ""
        formula = "" if line.is_leaf else self.formulas.text[line]
        if line in self.formulas.called_by_place:
            formula = f"%{self.place[line]} = {formula}"
        return Vertex(
            key=self.key[line],
            kind=self.kind(line),
            name=name,
            label=self.labels.get(line, ""),
            formula=formula,
            operation="" if line.is_leaf else line.primitive.name,
            variable=shown[line],
            call=expression(line, shown),
            shape=each(line, line.shape),
            dtype=dtype_of(line),
            place=self.place[line],
            scope=line.scope,
            cluster=key_of(self.home[line]),
            phase=self.phase(line),
            gradient_of=self.gradient_of(line),
            hue=self.hues.get(line),
            verdict=self.verdicts.get(name),
        )

    def chain_vertex(self, group: Group, shown: dict[Node, str]) -> Vertex:
        """The last line of a chain, and the operations in it."""
        vertex = self.line_vertex(group.last, shown)
        vertex.lines = len(group.lines)
        if "…" in vertex.formula and sum(line.primitive.kind == "elementwise" for line in group.lines) > 1:
            vertex.details = contents(group.lines, vertex.lines, 0, [])
        return vertex

    def folded(self, group: Group) -> Vertex:
        """A vertex for a scope or a block of the tape: how much is in it, and its parameters."""
        last, cluster = group.last, group.cluster
        operations = [line for line in group.lines if not line.is_leaf]
        if cluster is None:
            first = self.place[group.lines[0]]
            name = f"lines {first:,} … {self.place[group.lines[-1]]:,}" if operations else "leaves"
            outer: tuple[Any, ...] = around(self.home[line] for line in group.lines)
            held = sum(math.prod(line.shape) for line in group.lines if line.is_leaf)
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
            lines=len(group.lines),
            details=contents(operations, len(group.lines), held, shapes),
        )

    def kind(self, line: Node) -> Any:
        """A leaf in a scope is a parameter: modules place theirs where they are used."""
        if line in self.outputs and not (self.backward and line in self.backward.seeds):
            return "output"
        if not line.is_leaf:
            return "operation"
        return "parameter" if line.scope else "input"

    def constants(self) -> list[Vertex]:
        """Constant arrays, drawn where they are used."""
        users: dict[int, list[Any]] = defaultdict(list)
        phases: dict[int, Phase] = {}
        for line in self.lines:
            for value in constants_of(line):
                if id(value) in self.arrays:
                    group = self.groups.get(line)
                    depth = group.cluster.depth - 1 if group and group.kind == "module" and group.cluster else None
                    users[id(value)].append(self.home[line][:depth])
                    phases.setdefault(id(value), self.phase(line))
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
        paths = strands(self.lines, self.hues, self.home)
        made: list[Edge] = []
        joint: dict[tuple[str, str], Edge] = {}
        for line in self.lines:
            formulas = self.formulas.shares(line) if "formulas" in self.shown and line in self.formulas.of else []
            for k, parent in enumerate(line.parents):
                if parent is None or (a := self.key[parent]) == (b := self.key[line]):
                    continue
                alone = self.is_open(parent) and self.is_open(line)
                if (a, b) in joint and not alone:
                    joint[a, b].count += 1
                    continue
                edge = Edge(a, b, operand_name(line, k), formula=formulas[k] if formulas else "")
                if self.phase(parent) != self.phase(line):
                    edge.kind = "saved"
                elif alone:
                    edge.strands = tuple(self.key[target] for target in paths[line])
                made.append(edge)
                self.operands.append((line, k) if alone else None)
                joint.setdefault((a, b), edge)
        return made

    def constant_edges(self) -> list[Edge]:
        """From constant arrays to their users."""
        return list(
            {
                (name, self.key[line]): Edge(name, self.key[line], kind="constant")
                for line in self.lines
                for value in constants_of(line)
                if id(value) in self.arrays
                for name in [self.arrays[id(value)][0]]
            }.values()
        )
