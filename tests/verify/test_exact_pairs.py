"""Plain backward functions: lines are proven without a tolerance, and errors of relative size 1e-12 are found."""

from __future__ import annotations

import ast
import itertools
import linecache
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad.app.check_page import page
from minigrad.verify import Derivation, check_backward
from minigrad.verify.derivation.derivation_report import PROVEN

pytestmark = pytest.mark.floating(all="ignore")
COUNT = itertools.count()
HOMEWORK = Path(__file__).parents[2] / "examples" / "homework" / "layers.py"
rng = np.random.default_rng(0)

SOURCES = {
    "affine": '''
def forward(x, w, b):
    out = x @ w + b
    return out, (x, w)
def backward(dout, cache):
    x, w = cache
    dx = dout @ w.T
    dw = x.T @ dout
    db = dout.sum(axis=0)
    return dx, dw, db
''',
    "batch norm": '''
def forward(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=0)
    xc = x - mu
    var = (xc**2).mean(axis=0)
    std = np.sqrt(var + eps)
    xhat = xc / std
    out = gamma * xhat + beta
    return out, (xc, std, xhat, gamma)
def backward(dout, cache):
    xc, std, xhat, gamma = cache
    N = xc.shape[0]
    dbeta = dout.sum(axis=0)
    dgamma = (dout * xhat).sum(axis=0)
    dxhat = dout * gamma
    dstd = -(dxhat * xc).sum(axis=0) / std**2
    dvar = 0.5 * dstd / std
    dxc = dxhat / std + 2 * xc * dvar / N
    dmu = -dxc.sum(axis=0)
    dx = dxc + dmu / N
    return dx, dgamma, dbeta
''',
    "loss": '''
def forward(scores, targets):
    shifted = scores - scores.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    probs = e / e.sum(axis=1, keepdims=True)
    loss = -np.mean(np.sum(targets * np.log(probs), axis=1))
    return loss, (probs, targets)
def backward(cache):
    probs, targets = cache
    dscores = (probs * targets.sum(axis=1, keepdims=True) - targets) / len(probs)
    return dscores
''',
    "recurrent": '''
def forward(x, h0, w, u):
    N, T, D = x.shape
    h = np.zeros((N, T, len(u)))
    before = h0
    for t in range(T):
        a = x[:, t] @ w + before @ u
        before = np.tanh(a)
        h[:, t] = before
    return h, (x, h0, w, u, h)
def backward(dh, cache):
    x, h0, w, u, h = cache
    N, T, D = x.shape
    dx = np.zeros((N, T, D))
    dw = np.zeros((D, len(u)))
    du = np.zeros(u.shape)
    dbefore = np.zeros_like(h0)
    for t in reversed(range(T)):
        da = (dh[:, t] + dbefore) * (1 - h[:, t] ** 2)
        dx[:, t] = da @ w.T
        dw += x[:, t].T @ da
        du += (h[:, t - 1] if t else h0).T @ da
        dbefore = da @ u.T
    dh0 = dbefore
    return dx, dh0, dw, du
''',
}  # fmt: skip
INPUTS = {
    "affine": (rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=4)),
    "batch norm": (rng.normal(size=(5, 3)), rng.normal(size=3), rng.normal(size=3)),
    "loss": (rng.normal(size=(5, 3)), np.eye(3)[[0, 2, 1, 1, 0]]),
    "recurrent": (
        rng.normal(size=(2, 3, 4)),
        rng.normal(size=(2, 5)),
        rng.normal(size=(4, 5)),
        rng.normal(size=(5, 5)),
    ),
}


