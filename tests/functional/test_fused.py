"""Fused primitives against the functions that they fuse: value, gradient, second order, forward mode."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import fused
from minigrad.functional.losses.likelihood import FEW_CLASSES, _softmax_loss
from minigrad.ops import blocks
from minigrad.ops.reduction import mean

rng = np.random.default_rng(11)


def composed_batch_norm(x, gamma, beta, eps=1e-5):
    """All four outputs from primitives."""
    axes = tuple(range(x.ndim - 1))
    mu = mean(x, axis=axes)
    var = mean(np.square(x - mu), axis=axes)
    return F.batch_norm(x, gamma, beta, eps=eps), mu, var, 1 / np.sqrt(var + eps)


def composed_layer_norm(x, gamma, beta, eps=1e-5):
    """All three outputs from primitives."""
    axes = tuple(range(-gamma.ndim, 0))
    mu = mean(x, axis=axes)
    var = mean(np.square(x), axis=axes) - np.square(mu)
    return F.layer_norm(x, gamma, beta, eps=eps, axis=axes), mu, 1 / np.sqrt(var + eps)


def weighted(outputs, weights):
    """One number from the outputs that have a weight, nonlinear in each."""
    return sum((np.sin(out) * w).sum() for out, w in zip(outputs, weights, strict=True) if w is not None)


def batch_norm_case(shape, used):
    channels = shape[-1:]
    operands = (rng.standard_normal(shape) + 1, rng.standard_normal(channels), rng.standard_normal(channels))
    shapes = (shape, channels, channels, channels)
    weights = [rng.standard_normal(s) if u else None for s, u in zip(shapes, used, strict=True)]
    return (
        lambda *a: weighted(fused.batch_norm(*a, eps=0.1), weights),
        lambda *a: weighted(composed_batch_norm(*a, eps=0.1), weights),
        operands,
    )


def layer_norm_case(shape, axes, used):
    lead = len(shape) - axes
    operands = (rng.standard_normal(shape) + 1, rng.standard_normal(shape[lead:]), rng.standard_normal(shape[lead:]))
    shapes = (shape, shape[:lead], shape[:lead])
    weights = [rng.standard_normal(s) if u else None for s, u in zip(shapes, used, strict=True)]
    return (
        lambda *a: weighted(fused.layer_norm(*a, eps=0.1), weights),
        lambda *a: weighted(composed_layer_norm(*a, eps=0.1), weights),
        operands,
    )


def loss_case(reduction, shape=(6,), classes=4):
    labels = rng.integers(0, classes, shape)
    weight = rng.standard_normal(shape) if reduction == "none" else 1.7
    return (
        lambda x: np.sin(fused.softmax_cross_entropy(x, labels, reduction=reduction) * weight).sum(),
        lambda x: np.sin(F.cross_entropy(x, labels, reduction=reduction) * weight).sum(),
        (rng.standard_normal((*shape, classes)),),
    )


def probability_case(with_loss):
    labels, weight = rng.integers(0, 4, 6), rng.standard_normal((6, 4))

    def of_fused(x):
        loss, p, _ = _softmax_loss(x, labels, reduction="mean")
        return np.sin(p * weight).sum() + (np.sin(loss) if with_loss else 0)

    def of_composed(x):
        return np.sin(F.softmax(x) * weight).sum() + (np.sin(F.cross_entropy(x, labels)) if with_loss else 0)

    return of_fused, of_composed, (rng.standard_normal((6, 4)),)


def linear_case(shape):
    weight = rng.standard_normal((*shape[:-1], 3))
    operands = (rng.standard_normal(shape), rng.standard_normal((shape[-1], 3)), rng.standard_normal(3))
    return (
        lambda *a: np.sin(fused.linear(*a) * weight).sum(),
        lambda *a: np.sin(F.linear(*a) * weight).sum(),
        operands,
    )


def elementwise_case(fused_function, function, **options):
    weight = rng.standard_normal((5, 4))
    return (
        lambda x: np.sin(fused_function(x, **options) * weight).sum(),
        lambda x: np.sin(function(x, **options) * weight).sum(),
        (2 * rng.standard_normal((5, 4)),),
    )


CASES = {
    "gelu": elementwise_case(fused.gelu, F.gelu),
    "gelu, tanh": elementwise_case(fused.gelu, F.gelu, approximate="tanh"),
    "softmax": elementwise_case(fused.softmax, F.softmax),
    "softmax, first axis": elementwise_case(fused.softmax, F.softmax, axis=0),
    "batch_norm": batch_norm_case((5, 3), (1, 0, 0, 0)),
    "batch_norm of images": batch_norm_case((2, 3, 2, 3), (1, 0, 0, 0)),
    "batch_norm, mu alone": batch_norm_case((5, 3), (0, 1, 0, 0)),
    "batch_norm, var alone": batch_norm_case((5, 3), (0, 0, 1, 0)),
    "batch_norm, istd alone": batch_norm_case((5, 3), (0, 0, 0, 1)),
    "batch_norm, all outputs": batch_norm_case((5, 3), (1, 1, 1, 1)),
    "layer_norm": layer_norm_case((5, 3), 1, (1, 0, 0)),
    "layer_norm of sequences": layer_norm_case((2, 3, 4), 1, (1, 0, 0)),
    "layer_norm of images": layer_norm_case((2, 3, 2, 3), 3, (1, 0, 0)),
    "layer_norm, mu alone": layer_norm_case((5, 3), 1, (0, 1, 0)),
    "layer_norm, istd alone": layer_norm_case((5, 3), 1, (0, 0, 1)),
    "layer_norm, all outputs": layer_norm_case((3, 2, 3), 2, (1, 1, 1)),
    "cross-entropy, mean": loss_case("mean"),
    "cross-entropy, sum": loss_case("sum"),
    "cross-entropy, none": loss_case("none"),
    "cross-entropy of sequences, mean": loss_case("mean", (2, 3)),
    "cross-entropy of sequences, none": loss_case("none", (2, 3)),
    "cross-entropy of one row": loss_case("none", ()),
    "cross-entropy of many classes, mean": loss_case("mean", classes=FEW_CLASSES + 1),
    "cross-entropy of many classes, none": loss_case("none", classes=FEW_CLASSES + 1),
    "probabilities alone": probability_case(with_loss=False),
    "probabilities and cross-entropy": probability_case(with_loss=True),
    "linear": linear_case((5, 4)),
    "linear, stacked": linear_case((2, 5, 4)),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def every(operands):
    return tuple(range(len(operands)))


def values(tree):
    """The gradients of all operands as arrays; None for an operand that is not used."""
    return [None if t is None else np.asarray(getattr(t, "data", t)) for t in tree]


def assert_same(result, expected, tolerance=1e-12):
    for a, b in zip(values(result), values(expected), strict=True):
        np.testing.assert_allclose(0.0 if a is None else a, 0.0 if b is None else b, rtol=tolerance, atol=tolerance)


def test_value(case):
    f, reference, operands = case
    np.testing.assert_allclose(f(*operands), reference(*operands), rtol=1e-12)


def test_gradient(case):
    f, reference, operands = case
    which = every(operands)
    assert_same(mg.grad(f, which)(*operands), mg.grad(reference, which)(*operands))


def test_forward_mode(case):
    f, reference, operands = case
    tangents = tuple(rng.standard_normal(x.shape) for x in operands)
    assert_same(mg.jvp(f, operands, tangents), mg.jvp(reference, operands, tangents))


def test_second_order(case):
    f, reference, operands = case
    which = every(operands)
    tangents = tuple(rng.standard_normal(x.shape) for x in operands)

    def slope(function):
        def along(*a):
            contributions = mg.grad(function, which)(*a)
            return sum((g * v).sum() for g, v in zip(contributions, tangents, strict=True) if g is not None)

        return along

    assert_same(mg.grad(slope(f), which)(*operands), mg.grad(slope(reference), which)(*operands), 1e-10)


def test_third_order_mixed(case):
    f, reference, operands = case
    tangents = tuple(rng.standard_normal(x.shape) for x in operands)

    def curvature(function):
        def once(*a):
            return mg.jvp(function, a, tangents)[1]

        return mg.grad(lambda *a: mg.jvp(once, a, tangents)[1])(*operands)

    assert_same([curvature(f)], [curvature(reference)], 1e-9)


def test_blocks_give_equal_results(case, monkeypatch):
    """Blocks of a few numbers give the same results as one pass."""
    f, reference, operands = case
    which = every(operands)
    monkeypatch.setattr(blocks, "BLOCK", 8)
    np.testing.assert_allclose(f(*operands), reference(*operands), rtol=1e-12)
    assert_same(mg.grad(f, which)(*operands), mg.grad(reference, which)(*operands))


SINGLE = ["batch_norm", "layer_norm", "linear", "cross-entropy, mean", "gelu", "gelu, tanh", "softmax"]


@pytest.mark.parametrize("name", SINGLE)
def test_single_precision_is_preserved(name):
    _, _, operands = CASES[name]
    tensors = [mg.Tensor(x.astype(np.float32), requires_grad=True) for x in operands]
    if name in ("batch_norm", "layer_norm"):
        out = getattr(fused, name)(*tensors)[0]
    elif name.startswith("gelu"):
        out = fused.gelu(*tensors, approximate="tanh" if "tanh" in name else "none")
    elif name in ("linear", "softmax"):
        out = getattr(fused, name)(*tensors)
    else:
        out = fused.softmax_cross_entropy(tensors[0], np.zeros(6, int))
    assert out.dtype == np.float32
    tape = mg.Tape(out)
    seen = []
    for node in tape.leaves:
        node.owner().register_hook(lambda v: seen.append(v.dtype))
    out.sum().backward()
    assert seen == [np.float32] * len(tensors)


def test_mixed_precision_is_not_rounded():
    x, w, b = rng.standard_normal((5, 4)).astype(np.float32), np.ones((4, 3), np.float32), np.full(3, 1e-12)
    assert fused.linear(x, w, b).dtype == np.float64
    for norm in (fused.batch_norm, fused.layer_norm):
        y, *_ = norm(x, np.ones(4), np.full(4, 1e-12))
        assert y.dtype == np.float64


def test_operands_are_not_modified():
    x, gamma, beta = rng.standard_normal((5, 3)), rng.standard_normal(3), rng.standard_normal(3)
    original = x.copy()
    fused.batch_norm(x, gamma, beta)
    fused.linear(x, rng.standard_normal((3, 3)), beta)
    fused.softmax_cross_entropy(x, np.zeros(5, int))
    np.testing.assert_array_equal(x, original)


@pytest.mark.floating(under="ignore")
def test_large_logits():
    logits = np.array([[1000.0, -1000.0], [-1000.0, 1000.0]])
    with np.errstate(under="ignore"):
        loss = fused.softmax_cross_entropy(logits, np.array([0, 0]), reduction="none")
    np.testing.assert_array_equal(loss, [0, 2000])


def test_residuals():
    x = mg.Tensor(rng.standard_normal((5, 3)), requires_grad=True)
    gamma, beta = mg.Tensor(np.ones(3), requires_grad=True), mg.Tensor(np.zeros(3), requires_grad=True)
    node = fused.batch_norm(x, gamma, beta)[0].node.parents[0]
    assert node.primitive.residuals == ("x", "gamma", "mu", "istd")
    assert node.residuals[0] is x.data


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_keeps_only_its_operand(approximate):
    x = mg.Tensor(rng.standard_normal((5, 3)), requires_grad=True)
    node = fused.gelu(x, approximate=approximate).node
    assert node.residuals[0] is x.data
    assert len(node.residuals) == 1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: fused.batch_norm(np.zeros((4, 3)), np.ones(4), np.zeros(3)),
            r"batch_norm\(\(4, 3\).*channels are last",
        ),
        (lambda: fused.batch_norm(np.zeros(3), np.ones(3), np.zeros(3)), "channels are last"),
        (lambda: fused.layer_norm(np.zeros((4, 3)), np.ones(4), np.zeros(4)), r"layer_norm\(\(4, 3\).*trailing axes"),
        (lambda: fused.layer_norm(np.zeros((4, 3)), np.ones(3), np.zeros(4)), "trailing axes"),
        (lambda: fused.linear(np.zeros((4, 3)), np.ones((2, 5)), np.zeros(5)), r"linear\(\(4, 3\)"),
        (lambda: fused.linear(np.zeros((4, 3)), np.ones((3, 5)), np.zeros(4)), r"bias \(out,\)"),
        (lambda: fused.gelu(np.zeros(2), approximate="fast"), r"gelu\(approximate='fast'\): must be 'none' or 'tanh'"),
        (lambda: fused.softmax_cross_entropy(np.zeros((2, 3)), np.zeros((2, 1), int)), r"labels\[:, 0\]"),
        (lambda: fused.softmax_cross_entropy(np.zeros((2, 3)), np.array([0, 3])), "label 3 for 3 classes"),
        (lambda: fused.softmax_cross_entropy(np.zeros((2, 2, 3)), np.zeros(4, int)), r"\(2, 2, 3\) float64, \(4,\)"),
        (lambda: fused.softmax_cross_entropy(np.zeros((2, 3)), np.zeros(2, int), reduction="max"), "'mean', 'sum'"),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_softmax_error_names_a_missing_axis():
    with pytest.raises(IndexError, match=r"softmax\(\(2, 3\) float64, axis=2\)"):
        fused.softmax(np.zeros((2, 3)), axis=2)
