"""Values and derivatives are right to the last digits, over the whole range of a dtype and at special values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from benchmarks import accuracy
from benchmarks.accuracy_subjects import SUBJECTS
from benchmarks.ulp import Subject, measured
from minigrad import functional as F
from minigrad import fused
from minigrad.engine.pairwise import add_at, add_reduce
from minigrad.engine.primitive import REGISTRY

NAMES = [subject.name for subject in SUBJECTS]


def check(subject: Subject, dtype: Any, density: int, seed: int) -> None:
    for what, error in measured(subject, dtype, density, seed).items():
        assert error.units <= accuracy.limit(subject, what), (
            f"{what} of {subject.name} at {error.at!r} ({dtype.__name__}) is off by {error.units:.1f} units"
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("subject", SUBJECTS, ids=NAMES)
def test_within_four_units(subject: Subject, dtype: Any) -> None:
    check(subject, dtype, density=1, seed=1)


@pytest.mark.slow
@pytest.mark.floating(all="ignore")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("subject", SUBJECTS, ids=NAMES)
def test_within_four_units_at_many_points(subject: Subject, dtype: Any) -> None:
    for seed in range(4):
        check(subject, dtype, density=16, seed=seed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.floating(under="ignore")
@pytest.mark.parametrize(("name", "scale"), [("sigmoid_slope", 1), ("sech_squared", 2)])
def test_derivatives_of_sigmoid_and_tanh_at_a_million_points(name: str, scale: int, dtype: Any) -> None:
    """More than mpmath could compute: a formula that squares cosh is off by 7 units at a few numbers in a thousand."""
    x = np.random.default_rng(3).uniform(0.01, 80 / scale, 1_000_000).astype(dtype)
    wide = np.exp(-scale * x.astype(np.longdouble))
    exact = scale**2 * wide / (1 + wide) ** 2
    function = REGISTRY[name].function
    for result in (
        function(x),
        function(np.append(x, dtype(1e4)))[:-1],
    ):  # where nothing overflows, and where some does
        assert (np.abs(result - exact) / np.spacing(exact.astype(dtype))).max() <= accuracy.LIMIT
    alone = [function(t) for t in x[:1000].astype(float)]
    np.testing.assert_allclose(alone, exact[:1000], rtol=2e-15 if dtype is np.float64 else 1e-4)


def test_subjects_have_unique_names() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_the_page_lists_every_subject_and_no_row_above_the_limit_without_a_reason() -> None:
    lines = accuracy.PAGE.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines if line.startswith("| ")]
    table = {cells[0].removeprefix("| ").replace("\\*", "*"): cells[1:] for cells in rows if len(cells) == 8}
    assert set(NAMES) <= set(table)
    for name in NAMES:
        *errors, why = table[name]
        assert why.rstrip(" |") or all(error == "–" or float(error) <= accuracy.LIMIT for error in errors), name
        assert "0" not in why.rstrip(" |").split(", "), name


# The ends: infinities and what overflows on the way

INF = np.inf
ENDS: dict[str, tuple[Any, list[float], list[float]]] = {  # the function, its values and slopes at -inf and inf
    "sigmoid": (mg.sigmoid, [0, 1], [0, 0]),
    "softplus": (mg.softplus, [0, INF], [0, 1]),
    "tanh": (mg.tanh, [-1, 1], [0, 0]),
    "log_sigmoid": (F.log_sigmoid, [-INF, 0], [1, 0]),
    "silu": (F.silu, [0, INF], [0, 1]),
    "mish": (F.mish, [0, INF], [0, 1]),
    "gelu": (F.gelu, [0, INF], [0, 1]),
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), [0, INF], [0, 1]),
    "softsign": (F.softsign, [-1, 1], [0, 0]),
    "hardswish": (F.hardswish, [0, INF], [0, 1]),
    "hardsigmoid": (F.hardsigmoid, [0, 1], [0, 0]),
    "elu": (F.elu, [-1, INF], [0, 1]),
    "huber_loss": (lambda x: F.huber_loss(x, np.zeros(2), reduction="none"), [INF, INF], [-1, 1]),
    "smooth_l1_loss": (lambda x: F.smooth_l1_loss(x, np.zeros(2), reduction="none"), [INF, INF], [-1, 1]),
    "logaddexp": (lambda x: mg.logaddexp(x, 1.0), [1, INF], [0, 1]),
    "logaddexp with itself": (lambda x: mg.logaddexp(x, x), [-INF, INF], [0, 1]),
}


@pytest.mark.parametrize("what", ENDS)
@pytest.mark.floating(under="ignore", invalid="ignore")
def test_at_infinity(what: str) -> None:
    function, values, slopes = ENDS[what]
    x = np.array([-INF, INF])
    np.testing.assert_array_equal(function(mg.Tensor(x)).numpy(), values)
    np.testing.assert_array_equal(mg.grad(lambda x: function(x).sum() if what else x)(x), slopes)


@pytest.mark.floating(under="ignore")
def test_logsumexp_of_infinities() -> None:
    x = np.array([[-INF, -INF, -INF], [INF, 0.0, INF], [-INF, 0.0, -INF]])
    np.testing.assert_array_equal(mg.logsumexp(mg.Tensor(x), axis=1).numpy(), [-INF, INF, 0.0])
    expected = [[0, 0, 0], [0.5, 0, 0.5], [0, 1, 0]]
    np.testing.assert_array_equal(mg.grad(lambda x: mg.logsumexp(x, axis=1)[1:].sum())(x)[1:], expected[1:])
    assert mg.logsumexp(mg.Tensor(np.zeros((0, 2))), axis=0).tolist() == [-INF, -INF]


@pytest.mark.parametrize("loss", [F.cross_entropy, fused.softmax_cross_entropy])
@pytest.mark.floating(under="ignore")
def test_cross_entropy_of_masked_and_certain_classes(loss: Any) -> None:
    logits = np.array([[0.0, -INF, 0.0], [60.0, 0.0, 0.0], [3.0, -INF, 3.0]])
    labels = np.array([0, 0, 1])
    certain = 2 * math.exp(-60)
    exact = {"rtol": 1e-14} | ({"atol": 1e-14} if loss is F.cross_entropy else {})  # docs/accuracy.md
    with np.errstate(over="ignore"):
        result = loss(mg.Tensor(logits), labels, reduction="none").numpy()
        gradient = mg.grad(lambda x: loss(x, labels, reduction="sum"))(logits)
    np.testing.assert_allclose(result, [math.log(2), certain, INF], **exact)
    np.testing.assert_allclose(
        gradient, [[-0.5, 0, 0.5], [-certain, certain / 2, certain / 2], [0.5, -1, 0.5]], **exact
    )


def test_binary_cross_entropy_with_infinite_logits() -> None:
    x, t = np.array([-INF, INF, -INF, INF]), np.array([0.0, 1.0, 1.0, 0.0])
    result = F.binary_cross_entropy_with_logits(mg.Tensor(x), t, reduction="none").numpy()
    np.testing.assert_array_equal(result, [0, 0, INF, INF])
    gradient = mg.grad(lambda x: F.binary_cross_entropy_with_logits(x, t, reduction="sum"))(x)
    np.testing.assert_array_equal(gradient, [0, 0, -1, 1])


def test_kl_div_of_impossible_classes() -> None:
    logp, t = np.array([0.0, -INF]), np.array([1.0, 0.0])
    for target, is_log in ((t, False), (np.array([0.0, -INF]), True)):
        loss = lambda x, target=target, is_log=is_log: F.kl_div(x, target, log_target=is_log, reduction="sum")
        assert float(loss(mg.Tensor(logp))) == 0
        np.testing.assert_array_equal(mg.grad(loss)(logp), [-1, 0])
    with pytest.raises(ValueError, match=r"target must be in \[0, inf\]"):
        F.kl_div(logp, np.array([0.5, -0.5]))


# Norms: squares that leave the range of the dtype


@pytest.mark.parametrize(
    ("dtype", "scale"), [("float32", 1e20), ("float32", 1e-25), ("float64", 1e200), ("float64", 1e-200)]
)
def test_norms_are_scaled(dtype: str, scale: float) -> None:
    x = (np.array([3.0, 4.0]) * scale).astype(dtype)
    eps = np.finfo(dtype).eps
    for function in (
        mg.linalg.vector_norm,
        lambda x: mg.hypot(x[0], x[1]),
        lambda x: mg.linalg.norm(x[None], axis=1)[0],
    ):
        t = mg.Tensor(x, requires_grad=True)
        y = function(t)
        y.backward()
        np.testing.assert_allclose(y.numpy(), np.hypot(*x.astype(float)), rtol=4 * eps)
        np.testing.assert_allclose(t.grad.numpy(), [0.6, 0.8], rtol=4 * eps)
    t = mg.Tensor(x * [1, -1], requires_grad=True)
    y = mg.std(t.astype(dtype))
    y.backward()
    np.testing.assert_allclose(y.numpy(), 3.5 * scale, rtol=1e-6)
    np.testing.assert_allclose(t.grad.numpy(), [0.5, -0.5], rtol=1e-6)


@pytest.mark.parametrize("p", [3.0, 0.5, -1.0, 2.5])
def test_p_norms_are_scaled(p: float) -> None:
    x = np.array([3.0, 4.0])
    for scale in (1e200, 1e-200):
        t = mg.Tensor(x * scale, requires_grad=True)
        y = mg.linalg.vector_norm(t, ord=p)
        y.backward()
        np.testing.assert_allclose(y.numpy(), np.linalg.norm(x, p) * scale, rtol=1e-14)
        np.testing.assert_allclose(t.grad.numpy(), mg.grad(lambda v: mg.linalg.vector_norm(v, ord=p))(x), rtol=1e-14)


def test_p_norms_with_zeros() -> None:
    x = np.array([0.0, 3.0, -4.0])
    norm = lambda p: mg.grad(lambda v: mg.linalg.vector_norm(v, ord=p))(x)
    root = (math.sqrt(3) + 2) / np.sqrt([3, 4])
    np.testing.assert_allclose(norm(0.5), [0, root[0], -root[1]])
    np.testing.assert_array_equal(norm(-1.0), [0, 0, 0])
    assert float(mg.linalg.vector_norm(mg.Tensor(x), ord=-1.0)) == 0


# Many numbers, small ones, whole ones


@pytest.mark.parametrize("shape", [(1_000_000, 2), (300_001, 3), (40, 5000, 4)])
def test_sums_over_many_rows(shape: tuple[int, ...]) -> None:
    x = np.full(shape, 0.1, np.float32)
    axis = tuple(range(len(shape) - 1))
    exact = float(np.float32(0.1)) * math.prod(shape[:-1])
    bias = mg.Tensor(np.zeros(shape[-1], np.float32), requires_grad=True)
    ((mg.Tensor(x) + bias) * np.float32(0.1)).sum().backward()
    for result in (add_reduce(x, axis=axis), mg.sum(mg.Tensor(x), axis).numpy(), bias.grad.numpy()):
        np.testing.assert_allclose(result, exact, rtol=1e-6)
    np.testing.assert_allclose(mg.mean(mg.Tensor(x), axis).numpy(), 0.1, rtol=1e-6)
    assert add_reduce(x, axis=axis, keepdims=True).shape == (*(1,) * len(axis), shape[-1])


def test_sums_in_every_order_of_axes_and_memory() -> None:
    x = np.random.default_rng(0).random((3, 300, 5, 40)).astype(np.float32)
    for y in (x, x.transpose(1, 3, 0, 2), x[:, ::2, :, 1:], np.asfortranarray(x)):
        for axis in (None, 0, 1, -1, (0, 1), (1, 3), (0, 2), (1, 2, 3), (0, 1, 2, 3), ()):
            for keepdims in (False, True):
                expected = y.sum(axis, keepdims=keepdims, dtype=float)
                np.testing.assert_allclose(add_reduce(y, axis=axis, keepdims=keepdims), expected, rtol=2e-6)


@pytest.mark.floating(under="ignore")
def test_half_precision_is_accumulated_in_single_precision() -> None:
    x = np.full(70000, 1e-3, np.float16)
    assert mg.mean(mg.Tensor(x)).numpy() == np.float16(1e-3)
    assert mg.grad(mg.mean)(x)[0] == np.float16(1 / 70000)
    assert float(mg.std(mg.Tensor(np.tile(np.float16([1e-2, -1e-2]), 35000)))) == np.float16(1e-2)
    assert F.mse_loss(mg.Tensor(np.full(70000, 2, np.float16)), np.zeros(70000, np.float16)).numpy() == 4
    for softmax in (F.softmax, fused.softmax):
        result = softmax(mg.Tensor(np.zeros(65536, np.float16))).numpy()
        assert result.dtype == np.float16
        assert np.all(result == np.float16(2.0**-16))
    z = (np.random.default_rng(0).normal(size=(100, 1)) * 300).astype(np.float16)
    one, zero = np.ones(1, np.float16), np.zeros(1, np.float16)
    for y in (F.batch_norm(mg.Tensor(z), one, zero), fused.batch_norm(mg.Tensor(z), one, zero)[0]):
        assert y.dtype == np.float16
        np.testing.assert_allclose(y.numpy().std(), 1, rtol=1e-2)
    assert float(mg.linalg.vector_norm(mg.Tensor(np.full(4, 300, np.float16)))) == 600


MANY_USES: dict[str, Any] = {  # the first element of x, so many times
    "embedding": lambda x, n: F.embedding(np.zeros(n, int), x[:, None]),
    "index": lambda x, n: x[np.zeros(n, int)],
    "index of few among many": lambda x, n: mg.concat([x, np.zeros(2 * n, x.dtype)])[np.zeros(n, int)],
    "places": lambda x, n: x[:, None][np.zeros(n, int), np.zeros(n, int)],
    "columns": lambda x, n: x[None][:, np.zeros(n, int)],
    "an index and a new axis": lambda x, n: x[np.zeros(n, int), None],
    "take": lambda x, n: mg.take(x, np.zeros(n, int)),
    "take_along_axis": lambda x, n: mg.take_along_axis(x, np.zeros(n, int), axis=0),
    "repeat": lambda x, n: mg.repeat(x, n),
    "edge": lambda x, n: mg.pad(x, (0, n - 1), "edge"),
    "wrap": lambda x, n: mg.pad(x, (0, n - 1), "wrap"),
    "interpolate": lambda x, n: F.interpolate(x[None, :, None], size=(n,), mode="nearest"),
    "cumulative_sum": lambda x, n: mg.cumulative_sum(mg.concat([x, np.zeros(n - 1, x.dtype)])),
    "sliding_windows": lambda x, n: mg.sliding_windows(_between(x, n), n),
    "max_pool": lambda x, n: mg.max_pool1d(_between(x, n)[None, :, None], n, stride=1),
    "scatter": lambda x, n: mg.scatter(mg.broadcast_to(x, (n,)), np.zeros(n, int), axis=0, size=1),
    "avg_pool": lambda x, n: mg.avg_pool1d(_between(x * n, n)[None, :, None], n, stride=1),
}


def _between(x: Any, n: int) -> Any:
    """x with n - 1 zeros on either side, in n windows of n elements."""
    return mg.pad(x, n - 1)


@pytest.mark.parametrize("what", MANY_USES)
@pytest.mark.parametrize(("dtype", "n"), [("float16", 5000), ("float32", 8000)])
def test_gradient_of_a_value_used_many_times(what: str, dtype: str, n: int) -> None:
    x = np.ones(1, dtype)
    weight = np.dtype(dtype).type(0.1 if dtype == "float32" else 1)
    result = mg.grad(lambda x: mg.sum(MANY_USES[what](x, n) * weight))(x)
    np.testing.assert_allclose(result, [float(weight) * n], rtol=1e-6 if dtype == "float32" else 1e-3)
    assert result.dtype == dtype


def test_all_kinds_of_indices_give_equal_sums() -> None:
    """Indices that repeat often or rarely, for few and for many elements."""
    draw = np.random.default_rng(0)
    few, many = draw.integers(-3, 3, 2000), draw.integers(0, 70, 2000)
    mask = np.arange(70) < 50
    indices: list[Any] = [few, many, (few, many), (few, 3), (3, many), (slice(None), few), (few, None)]
    indices += [(few[:, None], many[:5]), mask[:, None] & mask, (mask, few[:50]), (mask, 3), (slice(3), np.int8(few))]
    indices += [(..., few), (np.arange(70)[:, None], few)]
    uses: list[Any] = [(index, shape) for index in indices for shape in ((70, 70), (70, 70, 3))]
    uses += [(few, (9000, 3)), ((slice(None), few), (3, 9000)), ((slice(None), few.reshape(2, -1)), (2, 9000, 2))]
    uses += [((few, few), (3, 9000)), ((..., few), (3, 9000)), ((few, slice(1)), (9000, 3))]
    for index, shape in uses:
        v = draw.normal(size=np.zeros(shape)[index].shape).astype(np.float32)
        expected, result = np.zeros(shape), np.zeros(shape, np.float32)
        np.add.at(expected, index, v)
        add_at(result, index, v)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_half_precision_tensor_in_many_operations() -> None:
    x = np.ones(2, np.float16)
    stacked = lambda x: mg.sum(mg.stack([x] * 5000))
    inner = lambda x: stacked(x * 1)
    for function in (stacked, inner, mg.compile(inner), lambda x: sum([mg.sum(x * 1) for _ in range(5000)])):
        gradient = mg.grad(function)(x)
        assert gradient.dtype == np.float16
        assert gradient.tolist() == [5000, 5000]
    t = mg.Tensor(x, requires_grad=True)
    with mg.detect_anomaly():
        inner(t).backward()
    assert t.grad.tolist() == [5000, 5000]
    assert mg.grad(lambda x: mg.sum(mg.grad(inner)(x) * x))(x).tolist() == [5000, 5000]


def test_compiled_sums_of_half_precision() -> None:
    x = np.ones((5000, 2), np.float16)
    for function in (
        lambda x: mg.sum(x, axis=0),
        lambda x: mg.einsum("ij->j", x),
        lambda x: mg.linalg.vector_norm(x, ord=1, axis=0),
        lambda x: mg.grad(lambda b: mg.sum(x * b))(x[0]),
    ):
        step = mg.compile(function, fallback="raise")
        for _ in range(4):
            assert np.asarray(step(x)).tolist() == [5000, 5000]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_running_sums_and_sums_at_indices_when_compiled(dtype: str) -> None:
    x, index = np.full(5000, 1 if dtype == "float16" else 0.1, dtype), np.zeros(5000, int)
    for function in (mg.cumulative_sum, lambda x: mg.scatter(x, index, axis=0, size=2)):
        expected = np.cumsum(x, dtype=float) if function is mg.cumulative_sum else [x.sum(dtype=float), 0]
        for result in (function(x), mg.compile(function)(x)):
            np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-3 if dtype == "float16" else 1e-6)


def test_gradient_of_a_running_product_in_half_precision() -> None:
    result = mg.grad(lambda x: mg.sum(mg.cumulative_prod(x)))(np.ones(5000, np.float16))
    np.testing.assert_allclose(result, np.arange(5000, 0, -1), rtol=1e-3)


@pytest.mark.parametrize(("dtype", "n"), [("float16", 5000), ("float32", 100_000)])
def test_means_of_large_windows(dtype: str, n: int) -> None:
    x = np.full((1, n, 1), 60000 if dtype == "float16" else 0.1, dtype)
    for result in (mg.avg_pool1d(x, n), mg.adaptive_avg_pool(x, 1), mg.adaptive_avg_pool(x[:, 1:], 2)):
        np.testing.assert_allclose(result, np.full(result.shape, x[0, 0, 0]), rtol=1e-6)
        assert result.dtype == dtype


@pytest.mark.parametrize(("kind", "value"), [("int8", 100), ("uint8", 200), ("int16", 30000), ("int32", 100000)])
@pytest.mark.floating(under="ignore")
def test_integers_do_not_wrap_around(kind: str, value: int) -> None:
    a = np.array([[value, value]], kind)
    for result in (mg.linalg.vector_norm(mg.Tensor(a)), mg.linalg.matrix_norm(mg.Tensor(a))):
        np.testing.assert_allclose(result.numpy(), value * math.sqrt(2), rtol=1e-15)
    p, t = np.array([[value, 10]], kind), np.array([[10, value]], kind)
    for loss in (F.mse_loss, F.l1_loss, F.huber_loss, F.smooth_l1_loss, F.cosine_similarity):
        np.testing.assert_allclose(np.ravel(loss(mg.Tensor(p), t)), np.ravel(loss(p.astype(float), t.astype(float))))
    np.testing.assert_allclose(F.softmax(mg.Tensor(p)).numpy(), F.softmax(p.astype(float)))


def test_largest_absolute_value_of_int8() -> None:
    assert float(mg.linalg.vector_norm(mg.Tensor(np.array([-128, 3], np.int8)), ord=np.inf)) == 128


def test_mean_of_large_integers() -> None:
    assert float(mg.mean(mg.Tensor(np.array([2**63, 2**63 + 2**12], np.uint64)))) == 2.0**63 + 2.0**11


@pytest.mark.parametrize("dtype", ["bool", "int8", "int32", "uint64", "float32"])
@pytest.mark.parametrize("y", [2, 2.0, 1.0, 0.5, 1, 3, 0])
def test_powers_have_the_dtype_of_numpy(dtype: str, y: float) -> None:
    x = np.ones(2, dtype)
    result, expected = mg.Tensor(x) ** y, x**y
    np.testing.assert_array_equal(result.numpy(), expected)
    assert result.dtype == expected.dtype


def test_sum_with_a_narrower_dtype() -> None:
    small = mg.Tensor(np.array([100, 100], np.int8))
    assert mg.sum(small, dtype="int8").numpy() == np.int8(-56)
    assert mg.sum(small, dtype="int8").dtype == mg.prod(small, dtype="int8").dtype == np.int8
    assert mg.cumulative_sum(small, dtype=np.int8).tolist() == [100, -56]
    assert np.sum(mg.Tensor([1.0, 2.0]), dtype=np.float32).dtype == np.float32


# Second derivatives where the first is a convention


@pytest.mark.parametrize("square", [lambda n: n**2, lambda n: n * n, mg.square, lambda n: 3 * n * n - 2 * n**2])
def test_squared_norm_is_smooth_at_the_origin(square: Any) -> None:
    zero = np.zeros(2)
    for norm in (mg.linalg.vector_norm, lambda v: mg.hypot(v[0], v[1])):
        np.testing.assert_array_equal(mg.hessian(lambda v, norm=norm: square(norm(v)))(zero), 2 * np.eye(2))
    result = mg.hessian(lambda v: square(mg.std(v)))(np.ones(2))
    np.testing.assert_array_equal(result, [[0.5, -0.5], [-0.5, 0.5]])


def test_norm_has_no_second_derivative_at_the_origin() -> None:
    for function, x in ((mg.linalg.vector_norm, np.zeros(2)), (mg.std, np.ones(2))):
        with np.errstate(all="ignore"):
            assert not np.isfinite(mg.hessian(function)(x)).any()


@pytest.mark.parametrize("x", [2.0, 23.0])
def test_mixed_second_derivative_of_a_power_at_exponent_zero(x: float) -> None:
    f = lambda x, y: x**y
    assert mg.grad(lambda y: mg.grad(f, 0)(x, y))(0.0) == 1 / x
    assert mg.grad(lambda x: mg.grad(f, 1)(x, 0.0))(x) == 1 / x


def test_second_derivatives_of_the_determinant_of_singular_matrices() -> None:
    x = np.diag([1.0, 2.0, 0.0])
    np.testing.assert_allclose(mg.jvp(mg.grad(mg.linalg.det), (x,), (np.eye(3),))[1], np.diag([2, 1, 3]), atol=1e-15)
    zero = mg.hessian(mg.linalg.det)(np.zeros((2, 2)))
    np.testing.assert_array_equal(zero[0, 0], [[0, 0], [0, 1]])
    np.testing.assert_array_equal(zero[0, 1], [[0, 0], [-1, 0]])


@pytest.mark.parametrize(("x", "y"), [(1.0, 0.1), (2.0, 0.2), (5.0, 0.05), (-1.0, 0.1)])
def test_fmod_is_differentiated_with_its_own_quotient(x: float, y: float) -> None:
    assert mg.grad(mg.fmod, 1)(x, y) == -np.round((x - np.fmod(x, y)) / y)
    assert mg.grad(mg.remainder, 1)(x, y) == -np.floor_divide(x, y)


def test_axis_zero_of_a_scalar() -> None:
    for reduce in (mg.sum, mg.mean, mg.max, mg.prod, mg.logsumexp):
        assert mg.grad(lambda x, reduce=reduce: reduce(x, axis=0))(3.0) == 1.0
