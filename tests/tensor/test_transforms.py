"""grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp: structures, nesting, closures, orders, errors."""

from __future__ import annotations

import itertools
import math
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg

RNG = np.random.default_rng(11)
X, Y, M = RNG.normal(size=3), RNG.normal(size=3), RNG.normal(size=(2, 3))
Layer = namedtuple("Layer", "w b")


def close(found: Any, expected: Any, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(value_of(found), expected, rtol=rtol, atol=1e-13)


def value_of(x: Any) -> Any:
    return x.numpy() if isinstance(x, mg.Tensor) else x


def dot(x: Any, y: Any) -> Any:
    return (mg.sin(x) * y * y).sum()


# What goes in comes out: structures, arrays, Tensors, numbers

GRADIENTS: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "array": (lambda p: (p * p).sum(), X, 2 * X),
    "tuple": (lambda p: (p[0] * p[1]).sum(), (X, Y), (Y, X)),
    "list": (lambda p: (p[0] * p[1]).sum(), [X, Y], [Y, X]),
    "dict": (lambda p: (p["w"] * p["b"]).sum(), {"w": X, "b": Y}, {"w": Y, "b": X}),
    "named tuple": (lambda p: (p.w @ p.b).sum(), Layer(M, X), Layer(np.stack([X, X]), M.sum(axis=0))),
    "nested": (
        lambda p: sum((layer.w @ layer.b).sum() * k for k, layer in enumerate(p["layers"], 1)) + p["rest"][0],
        {"layers": [Layer(M, X), Layer(M, Y)], "rest": (2.0, ())},
        {"layers": [Layer(np.stack([X, X]), M.sum(axis=0)), Layer(2 * np.stack([Y, Y]), 2 * M.sum(axis=0))],
         "rest": (1.0, ())},
    ),
    "None stays": (lambda p: (p[0] * 3).sum(), (X, None), (np.full(3, 3.0), None)),
    "number": (lambda p: p**3, 2.0, 12.0),
    "unused": (lambda p: (p[0] * 2).sum(), (X, Y), (np.full(3, 2.0), np.zeros(3))),
    "empty": (lambda p: (p * 2).sum(), np.zeros((0, 3)), np.zeros((0, 3))),
}  # fmt: skip


def compare(found: Any, expected: Any, kind: type) -> None:
    """Equal in structure and in values, every leaf of this kind."""
    if isinstance(expected, dict):
        assert type(found) is dict
        assert list(found) == list(expected)
        for key in expected:
            compare(found[key], expected[key], kind)
    elif isinstance(expected, tuple | list):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for f, e in zip(found, expected, strict=True):
            compare(f, e, kind)
    elif expected is None:
        assert found is None
    else:
        assert isinstance(found, kind) or (kind is np.ndarray and isinstance(found, np.floating))
        assert np.shape(found) == np.shape(expected)
        close(found, expected)


@pytest.mark.parametrize("name", GRADIENTS)
def test_a_gradient_has_the_structure_of_the_argument(name: str) -> None:
    f, argument, expected = GRADIENTS[name]
    compare(mg.grad(f)(argument), expected, np.ndarray)
    value, pullback = mg.vjp(f, argument)
    close(value, value_of(f(argument)))
    compare(pullback(1.0), (expected,), np.ndarray)
    value, gradient = mg.value_and_grad(f)(argument)
    close(value, value_of(f(argument)))
    compare(gradient, expected, np.ndarray)


@pytest.mark.parametrize("name", GRADIENTS)
def test_tensors_for_tensors(name: str) -> None:
    f, argument, expected = GRADIENTS[name]
    tensors = tensors_of(argument)
    compare(mg.grad(f)(tensors), expected, mg.Tensor)
    value, gradient = mg.value_and_grad(f)(tensors)
    assert isinstance(value, mg.Tensor)
    assert not value.requires_grad
    compare(gradient, expected, mg.Tensor)


def tensors_of(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: tensors_of(value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*map(tensors_of, tree))
    if isinstance(tree, tuple | list):
        return type(tree)(map(tensors_of, tree))
    return None if tree is None else mg.Tensor(tree)


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [(0, np.cos(X) * Y**2), (1, 2 * np.sin(X) * Y), (-1, 2 * np.sin(X) * Y), (-2, np.cos(X) * Y**2),
     ((0,), (np.cos(X) * Y**2,)), ((1, 0), (2 * np.sin(X) * Y, np.cos(X) * Y**2)),
     ([0, -1], (np.cos(X) * Y**2, 2 * np.sin(X) * Y))],
)  # fmt: skip
def test_argnums(argnums: Any, expected: Any) -> None:
    compare(mg.grad(dot, argnums)(X, Y), expected, np.ndarray)
    compare(mg.value_and_grad(dot, argnums)(X, Y)[1], expected, np.ndarray)
    compare(mg.jacobian(dot, argnums)(X, Y), expected, np.ndarray)


def test_has_aux() -> None:
    def f(x: Any) -> Any:
        y = mg.sin(x)
        return (y * y).sum(), {"y": y, "name": "sin"}

    gradient, aux = mg.grad(f, has_aux=True)(X)
    close(gradient, 2 * np.sin(X) * np.cos(X))
    assert aux["name"] == "sin"
    assert type(aux["y"]) is np.ndarray
    close(aux["y"], np.sin(X))
    (value, aux), gradient = mg.value_and_grad(f, has_aux=True)(mg.Tensor(X))
    close(value, (np.sin(X) ** 2).sum())
    assert isinstance(aux["y"], mg.Tensor)
    assert not aux["y"].requires_grad
    value, pullback, aux = mg.vjp(f, X, has_aux=True)
    close(pullback(2.0)[0], 4 * np.sin(X) * np.cos(X))
    close(aux["y"], np.sin(X))
    value, tangent, aux = mg.jvp(f, (X,), (Y,), has_aux=True)
    close(tangent, (2 * np.sin(X) * np.cos(X) * Y).sum())
    close(aux["y"], np.sin(X))


