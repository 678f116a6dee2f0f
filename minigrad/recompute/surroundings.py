"""Surroundings: the objects that a function reaches, found by one walk that is valid until one of them changes."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from types import MappingProxyType, MethodType, ModuleType
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from minigrad.reach import Reach, Row, behind, is_leaf, words
from minigrad.reach.guards import Guard
from minigrad.reach.rows import differs, present, values
from minigrad.recompute import restore
from minigrad.tensor.convert import get_default_dtype
from minigrad.tensor.tensor import Tensor
from minigrad.util import rng

COPIED = 1 << 16  # bytes up to which an array is copied in each call; larger ones have a checksum
SETTLED = 3  # unchanged calls after which a guard is compiled

Root = tuple[str, Any]  # a path and an object
Loose = tuple[list[Row], list[tuple[str, Any]], list[tuple[str, Tensor]]]


class Surroundings:
    """The objects that some roots reach, from one walk.

    Args:
        roots: pairs of a path and an object.
        loose: keys of rows that changed between earlier calls; their objects are read in each call.
        written: arrays, by id, that a call has written and that are not copied because of their size or kind.
    """

    def __init__(self, roots: Sequence[Root], loose: frozenset[Any] = frozenset(), written: Any = None) -> None:
        self.loose_keys = loose
        self.written: WeakValueDictionary[int, Any] = WeakValueDictionary() if written is None else written
        self.arguments = [x for _, x in roots[1:]]  # kept alive, because the cache knows them by id
        reach = Reach(list(roots))
        gradients = _gradients(reach)
        rows = [row for row in reach.rows if id(row.holder) not in gradients]
        holders = {id(row.holder) for row in rows}
        rows = [row for row in rows if not (_is_proxy(row.holder) and id(behind(row.holder)) in holders)]
        self.fixed = [row for row in rows if row.kind in restore.FIXED or _is_proxy(row.holder)]
        others = [row for row in rows if row.kind not in restore.FIXED and not _is_proxy(row.holder)]
        self.loose = [row for row in others if _key(row) in loose]
        self.stable = [row for row in others if _key(row) not in loose]
        self.tensors = [(path, t) for path, t in reach.tensors.values() if id(t) not in gradients]
        self.arrays = list(reach.arrays.values())
        self.sources = _sources(reach)
        self.unreadable = reach.unreadable
        self.iterators = [*reach.unreadable, *((row.path, row.holder) for row in self.fixed if row.kind == "state")]
        self.reads_gradients = any("grad" in words(f.__code__) for f in reach.functions)
        self._prepared: Arrays | None = None
        self.guard: Guard | None = None
        self.dtype = get_default_dtype()
        self.calls = 0

    def prepared(self) -> Arrays:
        """The arrays of stable rows. Parameters have the same data as long as the guard fits."""
        if self._prepared is None:
            self._prepared = Arrays(self.arrays, self.tensors, self.written)
        return self._prepared

    def note_written(self, arrays: Iterable[Any]) -> None:
        """Copy these arrays from the next call on."""
        self.written.update({id(x): x for x in arrays})
        self._prepared = None

    def holds(self, x: Any) -> bool:
        """Whether x was reached, so that these surroundings keep it alive."""
        return any(
            row.holder is x or any(v is x or (type(v) is MethodType and v.__self__ is x) for v in values(row))
            for row in (*self.stable, *self.loose, *self.fixed)
        )

    def fits(self) -> bool:
        """Whether the objects of stable rows are unchanged."""
        if self.guard is not None:
            return self.guard.fits()
        return self.dtype is get_default_dtype() and not any(map(differs, self.stable))

    def current(self, roots: Sequence[Root]) -> tuple[Surroundings, Loose]:
        """These surroundings if they are unchanged, or those from another walk; and their present loose rows."""
        if self.fits() and not any(map(differs, self.fixed)):
            loose = self.present_loose()
            if loose is not None:
                self.calls += 1
                if self.calls == SETTLED:
                    self.guard = Guard(self.stable, frozenset(), frozenset())
                return self, loose
        changed = {_key(row) for row in self.stable if differs(row)}
        new = Surroundings(roots, self.loose_keys | changed, self.written)
        return new, (new.loose, [], [])

    def present_loose(self) -> Loose | None:
        """The loose rows as they are now, and new arrays and Tensors in them; None if other objects are new."""
        rows: list[Row] = []
        arrays: list[tuple[str, Any]] = []
        tensors: list[tuple[str, Tensor]] = []
        for row in self.loose:
            now = present(row)
            known = set(map(id, values(row)))
            for value in values(now):
                if id(value) in known or is_leaf(value):
                    continue
                if type(value) is np.ndarray:
                    arrays.append((row.path, value))
                elif type(value) is Tensor and not getattr(value.node, "hooks", None):
                    tensors.append((row.path, value))
                else:
                    return None
            rows.append(now)
        return rows, arrays, tensors


class Arrays:
    """Arrays by how a later change is noticed: by a copy, a sample (of parameters) or a checksum.

    Args:
        arrays: paths and plain arrays.
        tensors: paths and Tensors.
        written: ids of those that a call writes: they are copied.
    """

    def __init__(self, arrays: Iterable[Root], tensors: Iterable[tuple[str, Tensor]], written: Container[int]) -> None:
        self.copied: list[Root] = []
        self.parameters: list[tuple[str, Any, Any]] = []  # with the view of the sample
        self.large: list[Root] = []
        seen: set[int] = set()
        plain = [(path, x, False) for path, x in arrays]
        for path, x, is_parameter in plain + [(path, t.data, t.node is not None) for path, t in tensors]:
            if id(x) in seen or not isinstance(x, np.ndarray) or hasattr(type(x), "minigrad_tracer"):
                continue
            seen.add(id(x))
            if is_parameter and id(x) not in written:
                self.parameters.append((path, x, restore.sampled(x)))
            elif id(x) in written or x.nbytes <= COPIED:
                self.copied.append((path, x))
            else:
                self.large.append((path, x))


def _gradients(reach: Reach) -> set[int]:
    """Ids of Tensors that are only the gradient of another, and change in every step."""
    gradients = {id(value) for ref, value in reach.refs if ref.is_grad}
    return gradients - {id(value) for ref, value in reach.refs if not ref.is_grad}


def _is_proxy(x: Any) -> bool:
    """Whether x is a read-only view of a dictionary, through which none is restored."""
    return type(x) is MappingProxyType


def _sources(reach: Reach) -> list[tuple[str, Any]]:
    """Sources of random numbers, one per stream; those of Python and NumPy if some code names them."""
    sources = [("minigrad's global generator", rng.generator()), *reach.sources.values()]
    modules = {value.__name__ for _, value in reach.refs if isinstance(value, ModuleType)}
    if "random" in reach.names or modules & {"random", "numpy.random"}:
        sources += restore.global_sources()
    return list({id(getattr(x, "bit_generator", x)): (path, x) for path, x in sources}.values())


def _key(row: Row) -> Any:
    names = tuple(row.held) if row.kind in ("items", "class") else None
    return row.kind, id(row.holder), names
