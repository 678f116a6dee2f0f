import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F

rng = np.random.default_rng(3)


def central(f, x, step=1e-6):
    """The gradient of f, a number, by central differences."""
    result = np.zeros_like(x)
    for k in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[k] += step
        down[k] -= step
        result[k] = (f(up) - f(down)) / (2 * step)
    return result


def gradient(f, x):
    t = mg.Tensor(x, requires_grad=True)
    f(t).backward()
    return t.grad.numpy()


ACTIVATIONS = {
    "relu": (F.relu, lambda x: max(x, 0.0)),
    "sigmoid": (F.sigmoid, lambda x: 1 / (1 + math.exp(-x))),
    "tanh": (F.tanh, math.tanh),
    "softplus": (F.softplus, lambda x: math.log1p(math.exp(x))),
    "gelu": (F.gelu, lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2))),
    "gelu_tanh": (
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    "silu": (F.silu, lambda x: x / (1 + math.exp(-x))),
    "leaky_relu": (lambda x: F.leaky_relu(x, negative_slope=0.2), lambda x: x if x > 0 else 0.2 * x),
    "elu": (lambda x: F.elu(x, alpha=0.7), lambda x: x if x > 0 else 0.7 * math.expm1(x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    f, scalar = ACTIVATIONS[name]
    x = rng.standard_normal((4, 5)) * 2
    np.testing.assert_allclose(f(x), np.vectorize(scalar)(x), rtol=1e-13, atol=1e-15)
    assert isinstance(f(x), np.ndarray)
    v = rng.standard_normal(x.shape)
    np.testing.assert_allclose(
        gradient(lambda t: (f(t) * v).sum(), x), central(lambda x: (f(x) * v).sum(), x), atol=1e-7
    )
    assert f(x.astype(np.float32)).dtype == np.float32
    single = mg.Tensor(x.astype(np.float32), requires_grad=True)
    out = f(single)
    assert out.dtype == np.float32
    out.sum().backward()
    assert single.grad.dtype == np.float32


@pytest.mark.parametrize(
    ("f", "slope"),
    [(F.relu, 0.0), (lambda x: F.leaky_relu(x, negative_slope=0.2), 0.2), (lambda x: F.elu(x, alpha=0.7), 0.7)],
)
def test_derivative_at_the_kink(f, slope):
    assert gradient(lambda t: f(t).sum(), np.zeros(1)) == [slope]


@pytest.mark.floating(under="ignore")
@pytest.mark.parametrize("f", [F.elu, F.silu, F.gelu, F.softplus, F.softmax, F.log_softmax])
def test_large_arguments_do_not_overflow(f):
    x = np.array([-800.0, 800.0])
    with np.errstate(over="raise", invalid="raise", under="ignore"):
        assert np.isfinite(f(x)).all()
        assert np.isfinite(gradient(lambda t: f(t).sum(), x)).all()


def test_gelu_with_an_unknown_formula_raises():
    with pytest.raises(ValueError, match="'none' or 'tanh'"):
        F.gelu(np.zeros(2), approximate="fast")


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(axis):
    x = rng.standard_normal((3, 4))
    expected = np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)
    np.testing.assert_allclose(F.softmax(x, axis=axis), expected, rtol=1e-13)
    np.testing.assert_allclose(F.log_softmax(x, axis=axis), np.log(expected), rtol=1e-12)
    v = rng.standard_normal(x.shape)
    inner = (v * expected).sum(axis=axis, keepdims=True)
    result = gradient(lambda t: (F.softmax(t, axis=axis) * v).sum(), x)
    np.testing.assert_allclose(result, expected * (v - inner), atol=1e-14)


def test_one_hot():
    labels = np.array([[2, 0], [1, 1]])
    np.testing.assert_array_equal(F.one_hot(labels, 3), np.eye(3)[labels])
    assert F.one_hot(labels, 3, dtype=np.float32).dtype == np.float32
    assert F.one_hot(mg.Tensor(labels), 3).shape == (2, 2, 3)
    with pytest.raises(ValueError, match="label 3 for 3 classes"):
        F.one_hot(np.array([3]), 3)
    with pytest.raises(TypeError, match="integers"):
        F.one_hot(np.array([1.0]), 3)


def slow_cross_entropy(logits, labels, smoothing, weight, reduction):
    """The definition, term by term."""
    n, c = logits.shape
    losses = np.zeros(n)
    for i in range(n):
        p = np.exp(logits[i]) / np.exp(logits[i]).sum()
        for k in range(c):
            target = smoothing / c + (1 - smoothing) * (k == labels[i])
            losses[i] -= target * weight[k] * math.log(p[k])
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / sum(weight[labels])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(reduction, smoothing, weighted):
    logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    weight = rng.uniform(0.5, 2, 4) if weighted else None
    used = np.ones(4) if weight is None else weight
    options = {"reduction": reduction, "label_smoothing": smoothing, "weight": weight}
    expected = slow_cross_entropy(logits, labels, smoothing, used, reduction)
    np.testing.assert_allclose(F.cross_entropy(logits, labels, **options), expected, rtol=1e-12)
    result = gradient(lambda t: F.cross_entropy(t, labels, **options).sum(), logits)
    slope = central(lambda x: slow_cross_entropy(x, labels, smoothing, used, reduction).sum(), logits)
    np.testing.assert_allclose(result, slope, atol=1e-7)


def test_cross_entropy_of_stacked_rows_and_single_precision():
    logits, labels = rng.standard_normal((2, 3, 4)), rng.integers(0, 4, (2, 3))
    flat = F.cross_entropy(logits.reshape(6, 4), labels.reshape(6))
    np.testing.assert_allclose(F.cross_entropy(logits, labels), flat, rtol=1e-14)
    weight = np.ones(4, dtype=np.float32)
    single = F.cross_entropy(logits.astype(np.float32), labels, label_smoothing=0.1, weight=weight)
    assert single.dtype == np.float32


@pytest.mark.parametrize(
    ("labels", "error", "says"),
    [
        (np.zeros((3, 1), int), ValueError, r"labels\[:, 0\]"),
        (np.zeros(4, int), ValueError, r"expected logits \(..., C\) and labels \(...\)"),
        (np.zeros(3), TypeError, "integers"),
        (np.array([0, 1, 2]), ValueError, "label 2 for 2 classes"),
        (np.array([0, -1, 1]), ValueError, "label -1 for 2 classes"),
    ],
)
def test_cross_entropy_errors(labels, error, says):
    with pytest.raises(error, match=says):
        F.cross_entropy(np.zeros((3, 2)), labels)


def test_cross_entropy_with_unknown_options_raises():
    logits, labels = np.zeros((3, 2)), np.zeros(3, int)
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none'"):
        F.cross_entropy(logits, labels, reduction="average")
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        F.cross_entropy(logits, labels, label_smoothing=1.5)
    with pytest.raises(ValueError, match=r"weight must have the shape \(2,\)"):
        F.cross_entropy(logits, labels, weight=np.ones(3))


def test_mse_loss():
    x, y = rng.standard_normal((2, 5, 3))
    assert F.mse_loss(x, y) == pytest.approx(((x - y) ** 2).mean())
    assert F.mse_loss(x, y, reduction="sum") == pytest.approx(((x - y) ** 2).sum())
    np.testing.assert_allclose(F.mse_loss(x, y, reduction="none"), (x - y) ** 2)
    np.testing.assert_allclose(gradient(lambda t: F.mse_loss(t, y), x), 2 * (x - y) / 15, rtol=1e-13)


def test_mse_loss_does_not_broadcast():
    with pytest.raises(ValueError, match=r"mse_loss\(\(4,\) float64, \(4, 1\) float64\): shapes must be equal"):
        F.mse_loss(np.zeros(4), np.zeros((4, 1)))


def test_linear():
    x, w, b = rng.standard_normal((2, 5, 3)), rng.standard_normal((3, 4)), rng.standard_normal(4)
    np.testing.assert_allclose(F.linear(x, w, b), x @ w + b)
    np.testing.assert_allclose(F.linear(x, w), x @ w)
    np.testing.assert_allclose(F.linear(x[0, 0], w, b), x[0, 0] @ w + b)


def test_dropout():
    x = np.full((200, 200), 3.0)
    out = F.dropout(x, p=0.25, rng=7)
    assert set(np.unique(out)) == {0.0, 4.0}
    dropped = (out == 0).mean()
    assert abs(dropped - 0.25) < 4 * math.sqrt(0.25 * 0.75 / x.size)
    np.testing.assert_array_equal(out, F.dropout(x, p=0.25, rng=np.random.default_rng(7)))
    assert F.dropout(x, p=0.25, training=False) is x
    np.testing.assert_array_equal(F.dropout(x, p=1.0), 0 * x)
    np.testing.assert_array_equal(F.dropout(x, p=0.0), x)
    with pytest.raises(ValueError, match="probability"):
        F.dropout(x, p=-0.1)


def test_dropout_gradient_is_the_mask():
    t = mg.Tensor(np.ones((5, 5), dtype=np.float32), requires_grad=True)
    out = F.dropout(t, p=0.5)
    assert out.dtype == np.float32
    out.sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), out.numpy())


