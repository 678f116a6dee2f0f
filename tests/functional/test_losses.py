"""Losses against their definitions, term by term; gradients against finite differences."""

import itertools
import math

import numpy as np
import pytest
from standin import StandIn, bare

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.verify import assert_gradients

rng = np.random.default_rng(11)
X, Y = rng.standard_normal((2, 4, 3)) * 2
P, T = rng.uniform(0.05, 0.95, (2, 4, 3))
SIGNS = np.where(rng.random((4, 3)) < 0.5, -1, 1)
LABELS = np.array([2, 0, 1, 0])
WEIGHT = np.array([0.5, 2.0, 1.25])
Q = np.array([0.7, 3.0, 1.5])


def huber(d, delta):
    return 0.5 * d * d if abs(d) <= delta else delta * (abs(d) - 0.5 * delta)


def bce(p, t):
    return -(t * math.log(p) + (1 - t) * math.log(1 - p))


def weighted_bce(x, t, q):
    p = 1 / (1 + math.exp(-x))
    return -(q * t * math.log(p) + (1 - t) * math.log(1 - p))


def each(scalar, *arrays):
    return np.array([scalar(*row) for row in zip(*(a.ravel().tolist() for a in arrays), strict=True)]).reshape(4, 3)


def margins(p, margin):
    rows = []
    for s, label in zip(X.tolist(), LABELS, strict=True):
        rows.append(sum(max(0.0, margin - s[label] + s[j]) ** p for j in range(3) if j != label) / 3)
    return np.array(rows)


def cosines(x, y):
    return np.array([a @ b / math.sqrt((a @ a) * (b @ b)) for a, b in zip(x, y, strict=True)])


def triplets(a, p, n, margin, order, swap):
    rows = []
    for i in range(4):
        near = (np.abs(a[i] - p[i]) ** order).sum() ** (1 / order)
        far = (np.abs(a[i] - n[i]) ** order).sum() ** (1 / order)
        if swap:
            far = min(far, (np.abs(p[i] - n[i]) ** order).sum() ** (1 / order))
        rows.append(max(0.0, near - far + margin))
    return np.array(rows)


# name: the loss of floating-point operands, those operands, the elements by definition
LOSSES = {
    "mse": (F.mse_loss, (X, Y), (X - Y) ** 2),
    "l1": (F.l1_loss, (X, Y), each(lambda x, y: abs(x - y), X, Y)),
    "huber": (F.huber_loss, (X, Y), each(lambda x, y: huber(x - y, 1.0), X, Y)),
    "huber 2": (
        lambda x, y, **o: F.huber_loss(x, y, delta=2.0, **o),
        (X, Y),
        each(lambda x, y: huber(x - y, 2.0), X, Y),
    ),
    "smooth l1": (
        lambda x, y, **o: F.smooth_l1_loss(x, y, beta=0.5, **o),
        (X, Y),
        each(lambda x, y: huber(x - y, 0.5) / 0.5, X, Y),
    ),
    "smooth l1, 0": (
        lambda x, y, **o: F.smooth_l1_loss(x, y, beta=0, **o),
        (X, Y),
        each(lambda x, y: abs(x - y), X, Y),
    ),
    "bce": (F.binary_cross_entropy, (P, T), each(bce, P, T)),
    "bce logits": (
        F.binary_cross_entropy_with_logits,
        (X, T),
        each(lambda x, t: weighted_bce(x, t, 1.0), X, T),
    ),
    "bce logits, weighted": (
        lambda x, t, q, **o: F.binary_cross_entropy_with_logits(x, t, pos_weight=q, **o),
        (X, T, Q),
        each(weighted_bce, X, T, np.broadcast_to(Q, (4, 3))),
    ),
    "kl": (F.kl_div, (np.log(P), T), each(lambda p, t: t * math.log(t / p), P, T)),
    "kl of logarithms": (
        lambda x, t, **o: F.kl_div(x, t, log_target=True, **o),
        (np.log(P), np.log(T)),
        each(lambda p, t: t * math.log(t / p), P, T),
    ),
    "hinge": (
        lambda x, **o: F.hinge_loss(x, SIGNS, margin=1.5, **o),
        (X,),
        each(lambda x, s: max(0.0, 1.5 - s * x), X, SIGNS),
    ),
    "multi margin": (lambda x, **o: F.multi_margin_loss(x, LABELS, **o), (X,), margins(1, 1.0)),
    "multi margin, squared": (
        lambda x, **o: F.multi_margin_loss(x, LABELS, p=2, margin=0.7, **o),
        (X,),
        margins(2, 0.7),
    ),
    "nll": (lambda x, **o: F.nll_loss(x, LABELS, **o), (np.log(P),), -np.log(P)[np.arange(4), LABELS]),
    "cosine": (
        lambda x, y, **o: F.cosine_embedding_loss(x, y, SIGNS[:, 0], margin=-0.9, **o),
        (X, Y),
        np.where(SIGNS[:, 0] > 0, 1 - cosines(X, Y), np.maximum(0, cosines(X, Y) + 0.9)),
    ),
    "triplet": (F.triplet_margin_loss, (X, Y, P), triplets(X, Y, P, 1.0, 2, False)),
    "triplet, swapped": (
        lambda *x, **o: F.triplet_margin_loss(*x, margin=3.0, p=3, swap=True, **o),
        (X, Y, P),
        triplets(X, Y, P, 3.0, 3, True),
    ),
}

