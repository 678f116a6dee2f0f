"""detect_anomaly: which operation of the user's code made a NaN or an infinity, forward or backward."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterable, Sequence
from contextlib import ContextDecorator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import numpy as np

from minigrad.diagnostics.anomaly import Anomaly, AnomalyError, Step
from minigrad.diagnostics.causes import Reason
from minigrad.diagnostics.reasons import (
    backward_reason,
    elements,
    forward_reason,
    from_outside,
    is_finite,
    what,
)
from minigrad.diagnostics.source import Place, place
from minigrad.engine.intercept import Observer, layers
from minigrad.engine.modes import current_scope
from minigrad.engine.node import Node
from minigrad.engine.primitive import Primitive, value_of

Array = Any
KEPT = 200  # values that are not finite and are followed at one time


@dataclass
class Trace:
    """A value that is not finite: how it arose, and whether an operation has used it since."""

    anomaly: Anomaly
    used: bool = False


class Anomalies(Observer):
    """Follows what is not finite through the forward pass and back.

    A NaN is an anomaly where it arises. An infinity may be meant (a mask, a limit), so it is remembered and told when
    it reaches the start of a backward pass, turns into NaN, or is what remains at the end.

    Args:
        raising: raise AnomalyError at the first one. Otherwise it is kept in `found`, and a NaN too is remembered
            until it does harm.
    """

    def __init__(self, raising: bool) -> None:
        super().__init__()
        self.raising = raising
        self.found: Anomaly | None = None
        self.here: Place | None = None  # where in the user's code the last operation was called
        self._places: weakref.WeakKeyDictionary[Node, Place | None] = weakref.WeakKeyDictionary()
        self._consumers: weakref.WeakKeyDictionary[Node, list[weakref.ref[Node]]] = weakref.WeakKeyDictionary()
        self._lines: weakref.WeakKeyDictionary[Node, Trace] = weakref.WeakKeyDictionary()
        self._values: dict[int, tuple[Any, Trace]] = {}  # by the id of the array, with the array or a reference to it
        self._last: tuple[Place | None, Trace | None] = (None, None)

    # Forward

    def computed(self, p: Primitive, values: tuple[Array, ...], out: Array, frame: FrameType) -> None:
        """Look at the result, and at which operands were not finite."""
        here = self.here = place(frame.f_back)
        if self.found is not None:
            return
        self._last = (here, None)
        operands = tuple(values[0]) if p.sequence else values
        traces = [trace for value in operands if (trace := self._trace_of(value)) is not None] if self._values else []
        for trace in traces:
            trace.used = True
        if is_finite(out):
            return
        worst = what(_worst(out))
        came_in = any(not is_finite(value) for value in operands)
        if not traces and came_in and worst != "NaN":
            return  # an infinity from outside is meant
        tensors = _given(p, frame)
        if traces and (worst != "NaN" or traces[0].anomaly.kind == "NaN"):
            trace = Trace(replace(traces[0].anomaly, chain=(*traces[0].anomaly.chain, self._step(p, tensors, here))))
        else:
            reason = forward_reason(p, operands, _worst(out))
            if traces:
                root = traces[0].anomaly.reason
                reason = replace(
                    root, sentence=f"{reason.sentence}, and the {traces[0].anomaly.kind} is {root.sentence}"
                )
            elif came_in:
                reason = from_outside(p, operands, [getattr(t, "node", None) for t in tensors])
            before = traces[0].anomaly.chain if traces else self._before(getattr(t, "node", None) for t in tensors)
            chain = (*before, self._step(p, tensors, here, f"{worst} arises here"))
            told = elements(_worst(out), p, operands)
            trace = Trace(Anomaly(worst, "forward", p.name, here, reason, told, chain, current_scope()))
        self._remember(out, trace)
        self._last = (here, trace)
        if self.raising and worst == "NaN":
            trace.used = True
            self._tell(trace.anomaly)

    def recorded(self, node: Node) -> None:
        """The node belongs to what was computed last, or to the node whose rules are running."""
        if self.inside is not None:
            self._places[node] = self._places.get(self.inside)
            return
        self._places[node], trace = self._last
        if trace is not None:
            self._lines[node] = trace

    # Backward

    def pulled(self, node: Node, v: Array, contributions: dict[Node, Array], residuals: tuple[Array, ...]) -> None:
        """Look at the contributions that a node gives."""
        if self.found is not None:
            return
        starts = node not in self._consumers
        for parent in node.parents:
            if parent is not None and parent.primitive is not None:
                owner = parent.parents[0] if parent.primitive.kind == "select" else parent
                if owner is not None:
                    self._consumers.setdefault(owner, []).append(weakref.ref(node))
        trace = self._lines.get(node)
        if starts and trace is not None:
            trace.used = True
            self._tell(trace.anomaly)
            return
        bad = next((contribution for contribution in contributions.values() if not is_finite(contribution)), None)
        if bad is None:
            return
        bad, way = _worst(bad), self._way(node)
        v = [x for x in v if x is not None] if isinstance(v, tuple | list) else v
        if not is_finite(v):
            reason = Reason(
                "gradient from outside",
                f"the gradient that arrives at {node.primitive.name} is not finite already",
                "look at the gradient that was given to backward(), and at what hooks return",
            )
            zero = False
        else:
            reason, upstream = backward_reason(node, v, bad, residuals)
            zero = upstream == 0
            if trace is not None:
                born = trace.anomaly.reason
                told = f"the gradient that arrives is 0, and this is {born.sentence}: 0 · {trace.anomaly.kind} is NaN"
                reason = replace(born, sentence=told if zero else born.sentence)
        where = next((k for k, other in enumerate(way) if other.primitive.name == "where"), None) if zero else None
        chain = [self._step_of(other) for other in way]
        if where is not None:
            chain[where] = replace(chain[where], note="discards this branch: its gradient is 0 there")
        worst = what(bad)
        chain[-1] = replace(chain[-1], note=f"{worst} arises here")
        self._tell(
            Anomaly(
                worst, "backward", node.primitive.name, self._places.get(node), reason, elements(bad), tuple(chain),
                node.scope, where is not None,
            )
        )  # fmt: skip

    # Forward mode

    def pushed(self, node: Node, tangents: Sequence[Array | None], moved: Array, residuals: tuple[Array, ...]) -> None:
        """Look at the tangent of a node's value."""
        given = [v for v in tangents if v is not None]
        if self.found is not None or is_finite(moved) or not is_finite(given):
            return
        reason, _ = backward_reason(node, given[0], moved, residuals)
        reason = replace(reason, sentence=reason.sentence.replace("gradient", "tangent"))
        worst, here = what(moved), self._places.get(node)
        chain = (*self._before(node.parents), replace(self._step_of(node), note=f"{worst} arises here"))
        told = elements(moved)
        self._tell(Anomaly(worst, "forward mode", node.primitive.name, here, reason, told, chain, node.scope))

    def remaining(self) -> Anomaly | None:
        """The first that was found, or else a value that is not finite and that nothing used."""
        if self.found is not None:
            return self.found
        return next((trace.anomaly for _, trace in self._values.values() if not trace.used), None)

    # How values, nodes and places belong together

    def _tell(self, anomaly: Anomaly) -> None:
        if self.raising:
            raise AnomalyError(anomaly)
        self.found = anomaly

    def _trace_of(self, value: Array) -> Trace | None:
        kept = self._values.get(id(value))
        if kept is None:
            return None
        known, trace = kept
        return trace if (known() if isinstance(known, weakref.ref) else known) is value else None

    def _remember(self, out: Array, trace: Trace) -> None:
        """A value is known by its array. One that dies unused stays in the books: it may have been the loss."""
        for value in out if isinstance(out, tuple) else (out,):
            if not is_finite(value):
                if len(self._values) >= KEPT:
                    self._values = {k: kept for k, kept in self._values.items() if not kept[1].used}
                if len(self._values) >= KEPT:
                    return
                known = weakref.ref(value) if isinstance(value, np.ndarray) else value
                self._values[id(value)] = (known, trace)

    def _step(self, p: Primitive, tensors: Iterable[Any], here: Place | None, note: str = "") -> Step:
        given = [_label(getattr(t, "node", None), value_of(t)) for t in tensors]
        return Step(f"{p.name}({', '.join(given)})", here, note)

    def _step_of(self, node: Node, note: str = "") -> Step:
        name = getattr(node, "name", None)
        numbers = getattr(node, "numbers", None) or (None,) * len(node.parents)
        given = [_label(parent, x) for parent, x in zip(node.parents, numbers, strict=False)]
        text = f"{node.primitive.name}({', '.join(given)})" if node.primitive is not None else "leaf"
        return Step(f"{name} = {text}" if name else text, self._places.get(node), note)

    def _before(self, operands: Iterable[Node | None]) -> tuple[Step, ...]:
        """The last operations that led to the operands, oldest first."""
        nodes: list[Node] = []
        node = next((operand for operand in operands if operand is not None), None)
        while node is not None and node.primitive is not None and len(nodes) < 3:
            if node.primitive.kind != "select":
                nodes.append(node)
            node = next((parent for parent in node.parents if parent is not None), None)
        return tuple(self._step_of(node) for node in reversed(nodes))

    def _way(self, node: Node) -> list[Node]:
        """The nodes through which the gradient came, from the output to this node."""
        way, seen = [node], {node}
        while (consumer := next(iter(self._using(way[-1])), None)) is not None and consumer not in seen:
            way.append(consumer)
            seen.add(consumer)
        return way[::-1]

    def _using(self, node: Node) -> list[Node]:
        """The nodes that used this one in the walk, np.where before all others."""
        found = [other for reference in self._consumers.get(node, ()) if (other := reference()) is not None]
        return sorted(found, key=lambda other: other.primitive.name != "where")


