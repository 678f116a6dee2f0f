"""docs/proofs.md is true, row by row; wrong rules are refuted, and what cannot be decided is not called proven."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import CASES
from proofs import FUSED, PAGE, fused_row, proof_of_fused, proofs_of, row_of

import minigrad as mg
from minigrad import functional, fused
from minigrad.exact import Exact
from minigrad.exact.field import P
from minigrad.exact.linear_systems import eliminated
from minigrad.tensor.custom import custom
from minigrad.verify import prove_rule
from minigrad.verify.rules.exact_derivative import NotRational, derivative_along, solved
from minigrad.verify.rules.exact_proof import KINK, Problem, prove

pytestmark = pytest.mark.floating(all="ignore")
PRIMITIVES = list(dict.fromkeys(case.primitive for case in CASES))
LINES = PAGE.read_text(encoding="utf-8").splitlines()
rng = np.random.default_rng(0)
x, w = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))


@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_row_of_the_page(primitive: str) -> None:
    pytest.importorskip("sympy")
    proofs = proofs_of(primitive)
    assert not [label for label, proof in proofs.items() if proof.verdict == "WRONG"]
    assert row_of(primitive, proofs) in LINES


@pytest.mark.parametrize("name", FUSED)
def test_fused_functions_are_the_composed_ones(name: str) -> None:
    proof = proof_of_fused(name)
    assert proof.verdict == "proven"
    assert fused_row(name, proof) in LINES


def test_page_has_no_other_rows() -> None:
    rows = [line.split("|")[1].strip() for line in LINES if line.startswith("| ")]
    heads = {"way", "values", "symbols", "definition", "gradients", "primitive", "fused"}
    assert [name for name in rows if name not in heads or name in PRIMITIVES] == [*PRIMITIVES, *FUSED]


# prove_rule


def test_rules_of_any_shape() -> None:
    report = prove_rule("matmul", x, w)
    assert report.ok
    assert [proof.operand for proof in report.proofs] == ["x", "y"]
    assert prove_rule(mg.prod, x, axis=1).ok
    assert prove_rule("getitem", x, index=(slice(None), 2)).ok
    report = prove_rule("softmax", x)
    assert report.verdict == "undecided"
    assert "rational" in str(report)


def test_rules_by_their_definition() -> None:
    report = prove_rule(fused.softmax, x, definition=lambda x: mg.exp(x) / mg.exp(x).sum(axis=-1, keepdims=True))
    assert report.ok
    assert "by its definition" in str(report)
    operands = rng.normal(size=(5, 3)), rng.normal(size=3), rng.normal(size=3)
    assert prove_rule(fused.batch_norm, *operands, definition=functional.batch_norm).ok
    wrong = prove_rule(fused.softmax, x, definition=lambda x: mg.exp(x) / mg.exp(x).sum(axis=0))
    assert not wrong.ok
    circular = prove_rule(fused.softmax, x, definition=fused.softmax)
    assert circular.verdict == "undecided"


def of_rule(function: Callable[..., Any], *rules: Any) -> Any:
    return custom(function, *rules)


WRONG: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "a sign": (of_rule(lambda x: x * x, lambda v, x: -2 * v * x), (x,)),
    "a small factor": (of_rule(lambda x: x * x, lambda v, x: 2 * v * x * (1 + 1e-13)), (x,)),
    "a small term": (of_rule(lambda x: 1 / x, lambda v, x: -v / (x * x + 1e-20)), (x,)),
    "a product": (of_rule(lambda x, y: x @ y, lambda v, x, y: v @ y.T, lambda v, x: x.T @ v * 2), (x, w)),
    "one element": (of_rule(lambda x: x * 3, lambda v: 3 * v - 1e-15 * (np.arange(12) == 5).reshape(3, 4)), (x,)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rules_are_refuted(name: str) -> None:
    function, operands = WRONG[name]
    report = prove_rule(function, *operands)
    assert report.verdict == "WRONG"
    assert "does not give the derivative" in str(report)


def test_right_rule_of_a_custom_function() -> None:
    function = of_rule(lambda x, y: x @ y, lambda v, x, y: v @ y.T, lambda v, x: x.T @ v)
    assert prove_rule(function, x, w).ok


def test_kinks_and_operations_without_exact_arithmetic_are_undecided() -> None:
    tied = Problem(lambda x: np.maximum(x, 1.0), lambda rng: [np.ones(3)], [0])
    assert prove(tied).reason == KINK
    svd = prove(Problem(lambda x: np.linalg.svd(x)[1], lambda rng: [x], [0]))
    assert svd.verdict == "undecided"
    assert svd.reason


def test_errors() -> None:
    with pytest.raises(TypeError, match="Give operands"):
        prove_rule("matmul")
    with pytest.raises(TypeError, match="no operand has floating-point numbers"):
        prove_rule("sum", np.arange(3))


# The derivative along a line


@pytest.mark.parametrize("seed", range(3))
def test_derivative_of_rational_functions(seed: int) -> None:
    a, b, c = (int(k) for k in np.random.default_rng(seed).integers(1, 100, 3))
    found = derivative_along(lambda t: int(((a + b * t + t**3) / (c + t)).p))
    assert (found * c * c - (b * c - a)) % P == 0
    assert derivative_along(lambda t: 7) == 0
    with pytest.raises(NotRational):
        derivative_along(lambda t: int(np.exp(t).p))


def test_linear_equations_modulo_p() -> None:
    generator = np.random.default_rng(0)
    a, z = generator.integers(0, P, (6, 4)), generator.integers(0, 1000, 4)
    b = np.array([sum(int(p) * int(q) for p, q in zip(row, z, strict=True)) % P for row in a])
    np.testing.assert_array_equal(solved(np.concatenate([a, b[:, None]], axis=1)), z)
    b[5] += 1
    assert solved(np.concatenate([a, b[:, None]], axis=1)) is None
    solution, det = eliminated([[2, 1], [4, 2]], [[1], [1]])
    assert det == 0
    assert not solution.any()


def test_linear_algebra_of_exact_arrays() -> None:
    a, b = Exact.of(np.array([[[0.0, 2.0], [3.0, 4.0]], [[1.0, 1.0], [0.0, 5.0]]])), Exact.of(np.array([1.0, 2.0]))
    np.testing.assert_array_equal((a @ np.linalg.inv(a)).p, np.broadcast_to(np.eye(2), (2, 2, 2)))
    np.testing.assert_array_equal((a @ np.linalg.solve(a, np.stack([b, b])[..., None])).p[..., 0], [[1, 2], [1, 2]])
    assert (a[0] @ np.linalg.solve(a[0], b) == b).all()
    np.testing.assert_array_equal(np.linalg.det(a).p, [P - 6, 5])
    sign, logarithm = np.linalg.slogdet(a)
    np.testing.assert_array_equal(sign.real, [-1, 1])
    np.testing.assert_allclose(logarithm.real, np.log([6, 5]))
    assert np.linalg.norm(Exact.of(np.array([3.0, 4.0]))) == 5
    assert np.einsum(a[0], [0, 1], b, [1], [0]).p.tolist() == [4, 11]