INSIDE = {"bce": (0, 1), "bce logits": (1,), "bce logits, weighted": (1,), "kl": (1,)}


@pytest.mark.parametrize("name", LOSSES)
def test_definition(name):
    loss, operands, elements = LOSSES[name]
    np.testing.assert_allclose(loss(*operands, reduction="none"), elements, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(loss(*operands, reduction="sum"), elements.sum(), rtol=1e-10)
    np.testing.assert_allclose(loss(*operands), elements.mean(), rtol=1e-10)
    with pytest.raises(ValueError, match=r"reduction='average'\): must be .*'mean', 'sum' or 'none'"):
        loss(*operands, reduction="average")


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name):
    loss, operands, _ = LOSSES[name]
    inside = INSIDE.get(name, ())  # the check moves operands far; these have to stay in [0, 1]

    def shifted(*x, **options):
        return loss(*(F.sigmoid(a) if k in inside else a for k, a in enumerate(x)), **options)

    assert_gradients(shifted, *operands, order=2)
    assert_gradients(lambda *x: shifted(*x, reduction="none"), *operands)


@pytest.mark.parametrize("name", LOSSES)
def test_single_precision_is_preserved(name):
    loss, operands, elements = LOSSES[name]
    leaves = [mg.Tensor(x, requires_grad=True, dtype=np.float32) for x in operands]
    for reduction in ("mean", "sum", "none"):
        out = loss(*leaves, reduction=reduction)
        assert out.dtype == np.float32
        assert loss(*(x.numpy() for x in leaves), reduction=reduction).dtype == np.float32
    np.testing.assert_allclose(out.numpy(), elements, rtol=1e-4, atol=1e-5)
    out.sum().backward()
    assert all(x.grad.dtype == np.float32 for x in leaves)


PAIRS = ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "binary_cross_entropy",
         "binary_cross_entropy_with_logits", "kl_div", "hinge_loss", "triplet_margin_loss"]  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_operands_are_not_broadcast(name):
    loss = getattr(F, name)
    rest = [np.ones(4)] if name == "triplet_margin_loss" else []
    with pytest.raises(
        ValueError, match=rf"{name}\(\(4,\) float64, \(4, 1\) float64.*not broadcast.*target\[:, None\]"
    ):
        loss(np.ones(4), np.ones((4, 1)), *rest)