def _given(p: Primitive, frame: FrameType) -> list[Any]:
    """The operands as the user gave them: the record function that specialize writes calls them by their names."""
    names = frame.f_locals
    return list(names.get("arrays", ())) if p.sequence else [names.get(name) for name in p.operands]


def _worst(out: Array) -> Array:
    """Of several outputs the first that is not finite."""
    return next(value for value in out if not is_finite(value)) if isinstance(out, tuple) else out


def _label(node: Node | None, value: Any) -> str:
    """An operand: its name, its number, or what made it."""
    if node is not None:
        name = getattr(node, "name", None)
        return name or ("leaf" if node.primitive is None else f"{node.primitive.name}(…)")
    if isinstance(value, int | float) or (value is not None and np.ndim(value) == 0):
        return f"{float(value):.6g}"
    return "·" if value is None else f"array{np.shape(value)}"


# How many blocks are open in this context, and what NumPy did about floating-point errors before the first.
_silent: ContextVar[tuple[int, Any]] = ContextVar("minigrad_silent", default=(0, None))


def _silence(change: int) -> None:
    """One more block in which NumPy does not warn, or one less. They may end in any order."""
    depth, before = _silent.get()
    if depth == 0 and change > 0:
        before = np.seterr(all="ignore")
    elif depth == 1 and change < 0:
        np.seterr(**before)
    _silent.set((max(depth + change, 0), before))


