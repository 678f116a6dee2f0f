"""Convolutions and sliding windows through Tensors: against loops, against each other, at the edges, and the errors.

A linear map f and its rule are paired: <v, f(x)> = <rule(v), x>, on random signed numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler.trace import functions
from minigrad.ops.spatial import im2col
from minigrad.ops.spatial.conv_nd import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from minigrad.ops.spatial.conv_primitives import (
    convolution,
    convolution_input,
    convolution_kernel,
    convolve,
    convolve_input,
    convolve_kernel,
)
from minigrad.ops.spatial.sliding_windows import sliding_windows
from minigrad.ops.spatial.windows import output_size, pad
from minigrad.tensor.transforms import grad, hessian, jacobian, jvp
from minigrad.verify.gradients import check_gradients

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

CONV, TRANSPOSE = (conv1d, conv2d, conv3d), (conv_transpose1d, conv_transpose2d, conv_transpose3d)

# (spatial, window, stride, padding, dilation, groups, in / groups, out / groups)
CASES: list[Any] = [
    ((9,), (4,), (1,), ((0, 0),), (1,), 1, 1, 3),
    ((9,), (3,), (1,), ((1, 2),), (2,), 1, 9, 2),
    ((9,), (3,), (2,), ((2, 0),), (1,), 2, 2, 3),
    ((8,), (2,), (3,), ((0, 1),), (2,), 3, 1, 1),
    ((7, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, 3, 4),
    ((7, 6), (3, 2), (1, 1), ((1, 2), (0, 1)), (1, 1), 1, 5, 4),
    ((7, 6), (3, 2), (2, 1), ((1, 2), (0, 1)), (1, 2), 1, 5, 4),
    ((7, 6), (3, 2), (1, 2), ((1, 0), (0, 3)), (2, 1), 2, 4, 3),
    ((7, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 4, 1, 1),
    ((7, 6), (2, 3), (2, 1), ((0, 1), (2, 1)), (1, 2), 3, 1, 2),
    ((5, 4), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, 3, 4),
    ((5, 4), (1, 1), (2, 3), ((1, 1), (0, 2)), (1, 1), 1, 3, 4),
    ((5, 4), (1, 1), (1, 1), ((2, 1), (1, 0)), (1, 1), 2, 3, 4),
    ((5, 1), (3, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, 9, 2),
    ((1, 5), (1, 3), (1, 2), ((0, 0), (4, 4)), (1, 1), 1, 2, 2),
    ((4, 3), (4, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, 2, 2),
    ((9,), (2,), (1,), ((0, 1),), (1,), 1, 2, 7),
    ((5, 4), (1, 2), (1, 1), ((1, 0), (0, 1)), (1, 2), 2, 2, 5),
    ((7, 12), (2, 5), (1, 2), ((1, 0), (1, 2)), (1, 1), 1, 2, 3),
    ((4, 4, 5), (2, 3, 2), (1, 1, 1), ((0, 1), (1, 1), (0, 0)), (1, 1, 1), 1, 2, 3),
    ((4, 4, 5), (2, 2, 2), (2, 1, 2), ((1, 1), (0, 1), (1, 0)), (1, 2, 1), 2, 2, 1),
    ((3, 4, 4), (2, 2, 2), (1, 1, 1), ((0, 1), (0, 1), (1, 0)), (1, 1, 1), 3, 1, 2),
]


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def operands(case: Any, n: int = 2) -> tuple[Any, Any, dict[str, Any]]:
    spatial, window, stride, padding, dilation, groups, inputs, outputs = case
    static = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x = rng().standard_normal((n, *spatial, groups * inputs))
    w = rng().standard_normal((*window, inputs, groups * outputs))
    return x, w, static


def naive(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """Convolution by its definition, one number at a time."""
    *window, inputs, out = w.shape
    positions = output_size(x.shape[1:-1], window, stride, padding, dilation)
    y = np.zeros((x.shape[0], *positions, out))
    for n, position, o, tap in itertools.product(
        range(x.shape[0]), np.ndindex(*positions), range(out), np.ndindex(*window)
    ):
        met = zip(position, stride, tap, dilation, padding, strict=True)
        at = [p * s + t * d - before for p, s, t, d, (before, _) in met]
        if all(0 <= i < size for i, size in zip(at, x.shape[1:-1], strict=True)):
            g = o // (out // groups)
            y[(n, *position, o)] += x[(n, *at)][g * inputs : (g + 1) * inputs] @ w[(*tap, slice(None), o)]
    return y


def check_pairing(function: Callable[..., Any], a: Any, b: Any, static: dict[str, Any]) -> None:
    """Both rules satisfy the pairing, forward mode the product rule; shapes, operands and float32 are kept."""
    originals = a.copy(), b.copy()
    ta, tb = mg.Tensor(a, requires_grad=True), mg.Tensor(b, requires_grad=True)
    out = function(ta, tb, **static)
    v = rng().standard_normal(out.shape)
    out.backward(v)
    for leaf in (ta, tb):
        assert leaf.grad.shape == leaf.shape
        assert np.isclose(np.vdot(v, out.data), np.vdot(leaf.grad.data, leaf.data), rtol=1e-10, atol=1e-10)
    value, tangent_out = jvp(lambda a, b: function(a, b, **static), (a, b), (b.sum() * a, b))
    np.testing.assert_allclose(tangent_out, (b.sum() + 1) * value, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(originals[0], a)
    np.testing.assert_array_equal(originals[1], b)
    low = [mg.Tensor(operand.astype("f4"), requires_grad=True) for operand in (a, b)]
    y = function(*low, **static)
    y.backward(v.astype("f4"))
    assert y.dtype == low[0].grad.dtype == low[1].grad.dtype == "f4"


@pytest.fixture(params=[1, 600, 2 << 20])
def cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one row, of a few rows or samples, and one block for all."""
    monkeypatch.setattr(im2col, "CACHE", request.param)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("case", CASES)
