"""Which parameters were replaced in their modules, so that an optimizer made before would update the old ones in vain.

Nothing is looked up while a training runs: a replaced parameter gets a copy of its data, an optimizer notices that, as
it notices every array that was exchanged, and only then looks here.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.tensor.tensor import Tensor
from minigrad.util.locks import LOCK

# By the id of the old parameter: that parameter, the module that held it, and the name of the attribute.
_replaced: dict[int, tuple[weakref.ref[Tensor], weakref.ref[Any], str]] = {}


def note_replaced(old: Tensor, holder: Any, name: str) -> None:
    """Remember that this parameter was replaced in an attribute of a module."""
    with LOCK:
        for key in [key for key, (reference, *_) in _replaced.items() if reference() is None]:
            del _replaced[key]
        _replaced[id(old)] = weakref.ref(old), weakref.ref(holder), name
    old.data = np.copy(old.data)


def replacements(old: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The parameters that replaced this one, each with its name; none if it was not replaced."""
    reference, holder, name = _replaced.get(id(old), (None, None, ""))
    module = None if holder is None or reference is None or reference() is not old else holder()
    value: Any = vars(module).get(name) if module is not None else None
    parameters = [("", value)] if isinstance(value, Tensor) else []
    if hasattr(value, "named_parameters"):
        parameters = [(f".{path}", p) for path, p in value.named_parameters()]
    return ((f"{type(module).__name__}.{name}{path}", p) for path, p in parameters if p.requires_grad)
