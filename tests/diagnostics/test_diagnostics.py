"""Networks that are broken on purpose, each with its cause; and healthy ones, for which nothing is reported."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.diagnostics import watch
from minigrad.nn import init

pytestmark = pytest.mark.floating(all="ignore")


def normal(std):
    return partial(init.random_normal, stddev=std)


def data(rows=128, features=50, seed=0):
    """Random features, and the largest of ten of them as the class."""
    x = np.random.default_rng(seed).normal(size=(rows, features))
    return x, x[:, :10].argmax(axis=1)


def mlp(activation=nn.ReLU, init="he_normal", depth=4, width=50, norm=None, seed=0):
    rng, layers = np.random.default_rng(seed), []
    for _ in range(depth):
        layers += [nn.Linear(width, width, init=init, rng=rng)]
        layers += [norm(width)] if norm else []
        layers += [activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10, rng=rng))


def train(model, lr=0.1, steps=10, optimizer=None, x=None, y=None, loss=F.cross_entropy):
    x, y = data() if x is None else (x, y)
    optimizer = optimizer or optim.SGD(model.parameters(), lr=lr)
    with watch(model) as w:
        for _ in range(steps):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
    return w


class Recurrent(nn.Module):
    """A recurrent layer and a linear layer on its last state."""

    def __init__(self, cell, seed=1):
        self.rnn = cell
        self.head = nn.Linear(cell.hidden_size, 1, rng=seed)

    def forward(self, x):
        if isinstance(self.rnn, nn.RNNCell):
            h = None
            for t in range(x.shape[1]):
                h = self.rnn(x[:, t], h)
            return self.head(h)
        return self.head(self.rnn(x)[0][:, -1])


def recurrent(cell, gain):
    rng = np.random.default_rng(0)
    model = Recurrent(cell)
    weight = cell.weight_hh if isinstance(cell, nn.RNNCell) else cell.weight_hh_l0
    with mg.no_grad():
        weight[...] = gain * init.orthogonal(weight.shape, rng=rng)
    x, y = rng.normal(size=(32, 25, 4)), rng.normal(size=(32, 1))
    return train(model, lr=1e-3, steps=3, x=x, y=y, loss=F.mse_loss)


def dead():
    model = mlp()
    with mg.no_grad():
        model[2].bias[...] = -20.0
    return train(model)


def frozen():
    model = mlp()
    model[2].requires_grad_(False)
    return train(model)


def left_out():
    model = mlp()
    return train(model, optimizer=optim.SGD([p for n, p in model.named_parameters() if n[0] != "4"], lr=0.1))


class Parts(nn.Module):
    """Two layers with a function between them."""

    def __init__(self, between):
        self.a, self.b = nn.Linear(50, 30, rng=0), nn.Linear(30, 10, rng=1)
        self.between = between

    def forward(self, x):
        return self.b(self.between(self.a(x)))


class Unused(Parts):
    def __init__(self):
        super().__init__(mg.relu)
        self.never = nn.Linear(3, 3)


def guarded_root(h):
    h = mg.relu(h)
    return mg.where(h.data > 0, mg.sqrt(h), 0.0)


def log_of_probabilities(out, y):
    p = F.softmax(1000 * out)
    return -mg.log(p[np.arange(len(y)), y]).mean()


X, Y = data()
LARGE_FEATURE = np.where(np.arange(50) == 7, 1000.0, 1.0)
ADAM = partial(optim.Adam, lr=3e-3)

# name: the observation, the cause, the layers to blame (None: any), and a part of the sentence
BROKEN = {
    "saturated sigmoid": (
        lambda: train(mlp(nn.Sigmoid, normal(2.0))),
        "saturated",
        ["1", "3", "5", "7"],
        "is 2.0, Glorot would be 0.14",
    ),
    "saturated, narrow": (
        lambda: train(mlp(nn.Sigmoid, normal(1.0), width=20), x=X[:, :20], y=Y),
        "saturated",
        ["1"],
        "std of the weights is 1.0, Glorot would be 0.22",
    ),
    "saturated tanh": (lambda: train(mlp(nn.Tanh, normal(2.0))), "saturated", ["1", "3", "5", "7"], "saturated tanh"),
    "zero weights": (lambda: train(mlp(nn.Sigmoid, "zeros")), "symmetric", None, "their weights started at 0"),
    "equal weights": (
        lambda: train(mlp(nn.Tanh, partial(init.constant, value=0.1))),
        "symmetric",
        None,
        "they will always act as one unit",
    ),
    "weights too small": (
        lambda: train(mlp(nn.Tanh, normal(0.01))),
        "weights too small",
        ["0", "2", "4", "6"],
        "is 0.010, Glorot would be 0.14",
    ),
    "weights too large": (
        lambda: train(mlp(nn.ReLU, normal(2.0)), lr=1e-9),
        "weights too large",
        ["0", "2", "4", "6"],
        "is 2.0, Glorot would be 0.14",
    ),
    "dead ReLU": (dead, "dead ReLU", ["3"], "100 % of its units are 0 for every row"),
    "exploding recurrent layer": (
        lambda: recurrent(nn.RNN(4, 24, rng=0), 3.0),
        "exploding recurrent",
        ["rnn"],
        "weight_hh is 3.0",
    ),
    "exploding recurrent ReLU": (
        lambda: recurrent(nn.RNN(4, 24, nonlinearity="relu", rng=0), 4.0),
        "exploding recurrent",
        ["rnn"],
        "is 4.0",
    ),
    "exploding recurrent cell": (
        lambda: recurrent(nn.RNNCell(4, 24, rng=0), 3.0),
        "exploding recurrent",
        ["rnn"],
        "over 25",
    ),
    "learning rate too large": (
        lambda: train(mlp(), lr=30.0),
        "learning rate too large",
        [""],
        "the rule of thumb is 1e-3",
    ),
    "learning rate too large for Adam": (
        lambda: train(model := mlp(), optimizer=partial(ADAM, lr=0.5)(model.parameters())),
        "learning rate too large",
        [""],
        "1e-3",
    ),
    "learning rate too small": (
        lambda: train(mlp(), lr=1e-6),
        "learning rate too small",
        [""],
        "gradients are not small",
    ),
    "no normalization, shrinking": (
        lambda: train(mlp(nn.ReLU, "glorot_normal", 16), steps=2),
        "missing normalization",
        ["30"],
        "shrinks by a factor of 1.33",
    ),
    "no normalization, growing": (
        lambda: train(mlp(nn.ReLU, normal(0.3), 16), steps=2, lr=1e-4),
        "missing normalization",
        ["30"],
        "grows by a factor of 1.5",
    ),
    "deep sigmoids": (lambda: train(mlp(nn.Sigmoid, "glorot_normal", 10)), "vanishing gradient", ["0"], "vanishes"),
    "frozen": (frozen, "frozen", ["2"], "requires_grad is False"),
    "not in the optimizer": (left_out, "frozen", ["4"], "the optimizer does not know its parameters"),
    "detached": (lambda: train(Parts(lambda h: mg.relu(h).detach())), "frozen", ["a"], "no gradient reaches it"),
    "never called": (lambda: train(Unused()), "frozen", ["never"], "this Linear was never called"),
    "inputs not scaled": (
        lambda: train(mlp(), lr=1e-3, x=128 + 64 * X, y=Y),
        "inputs not scaled",
        ["0"],
        "mean 128 and std 64",
    ),
    "inputs not scaled, sigmoid": (
        lambda: train(mlp(nn.Sigmoid, "glorot_normal"), x=128 + 64 * X, y=Y),
        "inputs not scaled",
        ["0"],
        "mean 128",
    ),
    "one feature not scaled": (
        lambda: train(mlp(nn.Tanh, "glorot_normal"), x=X * LARGE_FEATURE, y=Y),
        "inputs not scaled",
        ["0"],
        "feature 7",
    ),
    "log of zero": (lambda: train(Parts(mg.relu), loss=log_of_probabilities), "log of zero", [""], "log of 0"),
    "NaN by where": (lambda: train(Parts(guarded_root)), "discarded by where", None, "mg.sqrt(h)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_cause_of_each_broken_network(name):
    observe, cause, layers, part = BROKEN[name]
    report = observe().report()
    assert report.causes == [cause]
    first = report.findings[0]
    blamed = [f.layer for f in report.findings if f.cause == cause and not f.follows_from]
    assert layers is None or blamed == layers
    assert part in first.sentence
    assert first.remedy in " ".join(str(report).split()).replace("  ", " ")
    assert str(report).splitlines()[0].startswith(f"{report.model}: {cause};")
    assert len(str(report).splitlines()) < 60
    assert not report.ok


@pytest.mark.parametrize(
    ("name", "consequence"),
    [
        ("inputs not scaled, sigmoid", "saturated"),
        ("learning rate too large for Adam", "dead ReLU"),
        ("exploding recurrent layer", "saturated"),
        ("dead ReLU", "no gradient"),
    ],
)
def test_consequences_name_the_cause_they_follow_from(name, consequence):
    observe, cause, _, _ = BROKEN[name]
    report = observe().report()
    assert {f.follows_from for f in report.findings if f.cause == consequence} == {cause}
    assert f"follows from {cause}" in str(report)


def test_nan_finding_names_the_line():
    (finding,) = BROKEN["NaN by where"][0]().report().findings
    assert finding.evidence["file"] == __file__
    assert finding.evidence["source"] == "return mg.where(h.data > 0, mg.sqrt(h), 0.0)"
    assert finding.evidence["step"] == 0
    assert "np.where does not protect the gradient" in finding.remedy


def test_evidence_matches_measurements():
    report = train(mlp(nn.Sigmoid, normal(2.0)), steps=1).report()
    evidence = report.findings[0].evidence
    model, (x, _) = mlp(nn.Sigmoid, normal(2.0)), data()
    values = F.sigmoid(x @ model[0].weight.data)
    assert evidence["saturated"] == np.mean((values < 0.01) | (values > 0.99))
    assert evidence["weight_std"] == pytest.approx(model[0].weight.data.std())
    assert evidence["glorot_std"] == pytest.approx((2 / 100) ** 0.5)
    small = train(mlp(), lr=1e-6, steps=1)
    w, g = mlp()[0].weight.data, None
    copy = mlp()
    F.cross_entropy(copy(data()[0]), data()[1]).backward()
    g = copy[0].weight.grad.data
    layer = next(iter(small.layers.values()))
    assert layer.now["update"] == pytest.approx(1e-6 * np.linalg.norm(g) / np.linalg.norm(w))
    assert layer.now["weight_gradient"] == pytest.approx(np.sqrt(np.mean(g * g)))


# Healthy networks


class Residual(nn.Module):
    def __init__(self, n, rng):
        self.norm, self.a = nn.LayerNorm(n), nn.Linear(n, n, init="he_normal", rng=rng)
        self.b = nn.Linear(n, n, rng=rng)

    def forward(self, x):
        return x + self.b(mg.relu(self.a(self.norm(x))))


class Embedded(nn.Module):
    def __init__(self, rng):
        self.embed, self.head = nn.Embedding(20, 8, rng=rng), nn.Linear(8 * 50, 10, rng=rng)

    def forward(self, x):
        return self.head(self.embed(x).reshape(len(x), -1))


def convolutional(rng):
    layers = [nn.Conv2d(1, 8, 3, rng=rng), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 2, rng=rng), nn.BatchNorm(16)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(64, 10, rng=rng))


def sequence(rng):
    return rng.normal(size=(64, 20, 4)), rng.normal(size=(64, 1))


def classes(rng):
    return data(128, 50, rng.integers(1000))


def linear(*sizes, rng):
    return [nn.Linear(a, b, rng=rng) for a, b in pairwise(sizes)]


def tanh_regression(rng):
    return nn.Sequential(*linear(1, 50, rng=rng), nn.Tanh(), *linear(50, 1, rng=rng))


def logistic(rng):
    return nn.Sequential(*linear(50, 1, rng=rng), nn.Sigmoid())


def with_dropout(rng):
    return nn.Sequential(*linear(50, 80, rng=rng), nn.ReLU(), nn.Dropout(0.5, rng=1), *linear(80, 10, rng=rng))


def head_of_zeros(rng):
    return nn.Sequential(*mlp(depth=2, seed=rng)[:4], nn.Linear(50, 10, init="zeros"))


def residual(rng):
    return nn.Sequential(*[Residual(50, rng) for _ in range(8)], *linear(50, 10, rng=rng))


def images(rng):
    return rng.random((128, 8, 8, 1)), rng.integers(0, 10, 128)


def words(rng):
    return rng.integers(0, 20, (64, 50)), rng.integers(0, 10, 64)


def curve(rng):
    x = rng.normal(size=(200, 1))
    return x, np.sin(x)


def yes_or_no(rng):
    x = rng.normal(size=(200, 50))
    return x, (x[:, :1] > 0) * 1.0


# name: the model, the data, the optimizer, the loss, steps
SGD, CE = partial(optim.SGD, lr=0.05, momentum=0.9), F.cross_entropy
HEALTHY = {
    "ReLU, He": (lambda rng: mlp(seed=rng), classes, SGD, CE, 20),
    "ReLU, Glorot, Adam": (
        partial(mlp, nn.ReLU, "glorot_uniform", 2, 50, None),
        classes,
        partial(ADAM, lr=1e-2),
        CE,
        20,
    ),
    "tanh": (partial(mlp, nn.Tanh, "glorot_normal", 4, 50, None), classes, SGD, CE, 20),
    "sigmoid": (partial(mlp, nn.Sigmoid, "glorot_normal", 2, 50, None), classes, partial(optim.SGD, lr=0.5), CE, 20),
    "deep with batch norm": (partial(mlp, nn.ReLU, "he_normal", 12, 50, nn.BatchNorm), classes, SGD, CE, 10),
    "large weights, batch norm": (partial(mlp, nn.ReLU, normal(1.0), 4, 50, nn.BatchNorm), classes, SGD, CE, 10),
    "deep with layer norm": (partial(mlp, nn.Tanh, "glorot_normal", 10, 50, nn.LayerNorm), classes, ADAM, CE, 10),
    "10 layers, He": (partial(mlp, nn.ReLU, "he_normal", 10, 50, None), classes, partial(optim.SGD, lr=0.01), CE, 10),
    "head of zeros": (head_of_zeros, classes, ADAM, CE, 20),
    "dropout": (with_dropout, classes, ADAM, CE, 20),
    "functions instead of modules": (lambda rng: Parts(mg.tanh), classes, SGD, CE, 20),
    "residual": (residual, classes, partial(optim.Adam, lr=1e-3), CE, 10),
    "convolutional": (convolutional, images, ADAM, CE, 10),
    "embedding": (Embedded, words, ADAM, CE, 10),
    "RNN": (lambda rng: Recurrent(nn.RNN(4, 24, rng=rng)), sequence, ADAM, F.mse_loss, 10),
    "RNN cell": (lambda rng: Recurrent(nn.RNNCell(4, 24, rng=rng)), sequence, ADAM, F.mse_loss, 5),
    "LSTM": (lambda rng: Recurrent(nn.LSTM(4, 24, rng=rng)), sequence, ADAM, F.mse_loss, 10),
    "regression": (tanh_regression, curve, partial(ADAM, lr=1e-2), F.mse_loss, 30),
    "logistic regression": (logistic, yes_or_no, partial(optim.SGD, lr=1.0), F.binary_cross_entropy, 30),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_networks_have_no_findings(name, seed):
    build, draw, optimizer, loss, steps = HEALTHY[name]
    model = build(np.random.default_rng(seed))
    x, y = draw(np.random.default_rng(seed + 100))
    report = train(model, optimizer=optimizer(model.parameters()), x=x, y=y, loss=loss, steps=steps).report()
    assert [(f.cause, f.sentence) for f in report.findings] == []
    assert report.ok
    assert str(report).startswith(f"{report.model}: nothing wrong found")
