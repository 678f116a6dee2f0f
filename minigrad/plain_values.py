"""Plain values that a training changes in objects of the user's: counters, thresholds, running means, logs.

A loss that counts its calls, a transform that grows stronger, a metric with a running mean: what they hold decides how
the training goes on, and no state_dict names it. So all numbers, texts and small arrays that belong to a training are
noted when it begins; those that have changed since are part of its state.
"""

from __future__ import annotations

import copy
import math
import sys
import types
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minigrad.restore import checksum
from minigrad.sources import LIBRARIES, Found

Place = tuple[str, str, Any]  # the path of an object, what kind of place of it, and its name there
Saved = list[Any]  # path, kind, name, value
MISSING: Any = object()
SINGLE = (type(None), bool, int, float, str)
LONGEST = 100_000  # items of a list or dict that is compared; a longer one is data
OWN = "training"  # of modules: fit sets it in each epoch


class PlainValues:
    """The plain values of all that belongs to a training, as they are now.

    Args:
        found: the objects.
    """

    def __init__(self, found: Found) -> None:
        self.values: dict[Place, Any] = {}
        for path, x in _without_a_state(found):
            for kind, name, value in _places(x):
                if _is_plain(value):
                    self.values[path, kind, name] = _noted(value)

    def changed(self, found: Found) -> list[Saved]:
        """What is different in the same objects now."""
        saved = []
        for path, x in _without_a_state(found):
            for kind, name, value in _places(x):
                before = self.values.get((path, kind, name), MISSING)
                if _is_plain(value) and not _same(before, _noted(value)):
                    saved.append([path, kind, name, copy.deepcopy(value) if not isinstance(value, deque) else [*value]])
        return saved


def check(found: Found, saved: list[Saved]) -> None:
    """Whether the objects of saved values are there.

    Raises:
        ValueError: one is not: it was made while the training ran.
    """
    for path, _, name, _ in saved:
        if path not in found.objects:
            raise ValueError(
                f"fit(resume=...): the file holds {name!r} of {path}, which is not there when the training begins. "
                "Make it in __init__, or give what holds it state_dict() and load_state_dict()"
            )


def put(found: Found, saved: list[Saved]) -> None:
    """Put saved values back into the objects."""
    for path, kind, name, value in saved:
        x = found.objects[path]
        now = next((held for how, key, held in _places(x) if (how, key) == (kind, name)), MISSING)
        if isinstance(now, np.ndarray) and isinstance(value, np.ndarray) and now.shape == value.shape:
            np.copyto(now, value, casting="unsafe")
        elif isinstance(now, (list, deque)):
            now.clear()
            now.extend(value)
        elif isinstance(now, dict):
            now.clear()
            now.update(value)
        else:
            _set(x, kind, name, value)


def _set(x: Any, kind: str, name: Any, value: Any) -> None:
    if kind == "item":
        x[name] = value
    elif kind == "cell":
        x.__closure__[x.__code__.co_freevars.index(name)].cell_contents = value
    elif kind == "global":
        x.__globals__[name] = value
    elif isinstance(x, type):
        setattr(x, name, value)
    else:
        object.__setattr__(x, name, value)


def _places(x: Any) -> Iterator[tuple[str, Any, Any]]:
    """The places of an object of the user's, each with its kind, its name and what stands there."""
    if isinstance(x, types.FunctionType):
        if not _is_foreign(x.__module__):
            for name, cell in zip(x.__code__.co_freevars, x.__closure__ or (), strict=True):
                yield "cell", name, _content(cell)
            for name in x.__code__.co_names:
                if name in x.__globals__:
                    yield "global", name, x.__globals__[name]
    elif isinstance(x, type):
        if not _is_foreign(x.__module__):
            yield from (("attribute", n, v) for n, v in list(vars(x).items()) if not n.startswith("__"))
    elif isinstance(x, dict):
        yield from (("item", n, v) for n, v in list(x.items()) if isinstance(n, (str, int)))
    elif not isinstance(x, (list, tuple, deque, set, frozenset)) and not _is_foreign(type(x).__module__):
        buffers = getattr(x, "_buffers", ())
        own = getattr(x, "__dict__", {})
        yield from (("attribute", n, v) for n, v in list(own.items()) if n != OWN and n not in buffers)
        for base in type(x).__mro__:
            slots = vars(base).get("__slots__", ())
            for n in (slots,) if isinstance(slots, str) else tuple(slots):
                if not n.startswith("__") and hasattr(x, n):
                    yield "attribute", n, getattr(x, n)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return MISSING


def _is_foreign(module: Any) -> bool:
    """Whether a class or function is no part of the user's program: its values are its own affair."""
    root = str(module).split(".")[0]
    if root == "minigrad":
        return False
    file = getattr(sys.modules.get(str(module)), "__file__", None) or ""
    return root in LIBRARIES or "-packages" in file


def _without_a_state(found: Found) -> Iterator[tuple[str, Any]]:
    """The objects that belong to none with state_dict and load_state_dict. A module's is of its arrays only."""
    stated: list[str] = []
    for path, x in found.objects.items():  # what holds others comes before them
        if hasattr(x, "state_dict") and hasattr(x, "load_state_dict") and not hasattr(x, "parameters"):
            stated.append(path)
        elif not any(path.startswith(p) and path[len(p)] in ".[:" for p in stated if len(path) > len(p)):
            yield path, x


def _is_plain(x: Any) -> bool:
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "biufc"
    if isinstance(x, (list, tuple, deque)):
        return len(x) <= LONGEST and all(map(_is_plain, x))
    if isinstance(x, dict):
        return len(x) <= LONGEST and all(isinstance(k, (str, int)) and _is_plain(v) for k, v in x.items())
    return type(x) in SINGLE or (isinstance(x, np.generic) and x.dtype.kind in "biufc")


def _noted(x: Any) -> Any:
    """What tells a value from a later one."""
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype.str, checksum(x)
    if isinstance(x, (list, tuple, deque)):
        return type(x), [_noted(part) for part in x]
    if isinstance(x, Mapping):
        return type(x), [(k, _noted(v)) for k, v in x.items()]
    return type(x), "nan" if isinstance(x, (float, np.floating)) and math.isnan(x) else x


def _same(x: Any, y: Any) -> bool:
    return x is not MISSING and bool(x == y)
