"""Pairs of functions as courses give them: exactly the wrong lines are blamed, and none of the right ones."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from minigrad.app.source_files import import_file
from minigrad.verify import Derivation, WrittenReport, check_backward
from minigrad.verify.as_written.discover import check_found
from minigrad.verify.pairs.found import pairs_in

LAYERS = Path(__file__).parents[3] / "examples" / "homework" / "layers.py"

# The wrong line of each wrong pair, and what it should be.
WRONG = {
    "batchnorm_backward": ("dxmu2 = xmu * dsq", "dxmu2 = 2 * xmu * dsq"),
    "softmax_loss_backward": ("dscores[np.arange(N), y] -= 1", "dscores[np.arange(N), y] -= 1; dscores /= N"),
    "conv_backward": ("w[f, :, ::-1, ::-1] *", "w[f] *"),
    "lstm_step_backward": ("df = dc * next_c", "df = dc * prev_c"),
    "char_rnn_backward": ("dhraw = (1 - hs[t]) * dh", "dhraw = (1 - hs[t] * hs[t]) * dh"),
    "linear_activation_backward": (
        "db = np.sum(dZ, axis=1, keepdims=True) / m", "db = np.sum(dZ, axis=1, keepdims=True)"
    ),
    "Dense.backward": ("self.dW = grad_z.T @ self.x", "self.dW = self.x.T @ grad_z"),
    "attention_backward": (
        "dk = np.matmul(dscores.transpose(0, 2, 1), q)", "dk = scale * np.matmul(dscores.transpose(0, 2, 1), q)"
    ),
    "ridge_backward": ("dw += 0.5 * reg * w", "dw += reg * w"),
    "mlp_backward": (
        "dout = dout * (1 - a1**2)\n    dW2 = a1.T @ dout", "dout = dout * (1 - a2**2)\n    dW2 = a1.T @ dout"
    ),
}  # fmt: skip


def load(source: str, name: str) -> ModuleType:
    """A module from text, whose source inspect finds."""
    linecache.cache[f"<{name}>"] = (len(source), None, source.splitlines(True), f"<{name}>")
    module = ModuleType(name)
    sys.modules[name] = module
    try:
        exec(compile(source, f"<{name}>", "exec"), vars(module))
    finally:
        del sys.modules[name]
    return module


def right_source() -> str:
    source = LAYERS.read_text(encoding="utf-8")
    for wrong, right in WRONG.values():
        assert source.count(wrong) == 1, wrong
        source = source.replace(wrong, right)
    return source


@pytest.fixture(scope="module")
def reports() -> dict[str, WrittenReport]:
    module = import_file(LAYERS)
    found = [check_found(pair) for pair in pairs_in(vars(module), module.__name__)]
    return {report.name: report for report in found}


@pytest.mark.floating(all="ignore")
def test_every_pair_of_the_file_is_found(reports: dict[str, WrittenReport]) -> None:
    assert len(reports) == 21  # twenty, and the step of the recurrent network as a pair of its own
    assert not [name for name, report in reports.items() if report.error]


@pytest.mark.floating(all="ignore")
def test_exactly_the_wrong_lines_are_blamed(reports: dict[str, WrittenReport]) -> None:
    assert {name for name, report in reports.items() if not report.ok} == set(WRONG)
    for name, (wrong, _) in WRONG.items():
        (line,) = reports[name].wrong
        assert line.text.partition("\n")[0] in wrong or wrong in line.text, name


@pytest.mark.floating(all="ignore")
def test_corrected_pairs_are_right() -> None:
    module = load(right_source(), "corrected")
    for pair in pairs_in(vars(module), "corrected"):
        if pair.name in WRONG or f"{pair.name}.backward" in WRONG:
            report = check_found(pair)
            assert report.ok, report
            assert not report.missing or pair.name == "ridge_backward" or report.missing == ["hprev"], report


SAMPLED = {"lstm_step_backward": 7, "batchnorm_backward": 2}  # of the long ones not every mistake


def mutated(name: str) -> Iterator[tuple[str, str]]:
    """The source with one line of a backward function spoiled, and the line after it."""
    tree = ast.parse(right_source())
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
    for statement in ast.walk(function):
        if not isinstance(statement, (ast.Assign, ast.AugAssign)) or isinstance(statement.value, (ast.Name, ast.Tuple)):
            continue
        target = ast.unparse(statement.targets[0] if isinstance(statement, ast.Assign) else statement.target)
        if not target.startswith("d") or "zeros" in ast.unparse(statement):
            continue
        old = statement.value
        for new in (
            ast.BinOp(ast.Constant(1.5), ast.Mult(), old), ast.UnaryOp(ast.USub(), old),
            ast.BinOp(old, ast.Add(), ast.Constant(0.01)),
        ):  # fmt: skip
            statement.value = new
            yield ast.unparse(ast.fix_missing_locations(tree)), ast.unparse(statement)
        statement.value = old


@pytest.mark.floating(all="ignore")
@pytest.mark.parametrize(
    "name",
    [
        "affine_backward", "batchnorm_backward", "layernorm_backward", "lstm_step_backward", "rnn_step_backward",
        "attention_backward", "normalize_backward", "groupnorm_backward", "mlp_backward",
        "linear_activation_backward",
    ],
)  # fmt: skip
def test_planted_errors_are_blamed_on_their_line(name: str) -> None:
    for k, (source, line) in enumerate(list(mutated(name))[:: SAMPLED.get(name, 1)]):
        module = load(source, f"mutated{k}")
        pair = next(p for p in pairs_in(vars(module), f"mutated{k}") if p.name == name)
        report = check_found(pair)
        blamed = [ast.unparse(ast.parse(wrong.text)) for wrong in report.wrong]
        assert len(blamed) == 1, f"{line}: {blamed}"
        assert line in blamed[0], f"{line}: {blamed}"


def check(forward: Any, backward: Any, *args: Any, **options: Any) -> WrittenReport:
    return check_backward(forward, backward, *args, repair_seconds=0.1, **options)


RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 4))


def tanh_forward(x: Any, w: Any) -> Any:
    z = x @ w
    h = np.tanh(z)
    return h, (x, w, h)


def test_names_that_say_nothing_are_mapped_and_listed() -> None:
    def backward(dh: Any, cache: Any) -> Any:
        x, w, h = cache
        dtmp = dh * (1 - h)
        return dtmp @ w.T, x.T @ dtmp

    report = check(tanh_forward, backward, X, W, names={"dtmp": "z"})
    assert [(line.path, line.target) for line in report.wrong] == [("dtmp", "z")]
    assert "h**2" in str(report.repair if hasattr(report, "repair") else report.wrong[0].repair).replace(" ", "")
    unnamed = check(tanh_forward, backward, X, W)  # it is found without the name, too
    assert [line.path for line in unnamed.wrong] == ["dtmp"]


def test_a_line_that_cannot_be_told_is_listed_with_the_reason() -> None:
    def backward(dh: Any, cache: Any) -> Any:
        x, w, h = cache
        dstrange = dh.sum()
        dz = dh * (1 - h**2)
        return dz @ w.T + 0 * dstrange, x.T @ dz

    report = check(tanh_forward, backward, X, W)
    assert report.ok
    assert [path for _, path, _ in report.unnamed] == ["dstrange"]
    assert "names=" in report.unnamed[0][2]


def test_whole_right_but_another_meaning() -> None:
    """dz is scaled in one line and scaled back in those that use it."""

    def backward(dh: Any, cache: Any) -> Any:
        x, w, h = cache
        dz = 2 * dh * (1 - h**2)
        dx = dz @ w.T / 2
        dw = x.T @ dz / 2
        return dx, dw

    report = check(tanh_forward, backward, X, W)
    assert report.whole == {"x": True, "w": True}
    assert {line.path: line.verdict for line in report.lines}["dz"] == "other meaning"
    assert report.ok


def test_an_error_that_nothing_sees_is_wrong() -> None:
    def forward(x: Any) -> Any:
        xc = x - x.mean(axis=0)
        out = xc**2
        return out, xc

    def backward(dout: Any, cache: Any) -> Any:
        xc = cache
        dxc = 2 * dout * xc + 5.0  # a constant, which the next line takes away
        return dxc - dxc.mean(axis=0)

    report = check(forward, backward, X)
    assert report.whole == {"x": True}
    assert [line.path for line in report.wrong] == ["dxc"]
    assert "nothing that follows sees the mistake" in str(report)
    assert not report.ok


def test_an_error_that_is_raised_is_reported_with_its_line() -> None:
    def backward(dh: Any, cache: Any) -> Any:
        x, w, h = cache
        dz = dh * (1 - h**2)
        dx = dz @ w
        return dx, x.T @ dz

    report = check(tanh_forward, backward, X, W)
    assert not report.ok
    assert report.wrong[-1].text == "dx = dz @ w"
    assert "it does not run: ValueError" in report.wrong[-1].reason


def test_code_that_does_not_run_on_tensors_is_checked_by_differences() -> None:
    def forward(x: Any) -> Any:
        y = np.array([float(np.exp(v)) for v in x])
        out = y * x
        return out, (x, y)

    def backward(dout: Any, cache: Any) -> Any:
        x, y = cache
        dy = dout * x
        return dout * y + dy

    report = check(forward, backward, X[:, 0])
    assert report.method == "differences"
    assert "finite differences" in str(report)
    assert [line.path for line in report.wrong] == ["dx"]


def test_random_numbers_are_the_same_in_every_run() -> None:
    def forward(x: Any) -> Any:
        mask = np.random.rand(*x.shape) < 0.5  # noqa: NPY002
        out = x * mask
        return out, mask

    def backward(dout: Any, mask: Any) -> Any:
        return dout * mask

    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert check(forward, backward, X).ok
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_arguments_and_objects_stay_as_they_are() -> None:
    module = import_file(LAYERS)
    net, x = module.TwoLayerNet(), RNG.normal(size=(5, 4))
    before = x.copy()
    assert check_backward(net, None, x).ok
    assert np.array_equal(x, before)
    assert net.grads == {}


def test_what_the_backward_function_takes_must_be_clear() -> None:
    def backward(dh: Any, cache: Any, strange: Any) -> Any:
        return dh

    with pytest.raises(TypeError, match="the parameter 'strange' is neither"):
        check(tanh_forward, backward, X, W)
    with pytest.raises(TypeError, match="missing a required argument: 'w'"):
        check(tanh_forward, backward, X)


def test_derivation_from_functions_is_checked_and_fused() -> None:
    module = load(right_source(), "fused")
    d = Derivation.from_functions(module.batchnorm_forward, module.batchnorm_backward, x="N D", gamma="D", beta="D")
    assert d.check().ok
    from minigrad.verify import check_gradients

    assert check_gradients(d.fused(), X, np.ones(3), np.zeros(3)).ok
    wrong = Derivation.from_functions(
        *(vars(import_file(LAYERS))[f"batchnorm_{way}"] for way in ("forward", "backward"))
    )
    with pytest.raises(ValueError, match="cannot be fused"):
        wrong.fused()


@pytest.mark.floating(all="ignore")
def test_helpers_are_checked_on_request() -> None:
    source = right_source().replace("dprev_h = da @ Wh.T", "dprev_h = da @ Wh")
    module = load(source, "with_helpers")
    sys.modules["with_helpers"] = module
    x, h0 = RNG.normal(size=(5, 4, 3)), RNG.normal(size=(5, 2))
    Wx, Wh, b = RNG.normal(size=(3, 2)), RNG.normal(size=(2, 2)), RNG.normal(size=2)
    report = check(module.rnn_forward, module.rnn_backward, x, h0, Wx, Wh, b, helpers=True)
    (helper,) = report.helpers
    assert helper.name == "rnn_step_backward"
    assert [line.text for line in helper.wrong] == ["dprev_h = da @ Wh"]
    assert not report.ok
    assert "rnn_step_backward" in str(report)
    alone = check(module.rnn_forward, module.rnn_backward, x, h0, Wx, Wh, b)
    assert alone.wrong[0].first_wrong == "t = 3"  # the call, in the first iteration that it has