def test_convolution_equals_its_definition(case: Any) -> None:
    x, w, static = operands(case)
    expected = naive(x, w, **static)
    np.testing.assert_allclose(CONV[x.ndim - 3](x, w, **static), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [0, 1, 3])
def test_the_three_maps_are_the_rules_of_each_other(case: Any, n: int) -> None:
    x, w, static = operands(case, n)
    y = convolve(x, w, **static)
    check_pairing(convolve, x, w, static)
    check_pairing(convolve_input, y, w, static | {"size": x.shape[1:-1]})
    check_pairing(convolve_kernel, x, y, static | {"window": w.shape[:-2]})


@pytest.mark.parametrize("case", CASES)
def test_memory_order_does_not_matter(case: Any) -> None:
    x, w, static = operands(case)
    x_first, w_first = np.moveaxis(np.moveaxis(x, -1, 1).copy(), 1, -1), np.asfortranarray(w)
    y = convolve(x, w, **static)
    np.testing.assert_allclose(convolve(x_first, w_first, **static), y, rtol=1e-12, atol=1e-12)
    y_first = np.moveaxis(np.moveaxis(y, -1, 1).copy(), 1, -1)
    for function, a, b, more in (
        (convolve_input, (y, w), (y_first, w_first), {"size": x.shape[1:-1]}),
        (convolve_kernel, (x, y), (x_first, y_first), {"window": w.shape[:-2]}),
    ):
        np.testing.assert_allclose(function(*b, **static, **more), function(*a, **static, **more), atol=1e-11)


