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


def test_small_gradients_are_unchanged():
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


def test_a_single_parameter_and_an_empty_list():
    w = mg.Tensor(np.zeros(2), requires_grad=True)
    assert optim.clip_grad_norm_(w, 1.0) == 0
    assert optim.clip_grad_norm_([], 1.0) == 0
    w.grad = np.array([3.0, 4.0])
    assert optim.clip_grad_norm_(w, 2.0) == 5
    optim.clip_grad_value_(w, 1.5)
    np.testing.assert_allclose(w.grad.numpy(), [1.2, 1.5], rtol=1e-6)


def test_the_optimizer_uses_the_clipped_gradients():
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


# Norms that squares cannot hold: scaled as in LAPACK's dnrm2 (Anderson 2017)

EXTREMES = [
    [1e18, 1e18],
    [3e19, 0.0],
    [1e20, -1e20],
    [1e30, 1.0],
    [3e38, 3e38],
    [1e-30, 1e-30],
    [1e-40, 3e-40],
    [1e-44, 0.0],
    [0.0, 0.0],
    [1e200, 1e200],
    [1e308, -1e308],
    [1e-200, 1e-200],
    [5e-324, 1e-320],
    [1e300, 1e-300],
    [6e4, 6e4],
    [6e-8, 6e-8],
]
WAYS = ["clip_grad_norm_", "clipnorm", "global_clipnorm"]


def limited(values, limit, more=0.0):
    """min(1, limit / (norm + more)) times the values, by divisions first."""
    largest = max(map(abs, values))
    if not largest:
        return values
    rest = math.hypot(*(x / largest for x in values))
    if rest + more / largest <= limit / largest:
        return values
    return [x / largest * (limit / (rest + more / largest)) for x in values]


def clipped(way, values, limit, dtype):
    p = mg.Tensor(np.zeros(len(values), dtype), requires_grad=True)
    p.grad = np.array(values, dtype)
    if way == "clip_grad_norm_":
        optim.clip_grad_norm_([p], limit)
        return p.grad.numpy()
    optim.SGD([p], lr=1.0, **{way: limit}).step()
    return -p.numpy()


@pytest.mark.floating(under="ignore")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, float])
@pytest.mark.parametrize("values", EXTREMES, ids=str)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("limit", [1.0, 1e-3, 1e-12])
def test_norms_neither_overflow_nor_underflow(way, values, limit, dtype):
    if max(map(abs, values)) > float(np.finfo(dtype).max):
        return
    given = [float(x) for x in np.array(values, dtype)]
    expected = limited(given, limit, 1e-6 if way == "clip_grad_norm_" else 0.0)
    found = clipped(way, values, limit, dtype)
    assert found.dtype == dtype
    info = np.finfo(dtype)
    np.testing.assert_allclose(
        found.astype(float), expected, rtol=4 * info.eps, atol=2 * float(info.smallest_subnormal)
    )


@pytest.mark.floating(under="ignore")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, float])
@pytest.mark.parametrize("p", [1, 2, 3, 3.5, 100, 5000, math.inf])
@pytest.mark.parametrize("scale", ["largest", "smallest", "one"])
def test_p_norms_neither_overflow_nor_underflow(dtype, p, scale):
    unit = {"largest": float(np.finfo(dtype).max) / 4, "smallest": float(np.finfo(dtype).tiny) * 4, "one": 1.0}[scale]
    w = mg.Tensor(np.zeros(3, dtype), requires_grad=True)
    w.grad = np.array([unit, -unit / 2, unit], dtype)
    first, second, third = (abs(float(x)) / unit for x in w.grad.numpy())
    relative = max(first, second) if p == math.inf else (first**p + second**p + third**p) ** (1 / p)
    total = optim.clip_grad_norm_([w], math.inf, norm_type=p)
    assert total.dtype == np.float64
    assert float(total) / unit == pytest.approx(relative, rel=1e-3 if dtype is np.float16 else 1e-6)


@pytest.mark.floating(invalid="ignore")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [np.float32, float])
def test_an_infinite_limit_changes_nothing(way, dtype):
    for values in ([1.0, math.inf], [math.nan, 2.0], [3e38, 3e38]):
        np.testing.assert_array_equal(clipped(way, values, math.inf, dtype), np.array(values, dtype))


@pytest.mark.floating(invalid="ignore")
@pytest.mark.parametrize("way", WAYS)
def test_clipping_keeps_nonfinite_gradients_visible(way):
    np.testing.assert_array_equal(clipped(way, [1.0, math.inf], 1.0, float), [0.0, math.nan])
    assert np.isnan(clipped(way, [1.0, math.nan], 1.0, float)).all()


@pytest.mark.floating(under="ignore")
def test_mixed_dtypes():
    params = [mg.Tensor(np.zeros(2, dtype), requires_grad=True) for dtype in (np.float16, np.float32, float)]
    for p, g in zip(params, ([3e4, 4e4], [3e30, 4e30], [0.0, 12e30]), strict=True):
        p.grad = np.array(g, p.dtype)
    assert float(optim.clip_grad_norm_(params, 13.0)) == pytest.approx(13e30)
    assert [p.grad.dtype for p in params] == [np.float16, np.float32, float]
    np.testing.assert_allclose(params[1].grad.numpy(), [3, 4], rtol=1e-6)
    np.testing.assert_allclose(params[2].grad.numpy(), [0, 12], rtol=1e-6)


def test_ordinary_and_scaled_norms_agree():
    """A tracer array takes the scaled way, real arrays the short one: they differ by rounding at most."""
    from minigrad.optim import clip

    g = np.random.default_rng(0).normal(size=1000)
    starts, sizes = np.array([0, 10, 500]), [10, 490, 500]
    for limit in (0.1, 1e3, 20.0):
        short, long = g.copy(), g.copy().view(Subclass)
        clip.by_norm(short, starts, sizes, limit)
        clip.by_norm(long, starts, sizes, limit)
        np.testing.assert_allclose(np.asarray(long), short, rtol=1e-14)
        short, long = g.copy(), g.copy().view(Subclass)
        clip.by_global_norm([short], limit)
        clip.by_global_norm([long], limit)
        np.testing.assert_allclose(np.asarray(long), short, rtol=1e-14)


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize("dtype", [np.float32, float])
@pytest.mark.parametrize("way", WAYS[1:])
@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_compiled_steps_clip_in_the_dtype_of_the_parameters(way, dtype, limit):
    def made():
        params = [mg.Tensor(np.ones(n, dtype), requires_grad=True) for n in (3, 4)]
        optimizer = optim.SGD(params, lr=0.1, **{way: limit})

        def step(x):
            optimizer.zero_grad()
            (params[0] * x).sum().backward()
            (params[1] * params[1]).sum().backward()
            optimizer.step()

        return params, step

    (ours, step), (theirs, same) = made(), made()
    compiled = mg.compile(step, backend="numpy", fallback="raise")
    for k in range(5):
        compiled(np.arange(3).astype(dtype) + k)
        same(np.arange(3).astype(dtype) + k)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6 if dtype is np.float32 else 1e-13)
