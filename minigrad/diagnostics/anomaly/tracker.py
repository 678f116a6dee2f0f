"""Follows values that are not finite through the forward pass and back, from the operation where they arise."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import numpy as np

from minigrad.diagnostics.anomaly.anomaly import Anomaly, AnomalyError, CodeLocation, Step, user_location
from minigrad.diagnostics.anomaly.causes import Reason
from minigrad.diagnostics.anomaly.explain import (
    backward_reason,
    describe_elements,
    forward_reason,
    is_finite,
    outside_reason,
    worst_kind,
)
from minigrad.engine.intercept import Observer
from minigrad.engine.modes import current_scope
from minigrad.engine.node import Node
from minigrad.engine.primitive import Primitive, value_of

Array = Any
MOST = 200  # values that are followed at the same time


@dataclass
class Trace:
    """A value that is not finite: how it arose, and whether an operation has used it since."""

    anomaly: Anomaly
    used: bool = False


class AnomalyTracker(Observer):
    """Looks at the results of all operations, contributions and tangents in its block.

    A NaN is an anomaly where it arises. An infinity may be intended (a mask, a limit), so it is only remembered. It is
    reported when a backward pass starts from it, when it turns into NaN, or if it is still unused at the end.

    Args:
        raising: raise AnomalyError at the first anomaly. Otherwise it is stored in `first`, and a NaN too is only
            remembered until it reaches a backward pass.
    """

    def __init__(self, raising: bool) -> None:
        super().__init__()
        self.raising = raising
        self.first: Anomaly | None = None
        self.location: CodeLocation | None = None  # where in the user's code the last operation was called
        self._locations: weakref.WeakKeyDictionary[Node, CodeLocation | None] = weakref.WeakKeyDictionary()
        self._consumers: weakref.WeakKeyDictionary[Node, list[weakref.ref[Node]]] = weakref.WeakKeyDictionary()
        self._traces_of_nodes: weakref.WeakKeyDictionary[Node, Trace] = weakref.WeakKeyDictionary()
        # By the id of the array: the array or a reference to it, and its trace.
        self._traces_of_values: dict[int, tuple[Any, Trace]] = {}
        self._last: tuple[CodeLocation | None, Trace | None] = (None, None)

    # Forward

    def computed(self, p: Primitive, values: tuple[Array, ...], out: Array, frame: FrameType) -> None:
        """Look at the result of an operation, and at which operands are not finite."""
        location = self.location = user_location(frame.f_back)
        if self.first is not None:
            return
        self._last = (location, None)
        operands = tuple(values[0]) if p.sequence else values
        traces: list[Trace] = []
        if self._traces_of_values:
            traces = [trace for value in operands if (trace := self._trace_of(value)) is not None]
        for trace in traces:
            trace.used = True
        if is_finite(out):
            return
        result = _first_nonfinite_output(out)
        kind = worst_kind(result)
        has_nonfinite_operand = any(not is_finite(value) for value in operands)
        if not traces and has_nonfinite_operand and kind != "NaN":
            return  # an infinity from outside is intended
        tensors = _arguments(p, frame)
        if traces and (kind != "NaN" or traces[0].anomaly.kind == "NaN"):
            chain = (*traces[0].anomaly.chain, self._step(p, tensors, location))
            trace = Trace(replace(traces[0].anomaly, chain=chain))
        else:
            nodes = [getattr(t, "node", None) for t in tensors]
            reason = forward_reason(p, operands, result)
            if traces:
                origin = traces[0].anomaly
                sentence = f"{reason.sentence}, and the {origin.kind} is {origin.reason.sentence}"
                reason = replace(origin.reason, sentence=sentence)
            elif has_nonfinite_operand:
                reason = outside_reason(p, operands, nodes)
            before = traces[0].anomaly.chain if traces else self._steps_before(nodes)
            chain = (*before, self._step(p, tensors, location, f"{kind} arises here"))
            elements = describe_elements(result, p, operands)
            trace = Trace(Anomaly(kind, "forward", p.name, location, reason, elements, chain, current_scope()))
        self._remember(out, trace)
        self._last = (location, trace)
        if self.raising and kind == "NaN":
            trace.used = True
            self._report(trace.anomaly)

    def recorded(self, node: Node) -> None:
        """Note the location of a node: that of the last operation, or of the node whose rules are running."""
        if self.inside is not None:
            self._locations[node] = self._locations.get(self.inside)
            return
        self._locations[node], trace = self._last
        if trace is not None:
            self._traces_of_nodes[node] = trace

    # Backward

    def pulled(self, node: Node, v: Array, contributions: dict[Node, Array], residuals: tuple[Array, ...]) -> None:
        """Look at the contributions of a node to its operands."""
        if self.first is not None:
            return
        is_start = node not in self._consumers
        for parent in node.parents:
            if parent is not None and parent.primitive is not None:
                owner = parent.parents[0] if parent.primitive.kind == "select" else parent
                if owner is not None:
                    self._consumers.setdefault(owner, []).append(weakref.ref(node))
        trace = self._traces_of_nodes.get(node)
        if is_start and trace is not None:
            trace.used = True
            self._report(trace.anomaly)
            return
        contribution = next((x for x in contributions.values() if not is_finite(x)), None)
        if contribution is not None:
            self._report(self._gradient_anomaly(node, v, _first_nonfinite_output(contribution), residuals))

    def _gradient_anomaly(self, node: Node, v: Array, contribution: Array, residuals: tuple[Array, ...]) -> Anomaly:
        """The anomaly of a contribution that is not finite."""
        v = [x for x in v if x is not None] if isinstance(v, tuple | list) else v
        is_masked = False  # whether the incoming gradient is 0 where the contribution is not finite
        if not is_finite(v):
            reason = Reason(
                "gradient from outside",
                f"the gradient that reaches {node.primitive.name} is not finite already",
                "check the gradient that was passed to backward(), and what hooks return",
            )
        else:
            reason, upstream = backward_reason(node, v, contribution, residuals)
            is_masked = upstream == 0
            trace = self._traces_of_nodes.get(node)
            if trace is not None:
                reason, kind = trace.anomaly.reason, trace.anomaly.kind
                if is_masked:
                    sentence = f"the incoming gradient is 0, and this is {reason.sentence}: 0 · {kind} is NaN"
                    reason = replace(reason, sentence=sentence)
        path = self._path(node)
        chain = [self._step_of(other) for other in path]
        where = None
        if is_masked:
            where = next((k for k, other in enumerate(path) if other.primitive.name == "where"), None)
        if where is not None:
            chain[where] = replace(chain[where], note="discards this branch: its gradient is 0 there")
        kind = worst_kind(contribution)
        chain[-1] = replace(chain[-1], note=f"{kind} arises here")
        return Anomaly(
            kind,
            "backward",
            node.primitive.name,
            self._locations.get(node),
            reason,
            describe_elements(contribution),
            tuple(chain),
            node.scope,
            where is not None,
        )

    # Forward mode

    def pushed(
        self, node: Node, tangents: Sequence[Array | None], tangent_out: Array, residuals: tuple[Array, ...]
    ) -> None:
        """Look at the tangent of a node's value."""
        known = [v for v in tangents if v is not None]
        if self.first is not None or is_finite(tangent_out) or not is_finite(known):
            return
        reason, _ = backward_reason(node, known[0], tangent_out, residuals)
        reason = replace(reason, sentence=reason.sentence.replace("gradient", "tangent"))
        kind, location = worst_kind(tangent_out), self._locations.get(node)
        chain = (*self._steps_before(node.parents), replace(self._step_of(node), note=f"{kind} arises here"))
        elements = describe_elements(tangent_out)
        self._report(Anomaly(kind, "forward mode", node.primitive.name, location, reason, elements, chain, node.scope))

    def remaining(self) -> Anomaly | None:
        """The first anomaly; if there is none, that of a value that is not finite and that nothing has used."""
        if self.first is not None:
            return self.first
        return next((trace.anomaly for _, trace in self._traces_of_values.values() if not trace.used), None)

    # How values, nodes and locations belong together

    def _report(self, anomaly: Anomaly) -> None:
        if self.raising:
            raise AnomalyError(anomaly)
        self.first = anomaly

    def _trace_of(self, value: Array) -> Trace | None:
        entry = self._traces_of_values.get(id(value))
        if entry is None:
            return None
        known, trace = entry
        return trace if (known() if isinstance(known, weakref.ref) else known) is value else None

    def _remember(self, out: Array, trace: Trace) -> None:
        """Store the trace by the array. The trace of an unused array outlives it: it may have been the loss."""
        for value in out if isinstance(out, tuple) else (out,):
            if not is_finite(value):
                if len(self._traces_of_values) >= MOST:
                    unused = {k: entry for k, entry in self._traces_of_values.items() if not entry[1].used}
                    self._traces_of_values = unused
                if len(self._traces_of_values) >= MOST:
                    return
                known = weakref.ref(value) if isinstance(value, np.ndarray) else value
                self._traces_of_values[id(value)] = (known, trace)

    def _step(self, p: Primitive, tensors: Iterable[Any], location: CodeLocation | None, note: str = "") -> Step:
        operands = [_operand_text(getattr(t, "node", None), value_of(t)) for t in tensors]
        return Step(f"{p.name}({', '.join(operands)})", location, note)

    def _step_of(self, node: Node, note: str = "") -> Step:
        name = getattr(node, "name", None)
        numbers = getattr(node, "numbers", None) or (None,) * len(node.parents)
        operands = [_operand_text(parent, x) for parent, x in zip(node.parents, numbers, strict=False)]
        text = f"{node.primitive.name}({', '.join(operands)})" if node.primitive is not None else "leaf"
        return Step(f"{name} = {text}" if name else text, self._locations.get(node), note)

    def _steps_before(self, operands: Iterable[Node | None]) -> tuple[Step, ...]:
        """The last operations before the first operand, oldest first."""
        nodes: list[Node] = []
        node = next((operand for operand in operands if operand is not None), None)
        while node is not None and node.primitive is not None and len(nodes) < 3:
            if node.primitive.kind != "select":
                nodes.append(node)
            node = next((parent for parent in node.parents if parent is not None), None)
        return tuple(self._step_of(node) for node in reversed(nodes))

    def _path(self, node: Node) -> list[Node]:
        """The nodes through which the gradient has come, from the output to this node."""
        path, seen = [node], {node}
        while (consumer := next(iter(self._consumers_of(path[-1])), None)) is not None and consumer not in seen:
            path.append(consumer)
            seen.add(consumer)
        return path[::-1]

    def _consumers_of(self, node: Node) -> list[Node]:
        """The nodes of this backward pass that use a node, np.where before all others."""
        consumers = [other for reference in self._consumers.get(node, ()) if (other := reference()) is not None]
        return sorted(consumers, key=lambda other: other.primitive.name != "where")


def _arguments(p: Primitive, frame: FrameType) -> list[Any]:
    """The operands as the user passed them, which the record function has in local variables of their names."""
    names = frame.f_locals
    return list(names.get("arrays", ())) if p.sequence else [names.get(name) for name in p.operands]


def _first_nonfinite_output(out: Array) -> Array:
    """The first of several outputs that is not finite; a single output itself."""
    return next(value for value in out if not is_finite(value)) if isinstance(out, tuple) else out


def _operand_text(node: Node | None, value: Any) -> str:
    """An operand in a call: its name, its operation, its number or its shape."""
    if node is not None:
        name = getattr(node, "name", None)
        return name or ("leaf" if node.primitive is None else f"{node.primitive.name}(…)")
    if isinstance(value, int | float) or (value is not None and np.ndim(value) == 0):
        return f"{float(value):.6g}"
    return "·" if value is None else f"array{np.shape(value)}"
