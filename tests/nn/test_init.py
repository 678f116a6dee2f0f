"""Initializers by the distribution that they draw from, not by their shape."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
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


def test_the_statistics_detect_differences():
    """Planted faults: a scale that is wrong by 5 %, and another family of the same variance."""
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
def test_truncated_normal_as_in_keras(name):
    """The standard deviation is exact, and no value is beyond two standard deviations of the wider normal."""
    shape = (120, 180)
    std = NORMAL[name](*SHAPES[shape])
    values = init.get(name)(shape, truncated=True, rng=3)
    assert values.std() == pytest.approx(std, rel=0.02)
    wide = std / init.TRUNCATED_STD
    assert 1.9 * wide < np.abs(values).max() <= 2 * wide
    assert kolmogorov_smirnov(values / wide, truncated_below) < 1.95


def test_truncated_std():
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
    values = init.random_normal(shape, mean=3.0, stddev=0.5, rng=5)
    assert kolmogorov_smirnov((values - 3) / 0.5, normal_below) < 1.95
    values = init.random_uniform(shape, minval=2.0, maxval=6.0, rng=5)
    assert kolmogorov_smirnov((values - 2) / 4, lambda z: z) < 1.95


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


def test_layout_determines_the_scale():
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
        ({"scale": -1.0}, "must not be negative"),
        ({"layout": "jax"}, "'keras'"),
    ],
)
def test_bad_options(options, says):
    with pytest.raises(ValueError, match=says):
        init.variance_scaling((3, 3), **options)


# Structure


@pytest.mark.parametrize("layout", ["keras", "torch"])
@pytest.mark.parametrize("shape", [(7, 7), (9, 4), (4, 9), (3, 3, 2, 5), (2, 2, 30)])
def test_orthogonal(shape, layout):
    w = init.orthogonal(shape, gain=1.5, rng=0, layout=layout)
    assert w.shape == shape
    matrix = w.reshape(shape[0], -1) if layout == "torch" else w.reshape(-1, shape[-1]).T
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 2.25 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_matrices_are_uniformly_distributed():
    """A coordinate on the sphere is uniform (Archimedes); the signs of LAPACK's Q alone are not random."""
    draws = np.random.default_rng(1)
    matrices = np.array([init.orthogonal((3, 3), rng=draws) for _ in range(3000)])
    for i, j in np.ndindex(3, 3):
        assert kolmogorov_smirnov(matrices[:, i, j], lambda z: (z + 1) / 2) < 1.95
    raw = np.array([np.linalg.qr(draws.standard_normal((3, 3)))[0][0, 0] for _ in range(3000)])
    assert kolmogorov_smirnov(raw, lambda z: (z + 1) / 2) > 1.95


def test_identity():
    x = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(x @ init.identity((3, 5)), [[1, 2, 3, 0, 0]])
    np.testing.assert_array_equal(x @ init.get("eye_")((3, 2), gain=2.0), [[2, 4]])


@pytest.mark.parametrize("channels", [(3, 3), (2, 4), (4, 2)])
def test_dirac_returns_its_input(channels):
    inputs, units = channels
    x = np.random.default_rng(0).standard_normal((2, 6, 7, inputs))
    out = mg.conv2d(x, init.dirac((3, 5, inputs, units)), padding="same")
    expected = np.zeros((2, 6, 7, units))
    expected[..., : min(channels)] = x[..., : min(channels)]
    np.testing.assert_array_equal(out, expected)
    torch = init.dirac((units, inputs, 3, 5), layout="torch")
    np.testing.assert_array_equal(torch.transpose(2, 3, 1, 0), init.dirac((3, 5, inputs, units)))
    assert init.dirac((4, 1, 1))[2] == 1