@pytest.mark.parametrize("case", CASES)
def test_padding_is_zeros_around_x(case: Any) -> None:
    x, w, static = operands(case)
    padded = np.pad(x, ((0, 0), *static["padding"], (0, 0)))
    np.testing.assert_array_equal(pad(x, static["padding"]), padded)
    without = static | {"padding": "valid"}
    np.testing.assert_allclose(CONV[x.ndim - 3](padded, w, **without), convolve(x, w, **static), atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_transposed_convolution_is_the_gradient_of_the_convolution(case: Any) -> None:
    """With output_padding it returns the size of every input."""
    x, w, static = operands(case)
    y = convolve(x, w, **static)
    stride = static["stride"]
    smallest = TRANSPOSE[x.ndim - 3](y, w, **static).shape[1:-1]
    rest = tuple(n - m for n, m in zip(x.shape[1:-1], smallest, strict=True))
    assert all(0 <= r < s for r, s in zip(rest, stride, strict=True))
    bias = rng().standard_normal(x.shape[-1])
    back = TRANSPOSE[x.ndim - 3](y, w, bias, output_padding=rest, **static)
    contribution = grad(lambda x: (convolve(x, w, **static) * y).sum())(x)
    np.testing.assert_allclose(back - bias, contribution, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("window", "stride", "dilation"), list(itertools.product((1, 2, 3, 4), (1, 2, 3), (1, 2))))
def test_same_padding(window: int, stride: int, dilation: int) -> None:
    x, w = rng().standard_normal((1, 7, 2)), rng().standard_normal((window, 2, 2))
    y = conv1d(x, w, padding="same", stride=stride, dilation=dilation)
    assert y.shape[1] == math.ceil(7 / stride)
    up = conv_transpose1d(y, w, padding="same", stride=stride, dilation=dilation)
    assert up.shape[1] == y.shape[1] * stride
    back = conv1d(up, w, padding="same", stride=stride, dilation=dilation)
    assert back.shape == y.shape
    assert np.isclose(np.vdot(y, back), np.vdot(up, up))


# Orders and modes through the public functions

X, W, B = (rng().standard_normal(shape) for shape in ((2, 5, 4, 4), (3, 2, 2, 6), (6,)))
CHECKED: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "conv1d": (lambda x, w, b: conv1d(x[0], w[:, 0], b, stride=2, padding="same", groups=2) ** 2, (X, W, B)),
    "conv2d": (lambda x, w, b: conv2d(x, w, b, stride=(1, 2), padding=((1, 0), (0, 2)), groups=2), (X, W, B)),
    "depthwise": (lambda x, w: conv2d(x, w, dilation=2, padding=2, groups=4), (X, W[:, :, :1, :4])),
    "conv3d": (lambda x, w: conv3d(x[..., None], w[..., None, :], padding=1, stride=2), (X, W)),
    "conv_transpose2d": (lambda x, w: conv_transpose2d(x, w[..., 2:], stride=2, padding=1), (X, W)),
    "sliding_windows": (lambda x: sliding_windows(x, (2, 3), axes=(2, 1), dilation=(2, 1)) ** 3, (X,)),
}


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_of_both_orders_and_forward_mode(name: str, order: int) -> None:
    function, inputs = CHECKED[name]
    report = check_gradients(function, *inputs, order=order, elements=40)
    assert "forward mode: agrees" in str(report)
    report.raise_if_wrong()


def test_the_hessian_of_a_squared_convolution() -> None:
    """H = 2 JᵀJ by w, and J is the matrix of windows."""
    x, w = rng().standard_normal((1, 4, 2)), rng().standard_normal((2, 2, 1))
    actual = hessian(lambda w: (conv1d(x, w) ** 2).sum())(w).reshape(4, 4)
    rows = sliding_windows(x, 2, axes=1)[0].swapaxes(1, 2).reshape(3, 4)
    np.testing.assert_allclose(actual, 2 * rows.T @ rows, rtol=1e-12)
    np.testing.assert_allclose(jacobian(lambda w: conv1d(x, w))(w).reshape(3, 4), rows, rtol=1e-12)


def test_a_penalty_on_the_gradient_is_differentiable() -> None:
    """backward(create_graph=True), then backward: both walks reach the kernel."""
    x, w = (mg.Tensor(a, requires_grad=True) for a in (X, W))
    (conv2d(x, w, groups=2) ** 2).sum().backward(create_graph=True)
    penalty = (x.grad**2).sum()
    x.grad = w.grad = None
    penalty.backward()
    report = check_gradients(
        lambda w: (grad(lambda x: (conv2d(x, w, groups=2) ** 2).sum())(mg.Tensor(X)) ** 2).sum(),
        W,
        gradient=lambda v, _: v * w.grad.data,
        elements=20,
    )
    report.raise_if_wrong()


