"""Whole trainings: optimizers with schedules, clipping, accumulation and averages; penalties, games, inner loops."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import batch, mlp, numbers, weight
from scenarios.scenario import scenario

MAKERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1),
}


def everything(C: Any, see: Any, name: str, calls: int = 14) -> None:
    """A schedule, accumulation over two batches, clipping, an average of the weights, and loss scaling in one loop."""
    model = nn.Sequential(
        nn.Linear(3, 6, bias=False, rng=0), nn.BatchNorm(6), nn.ReLU(), nn.Dropout(0.2, rng=1), nn.Linear(6, 4, rng=2)
    )
    optimizer = MAKERS[name](list(model.parameters()))
    shadow = [p.data.copy() for p in model.parameters()]
    s = SimpleNamespace(scale=1024.0, good=0)

    @C
    def accumulate(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(model(x), y)
        (loss * s.scale / 2).backward()
        return loss

    @C
    def update() -> Any:
        for p in model.parameters():
            p.grad = p.grad / s.scale
        norm = optim.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        for average, p in zip(shadow, model.parameters(), strict=True):
            average *= 0.9
            average += 0.1 * p.data
        return norm

    for k in range(calls):
        see(accumulate(*batch(k)))
        if k % 2:
            see(update(), shadow)
            s.good += 1
            s.scale = s.scale * 2 if s.good % 3 == 0 else s.scale
            for group in optimizer.param_groups:
                group["lr"] = 0.05 * 0.5 * (1 + np.cos(np.pi * (k % 8) / 8))
        if k == 9:
            model.eval()
            see(model(batch(k)[0]))
            model.train()
    see(model, optimizer)


for _name in MAKERS:
    _body = functools.partial(everything, name=_name)
    _body.__module__, _body.__name__ = __name__, f"everything_with_{_name}"  # type: ignore[attr-defined]
    scenario(functions=2)(_body)


@scenario
def scaled_gradients_overflow_in_single_precision(C: Any, see: Any) -> None:
    w = mg.Tensor(np.ones(3, np.float32), requires_grad=True)
    s = SimpleNamespace(scale=1e30)

    @C
    def step(x: Any) -> Any:
        w.grad = None
        ((w * x).sum() * s.scale).backward()
        g = w.grad.data / np.float32(s.scale)
        finite = np.isfinite(g).all()
        w.data[...] = np.where(finite, w.data - np.float32(0.1) * g, w.data)
        return g, finite

    for k in range(12):
        s.scale = [1e30, 1e38, 1e36][k % 3]
        see(step((numbers(k, 3) * 30).astype(np.float32)), w)


@scenario
def constant_scale_overflows_in_single_precision(C: Any, see: Any) -> None:
    w = mg.Tensor(np.ones(3, np.float32), requires_grad=True)

    @C
    def step(x: Any) -> Any:
        w.grad = None
        ((w * x).sum() * 1e38).backward()
        return w.grad / 1e38, w.grad * 1e-38

    for k in range(8):
        see(step((numbers(k, 3) * 30).astype(np.float32)))


@scenario
def scaler_of_losses(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    s = SimpleNamespace(scale=2.0**10, good=0, skipped=0)

    @C
    def gradients(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) * s.scale
        loss.backward()
        return loss, [p.grad for p in model.parameters()]

    @C
    def update() -> None:
        for p in model.parameters():
            p.grad = p.grad * (1 / s.scale)
        optimizer.step()

    for k in range(12):
        x, y = batch(k)
        _, grads = gradients(x * (np.inf if k in (5, 9) else 1.0), y)
        if all(np.isfinite(g.data).all() for g in grads):
            update()
            s.good += 1
        else:
            s.scale, s.skipped = s.scale / 2, s.skipped + 1
        see(model, s, optimizer)


@scenario
def gradient_penalty_in_a_game(C: Any, see: Any) -> None:
    critic, maker = mlp(0, d=2, classes=1), mlp(1, d=3, classes=2)
    first, second = (
        optim.Adam(critic.parameters(), lr=0.01, betas=(0.5, 0.9)),
        optim.RMSprop(maker.parameters(), lr=0.01),
    )
    rng = np.random.default_rng(0)

    @C
    def critical(real: Any) -> Any:
        fake = maker(rng.normal(size=(len(real), 3))).detach()
        mix = rng.random((len(real), 1))
        point = mg.Tensor(mix * real + (1 - mix) * fake.data, requires_grad=True)
        slope = mg.grad(lambda p: critic(p).sum())(point)
        penalty = ((mg.sqrt((slope**2).sum(axis=1) + 1e-12) - 1) ** 2).mean()
        loss = critic(fake).mean() - critic(real).mean() + 10 * penalty
        first.zero_grad()
        loss.backward()
        first.step()
        return loss, penalty

    @C
    def creative(n: int) -> Any:
        loss = -critic(maker(rng.normal(size=(n, 3)))).mean()
        second.zero_grad()
        loss.backward()
        second.step()
        return loss

    for k in range(10):
        see(critical(numbers(k, 4, 2)))
        if k % 2:
            see(creative(4 + k // 5), critic, maker)


@scenario
def variational_autoencoder(C: Any, see: Any) -> None:
    encode, decode = nn.Linear(4, 4, rng=0), nn.Linear(2, 4, rng=1)
    optimizer = optim.Adam([*encode.parameters(), *decode.parameters()], lr=0.01)
    rng, s = np.random.default_rng(0), SimpleNamespace(beta=0.0)

    @C
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        mu, log_var = mg.split(encode(x), 2, axis=1)
        z = mu + mg.exp(0.5 * log_var) * rng.standard_normal((len(x), 2))
        fit = F.binary_cross_entropy_with_logits(decode(z), (x > 0).astype(float))
        kl = -0.5 * (1 + log_var - mu**2 - mg.exp(log_var)).sum(axis=1).mean()
        loss = fit + s.beta * kl
        loss.backward()
        optimizer.step()
        return {"loss": loss, "kl": kl, "fit": fit}

    for k in range(10):
        s.beta = min(1.0, k / 5)
        see(step(numbers(k, 5 if k % 4 else 3, 4)), encode, decode)


@scenario
def contrastive(C: Any, see: Any) -> None:
    model, s = mlp(), SimpleNamespace(temperature=0.5)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @C
    def step(x: Any, y: Any) -> Any:
        a, b = (F.normalize(model(v), axis=1) if hasattr(F, "normalize") else model(v) for v in (x, y))
        logits = a @ b.T / s.temperature
        labels = np.arange(len(x))
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, (logits.data.argmax(axis=1) == labels).mean()

    for k in range(9):
        s.temperature *= 0.95
        see(step(numbers(k, 4 + k % 2, 3), numbers(k + 40, 4 + k % 2, 3)), model)


@scenario
def distillation(C: Any, see: Any) -> None:
    teacher, student = mlp(1), mlp(0, hidden=3)
    teacher.eval()
    optimizer = optim.AdamW(student.parameters(), lr=0.01)

    @C
    def step(x: Any, y: Any, alpha: float) -> Any:
        with mg.no_grad():
            soft = F.softmax(teacher(x) / 2.0, axis=1)
        logits = student(x)
        loss = (
            alpha * F.cross_entropy(logits, y)
            - (1 - alpha) * (soft * F.log_softmax(logits / 2.0, axis=1)).sum(axis=1).mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for k in range(9):
        see(step(*batch(k), alpha=0.1 * k), student)
        if k == 5:
            next(iter(teacher.parameters())).data[...] *= 2


@scenario
def inner_loop(C: Any, see: Any) -> None:
    w, b = weight(3), weight(1, seed=1)
    optimizer = optim.Adam([w, b], lr=0.01)

    def loss_of(w: Any, b: Any, x: Any, y: Any) -> Any:
        return ((x @ w + b - y) ** 2).mean()

    @C
    def step(tasks: Any, rate: float) -> Any:
        total = 0
        for x, y in tasks:
            u, c = w, b
            for _ in range(2):
                g, h = mg.grad(loss_of, argnums=(0, 1))(u, c, x, y)
                u, c = u - rate * g, c - rate * h
            total = total + loss_of(u, c, x, y)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        return total

    for k in range(8):
        tasks = [(numbers(k + 10 * j, 4, 3), numbers(k + 10 * j + 5, 4)) for j in range(2)]
        see(step(tasks, 0.1 / (1 + k)), w, b)


@scenario
def hidden_state_carried(C: Any, see: Any) -> None:
    cell, head = nn.LSTMCell(2, 3, rng=0), nn.Linear(3, 1, rng=1)
    optimizer = optim.Adam([*cell.parameters(), *head.parameters()], lr=0.01)
    s = SimpleNamespace(h=None)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        h, loss = s.h, 0
        for t in range(len(x)):
            h = cell(x[t], h)
            loss = loss + ((head(h[0]) - y[t]) ** 2).mean()
        loss.backward()
        optim.clip_grad_norm_(cell.parameters(), 1.0)
        optimizer.step()
        s.h = tuple(v.detach() for v in h)
        return loss

    for k in range(10):
        if k == 6:
            s.h = None
        see(step(numbers(k, 3, 2, 2), numbers(k + 50, 3, 2, 1)), s, cell)


@scenario
def curriculum(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @C
    def step(x: Any, y: Any, hardest: int) -> Any:
        losses = F.cross_entropy(model(x), y, reduction="none")
        loss = mg.sort(losses)[:hardest].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, losses

    for k in range(12):
        see(step(*batch(k), hardest=2 + k // 4), model)


@scenario
def early_stopping_outside(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.1)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    @C
    def validate(x: Any, y: Any) -> Any:
        model.eval()
        loss = F.cross_entropy(model(x), y)
        model.train()
        return loss

    best, saved, patience = np.inf, None, 0
    for k in range(14):
        see(step(*batch(k % 3)))
        value = float(validate(*batch(99, 20)))
        if value < best:
            best, saved, patience = value, {n: v.copy() for n, v in model.state_dict().items()}, 0
        else:
            patience += 1
        if patience > 2 and saved is not None:
            model.load_state_dict(saved)
            patience = 0
        see(value, patience, model)


@scenario
def warm_restarts(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for k in range(14):
        optimizer.param_groups[0]["lr"] = 0.1 * 0.5 * (1 + np.cos(np.pi * (k % 5) / 5))
        if k == 10:
            optimizer = optim.SGD(model.parameters(), lr=0.05)
        see(step(*batch(k)), model)


@scenario
def lookahead(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    slow, s = [p.data.copy() for p in model.parameters()], SimpleNamespace(n=0)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        s.n += 1
        if s.n % 3 == 0:
            for p, q in zip(model.parameters(), slow, strict=True):
                q += 0.5 * (p.data - q)
                p.data[...] = q
        return loss

    for k in range(13):
        see(step(*batch(k)), model, slow, s)


@scenario
def average_of_weights_by_count(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    average = [p.data.copy() for p in model.parameters()]

    @C
    def step(x: Any, y: Any, n: int) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        for a, p in zip(average, model.parameters(), strict=True):
            a += (p.data - a) / (n + 1)
        return loss

    for k in range(12):
        see(step(*batch(k), k), average)
    for p, a in zip(model.parameters(), average, strict=True):
        p.data, a[...] = a.copy(), 0
    see(step(*batch(3), 2), average, model)


@scenario
def sharpness_aware(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        grads = [p.grad.data.copy() for p in model.parameters()]
        norm = np.sqrt(sum((g**2).sum() for g in grads))
        before = [p.data.copy() for p in model.parameters()]
        for p, g in zip(model.parameters(), grads, strict=True):
            p.data += 0.05 * g / (norm + 1e-12)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        for p, old in zip(model.parameters(), before, strict=True):
            p.data[...] = old
        optimizer.step()
        return loss, norm

    for k in range(8):
        see(step(*batch(k)), model)


@scenario
def reinforced_by_a_baseline(C: Any, see: Any) -> None:
    policy, s = mlp(), SimpleNamespace(baseline=np.float64(0.0))
    optimizer, rng = optim.Adam(policy.parameters(), lr=0.01), np.random.default_rng(0)

    @C
    def step(x: Any, reward: Any) -> Any:
        logits = policy(x)
        gumbel = -np.log(-np.log(rng.random(logits.shape)))
        action = (logits.data + gumbel).argmax(axis=1)
        gain = reward[np.arange(len(x)), action]
        chosen = F.log_softmax(logits, axis=1)[np.arange(len(x)), action]
        loss = -(chosen * (gain - s.baseline)).mean()
        s.baseline = 0.9 * s.baseline + 0.1 * gain.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, action

    for k in range(9):
        see(step(numbers(k, 5, 3), numbers(k + 70, 5, 4)), s, policy)


@scenario
def physics_informed(C: Any, see: Any) -> None:
    model = mlp(0, d=1, classes=1)
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    @C
    def step(x: Any) -> Any:
        u = lambda v: model(v).sum()
        v = mg.Tensor(x, requires_grad=True)
        slope = mg.grad(u)
        curvature = mg.grad(lambda v: slope(v).sum())(v)
        loss = ((curvature + model(v)) ** 2).mean() + (model(np.zeros((1, 1))) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for k in range(7):
        see(step(numbers(k, 5, 1)), model)


@scenario
def ties_and_kinks(C: Any, see: Any) -> None:
    w = mg.Tensor(np.zeros((3, 4)), requires_grad=True)

    @C
    def step(x: Any) -> Any:
        w.grad = None
        y = x @ w
        loss = (
            mg.relu(y).sum() + y.max(axis=1).sum() + mg.maximum(y, 0).sum() + mg.abs(y).sum() + mg.clip(y, 0, 1).sum()
        )
        loss.backward()
        w.data -= 0.1 * np.sign(w.grad.data)
        return loss, y.data.argmax(axis=1)

    for k in range(9):
        see(step(np.round(numbers(k, 5, 3))), w)


@scenario
def pooled_ties(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        t = mg.Tensor(x, requires_grad=True)
        loss = (mg.max_pool2d(t, 2) * np.arange(1.0, 5.0).reshape(1, 2, 2, 1)).sum()
        loss.backward()
        return loss, t.grad

    for k in range(8):
        see(step(np.round(numbers(k, 1, 4, 4, 1))))


@scenario
def loss_becomes_nan(C: Any, see: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 5, rng=0), nn.BatchNorm(5), nn.ReLU(), nn.Linear(5, 4, rng=1))
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for k in range(9):
        x, y = batch(k)
        x[0, 0] = np.nan if k == 6 else x[0, 0]
        see(step(x, y), model)


@scenario
def weights_explode(C: Any, see: Any) -> None:
    w = weight(3, 3)

    @C
    def step(x: Any) -> Any:
        w.grad = None
        loss = (mg.exp(x @ w) ** 2).sum()
        loss.backward()
        w.data -= 10.0 * w.grad.data
        return loss

    for k in range(9):
        see(step(numbers(k, 4, 3)), w)


@scenario
def learning_rates_of_layers(C: Any, see: Any) -> None:
    model = mlp()
    groups = [{"params": [p], "lr": 0.1 / (k + 1)} for k, p in enumerate(model.parameters())]
    optimizer = optim.SGD(groups, lr=0.1, momentum=0.5)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for k in range(12):
        for j, group in enumerate(optimizer.param_groups):
            group["lr"] *= 0.9 if j % 2 else 0.8
        see(step(*batch(k)), model)


@scenario
def gradients_written_by_hand(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    rng = np.random.default_rng(0)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        for p in model.parameters():
            p.grad.data += 0.01 * rng.normal(size=p.shape)
            p.grad.data[...] = np.clip(p.grad.data, -0.1, 0.1)
            p.grad = mg.Tensor(np.sign(p.grad.data) * np.sqrt(np.abs(p.grad.data)))
        optimizer.step()
        return loss

    for k in range(8):
        see(step(*batch(k)), model)


@scenario
def last_loss_kept_and_smoothed(C: Any, see: Any) -> None:
    model, s = mlp(), SimpleNamespace(log={}, smooth=mg.Tensor(0.0), kept=[])

    @C
    def step(x: Any, y: Any) -> Any:
        model.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        s.log["last"] = loss.detach()
        s.smooth = 0.9 * s.smooth + 0.1 * loss.detach()
        return loss

    for k in range(12):
        see(step(*batch(k)), s)
        s.kept.append(s.log["last"])
        if k == 6:
            s.smooth = mg.Tensor(np.float32(2.0))