def test_other_arguments_are_passed_on() -> None:
    def f(x: Any, n: int, *, scale: Any, flag: str = "no") -> Any:
        assert (n, flag) == (3, "yes")
        return (scale * x**n).sum()

    close(mg.grad(f)(X, 3, scale=Y, flag="yes"), 3 * Y * X**2)
    close(mg.jacobian(f)(X, 3, scale=Y, flag="yes"), 3 * Y * X**2)


def test_the_name_and_docstring_stay() -> None:
    for made in (mg.grad(dot), mg.value_and_grad(dot), mg.jacobian(dot)):
        assert made.__name__ == "dot"


def test_several_outputs_of_any_structure() -> None:
    def f(x: Any, y: Any) -> Any:
        return {"s": mg.sin(x) * y, "rest": (x.sum(), [y * y])}

    value, pullback = mg.vjp(f, X, Y)
    close(value["rest"][0], X.sum())
    dx, dy = pullback({"s": np.ones(3), "rest": (2.0, [Y])})
    close(dx, np.cos(X) * Y + 2)
    close(dy, np.sin(X) + 2 * Y * Y)
    _, tangent = mg.jvp(f, (X, Y), (Y, X))
    close(tangent["s"], np.cos(X) * Y * Y + np.sin(X) * X)
    close(tangent["rest"][0], Y.sum())
    close(tangent["rest"][1][0], 2 * Y * X)


def test_a_pullback_may_be_called_again_and_is_linear() -> None:
    _, pullback = mg.vjp(lambda x: mg.exp(x) * x, X)
    u, v = np.cos(X), np.sin(X)
    close(pullback(2 * u + v)[0], 2 * pullback(u)[0] + pullback(v)[0])


def test_the_same_array_given_twice() -> None:
    compare(mg.grad(lambda x, y: (x * mg.sin(y)).sum(), (0, 1))(X, X), (np.sin(X), X * np.cos(X)), np.ndarray)
    t = mg.Tensor(X, requires_grad=True)
    compare(mg.grad(lambda x, y: (x * mg.sin(y)).sum(), (0, 1))(t, t), (np.sin(X), X * np.cos(X)), mg.Tensor)


def test_the_same_value_returned_twice() -> None:
    _, pullback = mg.vjp(lambda x: (x * x,) * 2, X)
    close(pullback((X, Y))[0], 2 * X * (X + Y))


def test_an_input_returned() -> None:
    _, pullback = mg.vjp(lambda x, y: (y, x), X, Y)
    compare(pullback((X, Y)), (Y, X), np.ndarray)
    _, moved = mg.jvp(lambda x, y: (y, x), (X, Y), (2 * X, 3 * Y))
    compare(moved, (3 * Y, 2 * X), np.ndarray)


def test_a_value_that_does_not_depend_on_the_input() -> None:
    one = mg.Tensor(np.ones(2))
    _, pullback = mg.vjp(lambda x: one, X)
    close(pullback(np.ones(2))[0], np.zeros(3))
    _, moved = mg.jvp(lambda x: (one, x), (X,), (Y,))
    compare(moved, (np.zeros(2), Y), np.ndarray)
    close(mg.jacobian(lambda x: one)(X), np.zeros((2, 3)))
    close(mg.jacobian(lambda x: one, mode="forward")(X), np.zeros((2, 3)))
    close(mg.jacobian(lambda x: np.ones(2))(X), np.zeros((2, 3)))
    close(mg.hessian(lambda x: x.sum())(X), np.zeros((3, 3)))


def test_a_detached_value_is_a_constant() -> None:
    close(mg.grad(lambda x: (x * x.detach()).sum())(X), X)


def test_float32_is_kept() -> None:
    x, u = X.astype(np.float32), Y.astype(np.float32)

    def f(x: Any) -> Any:
        return (mg.tanh(x) * 0.5 + x / 3).mean()

    found = [mg.grad(f)(x), mg.hessian(f)(x), mg.jacobian(mg.sin)(x), mg.jacobian(mg.sin, mode="reverse")(x),
             *mg.value_and_grad(f)(x), *mg.jvp(f, (x,), (u,)), *mg.hvp(f, (x,), (u,)),
             mg.vjp(f, x)[1](1.0)[0], mg.jvp(f, (x,), (Y,))[1]]  # fmt: skip
    assert {value.dtype for value in found} == {np.dtype(np.float32)}


def test_a_gradient_has_the_dtype_of_its_own_input() -> None:
    dx, dy = mg.grad(lambda x, y: (x * y).sum(), (0, 1))(X.astype(np.float32), Y)
    assert (dx.dtype, dy.dtype) == (np.float32, np.float64)


def test_a_number_gets_the_default_dtype() -> None:
    assert mg.grad(lambda x: x * x)(3.0).dtype == np.float64
    mg.set_default_dtype("float32")
    try:
        assert mg.grad(lambda x: x * x)(3.0).dtype == np.float32
    finally:
        mg.set_default_dtype("float64")


# Jacobians

MODES = ("forward", "reverse", None)


@pytest.mark.parametrize("mode", MODES)
def test_jacobians(mode: str | None) -> None:
    compare(mg.jacobian(mg.sin, mode=mode)(X), np.diag(np.cos(X)), np.ndarray)
    compare(mg.jacobian(lambda x: M @ x, mode=mode)(X), M, np.ndarray)
    compare(mg.jacobian(lambda x: x * x, mode=mode)(3.0), np.array(6.0), np.ndarray)
    compare(mg.jacobian(lambda x: M @ x, mode=mode)(mg.Tensor(X)), M, mg.Tensor)
    j = mg.jacobian(lambda m: m.T, mode=mode)(M)
    assert j.shape == (3, 2, 2, 3)
    close(j, np.einsum("ik,jl->jikl", np.eye(2), np.eye(3)))