# Dtypes


@pytest.mark.parametrize(("x_dtype", "w_dtype"), [("f4", "f8"), ("f8", "f4"), ("f4", "f4")])
def test_gradients_have_the_dtypes_of_the_leaves(x_dtype: str, w_dtype: str) -> None:
    for groups, shape in ((1, (3, 2, 4, 6)), (4, (3, 2, 1, 8))):
        x = mg.Tensor(X.astype(x_dtype), requires_grad=True)
        w = mg.Tensor(rng().standard_normal(shape).astype(w_dtype), requires_grad=True)
        b = mg.Tensor(np.zeros(shape[-1], w_dtype), requires_grad=True)
        y = conv2d(x, w, b, stride=(1, 2), padding=1, groups=groups)
        assert y.dtype == np.result_type(x_dtype, w_dtype)
        (y * y).sum().backward()
        for leaf in (x, w, b):
            assert (leaf.grad.dtype, leaf.grad.shape) == (leaf.dtype, leaf.shape)


def test_integers() -> None:
    x, w = np.arange(24, dtype="u1").reshape(1, 4, 6, 1), np.ones((2, 2, 1, 1), "i4")
    y = conv2d(x, w)
    assert y.dtype == "i4"
    assert y[0, 0, 0, 0] == 0 + 1 + 6 + 7
    kernel = mg.Tensor(w, requires_grad=True, dtype="f8")
    conv2d(x, kernel).sum().backward()
    assert kernel.grad.data[0, 0, 0, 0] == x[0, :3, :5, 0].sum()


# Errors repeat the call and give a hint

PICTURES, KERNEL = np.ones((2, 8, 9, 3)), np.ones((3, 3, 3, 4))
FIRST = np.moveaxis(PICTURES, -1, 1)


@pytest.mark.parametrize("wrap", [np.asarray, mg.Tensor])
@pytest.mark.parametrize(("call", "words"), [
    (lambda x, w: conv2d(np.moveaxis(x, -1, 1), w), ["conv2d(x=(2, 3, 8, 9)", "permute_dims(x, (0, 2, 3, 1))"]),
    (lambda x, w: conv2d(x, np.ones((4, 3, 5, 5))), ["PyTorch", "permute_dims(w, (2, 3, 1, 0))"]),
    (lambda x, w: conv2d(x[0], w), ["expected x with 4 axes (N, H, W, C), got 3 axes", "x[None]"]),
    (lambda x, w: conv2d(x, w[0]), ["w must have 4 axes", "(*window, in // groups, out)"]),
    (lambda x, w: conv2d(x, w, np.ones(3)), ["bias must have the shape (4,)"]),
    (lambda x, w: conv2d(x, w[:, :, :1], groups=3), ["groups=3", "4 output channels"]),
    (lambda x, w: conv2d(x, np.ones((9, 3, 3, 4))), ["(9, 3)", "does not fit", "(8, 9)", 'padding="same"']),
    (lambda x, w: conv2d(x, w, stride=0), ["stride=0", "an integer >= 1"]),
    (lambda x, w: conv2d(x, w, stride=(1, 2, 3)), ["stride=(1, 2, 3)", "tuple of 2"]),
    (lambda x, w: conv2d(x, w, padding="full"), ["padding='full'", '"same"']),
    (lambda x, w: conv2d(x, w, padding=-1), ["padding=-1", ">= 0"]),
    (lambda x, w: conv2d(x, w, padding=((1, 2),)), ["pair (before, after)", "2 axes"]),
    (lambda x, w: conv2d(x, w, padding=1.5), ["padding=1.5"]),
    (conv_transpose2d, ["(*window, out // groups, in)", "permute_dims(w, (0, 1, 3, 2))"]),
    (lambda x, w: conv_transpose2d(x, np.ones((3, 5, 2, 2))), ["PyTorch", "permute_dims(w, (2, 3, 1, 0))"]),
    (lambda x, w: conv_transpose2d(x, w.mT, output_padding=1), ["output_padding must be smaller"]),
    (lambda x, w: conv_transpose2d(x[:, :1, :1], w.mT, padding=2), ["the output would be empty", "(-1, -1)"]),
    (lambda x, w: sliding_windows(x, 9, axes=1), ["sliding_windows(x=(2, 8, 9, 3), window=9", "does not fit"]),
    (lambda x, w: sliding_windows(x, 2, axes=(1, -3)), ["axes=(1, -3)", "different"]),
    (lambda x, w: sliding_windows(x, 2, axes=4), ["axes=4", "4 axes of x"]),
    (lambda x, w: sliding_windows(x, 2, stride=0), ["stride=0"]),
])  # fmt: skip
def test_errors_have_hints(call: Callable[..., Any], words: list[str], wrap: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"\(x=") as error:
        call(wrap(PICTURES), wrap(KERNEL))
    for word in words:
        assert word in str(error.value)


