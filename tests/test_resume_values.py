"""A resumed training goes on with the counters, thresholds and logs of the user's own objects."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad import functional as F
from minigrad import io, nn, optim
from minigrad.callbacks import Checkpoint
from minigrad.data import DataLoader
from minigrad.training import fit

X = np.random.default_rng(0).normal(size=(24, 3))
Y = np.random.default_rng(1).normal(size=(24, 1))
CALLS = 0  # of a loss that counts in a global


class Growing:
    """A transform that grows stronger with each batch."""

    total = 0

    def __init__(self, where: str) -> None:
        self.where, self.n, self.log, self.sums = where, 0, [], np.zeros(2)
        self.options = {"n": 0}
        self.recent: deque[float] = deque(maxlen=5)

    def strength(self) -> float:
        if self.where == "attribute":
            self.n += 1
            return self.n
        if self.where == "list":
            self.log.append(1.0)
            return len(self.log)
        if self.where == "array":
            self.sums += 1
            return float(self.sums[0])
        if self.where == "dict":
            self.options["n"] += 1
            self.options[f"call {self.options['n']}"] = 1.0
            return len(self.options)
        if self.where == "deque":
            self.recent.append(sum(self.recent) + 1.0)
            return self.recent[-1]
        if self.where == "new attribute":
            self.late = getattr(self, "late", 0) + 1
            return self.late
        Growing.total += 1
        return Growing.total

    def __call__(self, x: Any, y: Any) -> Any:
        return x * (1 + 0.01 * self.strength()), y


class Slotted:
    """The same with a slot."""

    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0

    def __call__(self, x: Any, y: Any) -> Any:
        self.n += 1
        return x * (1 + 0.01 * self.n), y


class Warming(nn.Module):
    """A model with a counter that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = nn.Linear(3, 1, rng=0), 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return self.inner(x) * (1 - 0.5**self.calls)


class Annealing:
    """A callback that changes the loss as the training goes on."""

    def __init__(self) -> None:
        self.share = 1.0

    def on_step_end(self, training: Any) -> None:
        self.share *= 0.9
        training.loss.share = self.share


class Shared:
    """A loss with a weight."""

    def __init__(self) -> None:
        self.share = 1.0

    def __call__(self, out: Any, target: Any) -> Any:
        return F.mse_loss(out, target) * self.share


def _counting_loss() -> Any:
    n = 0

    def loss(out: Any, target: Any) -> Any:
        nonlocal n
        n += 1
        return F.mse_loss(out, target) * (1 + 0.1 * n)

    return loss


def _global_loss(out: Any, target: Any) -> Any:
    global CALLS
    CALLS += 1
    return F.mse_loss(out, target) * (1 + 0.1 * CALLS)


def parts(case: str) -> tuple[Any, Any, Any, list[Any]]:
    """Model, loader, loss and callbacks."""
    global CALLS
    CALLS, Growing.total = 0, 0
    model: Any = Warming() if case == "module" else nn.Linear(3, 1, rng=0)
    loss: Any = {"closure": _counting_loss(), "global": _global_loss, "callback": Shared()}.get(case, F.mse_loss)
    transform: Any = Slotted() if case == "slot" else Growing(case)
    loader = DataLoader(X, Y, batch_size=8, shuffle=True, rng=0, transform=transform)
    return model, loader, loss, [Annealing()] if case == "callback" else []


CASES = ["attribute", "list", "array", "dict", "deque", "new attribute", "class", "slot", "module", "closure", "global"]
CASES += ["callback"]


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_training_counts_on(case: str, tmp_path: Path) -> None:
    def run(epochs: int, resume: Any = None) -> Any:
        model, loader, loss, callbacks = parts(case)
        optimizer = optim.Adam(model.parameters(), lr=0.05)
        callbacks += [Checkpoint(tmp_path / "x")]
        history = fit(model, loader, loss, optimizer, epochs, callbacks=callbacks, resume=resume, progress=False)
        return history.epochs, [p.data.copy() for p in model.parameters()]

    expected, parameters = run(4)
    run(2)
    epochs, now = run(4, tmp_path / "x")
    assert epochs == expected
    assert all(np.array_equal(a, b) for a, b in zip(parameters, now, strict=True))
    run(2)
    run(3, tmp_path / "x")  # interrupted twice
    assert run(4, tmp_path / "x")[0] == expected


def test_what_nothing_has_changed_stays_as_it_is_given(tmp_path: Path) -> None:
    """The same file, and another limit of a callback: it is not that of the file."""

    class Limited:
        def __init__(self, limit: float) -> None:
            self.limit, self.steps = limit, 0

        def on_step_end(self, training: Any) -> None:
            self.steps += 1

    def run(epochs: int, limit: float, resume: Any = None) -> Any:
        model, loader, loss, _ = parts("none")
        callback = Limited(limit)
        optimizer = optim.SGD(model.parameters(), lr=0.05)
        callbacks = [callback, Checkpoint(tmp_path / "x")]
        fit(model, loader, loss, optimizer, epochs, callbacks=callbacks, resume=resume, progress=False)
        return callback

    run(2, 1.0)
    callback = run(4, 3.0, tmp_path / "x")
    assert (callback.limit, callback.steps) == (3.0, 12)


def test_an_object_that_is_made_later_is_named(tmp_path: Path) -> None:
    class Average:
        def __init__(self) -> None:
            self.value = 0.0

    class Late:
        average: Any = None

        def on_step_end(self, training: Any) -> None:
            self.average = self.average or Average()
            self.average.value += 1.0

    def run(epochs: int, resume: Any = None) -> None:
        model, loader, loss, _ = parts("none")
        optimizer = optim.SGD(model.parameters(), lr=0.05)
        callbacks = [Late(), Checkpoint(tmp_path / "x")]
        fit(model, loader, loss, optimizer, epochs, callbacks=callbacks, resume=resume, progress=False)

    run(2)
    with pytest.raises(ValueError, match=r"'value' of callbacks\[0\]\.average,.*Make it in __init__"):
        run(4, tmp_path / "x")


def test_data_are_not_saved_with_the_values(tmp_path: Path) -> None:
    model, loader, loss, _ = parts("attribute")
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    fit(model, loader, loss, optimizer, 2, callbacks=[Checkpoint(tmp_path / "x")], progress=False)
    names = [name for _, _, name, _ in io.load(tmp_path / "x")["values"]]
    assert names == ["n"]