def cross_entropy_by_definition(logits, labels, smoothing, weight, ignored):
    losses, weights = [], []
    for row, label in zip(logits, labels, strict=True):
        p = np.exp(row) / np.exp(row).sum()
        target = (1 - smoothing) * np.eye(row.size)[label] + smoothing / row.size if label != ignored else 0 * row
        losses.append(-(target * weight * np.log(p)).sum())
        weights.append(weight[label] if label != ignored else 0.0)
    return np.array(losses), np.array(weights)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_ignored_rows(smoothing, weighted):
    labels, logits = np.array([2, -100, 1, 0, -100]), rng.standard_normal((5, 3))
    weight = WEIGHT if weighted else None
    options = {"weight": weight, "label_smoothing": smoothing, "ignore_index": -100}
    losses, weights = cross_entropy_by_definition(logits, labels, smoothing, WEIGHT if weighted else np.ones(3), -100)
    np.testing.assert_allclose(F.cross_entropy(logits, labels, reduction="none", **options), losses, rtol=1e-10)
    np.testing.assert_allclose(F.cross_entropy(logits, labels, reduction="sum", **options), losses.sum(), rtol=1e-10)
    mean = losses.sum() / weights.sum()
    np.testing.assert_allclose(F.cross_entropy(logits, labels, **options), mean, rtol=1e-10)
    assert_gradients(lambda x: F.cross_entropy(x, labels, **options), logits, order=2)
    leaf = mg.Tensor(logits, requires_grad=True)
    F.cross_entropy(leaf, labels, **options).backward()
    assert not leaf.grad.numpy()[[1, 4]].any()
    single = None if weight is None else weight.astype(np.float32)
    assert F.cross_entropy(logits.astype(np.float32), labels, **options | {"weight": single}).dtype == np.float32


def test_nll_of_log_softmax_is_cross_entropy():
    options = {"weight": WEIGHT, "ignore_index": 1}
    for reduction in ("mean", "sum", "none"):
        np.testing.assert_allclose(
            F.nll_loss(F.log_softmax(X), LABELS, reduction=reduction, **options),
            F.cross_entropy(X, LABELS, reduction=reduction, **options),
            rtol=1e-12,
        )


def test_mean_of_no_rows_raises():
    labels = np.full(4, 7)
    with pytest.raises(ValueError, match=r"cross_entropy\(.*ignore_index=7\): all labels are ignored.*reduction='sum'"):
        F.cross_entropy(X, labels, ignore_index=7)
    assert F.cross_entropy(X, labels, ignore_index=7, reduction="sum") == 0
    with pytest.raises(ValueError, match="label 7 for 3 classes"):
        F.cross_entropy(X, np.array([0, 7, -1, 2]), ignore_index=-1)


