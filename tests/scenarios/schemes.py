"""Ways to train with more than one network or more than one state: EMA, targets, GANs, queues, replay, distillation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import batch, mlp, numbers, trainer, weight
from scenarios.scenario import scenario


def pairs(model: Any, other: Any) -> Any:
    return zip(model.parameters(), other.parameters(), strict=True)


def ema(C: Any, see: Any, average: Any, decay_of: Any) -> None:
    """Train a model and keep an average of it, whose decay may change."""
    model, shadow = mlp(), mlp()
    shadow.load_state_dict(model.state_dict())
    optimizer = optim.SGD(model.parameters(), lr=0.2)
    train, s = trainer(model, optimizer), SimpleNamespace(decay=0.9)

    @C
    def step(x: Any, y: Any) -> Any:
        loss = train(x, y)
        average(shadow, model, s.decay)
        return loss

    for k in range(8):
        s.decay = decay_of(k)
        see(step(*batch(k)), shadow, model)


def in_place(shadow: Any, model: Any, decay: float) -> None:
    for a, p in pairs(shadow, model):
        a.data *= decay
        a.data += (1 - decay) * p.data


def rebinding(shadow: Any, model: Any, decay: float) -> None:
    for a, p in pairs(shadow, model):
        a.data = decay * a.data + (1 - decay) * p.data


def under_no_grad(shadow: Any, model: Any, decay: float) -> None:
    with mg.no_grad():
        for a, p in pairs(shadow, model):
            a[...] = a * decay + p * (1 - decay)


@scenario
def ema_in_place(C: Any, see: Any) -> None:
    ema(C, see, in_place, lambda k: 0.9)


@scenario
def ema_rebinding(C: Any, see: Any) -> None:
    ema(C, see, rebinding, lambda k: 0.9)


@scenario
def ema_under_no_grad(C: Any, see: Any) -> None:
    ema(C, see, under_no_grad, lambda k: 0.9 if k < 4 else 0.5)


@scenario
def ema_with_a_schedule(C: Any, see: Any) -> None:
    ema(C, see, in_place, lambda k: min(0.99, (1 + k) / (10 + k)))


@scenario
def ema_by_its_own_compiled_function(C: Any, see: Any) -> None:
    model, s = mlp(), SimpleNamespace(decay=0.9)
    shadow = {name: value.copy() for name, value in model.state_dict().items()}
    step = C(trainer(model, optim.Adam(model.parameters(), lr=0.1)))

    @C
    def average() -> None:
        for name, p in model.named_parameters():
            shadow[name] = s.decay * shadow[name] + (1 - s.decay) * p.data

    for k in range(8):
        s.decay = 0.9 - 0.1 * k
        see(step(*batch(k)), shadow)
        average()
        see(shadow)


@scenario
def target_network_synchronized_every_fourth(C: Any, see: Any) -> None:
    online, target = mlp(0), mlp(1)
    optimizer = optim.SGD(online.parameters(), lr=0.1)

    @C
    def step(x: Any, reward: Any, following: Any) -> Any:
        with mg.no_grad():
            wanted = reward + 0.9 * mg.max(target(following), axis=1)
        optimizer.zero_grad()
        loss = F.mse_loss(online(x)[:, 0], wanted)
        loss.backward()
        optimizer.step()
        return loss

    for k in range(9):
        if k % 4 == 0:
            target.load_state_dict(online.state_dict())
        see(step(numbers(k, 5, 3), numbers(k, 5), numbers(k + 1, 5, 3)), online, target)


@scenario
def target_network_replaced(C: Any, see: Any) -> None:
    import copy

    s = SimpleNamespace(online=mlp(0), target=mlp(1))
    loss = C(lambda x: F.mse_loss(s.online(x), s.target(x).detach()).backward())
    for k in range(8):
        if k in (3, 6):
            s.target = copy.deepcopy(s.online)
            for p in s.online.parameters():
                p.data += 0.1
        loss(numbers(k, 5, 3))
        see(s)


@scenario
def gan_in_two_functions(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    maker, judge = nn.Linear(2, 3, rng=0), nn.Sequential(nn.Linear(3, 4, rng=1), nn.Tanh(), nn.Linear(4, 1, rng=2))
    one, two = optim.Adam(maker.parameters(), lr=0.05), optim.Adam(judge.parameters(), lr=0.05)

    @C
    def train_judge(x: Any) -> Any:
        two.zero_grad()
        fake = maker(rng.normal(size=(len(x), 2))).detach()
        loss = F.softplus(-judge(x)).mean() + F.softplus(judge(fake)).mean()
        loss.backward()
        two.step()
        return loss

    @C
    def train_maker(n: int) -> Any:
        one.zero_grad()
        loss = F.softplus(-judge(maker(rng.normal(size=(n, 2))))).mean()
        loss.backward()
        one.step()
        return loss

    for k in range(8):
        see(train_judge(numbers(k, 4, 3)))
        if k % 2:
            see(train_maker(4))
        see(maker, judge, rng)


@scenario
def gan_in_one_step(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    maker, judge = nn.Linear(2, 3, rng=0), nn.Linear(3, 1, rng=1)
    one, two = optim.SGD(maker.parameters(), lr=0.05), optim.SGD(judge.parameters(), lr=0.05)

    @C
    def step(x: Any) -> Any:
        fake = maker(rng.normal(size=(4, 2)))
        two.zero_grad()
        a = F.softplus(-judge(x)).mean() + F.softplus(judge(fake.detach())).mean()
        a.backward()
        two.step()
        one.zero_grad()
        b = F.softplus(-judge(fake)).mean()
        b.backward()
        one.step()
        return a, b

    for k in range(8):
        see(step(numbers(k, 4, 3)), maker, judge)


@scenario
def gradient_penalty(C: Any, see: Any) -> None:
    judge = nn.Sequential(nn.Linear(3, 4, rng=1), nn.Tanh(), nn.Linear(4, 1, rng=2))
    optimizer = optim.SGD(judge.parameters(), lr=0.05)
    s = SimpleNamespace(weight=1.0)

    @C
    def step(x: Any) -> Any:
        x = mg.Tensor(x, requires_grad=True)
        score = judge(x).sum()
        score.backward(create_graph=True)
        penalty = ((mg.sum(x.grad**2, axis=1) - 1) ** 2).mean() * s.weight
        optimizer.zero_grad()
        penalty.backward()
        optimizer.step()
        return penalty

    for k in range(7):
        s.weight = 1.0 + k // 3
        see(step(numbers(k, 4, 3)), judge)


@scenario
def contrastive_queue(C: Any, see: Any) -> None:
    model, queue, at = nn.Linear(3, 2, rng=0), numbers(9, 6, 2), np.zeros((), np.int64)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @C
    def step(x: Any) -> Any:
        q = model(x)
        logits = mg.concat([(q * q.detach()).sum(axis=1, keepdims=True), q @ queue.T], axis=1)
        optimizer.zero_grad()
        loss = F.cross_entropy(logits, np.zeros(len(x), np.int64))
        loss.backward()
        optimizer.step()
        queue[(at + np.arange(2)) % 6] = q.detach().data
        np.copyto(at, (at + 2) % 6)
        return loss

    for k in range(9):
        see(step(numbers(k, 2, 3)), queue, at, model)


@scenario
def queue_with_a_python_pointer(C: Any, see: Any) -> None:
    s = SimpleNamespace(queue=np.zeros((4, 3)), pointer=0)

    @C
    def step(x: Any) -> Any:
        s.queue[s.pointer : s.pointer + 2] = x
        s.pointer = (s.pointer + 2) % 4
        return s.queue.sum(axis=0)

    for k in range(8):
        see(step(numbers(k, 2, 3)), s)


@scenario
def replay_buffer_filled_outside(C: Any, see: Any) -> None:
    model, memory, rng = mlp(), np.zeros((8, 3)), np.random.default_rng(0)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    s = SimpleNamespace(size=0)

    @C
    def step() -> Any:
        x = memory[rng.integers(0, s.size, 4)]
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    for k in range(9):
        memory[k % 8] = numbers(k, 3)
        s.size = min(k + 1, 8)
        see(step(), model, rng)


@scenario
def distillation_with_a_temperature(C: Any, see: Any) -> None:
    student, teacher, s = mlp(0), mlp(1), SimpleNamespace(t=1.0)
    optimizer = optim.SGD(student.parameters(), lr=0.1)

    @C
    def step(x: Any) -> Any:
        with mg.no_grad():
            wanted = F.softmax(teacher(x) / s.t)
        optimizer.zero_grad()
        loss = -(wanted * F.log_softmax(student(x) / s.t)).sum(axis=1).mean() * s.t**2
        loss.backward()
        optimizer.step()
        return loss

    for k in range(9):
        s.t = 1.0 + 0.5 * k
        see(step(numbers(k, 5, 3)), student)


@scenario
def alternating_tasks(C: Any, see: Any) -> None:
    trunk, heads = nn.Linear(3, 4, rng=0), [nn.Linear(4, 2, rng=1), nn.Linear(4, 3, rng=2)]
    optimizer = optim.Adam([p for m in (trunk, *heads) for p in m.parameters()], lr=0.05)

    @C
    def step(x: Any, task: int) -> Any:
        optimizer.zero_grad()
        loss = (heads[task](mg.tanh(trunk(x))) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    for k in range(9):
        see(step(numbers(k, 4, 3), k % 2), trunk, heads, optimizer)


@scenario
def curriculum_of_lengths(C: Any, see: Any) -> None:
    model = nn.GRU(2, 3, rng=0)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @C
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (model(x)[0] ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    for k in range(8):
        see(step(numbers(k, 2, 2 + k // 3, 2)), model)


@scenario
def truncated_backpropagation(C: Any, see: Any) -> None:
    cell, s = nn.GRUCell(2, 3, rng=0), SimpleNamespace(h=mg.Tensor(np.zeros((2, 3))))
    optimizer = optim.SGD(cell.parameters(), lr=0.1)

    @C
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        s.h = cell(x, s.h)
        loss = (s.h**2).mean()
        loss.backward()
        optimizer.step()
        s.h = s.h.detach()
        return loss

    for k in range(8):
        if k == 5:
            s.h = mg.Tensor(np.zeros((2, 3)))
        see(step(numbers(k, 2, 2)), s, cell)


@scenario
def weights_averaged_over_steps(C: Any, see: Any) -> None:
    model, s = nn.Linear(3, 2, rng=0), SimpleNamespace(n=0, mean=None)
    train = trainer(model, optim.SGD(model.parameters(), lr=0.2), loss=F.cross_entropy)

    @C
    def step(x: Any, y: Any) -> Any:
        loss = train(x, y)
        w = model.weight.data
        s.mean = w.copy() if s.mean is None else s.mean + (w - s.mean) / (s.n + 1)
        s.n += 1
        return loss

    for k in range(8):
        see(step(*batch(k, classes=2)), s, model)


@scenario
def spectral_norm_by_power_iteration(C: Any, see: Any) -> None:
    w, u = weight(3, 3), np.ones(3) / np.sqrt(3)

    @C
    def step(x: Any) -> Any:
        v = w.data.T @ u
        v = v / np.sqrt((v * v).sum())
        nxt = w.data @ v
        u[:] = nxt / np.sqrt((nxt * nxt).sum())
        w.grad = None
        y = (x @ (w / (u @ w @ v))).sum()
        y.backward()
        return y

    for k in range(7):
        see(step(numbers(k, 2, 3)), w, u)
