"""Nodes of the tape as formulas, "(x − μ) / √(σ² + 1e-05)", and their contributions to their operands.

Both come from `minigrad.symbols`: the value from the node's operation, contributions from its rules, run on symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from minigrad.drawing.graph.folding import only_unit_axes
from minigrad.drawing.graph.labels import shared
from minigrad.drawing.graph.model import Phase
from minigrad.engine.node import Node
from minigrad.engine.tape_text import kept
from minigrad.symbols import Expression, Name, computed, contributions, text
from minigrad.symbols.expression import Call, constant, mapped, size

WIDTH = 30  # characters of a formula; operands that would make it longer are written as …
CHAIN_WIDTH = 60  # for a chain of elementwise operations
BACKWARD_WIDTH = 44  # in the backward pass, where names are as long as dl/dσ²
NAMED_WIDTH = 110  # in the backward pass, for nodes that have a name
CONTRIBUTION_WIDTH = 44  # on an edge
IMPLIED = ("shape=", "stops=", "keepdims=")  # params that follow from the shape below the formula
INFIX = ("add", "subtract", "multiply", "divide", "matmul")
ELLIPSIS = Name("…")


class NodeFormulas:
    """For each node, the formula of its value, as an expression (`of`) and as text (`text`).

    A named operand is written by its name. One without a name is written out as a formula if it is in the same cluster
    and fits into the width, otherwise as an ellipsis: the edge of the picture shows what it is.

    Args:
        nodes: nodes of a tape, in order.
        labels: labels of the nodes that have one.
        arrays: names of constant arrays, by their id.
        home: the clusters around each node; formulas do not cross the border of a cluster.
        places: the place of each node. On an edge it stands for a node whose formula is too long.
        folded: for nodes that are folded, the name of their scope.
        merged: nodes that are drawn as one vertex with other nodes.
        phase: gives the pass of a node. Formulas of the backward pass may write out values of the forward pass.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        *,
        labels: Mapping[Node, str],
        arrays: Mapping[int, str],
        home: Mapping[Node, Any],
        places: Mapping[Node, int],
        folded: Mapping[Node, str],
        merged: Container[Node],
        phase: Callable[[Node], Phase],
    ) -> None:
        self.folded, self.merged, self.phase = folded, merged, phase
        self.labels, self.arrays, self.home, self.places = labels, arrays, home, places
        self.of: dict[Node, Expression] = {}
        self.text: dict[Node, str] = {}
        self.named_by_place: set[Node] = set()  # vertices that must show their place, as an edge refers to it
        for node in nodes:
            self.of[node], self.text[node] = self._value(node)

    def _value(self, node: Node) -> tuple[Expression, str]:
        if node.is_leaf:
            return Name(self.labels[node]), self.labels[node]
        if node.primitive.kind == "select":
            parent = node.parents[0]
            assert parent is not None
            formula = computed(node, [self.of[parent] if node in self.merged else Name(parent.primitive.name)])
            return formula, text(formula)
        operands = [
            self._constant(value) if parent is None else self._operand(node, parent)
            for parent, value in zip(node.parents, kept(node), strict=True)
        ]
        unnamed = [parent is not None and parent not in self.labels for parent in node.parents]
        if node in self.merged and only_unit_axes(node):
            return operands[0], text(operands[0])
        if self.phase(node) == "forward":
            return self._fitted(node, operands, unnamed, CHAIN_WIDTH if node in self.merged else WIDTH)
        formula, formula_text = self._fitted(node, operands, unnamed, NAMED_WIDTH)
        if node not in self.labels:
            _, formula_text = self._fitted(node, operands, unnamed, BACKWARD_WIDTH)
        return formula, formula_text

    def _fitted(
        self, node: Node, operands: list[Expression], unnamed: Sequence[bool], width: int
    ) -> tuple[Expression, str]:
        """The formula, with the longest unnamed operands replaced by ellipses until it fits."""
        formula = self._formula(node, operands)
        while len(formula_text := text(formula)) > width:
            lengths = [len(text(x)) if may_shorten else 0 for x, may_shorten in zip(operands, unnamed, strict=True)]
            longest = max(range(len(lengths)), key=lengths.__getitem__, default=0)
            if not lengths or lengths[longest] <= 1:
                return _shortest(node, formula, formula_text)
            operands = [ELLIPSIS if k == longest else x for k, x in enumerate(operands)]
            formula = self._formula(node, operands)
        return formula, formula_text

    def _formula(self, node: Node, operands: Sequence[Expression]) -> Expression:
        """The formula without params that follow from the shape."""
        formula = computed(node, operands)
        if not isinstance(formula, Call):
            return formula
        return Call(formula.op, formula.operands, tuple(x for x in formula.details if not x.startswith(IMPLIED)))

    def _operand(self, node: Node, parent: Node) -> Expression:
        if parent in self.labels:
            return Name(self.labels[parent])
        if parent in self.folded:
            return Name(self.folded[parent])
        may_write_out = self.home.get(parent) == self.home.get(node) or self.phase(parent) != self.phase(node)
        return self.of[parent] if may_write_out and parent in self.of else ELLIPSIS

    def _constant(self, value: Any) -> Expression:
        """A number or the name of an array, if the rule kept it, otherwise "const"."""
        if value is None:
            return Name("const")
        if getattr(value, "shape", ()) == ():
            return constant(value if isinstance(value, int) else float(f"{float(value):.4g}"))
        return Name(self.arrays.get(id(shared(value)), "const"))

    def contributions(self, node: Node) -> list[str]:
        """The contribution to each operand for a cotangent v of the node: "v · 2 · (x − μ)"; "" for constants."""
        if node.is_leaf or node.primitive.kind == "select":
            return ["v"] * len(node.parents)
        parts = [node, *(parent for parent in node.parents if parent is not None)]
        by_variable = {f"%{self.places[part]}": part for part in parts}
        variables = {part: name for name, part in by_variable.items()}
        return ["" if e is None else self._contribution(e, by_variable) for e in contributions(node, variables)]

    def _contribution(self, e: Expression, by_variable: Mapping[str, Node]) -> str:
        """The text of a contribution, with labels and short formulas instead of the places of nodes."""

        def write_out(part: Expression) -> Expression:
            node = by_variable.get(part.text) if isinstance(part, Name) else None
            if node is None:
                return part
            formula = Name(self.labels[node]) if node in self.labels else self.of.get(node, ELLIPSIS)
            return formula if size(formula) <= 2 and "…" not in _names(formula) else part

        def write_labels(part: Expression) -> Expression:
            is_labeled = isinstance(part, Name) and by_variable.get(part.text) in self.labels
            return write_out(part) if is_labeled else part

        result = mapped(e, write_out)
        result_text = text(result)
        if len(result_text) > CONTRIBUTION_WIDTH:
            result = mapped(e, write_labels)
            result_text = text(result)
        self.named_by_place |= {by_variable[name] for name in _names(result) if name in by_variable}
        return result_text


def _shortest(node: Node, formula: Expression, formula_text: str) -> tuple[Expression, str]:
    """The operation alone, for a formula that is too long although no operand can be shortened."""
    if not isinstance(formula, Call) or formula.op in INFIX:
        return formula, formula_text
    short = Call(formula.op, (ELLIPSIS,), ("…",) if formula.op == "getitem" else ())
    return short, f"{node.primitive.name}(…)" if formula.op != "getitem" else "…[…]"


def _names(e: Expression) -> set[str]:
    """The names that occur in an expression."""
    names: set[str] = set()

    def visit(part: Expression) -> Expression:
        if isinstance(part, Name):
            names.add(part.text)
        return part

    mapped(e, visit)
    return names