def test_dropout_uses_the_global_seed():
    x = np.ones(50)
    mg.manual_seed(5)
    first = F.dropout(x)
    assert not np.array_equal(first, F.dropout(x))
    mg.manual_seed(5)
    np.testing.assert_array_equal(first, F.dropout(x))


def test_global_generator_continues_from_a_state():
    mg.manual_seed(3)
    F.dropout(mg.ones(5), p=0.5)
    state = mg.get_rng_state()
    first = F.dropout(mg.ones(50), p=0.5)
    mg.set_rng_state(state)
    np.testing.assert_array_equal(F.dropout(mg.ones(50), p=0.5), first)
    other = np.random.Generator(np.random.MT19937(1)).bit_generator.state
    for wrong in ({}, {"bit_generator": "PCG64"}, other):
        with pytest.raises(ValueError, match="set_rng_state: this is not a state of a PCG64"):
            mg.set_rng_state(wrong)


def test_batch_norm_normalizes():
    x = rng.standard_normal((50, 3)) * 4 + 10
    y = F.batch_norm(x, np.array([1.0, 2.0, 3.0]), np.array([5.0, 6.0, 7.0]), eps=0.0)
    np.testing.assert_allclose(y.mean(axis=0), [5, 6, 7], rtol=1e-12)
    np.testing.assert_allclose(y.std(axis=0), [1, 2, 3], rtol=1e-12)