@pytest.mark.floating(under="ignore")
def test_extreme_logits_and_probabilities():
    leaf = mg.Tensor([-900.0, 900.0], requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(leaf, np.array([1.0, 0.0]), reduction="none")
    assert loss.tolist() == [900.0, 900.0]
    loss.sum().backward()
    assert leaf.grad.tolist() == [-1.0, 1.0]
    leaf = mg.Tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = F.binary_cross_entropy(leaf, np.array([1.0, 0.0, 0.0, 1.0]), reduction="none")
    assert loss.tolist() == [100.0, 100.0, 0.0, 0.0]
    loss.sum().backward()
    assert leaf.grad.tolist() == [0.0, 0.0, 1.0, -1.0]


HARD = {  # losses that are linear in the operands named: shares of 0 and 1, and what they multiply
    "bce": (F.binary_cross_entropy, (P[0], np.array([0.0, 1.0, 0.0])), (1,)),
    "bce logits": (F.binary_cross_entropy_with_logits, (X[0], np.array([0.0, 1.0, 1.0])), (1,)),
    "bce logits, weighted": (
        lambda x, t, q, **o: F.binary_cross_entropy_with_logits(x, t, pos_weight=q, **o),
        (X[0], np.array([1.0, 1.0, 0.0]), np.array([0.0, 2.0, 0.0])),
        (1, 2),
    ),
    "cross entropy, weighted": (
        lambda x, w, **o: F.cross_entropy(x, LABELS, weight=w, label_smoothing=0.1, **o),
        (X, np.array([0.0, 2.0, 0.0])),
        (1,),
    ),
    "nll, weighted": (lambda x, w, **o: F.nll_loss(x, LABELS, weight=w, **o), (X, np.array([0.0, 2.0, 0.0])), (1,)),
}


@pytest.mark.parametrize("name", HARD)
def test_derivatives_at_targets_of_0_and_1(name):
    """The derivatives of a loss that is linear in its targets are its differences between two targets."""
    loss, operands, shares = HARD[name]

    def summed(*x):
        return loss(*x, reduction="sum")

    def by_scores(*x):
        return mg.grad(summed)(*x)

    for k in shares:
        slope, mixed = mg.grad(summed, argnums=k)(*operands), mg.jacobian(by_scores, argnums=k)(*operands)
        for j, share in enumerate(operands[k]):
            changed = list(operands)
            changed[k] = np.where(np.arange(3) == j, 1 - 0.5 * share, operands[k])
            step = 1 - 1.5 * share
            np.testing.assert_allclose(slope[j], (summed(*changed) - summed(*operands)) / step, rtol=1e-12)
            expected = (by_scores(*changed) - by_scores(*operands)) / step
            np.testing.assert_allclose(mixed[..., j], expected, rtol=1e-12, atol=1e-14)


def test_mixed_second_derivative_of_kl_div_at_hard_targets():
    target = np.array([0.0, 1.0, 0.0])
    mixed = mg.jacobian(lambda t: mg.grad(lambda x: F.kl_div(x, t, reduction="sum"))(np.log(P[0])))(target)
    np.testing.assert_array_equal(mixed, -np.eye(3))


def test_weight_0_of_an_infinite_term():
    x, target = np.array([np.inf, -np.inf, -np.inf]), np.array([1.0, 0.0, 1.0])
    for loss, operands in [
        (lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=np.array([1, 1, 0.0])), (x, target)),
        (F.kl_div, (x, np.zeros(3))),
        (
            lambda x, w: F.cross_entropy(x, np.array(1), weight=w, reduction="sum"),
            (np.array([0, -np.inf]), np.zeros(2)),
        ),
        (lambda x, w: F.nll_loss(x, np.array(1), weight=w, reduction="sum"), (np.array([0, -np.inf]), np.zeros(2))),
    ]:
        assert loss(*operands) == 0
        for gradient in mg.grad(loss, argnums=(0, 1))(*operands):
            assert not gradient.any()


def test_nan_is_not_hidden_by_clipping():
    leaf = mg.Tensor([np.nan, np.nan, 0.5], requires_grad=True)
    loss = F.binary_cross_entropy(leaf, np.array([1.0, 0.0, 1.0]), reduction="none")
    assert np.isnan(loss.numpy()).tolist() == [True, True, False]
    loss.sum().backward()
    assert np.isnan(leaf.grad.numpy()).tolist() == [True, True, False]


def test_all_weights_0():
    for loss in (F.cross_entropy, F.nll_loss):
        with pytest.raises(ValueError, match=r"all labels are ignored or have weight 0.*reduction='sum'"):
            loss(X[:2], np.array([0, 2]), weight=np.array([0.0, 1.0, 0.0]))
        assert loss(X[:2], np.array([0, 2]), weight=np.array([0.0, 1.0, 0.0]), reduction="sum") == 0


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint8, np.int64])
@pytest.mark.parametrize(
    "loss",
    [
        lambda t: F.binary_cross_entropy(P, t),
        lambda t: F.binary_cross_entropy_with_logits(X, t, pos_weight=t),
        lambda t: F.kl_div(X, t * np.array([0, 1, 3], t.dtype)),
        lambda t: F.kl_div(X, t, log_target=True),
        lambda t: F.mse_loss(X, t),
        lambda t: F.l1_loss(X, t),
        lambda t: F.triplet_margin_loss(X, t, Y, margin=20.0),
    ],
)
def test_integer_targets_are_converted_to_floats(loss, dtype):
    target = SIGNS > 0
    np.testing.assert_allclose(loss(target.astype(dtype)), loss(target.astype(dtype).astype(float)), rtol=1e-14)