class detect_anomaly(ContextDecorator):
    """Say where a NaN or an infinity arises: the operation, the line of your code, the chain, and a hint.

    `with mg.detect_anomaly():` or `@mg.detect_anomaly()`. A NaN raises where it arises, in the forward pass or in a
    gradient. An infinity may be meant (a mask, a limit): it raises when a backward pass starts from it, when it turns
    into NaN, or when the block ends and nothing has used it. Infinities that come in from outside are left alone.
    NumPy's own warnings are silent inside. Operations are slower inside, by some microseconds each; outside nothing is.

    Raises:
        AnomalyError: an ArithmeticError; its `.anomaly` has the particulars. Another exception that leaves the block
            gets a note, if there is an infinity that may be to blame.

    Example:
        >>> import minigrad as mg
        >>> x = mg.Tensor([1.0, 0.0], requires_grad=True)
        >>> with mg.detect_anomaly():
        ...     mg.sum(x * mg.log(x))
        Traceback (most recent call last):
        ...
        minigrad.diagnostics.anomaly.AnomalyError: NaN arises in multiply at <doctest ...
    """

    def __init__(self) -> None:
        self._open: list[Anomalies] = []  # of all threads

    def __call__(self, function: Any) -> Any:
        """As a decorator. The body of a generator or coroutine would run after the block had ended."""
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise TypeError(
                f"detect_anomaly: {function.__name__} is a generator or a coroutine; write "
                "`with mg.detect_anomaly():` around the operations inside it"
            )
        return super().__call__(function)

    def __enter__(self) -> None:
        self._open.append(Anomalies(raising=True).__enter__())
        _silence(1)

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        here, blocks = layers(Anomalies), tuple(self._open)  # a copy: other threads enter and leave meanwhile
        anomalies = next((block for block in reversed(blocks) if block in here), blocks[-1])
        self._open.remove(anomalies)
        anomalies.__exit__(kind, error, traceback)
        _silence(-1)
        left = anomalies.remaining()
        if left is None or isinstance(error, AnomalyError):
            return
        if error is None:
            raise AnomalyError(left)
        error.add_note(f"detect_anomaly: {left}")
