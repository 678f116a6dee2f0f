"""The paths from value to named value, which are the terms of the chain rule."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from operator import attrgetter

from minigrad.drawing.clusters import Home
from minigrad.engine.node import Node

STRANDS = 4  # an edge that leads to more named values than this is drawn as one gray line


def hues(lines: Iterable[Node], outputs: Container[Node], gradient_of: Mapping[Node, Node]) -> dict[Node, int]:
    """The numbers of the colors of named results, the same for the same name in every layer; outputs have 0.

    The gradient of a value has its color.
    """
    by_name: dict[str, int] = {}
    found: dict[Node, int] = {}
    for line in lines:
        name = getattr(line, "name", None)
        if line in gradient_of:
            if gradient_of[line] in found:
                found[line] = found[gradient_of[line]]
        elif line in outputs:
            found[line] = 0
        elif name is not None and not line.is_leaf:
            found[line] = by_name.setdefault(name, len(by_name) + 1)
    return found


def strands(lines: list[Node], named: Container[Node], home: Home) -> dict[Node, tuple[Node, ...]]:
    """For each line, the named values of its cluster that an edge into it leads to; itself if it is one.

    Walked backwards, as gradients flow: what is named stops the walk there, and so does the border of its cluster, so
    that every batch norm of a network shows its own paths. Nothing if they are too many.
    """
    ahead: dict[Node, dict[Node, None] | None] = {}  # the named values reached from a line, as an ordered set
    into: dict[Node, tuple[Node, ...]] = {}
    for line in reversed(lines):
        reached = {line: None} if line in named else ahead.get(line, {})
        if reached:
            reached = {target: None for target in reached if home[target] == home[line]}
        into[line] = tuple(sorted(reached or (), key=attrgetter("serial")))
        for parent in line.parents:
            if parent is None:
                continue
            so_far = ahead.get(parent, {})
            together = None if reached is None or so_far is None else so_far | reached
            ahead[parent] = None if together is None or len(together) > STRANDS else together
    return into
