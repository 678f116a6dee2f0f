"""What leaves a step: the arrays in its results, and the tape behind them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import numpy as np

from minigrad.compiler.trace.tracer import TracerArray
from minigrad.engine.node import Node
from minigrad.engine.tape import ancestors
from minigrad.reach import StateRef, is_leaf, own_attributes, slots_of
from minigrad.tensor.tensor import Tensor


def is_live(node: Node | None) -> bool:
    """Whether a tape is there, and nothing of it was released."""
    return node is not None and all(n.residuals is not None for n in ancestors([node])[0])


def history(
    node: Node, given: set[int], serial: int, existed: Callable[[Any], bool]
) -> tuple[list[Node], list[Tensor], Node | None]:
    """What a Tensor that a step leaves depends on: leaves made inside, Tensors from outside, and an older line.

    Args:
        node: of the Tensor.
        given: ids of the nodes of arguments.
        serial: lines of the step have larger ones.
        existed: whether something was there before the step.
    """
    inside, outside, foreign = list[Node](), list[Tensor](), None
    todo, seen = [node], set[Node]()
    while todo:
        n = todo.pop()
        if n in seen or id(n) in given:
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
    """The steps from the whole memory to a view, None if they are not all slices, reshapes and transposes."""
    steps = []
    while x.mg_parent is not None:
        steps.append(x.mg_step)
        x = x.mg_parent
    return steps[::-1] if all(s is not None and s[0] in ("slice", "reshape", "transpose") for s in steps) else None


def root_of(x: TracerArray) -> TracerArray:
    """The array that a view is one of."""
    while x.mg_parent is not None:
        x = x.mg_parent
    return x


def address_of(array: Any) -> int:
    """Where the first element lies."""
    return int(array.__array_interface__["data"][0])


def new_arrays(roots: list[Any], existed: Callable[[Any], bool]) -> Iterator[TracerArray | Tensor]:
    """The tracer arrays and Tensors in new objects."""
    todo, seen = list(roots), set()
    while todo:
        x = todo.pop()
        if type(x) is TracerArray:
            yield x
        elif hasattr(type(x), "minigrad_tracer"):  # a number or a Generator, behind which the whole trace lies
            continue
        elif not is_leaf(x) and id(x) not in seen and not isinstance(x, (type, np.ndarray)):
            seen.add(id(x))
            if type(x) is Tensor:
                yield x
                todo += [x.data] if x.grad is None or existed(x) else [x.data, x.grad]
            elif not existed(x):
                todo += contents_of(x)


def contents_of(x: Any) -> list[Any]:
    """What a container, function or object holds."""
    if isinstance(x, dict):
        return [*x, *x.values()]
    if isinstance(x, (tuple, list, deque, set, frozenset)):
        return list(x)
    if isinstance(x, FunctionType):
        return [StateRef(c, "", "cell", "").get() for c in x.__closure__ or ()]
    attributes = own_attributes(x)  # of some classes an object of their own
    own = list(attributes.values()) if isinstance(attributes, dict) else []
    return own + [StateRef(x, n, "slot", "").get() for base in type(x).__mro__ for n in slots_of(base)]