def functions(source: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    file = f"<pair {next(COUNT)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope: dict[str, Any] = {"np": np}
    exec(compile(source, file, "exec"), scope)
    return scope["forward"], scope["backward"]


def mistakes(source: str) -> Iterator[tuple[str, str]]:
    """The source with one gradient that is off by a factor 1 + 1e-12, and the name of the gradient."""
    for line in source.partition("def backward")[2].splitlines():
        name, sign, value = line.partition(" = ")
        if sign and name.strip().isidentifier() and name.strip().startswith("d") and "zeros" not in value:
            yield name.strip(), source.replace(line, f"{name} = ({value}) * (1 + 1e-12)")


@pytest.mark.parametrize("name", SOURCES)
def test_right_lines_are_proven(name: str) -> None:
    pair = functions(SOURCES[name])
    for seed in range(2):
        report = check_backward(*pair, *INPUTS[name], seed=seed)
        assert report.ok, str(report)
        tried = [line for line in report.lines if line.verdict == "right"]
        assert tried
        assert all(line.report.proven for line in tried), str(report)
        assert PROVEN in str(report)
    assert all(not line.report.exactness for line in check_backward(*pair, *INPUTS[name], exact=False).lines)


@pytest.mark.parametrize("name", ["affine", "batch norm", "loss"])
def test_mistakes_of_size_1e_12_are_found(name: str) -> None:
    found = list(mistakes(SOURCES[name]))
    assert found
    for gradient, source in found:
        ast.parse(source)
        pair = functions(source)
        assert check_backward(*pair, *INPUTS[name], exact=False, repair_seconds=0).ok
        report = check_backward(*pair, *INPUTS[name], repair_seconds=0)
        assert [line.path for line in report.wrong] == [gradient], str(report)
        assert "it differs by" in report.wrong[0].reason
        assert not report.ok


def test_mistake_in_a_loop_is_found() -> None:
    pair = functions(SOURCES["recurrent"].replace("dx[:, t] = da @ w.T", "dx[:, t] = da @ w.T * (1 + 1e-12 * t)"))
    report = check_backward(*pair, *INPUTS["recurrent"], repair_seconds=0)
    assert [line.path for line in report.wrong] == ["dx"], str(report)
    assert report.whole["x"] is False


def test_homework_is_proven_where_it_is_right() -> None:
    names = runpy.run_path(str(HOMEWORK))
    for stem, inputs in {
        "affine": INPUTS["affine"],
        "layernorm": INPUTS["batch norm"],
        "rnn": INPUTS["recurrent"] + (rng.normal(size=5),),
        "groupnorm": (rng.normal(size=(3, 4, 2, 2)), rng.normal(size=(1, 4, 1, 1)), rng.normal(size=(1, 4, 1, 1))),
    }.items():
        report = check_backward(names[f"{stem}_forward"], names[f"{stem}_backward"], *inputs)
        assert report.ok, str(report)
        assert report.proven, str(report)
        assert report.to_dict()["proven"] is True
    net = names["TwoLayerNet"]()
    assert check_backward(net, None, rng.normal(size=(5, 4))).proven
    assert all(isinstance(v, np.ndarray) for v in vars(net).values() if hasattr(v, "shape"))


def test_lines_beside_a_wrong_one_are_proven() -> None:
    pair = functions(SOURCES["affine"].replace("dout @ w.T", "2 * dout @ w.T"))
    report = check_backward(*pair, *INPUTS["affine"])
    assert [line.path for line in report.wrong] == ["dx"]
    assert report.wrong[0].report.kind != "exact"
    assert [line.report.proven for line in report.lines] == [False, True, True]


def test_a_wrong_part_does_not_spoil_other_lines() -> None:
    """The sum is judged by floats only: the part goes into it."""
    names = runpy.run_path(str(HOMEWORK))
    report = check_backward(names["batchnorm_forward"], names["batchnorm_backward"], *INPUTS["batch norm"])
    assert [line.path for line in report.wrong] == ["dxmu2"], str(report)


ONE = """
def check(x):
    if type(x).__name__ == "Exact":
        raise RuntimeError("no")
    return x
def forward(x):
    out = {out}
    return out, x
def backward(dout, cache):
    x = cache
    dx = dout * ({slope})
    return dx
"""
REASONS = {
    "reading elements in Python": ("x * x", "2 * x + 0 * float(x[0])"),
    "log is opaque": ("x * np.log(x**2)", "2 * np.log(abs(x)) + 2"),
    "it does not run": ("x * x", "2 * check(x)"),
    "i0 has no exact meaning": ("x * x", "2 * x * np.i0(0 * x)"),
    "finite differences": ("np.array([float(t) ** 2 for t in x])", "2 * x"),
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_is_not_proven_says_why(reason: str) -> None:
    out, slope = REASONS[reason]
    report = check_backward(*functions(ONE.format(out=out, slope=slope)), rng.normal(size=4) + 5)
    assert report.ok, str(report)
    assert not report.proven
    (line,) = report.lines
    assert reason.replace("it does", "do") in line.report.not_proven
    assert "not proven exactly" in str(report)
    assert "not proven exactly" in page([report])


def test_errors_with_an_opaque_function_are_found_in_extended_precision() -> None:
    if np.finfo(np.longdouble).eps >= 1e-18:
        pytest.skip("there is no wider format")
    source = """
def forward(x):
    out = x * np.log(x**2)
    return out, x
def backward(dout, cache):
    x = cache
    dx = dout * (2 * np.log(abs(x)) + 2 + 1e-11)
    return dx
"""
    report = check_backward(*functions(source), rng.normal(size=4) + 3, repair_seconds=0)
    assert [line.report.kind for line in report.wrong] == ["exact"]


def test_derivations_from_functions() -> None:
    d = Derivation.from_functions(*functions(SOURCES["affine"]), x="N D", w="D M", b="M")
    assert d.check().proven
    assert d.check(exact=False).ok
