"""Attributes that are read without being named: by texts, comparisons, and methods that go through all of them."""

from __future__ import annotations

import argparse
from collections import UserDict
from types import SimpleNamespace
from typing import Any

import numpy as np

from minigrad import nn, optim
from scenarios.parts import numbers
from scenarios.scenario import scenario


def _calls(C: Any, see: Any, function: Any, change: Any = lambda k: None, count: int = 10) -> None:
    step = C(function)
    for k in range(count):
        change(k)
        see.attempt(step, numbers(k, 3))


class Meter:
    def __init__(self) -> None:
        self.average = 0.0

    def __str__(self) -> str:
        return f"average {self.average:.2f}"


class Shown(Meter):
    def __repr__(self) -> str:
        return f"Shown({self.average})"

    def __format__(self, how: str) -> str:
        return f"{how} {self.average}"


def _texts(C: Any, see: Any, kind: Any, text: Any) -> None:
    meter, lines = kind(), []

    def step(x):
        lines.append(text(meter))
        return x * 2

    def change(k: int) -> None:
        if k > 5:
            meter.average = k / 2

    _calls(C, see, step, change)
    see(lines)


@scenario
def text_by_str(C: Any, see: Any) -> None:
    _texts(C, see, Meter, lambda m: "epoch " + str(m))


@scenario
def text_by_an_f_string(C: Any, see: Any) -> None:
    _texts(C, see, Meter, lambda m: f"epoch {m}")


@scenario
def text_by_percent(C: Any, see: Any) -> None:
    _texts(C, see, Meter, lambda m: "epoch %s" % m)  # noqa: UP031


@scenario
def text_by_its_own_format(C: Any, see: Any) -> None:
    _texts(C, see, Shown, lambda m: f"{m:epoch}")


@scenario
def text_of_a_list(C: Any, see: Any) -> None:
    _texts(C, see, Shown, lambda m: str([m, (m,)]))


@scenario
def text_by_repr_as_a_function(C: Any, see: Any) -> None:
    _texts(C, see, Shown, repr)


@scenario
def text_by_repr(C: Any, see: Any) -> None:
    _texts(C, see, Shown, lambda m: f"{[m]!r}")


@scenario
def text_by_join(C: Any, see: Any) -> None:
    _texts(C, see, Shown, lambda m: ", ".join(map(str, [m, m])))


@scenario
def text_by_a_method_of_its_base(C: Any, see: Any) -> None:
    class Inherited(Shown):
        def show(self) -> str:
            return super().__repr__() + "!"

    _texts(C, see, Inherited, lambda m: m.show())


@scenario
def text_of_a_namespace(C: Any, see: Any) -> None:
    _texts(C, see, lambda: SimpleNamespace(average=0.5), str)


@scenario
def text_of_a_namespace_of_arguments(C: Any, see: Any) -> None:
    class Options(argparse.Namespace):
        pass

    _texts(C, see, lambda: Options(average=0.5), lambda m: f"{m}")


def _compared(C: Any, see: Any, kind: Any) -> None:
    one, other = kind(), kind()
    one.rate = other.rate = 1.0

    def change(k: int) -> None:
        one.rate = 2.0 if 4 < k < 8 else 1.0

    _calls(C, see, lambda x: x if one == other else -x, change)


@scenario
def equal_namespaces(C: Any, see: Any) -> None:
    _compared(C, see, SimpleNamespace)


@scenario
def equal_namespaces_of_a_class(C: Any, see: Any) -> None:
    class Config(SimpleNamespace):
        pass

    _compared(C, see, Config)


@scenario
def equal_namespaces_of_arguments(C: Any, see: Any) -> None:
    class Options(argparse.Namespace):
        pass

    _compared(C, see, Options)


@scenario
def a_namespace_in_a_list_of_others(C: Any, see: Any) -> None:
    one, others = SimpleNamespace(rate=1.0), [SimpleNamespace(rate=2.0)]

    def change(k: int) -> None:
        one.rate = 2.0 if k > 5 else 1.0

    _calls(C, see, lambda x: x if one in others else -x, change)


@scenario
def a_user_dictionary_of_a_class(C: Any, see: Any) -> None:
    class Config(UserDict):  # type: ignore[type-arg]
        pass

    one, other = Config(rate=1.0), Config(rate=1.0)

    def change(k: int) -> None:
        one["rate"] = 2.0 if k > 5 else 1.0

    _calls(C, see, lambda x: x if one == other else -x, change)


