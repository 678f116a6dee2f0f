"""Pictures of the tape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from minigrad.drawing.picture import Picture

__all__ = ["draw"]


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

    A node is a node of the tape: the name that the user gave it, how it is computed and its shape (with the dtype
    where it is not the one that most nodes have). Leaves are ellipses, constant arrays have dashed borders, outputs
    double ones; scopes are boxes around their nodes. Each named value has a color, and so has every strand of an edge:
    it leads to the named value of that color. Gradients flow against the arrows, so the strands that leave a value
    are the terms of its gradient, one for each path to another named value.

    The source depends on the model only: the same model gives the same text in every run.

    Args:
        *outputs: Tensors, or one list of them, or one Tape.
        depth: scopes at this depth are folded, each into one node that tells its parameters. By default as deep as
            fits on a page.
        fold: scopes to be folded besides, by name: "encoder.2", or the last part of it.
        unfold: scopes to be drawn line by line.
        collapse: "elementwise" merges elementwise operations that are used only once into the one that uses them.
        limit: how many nodes may be drawn; if there are more, they are folded, and a note says so. None for no limit.
        values: write mean ± standard deviation, least and largest element on each node.
        grads: write the norm of the gradient on each node, and that of each contribution on the edge along which it
            flows back. Colors tell its logarithm: blue vanishes, orange explodes; red is not finite, back to where that
            was born. In the place of True, the gradients of the outputs to start from.
        formulas: write on each edge what the rule of the operation hands back along it, for a gradient v.
        backward: draw the backward pass too, as a graph of its own: forward on the left, backward on the right, and
            dotted links from the values that were saved to where they are used. `grads` may say where it starts.
        direction: "TB" from top to bottom, "LR" from left to right.
        legend: explain the shapes in a corner of the picture.

    Returns:
        A Digraph with `.source`; `.save("graph.svg")` writes SVG, PNG, PDF, DOT or Mermaid, `.save("graph.html")` a
        page in which scopes fold and a slider walks along the tape. Notebooks show it as it is.

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
    from minigrad.drawing.fold import Levels
    from minigrad.drawing.picture import pictured
    from minigrad.engine.primitive import value_of
    from minigrad.engine.tape import Tape, listed

    outputs = listed(outputs)
    if direction not in ("TB", "LR"):
        raise ValueError(f"draw: direction={direction!r}; it must be 'TB' (top to bottom) or 'LR' (left to right)")
    if collapse not in (None, "elementwise"):
        raise ValueError(f"draw: collapse={collapse!r}; there is only 'elementwise'")
    if depth is not None and (not isinstance(depth, int) or depth < 1):
        raise ValueError(f"draw: depth={depth!r}; it must be 1 (one node for each of the outermost scopes) or more")
    if not outputs:
        raise ValueError("draw: nothing to draw; give the Tensors whose computation you want to see, as in draw(loss)")
    tape = outputs[0] if len(outputs) == 1 and isinstance(outputs[0], Tape) else Tape(*outputs)
    levels = Levels(depth, fold, unfold, collapse, limit)
    known = {t.node: value_of(t) for t in outputs if not isinstance(t, Tape)}
    return pictured(
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
