"""Gradients that are accumulated, cleared, replaced and scaled in and between calls."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import batch, mlp, numbers, weight
from scenarios.scenario import scenario


@scenario
def never_cleared(C: Any, see: Any) -> None:
    w = weight(3)
    step = C(lambda x: (w * x).sum().backward())
    for k in range(8):
        see(step(numbers(k, 3)), w)


@scenario
def zero_grad_outside_every_second(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @C
    def micro(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(model(x), y) / 2
        loss.backward()
        return loss

    for k in range(10):
        if k % 2 == 0:
            optimizer.zero_grad()
        see(micro(*batch(k)), model)
        if k % 2:
            optimizer.step()


@scenario
def two_compiled_functions(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    micro = C(lambda x, y: F.cross_entropy(model(x), y).backward())

    @C
    def update() -> None:
        optimizer.step()
        optimizer.zero_grad()

    for k in range(12):
        micro(*batch(k))
        if k % 3 == 2:
            update()
        see(model, optimizer)


@scenario
def flag_decides_in_the_step(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    @C
    def step(x: Any, y: Any, last: bool) -> Any:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if last:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    for k in range(12):
        see(step(*batch(k), k % 4 == 3), model)


@scenario
def counter_of_micro_batches(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    count = 0

    @C
    def step(x: Any, y: Any) -> Any:
        nonlocal count
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        count += 1
        if count % 3 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    for k in range(9):
        see(step(*batch(k)), model, count)


@scenario
def cleared_only_once(C: Any, see: Any) -> None:
    w = weight(3)
    step = C(lambda x: mg.sin(w * x).sum().backward())
    for k in range(8):
        if k == 4:
            w.grad = None
        step(numbers(k, 3))
        see(w.grad)


@scenario
def replaced_by_an_array(C: Any, see: Any) -> None:
    w = weight(3)
    step = C(lambda x: (w * w * x).sum().backward())
    for k in range(8):
        if k in (3, 5):
            w.grad = np.full(3, 100.0)
        step(numbers(k, 3))
        see(w)


@scenario
def replaced_by_a_tensor_of_the_user(C: Any, see: Any) -> None:
    w, own = weight(3), mg.Tensor([1.0, 2.0, 3.0])
    step = C(lambda x: (w * x).sum().backward())
    for k in range(8):
        if k == 3:
            w.grad = own
        step(numbers(k, 3))
        see(w, own)


@scenario
def scaled_in_place_between(C: Any, see: Any) -> None:
    model = mlp()
    micro = C(lambda x, y: F.cross_entropy(model(x), y).backward())
    for k in range(8):
        micro(*batch(k))
        if k % 2:
            for p in model.parameters():
                p.grad.data *= 0.5
        see(model)


@scenario
def kept_gradient(C: Any, see: Any) -> None:
    w, kept = weight(3), []
    step = C(lambda x: (w * x).sum().backward())
    for k in range(6):
        w.grad = None
        step(numbers(k, 3))
        kept.append(w.grad)
        see(kept, w.grad is kept[0])


@scenario
def kept_while_accumulating(C: Any, see: Any) -> None:
    w, kept = weight(3), []
    step = C(lambda x: (w * x).sum().backward())
    for k in range(6):
        step(numbers(k, 3))
        kept.append(w.grad)
        see(kept)


@scenario
def zero_grad_in_the_middle(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any) -> Any:
        (w * x).sum().backward()
        first = w.grad
        w.grad = None
        (w * w * x).sum().backward()
        return first

    for k in range(6):
        see(step(numbers(k, 3)), w)


@scenario
def backward_twice_in_a_step(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any) -> None:
        w.grad = None
        for part in (x, x * 2):
            (w * part).sum().backward()

    for k in range(6):
        step(numbers(k, 3))
        see(w)


@scenario
def loop_over_micro_batches_inside(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.AdamW(model.parameters(), lr=0.05)

    @C
    def step(parts: Any) -> Any:
        optimizer.zero_grad()
        total = 0.0
        for x, y in parts:
            loss = F.cross_entropy(model(x), y) / len(parts)
            loss.backward()
            total = total + loss.detach()
        optimizer.step()
        return total

    for k in range(8):
        see(step([batch(3 * k + j) for j in range(2 if k < 4 else 3)]), model)


@scenario
def some_parameters_without_gradient(C: Any, see: Any) -> None:
    one, two = nn.Linear(3, 2, rng=0), nn.Linear(3, 2, rng=1)
    optimizer = optim.SGD([*one.parameters(), *two.parameters()], lr=0.1, momentum=0.9)

    @C
    def step(x: Any, which: str) -> Any:
        optimizer.zero_grad()
        loss = ((one if which == "one" else two)(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    for k in range(9):
        see(step(numbers(k, 4, 3), "one" if k % 3 else "two"), one, two, optimizer)


@scenario
def gradient_used_as_a_number_later(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any) -> Any:
        before = w.grad
        w.grad = None
        (w * x).sum().backward()
        return None if before is None else before + w.grad

    for k in range(6):
        see(step(numbers(k, 3)), w)


@scenario
def foreign_gradient_is_consumed(C: Any, see: Any) -> None:
    w = weight(3)
    optimizer = optim.SGD([w], lr=0.5)
    update = C(optimizer.step)
    for k in range(6):
        w.grad = numbers(k, 3)
        see(update(), w)


@scenario
def shared_gradient_object(C: Any, see: Any) -> None:
    v, w = weight(3), weight(3, seed=1)
    step = C(lambda x: (v * w * x).sum().backward())
    for k in range(6):
        if k in (2, 4):
            v.grad = w.grad
        step(numbers(k, 3))
        see(v, w)


@scenario
def gradient_of_an_input(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any) -> Any:
        x = mg.Tensor(x, requires_grad=True)
        (mg.tanh(w * x)).sum().backward()
        return x.grad

    for k in range(6):
        see(step(numbers(k, 3)), w)


@scenario
def gradient_of_an_argument_accumulates(C: Any, see: Any) -> None:
    step = C(lambda t: (t * t).sum().backward())
    a, b = mg.Tensor([1.0, 2.0], requires_grad=True), mg.Tensor([3.0, 4.0], requires_grad=True)
    for k in range(8):
        step(a if k % 3 else b)
        if k == 5:
            a.grad = None
        see(a, b)


@scenario
def mean_of_gradients_by_hand(C: Any, see: Any) -> None:
    model = nn.Linear(3, 2, rng=0)
    sums = [np.zeros(p.shape) for p in model.parameters()]

    @C
    def step(x: Any) -> None:
        model.zero_grad()
        (model(x) ** 2).sum().backward()
        for total, p in zip(sums, model.parameters(), strict=True):
            total += p.grad.data / 4

    for k in range(8):
        step(numbers(k, 4, 3))
        if k % 4 == 3:
            for total in sums:
                total[...] = 0
        see(sums, model)
