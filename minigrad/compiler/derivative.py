"""Derivatives of compiled functions: their result is one line of the tape, whose pull is a compiled function itself.

The pull runs the function once more and pulls through it, all of it compiled. Its own derivative comes about in the
same way, so derivatives of any order are programs.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from minigrad.modes import enable_grad, no_grad
from minigrad.node import Node, mode, next_serial
from minigrad.specialize import attach, selected
from minigrad.tape import ancestors, pull
from minigrad.tensor import Tensor
from minigrad.traced import variable
from minigrad.trees import flatten


def connect(compiled: Any, version: Any, leaves: Sequence[Any], rebuild: Any, results: Any) -> Any:
    """The results, as results of one line of the tape if gradients can flow through them."""
    live = version.recording.live
    if not live or mode.get() is None:
        return results
    moving = [k for k, x in enumerate(leaves) if isinstance(x, Tensor) and x.node is not None]
    captured = [t for t in version.recording.captured if t.node is not None]
    parents = tuple(t.node for t in (*(leaves[k] for k in moving), *captured))
    if not parents:
        return results
    outputs, rebuild_results = flatten(results)
    line = Node()
    line.primitive = _Derivative(compiled, version, leaves, rebuild, moving, captured)
    line.parents, line.params = parents, ()
    line.saved = (tuple(leaves[k].data for k in moving) + tuple(t.data for t in captured),)
    line.scope, line.serial = mode.get() or "", next_serial()
    values = [outputs[k].data for k in live]
    line.shape, line.dtype = tuple(x.shape for x in values), tuple(x.dtype for x in values)
    for k, t in zip(live, selected(line, tuple(values)), strict=True):
        outputs[k] = t
    return rebuild_results(outputs)


class _Derivative:
    """The primitive of one call of a compiled function."""

    kind = "compiled"
    static = ()
    sequence = True
    operands = ("arrays",)
    saved = ("arrays",)
    signature = inspect.Signature()

    def __init__(
        self,
        compiled: Any,
        version: Any,
        leaves: Sequence[Any],
        rebuild: Any,
        moving: list[int],
        captured: list[Tensor],
    ) -> None:
        self.compiled, self.rebuild, self.moving, self.captured = compiled, rebuild, moving, captured
        self.live = live = version.recording.live
        self.leaves = [None if k in moving else x for k, x in enumerate(leaves)]
        self.key = (version.signature, tuple(moving), tuple(map(id, captured)))
        self.name = f"compiled[{compiled.name}]"
        self.outputs = tuple(f"out{k}" for k in range(len(live)))

    def pull(self, n: Node, v: Any, due: dict[Node, Any], saved: tuple[Any, ...]) -> None:
        """The shares of the parents, from a compiled function of the arguments and the cotangents."""
        record = any(isinstance(x, Tensor) for x in v)
        key = (*self.key, tuple(x is None for x in v))
        with enable_grad() if record else no_grad():
            shares = self.compiled.derivative(key, self)(list(saved[0][: len(self.moving)]), self.leaves, list(v))
        for parent, share in zip(n.parents, shares, strict=True):
            given = share if record or not isinstance(share, Tensor) else share.data
            assert parent is not None
            due[parent] = due[parent] + given if parent in due else given

    def push(self, n: Node, tangents: Any, saved: tuple[Any, ...]) -> Any:
        """Forward mode pulls the pull."""
        return None

    def shares(self, inputs: list[Any], leaves: list[Any], cotangents: list[Any]) -> list[Any]:
        """Run the function on variables and pull the cotangents through it."""
        record = mode.get() is not None
        with enable_grad():
            variables = [variable(x) for x in inputs]
            given = list(leaves)
            for k, t in zip(self.moving, variables, strict=True):
                given[k] = t
            args, kwargs = self.rebuild(given)
            outputs, _ = flatten(self.compiled.function(*args, **kwargs))
            wanted: list[Any] = [t.node for t in (*variables, *self.captured)]
            own: dict[Node, Any] = {}
            for k, v in zip(self.live, cotangents, strict=True):
                node = outputs[k].node
                if v is not None and node is not None:
                    share = v if record or not isinstance(v, Tensor) else v.data
                    own[node] = own[node] + share if node in own else share
            lines, _ = ancestors(own)
            found = pull(lines, own, stop=wanted, record=record) if own else {}
        return [_or_zero(found.get(node), t) for node, t in zip(wanted, (*variables, *self.captured), strict=True)]


def _or_zero(share: Any, t: Tensor) -> Any:
    if share is None:
        share = t.data * 0
    return share if isinstance(share, Tensor) else attach(share, None)
