"""checkpoint: a function as one line of the tape, computed again in the backward pass instead of kept."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from minigrad.modes import enable_grad
from minigrad.node import Node, mode, next_serial
from minigrad.rng import repeated_draws
from minigrad.specialize import attach, selected
from minigrad.tape import ancestors, pull
from minigrad.tensor import Tensor
from minigrad.traced import variable
from minigrad.trees import flatten


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose intermediate values are not kept for the backward pass but computed again there.

    Memory for a deep network falls from all its values to those at the checkpoints, for one more forward pass (Chen et
    al. 2016). Parameters that f takes from outside receive their gradients as usual. Draws from minigrad's global
    generator are repeated; a generator of your own must be handled by f.

    Args:
        f: a function of Tensors (nested structures are allowed) that returns Tensors.

    Returns:
        A function of the same arguments.

    Example:
        >>> import minigrad as mg
        >>> x = mg.Tensor([0.5, 1.0], requires_grad=True)
        >>> y = mg.checkpoint(lambda t: mg.exp(mg.sin(t)))(x)
        >>> y.sum().backward()
        >>> bool(mg.allclose(x.grad, mg.exp(mg.sin(x)) * mg.cos(x)))
        True
    """

    @functools.wraps(f)
    def checkpointed(*args: Any, **options: Any) -> Any:
        if mode.get() is None:
            return f(*args, **options)
        leaves, rebuild = flatten((args, options))
        moving = [k for k, x in enumerate(leaves) if isinstance(x, Tensor) and x.node is not None]
        first_draws = repeated_draws()
        recompute = _Recompute(f, leaves, rebuild, moving, first_draws)
        variables, outputs, rebuild_value = recompute.run([leaves[k] for k in moving])
        used = _outside(variables, outputs)
        parents = tuple(leaves[k].node for k in moving) + used
        if not parents:
            return rebuild_value([t.detach() for t in outputs])
        line = Node()
        line.primitive, line.parents, line.params = recompute, parents, ()
        line.saved = (tuple(leaves[k].data for k in moving),)
        line.scope, line.serial = mode.get() or "", next_serial()
        recompute.outputs = tuple(f"out{k}" for k in range(len(outputs)))
        line.shape, line.dtype = tuple(t.shape for t in outputs), tuple(t.dtype for t in outputs)
        return rebuild_value(list(selected(line, tuple(t.data for t in outputs))))

    return checkpointed


def _outside(variables: list[Tensor], outputs: list[Tensor]) -> tuple[Node, ...]:
    """The lines from outside on which the outputs depend: a closure's Tensors."""
    since = _serial(variables[0])
    inside, _ = ancestors([t.node for t in outputs if t.node is not None], since)
    own = {t.node for t in variables}
    found = dict.fromkeys(
        parent
        for line in inside
        if line not in own
        for parent in line.parents
        if parent is not None and parent.serial < since
    )
    found |= dict.fromkeys(t.node for t in outputs if t.node is not None and t.node.serial < since)
    return tuple(found)


def _serial(t: Tensor) -> int:
    assert t.node is not None
    return t.node.serial


class _Recompute:
    """The primitive of one checkpointed call: its pull runs the function again and pulls through that."""

    kind = "checkpoint"
    static = ()
    sequence = True
    operands = ("arrays",)
    saved = ("arrays",)
    signature = inspect.Signature()
    outputs: tuple[str, ...] = ()

    def __init__(self, f: Any, leaves: list[Any], rebuild: Any, moving: list[int], draws: Any) -> None:
        self.f, self.rebuild, self.moving, self.draws = f, rebuild, moving, draws
        self.leaves = [None if k in moving else x for k, x in enumerate(leaves)]
        self.name = f"checkpoint[{getattr(f, '__name__', type(f).__name__)}]"

    def run(self, inputs: list[Any]) -> tuple[list[Tensor], list[Tensor], Any]:
        """Call the function on fresh variables. The first variable is a mark: it is older than all that follows."""
        leaves = list(self.leaves)
        with enable_grad(), self.draws:
            variables = [variable(0.0), *(variable(x) for x in inputs)]
            for k, t in zip(self.moving, variables[1:], strict=True):
                leaves[k] = t
            args, options = self.rebuild(leaves)
            outputs, rebuild_value = flatten(self.f(*args, **options))
        outputs = [t if isinstance(t, Tensor) else attach(t, None) for t in outputs]
        return variables, outputs, rebuild_value

    def pull(self, n: Node, v: Any, due: dict[Node, Any], saved: tuple[Any, ...]) -> None:
        variables, outputs, _ = self.run(list(saved[0]))
        record = any(hasattr(x, "node") for x in v)
        own: dict[Node, Any] = {}
        for t, share in zip(outputs, v, strict=True):
            if share is not None and t.node is not None:
                own[t.node] = own[t.node] + share if t.node in own else share
        lines, _ = ancestors(own, _serial(variables[0]))
        nodes = [t.node for t in variables[1:] if t.node is not None]
        found = pull(lines, own, stop=nodes, record=record, retain=record) if lines else {}
        # What is left in `own` is due to lines from outside.
        shares = [(n.parents[k], found.get(node)) for k, node in enumerate(nodes)] + list(own.items())
        for parent, share in shares:
            if parent is not None and share is not None:
                due[parent] = due[parent] + share if parent in due else share

    def push(self, n: Node, tangents: Any, saved: tuple[Any, ...]) -> Any:
        return None
