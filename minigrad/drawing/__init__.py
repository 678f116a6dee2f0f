"""Pictures of the tape.

`graph/` turns a tape into plain data, `render/` writes these as DOT and Mermaid and lays them out, `explorer/` makes a
page of them. `picture`, `table` and `chain_rule` have what users call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from minigrad.drawing.render.graphviz_program import EngineNotFound

if TYPE_CHECKING:
    from minigrad.drawing.picture import Picture

__all__ = ["EngineNotFound", "draw"]


def draw(
    *outputs: Any,
    depth: int | None = None,
    fold: Sequence[str] = (),
    unfold: Sequence[str] = (),
    collapse: Literal["elementwise"] | None = None,
    limit: int | None = 100,
    values: bool = False,
    grads: Any = False,
    formulas: bool = False,
    backward: bool = False,
    direction: Literal["TB", "LR"] = "TB",
    legend: bool = False,
) -> Picture:
    """The graph that computed the outputs, as a `graphviz.Digraph`.

    Each box is a node of the tape: its name if the user gave it one, its formula and its shape (with the dtype if it is
    not the most frequent one). Leaves are ellipses; constant arrays have dashed borders, outputs double ones. Scopes
    are boxes around their nodes. Each named value has a color. An edge is drawn as parallel lines, one for each named
    value that it leads to, in the color of that value. Gradients flow against the arrows, so the lines that leave a
    value are the terms of its gradient, one for each path to another named value.

    The source depends on the model only: the same model gives the same text in every run.

    Args:
        *outputs: Tensors, or one list of them, or one Tape.
        depth: scopes at this depth are folded, each into one node that lists its parameters. By default, the largest
            depth that fits on a page.
        fold: more scopes to fold, by name: "encoder.2", or the last part of it.
        unfold: scopes to show node by node.
        collapse: "elementwise" merges elementwise operations that are used only once into the one that uses them.
        limit: the number of nodes to draw. If there are more, they are folded, and a note says so. None for no limit.
        values: write mean ± standard deviation and the extremes on each node.
        grads: write the norm of the gradient on each node, and the norm of each contribution on the edge along which it
            flows back. Colors show its logarithm: small norms are blue, large ones orange; red is not finite, and leads
            to where the NaN or infinity arises. Instead of True, the gradients of the outputs to start from.
        formulas: write on each edge the contribution to the operand, for a gradient v of the result.
        backward: draw the backward pass too: the forward pass on the left, the backward pass on the right, and dotted
            links from the values that were saved to where they are used. `grads` may say where it starts.
        direction: "TB" from top to bottom, "LR" from left to right.
        legend: explain the shapes in a corner of the picture.

    Returns:
        A Digraph with `.source`; `.save("graph.svg")` writes SVG, PNG, PDF, DOT or Mermaid, `.save("graph.html")` a
        page in which scopes fold and a slider walks along the tape. Notebooks display it.

    Raises:
        ValueError: no outputs are given, one was not computed from a Tensor with requires_grad=True, there is no scope
            of such a name, or the depth, direction or collapse is unknown.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.drawing import draw
        >>> x = mg.Tensor([1.0, 2.0], requires_grad=True).named("x")
        >>> "x²" in draw((x**2).sum()).source
        True
    """
    from minigrad.drawing.graph.describe import tape_of
    from minigrad.drawing.graph.folding import Levels
    from minigrad.drawing.picture import picture_of

    if direction not in ("TB", "LR"):
        raise ValueError(f"draw: direction={direction!r}; it must be 'TB' (top to bottom) or 'LR' (left to right)")
    levels = Levels(depth, fold, unfold, collapse, limit)
    tape, known = tape_of("draw", outputs)
    return picture_of(
        tape,
        levels,
        known=known,
        values=values,
        grads=grads,
        formulas=formulas,
        backward=backward,
        direction=direction,
        legend=legend,
    )
