"""Numbers that are taken out of arrays and given to code that can tell them from what stands for them."""

from __future__ import annotations

import array
import copy
import datetime
import functools
import json
import operator
import statistics
import struct
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import optim
from scenarios.parts import in_json, mlp, numbers
from scenarios.scenario import scenario


def _calls(C: Any, see: Any, function: Any, *shape: int) -> None:
    step = C(function)
    for k in range(6):
        see(step(numbers(k, *(shape or (3,)))))


@scenario(eager=True)
def refused_by_other_code_which_is_caught(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: in_json(x.sum().item()))
    _calls(C, see, lambda x: in_json({"loss": [float(x.sum())]}))


@scenario(eager=True)
def a_hook_for_what_is_no_number(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: json.dumps(x.sum().item(), default=lambda other: "other"))
    _calls(C, see, lambda x: json.dumps([x.sum().item()], default=lambda other: 0))


@scenario(eager=True)
def through_a_variable_and_a_container(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        loss = x.sum().item()
        logs = {"loss": loss}
        others = logs
        return in_json(others), x * 2

    _calls(C, see, step)


@scenario(eager=True)
def through_an_attribute(C: Any, see: Any) -> None:
    s = SimpleNamespace(last=0.0)

    def step(x: Any) -> Any:
        s.last = x.sum().item()
        return in_json(s.last), x * 2

    _calls(C, see, step)


@scenario(eager=True)
def through_an_object_as_a_whole(C: Any, see: Any) -> None:
    class Logs:
        def __init__(self) -> None:
            self.last = 0.0

    logs = Logs()

    def step(x: Any) -> Any:
        logs.last = x.sum().item()
        return in_json(vars(logs)), x * 2

    def other(x: Any) -> Any:
        logs.__dict__["hidden"] = float(x.sum())
        return in_json(logs.hidden), x * 2  # type: ignore[attr-defined]

    _calls(C, see, step)
    _calls(C, see, other)


@scenario(eager=True)
def through_a_property(C: Any, see: Any) -> None:
    class Logs:
        text = ""

        @property
        def last(self) -> str:
            return self.text

        @last.setter
        def last(self, value: Any) -> None:
            self.text = in_json(value)

    logs: Any = Logs()

    def step(x: Any) -> Any:
        logs.last = x.sum().item()
        return logs.last, x * 2

    _calls(C, see, step)


@scenario(eager=True)
def through_setattr(C: Any, see: Any) -> None:
    class Logs:
        def __setattr__(self, name: str, value: Any) -> None:
            object.__setattr__(self, name, in_json(value))

    logs: Any = Logs()

    def step(x: Any) -> Any:
        logs.last = x.sum().item()
        return logs.last, x * 2

    _calls(C, see, step)


@scenario(eager=True)
def through_a_function_and_its_result(C: Any, see: Any) -> None:
    def loss_of(x: Any) -> Any:
        return x.sum().item()

    def described(value: Any, unit: str = "nats") -> Any:
        return in_json(value) + unit

    _calls(C, see, lambda x: (described(loss_of(x)), x * 2))
    _calls(C, see, lambda x: (described(value=float(x.sum())), x * 2))


@scenario(eager=True)
def through_a_decorator(C: Any, see: Any) -> None:
    def logged(f: Any) -> Any:
        @functools.wraps(f)
        def inner(*args: Any) -> Any:
            result = f(*args)
            inner.text = in_json(result)  # type: ignore[attr-defined]
            return result

        return inner

    @logged
    def loss_of(x: Any) -> Any:
        return x.sum().item()

    _calls(C, see, lambda x: (loss_of(x), loss_of.text, x * 2))


@scenario(eager=True)
def through_a_function_that_is_passed_on(C: Any, see: Any) -> None:
    def loss_of(x: Any) -> Any:
        return float(x.sum())

    def described(f: Any, x: Any) -> Any:
        return in_json(f(x))

    _calls(C, see, lambda x: (described(loss_of, x), x * 2))
    _calls(C, see, lambda x: (in_json(list(map(loss_of, [x]))), x * 2))
    _calls(C, see, lambda x: (in_json([*map(float, x)]), x * 2))


@scenario(eager=True)
def by_a_method_that_is_kept(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        take = x.sum().item
        return in_json(take()), operator.methodcaller("item")(x.sum()), x * 2

    _calls(C, see, step)


@scenario(eager=True)
def through_a_generator(C: Any, see: Any) -> None:
    def losses(x: Any) -> Any:
        for row in x:
            yield row.item()

    _calls(C, see, lambda x: (in_json([*losses(x)]), in_json([row.item() for row in x]), x * 2))


@scenario(eager=True)
def through_operators(C: Any, see: Any) -> None:
    class Text:
        def __init__(self, text: str) -> None:
            self.text = text

        def __add__(self, other: Any) -> Any:
            return Text(self.text + in_json(other))

        def __gt__(self, other: Any) -> Any:
            return in_json(other)

        def __contains__(self, other: Any) -> Any:
            return in_json(other) == "no number"

        def __setitem__(self, key: Any, value: Any) -> None:
            self.text = in_json(value)

    text = Text("")
    _calls(C, see, lambda x: ((text + x.sum().item()).text, x * 2))
    _calls(C, see, lambda x: (x.sum().item() < text, x * 2))
    _calls(C, see, lambda x: (x.sum().item() in text, x * 2))

    def step(x: Any) -> Any:
        text["loss"] = x.sum().item()
        return text.text, x * 2

    _calls(C, see, step)


@scenario(eager=True)
def through_a_container_of_the_users(C: Any, see: Any) -> None:
    class Logs(list[Any]):
        def append(self, x: Any) -> None:
            super().append(in_json(x))

    class Meter:
        def __init__(self) -> None:
            self.total, self.text = 0.0, ""

        def update(self, value: Any, count: int) -> None:
            self.total += value * count
            self.text = in_json(value)

    logs, meter = Logs(), Meter()

    def step(x: Any) -> Any:
        logs.append(x.sum().item())
        return logs[-1], x * 2

    def other(x: Any) -> Any:
        meter.update(x.sum().item(), len(x))
        return meter.total, meter.text

    _calls(C, see, step)
    _calls(C, see, other)


@scenario(eager=True)
def in_objects_of_other_code(C: Any, see: Any) -> None:
    @dataclass
    class Result:
        loss: float

    _calls(C, see, lambda x: (asdict(Result(x.sum().item())), in_json(Result(float(x.sum())).__dict__)))
    _calls(C, see, lambda x: str(datetime.timedelta(seconds=float(x.sum()))))
    _calls(C, see, lambda x: (statistics.mean([x[0].item(), x[1].item()]), struct.pack("d", x[0].item())))
    _calls(C, see, lambda x: array.array("d", [x[0].item()]).tobytes())


@scenario(eager=True)
def asked_for_its_type(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        loss, n = x.sum().item(), int(np.argmax(x))
        return (
            type(loss) is float,
            type(loss) in (float, int),
            isinstance(loss, float),
            type(n).__name__,
            n.bit_length(),
        )

    _calls(C, see, step)
    _calls(C, see, lambda x: {float: "a float"}.get(type(x.sum().item()), "another"))


@scenario(eager=True)
def in_a_nested_function(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        loss = x.sum().item()

        def text() -> str:
            return in_json(loss)

        return text(), [f() for f in [lambda: in_json(loss)]], x * 2

    _calls(C, see, step)


@scenario(eager=True)
def in_a_global_of_another_function(C: Any, see: Any) -> None:
    total = 0.0

    def added(x: Any) -> None:
        nonlocal total
        total += x.sum().item()

    def step(x: Any) -> Any:
        added(x)
        return in_json(total), x * 2

    _calls(C, see, step)


@scenario(eager=True)
def copied_and_sorted(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: copy.deepcopy([x[0].item(), {"a": x[1].item()}]))
    _calls(C, see, lambda x: sorted([x[0].item(), x[1].item()], key=lambda v: -v))
    _calls(C, see, lambda x: max([x[0].item(), x[1].item()], key=abs))


@scenario
def returned_by_functions(C: Any, see: Any) -> None:
    def loss_of(x: Any) -> Any:
        return x.sum().item()

    def pair(x: Any) -> Any:
        loss = loss_of(x)
        return loss, loss * 2 - 1

    _calls(C, see, lambda x: {"losses": [*pair(x)], "last": pair(x)[1]})


@scenario
def a_meter(C: Any, see: Any) -> None:
    class Meter:
        def __init__(self) -> None:
            self.total, self.count, self.history = 0.0, 0, list[float]()

        def update(self, value: float, count: int) -> None:
            self.total += value * count
            self.count += count
            self.history.append(value)

        def mean(self) -> float:
            return self.total / self.count

    model, meter = mlp(d=4), Meter()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        optimizer.step()
        meter.update(loss.item(), len(x))
        return {"loss": meter.mean(), "accuracy": float((logits.data.argmax(axis=1) == y).mean())}

    run = C(step)
    for k in range(8):
        see(run(numbers(k, 5, 4), np.arange(5) % 4), meter.total, meter.count, meter.history)


@scenario
def means_of_several_losses(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        losses = [float(mg.sum(mg.Tensor(row) ** 2)) for row in x]
        best = min(losses)
        return sum(losses) / len(losses), best, max(losses) - best, [round_ * 2 for round_ in losses]

    _calls(C, see, step, 3, 2)


@scenario
def a_running_mean_of_the_loss(C: Any, see: Any) -> None:
    s = SimpleNamespace(mean=None)

    def step(x: Any) -> Any:
        loss = float(x.sum())
        s.mean = loss if s.mean is None else 0.9 * s.mean + 0.1 * loss
        return x * s.mean

    step_ = C(step)
    for k in range(8):
        see(step_(numbers(k, 3)), s.mean)