def test_sparse():
    w = init.sparse((200, 150), sparsity=0.33, stddev=0.5, rng=3)
    assert ((w == 0).sum(axis=0) == 66).all()
    assert kolmogorov_smirnov(w[w != 0] / 0.5, normal_below) < 1.95
    zeros_in_a_row = (w == 0).sum(axis=1)
    assert pytest.approx(zeros_in_a_row.mean(), abs=1) == 0.33 * 150
    assert zeros_in_a_row.std() == pytest.approx(math.sqrt(150 * 0.33 * 0.67), rel=0.2)
    torch = init.sparse((150, 200), sparsity=0.33, rng=3, layout="torch")
    assert ((torch == 0).sum(axis=1) == 66).all()
    assert not init.sparse((5, 4), sparsity=1.0).any()
    assert init.sparse((5, 4), sparsity=0.0).all()


def test_gain_of_relu_keeps_the_variance():
    """Through twenty ReLU layers the second moment is kept; without the gain it falls to 2⁻²⁰."""
    draws = np.random.default_rng(0)
    scaled = unscaled = draws.standard_normal((100, 400))
    for _ in range(20):
        w = draws.standard_normal((400, 400)) / 20
        scaled, unscaled = np.maximum(scaled @ (init.gain("relu") * w), 0), np.maximum(unscaled @ w, 0)
    assert 0.5 < (scaled**2).mean() < 2
    assert (unscaled**2).mean() < 1e-5


def test_gains():
    expected = {"linear": 1, "conv2d": 1, "conv_transpose3d": 1, "sigmoid": 1, "tanh": 5 / 3, "selu": 0.75}
    assert {name: init.gain(name) for name in expected} == expected
    assert init.gain("relu") ** 2 == pytest.approx(2, rel=1e-15)
    for slope in (0.01, 0.2):
        w = init.he_normal((300, 200), negative_slope=slope, rng=0)
        gained = init.gain("leaky_relu", slope) * init.lecun_normal((300, 200), rng=0)
        np.testing.assert_allclose(gained, w, rtol=1e-12)
    with pytest.raises(ValueError, match=r"gain\('rulu'\): no gain is known; did you mean 'relu'"):
        init.gain("rulu")


@pytest.mark.parametrize(
    ("inputs", "units", "groups"), [(8, 8, 8), (8, 16, 8), (6, 9, 3), (4, 10, 1)], ids=["depthwise", "two", "3", "1"]
)
def test_fans_of_groups_count_connections(inputs, units, groups):
    """Counted on the dense matrix of a 1 × 3 kernel: the nonzero entries of its rows and columns."""
    connected = np.zeros((inputs, units), int)
    for g in range(groups):
        i, o = inputs // groups, units // groups
        connected[g * i : (g + 1) * i, g * o : (g + 1) * o] = 3
    fans = int(connected.sum(axis=0)[0]), int(connected.sum(axis=1)[0])
    assert init.compute_fans((3, inputs // groups, units), groups=groups) == fans
    assert init.compute_fans((units, inputs // groups, 3), "torch", groups) == fans
    shape = (1000, inputs // groups, units)
    values = init.variance_scaling(shape, 1.0, "fan_out", rng=0, groups=groups)
    assert values.var() == pytest.approx(1 / (1000 * units / groups), rel=0.05)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: init.compute_fans((3, 1, 8), groups=3), "groups must divide the number of units, 8"),
        (lambda: init.orthogonal((5,)), r"orthogonal\(\(5,\)\): needs at least two axes"),
        (lambda: init.orthogonal((5, 5), layout="jax"), r"orthogonal\(layout='jax'\)"),
        (lambda: init.identity((3, 3, 3)), "use dirac"),
        (lambda: init.dirac((3,)), "at least two axes"),
        (lambda: init.sparse((3, 3, 3)), "must be a matrix"),
        (lambda: init.sparse((3, 3), sparsity=1.5), r"must be in \[0, 1\]"),
    ],
)
def test_errors_of_structured_initializers(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_an_initializer_may_be_a_function_of_the_shape_alone():
    layer = nn.Linear(2, 3, init=lambda shape: np.full(shape, 0.5), dtype="float32")
    assert layer.weight.dtype == np.float32
    assert (layer.weight.numpy() == 0.5).all()
    drawn = nn.Linear(2, 3, init=lambda shape, rng: rng.standard_normal(shape), rng=1)
    np.testing.assert_array_equal(drawn.weight.numpy(), np.random.default_rng(1).standard_normal((2, 3)))
