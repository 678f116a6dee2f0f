"""Pooling through Tensors: against loops, ties, padding, adaptive windows, both orders and modes, and the errors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.ops.spatial.pool_nd import (
    adaptive_avg_pool,
    adaptive_max_pool,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from minigrad.ops.spatial.pool_primitives import first_maximum, max_pool, window_gather
from minigrad.ops.spatial.windows import output_size
from minigrad.tensor.transforms import grad, hessian, jacobian, jvp
from minigrad.verify.gradients import check_gradients

MAX, AVG = (max_pool1d, max_pool2d, max_pool3d), (avg_pool1d, avg_pool2d, avg_pool3d)

# (spatial, window, stride, padding, dilation); window 3, stride 2, padding 1 has no fast path of its own
CASES: list[Any] = [
    ((9,), (4,), (1,), ((0, 0),), (1,)),
    ((9,), (3,), (1,), ((1, 2),), (2,)),
    ((8,), (2,), (3,), ((0, 1),), (2,)),
    ((7, 6), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    ((7, 6), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    ((7, 6), (3, 2), (2, 1), ((1, 2), (0, 1)), (1, 2)),
    ((5, 4), (1, 1), (2, 3), ((0, 0), (0, 0)), (1, 1)),
    ((5, 1), (3, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((4, 3), (4, 3), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((4, 4, 5), (2, 3, 2), (1, 1, 1), ((0, 1), (1, 1), (0, 0)), (1, 1, 1)),
    ((4, 4, 5), (2, 2, 2), (2, 1, 2), ((1, 1), (0, 1), (1, 0)), (1, 2, 1)),
]


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def operands(case: Any, n: int = 2) -> tuple[Any, dict[str, Any]]:
    spatial, window, stride, padding, dilation = case
    x = rng().standard_normal((n, *spatial, 3))
    return x, {"window": window, "stride": stride, "padding": padding, "dilation": dilation}


def windows_of(x: Any, window: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Each position, with the indices into x at which its taps lie inside, in C order."""
    positions = output_size(x.shape[1:-1], window, stride, padding, dilation)
    for position in np.ndindex(*positions):
        inside = []
        for tap in np.ndindex(*window):
            met = zip(position, stride, tap, dilation, padding, strict=True)
            at = tuple(p * s + t * d - before for p, s, t, d, (before, _) in met)
            if all(0 <= i < size for i, size in zip(at, x.shape[1:-1], strict=True)):
                inside.append((slice(None), *at))
        yield (slice(None), *position), inside


def naive(x: Any, pick: Callable[[Any], Any], **static: Any) -> Any:
    positions = output_size(x.shape[1:-1], *static.values())
    y = np.zeros((x.shape[0], *positions, x.shape[-1]))
    for position, inside in windows_of(x, **static):
        y[position] = pick(np.array([x[at] for at in inside]))
    return y


def naive_contribution(x: Any, v: Any, **static: Any) -> Any:
    """v added to the first of the largest entries of each window."""
    contribution = np.zeros_like(x)
    for position, inside in windows_of(x, **static):
        first = np.argmax(np.array([x[at] for at in inside]), axis=0)
        for tap, at in enumerate(inside):
            contribution[at] += v[position] * (first == tap)
    return contribution


