"""The values of the lines of a tape: those that were kept, and the others computed once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minigrad.drawing.model import Statistics
from minigrad.engine.codegen import named
from minigrad.engine.node import Node
from minigrad.engine.primitive import value_of
from minigrad.engine.tape_text import kept

Array = Any


def recovered(lines: Sequence[Node], known: Mapping[Node, Array]) -> dict[Node, Array]:
    """The value of each line as far as it can be had, a tuple for several outputs.

    A tape keeps only what its rules need. What a line or one of its users kept is there; the rest is computed from it,
    with the functions of the primitives. What depends on a constant array that nobody kept stays unknown.

    Args:
        lines: of a tape, in order.
        known: values that the caller has: those of the outputs.
    """
    found: dict[Node, Array] = dict(known)
    for line in lines:
        if line.is_leaf:
            owner = getattr(line, "owner", lambda: None)()
            if owner is not None:
                found[line] = owner.data
            continue
        operands = zip(line.parents, _kept(line), strict=True)
        found |= {parent: value for parent, value in operands if parent is not None and value is not None}
        own = dict(zip(line.primitive.saved, (line.saved or ())[:], strict=False)).get("out")
        if own is not None:
            found[line] = own
    for line in lines:
        if line not in found and (value := _computed(line, found)) is not None:
            found[line] = value
    return found


def _kept(line: Node) -> list[Any]:
    return [None] * len(line.parents) if line.primitive.kind == "select" else kept(line)


def _computed(line: Node, found: Mapping[Node, Array]) -> Array | None:
    """The value of a line from those of its operands; None where one is unknown or the function cannot run again."""
    p = line.primitive
    if p is None:
        return None
    if p.kind == "select":
        return _selected(line, found)
    pairs = zip(line.parents, kept(line), strict=True)
    operands = [found.get(parent) if parent is not None else x for parent, x in pairs]
    if any(x is None and not _is_none(line, k) for k, x in enumerate(operands)):
        return None
    static = dict(zip(p.static, line.params, strict=True))
    try:
        with np.errstate(all="ignore"):
            value = p.function(tuple(operands), **static) if p.sequence else p.function(*operands, **static)
    except Exception:  # a function of the user's that can run once only, or memory that changed since
        return None
    shape = tuple(x.shape for x in value) if p.outputs else value.shape
    return value if shape == line.shape else None


def _is_none(line: Node, k: int) -> bool:
    """Whether an operand without value was None, as a rule that runs would have kept anything else."""
    p = line.primitive
    if line.parents[k] is not None or p.sequence:
        return False
    running = [names for names, parent in zip(p.names, line.parents, strict=False) if parent is not None]
    return any(p.operands[k] in names for names in (*running, named(p.joint)))


def _selected(line: Node, found: Mapping[Node, Array]) -> Array | None:
    """One of several outputs: of all of them, or the one that the rule kept."""
    parent, k = line.parents[0], line.params[0]
    assert parent is not None
    if parent in found:
        return found[parent][k]
    p = parent.primitive
    kept_here = dict(zip(p.saved, (parent.saved or ())[:], strict=False))
    return kept_here.get(p.outputs[k])


def statistics(value: Array | None) -> Statistics | None:
    """Norm, mean, deviation and extremes of an array; None of what is no array of real numbers."""
    if value is None or isinstance(value, (tuple, list)):
        return None
    x = np.asarray(value_of(value))
    if x.dtype.kind not in "biuf" or x.size == 0:
        return None
    x = x.astype(np.float64, copy=False)
    finite = x[np.isfinite(x)]
    bad = x.size - finite.size
    if not finite.size:
        return Statistics(norm(x), np.nan, np.nan, np.nan, np.nan, bad)
    with np.errstate(over="ignore"):
        mean, std = float(finite.mean()), float(finite.std())
    return Statistics(norm(x), mean, std, float(finite.min()), float(finite.max()), bad)


def norm(x: Array) -> float:
    """The Euclidean norm of all elements; scaled, so that it overflows only if an element does."""
    x = np.asarray(x, dtype=np.float64)
    with np.errstate(all="ignore"):
        largest = float(np.max(np.abs(x), initial=0.0))
        if largest == 0 or not np.isfinite(largest):
            return largest
        return largest * float(np.sqrt(np.sum((x / largest) ** 2)))
