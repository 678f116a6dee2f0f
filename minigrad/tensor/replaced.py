"""Which parameters were replaced in their modules: an optimizer that was made before moves the old ones in vain.

Nothing is looked up while a training runs: the data of a parameter that is replaced are bound to a copy, which an
optimizer notices as it notices every array that was exchanged, and only then it asks here.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.tensor.tensor import Tensor
from minigrad.util.locks import LOCK

# id of the old one: itself, the module that held it, and the name of the attribute
_replaced: dict[int, tuple[weakref.ref[Tensor], weakref.ref[Any], str]] = {}


def note_replaced(old: Tensor, holder: Any, name: str) -> None:
    """Remember that an attribute of a module does not lead to this parameter any more."""
    with LOCK:
        for key in [key for key, (reference, *_) in _replaced.items() if reference() is None]:
            del _replaced[key]
        _replaced[id(old)] = weakref.ref(old), weakref.ref(holder), name
    old.data = np.copy(old.data)


def replacements(old: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The parameters that are now where this one was, each with the name of the place, if that has changed."""
    reference, holder, name = _replaced.get(id(old), (None, None, ""))
    module = None if holder is None or reference is None or reference() is not old else holder()
    present: Any = vars(module).get(name) if module is not None else None
    found = [("", present)] if isinstance(present, Tensor) else []
    if hasattr(present, "named_parameters"):
        found = [(f".{path}", p) for path, p in present.named_parameters()]
    return ((f"{type(module).__name__}.{name}{path}", p) for path, p in found if p.requires_grad)
