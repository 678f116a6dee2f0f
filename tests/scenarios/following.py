"""Steps of ordinary training and evaluation that take numbers out of arrays: all of them are compiled."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import batch, mlp, numbers
from scenarios.scenario import scenario


def trained(C: Any, see: Any, make: Any, calls: int = 8) -> None:
    """Call make(model, optimizer, base) on batches; base(x, y) is one step of training."""
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def base(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step = C(make(model, optimizer, base))
    for k in range(calls):
        see(step(*batch(k)))
    see(*model.parameters())


@scenario
def inside_no_grad(C: Any, see: Any) -> None:
    model = mlp()

    @C
    def evaluated(x: Any, y: Any) -> Any:
        with mg.no_grad():
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            correct = (logits.argmax(axis=1) == y).sum()
            return loss, correct.item()

    @C
    def act(x: Any) -> int:
        with mg.no_grad():
            return int(model(x[:1]).argmax())

    @C
    def scoped(x: Any, y: Any) -> Any:
        with mg.enable_grad(), mg.scope("loss"):
            loss = F.cross_entropy(model(x), y)
            value = loss.item()
        return value, x * value

    for k in range(8):
        x, y = batch(k)
        see(evaluated(x, y), act(x), scoped(x, y))


@scenario
def decorated_by_no_grad(C: Any, see: Any) -> None:
    model = mlp()

    @C
    @mg.no_grad()
    def evaluated(x: Any, y: Any) -> Any:
        logits = model(x)
        return F.cross_entropy(logits, y).item(), int((logits.argmax(axis=1) == y).sum())

    for k in range(8):
        see(evaluated(*batch(k)))


@scenario
def dictionaries_of_losses(C: Any, see: Any) -> None:
    def make(model: Any, optimizer: Any, base: Any) -> Any:
        def step(x: Any, y: Any) -> Any:
            total = base(x, y)
            losses = {"data": total, "size": (x**2).mean()}
            return {"total": total.item(), **{k: v.item() for k, v in losses.items()}}

        return step

    trained(C, see, make)


@scenario
def loops_over_names(C: Any, see: Any) -> None:
    def make(model: Any, optimizer: Any, base: Any) -> Any:
        def step(x: Any, y: Any) -> Any:
            base(x, y)
            out, norms, squares = {}, {}, []
            for n, v in zip(("a", "b"), (x.mean(), x.max()), strict=True):
                out[n] = v.item()
            for n, p in model.named_parameters():
                norms[n] = np.sqrt((p.grad * p.grad).sum()).item()
            for k, p in enumerate(model.parameters()):
                squares.append(k * float((p.grad**2).sum()))
            return out, norms, squares, {n: float(mg.linalg.vector_norm(p.grad)) for n, p in model.named_parameters()}

        return step

    trained(C, see, make)


@scenario
def a_loss_before_the_optimizer(C: Any, see: Any) -> None:
    losses: list[float] = []

    def make(model: Any, optimizer: Any, base: Any) -> Any:
        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            losses.append(loss.item())
            loss.backward()
            optimizer.step()
            return F.cross_entropy(model(x), y).item() * 2

        return step

    trained(C, see, make)
    see(losses)


@scenario
def rates_after_a_loss(C: Any, see: Any) -> None:
    def make(model: Any, optimizer: Any, base: Any) -> Any:
        def step(x: Any, y: Any) -> Any:
            loss = base(x, y)
            value = loss.item()
            optimizer.param_groups[0]["lr"] *= 0.9
            return {"loss": value, "lr": optimizer.param_groups[0]["lr"]}

        return step

    trained(C, see, make, 14)


@scenario
def rounded_and_asked(C: Any, see: Any) -> None:
    def make(model: Any, optimizer: Any, base: Any) -> Any:
        def step(x: Any, y: Any) -> Any:
            loss: float = base(x, y).item()
            if math.isnan(loss) or not np.isfinite(loss):
                raise ValueError("the loss is not finite")
            if loss > 1e6:
                raise ValueError("the loss is too large")
            norm = math.sqrt(sum(float((p.grad**2).sum()) for p in model.parameters()))
            return round(loss, 4), round(loss), norm, round(norm * 10), loss**0.5, np.isfinite(loss)

        return step

    trained(C, see, make)


def accuracy(logits: Any, y: Any) -> float:
    """The share of correct predictions."""
    return float((logits.argmax(axis=1) == y).mean())


def norm_of(parameters: Any) -> float:
    """The norm of all gradients."""
    total = 0.0
    for p in parameters:
        total += (p.grad**2).sum().item()
    return total**0.5


class Meter:
    """A running mean."""

    def __init__(self) -> None:
        self.sum, self.count, self.avg = 0.0, 0, 0.0

    def update(self, v: float, n: int = 1) -> None:
        """Add n observations of mean v."""
        self.sum += v * n
        self.count += n
        self.avg = self.sum / self.count


@scenario
def helpers_that_return_numbers(C: Any, see: Any) -> None:
    def make(model: Any, optimizer: Any, base: Any) -> Any:
        def step(x: Any, y: Any) -> Any:
            loss = base(x, y)
            return loss.item(), accuracy(model(x), y), norm_of(model.parameters())

        return step

    trained(C, see, make)


@scenario
def meters(C: Any, see: Any) -> None:
    losses, right = Meter(), Meter()

    def make(model: Any, optimizer: Any, base: Any) -> Any:
        def step(x: Any, y: Any) -> Any:
            losses.update(base(x, y).item(), len(x))
            right.update(accuracy(model(x), y), n=len(x))
            return {"loss": losses.avg, "accuracy": right.avg}

        return step

    trained(C, see, make)
    see(losses, right)


@scenario
def a_trainer(C: Any, see: Any) -> None:
    class Trainer:
        def __init__(self) -> None:
            self.model = mlp()
            self.optimizer = optim.SGD(self.model.parameters(), lr=0.1)
            self.meter, self.history, self.best = Meter(), defaultdict(list), float("inf")
            self.window: deque[float] = deque(maxlen=3)

        def note(self, **values: float) -> None:
            for name, value in values.items():
                self.history[name].append(value)

        def step(self, x: Any, y: Any) -> Any:
            self.optimizer.zero_grad()
            logits = self.model(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            self.optimizer.step()
            value = loss.item()
            self.meter.update(value, len(x))
            self.note(loss=value, right=accuracy(logits, y))
            self.window.append(value)
            self.best = min(self.best, value)
            return self.meter.avg

    trainer = Trainer()
    step = C(trainer.step)
    for k in range(10):
        see(step(*batch(k)), trainer.history, trainer.best, trainer.window)


@scenario
def a_model_of_the_users(C: Any, see: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.first, self.second = nn.Linear(3, 5, rng=0), nn.Linear(5, 4, rng=1)

        def forward(self, x: Any) -> Any:
            hidden = F.relu(self.first(x))
            return self.second(hidden) / math.sqrt(hidden.shape[-1])

    model = Net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @C
    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(model(x), y)
        before = loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return before, F.cross_entropy(model(x), y).item()

    for k in range(8):
        see(step(*batch(k)))


@scenario
def inside_try(C: Any, see: Any) -> None:
    def make(model: Any, optimizer: Any, base: Any) -> Any:
        def step(x: Any, y: Any) -> Any:
            try:
                loss = base(x, y)
                return loss.item()
            except FloatingPointError:
                return 0.0

        return step

    trained(C, see, make)


@scenario
def early_stopping(C: Any, see: Any) -> None:
    state = {"best": np.inf, "bad": 0}

    def make(model: Any, optimizer: Any, base: Any) -> Any:
        def step(x: Any, y: Any) -> Any:
            v = base(x, y).item()
            if v < state["best"] - 1e-4:
                state["best"] = v
                state["bad"] = 0
            else:
                state["bad"] += 1
            return v, state["bad"] > 5

        return step

    trained(C, see, make)
    see(state)


@scenario
def an_epoch_in_one_step(C: Any, see: Any) -> None:
    def make(model: Any, optimizer: Any, base: Any) -> Any:
        def epoch(x: Any, y: Any) -> Any:
            total = 0.0
            for i in range(0, len(x), 2):
                total += base(x[i : i + 2], y[i : i + 2]).item() * len(x[i : i + 2])
            return total / len(x)

        return epoch

    trained(C, see, make)


@scenario
def beside_a_dataclass(C: Any, see: Any) -> None:
    @dataclass
    class Options:
        rate: float = 0.1
        name: str = "sgd"

    options = Options()

    def make(model: Any, optimizer: Any, base: Any) -> Any:
        return lambda x, y: {options.name: base(x, y).item() * options.rate}

    trained(C, see, make)


@scenario
def a_number_scales_what_is_computed(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        largest = np.abs(x).max().item()
        y = x / largest
        return y.sum(), F.softmax(y, axis=-1), np.maximum(y, largest), mg.where(y > largest, y, 0.0)

    for k in range(8):
        see(step(numbers(k, 3, 4)))


@scenario
def a_target_is_loaded(C: Any, see: Any) -> None:
    model, target, average = mlp(), mlp(), mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) + ((model(x) - target(x).detach()) ** 2).mean()
        loss.backward()
        optimizer.step()
        target.load_state_dict(model.state_dict())
        average.load_state_dict({k: 0.9 * v + 0.1 * model.state_dict()[k] for k, v in average.state_dict().items()})
        return loss.item()

    for k in range(8):
        see(step(*batch(k)), model, target, average)


@scenario
def the_best_weights_are_kept(C: Any, see: Any) -> None:
    best: dict[str, Any] = {"w": None, "loss": np.inf}
    s = SimpleNamespace(last=None, rows=None, pair=None)

    def make(model: Any, optimizer: Any, base: Any) -> Any:
        def step(x: Any, y: Any) -> Any:
            loss = base(x, y).item()
            if loss < best["loss"]:
                best["loss"] = loss
                best["w"] = {k: p.copy() for k, p in model.state_dict().items()}
            s.last = {k: v.copy() for k, v in model.state_dict().items()}
            s.rows = [x * 2, loss]
            s.pair = (x.sum(), y)
            return loss

        return step

    trained(C, see, make, 12)
    see(best, s)


@scenario
def a_function_is_called_items(C: Any, see: Any) -> None:
    """It is no method of a dictionary."""
    makers = [lambda: [(1.0, 2.0)], lambda: [(3.0, 4.0)]]

    @C
    def step(x: Any, k: int) -> Any:
        items = makers[k]
        largest, total = x.max().item(), x * 0
        for p, q in items():
            total = total + p * largest + q * x
        return total

    for k in range(8):
        see(step(numbers(k, 3, 4), k % 2))
