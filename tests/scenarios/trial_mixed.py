"""What the other trials leave out: arrays made in a step and kept, numbers of every kind in places, rules, scopes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import batch, mlp, numbers, weight
from scenarios.scenario import scenario


class Memory(NamedTuple):
    h: Any
    c: Any
    n: int


@scenario
def named_tuple_of_arrays_carried(C: Any, see: Any) -> None:
    s = SimpleNamespace(m=Memory(np.zeros(3), mg.zeros(3), 0))

    @C
    def step(x: Any) -> Any:
        h, c, n = s.m
        h = np.tanh(h + x)
        s.m = Memory(h, mg.asarray(c * 0.9 + h), n + 1)
        return h * n

    for k in range(9):
        see(step(numbers(k, 3)), s)


@scenario
def list_of_hidden_states(C: Any, see: Any) -> None:
    states = [np.zeros(3), np.zeros(2)]
    a, b = numbers(1, 3, 3), numbers(2, 3, 2)

    @C
    def step(x: Any) -> Any:
        states[0] = np.tanh(states[0] @ a + x)
        states[1] = np.tanh(states[0] @ b)
        return states[1].sum()

    for k in range(8):
        if k == 5:
            states[:] = [np.zeros(3), np.zeros(2)]
        see(step(numbers(k, 3)), states)


@scenario
def hidden_state_in_a_nested_tuple(C: Any, see: Any) -> None:
    s = {"h": ((np.zeros(2), np.zeros(2)), np.zeros(2))}

    @C
    def step(x: Any) -> Any:
        (a, b), c = s["h"]
        s["h"] = ((a + x, b * 0.5 + a), c + b)
        return a + b + c

    for k in range(8):
        see(step(numbers(k, 2)), s)


@scenario
def numpy_scalars_in_places(C: Any, see: Any) -> None:
    s = SimpleNamespace(lr=np.float32(0.1), n=np.int64(0), best=np.float64(np.inf))

    @C
    def step(x: Any) -> Any:
        s.n = s.n + 1
        s.best = np.minimum(s.best, (x**2).sum())
        return x * s.lr, s.best

    for k in range(11):
        s.lr = np.float32(0.1 / (k + 1))
        see(step(numbers(k, 2)), s)


@scenario
def numpy_scalar_decides(C: Any, see: Any) -> None:
    s = SimpleNamespace(lr=np.float64(0.1))

    @C
    def step(x: Any) -> Any:
        return x * s.lr if s.lr > 0.05 else x * 0

    for k in range(11):
        s.lr = np.float64(0.1 - 0.01 * k)
        see(step(numbers(k, 2)))


@scenario
def numpy_scalar_as_a_rate(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.1)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for k in range(14):
        optimizer.param_groups[0]["lr"] = np.float64(0.1) * np.cos(k / 10)
        see(step(*batch(k)), model)


@scenario
def numpy_scalar_argument_changes(C: Any, see: Any) -> None:
    step = C(lambda x, a: (x * a, a + 1, x.astype(np.float32) * a))
    for k in range(10):
        see(step(numbers(k, 2), [np.float64, np.float32, np.float64, np.float64][k % 4](0.1 * k)))


@scenario
def integer_scalar_arguments(C: Any, see: Any) -> None:
    step = C(lambda x, n: (x * n, x[n % 3], x[: n % 2 + 1]))
    for k in range(7):
        see(step(numbers(k, 3), np.int64(k % 3)))


@scenario
def buffer_filled_in_a_loop(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        out = np.zeros_like(x)
        for t in range(len(x)):
            out[t] = 0.5 * out[t - 1] + x[t]
        return out

    for k in range(6):
        see(step(numbers(k, 5)))


@scenario
def buffer_of_its_own_shape(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        out = np.zeros((len(x), 2))
        for t in range(len(x)):
            out[t, 0], out[t, 1] = x[t], x[t] ** 2
        return out

    for k in range(6):
        see(step(numbers(k, 4)))


@scenario
def one_hot_by_hand(C: Any, see: Any) -> None:
    model = mlp()

    @C
    def step(x: Any, y: Any) -> Any:
        model.zero_grad()
        hot = np.zeros((len(y), 4))
        hot[np.arange(len(y)), y] = 1
        loss = -(F.log_softmax(model(x), axis=1) * hot).sum(axis=1).mean()
        loss.backward()
        return loss

    for k in range(7):
        see(step(*batch(k)), model)


@scenario
def confusion_counted(C: Any, see: Any) -> None:
    counts = np.zeros((4, 4), int)

    @C
    def step(x: Any, y: Any) -> Any:
        np.add.at(counts, (y, x.argmax(axis=1)), 1)
        return np.trace(counts) / counts.sum()

    for k in range(8):
        see(step(numbers(k, 6, 4), batch(k, 6)[1]), counts)


@scenario
def custom_rule(C: Any, see: Any) -> None:
    clipped = mg.custom(lambda x: np.clip(x, -1, 1), lambda v: v, name="clipped")
    w = weight(3)

    @C
    def step(x: Any) -> Any:
        w.grad = None
        clipped(w * x).sum().backward()
        return w.grad

    for k in range(6):
        see.attempt(step, numbers(k, 3))


@scenario
def straight_through(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any) -> Any:
        w.grad = None
        y = w * x
        hard = y + (np.sign(y.data) - y).detach()
        (hard * np.arange(3.0)).sum().backward()
        return hard

    for k in range(7):
        see(step(numbers(k, 3)), w)


@scenario
def magic_box_of_infinite_numbers(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any) -> Any:
        w.grad = None
        logp = mg.log(mg.abs(w * x))
        y = mg.exp(logp - logp.detach()) * np.arange(3.0)
        y.sum().backward()
        return y

    for k in range(8):
        x = numbers(k, 3)
        x[1] = 0 if k > 3 else x[1]
        see(step(x), w)


@scenario
def normalizer_of_inputs(C: Any, see: Any) -> None:
    s = SimpleNamespace(n=0, mean=np.zeros(3), m2=np.zeros(3))

    @C
    def step(x: Any) -> Any:
        for row in x:
            s.n += 1
            delta = row - s.mean
            s.mean = s.mean + delta / s.n
            s.m2 += delta * (row - s.mean)
        return (x - s.mean) / np.sqrt(s.m2 / s.n + 1e-8)

    for k in range(8):
        see(step(numbers(k, 3, 3)), s)


@scenario
def replay_buffer_inside(C: Any, see: Any) -> None:
    s = SimpleNamespace(data=np.zeros((8, 3)), at=0, full=0)
    rng = np.random.default_rng(0)

    @C
    def step(x: Any) -> Any:
        s.data[s.at] = x
        s.at = (s.at + 1) % 8
        s.full = min(s.full + 1, 8)
        return s.data[rng.integers(0, s.full, 4)].mean(axis=0)

    for k in range(12):
        see(step(numbers(k, 3)), s)


@scenario
def scheduled_sampling(C: Any, see: Any) -> None:
    cell, head = nn.GRUCell(2, 3, rng=0), nn.Linear(3, 2, rng=1)
    rng, s = np.random.default_rng(0), SimpleNamespace(p=1.0)

    @C
    def step(x: Any) -> Any:
        h, y, loss = mg.zeros((1, 3)), x[0], 0
        for t in range(1, len(x)):
            h = cell(y, h)
            guess = head(h)
            loss = loss + ((guess - x[t]) ** 2).mean()
            y = mg.where(rng.random((1, 1)) < s.p, x[t], guess)
        cell.zero_grad()
        loss.backward()
        return loss

    for k in range(8):
        s.p *= 0.8
        see(step(numbers(k, 4, 1, 2)), cell)


@scenario
def several_devices_of_noise(C: Any, see: Any) -> None:
    w = mg.Tensor(np.zeros(4, np.float32), requires_grad=True)
    rng = np.random.default_rng(0)

    @C
    def step(x: Any) -> Any:
        w.grad = None
        scale = rng.random()
        y = w * np.float32(2) + x * scale + rng.standard_normal(4, dtype=np.float32)
        (y**2).sum().backward()
        w.data -= np.float32(0.1) * w.grad.data * rng.uniform()
        return y, scale, w.grad

    for k in range(8):
        see(step(numbers(k, 4).astype(np.float32)), w)


@scenario
def evolution_strategy(C: Any, see: Any) -> None:
    theta, rng = np.zeros(3), np.random.default_rng(0)

    @C
    def step(target: Any) -> Any:
        noise = rng.normal(size=(6, 3))
        scores = -((theta + 0.1 * noise - target) ** 2).sum(axis=1)
        ranks = np.argsort(np.argsort(scores)) / 5 - 0.5
        theta[...] += 0.1 * ranks @ noise
        return scores.max()

    for _ in range(8):
        see(step(numbers(3, 3)), theta)


@scenario
def k_means(C: Any, see: Any) -> None:
    centers = numbers(5, 3, 2)

    @C
    def step(x: Any) -> Any:
        nearest = ((x[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
        hot = nearest[:, None] == np.arange(3)
        counts = np.maximum(hot.sum(axis=0), 1)
        centers[...] = np.where(hot.any(axis=0)[:, None], hot.T.astype(float) @ x / counts[:, None], centers)
        return nearest

    for k in range(7):
        see(step(numbers(k, 9, 2)), centers)


@scenario
def kalman_filter(C: Any, see: Any) -> None:
    s = SimpleNamespace(x=np.zeros(2), P=np.eye(2))
    A, H = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0]])

    @C
    def step(z: Any) -> Any:
        s.x, s.P = A @ s.x, A @ s.P @ A.T + 0.1 * np.eye(2)
        K = s.P @ H.T @ np.linalg.inv(H @ s.P @ H.T + 1.0)
        s.x = s.x + K @ (z - H @ s.x)
        s.P = (np.eye(2) - K @ H) @ s.P
        return s.x

    for k in range(8):
        see(step(numbers(k, 1)), s)


@scenario
def conjugate_gradients(C: Any, see: Any) -> None:
    @C
    def step(a: Any, b: Any) -> Any:
        x = np.zeros_like(b)
        r = b - a @ x
        p = r.copy()
        for _ in range(3):
            alpha = (r @ r) / (p @ a @ p)
            x += alpha * p
            new = r - alpha * (a @ p)
            p = new + (new @ new) / (r @ r) * p
            r = new
        return x, np.linalg.norm(r) < 1e-8

    for k in range(6):
        m = numbers(k, 3, 3)
        see(step(m @ m.T + np.eye(3), numbers(k + 5, 3)))
