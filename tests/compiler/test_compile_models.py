"""Compiled steps against eager ones: every layer, loss and optimizer, 100 steps in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.compiler.ir import typing as rules
from minigrad.compiler.passes import pipeline as passes

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

STEPS = 100


@pytest.fixture(autouse=True)
def _checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker runs after every pass."""
    for name, change in passes.PASSES.items():
        monkeypatch.setitem(passes.PASSES, name, lambda program, change=change: rules.check(change(program)))


Step = Callable[..., Any]
Build = Callable[[], tuple[nn.Module, Step]]
Batches = list[tuple[Any, ...]]


def assert_same(make: Build, batches: Batches, steps: int = STEPS) -> Any:
    """Run a step eagerly and compiled, from the same beginning on the same batches."""
    (ours, step), (theirs, eager) = make(), make()
    compiled = mg.compile(step)
    for k in range(steps):
        batch = batches[k % len(batches)]
        a, b = compiled(*batch), eager(*batch)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-11, atol=1e-13, err_msg=f"step {k}")
    expected = theirs.state_dict()
    for name, value in ours.state_dict().items():
        scale = np.max(np.abs(expected[name]), initial=1e-3)
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-12 * scale, err_msg=name)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        if q.grad is not None and p.grad is not None:
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-8, atol=1e-11)
    return compiled


def trained(model: nn.Module, loss: Callable[..., Any]) -> tuple[nn.Module, Step]:
    """A step of gradient descent."""
    parameters = list(model.parameters())
    optimizer = optim.SGD(parameters, lr=1e-2, momentum=0.5) if parameters else None

    def step(*batch: Any) -> Any:
        if optimizer is None:
            return loss(model, *batch)
        optimizer.zero_grad()
        value = loss(model, *batch)
        value.backward()
        optimizer.step()
        return value

    return model, step


def square(model: nn.Module, x: Any) -> Any:
    y = model(x)
    parts = y if isinstance(y, tuple) else (y,)
    return sum(((p + 0.3) ** 2).mean() for p in parts if hasattr(p, "node"))


LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(3, 4), (5, 3)),
    "Linear, 3 axes": (lambda: nn.Linear(3, 4), (2, 5, 3)),
    "BatchNorm": (lambda: nn.BatchNorm(3), (6, 3)),
    "BatchNorm of images": (lambda: nn.BatchNorm(3), (2, 4, 4, 3)),
    "LayerNorm": (lambda: nn.LayerNorm(3), (5, 3)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (3, 5, 4)),
    "InstanceNorm": (lambda: nn.InstanceNorm(3, affine=True), (2, 5, 3)),
    "RMSNorm": (lambda: nn.RMSNorm(3), (5, 3)),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 3, padding="same"), (2, 6, 2)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3), (2, 5, 5, 2)),
    "Conv2d, stride": (lambda: nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), (2, 5, 5, 2)),
    "Conv3d": (lambda: nn.Conv3d(1, 2, 2), (1, 3, 3, 3, 1)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(2, 3, 3, stride=2), (2, 4, 2)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 3, stride=2), (2, 3, 3, 2)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(1, 2, 2), (1, 2, 2, 2, 1)),
    "Bilinear": (lambda: Pair(nn.Bilinear(3, 3, 2)), (4, 3)),
    "Embedding": (lambda: Ids(nn.Embedding(7, 3)), (4, 5)),
    "RNN": (lambda: nn.RNN(2, 3), (2, 4, 2)),
    "LSTM": (lambda: nn.LSTM(2, 3, num_layers=2), (2, 2, 2)),
    "GRU": (lambda: nn.GRU(2, 3, bidirectional=True), (2, 2, 2)),
    "RNNCell": (lambda: nn.RNNCell(2, 3), (4, 2)),
    "LSTMCell": (lambda: nn.LSTMCell(2, 3), (4, 2)),
    "GRUCell": (lambda: nn.GRUCell(2, 3), (4, 2)),
    "MultiheadAttention": (lambda: Own(nn.MultiheadAttention(4, 2)), (2, 3, 4)),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 6, dropout=0.1, rng=0), (2, 3, 4)),
    "TransformerEncoder": (lambda: small_encoder(), (2, 3, 4)),
    "PositionalEncoding": (lambda: nn.Sequential(nn.Linear(4, 4), nn.PositionalEncoding(4)), (2, 3, 4)),
    "PReLU": (lambda: nn.Sequential(nn.Linear(3, 3), nn.PReLU()), (5, 3)),
    "Dropout": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.4, rng=1)), (5, 3)),
    "AlphaDropout": (lambda: nn.Sequential(nn.Linear(3, 4), nn.AlphaDropout(0.4, rng=1)), (5, 3)),
    "Dropout1d": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout1d(0.4, rng=1)), (2, 5, 3)),
    "Dropout2d": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout2d(0.4, rng=1)), (2, 3, 3, 3)),
    "Dropout3d": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout3d(0.4, rng=1)), (2, 2, 2, 2, 3)),
    "MaxPool1d": (lambda: nn.Sequential(nn.Linear(2, 3), nn.MaxPool1d(2)), (2, 6, 2)),
    "MaxPool2d": (lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.MaxPool2d(2)), (2, 5, 5, 1)),
    "MaxPool3d": (lambda: nn.Sequential(nn.Linear(1, 2), nn.MaxPool3d(2)), (1, 4, 4, 4, 1)),
    "AvgPool1d": (lambda: nn.Sequential(nn.Linear(2, 3), nn.AvgPool1d(2)), (2, 6, 2)),
    "AvgPool2d": (lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.AvgPool2d(2, padding=1)), (2, 5, 5, 1)),
    "AvgPool3d": (lambda: nn.Sequential(nn.Linear(1, 2), nn.AvgPool3d(2)), (1, 4, 4, 4, 1)),
    "AdaptiveAvgPool": (lambda: nn.Sequential(nn.Linear(2, 3), nn.AdaptiveAvgPool((2, 2))), (2, 5, 5, 2)),
    "AdaptiveMaxPool": (lambda: nn.Sequential(nn.Linear(2, 3), nn.AdaptiveMaxPool((2, 2))), (2, 5, 5, 2)),
    "Upsample": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Upsample(scale_factor=2)), (2, 3, 3, 2)),
    "Upsample, bilinear": (
        lambda: nn.Sequential(nn.Linear(2, 3), nn.Upsample(scale_factor=2, mode="bilinear")),
        (2, 3, 3, 2),
    ),
    "Flatten": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Flatten(), nn.Linear(12, 2)), (3, 4, 2)),
    "Identity": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Identity()), (3, 2)),
    "Softmax": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Softmax()), (3, 2)),
    "LogSoftmax": (lambda: nn.Sequential(nn.Linear(2, 3), nn.LogSoftmax()), (3, 2)),
}
ACTIVATIONS = "ELU GELU SELU Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish ReLU ReLU6 Sigmoid SiLU Softplus"
for _name in [*ACTIVATIONS.split(), "Softsign", "Tanh"]:
    LAYERS[_name] = (lambda name=_name: nn.Sequential(nn.Linear(3, 4), getattr(nn, name)()), (5, 3))

NOT_LAYERS = {"Module", "ModuleDict", "ModuleList", "Sequential"}


def small_encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0), 2)


class Pair(nn.Module):
    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x, x[::-1])


class Own(Pair):
    def forward(self, x: Any) -> Any:
        return self.layer(x, x, x)


class Ids(Pair):
    def forward(self, x: Any) -> Any:
        return self.layer((np.abs(x) * 3).astype(int))


def batches(*shape: int) -> Batches:
    r = np.random.default_rng(3)
    return [(np.clip(r.normal(size=shape), -2, 2),) for _ in range(4)]


def of_layer(name: str) -> tuple[Build, Batches]:
    make, shape = LAYERS[name]

    def build() -> tuple[nn.Module, Step]:
        mg.manual_seed(4)
        return trained(make(), square)

    return build, batches(*shape)


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    compiled = assert_same(*of_layer(name))
    assert len(compiled.versions) == 1


def test_every_layer_is_in_the_table() -> None:
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    layers -= {name for name in layers if name.endswith("Loss")} | NOT_LAYERS
    assert layers <= {name.split(",")[0].split(" of")[0] for name in LAYERS}


def classes(r: Any, *shape: int) -> Any:
    return r.integers(0, 3, shape)


