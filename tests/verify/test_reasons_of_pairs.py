"""Reasons and repairs for plain backward functions, and errors that nothing sees."""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minigrad.verify import check_backward
from minigrad.verify.as_written import WrittenReport
from minigrad.verify.derivation.edits import Editable
from minigrad.verify.derivation.line_source import parse_line
from minigrad.verify.derivation.structure import redrawn

FORWARD = {
    "dense": """
def forward(x, W, b):
    z = x @ W + b
    h = np.tanh(z)
    return h, (x, W, h)
""",
    "relu": """
def forward(x):
    out = np.maximum(0, x)
    return out, x
""",
    "rnn": """
def forward(xs, h0, W):
    hs = {-1: h0}
    for t in range(4):
        hs[t] = np.tanh(xs[t] + hs[t - 1] @ W)
    out = hs[3]
    return out, (hs, W)
""",
    "conv": """
def forward(x, w):
    xp = np.pad(x, 1)
    out = np.zeros(len(x))
    for k in range(len(x)):
        out[k] = np.sum(xp[k : k + 3] * w)
    return out, (xp, x, w)
""",
    "attention": """
def forward(q, k):
    scale = 1 / np.sqrt(q.shape[1])
    s = scale * (q @ k.T)
    e = np.exp(s)
    p = e / e.sum(axis=1, keepdims=True)
    return p, (q, k, p, scale)
""",
}
BACKWARD = {
    "dense": """
def backward(dh, cache):
    x, W, h = cache
    dz = dh * (1 - h**2)
    db = dz.sum(axis=0)
    dW = x.T @ dz
    dx = dz @ W.T
    return dx, dW, db
""",
    "relu": """
def backward(dout, cache):
    x = cache
    dx = dout.copy()
    dx[x <= 0] = 0
    return dx
""",
    "rnn": """
def backward(dout, cache):
    hs, W = cache
    dW = np.zeros_like(W)
    dxs = np.zeros((4, 3))
    dh = dout
    for t in reversed(range(4)):
        dz = dh * (1 - hs[t] ** 2)
        dxs[t] = dz
        dW += np.outer(hs[t - 1], dz)
        dh = dz @ W.T
    dh0 = dh
    return dxs, dh0, dW
""",
    "conv": """
def backward(dout, cache):
    xp, x, w = cache
    dxp = np.zeros_like(xp)
    dw = np.zeros_like(w)
    for k in range(len(x)):
        dw += xp[k : k + 3] * dout[k]
        dxp[k : k + 3] += w * dout[k]
    dx = dxp[1:-1]
    return dx, dw
""",
    "attention": """
def backward(dp, cache):
    q, k, p, scale = cache
    ds = p * (dp - (dp * p).sum(axis=1, keepdims=True))
    dq = scale * ds @ k
    dk = scale * ds.T @ q
    return dq, dk
""",
}
SHAPES: dict[str, tuple[Any, ...]] = {
    "dense": ((5, 3), (3, 4), 4), "relu": ((5, 4),), "rnn": ((4, 3), 3, (3, 3)), "conv": (6, 3),
    "attention": ((5, 3), (4, 3)),
}  # fmt: skip


def pair(name: str, before: str = "", after: str = "") -> list[Callable[..., Any]]:
    functions = []
    assert before in BACKWARD[name]
    for word, text in (("forward", FORWARD[name]), ("backward", BACKWARD[name].replace(before, after, 1))):
        file = f"<{name} {word} {after}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        scope: dict[str, Any] = {"np": np}
        exec(compile(text, file, "exec"), scope)
        functions.append(scope[word])
    return functions


def checked(name: str, before: str = "", after: str = "", **options: Any) -> WrittenReport:
    rng = np.random.default_rng(3)
    arguments = [rng.normal(size=shape) for shape in SHAPES[name]]
    return check_backward(*pair(name, before, after), *arguments, repair_seconds=5, **options)


@pytest.mark.parametrize("name", FORWARD)
def test_right_pairs(name: str) -> None:
    assert checked(name).ok


