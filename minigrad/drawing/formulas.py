"""Lines of the tape as formulas, "(x − μ) / √(σ² + 1e-05)", and what they hand back to their operands.

Both come from `minigrad.symbols`: the value from the node's operation, contributions from its rules, run on symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from minigrad.drawing.constants import same
from minigrad.drawing.fold import only_unit_axes
from minigrad.drawing.model import Phase
from minigrad.engine.node import Node
from minigrad.engine.tape_text import kept
from minigrad.symbols import Expression, Name, computed, contributions, text
from minigrad.symbols.expression import Call, constant, mapped, size

WIDTH = 30  # characters; an operand that would make a formula longer is written as …
CHAIN = 60  # of a chain of elementwise operations
WIDE, WIDEST = 44, 110  # of the backward pass, where names are as long as dl/dσ²; and of what has a name there
SHARE_WIDTH = 44  # of what is written on an edge
IMPLIED = ("shape=", "stops=", "keepdims=")  # parameters that the shape below a formula tells
INFIX = ("add", "subtract", "multiply", "divide", "matmul")
ELLIPSIS = Name("…")


class Formulas:
    """For each node, how its value is computed, as an expression and as text.

    An operand is written by its name. One without a name is written as a formula in its turn, if it is of the same
    cluster and fits into `WIDTH`, else as an ellipsis: the edge of the picture says what it is. Lines are taken in the
    order of the tape, so the formulas of operands are there already.

    Args:
        nodes: of a tape, in order.
        labels: of nodes that have one.
        arrays: names of constant arrays, by id.
        home: where nodes belong; formulas do not cross the border of a cluster.
        places: of nodes, by which those are called that are too long to be written out on an edge.
        folded: the names of the scopes that nodes are folded into.
        joined: nodes that are drawn together with the node that they use.
        phase: the pass that a node belongs to. The backward pass may write out what it takes from the forward pass.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        labels: Mapping[Node, str],
        arrays: Mapping[int, str],
        home: Mapping[Node, Any],
        places: Mapping[Node, int],
        folded: Mapping[Node, str],
        joined: Container[Node] = (),
        phase: Callable[[Node], Phase] = lambda node: "forward",
    ) -> None:
        self.folded, self.joined, self.phase = folded, joined, phase
        self.labels, self.arrays, self.home, self.places = labels, arrays, home, places
        self.of: dict[Node, Expression] = {}
        self.text: dict[Node, str] = {}
        self.called_by_place: set[Node] = set()
        for node in nodes:
            self.of[node], self.text[node] = self._value(node)

    def _value(self, node: Node) -> tuple[Expression, str]:
        if node.is_leaf:
            return Name(self.labels[node]), self.labels[node]
        if node.primitive.kind == "select":
            parent = node.parents[0]
            assert parent is not None
            inside = self.of[parent] if node in self.joined else Name(parent.primitive.name)
            whole = computed(node, [inside])
            return whole, text(whole)
        operands = [
            self._constant(value) if parent is None else self._operand(node, parent)
            for parent, value in zip(node.parents, kept(node), strict=True)
        ]
        free = [parent is not None and parent not in self.labels for parent in node.parents]
        if node in self.joined and only_unit_axes(node):
            return operands[0], text(operands[0])
        if self.phase(node) == "forward":
            return self._fitted(node, operands, free, CHAIN if node in self.joined else WIDTH)
        whole, told = self._fitted(node, operands, free, WIDEST)
        return whole, told if node in self.labels else self._fitted(node, operands, free, WIDE)[1]

    def _fitted(
        self, node: Node, operands: list[Expression], free: Sequence[bool], width: int
    ) -> tuple[Expression, str]:
        """The formula with the longest unnamed operands shortened until it fits."""
        whole = self._whole(node, operands)
        while len(told := text(whole)) > width:
            lengths = [len(text(x)) if may else 0 for x, may in zip(operands, free, strict=True)]
            longest = max(range(len(lengths)), key=lengths.__getitem__, default=0)
            if not lengths or lengths[longest] <= 1:
                return _shortest(node, whole, told)
            operands = [ELLIPSIS if k == longest else x for k, x in enumerate(operands)]
            whole = self._whole(node, operands)
        return whole, told

    def _whole(self, node: Node, operands: Sequence[Expression]) -> Expression:
        """What a node computes, without what the shape below it says."""
        whole = computed(node, operands)
        if not isinstance(whole, Call):
            return whole
        return Call(whole.op, whole.operands, tuple(x for x in whole.details if not x.startswith(IMPLIED)))

    def _operand(self, node: Node, parent: Node) -> Expression:
        if parent in self.labels:
            return Name(self.labels[parent])
        if parent in self.folded:
            return Name(self.folded[parent])
        inside = self.home.get(parent) == self.home.get(node) or self.phase(parent) != self.phase(node)
        return self.of[parent] if inside and parent in self.of else ELLIPSIS

    def _constant(self, value: Any) -> Expression:
        """A number that was kept, the name of an array that was, or "const"."""
        if value is None:
            return Name("const")
        if getattr(value, "shape", ()) == ():
            return constant(value if isinstance(value, int) else float(f"{float(value):.4g}"))
        return Name(self.arrays.get(id(same(value)), "const"))

    def contributions(self, node: Node) -> list[str]:
        """What flows back to each operand for a cotangent v of the node: "v · 2 · (x − μ)"; "" to a constant."""
        if node.is_leaf or node.primitive.kind == "select":
            return ["v"] * len(node.parents)
        parts = [node, *(parent for parent in node.parents if parent is not None)]
        stands_for = {f"%{self.places[part]}": part for part in parts}
        shown = {part: name for name, part in stands_for.items()}
        return ["" if e is None else self._share(e, stands_for) for e in contributions(node, shown)]

    def _share(self, e: Expression, stands_for: Mapping[str, Node]) -> str:
        """A contribution with names and short formulas in place of numbers of nodes."""

        def written_out(part: Expression) -> Expression:
            node = stands_for.get(part.text) if isinstance(part, Name) else None
            if node is None:
                return part
            whole = Name(self.labels[node]) if node in self.labels else self.of.get(node, ELLIPSIS)
            return whole if size(whole) <= 2 and not _shortened(whole) else part

        def named(part: Expression) -> Expression:
            known = isinstance(part, Name) and stands_for.get(part.text) in self.labels
            return written_out(part) if known else part

        made = mapped(e, written_out)
        told = text(made)
        if len(told) > SHARE_WIDTH:
            made = mapped(e, named)
            told = text(made)
        self.called_by_place |= {stands_for[name] for name in _names(made) if name in stands_for}
        return told


def _shortest(node: Node, whole: Expression, told: str) -> tuple[Expression, str]:
    """What is left when no operand can be shortened: the operation alone."""
    if not isinstance(whole, Call) or whole.op in INFIX:
        return whole, told
    short = Call(whole.op, (ELLIPSIS,), ("…",) if whole.op == "getitem" else ())
    return short, f"{node.primitive.name}(…)" if whole.op != "getitem" else "…[…]"


def _shortened(e: Expression) -> bool:
    return "…" in _names(e)


def _names(e: Expression) -> set[str]:
    """The names that occur in an expression."""
    found: set[str] = set()

    def note(part: Expression) -> Expression:
        if isinstance(part, Name):
            found.add(part.text)
        return part

    mapped(e, note)
    return found
