"""What users of minigrad write, as type checkers see it: nothing here is run."""

from __future__ import annotations

from typing import Any, reveal_type

import numpy as np
from numpy.typing import NDArray

import minigrad as mg
from minigrad import Tensor, functional, nn, optim
from minigrad.data import DataLoader
from minigrad.verify import check_gradients

Floats = NDArray[np.float64]


class Net(nn.Module):
    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Dropout(0.1))
        self.norm = nn.BatchNorm(hidden)
        self.head = nn.Linear(hidden, 3)
        self.scale = nn.Parameter(np.ones(3))

    def forward(self, x: Tensor | Floats) -> Tensor:
        h = self.norm(self.body(x))
        reveal_type(h)
        return self.head(h) * self.scale


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 8)
        self.cell = nn.LSTMCell(4, 8)
        self.attention = nn.MultiheadAttention(8, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, (h, c) = self.lstm(x)
        reveal_type(y)
        h, c = self.cell(x[:, 0])
        return self.attention(y), h + c


x, y = np.zeros((10, 2)), np.zeros(10, int)
net = Net()
optimizer = optim.Adam(net.parameters(), lr=1e-3)
schedule = optim.schedules.Cosine(optimizer, 100) if hasattr(optim, "schedules") else None


@mg.compile
def step(x: Floats, y: NDArray[np.int64]) -> Tensor:
    optimizer.zero_grad()
    loss = functional.cross_entropy(net(x), y)
    reveal_type(loss)
    loss.backward()
    optim.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return loss


for bx, by in DataLoader((x, y), batch_size=2):
    reveal_type(step(bx, by))
    print(step(bx, by).item())

reveal_type(net(x))
reveal_type(net(x).item())
reveal_type(step)


def loss(w: Tensor, b: Tensor) -> Tensor:
    return ((x @ w + b) ** 2).mean()


w, b = mg.Tensor(np.zeros((2, 1)), requires_grad=True), mg.zeros((1,), requires_grad=True)
reveal_type(b)
reveal_type(mg.grad(loss))
reveal_type(mg.grad(loss)(w, b))
value, gradients = mg.value_and_grad(loss, argnums=(0, 1))(w, b)
reveal_type(value)
gradient = mg.grad(loss)(w, b)
reveal_type(w * 2 + 1)
reveal_type(2 / w)
reveal_type(x @ w)
reveal_type(w @ w.T)
reveal_type(np.exp(w))
reveal_type(mg.exp(w))
reveal_type(mg.sum(w, axis=0))
reveal_type(w.sum(axis=0))
reveal_type(w[0])
reveal_type(w.shape)
reveal_type(w.dtype)
reveal_type(w.numpy())
reveal_type(w.grad)
loss(w, b).backward()
print(w.grad.numpy())
w.grad = None
with mg.no_grad():
    w -= 0.1 * gradient
reveal_type(functional.softmax(w))
reveal_type(functional.mse_loss(w, b))
reveal_type(nn.CrossEntropyLoss()(w, y))
reveal_type(check_gradients(loss, w, b))
reveal_type(mg.draw(loss(w, b)))
picture = mg.draw(loss(w, b), depth=1)
history = mg.fit(net, optimizer, nn.CrossEntropyLoss(), (x, y), epochs=2)
reveal_type(history)
state: dict[str, Any] = net.state_dict()
net.load_state_dict(state)
for name, p in net.named_parameters():
    print(name, p.shape, p.grad)
primal, tangent = mg.jvp(loss, (w, b), (w, b))
out, pullback = mg.vjp(loss, w, b)
jacobian = mg.jacobian(loss)(w, b)
hook = w.register_hook(lambda g: g * 2)
hook.remove()


class Trainer:
    def __init__(self) -> None:
        self.net = Net()

    @mg.compile(fallback="raise")
    def step(self, x: Floats) -> Tensor:
        return self.net(x).sum()


reveal_type(Trainer().step(x))
evaluate = mg.compile(net)
reveal_type(evaluate)