LOSSES: dict[str, tuple[Callable[..., Any], Callable[[Any], Any]]] = {
    "cross_entropy": (F.cross_entropy, lambda r: classes(r, 4)),
    "cross_entropy, smoothed and weighted": (
        lambda z, t: F.cross_entropy(z, t, label_smoothing=0.1, weight=np.array([1.0, 2.0, 3.0]).astype(z.dtype)),
        lambda r: classes(r, 4),
    ),
    "cross_entropy, ignoring": (lambda z, t: F.cross_entropy(z, t, ignore_index=1), lambda r: classes(r, 4)),
    "nll_loss": (lambda z, t: F.nll_loss(F.log_softmax(z), t), lambda r: classes(r, 4)),
    "fused softmax_cross_entropy": (mg.fused.softmax_cross_entropy, lambda r: classes(r, 4)),
    "binary_cross_entropy": (lambda z, t: F.binary_cross_entropy(F.sigmoid(z), t), lambda r: r.random((4, 3))),
    "binary_cross_entropy_with_logits": (F.binary_cross_entropy_with_logits, lambda r: r.random((4, 3))),
    "kl_div": (lambda z, t: F.kl_div(F.log_softmax(z), t), lambda r: r.dirichlet([1, 1, 1], 4)),
    "hinge_loss": (F.hinge_loss, lambda r: r.choice([-1, 1], (4, 3))),
    "multi_margin_loss": (F.multi_margin_loss, lambda r: classes(r, 4)),
    "mse_loss": (F.mse_loss, lambda r: r.normal(size=(4, 3))),
    "l1_loss": (F.l1_loss, lambda r: r.normal(size=(4, 3))),
    "huber_loss": (F.huber_loss, lambda r: r.normal(size=(4, 3))),
    "smooth_l1_loss": (F.smooth_l1_loss, lambda r: r.normal(size=(4, 3))),
    "cosine_embedding_loss": (
        lambda z, t: F.cosine_embedding_loss(z, z[::-1] * 0.5 + 1, t),
        lambda r: r.choice([-1, 1], 4),
    ),
    "triplet_margin_loss": (lambda z, t: F.triplet_margin_loss(z, z[::-1] + 1, t), lambda r: r.normal(size=(4, 3))),
}


def of_loss(name: str) -> tuple[Build, Batches]:
    loss, targets = LOSSES[name]
    r = np.random.default_rng(5)
    given = [(r.normal(size=(4, 2)), targets(r)) for _ in range(4)]

    def build() -> tuple[nn.Module, Step]:
        mg.manual_seed(4)
        return trained(nn.Linear(2, 3), lambda model, x, t: loss(model(x), t))

    return build, given


@pytest.mark.parametrize("name", LOSSES)
def test_loss(name: str) -> None:
    assert_same(*of_loss(name))


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.05),
    "SGD, Nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "SGD, dampening": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.1),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.05, lr_decay=0.01),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True, eps=1e-3),
    "Adadelta": lambda p: optim.Adadelta(p),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "Adam, AMSGrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01, clipvalue=0.1),
    "Adamax": lambda p: optim.Adamax(p, lr=0.01, clipnorm=0.1),
    "NAdam": lambda p: optim.NAdam(p, lr=0.01, global_clipnorm=0.1),
    "RAdam": lambda p: optim.RAdam(p, lr=0.01),
    "Lion": lambda p: optim.Lion(p, lr=0.01),
    "groups": lambda p: optim.Adam([{"params": p[:2], "lr": 0.02}, {"params": p[2:]}], lr=0.01),
}


def of_optimizer(name: str) -> tuple[Build, Batches]:
    def build() -> tuple[nn.Module, Step]:
        mg.manual_seed(4)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        optimizer = OPTIMIZERS[name](list(model.parameters()))

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = square(model, x)
            loss.backward()
            optimizer.step()
            return loss

        return model, step

    return build, batches(5, 3)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name: str) -> None:
    assert_same(*of_optimizer(name))


def test_every_optimizer_is_in_the_table() -> None:
    known = {name for name in optim.__all__ if isinstance(getattr(optim, name), type)}
    known = {name for name in known if issubclass(getattr(optim, name), optim.Optimizer)} - {"Optimizer", "LBFGS"}
    assert known <= {name.split(",")[0] for name in OPTIMIZERS}
