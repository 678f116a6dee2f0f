"""What leaves a step: the arrays in its results, and the tape behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad.compiler.capture.object_members import contents_of
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.engine.node import Node
from minigrad.engine.tape import ancestors
from minigrad.reach import is_leaf
from minigrad.tensor.tensor import Tensor


def is_live(node: Node | None) -> bool:
    """Whether there is a tape, and none of it was released."""
    return node is not None and all(n.residuals is not None for n in ancestors([node])[0])


def history(
    node: Node, arguments: set[int], serial: int, existed: Callable[[Any], bool]
) -> tuple[list[Node], list[Tensor], Node | None]:
    """What a Tensor depends on: leaves made in the step, Tensors from outside, and a node from before the step.

    Args:
        node: of the Tensor.
        arguments: ids of the nodes of arguments.
        serial: nodes of the step have larger serial numbers.
        existed: whether an object existed before the step.
    """
    inside, outside, foreign = list[Node](), list[Tensor](), None
    todo, seen = [node], set[Node]()
    while todo:
        n = todo.pop()
        if n in seen or id(n) in arguments:
            continue
        seen.add(n)
        owner = n.owner() if n.primitive is None and hasattr(n, "owner") else None
        if owner is not None and (existed(owner) or n.serial <= serial):
            outside.append(owner)
        elif n.serial <= serial:
            foreign = n
        elif n.primitive is None:
            inside.append(n)
        todo += [] if n.serial <= serial else [parent for parent in n.parents if parent is not None]
    return inside, outside, foreign


def view_steps(x: TracerArray) -> list[Any] | None:
    """The steps from the memory's array to a view, None if they are not all slices, reshapes and transposes."""
    steps = []
    while x.mg_parent is not None:
        steps.append(x.mg_step)
        x = x.mg_parent
    return steps[::-1] if all(s is not None and s[0] in ("slice", "reshape", "transpose") for s in steps) else None


def base_of_view(x: TracerArray) -> TracerArray:
    """The array of which x is a view."""
    while x.mg_parent is not None:
        x = x.mg_parent
    return x


def address_of(array: Any) -> int:
    """The address of the first element."""
    return int(array.__array_interface__["data"][0])


def new_arrays(roots: list[Any], existed: Callable[[Any], bool]) -> Iterator[TracerArray | Tensor]:
    """The tracer arrays and Tensors in new objects."""
    todo, seen = list(roots), set()
    while todo:
        x = todo.pop()
        if type(x) is TracerArray:
            yield x
        elif hasattr(type(x), "minigrad_tracer"):  # a number or a Generator, which refers to the trace
            continue
        elif not is_leaf(x) and id(x) not in seen and not isinstance(x, (type, np.ndarray)):
            seen.add(id(x))
            if type(x) is Tensor:
                yield x
                todo += [x.data] if x.grad is None or existed(x) else [x.data, x.grad]
            elif not existed(x):
                todo += contents_of(x)