def test_huber_where_its_branches_meet():
    leaf = mg.Tensor([0.0, 1.0, -1.0, 1e200], requires_grad=True)
    loss = F.huber_loss(leaf, np.zeros(4), reduction="none")
    np.testing.assert_array_equal(loss.numpy(), [0.0, 0.5, 0.5, 1e200])
    loss.sum().backward()
    assert leaf.grad.tolist() == [0.0, 1.0, -1.0, 1.0]
    second = mg.hessian(lambda x: F.huber_loss(x, np.zeros(2), reduction="sum"))(np.array([0.0, 3.0]))
    np.testing.assert_array_equal(second, [[1.0, 0.0], [0.0, 0.0]])


def test_kl_div_of_batches():
    elements = T * np.log(T / P)
    np.testing.assert_allclose(F.kl_div(np.log(P), T, reduction="batchmean"), elements.sum() / 4, rtol=1e-10)
    target = np.array([[0.0, 1.0]])
    assert F.kl_div(np.log([[0.5, 0.5]]), target, reduction="sum") == pytest.approx(math.log(2), rel=1e-12)
    with pytest.raises(ValueError, match="N at least 1"):
        F.kl_div(np.zeros(()), np.zeros(()), reduction="batchmean")


def test_cosine_similarity():
    np.testing.assert_allclose(F.cosine_similarity(X, Y), cosines(X, Y), rtol=1e-10)
    np.testing.assert_allclose(F.cosine_similarity(X, Y, axis=0), cosines(X.T, Y.T), rtol=1e-10)
    pairs = F.cosine_similarity(X[:, None], Y[:2])
    np.testing.assert_allclose(pairs[:, 1], cosines(X, np.broadcast_to(Y[1], X.shape)), rtol=1e-10)
    assert_gradients(F.cosine_similarity, X, Y, order=2)
    zero = mg.Tensor(np.zeros(3), requires_grad=True)
    F.cosine_similarity(zero, np.ones(3)).backward()
    assert np.isfinite(zero.grad.numpy()).all()


@pytest.mark.floating(under="ignore")
@pytest.mark.parametrize(("dtype", "scale"), [("f", 1e20), ("f", 1e30), ("f", 1e-25), ("d", 1e160), ("d", 1e-200)])
def test_angles_and_distances_do_not_overflow(dtype, scale):
    """Squares leave the range of the dtype; arrays, Tensors and mixtures give equal results."""
    x, y = (np.array(z * scale, dtype) for z in (X, Y))
    rtol = 1e-5 if dtype == "f" else 1e-12
    for a, b in [(x, y), (mg.Tensor(x), mg.Tensor(y)), (mg.Tensor(x), y), (x, mg.Tensor(y))]:
        cosine = F.cosine_similarity(a, b, eps=1e-30 * scale)
        np.testing.assert_allclose(np.asarray(getattr(cosine, "data", cosine)), cosines(X, Y), rtol=rtol)
        distance = F.triplet_margin_loss(a, b, a, margin=1e-6 * scale, reduction="none")
        expected = (np.linalg.norm(X - Y, axis=1) + 1e-6) * scale
        np.testing.assert_allclose(np.asarray(getattr(distance, "data", distance)), expected, rtol=rtol)
        loss = F.cosine_embedding_loss(a, a, np.ones(4))
        assert scale < 1 or float(loss) == pytest.approx(0, abs=1e-6)


