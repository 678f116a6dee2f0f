"""Lines are proven without a tolerance, errors that floats do not show are found, and no right line is accused."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from benchmarks.detection import LIBRARY, is_wrong, library, wide_sample
from benchmarks.mutations import Mutant, mutants, refactored, scaled
from minigrad.exact import Exact, draw
from minigrad.verify import Derivation, DerivationReport
from minigrad.verify.derivation import exact_check, exact_sample
from minigrad.verify.derivation.derivation_page import section

pytestmark = pytest.mark.floating(under="ignore", over="ignore", divide="ignore", invalid="ignore")
NAMES = dict(library())
EACH = 6  # mutations of each derivation in the quick test


def derivation(forward: Callable[..., Any], dx: Callable[..., Any], **shapes: Any) -> Derivation:
    d = Derivation(forward, **(shapes or {"x": "N"}))
    d.line(dx, of="x")  # type: ignore[call-overload]
    return d


# Examples


@pytest.mark.parametrize("name", NAMES)
def test_derivations_of_the_library_are_proven(name: str) -> None:
    for seed in range(3):
        report = NAMES[name].check(seed=seed)
        assert report.ok, str(report)
        assert report.proven, str(report)
        assert str(report).endswith("proven exactly for these sizes (chance of error < 1e-12)")


def test_library_is_complete() -> None:
    assert {path.stem for path in LIBRARY.glob("*.py")} == {name.partition(".")[0] for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_right_derivations_in_other_words_are_accepted(name: str) -> None:
    for seed in range(2):
        report = refactored(NAMES[name], np.random.default_rng(seed)).check(seed=seed)
        assert report.ok, str(report)
        assert report.proven, str(report)


# Errors of a relative size of 1e-12


def of_size(name: str, size: float) -> Iterator[tuple[Mutant, Derivation]]:
    """The mistakes of a derivation, scaled down, with which the line runs and keeps its shape."""
    samples = [wide_sample(NAMES[name], seed) for seed in range(3)]
    for m in mutants(NAMES[name]):
        if is_wrong(m, samples):
            d = scaled(m, size)
            names = samples[0].names()
            try:
                result = d.evaluate(d.lines[m.target], names)
            except Exception:
                continue
            if result.shape == names[f"d{m.target}"].shape and np.all(np.isfinite(result)):
                yield m, d


def assert_found(m: Mutant, d: Derivation) -> None:
    report = d.check(repair_seconds=0)
    assert report.wrong == [m.target], f"{m.source}\n{report}"
    line = report.lines[m.target]
    assert line.kind != "exact" or not line.chained_ok


@pytest.mark.parametrize("name", NAMES)
def test_scaled_mistakes_are_found(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = list(of_size(name, 1e-12))
        rng = np.random.default_rng(0)
        for k in rng.permutation(len(pairs))[:EACH]:
            assert_found(*pairs[k])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_all_scaled_mistakes_are_found(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for size in (1e-12, 1e-10):
            for m, d in of_size(name, size):
                assert_found(m, d)


def test_forgotten_epsilon() -> None:
    def norm(x: Any, eps: float = 1e-12) -> Any:
        return x / mg.sqrt((x * x).sum() + eps)

    def with_epsilon(dout: Any, x: Any, out: Any, eps: float) -> Any:
        return (dout - out * (dout * out).sum()) / np.sqrt((x * x).sum() + eps)

    def without(dout: Any, x: Any, out: Any) -> Any:
        return (dout - out * (dout * out).sum()) / np.sqrt((x * x).sum())

    assert derivation(norm, with_epsilon).check(eps=1e-12).proven
    wrong = derivation(norm, without)
    assert wrong.check(eps=1e-12, exact=False).ok
    report = wrong.check(eps=1e-12)
    assert report.lines["x"].kind == "exact"
    assert "it differs by" in report.lines["x"].reason
    assert not report.proven


def test_errors_below_extended_precision() -> None:
    def dx(dout: Any, x: Any) -> Any:
        return dout * (2 * x + 1e-25)

    report = derivation(lambda x: x * x, dx).check()
    assert report.lines["x"].reason == (
        "it differs by less than 1e-18, relative to the largest element: below what floats show"
    )


def test_right_formula_that_cancels() -> None:
    def dx(dout: Any, w: Any) -> Any:
        return dout * ((1 + w * 1e-9) - 1) * 1e9

    d = derivation(lambda x, w: x * w, dx, x="N", w="N")
    assert not d.check(exact=False).ok
    report = d.check()
    assert report.proven
    assert report.lines["x"].chained_ok
    assert "it cancels" in report.lines["x"].notes[0]


# Unknowns


def of_log(line: Callable[..., Any]) -> DerivationReport:
    return derivation(lambda x: x * mg.log(x * x), line).check()


def test_opaque_function() -> None:
    assert of_log(lambda dout, x: dout * (np.log(x * x) + 2)).proven
    report = of_log(lambda dout, x: dout * (2 * np.log(abs(x)) + 2))
    assert report.ok
    assert not report.proven
    assert report.lines["x"].not_proven == "log is opaque"
    assert str(report).splitlines()[-1].startswith("equal to ")
    assert str(report).endswith("not proven exactly: log is opaque")


def test_errors_with_an_opaque_function_are_found_in_extended_precision() -> None:
    if np.finfo(np.longdouble).eps < 1e-18:
        assert not of_log(lambda dout, x: dout * (2 * np.log(abs(x)) + 2 + 1e-11)).ok


def test_opaque_function_without_influence() -> None:
    """The logarithm of a loss has a rational derivative: its opaque value takes no part."""
    d = derivation(lambda x: mg.log((x * x).sum()), lambda dout, x: dout * 2 * x / (x * x).sum() * (1 + 1e-12))
    assert d.check().lines["x"].kind == "exact"


def test_gauss_error_function_is_never_a_reason_to_accuse() -> None:
    def dx(dout: Any, x: Any) -> Any:
        return dout * (mg.functional.gelu(x) / x + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi) * (1 + 1e-12))

    assert derivation(mg.functional.gelu, dx).check().ok


ROOTS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "of a product": (lambda x: mg.sqrt(x * x * 3), lambda dout, x: dout * np.sign(x) * np.sqrt(3.0)),
    "of a quotient": (lambda x: mg.sqrt(x * x / 5), lambda dout, x: dout * x / (np.sqrt(5.0) * np.sqrt(x * x))),
    "power": (lambda x: (x * x + 1) ** 1.5, lambda dout, x: dout * 3 * x * np.sqrt(1 + x * x)),
    "absolute": (lambda x: abs(x) ** 0.5, lambda dout, x, out: dout * np.sign(x) / (2 * out)),
    "nested": (lambda x: mg.sqrt(1 + mg.sqrt(1 + x * x)), lambda dout, x, out: dout * x / (2 * out * (out**2 - 1))),
}


@pytest.mark.parametrize("name", ROOTS)
def test_roots_are_never_accused(name: str) -> None:
    forward, dx = ROOTS[name]
    for seed in range(5):
        report = derivation(forward, dx).check(seed=seed)
        assert report.ok, str(report)


RIGHT: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "constants": (lambda x: x * x / math.pi, lambda dout, x: dout * x * (2 / math.pi)),
    "another constant": (lambda x: x * math.sqrt(math.pi) / 3, lambda dout: dout * (math.pi**0.5 / 3)),
    "exp": (lambda x: mg.exp(2 * x), lambda dout, x: 2 * dout * np.exp(x) ** 2),
    "sigmoid": (mg.sigmoid, lambda dout, x: dout / (np.exp(x) + 2 + np.exp(-x))),
    "tanh": (mg.tanh, lambda dout, x: dout * 4 / (np.exp(x) + np.exp(-x)) ** 2),
    "sin": (mg.sin, lambda dout, x: dout * np.sin(x + math.pi / 2)),
    "softplus": (lambda x: mg.log(1 + mg.exp(x)), lambda dout, x: dout / (1 + np.exp(-x))),
    "exp of exp": (lambda x: mg.exp(mg.exp(x)), lambda dout, x, out: dout * out * np.exp(x)),
    "exp of exp, as a sum": (lambda x: mg.exp(mg.exp(x)), lambda dout, x: dout * np.exp(x + np.exp(x))),
    "max": (lambda x: x.max(), lambda dout, x: dout * (x == x.max())),
    "sort": (lambda x: np.sort(x), lambda dout, x: dout[np.argsort(np.argsort(x))]),
    "clip": (lambda x: mg.clip(x, -1, 1), lambda dout, x: dout * (abs(x) < 1)),
    "2^x": (lambda x: 2.0**x, lambda dout, x, out: dout * out * math.log(2)),
    "in place": (lambda x: x * x, lambda dout, x: np.multiply(dout, 2 * x, out=np.empty_like(x))),
    "loops": (lambda x: x * x, lambda dout, x: np.array([2 * float(dout[k]) * float(x[k]) for k in range(len(x))])),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_lines_are_never_accused(name: str) -> None:
    forward, dx = RIGHT[name]
    for seed in range(4):
        report = derivation(forward, dx).check(seed=seed)
        assert report.ok, str(report)
        assert report.proven or report.lines["x"].not_proven


def test_what_does_not_run_on_exact_arrays_says_so() -> None:
    report = derivation(*RIGHT["loops"]).check()
    assert "reading elements in Python" in report.lines["x"].not_proven

    def forward(x: Any) -> Any:
        assert type(x.data) is np.ndarray
        return x * x

    report = derivation(forward, lambda dout, x: 2 * dout * x).check()
    assert "the forward function does not run on exact arrays (AssertionError" in report.lines["x"].not_proven


def test_inputs_with_a_property_that_rationals_do_not_have() -> None:
    """Rows of norm 1 are not so after rounding: the line is not accused."""

    def rows(rng: np.random.Generator) -> Any:
        x = rng.normal(size=(5, 3))
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def dx(dout: Any, x: Any) -> Any:
        return dout[:, None] * 2 * x / (x * x).sum(axis=1, keepdims=True)

    assert derivation(lambda x: (x * x).sum(axis=1), dx, x=rows).check(exact=False).ok
    assert derivation(lambda x: (x * x).sum(axis=1), dx, x=rows).check().ok


def test_labels_masks_and_probabilities_stay_what_they_are() -> None:
    rng = np.random.default_rng(0)
    labels, mask = np.eye(4)[rng.integers(0, 4, 6)], rng.integers(0, 2, (6, 4)) / 0.8
    p = rng.uniform(0.1, 1, (6, 4))
    for value in (labels, mask, np.zeros((3, 2)), np.arange(6.0)):
        np.testing.assert_array_equal(exact_sample.nearest_rationals(value).real, value)
    total = exact_sample.nearest_rationals(p / p.sum(axis=1, keepdims=True)).sum(axis=1)
    assert (total.p == 1).all()
    tiny = exact_sample.nearest_rationals(1e-20 * p)
    np.testing.assert_allclose(tiny.real, 1e-20 * p, rtol=1e-6)


# The chain


def test_another_decomposition_is_proven_by_the_chain() -> None:
    def forward(x: Any) -> Any:
        mu = mg.name("mu", x.mean())
        var = mg.name("var", (x * x).mean() - mu**2)
        return var * x

    def lines(size: float) -> Derivation:
        d = Derivation(forward, x="N")

        @d.line
        def dvar(dout: Any, x: Any) -> Any:
            return (dout * x).sum()

        @d.line
        def dmu(dvar: Any, x: Any, mu: Any) -> Any:
            return dvar * (-2 * (x - mu)).mean()

        @d.line
        def dx(dout: Any, dvar: Any, dmu: Any, x: Any, mu: Any, var: Any) -> Any:
            return dout * var + dvar * 2 * (x - mu) / len(x) * (1 + size) + dmu / len(x)

        return d

    report = lines(0).check()
    assert {line.verdict for line in report.lines.values()} == {"right", "other decomposition"}, str(report)
    assert report.proven
    assert not lines(1e-12).check().ok


def test_gradient_that_is_identically_zero() -> None:
    def forward(x: Any) -> Any:
        h = mg.name("h", x - x.mean())
        return (h * h).sum() + h.sum()

    def lines(size: float) -> Derivation:
        d = Derivation(forward, x="N")
        d.line(lambda h: 2 * h + 1, of="h")
        d.line(lambda dh: (dh - dh.mean()) * (1 + size), of="x")
        return d

    assert lines(0).check().proven
    assert not lines(1e-12).check().ok


def test_several_results() -> None:
    d = Derivation(lambda x: (x * x, mg.exp(x)), x="N")
    d.line(lambda dout0, dout1, x: dout0 * 2 * x + dout1 * np.exp(x), of="x")
    assert d.check().proven
    d.lines.clear()
    d.line(lambda dout0, dout1, x: dout0 * 2 * x + dout1 * np.exp(x) * (1 + 1e-11), of="x")
    assert not d.check().ok


# The report and the options


def test_options() -> None:
    d = derivation(lambda x: x * x, lambda dout, x: 2 * dout * x, x="60000")
    report = d.check()
    assert report.ok
    assert "without exact=True" in report.lines["x"].not_proven
    assert d.check(exact=True).proven
    line = d.check(exact=False).lines["x"]
    assert not line.proven
    assert line.exactness == line.not_proven == ""


def test_report_as_dictionary_and_page() -> None:
    report = derivation(lambda x: x * x, lambda dout, x: 2 * dout * x).check()
    assert report.to_dict()["proven"] is True
    assert report.to_dict()["lines"]["x"]["proven"] is True
    assert "proven exactly" in section(report)
    report = of_log(lambda dout, x: dout * (2 * np.log(abs(x)) + 2))
    assert report.to_dict()["lines"]["x"]["not_proven"] == "log is opaque"
    assert "log is opaque" in section(report)


def test_roots_are_found_by_drawing_rows_anew() -> None:
    """Of 40 radicands, each a square with probability ½, all are squares after a few draws."""
    d = NAMES["l2_normalize.terms"]
    sample = exact_sample.draw_exact(
        d.forward, lambda rng: d.forward.arguments({"x": (40, 3)}, rng), np.random.default_rng(0)
    )
    assert isinstance(sample.run.values["out"], Exact)


def test_new_values_where_radicands_are_not_squares() -> None:
    rng = np.random.default_rng(0)
    old, new = ({"x": rng.normal(size=(4, 3)), "w": rng.normal(size=3), "n": 2} for _ in range(2))
    where = np.array([True, False, False, True])[:, None]
    result = exact_sample.mixed(old, new, where)
    np.testing.assert_array_equal(result["x"], np.where(where, new["x"], old["x"]))
    assert result["w"] is old["w"]
    assert exact_sample.mixed(old, new, np.array(True))["w"] is new["w"]
    both = exact_sample.mixed({"x": old["x"].T}, {"x": new["x"].T}, np.broadcast_to(where, (4, 3)))
    np.testing.assert_array_equal(both["x"], np.where(where, new["x"], old["x"]).T)


def test_proof_does_not_change_global_state() -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    NAMES["batch_norm.terms"].check()
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert exact_check.DRAWS == 3
    assert draw(np.random.default_rng(0), (2,)).shape == (2,)
