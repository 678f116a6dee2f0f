"""Convolution, pooling and resizing layers against loops over the entries of the result."""

import itertools
import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.nn import init
from minigrad.verify import check_gradients

rng = np.random.default_rng(23)

CONV, TRANSPOSED = (nn.Conv1d, nn.Conv2d, nn.Conv3d), (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
MAX, AVG = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


def values(x):
    return np.asarray(getattr(x, "data", x))


def assert_close(actual, expected):
    np.testing.assert_allclose(values(actual), expected, rtol=1e-10, atol=1e-10)


def filled(layer):
    """The layer with a bias that is not 0."""
    if layer.bias is not None:
        layer.bias.data[...] = rng.standard_normal(layer.bias.shape)
    return layer


def convolved(x, layer, padding):
    """Each entry of the result as a sum over taps and channels of its group."""
    w, rank = layer.weight.numpy(), x.ndim - 2
    x = np.pad(x, [(0, 0), *padding, (0, 0)])
    reach = [d * (k - 1) + 1 for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
    size = [(n - e) // s + 1 for n, e, s in zip(x.shape[1:-1], reach, layer.stride, strict=True)]
    inputs, outputs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    out = np.zeros((len(x), *size, layer.out_channels))
    for position in np.ndindex(*size):
        for tap in np.ndindex(*layer.kernel_size):
            at = tuple(position[k] * layer.stride[k] + tap[k] * layer.dilation[k] for k in range(rank))
            for o in range(layer.out_channels):
                first = o // outputs * inputs
                out[(slice(None), *position, o)] += x[(slice(None), *at)][:, first : first + inputs] @ w[tap][:, o]
    return out if layer.bias is None else out + layer.bias.numpy()


def spread(x, layer, padding):
    """Each entry of x adds its multiple of the kernel to a larger result, which is then cropped."""
    w, rank = layer.weight.numpy(), x.ndim - 2
    reach = [d * (k - 1) + 1 for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
    full = [
        (n - 1) * s + e + r for n, s, e, r in zip(x.shape[1:-1], layer.stride, reach, layer.output_padding, strict=True)
    ]
    inputs, outputs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    out = np.zeros((len(x), *full, layer.out_channels))
    for position in np.ndindex(*x.shape[1:-1]):
        for tap in np.ndindex(*layer.kernel_size):
            at = tuple(position[k] * layer.stride[k] + tap[k] * layer.dilation[k] for k in range(rank))
            for c in range(layer.in_channels):
                first = c // inputs * outputs
                out[(slice(None), *at)][:, first : first + outputs] += np.outer(
                    x[(slice(None), *position, c)], w[tap][:, c]
                )
    out = out[(slice(None), *(slice(b, n - a) for (b, a), n in zip(padding, full, strict=True)))]
    return out if layer.bias is None else out + layer.bias.numpy()


OPTIONS = [
    {},
    {"stride": 2},
    {"stride": 2, "padding": 1},
    {"dilation": 2, "padding": 2, "bias": False},
    {"groups": 2, "stride": 2, "padding": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution(rank, options):
    layer = filled(CONV[rank - 1](4, 6, 3, **options))
    x = rng.standard_normal((2, *range(7, 7 - rank, -1), 4))
    pad = options.get("padding", 0)
    assert layer.weight.shape == (*(3,) * rank, 4 // layer.groups, 6)
    assert_close(layer(x), convolved(x, layer, [(pad, pad)] * rank))


def test_convolution_padding_and_windows():
    x = rng.standard_normal((2, 6, 5, 3))
    layer = filled(nn.Conv2d(3, 3, (3, 2), padding="same", groups=3))
    assert_close(layer(x), convolved(x, layer, [(1, 1), (0, 1)]))
    layer = filled(nn.Conv2d(3, 2, (2, 3), stride=(1, 2), padding=((2, 0), (1, 1))))
    assert_close(layer(x), convolved(x, layer, [(2, 0), (1, 1)]))


@pytest.mark.parametrize("options", [*OPTIONS, {"stride": 3, "output_padding": 2, "padding": 1}], ids=str)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed_convolution(rank, options):
    layer = filled(TRANSPOSED[rank - 1](4, 6, 3, **options))
    x = rng.standard_normal((2, *range(4, 4 - rank, -1), 4))
    pad = options.get("padding", 0)
    assert layer.weight.shape == (*(3,) * rank, 6 // layer.groups, 4)
    assert_close(layer(x), spread(x, layer, [(pad, pad)] * rank))


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_gradients_of_convolutions(kind):
    layer = kind(2, 4, 2, stride=2, groups=2)

    def function(x, weight, bias):
        layer.weight, layer.bias = weight, bias
        return layer(x)

    x, weight = rng.standard_normal((2, 4, 4, 2)), layer.weight.numpy().copy()
    assert check_gradients(function, x, weight, rng.standard_normal(4)).ok


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.ConvTranspose1d])
def test_initial_kernels_have_the_fans_of_their_group(kind):
    layer = kind(200, 100, 5, groups=2, init="he_normal", rng=0)
    w = layer.weight.numpy()
    assert not layer.bias.numpy().any()
    assert w.std() == pytest.approx(math.sqrt(2 / (5 * 100)), rel=0.02)
    uniform = kind(200, 100, 5, groups=2, rng=0).weight.numpy()
    bound = math.sqrt(6 / (5 * 100 + 5 * 50))
    assert 0.999 * bound < np.abs(uniform).max() <= bound
    np.testing.assert_array_equal(w, kind(200, 100, 5, groups=2, init=init.he_normal, rng=0).weight.numpy())
    with pytest.raises(ValueError, match=r"must return an array of shape \(5, 100, 50\)"):
        kind(200, 100, 5, groups=2, init=lambda shape, **_: np.ones(3))


def windows(size, window, stride, padding):
    """The slices of the axes, clipped at the borders."""
    starts = [range(-p, n + p - w + 1, s) for n, w, s, p in zip(size, window, stride, padding, strict=True)]
    for position in itertools.product(*(range(len(s)) for s in starts)):
        begin = [s[k] for s, k in zip(starts, position, strict=True)]
        yield position, tuple(slice(max(b, 0), b + w) for b, w in zip(begin, window, strict=True))


def pooled(reduce, x, window, stride, padding):
    values_at = {
        position: reduce(x[(slice(None), *part)]) for position, part in windows(x.shape[1:-1], window, stride, padding)
    }
    size = [1 + max(position[k] for position in values_at) for k in range(x.ndim - 2)]
    out = np.empty((len(x), *size, x.shape[-1]))
    for position, value in values_at.items():
        out[(slice(None), *position)] = value
    return out


def over_axes(function):
    return lambda part: function(part, axis=tuple(range(1, part.ndim - 1)))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pooling(rank):
    x = rng.standard_normal((2, *range(7, 7 - rank, -1), 3))
    two, three, one, none = ((k,) * rank for k in (2, 3, 1, 0))
    assert_close(MAX[rank - 1](2)(x), pooled(over_axes(np.max), x, two, two, none))
    assert_close(MAX[rank - 1](3, stride=2, padding=1)(x), pooled(over_axes(np.max), x, three, two, one))
    assert_close(AVG[rank - 1](2)(x), pooled(over_axes(np.mean), x, two, two, none))
    excluding = AVG[rank - 1](3, stride=2, padding=1, count_include_pad=False)
    assert_close(excluding(x), pooled(over_axes(np.mean), x, three, two, one))
    including = AVG[rank - 1](3, stride=2, padding=1)
    assert_close(including(x), pooled(lambda part: over_axes(np.sum)(part) / 3**rank, x, three, two, one))


@pytest.mark.parametrize("size", [(7,), (7, 5), (4, 5, 6)])
def test_adaptive_pooling(size):
    x = rng.standard_normal((2, *size, 3))
    target = (3, 2, 6)[: len(size)]
    for layer, reduce in ((nn.AdaptiveMaxPool(target), np.max), (nn.AdaptiveAvgPool(target), np.mean)):
        out = np.empty((2, *target, 3))
        for position in np.ndindex(*target):
            part = [
                slice(math.floor(i * n / m), math.ceil((i + 1) * n / m))
                for i, n, m in zip(position, size, target, strict=True)
            ]
            out[(slice(None), *position)] = over_axes(reduce)(x[(slice(None), *part)])
        assert_close(layer(x), out)
    assert_close(nn.AdaptiveAvgPool(1)(x).reshape(2, 3), x.mean(axis=tuple(range(1, x.ndim - 1))))


def resized(x, size, align_corners):
    """Each entry from its two neighbors along each axis, weighted by their distances."""
    out = np.zeros((len(x), *size, x.shape[-1]))
    for position in np.ndindex(*size):
        choices = []
        for i, n, m in zip(position, x.shape[1:-1], size, strict=True):
            at = i * (n - 1) / max(m - 1, 1) if align_corners else min(max((i + 0.5) * n / m - 0.5, 0), n - 1)
            low = math.floor(at)
            choices.append([(low, 1 - (at - low)), (min(low + 1, n - 1), at - low)])
        for corner in itertools.product(*choices):
            weight = math.prod(w for _, w in corner)
            out[(slice(None), *position)] += weight * x[(slice(None), *(k for k, _ in corner))]
    return out


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("old", "new"), [((3,), (8,)), ((5, 4), (10, 3)), ((1, 4), (3, 1)), ((2, 3, 2), (3, 4, 5))])
def test_linear_resizing(old, new, align_corners):
    x = rng.standard_normal((2, *old, 3))
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(old)]
    assert_close(nn.Upsample(new, mode=mode, align_corners=align_corners)(x), resized(x, new, align_corners))


def test_nearest_resizing():
    x = rng.standard_normal((2, 3, 4, 2))
    assert_close(nn.Upsample(scale_factor=2)(x), x.repeat(2, axis=1).repeat(2, axis=2))
    assert_close(nn.Upsample((2, 6))(x), x[:, [0, 1]][:, :, [0, 0, 1, 2, 2, 3]])
    assert_close(nn.Upsample(scale_factor=(1, 1.5))(x), x[:, :, [0, 0, 1, 2, 2, 3]])
    assert F.interpolate(x, scale_factor=0.5).shape == (2, 1, 2, 2)


@pytest.mark.parametrize("options", [{}, {"mode": "bilinear"}, {"mode": "bilinear", "align_corners": True}], ids=str)
def test_gradients_of_resizing(options):
    assert check_gradients(lambda x: F.interpolate(x, (5, 2), **options), rng.standard_normal((2, 3, 4, 2))).ok


LAYERS = [
    lambda d: nn.Conv2d(4, 4, 3, padding="same", groups=2, dtype=d),
    lambda d: nn.ConvTranspose2d(4, 4, 3, stride=2, groups=2, dtype=d),
    lambda d: nn.MaxPool2d(2),
    lambda d: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
    lambda d: nn.AdaptiveAvgPool((3, 2)),
    lambda d: nn.AdaptiveMaxPool(3),
    lambda d: nn.Upsample(scale_factor=1.5, mode="bilinear"),
    lambda d: nn.Upsample(scale_factor=1.5),
]


@pytest.mark.parametrize("make", LAYERS)
def test_single_precision_and_state(make):
    layer, other = make("float32"), make("float32")
    x = mg.Tensor(rng.standard_normal((2, 5, 4, 4)).astype(np.float32), requires_grad=True)
    out = layer(x)
    assert {node.dtype for node in mg.Tape(out)} == {np.dtype(np.float32)}
    out.sum().backward()
    assert {p.grad.dtype for p in (x, *layer.parameters())} == {np.dtype(np.float32)}
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(other(x).numpy(), out.numpy())


def test_repr():
    assert repr(nn.Conv2d(3, 6, 5)) == "Conv2d(3, 6, kernel_size=(5, 5), stride=(1, 1))"
    text = "Conv1d(4, 6, kernel_size=(3,), stride=(2,), padding='same', dilation=(2,), groups=2, bias=False)"
    assert repr(nn.Conv1d(4, 6, 3, 2, "same", 2, groups=2, bias=False)) == text
    text = "ConvTranspose1d(2, 1, kernel_size=(4,), stride=(2,), padding=1, output_padding=(1,))"
    assert repr(nn.ConvTranspose1d(2, 1, 4, 2, 1, 1)) == text
    assert repr(nn.MaxPool2d(3, 2, 1)) == "MaxPool2d(kernel_size=3, stride=2, padding=1)"
    assert (
        repr(nn.AvgPool1d(2, count_include_pad=False)) == "AvgPool1d(kernel_size=2, stride=2, count_include_pad=False)"
    )
    assert repr(nn.AdaptiveAvgPool((1, 2))) == "AdaptiveAvgPool((1, 2))"
    assert repr(nn.Upsample(4, mode="bilinear", align_corners=True)) == (
        "Upsample(size=4, mode='bilinear', align_corners=True)"
    )


IMAGES = np.ones((2, 5, 4, 3))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: nn.Conv2d(0, 3, 3), r"Conv2d\(in_channels=0.*>= 1"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "divide both numbers"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), r"kernel_size=\(3, 3, 3\) must be"),
        (lambda: nn.Conv2d(3, 4, 3, stride=0), "stride=0 must be"),
        (lambda: nn.Conv2d(3, 4, 3, init="he_norml"), "did you mean 'he_normal'"),
        (lambda: nn.Conv2d(4, 3, 3)(IMAGES), r"Conv2d\(4, 3, .*C = 4 channels"),
        (lambda: nn.Conv2d(5, 3, 3)(IMAGES), r"channels on axis 1.*permute_dims\(x, \(0, 2, 3, 1\)\)"),
        (lambda: nn.Conv1d(3, 3, 3)(IMAGES), r"expected x of shape \(N, L, C\)"),
        (lambda: nn.Conv2d(3, 3, 7)(IMAGES), "does not fit"),
        (lambda: nn.ConvTranspose2d(3, 3, 3, stride=2, output_padding=2), "smaller than stride"),
        (lambda: nn.ConvTranspose2d(4, 3, 3)(IMAGES), "C = 4 channels"),
        (lambda: nn.MaxPool2d(7)(IMAGES), r"max_pool2d\(.*does not fit"),
        (lambda: nn.AvgPool1d(2)(IMAGES), r"avg_pool1d\(.*got 4 axes"),
        (lambda: nn.AdaptiveAvgPool(0)(IMAGES), "output_size=0"),
        (lambda: nn.Upsample(), "either size or scale_factor"),
        (lambda: nn.Upsample(2, 2), "either size or scale_factor"),
        (lambda: nn.Upsample(2, mode="cubic"), "'trilinear'"),
        (lambda: nn.Upsample(2, align_corners=True), "nothing to align"),
        (lambda: nn.Upsample(2, mode="linear")(IMAGES), "for 1 spatial axes, x has 2"),
        (lambda: nn.Upsample((2, 2, 2))(IMAGES), "a tuple of 2"),
        (lambda: nn.Upsample(scale_factor=-1)(IMAGES), "a positive number"),
        (lambda: nn.Upsample(scale_factor=0.1)(IMAGES), r"size=\(0, 0\) must be"),
        (lambda: nn.Upsample(2)(np.ones((2, 3))), "at least one spatial axis"),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(ValueError, match=says):
        call()
