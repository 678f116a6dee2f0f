"""Derivatives of compiled functions: the result is one node of the tape, whose vjp is a compiled function itself.

The vjp runs the function again and pulls through it, all of it compiled. Its own derivative is made in the same way, so
derivatives of any order are programs. The second run repeats the first: generators, arrays that the function writes and
places that it changes are reset to their former state (`Replay`), and afterwards to the present one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad.compiler.capture.arguments import flat, rebuilt
from minigrad.compiler.signature import Inputs, data_of
from minigrad.compiler.specialization import Specialization
from minigrad.engine.borrowed import sample, watch
from minigrad.engine.modes import enable_grad, no_grad
from minigrad.engine.node import Node, mode, next_serial
from minigrad.engine.pairwise import wide
from minigrad.engine.primitive import Opaque
from minigrad.engine.specialize import attach, selected
from minigrad.engine.tape import ancestors, pull
from minigrad.recompute.restore import State, fingerprint
from minigrad.tensor.linearize import variable
from minigrad.tensor.tensor import Tensor
from minigrad.util.pytree import flatten


class Replay:
    """The state before one call of a program, so that the call can be repeated later.

    Args:
        version: the program.
        inputs: its inputs from places.
    """

    def __init__(self, version: Specialization, inputs: Inputs) -> None:
        self.version = version
        self.active = mode.get() is not None
        if not self.active:
            return
        recording, program = version.recording, version.program
        written = [b.array for b in program.stores if b.kind == "state"]
        ids = {id(a) for a in written}
        read = [op.params["buffer"] for op in program.ops if op.name == "input"]
        read = [b for b in read if b.kind == "state" and not b.is_constant and id(b.array) not in ids]
        self.prints = [(b, fingerprint(b.array)) for b in read]
        generators = [g for g in program.generators if hasattr(g, "bit_generator")]
        refs = version.written_places + [x.ref for x in recording.arrays if x.leaf is None]
        refs += [x.ref for x in recording.numbers if x.ref is not None]
        places = list({ref.identity: ref for ref in refs}.values())
        self.before = State(written, generators, places, version.written_lists)

    def check(self) -> None:
        """Check that the call can be repeated.

        Raises:
            RuntimeError: what the function reads has changed since.
        """
        for buffer, before in self.prints:
            if fingerprint(buffer.array) != before:
                raise RuntimeError(
                    f"backward through a compiled function computes {self.version.title} again, and the array "
                    f"{buffer.name} of shape {buffer.shape} was changed since the forward call, so the gradient would "
                    "be wrong. Call backward() before the change, or pass the array as an argument."
                )
        if not self.version.fits():
            path, _, held, now = next(self.version.guard.differences(), ("the state", None, None, None))
            raise RuntimeError(
                f"backward through a compiled function computes {self.version.title} again, and {path} was changed "
                f"since the forward call, from {held!r:.60} to {now!r:.60}. Call backward() before the change."
            )

    @contextmanager
    def repeated(self) -> Iterator[None]:
        """Inside the block the state of the first call, afterwards the present one."""
        present = self.before.now()
        try:
            self.before.put()
            self.check()
            yield
        finally:
            present.put()


def connect(compiled: Any, version: Specialization, leaves: Sequence[Any], results: Any, replay: Replay | None) -> Any:
    """The results, as outputs of one node of the tape if gradients can flow through them."""
    if replay is None or not replay.active:
        return results
    primitive = _Derivative(compiled, version, leaves, replay)
    variables = [*(leaves[k] for k in primitive.inputs), *primitive.captured]
    if not variables:
        return results
    outputs, _ = flatten(results)
    node = Node()
    node.primitive, node.params = primitive, ()
    node.parents = tuple(t.node for t in variables)
    arrays = (x for x, _ in primitive.samples)  # the walk checks whether they were written meanwhile
    node.residuals = ((*(t.data for t in variables), *arrays),)
    node.scope, node.serial = mode.get() or "", next_serial()
    tensors = [outputs[k] if isinstance(k, int) else k.get() for k in version.live]
    values = [t.data for t in tensors]
    node.shape, node.dtype = tuple(np.shape(x) for x in values), tuple(x.dtype for x in values)
    for t, with_history in zip(tensors, selected(node, tuple(values)), strict=True):
        t.node = with_history.node
    return results


def watched(results: Any) -> Any:
    """Return the results of a recording, whose tape is eager: watch arrays that it needs for writes before the pull."""
    pending, seen, nodes = [results], set[int](), []
    while pending:  # a list may contain itself
        x = pending.pop()
        if isinstance(x, Tensor):
            nodes += [] if x.node is None else [x.node]
        elif isinstance(x, (tuple, list, dict)) and id(x) not in seen:
            seen.add(id(x))
            pending += x.values() if isinstance(x, dict) else x
    if nodes:
        watch(ancestors(nodes)[0])
    return results


class _Derivative(Opaque):
    """The primitive of one call of a compiled function."""

    kind = "compiled"

    def __init__(self, compiled: Any, version: Specialization, leaves: Sequence[Any], replay: Replay) -> None:
        (_, form), *keys = version.signature
        leaves = leaves[: len(keys)]
        self.compiled, self.live, self.replay = compiled, version.live, replay
        self.form = flat(form).form if type(form) is int else form
        self.inputs = inputs = [k for k, x in enumerate(leaves) if type(x) is Tensor and x.node is not None]
        self.captured = [t for t in version.captured if t.node is not None]
        # A Tensor without a node that is written gets another array. The present one counts.
        self.leaves = [
            None if k in inputs else attach(x.data, None) if type(x) is Tensor else x for k, x in enumerate(leaves)
        ]
        self.samples = [(x, sample(x)) for x in map(data_of, self.leaves) if type(x) is np.ndarray]
        live = tuple(k if isinstance(k, int) else k.identity for k in self.live)  # branches may return something else
        self.key = (version.signature, tuple(inputs), tuple(map(id, self.captured)), live)
        self.name = f"compiled[{compiled.name}]"
        self.outputs = tuple(f"out{k}" for k in range(len(self.live)))

    def pull(self, n: Node, v: Any, pending: dict[Node, Any], residuals: tuple[Any, ...]) -> None:
        """The contributions to the parents, from a compiled function of the arguments and the cotangents."""
        record = any(isinstance(x, Tensor) for x in v)
        key = (*self.key, tuple(x is None for x in v))
        for t, array in zip(self.captured, residuals[0][len(self.inputs) :], strict=False):
            if t.data is not (array.data if isinstance(array, Tensor) else array):
                raise RuntimeError(
                    f"backward through {self.name}: a Tensor of shape {t.shape} that it uses got other data "
                    "since the forward call, so the gradient would be wrong. Call backward() before the change."
                )
        for array, before in self.samples:
            if sample(array) != before:
                raise RuntimeError(
                    f"backward through {self.name}: an argument of shape {array.shape} and dtype {array.dtype} was "
                    "changed since the forward call, so the gradient would be wrong. Call backward() before it is "
                    "written again, or give the call a copy: np.copy(array)"
                )
        function = self.compiled.derivative(key, self.function)
        with enable_grad() if record else no_grad(), self.replay.repeated():
            contributions = function(list(residuals[0][: len(self.inputs)]), self.leaves, list(v))
        for parent, x in zip(n.parents, contributions, strict=True):
            if x is None:
                continue
            contribution = x if record or not isinstance(x, Tensor) else x.data
            assert parent is not None
            pending[parent] = pending[parent] + wide(contribution) if parent in pending else contribution

    def push(self, n: Node, tangents: Any, residuals: tuple[Any, ...]) -> Any:
        """Not available: forward mode pulls the vjp instead."""
        return None

    def function(self) -> Callable[..., Any]:
        """The function to compile: it runs the step on variables and pulls cotangents through it."""
        step, form, live, captured = self.compiled.function, self.form, self.live, self.captured
        positions = self.inputs

        def vjp(inputs: list[Any], leaves: list[Any], cotangents: list[Any]) -> list[Any]:
            record = mode.get() is not None
            with enable_grad():
                variables = [variable(x) for x in inputs]
                arguments = list(leaves)
                for k, t in zip(positions, variables, strict=True):
                    arguments[k] = t
                args, kwargs = rebuilt(form, arguments)
                outputs, _ = flatten(step(*args, **kwargs))
                targets: list[Any] = [t.node for t in (*variables, *captured)]
                cotangents_of: dict[Node, Any] = {}
                for where, v in zip(live, cotangents, strict=True):
                    node = (outputs[where] if isinstance(where, int) else where.get()).node
                    if v is not None and node is not None:
                        contribution = v if record or not isinstance(v, Tensor) else v.data
                        known = cotangents_of.get(node)
                        cotangents_of[node] = contribution if known is None else known + contribution
                nodes, _ = ancestors(cotangents_of)
                grads = pull(nodes, cotangents_of, stop=targets, record=record) if cotangents_of else {}
            for where in live:
                if not isinstance(where, int):
                    where.get().node = None  # undo what the step has left there
            return [_as_tensor(grads.get(node)) for node in targets]

        vjp.__name__ = f"vjp of {self.compiled.name}"
        return vjp


def _as_tensor(contribution: Any) -> Any:
    """A contribution as a Tensor; None where no result depends on the parent, whose gradient stays None."""
    return contribution if contribution is None or isinstance(contribution, Tensor) else attach(contribution, None)
