"""Questions that C code asks about a tracer, and that no stand-in of a builtin answers."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minigrad.compiler.trace.numbers import TracedNumber
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.reach import Reach
from minigrad.util.bytecode import names_of

ASKING = frozenset({"attrgetter", "methodcaller", "__getattribute__", "getattr_static"})
OF_OBJECT = frozenset({("object", name) for name in ("__repr__", "__str__", "__dir__")})


def looks_behind(reach: Reach) -> str | None:
    """What of the step's code may see that a tracer is no array."""
    for function in reach.functions:
        named = names_of(function.__code__)
        if ("type",) in named.handed and "__class__" in named.words:
            return "both `type` and `__class__`"
        if found := OF_OBJECT & named.chains:
            return ".".join(min(found))
    if asking := ASKING & reach.words:
        texts = reach.words | _texts(tuple(x for _, x in reach.refs))
        if found_names := _own_names() & {part for text in texts for part in text.split(".")}:
            return f"{min(asking)} and {min(found_names)}"
    return None


def _texts(x: Any) -> set[str]:
    """The texts in tuples; what lists hold stands in places of its own."""
    if type(x) is str:
        return {x}
    return {text for part in x for text in _texts(part)} if type(x) is tuple else set()


@functools.cache
def _own_names() -> frozenset[str]:
    """The attributes of tracers that what they stand for does not have."""
    pairs = (TracerArray, np.ndarray), (TracerArray, np.float64), (TracedNumber, float), (TracedNumber, int)
    return frozenset(name for tracer, kind in pairs for name in {*dir(tracer)} - {*dir(kind)})
