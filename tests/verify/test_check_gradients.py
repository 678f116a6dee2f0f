"""check_gradients: wrong gradients are detected, right ones pass, kinks are reported, other methods take part."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import CASES, Case

import minigrad as mg
from minigrad import functional, fused, nn
from minigrad.engine.primitive import REGISTRY
from minigrad.verify import GradientReport, assert_gradients, check_gradients
from minigrad.verify.gradients.finite_differences import WIDEST, slope
from minigrad.verify.gradients.taylor import taylor

RNG = np.random.default_rng(17)
X, W, B = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 2)), RNG.normal(size=2)


def layer(x: Any, w: Any, b: Any) -> Any:
    return mg.tanh(x @ w + b)


def by_name(report: GradientReport) -> dict[str, Any]:
    return {method.name: method for method in report.methods}


def off(f: Callable[..., Any], change: Callable[[Any], Any]) -> Any:
    """A function of one operand whose gradient is changed."""
    return mg.custom(f, lambda v, x: change(mg.grad(lambda t: (f(t) * v).sum())(x)))


def tanh(x: Any) -> Any:
    return np.tanh(x)


# Right


def test_right_gradient() -> None:
    report = check_gradients(layer, X, W, B)
    assert report.ok
    assert report.raise_if_wrong() is None  # type: ignore[func-returns-value]
    assert {entry.name for entry in report.entries} == {"x", "w", "b"}
    assert len(report.entries) == 20
    assert report.worst is not None
    assert report.worst.difference < 1e-13
    assert report.kinks == []
    assert all(method.ok for method in report.methods)
    assert str(report).splitlines()[0].startswith("gradients right: 20 elements agree with differences in")


@pytest.mark.parametrize("order", [1, 2])
def test_several_outputs_and_nested_inputs(order: int) -> None:
    def f(p: Any, pair: Any) -> Any:
        return {"y": p["x"] @ p["w"][0], "rest": [mg.sin(pair[0]) * pair[1], p["x"].sum() ** 2]}

    report = check_gradients(f, {"x": X, "w": (W,)}, [2.0, B], order=order)
    assert report.ok
    assert [name for name, _ in report.inputs] == ["p.0", "p.1", "pair.0", "pair.1"]


def test_arguments_that_are_not_floating_point() -> None:
    report = check_gradients(lambda x, k, mask, n: (x[k] * mask) ** n, X, np.array([0, 2, 0]), X[:3] > 0, 3)
    assert report.ok
    assert [name for name, _ in report.inputs] == ["x"]


def test_float32_inputs_are_checked_in_float64() -> None:
    seen = set()

    def f(x: Any) -> Any:
        seen.add(x.dtype)
        return mg.exp(x)

    report = check_gradients(f, X.astype(np.float32))
    assert report.ok
    assert np.dtype(np.float32) not in seen
    assert report.worst is not None
    assert report.worst.difference < 1e-10


def test_tensors_and_numbers_as_inputs() -> None:
    x = mg.Tensor(X, requires_grad=True)
    assert check_gradients(lambda x, c: x * c, x, 2.5).ok
    assert x.grad is None


def test_scalar_function_and_empty_input() -> None:
    assert check_gradients(lambda x: (x * x).sum(), X).ok
    report = check_gradients(lambda x, y: x.sum() + y.sum(), np.zeros((0, 3)), B)
    assert report.ok
    assert len(report.entries) == 2


def test_many_elements_are_sampled_with_a_note() -> None:
    report = check_gradients(mg.sin, RNG.normal(size=500), elements=30)
    assert report.ok
    assert len(report.entries) == 30
    assert len({entry.index for entry in report.entries}) == 30
    assert "x: 30 of 500 elements compared" in str(report)
    again = check_gradients(mg.sin, RNG.normal(size=500), elements=30)
    other = check_gradients(mg.sin, RNG.normal(size=500), elements=30, seed=1)
    indices = [[entry.index for entry in r.entries] for r in (report, again, other)]
    assert indices[0] == indices[1] != indices[2]


def test_under_no_grad() -> None:
    with mg.no_grad():
        assert check_gradients(layer, X, W, B, order=2).ok


# Wrong


def at_one_place(factor: float) -> Any:
    factors = np.ones(X.shape)
    factors[1, 2] = factor
    return factors


WRONG: dict[str, Any] = {
    "every element by 0.1 %": (off(tanh, lambda g: 1.001 * g), (X,)),
    "every element by 0.001 %": (off(tanh, lambda g: 1.00001 * g), (X,)),
    "one element by 0.1 %": (off(tanh, lambda g: g * at_one_place(1.001)), (X,)),
    "one element's sign": (off(tanh, lambda g: g * at_one_place(-1)), (X,)),
    "the sign": (off(tanh, lambda g: -g), (X,)),
    "a constant added": (off(tanh, lambda g: g + 1e-4), (X,)),
    "zero": (off(tanh, lambda g: 0 * g), (X,)),
    "not finite": (off(tanh, lambda g: g + np.where(X > 1, np.nan, 0)), (X,)),
    "a missing term": (lambda x: (x - x.mean(axis=0).detach()) * x, (X,)),
    "a path detached": (lambda x, w: (x @ w) * (x @ w).detach(), (X, W)),
    "mean and variance detached": (
        lambda x: (x - x.mean(axis=0)) / mg.sqrt(((x - x.mean(axis=0)) ** 2).mean(axis=0) + 0.1).detach(), (X,)),
    "a sign function that is differentiated": (
        mg.custom(lambda x: np.sign(x), lambda v: v), (X,)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_gradients_are_detected(name: str) -> None:
    f, inputs = WRONG[name]
    report = check_gradients(f, *inputs)
    assert not report.ok
    assert "WRONG" in str(report).splitlines()[0]
    with pytest.raises(AssertionError, match="gradients WRONG") as caught:
        report.raise_if_wrong()
    assert str(caught.value) == str(report)
    with pytest.raises(AssertionError, match="WRONG"):
        assert_gradients(f, *inputs)


def test_wrong_element_is_named() -> None:
    report = check_gradients(off(tanh, lambda g: g * at_one_place(1.001)), X)
    assert [entry.place for entry in report.entries if not entry.ok] == ["x[1, 2]"]
    assert report.worst is not None
    assert report.worst.index == (1, 2)
    assert "1 of 12 elements differ" in str(report)
    assert "[1, 2]" in str(report)


def test_missing_factor_that_ones_would_hide() -> None:
    """With γ = 1 and a sum as the loss, this gradient looks right; along a signed cotangent it does not."""
    forgotten = mg.custom(
        lambda x: (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0)),
        lambda v, x: (v - v.mean(axis=0)) / np.sqrt(x.var(axis=0)),
    )
    assert not check_gradients(forgotten, X).ok


def test_wrong_second_derivatives() -> None:
    def rule(v: Any, x: Any) -> Any:
        return v * np.cos(x.detach() if isinstance(x, mg.Tensor) else x)

    f = mg.custom(lambda x: np.sin(x), rule)
    assert check_gradients(f, X).ok
    report = check_gradients(f, X, order=2)
    assert not report.ok
    assert str(report).startswith("second derivatives WRONG")


@pytest.mark.parametrize("name", ["x*x", "tanh", "batch norm"])
def test_wrong_forward_mode_is_detected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from minigrad.engine.primitive import Elementwise

    push = Elementwise.push
    monkeypatch.setattr(Elementwise, "push", lambda *arguments: 1.001 * push(*arguments))
    f = {"x*x": lambda x: x * x, "tanh": mg.tanh, "batch norm": lambda x: functional.batch_norm(x, 2.0, 0.0)}[name]
    report = check_gradients(f, X)
    assert not report.ok
    assert by_name(report)["forward mode"].ok is False
    assert "wrong by forward mode" in str(report).splitlines()[0]


# Kinks

KINKS: dict[str, tuple[Callable[..., Any], Any, list[tuple[int, ...]]]] = {
    "relu": (mg.relu, [0.0, 1.0, -2.0], [(0,)]),
    "abs": (mg.abs, [0.5, 0.0, -0.3], [(1,)]),
    "max of a tie": (mg.max, [1.5, 0.3, 1.5], [(0,), (2,)]),
    "maximum at a tie": (lambda x: mg.maximum(x, 0.7), [0.7, 0.2, 1.0], [(0,)]),
    "clip at a bound": (lambda x: mg.clip(x, -1.0, 0.5), [0.5, 0.2, -1.0], [(0,), (2,)]),
    "leaky relu": (lambda x: functional.leaky_relu(x, negative_slope=0.2), [0.0, 1.0], [(0,)]),
    "a kink inside": (lambda x: mg.sin(mg.relu(x - 1.0)) * 3 + x, [1.0, 2.0, 0.3], [(0,)]),
}


@pytest.mark.parametrize("name", KINKS)
def test_kinks_are_reported_and_do_not_fail(name: str) -> None:
    f, x, places = KINKS[name]
    for seed in range(3):
        report = check_gradients(f, np.array(x), seed=seed)
        assert report.ok, str(report)
        assert [entry.index for entry in report.kinks] == places
        assert "kink at x[" in str(report)
        assert by_name(report)["complex step"].ok is None
        assert by_name(report)["Taylor remainder"].ok is not False


def test_gradient_outside_the_sides_of_a_kink_is_wrong() -> None:
    f = mg.custom(lambda x: np.maximum(x, 0), lambda v, x: v * np.where(x == 0, 1.5, x > 0))
    report = check_gradients(f, np.array([0.0, 1.0]))
    assert not report.ok
    assert "which is outside" in str(report)


@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("f", [mg.relu, mg.abs, lambda x: mg.relu(x) ** 2 + mg.abs(x)])
def test_kink_nearby_is_avoided(f: Any, distance: float) -> None:
    for sign in (1, -1):
        report = check_gradients(f, np.array([sign * distance, 1.0]))
        assert report.ok
        assert not report.kinks


def test_report_of_many_kinks_is_short() -> None:
    report = check_gradients(mg.relu, np.zeros(50))
    assert report.ok
    assert "and 47 more kinks" in str(report)


@pytest.mark.parametrize("x", [1e-5, 1e-8, 1e-10, 1e-12])
@pytest.mark.parametrize("f", [mg.sqrt, mg.log, lambda x: x**0.3])
def test_close_to_the_border_of_the_domain(f: Any, x: float) -> None:
    assert check_gradients(f, np.array([x, 0.5])).entries[1].ok
    if x >= 1e-8:
        check_gradients(f, np.array([x, 0.5])).raise_if_wrong()


# A gradient written by hand, and objects with forward and backward


def plain_layer(x: Any, w: Any, b: Any) -> Any:
    return np.tanh(x @ w + b)


def plain_gradient(dout: Any, x: Any, w: Any, b: Any) -> Any:
    dz = dout * (1 - np.tanh(x @ w + b) ** 2)
    return dz @ w.T, x.T @ dz, dz.sum(axis=0)


def test_gradient_by_hand() -> None:
    report = check_gradients(plain_layer, X, W, B, gradient=plain_gradient)
    assert report.ok
    methods = by_name(report)
    assert methods["Taylor remainder"].ok
    assert methods["complex step"].ok is methods["forward mode"].ok is None
    assert "forward mode: does not apply: a gradient by hand has no tape" in str(report)


MISTAKES: dict[str, Callable[..., Any]] = {
    "a forgotten factor": lambda dout, x, w, b: (dout @ w.T, x.T @ dout, dout.sum(axis=0)),
    "mean for sum": lambda *a: (*plain_gradient(*a)[:2], plain_gradient(*a)[2] / 4),
    "one of three": lambda *a: (plain_gradient(*a)[0], plain_gradient(*a)[1] * 1.001, plain_gradient(*a)[2]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_wrong_gradient_by_hand(name: str) -> None:
    report = check_gradients(plain_layer, X, W, B, gradient=MISTAKES[name])
    assert not report.ok
    assert by_name(report)["Taylor remainder"].ok is False


def test_gradient_by_hand_with_several_outputs_and_integers() -> None:
    assert_gradients(
        lambda x, k: (np.exp(x), x[k]),
        X,
        np.array([0, 0, 1]),
        gradient=lambda cotangents, x, k: cotangents[0] * np.exp(x) + np.eye(4)[k].T @ cotangents[1],
    )


def test_gradient_of_wrong_form_raises() -> None:
    with pytest.raises(ValueError, match=r"returned 2 arrays for the 3 floating-point inputs x, w, b"):
        check_gradients(plain_layer, X, W, B, gradient=lambda *a: plain_gradient(*a)[:2])
    with pytest.raises(ValueError, match=r"gradient for x has shape \(3,\), the input \(4, 3\)"):
        check_gradients(lambda x: np.sin(x), X, gradient=lambda v, x: np.cos(x)[0])
    with pytest.raises(ValueError, match="no tape to differentiate again"):
        check_gradients(np.sin, X, gradient=lambda v, x: v * np.cos(x), order=2)


class Affine:
    """A layer of another framework: it takes and returns arrays, and stores what backward needs."""

    def __init__(self, slip: float = 1.0) -> None:
        self.slip = slip

    def forward(self, x: Any, w: Any, b: Any) -> Any:
        self.seen = x, w
        return x @ w + b

    def backward(self, dout: Any) -> Any:
        x, w = self.seen
        return dout @ w.T, self.slip * x.T @ dout, dout.sum(axis=0)


def test_objects_with_forward_and_backward() -> None:
    report = check_gradients(Affine(), X, W, B)
    assert report.ok
    assert [name for name, _ in report.inputs] == ["x", "w", "b"]
    report = check_gradients(Affine(1.001), X, W, B)
    assert not report.ok
    assert {entry.name for entry in report.entries if not entry.ok} == {"w"}


def test_object_that_accepts_only_float64() -> None:
    class Strict:
        def forward(self, x: Any) -> Any:
            if x.dtype != np.float64:
                raise TypeError("float64 only")
            self.out = np.exp(x)
            return self.out

        def backward(self, dout: Any) -> Any:
            return dout * self.out

    report = check_gradients(Strict(), X)
    assert report.ok
    assert report.dtype is np.float64


@pytest.mark.slow
def test_torch_module() -> None:
    torch = pytest.importorskip("torch")

    class Softmax:
        def forward(self, x: Any) -> Any:
            self.x = torch.from_numpy(np.ascontiguousarray(x)).requires_grad_()
            self.y = torch.softmax(self.x, -1)
            return self.y.detach().numpy()

        def backward(self, dout: Any) -> Any:
            return torch.autograd.grad(self.y, self.x, torch.from_numpy(np.ascontiguousarray(dout)))[0].numpy()

    assert_gradients(Softmax(), X)


# The methods


def test_modes() -> None:
    names = {"complex": "complex step", "taylor": "Taylor remainder", "pairing": "forward mode"}
    for mode, name in names.items():
        report = check_gradients(layer, X, W, B, modes=mode)
        assert report.ok
        assert report.entries == []
        assert [method.name for method in report.methods] == [name]
        assert str(report).startswith(f"gradients right: by {name}")
        assert json.loads(report.to_json())["methods"][0]["ok"] is True
    report = check_gradients(layer, X, W, B, modes=["taylor", "differences"])
    assert len(report.entries) == 20
    assert [method.name for method in report.methods] == ["Taylor remainder"]
    assert check_gradients(layer, X, W, B, modes="differences").methods == []


@pytest.mark.parametrize("mode", ["taylor", "differences"])
@pytest.mark.parametrize("name", [name for name in WRONG if name not in ("not finite", "every element by 0.001 %")])
def test_each_method_alone_detects_wrong_gradients(name: str, mode: str) -> None:
    f, inputs = WRONG[name]
    assert not check_gradients(f, *inputs, modes=mode).ok


def test_complex_step_detects_a_wrong_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    p = REGISTRY["tanh"]
    assert check_gradients(mg.tanh, X, modes="complex").ok
    pull = p.pull
    monkeypatch.setattr(p, "pull", lambda n, v, pending, residuals: pull(n, v * (1 + 1e-6), pending, residuals))
    report = check_gradients(mg.tanh, X, modes="complex")
    assert not report.ok
    assert "complex step: differs by" in str(report)


ANALYTIC = frozenset({
    "add", "subtract", "multiply", "divide", "negative", "positive", "reciprocal", "square", "power", "sqrt",
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sigmoid", "silu", "softplus", "where",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
    "sum", "mean", "prod", "cumulative_sum", "cumulative_prod", "logsumexp",
    "matmul", "linear", "contract", "einsum_diagonal", "cross", "det", "inv", "solve",
    "broadcast_to", "concat", "copy", "flip", "input", "matrix_transpose", "pad", "permute_dims", "reshape", "roll",
    "stack", "tril", "triu", "getitem", "set_index", "scatter_add",
    "sliding_windows", "overlap_add", "window_gather", "window_scatter",
    "avg_pool", "avg_unpool", "convolve", "convolve_input", "convolve_kernel",
})  # fmt: skip


def test_which_primitives_are_declared_analytic() -> None:
    assert {name for name, p in REGISTRY.items() if p.is_analytic} == ANALYTIC


NOT_ANALYTIC: dict[str, tuple[Callable[..., Any], str]] = {
    "a primitive": (lambda x: mg.abs(x) * x, "abs is not known to be analytic"),
    "a function without a node": (lambda x: x * np.sign(x), "sign is not analytic"),
    "inside a product": (lambda x: (x @ np.ones((3, 3))) * np.sign(x.sum(axis=0)), "sign is not analytic"),
    "after einsum": (lambda x: x.sum() * np.sign(np.einsum("ij,kj->ik", x, x)), "sign is not analytic"),
    "no complex version": (lambda x: x * np.floor(x), "does not take complex numbers"),
    "a number taken out": (lambda x: x * (1 + (float(x.sum()) > 0)), "complex numbers"),
    "a user's function": (mg.custom(lambda x: x * 2, lambda v: 2 * v), "custom is not known"),
    "a checkpoint": (mg.checkpoint(lambda x: x * 2), "checkpoint"),
}


@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_complex_step_does_not_apply(name: str) -> None:
    f, reason = NOT_ANALYTIC[name]
    report = check_gradients(f, X)
    assert report.ok, str(report)
    method = by_name(report)["complex step"]
    assert method.ok is None
    assert reason in method.found
    assert f"complex step: does not apply: {method.found}" in str(report)
    with pytest.raises(ValueError, match="no method applies"):
        check_gradients(f, X, modes="complex")


def test_complex_step_with_comparisons() -> None:
    report = check_gradients(lambda x: mg.where(x > 0, x * x, mg.exp(x)) * (x < 1), X)
    assert by_name(report)["complex step"].ok is True


def line(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda t: np.atleast_1d(f(1 + t))


@pytest.mark.parametrize("dtype", [WIDEST, np.float64])
def test_order_of_the_taylor_remainder(dtype: Any) -> None:
    one = np.ones(1, dtype)
    for f, slope_at_one in ((np.exp, np.e), (lambda x: x**4, 4.0), (lambda x: 1 / x, -1.0)):
        right = taylor(line(f), one, slope_at_one, 1e-12, dtype)
        assert right.ok
        assert right.order == pytest.approx(2, abs=0.1)
        wrong = taylor(line(f), one, slope_at_one * 1.001, 1e-12, dtype)
        assert not wrong.ok
        assert not wrong.is_kink
        assert wrong.order == pytest.approx(1, abs=0.2)
    assert taylor(line(lambda x: 3 * x), one, 3.0, 1e-12, dtype).order is None
    assert not taylor(line(lambda x: 3 * x), one, 3.01, 1e-12, dtype).ok
    cubic = taylor(line(lambda x: (x - 1) ** 3 + x), one, 1.0, 1e-12, dtype)
    assert cubic.order == pytest.approx(3, abs=0.1)
    assert taylor(line(lambda x: abs(x - 1)), one, 0.5, 1e-12, dtype).is_kink


@pytest.mark.parametrize("dtype", [WIDEST, np.float64, np.float32])
def test_error_estimate_of_differences(dtype: Any) -> None:
    for f, exact in ((np.exp, np.e), (np.sin, np.cos(1)), (lambda x: 1 / x, -1.0), (lambda x: x**7, 7.0)):
        measured = slope(line(f), np.ones(1, dtype), 1.0, dtype)
        assert not measured.is_kink
        assert abs(measured.value - exact) <= 10 * measured.error + 1e-15
        assert measured.error < {np.float32: 1e-3}.get(dtype, 1e-8)


# float32


def test_float32_option() -> None:
    seen = set()

    def f(x: Any, w: Any, b: Any) -> Any:
        seen.add(x.dtype)
        return functional.softmax(mg.tanh(x @ w + b))

    report = check_gradients(f, X, W, B, dtype="float32")
    assert report.ok, str(report)
    assert np.dtype(np.float64) not in seen
    assert "differences in float32" in str(report)
    assert check_gradients(f, X, W, B, dtype=np.float32, order=2).ok
    assert report.to_dict()["precision"] == "float32"


@pytest.mark.parametrize("factor", [1.02, 0.5, -1.0, 0.0])
def test_float32_finds_a_wrong_gradient(factor: float) -> None:
    f = mg.custom(lambda x: np.tanh(x), lambda v, out: v * np.float32(factor) * (1 - out * out))
    assert not check_gradients(f, X, dtype="float32").ok
    assert not check_gradients(f, X, dtype="float32", modes="differences").ok
    assert not check_gradients(f, X, dtype="float32", modes="taylor").ok


def test_float64_option() -> None:
    report = check_gradients(layer, X, W, B, dtype="float64")
    assert report.ok
    assert report.dtype is np.float64


# Invalid input


def test_random_functions_raise() -> None:
    with pytest.raises(ValueError, match="other values when it was called again"):
        check_gradients(functional.dropout, X)
    assert check_gradients(lambda x: functional.dropout(x, rng=3), X).ok


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nonfinite_values_raise(value: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        check_gradients(lambda x: x * value, X)
    with pytest.raises(ValueError, match="NaN or infinite"):
        check_gradients(mg.log, -np.abs(X))


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "integers alone": (lambda: check_gradients(mg.sum, np.arange(3)), TypeError, r"ndarray.*astype\(float\)"),
    "nothing": (lambda: check_gradients(lambda: mg.Tensor(1.0)), TypeError, "nothing to vary"),
    "order": (lambda: check_gradients(mg.sin, X, order=3), ValueError, "order=3.*1 or 2"),
    "mode": (lambda: check_gradients(mg.sin, X, modes="diff"), ValueError, "'diff'.*'differences', 'complex'"),
    "no mode": (lambda: check_gradients(mg.sin, X, modes=()), ValueError, "choose among"),
    "dtype": (lambda: check_gradients(mg.sin, X, dtype="int32"), ValueError, "int32.*'float32' or 'float64'"),
    "pairing by hand": (
        lambda: check_gradients(np.sin, X, gradient=lambda v, x: v, modes="pairing"), ValueError, "no tape"),
}  # fmt: skip


@pytest.mark.parametrize("what", ERRORS)
def test_invalid_arguments_raise(what: str) -> None:
    call, kind, message = ERRORS[what]
    with pytest.raises(kind, match=message):
        call()


def test_errors_of_the_function_propagate() -> None:
    with pytest.raises(ValueError, match="core dimension"):
        check_gradients(layer, X, X, B)


# Reports


def test_linear_algebra_falls_back_to_float64() -> None:
    a = RNG.normal(size=(3, 3)) + 3 * np.eye(3)
    for f in (np.linalg.inv, np.linalg.det, lambda a: np.linalg.solve(a, X[:3])):
        report = check_gradients(f, a)
        assert report.ok
        assert report.dtype is np.float64
        assert "differences in float64" in str(report)


REPORTS: dict[str, Callable[[], GradientReport]] = {
    "right": lambda: check_gradients(layer, X, W, B),
    "wrong": lambda: check_gradients(off(tanh, lambda g: 1.1 * g), X),
    "kinks": lambda: check_gradients(mg.relu, np.zeros((5, 5))),
    "not finite": lambda: check_gradients(*[WRONG["not finite"][0], X]),
    "many inputs": lambda: check_gradients(lambda xs: sum(x.sum() ** 2 for x in xs), [B + k for k in range(30)]),
    "many wrong inputs": lambda: check_gradients(
        lambda xs: sum(x.sum() * x.sum().detach() for x in xs), [B + k for k in range(30)]),
    "by hand": lambda: check_gradients(np.sin, X, gradient=lambda v, x: v * np.cos(x)),
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTS)
def test_report_fits_on_a_screen(name: str) -> None:
    report = REPORTS[name]()
    text = str(report).splitlines()
    assert len(text) <= 24
    assert max(map(len, text)) <= 120
    assert ("right" if report.ok else "WRONG") in text[0]
    content = json.loads(report.to_json())
    assert content["ok"] is report.ok
    assert content["elements"] == len(report.entries)
    assert [m["name"] for m in content["methods"]] == ["complex step", "Taylor remainder", "forward mode"]
    html = report._repr_html_()
    assert html.startswith("<pre><b")
    assert text[0] in html


def test_html_is_escaped() -> None:
    report = check_gradients(lambda x: mg.checkpoint(lambda t: t * 2)(x), X)
    assert "checkpoint[&lt;lambda&gt;]" in report._repr_html_()


# Right functions always pass

STEPS: dict[str, Callable[[Any], Any]] = {
    "tanh": mg.tanh, "sin": mg.sin, "square": lambda x: x * x / 4, "sigmoid": mg.sigmoid,
    "exp": lambda x: mg.exp(x / 3),
    "relu": mg.relu, "abs": mg.abs, "softplus": mg.softplus, "gelu": functional.gelu, "silu": functional.silu,
    "softmax": functional.softmax, "log_softmax": functional.log_softmax, "elu": functional.elu,
    "row norm": lambda x: x / mg.sqrt((x * x).sum(axis=-1, keepdims=True) + 1), "center": lambda x: x - x.mean(axis=0),
    "batch norm": lambda x: functional.batch_norm(x, 1.5, 0.3, eps=0.1), "std": lambda x: x / (1 + mg.std(x, axis=0)),
    "fused batch norm": lambda x: fused.batch_norm(x, np.full(3, 1.5), np.full(3, 0.3), eps=0.1)[0],
    "matmul": lambda x: x @ (W @ W.T), "sorted": lambda x: mg.sort(x, axis=0), "flip": lambda x: x * mg.flip(x, axis=1),
    "cumulative": lambda x: mg.cumulative_sum(x, axis=1) / 3, "concat": lambda x: mg.concat([x[:1], mg.sin(x[1:])]),
    "logsumexp": lambda x: x - mg.logsumexp(x, axis=1, keepdims=True), "gather": lambda x: x[[2, 0, 1, 0]] + x,
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x)[:, :3] / 3, "where": lambda x: mg.where(x > 0.1, x, mg.exp(x) - 1),
    "max": lambda x: x - mg.max(x, axis=1, keepdims=True), "prod": lambda x: x + mg.prod(x, axis=1, keepdims=True) / 5,
    "clip": lambda x: mg.clip(x, -0.8, 1.1), "power": lambda x: (x * x + 0.5) ** 0.7,
    "divide": lambda x: x / (2 + x * x),
    "norm": lambda x: x / (1 + mg.linalg.vector_norm(x, axis=1, keepdims=True)), "sign": lambda x: x * mg.sign(x),
    "solve": lambda x: np.linalg.solve(4 * np.eye(4) + x @ x.T, x), "sum": lambda x: x + x.sum(),
    "pad": lambda x: mg.pad(x, ((1, 0), (0, 0)))[:4] + x, "log": lambda x: mg.log1p(x * x),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_factor_of_1_001_between_operations_is_detected(seed: int) -> None:
    """In all elements, or in one, of a cotangent between two operations; unless the cotangent is 0 there."""
    rng = np.random.default_rng([seed, 78])
    names = [str(name) for name in rng.choice(list(STEPS), size=rng.integers(2, 6))]
    place, factors = rng.integers(0, len(names)), np.full((4, 3), 1.001)
    if seed % 2:
        factors = np.ones((4, 3))
        factors[tuple(rng.integers(0, (4, 3)))] = 1.001
    wrong = mg.custom(lambda x: x * 1.0, lambda v: v * factors)

    def f(x: Any, faulty: bool = True) -> Any:
        for k, name in enumerate(names):
            x = STEPS[name](wrong(x) if faulty and k == place else x)
        return x

    x = rng.normal(size=(4, 3))
    report = check_gradients(f, x, seed=seed)
    if report.ok:
        same = [mg.jacobian(lambda x, faulty=faulty: f(x, faulty))(x) for faulty in (False, True)]
        np.testing.assert_allclose(*same, rtol=1e-9, atol=1e-12, err_msg=f"{names} {place}")


@pytest.mark.parametrize("seed", range(100))
def test_right_functions_pass(seed: int) -> None:
    rng = np.random.default_rng([seed, 23])
    names = rng.choice(list(STEPS), size=rng.integers(2, 7))

    def f(x: Any) -> Any:
        for name in names:
            x = STEPS[name](x)
        return x.sum(axis=0) if seed % 3 == 0 else x

    x = rng.normal(size=(4, 3)) * 10.0 ** rng.integers(-1, 2)
    for k in range(2):
        report = check_gradients(f, x, seed=k)
        assert report.ok, f"{names}\n{report}"


@pytest.mark.parametrize("seed", range(30))
def test_right_functions_pass_at_second_order_and_in_float32(seed: int) -> None:
    rng = np.random.default_rng([seed, 29])
    names = rng.choice(list(STEPS), size=rng.integers(2, 5))

    def f(x: Any) -> Any:
        for name in names:
            x = STEPS[name](x)
        return x

    x = rng.normal(size=(4, 3))
    for options in ({"order": 2}, {"dtype": "float32"}):
        report = check_gradients(f, x, **options)
        assert report.ok, f"{names} {options}\n{report}"


@pytest.mark.parametrize("f", [
    lambda x: functional.batch_norm(x, 2.0, 0.0).sum(),  # identically 0
    lambda x: functional.softmax(x).sum(axis=1),  # constant
    lambda x: x - x,
    lambda x: (x * 1.1 - x * 1.1000001) * 1e3,  # cancels
    lambda x: x * 1e-9,
    lambda x: x * 1e9,
    lambda x: mg.exp(-1e3 * x * x),  # underflows
    lambda x: mg.tanh(50 * x),  # saturates
], ids=["zero", "constant", "difference", "cancels", "small", "large", "underflows", "saturates"])  # fmt: skip
@pytest.mark.floating(all="ignore")
def test_vanishing_and_extreme_gradients_pass(f: Any) -> None:
    for seed in range(5):
        x = np.random.default_rng([seed, 31]).normal(size=(32, 3))
        report = check_gradients(f, x, seed=seed)
        assert report.ok, str(report)


@pytest.mark.parametrize("case", [case for case in CASES if not {"pull", "push"} & set(case.skip)], ids=str)
def test_table_of_cases_passes(case: Case) -> None:
    operands = case.operands()
    varied = [np.asarray(operands[k], dtype=float) for k in case.wrt]
    if not varied:
        return

    def f(*values: Any) -> Any:
        by_index = dict(zip(case.wrt, values, strict=True))
        return case.function(*(by_index.get(k, x) for k, x in enumerate(operands)))

    report = check_gradients(f, *varied, elements=15)
    assert report.ok, str(report)


# The size of x

SCALES = [10.0**e for e in (-30, -20, -12, -8, -5, -2, 0, 3, 6, 8, 10, 12, 15, 20, 30)]
AT_SCALES: dict[str, Any] = {
    "sin": mg.sin, "cos": mg.cos, "bounded": lambda x: x / mg.sqrt(1 + x * x), "x sin x": lambda x: x * mg.sin(x),
    "square": lambda x: x**2, "cube": lambda x: x**3, "sqrt": mg.sqrt, "log": mg.log, "1/x": lambda x: 1 / x,
    "product": lambda x: x * mg.flip(x), "norm": mg.linalg.vector_norm, "linear": lambda x: 3 * x - x.sum(),
    "abs": mg.abs, "relu": mg.relu, "softmax": functional.softmax, "tanh": mg.tanh, "gauss": lambda x: mg.exp(-x * x),
}  # fmt: skip


def at_scale(scale: float, dtype: Any) -> Any:
    return (np.array([0.7, 1.3, 1.1, 0.9]) * scale).astype(dtype or float)


def is_in_range(f: Any, x: Any) -> bool:
    """Whether the value and the gradient are numbers in float32, and not denormal ones."""
    with np.errstate(all="ignore"):
        y, g = f(x), mg.grad(lambda t: f(t).sum())(x)
    tiny = np.finfo(x.dtype).tiny
    return all(np.isfinite(v).all() and ((np.abs(v) > tiny) | (v == 0)).all() for v in map(np.asarray, (y, g)))


@pytest.mark.parametrize("dtype", [None, "float32"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", AT_SCALES)
@pytest.mark.floating(all="ignore")
def test_right_functions_pass_at_all_scales(name: str, scale: float, dtype: Any) -> None:
    f, x = AT_SCALES[name], at_scale(scale, dtype)
    if is_in_range(f, x):
        report = check_gradients(f, x, dtype=dtype)
        assert report.ok, str(report)


FAULTS: dict[str, Callable[[Any], Any]] = {
    "a factor 2": lambda g: 2 * g, "the sign": lambda g: -g, "a missing term": lambda g: g * (np.arange(g.size) > 0),
    "a thousandth": lambda g: g * 1.001,
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", AT_SCALES)
@pytest.mark.floating(all="ignore")
def test_wrong_gradients_are_detected_at_all_scales(
    name: str, scale: float, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a wrong reverse mode: the only method that always applies does not use differences."""
    from minigrad.verify.gradients import problem

    f, x = AT_SCALES[name], at_scale(scale, None)
    right = problem.Problem.gradient
    if scale > 1e2 and name in ("softmax", "tanh", "gauss", "bounded"):
        return  # saturated: the gradient is 0, or what rounding leaves of 1 - x²/(1 + x²)
    monkeypatch.setattr(problem.Problem, "gradient", lambda *a: [FAULTS[fault](g) for g in right(*a)])
    report = check_gradients(f, x)
    assert not report.ok, str(report)
    assert "WRONG" in str(report).splitlines()[0]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["sin", "square", "cube", "sqrt", "log", "1/x", "norm", "product", "bounded"])