# Methods of modules that go through all layers and parameters


class Two(nn.Module):
    def __init__(self) -> None:
        self.main = nn.Linear(3, 3, rng=0)
        self.aux = nn.Linear(3, 3, rng=1)
        self.register_buffer("seen", np.zeros(3))
        self.epochs = 0

    def forward(self, x: Any) -> Any:
        return self.main(x)


def _layers(C: Any, see: Any, function: Any, change: Any) -> None:
    net = Two()
    step = C(lambda x: function(net, x))
    for k in range(10):
        net.epochs += 1
        change(net, k)
        see(step(numbers(k, 2, 3)), net)


def _trained_elsewhere(net: Any, k: int) -> None:
    if k > 4:
        net.aux.weight.data[...] += 0.5


def _replaced(net: Any, k: int) -> None:
    if k == 5:
        net.aux = nn.Linear(3, 3, rng=7)
    if k == 7:
        net.other = nn.Linear(3, 2, rng=8)


@scenario
def penalty_over_all_parameters(C: Any, see: Any) -> None:
    _layers(C, see, lambda net, x: sum((p * p).sum() for p in net.parameters()) + net(x).sum(), _trained_elsewhere)


@scenario
def all_parameters_decay(C: Any, see: Any) -> None:
    def step(net: Any, x: Any) -> Any:
        for p in net.parameters():
            p.data *= 0.9
        return net(x)

    _layers(C, see, step, _replaced)


@scenario
def number_of_parameters(C: Any, see: Any) -> None:
    _layers(C, see, lambda net, x: x * net.num_parameters(), _replaced)


@scenario
def gradients_of_all_are_forgotten(C: Any, see: Any) -> None:
    def step(net: Any, x: Any) -> Any:
        net.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        return loss

    def change(net: Any, k: int) -> None:
        net.aux.weight.grad = np.full((3, 3), float(k))

    _layers(C, see, step, change)


@scenario
def applied_to_all_layers(C: Any, see: Any) -> None:
    def scale(layer: Any) -> None:
        if isinstance(layer, nn.Linear):
            layer.weight.data *= 0.5

    _layers(C, see, lambda net, x: net.apply(scale)(x), _replaced)


@scenario
def state_of_all_layers(C: Any, see: Any) -> None:
    _layers(C, see, lambda net, x: sum(v.sum() for v in net.state_dict().values()), _trained_elsewhere)


@scenario
def buffers_of_all_layers(C: Any, see: Any) -> None:
    def change(net: Any, k: int) -> None:
        net.seen += k
        if k == 6:
            net.register_buffer("more", np.ones(2))

    _layers(C, see, lambda net, x: sum(b.sum() for b in net.buffers()) + x, change)


@scenario
def text_of_all_layers(C: Any, see: Any) -> None:
    texts: list[str] = []

    def step(net: Any, x: Any) -> Any:
        texts.append(str(net))
        return net(x)

    _layers(C, see, step, _replaced)
    see(texts)


@scenario
def frozen_as_a_whole(C: Any, see: Any) -> None:
    def step(net: Any, x: Any) -> Any:
        net.requires_grad_(False)
        return net(x) * sum(not p.requires_grad for p in net.parameters())

    def change(net: Any, k: int) -> None:
        net.aux.weight.requires_grad = k > 5

    _layers(C, see, step, change)


@scenario
def layers_with_computed_names(C: Any, see: Any) -> None:
    class Chain(nn.Module):
        def __init__(self) -> None:
            for i in range(2):
                setattr(self, f"layer{i}", nn.Linear(3, 3, rng=i))

        def forward(self, x: Any) -> Any:
            for layer in self.children():
                x = layer(x)
            return x

    net = Chain()
    step = C(lambda x: net(x))
    for k in range(10):
        if k == 4:
            net.layer1.weight.data = net.layer1.weight.data + 1.0
        if k == 7:
            net.layer2 = nn.Linear(3, 3, rng=9)
        see(step(numbers(k, 2, 3)))


