"""Random numbers that a trace does not record: every call of the program would repeat them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from types import FunctionType
from typing import Any

import numpy as np

from minigrad.compiler.follow.user_functions import at_name
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.trace.generators import equal
from minigrad.reach import Row, differences
from minigrad.recompute.restore import put_source, source_state
from minigrad.util import rng

NP_RANDOM = ("rand", "randn", "randint", "normal", "uniform", "permutation", "shuffle", "choice", "seed", "sample")
UNTRACED = frozenset({"state", "content", "objects", "described", "abstract"})  # kinds of rows


class UntrackedRandomness:
    """The states of generators that no tracer replaces, before a step and after it.

    Args:
        reached: generators that the step reaches through something that cannot be replaced (a bound `rng.normal`).
        others: rows of other objects that no tracer replaces: iterators, arrays of strings.
        functions: the user's, to find the line for the message.
    """

    def __init__(self, reached: Iterable[Any], others: Iterable[Row], functions: Iterable[FunctionType] = ()) -> None:
        self.functions = list(functions)
        self.generators = [(x, source_state(x)) for x in reached]
        self.others = list(others)
        self.common = _common()

    def check(self, traced: Iterable[Any]) -> None:
        """Check that all draws were recorded.

        Args:
            traced: Generators whose draws the trace has recorded.

        Raises:
            CompileError: there were others.
        """
        now = _common()
        seen = {id(x) for x in traced}
        changed = [
            name
            for name, state in self.common.items()
            if not equal(now[name], state) and (name != "minigrad's global generator" or id(rng._global()) not in seen)
        ]
        changed += [f"a {type(x).__name__}" for x, state in self.generators if not equal(source_state(x), state)]
        if changed:
            names = ("random", *NP_RANDOM) if changed[0] in ("np.random", "the module random") else ()
            raise CompileError(
                f"mg.compile: the step draws from {changed[0]} in a way that cannot be recorded, and every call would "
                f"repeat the numbers of the first{at_name(self.functions, *names)}.\n"
                "Hint: draw with a Generator that the step can reach, rng = np.random.default_rng(seed); "
                "rng.normal(size=...)."
            )
        for row in self.others:
            if next(differences(row), None) is not None:
                raise CompileError(
                    f"mg.compile: the step advances or changes `{row.path}`, a {type(row.holder).__name__}, which a "
                    f"program cannot{at_name(self.functions, *row.path.split('.')[::-1])}.\n"
                    "Hint: do it outside of the step and pass the result as an argument."
                )

    def put_back(self) -> None:
        """Restore the states of all generators. Iterators and other objects cannot be restored."""
        random.setstate(self.common["the module random"])
        np.random.set_state(self.common["np.random"])  # noqa: NPY002
        bits = rng._global().bit_generator
        bits.state = {**bits.state, "state": self.common["minigrad's global generator"]}
        for x, state in self.generators:
            put_source(x, state)


def _common() -> dict[str, Any]:
    return {
        "np.random": np.random.get_state(legacy=False),  # noqa: NPY002  # the user's, which is only read
        "the module random": random.getstate(),
        "minigrad's global generator": rng._global().bit_generator.state["state"],
    }
