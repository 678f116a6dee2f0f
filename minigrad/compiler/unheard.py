"""Draws that were not heard while a step was recorded: every call would repeat their numbers."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Container
from typing import Any

import numpy as np

from minigrad import rng
from minigrad.compiler.refusal import CompileError


class Unheard:
    """How far the Generators have come that nobody hands to a step.

    Args:
        reached: the ids of those that the step reaches.
    """

    def __init__(self, reached: Container[int]) -> None:
        self.common = _common()
        others = (x for x in gc.get_objects() if type(x) is np.random.Generator and id(x) not in reached)
        self.others = [(x, str(x.bit_generator.state)) for x in others if x is not rng._global()]

    def check(self, heard: list[Any]) -> None:
        """Refuse a step that has drawn from one that all share; warn if another one has, as other threads may.

        Args:
            heard: Generators whose draws the trace knows.

        Raises:
            CompileError: np.random's own or minigrad's global generator has drawn.
        """
        now = _common()
        for name, state in self.common.items():
            if now[name] != state and (name != "global" or rng._global() not in heard):
                raise CompileError(
                    "mg.compile: the step draws from np.random or from minigrad's global generator in a way that is "
                    "not heard, and every call would repeat the numbers of the first.\nWay out: draw with a "
                    "Generator that the step can reach, rng = np.random.default_rng(seed); rng.normal(size=...)."
                )
        if any(str(x.bit_generator.state) != state for x, state in self.others):
            warnings.warn(
                "mg.compile: a Generator that the step does not reach has drawn while the step was recorded. If the "
                "step uses it, every call repeats the numbers of the first.\nWay out: pass it as an argument, or name "
                "the object that holds it: mg.compile(step, state=[...]).",
                stacklevel=6,
            )


def _common() -> dict[str, Any]:
    module = sys.modules.get("numpy.random")
    states = {} if module is None else {"legacy": str(module.get_state())}
    return states | {"global": rng._global().bit_generator.state["state"]}
