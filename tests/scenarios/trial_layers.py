"""Every layer and many functions of the library, trained and evaluated, with options that change in between."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import numbers
from scenarios.scenario import scenario


def rows(k: int) -> Any:
    return numbers(k, 4, 6)


def picture(k: int) -> Any:
    return numbers(k, 2, 6, 6, 2)


def sequence(k: int) -> Any:
    return numbers(k, 2, 5, 6)


def words(k: int) -> Any:
    return np.random.default_rng([6, k]).integers(0, 7, (3, 4))


def train(C: Any, see: Any, make: Callable[[], Any], data: Callable[[int], Any], change: Any = None) -> None:
    """Train a layer, evaluate it in between, and change an option."""
    layer = make()
    parameters = list(layer.parameters())
    optimizer = optim.Adam(parameters, lr=0.01) if parameters else None

    @C
    def step(x: Any) -> Any:
        if optimizer is not None:
            optimizer.zero_grad()
        x = mg.Tensor(x, requires_grad=True) if x.dtype.kind == "f" else x
        y = layer(x)
        y = y[0] if isinstance(y, tuple) else y
        loss = ((y**2 + y) * np.linspace(0.5, 1.5, y.shape[-1])).mean()
        loss.backward()
        if optimizer is not None:
            optimizer.step()
        return loss, y, x.grad if isinstance(x, mg.Tensor) else None

    @C
    def predict(x: Any) -> Any:
        return layer(x)

    for k in range(11):
        see(step(data(k)))
        if k in (3, 5, 7, 8):
            layer.eval()
            see(predict(data(k + 20)))
            layer.train()
        if change is not None and k in (4, 8):
            change(layer, k)
        see(layer)


LAYERS: dict[str, tuple[Callable[[], Any], Callable[[int], Any]]] = {
    "linear": (lambda: nn.Linear(6, 3, rng=0), rows),
    "bilinear": (lambda: nn.Sequential(nn.Linear(6, 4, rng=0), nn.GELU(), nn.Linear(4, 2, rng=1)), rows),
    "batch_norm": (lambda: nn.BatchNorm(6), rows),
    "batch_norm_without_scale": (lambda: nn.BatchNorm(6, momentum=0.3), rows),
    "batch_norm_of_pictures": (lambda: nn.BatchNorm(2), picture),
    "layer_norm": (lambda: nn.LayerNorm(6), rows),
    "rms_norm": (lambda: nn.RMSNorm(6), rows),
    "group_norm": (lambda: nn.GroupNorm(2, 2), picture),
    "instance_norm": (lambda: nn.InstanceNorm(2), picture),
    "dropout": (lambda: nn.Dropout(0.4, rng=0), rows),
    "dropout_of_the_library": (lambda: nn.Dropout(0.4), rows),
    "conv": (lambda: nn.Conv2d(2, 3, 3, rng=0), picture),
    "conv_strided": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1, rng=0), picture),
    "conv_of_sequences": (lambda: nn.Conv1d(6, 3, 2, rng=0), sequence),
    "conv_transposed": (lambda: nn.ConvTranspose2d(2, 3, 2, stride=2, rng=0), picture),
    "max_pool": (lambda: nn.MaxPool2d(2), picture),
    "average_pool": (lambda: nn.AvgPool2d(2), picture),
    "rnn": (lambda: nn.RNN(6, 3, rng=0), sequence),
    "lstm": (lambda: nn.LSTM(6, 3, rng=0), sequence),
    "gru": (lambda: nn.GRU(6, 3, rng=0), sequence),
    "embedding": (lambda: nn.Embedding(7, 5, rng=0), words),
    "transformer": (lambda: nn.TransformerEncoderLayer(6, 2, 8, rng=0), sequence),
    "residual": (
        lambda: nn.Sequential(nn.Linear(6, 6, rng=0), nn.ReLU(), nn.Dropout(0.1, rng=1), nn.LayerNorm(6)),
        rows,
    ),
}
CHANGES: dict[str, Callable[[Any, int], None]] = {
    "batch_norm": lambda layer, k: setattr(layer, "momentum", 0.5 if k < 6 else 0.2),
    "layer_norm": lambda layer, k: setattr(layer, "eps", 0.1),
    "dropout": lambda layer, k: setattr(layer, "p", 0.7 if k < 6 else 0.0),
    "linear": lambda layer, k: setattr(layer, "bias", None),
    "conv_strided": lambda layer, k: layer.weight.data.__imul__(2),
    "residual": lambda layer, k: layer[2].eval(),
}


def _exists(make: Callable[[], Any]) -> bool:
    try:
        make()
    except (AttributeError, TypeError):
        return False
    return True


for _name, (_make, _data) in LAYERS.items():
    if _exists(_make):
        _body = functools.partial(train, make=_make, data=_data, change=CHANGES.get(_name))
        _body.__module__, _body.__name__ = __name__, _name  # type: ignore[attr-defined]
        scenario(functions=2)(_body)

FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "softmax": lambda x, y: F.softmax(x, axis=1) * F.log_softmax(y, axis=1),
    "losses": lambda x, y: F.mse_loss(x, y) + F.l1_loss(x, y) + F.huber_loss(x, y) + F.smooth_l1_loss(x, y),
    "binary": lambda x, y: F.binary_cross_entropy_with_logits(x, (y.data > 0).astype(float)),
    "activations": lambda x, y: sum(f(x) for f in (mg.relu, mg.sigmoid, mg.softplus, mg.tanh, mg.erf)) * y,
    "more_activations": lambda x, y: F.gelu(x) + F.silu(x) + F.elu(x) + F.leaky_relu(x) + F.selu(y) + F.mish(y),
    "sorting": lambda x, y: mg.sort(x, axis=1) * y + mg.take_along_axis(x, mg.argsort(y, axis=1), axis=1),
    "extremes": lambda x, y: mg.max(x, axis=0) + mg.min(y) + mg.maximum(x, y) + mg.logsumexp(x, axis=1, keepdims=True),
    "sums": lambda x, y: mg.cumulative_sum(x, axis=1) + mg.prod(y, axis=0) + mg.std(x, axis=0) + mg.var(y),
    "shapes": lambda x, y: (
        mg.concat([x, y], axis=1).reshape(6, 8).T[1:5, ::2] + mg.roll(mg.flip(y, axis=0), 1, axis=0)[:, :3]
    ),
    "indices": lambda x, y: (
        x[[0, 2]] * y[1:3] + x[np.arange(2), [1, 2]][:, None] + mg.take(y, np.array([1, 1]), axis=0)
    ),
    "products": lambda x, y: (
        mg.einsum("ij,kj->ik", x, y) + x @ y.T + mg.tensordot(x, y, axes=([1], [1])) + mg.outer(x[0], y[0])[:4, :4]
    ),
    "choices": lambda x, y: mg.where(x > y, x, y) * mg.clip(x, -0.5, 0.5) + mg.abs(y) ** 1.5 + mg.sign(x) * y,
    "linear_algebra": lambda x, y: mg.linalg.inv(x @ x.T + np.eye(4)) + mg.linalg.solve(y @ y.T + np.eye(4), x @ y.T),
    "determinants": lambda x, y: mg.linalg.slogdet(x @ x.T + np.eye(4))[1] + mg.linalg.det(y @ y.T + np.eye(4)),
    "cosine": lambda x, y: (x * y).sum(axis=1) / mg.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1)),
    "pads": lambda x, y: mg.pad(x, ((1, 0), (0, 2))).sum() + mg.tile(y, (2, 1)) + mg.repeat(x, 2, axis=0),
    "triangles": lambda x, y: mg.tril(x) + mg.triu(y) + mg.diagonal(x).sum() + mg.trace(y),
}


def functional(C: Any, see: Any, f: Callable[[Any, Any], Any]) -> None:
    """A function, its gradients, and those of its gradients."""
    w = mg.Tensor(numbers(77, 4, 6), requires_grad=True)

    @C
    def step(x: Any) -> Any:
        w.grad = None
        x = mg.Tensor(x, requires_grad=True)
        y = f(x, w)
        (y * np.linspace(0.3, 1.0, y.size).reshape(y.shape)).sum().backward()
        return y, x.grad

    @C
    def curved(x: Any) -> Any:
        g = mg.grad(lambda v: (f(v, w) ** 2).sum())(x)
        w.grad = None
        (g**2).sum().backward()
        return g

    for k in range(7):
        see.attempt(step, numbers(k, 4, 6))
        see.attempt(curved, numbers(k, 4, 6))
        see(w)
        w.data *= 0.9


for _name, _function in FUNCTIONS.items():
    _body = functools.partial(functional, f=_function)
    _body.__module__, _body.__name__ = __name__, f"functional_{_name}"  # type: ignore[attr-defined]
    scenario(functions=2)(_body)


def in_dtype(C: Any, see: Any, dtype: Any) -> None:
    """A network in another dtype, with batch norm and dropout."""
    model = nn.Sequential(
        nn.Linear(6, 5, bias=False, rng=0), nn.BatchNorm(5), nn.ReLU(), nn.Dropout(0.2, rng=1), nn.Linear(5, 3, rng=2)
    )
    for p in model.parameters():
        p.data = p.data.astype(dtype)
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for k in range(8):
        see.attempt(step, numbers(k, 8, 6).astype(dtype), np.arange(8) % 3)
    see(list(model.parameters()))


for _dtype in (np.float32, np.float16):
    _body = functools.partial(in_dtype, dtype=_dtype)
    _body.__module__, _body.__name__ = __name__, f"network_in_{_dtype.__name__}"  # type: ignore[attr-defined]
    scenario(_body)
