"""The tables of what NumPy's functions compute on exact arrays. The other modules fill them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

UFUNCS: dict[str, Callable[..., Any]] = {}  # by name
METHODS: dict[tuple[str, str], Callable[..., Any]] = {}  # of ufuncs, by name and method
FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # other functions, by themselves; the compiler's own ones by name


def implements_ufunc(*names: str) -> Callable[[Any], Any]:
    """A decorator that enters a function into UFUNCS."""

    def enter(function: Any) -> Any:
        UFUNCS.update(dict.fromkeys(names, function))
        return function

    return enter


def implements(*functions: Any) -> Callable[[Any], Any]:
    """A decorator that enters a function into FUNCTIONS."""

    def enter(exact_function: Any) -> Any:
        FUNCTIONS.update(dict.fromkeys(functions, exact_function))
        return exact_function

    return enter
