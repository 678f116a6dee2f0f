"""From a tape to a Graph, with everything that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minigrad.drawing.graph.annotate import annotate
from minigrad.drawing.graph.backward_pass import Backward, differentiated
from minigrad.drawing.graph.folding import Levels
from minigrad.drawing.graph.graph_builder import GraphBuilder
from minigrad.drawing.graph.model import Graph, Verdict
from minigrad.engine.node import Node
from minigrad.engine.primitive import value_of
from minigrad.engine.tape import Tape, listed


def tape_of(function: str, outputs: tuple[Any, ...]) -> tuple[Tape, dict[Node, Any]]:
    """The tape of the Tensors, the list of Tensors or the Tape that a function was called with, and known values.

    Raises:
        ValueError: no outputs are given, or one was not computed from a Tensor with requires_grad=True.
    """
    outputs = listed(outputs)
    if not outputs:
        raise ValueError(
            f"{function}: nothing to show; give the Tensors whose computation you want to see, as in {function}(loss)"
        )
    tape = outputs[0] if len(outputs) == 1 and isinstance(outputs[0], Tape) else Tape(*outputs)
    return tape, {t.node: value_of(t) for t in outputs if not isinstance(t, Tape)}


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
        tape: the nodes to show.
        direction: of the layout, "TB" or "LR".
        levels: what is folded; nothing by default.
        verdicts: on the gradients of named nodes. Vertices have their colors instead of those of names.
        known: values of outputs, which a tape does not hold.
        values: show statistics of values.
        grads: show norms of gradients. Instead of True, the gradients of the outputs to start from.
        formulas: show the contribution to each operand as a formula.
        backward: show the backward pass too; grads may say where it starts.
    """
    gradient: Backward | None = None
    if backward:
        tape, gradient = differentiated(tape, True if grads is False else grads)
        known, grads = {**(known or {}), **gradient.seeds}, False
    options = {
        "backward": backward,
        "values": values,
        "grads": grads is not False,
        "formulas": formulas,
        "verdicts": bool(verdicts),
    }
    shown = frozenset(name for name, is_on in options.items() if is_on)
    builder = GraphBuilder(tape, levels or Levels(limit=None), verdicts or {}, shown, gradient)
    graph = builder.graph(direction)
    if values or grads is not False:
        annotate(builder, graph, known or {}, values, grads)
    return graph
