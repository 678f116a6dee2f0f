"""Two recordings of one step, compared: what differs between them would be frozen in a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minigrad.compiler.capture.canonical import canonical
from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.ir.program import ArgSlot, Buffer, Value
from minigrad.compiler.trace.trace import COMPUTED
from minigrad.reach import bits, is_leaf
from minigrad.util.text import short


class _Canonical:
    """A recording without names, and without identities that mean nothing."""

    def __init__(self, recording: Recording) -> None:
        self.recording, self.program = recording, recording.program
        self.places: dict[int, Any] = {
            x.number: x.ref.identity if x.leaf is None else ("gradient of", x.leaf) for x in recording.arrays
        } | recording.arguments
        first = len(self.places)
        self.places |= {
            first + k: recording.numbers[n].identity if n < COMPUTED else recording.expressions[n - COMPUTED].form
            for k, n in enumerate(recording.number_arguments)
        }
        self.numbers: dict[Value, Any] = {}

    def buffer(self, b: Buffer) -> Any:
        """Which array a buffer is, told by where it comes from."""
        if b.kind == "argument":
            assert b.place is not None
            return "argument", self.places[b.place], b.shape, b.dtype.str
        if b.is_constant:
            assert b.array is not None
            return "constant", b.shape, b.dtype.str, b.array.tobytes()
        return "memory", id(b.array)

    def ops(self) -> Iterator[tuple[str, Any, str]]:
        """What is compared: a kind, a key, and a note for the message."""
        count = 0  # of values without inputs, of which a way that is taken later may have more
        for name in self.program.ops:
            if name.name == "input":
                self.numbers[name.out] = self.buffer(name.params["buffer"])
                continue
            ins = tuple([self.numbers[x] if type(x) is Value else bits(x) for x in name.ins])
            if "decides" in name.params:
                yield "decision", (ins, name.params["low"]), name.note
                continue
            params = tuple([(k, self._param(name.name, k, v)) for k, v in name.params.items()]) if name.params else ()
            outs = tuple([(v.shape, v.dtype) for v in name.outs])
            for v in name.outs:
                self.numbers[v] = count = count + 1
            yield name.name, (ins, params, outs), name.note
        stores = {self.buffer(b): self.numbers[v] for b, v in self.program.stores.items() if b.kind != "kept"}
        for key in sorted(stores, key=repr):
            yield "store", (key, stores[key]), ""
        for how, key in canonical(self.recording.recipe, self.numbers.__getitem__):
            yield how, key, ""
        yield "decisions", tuple(repr(p.outcome) for p in self.recording.predicates), ""

    def _param(self, kind: str, name: str, x: Any) -> Any:
        if isinstance(x, Buffer):
            return self.buffer(x)
        if kind == "random" and name == "generator":
            leaves = dict(self.recording.generator_leaves)
            return ("leaf", leaves[x]) if x in leaves else id(self.program.generators[x])
        return _key(x)


def _key(x: Any) -> Any:
    """A parameter of an op by its parts."""
    if isinstance(x, ArgSlot) or is_leaf(x):
        return x if isinstance(x, ArgSlot) else bits(x)
    if isinstance(x, (tuple, list)):
        return type(x), tuple(map(_key, x))
    if isinstance(x, dict):
        return tuple((k, _key(v)) for k, v in x.items())
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype.str, x.tobytes()
    if hasattr(x, "__code__"):
        return x.__code__, tuple(_key(c.cell_contents) for c in x.__closure__ or ()), _key(x.__defaults__)
    owner = getattr(x, "__self__", None)
    return (id(owner), x.__name__) if owner is not None and hasattr(x, "__name__") else id(x)


class Difference(NamedTuple):
    """The first thing that tells two recordings apart, and whether that is how a branch was decided."""

    text: str
    is_decision: bool = False


def difference(first: Recording, second: Recording) -> Difference | None:
    """The first thing that tells two recordings of one step apart, None if they are the same."""
    a, b = list(_Canonical(first).ops()), list(_Canonical(second).ops())
    for x, y in zip(a, b, strict=False):
        if x[:2] != y[:2]:
            is_decision = x[0] == y[0] == "decision" and x[1][0] == y[1][0]
            return Difference(_described(x, y), is_decision)
    if len(a) != len(b):
        longer = max((a, b), key=len)
        extra = longer[min(len(a), len(b))]
        return Difference(
            f"one call did {len(a)} things, the next {len(b)}; the first that only one did is {extra[0]} ({extra[2]})"
        )
    return None


def _described(x: tuple[str, Any, str], y: tuple[str, Any, str]) -> str:
    note = x[2] or y[2]
    where = f" in `{note}`" if note else ""
    if x[0] != y[0]:
        return f"{x[0]}{where} in one call, {y[0]} in the next"
    was, now = _first_difference(x[1], y[1])
    return f"{x[0]}{where}: {_short(was)} in one call, {_short(now)} in the next"


def _first_difference(x: Any, y: Any) -> tuple[Any, Any]:
    if isinstance(x, tuple) and isinstance(y, tuple) and len(x) == len(y):
        for a, b in zip(x, y, strict=True):
            if a != b:
                return _first_difference(a, b)
    return x, y


def _short(x: Any) -> str:
    if isinstance(x, bytes) and len(x) == np.dtype(float).itemsize:
        return f"{np.frombuffer(x)[0]:.6g}"
    return short(x, 60)