def test_triplet_of_equal_points_has_finite_gradients():
    leaf = mg.Tensor(X, requires_grad=True)
    F.triplet_margin_loss(leaf, X, Y, margin=20.0).backward()
    assert np.isfinite(leaf.grad.numpy()).all()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: F.huber_loss(X, Y, delta=0), "huber_loss(delta=0): must be positive"),
        (lambda: F.smooth_l1_loss(X, Y, beta=-1), "smooth_l1_loss(beta=-1): must not be negative"),
        (lambda: F.binary_cross_entropy(X, T), "use binary_cross_entropy_with_logits"),
        (lambda: F.binary_cross_entropy(mg.Tensor(X), T), "probability must be in [0, 1], but is in ["),
        (lambda: F.binary_cross_entropy_with_logits(X, SIGNS), "target must be in [0, 1], but is in [-1, 1]"),
        (lambda: F.binary_cross_entropy_with_logits(X, T, pos_weight=np.ones(4)), "must broadcast to the shape"),
        (lambda: F.binary_cross_entropy_with_logits(X[0], T[0], pos_weight=np.ones((2, 3))), "must broadcast"),
        (lambda: F.hinge_loss(X, T > 0.5), "targets must be -1 or 1, but one is"),
        (lambda: F.multi_margin_loss(X, LABELS, p=3), "multi_margin_loss(p=3): must be 1 or 2"),
        (lambda: F.multi_margin_loss(X, LABELS[:, None]), "labels[:, 0]"),
        (lambda: F.cosine_embedding_loss(X, Y, SIGNS), "expected x and y (N, D), and targets (N,)"),
        (lambda: F.cosine_embedding_loss(X, Y, LABELS), "targets must be -1 or 1, but one is"),
        (lambda: F.cosine_embedding_loss(X, Y, SIGNS[:, 0], margin=2), "must be in [-1, 1], as a cosine"),
        (lambda: F.triplet_margin_loss(X, Y, P, margin=0), "triplet_margin_loss(margin=0): must be positive"),
        (lambda: F.nll_loss(X, LABELS, weight=np.ones(2)), "weight must have the shape (3,)"),
        (lambda: F.kl_div(X, Y, reduction="batch"), "kl_div(reduction='batch'): must be 'batchmean'"),
    ],
)
def test_errors(call, says):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        call()
    assert says in str(raised.value)


# Connectionist temporal classification


def collapsed(path, blank):
    return [k for k, _ in itertools.groupby(path) if k != blank]


def ctc_by_enumeration(p, labels, blank):
    """-log of the summed probability of all alignments that give the labels."""
    steps, classes = p.shape
    total = 0.0
    for path in itertools.product(range(classes), repeat=steps):
        if collapsed(path, blank) == list(labels):
            total += math.prod(p[t, k] for t, k in enumerate(path))
    return -math.log(total) if total else math.inf


CTC = [  # labels in rows, their lengths, input lengths, blank
    ([[1, 2], [1, 1], [2, 0]], [2, 2, 1], [4, 4, 3], 0),
    ([[0, 1, 0], [0, 0, 1], [1, 1, 1]], [3, 3, 0], [5, 4, 2], 2),
    ([[2, 2], [2, -1], [-1, -1]], [2, 1, 0], [3, 1, 5], 1),
]


@pytest.mark.parametrize(("labels", "counts", "steps", "blank"), CTC)
def test_ctc_against_enumeration(labels, counts, steps, blank):
    labels, counts, steps = np.array(labels), np.array(counts), np.array(steps)
    logits = rng.standard_normal((3, 5, 3))
    logp = F.log_softmax(logits)
    expected = np.array(
        [ctc_by_enumeration(np.exp(logp[i, : steps[i]]), labels[i, : counts[i]], blank) for i in range(3)]
    )
    result = F.ctc_loss(logp, labels, steps, counts, blank=blank, reduction="none")
    np.testing.assert_allclose(result, expected, rtol=1e-10)
    np.testing.assert_allclose(F.ctc_loss(logp, labels, steps, counts, blank=blank, reduction="sum"), expected.sum())
    mean = (expected / np.maximum(counts, 1)).mean()
    np.testing.assert_allclose(F.ctc_loss(logp, labels, steps, counts, blank=blank), mean, rtol=1e-10)


