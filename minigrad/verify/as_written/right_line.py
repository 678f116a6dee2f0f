"""The right line beside a wrong one, derived from the forward function, in the names that the backward function has.

The forward function runs on symbolic arrays. A value that the backward function knows has its name there; a value whose
gradient the backward function has computed before is where the derivation starts. The line is evaluated in every sample
before it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.engine.intercept import intercept
from minigrad.engine.modes import enable_grad
from minigrad.engine.node import Node
from minigrad.engine.tape import ancestors, pull
from minigrad.tensor.linearize import variable
from minigrad.tensor.tensor import Tensor
from minigrad.verify.as_written.forward_values import ForwardPass, Recorder, Version
from minigrad.verify.as_written.written_lines import Event, Outcome
from minigrad.verify.derive.numpy_source import NumPySource
from minigrad.verify.derive.primitives import Primitives
from minigrad.verify.derive.steps import sizes_of
from minigrad.verify.derive.symbolic import Symbolic
from minigrad.verify.derive.term import ONE, Session, Term, name, names_in
from minigrad.verify.derive.term_algebra import Algebra
from minigrad.verify.pairs.pair import is_float_array

Array = Any
UNKNOWN = "?"  # the beginning of the name of a value that the backward function does not know
SMALLEST_SIZES = (4, 1)  # numbers larger than this may be sizes; the second is tried if a line is wrong with the first
USUAL = (0.0, 1.0, 2.0, 0.5, -1.0)  # numbers that do not stand for a constant of the same value


@dataclass
class Place:
    """Where a line stands in one sample: what it may use, and what it should give."""

    forward: ForwardPass
    environment: Mapping[str, Any]  # the local variables of the backward function
    expected: Array


def right_line(places: Sequence[Place], outcome: Outcome, event: Event) -> str | None:
    """The source of the right expression for a wrong event, or None if it cannot be derived.

    Args:
        places: the samples; names are taken from the first.
        outcome: the run of the backward function in the first sample.
        event: the wrong event.
    """
    for smallest in SMALLEST_SIZES:
        try:
            with Session():
                text = _Derivation(places[0], outcome, event, smallest).text()
        except Exception:  # the forward function, or one of its operations, does not run on symbolic arrays
            return None
        if text is not None and all(_gives(text, place) for place in places):
            return text
    return None


def _gives(text: str, place: Place) -> bool:
    """Whether an expression gives what is expected."""
    try:
        with np.errstate(all="ignore"):
            result = np.asarray(eval(text, {"np": np}, dict(place.environment)))
    except Exception:
        return False
    expected = np.asarray(place.expected)
    size = float(np.max(np.abs(expected), initial=0.0))
    return result.shape == expected.shape and bool(np.allclose(result, expected, rtol=1e-6, atol=1e-9 * size))


class _Derivation:
    """The derivation of one line."""

    def __init__(self, place: Place, outcome: Outcome, event: Event, smallest: int) -> None:
        self.forward, self.target = place.forward, event.version
        self.known = dict(sorted(_reachable(place.environment), key=lambda part: not part[0].isidentifier()))
        sizes = {n for v in self.forward.plain.versions for n in sizes_of({"": v.value}) if n > smallest}
        self.algebra = Algebra(sizes)
        for k, x in self.known.items():
            if isinstance(x, float) and x not in USUAL:
                self.algebra.constants.setdefault(x, name(k, ()))
            elif isinstance(x, np.ndarray) and x.ndim and x.dtype.kind in "iub":
                self.algebra.arrays.append((x, name(k, x.shape)))
        named = [(v.order, self._value_name(v)) for v in self.forward.plain.versions]
        values = {order: text for order, text in named if text is not None}
        self.gradients: dict[int, str] = {}
        for e in outcome.events[: event.order]:
            if e.version is not None and (path := self._gradient_name(e.version, e.path)) is not None:
                self.gradients[e.version.order] = path
        self.recorder = _SymbolicRecorder(self.forward, self.algebra, values, self.known)

    def _value_name(self, v: Version) -> str | None:
        """The name by which the backward function knows a value."""
        same = [k for k, x in self.known.items() if _equal(x, v.value)]
        return next((k for k in same if k == v.name), same[0] if same else None)

    def _gradient_name(self, v: Version, path: str) -> str | None:
        x: Any = self.known.get(path)
        if v is self.target or not is_float_array(x) or x.shape != v.value.shape:
            return None
        return path if np.allclose(x, self.forward.gradient(v), rtol=1e-6) else None

    def text(self) -> str | None:
        """The line's expression."""
        with enable_grad(), intercept(Primitives(self.algebra)):
            run = self.forward.run_with(self.recorder)
        tensors = self.recorder.tensors
        assert self.target is not None
        end = tensors[self.target.order].node
        starts: dict[Node, Term] = {}
        for k, cotangent in self.forward.cotangents.items():
            out = run.returned.parts[k] if run.returned is not None else None
            name_ = next((n for n, x in self.known.items() if _equal(x, cotangent)), None)
            if isinstance(out, Tensor) and out.node is not None:
                text = name_ or ("1" if np.ndim(cotangent) == 0 and cotangent == 1 else f"{UNKNOWN}out{k}")
                starts[out.node] = self.algebra.number(1) if text == "1" else name(text, out.shape)
        for order, gradient in self.gradients.items():
            node = tensors[order].node if order in tensors else None
            if node is not None and node is not end:
                starts[node] = name(gradient, tensors[order].shape)
        parts = [part for node, start in starts.items() for part in self._contribution(node, start, end, starts)]
        if not parts:
            return None
        term = self.algebra.plus([(ONE, part) for part in parts], self.target.value.shape)
        if any(k.startswith(UNKNOWN) for k in names_in(term)):
            return None
        shapes = {k: np.shape(x) for k, x in self.known.items() if np.ndim(x)}
        counts = {int(x): k for k, x in self.known.items() if isinstance(x, (int, np.integer)) and k.isidentifier()}
        return NumPySource(shapes, counts=counts).line(term)

    def _contribution(self, node: Node, start: Term, end: Any, starts: Mapping[Node, Term]) -> list[Term]:
        if node is end:
            return [start]
        upstream = Symbolic(self.algebra, np.full(start.shape, 0.5), start)
        stops = [end, *(other for other in starts if other is not node)]
        with intercept(Primitives(self.algebra)), np.errstate(all="ignore"):
            pulled = pull(ancestors([node])[0], {node: upstream}, stop=stops)
        if end not in pulled:
            return []
        return [pulled[end].term if isinstance(pulled[end], Symbolic) else self.algebra.number(pulled[end])]


