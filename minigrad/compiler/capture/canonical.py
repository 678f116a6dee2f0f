"""Recipes without identities that mean nothing, to be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from minigrad.compiler.ir.program import Value
from minigrad.reach import bits, is_leaf

if TYPE_CHECKING:
    from minigrad.compiler.capture.effects import Recipe


def canonical(recipe: Recipe, number: Callable[[Value], Any]) -> Iterator[tuple[str, Any]]:
    """The recipe without identities that mean nothing, to be compared with that of another recording."""
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
