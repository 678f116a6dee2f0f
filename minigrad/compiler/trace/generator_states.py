"""Where generators stand while a step is recorded: draws in a row are new, draws from an earlier state are repetitions.

`mg.checkpoint` sets the global generator back and runs a function again; the program then has one draw, and uses it
twice. Any other state that the step sets would be set by no program.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.compiler.ir.program import Value
from minigrad.compiler.refusal import CompileError, place, refuse
from minigrad.reach import alike, is_leaf


class Draws:
    """The draws of one recording, in order, with the states from which they were drawn."""

    def __init__(self) -> None:
        self.frontier: dict[int, tuple[Any, Any]] = {}  # by id: a bit generator, and its state after its last new draw
        self.before: Any = None
        self.known: list[tuple[int, Any, Any, Value]] = []  # bit generator, state before, what was asked for, value

    def watch(self, generator: np.random.Generator) -> None:
        """From here on, the trace knows of what this generator draws."""
        bits = generator.bit_generator
        self.frontier.setdefault(id(bits), (bits, bits.state))

    def repeated(self, generator: Any, method: str, args: Any, kwargs: Any) -> Value | None:
        """The value of an earlier draw that is now made again, None for a new one.

        Raises:
            CompileError: the generator stands where neither a new draw nor an earlier one begins.
        """
        bits = generator.bit_generator
        self.watch(generator)
        self.before = bits.state
        if equal(self.before, self.frontier[id(bits)][1]):
            return None
        asked = method, args, kwargs
        for key, state, what, value in self.known:
            if key == id(bits) and equal(state, self.before) and equal(what, asked):
                return value
        return refuse("the state of a Generator is set in the step", "set it outside of the step")

    def add(self, generator: Any, method: str, args: Any, kwargs: Any, value: Value) -> None:
        """A new draw has been made."""
        bits = generator.bit_generator
        self.known.append((id(bits), self.before, (method, args, kwargs), value))
        self.frontier[id(bits)] = bits, bits.state

    def check(self) -> None:
        """All generators stand where the program leaves them.

        Raises:
            CompileError: the step has set the state of one, or drawn from it unseen.
        """
        for bits, state in self.frontier.values():
            if not equal(bits.state, state):
                raise CompileError(
                    f"mg.compile: the state of a Generator ({type(bits).__name__}) is set in the step, or it draws in "
                    f"a way that cannot be recorded, at {place()}\nHint: set states outside of the step."
                )


def equal(x: Any, y: Any) -> bool:
    """Whether two states, with arrays in dictionaries and tuples, are the same."""
    if isinstance(x, dict) and isinstance(y, dict):
        return x.keys() == y.keys() and all(equal(x[k], y[k]) for k in x)
    if isinstance(x, (tuple, list)) and isinstance(y, (tuple, list)):
        if len(x) > 16:  # that of the module random: plain numbers
            return bool(x == y)
        return len(x) == len(y) and all(map(equal, x, y))
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        return bool(np.array_equal(x, y))
    return x is y or (is_leaf(x) and alike(x, y))
