"""Bilinear, Embedding, Identity and dropout layers."""

import math
import re
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.ops.random import normal_like
from minigrad.verify import check_gradients

rng = np.random.default_rng(29)


def values(x):
    return np.asarray(getattr(x, "data", x))


# Bilinear


@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
def test_bilinear(lead):
    layer = nn.Bilinear(3, 4, 2)
    layer.bias.data[...] = [1.0, -2.0]
    x1, x2, w = rng.standard_normal((*lead, 3)), rng.standard_normal((*lead, 4)), layer.weight.numpy()
    expected = np.empty((*lead, 2))
    for n in np.ndindex(*lead):
        for k in range(2):
            terms = [x1[n][i] * w[i, j, k] * x2[n][j] for i in range(3) for j in range(4)]
            expected[(*n, k)] = sum(terms) + layer.bias.numpy()[k]
    np.testing.assert_allclose(values(layer(x1, x2)), expected, rtol=1e-10, atol=1e-10)
    assert check_gradients(F.bilinear, x1, x2, w, np.ones(2)).ok


def test_initial_bilinear_weight_has_the_fans_of_a_linear_map_of_products():
    w = nn.Bilinear(30, 40, 50, init="lecun_normal", rng=0).weight.numpy()
    assert w.shape == (30, 40, 50)
    assert w.std() == pytest.approx(math.sqrt(1 / (30 * 40)), rel=0.02)
    assert repr(nn.Bilinear(3, 4, 2, bias=False)) == (
        "Bilinear(in1_features=3, in2_features=4, out_features=2, bias=False)"
    )


# Embedding


def test_embedding_and_its_gradient():
    table, ids = nn.Embedding(5, 3, rng=0), np.array([[1, 4, 1], [0, 1, 4]])
    out = table(ids)
    for k in np.ndindex(ids.shape):
        np.testing.assert_array_equal(out.numpy()[k], table.weight.numpy()[ids[k]])
    dout = rng.standard_normal(out.shape)
    (out * dout).sum().backward()
    expected = np.zeros((5, 3))
    for k in np.ndindex(ids.shape):
        expected[ids[k]] += dout[k]
    np.testing.assert_allclose(table.weight.grad.numpy(), expected, rtol=1e-10, atol=1e-10)
    assert table(3).shape == (3,)
    assert table(mg.asarray(ids)).shape == (2, 3, 3)


def test_vector_of_padding_idx_starts_at_zero_without_gradient():
    table = nn.Embedding(5, 3, padding_idx=1, rng=0)
    assert not table.weight.numpy()[1].any()
    out = table(np.array([1, 2, 1]))
    assert out.numpy()[1].all()
    out.sum().backward()
    np.testing.assert_array_equal(table.weight.grad.numpy(), np.outer([0, 0, 1, 0, 0], np.ones(3)))
    weight = rng.standard_normal((4, 2))
    actual = F.embedding(np.array([0, 3]), weight, padding_idx=3)
    np.testing.assert_array_equal(actual, weight[[0, 3]])


def test_initial_values_of_embeddings():
    assert nn.Embedding(100, 200, rng=0).weight.numpy().std() == pytest.approx(1, rel=0.02)
    assert np.abs(nn.Embedding(10, 20, init="random_uniform").weight.numpy()).max() <= 0.05


# Dropout


def test_spatial_dropout_drops_channels():
    for layer, shape in (
        (nn.Dropout1d(0.25, rng=0), (40, 7, 50)),
        (nn.Dropout2d(0.25, rng=0), (40, 3, 2, 50)),
        (nn.Dropout3d(0.25, rng=0), (40, 2, 1, 3, 50)),
    ):
        x = rng.standard_normal(shape)
        ratio = (layer(x) / x).reshape(40, -1, 50)
        first = ratio[:, 0]
        np.testing.assert_allclose(ratio, np.broadcast_to(first[:, None], ratio.shape))
        assert set(np.unique(first.round(9))) == {0.0, round(4 / 3, 9)}
        assert abs((first == 0).mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / first.size)
        assert layer.eval()(x) is x


def test_alpha_dropout_keeps_mean_and_variance():
    p, x = 0.3, rng.standard_normal((400, 500))
    out = nn.AlphaDropout(p, rng=0)(x)
    assert abs(out.mean()) < 0.02
    assert out.var() == pytest.approx(1, abs=0.02)
    # Dropped elements have one value; the others are a x + b, where a and b restore mean and variance.
    dropped = np.isclose(out, np.min(out[x > 1]))
    assert abs(dropped.mean() - p) < 4 * math.sqrt(p * (1 - p) / x.size)
    a, b = np.polyfit(x[~dropped], out[~dropped], 1)
    lowest = (out[dropped][0] - b) / a
    assert lowest == pytest.approx(-1.7580993408473766, rel=1e-10)
    assert a == pytest.approx((1 - p + lowest**2 * p * (1 - p)) ** -0.5, rel=1e-10)
    assert b == pytest.approx(-a * p * lowest, rel=1e-10)


