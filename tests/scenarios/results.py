"""What a step leaves behind besides what it returns: attributes, dicts, lists, counters, histories."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import batch, mlp, numbers, trainer, weight
from scenarios.scenario import scenario

COUNT = 0


def watch(C: Any, see: Any, state: Any, function: Any, calls: int = 7) -> None:
    """Look at the state after every call."""
    step = C(function)
    for k in range(calls):
        see(step(mg.asarray(numbers(k, 3))), state)


@scenario
def last_loss_in_a_dict(C: Any, see: Any) -> None:
    s = {"last": None}
    watch(C, see, s, lambda x: s.update(last=x.sum()))


@scenario
def new_keys(C: Any, see: Any) -> None:
    s: dict[str, Any] = {}

    def step(x: Any) -> None:
        s["sum"] = x.sum()
        s.setdefault("first", x * 2)

    watch(C, see, s, step)


@scenario
def key_deleted_outside(C: Any, see: Any) -> None:
    s: dict[str, Any] = {}
    step = C(lambda x: s.update(out=x * 2))
    for k in range(7):
        if k == 4:
            del s["out"]
        see(step(numbers(k, 3)), s)


@scenario
def key_deleted_inside(C: Any, see: Any) -> None:
    s: dict[str, Any] = {}

    @C
    def step(x: Any) -> Any:
        s["temporary"] = x * 2
        y = s.pop("temporary") + 1
        s.pop("given", None)
        return y

    for k in range(7):
        if k % 3 == 1:
            s["given"] = k
        see(step(numbers(k, 3)), s)


@scenario
def new_attribute(C: Any, see: Any) -> None:
    s = SimpleNamespace()
    watch(C, see, s, lambda x: setattr(s, "output", x * x))


@scenario
def activations_kept_by_a_module(C: Any, see: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(3, 2, rng=0)
            self.features = None

        def forward(self, x: Any) -> Any:
            self.features = mg.tanh(self.layer(x))
            return self.features.sum()

    model = Net()
    predict = C(model)
    for k in range(7):
        see(predict(numbers(k, 4 + k // 4, 3)), model)


@scenario
def activations_kept_by_a_hook(C: Any, see: Any) -> None:
    model, kept = mlp(), {}
    for name, layer in model.named_children():
        layer.register_forward_hook(lambda module, inputs, y, name=name: kept.update({name: y}))
    predict = C(lambda x: model(x).sum())
    for k in range(7):
        see(predict(batch(k)[0]), kept)


@scenario
def appended(C: Any, see: Any) -> None:
    s: list[Any] = []
    watch(C, see, s, lambda x: s.append(x.sum()))


@scenario
def appended_python_numbers(C: Any, see: Any) -> None:
    s: list[Any] = []
    watch(C, see, s, lambda x: s.append(x.shape[0]))


@scenario
def bounded_deque(C: Any, see: Any) -> None:
    s: deque[Any] = deque(maxlen=3)

    def step(x: Any) -> Any:
        s.append(x.sum())
        return sum(s) / len(s)

    watch(C, see, s, step)


@scenario
def list_item(C: Any, see: Any) -> None:
    s: list[Any] = [0.0, None]

    def step(x: Any) -> None:
        s[0], s[1] = x.sum(), s[0]

    watch(C, see, s, step)


@scenario
def popped(C: Any, see: Any) -> None:
    s = [np.full(3, float(k)) for k in range(8)]
    watch(C, see, s, lambda x: x * s.pop(), 6)


@scenario
def nonlocal_result(C: Any, see: Any) -> None:
    last = best = None

    @C
    def step(x: Any) -> None:
        nonlocal last, best
        last = mg.asarray(x).sum()
        best = last if best is None else mg.maximum(best, last)

    for k in range(7):
        see(step(numbers(k, 3)), last, best)


@scenario
def counter_in_an_attribute(C: Any, see: Any) -> None:
    s = SimpleNamespace(n=0)

    def step(x: Any) -> Any:
        s.n += 1
        return x * s.n

    watch(C, see, s, step)


@scenario
def float_counter_in_a_dict(C: Any, see: Any) -> None:
    s = {"n": 0.0}

    def step(x: Any) -> Any:
        s["n"] += 0.5
        return x / s["n"]

    watch(C, see, s, step)


@scenario
def counter_in_a_list(C: Any, see: Any) -> None:
    s = [0]

    def step(x: Any) -> Any:
        s[0] += 1
        return x

    watch(C, see, s, step)


@scenario
def counter_in_a_global(C: Any, see: Any) -> None:
    global COUNT
    COUNT = 0

    @C
    def step(x: Any) -> Any:
        global COUNT
        COUNT += 1
        return x * 2

    for k in range(7):
        see(step(numbers(k, 3)), COUNT)


@scenario
def counter_that_is_never_read(C: Any, see: Any) -> None:
    s, w = SimpleNamespace(steps=0), weight(3)
    optimizer = optim.SGD([w], lr=0.1)

    @C
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        optimizer.step()
        s.steps += 1
        return loss

    for k in range(8):
        if k == 4:
            s.steps = 100
        see(step(numbers(k, 3)), w, s)


@scenario
def counter_class(C: Any, see: Any) -> None:
    s: Counter[str] = Counter()
    watch(C, see, s, lambda x: s.update(["calls", "calls"]))


@scenario
def array_counter(C: Any, see: Any) -> None:
    s = SimpleNamespace(n=np.zeros((), np.int64), t=np.zeros(()))

    def step(x: Any) -> Any:
        s.n += 1
        s.t = s.t + 0.5
        return x * s.n * s.t

    watch(C, see, s, step)


@scenario
def history_outside(C: Any, see: Any) -> None:
    model, history = mlp(), {"loss": []}
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    step = C(trainer(model, optimizer))
    for k in range(8):
        history["loss"].append(step(*batch(k)))
        if k > 4:
            history["loss"].pop(0)
        see(history, model)


@scenario
def trainer_class(C: Any, see: Any) -> None:
    class Trainer:
        def __init__(self) -> None:
            self.model = mlp()
            self.optimizer = optim.Adam(self.model.parameters(), lr=0.05)
            self.schedule = optim.ExponentialLR(self.optimizer, 0.9)
            self.epoch, self.history = 0, []
            self.step = C(self._step)

        def _step(self, x: Any, y: Any) -> Any:
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            return loss

        def fit(self) -> None:
            for k in range(3):
                self.history.append(float(self.step(*batch(3 * self.epoch + k)).item()))
            self.epoch += 1
            self.schedule.step()

    trainer = Trainer()
    for _ in range(4):
        trainer.fit()
        see(trainer)


@scenario(functions=1)
def trainer_class_with_a_decorated_step(C: Any, see: Any) -> None:
    class Trainer:
        def __init__(self) -> None:
            self.model, self.epoch = mlp(), 0
            self.optimizer = optim.SGD(self.model.parameters(), lr=0.1)

        @C
        def step(self, x: Any, y: Any) -> Any:
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(x), y) * (1 + self.epoch // 3)
            loss.backward()
            self.optimizer.step()
            return loss

    trainer = Trainer()
    for k in range(9):
        see(trainer.step(*batch(k, n=4 if k % 3 == 2 else 6)), trainer.model, trainer.epoch)
        trainer.epoch += 1


@scenario
def trainer_that_counts_inside(C: Any, see: Any) -> None:
    class Trainer:
        def __init__(self) -> None:
            self.w, self.step_count, self.lr = weight(3), 0, 0.1
            self.step = C(self._step)

        def _step(self, x: Any) -> Any:
            self.w.grad = None
            loss = (self.w * x).sum()
            loss.backward()
            self.step_count += 1
            self.lr = 0.1 / self.step_count
            self.w.data = self.w.data - self.lr * self.w.grad.data
            return loss

    trainer = Trainer()
    for k in range(8):
        see(trainer.step(numbers(k, 3)), trainer)


@scenario
def dict_of_metrics_returned(C: Any, see: Any) -> None:
    model = mlp()

    @C
    def evaluate(x: Any, y: Any) -> Any:
        out = model(x)
        return {
            "loss": F.cross_entropy(out, y),
            "n": len(x),
            "name": "test",
            "hits": (mg.argmax(out, axis=1) == y).sum(),
        }

    for k in range(7):
        see(evaluate(*batch(k, n=5 if k != 4 else 2)))


@scenario
def same_list_returned(C: Any, see: Any) -> None:
    out: list[Any] = [None]

    @C
    def step(x: Any) -> Any:
        out[0] = x * 2
        return out

    for k in range(6):
        result = step(numbers(k, 3))
        see(result, result is out)


@scenario
def same_object_returned_twice(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        y = x * 2
        return y, y, [y]

    for k in range(6):
        a, b, c = step(numbers(k, 3))
        a += 1
        see(a, b, c, a is b)


@scenario
def argument_returned(C: Any, see: Any) -> None:
    step = C(lambda x: x)
    for k in range(6):
        x = numbers(k, 3)
        see(step(x), step(x) is x)


@scenario
def parameter_returned(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any) -> Any:
        w.data += x
        return w, w.data

    for k in range(6):
        t, a = step(numbers(k, 3))
        see(t is w, a is w.data, t)


@scenario
def state_returned(C: Any, see: Any) -> None:
    a = np.zeros(3)

    @C
    def step(x: Any) -> Any:
        a[:] += x
        return a, a[1:], a + 0

    for k in range(6):
        r = step(numbers(k, 3))
        see(r, r[0] is a, np.shares_memory(r[1], a))


@scenario
def user_writes_into_the_result(C: Any, see: Any) -> None:
    s, step = {}, C(lambda x: s.setdefault("y", x * 2) + 1)
    for k in range(6):
        r = step(numbers(k, 3))
        r[:] = 100.0
        see(r, s)
        if k % 2:
            s["y"] *= -1


@scenario
def set_grows(C: Any, see: Any) -> None:
    s: set[Any] = set()
    watch(C, see, s, lambda x: s.add(x.ndim) or x * len(s))


@scenario(eager=True)
def generator_object_and_pairs(C: Any, see: Any) -> None:
    ids, s = itertools.count(), {}

    def step(x: Any) -> Any:
        k = next(ids)
        s[k] = x.sum()
        return k, x * k

    watch(C, see, s, step)


@scenario
def features_are_kept_and_differentiated(C: Any, see: Any) -> None:
    model, s = mlp(), SimpleNamespace(h=None, all=[])

    @C
    def predict(x: Any) -> Any:
        s.h = mg.tanh(model(x))
        s.all.append(s.h * 2)
        return s.h.sum()

    for k in range(6):
        loss = predict(batch(k)[0])
        (loss * 2 + (s.h**2).sum() + s.all[-1].mean()).backward()
        see(loss, s.h, s.all[-1], model)
        model.zero_grad()


@scenario
def features_alone_are_differentiated(C: Any, see: Any) -> None:
    w, s = weight(3), {}
    step = C(lambda x: s.update(h=mg.exp(w * x)))
    for k in range(6):
        step(numbers(k, 3))
        s["h"].sum().backward()
        see(w.grad)


@scenario(eager=True)
def history_that_grows_from_call_to_call(C: Any, see: Any) -> None:
    w, s = weight(3), SimpleNamespace(h=mg.Tensor(np.zeros(3)))
    step = C(lambda x: setattr(s, "h", mg.tanh(w * s.h + x)))
    for k in range(4):
        step(numbers(k, 3))
    s.h.sum().backward()
    see(w)


@scenario
def layers_that_are_made_inside(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    step = C(lambda x: nn.Linear(3, 2, rng=rng)(x))
    for k in range(4):
        see(step(numbers(k, 4, 3)).numpy(), rng)
