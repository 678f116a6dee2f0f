"""mg.name: names for the values of a forward pass."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from minigrad.tensor.tensor import Tensor

T = TypeVar("T")

# A function that mg.name calls while a derivation is checked; it may replace the value.
probe: ContextVar[Callable[[str, Any, str | None], Any] | None] = ContextVar("minigrad_probe", default=None)


def name(name: str, value: T, label: str | None = None) -> T:
    """Name a value of the forward pass, and return it: `mu = mg.name("mu", x.mean(0), label="μ")`.

    Printed tapes, reports and pictures show the name, and a derivation can refer to the value and its gradient by it. A
    plain array is returned unchanged.

    Args:
        name: a Python identifier.
        value: a Tensor, or an array.
        label: as pictures and reports write it.
    """
    replace = probe.get()
    if replace is not None:
        value = replace(name, value, label)
    return cast("T", value.named(name, label)) if isinstance(value, Tensor) else value