@pytest.mark.parametrize("mode", MODES)
def test_jacobians_of_structures(mode: str | None) -> None:
    def f(p: Any, y: Any) -> Any:
        return {"a": p["w"] @ y, "b": (p["c"] * y.sum(),)}

    found = mg.jacobian(f, argnums=(0, 1), mode=mode)({"w": M, "c": 2.0}, X)
    eye = np.einsum("ik,l->ikl", np.eye(2), X)
    expected = {
        "a": ({"w": eye, "c": np.zeros(2)}, M),
        "b": (({"w": np.zeros((2, 3)), "c": X.sum()}, np.full(3, 2.0)),),
    }
    compare(found, expected, np.ndarray)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_jacobians_of_empty_arrays(n: int, m: int, mode: str | None) -> None:
    w = np.ones((m, n))
    found = mg.jacobian(lambda x: w @ x, mode=mode)(np.ones(n))
    assert found.shape == (m, n)
    assert type(found) is np.ndarray


@pytest.mark.parametrize("mode", MODES)
def test_jacobians_of_empty_tensors(mode: str | None) -> None:
    found = mg.jacobian(lambda x: x * 2, mode=mode)(mg.Tensor(np.ones((0, 2))))
    compare(found, np.zeros((0, 2, 0, 2)), mg.Tensor)


def test_the_mode_with_fewer_walks_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    from minigrad.tensor import linearize

    calls: list[str] = []
    for name in ("pull", "push"):
        walk = getattr(linearize, name)
        monkeypatch.setattr(
            linearize, name, lambda *a, name=name, walk=walk, **k: (calls.append(name), walk(*a, **k))[1]
        )
    mg.jacobian(lambda x: M @ x)(X)
    assert calls == ["pull", "pull"]
    calls.clear()
    mg.jacobian(lambda x: M.T @ x)(Y[:2])
    assert calls == ["push", "push"]


def test_hessians() -> None:
    a = RNG.normal(size=(3, 3))
    close(mg.hessian(lambda x: x @ (a @ x))(X), a + a.T)
    close(mg.hessian(dot, argnums=1)(X, Y), np.diag(2 * np.sin(X)))
    close(mg.hessian(lambda m: (m**3).sum())(M), 6 * np.einsum("ik,jl,ij->ijkl", np.eye(2), np.eye(3), M))
    found = mg.hessian(lambda p: p["x"].sum() * p["y"] ** 2)({"x": X, "y": 3.0})
    compare(found["x"], {"x": np.zeros((3, 3)), "y": np.full(3, 6.0)}, np.ndarray)
    compare(found["y"], {"x": np.full(3, 6.0), "y": 2 * X.sum()}, np.ndarray)


def test_hessian_vector_products() -> None:
    u, w = np.cos(X), np.sin(Y)
    found = mg.hvp(dot, (X, Y), (u, w))
    cross = 2 * np.cos(X) * Y
    compare(found, (-np.sin(X) * Y**2 * u + cross * w, cross * u + 2 * np.sin(X) * w), np.ndarray)
    compare(mg.hvp(lambda p: (p["a"] ** 3).sum(), ({"a": X},), ({"a": u},)), ({"a": 6 * X * u},), np.ndarray)
    compare(mg.hvp(lambda x: (x**3).sum(), (mg.Tensor(X),), (u,)), (6 * X * u,), mg.Tensor)


# Nesting: no perturbation is confused with another (Siskind & Pearlmutter 2005)


def derivative(f: Callable[[Any], Any], how: str) -> Callable[[Any], Any]:
    """The derivative of a function of one number, in this mode."""
    if how == "reverse":
        return mg.grad(f)
    if how == "forward":
        return lambda x: mg.jvp(f, (x,), (1.0,))[1]
    if how == "jacobian":
        return mg.jacobian(f)
    return lambda x: mg.vjp(f, x)[1](1.0)[0]


HOW = ("reverse", "forward", "vjp")
# Of a derivative within a derivative; `d` differentiates. The last number is the value at 3, worked out by hand.
NESTED: dict[str, tuple[Callable[[Any, Any], Any], float]] = {
    "x d/dy(xy) at y=3": (lambda x, d: x * d(lambda y: x * y)(3.0), 6.0),
    "x d/dy(xy) at y=x": (lambda x, d: x * d(lambda y: x * y)(x), 6.0),
    "x d/dy(x+y)": (lambda x, d: x * d(lambda y: x + y)(1.0), 1.0),
    "d/dy(xyy) at y=x": (lambda x, d: d(lambda y: x * y * y)(x), 12.0),
    "d/dy of a constant of y": (lambda x, d: d(lambda y: x * x + 0 * y)(2.0) + x, 1.0),
    "d/dy(y d/dz(xyz)) at y=x": (lambda x, d: d(lambda y: y * d(lambda z: x * y * z)(y))(x), 12.0),
    "d/dy d/dz (x y² z³) at y=x, z=2": (lambda x, d: d(lambda y: d(lambda z: x * y * y * z**3)(2.0))(x), 144.0),
    "two inner derivatives added": (lambda x, d: d(lambda y: x * y)(1.0) * d(lambda y: y * y * x)(x), 54.0),
    "of a product that itself is a derivative": (lambda x, d: d(lambda y: d(lambda z: x * z * z)(y) * y / 2)(x), 12.0),
    "in a condition": (lambda x, d: d(lambda y: x * y if float(d(lambda z: z * y)(1.0)) > 0 else y)(2.0) * x, 6.0),
}


@pytest.mark.parametrize(("outer", "inner"), [*itertools.product((*HOW, "jacobian"), repeat=2)])
def test_no_perturbation_confusion(outer: str, inner: str) -> None:
    for what, (f, expected) in NESTED.items():
        found = derivative(lambda x, f=f: f(x, lambda g: derivative(g, inner)), outer)(3.0)
        assert float(found) == pytest.approx(expected, rel=1e-14), what


