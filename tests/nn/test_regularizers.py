"""Penalties and constraints on parameters."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.nn import constraints, regularizers


def network():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    rng = np.random.default_rng(0)
    for p in net.parameters():
        p.data = rng.standard_normal(p.shape)
    return net


def values(net, *names):
    state = net.state_dict()
    return [state[name] for name in names or state]


WEIGHTS = ("0.weight", "2.weight")
ALL = ("0.weight", "0.bias", "2.weight", "2.bias")


@pytest.mark.parametrize(
    ("only", "names"),
    [
        (None, ALL),
        ("*weight", WEIGHTS),
        (["0.bias", "2.*"], ("0.bias", "2.weight", "2.bias")),
        (lambda name, p: p.ndim > 1, WEIGHTS),
    ],
)
@pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.0, 0.2), (0.3, 0.2)])
def test_value_and_gradient(only, names, l1, l2):
    net = network()
    x = np.random.default_rng(1).standard_normal((5, 4))
    loss = (net(x) ** 2).mean()
    loss.backward()
    plain = {name: p.grad.numpy().copy() for name, p in net.named_parameters()}
    net.zero_grad()

    penalty = regularizers.L1L2(l1, l2, only)(net)
    assert penalty.shape == ()
    expected = sum(l1 * abs(w).sum() + l2 * (w**2).sum() for w in values(net, *names))
    assert penalty.item() == pytest.approx(expected, rel=1e-12)
    ((net(x) ** 2).mean() + penalty).backward()
    for name, p in net.named_parameters():
        contribution = l1 * np.sign(p.data) + 2 * l2 * p.data if name in names else 0
        np.testing.assert_allclose(p.grad.numpy(), plain[name] + contribution, rtol=1e-12, atol=1e-14)


def test_special_cases():
    net = network()
    assert regularizers.L1(0.3)(net).item() == regularizers.L1L2(l1=0.3)(net).item()
    assert regularizers.L2(0.3)(net).item() == regularizers.L1L2(l2=0.3)(net).item()
    assert regularizers.L1L2()(net).item() == 0
    layer = nn.Linear(4, 3)
    assert regularizers.L2(0.5)(layer.weight).item() == pytest.approx(0.5 * (layer.weight.numpy() ** 2).sum())
    assert regularizers.L1(1.0)([layer.bias, layer.bias]).item() == 2 * abs(layer.bias.numpy()).sum()


def test_penalty_stays_in_single_precision():
    w = mg.Tensor(np.ones(3, np.float32), requires_grad=True)
    penalty = regularizers.L1L2(0.1, 0.1)(w)
    penalty.backward()
    assert penalty.dtype == w.grad.dtype == np.float32


def test_l2_is_equivalent_to_twice_its_weight_decay():
    first, second = network(), network()
    decaying = optim.SGD(first.parameters(), lr=0.1, momentum=0.9, weight_decay=0.4)
    plain = optim.SGD(second.parameters(), lr=0.1, momentum=0.9)
    penalty = regularizers.L2(0.2)
    x = np.random.default_rng(1).standard_normal((5, 4))
    for _ in range(50):
        for net, optimizer, extra in ((first, decaying, None), (second, plain, penalty)):
            loss = np.tanh(net(x)).mean()
            optimizer.zero_grad()
            (loss + extra(net) if extra else loss).backward()
            optimizer.step()
    for a, b in zip(values(first), values(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [float, np.float32])
@pytest.mark.parametrize("shape", [(4, 3), (3, 3, 2, 5)])
def test_max_norm(dtype, shape):
    w = (2 * np.random.default_rng(0).standard_normal(shape)).astype(dtype)
    w[..., 0] *= 0.01
    p = mg.Tensor(w.copy(), requires_grad=True)
    constraints.MaxNorm(1.5)(p)
    assert p.dtype == dtype
    for k in range(shape[-1]):
        norm = np.sqrt((w[..., k] ** 2).sum())
        expected = w[..., k] * min(1, 1.5 / norm)
        np.testing.assert_allclose(p.numpy()[..., k], expected, rtol=1e-6 if dtype is np.float32 else 1e-14)
        assert (norm < 1.5) == (k == 0)


def test_unit_norm():
    w = np.random.default_rng(0).standard_normal((4, 3))
    w[:, 1] = 0
    p = mg.Tensor(w.copy(), requires_grad=True)
    constraints.UnitNorm()(p)
    np.testing.assert_allclose((p.numpy() ** 2).sum(0), [1, 0, 1], rtol=1e-14)
    np.testing.assert_allclose(p.numpy() * np.sqrt((w**2).sum(0)), w * [1, 0, 1], rtol=1e-14)
    constraints.UnitNorm(axis=1)(p)
    np.testing.assert_allclose((p.numpy() ** 2).sum(1), np.ones(4), rtol=1e-14)


def test_constraints_apply_to_selected_parameters():
    net = network()
    before = net.state_dict()
    constraints.UnitNorm()(net)
    for name, w in net.state_dict().items():
        if name.endswith("weight"):
            np.testing.assert_allclose((w**2).sum(0), np.ones(w.shape[1]), rtol=1e-14)
        else:
            np.testing.assert_array_equal(w, before[name])
    net = network()
    constraints.NonNegative("2.*")(net)
    for name, w in net.state_dict().items():
        np.testing.assert_array_equal(w, np.maximum(before[name], 0) if name.startswith("2") else before[name])


def test_optimizers_update_constrained_parameters():
    p = mg.Tensor(np.array([[3.0], [4.0]]), requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0)
    for _ in range(2):
        p.grad = np.zeros((2, 1))
        optimizer.step()
        constraints.UnitNorm()(p)
    np.testing.assert_allclose(optimizer.param_groups[0]["params"][0].numpy(), [[0.6], [0.8]], rtol=1e-14)
    assert p.requires_grad
    assert p.is_leaf


def test_constraint_between_forward_and_backward_is_an_error():
    p = mg.Tensor(np.array([3.0, -4.0]), requires_grad=True)
    loss = (p * p).sum()
    constraints.NonNegative()(p)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


BAD = {
    "negative": (lambda: regularizers.L1(-1.0), ValueError, r"L1: l1=-1.0"),
    "nan": (lambda: regularizers.L2(float("nan")), ValueError, r"L2: l2=nan"),
    "no such name": (
        lambda: regularizers.L2(only="kernel")(network()),
        ValueError,
        "matches; its parameters are: 0.weight, 0.bias",
    ),
    "arrays": (lambda: regularizers.L2()([np.ones(2)]), TypeError, "ndarray is not a Tensor"),
    "names without a module": (
        lambda: regularizers.L2(only="weight")(mg.Tensor([1.0])),
        TypeError,
        "only='weight' are names of a module's parameters",
    ),
    "max_value": (lambda: constraints.MaxNorm(0.0), ValueError, "max_value=0.0"),
    "constrained arrays": (lambda: constraints.NonNegative()([1.0]), TypeError, "NonNegative: float is not a Tensor"),
    "nothing to constrain": (
        lambda: constraints.NonNegative("x")(network()),
        ValueError,
        "no parameter of .* matches",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, error, says = BAD[name]
    with pytest.raises(error, match=says):
        call()