class _SymbolicRecorder(Recorder):
    """Gives the values of the forward function their names, and keeps their Tensors."""

    def __init__(
        self, forward: ForwardPass, algebra: Algebra, names: Mapping[int, str], known: Mapping[str, Any]
    ) -> None:
        super().__init__(forward.pair)
        self.algebra, self.names, self.known = algebra, names, known
        self.tensors: dict[int, Tensor] = {}

    def argument(self, text: str, value: Any) -> Any:
        """Make an argument symbolic."""
        if is_float_array(value):
            k = self.names.get(self.order + 1, f"{UNKNOWN}{text}")
            return self._store(text, variable(Symbolic(self.algebra, value, name(k, value.shape))), {}, 0, text)
        return value

    def _store(
        self, text: str, value: Any, index: dict[str, Any], line: int, path: str, is_item: bool = False,
        is_part: bool = False,
    ) -> Any:  # fmt: skip
        self.order += 1
        data = value.data if isinstance(value, Tensor) else value
        if isinstance(data, Symbolic) and data.dtype.kind == "f":
            if self.order in self.names and data.term.op != "name":
                term = name(self.names[self.order], data.shape)
                self.algebra.define(term, data.term)
                data.term = term
            if isinstance(value, Tensor) and value.node is not None:
                value = variable(value)
                self.tensors[self.order] = value
        return value


def _reachable(environment: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What an expression can name: local variables, their items, and attributes of self."""
    for k, x in environment.items():
        if k == "self":
            yield from ((f"self.{a}", v) for a, v in vars(x).items())
        elif isinstance(x, dict):
            yield from ((f"{k}[{key!r}]", v) for key, v in x.items() if isinstance(key, (str, int)))
        elif isinstance(x, (tuple, list)):
            yield from ((f"{k}[{i}]", v) for i, v in enumerate(x))
        elif k.isidentifier():
            yield k, x


def _equal(x: Any, value: Any) -> bool:
    is_number = isinstance(x, (np.ndarray, float, np.floating)) and not isinstance(x, bool)
    return is_number and np.shape(x) == np.shape(value) and np.array_equal(x, value)
