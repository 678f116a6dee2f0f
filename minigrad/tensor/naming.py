"""mg.name: names for the values of a forward pass."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from minigrad.tensor.tensor import Tensor

# What mg.name does besides naming, while a derivation is checked: it may replace the value.
probe: ContextVar[Callable[[str, Any, str | None], Any] | None] = ContextVar("minigrad_probe", default=None)


def name(name: str, value: Any, label: str | None = None) -> Any:
    """Name a value of the forward pass, and return it: `mu = mg.name("mu", x.mean(0), label="μ")`.

    The node of the tape is called so in printed tapes, reports and pictures, and a derivation can refer to the value
    and its gradient by this name. A plain array is returned as it is.

    Args:
        name: a Python identifier.
        value: a Tensor, or an array.
        label: as pictures and reports write it.
    """
    watch = probe.get()
    if watch is not None:
        value = watch(name, value, label)
    return value.named(name, label) if isinstance(value, Tensor) else value
