"""Layers and networks: modes, hooks, buffers, and parts that are replaced."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import batch, mlp, numbers, trainer, weight
from scenarios.scenario import SCENARIOS, Scenario, scenario


def layers(name: str, make: Any, *shape: int) -> None:
    """A scenario that trains a network, evaluates it in between, and changes the size of the batch."""

    def run(C: Any, see: Any) -> None:
        model = make(np.random.default_rng(0))
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

        @C
        def step(x: Any) -> Any:
            optimizer.zero_grad()
            y = model(x)
            y = y[0] if isinstance(y, tuple) else y
            loss = ((y - 0.3) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        predict = C(lambda x: model(x))
        for k in range(7):
            model.train()
            see(step(numbers(k, *shape)[k == 5 :]), model)
            if k in (2, 3, 6):
                model.eval()
                see(predict(numbers(k, *shape)))

    SCENARIOS[f"models-{name}"] = Scenario(f"models-{name}", "models", run)


layers("cnn", lambda r: nn.Sequential(nn.Conv2d(1, 2, 3, rng=r), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()), 2, 6, 6, 1)
layers("lstm", lambda r: nn.LSTM(2, 3, rng=r), 2, 3, 2)
layers("gru", lambda r: nn.GRU(2, 3, rng=r), 2, 3, 2)
layers("rnn", lambda r: nn.RNN(2, 3, num_layers=2, rng=r), 2, 3, 2)
layers("batch_norm", lambda r: nn.Sequential(nn.Linear(3, 4, rng=r), nn.BatchNorm(4), nn.Tanh()), 4, 3)
layers("layer_norm", lambda r: nn.Sequential(nn.Linear(3, 4, rng=r), nn.LayerNorm(4), nn.GELU()), 4, 3)
layers("group_norm", lambda r: nn.Sequential(nn.Linear(3, 4, rng=r), nn.GroupNorm(2, 4)), 3, 3, 3)
layers("dropout", lambda r: nn.Sequential(nn.Linear(3, 4, rng=r), nn.Dropout(0.5, rng=r)), 4, 3)
layers("dropout_global", lambda r: nn.Sequential(nn.Linear(3, 4, rng=r), nn.Dropout(0.5)), 4, 3)
layers("transformer", lambda r: nn.TransformerEncoderLayer(4, 2, 6, dropout=0.2, rng=r), 2, 3, 4)


@scenario
def embedding(C: Any, see: Any) -> None:
    table, head = nn.Embedding(7, 3, rng=0), nn.Linear(3, 7, rng=1)
    optimizer = optim.Adam([*table.parameters(), *head.parameters()], lr=0.1)
    step = C(trainer(lambda i: head(table(i).mean(axis=1)), optimizer))
    for k in range(7):
        i = np.random.default_rng(k).integers(0, 7, (4, 3 + (k == 4)))
        see(step(i, i[:, 0]), table, head)


@scenario
def tied_weights(C: Any, see: Any) -> None:
    table = weight(7, 3)
    optimizer = optim.SGD([table], lr=0.1)
    step = C(trainer(lambda i: mg.tanh(table[i]) @ table.T, optimizer))
    for k in range(7):
        i = np.random.default_rng(k).integers(0, 7, 5)
        see(step(i, i[::-1].copy()), table)


@scenario
def untied_later(C: Any, see: Any) -> None:
    one, two = nn.Linear(3, 3, rng=0), nn.Linear(3, 3, rng=1)
    two.weight = one.weight
    step = C(lambda x: (two(mg.tanh(one(x))) ** 2).sum().backward())
    for k in range(8):
        if k == 4:
            two.weight = weight(3, 3, seed=5)
        step(numbers(k, 2, 3))
        see(one, two)


@scenario
def residual_with_a_skipped_layer(C: Any, see: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.layers = nn.ModuleList([nn.Linear(3, 3, rng=k) for k in range(3)])
            self.skip = {1}

        def forward(self, x: Any) -> Any:
            for k, layer in enumerate(self.layers):
                if k not in self.skip:
                    x = x + mg.tanh(layer(x))
            return x

    model = Net()
    predict = C(lambda x: model(x))
    for k in range(8):
        if k == 3:
            model.skip.add(2)
        if k == 6:
            model.skip = set()
        see(predict(numbers(k, 2, 3)))


@scenario
def attention_with_a_mask(C: Any, see: Any) -> None:
    layer = nn.MultiheadAttention(4, 2, rng=0)
    mask = np.tril(np.ones((3, 3), bool))
    predict = C(lambda x: F.scaled_dot_product_attention(layer(x, x, x)[0], x, x, mask=mask))
    for k in range(7):
        if k == 4:
            mask[:, 0] = True
            mask[0, 2] = True
        see.attempt(predict, numbers(k, 2, 3, 4))


@scenario
def config_dict(C: Any, see: Any) -> None:
    class Net(nn.Module):
        def __init__(self, config: Any) -> None:
            self.config = config
            self.layer = nn.Linear(3, 3, rng=0)

        def forward(self, x: Any) -> Any:
            y = getattr(mg, self.config["activation"])(self.layer(x))
            return y * self.config["options"]["scale"]

    model = Net({"activation": "tanh", "options": {"scale": 2.0}})
    predict = C(model)
    for k in range(9):
        if k == 3:
            model.config["options"]["scale"] = 3.0
        if k == 6:
            model.config["activation"] = "sin"
        see(predict(numbers(k, 2, 3)))


@scenario
def hook_added_and_removed(C: Any, see: Any) -> None:
    model = mlp()
    predict = C(lambda x: model(x))
    for k in range(9):
        if k == 3:
            hook = next(model.children()).register_forward_hook(lambda module, inputs, output: output * 2)
        if k == 6:
            hook.remove()
        see(predict(batch(k)[0]))


@scenario
def forward_patched(C: Any, see: Any) -> None:
    model = mlp()
    predict = C(model)
    for k in range(9):
        if k in (3, 6):
            layer = next(model.children())
            old = layer.forward
            layer.forward = lambda x, old=old, k=k: old(x) * k
        see(predict(batch(k)[0]))


@scenario
def layer_replaced(C: Any, see: Any) -> None:
    model = mlp()
    predict = C(lambda x: model(x))
    for k in range(9):
        if k == 3:
            setattr(model, "1", nn.ReLU())
        if k == 6:
            setattr(model, "2", nn.Linear(6, 2, rng=4))
        see(predict(batch(k)[0]))


@scenario
def layer_appended(C: Any, see: Any) -> None:
    layers = nn.ModuleList([nn.Linear(3, 3, rng=0)])

    @C
    def predict(x: Any) -> Any:
        for layer in layers:
            x = mg.tanh(layer(x))
        return x

    for k in range(8):
        if k in (2, 5):
            layers.append(nn.Linear(3, 3, rng=k))
        see(predict(numbers(k, 2, 3)))


@scenario
def buffers(C: Any, see: Any) -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            self.register_buffer("mean", np.zeros(3))
            self.register_buffer("count", np.zeros((), np.int64))

        def forward(self, x: Any) -> Any:
            if self.training:
                self.count += 1
                np.copyto(self.mean, 0.9 * self.mean + 0.1 * x.mean(axis=0))
            return x - self.mean

    model = Mean()
    predict = C(model)
    for k in range(9):
        if k in (3, 6):
            model.train(k == 6)
        if k == 7:
            model.mean = np.full(3, 5.0)
        see(predict(numbers(k, 4, 3)), model)


@scenario
def batch_norm_options(C: Any, see: Any) -> None:
    layer = nn.BatchNorm(3)
    predict = C(layer)
    for k in range(10):
        if k in (3, 6):
            layer.momentum = 0.1 * k
        if k == 5:
            layer.eps = 0.5
        if k == 8:
            layer.train(False)
        see(predict(numbers(k, 4, 3)), layer)


@scenario
def dropout_probability(C: Any, see: Any) -> None:
    layer = nn.Dropout(0.5, rng=0)
    predict = C(layer)
    for k in range(10):
        layer.p = [0.5, 0.2, 0.2, 0.0, 0.9][k % 5]
        see(predict(np.ones((3, 4))), layer.rng)


@scenario
def dropout_rng_replaced(C: Any, see: Any) -> None:
    layer = nn.Dropout(0.5, rng=0)
    predict = C(layer)
    for k in range(8):
        if k == 4:
            layer.rng = np.random.default_rng(9)
        if k == 6:
            layer.rng = None
        see(predict(np.ones((3, 4))), layer.rng)


@scenario
def training_flag_of_one_layer(C: Any, see: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 3, rng=0), nn.Dropout(0.5, rng=1), nn.BatchNorm(3))
    predict = C(model)
    for k in range(8):
        list(model.children())[1 + k % 2].training = k < 4
        see(predict(numbers(k, 4, 3)), model)


@scenario
def functional_only(C: Any, see: Any) -> None:
    params = {"w": weight(3, 4), "b": mg.Tensor(np.zeros(4), requires_grad=True)}
    loss = mg.value_and_grad(lambda p, x, y: F.cross_entropy(x @ p["w"] + p["b"], y))

    @C
    def step(p: Any, x: Any, y: Any) -> Any:
        value, grads = loss(p, x, y)
        return value, {name: p[name] - 0.1 * grads[name] for name in p}

    for k in range(8):
        value, params = step(params, *batch(k))
        see(value, params)


@scenario
def method_of_a_module(C: Any, see: Any) -> None:
    class Net(nn.Module):
        def __init__(self, seed: int) -> None:
            self.layer, self.scale = nn.Linear(3, 3, rng=seed), 1.0

        @C
        def forward(self, x: Any) -> Any:
            return self.layer(x) * self.scale

    one, two = Net(0), Net(1)
    for k in range(8):
        one.scale += k == 4
        see(one(numbers(k, 2, 3)), two(numbers(k, 3, 3)))


SCENARIOS["models-method_of_a_module"].functions = 2


@scenario
def parameter_replaced(C: Any, see: Any) -> None:
    model = nn.Linear(3, 2, rng=0)
    step = C(lambda x: (model(x) ** 2).mean().backward())
    for k in range(8):
        if k in (3, 6):
            model.weight = weight(3, 2, seed=k)
        step(numbers(k, 4, 3))
        see(model)


@scenario
def bias_removed(C: Any, see: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.weight, self.bias = weight(3, 2), weight(2, seed=1)

        def forward(self, x: Any) -> Any:
            y = x @ self.weight
            return y if self.bias is None else y + self.bias

    model = Net()
    predict = C(model)
    for k in range(8):
        if k in (3, 6):
            model.bias = None if k == 3 else weight(2, seed=2)
        see(predict(numbers(k, 4, 3)))
