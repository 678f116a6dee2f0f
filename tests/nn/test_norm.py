"""Normalization layers and functions against references with loops."""

import itertools

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import fused, nn
from minigrad.verify import check_gradients

rng = np.random.default_rng(17)


def standardized(part, eps):
    """A block of numbers with mean 0 and variance 1, from Python sums."""
    count, flat = part.size, part.ravel().tolist()
    mean = sum(flat) / count
    variance = sum((value - mean) ** 2 for value in flat) / count
    return (part - mean) / (variance + eps) ** 0.5


def layer_norm(x, gamma, beta, eps, axes=1):
    out = np.empty_like(x)
    for k in np.ndindex(x.shape[: x.ndim - axes]):
        out[k] = standardized(x[k], eps) * gamma + beta
    return out


def rms_norm(x, gamma, eps):
    out = np.empty_like(x)
    for k in np.ndindex(x.shape[:-1]):
        row = x[k].tolist()
        out[k] = x[k] * gamma / (sum(value * value for value in row) / len(row) + eps) ** 0.5
    return out


def group_norm(x, gamma, beta, groups, eps):
    out, size = np.empty_like(x), x.shape[-1] // groups
    for n, g in itertools.product(range(len(x)), range(groups)):
        part = slice(g * size, (g + 1) * size)
        out[n, ..., part] = standardized(x[n, ..., part], eps)
    return out * gamma + beta


def drawn(*shapes):
    return [rng.standard_normal(shape) * 2 + 1 for shape in shapes]


def trained(layer):
    """The layer with parameters that are neither 0 nor 1."""
    for p in layer.parameters():
        p.data[...] = rng.standard_normal(p.shape)
    return layer


def assert_close(actual, expected):
    np.testing.assert_allclose(np.asarray(getattr(actual, "data", actual)), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 3, 6), (2, 3, 2, 6)])
def test_layer_and_rms_norm(shape):
    x, gamma, beta = drawn(shape, 6, 6)
    assert_close(F.layer_norm(x, gamma, beta, eps=1e-3), layer_norm(x, gamma, beta, 1e-3))
    assert_close(fused.layer_norm(x, gamma, beta, eps=1e-3)[0], layer_norm(x, gamma, beta, 1e-3))
    assert_close(F.rms_norm(x, gamma, eps=1e-3), rms_norm(x, gamma, 1e-3))
    layer, rms = trained(nn.LayerNorm(6)), trained(nn.RMSNorm(6))
    assert_close(layer(x), layer_norm(x, layer.gamma.numpy(), layer.beta.numpy(), 1e-5))
    assert_close(rms(x), rms_norm(x, rms.gamma.numpy(), 1e-5))


def test_several_axes():
    x, gamma, beta = drawn((2, 4, 3, 2), (3, 2), (3, 2))
    expected = layer_norm(x, gamma, beta, 1e-5, axes=2)
    assert_close(F.layer_norm(x, gamma, beta, axis=(-2, -1)), expected)
    assert_close(F.layer_norm(x, gamma, beta, axis=(2, 3)), expected)
    assert_close(fused.layer_norm(x, gamma, beta)[0], expected)
    flat = rms_norm(x.reshape(2, 4, 6), gamma.ravel(), 1e-5)
    assert_close(F.rms_norm(x, gamma, axis=(-2, -1)), flat.reshape(x.shape))
    assert nn.LayerNorm((3, 2))(x).shape == nn.RMSNorm([3, 2])(x).shape == x.shape


@pytest.mark.parametrize("shape", [(3, 6), (2, 5, 6), (2, 3, 2, 6), (2, 2, 1, 2, 6)])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(shape, groups):
    x, gamma, beta = drawn(shape, 6, 6)
    assert_close(F.group_norm(x, gamma, beta, groups=groups), group_norm(x, gamma, beta, groups, 1e-5))
    layer = trained(nn.GroupNorm(groups, 6, eps=1e-3))
    assert_close(layer(x), group_norm(x, layer.gamma.numpy(), layer.beta.numpy(), groups, 1e-3))


