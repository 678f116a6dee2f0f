"""A pair of functions run again on other arrays, exact or wider ones: each line against the tape's gradient there.

The forward function runs twice, as it is and on the tape. The backward function goes on with the true gradient after
each line that was judged, so every line is compared for itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.engine.modes import enable_grad
from minigrad.engine.node import Node
from minigrad.engine.primitive import value_of
from minigrad.engine.tape import ancestors, pull
from minigrad.tensor.linearize import variable
from minigrad.tensor.tensor import Tensor
from minigrad.verify.as_written.forward_values import ForwardPass, Recorder, TapeRecorder, Values, same_randomness
from minigrad.verify.as_written.written_lines import RIGHT, WRONG, Event, Judge, Outcome
from minigrad.verify.pairs.instrument import Written
from minigrad.verify.pairs.pair import is_float_array

Array = Any
Convert = Callable[[Any], Any]  # of an array of floats to another kind of array


class Differs(Exception):
    """The functions do not compute the same values on other arrays."""


@dataclass
class Replay:
    """The results of a run on other arrays.

    Attributes:
        lines: by the number of an event, what the backward function computed and the gradient.
        outcome: what it returned.
    """

    lines: dict[int, tuple[Array, Array]] = field(default_factory=dict)
    outcome: Outcome = field(default_factory=Outcome)


def converted(value: Any, convert: Convert, into_objects: bool = False) -> Any:
    """The value with all arrays of floats in it converted, in containers and attributes too."""
    if isinstance(value, np.ndarray):
        return convert(value) if value.dtype.kind == "f" else value
    if isinstance(value, dict):
        return {k: converted(v, convert) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(converted(v, convert) for v in value)
    if into_objects and hasattr(value, "__dict__"):
        value = copy.deepcopy(value)
        vars(value).update({k: converted(v, convert) for k, v in vars(value).items()})
    return value


def replay(
    written: Written, forward: ForwardPass, judged: Outcome, given: Mapping[str, Any], owner: Any,
    cotangents: Mapping[int, Any], convert: Convert,
) -> Replay:  # fmt: skip
    """Run both functions on other arrays, and compare what was right in the judged outcome.

    Args:
        written: the backward function.
        forward: the forward pass of the judged outcome.
        judged: the events with their verdicts.
        given: the forward function's arguments, converted.
        owner: the object of a method, converted.
        cotangents: of the results, converted.
        convert: other arrays that the functions make.

    Raises:
        Differs: they compute other values there.
    """
    other = copy.copy(forward)
    other.given, other.owner = dict(given), owner
    values = other._run(_Plain(forward, convert))
    with enable_grad():
        recorded = other._run(_Taped(forward, convert))
    gradients = _gradients(recorded, cotangents)
    if {v.order for v in recorded.versions} != {v.order for v in values.versions}:
        raise Differs("other values are computed on the tape")
    judge = _Compare(written, forward, judged, gradients, convert)
    fresh = copy.deepcopy(values)
    assert fresh.returned is not None
    arguments = forward.call.arguments(
        fresh.returned,
        given if forward.pair.is_one_function else {**given, **fresh.by_name},
        copy.deepcopy(dict(cotangents)),
    )
    first = (fresh.owner,) if forward.pair.backward_has_self else ()
    judge.outcome.owner = fresh.owner
    with same_randomness(forward.state), np.errstate(all="ignore"):
        written.copy(judge)(*first, **arguments)
    if len(judge.outcome.events) != len(judged.events):
        raise Differs("the backward function takes another path")
    return Replay(judge.compared, judge.outcome)


def _gradients(values: Values, cotangents: Mapping[int, Any]) -> dict[int, Array]:
    """The tape's gradient at each version, by its order."""
    assert values.returned is not None
    pending: dict[Node, Any] = {}
    for k, cotangent in cotangents.items():
        node = getattr(values.returned.parts[k], "node", None)
        if node is not None:
            pending[node] = pending[node] + cotangent if node in pending else cotangent
    kept = [v.node for v in values.versions if v.node is not None]
    pulled = pull(ancestors(list(pending))[0], dict(pending), keep=kept) if pending else {}
    return {
        v.order: pulled.get(v.node, np.zeros(np.shape(v.value))) if v.node is not None else np.zeros(np.shape(v.value))
        for v in values.versions
    }


class _Plain(Recorder):
    """Keeps values as other arrays, also those that the function makes, as by np.zeros((N, T))."""

    def __init__(self, forward: ForwardPass, convert: Convert) -> None:
        super().__init__(forward.pair)
        self.convert = convert

    def recorded(self, value: Any, path: str) -> tuple[Any, Node | None]:
        """The value as another array."""
        return converted(value, self.convert), None

    def copied(self, value: Any) -> Array:
        """The array itself: nobody writes to it."""
        return value if is_float_array(value) else np.array(value)


class _Taped(TapeRecorder):
    """Makes every value a node of the tape."""

    def __init__(self, forward: ForwardPass, convert: Convert) -> None:
        super().__init__(forward.pair)
        self.convert = convert

    def recorded(self, value: Any, path: str) -> tuple[Any, Node | None]:
        """The value as a node; as a Tensor of the other arrays if parts of it are written later."""
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and path in self.item_written:
            return Tensor(self.convert(value)), None
        return super().recorded(value, path)

    def copied(self, value: Any) -> Array:
        """The array itself."""
        return value if is_float_array(value) else np.array(value)

    def argument(self, name: str, value: Any) -> Any:
        """Make an argument a variable."""
        if is_float_array(value) and not isinstance(value, Tensor):
            value = variable(value)
        return super().argument(name, value)


class _Compare(Judge):
    """Compares the events that were judged right, and goes on with the gradient after all that were judged."""

    def __init__(
        self, written: Written, forward: ForwardPass, judged: Outcome, gradients: Mapping[int, Array], convert: Convert
    ) -> None:
        super().__init__(written, forward, {}, {})
        self.judged, self.gradients, self.convert = judged, gradients, convert
        self.compared: dict[int, tuple[Array, Array]] = {}
        self.is_spoiled = False  # by a wrong part of a gradient, which goes into what follows

    def _event(self, site: int, path: str, index: dict[str, Any], value: Any, is_complete: bool) -> Any:
        value = value_of(value)
        if not self._is_event(site, value):
            return value
        order = len(self.outcome.events)
        self.outcome.events.append(Event(order, site, path, index, None))
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            value = self.convert(value)
        if order >= len(self.judged.events) or self.judged.events[order].path != path:
            raise Differs("the backward function takes another path")
        event = self.judged.events[order]
        is_part = event.expected is not None or bool(event.label)
        self.is_spoiled |= is_part and event.status == WRONG
        if event.status not in (RIGHT, WRONG) or event.version is None or is_part:
            return value
        gradient = self.gradients[event.version.order]
        shape = np.shape(value)
        if event.status == RIGHT and not self.is_spoiled:
            if np.shape(gradient) != shape:
                gradient = np.reshape(gradient, shape)
            self.compared[order] = (value, gradient)
        return self.convert(gradient) if isinstance(gradient, np.ndarray) else np.copy(gradient)