def test_modes_may_alternate_inside() -> None:
    """d/dx[x · d/dy(x y · d/dz(x y z)) at y = x]: the inner is x y · x y, so 2 x⁴ within, and 8 x³."""
    for a, b, c in itertools.product(HOW, repeat=3):
        f = derivative(
            lambda x, b=b, c=c: x * derivative(lambda y: x * y * derivative(lambda z: x * y * z, c)(y), b)(x), a
        )
        assert float(f(3.0)) == pytest.approx(8 * 3.0**3, rel=1e-14)


ORDERS: dict[str, tuple[Callable[[Any], Any], Callable[[int, float], float]]] = {
    # sin(x) exp(x/2) is the imaginary part of exp(cx) with c = ½ + i
    "sin(x) exp(x/2)": (
        lambda x: mg.sin(x) * mg.exp(x / 2), lambda k, x: ((0.5 + 1j) ** k * np.exp((0.5 + 1j) * x)).imag),
    "1/x": (lambda x: 1 / x, lambda k, x: (-1) ** k * math.factorial(k) / x ** (k + 1)),
    "x^2.5": (lambda x: x**2.5, lambda k, x: math.prod(2.5 - j for j in range(k)) * x ** (2.5 - k)),
    "log(3x)": (lambda x: mg.log(3 * x), lambda k, x: (-1) ** (k - 1) * math.factorial(k - 1) / x**k),
    "x³": (lambda x: x * x * x, lambda k, x: (3 * x * x, 6 * x, 6.0, 0.0)[k - 1]),
    "matmul": (
        lambda x: (x * np.ones((1, 2)) @ (x * np.ones((2, 1)))).sum(), lambda k, x: (4 * x, 4.0, 0.0, 0.0)[k - 1]),
    "sum of powers": (
        lambda x: (x ** np.arange(5.0)).sum(),
        lambda k, x: sum(math.perm(n, k) * x ** (n - k) for n in range(k, 5))),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
def test_every_mix_of_modes_to_fourth_order(name: str) -> None:
    f, expected = ORDERS[name]
    for order in (1, 2, 3, 4):
        for mix in itertools.product(("reverse", "forward"), repeat=order):
            g = f
            for how in mix:
                g = derivative(g, how)
            assert float(g(1.3)) == pytest.approx(expected(order, 1.3), rel=1e-11, abs=1e-12), mix


def test_a_hessian_is_the_same_by_all_four_mixes() -> None:
    def f(x: Any) -> Any:
        return mg.log(mg.exp(M @ x).sum()) + (x**3).prod()

    for outer, inner in itertools.product(("forward", "reverse"), repeat=2):
        close(mg.jacobian(mg.jacobian(f, mode=inner), mode=outer)(X), mg.hessian(f)(X), rtol=1e-10)


def test_third_derivatives_are_symmetric() -> None:
    t = mg.jacobian(mg.hessian(lambda x: (mg.sin(M @ x) * x[:2]).sum()))(X)
    for axes in itertools.permutations(range(3)):
        close(np.transpose(t, axes), t)


# Closures over Tensors with a history


def test_backward_reaches_what_a_function_takes_from_outside() -> None:
    w = mg.Tensor(Y, requires_grad=True)
    gradient = mg.grad(lambda x: (w * w * mg.sin(x)).sum())(X)
    assert isinstance(gradient, mg.Tensor | np.ndarray)
    gradient.sum().backward()
    close(w.grad, 2 * Y * np.cos(X))


CLOSURES: dict[str, Callable[[Any], Any]] = {
    "grad": lambda w: mg.grad(lambda x: (w**3 * x**3).sum())(mg.Tensor(X)),
    "value_and_grad": lambda w: mg.value_and_grad(lambda x: (w**3 * x**3).sum())(mg.Tensor(X))[1],
    "vjp": lambda w: mg.vjp(lambda x: w**3 * x**3, mg.Tensor(X))[1](np.ones(3))[0],
    "jvp": lambda w: mg.jvp(lambda x: w**3 * x**3, (mg.Tensor(X),), (np.ones(3),))[1],
    "jacobian forward": lambda w: mg.jacobian(lambda x: w**3 * x**3, mode="forward")(mg.Tensor(X)).sum(axis=1),
    "jacobian reverse": lambda w: mg.jacobian(lambda x: w**3 * x**3, mode="reverse")(mg.Tensor(X)).sum(axis=1),
    "hvp": lambda w: mg.hvp(lambda x: (w**3 * x**3 * x / 4).sum(), (mg.Tensor(X),), (1 / X,))[0],
}
FACTOR = dict.fromkeys(CLOSURES, 3 * X * X) | {"hvp": 3 * X}


@pytest.mark.parametrize("name", CLOSURES)
def test_transforms_of_closures_are_differentiable(name: str) -> None:
    """Each gives w³ times a factor that depends on X alone."""
    w = mg.Tensor(Y, requires_grad=True)
    found = CLOSURES[name](w)
    close(found, Y**3 * FACTOR[name])
    (found * np.cos(X)).sum().backward()
    close(w.grad, 3 * Y * Y * FACTOR[name] * np.cos(X))


@pytest.mark.parametrize("name", CLOSURES)
def test_under_no_grad_nothing_is_recorded(name: str) -> None:
    w = mg.Tensor(Y, requires_grad=True)
    with mg.no_grad():
        found = CLOSURES[name](w)
    assert not found.requires_grad
    close(found, Y**3 * FACTOR[name])


def test_backward_reaches_the_arguments_of_a_transform() -> None:
    x = mg.Tensor(X, requires_grad=True)
    mg.grad(lambda x: (x**3).sum())(x).sum().backward()
    close(x.grad, 6 * X)
    u = mg.Tensor(Y, requires_grad=True)
    x.grad = None
    mg.jvp(lambda x: mg.sin(x), (x,), (u,))[1].sum().backward()
    close(x.grad, -np.sin(X) * Y)
    close(u.grad, np.cos(X))
    v = mg.Tensor(Y, requires_grad=True)
    mg.vjp(lambda x: mg.sin(x), X)[1](v)[0].sum().backward()
    close(v.grad, np.cos(X))


def test_the_value_is_differentiable() -> None:
    w = mg.Tensor(Y, requires_grad=True)
    value, gradient = mg.value_and_grad(lambda x: (w * x * x).sum())(mg.Tensor(X))
    (value + (gradient * X).sum()).backward()
    close(w.grad, 3 * X * X)


def test_a_gradient_step_inside_a_loss() -> None:
    """The outer gradient goes through a step of the inner one: d/dw (w - a dL/dw)² with L = w³ and a = 0.1."""
    found = mg.grad(lambda w: (w - 0.1 * mg.grad(lambda u: u**3)(w)) ** 2)(2.0)
    inner = 2.0 - 0.1 * 3 * 4
    assert float(found) == pytest.approx(2 * inner * (1 - 0.1 * 6 * 2.0), rel=1e-14)


def test_residuals_of_an_outer_graph_are_not_released() -> None:
    x = mg.Tensor(X, requires_grad=True)
    y = mg.exp(x) * mg.sin(x)
    for made in (
        lambda: mg.grad(lambda t: (t * y).sum())(X),
        lambda: mg.value_and_grad(lambda t: (t * y).sum())(X),
        lambda: mg.grad(lambda t: (t * t).sum())(y),
        lambda: mg.jvp(lambda t: t * y, (X,), (Y,)),
        lambda: mg.jacobian(lambda t: t * y)(y),
        lambda: mg.hvp(lambda t: (t**3 * y).sum(), (y,), (Y,)),
    ):
        made()
        with mg.no_grad():
            made()
    y.sum().backward()
    close(x.grad, np.exp(X) * (np.sin(X) + np.cos(X)))


def test_a_transform_leaves_no_gradient_on_leaves() -> None:
    w = mg.Tensor(Y, requires_grad=True)
    mg.grad(lambda x: (x * w).sum())(X)
    mg.hessian(lambda x: (x * x * w).sum())(X)
    assert w.grad is None


def test_backward_within_a_differentiated_function() -> None:
    """backward(create_graph=True) on leaves of its own, inside grad."""

    def f(x: Any) -> Any:
        t = mg.Tensor(2.0, requires_grad=True)
        (x * t**3).sum().backward(create_graph=True)
        return t.grad * x

    assert float(mg.grad(f)(3.0)) == pytest.approx(2 * 12.0 * 3.0)


def test_in_place_writes_inside_a_function_are_differentiated() -> None:
    def f(x: Any) -> Any:
        y = x * 1.0
        y[0] = x[1] * x[2]
        return (y * y).sum()

    close(mg.grad(f)(X), [0, 2 * X[1] * X[2] ** 2 + 2 * X[1], 2 * X[2] * X[1] ** 2 + 2 * X[2]])
    close(mg.hessian(f)(X), mg.jacobian(mg.grad(f))(X))


# Random functions: the transforms agree with each other

STEPS: dict[str, Callable[[Any], Any]] = {
    "tanh": mg.tanh, "sin": mg.sin, "square": lambda x: x * x / 4, "softplus": mg.softplus,
    "row": lambda x: x / mg.sqrt((x * x).sum(axis=-1, keepdims=True) + 1), "mean": lambda x: x - x.mean(axis=0),
    "matmul": lambda x: x @ RIGHT, "sorted": lambda x: mg.sort(x, axis=0), "flip": lambda x: x * mg.flip(x, axis=1),
    "cumulative": lambda x: mg.cumulative_sum(x, axis=1) / 3, "concat": lambda x: mg.concat([x[:1], mg.sin(x[1:])]),
    "logsumexp": lambda x: x - mg.logsumexp(x, axis=1, keepdims=True), "gather": lambda x: x[[2, 0, 1, 0]][:3] + x,
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x) / 3, "where": lambda x: mg.where(x > 0.1, x, mg.exp(x) - 1),
}  # fmt: skip
RIGHT = RNG.normal(size=(3, 3)) / 2