@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 3, 2, 6), (2, 2, 1, 2, 6)])
def test_instance_norm(shape):
    x, gamma, beta = drawn(shape, 6, 6)
    assert_close(F.instance_norm(x, gamma, beta), group_norm(x, gamma, beta, 6, 1e-5))
    assert_close(nn.InstanceNorm(6)(x), group_norm(x, 1, 0, 6, 1e-5))
    layer = trained(nn.InstanceNorm(6, eps=1e-3, affine=True))
    assert_close(layer(x), group_norm(x, layer.gamma.numpy(), layer.beta.numpy(), 6, 1e-3))


def test_without_scale_or_shift():
    (x,) = drawn((3, 4, 6))
    assert_close(F.layer_norm(x), layer_norm(x, 1, 0, 1e-5))
    assert_close(F.layer_norm(x, None, np.arange(6.0)), layer_norm(x, 1, np.arange(6.0), 1e-5))
    assert_close(nn.LayerNorm(6, elementwise_affine=False)(x), layer_norm(x, 1, 0, 1e-5))
    scale = trained(nn.LayerNorm(6, bias=False))
    assert_close(scale(x), layer_norm(x, scale.gamma.numpy(), 0, 1e-5))
    assert_close(nn.RMSNorm(6, elementwise_affine=False)(x), rms_norm(x, 1, 1e-5))
    assert_close(nn.GroupNorm(2, 6, affine=False)(x), group_norm(x, 1, 0, 2, 1e-5))