def test_ctc_gradients():
    labels, steps, counts = np.array([[1, 2, 2], [1, 1, 0]]), np.array([5, 4]), np.array([3, 2])
    logits = rng.standard_normal((2, 5, 3))
    assert_gradients(lambda x: F.ctc_loss(F.log_softmax(x), labels, steps, counts), logits, order=2)
    leaf = mg.Tensor(logits, requires_grad=True, dtype=np.float32)
    loss = F.ctc_loss(F.log_softmax(leaf), labels, steps, counts)
    loss.backward()
    assert loss.dtype == leaf.grad.dtype == np.float32
    assert not leaf.grad.numpy()[1, 4].any()


def test_ctc_labels_longer_than_the_input():
    """Two equal labels need a blank between them, so at least three times."""
    leaf = mg.Tensor(rng.standard_normal((2, 2, 3)), requires_grad=True)
    labels, steps, counts = np.array([[1, 1], [1, 2]]), np.array([2, 2]), np.array([2, 2])
    loss = F.ctc_loss(F.log_softmax(leaf), labels, steps, counts, reduction="none")
    assert loss.numpy()[0] == np.inf
    assert np.isfinite(loss.numpy()[1])
    loss = F.ctc_loss(F.log_softmax(leaf), labels, steps, counts, reduction="none", zero_infinity=True)
    assert loss.numpy()[0] == 0
    loss.sum().backward()
    assert not leaf.grad.numpy()[0].any()
    assert np.isfinite(leaf.grad.numpy()).all()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"logp": np.zeros((5, 2, 3))}, ValueError, "swapaxes(0, 1)"),
        ({"labels": np.array([[1, 0], [1, 1]])}, ValueError, "a label is the blank, 0"),
        ({"labels": np.array([[1, 3], [1, 1]])}, ValueError, "a label is 3; it must be in 0 ... 2"),
        ({"labels": np.ones((2, 2))}, TypeError, "integers"),
        ({"steps": np.array([5, 6])}, ValueError, "an input length is 6; it must be in 1 ... 5"),
        ({"steps": np.array([0, 5])}, ValueError, "an input length is 0"),
        ({"steps": np.array([[5, 5]])}, ValueError, "lengths must have the shape (2,)"),
        ({"counts": np.array([2, 3])}, ValueError, "a label length is 3; it must be in 0 ... 2"),
        ({"blank": 3}, ValueError, "blank must be one of the classes 0 ... 2"),
        ({"reduction": "batchmean"}, ValueError, "ctc_loss(reduction='batchmean')"),
    ],
)
def test_ctc_errors(change, error, says):
    arguments = {"logp": np.zeros((2, 5, 3)), "labels": np.array([[1, 2], [1, 1]]), "steps": np.array([5, 5])}
    arguments |= {"counts": np.array([2, 2])} | change
    operands = [arguments.pop(name) for name in ("logp", "labels", "steps", "counts")]
    with pytest.raises(error) as raised:
        F.ctc_loss(*operands, **arguments)
    assert says in str(raised.value)


# Modules

MODULES = [
    (nn.MSELoss(), F.mse_loss, (X, Y), {}),
    (nn.L1Loss(reduction="sum"), F.l1_loss, (X, Y), {"reduction": "sum"}),
    (nn.HuberLoss(0.5), F.huber_loss, (X, Y), {"delta": 0.5}),
    (nn.SmoothL1Loss(0.5), F.smooth_l1_loss, (X, Y), {"beta": 0.5}),
    (nn.BCELoss(), F.binary_cross_entropy, (P, T), {}),
    (nn.BCEWithLogitsLoss(Q), F.binary_cross_entropy_with_logits, (X, T), {"pos_weight": Q}),
    (nn.KLDivLoss(reduction="batchmean"), F.kl_div, (X, T), {"reduction": "batchmean"}),
    (nn.HingeLoss(2.0), F.hinge_loss, (X, SIGNS), {"margin": 2.0}),
    (nn.MultiMarginLoss(2), F.multi_margin_loss, (X, LABELS), {"p": 2}),
    (nn.CosineEmbeddingLoss(0.1), F.cosine_embedding_loss, (X, Y, SIGNS[:, 0]), {"margin": 0.1}),
    (nn.TripletMarginLoss(swap=True), F.triplet_margin_loss, (X, Y, P), {"swap": True}),
    (nn.NLLLoss(WEIGHT, 1), F.nll_loss, (X, LABELS), {"weight": WEIGHT, "ignore_index": 1}),
    (nn.CrossEntropyLoss(), F.cross_entropy, (X, LABELS), {}),
    (nn.CrossEntropyLoss(ignore_index=0), F.cross_entropy, (X, LABELS), {"ignore_index": 0}),
    (
        nn.CrossEntropyLoss(WEIGHT, label_smoothing=0.1, reduction="none"),
        F.cross_entropy,
        (X, LABELS),
        {"weight": WEIGHT, "label_smoothing": 0.1, "reduction": "none"},
    ),
    (
        nn.CTCLoss(2, "sum"),
        F.ctc_loss,
        (X[None], np.array([[0, 1]]), np.array([4]), np.array([2])),
        {"blank": 2, "reduction": "sum"},
    ),
]