def test_batch_norm_axes():
    x, gamma, beta = rng.standard_normal((4, 5, 3)), rng.standard_normal(3), rng.standard_normal(3)
    flat = F.batch_norm(x.reshape(20, 3), gamma, beta)
    np.testing.assert_allclose(F.batch_norm(x, gamma, beta), flat.reshape(x.shape), rtol=1e-12)
    each = np.stack([F.batch_norm(x[:, k], gamma, beta) for k in range(5)], axis=1)
    np.testing.assert_allclose(F.batch_norm(x, gamma, beta, axis=0), each, rtol=1e-12)
    for axis in (1, (0, 2), (0, 1, 2)):
        with pytest.raises(ValueError, match="leading axes"):
            F.batch_norm(x, gamma, beta, axis=axis)


def test_batch_norm_names_its_nodes():
    x = mg.Tensor(rng.standard_normal((4, 2)), requires_grad=True)
    tape = mg.Tape(F.batch_norm(x, np.ones(2), np.zeros(2)))
    labels = {node.name: getattr(node, "label", None) for node in tape if hasattr(node, "name")}
    assert labels == {"mu": "μ", "var": "σ²", "xhat": "x̂", "y": None}


def test_batch_norm_gradient_of_the_notes():
    x, gamma, dout = rng.standard_normal((7, 3)), rng.standard_normal(3), rng.standard_normal((7, 3))
    n, eps = 7, 0.1
    mu, var = x.mean(0), x.var(0)
    dxhat = dout * gamma
    dvar = (dxhat * (x - mu) * -0.5 * (var + eps) ** -1.5).sum(0)
    dmu = (-dxhat / np.sqrt(var + eps)).sum(0)
    expected = dxhat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / n + dmu / n
    result = gradient(lambda t: (F.batch_norm(t, gamma, np.zeros(3), eps=eps) * dout).sum(), x)
    np.testing.assert_allclose(result, expected, atol=1e-14)


def test_batch_norm_inference():
    x, gamma, beta = rng.standard_normal((6, 3)), rng.standard_normal(3), rng.standard_normal(3)
    same = F.batch_norm_inference(x, gamma, beta, x.mean(0), x.var(0))
    np.testing.assert_allclose(same, F.batch_norm(x, gamma, beta), rtol=1e-12)
    y = F.batch_norm_inference(x, gamma, beta, np.ones(3), np.full(3, 4.0), eps=0.0)
    np.testing.assert_allclose(y, (x - 1) / 2 * gamma + beta, rtol=1e-12)
