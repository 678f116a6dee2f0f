"""What users of minigrad write, as type checkers see it: mypy --strict and pyright accept it, and see these types.

At the end stand mistakes, which they refuse. .ci/run checks this file with both. Nothing here is run. `assert_type`
fails in a type checker if it infers another type.
"""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import minigrad as mg
from minigrad import Tensor, functional, nn, optim
from minigrad.data import DataLoader
from minigrad.typing import Array
from minigrad.verify import check_gradients

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


# A network: calls of modules have the signature of forward.


class Net(nn.Module):
    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Dropout(0.1))
        self.norm = nn.BatchNorm(hidden)
        self.head = nn.Linear(hidden, 3)
        self.scale = Tensor(np.ones(3), requires_grad=True)

    def forward(self, x: Tensor | Floats, *, scaled: bool = True) -> Tensor:
        h = self.norm(self.body(x))
        assert_type(h, Tensor)
        out = self.head(h)
        return out * self.scale if scaled else out


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm(4), nn.ReLU(), nn.MaxPool2d(2))
        self.lstm = nn.LSTM(4, 8)
        self.attention = nn.MultiheadAttention(8, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, (h, c) = self.lstm(self.body(x))
        return functional.softmax(y), h + c


x, y = np.zeros((10, 2)), np.zeros(10, np.int64)
net = Net()
assert_type(net(x), Tensor)
assert_type(net(x, scaled=False).sum(), Tensor)
assert_type(Recurrent()(Tensor(x)), tuple[Tensor, Tensor])
for module in net.modules():
    module.train()
for name, p in net.named_parameters():
    print(name.upper(), p.shape, p.grad)
state: dict[str, Any] = net.state_dict()
net.load_state_dict(state)


# Training, eager and compiled: a compiled step has the signature of the function.

optimizer = optim.Adam(net.parameters(), lr=1e-3)
schedule = optim.StepLR(optimizer, step_size=10)


@mg.compile
def step(x: Floats, y: Integers) -> Tensor:
    optimizer.zero_grad()
    loss = functional.cross_entropy(net(x), y)
    assert_type(loss, Tensor)
    loss.backward()
    optim.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return loss


for inputs, labels in DataLoader(x, y, batch_size=2):
    assert_type(step(inputs, labels), Tensor)
    print(step(inputs, labels).item(), step.explain())


class Trainer:
    def __init__(self) -> None:
        self.net = Net()

    @mg.compile(fallback="raise")
    def step(self, x: Floats) -> Tensor:
        return self.net(x).sum()


assert_type(Trainer().step(x), Tensor)
history = mg.fit(net, DataLoader(x, y, batch_size=5), nn.CrossEntropyLoss(), optimizer, epochs=2, validation=(x, y))
assert_type(nn.CrossEntropyLoss()(net(x), y), Tensor)
loss: Tensor = nn.MSELoss()(net(Tensor([1.0])), Tensor([0.0]))
settled = mg.compile(net, state=[net], limit=3, backend="numpy", fallback="warn", audit=False, verify=True)
assert_type(settled(x, scaled=False), Tensor)


# Gradients: a transform keeps the parameters of its function, and a gradient has the type of the argument.


def squared_error(w: Tensor, b: Tensor, *, scale: float = 1.0) -> Tensor:
    return scale * ((x @ w + b) ** 2).mean()


w, b = Tensor(np.zeros((2, 1)), requires_grad=True), mg.zeros((1,), requires_grad=True)
assert_type(mg.grad(squared_error)(w, b, scale=2.0), Tensor)
assert_type(mg.value_and_grad(squared_error)(w, b), tuple[Tensor, Tensor])
value, gradients = mg.value_and_grad(squared_error, argnums=(0, 1))(w, b)
assert_type(value, Tensor)
primal, tangent = mg.jvp(squared_error, (w, b), (w, b))
assert_type(tangent, Tensor)
out, pullback = mg.vjp(squared_error, w, b)
pullback(out)
jacobian = mg.jacobian(squared_error)(w, b)
squared_error(w, b).backward()
print(w.grad.numpy() * 0.1, w.grad.shape)  # what may be None is Tensor | Any, as in the standard library
w.grad = None
with mg.no_grad():
    w -= 0.1 * w
hook = w.register_hook(lambda g: g * 2)
hook.remove()


# Arithmetic: also of an array and a Tensor.

assert_type(w * 2 + 1, Tensor)
assert_type(2 / w, Tensor)
assert_type(x @ w, Tensor)
assert_type(x.T @ (x @ w), Tensor)
assert_type(w @ w.T, Tensor)
assert_type(w[0], Tensor)
assert_type(w > 0, Tensor)
assert_type(mg.exp(w), Tensor)
assert_type(mg.sum(w, axis=0), Tensor)
assert_type(w.sum(axis=0), Tensor)
assert_type(w.shape, tuple[int, ...])
assert_type(functional.softmax(w), Tensor)
assert_type(functional.mse_loss(w, b), Tensor)
total: Tensor = np.sum(w) * 0.5
for together in (np.concatenate([w, w]), np.stack([w, w]), np.pad(w, 1), np.reshape(w, -1), np.exp(w)):
    print(together * 2 - 1, together.sum(), w * together)
padded = sum(np.pad(part, 1) for part in (w, w))


# Code for arrays, Tensors and tracer arrays alike.


def normalized(x: Array, eps: float = 1e-5) -> Array:
    centered = x - x.mean(axis=0)
    return centered / mg.sqrt((centered**2).mean(axis=0) + eps)


normalized(x)
normalized(w)


# Tools.

report = check_gradients(squared_error, w, b)
print(report.ok)
mg.draw(squared_error(w, b), depth=1).save("loss.svg")


# Mistakes. A comment that silences nothing is itself an error for both.

net(3)  # type: ignore[arg-type]  # the forward of a Net takes no integer
net(x, scale=True)  # type: ignore[call-arg]  # its option has another name
step(x)  # type: ignore[call-arg]  # a compiled step has the parameters of its function
mg.grad(squared_error)(w, b, scale="1")  # type: ignore[arg-type]  # and so has a gradient
mg.compile(net, limit="3")  # type: ignore[call-overload]  # an option of another type
mg.compile(net, fall_back="raise")  # type: ignore[call-overload]  # an option that is none
optim.Adam(net.parameters(), clip=1.0)  # type: ignore[call-arg]  # likewise, of an optimizer