def test_the_hints_work() -> None:
    assert conv2d(np.permute_dims(FIRST, (0, 2, 3, 1)), KERNEL).shape == (2, 6, 7, 4)
    assert conv2d(PICTURES, np.permute_dims(KERNEL.transpose(3, 2, 0, 1), (2, 3, 1, 0))).shape == (2, 6, 7, 4)
    assert conv_transpose2d(PICTURES, np.permute_dims(KERNEL, (0, 1, 3, 2))).shape == (2, 10, 11, 4)


def test_numpys_sliding_window_view_on_tensors() -> None:
    view = np.lib.stride_tricks.sliding_window_view
    t = mg.Tensor(X, requires_grad=True)
    for window, axis in ((2, 1), ((2, 3), (1, 2)), ((1, 2, 3, 4), None), ((2, 2), (-1, 0))):
        np.testing.assert_array_equal(view(t, window, axis=axis).data, view(X, window, axis=axis))
    with pytest.raises(TypeError, match="writeable"):
        view(t, 2, axis=0, writeable=True)


def test_writing_into_a_leaf_of_sliding_windows_is_an_error() -> None:
    """Sliding windows are a view: the residuals of a later node overlap the leaf."""
    t = mg.Tensor(X, requires_grad=True)
    loss = (sliding_windows(t, 2, axes=1) ** 2).sum()
    with mg.no_grad():
        t -= 1.0
    with pytest.raises(RuntimeError, match="square"):
        loss.backward()