@pytest.mark.parametrize("seed", range(25))
def test_transforms_agree_on_random_functions(seed: int) -> None:
    rng = np.random.default_rng([seed, 5])
    names = rng.choice(list(STEPS), size=4)

    def f(x: Any) -> Any:
        for name in names:
            x = STEPS[name](x)
        return x

    def loss(x: Any) -> Any:
        return (f(x) * weights).sum()

    x, u, weights = (rng.normal(size=(3, 3)) for _ in range(3))
    jacobian = mg.jacobian(f, mode="reverse")(x)
    close(mg.jacobian(f, mode="forward")(x), jacobian, rtol=1e-9)
    close(mg.jvp(f, (x,), (u,))[1], np.einsum("ijkl,kl->ij", jacobian, u), rtol=1e-9)
    close(mg.vjp(f, x)[1](weights)[0], np.einsum("ijkl,ij->kl", jacobian, weights), rtol=1e-9)
    close(mg.grad(loss)(x), np.einsum("ijkl,ij->kl", jacobian, weights), rtol=1e-9)
    hessian = mg.hessian(loss)(x)
    close(np.einsum("ijkl,kl->ij", hessian, u), mg.hvp(loss, (x,), (u,))[0], rtol=1e-8)
    close(hessian, np.transpose(hessian, (2, 3, 0, 1)), rtol=1e-8)
    step = 1e-5
    along = (value_of(f(x + step * u)) - value_of(f(x - step * u))) / (2 * step)
    np.testing.assert_allclose(mg.jvp(f, (x,), (u,))[1], along, rtol=1e-5, atol=1e-7, err_msg=str(names))