@scenario
def modes_of_all_layers(C: Any, see: Any) -> None:
    class Noisy(Two):
        def __init__(self) -> None:
            super().__init__()
            self.noise = nn.Dropout(0.5, rng=3)

        def forward(self, x: Any) -> Any:
            return self.noise(self.main(x))

    net = Noisy()

    def step(x):
        net.train(False)
        return net(x)

    run = C(step)
    for k in range(8):
        net.train()
        see(run(numbers(k, 2, 3)), net.noise.training, net.aux.training)


@scenario
def a_trainer_that_counts_epochs_compiles_once(C: Any, see: Any) -> None:
    class Trainer(nn.Module):
        def __init__(self) -> None:
            self.net, self.history, self.epoch = nn.Linear(3, 1, rng=0), [], 0
            self.optimizer = optim.SGD(self.net.parameters(), lr=0.1)

        def __repr__(self) -> str:
            return f"Trainer(epoch={self.epoch})"

        def step(self, x: Any) -> Any:
            self.zero_grad()
            loss = (self.net(x) ** 2).mean()
            loss.backward()
            self.optimizer.step()
            return loss

    trainer = Trainer()
    step = C(trainer.step)
    for k in range(12):
        loss = step(numbers(k, 4, 3))
        trainer.history.append(float(loss.item()))
        trainer.epoch += 1
        see(loss, trainer.net)
    see(trainer.history)


# Lists that grow, and are looked at in another way


def _grows(C: Any, see: Any, history: list[Any], function: Any) -> None:
    step = C(function)
    for k in range(12):
        see.attempt(step, numbers(k, 3))
        see(len(history))


@scenario(eager=True)
def a_list_by_a_computed_name(C: Any, see: Any) -> None:
    class Log:
        names = ("loss", "accuracy")

        def __init__(self) -> None:
            self.loss: list[float] = []
            self.accuracy: list[float] = []

        def longest(self) -> int:
            return max(len(getattr(self, name)) for name in self.names)

    log = Log()

    def step(x):
        log.loss.append(1.0)
        return x * (2 if log.longest() > 5 else 1)

    _grows(C, see, log.loss, step)


@scenario(eager=True)
def a_list_with_an_append_of_its_own(C: Any, see: Any) -> None:
    class Window(list):  # type: ignore[type-arg]
        def append(self, value: Any) -> None:
            super().append(value)
            if len(self) > 5:
                del self[0]

    window = Window()

    def step(x):
        window.append(1.0)
        return x * 2

    _grows(C, see, window, step)


@scenario(eager=True)
def a_list_in_a_tuple_as_well(C: Any, see: Any) -> None:
    history: list[float] = []
    logs = (history, 1)

    def step(x):
        history.append(1.0)
        return x * (2 if len(logs[0]) > 5 else 1)

    _grows(C, see, history, step)


@scenario
def a_nested_dictionary_is_read_before_it_is_replaced(C: Any, see: Any) -> None:
    run: dict[str, Any] = {"best": {"w": [1.0]}}

    def step(x):
        n = sum(len(value) for value in run["best"].values())
        run["best"]["w"] = [1.0]
        return x * n

    def change(k: int) -> None:
        if k == 5:
            run["best"]["w"] = [1.0, 2.0, 3.0]

    _calls(C, see, step, change)


@scenario
def text_by_a_form_that_is_a_global(C: Any, see: Any) -> None:
    form = "%s"
    _texts(C, see, Shown, lambda m: form % m)


@scenario
def a_namespace_is_found_by_its_index(C: Any, see: Any) -> None:
    one, items = SimpleNamespace(rate=2), [SimpleNamespace(rate=2), SimpleNamespace(rate=5)]

    def change(k: int) -> None:
        one.rate = 5 if k > 5 else 2

    _calls(C, see, lambda x: x * (1 + items.index(one)), change)


@scenario
def a_class_pattern(C: Any, see: Any) -> None:
    class Config:
        __match_args__ = ("rate",)

    config = Config()

    def step(x):
        match config:
            case Config(rate):
                return x * rate
        return x

    _calls(C, see, step, lambda k: setattr(config, "rate", 5.0 if k > 5 else 2.0))


@scenario
def an_optimizer_of_the_users(C: Any, see: Any) -> None:
    class Slow(optim.SGD):
        pass

    net = nn.Linear(3, 1, rng=0)
    optimizer = Slow(net.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    run = C(step)
    for k in range(8):
        see(run(numbers(k, 4, 3)), net)
