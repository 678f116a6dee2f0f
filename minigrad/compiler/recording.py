"""What one call of a step has shown, and what later calls do besides running its program."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from minigrad.compiler.program import Program
from minigrad.compiler.state import Spot
from minigrad.tensor import Tensor
from minigrad.trees import flatten

if TYPE_CHECKING:
    from minigrad.compiler.trace import Trace

active: ContextVar[Trace | None] = ContextVar("minigrad_trace", default=None)


class Recording:
    """What the first call of a step with a signature has shown.

    `guards` are places whose content decided about the course of the step: another program is needed where it differs.
    `held` are places where the program's own arrays and Tensors stand: another one there needs another program too.
    `exits` are places and what stands there after each call. `grads` says for each argument that receives a gradient
    which output it is, and whether it is added to the one that is there.
    """

    def __init__(self) -> None:
        self.program: Program
        self.guards: list[tuple[Spot, Any]] = []
        self.held: list[tuple[Spot, Any]] = []
        self.exits: list[tuple[Spot, Any]] = []
        self.grads: list[tuple[int, int, bool]] = []
        self.rebuild: Callable[[list[Any]], Any]
        self.is_single = False  # whether the result is one array
        self.results: list[Any] = []  # of the first call
        self.static: list[Any] = []  # results that are no arrays; Result(k) stands for output k
        self.arguments: dict[int, int] = {}  # number of an argument -> leaf
        self.live: list[int] = []  # the results through which gradients can flow,
        self.captured: list[Tensor] = []  # and the leaves from outside on which these depend
        self.owned: dict[int, Any] = {}  # the memories of the state, by the id of the array that owns the bytes


class Result:
    """Where output k stands among the results, as a Tensor or an array."""

    def __init__(self, k: int, is_tensor: bool) -> None:
        self.k, self.is_tensor = k, is_tensor


def argument_names(function: Any, leaves: list[Any], rebuild: Any) -> list[str]:
    """What the leaves of the arguments are called: by the parameter, with a number where it has several."""
    args, kwargs = rebuild(list(range(len(leaves))))
    try:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        given = {"argument": (args, kwargs)}
    names = [""] * len(leaves)
    for name, tree in given.items():
        parts, _ = flatten(tree)
        for j, k in enumerate(parts):
            names[k] = name if len(parts) == 1 else f"{name}.{j}"
    return names
