"""A Generator that listens: it draws from the real one, and the trace records the draw."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.compiler.refusal import refuse


class ListeningGenerator(np.random.Generator):
    """Stands for one of the user's Generators inside a traced step."""

    def __init__(self, trace: Any, real: np.random.Generator) -> None:
        super().__init__(real.bit_generator)
        self.trace, self.real = trace, real


def _draw(name: str) -> Any:
    def draw(self: ListeningGenerator, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("out") is not None:
            refuse(f"rng.{name}(out=...)", "use the array that it returns")
        return self.trace.draw(self.real, name, args, kwargs)

    return draw


def _shuffle(self: ListeningGenerator, x: Any, axis: int = 0) -> None:
    refuse("rng.shuffle writes into its argument", "x = x[rng.permutation(len(x))]")


for _name in dir(np.random.Generator):
    if not _name.startswith("_") and _name not in ("bit_generator", "spawn", "shuffle"):
        setattr(ListeningGenerator, _name, _draw(_name))
setattr(ListeningGenerator, "shuffle", _shuffle)  # noqa: B010  (its type is overloaded)
