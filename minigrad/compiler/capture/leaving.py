"""What leaves a step: the arrays in its results, and the tape behind them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad.compiler.capture.settle import contents_of
from minigrad.compiler.capture.state import StateCapture
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.engine.node import Node
from minigrad.engine.tape import ancestors
from minigrad.reach import StateRef, is_leaf
from minigrad.tensor.tensor import Tensor
from minigrad.util.pytree import flatten


class Leaving:
    """The arrays and Tensors that leave a step: in its result, with tracers, and in places that it has changed.

    Attributes:
        live: leaves of the result, and places of Tensors, that carry gradients. `live_ids`: the ids of these Tensors.
        captured: Tensors from outside on which these depend.
        by_memory: ids of the arrays that leave, by the id of their memory. Two in one memory are views of one array.
        elsewhere: ids of Tensors and arrays that leave in other ways than as the gradient of one Tensor.

    Raises:
        CompileError: a Tensor depends on what another call would not depend on.
    """

    def __init__(self, capture: StateCapture, leaves: list[Any], result: Any) -> None:
        self.capture = capture
        self._arguments = set(map(id, leaves)) | {id(x.value) for x in capture.arrays}
        self.live: list[int | StateRef] = []
        self.live_ids: set[int] = set()
        self.captured: list[Tensor] = []
        self.by_memory: dict[int, set[int]] = {}
        self.elsewhere: set[int] = set()
        self._find_live(result, leaves)
        self._count(result)

    def existed(self, x: Any) -> bool:
        """Whether an object existed before the step."""
        return id(x) in self.capture.reach.seen or id(x) in self._arguments

    def count_in(self, memory: Any) -> int:
        """How many arrays in a memory leave."""
        return len(self.by_memory.get(id(memory), ()))

    def _find_live(self, result: Any, leaves: list[Any]) -> None:
        """Find Tensors whose history is still there, as no backward pass inside the step has released it."""
        arguments = {id(x.node) for x in leaves if type(x) is Tensor and x.node is not None}
        captured: dict[int, Tensor] = {}
        leaving: list[tuple[int | StateRef, Any]] = [*enumerate(flatten(result)[0]), *self._left()]
        for where, part in leaving:
            if type(part) is not Tensor or type(part.data) is not TracerArray or self.existed(part):
                continue
            if id(part) in self.live_ids or part.node is None or part.node.primitive is None or not is_live(part.node):
                continue
            inside, outside, foreign = history(part.node, arguments, self.capture.serial, self.existed)
            if foreign is not None:
                raise CompileError(
                    f"mg.compile: what the step returns or leaves depends on a Tensor of shape {foreign.shape} that it "
                    "reads and that has a history.\nHint: pass it as an argument, or read t.detach()."
                )
            if inside and not outside and not arguments:
                error = CompileError(
                    f"mg.compile: a Tensor of shape {inside[0].shape} that requires grad is made in the step, and what "
                    "it returns or leaves depends on it.\nHint: make parameters outside of the step."
                )
                error.again = True  # layers are only made in the first call
                raise error
            self.live.append(where)
            self.live_ids.add(id(part))
            captured |= {id(t): t for t in outside}
        self.captured = list(captured.values())

    def _left(self) -> Iterator[tuple[StateRef, Any]]:
        """The objects that the step leaves in places and at the ends of lists, with the places."""
        for ref, _, now in self.capture.changes:
            if not ref.is_grad and not ref.is_node:
                yield ref, now
        for holder, _, path in self.capture.resized:
            if isinstance(holder, (list, deque)):
                for k, now in enumerate(holder):
                    yield StateRef(holder, k - len(holder), "index", f"{path}[{k}]"), now

    def _count(self, result: Any) -> None:
        """Count the arrays that leave in each memory: two in one memory are views of one array.

        Also find Tensors and arrays that leave in other ways than as the gradient of one Tensor.
        """
        changes = self.capture.changes
        roots = [result, *(now for ref, _, now in changes if not ref.is_grad)]
        roots += [list(holder) for holder, _, _ in self.capture.resized]
        roots += [now.values for _, _, _, now, _ in self.capture.filled]
        as_gradients: set[int] = set()
        for group in (roots, *([now] for ref, _, now in changes if ref.is_grad)):
            arrays = list(new_arrays(group, self.existed))
            ids = {id(x) for x in arrays}
            self.elsewhere |= ids if group is roots else ids & as_gradients
            as_gradients |= ids
            for x in arrays:
                if type(x) is TracerArray:
                    self.by_memory.setdefault(id(x.mg_memory), set()).add(id(x))


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