def pulled(function: Callable[[Any], Any], x: Any, v: Any) -> Any:
    leaf = mg.Tensor(x, requires_grad=True)
    function(leaf).backward(v)
    assert leaf.grad.dtype == leaf.dtype
    return leaf.grad.data


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [0, 1, 3])
@pytest.mark.parametrize("ties", [False, True])
def test_max_pool(case: Any, n: int, ties: bool) -> None:
    """Value, gradient and tangent; the gradient of ties goes to the first."""
    x, static = operands(case, n)
    x = np.round(x) if ties else x
    pool = MAX[x.ndim - 3]
    out = pool(x, **static)
    np.testing.assert_array_equal(out, naive(x, lambda seen: seen.max(axis=0), **static))
    np.testing.assert_array_equal(window_gather(x, first_maximum(x, out, **static), **static), out)
    v, t = rng().standard_normal(out.shape), rng().standard_normal(x.shape)
    contribution = pulled(lambda x: pool(x, **static), x, v)
    np.testing.assert_allclose(contribution, naive_contribution(x, v, **static), atol=1e-14)
    _, tangent_out = jvp(lambda x: pool(x, **static), (x,), (t,))
    assert np.isclose(np.vdot(contribution, t), np.vdot(v, tangent_out))
    low = pulled(lambda x: pool(x, **static), x.astype("f4"), v.astype("f4"))
    np.testing.assert_allclose(low, contribution, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", [case for case in CASES if max(case[-1]) == 1])
@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("n", [0, 2])
def test_avg_pool(case: Any, include: bool, n: int) -> None:
    x, static = operands(case, n)
    size = math.prod(static["window"])
    expected = naive(x, lambda seen: seen.sum(axis=0) / (size if include else len(seen)), **static)
    del static["dilation"]

    def pool(x: Any) -> Any:
        return AVG[x.ndim - 3](x, count_include_pad=include, **static)

    out = pool(x)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    v, t = rng().standard_normal(out.shape), rng().standard_normal(x.shape)
    contribution, (_, tangent_out) = pulled(pool, x, v), jvp(pool, (x,), (t,))
    np.testing.assert_allclose(tangent_out, pool(t), rtol=1e-12, atol=1e-14)
    assert np.isclose(np.vdot(contribution, t), np.vdot(v, tangent_out))
    assert pool(x.astype("f4")).dtype == pulled(pool, x.astype("f4"), v.astype("f4")).dtype == "f4"


@pytest.mark.parametrize("size", [(1, 1), (2, 4), (3, 5), (7, 3), (9, 11)])
def test_adaptive_pools(size: tuple[int, int]) -> None:
    """Window i of n covers floor(i size / n) up to ceil((i + 1) size / n)."""
    x = rng().standard_normal((2, 7, 8, 3))
    v = rng().standard_normal((2, *size, 3))
    for pool, pick in ((adaptive_max_pool, np.max), (adaptive_avg_pool, np.mean)):
        y = np.zeros_like(v)
        for i, j in np.ndindex(*size):
            (a, b), (c, d) = ((k * m // n, -(-(k + 1) * m // n)) for k, m, n in ((i, 7, size[0]), (j, 8, size[1])))
            y[:, i, j] = pick(x[:, a:b, c:d], axis=(1, 2))
        np.testing.assert_allclose(pool(x, size), y, rtol=1e-12, atol=1e-14)
        contribution = pulled(lambda x, pool=pool: pool(x, size), x, v)
        np.testing.assert_allclose(np.vdot(contribution, x), np.vdot(v, y))
        low = mg.Tensor(x.astype("f4"))
        assert pool(low, size).dtype == pulled(lambda x, pool=pool: pool(x, size), low, v.astype("f4")).dtype == "f4"


def test_adaptive_pools_accept_lists_and_integers() -> None:
    assert adaptive_avg_pool([[[1], [2], [4]]], 2).tolist() == [[[1.5], [3.0]]]
    assert adaptive_max_pool(np.array([[[1], [2], [4]]]), 2).tolist() == [[[2], [4]]]


# NaN, infinity, integers


def test_max_pool_of_nan_is_nan_and_its_gradient_is_not_lost_to_padding() -> None:
    x = np.full((1, 4, 4, 1), np.nan)
    out = max_pool2d(x, 3, stride=2, padding=1)
    assert np.isnan(out).all()
    assert pulled(lambda x: max_pool2d(x, 3, stride=2, padding=1), x, np.ones_like(out)).sum() == out.size


def test_padding_is_never_selected_as_the_maximum() -> None:
    x = np.full((1, 3, 3, 2), -np.inf)
    v = rng().standard_normal((1, 3, 3, 2))
    contribution = pulled(lambda x: max_pool2d(x, 3, stride=1, padding=1), x, v)
    np.testing.assert_allclose(contribution.sum(axis=(1, 2)), v.sum(axis=(1, 2)))


def test_windows_of_one_entry_return_a_copy() -> None:
    x = np.ones((1, 3, 3, 2))
    for y in (max_pool2d(x, 1), avg_pool2d(x, 1)):
        np.testing.assert_array_equal(y, x)
        assert not np.may_share_memory(x, y)


def test_integers_and_booleans() -> None:
    x = np.arange(24, dtype="u1").reshape(1, 4, 6, 1)
    assert max_pool2d(x, 2, padding=1).dtype == "u1"
    assert max_pool2d(x, 2)[0, 0, 0, 0] == 7
    assert max_pool2d(x > 6, 2)[0, :, :, 0].tolist() == [[True] * 3] * 2
    assert avg_pool2d(x + np.uint8(200), 2)[0, 0, 0, 0] == 203.5


# Orders and modes

PICTURES = rng().permutation(120).reshape(2, 5, 4, 3) / 20 - 3.02
CHECKED: dict[str, Callable[[Any], Any]] = {
    "max_pool1d": lambda x: max_pool1d(x[0], 2, stride=1, padding=1) ** 2,
    "max_pool2d": lambda x: np.exp(max_pool2d(x, 3, stride=2, padding=1)) * max_pool2d(x, 3, stride=2, padding=1),
    "max_pool3d": lambda x: max_pool3d(x[..., None], 2) ** 3,
    "avg_pool2d": lambda x: avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False) ** 2,
    "avg_pool3d": lambda x: np.exp(avg_pool3d(x[..., None], (2, 2, 1), stride=1)),
    "adaptive_max_pool": lambda x: adaptive_max_pool(x, (3, 3)) ** 2,
    "adaptive_avg_pool": lambda x: adaptive_avg_pool(x, (3, 3)) ** 2,
}


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_of_both_orders_and_forward_mode(name: str, order: int) -> None:
    report = check_gradients(CHECKED[name], PICTURES, order=order, elements=60)
    assert "forward mode: agrees" in str(report)
    assert not report.kinks
    report.raise_if_wrong()


def test_the_jacobian_of_max_pool_selects_entries() -> None:
    x = np.array([1.0, 3.0, 2.0, 2.0]).reshape(1, 4, 1)
    actual = jacobian(lambda x: max_pool1d(x, 2))(x).reshape(2, 4)
    assert actual.tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
    curved = hessian(lambda x: (max_pool1d(x, 2) ** 3).sum())(x).reshape(4, 4)
    np.testing.assert_allclose(curved, np.diag([0.0, 18.0, 12.0, 0.0]))


def test_a_penalty_on_the_gradient_is_differentiable() -> None:
    t = mg.Tensor(PICTURES, requires_grad=True)
    (max_pool2d(t, 3, stride=1) ** 2).sum().backward(create_graph=True)
    penalty = (t.grad**2).sum()
    t.grad = None
    penalty.backward()
    slope = grad(lambda x: (max_pool2d(x, 3, stride=1) ** 2).sum())
    report = check_gradients(
        lambda x: (slope(x) ** 2).sum(), PICTURES, gradient=lambda v, _: v * t.grad.data, elements=30
    )
    report.raise_if_wrong()


def test_residuals() -> None:
    t = mg.Tensor(PICTURES, requires_grad=True)
    (node,) = (node for node in mg.Tape(max_pool2d(t, 2)) if not node.is_leaf)
    assert node.primitive is max_pool.primitive
    assert [value.shape for value in node.residuals] == [(2, 5, 4, 3), (2, 2, 2, 3)]
    (node,) = (node for node in mg.Tape(avg_pool2d(t, 2)) if not node.is_leaf)
    assert node.residuals == ()


# Errors repeat the call and give a hint


@pytest.mark.parametrize("wrap", [np.asarray, mg.Tensor])
@pytest.mark.parametrize(("call", "words"), [
    (lambda x: max_pool2d(x, 9), ["max_pool2d(x=(2, 5, 4, 3), window=9", "(9, 9)", "does not fit", "channels last"]),
    (lambda x: max_pool2d(x, 2, padding=2), ["padding=2 must be smaller than the window"]),
    (lambda x: max_pool2d(x, 2, padding="full"), ["padding='full'", '"same"']),
    (lambda x: max_pool2d(x, (2, 2, 2)), ["window=(2, 2, 2)", "tuple of 2"]),
    (lambda x: max_pool2d(x, 2, dilation=0), ["dilation=0", "an integer >= 1"]),
    (lambda x: max_pool3d(x, 2), ["expected x with 5 axes (N, D, H, W, C), got 4 axes", "x[None]"]),
    (lambda x: avg_pool1d(x, 2), ["expected x with 3 axes (N, L, C), got 4 axes"]),
    (lambda x: avg_pool2d(x, 2.0), ["window=2.0", "an integer"]),
    (lambda x: adaptive_avg_pool(x, (1, 2, 3)), ["output_size=(1, 2, 3)", "tuple of 2"]),
    (lambda x: adaptive_max_pool(x[:, :0], 2), ["none empty"]),
    (lambda x: adaptive_max_pool(x[0, 0], 2), ["(N, *spatial, C)"]),
])  # fmt: skip
def test_errors_have_hints(call: Callable[[Any], Any], words: list[str], wrap: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"\(x=") as error:
        call(wrap(PICTURES))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(("size", "window", "stride"), list(itertools.product((5, 6), (1, 2, 3), (1, 2, 3))))
def test_same_padding(size: int, window: int, stride: int) -> None:
    x = rng().standard_normal((1, size, 2))
    assert max_pool1d(x, window, stride=stride, padding="same").shape[1] == math.ceil(size / stride)
