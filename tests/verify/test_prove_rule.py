"""Every elementwise rule is the derivative of its function, for all x; planted faults are refuted."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest

import minigrad.fused  # noqa: F401  (all primitives are declared)
from minigrad.engine.primitive import REGISTRY, Elementwise
from minigrad.ops import piecewise_constant, product
from minigrad.verify import prove_rule

pytest.importorskip("sympy")

proven = cache(prove_rule)
ELEMENTWISE = [name for name, p in REGISTRY.items() if p.kind == "elementwise"]
WITH_RULES = [(name, k) for name in ELEMENTWISE for k, rule in enumerate(REGISTRY[name].rules) if rule is not None]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_rule_is_the_derivative(name: str) -> None:
    report = proven(name)
    assert report.ok, str(report)
    assert str(report).startswith(f"{name}: rule")


# Domains of functions; all others are defined everywhere.
DOMAINS = {
    "sqrt": "x > 0", "log": "x > 0", "log2": "x > 0", "log10": "x > 0", "log1p": "x > −1", "power": "x > 0, all y",
    "arcsin": "−1 < x < 1", "arccos": "−1 < x < 1", "arctanh": "−1 < x < 1", "arccosh": "x > 1",
}  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_proof_covers_the_domain(name: str) -> None:
    for proof in proven(name).proofs:
        everywhere = f"all {', '.join(REGISTRY[name].operands)}"
        assert proof.where.removesuffix(", between jumps") == DOMAINS.get(name, everywhere)


KINKS = {
    "abs": ["at x = 0: −1 for x < 0, 1 for x > 0, the rule gives 0"],
    "relu": ["at x = 0: 0 for x < 0, 1 for x > 0, the rule gives 0"],
    "maximum": ["at x = y: 0 for x < y, 1 for y < x, the rule gives 0.5"],
    "minimum": ["at x = y: 0 for y < x, 1 for x < y, the rule gives 0.5"],
    "clip": [
        "at x = min: 0 for x < min, 1 for min < x, the rule gives 1",
        "at x = max: 0 for max < x, 1 for x < max, the rule gives 1",
    ],
}


@pytest.mark.parametrize("name", KINKS)
def test_conventions_at_kinks(name: str) -> None:
    assert sorted(proven(name).proofs[0].kinks) == sorted(KINKS[name])


@pytest.mark.parametrize("name", ["tanh", "exp", "logaddexp", "hypot", "sqrt"])
def test_smooth_functions_have_no_kinks(name: str) -> None:
    assert not any(proof.kinks for proof in proven(name).proofs)


# Planted faults


def rebuilt(name: str, k: int, change: Any) -> Elementwise:
    """A primitive with its rule k changed."""
    p = REGISTRY[name]
    right = p.rules[k]

    def wrong(*values: Any) -> Any:
        return change(right(*values))  # type: ignore[misc]

    wrong.__signature__ = inspect.signature(right)  # type: ignore[attr-defined, arg-type]
    rules = [wrong if j == k else rule for j, rule in enumerate(p.rules)]
    return Elementwise(p.function, *rules, signature=f"({', '.join(p.operands)}, /)", name=name)


@pytest.mark.parametrize(("name", "k"), WITH_RULES)
def test_factor_of_1_001_is_refuted(name: str, k: int) -> None:
    report = prove_rule(rebuilt(name, k, lambda contribution: contribution * 1.001))
    assert [proof.verdict for proof in report.proofs if proof.operand == REGISTRY[name].operands[k]] == ["WRONG"]
    assert all(proof.verdict == "proven" for proof in report.proofs if proof.operand != REGISTRY[name].operands[k])


@pytest.mark.parametrize(("name", "k"), WITH_RULES)
def test_wrong_sign_is_refuted(name: str, k: int) -> None:
    assert prove_rule(rebuilt(name, k, lambda contribution: -contribution)).verdict == "WRONG"


@pytest.mark.parametrize("name", ["multiply", "divide", "power", "arctan2", "maximum", "hypot", "logaddexp"])
def test_swapped_rules_are_refuted(name: str) -> None:
    p = REGISTRY[name]
    swapped = Elementwise(p.function, *p.rules[::-1], name=name)
    assert [proof.verdict for proof in prove_rule(swapped).proofs] == ["WRONG", "WRONG"]


SUBTLE = {
    "right for x > 0 only": Elementwise(np.absolute, lambda v: v * 1),
    "right for positive x only": Elementwise(np.arctan, lambda v, x: v / (1 + x * np.absolute(x))),
    "right for |x| < 1 only": Elementwise(np.arctan, lambda v, x: v / (1 + np.minimum(np.absolute(x), 1) ** 2)),
    "off by a small constant": Elementwise(np.exp, lambda v, out: v * (out + 1e-12)),
    "off by a float's rounding": Elementwise(np.exp2, lambda v, out: v * (out * 0.6931471805)),
    "not linear in v": Elementwise(np.sin, lambda v, x: v * v * np.cos(x)),
    "v forgotten": Elementwise(np.sin, lambda v, x: np.cos(x)),
    "outside the two sides at the kink": Elementwise(np.absolute, lambda v, x: v * np.sign(x) + 2 * v * (x == 0)),
    "undefined where there is a derivative": Elementwise(np.square, lambda v, x: v * (2 * x * x / x)),
}


@pytest.mark.parametrize("what", SUBTLE)
def test_subtle_faults_are_refuted(what: str) -> None:
    report = prove_rule(SUBTLE[what])
    assert report.verdict == "WRONG", str(report)
    assert "the rule gives" in str(report)
    with pytest.raises(AssertionError, match="WRONG"):
        report.raise_if_wrong()


def test_reason_names_a_point() -> None:
    report = prove_rule(Elementwise(np.square, lambda v, x: v * x, name="square"))
    assert str(report).splitlines()[0] == "square: rule WRONG"
    assert "at x = −1.33333 the rule gives −1.33333, not −2.66667" in str(report)
    assert report.to_dict()["operands"][0]["verdict"] == "WRONG"


# Undecidable rules


UNDECIDED = {
    "unknown function": Elementwise(np.sinc, lambda v, x: v * np.i0(x), signature="(x, /)"),
    "asks for values": Elementwise(np.exp, lambda v, out: v * float(out)),
    "not the error function": Elementwise(lambda x, /: np.tanh(np.sinc(x)), REGISTRY["erf"].rules[0], name="erf"),
    "an unknown sign": Elementwise(lambda x, /: np.absolute(np.sin(x)), lambda v, x: v * np.cos(x), name="rectified"),
}


@pytest.mark.parametrize("what", UNDECIDED)
def test_undecidable_rules_are_undecided(what: str) -> None:
    report = prove_rule(UNDECIDED[what])
    assert report.verdict == "undecided", str(report)
    assert not report.ok
    assert report.proofs[0].reason


def test_formula_that_sympy_cannot_simplify_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigrad.verify.rules.rule_proof.is_zero", lambda e, region: False)
    assert prove_rule("tanh").verdict == "undecided"


@pytest.mark.parametrize("primitive", [product.matmul_matrices, piecewise_constant.sign, math.exp])
def test_other_primitives_raise(primitive: Any) -> None:
    with pytest.raises(TypeError, match="check_gradients"):
        prove_rule(primitive)


def test_sympy_is_imported_only_when_needed() -> None:
    code = "import sys, minigrad.verify; assert 'sympy' not in sys.modules; sys.modules['sympy'] = None\n"
    code += "try: minigrad.verify.prove_rule('exp')\nexcept ImportError as error: print(error)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "minigrad[symbols]" in printed