@pytest.mark.parametrize("case", [*CASES, ((16, 16), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, 5, 16)])
@pytest.mark.parametrize("least", [0, 1 << 40])
def test_compiled_convolutions(case: Any, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are several blocks, and the gradient of the kernel is stored in an array that is not in C order."""
    monkeypatch.setattr(functions, "MANY_PRODUCTS", least)
    monkeypatch.setattr(im2col, "CACHE", 2000)
    x, w, static = operands(case)
    y = convolve(x, w, **static)
    ordered = {"gradient": np.asfortranarray(np.zeros_like(w))}

    def step(x: Any, w: Any, y: Any) -> Any:
        np.copyto(ordered["gradient"], convolve_kernel(x, y, window=w.shape[:-2], **static))
        return convolve(x, w, **static), convolve_input(y, w, size=x.shape[1:-1], **static)

    compiled = mg.compile(step, backend="numpy", state=[ordered])
    for k in range(3):
        actual = compiled(x + k, w, y)
        gradient = ordered["gradient"].copy()
        for a, b in zip((*actual, gradient), (*step(x + k, w, y), ordered["gradient"]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-11)
    assert ("convolution_kernel" in compiled.source) == (least == 0)


FILTERED: list[Any] = [  # (N, size, padding, in, out)
    (3, (6, 8), ((1, 1), (1, 1)), 3, 5),
    (1, (8, 6), ((0, 0), (2, 2)), 4, 2),
    (2, (4, 10), ((2, 0), (1, 1)), 2, 3),
]


@pytest.mark.parametrize("case", FILTERED)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_minimal_filtering(case: Any, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a compiled step; in float32 it is about as exact as by the definition. Two tiles at a time."""
    pytest.importorskip("numba")
    from minigrad.compiler.kernels import winograd

    n, size, padding, inputs, outputs = case
    monkeypatch.setattr(functions, "MANY_PRODUCTS", 0)
    monkeypatch.setattr(winograd, "CHANNELS", 2)
    monkeypatch.setattr(winograd, "CACHE", 16 * 2 * size[1] * max(inputs, outputs) * 8)
    static: dict[str, Any] = {"stride": (1, 1), "padding": padding, "dilation": (1, 1), "groups": 1}
    x, w = rng().standard_normal((n, *size, inputs)), rng().standard_normal((3, 3, inputs, outputs))
    y = rng().standard_normal(convolve(x, w, **static).shape)

    def step(x: Any, w: Any, y: Any) -> Any:
        contribution = convolve_input(y, w, size=x.shape[1:-1], **static)
        return convolve(x, w, **static), contribution, convolve_kernel(x, y, window=(3, 3), **static)

    arrays = [v.astype(dtype) for v in (x, w, y)]
    used, faster = [], winograd.faster
    monkeypatch.setattr(winograd, "faster", lambda function: used.append(function) or faster(function))
    compiled = mg.compile(step, backend="numba", audit=False)
    for _ in range(2):
        compiled(*arrays)
    assert set(used) == {
        convolution,
        convolution_input,
        convolution_kernel,
    }
    bound = 1e-13 if dtype == "f8" else 1e-6
    for actual, exact in zip(compiled(*arrays), step(*(v.astype("f8") for v in arrays)), strict=True):
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, exact, rtol=0, atol=bound * np.abs(exact).max())


def test_conditions_of_minimal_filtering() -> None:
    pytest.importorskip("numba")
    from minigrad.compiler.kernels.winograd import suits

    static: dict[str, Any] = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}

    def used(x: Any = (2, 8, 8, 32), w: Any = (3, 3, 32, 64), dtype: str = "f4", **other: Any) -> set[bool]:
        settings = static | other
        x, w = np.zeros(x, dtype), np.zeros(w, "f4")
        y = convolve(x, w, **settings)
        return {
            suits(function, *operands, out, settings)
            for function, operands, out in (
                (convolution, (x, w), y),
                (convolution_input, (y, w), x),
                (convolution_kernel, (x, y), w),
            )
        }

    assert used() == {True}
    assert used(w=(3, 3, 32, 16)) == used(w=(5, 5, 32, 32)) == used(stride=(2, 2)) == used(dilation=(2, 2)) == {False}
    assert used(x=(2, 8, 7, 32)) == used(padding=((1, 2), (1, 1))) == used(padding=((3, 3), (3, 3))) == {False}
    assert used(x=(2, 8, 8, 64), groups=2) == {False}
    assert False in used(dtype="f8")


def test_windows_of_plain_arrays_equal_those_of_numpy() -> None:
    from minigrad.ops.spatial.windows import window_view

    array = np.arange(2 * 5 * 6 * 3, dtype=np.float32).reshape(2, 5, 6, 3)
    single = array[:, ::3][:, :1]  # in C order, with another stride along the axis of size 1
    for x in (array, array[:1], array[1:], np.ascontiguousarray(single), single, array.swapaxes(1, 2)):
        for window, axes in (((1, 4), (1, 2)), ((3,), (2,)), ((2,), (-1,))):
            actual = window_view(x, window, (1,) * len(axes), (1,) * len(axes), axes)
            np.testing.assert_array_equal(actual, np.lib.stride_tricks.sliding_window_view(x, window, axes))
            assert not actual.flags.writeable
            assert np.shares_memory(actual, x)
    with pytest.raises(ValueError, match="window"):
        window_view(array, (6,), (1,), (1,), (1,))
