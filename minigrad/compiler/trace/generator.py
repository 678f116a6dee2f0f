"""A tracer Generator: it draws from the real one, and the trace records the draw."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from minigrad.compiler.refusal import OWN, stop
from minigrad.compiler.trace.opaque import bare
from minigrad.compiler.trace.tracer import TracerArray


class TracerGenerator(np.random.Generator):
    """Stands for one of the user's Generators inside a traced step."""

    minigrad_tracer = True

    def __init__(self, trace: Any, real: np.random.Generator) -> None:
        super().__init__(real.bit_generator)
        self.mg_trace, self.real = trace, real

    @property  # type: ignore[misc]  # nobody assigns it
    def __class__(self) -> type:
        """That of the real one: type(rng) is answered as in an eager step."""
        return type(self.real)

    def __eq__(self, other: object) -> bool:
        return self.real is getattr(other, "real", other)

    def __hash__(self) -> int:
        return hash(self.real)

    @property
    def bit_generator(self) -> Any:
        """The real one's, by which code may ask for a state that another call does not begin with."""
        caller = sys._getframe(1).f_code
        if self.mg_trace.open and "state" in caller.co_names and not caller.co_filename.startswith(OWN):
            stop(self, "the state of a Generator is asked for", "ask for it outside of the step")
        return self.real.bit_generator

    def spawn(self, n_children: int) -> list[np.random.Generator]:
        """Generators of their own: they would be the same in each call of a program."""
        if self.mg_trace.open:
            stop(self, "rng.spawn makes other generators", "make them outside of the step")
        return self.real.spawn(n_children)

    def __reduce__(self) -> Any:
        return self.real.__reduce__()


def _draw(name: str) -> Any:
    def draw(self: TracerGenerator, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("out") is not None:
            if self.mg_trace.open:
                stop(self, f"rng.{name}(out=...)", "use the array that it returns")
            return getattr(self.real, name)(*bare(args), **bare(kwargs))
        return self.mg_trace.draw(self.real, name, args, kwargs)

    return draw


def _shuffle(self: TracerGenerator, x: Any, axis: int = 0) -> None:
    if not self.mg_trace.open:
        self.real.shuffle(bare(x), axis)
    elif type(x) is TracerArray:
        self.mg_trace.shuffle(self.real, x, axis)
    else:
        stop(self, f"rng.shuffle writes into a {type(x).__name__}", "shuffle an array, or x = x[rng.permutation(n)]")
        self.real.shuffle(x, axis)


class GeneratorSlot:
    """A Generator that is an argument: another one may stand here in each call of a program."""

    __slots__ = ("current",)

    def __init__(self, current: np.random.Generator) -> None:
        self.current = current

    @property
    def bit_generator(self) -> Any:
        """That of the present Generator."""
        return self.current.bit_generator

    def __getattr__(self, name: str) -> Any:
        return getattr(self.current, name)


for _name in dir(np.random.Generator):
    if not _name.startswith("_") and _name not in ("bit_generator", "spawn", "shuffle"):
        setattr(TracerGenerator, _name, _draw(_name))
setattr(TracerGenerator, "shuffle", _shuffle)  # noqa: B010  (its type is overloaded)
