"""Modules of version 0.1.0 that have other names now: pickles name them. minigrad.nn.layers answers as minigrad.nn."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

# Where the names of modules of 0.1.0 are now. A file of a released version that is renamed gets its old name here
_MODULES = {
    "minigrad": (
        "checkpoint creation custom dtypes modes naming ops.spatial.conv ops.spatial.conv_transpose ops.spatial.pool "
        "ops.spatial.slide rng tape transforms values"
    ),
    "minigrad.functional": (
        "activations dropout losses.classification losses.ctc losses.distance losses.regression normalization "
        "ops.spatial.resize recurrent"
    ),
    "minigrad.fused": "fused_activations sequences.gated sequences.memory sequences.plain",
    "minigrad.fused minigrad.functional": "attention",
    "minigrad.linalg": "ops.norm",
    "minigrad.nn": "nn.activations nn.attention nn.cells nn.dropout nn.embedding nn.layers nn.losses nn.norm",
    "minigrad.nn.init": "nn.structured",
    "minigrad.optim": "optim.algorithms",
    "minigrad.optim.rules": "optim.rules.adam optim.rules.descent",
    "minigrad.optim.schedules": "optim.one_cycle",
}


class _OldModule(ModuleType):
    """Looks up names where they are now. It is in sys.modules, but no attribute of its package."""

    def __init__(self, name: str, places: list[str]) -> None:
        super().__init__(name)
        self.__places = places

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            for place in map(import_module, self.__places):
                if hasattr(place, name):
                    return getattr(place, name)
        raise AttributeError(f"{self.__name__} of version 0.1.0 is gone, and nothing has its {name!r} now")


def install() -> None:
    """Let `import` find the modules of the table."""
    for places, names in _MODULES.items():
        for name in names.split():
            sys.modules[f"minigrad.{name}"] = _OldModule(f"minigrad.{name}", places.split())