@pytest.mark.parametrize(
    ("name", "before", "after", "path", "said"),
    [
        ("dense", "(1 - h**2)", "(1 - h)", "dz", "should be `h ** 2`"),
        ("dense", "dh * (1 - h**2)", "dh", "dz", "the factor (1 - h²) is missing"),
        ("dense", "dz.sum(axis=0)", "dz", "db", "the sum over axis 0 is missing"),
        ("dense", "x.T @ dz", "dz.T @ x", "dW", "it is transposed"),
        ("dense", "dz @ W.T", "dz @ W.T / 2", "dx", "it is ½ times the right value"),
        ("relu", "    dx[x <= 0] = 0\n", "", "dx", "it is right except where x ≤ 0, where it must be 0"),
        ("relu", "x <= 0", "x > 0", "dx", "`x > 0` should be `x <= 0`"),
        ("rnn", "(1 - hs[t] ** 2)", "(1 - hs[t])", "dz", "`hs[t]` should be `hs[t] ** 2`"),
        ("rnn", "(1 - hs[t] ** 2)", "(1 - hs[t - 1] ** 2)", "dz", "`hs[t - 1]` should be `hs[t]`"),
        ("rnn", "np.outer(hs[t - 1], dz)", "np.outer(hs[t], dz)", "dW", "`hs[t]` should be `hs[t - 1]`"),
        ("rnn", "np.outer(hs[t - 1], dz)", "np.outer(dz, hs[t - 1])", "dW", "it is transposed"),
        ("rnn", "dW += np.outer", "dW = np.outer", "dW", "`dW =` should be `dW +=`"),
        ("conv", "dw += xp[k : k + 3] * dout[k]", "dw += xp[k : k + 3]", "dw", "* dout[k]`"),
        ("conv", "dxp[k : k + 3] += w ", "dxp[k : k + 3] += w[::-1] ", "dxp", "`w[::-1]` should be `w`"),
        ("conv", "dxp[k : k + 3] += w ", "dxp[k : k + 3] = w ", "dxp", "every step adds to it"),
        ("attention", "scale * ds.T @ q", "ds.T @ q", "dk", "the factor scale is missing"),
        ("attention", "(dp - (dp * p).sum(axis=1, keepdims=True))", "dp * (1 - p)", "ds", "only the diagonal of"),
    ],
)  # fmt: skip
def test_mistakes_are_explained(name: str, before: str, after: str, path: str, said: str) -> None:
    report = checked(name, before, after)
    assert [line.path for line in report.wrong] == [path]
    assert said in f"{report.wrong[0].reason} | {report.wrong[0].repair}"


@pytest.mark.filterwarnings("error")
def test_no_warning_of_numpy_reaches_the_user() -> None:
    checked("dense", "dh * (1 - h**2)", "dh * (1 - h**2) * np.log(-np.abs(h))")
    checked("relu", "dout.copy()", "dout / np.zeros_like(x)")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checked("dense", "dh * (1 - h**2)", "dh / h.mean(axis=0)")
    assert not caught


# Errors that nothing sees


def center(x, w):  # type: ignore[no-untyped-def]
    xc = x - x.mean(axis=1, keepdims=True)
    m = xc * w
    q = m * m * xc
    out = q * w
    return out, (xc, w, m, q)


def made_up_for(dout, cache):  # type: ignore[no-untyped-def]
    xc, w, m, q = cache
    dq = dout * w
    dm = dq * m * xc
    dxc = 2 * dm * w + dq * m * m
    dx = dxc - dxc.mean(axis=1, keepdims=True)
    dw = (2 * dm * xc + dout * q).sum(axis=0)
    return dx, dw


def made_up_for_with_row(dout, cache):  # type: ignore[no-untyped-def]
    xc, w, m, q = cache
    dq = dout * w
    dm = dq * m * xc
    dxc = 2 * dm * w + dq * m * m + dq.sum(axis=1, keepdims=True)
    dx = dxc - dxc.mean(axis=1, keepdims=True)
    dw = (2 * dm * xc + dout * q).sum(axis=0)
    return dx, dw


def made_up_for_with_constant(dout, cache):  # type: ignore[no-untyped-def]
    xc, w, m, q = cache
    dq = dout * w
    dm = dq * m * xc
    dxc = 2 * dm * w + dq * m * m + 5.0
    dx = dxc - dxc.mean(axis=1, keepdims=True)
    dw = (2 * dm * xc + dout * q).sum(axis=0)
    return dx, dw