@pytest.mark.parametrize("function", [F.dropout, F.spatial_dropout, F.alpha_dropout])
def test_dropout_functions(function):
    x = rng.standard_normal((4, 5, 6))
    assert function(x, training=False) is x
    assert function(x, p=0) is x
    assert not function(x, p=1).any()
    np.testing.assert_array_equal(function(x, rng=3), function(x, rng=np.random.default_rng(3)))
    assert not np.array_equal(function(x, rng=3), function(x, rng=4))
    mg.manual_seed(1)
    first = function(x)
    mg.manual_seed(1)
    np.testing.assert_array_equal(first, function(x))
    assert check_gradients(lambda t: function(t, rng=3), x).ok
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=rf"{function.__name__}\(p="):
            function(x, p=p)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("function", [F.dropout, F.spatial_dropout, F.alpha_dropout])
def test_dropout_of_integers_is_that_of_floats(function, dtype):
    x = np.ones((20, 1, 50), dtype)
    expected = function(x.astype(float), p=0.2, rng=3)
    for actual in (function(x, p=0.2, rng=3), function(mg.asarray(x), p=0.2, rng=3).numpy()):
        assert actual.dtype == np.float64
        np.testing.assert_array_equal(actual, expected)
    step = mg.compile(lambda t: function(t, p=0.2, rng=3))
    for _ in range(3):
        np.testing.assert_array_equal(step(x), expected)


def test_normal_like_of_integers_is_float():
    actual = normal_like(np.zeros(5, np.int8), np.random.default_rng(3))
    np.testing.assert_array_equal(actual, np.random.default_rng(3).standard_normal(5))


LAYERS = [
    (lambda: nn.Bilinear(4, 4, 2, dtype="float32"), 2),
    (nn.Identity, 1),
    (lambda: nn.Dropout1d(rng=0), 1),
    (lambda: nn.AlphaDropout(rng=0), 1),
]


@pytest.mark.parametrize(("make", "count"), LAYERS)
def test_single_precision_and_state(make, count):
    layer, other = make(), make()
    x = mg.Tensor(rng.standard_normal((3, 5, 4)).astype(np.float32), requires_grad=True)
    out = layer(*[x] * count)
    assert {node.dtype for node in mg.Tape(out)} == {np.dtype(np.float32)}
    out.sum().backward()
    assert {p.grad.dtype for p in (x, *layer.parameters())} == {np.dtype(np.float32)}
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(other(*[x] * count).numpy(), out.numpy())


def test_single_precision_of_embeddings():
    layer, other = (nn.Embedding(4, 3, padding_idx=0, dtype="float32") for _ in range(2))
    out = layer(np.array([0, 3]))
    assert {node.dtype for node in mg.Tape(out)} == {np.dtype(np.float32)}
    out.sum().backward()
    assert layer.weight.grad.dtype == np.float32
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(other(np.array([0, 3])).numpy(), out.numpy())


def test_repr():
    assert repr(nn.Embedding(5, 3)) == "Embedding(5, 3)"
    assert repr(nn.Embedding(5, 3, padding_idx=2)) == "Embedding(5, 3, padding_idx=2)"
    assert repr(nn.Identity()) == "Identity()"
    assert repr(nn.Dropout2d(0.1)) == "Dropout2d(p=0.1)"
    assert repr(nn.AlphaDropout()) == "AlphaDropout(p=0.5)"


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: nn.Bilinear(0, 1, 1), ValueError, "at least 1"),
        (lambda: nn.Bilinear(2, 3, 4)(np.ones((5, 3)), np.ones((5, 2))), ValueError, r"x1 of shape \(5, 3\)"),
        (lambda: nn.Bilinear(2, 3, 4)(np.ones((5, 2)), np.ones((4, 3))), ValueError, "equal leading axes"),
        (lambda: F.bilinear(np.ones((5, 2)), np.ones((5, 3)), np.ones((3, 2, 4))), ValueError, r"bilinear\(\(5, 2\)"),
        (lambda: F.bilinear(np.ones((5, 2)), np.ones((4, 3)), np.ones((2, 3, 4))), ValueError, "equal leading axes"),
        (lambda: F.bilinear(np.ones(2), np.ones(2), np.ones((2, 2))), ValueError, r"weight must be \(in1, in2, out\)"),
        (lambda: nn.Embedding(5, 0), ValueError, "at least 1"),
        (lambda: nn.Embedding(5, 2, padding_idx=5), ValueError, "ids are 0 ... 4"),
        (lambda: nn.Embedding(5, 2)(np.array([0, 5])), ValueError, "index 5 for a table of 5 rows"),
        (lambda: nn.Embedding(5, 2)(np.array([-1])), ValueError, "index -1 for a table"),
        (lambda: nn.Embedding(5, 2)(np.array([0.5])), TypeError, "integers"),
        (lambda: F.embedding(np.array([0]), np.ones(3)), ValueError, r"\(num, dim\)"),
        (lambda: F.embedding(np.array([0]), np.ones((3, 2)), padding_idx=-1), ValueError, "rows 0 ... 2"),
        (lambda: nn.Dropout2d(1.5), ValueError, r"Dropout2d\(p=1.5\)"),
        (lambda: nn.AlphaDropout(-1), ValueError, r"AlphaDropout\(p=-1\)"),
        (lambda: nn.Dropout2d()(np.ones((2, 3, 4))), ValueError, r"expected x of shape \(N, H, W, C\)"),
        (lambda: F.spatial_dropout(np.ones((2, 3))), ValueError, "use dropout"),
    ],
)
def test_bad_input(call, error, says):
    with pytest.raises(error, match=says):
        call()


