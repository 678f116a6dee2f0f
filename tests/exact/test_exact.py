"""Exact arrays: field identities, operations compared with fractions, and errors that proofs detect."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from minigrad import exact
from minigrad.engine.primitive import REGISTRY
from minigrad.exact import Exact, Inexact, NotASquare, Tie, draw, field, float_values, opaque_roots, rational, same
from minigrad.exact.field import GENERATOR, P, Q

pytestmark = pytest.mark.floating(under="ignore", over="ignore")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def residue(f: Fraction, m: int = P) -> int:
    return f.numerator * pow(f.denominator, -1, m) % m


def fractions(x: Any) -> Any:
    """The elements of an array from `small` as Python fractions."""
    return np.vectorize(lambda v: Fraction(v).limit_denominator(100), otypes=[object])(x.real)


def small(*shape: int, seed: int = 0) -> Exact:
    """Fractions n/12 with a small n that is not 0, all different."""
    n = rng(seed).permutation(np.concatenate([np.arange(-40, 0), np.arange(1, 41)]))[: int(np.prod(shape))]
    return rational(n.reshape(shape), 12)


def assert_is(x: Any, expected: Any) -> None:
    """Assert that an exact array has these fractions, as residues modulo both primes and as floats."""
    expected = np.asarray(expected, object)
    assert x.shape == expected.shape
    for place in np.ndindex(expected.shape):
        f = Fraction(expected[place])
        assert x.p[place] == residue(f), place
        assert x.q is None or x.q[place] in (-1, residue(f, Q)), place
        np.testing.assert_allclose(x.real[place], float(f), rtol=1e-12)


# The field


def is_prime(n: int) -> bool:
    return all(pow(a, n - 1, n) == 1 for a in (2, 3, 5, 7, 11, 13)) and all(n % k for k in range(2, 50000))


def test_primes() -> None:
    assert is_prime(P)
    assert is_prime(Q)
    assert P == 2 * Q + 1 < 2**31
    assert pow(GENERATOR, Q, P) == 1


@pytest.mark.parametrize("m", [P, Q])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100])
def test_inverses(m: int, size: int) -> None:
    a = rng().integers(0, 3, size) * rng(1).integers(1, m, size)
    assert (a * field.inverse(a, m) % m == (a != 0)).all()


def test_powers() -> None:
    a = rng().integers(1, P, 5)
    for n in (0, 1, 2, 13, -1, -3, P - 1):
        assert field.power(a, n, P).tolist() == [pow(int(x), n, P) for x in a]


def test_roots() -> None:
    a, b = (x * x % P for x in rng().integers(1, P, (2, 50)))
    assert field.is_square(a).all()
    assert not field.is_square(P - a).any()
    assert (field.square_root(a) * field.square_root(b) % P == field.square_root(a * b % P)).all()
    for degree in (3, 5, 15):
        assert (field.power(field.odd_root(a, degree), degree, P) == a).all()


def test_exponentials() -> None:
    x = np.array([0, 1, 2, 1023, 1024, 1 << 20, Q - 1])
    assert field.exponential(x).tolist() == [pow(GENERATOR, int(n), P) for n in x]


@pytest.mark.parametrize("m", [P, Q])
def test_bilinear_functions_of_residues_are_exact(m: int) -> None:
    a, b = rng().integers(m - 1000, m, (4, 3000)), rng(1).integers(m - 1000, m, (3000, 5))
    expected = np.array([[sum(int(x) * int(y) for x, y in zip(row, column)) % m for column in b.T] for row in a])  # noqa: B905
    assert (field.bilinear(np.matmul, a, b, m, 3000) == expected).all()
    with pytest.raises(ValueError, match="cannot be computed exactly"):
        field.bilinear(np.matmul, a, b, m, field.TERMS + 1)


def test_scrambled_has_few_collisions() -> None:
    a = np.arange(10000)
    assert (field.scrambled(1, a) == field.scrambled(1, a.copy())).all()
    assert len(np.unique(field.scrambled(1, a))) > 9990
    assert (field.scrambled(1, a) != field.scrambled(2, a)).mean() > 0.999
    assert (
        field.odd(lambda p: field.scrambled(1, p), (P - a) % P) == -field.odd(lambda p: field.scrambled(1, p), a) % P
    ).all()


# Numbers

LITERALS = {
    0.1: Fraction(1, 10),
    1e-5: Fraction(1, 10**5),
    1e-12: Fraction(1, 10**12),
    1e-30: Fraction(1, 10**30),
    1 / 3: Fraction(1, 3),
    -2 / 7: Fraction(-2, 7),
    0.1 + 0.2: Fraction(3, 10),
    1 / 128: Fraction(1, 128),
    0.0: Fraction(0),
    12345678.0: Fraction(12345678),
    float(np.float32(0.1)): Fraction(1, 10),
    float(np.float32(1 / 3)): Fraction(1, 3),
    float(np.float32(1e-5)): Fraction(1, 10**5),
    1 / 3 + 1e-12: Fraction(1 / 3 + 1e-12),
    0.7978845608028654: Fraction(0.7978845608028654),
}


@pytest.mark.parametrize("x", LITERALS)
def test_value_of_a_float(x: float) -> None:
    p, q = float_values.residues(x)
    assert (int(p), int(q)) == (residue(LITERALS[x]), residue(LITERALS[x], Q))


def test_residues_of_an_array_are_those_of_its_elements() -> None:
    x = np.array([[0.1, 1 / 3], [2.0, -1e-5]])
    p, _ = float_values.residues(x)
    assert p.tolist() == [[int(float_values.residues(v)[0]) for v in row] for row in x]


def test_values_of_folded_constants() -> None:
    a, b = 0.7978845608028654, 0.8862269254527579  # no simple fractions
    table = exact.Constants()
    with exact.constants(table):
        pa, pb = (int(float_values.residues(x)[0]) for x in (a, b))
        for x in (a, b):
            p, q = float_values.residues(x)
            table.learn(x, int(p), int(q))
        table.learn(1 - 0.9999, residue(Fraction(1, 10000)), residue(Fraction(1, 10000), Q))
        for x, expected in {
            a * b: pa * pb,
            -a: -pa,
            a / 3: pa * pow(3, -1, P),
            0.044715 * 3 * a: pa * residue(Fraction(134145, 10**6)),
            1 / a: pow(pa, -1, P),
            1 - 0.9999: residue(Fraction(1, 10000)),
        }.items():
            assert int(float_values.residues(x)[0]) == expected % P
        for x in (a * b * (1 + 1e-12), a / 3 * (1 - 1e-12), (1 - 0.9999) * (1 + 1e-12)):
            assert int(float_values.residues(x)[0]) == residue(Fraction(x))


# Operations compared with fractions

x, y = small(3, 4), small(3, 4, seed=1)
ELEMENTWISE: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "add": (lambda a, b: a + b, lambda a, b: a + b),
    "subtract": (lambda a, b: a - b, lambda a, b: a - b),
    "multiply": (lambda a, b: a * b, lambda a, b: a * b),
    "divide": (lambda a, b: a / b, lambda a, b: a / b),
    "literals": (lambda a, b: 0.1 * a - 1 / (b + 1000), lambda a, b: a / 10 - 1 / (b + 1000)),
    "negative": (lambda a, b: -a, lambda a, b: -a),
    "square": (lambda a, b: np.square(a), lambda a, b: a * a),
    "reciprocal": (lambda a, b: np.reciprocal(a), lambda a, b: 1 / a),
    "power": (lambda a, b: a**3 + b**-2 + a**0, lambda a, b: a**3 + 1 / (b * b) + 1),
    "powers by an array": (lambda a, b: a ** np.array([0, 1, 2, -1]), lambda a, b: a ** np.array([0, 1, 2, -1])),
    "floor_divide": (lambda a, b: a // b, lambda a, b: a // b),
    "remainder": (lambda a, b: a % b, lambda a, b: a % b),
    "floor": (lambda a, b: np.floor(a), lambda a, b: np.vectorize(lambda f: f.__floor__(), otypes=[object])(a)),
    "ceil": (lambda a, b: np.ceil(a), lambda a, b: np.vectorize(lambda f: f.__ceil__(), otypes=[object])(a)),
    "absolute": (lambda a, b: abs(a), lambda a, b: abs(a)),
    "sign": (lambda a, b: np.sign(a), lambda a, b: np.where(a > 0, 1, -1)),
    "maximum": (lambda a, b: np.maximum(a, b), lambda a, b: np.where(a > b, a, b)),
    "minimum": (lambda a, b: np.minimum(a, b), lambda a, b: np.where(a < b, a, b)),
    "clip": (lambda a, b: np.clip(a, -1, 0.5), lambda a, b: np.where(a < -1, -1, np.where(a > 0.5, Fraction(1, 2), a))),
    "where": (lambda a, b: np.where(a > b, a, 2), lambda a, b: np.where(a > b, a, 2)),
    "masks": (lambda a, b: a * (b > 0), lambda a, b: a * (b > 0)),
    "integers": (lambda a, b: a * np.arange(4) + a.astype(int), lambda a, b: a * np.arange(4) + np.vectorize(int)(a)),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name: str) -> None:
    ours, theirs = ELEMENTWISE[name]
    assert_is(ours(x, y), theirs(fractions(x), fractions(y)))


index = np.array([[2, 0], [1, 1]])
ALIKE: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda a, b: np.sum(a, 0),
    "sum of all": lambda a, b: np.sum(a),
    "sum, kept": lambda a, b: np.add.reduce(a, axis=(0, 1), keepdims=True),
    "prod": lambda a, b: np.prod(a, 1),
    "mean": lambda a, b: np.mean(a * 12, 0),
    "max": lambda a, b: np.max(a, 1),
    "max of all": lambda a, b: np.maximum.reduce(a, axis=None, keepdims=True),
    "min": lambda a, b: np.min(a, 0, keepdims=True),
    "cumsum": lambda a, b: np.cumsum(a, 1),
    "cumsum of all": lambda a, b: np.cumsum(a),
    "cumprod": lambda a, b: np.cumprod(a, 0),
    "sort": lambda a, b: np.sort(a, 0),
    "matmul": lambda a, b: a @ b.T,
    "matmul with a vector": lambda a, b: a @ b[0],
    "dot": lambda a, b: np.dot(a[0], b[1]),
    "outer": lambda a, b: np.outer(a[0], b[1]),
    "tensordot": lambda a, b: np.tensordot(a, b, [[1], [1]]),
    "einsum": lambda a, b: np.einsum("ij,kj->ik", a, b),
    "einsum of three": lambda a, b: np.einsum("ij,kj,kl->il", a, b, b),
    "einsum of one": lambda a, b: np.einsum("ij->j", a),
    "transpose": lambda a, b: np.transpose(a),
    "swapaxes": lambda a, b: np.swapaxes(a, 0, 1),
    "reshape": lambda a, b: np.reshape(a, (2, 6)),
    "broadcast_to": lambda a, b: np.broadcast_to(a[0], (2, 4)),
    "expand_dims": lambda a, b: np.expand_dims(a, 1),
    "squeeze": lambda a, b: np.squeeze(a[:1], 0),
    "flip": lambda a, b: np.flip(a, 1),
    "roll": lambda a, b: np.roll(a, 1, 0),
    "repeat": lambda a, b: np.repeat(a, 2, 1),
    "tile": lambda a, b: np.tile(a, (1, 2)),
    "pad": lambda a, b: np.pad(a, ((1, 0), (0, 2))),
    "pad, edge": lambda a, b: np.pad(a, 1, mode="edge"),
    "tril": lambda a, b: np.tril(a),
    "diagonal": lambda a, b: np.diagonal(a),
    "trace": lambda a, b: np.trace(a),
    "stack": lambda a, b: np.stack([a, b], 1),
    "concatenate": lambda a, b: np.concatenate([a, b, b], 1),
    "split": lambda a, b: np.split(a, 2, 1)[1],
    "take": lambda a, b: np.take(a, index, 0),
    "gather": lambda a, b: a[index, [0, 3]],
    "mask": lambda a, b: a[np.array([True, False, True])],
    "take_along_axis": lambda a, b: np.take_along_axis(a, np.array([[1], [0], [3]]), 1),
    "diff": lambda a, b: np.diff(a, axis=1),
    "select": lambda a, b: np.select([a > b, a > 0], [a, b], 0),
}


@pytest.mark.parametrize("name", ALIKE)
def test_functions_agree_with_numpy_on_fractions(name: str) -> None:
    theirs = ALIKE[name](fractions(x), fractions(y))
    assert_is(ALIKE[name](x, y), theirs)


def writes(name: str, out: Any, a: Any) -> None:
    match name:
        case "set":
            out[index, [0, 3]] = a[:2, :2]
        case "view":
            out.T[1:3, ::2] = a[:2, :2]
        case "add.at":
            np.add.at(out, (np.array([0, 0, 1]), np.array([1, 1, 1])), a[0, :3])
        case "copyto":
            np.copyto(out, a[0])
        case "where":
            np.copyto(out, a, where=np.array([True, False, True, False]))
        case "put":
            np.put(out, [1, 5], a[0, :2])
        case "put_along_axis":
            np.put_along_axis(out, np.array([[1], [0], [3]]), a[:, :1], 1)
        case "out":
            np.multiply(a, a, out=out)
        case "in place":
            out *= a


@pytest.mark.parametrize(
    "name", ["set", "view", "add.at", "copyto", "where", "put", "put_along_axis", "out", "in place"]
)
def test_writes(name: str) -> None:
    ours, theirs = np.copy(x), np.copy(fractions(x))
    writes(name, ours, y)
    writes(name, theirs, fractions(y))
    assert_is(ours, theirs)


def test_integers_bools_and_order_are_plain_arrays() -> None:
    f = fractions(x)
    for ours, theirs in [
        (x > y, f > fractions(y)),
        (x.astype(int), np.trunc(f.astype(float)).astype(int)),
        (np.argsort(x, axis=1), np.argsort(f.astype(float), axis=1)),
        (np.argmax(x, axis=0), np.argmax(f.astype(float), axis=0)),
        (np.argmin(x), np.argmin(f.astype(float))),
        (np.any(x > 1, axis=0), np.any(f > 1, axis=0)),
        (np.count_nonzero(x), 12),
    ]:
        assert type(ours) is not Exact
        np.testing.assert_array_equal(ours, theirs)


# Functions that are not rational

a, b = draw(rng(), (5,)), draw(rng(1), (5,))
IDENTITIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "exp(a + b)": lambda: (np.exp(a + b), np.exp(a) * np.exp(b)),
    "exp(-a)": lambda: (np.exp(-a), 1 / np.exp(a)),
    "exp(3a)": lambda: (np.exp(3 * a), np.exp(a) ** 3),
    "exp(-exp(a))": lambda: (np.exp(-np.exp(a)) * np.exp(np.exp(a)), np.ones(5)),
    "expm1": lambda: (np.expm1(a) + 1, np.exp(a)),
    "tanh": lambda: (np.tanh(a), 2 / (1 + np.exp(-2 * a)) - 1),
    "tanh is odd": lambda: (np.tanh(-np.exp(a)), -np.tanh(np.exp(a))),
    "sinh, cosh": lambda: (np.cosh(a) ** 2 - np.sinh(a) ** 2, np.ones(5)),
    "sin, cos": lambda: (np.cos(a) ** 2 + np.sin(a) ** 2, np.ones(5)),
    "sin is odd": lambda: (np.sin(-a) + np.sin(a), np.zeros(5)),
    "cos is even": lambda: (np.cos(-a), np.cos(a)),
    "tan": lambda: (np.tan(a), np.sin(a) / np.cos(a)),
    "cbrt": lambda: (np.cbrt(a) ** 3, a),
    "x^(1/3)": lambda: (abs(a) ** (1 / 3), np.cbrt(abs(a))),
    "log of the same": lambda: (np.log(a * a + b), np.log(b + np.square(a))),
    "log 1": lambda: (np.log(a / a), np.zeros(5)),
    "0": lambda: (np.exp(a - a) + np.cos(b - b), np.full(5, 2)),
    "softmax": lambda: (np.exp(a - 1) / np.sum(np.exp(a - 1)), np.exp(a) / np.sum(np.exp(a))),
    "logaddexp": lambda: (np.logaddexp(a, b), np.logaddexp(b, a)),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_known_identities(name: str) -> None:
    left, right = IDENTITIES[name]()
    assert same(left, right)
    assert not same(left, right + Exact.of(1e-15))
    np.testing.assert_allclose(left.real, Exact.of(right).real, rtol=1e-9, atol=1e-12)


def test_roots_of_squares() -> None:
    assert same(np.sqrt(a * a) ** 2, a * a)
    assert same(np.sqrt(a * a * (b * b)), np.sqrt(a * a) * np.sqrt(b * b))
    assert same((a * a) ** -1.5, 1 / (np.sqrt(a * a) * (a * a)))
    with pytest.raises(NotASquare):
        np.sqrt(-(a * a))
    with opaque_roots():
        assert same(np.sqrt(-(a * a)), np.sqrt(-a * a))
        assert not same(np.sqrt(-(a * a)), np.sqrt(-b * b))


def test_log_of_a_product_is_opaque() -> None:
    """Only equal operands are known to have equal values."""
    assert not same(np.log(abs(a) * abs(b)), np.log(abs(a)) + np.log(abs(b)))


def test_infinities_and_nan() -> None:
    minus = np.full(5, -np.inf)
    assert same(np.exp(np.where(a.real > 0, minus, 1.0) + a), np.where(a > 0, 0.0, np.exp(1 + a)))
    assert same(np.maximum(minus, a), a)
    assert same(a / (b - b), np.where(a > 0, np.inf, -np.inf))
    assert same((b - b) / (b - b), np.full(5, np.nan))
    assert same(np.log(b - b), minus)
    assert same(np.sum(np.concatenate([a, minus])), -np.inf)
    assert not (np.full(5, np.nan) == a - a).any()


# Undecided comparisons


def test_ties() -> None:
    close = rational(np.array([10**12 + 1]), 10**12)
    one = Exact.of(np.ones(1))
    for undecided in (
        lambda: close > one,
        lambda: np.maximum(close, one),
        lambda: np.max(np.concatenate([close, one])),
        lambda: np.sort(np.concatenate([close, one])),
        lambda: np.floor(close),
        lambda: np.sqrt(Exact.of(np.array([-1.0])) * Exact.of(4.0) * -1 - 4.0 - one * one) > 0,
    ):
        with opaque_roots(), pytest.raises(Tie):
            undecided()


def test_equal_numbers_with_different_rounding_are_not_a_tie() -> None:
    third = Exact.of(np.array([1.0])) / 3
    total = third + third + third - 0.1 - 0.2 - 0.7
    assert total.real == 0
    assert not (total > 0).any()
    assert (np.sqrt(total) == 0).all()
    assert np.argmax(np.concatenate([third * 0.3, third * 0.1 + third * 0.2])) == 0


def test_inexact_operations_raise_with_their_name() -> None:
    for name, function in {
        "nextafter": lambda: np.nextafter(x, y),
        "svd": lambda: np.linalg.svd(x),
        "power.reduce": lambda: np.power.reduce(x),
        "complex128": lambda: x * 1j,
        "elements in Python": lambda: float(x[0, 0]),
    }.items():
        with pytest.raises(Inexact, match=name):
            function()


# Derivations


def composed(x: Any, gamma: Any, dy: Any, eps: float) -> Any:
    """The gradient of batch normalization with respect to x, step by step through mean and variance."""
    n = len(x)
    mu = np.sum(x, 0) / n
    centered = x - mu
    var = np.sum(centered * centered, 0) / n
    std = np.sqrt(var + eps)
    d_hat = dy * gamma
    d_std = -np.sum(d_hat * centered, 0) / std**2
    d_var = d_std / (2 * std)
    d_centered = d_hat / std + 2 * centered * d_var / n
    return d_centered - np.sum(d_centered, 0) / n


def fused_gradient(x: Any, gamma: Any, dy: Any, eps: float, forgotten: float = 0.0) -> Any:
    """The same gradient as one formula."""
    n = len(x)
    mu = np.sum(x, 0) / n
    var = np.sum((x - mu) ** 2, 0) / n
    r = 1 / np.sqrt(var + eps)
    x_hat = (x - mu) / np.sqrt(var + (eps - forgotten))
    return gamma * r / n * (n * dy - np.sum(dy, 0) - x_hat * np.sum(dy * x_hat, 0))


def batch(eps: float) -> tuple[Exact, Exact, Exact]:
    """x, gamma and dy, drawn until the variance of x and the variance + ε have square roots."""
    for seed in range(1000):
        x, gamma, dy = draw(rng(seed), (5, 1)), draw(rng(seed + 1), (1,)), draw(rng(seed + 2), (5, 1))
        centered = x - np.mean(x, 0)
        var = np.mean(centered * centered, 0)
        if field.is_square((var + eps).p).all() and field.is_square(var.p).all():
            return x, gamma, dy
    raise AssertionError


def test_fused_and_composed_batch_norm_are_exactly_equal() -> None:
    x, gamma, dy = batch(1e-12)
    right = composed(x, gamma, dy, 1e-12)
    assert same(fused_gradient(x, gamma, dy, 1e-12), right)
    np.testing.assert_allclose(fused_gradient(x.real, gamma.real, dy.real, 1e-12), right.real, rtol=1e-9)


def test_missing_epsilon_is_detected() -> None:
    """The missing 1e-12 is below all usual tolerances."""
    x, gamma, dy = batch(1e-12)
    wrong = fused_gradient(x, gamma, dy, 1e-12, forgotten=1e-12)
    np.testing.assert_allclose(wrong.real, composed(x, gamma, dy, 1e-12).real, rtol=1e-9)
    assert not same(wrong, composed(x, gamma, dy, 1e-12))


def test_rules_of_the_engine_run_on_exact_arrays() -> None:
    v, w, g = draw(rng(3), (3, 4)), draw(rng(4), (4, 2)), draw(rng(5), (3, 2))
    rules = {name: REGISTRY[name] for name in ("matmul", "tanh", "multiply")}
    assert same(rules["matmul"].function(v, w), v @ w)
    out = rules["tanh"].function(v)
    assert same(pulled("tanh", out, v), 1 - out * out)
    assert same(pulled("multiply", v * v[0], v, v[0]), np.broadcast_to(v[0], (3, 4)))
    assert same(g @ w.T, np.einsum("nj,ij->ni", g, w))


def pulled(name: str, out: Any, *operands: Any) -> Any:
    """The rule of a primitive for its first operand, with a cotangent of ones."""
    rule = REGISTRY[name].rules[0]
    arguments = {"v": np.ones_like(operands[0]), "out": out, **dict(zip("xyz", operands, strict=False))}
    return rule(*(arguments[k] for k in inspect.signature(rule).parameters))


def test_convolutions_are_bilinear() -> None:
    v, w = draw(rng(3), (2, 5, 1)), draw(rng(4), (3, 1, 2))
    settings = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": 1}
    windows = np.stack([v[:, k : k + 3, 0] for k in range(3)], 1)
    assert same(REGISTRY["convolve"].function(v, w, **settings), windows @ w[:, 0])


@pytest.mark.parametrize("n", [5, 2, 10, 45])
def test_reciprocal_of_a_rounded_root(n: int) -> None:
    """1/c and c/n are the same float for the rounded c = √n, but not the same number."""
    c = math.sqrt(n)
    table = float_values.Constants()
    table.learn(c, *float_values.residues_of(Fraction(c)))
    assert table.derived(1 / c) == float_values.residues_of(1 / Fraction(c))
    assert table.derived(3 * c / 7) == float_values.residues_of(Fraction(c) * Fraction(3, 7))
