"""Randomness that a trace does not see: every call of the program would repeat its numbers."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad import rng
from minigrad.compiler.refusal import CompileError
from minigrad.guards import differences
from minigrad.reach import Row, alike, is_leaf, pickled

UNTRACED = frozenset({"state", "content", "objects"})  # kinds of rows


class UntrackedRandomness:
    """The states of generators that no tracer stands for, before a step and after it.

    Args:
        reached: generators that the step reaches through something that cannot be replaced (a bound `rng.normal`).
        others: rows of what no tracer stands for: objects whose state shows only when it is pickled, texts in arrays.
    """

    def __init__(self, reached: Iterable[Any], others: Iterable[Row]) -> None:
        self.generators = [(x, _state(x)) for x in reached]
        self.others = list(others)
        self.common = _common()

    def check(self, traced: Iterable[Any]) -> None:
        """Whether all draws were seen.

        Args:
            traced: Generators whose draws the trace knows.

        Raises:
            CompileError: there were others.
        """
        now = _common()
        seen = {id(x) for x in traced}
        changed = [
            name
            for name, state in self.common.items()
            if not _equal(now[name], state) and (name != "minigrad's global generator" or id(rng._global()) not in seen)
        ]
        changed += [f"a {type(x).__name__}" for x, state in self.generators if not _equal(_state(x), state)]
        if changed:
            raise CompileError(
                f"mg.compile: the step draws from {changed[0]} in a way that cannot be recorded, and every call would "
                "repeat the numbers of the first.\nHint: draw with a Generator that the step can reach, "
                "rng = np.random.default_rng(seed); rng.normal(size=...)."
            )
        for row in self.others:
            if next(differences(row), None) is not None:
                raise CompileError(
                    f"mg.compile: the step advances or changes {row.path}, a {type(row.holder).__name__}, which a "
                    "program cannot.\n"
                    "Hint: do it outside of the step and pass the result as an argument."
                )


def _common() -> dict[str, Any]:
    legacy: Any = np.random.get_state(legacy=False)
    return {
        "np.random": (legacy["state"]["pos"], legacy["state"]["key"].tobytes(), legacy["has_gauss"], legacy["gauss"]),
        "the module random": random.getstate(),
        "minigrad's global generator": rng._global().bit_generator.state["state"],
    }


def _state(x: Any) -> Any:
    if isinstance(x, np.random.RandomState):
        return pickled(x)
    return x.bit_generator.state if isinstance(x, np.random.Generator) else x.state


def _equal(x: Any, y: Any) -> bool:
    if isinstance(x, dict) and isinstance(y, dict):
        return x.keys() == y.keys() and all(_equal(x[k], y[k]) for k in x)
    if isinstance(x, (tuple, list)) and isinstance(y, (tuple, list)):
        if len(x) > 16:  # that of the module random: plain numbers
            return bool(x == y)
        return len(x) == len(y) and all(map(_equal, x, y))
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        return bool(np.array_equal(x, y))
    return x is y or (is_leaf(x) and alike(x, y))