# Errors

ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "not a single number": (lambda: mg.grad(mg.sin)(X), TypeError, r"shape \(3,\).*single number.*jacobian"),
    "not a Tensor": (lambda: mg.grad(lambda x: "3.0")(X), TypeError, "one Tensor of real numbers, not str"),
    "nothing": (lambda: mg.grad(lambda x: None)(X), TypeError, "one Tensor of real numbers, not NoneType"),
    "a truth value": (lambda: mg.grad(lambda x: True)(X), TypeError, "not bool of dtype bool"),
    "several values": (
        lambda: mg.grad(lambda x: (x.sum(), x.sum()))(X), TypeError, "one Tensor of real numbers, not tuple"),
    "a constant of several numbers": (lambda: mg.grad(lambda x: X)(X), TypeError, r"shape \(3,\).*single number"),
    "a complex value": (lambda: mg.grad(lambda x: (x + 1j).sum())(X), TypeError, "real numbers.*complex128"),
    "a complex cotangent": (lambda: mg.vjp(mg.sin, X)[1](X * 1j), TypeError, "complex128 for float64"),
    "a complex tangent": (lambda: mg.jvp(mg.sin, (X,), (X * 1j,)), TypeError, "complex128 for float64"),
    "directions of another kind": (lambda: mg.hvp(dot, (X, Y), X), TypeError, "one tangent for each primal"),
    "integers": (lambda: mg.grad(lambda x: x.sum())(np.arange(3)), TypeError, "int64.*astype"),
    "booleans": (lambda: mg.grad(lambda x: x.sum())(np.array([True])), TypeError, "bool.*astype"),
    "complex numbers": (lambda: mg.grad(lambda x: x.sum())(np.ones(2) * 1j), TypeError, "complex128"),
    "text": (lambda: mg.grad(lambda x: x)("x"), TypeError, "'x'.*number, array or Tensor"),
    "a Python integer is a number, a bool is not": (lambda: mg.grad(lambda x: x)(True), TypeError, "True"),
    "integers in a structure": (
        lambda: mg.grad(lambda p: p["a"].sum())({"a": X, "n": np.arange(2)}), TypeError, "int64"),
    "an argument that was not given": (lambda: mg.grad(dot, 2)(X, Y), TypeError, "argnums=2.*2 positional"),
    "before the first argument": (lambda: mg.grad(dot, (0, -3))(X, Y), TypeError, "argnums.*2 positional"),
    "too few tangents": (lambda: mg.jvp(dot, (X, Y), (X,)), TypeError, "2 primals and 1 tangents"),
    "a tangent's structure": (
        lambda: mg.jvp(lambda p: p[0] * p[1], ((X, Y),), (X,)), TypeError, r"tangents\[0\]: a ndarray instead"),
    "a tangent's shape": (lambda: mg.jvp(mg.sin, (X,), (M,)), ValueError, r"\(2, 3\).*\(3,\)"),
    "too few cotangents": (lambda: mg.vjp(lambda x: (x, x), X)[1](X), TypeError, "cotangent: a ndarray instead"),
    "a cotangent's shape": (lambda: mg.vjp(mg.sin, X)[1](1.0), ValueError, r"\(\).*\(3,\)"),
    "too few directions": (lambda: mg.hvp(dot, (X, Y), (X,)), TypeError, "2 primals and 1 tangents"),
    "no such mode": (lambda: mg.jacobian(mg.sin, mode="up"), ValueError, "'up'.*'forward', 'reverse'"),
    "a Hessian of many values": (lambda: mg.hessian(mg.sin)(X), TypeError, "single number"),
}  # fmt: skip


# What passes through complex numbers

