"""Random numbers that a trace does not record: every call of the program would repeat them."""

from __future__ import annotations

from collections.abc import Iterable
from types import FunctionType
from typing import Any

from minigrad.compiler.follow.function_source import at_name
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.trace.generators import equal
from minigrad.reach import Row, differences
from minigrad.recompute.restore import global_sources, put_source, source_state
from minigrad.util import rng

NP_RANDOM = ("rand", "randn", "randint", "normal", "uniform", "permutation", "shuffle", "choice", "seed", "sample")
OWN = "minigrad's global generator"
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
        shared = [*global_sources(), (OWN, rng._global())]
        named = [*shared, *((f"a {type(x).__name__}", x) for x in reached)]
        self.sources = [(name, x, source_state(x)) for name, x in named]
        self.others = list(others)

    def check(self, traced: Iterable[Any]) -> None:
        """Check that all draws were recorded.

        Args:
            traced: Generators whose draws the trace has recorded.

        Raises:
            CompileError: there were others.
        """
        is_traced = any(x is rng._global() for x in traced)
        sources = [(name, x, state) for name, x, state in self.sources if not (is_traced and name == OWN)]
        changed = [name for name, x, state in sources if not equal(source_state(x), state)]
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
        for _, x, state in self.sources:
            put_source(x, state)
