"""The audit of a check, and derivations as primitives."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import verify

LIBRARY = Path(__file__).parents[2] / "examples" / "derivations"


def terms_of_batch_norm(skip: str = "") -> verify.Derivation:
    """The derivation term by term, perhaps without one line."""

    def batch_norm(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        mu = mg.name("mu", x.mean(axis=0), label="μ")
        var = mg.name("var", ((x - mu) ** 2).mean(axis=0), label="σ²")
        xhat = mg.name("xhat", (x - mu) / mg.sqrt(var + eps), label="x̂")
        return gamma * xhat + beta

    def dxhat(dout: Any, gamma: Any) -> Any:
        return dout * gamma

    def dvar(dxhat: Any, x: Any, mu: Any, var: Any, eps: Any) -> Any:
        return (dxhat * (x - mu)).sum(axis=0) * -0.5 * (var + eps) ** -1.5

    def dmu(dxhat: Any, var: Any, eps: Any) -> Any:
        return -(dxhat / np.sqrt(var + eps)).sum(axis=0)

    def dx(dxhat: Any, dvar: Any, dmu: Any, x: Any, mu: Any, var: Any, eps: Any) -> Any:
        return dxhat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / len(x) + dmu / len(x)

    def dgamma(dout: Any, xhat: Any) -> Any:
        return (dout * xhat).sum(axis=0)

    def dbeta(dout: Any) -> Any:
        return dout.sum(axis=0)

    derivation = verify.Derivation(batch_norm, x="N D", gamma="D", beta="D")
    for line in (dxhat, dvar, dmu, dx, dgamma, dbeta):
        if line.__name__ != skip:
            derivation.line(line)
    return derivation


@pytest.fixture
def batch_norm() -> verify.Derivation:
    return terms_of_batch_norm()


def blind(report: verify.AuditReport) -> dict[tuple[str, str], str]:
    return {(error.where, error.what): why for error, why in report.blind}


def test_check_with_random_values_sees_every_error(batch_norm: verify.Derivation) -> None:
    report = batch_norm.audit(rtol=1e-6, atol=1e-9)
    assert report.ok, str(report)
    assert len(report.seen) > 40


def test_check_with_gamma_1_cannot_see_a_missing_gamma(batch_norm: verify.Derivation) -> None:
    x = np.random.default_rng(0).normal(size=(8, 4))
    report = batch_norm.audit(x=x, gamma=np.ones(4), beta=np.zeros(4), rtol=1e-6, atol=1e-9)
    assert blind(report) == {("dxhat", "`dout` for `dout * gamma`"): "gamma = 1"}
    assert "gamma = 1" in str(report)


def test_loss_by_sum_hides_the_path_through_the_variance(batch_norm: verify.Derivation) -> None:
    report = batch_norm.audit(cotangent="ones", rtol=1e-6, atol=1e-9)
    errors = blind(report)
    assert errors["dvar", "a factor 0"] == "the upstream gradient is constant"
    assert errors["dl/dx", "the path through σ²"] == "the upstream gradient is constant"
    assert ("dmu", "a factor 0") not in errors


def test_tolerance_hides_small_errors(batch_norm: verify.Derivation) -> None:
    errors = blind(batch_norm.audit(rtol=1e-2))
    assert "smaller than the tolerance" in errors["dx", "a factor 1.001"]


def test_identical_derivation_is_not_an_error(batch_norm: verify.Derivation) -> None:
    report = batch_norm.audit(rtol=1e-6, atol=1e-9)
    assert [(error.where, error.what) for error in report.same] == [("dl/dμ", "the path through σ²")]


def test_unknown_cotangent_raises(batch_norm: verify.Derivation) -> None:
    with pytest.raises(ValueError, match="must be 'random', 'ones', or an array"):
        batch_norm.audit(cotangent="twos")


def test_proven_derivation_as_a_primitive(batch_norm: verify.Derivation) -> None:
    f = batch_norm.fused()
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=(6, 3)), rng.normal(size=3), rng.normal(size=3)]
    assert verify.check_gradients(f, *inputs).ok
    assert verify.check_gradients(f, *inputs, order=2).ok
    x = mg.Tensor(inputs[0], requires_grad=True)
    y = f(x, *inputs[1:], eps=0.1)
    assert [line.primitive.name for line in mg.Tape(y) if not line.is_leaf] == ["batch_norm", "select"]
    np.testing.assert_allclose(y.numpy(), batch_norm.forward.function(x, *inputs[1:], eps=0.1).numpy())


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.py")), ids=lambda path: path.stem)
def test_library_derivations_as_primitives(path: Path) -> None:
    derivations = [d for d in runpy.run_path(str(path)).values() if isinstance(d, verify.Derivation)]
    for d in derivations:
        report = d.check()
        if report.missing:
            continue
        f = d.fused()
        arguments = d.forward.arguments({}, np.random.default_rng(3))
        inputs = [arguments[k] for k in d.forward.inputs]
        constants = {k: arguments[k] for k in d.forward.constants}
        report = verify.check_gradients(lambda *x, f=f, c=constants: f(*x, **c), *inputs)
        assert report.ok, str(report)


def test_fusing_an_unproven_derivation_raises() -> None:
    unfinished = terms_of_batch_norm(skip="dgamma")
    with pytest.raises(ValueError, match="no line for gamma"):
        unfinished.fused()
    with pytest.raises(ValueError, match="uses dvar and has no line for it"):
        terms_of_batch_norm(skip="dvar").fused()

    def dgamma(dout: Any) -> Any:
        return dout.sum(axis=0)

    unfinished.line(dgamma)
    with pytest.raises(ValueError, match=r"is not proven.*\n.*1 of 6 lines is wrong: dgamma"):
        unfinished.fused()