COMPLEX: dict[str, Callable[[Any], Any]] = {
    "exp": lambda x: (mg.abs(mg.exp(x * 1j) - 1) ** 2).sum(),
    "a product": lambda x: mg.abs(x * (1 + 1j)).sum(),
    "a sum": lambda x: mg.abs(x + 1j).sum(),
    "an array": lambda x: mg.abs(x * np.array([1j, 2.0, 3.0])).sum(),
    "a Tensor": lambda x: mg.abs(mg.Tensor([1j, 2.0, 3.0]) * x).sum(),
    "a matrix product": lambda x: mg.abs(x @ (np.eye(3) * 1j)).sum(),
    "astype": lambda x: mg.abs(mg.astype(x, complex) * 1j).sum(),
    "astype back": lambda x: mg.astype(x * (1 + 1j), float).sum(),
    "the dtype of a sum": lambda x: mg.abs(np.sum(x, dtype=complex)),
    "a norm": lambda x: mg.abs(mg.linalg.vector_norm(x * 1j)),
    "where": lambda x: mg.abs(mg.where(x > 0, x, 1j)).sum(),
    "stack": lambda x: mg.abs(mg.stack([x, X * 1j])).sum(),
}
OF_COMPLEX: dict[str, Callable[[Any], Any]] = {
    "grad": lambda f: mg.grad(f)(X),
    "value_and_grad": lambda f: mg.value_and_grad(f)(X),
    "vjp": lambda f: mg.vjp(f, X)[1](1.0),
    "jvp": lambda f: mg.jvp(f, (X,), (X,)),
    "jacobian forward": lambda f: mg.jacobian(f, mode="forward")(X),
    "jacobian reverse": lambda f: mg.jacobian(f, mode="reverse")(X),
    "hessian": lambda f: mg.hessian(f)(X),
    "hvp": lambda f: mg.hvp(f, X, X),
    "backward": lambda f: f(x := mg.Tensor(X, requires_grad=True)).backward() or x,
    "create_graph": lambda f: f(x := mg.Tensor(X, requires_grad=True)).backward(create_graph=True) or x,
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("transform", OF_COMPLEX)
@pytest.mark.parametrize("what", COMPLEX)
def test_complex_numbers_on_the_way_are_refused(what: str, transform: str) -> None:
    with pytest.raises(TypeError, match="complex"):
        OF_COMPLEX[transform](COMPLEX[what])


def test_complex_numbers_outside_the_gradient_are_allowed() -> None:
    assert mg.grad(lambda x: (x * np.abs(1j * X)).sum())(X).tolist() == np.abs(X).tolist()


# Numbers, and values that do not depend on the arguments


@pytest.mark.parametrize("value", [0, 0.0, 3.5, np.float32(1), np.float64(2), np.int64(3), np.array(4.0), np.ones(1)])
def test_the_gradient_of_a_constant_is_zero(value: Any) -> None:
    for x in (2.0, X, mg.Tensor(X)):
        found, gradient = mg.value_and_grad(lambda x: value)(x)
        assert found is value
        assert np.array_equal(np.asarray(gradient), np.zeros(np.shape(x)))
    assert mg.hessian(lambda x: value)(X).tolist() == np.zeros((3, 3)).tolist()
    assert mg.hvp(lambda x: value, (2.0,), (1.0,)) == (0.0,)
    assert mg.jvp(lambda x: value, (2.0,), (1.0,))[1] == 0.0


def test_a_branch_that_does_not_use_its_argument() -> None:
    f = lambda x: x * x if x > 0 else 0.0
    assert [float(mg.grad(f)(x)) for x in (-1.0, 3.0)] == [0.0, 6.0]
    assert float(mg.grad(lambda a, b: a * 2, 1)(1.0, 2.0)) == 0.0
    assert [float(g) for g in mg.grad(lambda a, b: a * 2, (0, 1))(1.0, 2.0)] == [2.0, 0.0]
    assert float(mg.grad(lambda x: x * mg.grad(lambda y: 3.0)(x))(2.0)) == 0.0
    assert mg.grad(lambda x: (1.0, "aux"), has_aux=True)(2.0) == (0.0, "aux")


@pytest.mark.parametrize(
    ("x", "dtype"),
    [(2, "float64"), (np.int32(2), "float64"), (np.array(2), "float64"), (np.float64(2), "float64"),
     (np.float32(2), "float32"), (np.array(2.0, "float32"), "float32"), (np.float16(2), "float16")],
)  # fmt: skip
def test_numpy_scalars_and_arrays_without_axes_are_numbers(x: Any, dtype: str) -> None:
    gradient = mg.grad(lambda x: x**3)(x)
    assert (float(gradient), gradient.dtype) == (12.0, dtype)
    assert float(mg.jvp(lambda x: x**3, (x,), (np.float32(1),))[1]) == 12.0
    assert float(mg.hvp(lambda x: x**3, x, 1)) == 12.0


def test_hvp_has_the_structure_of_the_primals() -> None:
    u = np.cos(X)
    cubes = lambda x: (x**3).sum()
    compare(mg.hvp(cubes, X, u), 6 * X * u, np.ndarray)
    compare(mg.hvp(cubes, mg.Tensor(X), u), 6 * X * u, mg.Tensor)
    compare(mg.hvp(cubes, [X], [u]), [6 * X * u], np.ndarray)
    compare(mg.hvp(cubes, (X,), [u]), (6 * X * u,), np.ndarray)
    compare(mg.hvp(lambda p: cubes(p["a"]), {"a": X}, {"a": u}), {"a": 6 * X * u}, np.ndarray)
    assert type(mg.hvp(dot, [X, Y], [u, u])) is list


@pytest.mark.parametrize("what", ERRORS)
def test_errors(what: str) -> None:
    call, kind, words = ERRORS[what]
    with pytest.raises(kind, match=words):
        call()


def test_an_error_inside_the_function_leaves_the_mode_as_it_was() -> None:
    def f(x: Any) -> Any:
        raise KeyError("inside")

    with mg.no_grad():
        with pytest.raises(KeyError):
            mg.grad(f)(X)
        assert not mg.is_grad_enabled()
    assert mg.is_grad_enabled()


def test_jvp_takes_a_single_argument_without_a_tuple() -> None:
    """An array is one argument, whatever its first axis; as for hvp."""
    x, u = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    for given, along in ((x, u), (mg.Tensor(x), mg.Tensor(u)), (2.0, 3.0)):
        alone, inside = mg.jvp(mg.sin, given, along), mg.jvp(mg.sin, (given,), (along,))
        for a, b in zip(alone, inside, strict=True):
            assert type(a) is type(b)
            close(a, b)
    _, tangent, aux = mg.jvp(lambda p: (p["w"] * p["b"], 7), {"w": x, "b": u}, {"w": u, "b": x}, has_aux=True)
    close(tangent, u * u + x * x)
    assert aux == 7
    close(mg.jvp(lambda x: mg.sin(x).sum(), x[:1], u[:1])[1], np.cos(1.0) * 3)


@pytest.mark.parametrize("places", [(0, 1), [0, 1], np.array([0, 1]), (np.int64(0), -1)])
def test_argnums_are_integers_of_any_kind(places: Any) -> None:
    found = mg.grad(lambda x, y: x * x * y, places)(2.0, 3.0)
    assert tuple(map(float, found)) == (12.0, 4.0)
    assert float(mg.grad(lambda x, y: x * x * y, np.int64(1))(2.0, 3.0)) == 4.0
    for wrong in ((0, 1.5), "ab", None, (0, None)):
        with pytest.raises(TypeError, match=r"grad\(f, .*argnums is the position of an argument of f"):
            mg.grad(lambda x, y: x * y, wrong)  # type: ignore[arg-type]


# Structures go by keys, and results have memory of their own


def _of_dict(p: Any) -> Any:
    return (p["a"] ** 3).sum() + (p["b"] ** 2).sum()


def test_tangents_and_cotangents_are_matched_by_keys() -> None:
    primals = {"a": np.ones(2), "b": np.ones(2)}
    tangents = {"b": np.full(2, 10.0), "a": np.ones(2)}
    product = mg.hvp(_of_dict, primals, tangents)
    assert [x.tolist() for x in (product["a"], product["b"])] == [[6.0, 6.0], [20.0, 20.0]]
    assert mg.jvp(_of_dict, (primals,), (tangents,))[1] == 46.0
    _, pullback = mg.vjp(lambda x: {"u": 2 * x, "w": 3 * x}, np.ones(2))
    assert pullback({"w": np.ones(2), "u": np.zeros(2)})[0].tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("tangents", "said"),
    [
        ({"a": np.ones(2), "c": np.ones(2)}, r"got the keys \['a', 'c'\], expected \['a', 'b'\]"),
        ([np.ones(2), np.ones(2)], "a list instead of a dict"),
        ({"a": np.ones(2), "b": [np.ones(2)]}, r"\['b'\]: a list instead of an array"),
        ({"a": np.ones(2), "b": None}, r"\['b'\]: a NoneType instead of an array"),
    ],
)
def test_a_structure_that_does_not_fit_is_refused(tangents: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        mg.hvp(_of_dict, {"a": np.ones(2), "b": np.ones(2)}, tangents)


def test_another_nesting_is_refused() -> None:
    x = np.ones(1)
    with pytest.raises(TypeError, match=r"instead of a tuple of 2 parts"):
        mg.jvp(lambda t: t[0][0] * t[1], (((x, x), x),), ((x, (x, x)),))


def test_gradients_share_no_memory() -> None:
    def total(p: Any) -> Any:
        return ((p["w"] + p["delta"]) ** 2).sum()

    p = {"w": np.ones(3), "delta": np.ones(3)}
    for found in (mg.grad(total)(p), mg.value_and_grad(total)(p)[1], mg.vjp(total, p)[1](1.0)[0], mg.hvp(total, p, p)):
        expected = found["w"] + 0.1
        for g in found.values():
            g += 0.1
        assert found["w"].tolist() == found["delta"].tolist() == expected.tolist()
    w, delta = mg.grad(lambda x, y: (x + y).sum(), argnums=(0, 1))(mg.Tensor(np.ones(2)), mg.Tensor(np.ones(2)))
    with mg.no_grad():
        w *= 5
    assert delta.tolist() == [1.0, 1.0]


def test_results_share_no_memory_with_the_tape_or_the_caller() -> None:
    value, pullback = mg.vjp(mg.exp, np.zeros(2))
    value += 1
    assert pullback(np.ones(2))[0].tolist() == [1.0, 1.0]
    for f in (lambda x: x, lambda x: x.reshape(2, 2).reshape(4)):
        cotangent, tangent = np.ones(4), np.ones(4)
        contribution = mg.vjp(f, np.ones(4))[1](cotangent)[0]
        contribution *= 7
        moved = mg.jvp(f, (np.ones(4),), (tangent,))[1]
        moved *= 7
        assert cotangent.tolist() == tangent.tolist() == [1.0] * 4


@pytest.mark.parametrize("places", [(1, 1), (1, -1)])
@pytest.mark.parametrize("transform", [mg.grad, mg.value_and_grad, mg.jacobian])
def test_an_argument_named_twice_is_refused(transform: Any, places: Any) -> None:
    with pytest.raises(ValueError, match="named twice"):
        transform(lambda x, y: x * y, argnums=places)(2.0, 3.0)


@pytest.mark.parametrize("make", [np.array, mg.Tensor, lambda x: mg.Tensor(x, requires_grad=True)])
def test_a_function_that_writes_into_its_argument_is_refused(make: Any) -> None:
    def f(t: Any) -> Any:
        with mg.no_grad():
            t[0] = 5.0
        return t.sum()

    with pytest.raises(RuntimeError, match=r"writes into an argument of shape|cut it off from its history"):
        mg.grad(f)(make([1.0, 2.0]))


def test_a_function_may_rebind_its_argument() -> None:
    def f(t: Any) -> Any:
        t *= 2
        t[0] = 0.0
        return t.sum()

    given = mg.Tensor([1.0, 2.0], requires_grad=True)
    assert mg.grad(f)(given).tolist() == [0.0, 2.0]
    assert given.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("f", [lambda x: x.sum(), lambda x: x, lambda x: (x.sum(), 1, 2)])
def test_has_aux_needs_a_pair(f: Any) -> None:
    with pytest.raises(TypeError, match="must return a pair"):
        mg.grad(f, has_aux=True)(np.ones(2))


def test_forward_mode_of_a_result_that_occurs_twice() -> None:
    def f(x: Any) -> Any:
        h = mg.tanh(x)
        return h, {"again": h, "input": x}

    x = np.array([0.5, -1.0])
    slope = 1 - np.tanh(x) ** 2
    _, (first, rest) = mg.jvp(f, (x,), (np.ones(2),))
    np.testing.assert_allclose([first, rest["again"], rest["input"]], [slope, slope, np.ones(2)], rtol=1e-15)

    def twice(x: Any) -> Any:
        h = mg.tanh(x)
        return h, h

    for mode in ("forward", "reverse", None):
        blocks = mg.jacobian(twice, mode=mode)(x)
        np.testing.assert_allclose(blocks, [np.diag(slope)] * 2, rtol=1e-15)


def test_results_are_not_the_arrays_of_the_caller() -> None:
    a, t = np.ones((2, 2)), np.ones((2, 2))
    for value in (
        mg.jvp(lambda x: x, (a,), (t,))[0],
        mg.jvp(lambda x: x.T, (a,), (t,))[0],
        mg.value_and_grad(lambda x: (x.sum(), x), has_aux=True)(a)[0][1],
        mg.value_and_grad(lambda x: (x.sum(), {"row": x[0]}), has_aux=True)(a)[0][1]["row"],
    ):
        value[...] = 9.0
        assert a.tolist() == t.tolist() == [[1.0, 1.0], [1.0, 1.0]]