SIZES: dict[str, Any] = {
    "Linear(in_features": lambda n: nn.Linear(n, 2),
    "Linear(out_features": lambda n: nn.Linear(2, n),
    "Bilinear(in1_features": lambda n: nn.Bilinear(n, 2, 2),
    "Bilinear(in2_features": lambda n: nn.Bilinear(2, n, 2),
    "Bilinear(out_features": lambda n: nn.Bilinear(2, 2, n),
    "BatchNorm(num_features": lambda n: nn.BatchNorm(n),
    "InstanceNorm(num_features": lambda n: nn.InstanceNorm(n),
    "LayerNorm(normalized_shape": lambda n: nn.LayerNorm(n),
    "RMSNorm(normalized_shape": lambda n: nn.RMSNorm((2, n)),
    "GroupNorm(num_groups": lambda n: nn.GroupNorm(n, 4),
    "GroupNorm(num_channels": lambda n: nn.GroupNorm(2, n),
    "Embedding(num_embeddings": lambda n: nn.Embedding(n, 2),
    "Embedding(embedding_dim": lambda n: nn.Embedding(2, n),
    "Embedding(padding_idx": lambda n: nn.Embedding(4, 2, padding_idx=n),
    "PReLU(num_parameters": lambda n: nn.PReLU(n),
    "RNN(input_size": lambda n: nn.RNN(n, 2),
    "LSTM(hidden_size": lambda n: nn.LSTM(2, n),
    "GRU(num_layers": lambda n: nn.GRU(2, 2, num_layers=n),
    "LSTMCell(input_size": lambda n: nn.LSTMCell(n, 2),
    "MultiheadAttention(embed_dim": lambda n: nn.MultiheadAttention(n, 1),
    "MultiheadAttention(num_heads": lambda n: nn.MultiheadAttention(4, n),
    "PositionalEncoding(d_model": lambda n: nn.PositionalEncoding(n),
    "TransformerEncoderLayer(d_model": lambda n: nn.TransformerEncoderLayer(n, 1, 4),
    "TransformerEncoderLayer(nhead": lambda n: nn.TransformerEncoderLayer(4, n, 4),
    "TransformerEncoderLayer(dim_feedforward": lambda n: nn.TransformerEncoderLayer(4, 2, n),
    "TransformerEncoder(num_layers": lambda n: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 4), n),
}


@pytest.mark.parametrize("what", SIZES)
def test_sizes_must_be_integers(what: str) -> None:
    for wrong in (2.0, 2.5, "2", True, np.float64(2.0)):
        with pytest.raises(TypeError, match=re.escape(f"{what}={wrong!r}): must be an integer")) as caught:
            SIZES[what](wrong)
        assert ("write int(" in str(caught.value)) is bool(wrong == 2.0)
    assert SIZES[what](np.int64(2)) is not None


@pytest.mark.parametrize("what", ["in_channels", "out_channels", "kernel_size", "stride", "dilation", "groups"])
@pytest.mark.parametrize("layer", [nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d])
def test_sizes_of_convolutions_must_be_integers(layer: Any, what: str) -> None:
    for wrong in (2.0, "2"):
        sizes = {"in_channels": 2, "out_channels": 2, "kernel_size": 1} | {what: wrong}
        with pytest.raises(ValueError, match=re.escape(f"{what}={wrong!r} must be an integer")):
            layer(**sizes)