COMPOSED = {
    "layer_norm": lambda x, g, b: F.layer_norm(x, g, b, eps=0.1),
    "fused": lambda x, g, b: fused.layer_norm(x, g, b, eps=0.1),
    "rms_norm": lambda x, g, b: F.rms_norm(x, g, eps=0.1) + b,
    "group_norm": lambda x, g, b: F.group_norm(x, g, b, groups=2, eps=0.1),
    "instance_norm": lambda x, g, b: F.instance_norm(x, g, b, eps=0.1),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_gradients(name):
    assert check_gradients(COMPOSED[name], *drawn((2, 3, 4), 4, 4)).ok


def test_fused_and_composed_gradients_agree():
    operands, (dy,) = drawn((8, 6), 6, 6), drawn((8, 6))
    actual = mg.grad(lambda *a: (fused.layer_norm(*a)[0] * dy).sum(), (0, 1, 2))(*operands)
    expected = mg.grad(lambda *a: (F.layer_norm(*a) * dy).sum(), (0, 1, 2))(*operands)
    for a, b in zip(actual, expected, strict=True):
        assert_close(a, np.asarray(getattr(b, "data", b)))


def lines(out):
    return {node.name: getattr(node, "label", None) for node in mg.Tape(out) if getattr(node, "name", None)}


def test_nodes_have_names():
    x = mg.Tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    expected = {"mu": "μ", "var": "σ²", "xhat": "x̂", "y": None}
    for out in (
        F.layer_norm(x, np.ones(4)),
        F.group_norm(x, np.ones(4), groups=2),
        F.instance_norm(x, None, np.ones(4)),
    ):
        assert lines(out) == expected
    assert lines(F.rms_norm(x, np.ones(4))) == {"r": None, "xhat": "x̂", "y": None}


LAYERS = [
    nn.LayerNorm(4, dtype="float32"),
    nn.LayerNorm(4, bias=False, dtype="float32"),
    nn.RMSNorm(4, dtype="float32"),
    nn.GroupNorm(2, 4, dtype="float32"),
    nn.InstanceNorm(4, affine=True, dtype="float32"),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_single_precision_and_state(layer):
    trained(layer)
    x = mg.Tensor(rng.standard_normal((2, 3, 4)).astype(np.float32), requires_grad=True)
    out = layer(x)
    assert {node.dtype for node in mg.Tape(out) if not isinstance(node.dtype, tuple)} == {np.dtype(np.float32)}
    out.sum().backward()
    assert {p.grad.dtype for p in (x, *layer.parameters())} == {np.dtype(np.float32)}
    arguments = (2, 4) if isinstance(layer, nn.GroupNorm) else (4,)
    options = {"affine": True} if isinstance(layer, nn.InstanceNorm) else {}
    if isinstance(layer, nn.LayerNorm):
        options["bias"] = layer.beta is not None
    other = type(layer)(*arguments, dtype="float32", **options)
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(other.eval()(x).numpy(), out.numpy())


def test_repr():
    assert repr(nn.LayerNorm(4)) == "LayerNorm(4, eps=1e-05)"
    assert repr(nn.LayerNorm((3, 4), bias=False)) == "LayerNorm((3, 4), eps=1e-05, bias=False)"
    assert repr(nn.RMSNorm(4, elementwise_affine=False)) == "RMSNorm(4, eps=1e-05, elementwise_affine=False)"
    assert repr(nn.GroupNorm(2, 4)) == "GroupNorm(2, 4, eps=1e-05)"
    assert repr(nn.InstanceNorm(4, affine=True)) == "InstanceNorm(4, eps=1e-05, affine=True)"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: F.layer_norm(np.ones((2, 3)), axis=0), r"layer_norm\(\(2, 3\).*trailing axes"),
        (lambda: F.layer_norm(np.ones((2, 3)), axis=(-1, -2, -3)), "trailing axes"),
        (lambda: F.layer_norm(np.ones((2, 3)), np.ones(2)), r"gamma must have the shape \(3,\)"),
        (lambda: F.rms_norm(np.ones((2, 3)), np.ones((2, 3))), r"gamma must have the shape \(3,\)"),
        (lambda: F.group_norm(np.ones((2, 3)), groups=2), "must divide C"),
        (lambda: F.group_norm(np.ones((2, 4)), np.ones(4), np.ones(2), groups=2), "beta must have"),
        (lambda: F.instance_norm(np.ones((2, 3))), "more than one position"),
        (lambda: F.instance_norm(np.ones((2, 1, 3))), "more than one position"),
        (lambda: nn.LayerNorm(0), r"LayerNorm\(normalized_shape=0\): must be at least 1"),
        (
            lambda: nn.LayerNorm(3)(np.ones((3, 2))),
            r"LayerNorm\(3, .*shape that ends with \(3,\), got \(3, 2\)",
        ),
        (lambda: nn.RMSNorm((2, 3))(np.ones(3)), r"a shape that ends with \(2, 3\), got \(3,\)"),
        (lambda: nn.GroupNorm(2, 3), "must divide"),
        (lambda: nn.GroupNorm(2, 4)(np.ones((4, 3))), "C = 4 channels"),
        (lambda: nn.InstanceNorm(0), "at least 1"),
        (lambda: nn.InstanceNorm(4)(np.ones((2, 3, 3))), "C = 4 channels"),
        (lambda: nn.InstanceNorm(4)(np.ones((2, 1, 4))), "more than one position"),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("compiled", [False, True])
def test_running_statistics_of_half_precision(dtype: str, compiled: bool) -> None:
    """A variance beyond 65504, the maximum of float16."""
    x = (np.random.default_rng(0).normal(size=(64, 3)) * 2000 + [0, 5, 30000]).astype(np.float16)
    layer, exact = nn.BatchNorm(3, dtype=dtype), nn.BatchNorm(3)
    step = mg.compile(lambda x: layer(x)) if compiled else layer
    for _ in range(3):
        y, expected = step(mg.Tensor(x)), exact(mg.Tensor(x.astype(float)))
    assert y.dtype == np.float16
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-3, atol=1e-3)
    assert layer.running_var.dtype == layer.running_mean.dtype == np.float32
    np.testing.assert_allclose(layer.running_var, exact.running_var, rtol=1e-6)
    np.testing.assert_allclose(layer.running_mean, exact.running_mean, rtol=1e-6)
    layer.eval()
    exact.eval()
    np.testing.assert_allclose(layer(x).numpy(), exact(x.astype(float)).numpy(), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: fused.layer_norm(x, np.ones(4, x.dtype), np.full(4, 3, x.dtype))[0],
        lambda x: fused.batch_norm(x, np.ones(4, x.dtype), np.full(4, 3, x.dtype))[0],
        lambda x: F.layer_norm(x) + 3,
        lambda x: F.group_norm(x, groups=2) + 3,
        lambda x: F.rms_norm(x) + 3,
    ],
)
def test_overflow_of_squares(function):
    """docs/conventions.md: β, with a warning, or an error if np.errstate says so."""
    x = mg.Tensor((rng.normal(size=(3, 4)) * 1e22).astype(np.float32))
    with pytest.warns(RuntimeWarning, match="overflow"), np.errstate(over="warn"):
        assert function(x).tolist() == [[3] * 4] * 3
    for f in (function, mg.compile(function)):
        with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
            f(x)