@pytest.mark.parametrize(("module", "function", "operands", "options"), MODULES, ids=lambda x: type(x).__name__)
def test_modules(module, function, operands, options):
    np.testing.assert_allclose(module(*operands), function(*operands, **options), rtol=1e-12)
    assert repr(module).startswith(f"{type(module).__name__}(")
    with pytest.raises(ValueError, match=rf"{type(module).__name__}\(reduction='average'\)"):
        type(module)(reduction="average")


def test_label_smoothing_outside_its_range_raises():
    with pytest.raises(ValueError, match=r"CrossEntropyLoss\(label_smoothing=1.5\): must be in \[0, 1\)"):
        nn.CrossEntropyLoss(label_smoothing=1.5)


def test_every_loss_has_a_module():
    from minigrad.functional import losses

    assert {m.function for m, *_ in MODULES} == {getattr(losses, n) for n in losses.__all__} - {F.cosine_similarity}


def test_class_weights_are_in_the_state_dict():
    loss = nn.CrossEntropyLoss([1.0, 2.0, 3.0])
    assert loss.state_dict()["weight"].tolist() == [1.0, 2.0, 3.0]
    assert list(loss.parameters()) == []
    assert "weight=array(3,)" in repr(loss)
    assert nn.CrossEntropyLoss().state_dict() == {}


def test_plain_cross_entropy_is_fused():
    leaf = mg.Tensor(X, requires_grad=True)
    names = [node.primitive.name for node in mg.Tape(nn.CrossEntropyLoss()(leaf, LABELS)) if not node.is_leaf]
    assert names == ["softmax_cross_entropy", "select"]


@pytest.mark.parametrize("name", LOSSES)
def test_on_an_array_that_refuses_conversion(name):
    """Values and gradients are computed through NumPy's protocols, without conversion to arrays."""
    loss, operands, elements = LOSSES[name]
    leaves = [mg.Tensor(StandIn(x), requires_grad=True) for x in operands]
    out = loss(*leaves, reduction="none")
    assert isinstance(out.data, StandIn)
    np.testing.assert_allclose(bare(out.data), elements, rtol=1e-10, atol=1e-14)
    loss(*leaves).backward()
    assert all(isinstance(x.grad.data, StandIn) for x in leaves)


def test_ctc_on_an_array_that_refuses_conversion():
    logits, labels = rng.standard_normal((2, 4, 3)), np.array([[1, 2], [1, 1]])
    leaf = mg.Tensor(StandIn(logits), requires_grad=True)
    loss = F.ctc_loss(F.log_softmax(leaf), labels, np.array([4, 4]), np.array([2, 2]))
    loss.backward()
    assert isinstance(leaf.grad.data, StandIn)
    expected = F.ctc_loss(F.log_softmax(logits), labels, np.array([4, 4]), np.array([2, 2]))
    np.testing.assert_allclose(bare(loss.data), expected, rtol=1e-12)
