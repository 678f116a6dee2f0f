"""Draws, clocks, iterators: what a step takes from outside that is another at each call."""

from __future__ import annotations

import itertools
import random
import time
import uuid
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.data import DataLoader
from scenarios.parts import batch, mlp, numbers, trainer, weight
from scenarios.scenario import scenario


def draws(C: Any, see: Any, function: Any, *generators: Any, calls: int = 7) -> None:
    """Call a step, and look at generators after every call."""
    step = C(function)
    for k in range(calls):
        see(step(numbers(k, 3)), generators)


@scenario
def normal_noise(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    draws(C, see, lambda x: x + 0.1 * rng.normal(size=x.shape), rng)


@scenario
def every_distribution(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)

    def step(x: Any) -> Any:
        parts = [rng.random(3), rng.uniform(-1, 1, 3), rng.integers(0, 5, 3), rng.standard_normal(3)]
        return [*parts, rng.exponential(2.0, 3), rng.choice(5, 3), rng.permutation(3), rng.binomial(4, 0.5, 3), x]

    draws(C, see, step, rng)


@scenario
def scalar_draws(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    draws(C, see, lambda x: x * rng.normal() + rng.integers(3), rng)


@scenario
def draw_with_parameters_of_the_data(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    draws(C, see, lambda x: rng.normal(x, np.abs(x)), rng)


@scenario
def draw_in_a_keyword(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    draws(C, see, lambda x: np.clip(x, a_min=-rng.random(), a_max=rng.random(3)), rng)


@scenario
def two_generators(C: Any, see: Any) -> None:
    one, two = np.random.default_rng(0), np.random.default_rng(0)
    draws(C, see, lambda x: x * one.normal(size=3) + two.normal(size=3) - one.normal(size=3), one, two)


@scenario
def generator_shared_by_two_names(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    s = SimpleNamespace(a=rng, b=rng)
    step = C(lambda x: s.a.normal(size=3) - s.b.normal(size=3))
    for k in range(8):
        if k == 4:
            s.b = np.random.default_rng(1)
        see(step(numbers(k, 3)), s)


@scenario
def generator_replaced(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)

    @C
    def step(x: Any) -> Any:
        return x + rng.normal(size=3)

    for k in range(8):
        if k == 4:
            rng = np.random.default_rng(5)
        see(step(numbers(k, 3)), rng)


@scenario
def generator_state_set_between(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    start, step = rng.bit_generator.state, C(lambda x: x + rng.normal(size=3))
    for k in range(8):
        if k in (3, 6):
            rng.bit_generator.state = start
        see(step(numbers(k, 3)), rng)


@scenario
def draws_between_calls(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    step = C(lambda x: x + rng.normal(size=3))
    for k in range(8):
        see(step(numbers(k, 3)), rng.random() if k % 3 == 0 else None)


@scenario
def global_of_minigrad(C: Any, see: Any) -> None:
    step = C(lambda x: F.dropout(mg.asarray(x), p=0.5))
    for k in range(9):
        if k in (3, 6):
            mg.manual_seed(1)
        see(step(np.ones(6)))


@scenario(eager=True)
def legacy_functions_of_numpy(C: Any, see: Any) -> None:
    draws(C, see, lambda x: x + np.random.normal(size=3) * np.random.rand())  # noqa: NPY002


@scenario(eager=True)
def legacy_random_state(C: Any, see: Any) -> None:
    rng = np.random.RandomState(0)
    draws(C, see, lambda x: x + rng.randn(3), rng)


@scenario
def seeded_inside(C: Any, see: Any) -> None:
    draws(C, see, lambda x: x + np.random.default_rng(3).normal(size=3))


@scenario(eager=True)
def random_of_python(C: Any, see: Any) -> None:
    draws(C, see, lambda x: x * random.random())


@scenario(eager=True)
def random_branch(C: Any, see: Any) -> None:
    draws(C, see, lambda x: x * 2 if random.random() < 0.5 else -x, calls=10)


@scenario(eager=True)
def random_choice_of_a_layer(C: Any, see: Any) -> None:
    layers = [nn.Linear(3, 3, rng=k) for k in range(3)]
    draws(C, see, lambda x: random.choice(layers)(x), calls=9)


@scenario(eager=True)
def own_random_of_python(C: Any, see: Any) -> None:
    rng = random.Random(0)
    step = C(lambda x: x * rng.gauss(0, 1))
    for k in range(7):
        see(step(numbers(k, 3)), rng.getstate()[1][-1])


@scenario
def stochastic_depth(C: Any, see: Any) -> None:
    rng, layers = np.random.default_rng(0), [nn.Linear(3, 3, rng=k) for k in range(3)]

    @C
    def step(x: Any) -> Any:
        for layer in layers:
            if rng.random() < 0.7:
                x = x + mg.tanh(layer(x))
        return x

    for k in range(9):
        see(step(numbers(k, 2, 3)), rng)


@scenario
def permutation_of_a_batch(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    draws(C, see, lambda x: x[rng.permutation(3)] * x, rng)


@scenario
def shuffled_in_place(C: Any, see: Any) -> None:
    rng, order = np.random.default_rng(0), np.arange(3)

    def step(x: Any) -> Any:
        rng.shuffle(order)
        return x[order]

    draws(C, see, step, rng, order)


@scenario
def mixup(C: Any, see: Any) -> None:
    model, rng = mlp(), np.random.default_rng(0)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @C
    def step(x: Any, y: Any) -> Any:
        a, i = rng.beta(0.4, 0.4), rng.permutation(len(x))
        out = model(a * x + (1 - a) * x[i])
        loss = a * F.cross_entropy(out, y) + (1 - a) * F.cross_entropy(out, y[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for k in range(8):
        see(step(*batch(k, n=5 if k != 6 else 3)), model, rng)


@scenario
def reparametrization(C: Any, see: Any) -> None:
    w, rng = weight(2, 3), np.random.default_rng(0)

    def step(x: Any) -> Any:
        w.grad = None
        z = w[0] + mg.exp(w[1]) * rng.standard_normal(3)
        loss = ((z - x) ** 2).sum()
        loss.backward()
        return loss

    draws(C, see, step, rng, w)


@scenario(eager=True)
def spawned_generators(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    draws(C, see, lambda x: x + rng.spawn(1)[0].normal(size=3), rng)


@scenario(eager=True)
def bit_generator_in_the_step(C: Any, see: Any) -> None:
    bits = np.random.PCG64(0)
    draws(C, see, lambda x: x + np.random.Generator(bits).normal(size=3), np.random.Generator(bits))


@scenario(eager=True)
def counted_by_itertools(C: Any, see: Any) -> None:
    ids = itertools.count()
    step = C(lambda x: x * next(ids))
    for k in range(7):
        see(step(numbers(k, 3)), ids)


@scenario(eager=True)
def cycle_of_options(C: Any, see: Any) -> None:
    scales = itertools.cycle([1.0, 1.0, 2.0])
    draws(C, see, lambda x: x * next(scales))


@scenario(eager=True)
def next_of_a_loader(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x, y = batch(0, n=12)
    loader = iter(DataLoader(x, y, batch_size=5, shuffle=True, rng=0))
    train = trainer(model, optimizer)
    step = C(lambda: train(*next(loader)))
    for _ in range(3):
        see(step(), model)
    see.attempt(step)


@scenario(eager=True)
def generator_function(C: Any, see: Any) -> None:
    def scales() -> Any:
        k = 0
        while True:
            yield 1.0 + k // 3
            k += 1

    source = scales()
    draws(C, see, lambda x: x * next(source), calls=9)


@scenario(eager=True)
def iterator_over_a_list(C: Any, see: Any) -> None:
    data = iter([numbers(k, 3) for k in range(5)])
    step = C(lambda x: x * next(data, 0.0))
    for k in range(7):
        see(step(numbers(k, 3)))


@scenario(eager=True)
def clock(C: Any, see: Any) -> None:
    began = time.perf_counter()

    @C
    def step(x: Any) -> Any:
        return x, time.perf_counter() - began

    last = 0.0
    for k in range(6):
        y, seconds = step(numbers(k, 3))
        see(y, seconds > last)
        last = seconds


@scenario(eager=True)
def unseeded_generator(C: Any, see: Any) -> None:
    seen = set()
    step = C(lambda x: np.random.default_rng().normal(size=3) + x)
    for _ in range(6):
        seen.add(step(np.zeros(3)).tobytes())
        see(len(seen))


@scenario(eager=True)
def unique_identifier(C: Any, see: Any) -> None:
    seen = set()
    step = C(lambda x: (x * 2, uuid.uuid4().hex))
    for _ in range(6):
        seen.add(step(np.zeros(3))[1])
        see(len(seen))


@scenario
def initialized_inside(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    draws(C, see, lambda x: nn.Linear(3, 2, rng=rng)(x), rng)
