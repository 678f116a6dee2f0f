"""Parameters of one dtype in one flat array: an update takes the same number of NumPy calls for any number of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from minigrad.engine.mutation import note_change
from minigrad.tensor.tensor import Tensor

Array = Any


class Flat:
    """The parameters of a group that have one dtype, their gradients and their state, each in one array.

    Every parameter's `.data` becomes a view of the array. State and step counts belong to single parameters, because a
    step skips those without a gradient; as long as none was skipped, all are updated together. `breaks` is known
    without reading values, which a compiled step does not have. Half-precision parameters have their gradients, state
    and rates in single precision, in which eps is not 0 and squares do not overflow.
    """

    scratch = ("gradient", "work")  # not read between two steps
    fixed = ("parameters", "sizes", "stops", "views", "state")  # containers that are replaced, never changed

    def __init__(self, parameters: Sequence[Tensor], lr: float) -> None:
        self.parameters = list(parameters)
        self.sizes = [p.size for p in parameters]
        self.stops = list(accumulate(self.sizes, initial=0))
        self._gather_data()
        self.is_narrow = self.data.dtype.itemsize < 4
        self.gradient = np.zeros_like(self.data, dtype=np.float32 if self.is_narrow else None)
        self.work = np.zeros_like(self.gradient)
        self.state: dict[str, Array] = {}
        self.steps = np.zeros(len(self.sizes), np.int64)
        self.lr = np.full_like(self.gradient, lr, shape=())
        self.breaks: set[int] = set()  # parameters whose step count may differ from that of the parameter before

    def add_state(self, state: Mapping[str, float | Callable[[Flat], Array]]) -> None:
        """Create the arrays of the rule that do not exist yet, from a number or a function that computes the values."""
        for name, value in state.items():
            if name not in self.state:
                array = np.full_like(self.gradient, value(self) if callable(value) else value)
                self.state = {**self.state, name: array}

    def of_each(self, values: Array) -> Array:
        """Values of parameters, repeated for each of their elements."""
        return np.repeat(values, self.sizes)

    def _gather_data(self) -> None:
        """Copy the parameters into a new flat array, and make each of them a view of it."""
        self.data = np.concatenate([np.reshape(p.data, (-1,)) for p in self.parameters])
        self.views = []
        for p, start, stop in zip(self.parameters, self.stops, self.stops[1:], strict=False):
            p.data = np.reshape(self.data[start:stop], p.shape)
            self.views.append(p.data)

    def is_stale(self) -> bool:
        """Whether the data of a parameter has been replaced by another array."""
        for p, view in zip(self.parameters, self.views, strict=True):  # noqa: SIM110  # takes half the time of any()
            if p.data is not view:
                return True
        return False

    def refresh(self) -> None:
        """Copy the replaced data into the flat array.

        Raises:
            ValueError: the new array has another shape or dtype.
        """
        self._check_data()
        self._gather_data()

    def _check_data(self) -> None:
        for p, view in zip(self.parameters, self.views, strict=True):
            if (p.shape, p.dtype) != (view.shape, view.dtype):
                raise ValueError(
                    f"a parameter of shape {view.shape} and dtype {view.dtype} has become one of shape {p.shape} and "
                    f"dtype {p.dtype} after its optimizer was created, so its state does not fit; create a new one"
                )

    def gather(self) -> list[tuple[int, int]]:
        """Copy the gradients into the flat array. Returns the runs (first, end) to be updated together."""
        gradients: list[Any] = [p.grad for p in self.parameters]
        missing = [g is None for g in gradients]
        if True not in missing:
            np.concatenate([g.data.reshape(-1) for g in gradients], out=self.gradient)
            if not self.breaks:
                return [(0, len(gradients))]
        else:
            self.breaks |= {k for k in range(1, len(missing)) if missing[k] != missing[k - 1]}
            for g, start, stop in zip(gradients, self.stops, self.stops[1:], strict=False):
                if g is not None:
                    np.copyto(self.gradient[start:stop], g.data.reshape(-1))
        return self._runs(missing)

    def _runs(self, missing: Sequence[bool]) -> list[tuple[int, int]]:
        """Runs of neighbors that have gradients and the same number of steps."""
        runs: list[tuple[int, int]] = []
        for k in range(len(missing)):
            if missing[k]:
                continue
            if runs and runs[-1][1] == k and k not in self.breaks:
                runs[-1] = (runs[-1][0], k + 1)
            else:
                runs.append((k, k + 1))
        return runs

    def part(self, array: Array, first: int, end: int) -> Array:
        """The elements of parameters first ... end - 1 in one of the flat arrays."""
        return array if end - first == len(self.sizes) else array[self.stops[first] : self.stops[end]]

    def update(self, rule: Callable[..., Array], runs: Sequence[tuple[int, int]], options: dict[str, Any]) -> None:
        """Update the parameters of these runs by one step of the rule."""
        for first, end in runs:
            self.steps[first:end] += 1
            step = self.steps[first : first + 1].reshape(())
            p, g, work = (self.part(x, first, end) for x in (self.data, self.gradient, self.work))
            state = {name: self.part(x, first, end) for name, x in self.state.items()}
            if self.is_narrow:
                wide = p.astype(self.lr.dtype)
                np.subtract(wide, rule(wide, g, state, step, work, lr=self.lr, **options), out=p, casting="same_kind")
                continue
            np.subtract(p, rule(p, g, state, step, work, lr=self.lr, **options), out=p)
        if runs:
            note_change(self.data)
