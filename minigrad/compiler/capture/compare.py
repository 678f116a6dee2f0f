"""Comparison of two recordings of one step: what differs between them would be frozen in a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minigrad.compiler.capture.recipes import Recipe
from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.ir.program import ArgSlot, Buffer, Value
from minigrad.compiler.trace.recorded_program import COMPUTED
from minigrad.reach import bits, is_leaf
from minigrad.util.text import short


def _canonical_recipe(recipe: Recipe, number: Callable[[Value], Any]) -> Iterator[tuple[str, Any]]:
    """The entries and writes of a recipe, without identities that differ between recordings."""
    for entry in recipe.entries:
        how, *rest = entry
        if how == "object":
            yield how, bits(rest[0]) if is_leaf(rest[0]) else id(rest[0])
        elif how == "output":
            yield how, (number(recipe.outputs[rest[0]]), rest[1])
        elif how == "array":
            yield how, (rest[0].shape, rest[0].dtype.str, rest[0].tobytes(), rest[1])
        elif how in ("items", "dict"):
            yield how, (rest[0], repr(rest[1:]))
        elif how == "number":
            yield how, (rest[1], rest[0].form)
        elif how in ("instance", "method"):
            yield how, (rest[0], repr(rest[1]))
        else:
            yield how, repr(rest)
    for how, at, *rest in recipe.writes:
        if how == "gradient":
            yield how, (at.path, number(recipe.kept[next(b for b in recipe.kept if b.holder is rest[0])]))
        elif how == "set":
            yield how, (at.path, at.identity, repr(rest))
        else:
            kept = [sorted(map(repr, x)) if isinstance(x, frozenset) else x for x in rest if type(x) is not str]
            yield how, (at if type(at) is int else id(at), repr(kept))


class _Canonical:
    """A recording without names, and without identities that differ between recordings."""

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
        """A key for a buffer, by where it comes from."""
        if b.kind == "argument":
            assert b.place is not None
            return "argument", self.places[b.place], b.shape, b.dtype.str
        if b.is_constant:
            assert b.array is not None
            return "constant", b.shape, b.dtype.str, b.array.tobytes()
        return "memory", id(b.array)

    def ops(self) -> Iterator[tuple[str, Any, str]]:
        """The items to compare: a kind, a key, and a note for the message."""
        count = 0  # of values
        for op in self.program.ops:
            if op.name == "input":
                self.numbers[op.out] = self.buffer(op.params["buffer"])
                continue
            ins = tuple([self.numbers[x] if type(x) is Value else bits(x) for x in op.ins])
            if "decides" in op.params:
                yield "decision", (ins, op.params["low"]), op.note
                continue
            params = tuple([(k, self._param(op.name, k, v)) for k, v in op.params.items()]) if op.params else ()
            outs = tuple([(v.shape, v.dtype) for v in op.outs])
            for v in op.outs:
                self.numbers[v] = count = count + 1
            yield op.name, (ins, params, outs), op.note
        stores = {self.buffer(b): self.numbers[v] for b, v in self.program.stores.items() if b.kind != "kept"}
        for key in sorted(stores, key=repr):
            yield "store", (key, stores[key]), ""
        for how, key in _canonical_recipe(self.recording.recipe, self.numbers.__getitem__):
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
    """A key for a parameter of an op, by its parts."""
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
    """The first difference between two recordings, and whether it is the decision of a branch."""

    text: str
    is_decision: bool = False


def difference(first: Recording, second: Recording) -> Difference | None:
    """The first difference between two recordings of one step, None if they are equal."""
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
