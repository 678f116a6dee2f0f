"""Initializers by the distribution that they draw from, not by their shape."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad.nn import init

SHAPES = {(120, 180): (120, 180), (5, 4, 30, 40): (600, 800)}  # kernel: fan_in, fan_out


def normal_below(z):
    return 0.5 * math.erfc(-z / math.sqrt(2))


def truncated_below(z):
    low, high = normal_below(-2), normal_below(2)
    return (normal_below(min(max(z, -2.0), 2.0)) - low) / (high - low)


def kolmogorov_smirnov(values, below):
    """√n sup |F_n - F| (Kolmogorov 1933). Under the hypothesis it exceeds 1.95 with probability 0.001."""
    ordered = np.sort(values, axis=None)
    n = ordered.size
    expected = np.array([below(z) for z in ordered.tolist()])
    above = (np.arange(1, n + 1) / n - expected).max()
    under = (expected - np.arange(n) / n).max()
    return math.sqrt(n) * max(above, under)


def test_the_statistic_objects():
    """Planted faults: a scale off by 5 %, and the wrong family at the right variance."""
    values = np.random.default_rng(0).standard_normal(20000)
    assert kolmogorov_smirnov(values, normal_below) < 1.95
    assert kolmogorov_smirnov(values * 1.05, normal_below) > 1.95
    uniform = np.random.default_rng(0).uniform(-math.sqrt(3), math.sqrt(3), 20000)
    assert kolmogorov_smirnov(uniform, normal_below) > 1.95


UNIFORM = {  # the half-width of the interval from (fan_in, fan_out)
    "glorot_uniform": lambda i, o: math.sqrt(6 / (i + o)),
    "xavier_uniform": lambda i, o: math.sqrt(6 / (i + o)),
    "lecun_uniform": lambda i, o: math.sqrt(3 / i),
    "he_uniform": lambda i, o: math.sqrt(6 / i),
    "kaiming_uniform": lambda i, o: math.sqrt(6 / i),
}
NORMAL = {  # the standard deviation
    "glorot_normal": lambda i, o: math.sqrt(2 / (i + o)),
    "xavier_normal": lambda i, o: math.sqrt(2 / (i + o)),
    "lecun_normal": lambda i, o: math.sqrt(1 / i),
    "he_normal": lambda i, o: math.sqrt(2 / i),
    "kaiming_normal": lambda i, o: math.sqrt(2 / i),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", UNIFORM)
def test_uniform(name, shape):
    values, bound = init.get(name)(shape, rng=1), UNIFORM[name](*SHAPES[shape])
    assert values.shape == shape
    assert 0.999 * bound < np.abs(values).max() <= bound
    assert kolmogorov_smirnov(values, lambda z: (z + bound) / (2 * bound)) < 1.95


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NORMAL)
def test_normal(name, shape):
    std = NORMAL[name](*SHAPES[shape])
    values = init.get(name)(shape, rng=2)
    assert values.std() == pytest.approx(std, rel=0.02)
    assert kolmogorov_smirnov(values / std, normal_below) < 1.95


@pytest.mark.parametrize("name", ["glorot_normal", "lecun_normal", "he_normal"])
def test_truncated_as_in_keras(name):
    """The standard deviation is exact, and nothing lies beyond two of the wider normal's."""
    shape = (120, 180)
    std = NORMAL[name](*SHAPES[shape])
    values = init.get(name)(shape, truncated=True, rng=3)
    assert values.std() == pytest.approx(std, rel=0.02)
    wide = std / init.TRUNCATED_STD
    assert 1.9 * wide < np.abs(values).max() <= 2 * wide
    assert kolmogorov_smirnov(values / wide, truncated_below) < 1.95


def test_truncated_std_is_that_of_the_distribution():
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    variance = 1 - 2 * 2 * density / (normal_below(2) - normal_below(-2))
    assert math.sqrt(variance) == pytest.approx(init.TRUNCATED_STD, rel=1e-15)


