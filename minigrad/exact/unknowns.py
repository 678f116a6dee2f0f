"""What exact arithmetic knows nothing about: opaque functions, and constants of which only the rounded value is known.

An opaque function is a pseudo-random function of the operand's residue, and a rounded constant stands for the number
with its bits. If two results are equal, they are equal whatever these are. If they differ, that may be due to an
identity that is not seen. Whether an unknown took part in a result is found by changing it: `unknowns(changed=...)`.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

CONSTANT = "rounded constants"
ROOT = "sqrt"  # of which the sign is unknown: √(a²b) is a √b only if the residue of a is a square
_names: ContextVar[set[str] | None] = ContextVar("names of unknowns", default=None)
_changed: ContextVar[frozenset[str]] = ContextVar("changed unknowns", default=frozenset())


@contextmanager
def unknowns(changed: Collection[str] = ()) -> Iterator[set[str]]:
    """The names of the unknowns that are used within the block.

    Args:
        changed: names of unknowns that are other functions, and other numbers, within the block.

    Example:
        >>> import numpy as np
        >>> from minigrad.exact import draw, same
        >>> x = draw(np.random.default_rng(0), (3,))
        >>> with unknowns() as names:
        ...     before = np.log(x * x)
        >>> with unknowns(changed=names):
        ...     after = np.log(x * x)
        >>> names, same(before, after)
        ({'log'}, False)
    """
    names: set[str] = set()
    tokens = _names.set(names), _changed.set(frozenset(changed))
    try:
        yield names
    finally:
        _names.reset(tokens[0])
        _changed.reset(tokens[1])


def is_changed(name: str) -> bool:
    """Enter the name of an unknown that is used; whether it is changed."""
    names = _names.get()
    if names is not None:
        names.add(name)
    return name in _changed.get()


def key_of(name: str) -> int:
    """The key of `field.scrambled` for an opaque function with this name."""
    return (zlib.crc32(name.encode()) << 8) + is_changed(name)
