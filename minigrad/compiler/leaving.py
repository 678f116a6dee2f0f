"""What leaves a step: the arrays in its results, and the tape behind them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import numpy as np

from minigrad.compiler.tracer import TracerArray
from minigrad.node import Node
from minigrad.reach import StateRef, is_leaf, own_attributes, slots_of
from minigrad.tape import ancestors
from minigrad.tensor import Tensor


# Comparison
def live_nodes(node: Node | None) -> list[Node]:
    """The tape behind a node, or nothing if there is none or some of it was released."""
    if node is None:
        return []
    nodes, _ = ancestors([node])
    return [] if any(n.saved is None for n in nodes) else nodes


def view_steps(x: TracerArray) -> list[Any] | None:
    """The steps from the whole memory to a view, None if they are not all slices, reshapes and transposes."""
    steps = []
    while x.parent is not None:
        steps.append(x.step)
        x = x.parent
    return steps[::-1] if all(s is not None and s[0] in ("slice", "reshape", "transpose") for s in steps) else None


def root_of(x: TracerArray) -> TracerArray:
    """The array that a view is one of."""
    while x.parent is not None:
        x = x.parent
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
