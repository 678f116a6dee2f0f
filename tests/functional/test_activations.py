"""Activations, as functions and as modules, compared with scalar formulas from `math`."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.verify import check_gradients

rng = np.random.default_rng(31)


def phi(x):
    return (1 + math.erf(x / math.sqrt(2))) / 2


def logistic(x):
    return 1 / (1 + math.exp(-x))


def elu(x, alpha=1.0):
    return x if x > 0 else alpha * (math.exp(x) - 1)


# Klambauer et al. (2017), equation 14: the fixed point of mean 0 and variance 1 in terms of erfc.
ALPHA = -math.sqrt(2 / math.pi) / (math.erfc(1 / math.sqrt(2)) * math.exp(0.5) - 1)
SCALE = (
    (1 - math.erfc(1 / math.sqrt(2)) * math.sqrt(math.e))
    * math.sqrt(2 * math.pi)
    / math.sqrt(
        2 * math.erfc(math.sqrt(2)) * math.e**2
        + math.pi * math.erfc(1 / math.sqrt(2)) ** 2 * math.e
        - 2 * (2 + math.pi) * math.erfc(1 / math.sqrt(2)) * math.sqrt(math.e)
        + math.pi
        + 2
    )
)

ACTIVATIONS = {
    "ELU": (nn.ELU(), F.elu, elu),
    "ELU with alpha": (nn.ELU(0.7), lambda x: F.elu(x, alpha=0.7), lambda x: elu(x, 0.7)),
    "GELU": (nn.GELU(), F.gelu, lambda x: x * phi(x)),
    "Hardsigmoid": (nn.Hardsigmoid(), F.hardsigmoid, lambda x: 0 if x < -3 else 1 if x > 3 else x / 6 + 1 / 2),
    "Hardswish": (nn.Hardswish(), F.hardswish, lambda x: 0 if x < -3 else x if x > 3 else x * (x + 3) / 6),
    "Hardtanh": (nn.Hardtanh(), F.hardtanh, lambda x: -1 if x < -1 else 1 if x > 1 else x),
    "Hardtanh with bounds": (
        nn.Hardtanh(-0.5, 2.0),
        lambda x: F.hardtanh(x, min_val=-0.5, max_val=2.0),
        lambda x: -0.5 if x < -0.5 else 2 if x > 2 else x,
    ),
    "LeakyReLU": (nn.LeakyReLU(0.3), lambda x: F.leaky_relu(x, negative_slope=0.3), lambda x: x if x > 0 else 0.3 * x),
    "LogSigmoid": (nn.LogSigmoid(), F.log_sigmoid, lambda x: math.log(logistic(x))),
    "Mish": (nn.Mish(), F.mish, lambda x: x * math.tanh(math.log(1 + math.exp(x)))),
    "ReLU6": (nn.ReLU6(), F.relu6, lambda x: 0 if x < 0 else 6 if x > 6 else x),
    "SELU": (nn.SELU(), F.selu, lambda x: SCALE * elu(x, ALPHA)),
    "SiLU": (nn.SiLU(), F.silu, lambda x: x * logistic(x)),
    "Sigmoid": (nn.Sigmoid(), F.sigmoid, logistic),
    "Softplus": (nn.Softplus(), F.softplus, lambda x: math.log(1 + math.exp(x))),
    "Softsign": (nn.Softsign(), F.softsign, lambda x: x / (1 + abs(x))),
}


@pytest.fixture(params=ACTIVATIONS)
def activation(request):
    return ACTIVATIONS[request.param]


def test_value(activation):
    module, function, reference = activation
    x = np.concatenate([rng.uniform(-8, 8, 60), [0.0]]).reshape(1, 61)
    expected = [[reference(value) for value in x[0].tolist()]]
    np.testing.assert_allclose(function(x), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(module(x), function(x))


def test_gradient(activation):
    _, function, _ = activation
    report = check_gradients(function, np.array([-7.3, -4.2, -2.6, -0.8, -0.3, 0.4, 0.9, 1.7, 2.4, 3.6, 7.7]))
    assert report.ok, str(report)


@pytest.mark.floating(under="ignore")
def test_large_arguments(activation):
    _, function, _ = activation
    x = mg.Tensor([-700.0, 700.0], requires_grad=True)
    out = function(x)
    assert np.isfinite(out.numpy()).all()
    out.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_single_precision(activation):
    module, _, _ = activation
    x = mg.Tensor(rng.standard_normal(50).astype(np.float32), requires_grad=True)
    out = module(x)
    assert {node.dtype for node in mg.Tape(out)} == {np.dtype(np.float32)}
    out.sum().backward()
    assert x.grad.dtype == np.float32
    assert module.state_dict() == {}


@pytest.mark.parametrize(
    ("function", "points", "slopes"),
    [
        (F.elu, [0.0], [1.0]),
        (F.selu, [0.0], [SCALE * ALPHA]),
        (F.relu6, [0.0, 6.0], [0.0, 1.0]),
        (F.hardtanh, [-1.0, 1.0], [1.0, 1.0]),
        (F.hardsigmoid, [-3.0, 3.0], [1 / 6, 1 / 6]),
        (F.softsign, [0.0], [1.0]),
        (lambda x: F.prelu(x, np.array(0.25)), [0.0], [0.25]),
        (F.leaky_relu, [0.0], [0.01]),
    ],
)
def test_derivatives_at_kinks(function, points, slopes):
    x = mg.Tensor(points, requires_grad=True)
    function(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), slopes, rtol=1e-14)


OF_INTEGERS = ["log_sigmoid", "elu", "selu", "softplus", "softsign", "silu", "mish", "gelu", "relu6", "hardtanh",
               "hardsigmoid", "hardswish", "leaky_relu", "softmax", "log_softmax"]  # fmt: skip
INTEGERS = [np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int64, np.uint64]


@pytest.mark.floating(under="ignore")
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", OF_INTEGERS)
def test_integers_are_converted_to_floats(name, dtype):
    """Including the smallest integer, whose negative overflows, and unsigned integers."""
    activation = getattr(F, name)
    ends = [0, 1] if dtype is np.bool_ else [np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1, 3]
    x = np.array(ends, dtype)
    expected = activation(x.astype(np.float64))
    np.testing.assert_allclose(activation(x), expected, rtol=1e-15)
    np.testing.assert_allclose(activation(mg.asarray(x)).numpy(), expected, rtol=1e-15)


def test_selu_preserves_mean_and_variance():
    x = rng.standard_normal(1_000_000)
    out = F.selu(x)
    assert abs(out.mean()) < 5e-3
    assert out.var() == pytest.approx(1, abs=1e-2)


# PReLU


@pytest.mark.parametrize("count", [1, 3])
def test_prelu(count):
    layer, x = nn.PReLU(count), rng.standard_normal((4, 2, 3))
    assert layer.weight.numpy().tolist() == [0.25] * count
    layer.weight.data[...] = rng.standard_normal(count)
    slopes = np.broadcast_to(layer.weight.numpy(), 3)
    out, expected, dslopes = layer(x), x.copy(), np.zeros(count)
    for k in np.ndindex(x.shape):
        if x[k] <= 0:
            expected[k] = slopes[k[-1]] * x[k]
            dslopes[k[-1] % count] += x[k]
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-10, atol=1e-10)
    out.sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), dslopes, rtol=1e-10, atol=1e-10)
    assert check_gradients(F.prelu, x, layer.weight.numpy().copy()).ok


def test_prelu_in_single_precision_and_state():
    layer, other = (nn.PReLU(3, init=0.1 * k, dtype="float32") for k in (1, 2))
    x = mg.Tensor(rng.standard_normal((4, 3)).astype(np.float32), requires_grad=True)
    out = layer(x)
    assert {node.dtype for node in mg.Tape(out)} == {np.dtype(np.float32)}
    out.sum().backward()
    assert x.grad.dtype == layer.weight.grad.dtype == np.float32
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(other(x).numpy(), out.numpy())


# Along an axis


@pytest.mark.parametrize("axis", [-1, 0])
def test_log_softmax(axis):
    x = rng.standard_normal((3, 4)) * 5
    expected = np.empty_like(x)
    for k in np.ndindex(x.shape):
        row = x[k[0]] if axis == -1 else x[:, k[1]]
        expected[k] = x[k] - math.log(sum(math.exp(value) for value in row.tolist()))
    np.testing.assert_allclose(nn.LogSoftmax(axis)(x), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(np.exp(nn.LogSoftmax(axis)(x)), nn.Softmax(axis)(x), rtol=1e-12)
    single = nn.LogSoftmax(axis)(mg.Tensor(x.astype(np.float32), requires_grad=True))
    assert {node.dtype for node in mg.Tape(single)} == {np.dtype(np.float32)}


def test_repr():
    assert repr(nn.PReLU(3)) == "PReLU(num_parameters=3)"
    assert repr(nn.Hardtanh(-2, 2)) == "Hardtanh(-2, 2)"
    assert repr(nn.LogSoftmax(0)) == "LogSoftmax(axis=0)"
    assert repr(nn.Mish()) == "Mish()"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: nn.PReLU(0), "at least 1"),
        (
            lambda: nn.PReLU(2)(np.ones((2, 3))),
            r"PReLU\(num_parameters=2\): expected x with 2 .*got shape \(2, 3\)",
        ),
        (lambda: F.prelu(np.ones((2, 3)), np.ones(2)), r"prelu\(\(2, 3\).*one for each channel"),
        (lambda: nn.Hardtanh(1, 1), "min_val must be less than max_val"),
        (lambda: F.hardtanh(np.ones(2), min_val=2.0), "must be less than max_val"),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.floating(under="ignore")
def test_erf_and_gelu_in_half_precision_over_the_whole_range():
    def gelu(t):
        return t * phi(t) if math.isfinite(t) else max(t, 0.0)

    x = np.concatenate([np.linspace(-10, 10, 801), [6e4, -6e4, np.inf, -np.inf]]).astype(np.float16)
    for result, function in ((mg.erf(x), math.erf), (F.gelu(x), gelu)):
        expected = np.array([function(float(t)) for t in x])
        assert result.dtype == np.float16
        np.testing.assert_allclose(result.astype(float), expected, rtol=2e-3, atol=1e-6)