def annihilated(dout, cache):  # type: ignore[no-untyped-def]
    xc, w, m, q = cache
    dq = dout * w
    dm = 2 * dq * m * xc
    dxc = dm * w + dq * m * m + 5.0
    dx = dxc - dxc.mean(axis=1, keepdims=True)
    dw = (dm * xc + dout * q).sum(axis=0)
    return dx, dw


@pytest.mark.parametrize(
    ("backward", "wrong"),
    [(made_up_for, []), (made_up_for_with_row, ["dxc"]), (made_up_for_with_constant, ["dxc"]), (annihilated, ["dxc"])],
)
def test_errors_that_nothing_sees_are_not_excused(backward: Callable[..., Any], wrong: list[str]) -> None:
    rng = np.random.default_rng(0)
    report = check_backward(center, backward, rng.normal(size=(5, 4)), rng.normal(size=4))
    assert all(report.whole.values())
    assert [line.path for line in report.wrong] == wrong
    assert all("nothing that follows sees the mistake" in str(line.notes) for line in report.wrong)


# Cotangents, constants, labels


def loss_forward(x, w, y):  # type: ignore[no-untyped-def]
    p = x @ w
    loss = np.mean((p - y) ** 2)
    return loss, (x, p, y)


def loss_backward(cache):  # type: ignore[no-untyped-def]
    x, p, y = cache
    dp = 2 * (p - y) / len(y)
    dw = x.T @ dp
    return dw  # noqa: RET504  (its name says which gradient it is)


def square_backward(dout, cache):  # type: ignore[no-untyped-def]
    x = cache
    return dout**2 * (x > 0)


def test_gradients_that_nobody_wants_are_not_missing() -> None:
    rng = np.random.default_rng(0)
    arguments = rng.normal(size=(5, 3)), rng.normal(size=3), rng.normal(size=5)
    assert check_backward(loss_forward, loss_backward, *arguments).missing == ["x"]
    report = check_backward(loss_forward, loss_backward, *arguments, constants=("x",))
    assert report.ok
    assert report.missing == []
    assert "that is 1" in str(report)


def test_cotangent_that_is_given_holds_in_all_draws() -> None:
    forward, _ = pair("relu")
    x = np.random.default_rng(0).normal(size=(5, 4))
    assert check_backward(forward, square_backward, x, cotangent=1.0).ok
    assert not check_backward(forward, square_backward, x).ok


# Edits


def test_no_edit_is_made_inside_of_sizes() -> None:
    def line(x, mu, dout):  # type: ignore[no-untyped-def]
        return dout / len(x) + dout / x.shape[0] + mu / x.size

    body = parse_line(line).body[0]
    for edit in Editable(
        body, ["x", "mu", "dout"], {"x": np.ones((3, 2)), "mu": np.ones(2), "dout": np.ones(3)}
    ).edits():  # type: ignore[arg-type]
        text = str(edit)
        assert "len(mu - " not in text
        assert "(-x).shape" not in text
        assert "x - x`" not in text


def test_structure_stays_when_values_are_drawn_anew() -> None:
    rng = np.random.default_rng(0)
    one_hot = redrawn(np.eye(4)[[0, 2, 1, 3, 1]], rng)
    assert np.all(np.sort(one_hot, axis=1) == [0, 0, 0, 1])
    shares = redrawn(np.array([[0.2, 0.8], [0.5, 0.5], [0.1, 0.9]]), rng)
    assert np.allclose(shares.sum(axis=1), 1)
    assert np.all(shares > 0)
    definite = redrawn(np.array([[2.0, 0.5], [0.5, 1.0]]), rng)
    assert np.allclose(definite, definite.T)
    assert np.all(np.linalg.eigvalsh(definite) > 0)
    lower = redrawn(np.tril(np.full((3, 3), 0.5) + np.eye(3)), rng)
    assert np.array_equal(lower, np.tril(lower))
    assert np.all(np.diff(redrawn(np.array([0.1, 0.5, 0.7, 2.0]), rng)) > 0)
    assert np.all(redrawn(np.array([0.3, 2.0, 1.1]), rng) > 0)
