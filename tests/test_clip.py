"""The clip functions."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import optim

SHAPES = [(3, 2), (), (4,)]


def parameters(dtype=float, seed=0):
    rng = np.random.default_rng(seed)
    params = [mg.Tensor(np.zeros(s, dtype), requires_grad=True) for s in (*SHAPES, (5,))]
    for p in params[:-1]:
        p.grad = (3 * rng.standard_normal(p.shape)).astype(dtype)
    return params, [p.grad.numpy().copy() for p in params[:-1]]


def norm(arrays, p):
    values = np.abs(np.concatenate([x.ravel() for x in arrays]))
    return values.max() if p == math.inf else (values**p).sum() ** (1 / p)


@pytest.mark.parametrize("dtype", [float, np.float32])
@pytest.mark.parametrize("p", [1, 2, 3.5, math.inf])
@pytest.mark.parametrize("limit", [0.0, 0.7, 1e3])
def test_norm(dtype, p, limit):
    params, before = parameters(dtype)
    total = optim.clip_grad_norm_(params, limit, norm_type=p)
    assert total.shape == ()
    assert total == pytest.approx(norm(before, p), rel=1e-6 if dtype is np.float32 else 1e-14)
    factor = min(1, limit / (norm(before, p) + 1e-6))
    for parameter, g in zip(params, before, strict=False):
        assert parameter.grad.dtype == dtype
        np.testing.assert_allclose(parameter.grad.numpy(), g * factor, rtol=1e-6 if dtype is np.float32 else 1e-14)
    assert params[-1].grad is None


def test_small_gradients_are_not_touched():
    params, before = parameters()
    optim.clip_grad_norm_(params, norm(before, 2) + 1e-5)
    for parameter, g in zip(params, before, strict=False):
        np.testing.assert_array_equal(parameter.grad.numpy(), g)


def test_value():
    params, before = parameters()
    optim.clip_grad_value_(params, 1.5)
    for parameter, g in zip(params, before, strict=False):
        np.testing.assert_array_equal(parameter.grad.numpy(), np.where(abs(g) > 1.5, 1.5 * np.sign(g), g))
    assert any((abs(g) > 1.5).any() for g in before)


def test_one_parameter_and_none():
    w = mg.Tensor(np.zeros(2), requires_grad=True)
    assert optim.clip_grad_norm_(w, 1.0) == 0
    assert optim.clip_grad_norm_([], 1.0) == 0
    w.grad = np.array([3.0, 4.0])
    assert optim.clip_grad_norm_(w, 2.0) == 5
    optim.clip_grad_value_(w, 1.5)
    np.testing.assert_allclose(w.grad.numpy(), [1.2, 1.5], rtol=1e-6)


def test_the_optimizer_takes_the_clipped_gradients():
    params, before = parameters()
    optim.clip_grad_norm_(iter(params), 0.5)
    optim.SGD(params, lr=1.0).step()
    assert norm([p.numpy() for p in params], 2) == pytest.approx(0.5, rel=1e-6)
    assert norm(before, 2) > 0.5


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_norms_that_are_not_finite(value):
    params, before = parameters()
    params[1].grad = np.array(value)
    with pytest.raises(RuntimeError, match="not finite; no gradient was changed"):
        optim.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(params[0].grad.numpy(), before[0])


BAD = {
    "value": (lambda: optim.clip_grad_value_([], 0.0), ValueError, r"clip_grad_value_\(clip_value=0.0\)"),
    "norm": (lambda: optim.clip_grad_norm_([], -1.0), ValueError, "max_norm=-1.0"),
    "nan": (lambda: optim.clip_grad_norm_([], math.nan), ValueError, "must not be negative"),
    "norm_type": (lambda: optim.clip_grad_norm_([], 1.0, 0.5), ValueError, "norm_type must be at least 1"),
    "gradients": (lambda: optim.clip_grad_norm_([np.ones(2)], 1.0), TypeError, "ndarray is not a Tensor"),
    "other": (lambda: optim.clip_grad_value_([1.0], 1.0), TypeError, "float is not a Tensor"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, error, says = BAD[name]
    with pytest.raises(error, match=says):
        call()
