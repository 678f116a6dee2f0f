"""Names for the values that a function assigns to its variables, as if mg.name stood around each of them."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

from minigrad.tensor.naming import name
from minigrad.tensor.tensor import Tensor
from minigrad.verify.pairs.instrument import Listener, Written


class _Names(Listener):
    """Names what a copy of the function assigns to a variable once, outside of loops."""

    def __init__(self, written: Written, parameters: set[str]) -> None:
        self.written = written
        uses = Counter(site.path for site in written.sites)
        self.names = {
            site.number: site.path
            for site in written.sites
            if uses[site.path] == 1
            and site.path.isidentifier()
            and site.path not in parameters
            and not site.loops
            and "name(" not in site.text  # the user's own
        }

    def wrote(self, number: int, value: Any) -> Any:
        """Name a value."""
        return name(self.names[number], value) if isinstance(value, Tensor) and number in self.names else value

    def returned(self, number: int, value: Any) -> Any:
        """The result without what is returned with it for the backward pass."""
        if isinstance(value, tuple) and isinstance(value[0], Tensor) and not all(isinstance(x, Tensor) for x in value):
            return value[0]
        return value


def with_assigned_names(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a name for every value that it assigns to a variable.

    Raises:
        TypeError, OSError: its source is not available.
    """
    written = Written(f)
    parameters = inspect.signature(f).parameters
    copy = written.copy(_Names(written, set(parameters)))

    def named(*args: Any, **options: Any) -> Any:
        return copy(*args, **options)

    named.__name__ = named.__qualname__ = f.__name__
    named.__doc__ = f.__doc__
    named.__wrapped__ = f  # type: ignore[attr-defined]  # whose signature and source it has
    return named