@pytest.mark.floating(all="ignore")
def test_wrong_gradients_by_hand_are_detected_at_all_scales(name: str, scale: float) -> None:
    """By differences and Taylor's remainder only."""
    f, x = AT_SCALES[name], at_scale(scale, None)
    for fault in FAULTS.values():

        def gradient(v: Any, x: Any, fault: Any = fault) -> Any:
            return fault(np.asarray(mg.grad(lambda t: (f(t) * v).sum())(x)))

        report = check_gradients(f, x, gradient=gradient)
        if not (name == "bounded" and scale > 1e2):  # saturated
            assert not report.ok, str(report)


def test_sin_at_a_hundred_million() -> None:
    report = check_gradients(mg.sin, np.array([1e8]))
    assert report.ok
    assert not report.undecided
    assert report.worst is not None
    assert report.worst.difference < 1e-6


def test_undecided_differences_are_decided_by_other_methods() -> None:
    report = check_gradients(mg.sin, np.array([1e20]))
    assert report.ok
    assert [entry.place for entry in report.undecided] == ["x[0]"]
    first = str(report).splitlines()[0]
    assert "right: 1 of 1 elements cannot be checked by differences" in first
    assert first.endswith("but are by complex step and forward mode")
    assert json.loads(report.to_json())["unchecked"][0]["index"] == [0]
    for options in ({"gradient": lambda v, x: v * np.cos(x)}, {"modes": "differences"}):
        report = check_gradients(np.sin, np.array([1e20]), **options)  # type: ignore[arg-type]
        assert not report.ok
        assert "gradients NOT CHECKED: 1 of 1 elements cannot be checked by differences" in str(report)


def test_note_on_a_slope_too_small_for_differences() -> None:
    x = np.array([1e-20])
    report = check_gradients(np.cos, x, gradient=lambda v, x: -v * np.sin(x))
    assert report.ok
    assert "less than differences can tell from 0 here" in str(report)
    assert "less than" not in str(check_gradients(mg.cos, x))


def test_number_of_calls_in_the_ordinary_case() -> None:
    for f, most in ((mg.sin, 12), (lambda x: mg.tanh(x @ W), 14), (mg.relu, 8)):
        calls = []

        def counted(x: Any, f: Any = f, calls: Any = calls) -> Any:
            calls.append(1)
            return f(x)

        assert check_gradients(counted, X, modes="differences").ok
        assert len(calls) <= most * X.size


def test_a_module_is_checked_with_the_names_of_forward_and_a_complex_step() -> None:
    report = check_gradients(nn.Linear(X.shape[-1], 2, rng=0), X)
    assert [name for name, _ in report.inputs] == ["x"]
    assert by_name(report)["complex step"].ok
