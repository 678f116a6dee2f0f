"""The only element of an array as a Python number: returned, kept, added up, and what happens if it is looked at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import optim
from scenarios.parts import mlp, numbers, weight
from scenarios.scenario import scenario


def _calls(C: Any, see: Any, function: Any, *shape: int, dtype: Any = float) -> None:
    step = C(function)
    for k in range(6):
        see(step(numbers(k, *(shape or (3,))).astype(dtype)))


@scenario
def item_returned(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: x.sum().item())


@scenario
def float_returned(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: float(x.sum()))


@scenario
def float_of_single_precision(C: Any, see: Any) -> None:
    step = C(lambda x: (float(x.mean()), x.max().item(), float(x[0])))
    for k in range(6):
        found = step(numbers(k, 3).astype(np.float32))
        see(*map(type, found), *map(np.float32, found))


@scenario
def float_of_a_tensor(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: float(mg.sum(mg.exp(mg.Tensor(x)))))


@scenario
def float_of_one_element(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: (x * 2).item() + (x[0] * 3).item(), 1)
    _calls(C, see, lambda x: (x * 2).item() + (x[0, 0] * 3).item(), 1, 1)


@scenario
def int_of_integers(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: (int(np.argmax(x)), np.argmin(x).item(), int((x > 0).sum())))


@scenario
def float_of_integers_and_bools(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: (float(np.argmax(x)), float(x[0] > 0), float((x > 0).sum())))


@scenario(eager=True)
def int_of_a_float(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: int(x.sum() * 10))


@scenario
def arithmetic_with_floats(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        a, b = float(x.sum()), x.mean().item()
        return a * 2 + b - 1, x * a, -b, abs(b)

    _calls(C, see, step)


@scenario
def division_by_a_float(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        return 1.0 / float(x.sum()), x / x.sum().item()

    _calls(C, see, step)


@scenario
def loss_of_a_training_step(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return float(loss)

    step = C(step)
    for k in range(8):
        see(step(numbers(k, 5, 3), np.arange(5) % 4))
    see(*model.parameters())


@scenario
def losses_in_a_history(C: Any, see: Any) -> None:
    w, history = weight(3), []

    def step(x: Any) -> None:
        loss = ((w * x) ** 2).sum()
        loss.backward()
        history.append(loss.item())

    step = C(step)
    for k in range(12):
        step(numbers(k, 3))
        see(history, w.grad)
        w.grad = None


@scenario
def losses_added_up(C: Any, see: Any) -> None:
    s = SimpleNamespace(total=0.0, count=0, last=None)

    def step(x: Any) -> None:
        loss = (x**2).sum()
        s.total += float(loss)
        s.count += len(x)
        s.last = loss.item()

    step = C(step)
    for k in range(8):
        step(numbers(k, 3))
        see(s.total, s.count, s.last)


@scenario
def correct_predictions_counted(C: Any, see: Any) -> None:
    s = SimpleNamespace(correct=0)

    def step(x: Any, y: Any) -> None:
        s.correct += int((x.argmax(axis=1) == y).sum())

    step = C(step)
    for k in range(8):
        step(numbers(k, 5, 3), np.arange(5) % 3)
        see(s.correct)


@scenario
def division_by_zero(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        return 1.0 / x.sum().item(), 7 // x.astype(int)[0].item(), x / x[1].item()

    step = C(step)
    for k in range(9):
        see.attempt(step, np.array([3.0 - (k == 5) * 3, 2.0 - (k == 7) * 2]))


@scenario
def integers_that_grow(C: Any, see: Any) -> None:
    s = SimpleNamespace(n=1, m=0)

    def step(x: Any) -> Any:
        s.n = s.n * int(x.sum())
        s.m += x[0].item() * 2
        return s.n - 1, -s.m, abs(s.m), s.m % 7

    step = C(step)
    for k in range(24):
        see(step(np.array([k, 5, 3]) % 9 + 1))


@scenario(eager=True)
def best_loss_is_kept(C: Any, see: Any) -> None:
    s = SimpleNamespace(best=np.inf)

    def step(x: Any) -> Any:
        loss = float((x**2).sum())
        s.best = min(s.best, loss)
        return s.best

    _calls(C, see, step)


@scenario(eager=True)
def float_in_a_text(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: f"loss {float(x.sum()):.3f}")


@scenario(eager=True)
def float_that_is_rounded(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: round(float(x.sum()), 3))


@scenario
def a_value_before_it_is_overwritten(C: Any, see: Any) -> None:
    s = SimpleNamespace(x=np.zeros(1))

    def step(x: Any) -> Any:
        before = s.x.item()
        s.x += x[:1]
        after = s.x.item()
        s.x[0] = 7.0
        return before, after, s.x.item()

    _calls(C, see, step)


@scenario
def gradient_norm_returned(C: Any, see: Any) -> None:
    w = weight(3)

    def step(x: Any) -> Any:
        ((w * x) ** 2).sum().backward()
        norm = float(np.sqrt((w.grad**2).sum()))
        w.grad = None
        return {"norm": norm, "half": 0.5 * norm}

    _calls(C, see, step)
