"""custom: a user's own function and rules, in both modes, to second order, and found out when wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.verify import check_gradients

X = np.array([[0.3, -1.2, 0.7], [1.4, 0.9, -0.6]])
Y = np.array([0.8, -0.5, 1.1])

cube = mg.custom(lambda x: x**3, lambda v, x: v * 3 * x**2, name="cube")
swish = mg.custom(
    lambda x, beta=1.0: x / (1 + np.exp(-beta * x)),
    lambda v, x, out, beta: v * (beta * out + (1 - beta * out) / (1 + np.exp(-beta * x))),
    name="swish",
)
product = mg.custom(lambda x, y: x * y, lambda v, y: v * y, lambda v, x: v * x, name="product")
picked = mg.custom(
    lambda x, mask: x * mask, lambda v, mask: v * mask, None, name="picked"
)  # no derivative for the mask


def polar_rule(v: Any, x: Any, y: Any, r: Any, needs_grad: Any) -> Any:
    """r = √(x² + y²), θ = arctan(y/x); a cotangent that nobody sent is None."""
    dr, dt = v
    dr = np.zeros_like(x) if dr is None else dr
    dt = np.zeros_like(x) if dt is None else dt
    contributions = dr * x / r - dt * y / (r * r), dr * y / r + dt * x / (r * r)
    return tuple(
        contribution if needed else None for contribution, needed in zip(contributions, needs_grad, strict=True)
    )


polar = mg.custom(
    lambda x, y: (np.sqrt(x * x + y * y), np.arctan2(y, x)), joint=polar_rule, outputs=("r", "theta"), name="polar"
)


def scaled_sum(x: Any, *, scale: float) -> Any:
    return scale * x.sum()


total = mg.custom(scaled_sum, lambda v, x_shape, scale: np.broadcast_to(scale * v, x_shape))

FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "one rule": (cube, (X,)),
    "a rule that names the value": (swish, (X,)),
    "parameter": (lambda x: swish(x, beta=1.7), (X,)),
    "two operands that broadcast": (product, (X, Y)),
    "an operand without a rule": (lambda x: picked(x, X > 0), (X,)),
    "joint rule, several outputs": (polar, (np.abs(X) + 0.2, X)),
    "one output used": (lambda x, y: polar(x, y)[1], (np.abs(X) + 0.2, X)),
    "keyword-only parameter": (lambda x: total(x, scale=2.5), (X,)),
    "within others": (lambda x, y: mg.exp(cube(mg.sin(x)) + product(x, y)).sum(axis=0), (X, Y)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_right_rule_is_accepted(name: str) -> None:
    f, inputs = FUNCTIONS[name]
    check_gradients(f, *inputs).raise_if_wrong()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_order(name: str) -> None:
    f, inputs = FUNCTIONS[name]
    check_gradients(f, *inputs, order=2).raise_if_wrong()


def test_forward_mode_follows_from_the_rules() -> None:
    _, moved = mg.jvp(cube, (X,), (np.cos(X),))
    np.testing.assert_allclose(moved, 3 * X**2 * np.cos(X), rtol=1e-14)
    x, y, u, w = np.abs(X) + 0.2, X, np.sin(X), np.cos(X)
    (r, _), (dr, dt) = mg.jvp(polar, (x, y), (u, w))
    np.testing.assert_allclose(dr, (x * u + y * w) / r, rtol=1e-14)
    np.testing.assert_allclose(dt, (x * w - y * u) / r**2, rtol=1e-14)
    _, moved = mg.jvp(lambda x, y: polar(x, y)[0], (x, y), (u, np.zeros_like(w)))
    np.testing.assert_allclose(moved, x * u / r, rtol=1e-14)


def test_to_fourth_order() -> None:
    f: Any = cube
    for expected in (3 * 1.5**2, 6 * 1.5, 6.0, 0.0):
        f = mg.grad(f)
        assert float(f(1.5)) == pytest.approx(expected, rel=1e-14)


def test_custom_primitives_on_arrays_are_the_function() -> None:
    assert type(cube(X)) is np.ndarray
    assert np.array_equal(cube(X), X**3)
    assert np.array_equal(cube(mg.Tensor(X)).numpy(), X**3)
    r, theta = polar(X, X)
    assert type(r) is type(theta) is np.ndarray


WRONG: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "a factor of 1.001": (mg.custom(lambda x: x**3, lambda v, x: v * 3.003 * x**2), (X,)),
    "a sign": (mg.custom(lambda x: np.cos(x), lambda v, x: v * np.sin(x)), (X,)),
    "the factor of another operand": (
        mg.custom(lambda x, y: x * y, lambda v, y: v * y, lambda v, y: v * y), (X, Y)),
    "a forgotten sum": (
        mg.custom(lambda x: x - x.mean(axis=0), lambda v: v), (X,)),
    "one of two outputs forgotten": (
        mg.custom(lambda x: (np.sin(x), np.cos(x)), joint=lambda v, x: (v[0] * np.cos(x),), outputs=("s", "c")), (X,)),
    "a parameter forgotten": (
        lambda x: mg.custom(lambda x, k=1.0: np.exp(k * x), lambda v, out: v * out)(x, k=1.5), (X,)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_caught(name: str) -> None:
    f, inputs = WRONG[name]
    report = check_gradients(f, *inputs)
    assert not report.ok
    assert "WRONG" in str(report).splitlines()[0]


def test_a_rule_that_is_right_to_first_order_only_is_caught() -> None:
    """A rule that detaches what it names: the gradient is right, its own derivative is not."""

    def rule(v: Any, x: Any) -> Any:
        return v * 3 * np.square(x.detach() if isinstance(x, mg.Tensor) else x)

    f = mg.custom(lambda x: x**3, rule)
    assert check_gradients(f, X).ok
    assert not check_gradients(f, X, order=2).ok


def test_a_custom_primitive_is_a_node_with_its_name() -> None:
    x = mg.Tensor(X, requires_grad=True).named("x")
    printed = str(mg.Tape(swish(cube(x), beta=2.0)))
    assert "cube(x)" in printed
    assert "swish(%2, beta=2.0)" in printed
    nameless = mg.custom(lambda x: x * 2, lambda v: v * 2)
    assert "custom(x)" in str(mg.Tape(nameless(x)))
    assert "scaled_sum(x, scale=3)" in str(mg.Tape(total(x, scale=3)))


def test_values_that_no_rule_names_are_not_kept() -> None:
    x = mg.Tensor(X, requires_grad=True)
    assert cube(x).node.residuals[0] is x.data
    assert mg.custom(lambda x: 2 * x, lambda v: 2 * v)(x).node.residuals == ()


def test_a_custom_primitive_does_not_replace_one_of_the_same_name() -> None:
    mg.custom(lambda x: x, lambda v: -v, name="exp")
    assert float(mg.grad(mg.exp)(0.0)) == 1.0


def test_float32_is_kept() -> None:
    x = mg.Tensor(X, requires_grad=True, dtype="float32")
    y = cube(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float32


def test_a_contribution_of_another_dtype_is_converted_at_the_leaf() -> None:
    x = mg.Tensor(X, requires_grad=True, dtype="float32")
    mg.custom(lambda x: x * 2, lambda v: v.astype(np.float64) * 2)(x).sum().backward()
    assert x.grad.dtype == np.float32


def test_checkpoint_and_closures_around_it() -> None:
    x, y = mg.Tensor(X, requires_grad=True), mg.Tensor(Y, requires_grad=True)
    mg.checkpoint(lambda t: product(cube(t), y))(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 * X**2 * Y, rtol=1e-14)
    np.testing.assert_allclose(y.grad.numpy(), (X**3).sum(axis=0), rtol=1e-14)


ERRORS: dict[str, tuple[Any, str]] = {
    "variadic": (lambda: mg.custom(lambda *x: x, lambda v: v), "fixed"),
    "keywords": (lambda: mg.custom(lambda x, **k: x, lambda v: v), "fixed"),
    "too few rules": (lambda: mg.custom(lambda x, y: x, lambda v: v), "2 operands.*1 rules"),
    "too many rules": (lambda: mg.custom(lambda x: x, lambda v: v, None), "1 operands.*2 rules"),
    "unknown name": (lambda: mg.custom(lambda x: x, lambda v, z: v), "'z'"),
    "unknown name in a joint rule": (lambda: mg.custom(lambda x: x, joint=lambda v, z: (v,)), "'z'"),
    "rules and a joint one": (lambda: mg.custom(lambda x: x, lambda v: v, joint=lambda v: (v,)), "joint"),
    "static by position": (lambda: swish(X, 2.0), "positional"),
    "operand of text": (lambda: cube("x"), "cube.*must be a number"),
}


@pytest.mark.parametrize("what", ERRORS)
def test_errors(what: str) -> None:
    call, words = ERRORS[what]
    with pytest.raises(TypeError, match=words):
        call()


# What rules and functions may not do


def backward(f: Any, *values: Any, **static: Any) -> list[Any]:
    """The gradients of the sum of what f gives."""
    inputs = [mg.Tensor(x, requires_grad=True) for x in values]
    out = f(*inputs, **static)
    (out[0] if isinstance(out, tuple) else out).sum().backward()
    return [None if x.grad is None else x.grad.tolist() for x in inputs]


def into(v: Any) -> Any:
    v *= 10
    return v


W = mg.Tensor(np.ones(2), requires_grad=True)
ONES = np.ones(2)
# Functions, rules, and what the error says. All are called "mine".
MISUSED: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], type[Exception], str]] = {
    "a number": (lambda x: 2 * x, (lambda v: 2.0,), {}, ValueError, r"rule of mine for x returned shape \(\).*\(2,\)"),
    "too small": (lambda x: 2 * x, (lambda v: v[:1],), {}, ValueError, r"rule of mine for x.*\(1,\).*\(2,\)"),
    "another axis": (lambda x: 2 * x, (lambda v: v[None],), {}, ValueError, r"mine for x.*\(1, 2\).*\(2,\)"),
    "too large": (lambda x: 2 * x, (lambda v: np.ones((4, 2)),), {}, ValueError, r"mine for x.*\(4, 2\).*\(2,\)"),
    "too large for a sum": (
        lambda x: x.sum(), (lambda v: np.ones((4, 2)),), {}, ValueError, r"mine for x.*\(4, 2\).*\(2,\)"),
    "v of a sum": (lambda x: x.sum(), (lambda v: v,), {}, ValueError, r"mine for x.*shape \(\)"),
    "a list": (lambda x: 2 * x, (lambda v: [2.0, 2.0],), {}, TypeError, r"mine for x returned \[2.0, 2.0\] \(list\)"),
    "text": (lambda x: 2 * x, (lambda v: "v",), {}, TypeError, "mine for x returned 'v'"),
    "objects": (lambda x: 2 * x, (lambda v: v.astype(object),), {}, TypeError, "mine for x returned.*object"),
    "complex": (lambda x: 2 * x, (lambda v: v * 1j,), {}, TypeError, "mine for x returned complex128"),
    "writes into v": (lambda x: 2 * x, (into,), {}, ValueError, "mine for x.*must not write into v or its operands"),
    "writes into x": (
        lambda x: 2 * x, (lambda v, x: np.multiply(x, v, out=x),), {}, ValueError, "mine for x.*must not write into"),
    "writes into out": (
        lambda x: 2 * x, (lambda v, out: out.fill(1),), {}, ValueError, "mine for x.*must not write into"),
    "raises": (lambda x: 2 * x, (lambda v: v.nothing,), {}, AttributeError, "mine for x.*nothing"),
    "divides": (lambda x: 2 * x, (lambda v: 1 / 0,), {}, ZeroDivisionError, "mine for x.*division"),
    "the function writes": (lambda x: into(x), (lambda v: v,), {}, ValueError, "mine.*must not write into its"),
    "the function returns None": (lambda x: None, (lambda v: v,), {}, TypeError, "mine.*function returned None"),
    "the function returns a list": (lambda x: [1.0], (lambda v: v,), {}, TypeError, r"mine.*returned \[1.0\] \(list\)"),
    "the function returns two": (lambda x: (x, x), (lambda v: v,), {}, TypeError, "mine.*tuple.*outputs="),
    "the function uses a Tensor": (lambda x: x * W, (lambda v: v,), {}, TypeError, "mine.*Tensor.*operands too"),
    "joint, too few": (lambda x: x, (), {"joint": lambda v: ()}, TypeError, "of mine returned 0 contributions.*x"),
    "joint, too many": (lambda x: x, (), {"joint": lambda v: (v, v)}, TypeError, "mine returned 2 contributions"),
    "joint, no tuple": (lambda x: x, (), {"joint": lambda v: v}, TypeError, "joint rule of mine returned a ndarray"),
    "joint, None": (lambda x: x, (), {"joint": lambda v: None}, TypeError, "joint rule of mine returned a NoneType"),
    "joint, shape": (lambda x: x, (), {"joint": lambda v: (v[:1],)}, ValueError, r"rule of mine for x.*\(1,\)"),
    "joint, writes": (lambda x: x, (), {"joint": lambda v: (into(v),)}, ValueError, "joint rule of mine.*not write"),
    "outputs": (
        lambda x: (x, x), (), {"joint": lambda v: (v[0],), "outputs": ("a", "b", "c")}, TypeError,
        "mine.*returned 2 values.*3: a, b, c"),
    "no rule": (lambda x: x, (), {}, TypeError, "mine.*no rule.*None for an operand"),
    "a rule that is none": (lambda x: x, (3,), {}, TypeError, "rule of mine for x is 3"),
    "a rule without v": (lambda x: x, (lambda: 1.0,), {}, TypeError, "rule of mine for x takes no parameter"),
    "no function": (3, (lambda v: v,), {}, TypeError, r"custom\(3"),
    "a ufunc of two results": (np.modf, (lambda v: v,), {}, TypeError, "mine returns 2 arrays.*outputs="),
}  # fmt: skip


@pytest.mark.parametrize("what", MISUSED)
def test_errors_of_rules_name_the_rule(what: str) -> None:
    function, rules, options, kind, words = MISUSED[what]
    with pytest.raises(kind, match=words):
        backward(mg.custom(function, *rules, name="mine", **options), ONES)
    assert ONES.tolist() == [1.0, 1.0]


def test_what_a_rule_may_return() -> None:
    double = lambda rule: mg.custom(lambda x: 2 * x, rule)
    assert backward(double(lambda v: None), ONES) == [None]
    assert backward(double(lambda v: np.array([2, 2])), ONES) == [[2.0, 2.0]]
    assert backward(double(lambda v: 2), 3.0) == [2.0]
    assert backward(double(lambda v: v), ONES) == [[1.0, 1.0]]
    assert backward(mg.custom(lambda x, y: x * y, lambda v, y: v * y, lambda v: None), ONES, ONES) == [[1.0, 1.0], None]
    assert backward(mg.custom(lambda x: float(x.sum()), lambda v, x: v * np.ones_like(x)), ONES) == [[1.0, 1.0]]
    assert backward(mg.custom(lambda x, y: (x, y), joint=lambda v: v, outputs=("a", "b")), ONES, ONES) == [
        [1.0, 1.0], None,
    ]  # fmt: skip


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_rule_cannot_change_the_operands_of_another(create_graph: bool) -> None:
    a, b, given = mg.Tensor([1.0], requires_grad=True), mg.Tensor([1.0], requires_grad=True), np.ones(1)
    loss = mg.custom(lambda x: x * 1.0, into)(a * 1) + b
    if create_graph:  # a Tensor is rebound, not written
        loss.backward(given, create_graph=True)
        assert (a.grad.tolist(), b.grad.tolist()) == ([10.0], [1.0])
    else:
        with pytest.raises(ValueError, match="must not write"):
            loss.backward(given)
    assert given.tolist() == [1.0]


def test_a_parameter_takes_no_gradient() -> None:
    f = mg.custom(lambda x, k=1.0: x * k, lambda v, k: v * k, name="mine")
    with pytest.raises(TypeError, match=r"mine.*k= is a Tensor that requires grad.*make it an operand"):
        f(mg.Tensor(ONES, requires_grad=True), k=W)
    assert backward(f, ONES, k=mg.Tensor(3.0)) == [[3.0, 3.0]]


def test_ufuncs_may_be_customised() -> None:
    special = pytest.importorskip("scipy.special")
    digamma = mg.custom(special.digamma, lambda v, x: v * special.polygamma(1, x))
    gammaln = mg.custom(special.gammaln, lambda v, x: v * digamma(x))
    x = np.array([0.5, 2.5])
    check_gradients(gammaln, x).raise_if_wrong()
    np.testing.assert_allclose(mg.hessian(lambda x: gammaln(x).sum())(x), np.diag(special.polygamma(1, x)), rtol=1e-14)
    series = mg.custom(special.hyp2f1, None, None, None, lambda v, x1, x2, x3, x4: v * x1 * x2 / x3 * special.hyp2f1(
        x1 + 1, x2 + 1, x3 + 1, x4))  # fmt: skip
    slope = backward(lambda z: series(1.0, 2.0, 3.0, z), 0.25)[0]
    assert slope == pytest.approx(2 / 3 * special.hyp2f1(2.0, 3.0, 4.0, 0.25))
    assert backward(mg.custom(np.multiply, lambda v, y: v * y, lambda v, x: v * x), ONES, 3 * ONES) == [[3, 3], [1, 1]]
    fraction = mg.custom(np.modf, joint=lambda v: (v[0],), outputs=("fraction", "whole"))
    assert backward(fraction, X[0]) == [[1.0, 1.0, 1.0]]
    with pytest.raises(TypeError, match=r"expit is not defined for Tensors.*mg\.custom\(expit, rule\)"):
        special.expit(mg.Tensor(X))


def test_an_error_in_the_function_repeats_the_call() -> None:
    f = mg.custom(lambda x, y: x @ y, lambda v: v, lambda v: v, name="mixed")
    with pytest.raises(ValueError, match=r"mixed\(\(2, 3\) float64, \(2, 3\) float64\)"):
        f(mg.Tensor(X), mg.Tensor(X))


def test_scalars() -> None:
    f = mg.custom(lambda x: math.e**x, lambda v, out: v * out)
    assert float(mg.grad(f)(0.0)) == 1.0
    assert float(mg.hessian(f)(0.0)) == pytest.approx(1.0)


def test_the_old_name_of_needs_grad_still_works() -> None:
    with pytest.warns(DeprecationWarning, match="in the joint rule of mine, `wanted` is called `needs_grad`"):
        mine = mg.custom(
            lambda x, y: x * y,
            joint=lambda v, x, y, wanted: (v * y if wanted[0] else None, v * x if wanted[1] else None),
            name="mine",
        )
    t = mg.Tensor([2.0], requires_grad=True)
    mine(t, np.array([3.0])).sum().backward()
    assert t.grad.tolist() == [3.0]


NAMES = ["mode", "scope", "new", "name", "shape", "residuals", "errors", "constant", "parent", "t", "i"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_the_engine_uses_for_other_things_are_free(name):
    f = mg.custom(eval(f"lambda x, {name}=3.0: x * {name}"), eval(f"lambda v, {name}: v * {name}"), name="f")
    x = mg.Tensor([2.0], requires_grad=True)
    y = f(x, **{name: 5.0}) + f(x)
    y.sum().backward()
    assert (float(y.item()), float(x.grad.item())) == (16.0, 8.0)


@pytest.mark.parametrize("name", ["v", "n", "pending", "function", "primitive", "out", "x_value", "x_node"])
def test_a_name_that_would_stand_for_two_things_is_refused(name):
    with pytest.raises(TypeError, match=f"the name '{name}' is taken"):
        mg.custom(eval(f"lambda x, {name}=3.0: x * {name}"), eval(f"lambda g, {name}: g * {name}"), name="f")


def test_a_parameter_out_is_allowed_if_no_rule_names_it():
    f = mg.custom(lambda x, out=None: 2 * x, lambda v: 2 * v, name="f")
    assert float(mg.grad(f)(3.0)) == 2.0