def test_plain_distributions():
    shape = (150, 150)
    drawn = {
        "random_normal": lambda z: normal_below(z / 0.05),
        "random_uniform": lambda z: (z + 0.05) / 0.1,
        "truncated_normal": lambda z: truncated_below(z / 0.05),
        "normal": normal_below,
        "uniform": lambda z: z,
    }
    for name, below in drawn.items():
        assert kolmogorov_smirnov(init.get(name)(shape, rng=4), below) < 1.95, name
    moved = init.random_normal(shape, mean=3.0, stddev=0.5, rng=5)
    assert kolmogorov_smirnov((moved - 3) / 0.5, normal_below) < 1.95
    moved = init.random_uniform(shape, minval=2.0, maxval=6.0, rng=5)
    assert kolmogorov_smirnov((moved - 2) / 4, lambda z: z) < 1.95


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["uniform", "normal", "truncated_normal"])
def test_variance_scaling(mode, distribution):
    shape = (3, 40, 90)
    count = {"fan_in": 120, "fan_out": 270, "fan_avg": 195}[mode]
    values = init.variance_scaling(shape, 0.7, mode, distribution, rng=6)
    assert values.var() == pytest.approx(0.7 / count, rel=0.04)
    assert abs(values.mean()) < 4 * math.sqrt(0.7 / count / values.size)


def test_gains_and_slopes():
    shape = (200, 300)
    plain = init.glorot_uniform(shape, rng=0)
    np.testing.assert_allclose(init.glorot_uniform(shape, gain=5 / 3, rng=0), plain * 5 / 3, rtol=1e-12, atol=1e-15)
    leaky = init.he_normal(shape, negative_slope=0.5, rng=0)
    np.testing.assert_allclose(leaky, init.he_normal(shape, rng=0) / math.sqrt(1.25), rtol=1e-12)
    out = init.he_uniform(shape, mode="fan_out", rng=0)
    np.testing.assert_allclose(out, init.he_uniform(shape, rng=0) * math.sqrt(200 / 300), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("shape", "layout", "fans"),
    [
        ((4, 20), "keras", (4, 20)),
        ((5, 5, 3, 6), "keras", (75, 150)),
        ((4, 1, 20), "keras", (4, 80)),
        ((20, 4), "torch", (4, 20)),
        ((6, 3, 5, 5), "torch", (75, 150)),
        ((20, 1, 4), "torch", (4, 80)),
        ((7,), "keras", (7, 7)),
        ((), "keras", (1, 1)),
    ],
)
def test_fans(shape, layout, fans):
    assert init.compute_fans(shape, layout) == fans


def test_layout_reaches_the_scale():
    keras, torch = init.he_normal((10, 4000), rng=0), init.he_normal((4000, 10), rng=0, layout="torch")
    np.testing.assert_array_equal(keras.ravel(), torch.ravel())


def test_constants():
    np.testing.assert_array_equal(init.zeros((2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(init.ones((2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(init.constant((2, 3), value=0.3), np.full((2, 3), 0.3))


def test_every_initializer_follows_dtype_and_seed():
    for name, function in init._BY_NAME.items():
        single = function((6, 5), rng=9, dtype=np.float32)
        assert single.dtype == np.float32, name
        np.testing.assert_array_equal(single, function((6, 5), rng=np.random.default_rng(9), dtype="float32"))
        assert function((6, 5), rng=9).dtype == np.float64
    mg.set_default_dtype("float32")
    try:
        assert init.he_normal((3, 3)).dtype == np.float32
    finally:
        mg.set_default_dtype("float64")


def test_empty_shapes():
    assert init.glorot_uniform((0, 5)).shape == (0, 5)
    assert init.he_normal((0, 5), truncated=True).shape == (0, 5)


def test_get():
    assert init.get("kaiming_normal_") is init.he_normal
    assert init.get("Glorot_Uniform") is init.glorot_uniform
    assert init.get(math.sin) is math.sin
    with pytest.raises(ValueError, match="'hee_normal'; did you mean 'he_normal'"):
        init.get("hee_normal")
    with pytest.raises(TypeError, match="give a name"):
        init.get(3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "fan"}, "fan_in, fan_out, fan_avg"),
        ({"distribution": "cauchy"}, "'uniform', 'normal' or"),
        ({"scale": -1.0}, "not negative"),
        ({"layout": "jax"}, "'keras'"),
    ],
)
def test_bad_options(options, says):
    with pytest.raises(ValueError, match=says):
        init.variance_scaling((3, 3), **options)
