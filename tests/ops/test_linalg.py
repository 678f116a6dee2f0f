"""mg.linalg compared with NumPy, and its derivatives with differences: first and second order, pull and push."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from cases.linalg import definite, signless, symmetric

import minigrad as mg
from minigrad import linalg
from minigrad.engine.tape import Tape, push

N = np.linalg


class Case(NamedTuple):
    name: str
    f: Callable[..., Any]  # one output, of Tensors or arrays
    reference: Callable[..., Any] | None  # NumPy's function for the same value
    shapes: tuple[tuple[int, ...], ...]


def of_symmetric(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: f(symmetric(x))


def of_definite(f: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return lambda x: f(definite(x), **options)


def with_arguments(f: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[..., Any]:
    """A function of arrays only: f with its other arguments fixed."""
    return lambda *arrays: f(*arrays, *arguments, **options)


def part(f: Callable[..., Any], k: int) -> Callable[..., Any]:
    return lambda x: f(x)[k]


def cases(name: str, f: Any, reference: Any, *shapes: Any) -> list[Case]:
    """One case for each shape of a single operand, or tuple of shapes of several."""
    return [Case(name, f, reference, s if isinstance(s[0], tuple) else (s,)) for s in shapes]


SQUARE = ((4, 4), (2, 3, 3), (1, 1))
ANY = ((4, 4), (2, 3, 3), (4, 2), (2, 4), (3, 4, 3), (3, 2, 3))
svd = with_arguments(linalg.svd, full_matrices=False)

CASES = [
    *cases("inv", linalg.inv, N.inv, *SQUARE, (0, 2, 2)),
    *cases("solve", linalg.solve, N.solve, ((4, 4), (4,)), ((4, 4), (4, 2)), ((2, 3, 3), (2, 3, 1))),
    *cases("solve", linalg.solve, N.solve, ((2, 3, 3), (3,)), ((2, 3, 3), (3, 2)), ((3, 3), (2, 3, 2))),
    *cases("det", linalg.det, N.det, *SQUARE, (0, 2, 2)),
    *cases("slogdet", part(linalg.slogdet, 1), part(N.slogdet, 1), *SQUARE),
    *cases("cholesky", of_definite(linalg.cholesky), of_definite(N.cholesky), *SQUARE),
    *cases("cholesky", of_definite(linalg.cholesky, upper=True), of_definite(N.cholesky, upper=True), *SQUARE),
    *cases("eigh", of_symmetric(part(linalg.eigh, 0)), of_symmetric(part(N.eigh, 0)), *SQUARE),
    *cases("eigh", of_symmetric(lambda x: signless(linalg.eigh(x)[1])), None, *SQUARE),
    *cases("eigvalsh", of_symmetric(linalg.eigvalsh), of_symmetric(N.eigvalsh), *SQUARE),
    *cases("qr", part(linalg.qr, 0), part(N.qr, 0), *ANY),
    *cases("qr", part(linalg.qr, 1), part(N.qr, 1), *ANY),
    *cases("qr", lambda x: linalg.qr(x).Q @ linalg.qr(x).R, lambda x: x * 1, *ANY),
    *cases("svd", part(svd, 1), part(N.svd, 1), *ANY),
    *cases("svd", lambda x: signless(svd(x).U), None, *ANY),
    *cases("svd", lambda x: signless(svd(x).Vh.mT), None, *ANY),
    *cases("svd", lambda x: (svd(x).U * svd(x).S[..., None, :]) @ svd(x).Vh, lambda x: x * 1, *ANY),
    *cases("svdvals", linalg.svdvals, N.svdvals, *ANY),
    *cases("pinv", linalg.pinv, N.pinv, *ANY),
    *(
        c
        for n in (-2, 1, 5)
        for c in cases(
            "matrix_power", with_arguments(linalg.matrix_power, n), with_arguments(N.matrix_power, n), *SQUARE
        )
    ),
    *(
        c
        for o in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)
        for c in cases(
            "matrix_norm",
            with_arguments(linalg.matrix_norm, ord=o),
            with_arguments(N.matrix_norm, ord=o),
            (4, 2),
            (2, 3, 3),
        )
    ),
    *cases(
        "matrix_norm",
        with_arguments(linalg.matrix_norm, keepdims=True),
        with_arguments(N.matrix_norm, keepdims=True),
        (2, 3, 3),
    ),
    *cases("matrix_norm", with_arguments(linalg.matrix_norm, keepdims=True, ord=1), None, (2, 3, 3)),
    *(
        c
        for o in (1, 2, 3, 1.5, -1, np.inf, -np.inf)
        for c in cases(
            "vector_norm",
            with_arguments(linalg.vector_norm, axis=-1, ord=o),
            with_arguments(N.vector_norm, axis=-1, ord=o),
            (5,),
            (2, 3),
        )
    ),
    *cases("vector_norm", linalg.vector_norm, N.vector_norm, (5,), (2, 3, 2)),
    *cases("vector_norm", with_arguments(linalg.vector_norm, axis=(0, 2), keepdims=True), None, (2, 3, 2)),
    *cases("norm", linalg.norm, N.norm, (5,), (2, 3, 2)),
    *cases("norm", with_arguments(linalg.norm, 3, 0), with_arguments(N.norm, 3, 0), (2, 3, 2)),
    *cases("norm", with_arguments(linalg.norm, axis=(0, 2)), with_arguments(N.norm, axis=(0, 2)), (2, 3, 2)),
    *cases("norm", with_arguments(linalg.norm, 1, (2, 0), True), with_arguments(N.norm, 1, (2, 0), True), (2, 3, 2)),
    *cases("norm", with_arguments(linalg.norm, 2), with_arguments(N.norm, 2), (4, 2)),
    *cases("trace", linalg.trace, N.trace, (4, 2), (2, 3, 3)),
    *cases("trace", with_arguments(linalg.trace, offset=-1), with_arguments(N.trace, offset=-1), (4, 2), (2, 3, 3)),
    *cases("diagonal", linalg.diagonal, N.diagonal, (4, 2), (2, 3, 3)),
    *cases(
        "diagonal", with_arguments(linalg.diagonal, offset=2), with_arguments(N.diagonal, offset=2), (2, 4), (2, 3, 3)
    ),
    *cases("cross", linalg.cross, N.cross, ((3,), (3,)), ((2, 3), (3,))),
    *cases("cross", with_arguments(linalg.cross, axis=0), with_arguments(N.cross, axis=0), ((3, 2), (3, 2))),
    *cases("outer", linalg.outer, N.outer, ((2,), (3,))),
    *cases("matmul", linalg.matmul, N.matmul, ((2, 3, 3), (3, 2))),
    *cases(
        "tensordot", with_arguments(linalg.tensordot, axes=1), with_arguments(N.tensordot, axes=1), ((2, 3, 3), (3, 2))
    ),
    *cases("vecdot", linalg.vecdot, N.vecdot, ((2, 3, 3), (3,))),
    *cases("matrix_transpose", linalg.matrix_transpose, N.matrix_transpose, (2, 3, 4)),
    *cases("multi_dot", lambda *x: linalg.multi_dot(x), lambda *x: N.multi_dot(x), ((2, 5), (5, 1), (1, 4), (4, 3))),
    *cases("multi_dot", lambda *x: linalg.multi_dot(x), lambda *x: N.multi_dot(x), ((3,), (3, 2), (2, 4), (4,))),
]

each_case = pytest.mark.parametrize("case", CASES, ids=[f"{c.name}-{k}-{c.shapes}" for k, c in enumerate(CASES)])


def draw(case: Case, dtype: Any = np.float64) -> tuple[list[Any], list[Any]]:
    """Inputs and directions. Square matrices are far from singular."""
    rng = np.random.default_rng([*map(ord, case.name)])
    inputs = [rng.uniform(0.3, 1.2, s) * rng.choice([-1, 1], s) for s in case.shapes]
    if len(case.shapes[0]) > 1 and case.shapes[0][-1] == case.shapes[0][-2]:
        inputs[0] = inputs[0] + np.diag(1.5 * np.arange(1, 1 + case.shapes[0][-1]))
    return [x.astype(dtype) for x in inputs], [rng.standard_normal(s) for s in case.shapes]


def shifted(inputs: list[Any], directions: list[Any], t: float) -> list[Any]:
    return [x + t * d for x, d in zip(inputs, directions, strict=True)]


def slope(g: Callable[[float], Any], h: float = 1e-3) -> Any:
    """The derivative of g at 0, by central differences of sixth order."""
    return sum(w * (g(k * h) - g(-k * h)) for k, w in ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))) / h


def inner(xs: list[Any], ys: list[Any]) -> Any:
    return sum(np.sum(x * y) for x, y in zip(xs, ys, strict=True))


def leaves_of(arrays: list[Any]) -> list[mg.Tensor]:
    return [mg.Tensor(x, requires_grad=True) for x in arrays]


def gradients(
    f: Callable[..., Any], cotangent: Any, leaves: list[mg.Tensor], create_graph: bool = False
) -> list[mg.Tensor]:
    (f(*leaves) * cotangent).sum().backward(create_graph=create_graph)
    result = [mg.Tensor(np.zeros(t.shape, t.dtype)) if t.grad is None else t.grad for t in leaves]
    for t in leaves:
        t.grad = None
    return result


def values(tensors: list[mg.Tensor]) -> list[Any]:
    return [t.numpy() for t in tensors]


@each_case
def test_value(case: Case) -> None:
    inputs, _ = draw(case)
    out = case.f(*inputs)
    assert not isinstance(out, mg.Tensor)
    recorded = case.f(*leaves_of(inputs))
    assert isinstance(recorded, mg.Tensor)
    assert recorded.shape == np.shape(out)
    np.testing.assert_array_equal(recorded.numpy(), out)
    if case.reference is not None:
        np.testing.assert_allclose(out, case.reference(*inputs), rtol=1e-12, atol=1e-13)


@each_case
def test_first_order(case: Case) -> None:
    inputs, directions = draw(case)
    expected = slope(lambda t: case.f(*shifted(inputs, directions, t)))
    cotangent = np.random.default_rng(1).standard_normal(np.shape(expected))
    pulled = gradients(case.f, cotangent, leaves_of(inputs))
    np.testing.assert_allclose(inner(values(pulled), directions), np.sum(cotangent * expected), rtol=1e-8, atol=1e-8)


@each_case
def test_push(case: Case) -> None:
    inputs, directions = draw(case)
    leaves = leaves_of(inputs)
    out = case.f(*leaves)
    tangents = {t.node: d for t, d in zip(leaves, directions, strict=True)}
    pushed = push(Tape(out).nodes, tangents).get(out.node, np.zeros(out.shape))
    expected = slope(lambda t: case.f(*shifted(inputs, directions, t)))
    np.testing.assert_allclose(pushed, expected, rtol=1e-8, atol=1e-8)


@each_case
def test_second_order(case: Case) -> None:
    inputs, directions = draw(case)
    cotangent = np.random.default_rng(1).standard_normal(np.shape(case.f(*inputs)))

    def first_order(t: float) -> Any:
        return inner(values(gradients(case.f, cotangent, leaves_of(shifted(inputs, directions, t)))), directions)

    leaves = leaves_of(inputs)
    first = gradients(case.f, cotangent, leaves, create_graph=True)
    slopes = sum((g * d).sum() for g, d in zip(first, directions, strict=True))
    result = 0.0
    if slopes.requires_grad:
        result = inner(values(gradients(lambda *_: slopes, 1.0, leaves)), directions)
    np.testing.assert_allclose(result, slope(first_order), rtol=1e-7, atol=1e-7)


@each_case
def test_float32_is_preserved(case: Case) -> None:
    inputs, _ = draw(case, np.float32)
    leaves = leaves_of(inputs)
    out = case.f(*leaves)
    assert out.dtype == np.float32
    result = gradients(case.f, np.ones(out.shape, np.float32), leaves, create_graph=True)
    nodes = Tape(out, *(t for t in result if t.requires_grad)).nodes
    assert {str(d) for node in nodes for d in np.atleast_1d(np.array(node.dtype, dtype=object))} == {"float32"}


def test_every_function_has_a_case() -> None:
    results = {"EighResult", "QRResult", "SVDResult", "SlogdetResult"}
    assert {c.name for c in CASES} | results | {"matrix_rank"} == set(linalg.__all__)


@pytest.mark.parametrize("name", sorted({c.name for c in CASES}))
def test_numpy_answers_with_ours(name: str) -> None:
    case = next(c for c in CASES if c.name == name and c.reference is not None)
    assert case.reference is not None
    inputs, _ = draw(case)
    out = case.reference(*leaves_of(inputs))
    assert isinstance(out, mg.Tensor)
    assert out.requires_grad
    np.testing.assert_allclose(out.numpy(), case.reference(*inputs), rtol=1e-12, atol=1e-13)


def test_symmetric_gradient() -> None:
    """The gradient of a function of a symmetric matrix is symmetric, although only one triangle is read."""
    for f in (linalg.cholesky, linalg.eigvalsh):
        x = mg.Tensor([[3.0, 1.0], [1.0, 2.0]], requires_grad=True)
        out = f(x)
        (out * np.arange(1.0, 1 + out.size).reshape(out.shape)).sum().backward()
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), x.grad.mT.numpy(), rtol=1e-15)
        assert x.grad.numpy()[0, 1] != 0


def test_norms_at_the_origin_have_gradient_zero() -> None:
    for p in (1, 2, 3, np.inf):
        x = mg.Tensor(np.zeros(3), requires_grad=True)
        linalg.vector_norm(x, ord=p).backward()
        assert x.grad is not None
        assert x.grad.tolist() == [0, 0, 0]


def test_det_of_singular_matrices() -> None:
    """The cofactors of a matrix exist where its inverse does not."""
    x = mg.Tensor([[1.0, 2.0], [2.0, 4.0]], requires_grad=True)
    linalg.det(x).backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [[4, -2], [-2, 1]], atol=1e-14)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float32, s) for s in (1e-25, 1e-18, 1e12, 1e15, 1e19)] + [(np.float64, s) for s in (1e-170, 1e-155, 1e155)],
)
def test_derivatives_of_det_that_exist_where_det_overflows(dtype: Any, scale: float) -> None:
    """The second derivative for 2 x 2 and the third one for 3 x 3 are constants, 0 and ±1."""
    x = np.array([[1.0, -2.0, 1.0], [3.0, 0.5, 0.0], [0.0, 1.0, 1.0]])
    large, tolerance = (x * scale).astype(dtype), 64 * np.finfo(dtype).eps
    second, third = mg.hessian(linalg.det), mg.jacobian(mg.hessian(linalg.det))
    with np.errstate(all="ignore"):  # of det and the first derivative
        pairs = (
            (second(large[:2, :2]), second(x[:2, :2])),
            (second(large) / np.float64(scale), second(x)),
            (third(large), third(x)),
        )
    for result, expected in pairs:
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


def test_cofactors_of_graded_matrices() -> None:
    """No partial product overflows, whatever the order of the singular values."""
    d = np.array([1e30, 1e-30, 1e30, 1e-30], np.float32)
    expected = [1e-30, 1e30, 1e-30, 1e30]
    np.testing.assert_allclose(np.diag(mg.grad(linalg.det)(np.diag(d))), expected, rtol=1e-6)


ROTATION = N.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
EQUAL = {  # exactly, and up to rounding
    "identity": np.eye(3),
    "two of three": np.diag([2.0, 1.0, 1.0]),
    "rounded": ROTATION @ np.diag([1.0, 1.0, 2.0]) @ ROTATION.T,
    "rotation": ROTATION,
    "zero": np.zeros((3, 3)),
}
SMOOTH = {
    "eigvalsh": lambda x: (linalg.eigvalsh(symmetric(x)) ** 2).sum(),
    "svdvals": lambda x: (linalg.svdvals(x) ** 2).sum(),
}


def reassembled(x: Any) -> Any:
    """The matrix x, multiplied from its factors."""
    u, s, vh = svd(x)
    return (u * s[..., None, :]) @ vh


@pytest.mark.parametrize("name", EQUAL)
@pytest.mark.parametrize("function", SMOOTH)
def test_equal_values_have_first_derivatives_and_no_second_ones(function: str, name: str) -> None:
    f = SMOOTH[function]
    x = symmetric(EQUAL[name]) if function == "eigvalsh" else EQUAL[name]
    np.testing.assert_allclose(mg.grad(f)(x), 2 * x, atol=1e-14)
    if function == "eigvalsh" and name == "rotation":
        return  # its symmetric part has three eigenvalues
    assert np.isnan(mg.hessian(f)(x)).any(axis=(-2, -1)).any()
    (leaf,) = leaves_of([x])
    (first,) = gradients(f, 1.0, [leaf], create_graph=True)
    direction = np.arange(9.0).reshape(3, 3) + 1
    assert np.isnan(gradients(lambda _: (first * direction).sum(), 1.0, [leaf])[0].numpy()).any()


@pytest.mark.parametrize("name", EQUAL)
def test_functions_of_vectors_of_equal_values_have_gradient_nan(name: str) -> None:
    """0 / 0 for a smooth function; for one that depends on the basis also what rounding makes of 1 / 0."""
    w = np.arange(9.0).reshape(3, 3)
    assert np.isnan(mg.grad(lambda x: (reassembled(x) * w).sum())(EQUAL[name])).any()
    for f in (lambda x: (svd(x).U * w).sum(), lambda x: (svd(x).Vh * w).sum()):
        assert not np.abs(mg.grad(f)(EQUAL[name])).max() < 1e12


@pytest.mark.parametrize(
    "x", [np.zeros((3, 2)), np.eye(3)[:, :1] @ np.ones((1, 2)), np.eye(2, 3) * [[1], [0]]], ids=["0", "tall", "wide"]
)
def test_singular_value_zero_gives_nan_outside_the_column_space(x: Any) -> None:
    w = np.arange(x.size).reshape(x.shape)
    result = mg.grad(lambda x: (reassembled(x) * w).sum())(x)
    assert np.isnan(result).any() or np.allclose(result, w)


def test_vectors_that_are_not_used_may_have_equal_values() -> None:
    """The first principal vectors of data of low rank, whose last eigenvalues are rounding errors."""
    rng = np.random.default_rng(0)
    half = rng.standard_normal((8, 2))
    x, w, d = half @ half.T, rng.standard_normal((8, 2)), symmetric(rng.standard_normal((8, 8)))
    for f in (
        lambda x: (linalg.eigh(x).eigenvectors[:, -2:] ** 2 * w).sum(),
        lambda x: (svd(x).U[:, :2] ** 2 * w).sum(),
        lambda x: (svd(x).Vh[:2].mT ** 2 * w).sum(),
    ):
        expected = slope(lambda t, f=f: f(x + t * d))
        np.testing.assert_allclose((mg.grad(f)(x) * d).sum(), expected, rtol=1e-7)
        np.testing.assert_allclose(mg.jvp(f, (x,), (d,))[1], expected, rtol=1e-7)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float32, s) for s in (1e-25, 1e-20, 3e19, 1e25)] + [(np.float64, s) for s in (1e-200, 1e-155, 1e155, 1e200)],
)
def test_factors_of_very_large_and_small_matrices(dtype: Any, scale: float) -> None:
    """Vectors are those of x / scale, so their gradient that of x / scale, divided by scale."""
    x = np.random.default_rng(0).standard_normal((3, 2))
    w, tolerance = np.arange(6.0).reshape(3, 2), 2e4 * np.finfo(dtype).eps
    large = (x * scale).astype(dtype)
    for order, f in (
        (mg.grad, lambda x: (svd(x).U * w.astype(x.dtype)).sum()),
        (mg.grad, lambda x: (svd(x).Vh * w[:2].astype(x.dtype)).sum()),
        (mg.hessian, lambda x: linalg.matrix_norm(x, ord="nuc")),
        (mg.hessian, lambda x: linalg.matrix_norm(x, ord=2)),
    ):
        expected = order(f)(x)
        np.testing.assert_allclose(order(f)(large) * np.float64(scale), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint8, np.int64])
def test_pinv_of_integers(dtype: Any) -> None:
    x = np.array([[1, 0], [0, 1], [1, 1]], dtype)
    for result in (linalg.pinv(x), linalg.pinv(mg.asarray(x)).numpy(), np.linalg.pinv(mg.asarray(x)).numpy()):
        assert result.dtype == np.float64
        np.testing.assert_allclose(result, np.linalg.pinv(x.astype(float)), rtol=1e-12)


def test_matrix_rank() -> None:
    x = np.diag([1.0, 1e-3, 0.0])
    assert linalg.matrix_rank(x) == 2
    assert linalg.matrix_rank(mg.Tensor(x), rtol=0.01).item() == 1
    assert N.matrix_rank(mg.Tensor(x)).item() == 2


def test_matrix_power_zero_is_the_identity() -> None:
    x = mg.Tensor(np.full((2, 3, 3), np.inf), requires_grad=True)
    out = linalg.matrix_power(x, 0)
    np.testing.assert_array_equal(out.numpy(), N.matrix_power(x.numpy(), 0))
    assert not out.requires_grad


def test_results_are_named_tuples() -> None:
    for x in (definite(np.ones((2, 2))), mg.Tensor(definite(np.ones((2, 2))), requires_grad=True)):
        assert linalg.eigh(x)._fields == ("eigenvalues", "eigenvectors")
        assert linalg.qr(x)._fields == ("Q", "R")
        assert linalg.slogdet(x)._fields == ("sign", "logabsdet")
        assert linalg.svd(x)._fields == ("U", "S", "Vh")


def test_full_factors() -> None:
    x = np.arange(6.0).reshape(3, 2)
    assert linalg.qr(mg.Tensor(x), mode="complete").Q.shape == (3, 3)
    assert linalg.svd(mg.Tensor(x)).U.shape == (3, 3)
    assert isinstance(linalg.svd(x).U, np.ndarray)
    t = mg.Tensor(x, requires_grad=True)
    with pytest.raises(ValueError, match=r"qr\(\(3, 2\) float64\).*mode='reduced'"):
        linalg.qr(t, mode="complete")
    with pytest.raises(ValueError, match=r"svd\(\(3, 2\) float64\).*full_matrices=False"):
        linalg.svd(t)


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (lambda: linalg.inv(mg.zeros((2, 2))), N.LinAlgError, r"inv\(\(2, 2\) float64\).*Singular.*mg\.linalg\.pinv"),
        (
            lambda: linalg.solve(mg.zeros((2, 2)), mg.ones(2)),
            N.LinAlgError,
            r"solve\(\(2, 2\) float64, \(2, 1\) float64\)",
        ),
        (lambda: linalg.cholesky(-mg.eye(2)), N.LinAlgError, r"cholesky\(\(2, 2\) float64\).*definite.*identity"),
        (
            lambda: linalg.slogdet(mg.Tensor(np.zeros((2, 2)), requires_grad=True)).logabsdet.backward(),
            N.LinAlgError,
            r"in the backward pass of slogdet: inv.*Singular.*1e-6",
        ),
        (
            lambda: linalg.qr(mg.Tensor(np.zeros((2, 2)), requires_grad=True)).Q.sum().backward(),
            N.LinAlgError,
            "in the backward pass of qr: solve.*Singular",
        ),
        (
            lambda: mg.jvp(lambda x: linalg.slogdet(x).logabsdet, np.zeros((2, 2)), np.ones((2, 2))),
            N.LinAlgError,
            "in forward mode through slogdet: inv",
        ),
        (lambda: linalg.inv(mg.ones((2, 3))), N.LinAlgError, r"inv\(\(2, 3\) float64\).*square"),
        (lambda: linalg.matrix_power(mg.ones((2, 3)), 2), ValueError, r"matrix_power\(\(2, 3\) float64, 2\).*square"),
        (lambda: linalg.qr(mg.ones(3)), ValueError, r"qr\(\(3,\) float64\).*insert"),
        (lambda: linalg.qr(mg.eye(3), mode="full"), ValueError, r"qr\(.*mode='full'.*'reduced'"),
        (lambda: linalg.matrix_norm(mg.eye(3), ord=3), ValueError, r"matrix_norm\(.*ord=3.*'fro'"),
        (lambda: linalg.norm(mg.ones((2, 2, 2)), ord=1), ValueError, r"norm\(.*give one axis"),
        (lambda: linalg.multi_dot([mg.eye(3)]), ValueError, "at least two"),
        (lambda: linalg.cross(mg.ones(4), mg.ones(4)), ValueError, r"cross\(\(4,\) float64"),
    ],
)
def test_errors(wrong: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"(?s){message}"):
        wrong()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.floating(all="ignore")
def test_derivative_of_the_determinant_of_nonfinite_matrices_is_nan(n: int, value: float) -> None:
    """The computation ends, and other matrices of the stack have their derivatives."""
    x = np.stack([np.diag(np.arange(1.0, n + 1))] * 2)
    x[0, 0, 0] = value
    bad, good = mg.grad(lambda t: mg.linalg.det(t)[1] * 1.0 + mg.linalg.det(t)[0])(x)
    assert np.isnan(bad).any()
    np.testing.assert_allclose(good, np.diag(np.prod(np.arange(1.0, n + 1)) / np.arange(1.0, n + 1)), rtol=1e-14)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 10])
@pytest.mark.parametrize(
    "function",
    [
        *(linalg.svd, linalg.svdvals, linalg.pinv, linalg.matrix_rank),
        lambda x: linalg.matrix_norm(x, ord="nuc"),
        lambda x: linalg.svd((x if isinstance(x, np.ndarray) else x.detach())[..., :1]),
    ],
    ids=["svd", "svdvals", "pinv", "matrix_rank", "nuclear norm", "full"],
)
@pytest.mark.floating(all="ignore")
def test_singular_values_of_nonfinite_matrices_raise(function: Any, n: int, value: float) -> None:
    """With an infinity, LAPACK's SVD may never return."""
    x = np.random.default_rng(n).normal(size=(2, n, n))
    x[1, n // 2, 0] = value
    for matrix in (x, mg.Tensor(x, requires_grad=True)):
        with pytest.raises(N.LinAlgError, match="NaN or infinity among the elements; within"):
            function(matrix)
