"""Numeric habits: loss scaling, annealing, warmup, clipping, smoothing, single precision."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import batch, mlp, numbers, weight
from scenarios.scenario import scenario


def train(C: Any, see: Any, loss_of: Any, change: Any = None, after: Any = None, calls: int = 9) -> None:
    """Train with a loss that reads settings which change."""
    model, s = mlp(), SimpleNamespace(v=1.0, calls=0)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.5)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model, s, x, y)
        loss.backward()
        if after is not None:
            after(model, s)
        optimizer.step()
        return loss

    for k in range(calls):
        if change is not None:
            change(s, k)
        see(step(*batch(k)), model, s)


def plain(model: Any, s: Any, x: Any, y: Any) -> Any:
    return F.cross_entropy(model(x), y)


def scaled(model: Any, s: Any, x: Any, y: Any) -> Any:
    return F.cross_entropy(model(x), y) * s.v


def unscale(model: Any, s: Any) -> None:
    for p in model.parameters():
        p.grad = p.grad / s.v


@scenario
def loss_scaling(C: Any, see: Any) -> None:
    train(C, see, scaled, lambda s, k: setattr(s, "v", 1024.0 if k < 4 else 2.0), unscale)


@scenario
def loss_scaling_every_call(C: Any, see: Any) -> None:
    train(C, see, scaled, lambda s, k: setattr(s, "v", 2.0**k), unscale, 12)


@scenario
def label_smoothing(C: Any, see: Any) -> None:
    loss = lambda model, s, x, y: F.cross_entropy(model(x), y, label_smoothing=s.v)
    train(C, see, loss, lambda s, k: setattr(s, "v", [0.0, 0.0, 0.1, 0.2][k % 4]))


@scenario
def temperature(C: Any, see: Any) -> None:
    loss = lambda model, s, x, y: F.cross_entropy(model(x) / s.v, y)
    train(C, see, loss, lambda s, k: setattr(s, "v", max(0.5, 1.0 - 0.1 * k)))


@scenario
def warmup_by_a_counter_in_the_step(C: Any, see: Any) -> None:
    def loss(model: Any, s: Any, x: Any, y: Any) -> Any:
        s.calls += 1
        return F.cross_entropy(model(x), y) * min(1.0, s.calls / 4)

    train(C, see, loss)


@scenario
def beta_of_a_variational_loss(C: Any, see: Any) -> None:
    loss = lambda model, s, x, y: F.cross_entropy(model(x), y) + s.v * sum((p**2).sum() for p in model.parameters())
    train(C, see, loss, lambda s, k: setattr(s, "v", 0.01 * min(k, 5)))


@scenario
def clipping_by_norm(C: Any, see: Any) -> None:
    train(C, see, plain, lambda s, k: setattr(s, "v", 0.1 if k < 4 else 10.0),
          lambda model, s: optim.clip_grad_norm_(model.parameters(), s.v))  # fmt: skip


@scenario
def clipping_by_value(C: Any, see: Any) -> None:
    train(C, see, plain, lambda s, k: setattr(s, "v", 0.05 * (k + 1)),
          lambda model, s: optim.clip_grad_value_(model.parameters(), s.v))  # fmt: skip


@scenario
def norm_of_the_gradient_returned(C: Any, see: Any) -> None:
    model = mlp()

    @C
    def step(x: Any, y: Any) -> Any:
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        return optim.clip_grad_norm_(model.parameters(), 0.1)

    for k in range(7):
        see(step(*batch(k)), model)


@scenario
def noise_that_is_annealed(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    loss = lambda model, s, x, y: F.cross_entropy(model(x + s.v * rng.normal(size=x.shape)), y)
    train(C, see, loss, lambda s, k: setattr(s, "v", 0.5**k))


@scenario
def weight_of_classes_changes(C: Any, see: Any) -> None:
    loss = lambda model, s, x, y: F.cross_entropy(model(x), y, weight=s.v)
    train(C, see, loss, lambda s, k: setattr(s, "v", None if k < 3 else np.arange(1.0, 5.0) * (1 + k // 6)))


@scenario
def single_precision(C: Any, see: Any) -> None:
    w = mg.Tensor(numbers(0, 3, 2).astype(np.float32), requires_grad=True)
    optimizer = optim.Adam([w], lr=0.01)

    @C
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (mg.tanh(x @ w) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    for k in range(8):
        see(step(numbers(k, 4, 3).astype(np.float32)), w)


@scenario
def mixed_precision(C: Any, see: Any) -> None:
    w = mg.Tensor(numbers(0, 3, 2), requires_grad=True)

    @C
    def step(x: Any) -> Any:
        w.grad = None
        y = x.astype(np.float32) @ w.astype(np.float32)
        loss = (y.astype(np.float64) ** 2).mean()
        loss.backward()
        return loss, y

    for k in range(7):
        see(step(numbers(k, 4, 3)), w)


@scenario
def python_and_numpy_numbers(C: Any, see: Any) -> None:
    s = SimpleNamespace(v=2.0)
    step = C(lambda x: x.astype(np.float32) * s.v + 1)
    for k, v in enumerate([2.0, 2.0, np.float64(2.0), np.float32(2.0), 2, np.float16(2.0), 2.0]):
        s.v = v
        see(step(numbers(k, 3)))


@scenario
def default_dtype_changes(C: Any, see: Any) -> None:
    w = weight(3)
    step = C(lambda x: (w * mg.Tensor([1.0, 2.0, 3.0]), mg.zeros(3), mg.asarray([0.5]) * x))
    for k in range(9):
        mg.set_default_dtype(np.float32 if k in (3, 4, 5) else np.float64)
        see(step(numbers(k, 3)))


@scenario
def overflow_and_underflow(C: Any, see: Any) -> None:
    step = C(lambda x: (np.exp(x), np.exp(-x), x * 1e300 * 1e300, 1 / x))
    for k, v in enumerate([1.0, 1.0, 1000.0, -1000.0, 0.0, -0.0, np.nan]):
        see(step(np.array([v, float(k)])))


@scenario
def integer_wraparound(C: Any, see: Any) -> None:
    step = C(lambda x: (x + np.uint8(200), x * x, -x, x // np.uint8(7)))
    for k in range(6):
        see(step(np.arange(k, k + 6, dtype=np.uint8) * np.uint8(40)))


@scenario
def regularizer_switched_on(C: Any, see: Any) -> None:
    model, s = nn.Linear(3, 4, rng=0), SimpleNamespace(terms=[])

    @C
    def step(x: Any, y: Any) -> Any:
        model.zero_grad()
        loss = F.cross_entropy(model(x), y)
        for term in s.terms:
            loss = loss + term(model.weight)
        loss.backward()
        return loss

    for k in range(9):
        if k == 3:
            s.terms.append(lambda w: 0.1 * (w**2).sum())
        if k == 6:
            s.terms[0] = lambda w: 0.1 * mg.abs(w).sum()
        see(step(*batch(k)), model)


@scenario
def running_scale(C: Any, see: Any) -> None:
    s = SimpleNamespace(mean=np.zeros(3), var=np.ones(3), n=1e-4)

    @C
    def step(x: Any) -> Any:
        n = len(x)
        delta = x.mean(axis=0) - s.mean
        total = s.n + n
        s.mean = s.mean + delta * n / total
        s.var = (s.var * s.n + x.var(axis=0) * n + delta**2 * s.n * n / total) / total
        s.n = total
        return (x - s.mean) / np.sqrt(s.var)

    for k in range(8):
        see(step(numbers(k, 4, 3)), s)
